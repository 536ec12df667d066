/* Plans that store: any of them is a good program that the fast simulation plays as the slow one
 * does, and the planner's choice is as good as the best of all plans of small traces. PIPEBD_SEED
 * as everywhere. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

#include "planner/check/check.h"
#include "planner/compare.h"
#include "planner/split/split_cost.h"
#include "planner/store/store_bound.h"
#include "schedule/verify.h"
#include "tests/random_trace.h"

static int upto(Rng *rng, int most) { return (int)rng_range(rng, 0, most); }

/* Times of a request: fixed, more a row, more a byte, and more the more are in flight; straight
 * lines, so the corners say all. */
static void requests_text(Rng *rng, const char *key, Text *out)
{
    int fixed = upto(rng, 30), row = upto(rng, 6), kilobyte = upto(rng, 30), crowd = upto(rng, 20),
        most = (int)rng_range(rng, 2, 4);

    text_printf(out, ", \"%s\": [", key);
    for (int i = 0; i < 8; i++) {
        int bytes = i & 1 ? 1001 : 1, rows = i & 2 ? 17 : 1, q = i & 4 ? most : 1;
        text_printf(out, "%s{\"row_bytes\": %d, \"rows\": %d, \"in_flight\": %d, \"us\": %d}",
                    i ? ", " : "", bytes, rows, q,
                    fixed + row * rows + kilobyte * rows * (bytes - 1) / 1000 + crowd * (q - 1));
    }
    text_append(out, "]");
}

/* Nothing, all, or a part of a request is the device's. */
static void share_text(Rng *rng, const char *key, Text *out)
{
    int kind = upto(rng, 2);

    if (kind > 0) text_printf(out, ", \"%s\": %g", key, kind == 1 ? 1 : 0.01 * upto(rng, 100));
}

/* A random trace with tiers, for some epochs. */
static Trace *stored_trace(Rng *rng, RandomTrace *shape, int tiers, int epochs)
{
    Trace *plain;
    Text   text = {0}, more = {0};
    Error  err = {""};

    shape->bytes = shape->p2p = true;
    plain = random_trace(rng, shape);
    trace_text(plain, &text);
    trace_free(plain);
    char *json = format_text("%s", text_string(&text));
    char *end = strrchr(json, '}'), *version = strstr(json, "\"version\": "),
         *samples = strstr(json, "\"samples\": ");
    *end = '\0';
    version[11] = '2';
    size_t head = (size_t)(samples - json);
    text_printf(&more, "%.*s\"epochs\": %d, %s, \"storage\": [", (int)head, json, epochs, samples);
    for (int t = 0; t < tiers; t++) {
        text_printf(&more, "%s{\"name\": \"t%d\", \"kind\": \"%s\", %s\"size_bytes\": %d",
                    t ? ", " : "", t, t ? "disk" : "memory",
                    t && upto(rng, 1) ? "\"shared\": true, " : "",
                    upto(rng, 3) ? 1 << 30 : 4000 + upto(rng, 20000));
        share_text(rng, "read_device_share", &more);
        share_text(rng, "write_device_share", &more);
        requests_text(rng, "read", &more);
        requests_text(rng, "write", &more);
        text_append(&more, "}");
    }
    text_append(&more, "]}");
    if (trace_parse(&plain, "stored", text_string(&more), more.length, &err) != 0)
        fail_msg("%s\n%s", err.text, text_string(&more));
    text_free(&text);
    text_free(&more);
    free(json);
    return plain;
}

/* ---- any plan ------------------------------------------------------------------------- */

static void put(Plan *plan, Stage *stage, int first, int last, int mask)
{
    int     devices[8], width = 0;
    int64_t rows[8];

    for (int d = 0; d < plan->device_count; d++)
        if (mask & 1 << d) devices[width++] = d;
    for (int i = 0; i < width; i++) rows[i] = scenario_share(plan->batch, width, i);
    stage->first = first;
    stage->last = last;
    assert_int_equal(plan_place(plan, stage, devices, rows, width, NULL), 0);
}

static int some_devices(Rng *rng, int devices, bool alone)
{
    int mask = alone ? 1 << upto(rng, devices - 1) : upto(rng, (1 << devices) - 1);

    return mask ? mask : 1;
}

/* Cuts of the chain: first[0..count], first[count] the end. */
static int cut(Rng *rng, int blocks, int most, int *first)
{
    int count = 0;

    for (int b = 0; b < blocks; b++)
        if (b == 0 || (count < most && upto(rng, 1))) first[count++] = b;
    first[count] = blocks;
    return count;
}

/* alone: stages of later, and those that take turns, are on one device each. */
static Plan *random_plan(Rng *rng, const Scenario *s, const int *students, bool alone)
{
    int   n = s->trace->block_count, g = s->device_count, first[9], later[9];
    bool  turns = upto(rng, 1) || s->epochs == 1;
    int   count = cut(rng, n, turns ? n : g, first), ranges = cut(rng, n, n, later), next = 0;
    Plan *plan;
    Error err = {""};

    assert_int_equal(plan_new(&plan, SCHEDULE_STORE, n, g, s->batch, count, &err), 0);
    assert_int_equal(plan_set_students(plan, students, &err), 0);
    assert_int_equal(plan_set_store(plan, s->epochs, turns, turns ? 0 : ranges, &err), 0);
    for (int i = 0; i < count; i++) {
        int width = turns ? 0 : i + 1 < count ? 1 : g - next;
        put(plan, &plan->stages[i], first[i], first[i + 1] - 1,
            turns ? some_devices(rng, g, alone) : ((1 << width) - 1) << next);
        next += width;
    }
    for (int i = 0; i < plan->later_count; i++) {
        put(plan, &plan->later[i], later[i], later[i + 1] - 1, some_devices(rng, g, alone));
    }
    for (int i = plan->later_count - 1; i > 0; i--) {            /* in any order */
        int   k = upto(rng, i);
        Stage other = plan->later[k];
        plan->later[k] = plan->later[i];
        plan->later[i] = other;
    }
    for (int k = 0; k <= n; k++) plan->stored[k] = upto(rng, s->trace->tier_count) - 1;
    plan->home = upto(rng, s->trace->tier_count - 1);
    return plan;
}

/* Where nobody slows anybody down, the run takes no less than what the checker has its busiest
 * device do, and than the bound of all plans that store. */
static void check_checked(const Plan *plan, const Scenario *s, int64_t ns, const char *text)
{
    CheckedPlan checked;
    Error       err = {""};
    int64_t     least = split_bound_stored(s) * s->steps * s->epochs;

    if (check_plan(&checked, plan, s, &err) != 0) fail_msg("%s\n%s", err.text, text);
    if (!s->trace->contended && checked.busy_ns > ns + checked.phase_count * s->steps * s->epochs)
        fail_msg("%lld ns, less than the work of device %d, %lld\n%s", (long long)ns,
                 checked.bottleneck, (long long)checked.busy_ns, text);
    if (least > ns)
        fail_msg("%lld ns, less than the bound, %lld\n%s", (long long)ns, (long long)least, text);
    check_free(&checked);
}

/* Stopped early, the run has bounds around what it takes, and an estimate between them. */
static void check_stopped(const Program *program, const Scenario *s, int64_t ns)
{
    for (int64_t most = 5; most < 500; most *= 3) {
        SimResult cut;
        Error     err = {""};
        if (sim_run(&cut, program, s, &(SimOptions){.simulated_most = most}, &err) != 0)
            fail_msg("%s", err.text);
        if (ns < cut.least_ns || ns > cut.most_ns || cut.epoch_ns < cut.least_ns
            || cut.epoch_ns > cut.most_ns)
            fail_msg("%lld ns, estimate %lld, between %lld and %lld", (long long)ns,
                     (long long)cut.epoch_ns, (long long)cut.least_ns, (long long)cut.most_ns);
        sim_free(&cut);
    }
}

/* The verifier takes it, both simulations agree, times sum up, and no run is shorter than its
 * bound. *skipped, or NULL: instructions that the fast one did not go through. */
static void check_plan_of(const Plan *plan, const Scenario *s, int64_t *skipped)
{
    Program  *program;
    SimResult slow, fast;
    Error     err = {""};
    Text      text = {0};
    int64_t   bound;

    plan_text(plan, &text);
    if (plan_check(plan, &err) != 0) fail_msg("%s\n%s", err.text, text_string(&text));
    if (program_build(&program, plan, s->steps * plan->epochs, &err) != 0) fail_msg("%s", err.text);
    if (program_verify(program, 1, &err) != 0) fail_msg("%s\n%s", err.text, text_string(&text));
    if (sim_run(&slow, program, s, &(SimOptions){.step_by_step = true}, &err) != 0)
        fail_msg("%s\n%s", err.text, text_string(&text));
    if (sim_run(&fast, program, s, &(SimOptions){0}, &err) != 0) fail_msg("%s", err.text);
    if (slow.epoch_ns != fast.epoch_ns)
        fail_msg("%lld ns step by step, %lld otherwise\n%s", (long long)slow.epoch_ns,
                 (long long)fast.epoch_ns, text_string(&text));
    for (int d = 0; d < s->device_count; d++) {
        int64_t sum = 0;
        for (int i = 0; i < SHARE_COUNT; i++) {
            assert_int_equal(slow.shares[d][i], fast.shares[d][i]);
            sum += slow.shares[d][i];
        }
        assert_int_equal(sum, slow.epoch_ns);
    }
    check_checked(plan, s, slow.epoch_ns, text_string(&text));
    check_stopped(program, s, slow.epoch_ns);
    if (store_bound(&bound, program, s, &err) != 0) fail_msg("%s", err.text);
    if (bound > slow.epoch_ns)
        fail_msg("%lld ns, less than the bound, %lld\n%s", (long long)slow.epoch_ns,
                 (long long)bound, text_string(&text));
    if (skipped) *skipped = fast.skipped;
    sim_free(&slow);
    sim_free(&fast);
    program_free(program);
    text_free(&text);
}

static void any_plan_is_played(void **state)
{
    Rng rng = {.seed = test_seed("any_plan_is_played", 25)};
    (void)state;

    for (int i = 0; i < 150; i++) {
        RandomTrace shape = random_trace_shape(&rng, 5, 4);
        Scenario    s;
        int         students[8];
        shape.students = i % 3 == 0;
        shape.samples = shape.batch * (int)rng_range(&rng, 1, i % 4 ? 8 : 120);
        Trace *trace =
            stored_trace(&rng, &shape, (int)rng_range(&rng, 1, 3), (int)rng_range(&rng, 1, 5));
        assert_int_equal(
            scenario_build(&s, trace,
                           &(ScenarioOptions){.queue_depth = 1 + i % 3, .extrapolate = true}, NULL),
            0);
        trace->part_ns = i % 5 ? 0 : (int64_t)rng_range(&rng, 0, 100000000);
        trace->network_ns = i % 7 ? 0 : (int64_t)rng_range(&rng, 0, 10000000);
        for (int b = 0; b < trace->block_count; b++)
            students[b] = trace_students(&trace->blocks[b]);
        if (s.device_count <= s.batch) {
            Plan *plan = random_plan(&rng, &s, students, false), *again = NULL;
            Text  text = {0};
            Error err = {""};
            check_plan_of(plan, &s, NULL);
            plan_text(plan, &text);              /* and it is read as it was written */
            if (plan_parse(&again, "again", text_string(&text), text.length, &err) != 0)
                fail_msg("%s", err.text);
            assert_true(candidate_same_plan(plan, again, &s));
            plan_free(again);
            plan_free(plan);
            text_free(&text);
        }
        scenario_free(&s);
        trace_free(trace);
    }
}

/* Requests so short that most of them are there when they are wanted, with stages that share only
 * the store: their parts have periods of their own, and are put ahead apart (sim/islands.c). */
static void parts_are_put_ahead(void **state)
{
    Rng     rng = {.seed = test_seed("parts_are_put_ahead", 11)};
    int64_t skipped = 0, runs = 0, own;
    (void)state;

    for (int i = 0; i < 300; i++) {
        RandomTrace shape = random_trace_shape(&rng, 6, 5);
        Scenario    s;
        int         students[8], divisor = 1 << upto(&rng, 7);
        shape.students = i % 5 == 0;
        shape.samples = shape.batch * (int)rng_range(&rng, 20, i % 10 ? 60 : 700);
        Trace *trace =
            stored_trace(&rng, &shape, (int)rng_range(&rng, 1, 2), (int)rng_range(&rng, 2, 4));
        for (int t = 0; t < trace->tier_count; t++) {
            TraceTier *tier = &trace->tiers[t];
            tier->size_bytes = 1 << 30;
            tier->read.device_share = tier->write.device_share = i % 3 ? 0 : 0.01 * upto(&rng, 30);
            for (int k = 0; k < 8; k++) {
                tier->read.ns[k] /= divisor;
                tier->write.ns[k] /= divisor;
            }
        }
        assert_int_equal(
            scenario_build(&s, trace,
                           &(ScenarioOptions){.queue_depth = 1 + i % 3, .extrapolate = true}, NULL),
            0);
        for (int b = 0; b < trace->block_count; b++)
            students[b] = trace_students(&trace->blocks[b]);
        if (s.device_count <= s.batch) {
            Plan *plan = random_plan(&rng, &s, students, i % 2);
            check_plan_of(plan, &s, &own);
            skipped += own > 0;
            runs++;
            plan_free(plan);
        }
        scenario_free(&s);
        trace_free(trace);
    }
    print_message("# %lld of %lld runs were put ahead\n", (long long)skipped, (long long)runs);
    assert_true(skipped > runs / 2);
}

/* ---- all plans ---------------------------------------------------------------------------- */

typedef struct {
    const Scenario *s;
    int64_t         best_ns;
    int             plans;
    int             count, first[8], last[8], mask[8];           /* relaying, or taking turns */
    int             later, later_first[8], later_last[8], later_mask[8];
    bool            turns;
} AllPlans;

static void price_each_set(AllPlans *a)
{
    const Scenario *s = a->s;
    int             n = s->trace->block_count, tiers = s->trace->tier_count, sets = 1;

    for (int k = 0; k <= n; k++) sets *= tiers + 1;
    for (int set = 0; set < sets * tiers; set++) {
        Candidate row = {0};
        Plan     *plan;
        Error     err = {""};
        assert_int_equal(
            plan_new(&plan, SCHEDULE_STORE, n, s->device_count, s->batch, a->count, &err), 0);
        assert_int_equal(plan_set_store(plan, s->epochs, a->turns, a->turns ? 0 : a->later, &err),
                         0);
        for (int i = 0; i < a->count; i++)
            put(plan, &plan->stages[i], a->first[i], a->last[i], a->mask[i]);
        for (int i = 0; i < plan->later_count; i++)
            put(plan, &plan->later[i], a->later_first[i], a->later_last[i], a->later_mask[i]);
        for (int k = 0, rest = set / tiers; k <= n; k++, rest /= tiers + 1)
            plan->stored[k] = rest % (tiers + 1) - 1;
        plan->home = set % tiers;
        if (candidate_price(&row, plan, s, &err) != 0) fail_msg("%s", err.text);
        if (row.plan && row.sim.epoch_ns < a->best_ns) a->best_ns = row.sim.epoch_ns;
        a->plans++;
        candidate_free(&row);
    }
}

/* The stages of later in the order in which they come: any range of blocks that are left. */
static void each_later(AllPlans *a, int left)
{
    int n = a->s->trace->block_count;

    if (!left) { price_each_set(a); return; }
    for (int first = 0; first < n; first++)
        for (int last = first; last < n && left & 1 << last; last++)
            for (int mask = 1; mask < 1 << a->s->device_count; mask++) {
                int range = ((1 << (last + 1)) - 1) & ~((1 << first) - 1);
                if ((left & range) != range) continue;
                a->later_first[a->later] = first;
                a->later_last[a->later] = last;
                a->later_mask[a->later++] = mask;
                each_later(a, left & ~range);
                a->later--;
            }
}

static void each_chain(AllPlans *a, int from, int used)
{
    int n = a->s->trace->block_count;

    if (from == n) {
        if (a->turns) price_each_set(a);
        else          each_later(a, (1 << n) - 1);
        return;
    }
    for (int last = from; last < n; last++)
        for (int mask = 1; mask < 1 << a->s->device_count; mask++) {
            if (!a->turns && mask & used) continue;
            a->first[a->count] = from;
            a->last[a->count] = last;
            a->mask[a->count++] = mask;
            each_chain(a, last + 1, used | mask);
            a->count--;
        }
}

/* Stored set, tiers, assignment and order together; one machine and two. */
static void no_plan_is_better(void **state)
{
    static const struct { int blocks, devices, tiers, per_node;
    } sizes[] = {
        {2, 2, 1, 0}, {2, 2, 2, 1}, {3, 1, 1, 0}, {2, 2, 1, 1},
        {2, 1, 2, 0}, {2, 2, 2, 0}, {2, 3, 1, 2}, {3, 2, 1, 1},
    };
    Rng rng = {.seed = test_seed("no_plan_is_better", 7)};
    int found = 0, plans = 0;
    (void)state;

    for (int i = 0; i < 24; i++) {
        int            size = i % 8;
        RandomTrace    shape = {.blocks = sizes[size].blocks, .devices = sizes[size].devices,
                                .batch = (int)rng_range(&rng, 4, 8), .kinds = 1,
                                .per_node = sizes[size].per_node, .loader = i % 2,
                                .reduces = i % 3 > 0, .blocking = i % 5 == 0};
        CompareOptions options = {.schedules = 1u << SCHEDULE_STORE, .candidates = 8};
        Scenario       s;
        Comparison     c;
        Error          err = {""};
        if (size >= 6 && i >= 8) continue;               /* large: once */
        shape.samples = shape.batch * (int)rng_range(&rng, 1, 4);
        Trace *trace = stored_trace(&rng, &shape, sizes[size].tiers, (int)rng_range(&rng, 2, 4));
        assert_int_equal(scenario_build(&s, trace,
                                        &(ScenarioOptions){.queue_depth = 2, .extrapolate = true},
                                        NULL),
                         0);
        if (compare_rows(&c, &s, &options, &err) != 0) fail_msg("%s", err.text);
        AllPlans all = {.s = &s, .best_ns = INT64_MAX};
        each_chain(&all, 0, 0);
        all.turns = true;
        each_chain(&all, 0, 0);
        const Candidate *row = &c.rows[SCHEDULE_STORE];
        int64_t          ns = candidate_fastest_ns(row);         /* what is chosen may be thriftier,
                                                                  * and as fast but for a tie */
        if (ns > all.best_ns || (row->plan && row->sim.epoch_ns > compare_tie(all.best_ns)))
            fail_msg("case %d: %lld ns an epoch, the best of %d plans takes %lld (%s)", i,
                     (long long)ns, all.plans, (long long)all.best_ns,
                     row->plan ? row->method : row->why);
        found += row->plan != NULL;
        plans += all.plans;
        comparison_free(&c);
        scenario_free(&s);
        trace_free(trace);
    }
    print_message("# %d choices against %d plans\n", found, plans);
    assert_true(found > 8);
}

/* ---- sequential ------------------------------------------------------------------------------ */

/* Without a loader, storage that takes no time and one epoch: teacher and students of each block,
 * one after another. */
static void sequential_adds_up(void **state)
{
    Rng rng = {.seed = test_seed("sequential_adds_up", 3)};
    (void)state;

    for (int i = 0; i < 20; i++) {
        RandomTrace    shape = {.blocks = (int)rng_range(&rng, 2, 5), .devices = 1, .batch = 6,
                                .samples = 6 * (int)rng_range(&rng, 1, 9), .kinds = 1};
        CompareOptions options = {.schedules = 1u << SCHEDULE_SEQUENTIAL, .candidates = 1};
        Trace         *trace = stored_trace(&rng, &shape, 1, (int)rng_range(&rng, 1, 6));
        Scenario       s;
        Comparison     c;
        Error          err = {""};
        int64_t        teacher = 0, students = 0;
        TraceTier     *tier = &trace->tiers[0];
        tier->size_bytes = 1 << 30;
        for (int k = 0; k < 8; k++) tier->read.ns[k] = tier->write.ns[k] = 0;
        assert_int_equal(scenario_build(&s, trace,
                                        &(ScenarioOptions){.queue_depth = 2, .extrapolate = true},
                                        NULL),
                         0);
        if (compare_rows(&c, &s, &options, &err) != 0) fail_msg("%s", err.text);
        const Candidate *row = &c.rows[SCHEDULE_SEQUENTIAL];
        if (!row->plan) fail_msg("%s", row->why);
        Scenario alone = s;
        alone.single_block = true;
        for (int b = 0; b < trace->block_count; b++)
            for (int work = 0; work < WORK_COUNT; work++) {
                Cost cost;
                assert_int_equal(scenario_work(&alone, (Work)work, b, 0, 6, &cost, NULL), 0);
                *(work == WORK_TEACHER ? &teacher : &students) += cost.ns;
            }
        int64_t loops = trace->step_ns * trace->block_count * s.steps * s.epochs;
        assert_int_equal(row->total_ns, teacher * s.steps + students * s.steps * s.epochs + loops);
        assert_true(row->sim.teacher_work * (double)s.epochs < 1 + 1e-9);        /* once in all */
        CheckedPlan checked;                     /* and nothing but work on one device */
        assert_int_equal(check_plan(&checked, row->plan, &s, &err), 0);
        assert_int_equal(checked.busy_ns, row->total_ns);
        check_free(&checked);
        comparison_free(&c);
        scenario_free(&s);
        trace_free(trace);
    }
}

/* More steps in all epochs than 64 bits count, and work of all epochs beyond that, are refused by
 * who multiplies them. */
static void endless_runs_are_refused(void **state)
{
    Rng            rng = {.seed = test_seed("endless_runs", 5)};
    RandomTrace    shape = {.blocks = 3, .devices = 1, .batch = 6, .samples = 12, .kinds = 1};
    CompareOptions options = {.schedules = 1u << SCHEDULE_SEQUENTIAL, .candidates = 1};
    Trace         *trace = stored_trace(&rng, &shape, 1, 3);
    Scenario       s;
    Comparison     c;
    CheckedPlan    checked;
    Program       *program;
    Error          err = {""};
    (void)state;

    trace->tiers[0].size_bytes = 1 << 30;
    assert_int_equal(
        scenario_build(&s, trace, &(ScenarioOptions){.queue_depth = 2, .extrapolate = true}, NULL),
        0);
    if (compare_rows(&c, &s, &options, &err) != 0) fail_msg("%s", err.text);
    const Plan *plan = c.rows[SCHEDULE_SEQUENTIAL].plan;
    assert_non_null(plan);
    s.steps = INT64_MAX / 4;             /* an epoch's can be counted, those of three cannot */
    assert_int_equal(program_build_epochs(&program, plan, s.steps, &err), -1);
    assert_null(program);
    assert_string_equal(err.text, "2305843009213693951 steps in each of 3 epochs, expected at most "
                                  "2^62 in all");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(check_plan(&checked, plan, &s, &err), -1);
        assert_string_equal(err.text, "the work of all epochs passes 2^63 ns (292 years)");
        s.steps = (int64_t)1 << 60;      /* three times that can be counted, but not its ns */
    }
    comparison_free(&c);
    scenario_free(&s);
    trace_free(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_plan_is_played),
        cmocka_unit_test(parts_are_put_ahead),
        cmocka_unit_test(sequential_adds_up),
        cmocka_unit_test(endless_runs_are_refused),
        cmocka_unit_test(no_plan_is_better),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
