/* The checker against the search, the simulator and the hand. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

#include "planner/check.h"
#include "planner/compare.h"
#include "tests/random_trace.h"

/* ---- by hand ------------------------------------------------------------------------ */

/* Three blocks, four rows, 100 us a message of boundary 1 or 2 within a machine of two
 * devices, 300 us across. Times at 2 and at 4 rows. */
#define TIMING(t2, t4) "[{\"batch\": 2, \"teacher_us\": " t2 ", \"forward_us\": " t2 ", \"backward_us\": " t2 ", \"update_us\": 5}, " \
                       "{\"batch\": 4, \"teacher_us\": " t4 ", \"forward_us\": " t4 ", \"backward_us\": " t4 ", \"update_us\": 5}]"
#define BLOCK(name, times) "{\"name\": \"" name "\", \"output_bytes\": 100, \"student\": {\"weight_bytes\": 1000, " \
                           "\"gradient_bytes\": 10, \"activation_bytes\": 50}, \"timings\": " times "}"
static const char hand[] =
    "{\"format\": \"pipebd-trace\", \"version\": 1, \"name\": \"hand\", \"provenance\": {\"kind\": \"modelled\", \"source\": "
    "\"test\"}, \"workload\": {\"name\": \"w\", \"batch\": 4, \"samples\": 40}, \"devices\": [{\"kind\": \"k\", \"count\": 4, "
    "\"memory_bytes\": 8000}], \"input_bytes\": 10, \"blocks\": [" BLOCK("a", TIMING("20", "40")) ", "
    BLOCK("b", TIMING("30", "60")) ", " BLOCK("c", TIMING("10", "30")) "], "
    "\"p2p\": [{\"bytes\": 0, \"us\": 100}, {\"bytes\": 1000, \"us\": 100}], "
    "\"allreduce\": [{\"devices\": 2, \"bytes\": 10, \"us\": 7}, {\"devices\": 4, \"bytes\": 10, \"us\": 9}], "
    "\"nodes\": {\"devices_per_node\": 2, \"p2p\": [{\"bytes\": 0, \"us\": 300}, {\"bytes\": 1000, \"us\": 300}], "
    "\"allreduce\": [{\"devices\": 2, \"bytes\": 10, \"us\": 70}, {\"devices\": 4, \"bytes\": 10, \"us\": 90}]}}";

#define PLAN(schedule, stages) "{\"format\": \"pipebd-plan\", \"version\": 1, \"schedule\": \"" schedule "\", \"blocks\": 3, " \
                               "\"devices\": 4, \"batch\": 4, \"stages\": [" stages "]}"

typedef struct { Trace *trace; Scenario s; } World;

static World hand_world(int64_t memory_bytes)
{
    World world;
    Error err = {""};

    if (trace_parse(&world.trace, "hand", hand, sizeof hand - 1, &err) != 0) fail_msg("%s", err.text);
    assert_int_equal(scenario_build(&world.s, world.trace, &(ScenarioOptions){.queue_depth = 2, .memory_bytes = memory_bytes},
                                    NULL), 0);
    return world;
}

static void world_free(World *world)
{
    scenario_free(&world->s);
    trace_free(world->trace);
}

static Plan *parsed(const char *text)
{
    Plan *plan;
    Error err = {""};

    if (plan_parse(&plan, "plan", text, strlen(text), &err) != 0) fail_msg("%s", err.text);
    return plan;
}

static void plans_by_hand(void **state)
{
    /* a on 0: teacher, forward, backward 40 each, update 5 = 125; but its message takes 100.
     * b, c on 2, 1 with two rows each, across machines: teacher 30 + 10, b's students 60, then
     * c's 20; all-reduces 70 each from 100: until 240; the last update 5 = 245; message 300. */
    World       world = hand_world(0);
    Plan       *plan = parsed(PLAN("ahd", "{\"first\": 0, \"last\": 0, \"devices\": [0], \"rows\": [4]}, "
                                   "{\"first\": 1, \"last\": 2, \"devices\": [2, 1], \"rows\": [2, 2]}"));
    CheckedPlan c;
    (void)state;

    assert_int_equal(check_plan(&c, plan, &world.s, NULL), 0);
    assert_int_equal(c.stages[0].part.teacher_ns, 40000);
    assert_int_equal(c.stages[0].part.student_ns, 80000);
    assert_int_equal(c.stages[0].part.out_ns, 300000);
    assert_int_equal(c.stages[0].step_ns, 300000);
    assert_int_equal(c.stages[1].part.reduce_ns, 140000);
    assert_int_equal(c.stages[1].part.in_ns, 300000);
    assert_int_equal(c.stages[1].step_ns, 300000);
    assert_true(!c.stages[0].group_across && c.stages[1].group_across && c.stages[1].in_across);
    assert_int_equal(c.bottleneck_ns, 300000);
    /* a: 1010 fixed; 4 rows x (10 + 100 + 50), no loader. b, c: 2020 fixed, 2 rows x
     * (100 + 100 + 100 + 50 and 2 waiting x 100). */
    assert_int_equal(c.stages[0].memory_bytes, 1010 + 4 * 160);
    assert_int_equal(c.stages[1].memory_bytes, 2020 + 2 * 550);
    check_free(&c);
    plan_free(plan);

    /* ir on four devices: one row each is not measured. */
    Error err = {""};
    plan = parsed(PLAN("ir", "{\"first\": 0, \"last\": 2, \"devices\": [0, 1, 2, 3], \"rows\": [1, 1, 1, 1]}"));
    assert_int_equal(check_plan(&c, plan, &world.s, &err), -1);
    assert_string_equal(err.text, "stage 0: no teacher time for block \"a\" at 1 rows in the trace, expected one, or "
                        "--extrapolate");
    plan_free(plan);

    /* Uneven shares: one row is beyond the points, the device with three rows counts. */
    world.s.extrapolate = true;
    plan = parsed(PLAN("ahd", "{\"first\": 0, \"last\": 2, \"devices\": [0, 1], \"rows\": [3, 1]}"));
    assert_int_equal(check_plan(&c, plan, &world.s, &err), 0);
    /* 3 rows: (30 + 45 + 20) x 3 = 285, updates 15; all-reduces of 7 end 7 after the last
     * backward, and so does the last update's start: max(300, 292 + 5). */
    assert_int_equal(c.bottleneck_ns, 300000);
    assert_int_equal(c.stages[0].slowest, 0);
    check_free(&c);
    plan_free(plan);
    world_free(&world);
}

static void bad_plans_name_the_stage(void **state)
{
    static const struct { const char *plan, *why; int64_t memory; } cases[] = {
        {PLAN("tr", "{\"first\": 0, \"last\": 0, \"devices\": [0], \"rows\": [4]}, "
              "{\"first\": 1, \"last\": 2, \"devices\": [1], \"rows\": [4]}"),
         "stage 1: device 1 needs 0.00402451 MiB, but has 0.00389099", 4080},
        {PLAN("ls", "{\"first\": 0, \"last\": 0, \"devices\": [0], \"rows\": [4]}, "
              "{\"first\": 1, \"last\": 1, \"devices\": [1], \"rows\": [4]}, "
              "{\"first\": 2, \"last\": 2, \"devices\": [1], \"rows\": [4]}"),
         "stage 1: device 1 needs 0.00191689 MiB, but has 0.00190735", 2000},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        World       world = hand_world(cases[i].memory);
        Plan       *plan = parsed(cases[i].plan);
        CheckedPlan c;
        Error       err = {""};
        assert_int_equal(check_plan(&c, plan, &world.s, &err), -1);
        assert_string_equal(err.text, cases[i].why);
        plan_free(plan);
        world_free(&world);
    }
}

/* What plan_read() refuses already, made in memory: the checker sees it by itself. */
static void broken_lists_are_seen(void **state)
{
    World       world = hand_world(0);
    CheckedPlan c;
    (void)state;

    for (int i = 0; i < 7; i++) {
        static const char *const why[] = {
            "stage 1: its devices have 3 rows together, expected the batch, 4", "stage 1: device 0 is in stage 0 too",
            "stage 1: starts with block 2, expected 1", "stage 1: 4 rows on device 4 of 4", "block 2 is in no stage",
            "the plan is for 3 devices, but there are 4", "the plan is for batch 5, but it is 4",
        };
        Plan *plan = parsed(PLAN("dpu", "{\"first\": 0, \"last\": 0, \"devices\": [0], \"rows\": [4]}, "
                                 "{\"first\": 1, \"last\": 2, \"devices\": [1], \"rows\": [4]}"));
        Error err = {""};
        if (i == 0) plan->stages[1].rows[0] = 3;
        if (i == 1) plan->stages[1].devices[0] = 0;
        if (i == 2) plan->stages[1].first = 2;
        if (i == 3) plan->stages[1].devices[0] = 4;
        if (i == 4) plan->stages[1].last = 1;
        if (i == 5) plan->device_count = 3;
        if (i == 6) plan->batch = 5;
        assert_int_equal(check_plan(&c, plan, &world.s, &err), -1);
        assert_string_equal(err.text, why[i]);
        plan_free(plan);
    }
    world_free(&world);
}

/* ---- against the search and the simulator ------------------------------------------------ */

static void check_candidate(const Candidate *row, const Scenario *s, int i)
{
    CheckedPlan c;
    Error       err = {""};
    const Plan *plan = row->plan;
    int64_t     peak = 0;

    if (check_plan(&c, plan, s, &err) != 0) fail_msg("case %d, %s: %s", i, schedule_name(plan->schedule), err.text);
    if (plan->bottleneck_ns && plan->bottleneck_ns != c.bottleneck_ns)
        fail_msg("case %d, %s: bottleneck %lld, by the search %lld", i, schedule_name(plan->schedule),
                 (long long)c.bottleneck_ns, (long long)plan->bottleneck_ns);
    for (int k = 0; k < plan->stage_count; k++)
        if (c.stages[k].memory_bytes > peak) peak = c.stages[k].memory_bytes;
    if (peak != row->peak.total_bytes) fail_msg("case %d, %s: memory", i, schedule_name(plan->schedule));
    for (int k = 0; k < plan->stage_count && plan->schedule >= SCHEDULE_TR; k++) {
        const Stage *stage = &plan->stages[k];
        int     before = k > 0 ? stage[-1].devices[stage[-1].width - 1] : -1;
        int     after = k + 1 < plan->stage_count ? stage[1].devices[0] : -1;
        int64_t ns = stage_cost_shares(s, COST_SIM, stage->first, stage->last, stage->devices, stage->rows, stage->width,
                                       before, after, NULL);
        if (ns != c.stages[k].step_ns) fail_msg("case %d, %s: stage %d", i, schedule_name(plan->schedule), k);
    }
    /* Without a loader nothing is waited for in ls, nor in dp on equal devices (but one
     * student's all-reduce hides behind the next student): exact. */
    if (!s->trace->loader.present && !plan->stealing
        && (plan->schedule == SCHEDULE_LS || (plan->schedule == SCHEDULE_DP && s->trace->kind_count == 1
                                              && !trace_has_many_students(s->trace))))
        assert_true(row->sim.epoch_ns == c.bottleneck_ns * s->steps);
    check_free(&c);
}

static void checker_agrees_with_search(void **state)
{
    Rng rng = {.seed = test_seed("checker_agrees_with_search", 81)};
    int checked[SCHEDULE_COUNT] = {0};
    (void)state;

    for (int i = 0; i < 600; i++) {
        RandomTrace    h = random_trace_shape(&rng, 7, 6);
        CompareOptions options = {.schedules = SCHEDULES_USUAL, .candidates = 1 + i % 3};
        Trace         *trace;
        Scenario       s;
        Comparison     c;
        h.students = i % 4 == 0;
        random_scenario(&rng, &h, 1 + i % 2, &trace, &s);
        assert_int_equal(compare(&c, &s, &options, NULL), 0);
        for (int k = 0; k < SCHEDULE_SPLIT; k++)
            if (c.rows[k].plan) { check_candidate(&c.rows[k], &s, i); checked[k]++; }
        comparison_free(&c);
        scenario_free(&s);
        trace_free(trace);
    }
    for (int k = 0; k < SCHEDULE_SPLIT; k++) assert_true(checked[k] > 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_by_hand), cmocka_unit_test(bad_plans_name_the_stage),
        cmocka_unit_test(broken_lists_are_seen), cmocka_unit_test(checker_agrees_with_search),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
