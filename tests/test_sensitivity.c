/* The runner-up, the bound that spares simulations, and how far inputs may move: each
 * flip that is reported is tried again by planning anew with nothing spared. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

#include "planner/ls/lists_bound.h"
#include "planner/whatif/sensitivity.h"
#include "planner/whatif/whatif.h"
#include "tests/random_trace.h"

typedef struct {
    Trace     *trace;
    Text       text;             /* the trace's file */
    Scenario   s;
    Comparison c;
    SensitivityJob    job;
} Case;

static void open_case(Case *x, Rng *rng, int max_blocks, int max_devices, int candidates)
{
    RandomTrace h = random_trace_shape(rng, max_blocks, max_devices);

    *x = (Case){0};
    x->trace = random_trace(rng, &h);
    trace_text(x->trace, &x->text);
    x->job =
        (SensitivityJob){.name = "random",
                         .text = text_string(&x->text),
                         .length = x->text.length,
                         .scenario = {.queue_depth = 2},
                         .compare = {.schedules = schedules_usual(), .candidates = candidates}};
    assert_int_equal(scenario_build(&x->s, x->trace, &x->job.scenario, NULL), 0);
    assert_int_equal(compare(&x->c, &x->s, &x->job.compare, NULL), 0);
    x->job.plan = x->c.rows[x->c.best].plan;
    x->job.simulated = x->c.rows[x->c.best].sim.simulated;
}

static void close_case(Case *x)
{
    comparison_free(&x->c);
    scenario_free(&x->s);
    text_free(&x->text);
    trace_free(x->trace);
}

static int64_t epoch_of(const Plan *plan, const Scenario *s)
{
    Candidate row = {0};
    Plan     *copy;

    assert_int_equal(plan_copy(&copy, plan, NULL), 0);
    assert_int_equal(candidate_price(&row, copy, s, NULL), 0);
    int64_t ns = row.plan ? row.sim.epoch_ns : -1;
    candidate_free(&row);
    return ns;
}

/* ---- the runner-up and the bound ------------------------------------------------------ */

static void runner_up_is_another_plan(void **state)
{
    Rng rng = {.seed = test_seed("runner_up_is_another_plan", 91)};
    int found = 0;
    (void)state;

    for (int i = 0; i < test_cases(300); i++) {
        Case    x;
        int64_t ns = 0;
        int     simulated;
        open_case(&x, &rng, 6, 5, 8);
        const Plan *next = comparison_runner_up(&x.c, &x.s, &ns, &simulated);
        assert_true(simulated >= (next ? 2 : 1));
        if (next) {
            found++;
            assert_false(candidate_same_plan(next, x.job.plan, &x.s));
            assert_true(epoch_of(next, &x.s) == ns && ns >= x.c.rows[x.c.best].sim.epoch_ns);
            for (int k = 0; k < SCHEDULE_COUNT; k++) {   /* no other row has a faster one */
                const Candidate *row = &x.c.rows[k];
                if (row->plan && !candidate_same_plan(row->plan, x.job.plan, &x.s))
                    assert_true(row->sim.epoch_ns >= ns);
                if (row->runner_up)
                    assert_false(candidate_same_plan(row->plan, row->runner_up, &x.s));
                if (row->runner_up)
                    assert_true(epoch_of(row->runner_up, &x.s) == row->runner_up_ns);
            }
        }
        close_case(&x);
    }
    assert_true(found > test_cases(200));
}

static void no_epoch_is_below_its_bound(void **state)
{
    Rng rng = {.seed = test_seed("no_epoch_is_below_its_bound", 92)};
    int known = 0;
    (void)state;

    for (int i = 0; i < test_cases(500); i++) {
        Case x;
        open_case(&x, &rng, 6, 5, 8);
        for (int k = 0; k < SCHEDULE_COUNT; k++) {
            const Candidate *row = &x.c.rows[k];
            if (!row->plan) continue;
            int64_t bound = candidate_bound(row->plan, &x.s);
            if (bound > row->sim.epoch_ns) fail_msg("case %d, %s", i, schedule_name((Schedule)k));
            if (row->runner_up && candidate_bound(row->runner_up, &x.s) > row->runner_up_ns)
                fail_msg("case %d, runner-up of %s", i, schedule_name((Schedule)k));
            known += bound > 0;
        }
        close_case(&x);
    }
    assert_true(known > test_cases(1500));
}

static Plan *parsed(const char *schedule, const char *stages)
{
    char *text = format_text("{\"format\": \"pipebd-plan\", \"version\": 1, \"schedule\": \"%s\", "
                             "\"blocks\": 2, \"devices\": 2, "
                             "\"batch\": 4, \"stages\": [%s]}",
                             schedule, stages);
    Plan *plan;

    assert_int_equal(plan_parse(&plan, "plan", text, strlen(text), NULL), 0);
    free(text);
    return plan;
}

static void the_same_plan_by_other_names(void **state)
{
    static const char two[] = "{\"first\": 0, \"last\": 0, \"devices\": [0], \"rows\": [4]}, "
                              "{\"first\": 1, \"last\": 1, \"devices\": [1], \"rows\": [4]}";
    static const char swapped[] = "{\"first\": 0, \"last\": 0, \"devices\": [1], \"rows\": [4]}, "
                                  "{\"first\": 1, \"last\": 1, \"devices\": [0], \"rows\": [4]}";
    static const char both[] = "{\"first\": 0, \"last\": 1, \"devices\": [0, 1], \"rows\": [2, 2]}";
    static const struct { const char *schedule[2], *stages[2]; bool same; } cases[] = {
        {{"dpu", "ahd"}, {two, two}, true},      {{"ir", "ahd"}, {both, both}, true},
        {{"tr", "dpu"}, {two, two}, false},      {{"dpu", "dpu"}, {two, swapped}, false},
        {{"ls", "ls"}, {two, swapped}, true},    {{"ls", "dpu"}, {two, two}, false},
        {{"ahd", "ahd"}, {two, both}, false},
    };
    int      kinds[2] = {0, 0};
    Trace    trace = {.block_count = 2};
    Scenario s = {.trace = &trace, .device_count = 2, .kinds = kinds};
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Plan *a = parsed(cases[i].schedule[0], cases[i].stages[0]),
             *b = parsed(cases[i].schedule[1], cases[i].stages[1]);
        kinds[1] = 0;
        assert_int_equal(candidate_same_plan(a, b, &s), cases[i].same);
        kinds[1] = 1;                            /* other devices are then another plan */
        if (i == 4) assert_false(candidate_same_plan(a, b, &s));
        plan_free(a);
        plan_free(b);
    }
}

/* ---- flips ------------------------------------------------------------------------------ */

/* Whether any plan of the planner's beats the kept one, all of them simulated. */
static bool beaten(const Case *x, const Sensitivity *m, int percent, Schedule *winner)
{
    Trace          *trace;
    Scenario        s;
    Comparison      c;
    ScenarioOptions options = x->job.scenario;
    bool            changed;

    assert_int_equal(trace_parse(&trace, "again", x->job.text, x->job.length, NULL), 0);
    for (int i = 0; i < 2 && m->path[i][0]; i++)
        assert_int_equal(whatif_apply(trace, &options, EDIT_SCALE, m->path[i], 1 + percent / 100.0,
                                      &changed, NULL),
                         0);
    assert_int_equal(scenario_build(&s, trace, &options, NULL), 0);
    int64_t ns = epoch_of(x->job.plan, &s);
    assert_int_equal(compare_rows(&c, &s, &x->job.compare, NULL), 0);
    bool wins = comparison_fastest_ns(&c) < ns - ns / COMPARE_TIE;
    if (wins) *winner = (Schedule)c.best;
    int64_t bound = lists_bound(&s);
    assert_true(bound > 0 && bound <= candidate_fastest_ns(&c.rows[SCHEDULE_LS]));
    comparison_free(&c);
    scenario_free(&s);
    trace_free(trace);
    return wins;
}

/* At the per cent that is printed another plan wins, at one less none does, nor at 1, 2, 4, ...
 * before; where there is none, none wins at the ends. */
static void check_side(const Case *x, const Sensitivity *m, int percent, int sign, int most,
                       Schedule winner, int i)
{
    Schedule other = SCHEDULE_COUNT, tried = SCHEDULE_COUNT;
    bool     wins;

    if (percent == 0) {
        if (beaten(x, m, sign * most, &other))
            fail_msg("case %d: %s flips at %d", i, m->label, sign * most);
        return;
    }
    if (!beaten(x, m, sign * percent, &other))
        fail_msg("case %d: %s does not flip at %d", i, m->label, sign * percent);
    assert_int_equal(other, winner);
    if (beaten(x, m, sign * (percent - 1), &other))
        fail_msg("case %d: %s flips before %d", i, m->label, sign * percent);
    for (int p = 1; p < percent - 1; p *= 2)
        if (beaten(x, m, sign * p, &other))
            fail_msg("case %d: %s flips at %d, before %d", i, m->label, sign * p, sign * percent);
    assert_int_equal(sensitivity_try(&x->job, m, sign * percent, &wins, &tried, NULL), 0);
    assert_true(wins && tried == winner);
}

static void flips_are_where_they_are_said(void **state)
{
    Rng rng = {.seed = test_seed("flips_are_where_they_are_said", 93)};
    int flips = 0, none = 0;
    (void)state;

    for (int i = 0; i < 16; i++) {
        Case    x;
        Sensitivities m;
        int     most = i % 4 == 3 ? 6 : 4;
        open_case(&x, &rng, most, most, 4);
        x.job.jobs = 1 + i % 3;              /* who finds them changes nothing */
        assert_int_equal(sensitivity_list(&m, &x.job, NULL), 0);
        assert_false(m.found);
        assert_int_equal(sensitivity_find(&m, &x.job, NULL), 0);
        assert_true(m.found && m.work > 0);
        for (int k = 0; k < m.count; k++) {
            const Sensitivity *one = &m.margins[k];
            check_side(&x, one, one->more, 1, SENSITIVITY_MOST, one->more_wins, i);
            check_side(&x, one, one->less, -1, SENSITIVITY_LEAST, one->less_wins, i);
            flips += (one->more > 0) + (one->less > 0);
            none += (one->more == 0) + (one->less == 0);
        }
        sensitivity_free(&m);
        close_case(&x);
    }
    assert_true(flips > 60 && none > 60);
}

/* Every input that the trace has is listed once, and no other. */
static void inputs_are_those_of_the_trace(void **state)
{
    Rng rng = {.seed = test_seed("inputs_are_those_of_the_trace", 94)};
    (void)state;

    for (int i = 0; i < 50; i++) {
        Case    x;
        Sensitivities m;
        open_case(&x, &rng, 4, 4, 1);
        bool nodes = x.trace->devices_per_node && x.s.device_count > x.trace->devices_per_node;
        assert_int_equal(sensitivity_list(&m, &x.job, NULL), 0);
        assert_int_equal(m.count, 2 * x.trace->block_count + x.s.device_count
                                      + x.trace->loader.present + (x.trace->step_ns > 0)
                                      + (x.trace->links.p2p.count > 0)
                                      + (x.trace->links.reduce_count > 0)
                                      + (nodes && x.trace->node_links.p2p.count > 0)
                                      + (nodes && x.trace->node_links.reduce_count > 0));
        sensitivity_free(&m);
        close_case(&x);
    }
}

/* ---- costs that are kept ---------------------------------------------------------------- */

/* Twice: kept by the first, given by the second. */
static void check_kept(const Scenario *plain, const Scenario *keeps, Rng *rng)
{
    for (int i = 0; i < 40; i++) {
        Work    work = (Work)rng_range(rng, 0, WORK_COUNT - 1);
        int     block = (int)rng_range(rng, 0, plain->trace->block_count - 1),
                device = (int)rng_range(rng, 0, plain->device_count - 1);
        int64_t rows = rng_range(rng, 1, plain->batch + 1);
        Cost    a = {0}, b;
        int     rc = scenario_work(plain, work, block, device, rows, &a, NULL);
        for (int again = 0; again < 2; again++) {
            b = (Cost){0};
            assert_int_equal(scenario_work(keeps, work, block, device, rows, &b, NULL), rc);
            assert_true(rc != 0 || (a.ns == b.ns && a.spread == b.spread));
        }
    }
}

/* Whatever is edited in between, costs that are kept are those that are looked up. */
static void kept_costs_are_those_looked_up(void **state)
{
    Rng rng = {.seed = test_seed("kept_costs_are_those_looked_up", 95)};
    int kept = 0;
    (void)state;

    for (int i = 0; i < test_cases(200); i++) {
        RandomTrace h = random_trace_shape(&rng, 5, 5);
        Trace      *trace;
        Scenario    s, keeps;
        WorkCache  *works;
        double      slowdown[TRACE_MAX_DEVICES];
        h.students = i % 4 == 0;
        random_scenario(&rng, &h, 2, &trace, &s);
        trace->micro_batches = i % 3 == 0 ? rng_range(&rng, 2, 5) : 0;
        s.extrapolate = rng_range(&rng, 0, 1) == 1;
        for (int d = 0; d < TRACE_MAX_DEVICES; d++)
            slowdown[d] = 1 + 0.1 * (double)rng_range(&rng, 0, 3);
        assert_int_equal(work_cache_new(&works, trace, s.batch, s.extrapolate, NULL), 0);
        kept += works != NULL;
        for (int edit = 0; edit < 4; edit++) {
            Curve *curve = &trace->blocks[rng_range(&rng, 0, trace->block_count - 1)]
                                .work[rng_range(&rng, 0, WORK_COUNT - 1)][0];
            if (edit > 0 && curve->count)
                curve->points[rng_range(&rng, 0, curve->count - 1)].ns += 1000 * edit;
            trace->slowdown = edit == 2 ? slowdown : NULL;
            if (works) work_cache_renew(works);
            keeps = s;
            keeps.works = works;
            check_kept(&s, &keeps, &rng);
            Scenario alone = s;                      /* of a block alone nothing is kept */
            alone.single_block = keeps.single_block = true;
            check_kept(&alone, &keeps, &rng);
        }
        trace->slowdown = NULL;
        work_cache_free(works);
        scenario_free(&s);
        trace_free(trace);
    }
    assert_true(kept > test_cases(100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runner_up_is_another_plan),
        cmocka_unit_test(no_epoch_is_below_its_bound),
        cmocka_unit_test(the_same_plan_by_other_names),
        cmocka_unit_test(flips_are_where_they_are_said),
        cmocka_unit_test(inputs_are_those_of_the_trace),
        cmocka_unit_test(kept_costs_are_those_looked_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
