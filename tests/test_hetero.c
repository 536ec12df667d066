/* Devices of several kinds: row shares, what a stage costs on a mixed group, and the
 * search over orders, against brute force. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/text.h"
#include "planner/hetero/hetero.h"
#include "planner/hetero/order.h"
#include "tests/support.h"

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* ---- shares -------------------------------------------------------------------------- */

enum { MAX_CLASSES = 3, MAX_ROWS = 24 };

/* ns[class][rows], which do not fall. */
typedef struct { int64_t ns[MAX_CLASSES][MAX_ROWS + 1]; } Times;

static int64_t table_time(void *context, int class, int64_t rows)
{
    return ((Times *)context)->ns[class][rows];
}

static int64_t line_time(void *context, int class, int64_t rows)
{
    return ((int64_t *)context)[class] * rows;
}

/* Per row 2, 2 and 4 us: 12 rows in 2:2:1, and rounded so that nobody needs more than 10.
 *
 *     fast  |##########|  5 rows, 10
 *     fast  |##########|  5 rows, 10
 *     slow  |########  |  2 rows,  8 */
static void members_finish_together(void **state)
{
    Times   times = {0};
    int     counts[] = {2, 1};
    int64_t least[] = {1, 1}, most[] = {12, 12}, rows[3];
    ShareProblem p = {2, counts, least, most, 12, table_time, &times};
    (void)state;

    for (int r = 1; r <= 12; r++) { times.ns[0][r] = 2 * r; times.ns[1][r] = 4 * r; }
    assert_int_equal(shares_cost(&p), 10);
    assert_int_equal(shares_rows(rows, &p, NULL), 0);
    assert_int_equal(rows[0], 5);
    assert_int_equal(rows[1], 5);
    assert_int_equal(rows[2], 2);
}

/* One class: 14 rows on four are 4, 4, 3, 3, as everywhere. */
static void equal_members_have_even_shares(void **state)
{
    Times   times = {0};
    int     counts[] = {4};
    int64_t least[] = {1}, most[] = {14}, rows[4];
    ShareProblem p = {1, counts, least, most, 14, table_time, &times};
    (void)state;

    for (int flat = 0; flat < 2; flat++) {
        for (int r = 1; r <= 14; r++) times.ns[0][r] = flat ? 7 : 3 * r;
        assert_int_equal(shares_cost(&p), flat ? 7 : 12);
        assert_int_equal(shares_rows(rows, &p, NULL), 0);
        assert_true(rows[0] == 4 && rows[1] == 4 && rows[2] == 3 && rows[3] == 3);
    }
}

/* A slow member that cannot have fewer than 4 rows takes 40 whatever the others do; they
 * still share the other 8 evenly, and are done at 4. */
static void the_slowest_at_its_least(void **state)
{
    Times   times = {0};
    int     counts[] = {2, 1};
    int64_t least[] = {1, 4}, most[] = {12, 12}, rows[3];
    ShareProblem p = {2, counts, least, most, 12, table_time, &times};
    (void)state;

    for (int r = 1; r <= 12; r++) { times.ns[0][r] = r; times.ns[1][r] = 10 * r; }
    assert_int_equal(shares_cost(&p), 40);
    assert_int_equal(shares_rows(rows, &p, NULL), 0);
    assert_true(rows[0] == 4 && rows[1] == 4 && rows[2] == 4);
    least[1] = 11;                               /* 11 + 1 + 1 is more than 12 */
    assert_true(shares_cost(&p) == SHARES_IMPOSSIBLE);
    least[1] = 1;
    most[0] = 3;                                 /* 3 + 3, so the slow one gets 6 */
    assert_int_equal(shares_cost(&p), 60);
}

/* Every split of batch over the members from the i-th on. */
static int64_t brute_shares(const ShareProblem *p, const int *class_of, int members, int i,
                            int64_t batch)
{
    int64_t best = SHARES_IMPOSSIBLE;

    if (i == members) return batch == 0 ? 0 : SHARES_IMPOSSIBLE;
    int c = class_of[i];
    for (int64_t rows = p->least[c]; rows <= p->most[c] && rows <= batch; rows++) {
        int64_t rest = brute_shares(p, class_of, members, i + 1, batch - rows);
        int64_t ns = rest == SHARES_IMPOSSIBLE ? rest : larger(rest, p->time(p->context, c, rows));
        if (ns < best) best = ns;
    }
    return best;
}

static void shares_are_brute_force(void **state)
{
    Rng rng = {.seed = test_seed("shares_are_brute_force", 41)};
    int possible = 0, uneven = 0;
    (void)state;

    for (int i = 0; i < 20000; i++) {
        Times   times;
        int     counts[MAX_CLASSES], class_of[6], members = 0,
                                              classes = (int)rng_range(&rng, 1, MAX_CLASSES);
        int64_t least[MAX_CLASSES], most[MAX_CLASSES], rows[6], sum = 0, worst = 0;
        int     batch = (int)rng_range(&rng, 1, 12), steep = (int)rng_range(&rng, 0, 9);
        for (int c = 0; c < classes; c++) {
            counts[c] = (int)rng_range(&rng, c == 0, 2);
            least[c] = rng_range(&rng, 0, 2) ? 1 : rng_range(&rng, 1, 6);
            most[c] = rng_range(&rng, 0, 2) ? MAX_ROWS : rng_range(&rng, 1, 12);
            times.ns[c][0] = rng_range(&rng, 0, 20);
            for (int r = 1; r <= MAX_ROWS; r++)
                times.ns[c][r] = times.ns[c][r - 1] + rng_range(&rng, 0, steep);
            for (int k = 0; k < counts[c]; k++) class_of[members++] = c;
        }
        ShareProblem p = {classes, counts, least, most, batch, table_time, &times};
        int64_t best = brute_shares(&p, class_of, members, 0, batch);
        if (shares_cost(&p) != best)
            fail_msg("case %d: %" PRId64 ", brute force %" PRId64, i, shares_cost(&p), best);
        if (best == SHARES_IMPOSSIBLE) continue;
        assert_int_equal(shares_rows(rows, &p, NULL), 0);
        for (int k = 0; k < members; k++) {
            int c = class_of[k];
            if (rows[k] < least[c] || rows[k] > most[c]) fail_msg("case %d: member %d", i, k);
            if (k && class_of[k - 1] == c) assert_int_in_range(rows[k - 1] - rows[k], 0, 1);
            sum += rows[k];
            worst = larger(worst, times.ns[c][rows[k]]);
        }
        if (sum != batch || worst != best)
            fail_msg("case %d: shares do not take what they cost", i);
        possible++;
        uneven += members > 1 && rows[0] > rows[members - 1] + 1;
    }
    assert_true(possible > 10000 && uneven > 1000);
}

/* More classes than the search for the least time takes notes of: class c takes c + 1 a row, so by
 * T it has T / (c + 1) rows, and 2, 4, 20 classes of one member each fill the batch at these. */
static void any_number_of_classes(void **state)
{
    enum { MOST_CLASSES = 20 };
    static int64_t ns[MOST_CLASSES];
    (void)state;

    for (int classes = 2; classes <= MOST_CLASSES; classes += classes < 4 ? 2 : 16) {
        int     counts[MOST_CLASSES];
        int64_t least[MOST_CLASSES], most[MOST_CLASSES], rows[MOST_CLASSES], soonest = 0, room = 0;
        for (int c = 0; c < classes; c++) {
            counts[c] = 1;
            least[c] = 1;
            most[c] = 100;
            ns[c] = c + 1;
        }
        for (; room < 100; soonest++) {
            room = 0;
            for (int c = 0; c < classes; c++) room += (soonest + 1) / (c + 1);
        }
        ShareProblem p = {classes, counts, least, most, 100, line_time, ns};
        assert_true(soonest >= classes);
        assert_int_equal(shares_cost(&p), soonest);
        assert_int_equal(shares_rows(rows, &p, NULL), 0);
        for (int c = 0; c < classes; c++) assert_true(rows[c] * ns[c] <= soonest);
    }
}

/* ---- traces ------------------------------------------------------------------------------ */

typedef struct {
    int  blocks, batch, kinds, counts[3], alike;     /* alike: kinds have the same times */
    int  first_batch;                                /* the least that is measured */
    bool falls;                                      /* times may fall as rows grow */
    bool reduce, p2p, blocking, memory;
    int  lanes, prefetch;                            /* lanes 0: no loader */
    int  half;                                       /* this kind takes half; -1: none */
    int  per_node;                                   /* devices on a node; 0: all on one */
    int  students;                                   /* that each block lists; 0: no list */
} Shape;

static Shape shape_of(Rng *rng)
{
    Shape h = {.blocks = (int)rng_range(rng, 1, 4), .batch = (int)rng_range(rng, 2, 6),
               .kinds = (int)rng_range(rng, 2, 3), .first_batch = 1, .half = -1};

    for (int k = 0; k < h.kinds; k++) h.counts[k] = (int)rng_range(rng, 1, h.kinds == 2 ? 2 : 1);
    if (rng_range(rng, 0, 3) == 0) h.first_batch = 2;
    h.reduce = rng_range(rng, 0, 2) > 0;
    h.p2p = rng_range(rng, 0, 2) > 0;
    h.blocking = rng_range(rng, 0, 3) == 0;
    h.lanes = (int)rng_range(rng, 0, 2);
    h.prefetch = (int)rng_range(rng, 0, 2);
    h.memory = rng_range(rng, 0, 1) == 1;
    h.students = (int)(rng_range(rng, 0, 1) * rng_range(rng, 1, 3));
    return h;
}

/* Works from..to-1 on all kinds; every step-th batch is measured, and the last. */
static void timings_text(const Shape *h, uint64_t seed, int b, int kind, int from, int to, int step,
                         Text *out)
{
    static const char *const keys[] = {"teacher_us", "forward_us", "backward_us", "update_us"};
    int like = h->alike ? 0 : kind, us[4] = {0};

    for (int work = from; work < to; work++)
        us[work] = (int)(rng_u64(seed, (uint64_t)b, (uint64_t)like, (uint64_t)work) % 20);
    for (int rows = h->first_batch; rows <= h->batch; rows++) {
        if ((rows - h->first_batch) % step && rows < h->batch) continue;
        text_printf(out, "%s{\"device\": \"k%d\", \"batch\": %d",
                    kind || rows > h->first_batch ? ", " : "", kind, rows);
        for (int work = from; work < to; work++) {
            int more =
                (int)(rng_u64(seed, (uint64_t)(100 * b + rows), (uint64_t)like, (uint64_t)work)
                      % 12);
            us[work] += h->falls ? more - 5 : more;
            if (us[work] < 0) us[work] = 0;
            text_printf(out, ", \"%s\": %d", keys[work], us[work] * 2 / (kind == h->half ? 2 : 1));
        }
        text_append(out, "}");
    }
}

static void students_text(const Shape *h, uint64_t seed, int b, Text *out)
{
    text_append(out, ", \"students\": [");
    for (int j = 0; j < h->students; j++) {
        text_printf(out, "%s{\"name\": \"s%d\", \"gradient_bytes\": %d, \"timings\": [",
                    j ? ", " : "", j, 1 + j);
        for (int k = 0; k < h->kinds; k++)
            timings_text(h, seed + (uint64_t)j, b, k, 1, 4, 1 + j, out);
        text_append(out, "]}");
    }
    text_append(out, "]");
}

static Trace *trace_of(const Shape *h, uint64_t seed)
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
    for (int k = 0; k < h->kinds; k++) {
        text_printf(&text, "%s{\"kind\": \"k%d\", \"count\": %d", k ? ", " : "", k, h->counts[k]);
        if (h->memory && (k || seed % 3))
            text_printf(&text, ", \"memory_bytes\": %d", (int)(seed % 400) + 100 + 100 * k);
        text_append(&text, "}");
    }
    text_append(&text, "], \"blocks\": [");
    for (int b = 0; b < h->blocks; b++) {
        text_printf(&text, "%s{\"name\": \"b%d\", \"output_bytes\": %d, %s\"timings\": [",
                    b ? ", " : "", b, (int)(seed >> b & 31) + 1,
                    h->students ? "" : "\"student\": {\"gradient_bytes\": 1}, ");
        for (int k = 0; k < h->kinds; k++)
            timings_text(h, seed, b, k, 0, h->students ? 1 : 4, 1, &text);
        text_append(&text, "]");
        if (h->students) students_text(h, seed, b, &text);
        if (h->memory)
            text_printf(&text, ", \"teacher\": {\"weight_bytes\": %d, \"activation_bytes\": %d}",
                        (int)(seed >> b & 63), (int)(seed >> 2 * b & 31));
        text_append(&text, "}");
    }
    text_append(&text, "]");
    if (h->lanes)
        text_printf(
            &text,
            ", \"loader\": {\"batch_us\": %d, \"sample_us\": 3.7, \"lanes\": %d, \"prefetch\": %d}",
            (int)(seed % 30), h->lanes, h->prefetch);
    if (h->p2p)
        text_printf(
            &text,
            ", \"p2p\": [{\"bytes\": 1, \"us\": 3}, {\"bytes\": 60, \"us\": %d}, {\"bytes\": 1000, "
            "\"us\": 200}]",
            h->falls ? 1 : (int)(seed % 40) + 3);
    if (h->reduce)
        text_printf(&text,
                    ", \"allreduce\": [{\"devices\": 2, \"bytes\": 1, \"us\": %d}, {\"devices\": "
                    "2, \"bytes\": 9, \"us\": "
                    "30}, {\"devices\": 4, \"bytes\": 1, \"us\": %d}, {\"devices\": 4, \"bytes\": "
                    "9, \"us\": 40}]",
                    (int)(seed % 23), (int)(seed % 17));
    if (h->per_node)
        text_printf(&text,
                    ", \"nodes\": {\"devices_per_node\": %d, \"p2p\": [{\"bytes\": 1, \"us\": %d}, "
                    "{\"bytes\": "
                    "1000, \"us\": 300}], \"allreduce\": [{\"devices\": 2, \"bytes\": 1, \"us\": "
                    "%d}, {\"devices\": 2, "
                    "\"bytes\": 9, \"us\": 80}, {\"devices\": 4, \"bytes\": 1, \"us\": 90}, "
                    "{\"devices\": 4, \"bytes\": "
                    "9, \"us\": 95}]}",
                    h->per_node, (int)(seed % 61), (int)(seed % 53));
    text_printf(&text, "%s}", h->blocking ? ", \"transfers\": \"blocking\"" : "");
    if (trace_parse(&trace, "t", text_string(&text), text.length, &err) != 0)
        fail_msg("%s\n%s", err.text, text_string(&text));
    text_free(&text);
    return trace;
}

typedef struct {
    Trace      *trace;
    Scenario    s;
    GroupCosts *costs;
} World;

/* Costs borrow the scenario: a world stays where it is. */
static void world_make(World *w, const Shape *h, uint64_t seed, CostKind kind)
{
    w->trace = trace_of(h, seed);
    assert_int_equal(scenario_build(&w->s, w->trace, &(ScenarioOptions){.queue_depth = 2}, NULL),
                     0);
    assert_int_equal(group_costs_build(&w->costs, &w->s, kind, false, NULL), 0);
}

static void world_free(World *w)
{
    group_costs_free(w->costs);
    scenario_free(&w->s);
    trace_free(w->trace);
}

/* ---- brute force: every group, every share, every cut --------------------------------------- */

typedef struct {
    const Scenario *s;
    CostKind        kind;
    int             first, last, width;
    int             before, after;       /* devices beside them, if there is a block for them */
    int             devices[8];
    int64_t         rows[8];
} Try;

/* Every share of the members from the i-th on. */
static int64_t every_share(Try *t, int i, int64_t left)
{
    int64_t best = STAGE_IMPOSSIBLE;

    if (i == t->width) {
        if (left) return STAGE_IMPOSSIBLE;
        return stage_cost_shares(t->s, t->kind, t->first, t->last, t->devices, t->rows, t->width,
                                 t->before, t->after, NULL);
    }
    for (t->rows[i] = 1; t->rows[i] <= left; t->rows[i]++) {
        int64_t rows = t->rows[i], ns = every_share(t, i + 1, left - rows);
        t->rows[i] = rows;
        if (ns < best) best = ns;
    }
    return best;
}

/* Every set of devices that are left for a stage, and every stage. */
static int64_t every_order(const Scenario *s, CostKind kind, int max_width, int block,
                           unsigned used)
{
    int64_t best = STAGE_IMPOSSIBLE;

    if (block == s->trace->block_count) return 0;
    for (unsigned set = 1; set < 1u << s->device_count; set++) {
        Try t = {.s = s, .kind = kind, .first = block, .before = block > 0 ? 0 : -1};
        if (set & used || __builtin_popcount(set) > max_width) continue;
        for (int d = 0; d < s->device_count; d++)
            if (set >> d & 1) t.devices[t.width++] = d;
        for (t.last = block; t.last < s->trace->block_count; t.last++) {
            /* one node: which does not matter */
            t.after = t.last + 1 < s->trace->block_count ? 0 : -1;
            int64_t here = every_share(&t, 0, s->batch);
            if (here >= best) continue;
            int64_t rest = every_order(s, kind, max_width, t.last + 1, used | set);
            if (larger(here, rest) < best) best = larger(here, rest);
        }
    }
    return best;
}

/* Stages in order, on devices there are, with shares that take what the stage costs. */
static void check_partition(const World *w, const HeteroPartition *p, int max_width)
{
    const int *counts = group_costs_counts(w->costs);
    int        classes = group_costs_classes(w->costs), used[MAX_CLASSES] = {0};
    int64_t    worst = 0;

    assert_int_equal(p->first[0], 0);
    for (int i = 0; i < p->stages; i++) {
        Try t = {.s = &w->s, .kind = COST_SIM, .first = p->first[i],
                 .last = (i + 1 < p->stages ? p->first[i + 1] : w->trace->block_count) - 1};
        const int *members = p->counts + i * classes;
        int64_t    sum = 0;
        assert_true(t.last >= t.first);
        for (int c = 0; c < classes; c++)
            for (int k = 0; k < members[c]; k++, used[c]++)
                for (int d = 0, seen = 0; d < w->s.device_count; d++)
                    if (group_costs_class(w->costs, d) == c && seen++ == used[c])
                        t.devices[t.width++] = d;
        assert_int_in_range(t.width, 1, max_width);
        HeteroGroup group = {.first = t.first, .last = t.last, .counts = members};
        assert_int_equal(group_rows(t.rows, w->costs, &group, NULL), 0);
        for (int k = 0; k < t.width; k++) sum += t.rows[k];
        assert_int_equal(sum, w->s.batch);
        int64_t ns = stage_cost_shares(&w->s, COST_SIM, t.first, t.last, t.devices, t.rows, t.width,
                                       t.first > 0 ? 0 : -1,
                                       t.last + 1 < w->trace->block_count ? 0 : -1, NULL);
        assert_true(ns <= group_cost(w->costs, &group)
                    && group_floor(w->costs, &group) <= group_cost(w->costs, &group));
        if (group_costs_monotone(w->costs)) assert_int_equal(ns, group_cost(w->costs, &group));
        worst = larger(worst, group_cost(w->costs, &group));
    }
    for (int c = 0; c < classes; c++) assert_true(used[c] <= counts[c]);
    assert_int_equal(worst, p->bottleneck_ns);
}

static int64_t optimum(World *w, int max_width)
{
    HeteroPartition *parts;
    int             count;

    assert_int_equal(hetero_search(&parts, &count, w->costs, max_width, 1, 3, 0, NULL, NULL), 0);
    for (int i = 0; i < count && w->s.trace->block_count > 0; i++)
        if (i > 0) assert_true(parts[i - 1].bottleneck_ns <= parts[i].bottleneck_ns);
    int64_t ns = count ? parts[0].bottleneck_ns : STAGE_IMPOSSIBLE;
    hetero_free(parts, count);
    return ns;
}

static void search_is_brute_force(void **state)
{
    Rng rng = {.seed = test_seed("search_is_brute_force", 42)};
    int possible = 0;
    (void)state;

    for (int i = 0; i < 500; i++) {
        Shape    h = shape_of(&rng);
        CostKind kind = i % 2 ? COST_BOUND : COST_SIM;
        World    w;
        world_make(&w, &h, rng_next(&rng), kind);
        int      max_width = (int)rng_range(&rng, 1, w.s.device_count);
        int64_t  best = every_order(&w.s, kind, max_width, 0, 0), found = optimum(&w, max_width);
        if (found != best) fail_msg("case %d: %" PRId64 ", brute force %" PRId64, i, found, best);
        HeteroPartition *parts;
        int             count;
        assert_int_equal(hetero_search(&parts, &count, w.costs, max_width, 1, 3, 0, NULL, NULL), 0);
        for (int k = 0; k < count && kind == COST_SIM; k++)
            check_partition(&w, &parts[k], max_width);
        hetero_free(parts, count);
        for (int less = 0; less < 2 && best > 1 && best < STAGE_IMPOSSIBLE; less++) {
            assert_int_equal(
                hetero_search(&parts, &count, w.costs, max_width, 1, 3, best - less, NULL, NULL),
                0);
            assert_int_equal(count > 0, !less);
            for (int k = 0; k < count; k++) assert_true(parts[k].bottleneck_ns == best);
            hetero_free(parts, count);
        }
        possible += best < STAGE_IMPOSSIBLE;
        world_free(&w);
    }
    assert_true(possible > 300 && possible < 490);
}

/* Times that fall as rows grow: what is found is possible and costs no more than it says,
 * the bound is one, and the best shares lie between what is found and what optimistic
 * times give. */
static void falling_times_are_safe(void **state)
{
    Rng rng = {.seed = test_seed("falling_times_are_safe", 43)};
    int falling = 0, same = 0;
    (void)state;

    for (int i = 0; i < 200; i++) {
        Shape    h = shape_of(&rng);
        uint64_t seed = rng_next(&rng);
        h.falls = true;
        World   sim, bound, hope;
        world_make(&sim, &h, seed, COST_SIM);
        world_make(&bound, &h, seed, COST_BOUND);
        world_make(&hope, &h, seed, COST_SIM);
        group_costs_free(hope.costs);
        assert_int_equal(group_costs_build(&hope.costs, &hope.s, COST_SIM, true, NULL), 0);
        int     g = sim.s.device_count;
        int64_t found = optimum(&sim, g), best = every_order(&sim.s, COST_SIM, g, 0, 0);
        assert_true(found >= best && best >= optimum(&hope, g));
        assert_true(optimum(&bound, g) <= every_order(&bound.s, COST_BOUND, g, 0, 0));
        HeteroPartition *parts;
        int             count;
        assert_int_equal(hetero_search(&parts, &count, sim.costs, g, 1, 3, 0, NULL, NULL), 0);
        for (int k = 0; k < count; k++) check_partition(&sim, &parts[k], g);
        hetero_free(parts, count);
        falling += !group_costs_monotone(sim.costs);
        same += found == best;
        world_free(&sim);
        world_free(&bound);
        world_free(&hope);
    }
    assert_true(falling > 150 && same > 5);
}

/* Two devices at a time: what a search over pairs finds is the best of its kind, and no
 * better than one device at a time. Pairs of 2, 3 and 1 devices are 1, 1 and none. */
static void devices_in_pairs(void **state)
{
    Rng rng = {.seed = test_seed("devices_in_pairs", 49)};
    int worse = 0;
    (void)state;

    for (int i = 0; i < 200; i++) {
        Shape h = shape_of(&rng);
        World w;
        h.batch = 6;
        h.counts[0] = 2;
        h.counts[1] = 3;
        h.counts[2] = 1;
        world_make(&w, &h, rng_next(&rng), COST_SIM);
        HeteroPartition *parts;
        int             count, classes = group_costs_classes(w.costs), g = w.s.device_count;
        int64_t         best = optimum(&w, g);
        assert_int_equal(hetero_search(&parts, &count, w.costs, g, 2, 3, 0, NULL, NULL), 0);
        for (int k = 0; k < count; k++) {
            check_partition(&w, &parts[k], g);
            assert_true(parts[k].bottleneck_ns >= best);
            for (int c = 0; c < parts[k].stages * classes; c++)
                assert_int_equal(parts[k].counts[c] % 2, 0);
        }
        /* One stage on a pair or on both, or a pair after another: no more is possible. */
        int64_t least = STAGE_IMPOSSIBLE;
        int     groups[3][3] = {{2, 2, 0}, {2, 0, 0}, {0, 2, 0}}, n = w.trace->block_count;
        for (int a = 0; a < 3; a++) {
            HeteroGroup whole = {.first = 0, .last = n - 1, .counts = groups[a]};
            int64_t    ns = group_cost(w.costs, &whole);
            if (ns < least) least = ns;
            for (int cut = 0; a > 0 && cut + 1 < n; cut++) {
                HeteroGroup one = {.first = 0, .last = cut, .counts = groups[a]};
                HeteroGroup two = {.first = cut + 1, .last = n - 1, .counts = groups[3 - a]};
                int64_t    x = group_cost(w.costs, &one), y = group_cost(w.costs, &two);
                if (larger(x, y) < least) least = larger(x, y);
            }
        }
        if ((count ? parts[0].bottleneck_ns : STAGE_IMPOSSIBLE) != least) fail_msg("case %d", i);
        worse += count && parts[0].bottleneck_ns > best;
        hetero_free(parts, count);
        world_free(&w);
    }
    assert_true(worse > 50);
}

/* ---- identities ------------------------------------------------------------------------------ */

/* Kinds with the same times cost what one kind of as many devices costs. */
static void equal_kinds_are_one_kind(void **state)
{
    Rng rng = {.seed = test_seed("equal_kinds_are_one_kind", 44)};
    (void)state;

    for (int i = 0; i < 300; i++) {
        Shape    h = shape_of(&rng), one;
        uint64_t seed = rng_next(&rng);
        h.memory = false;                        /* each kind would have its own */
        h.alike = 1;
        one = h;
        one.kinds = 1;
        for (int k = 1; k < h.kinds; k++) one.counts[0] += h.counts[k];
        World a, b;
        world_make(&a, &h, seed, COST_SIM);
        world_make(&b, &one, seed, COST_SIM);
        int   max_width = (int)rng_range(&rng, 1, a.s.device_count);
        assert_int_equal(group_costs_classes(a.costs), h.kinds);
        if (optimum(&a, max_width) != optimum(&b, max_width)) fail_msg("case %d", i);
        world_free(&a);
        world_free(&b);
    }
}

/* A kind that takes half the time: the optimum is not slower. */
static void faster_kinds_do_no_harm(void **state)
{
    Rng rng = {.seed = test_seed("faster_kinds_do_no_harm", 45)};
    int faster = 0;
    (void)state;

    for (int i = 0; i < 300; i++) {
        Shape    h = shape_of(&rng), half = h;
        uint64_t seed = rng_next(&rng);
        half.half = (int)rng_range(&rng, 0, h.kinds - 1);
        World   a, b;
        world_make(&a, &h, seed, COST_SIM);
        world_make(&b, &half, seed, COST_SIM);
        int64_t before = optimum(&a, a.s.device_count), after = optimum(&b, b.s.device_count);
        if (after > before) fail_msg("case %d: %" PRId64 " after %" PRId64, i, after, before);
        faster += after < before;
        world_free(&a);
        world_free(&b);
    }
    assert_true(faster > 100);
}

/* ---- orders ---------------------------------------------------------------------------------- */

/* Every cut and every share, stages on devices that follow one another in the order. */
static int64_t every_cut(const Scenario *s, const int *order, int max_width, int block, int at)
{
    int64_t best = STAGE_IMPOSSIBLE;
    int     g = s->device_count;

    if (block == s->trace->block_count) return 0;
    for (int width = 1; width <= max_width && at + width <= g; width++) {
        Try t = {.s = s, .kind = COST_SIM, .first = block, .width = width,
                 .before = at > 0 ? order[at - 1] : -1,
                 .after = at + width < g ? order[at + width] : -1};
        for (int i = 0; i < width; i++) t.devices[i] = order[at + i];
        for (t.last = block; t.last < s->trace->block_count; t.last++) {
            int64_t here = every_share(&t, 0, s->batch),
                    rest = every_cut(s, order, max_width, t.last + 1, at + width);
            int64_t worst = here > rest ? here : rest;
            if (worst < best) best = worst;
        }
    }
    return best;
}

static int64_t ordered_optimum(World *w, const int *order, int max_width)
{
    Partition *parts;
    int        count;

    assert_int_equal(ordered_search(&parts, &count, w->costs, order, max_width, 1, NULL), 0);
    int64_t ns = count ? parts[0].bottleneck_ns : STAGE_IMPOSSIBLE;
    partitions_free(parts, count);
    return ns;
}

/* One order, whatever it is, on one node and on several. */
static void one_order_is_brute_force(void **state)
{
    Rng rng = {.seed = test_seed("one_order_is_brute_force", 47)};
    int nodes = 0;
    (void)state;

    for (int i = 0; i < 400; i++) {
        Shape h = shape_of(&rng);
        World w;
        int   order[8];
        h.per_node = (int)rng_range(&rng, 0, 3);
        world_make(&w, &h, rng_next(&rng), COST_SIM);
        int g = w.s.device_count, max_width = (int)rng_range(&rng, 1, g);
        for (int d = 0; d < g; d++) order[d] = d;
        for (int d = g - 1; d > 0; d--) {
            int k = (int)rng_range(&rng, 0, d), moved = order[d];
            order[d] = order[k];
            order[k] = moved;
        }
        int64_t best = every_cut(&w.s, order, max_width, 0, 0),
                found = ordered_optimum(&w, order, max_width);
        if (found != best) fail_msg("case %d: %" PRId64 ", brute force %" PRId64, i, found, best);
        nodes += scenario_node(&w.s, g - 1) > 0;
        world_free(&w);
    }
    assert_true(nodes > 100);
}

/* The search over counts is the best of all orders, one after another: larger than brute
 * force can do. */
static void counts_are_the_best_order(void **state)
{
    Rng rng = {.seed = test_seed("counts_are_the_best_order", 48)};
    int mattered = 0;
    (void)state;

    for (int i = 0; i < 40; i++) {
        Shape   h = shape_of(&rng);
        World   w;
        Orders  orders;
        int     order[8], tried = 0;
        int64_t best = STAGE_IMPOSSIBLE, worst = 0;
        h.blocks = (int)rng_range(&rng, 4, 9);
        h.batch = 24;
        h.first_batch = 1;
        h.counts[0] = h.counts[1] = 3 - (h.kinds == 3);
        world_make(&w, &h, rng_next(&rng), COST_SIM);
        int max_width = rng_range(&rng, 0, 2) ? w.s.device_count : 1;
        assert_int_equal(orders_build(&orders, w.costs, 1000, NULL), 0);
        assert_true(orders.every);
        do {
            orders_get(&orders, order);
            int64_t ns = ordered_optimum(&w, order, max_width);
            if (ns < best) best = ns;
            if (ns > worst) worst = ns;
            tried++;
        } while (orders_next(&orders));
        assert_true(tried == (int)(orders.total + 0.5) && tried == (h.kinds == 2 ? 20 : 30));
        if (optimum(&w, max_width) != best) fail_msg("case %d", i);
        mattered += worst > best;
        orders_free(&orders);
        world_free(&w);
    }
    assert_true(mattered > 20);
}

/* Two of each of two kinds, two on a node, so that kinds and nodes agree: 6 orders. If
 * 3 are too many, those in which neighbours stay together: 0 1 2 3 and 2 3 0 1. */
static void orders_are_listed(void **state)
{
    static const int all[6][4] = {{0, 1, 2, 3}, {0, 2, 1, 3}, {0, 2, 3, 1},
                                  {2, 0, 1, 3}, {2, 0, 3, 1}, {2, 3, 0, 1}};
    Shape  h = {.blocks = 2,
                .batch = 4,
                .kinds = 2,
                .counts = {2, 2},
                .first_batch = 1,
                .half = -1,
                .per_node = 2};
    World  w;
    Orders orders;
    int    order[4], i = 0;
    (void)state;

    world_make(&w, &h, 1, COST_SIM);
    assert_int_equal(orders_build(&orders, w.costs, 6, NULL), 0);
    do {
        orders_get(&orders, order);
        assert_memory_equal(order, all[i++], sizeof order);
    } while (orders_next(&orders));
    assert_int_equal(i, 6);
    orders_free(&orders);
    assert_int_equal(orders_build(&orders, w.costs, 5, NULL), 0);
    assert_false(orders.every);
    assert_true(orders.total > 5.9 && orders.total < 6.1);
    orders_get(&orders, order);
    assert_memory_equal(order, all[0], sizeof order);
    assert_true(orders_next(&orders));
    orders_get(&orders, order);
    assert_memory_equal(order, all[5], sizeof order);
    assert_false(orders_next(&orders));
    orders_free(&orders);
    world_free(&w);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void memory_runs_out(void **state)
{
    Rng   rng = {.seed = 46};
    Shape h = {.blocks = 4,
               .batch = 6,
               .kinds = 2,
               .counts = {2, 2},
               .first_batch = 1,
               .reduce = true,
               .p2p = true,
               .half = -1};
    World w;
    int   failures = 0;
    (void)state;

    world_make(&w, &h, rng_next(&rng), COST_SIM);
    for (long n = 1;; n++) {
        GroupCosts     *costs = NULL;
        HeteroPartition *parts = NULL;
        int             count = 0;
        Error           err = {""};
        alloc_fail_after(n);
        int rc = group_costs_build(&costs, &w.s, COST_SIM, false, &err);
        if (rc == 0) rc = hetero_search(&parts, &count, costs, 4, 1, 3, 0, NULL, &err);
        bool reached = alloc_fail_reached();
        alloc_fail_after(0);
        if (rc == 0) hetero_free(parts, count);
        group_costs_free(costs);
        if (!reached) { assert_int_equal(rc, 0); break; }
        assert_int_equal(rc, -1);
        assert_null(parts);
        assert_string_equal(err.text, "out of memory");
        failures++;
    }
    assert_true(failures > 20);
    world_free(&w);
}

/* ---- searches that are kept ---------------------------------------------------------------- */

static void check_same(const HeteroPartition *a, int a_count, const HeteroPartition *b, int b_count,
                       int classes)
{
    assert_int_equal(a_count, b_count);
    for (int i = 0; i < a_count; i++) {
        size_t n = (size_t)a[i].stages;
        assert_true(a[i].bottleneck_ns == b[i].bottleneck_ns && a[i].stages == b[i].stages);
        assert_memory_equal(a[i].first, b[i].first, n * sizeof *a[i].first);
        assert_memory_equal(a[i].counts, b[i].counts, n * (size_t)classes * sizeof *a[i].counts);
    }
}

/* With one device or another slowed down, any limit, and any width: as if nothing were kept. */
static void kept_searches_are_the_same(void **state)
{
    static const double factors[] = {0.5, 1.25, 3};
    static double       slowdown[TRACE_MAX_DEVICES];
    Rng rng = {.seed = test_seed("kept_searches_are_the_same", 50)};
    int none = 0, some = 0;
    (void)state;

    for (int i = 0; i < 40; i++) {
        Shape       h = shape_of(&rng);
        World       w;
        HeteroMemo *memo;
        int64_t     best = 100;
        world_make(&w, &h, rng_next(&rng), COST_SIM);
        assert_int_equal(hetero_memo_new(&memo, NULL), 0);
        for (int d = 0; d < TRACE_MAX_DEVICES; d++) slowdown[d] = 1;
        w.trace->slowdown = slowdown;
        for (int k = 0; k < 40; k++) {
            int     d = (int)rng_range(&rng, 0, w.s.device_count - 1);
            int     width = rng_range(&rng, 0, 2) ? w.s.device_count : 1, counts[2];
            int64_t limit = rng_range(&rng, 0, 4) ? larger(best + rng_range(&rng, -20, 20), 0) : 0;
            HeteroPartition *parts[2];
            group_costs_free(w.costs);
            slowdown[d] = factors[rng_range(&rng, 0, 2)];
            assert_int_equal(group_costs_build(&w.costs, &w.s, COST_SIM, false, NULL), 0);
            assert_int_equal(
                hetero_search(&parts[0], &counts[0], w.costs, width, 1, 8, limit, NULL, NULL), 0);
            assert_int_equal(
                hetero_search(&parts[1], &counts[1], w.costs, width, 1, 8, limit, memo, NULL), 0);
            check_same(parts[0], counts[0], parts[1], counts[1], group_costs_classes(w.costs));
            if (counts[0] > 0) best = parts[0][0].bottleneck_ns;
            *(counts[0] ? &some : &none) += 1;
            for (int j = 0; j < 2; j++) hetero_free(parts[j], counts[j]);
            slowdown[d] = 1;
        }
        hetero_memo_free(memo);
        w.trace->slowdown = NULL;
        world_free(&w);
    }
    assert_true(none > 200 && some > 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_finish_together), cmocka_unit_test(equal_members_have_even_shares),
        cmocka_unit_test(the_slowest_at_its_least), cmocka_unit_test(shares_are_brute_force),
        cmocka_unit_test(search_is_brute_force), cmocka_unit_test(falling_times_are_safe),
        cmocka_unit_test(devices_in_pairs), cmocka_unit_test(equal_kinds_are_one_kind),
        cmocka_unit_test(faster_kinds_do_no_harm),
        cmocka_unit_test(one_order_is_brute_force), cmocka_unit_test(counts_are_the_best_order),
        cmocka_unit_test(orders_are_listed), cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(any_number_of_classes), cmocka_unit_test(kept_searches_are_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
