/* What the planner offers against every plan there is, under the simulator itself: random
 * traces with links, loaders, machines and kinds, small enough to try each plan of each
 * schedule. PIPEBD_CASES sets how many (default 100); PIPEBD_SEED as everywhere. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

#include "planner/compare.h"
#include "planner/stages/barrier.h"
#include "planner/stages/relay_cost.h"
#include "schedule/registry.h"
#include "tests/random_trace.h"

enum { MOST = 8 };

typedef struct {
    const Scenario *s;
    Schedule        schedule;
    int             types, type_of[MOST], left[MOST];    /* devices that are alike, on a machine */
    int             stages, first[MOST];
    int             width[MOST], devices[MOST][MOST];
    bool            used[MOST];
    int64_t         best_ns;     /* INT64_MAX: no plan */
    int64_t         step_ns;     /* the least by relay_cost() */
    int64_t         tie_ns;      /* plans of at most that count as fastest ... */
    Thrift          thrift;      /* ... and this is the thriftiest of them */
    bool            tied;        /* there is one */
    Plan           *best;
    int             plans, limits;       /* looked at; of them with a limit for stages */
    bool            gaps;        /* relay_cost() of each is held to the run */
} Brute;

static bool alike(const Scenario *s, int a, int b)
{
    return s->kinds[a] == s->kinds[b] && s->memory_bytes[a] == s->memory_bytes[b]
           && scenario_node(s, a) == scenario_node(s, b);
}

static void number_types(Brute *b)
{
    for (int d = 0; d < b->s->device_count; d++) {
        int e = 0;
        while (!alike(b->s, e, d)) e++;
        b->type_of[d] = e == d ? b->types++ : b->type_of[e];
        b->left[b->type_of[d]]++;
    }
}

static void refuse(const Brute *b, const Plan *plan, int64_t ns, const RelayCost *cost)
{
    const Trace *t = b->s->trace;
    Text         text = {0};

    plan_text(plan, &text);
    fail_msg("%lld ns simulated, at least %lld, %lld a step; %s loader, prefetch %d, lanes %d, "
             "depth %d, %d steps of %d\n%s",
             (long long)ns, (long long)cost->epoch_ns, (long long)cost->step_ns,
             t->blocking_transfers ? "blocking" : "", t->loader.prefetch, t->loader.lanes,
             b->s->queue_depth, (int)b->s->steps, (int)b->s->batch, text_string(&text));
}

/* No plan with a shorter epoch than a cutoff has a longer stage than the limit of that cutoff. */
static int check_limit(const Plan *plan, int64_t epoch_ns, const Scenario *s)
{
    int64_t limit_ns = stage_limit_ns(s, epoch_ns + 1);

    for (int i = 0; i < plan->stage_count && limit_ns; i++) {
        const Stage *stage = &plan->stages[i];
        int          before = i > 0 ? stage[-1].devices[0] : -1,
            after = i + 1 < plan->stage_count ? stage[1].devices[0] : -1;
        int64_t ns = stage_cost_shares(s, COST_SIM, stage->first, stage->last, stage->devices,
                                       stage->rows, stage->width, before, after, NULL);
        if (ns != STAGE_IMPOSSIBLE && ns > limit_ns)
            fail_msg("stage %d takes %lld ns, limit %lld", i, (long long)ns, (long long)limit_ns);
    }
    return limit_ns > 0;
}

static void try_plan(Brute *b, Plan *plan)
{
    Candidate row = {0};

    b->plans++;
    assert_int_equal(candidate_price(&row, plan, b->s, NULL), 0);
    if (row.plan && b->gaps) {
        RelayCost cost;
        assert_int_equal(relay_cost(&cost, plan, b->s, true, NULL), 0);
        if (cost.epoch_ns > row.sim.epoch_ns)
            refuse(b, plan, row.sim.epoch_ns, &cost);
        b->limits += check_limit(plan, row.sim.epoch_ns, b->s);
    }
    if (row.plan && b->schedule == SCHEDULE_TR) {
        RelayCost cost;
        assert_int_equal(relay_cost(&cost, plan, b->s, false, NULL), 0);
        if (cost.step_ns < b->step_ns) b->step_ns = cost.step_ns;
    }
    if (row.plan && row.sim.epoch_ns <= b->tie_ns) {
        Thrift own = candidate_thrift(&row);
        if (!b->tied || thrift_compare(&own, &b->thrift) < 0) b->thrift = own;
        b->tied = true;
    }
    if (row.plan && row.sim.epoch_ns < b->best_ns) {
        b->best_ns = row.sim.epoch_ns;
        plan_free(b->best);
        b->best = row.plan;
        row.plan = NULL;
    }
    candidate_free(&row);
}

/* The stages chosen, with even shares. */
static void try_stages(Brute *b)
{
    const Scenario *s = b->s;
    Plan           *plan;
    int64_t         rows[MOST];

    assert_int_equal(plan_new(&plan, b->schedule, s->trace->block_count, s->device_count, s->batch,
                              b->stages, NULL),
                     0);
    for (int i = 0; i < b->stages; i++) {
        for (int k = 0; k < b->width[i]; k++) rows[k] = scenario_share(s->batch, b->width[i], k);
        plan->stages[i].first = b->first[i];
        plan->stages[i].last = (i + 1 < b->stages ? b->first[i + 1] : s->trace->block_count) - 1;
        assert_int_equal(plan_place(plan, &plan->stages[i], b->devices[i], rows, b->width[i], NULL),
                         0);
    }
    try_plan(b, plan);
}

static void choose_blocks(Brute *b, int from);

/* Devices of type and those after it for the stage that is being put together. */
static void choose_devices(Brute *b, int type)
{
    int i = b->stages, limit = schedule_row(b->schedule)->groups ? MOST : 1,
        n = b->s->trace->block_count, kept = b->width[i];

    if (type == b->types) {
        if (b->width[i] == 0 || b->width[i] > b->s->batch) return;
        b->stages++;
        for (int next = b->first[i] + 1; next < n; next++) choose_blocks(b, next);
        try_stages(b);
        b->stages--;
        return;
    }
    choose_devices(b, type + 1);
    for (int d = 0; d < b->s->device_count && b->width[i] < limit; d++) {
        if (b->used[d] || b->type_of[d] != type) continue;
        b->used[d] = true;
        b->devices[i][b->width[i]++] = d;
        choose_devices(b, type + 1);
    }
    while (b->width[i] > kept) b->used[b->devices[i][--b->width[i]]] = false;
}

static void choose_blocks(Brute *b, int from)
{
    b->first[b->stages] = from;
    b->width[b->stages] = 0;
    choose_devices(b, 0);
}

/* Every list of tasks. */
static void choose_lists(Brute *b)
{
    int  n = b->s->trace->block_count, g = b->s->device_count;
    long count = 1;

    for (int i = 0; i < n; i++) count *= g;
    for (long code = 0; code < count; code++) {
        Plan *plan;
        long  rest = code;
        assert_int_equal(plan_new(&plan, SCHEDULE_LS, n, g, b->s->batch, n, NULL), 0);
        for (int i = 0; i < n; i++, rest /= g)
            assert_int_equal(plan_set_stage(plan, i, i, i, (int)(rest % g), 1, NULL), 0);
        try_plan(b, plan);
    }
}

typedef struct {
    int    cases, bounds, limits, all, slower, worse[SCHEDULE_COUNT], tried[SCHEDULE_COUNT];
    double most[SCHEDULE_COUNT];
} Score;

/* Of plans as good as the fastest the row has the thriftiest: of all there are, where all were
 * looked at. */
static void hold_thrift(Score *t, const Brute *b, const Candidate *row, int i)
{
    Thrift own = candidate_thrift(row);
    bool   all = strncmp(row->method, "fastest of all", strlen("fastest of all")) == 0;

    assert_true(row->sim.epoch_ns <= b->tie_ns);
    for (size_t k = 0; k < row->faster_count; k++) {
        Thrift  other = candidate_thrift(&row->faster[k]);
        int64_t ns = row->faster[k].sim.epoch_ns, next = k + 1 < row->faster_count
                                                             ? row->faster[k + 1].sim.epoch_ns
                                                             : row->sim.epoch_ns;
        assert_true(ns < next && thrift_compare(&own, &other) < 0);
    }
    t->slower += row->faster_count > 0;
    if (!all || !b->tied) return;
    t->all++;
    if (thrift_compare(&own, &b->thrift) > 0)
        fail_msg("case %d, %s: a plan as good needs %lld bytes, loads %g; taken: %lld, %g", i,
                 schedule_name(b->schedule), (long long)b->thrift.peak_bytes, b->thrift.loads,
                 (long long)own.peak_bytes, own.loads);
}

static void score(Score *t, Schedule schedule, const Scenario *s, const Comparison *c, int i)
{
    const Candidate *row = &c->rows[schedule];
    Brute b = {.s = s, .schedule = schedule, .best_ns = INT64_MAX, .step_ns = INT64_MAX,
               .gaps = schedule != SCHEDULE_LS,
               .tie_ns = row->plan ? compare_tie(candidate_fastest_ns(row)) : 0};
    Text  text = {0};

    number_types(&b);
    if (schedule == SCHEDULE_LS) choose_lists(&b);
    else                         choose_blocks(&b, 0);
    if (row->bound_ns > b.best_ns)
        fail_msg("case %d, %s: a plan takes %lld ns, the bound is %lld", i, schedule_name(schedule),
                 (long long)b.best_ns, (long long)row->bound_ns);
    t->limits += b.limits;
    if (schedule == SCHEDULE_TR && row->plan) t->bounds += row->bound_ns > 0;
    if (!row->plan) { assert_true(b.best_ns == INT64_MAX); return; }
    hold_thrift(t, &b, row, i);
    double ratio = b.best_ns == INT64_MAX || b.best_ns == 0
                       ? 1
                       : (double)row->sim.epoch_ns / (double)b.best_ns;
    t->tried[schedule]++;
    if (ratio > t->most[schedule]) t->most[schedule] = ratio;
    if (ratio > 1.005) {
        t->worse[schedule]++;
        plan_text(b.best, &text);
        plan_text(row->plan, &text);
        if (getenv("PIPEBD_SHOW"))
            print_message(
                "case %d, %s (%s): %.2f %% slower than the best of %d plans; kinds %d, nodes %d, "
                "blocking %d, loader %d prefetch %d lanes %d depth %d, steps %d, batch %d\n%s\n",
                i, schedule_name(schedule), row->method, 100 * (ratio - 1), b.plans,
                s->trace->kind_count, s->trace->devices_per_node, s->trace->blocking_transfers,
                s->trace->loader.present, s->trace->loader.prefetch, s->trace->loader.lanes,
                s->queue_depth, (int)s->steps, (int)s->batch, text_string(&text));
        text_free(&text);
    }
    plan_free(b.best);
}

/* The search for tr alone: the least step of all plans. (Where transfers block and machines differ
 * it takes the faster link for what a message out delays.) */
static void barrier_is_brute_force(void **state)
{
    Rng rng = {.seed = test_seed("barrier_is_brute_force", 92)};
    (void)state;

    for (int i = 0; i < 120; i++) {
        RandomTrace      h = random_trace_shape(&rng, 6, 4);
        Trace           *trace;
        Scenario         s;
        BarrierPartition part;
        h.students = i % 3 == 0;
        if (h.blocking) h.per_node = 0;
        random_scenario(&rng, &h, 2, &trace, &s);
        Brute b = {.s = &s, .schedule = SCHEDULE_TR, .best_ns = INT64_MAX, .step_ns = INT64_MAX};
        number_types(&b);
        choose_blocks(&b, 0);
        assert_int_equal(barrier_search(&part, &s, NULL, b.step_ns - 1, NULL), 0);
        assert_int_equal(part.stages, 0);
        assert_int_equal(barrier_search(&part, &s, NULL, i % 2 ? b.step_ns : 0, NULL), 0);
        Plan     *plan = NULL;
        RelayCost cost;
        assert_int_equal(
            plan_new(&plan, SCHEDULE_TR, h.blocks, s.device_count, s.batch, part.stages, NULL), 0);
        for (int k = 0; k < part.stages; k++)
            assert_int_equal(
                plan_set_stage(plan, k, part.first[k],
                               (k + 1 < part.stages ? part.first[k + 1] : h.blocks) - 1,
                               part.device[k], 1, NULL),
                0);
        assert_int_equal(relay_cost(&cost, plan, &s, false, NULL), 0);
        if (!part.every_order || cost.step_ns != b.step_ns)
            fail_msg("case %d: %lld, the least is %lld", i, (long long)cost.step_ns,
                     (long long)b.step_ns);
        plan_free(plan);
        plan_free(b.best);
        barrier_free(&part);
        scenario_free(&s);
        trace_free(trace);
    }
}

static void offers_the_best(void **state)
{
    const char *cases = getenv("PIPEBD_CASES");
    Rng         rng = {.seed = test_seed("offers_the_best", 91)};
    Score       t = {.cases = cases ? atoi(cases) : 100};
    (void)state;

    for (int i = 0; i < t.cases; i++) {
        RandomTrace    h = random_trace_shape(&rng, 5, 4);
        CompareOptions options = {.schedules = schedules_usual(), .candidates = 8};
        Trace         *trace;
        Scenario       s;
        Comparison     c;
        h.samples = h.batch * (int)rng_range(&rng, 100, 400);
        h.students = i % 4 == 0;
        random_scenario(&rng, &h, 1 + i % 3, &trace, &s);
        for (int k = 0; k < trace->kind_count && i % 5 == 0; k++)
            trace->kinds[k].stalls = random_stalls(&(Rng){.seed = (uint64_t)(i + k)}, 100);
        if (i % 6 == 1) random_cores(&(Rng){.seed = (uint64_t)i}, trace, 10);
        assert_int_equal(compare(&c, &s, &options, NULL), 0);
        score(&t, SCHEDULE_TR, &s, &c, i);
        score(&t, SCHEDULE_DPU, &s, &c, i);
        score(&t, SCHEDULE_AHD, &s, &c, i);
        score(&t, SCHEDULE_LS, &s, &c, i);
        comparison_free(&c);
        scenario_free(&s);
        trace_free(trace);
    }
    for (int k = 0; k < SCHEDULE_COUNT; k++)
        if (t.tried[k])
            print_message("# %s: %d of %d more than 0.5 %% above the best, at most %.2f %%\n",
                          schedule_name((Schedule)k), t.worse[k], t.tried[k],
                          100 * (t.most[k] - 1));
    print_message("# %d rows with all plans looked at, %d with a faster one that is less thrifty\n",
                  t.all, t.slower);
    assert_true(t.all > 2 * t.cases && t.slower > 0);
    for (int k = 0; k < SCHEDULE_COUNT; k++) assert_true(100 * t.worse[k] <= t.tried[k]);
    assert_int_equal(t.bounds, t.tried[SCHEDULE_TR]);
    if (t.limits <= t.cases) fail_msg("%d plans had a limit", t.limits);
}

/* Too many lists to look at all of them: moves find some within 0.5 % of the best, where devices
 * share the loader. */
static void lists_share_a_loader(void **state)
{
    Rng   rng = {.seed = test_seed("lists_share_a_loader", 93)};
    Score t = {0};
    int   moved = 0;
    (void)state;

    for (int i = 0; i < test_cases(16); i++) {
        RandomTrace    h = random_trace_shape(&rng, 5, 4);
        CompareOptions options = {.schedules = 1u << SCHEDULE_LS, .candidates = 8};
        Trace         *trace;
        Scenario       s;
        Comparison     c;
        h.blocks = 6;
        h.devices = 4;
        h.loader = true;
        h.samples = h.batch * 100;
        random_scenario(&rng, &h, 1, &trace, &s);
        trace->loader.lanes = 1;
        assert_int_equal(compare(&c, &s, &options, NULL), 0);
        moved +=
            strncmp(c.rows[SCHEDULE_LS].method, "lists improved", strlen("lists improved")) == 0;
        score(&t, SCHEDULE_LS, &s, &c, i);
        comparison_free(&c);
        scenario_free(&s);
        trace_free(trace);
    }
    print_message("# %d of %d more than 0.5 %% above the best, at most %.2f %%; %d improved\n",
                  t.worse[SCHEDULE_LS], t.tried[SCHEDULE_LS], 100 * (t.most[SCHEDULE_LS] - 1),
                  moved);
    assert_true(100 * t.worse[SCHEDULE_LS] <= t.tried[SCHEDULE_LS] && moved > 0);
}

/* COST_SIM counts a load of the largest share for each device, which is 12 rows a step for 10 on 4
 * devices: where loading is what takes longest, there is no limit then. */
static void no_limit_by_loads_rounded_up(void **state)
{
    (void)state;

    for (int batch = 10; batch <= 12; batch += 2) {
        Rng            rng = {.seed = test_seed("no_limit_by_loads_rounded_up", 17)};
        RandomTrace    h = {.blocks = 2, .devices = 4, .batch = batch, .samples = 1000 * batch + 1,
                            .kinds = 1, .loader = true};
        CompareOptions options = {.schedules = 1u << SCHEDULE_IR, .candidates = 1};
        Trace         *trace;
        Scenario       s;
        Comparison     c;
        random_scenario(&rng, &h, 1, &trace, &s);
        trace->loader =
            (TraceLoader){.present = true, .sample_ns = 100000, .lanes = 1, .prefetch = 2};
        assert_int_equal(compare_rows(&c, &s, &options, NULL), 0);
        const Candidate *ir = &c.rows[SCHEDULE_IR];
        assert_int_equal(check_limit(ir->plan, ir->sim.epoch_ns, &s), batch == 12);
        comparison_free(&c);
        scenario_free(&s);
        trace_free(trace);
    }
}

/* With a device more neither ahd nor the choice is slower: the others can stay idle. */
static void more_devices_are_never_slower(void **state)
{
    static const char *const paths[] = {
        PIPEBD_ROOT "/traces/nas-cifar10-a6000.json", PIPEBD_ROOT "/traces/mobilenet-cpu.json",
        PIPEBD_ROOT "/traces/mobilenet-mixed.json", PIPEBD_ROOT "/traces/mobilenet-students.json",
        PIPEBD_ROOT "/traces/vgg-cpu.json"};
    (void)state;

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        int64_t ahd = INT64_MAX / 2, best = INT64_MAX / 2;
        Trace  *trace;
        assert_int_equal(trace_read(&trace, paths[i], NULL), 0);
        for (int devices = 1; devices <= 12; devices++) {
            CompareOptions options = {.schedules = schedules_usual(), .candidates = 8};
            Scenario       s;
            Comparison     c;
            Error          err = {""};
            assert_int_equal(
                scenario_build(
                    &s, trace,
                    &(ScenarioOptions){.devices = devices, .queue_depth = 2, .extrapolate = true},
                    NULL),
                0);
            if (compare_rows(&c, &s, &options, &err) != 0) fail_msg("%s", err.text);
            int64_t now = c.rows[SCHEDULE_AHD].sim.epoch_ns, chosen = c.rows[c.best].sim.epoch_ns;
            if (now > ahd || chosen > best + best / COMPARE_TIE)
                fail_msg("%s on %d devices: ahd %lld ns, %lld on one less; the choice %lld, %lld",
                         paths[i], devices, (long long)now, (long long)ahd, (long long)chosen,
                         (long long)best);
            ahd = now;
            best = chosen;
            comparison_free(&c);
            scenario_free(&s);
        }
        trace_free(trace);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(barrier_is_brute_force), cmocka_unit_test(offers_the_best),
        cmocka_unit_test(lists_share_a_loader), cmocka_unit_test(no_limit_by_loads_rounded_up),
        cmocka_unit_test(more_devices_are_never_slower)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
