/* The partition search against brute force and against the table of all numbers of
 * stages, and the table of stage costs against the stage costs themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/rng.h"
#include "base/text.h"
#include "planner/stages/partition.h"
#include "planner/stages/stage_table.h"
#include "tests/support.h"

/* ---- made-up costs ----------------------------------------------------------------- */

enum { MAX_BLOCKS = 40, MAX_DEVICES = 40 };

/* NOISE: any number, nothing is monotone. WORK: a sum over the blocks, divided by the
 * width, with a share that does not divide. MESSAGES: that, or a message in or out,
 * whichever is longer. SUM: work and message out together. Built to mislead: TIES: 0, 1 or
 * 2, so that most partitions are equal. FALLS: the longer and the narrower a stage, the
 * cheaper. */
typedef enum { NOISE, WORK_ONLY, MESSAGES, SUM, TIES, FALLS, KINDS } Kind;

typedef struct {
    uint64_t seed;
    Kind     kind;
    bool     uniform, impossible;
    int      blocks, work[MAX_BLOCKS], message[MAX_BLOCKS + 1], speed[MAX_DEVICES + 1];
} Made;

static Made made_of(Rng *rng, Kind kind, int blocks, bool uniform)
{
    Made m = {.seed = rng_next(rng), .kind = kind, .uniform = uniform, .blocks = blocks};

    m.impossible = rng_range(rng, 0, 2) == 0;
    for (int b = 0; b < blocks; b++) m.work[b] = (int)rng_range(rng, 0, 100);
    for (int b = 1; b < blocks; b++)
        m.message[b] = (int)(rng_range(rng, 0, 3) ? rng_range(rng, 0, 40) : 300);
    for (int d = 0; d <= MAX_DEVICES; d++) m.speed[d] = uniform ? 1 : (int)rng_range(rng, 1, 3);
    return m;
}

static int64_t made_work(const Made *m, int first, int last, int device, int width)
{
    int64_t sum = 0, slowest = 0;

    for (int b = first; b <= last; b++) sum += m->work[b];
    for (int d = device; d < device + width; d++) if (m->speed[d] > slowest) slowest = m->speed[d];
    return sum * slowest / width + (width > 1 ? sum / 20 : 0);
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t made_end(void *context, int last, int device, int width)
{
    const Made *m = context;

    (void)device;
    return m->kind == MESSAGES || m->kind == SUM ? m->message[last + 1] / width : 0;
}

static int64_t made_floor(void *context, int first, int last, int device, int width)
{
    const Made *m = context;

    return m->kind == NOISE || m->kind >= TIES
               ? 0
               : made_work(m, first, last, m->uniform ? 0 : device, width);
}

static int64_t made_cost(void *context, int first, int last, int device, int width)
{
    const Made *m = context;
    int         place = m->uniform ? 0 : device;
    uint64_t    word =
        rng_u64(m->seed, (uint64_t)(first * 100 + last), (uint64_t)place, (uint64_t)width);
    int64_t     ns = made_floor(context, first, last, place, width),
                end = made_end(context, last, place, width);

    if (m->impossible && word % 7 == 0) return INT64_MAX;
    if (m->kind == NOISE) return (int64_t)(word >> 40) % 1000;
    if (m->kind == TIES) return (int64_t)(word >> 40) % 3;
    if (m->kind == FALLS)
        return 100000 - made_work(m, first, last, place, 1) + 50 * width
               + (int64_t)(word >> 40) % 20;
    if (m->kind == WORK_ONLY) return ns;
    return m->kind == SUM ? ns + end : larger(ns, larger(end, m->message[first] / width));
}

/* Every cut and every width, one after another. */
static int64_t brute(const PartitionProblem *p, int block, int device)
{
    int64_t best = INT64_MAX;

    if (block == p->blocks) return 0;
    for (int last = block; last < p->blocks; last++)
        for (int w = 1; w <= p->max_width && device + w <= p->devices; w++) {
            int64_t here = p->cost(p->context, block, last, device, w),
                    rest = brute(p, last + 1, device + w);
            if (larger(here, rest) < best) best = larger(here, rest);
        }
    return best;
}

/* The stages cover the chain in order, on devices in order, and cost what is said. */
static void check_partition(const PartitionProblem *p, const Partition *part)
{
    int64_t worst = 0;
    int     device = 0;

    assert_int_in_range(part->stages, 1, p->blocks);
    assert_int_equal(part->first[0], 0);
    for (int s = 0; s < part->stages; s++) {
        int last = (s + 1 < part->stages ? part->first[s + 1] : p->blocks) - 1;
        assert_true(last >= part->first[s]);
        assert_int_equal(part->device[s], device);
        assert_int_in_range(part->width[s], 1, p->max_width);
        worst = larger(worst, p->cost(p->context, part->first[s], last, device, part->width[s]));
        device += part->width[s];
    }
    assert_true(device <= p->devices);
    assert_true(worst == part->bottleneck_ns);
}

static void check_all(const PartitionProblem *p, const Partition *parts, int count)
{
    for (int i = 0; i < count; i++) {
        check_partition(p, &parts[i]);
        if (i > 0) assert_true(parts[i - 1].bottleneck_ns <= parts[i].bottleneck_ns);
    }
}

static PartitionProblem problem_of(Made *m, int devices, int max_width)
{
    return (PartitionProblem){.blocks = m->blocks, .devices = devices, .max_width = max_width,
                              .uniform = m->uniform, .cost = made_cost, .floor = made_floor,
                              .end = made_end, .context = m};
}

static int64_t optimum(const PartitionProblem *p)
{
    Partition *parts;
    int        count;

    assert_int_equal(partition_search(&parts, &count, p, NULL), 0);
    check_all(p, parts, count);
    int64_t ns = count ? parts[0].bottleneck_ns : INT64_MAX;
    partitions_free(parts, count);
    return ns;
}

/* ---- the search ---------------------------------------------------------------------- */

static void optimum_is_brute_force(void **state)
{
    uint64_t seed = test_seed("optimum_is_brute_force", 31);
    Rng      rng = {.seed = seed};
    int      solved = 0, unsolved = 0;
    (void)state;

    for (int i = 0; i < 6000; i++) {
        Made m = made_of(&rng, (Kind)(i % KINDS), (int)rng_range(&rng, 1, 6), i / KINDS % 2);
        int  devices = (int)rng_range(&rng, 1, 6), max_width = (int)rng_range(&rng, 1, devices);
        PartitionProblem p = problem_of(&m, devices, max_width);
        int64_t best = brute(&p, 0, 0);
        if (optimum(&p) != best) fail_msg("case %d", i);
        p.floor = NULL;                          /* the bounds only save time */
        if (optimum(&p) != best) fail_msg("case %d without a floor", i);
        p.end = NULL;
        p.wanted = 64;                           /* by the table of all numbers of stages */
        if (optimum(&p) != best) fail_msg("case %d by the table", i);
        best < INT64_MAX ? solved++ : unsolved++;
    }
    assert_true(solved > 3000 && unsolved > 50);
}

/* Larger than brute force can do: against the plain table. */
static void optimum_is_the_tables(void **state)
{
    Rng rng = {.seed = test_seed("optimum_is_the_tables", 32)};
    (void)state;

    for (int i = 0; i < 300; i++) {
        Made m = made_of(&rng, (Kind)(i % KINDS), (int)rng_range(&rng, 10, 24), i / KINDS % 2);
        int  devices = (int)rng_range(&rng, 2, 20);
        PartitionProblem p = problem_of(&m, devices, (int)rng_range(&rng, 1, devices));
        Partition *table;
        int        count;
        int64_t    best = INT64_MAX;
        assert_int_equal(partition_table(&table, &count, &p, NULL), 0);
        for (int k = 0; k < count; k++)
            if (table[k].bottleneck_ns < best) best = table[k].bottleneck_ns;
        partitions_free(table, count);
        if (optimum(&p) != best) fail_msg("case %d", i);
    }
}

/* Several are different, in order, and the first is the optimum. */
static void several_are_distinct(void **state)
{
    Rng rng = {.seed = test_seed("several_are_distinct", 33)};
    int most = 0;
    (void)state;

    for (int i = 0; i < 60; i++) {
        Made m = made_of(&rng, (Kind)(i % KINDS), (int)rng_range(&rng, 20, 40), i / KINDS % 2);
        PartitionProblem p = problem_of(&m, 40, 40);
        Partition *parts;
        int        count;
        int64_t    best = optimum(&p);
        p.wanted = 8;
        assert_int_equal(partition_search(&parts, &count, &p, NULL), 0);
        assert_true(count <= 8);
        check_all(&p, parts, count);
        assert_true((count ? parts[0].bottleneck_ns : INT64_MAX) == best);
        for (int a = 0; a < count; a++)
            for (int b = 0; b < a; b++) {
                bool same = parts[a].stages == parts[b].stages;
                for (int s = 0; same && s < parts[a].stages; s++)
                    same = parts[a].first[s] == parts[b].first[s]
                           && parts[a].width[s] == parts[b].width[s];
                assert_false(same);
            }
        if (count > most) most = count;
        partitions_free(parts, count);
    }
    assert_int_equal(most, 8);
}

/* What a limit leaves is what there was without it, up to the limit. */
static void a_limit_leaves_the_shorter(void **state)
{
    Rng rng = {.seed = test_seed("a_limit_leaves_the_shorter", 36)};
    int left = 0, none = 0;
    (void)state;

    for (int i = 0; i < 200; i++) {
        Made m = made_of(&rng, (Kind)(i % KINDS), (int)rng_range(&rng, 1, 8), i / KINDS % 2);
        PartitionProblem p = problem_of(&m, (int)rng_range(&rng, 1, 8), 8);
        Partition *all, *some, *one;
        int        count, kept = 0, found, any;
        bool       exists;
        p.wanted = 8;
        assert_int_equal(partition_search(&all, &count, &p, NULL), 0);
        p.limit_ns = count ? all[count / 2].bottleneck_ns - i % 3 : 50;
        if (p.limit_ns < 1) p.limit_ns = 1;
        while (kept < count && all[kept].bottleneck_ns <= p.limit_ns) kept++;
        assert_int_equal(partition_search(&some, &found, &p, NULL), 0);
        assert_int_equal(found, kept);
        for (int k = 0; k < kept; k++) {
            size_t size = (size_t)all[k].stages * sizeof(int);
            assert_int_equal(some[k].bottleneck_ns, all[k].bottleneck_ns);
            assert_int_equal(some[k].stages, all[k].stages);
            assert_memory_equal(some[k].first, all[k].first, size);
            assert_memory_equal(some[k].width, all[k].width, size);
        }
        p.wanted = 1;                            /* by bisection */
        assert_int_equal(partition_search(&one, &any, &p, NULL), 0);
        assert_int_equal(any, kept > 0);
        if (any) assert_int_equal(one[0].bottleneck_ns, all[0].bottleneck_ns);
        if (p.widths) {
            assert_int_equal(partition_exists(&exists, &p, p.limit_ns, NULL), 0);
            assert_int_equal(exists, kept > 0);
        }
        left += kept > 0 && kept < count;
        none += kept == 0;
        partitions_free(one, any);
        partitions_free(all, count);
        partitions_free(some, found);
    }
    assert_true(left > 50 && none > 10);
}

/* A search without memory says so and leaves nothing behind, whichever call fails. */
static void memory_runs_out(void **state)
{
    Rng  rng = {.seed = 34};
    Made m = made_of(&rng, WORK_ONLY, 12, true);
    PartitionProblem p = problem_of(&m, 8, 8);
    int  failures = 0;
    (void)state;

    m.impossible = false;
    for (int wanted = 1; wanted <= 4; wanted += 3)
        for (long n = 1;; n++) {
            Partition *parts;
            int        count;
            Error      err = {""};
            p.wanted = wanted;
            alloc_fail_after(n);
            int rc = partition_search(&parts, &count, &p, &err);
            bool reached = alloc_fail_reached();
            alloc_fail_after(0);
            if (!reached) {
                assert_int_equal(rc, 0);
                partitions_free(parts, count);
                break;
            }
            assert_int_equal(rc, -1);
            assert_null(parts);
            assert_string_equal(err.text, "out of memory");
            failures++;
        }
    assert_true(failures > 10);
}

/* ---- the table of stage costs ----------------------------------------------------------- */

typedef struct {
    int  blocks, devices, batch, kinds, per_node;
    bool reduce, p2p, loader, blocking, gaps;
} Shape;

static void curve_text(Text *out, Rng *rng, const Shape *h, const char *name)
{
    text_printf(out, ", \"%s\": [", name);
    for (int devices = 2, more = 0; devices <= 8; devices += 3, more = 1) {
        if (name[0] == 'p' && more) break;
        for (int x = 0; x < 2; x++) {
            text_printf(out, "%s{", more || x ? ", " : "");
            if (name[0] == 'a') text_printf(out, "\"devices\": %d, ", devices);
            text_printf(out, "\"bytes\": %d, \"us\": %d}", x * (h->gaps ? 4000 : 9000),
                        (int)rng_range(rng, 0, 60));
        }
    }
    text_append(out, "]");
}

static void links_text(Text *out, Rng *rng, const Shape *h)
{
    if (h->p2p) curve_text(out, rng, h, "p2p");
    if (h->reduce) curve_text(out, rng, h, "allreduce");
}

static Trace *trace_of(Rng *rng, const Shape *h)
{
    Text   text = {0};
    Trace *trace;
    Error  err = {""};

    text_printf(&text,
                "{\"format\": \"pipebd-trace\", \"version\": 1, \"name\": \"t\", \"provenance\": "
                "{\"kind\": "
                "\"modelled\", \"source\": \"test\"}, \"workload\": {\"name\": \"w\", \"batch\": "
                "%d, \"samples\": "
                "100}, \"devices\": [",
                h->batch);
    for (int k = 0; k < h->kinds; k++)
        text_printf(&text, "%s{\"kind\": \"k%d\", \"count\": %d}", k ? ", " : "", k,
                    k + 1 < h->kinds ? 2 : h->devices);
    text_append(&text, "], \"blocks\": [");
    for (int b = 0; b < h->blocks; b++) {
        text_printf(
            &text,
            "%s{\"name\": \"b%d\", \"output_bytes\": %d, \"student\": {\"gradient_bytes\": %d}, "
            "\"timings\": [",
            b ? ", " : "", b, (int)rng_range(rng, 1, 500), (int)rng_range(rng, 0, 9000));
        for (int k = 0; k < h->kinds; k++)
            for (int p = h->gaps && h->batch > 2 && b == 1; p < 3; p++) {
                int rows = p == 0 ? 1 : p == 1 ? (h->batch + 1) / 2 : h->batch;
                if (p > 0 && rows == (p == 1 ? 1 : (h->batch + 1) / 2)) continue;
                text_printf(&text,
                            "%s{\"device\": \"k%d\", \"batch\": %d, \"teacher_us\": %d, "
                            "\"forward_us\": %d, \"backward_us\": %d, \"update_us\": %d}",
                            text_string(&text)[text.length - 1] == '}' ? ", " : "", k, rows,
                            (int)rng_range(rng, 0, 30), (int)rng_range(rng, 0, 30),
                            (int)rng_range(rng, 0, 30), (int)rng_range(rng, 0, 30));
            }
        text_append(&text, "]}");
    }
    text_append(&text, "]");
    if (h->loader)
        text_printf(
            &text,
            ", \"loader\": {\"batch_us\": %d, \"sample_us\": 1.3, \"lanes\": 2, \"prefetch\": %d}",
            (int)rng_range(rng, 0, 50), (int)rng_range(rng, 0, 1));
    links_text(&text, rng, h);
    if (h->per_node) {
        text_printf(&text, ", \"nodes\": {\"devices_per_node\": %d", h->per_node);
        links_text(&text, rng, h);
        text_append(&text, "}");
    }
    text_printf(&text, "%s}", h->blocking ? ", \"transfers\": \"blocking\"" : "");
    if (trace_parse(&trace, "t", text_string(&text), text.length, &err) != 0)
        fail_msg("%s\n%s", err.text, text_string(&text));
    text_free(&text);
    return trace;
}

static Shape shape_of(Rng *rng)
{
    Shape h = {.blocks = (int)rng_range(rng, 1, 9), .devices = (int)rng_range(rng, 1, 9),
               .batch = (int)rng_range(rng, 1, 24), .kinds = (int)rng_range(rng, 1, 2)};

    h.per_node = rng_range(rng, 0, 2) ? 0 : (int)rng_range(rng, 1, 4);
    h.reduce = rng_range(rng, 0, 3) > 0;
    h.p2p = rng_range(rng, 0, 3) > 0;
    h.loader = rng_range(rng, 0, 1) > 0;
    h.blocking = rng_range(rng, 0, 3) == 0;
    h.gaps = rng_range(rng, 0, 3) == 0;
    return h;
}

/* All stages: the same cost, floors below it that never shrink, ends below it. */
static void check_stages(const Scenario *s, StageTable *table, CostKind kind)
{
    int n = s->trace->block_count, g = s->device_count;

    for (int d = 0; d < g; d++)
        for (int w = 1; d + w <= g; w++)
            for (int first = 0; first < n; first++)
                for (int last = first; last < n; last++) {
                    int64_t cost = stage_cost(s, kind, first, last, d, w, NULL);
                    int64_t floor = stage_table_floor(table, first, last, d, w);
                    assert_true(stage_table_cost(table, first, last, d, w) == cost);
                    assert_true(floor <= cost);
                    assert_true(stage_table_end(table, last, d, w) <= cost);
                    if (first > 0)
                        assert_true(floor <= stage_table_floor(table, first - 1, last, d, w));
                    if (last + 1 < n)
                        assert_true(floor <= stage_table_floor(table, first, last + 1, d, w));
                }
}

static int64_t best_of(const Scenario *s, StageTable *table, bool fast)
{
    PartitionProblem p = {.blocks = s->trace->block_count, .devices = s->device_count,
                          .max_width = s->device_count, .cost = stage_table_cost, .context = table};

    if (fast) {
        p.uniform = stage_table_uniform(table);
        p.floor = stage_table_floor;
        p.end = stage_table_end;
        p.widths = stage_table_widths(table, &p.width_count);
    }
    return optimum(&p);
}

static void table_is_the_cost(void **state)
{
    Rng rng = {.seed = test_seed("table_is_the_cost", 35)};
    int uniform = 0, fewer_widths = 0;
    (void)state;

    for (int i = 0; i < 1500; i++) {
        Shape      h = shape_of(&rng);
        Trace     *trace = trace_of(&rng, &h);
        CostKind   kind = (CostKind)(i % 3);
        Scenario   s;
        StageTable *table;
        ScenarioOptions options = {
            .devices = h.devices, .queue_depth = 2, .extrapolate = rng_range(&rng, 0, 3) > 0};
        double     slowdown[16] = {1, 1, 1.5, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
        int        widths;
        if (i % 5 == 0) trace->slowdown = slowdown;
        assert_int_equal(scenario_build(&s, trace, &options, NULL), 0);
        assert_int_equal(stage_table_build(&table, &s, kind, s.device_count, NULL), 0);
        check_stages(&s, table, kind);
        if (best_of(&s, table, true) != best_of(&s, table, false)) fail_msg("case %d", i);
        stage_table_widths(table, &widths);
        uniform += stage_table_uniform(table);
        fewer_widths += widths < s.device_count && widths < s.batch;
        stage_table_free(table);
        scenario_free(&s);
        trace_free(trace);
    }
    assert_true(uniform > 200 && fewer_widths > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(optimum_is_brute_force), cmocka_unit_test(optimum_is_the_tables),
        cmocka_unit_test(several_are_distinct),
        cmocka_unit_test(a_limit_leaves_the_shorter), cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(table_is_the_cost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
