/* The checker against the search, the simulator and the hand. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

#include "planner/check/check.h"
#include "planner/compare.h"
#include "tests/random_trace.h"

/* ---- by hand ------------------------------------------------------------------------ */

/* Three blocks, four rows, 100 us a message of boundary 1 or 2 within a machine of two
 * devices, 300 us across. Times at 2 and at 4 rows. */
#define TIMING(t2, t4)                                                                     \
    "[{\"batch\": 2, \"teacher_us\": " t2 ", \"forward_us\": " t2 ", \"backward_us\": " t2 \
    ", \"update_us\": 5}, "                                                                \
    "{\"batch\": 4, \"teacher_us\": " t4 ", \"forward_us\": " t4 ", \"backward_us\": " t4  \
    ", \"update_us\": 5}]"
#define BLOCK(name, times)                                                                   \
    "{\"name\": \"" name "\", \"output_bytes\": 100, \"student\": {\"weight_bytes\": 1000, " \
    "\"gradient_bytes\": 10, \"activation_bytes\": 50}, \"timings\": " times "}"
static const char hand[] =
    "{\"format\": \"pipebd-trace\", \"version\": 1, \"name\": \"hand\", \"provenance\": {\"kind\": "
    "\"modelled\", \"source\": "
    "\"test\"}, \"workload\": {\"name\": \"w\", \"batch\": 4, \"samples\": 40}, \"devices\": "
    "[{\"kind\": \"k\", \"count\": 4, "
    "\"memory_bytes\": 8000}], \"input_bytes\": 10, \"blocks\": [" BLOCK(
        "a",
        TIMING(
            "20",
            "40")) ", " BLOCK("b",
                              TIMING(
                                  "30",
                                  "60")) ", " BLOCK("c",
                                                    TIMING(
                                                        "10",
                                                        "30")) "], "
                                                               "\"p2p\": [{\"bytes\": 0, \"us\": "
                                                               "100}, {\"bytes\": 1000, \"us\": "
                                                               "100}], "
                                                               "\"allreduce\": [{\"devices\": 2, "
                                                               "\"bytes\": 10, \"us\": 7}, "
                                                               "{\"devices\": 4, \"bytes\": 10, "
                                                               "\"us\": 9}], "
                                                               "\"nodes\": {\"devices_per_node\": "
                                                               "2, \"p2p\": [{\"bytes\": 0, "
                                                               "\"us\": 300}, {\"bytes\": 1000, "
                                                               "\"us\": 300}], "
                                                               "\"allreduce\": [{\"devices\": 2, "
                                                               "\"bytes\": 10, \"us\": 70}, "
                                                               "{\"devices\": 4, \"bytes\": 10, "
                                                               "\"us\": 90}]}}";

#define PLAN(schedule, stages)                                                \
    "{\"format\": \"pipebd-plan\", \"version\": 1, \"schedule\": \"" schedule \
    "\", \"blocks\": 3, "                                                     \
    "\"devices\": 4, \"batch\": 4, \"stages\": [" stages "]}"

typedef struct { Trace *trace; Scenario s; } World;

static World hand_world(int64_t memory_bytes)
{
    World world;
    Error err = {""};

    if (trace_parse(&world.trace, "hand", hand, sizeof hand - 1, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(
        scenario_build(&world.s, world.trace,
                       &(ScenarioOptions){.queue_depth = 2, .memory_bytes = memory_bytes}, NULL),
        0);
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
    /* a on 0: teacher, forward, backward 40 each, update 5 = 125; but after the teacher come its
     * messages, 300 to device 2 on the other machine, 100 to device 1: until 440.
     * b, c on 2, 1 with two rows each, across machines: teacher 30 + 10, b's students 60, then
     * c's 20; all-reduces 70 each from 100: until 240; the last update 5 = 245. */
    World       world = hand_world(0);
    Plan       *plan =
        parsed(PLAN("ahd", "{\"first\": 0, \"last\": 0, \"devices\": [0], \"rows\": [4]}, "
                           "{\"first\": 1, \"last\": 2, \"devices\": [2, 1], \"rows\": [2, 2]}"));
    CheckedPlan c;
    (void)state;

    assert_int_equal(check_plan(&c, plan, &world.s, NULL), 0);
    assert_int_equal(c.stages[0].part.teacher_ns, 40000);
    assert_int_equal(c.stages[0].part.student_ns, 80000);
    assert_int_equal(c.stages[0].part.out_ns, 400000);
    assert_int_equal(c.stages[0].step_ns, 440000);
    assert_int_equal(c.stages[1].part.reduce_ns, 140000);
    assert_int_equal(c.stages[1].part.in_ns, 300000);
    assert_int_equal(c.stages[1].step_ns, 300000);
    assert_true(!c.stages[0].group_across && c.stages[1].group_across && c.stages[1].in_across);
    assert_int_equal(c.bottleneck_ns, 440000);
    /* a: 1010 fixed; 4 rows x (10 + 100 + 50), no loader. b, c: 2020 fixed, 2 rows x
     * (100 + 100 + 100 + 50 and 2 waiting x 100). */
    assert_int_equal(c.stages[0].memory_bytes, 1010 + 4 * 160);
    assert_int_equal(c.stages[1].memory_bytes, 2020 + 2 * 550);
    check_free(&c);
    plan_free(plan);

    /* ir on four devices: one row each is not measured. */
    Error err = {""};
    plan = parsed(PLAN(
        "ir", "{\"first\": 0, \"last\": 2, \"devices\": [0, 1, 2, 3], \"rows\": [1, 1, 1, 1]}"));
    assert_int_equal(check_plan(&c, plan, &world.s, &err), -1);
    assert_string_equal(
        err.text,
        "stage 0: no teacher time for block \"a\" at 1 rows in the trace, expected one, or "
        "--extrapolate");
    plan_free(plan);

    /* Uneven shares: one row is beyond the points, the device with three rows counts. */
    world.s.extrapolate = true;
    plan =
        parsed(PLAN("ahd", "{\"first\": 0, \"last\": 2, \"devices\": [0, 1], \"rows\": [3, 1]}"));
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

    for (int i = 0; i < 8; i++) {
        static int         twice[] = {1, 1};
        static int64_t     halves[] = {2, 2};
        static const char *const why[] = {
            "stage 1: its devices have 3 rows together, expected the batch, 4",
            "stage 1: device 0 is in stage 0 too",
            "stage 1: starts with block 2, expected 1",
            "stage 1: 4 rows on device 4 of 4",
            "block 2 is in no stage",
            "the plan is for 3 devices, but there are 4",
            "the plan is for batch 5, but it is 4",
            "stage 1: device 1 is in it twice",
        };
        Plan *plan =
            parsed(PLAN("dpu", "{\"first\": 0, \"last\": 0, \"devices\": [0], \"rows\": [4]}, "
                               "{\"first\": 1, \"last\": 2, \"devices\": [1], \"rows\": [4]}"));
        Error err = {""};
        if (i == 0) plan->stages[1].rows[0] = 3;
        if (i == 1) plan->stages[1].devices[0] = 0;
        if (i == 2) plan->stages[1].first = 2;
        if (i == 3) plan->stages[1].devices[0] = 4;
        if (i == 4) plan->stages[1].last = 1;
        if (i == 5) plan->device_count = 3;
        if (i == 6) plan->batch = 5;
        if (i == 7) {
            plan->stages[1].width = 2;
            plan->stages[1].devices = twice;
            plan->stages[1].rows = halves;
        }
        assert_int_equal(check_plan(&c, plan, &world.s, &err), -1);
        assert_string_equal(err.text, why[i]);
        plan_free(plan);
    }
    world_free(&world);
}

/* ---- split, by hand ------------------------------------------------------------------------ */

/* a and b's teacher on 0, c's on 1; a trained on 2, b by 0 and 2, c on 1.
 *     device 0   teacher 40 + 60, student b of two rows 60, all-reduce across machines 70, update
 *                5; out: boundary 2 to 1, 100; boundaries 0, 1 and two rows of 2 to 2, 300 each
 *     device 1   teacher 30, student c 60, update 5; in 100
 *     device 2   students a 80, b 60, updates 5 each, all-reduce 70; in 900 */
#define TASK(block, devices, rows) \
    "{\"block\": " block ", \"devices\": [" devices "], \"rows\": [" rows "]}"
static const char hand_split[] =
    "{\"format\": \"pipebd-plan\", \"version\": 1, \"schedule\": \"split\", \"blocks\": 3, "
    "\"devices\": 4, \"batch\": 4, "
    "\"stages\": [{\"first\": 0, \"last\": 1, \"devices\": [0], \"rows\": [4]}, "
    "{\"first\": 2, \"last\": 2, \"devices\": [1], \"rows\": [4]}], "
    "\"tasks\": [" TASK("0", "2", "4") ", " TASK("1", "0, 2", "2, 2") ", " TASK("2", "1", "4") "]}";

static void split_by_hand(void **state)
{
    static const CheckedPart want[4] = {
        {.teacher_ns = 100000, .student_ns = 60000, .reduce_ns = 70000, .update_ns = 5000,
         .out_ns = 1000000, .step_ns = 1000000, .memory_bytes = 1010 + 400 + 400 + 2 * 50},
        {.teacher_ns = 30000, .student_ns = 60000, .update_ns = 5000, .in_ns = 100000,
         .step_ns = 100000, .memory_bytes = 1010 + 400 + 400 + 200 + 2 * 400},
        {.student_ns = 140000, .reduce_ns = 70000, .update_ns = 10000, .in_ns = 900000,
         .step_ns = 900000, .memory_bytes = 2020 + 40 + 400 + 200 + 200 + 2 * 400},
        {0},
    };
    World       world = hand_world(0);
    Plan       *plan = parsed(hand_split);
    CheckedPlan c;
    Error       err = {""};
    (void)state;

    if (check_plan(&c, plan, &world.s, &err) != 0) fail_msg("%s", err.text);
    assert_memory_equal(c.devices, want, sizeof want);
    assert_int_equal(c.bottleneck_ns, 1000000);
    assert_int_equal(c.bottleneck, 0);
    check_free(&c);

    /* Messages that cost nothing: the all-reduce ends at 100 + 60 + 70, then the update. */
    world.trace->links.p2p.count = world.trace->node_links.p2p.count = 0;
    assert_int_equal(check_plan(&c, plan, &world.s, NULL), 0);
    assert_int_equal(c.devices[0].step_ns, 235000);
    assert_int_equal(c.devices[2].step_ns, 215000);
    check_free(&c);

    /* One that the trace does not have. */
    world.trace->node_links.p2p.count = 2;
    world.trace->node_links.p2p.points[0].x = 41;
    assert_int_equal(check_plan(&c, plan, &world.s, &err), -1);
    assert_string_equal(err.text, "device 0: no nodes.p2p for the input at 40 bytes in the trace, "
                                  "expected one, or --extrapolate");
    plan_free(plan);
    world_free(&world);
}

static void broken_splits_are_seen(void **state)
{
    static const char *const why[] = {
        "task 1: its devices have 3 rows together, expected the batch, 4",
        "task 1: device 0 is in it twice",
        "task 0: 4 rows on device 4 of 4",
        "task 1: trains student 1 of block 1, expected student 0 of block 1",
        "task 1: trains student 0 of block 0, expected student 0 of block 1",
        "student 0 of block 2 is in no task",
        "stage 1: its devices have 3 rows together, expected the batch, 4",
        "stage 1: device 0 is in stage 0 too",
        "task 1: 0 rows on device 2 of 4",
        "device 1 needs 0.00267982 MiB, but has 0.00190735",
    };
    (void)state;

    for (int i = 0; i < 10; i++) {
        World       world = hand_world(i == 9 ? 2000 : 0);
        Plan       *plan = parsed(hand_split);
        CheckedPlan c;
        Error       err = {""};
        if (i == 0) plan->tasks[1].rows[1] = 1;
        if (i == 1) plan->tasks[1].devices[1] = 0;
        if (i == 2) plan->tasks[0].devices[0] = 4;
        if (i == 3) plan->tasks[1].student = 1;
        if (i == 4) plan->tasks[1].first = plan->tasks[1].last = 0;
        if (i == 5) plan->task_count = 2;
        if (i == 6) plan->stages[1].rows[0] = 3;
        if (i == 7) plan->stages[1].devices[0] = 0;
        if (i == 8) plan->tasks[1].rows[1] = 0;
        assert_int_equal(check_plan(&c, plan, &world.s, &err), -1);
        assert_string_equal(err.text, why[i]);
        assert_null(c.devices);
        plan_free(plan);
        world_free(&world);
    }
}

static void split_without_memory(void **state)
{
    World world = hand_world(0);
    Plan *plan = parsed(hand_split);
    bool  reached = true;
    (void)state;

    for (long n = 1; reached; n++) {
        CheckedPlan c;
        Error       err = {""};
        alloc_fail_after(n);
        int rc = check_plan(&c, plan, &world.s, &err);
        reached = alloc_fail_reached();
        alloc_fail_after(0);
        assert_int_equal(rc, reached ? -1 : 0);
        if (reached) assert_string_equal(err.text, "out of memory");
        if (!reached) assert_true(n > 10);
        check_free(&c);
    }
    plan_free(plan);
    world_free(&world);
}

/* ---- against the search and the simulator ------------------------------------------------ */

static void check_candidate(const Candidate *row, const Scenario *s, int i)
{
    CheckedPlan c;
    Error       err = {""};
    const Plan *plan = row->plan;
    int64_t     peak = 0;

    if (check_plan(&c, plan, s, &err) != 0)
        fail_msg("case %d, %s: %s", i, schedule_name(plan->schedule), err.text);
    if (plan->bottleneck_ns && plan->bottleneck_ns != c.bottleneck_ns)
        fail_msg("case %d, %s: bottleneck %lld, by the search %lld", i,
                 schedule_name(plan->schedule), (long long)c.bottleneck_ns,
                 (long long)plan->bottleneck_ns);
    for (int k = 0; k < plan->stage_count; k++)
        if (c.stages[k].memory_bytes > peak) peak = c.stages[k].memory_bytes;
    if (peak != row->peak.total_bytes)
        fail_msg("case %d, %s: memory", i, schedule_name(plan->schedule));
    /* Without a loader nothing is waited for in ls, nor in dp on equal devices (but one
     * student's all-reduce hides behind the next student): exact. */
    if (!s->trace->loader.present && !plan->stealing
        && (plan->schedule == SCHEDULE_LS
            || (plan->schedule == SCHEDULE_DP && s->trace->kind_count == 1
                && !trace_has_many_students(s->trace))))
        assert_true(row->sim.epoch_ns == c.bottleneck_ns * s->steps);
    check_free(&c);
}

static void checker_agrees_with_search(void **state)
{
    Rng rng = {.seed = test_seed("checker_agrees_with_search", 81)};
    int checked[SCHEDULE_COUNT] = {0};
    (void)state;

    for (int i = 0; i < test_cases(600); i++) {
        RandomTrace    h = random_trace_shape(&rng, 7, 6);
        CompareOptions options = {.schedules = schedules_usual(), .candidates = 1 + i % 3};
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
    for (int k = 0; k < SCHEDULE_SPLIT; k++) assert_true(checked[k] > test_cases(300));
}

static int64_t simulated_epoch(const Plan *plan, const Scenario *s, int64_t steps)
{
    Scenario  other = *s;
    Candidate row = {0};
    Plan     *copy;

    other.steps = steps;
    assert_int_equal(plan_copy(&copy, plan, NULL), 0);
    assert_int_equal(candidate_price(&row, copy, &other, NULL), 0);
    assert_non_null(row.plan);
    int64_t ns = row.sim.epoch_ns;
    candidate_free(&row);
    return ns;
}

/* What so many steps take once the run is steady: the difference of two runs. */
enum { STEADY_STEPS = 256 };

static int64_t steady_ns(const Plan *plan, const Scenario *s)
{
    return simulated_epoch(plan, s, 2 * STEADY_STEPS) - simulated_epoch(plan, s, STEADY_STEPS);
}

/* Devices that load for themselves (prefetch 0) load once a step, at its start: where there are
 * lanes enough the checker's bottleneck is the simulator's steady step to the nanosecond, but for
 * groups whose waits reach from step to step. (With fewer lanes whose turn it is changes from step
 * to step, and the checker's turns are an estimate.) */
static void loading_is_counted_once(void **state)
{
    Rng rng = {.seed = test_seed("loading_is_counted_once", 85)};
    int held[SCHEDULE_COUNT] = {0}, off[SCHEDULE_COUNT] = {0}, loads[SCHEDULE_COUNT] = {0};
    (void)state;

    for (int i = 0; i < test_cases(200); i++) {
        RandomTrace    h = random_trace_shape(&rng, 6, 5);
        CompareOptions options = {.schedules = schedules_usual(), .candidates = 1 + i % 3};
        Trace         *trace;
        Scenario       s;
        Comparison     c;
        h.loader = true;
        random_scenario(&rng, &h, 1 + i % 2, &trace, &s);
        trace->loader.prefetch = 0;
        assert_int_equal(compare(&c, &s, &options, NULL), 0);
        for (int k = 0; k < SCHEDULE_SPLIT; k++) {
            const Plan *plan = c.rows[k].plan;
            CheckedPlan checked;
            if (!plan || plan->stealing
                || trace->loader.lanes
                       < (k == SCHEDULE_LS ? s.device_count : plan->stages[0].width))
                continue;
            assert_int_equal(check_plan(&checked, plan, &s, NULL), 0);
            int64_t steady = steady_ns(plan, &s);
            held[k]++;
            loads[k] += checked.stages[0].part.load_ns > 0;
            int64_t bottleneck = checked.bottleneck_ns;
            check_free(&checked);
            if (steady == bottleneck * STEADY_STEPS) continue;
            off[k]++;
            if (k != SCHEDULE_AHD)
                fail_msg("case %d, %s: %lld ns a step, simulated %g", i, schedule_name((Schedule)k),
                         (long long)bottleneck, (double)steady / STEADY_STEPS);
        }
        comparison_free(&c);
        scenario_free(&s);
        trace_free(trace);
    }
    for (int k = 0; k < SCHEDULE_SPLIT; k++) {
        print_message("# %s: %d of %d steps otherwise, %d load\n", schedule_name((Schedule)k),
                      off[k], held[k], loads[k]);
        assert_true(loads[k] > test_cases(60) && 100 * off[k] <= 2 * held[k]);
    }
}

/* ---- split against the simulator, and against ahd ------------------------------------------ */

/* width of the devices, in any order, and any rows for them. */
static void draw_group(Rng *rng, int *devices, int64_t *rows, int width, int count, int64_t batch)
{
    for (int i = 0; i < count; i++) devices[i] = i;
    for (int i = 0; i < width; i++) {
        int k = (int)rng_range(rng, i, count - 1), d = devices[k];
        devices[k] = devices[i];
        devices[i] = d;
        rows[i] = i + 1 < width ? rng_range(rng, 1, batch - (width - 1 - i)) : batch;
        batch -= rows[i];
    }
}

static void place(Plan *plan, Stage *stage, const int *devices, const int64_t *rows, int width)
{
    assert_int_equal(plan_place(plan, stage, devices, rows, width, NULL), 0);
}

/* Teacher stages of any width on any devices, students on any, with any rows. */
static Plan *random_split(Rng *rng, const Scenario *s)
{
    int      n = s->trace->block_count, g = s->device_count, order[64], students[64], first[64],
             width[64], count = 0, used = 0;
    int64_t  rows[64];
    Plan    *plan;

    for (int b = 0; b < n && used < g; b += (int)rng_range(rng, 1, 3)) {
        first[count] = b;
        width[count] = (int)rng_range(rng, 1, g - used < 3 ? g - used : 3);
        used += width[count++];
    }
    for (int b = 0; b < n; b++) students[b] = trace_students(&s->trace->blocks[b]);
    assert_int_equal(plan_new(&plan, SCHEDULE_SPLIT, n, g, s->batch, count, NULL), 0);
    if (trace_has_many_students(s->trace))
        assert_int_equal(plan_set_students(plan, students, NULL), 0);
    assert_int_equal(plan_add_tasks(plan, NULL), 0);
    draw_group(rng, order, rows, g, g, s->batch + g);
    for (int i = 0, at = 0; i < count; at += width[i++]) {
        int any[64];
        plan->stages[i].first = first[i];
        plan->stages[i].last = i + 1 < count ? first[i + 1] - 1 : n - 1;
        draw_group(rng, any, rows, width[i], width[i], s->batch);
        place(plan, &plan->stages[i], order + at, rows, width[i]);
    }
    for (int t = 0; t < plan->task_count; t++) {
        int devices[64], wide = (int)rng_range(rng, 1, g < 3 ? g : 3);
        draw_group(rng, devices, rows, wide, g, s->batch);
        place(plan, &plan->tasks[t], devices, rows, wide);
    }
    return plan;
}

/* What the simulator adds up is what the checker says; an epoch takes no less than the
 * busiest device. */
static void check_split_candidate(const Candidate *row, const Scenario *s, int i)
{
    CheckedPlan c;
    Error       err = {""};
    int64_t     most = 0;

    if (check_plan(&c, row->plan, s, &err) != 0) fail_msg("case %d: %s", i, err.text);
    for (int d = 0; d < s->device_count; d++) {
        const CheckedPart *part = &c.devices[d];
        const int64_t     *share = row->sim.shares[d];
        if (share[SHARE_TEACHER] != part->teacher_ns * s->steps
            || share[SHARE_STUDENT] != part->student_ns * s->steps
            || share[SHARE_UPDATE] != part->update_ns * s->steps)
            fail_msg("case %d: work of device %d", i, d);
        if (row->memory[d].total_bytes != part->memory_bytes)
            fail_msg("case %d: device %d needs %lld bytes, by the simulator %lld", i, d,
                     (long long)part->memory_bytes, (long long)row->memory[d].total_bytes);
        if (part->step_ns > most) most = part->step_ns;
        if (s->trace->blocking_transfers && share[SHARE_TRANSFER] < part->out_ns * s->steps)
            fail_msg("case %d: messages of device %d", i, d);
    }
    assert_int_equal(most, c.bottleneck_ns);
    if (!s->trace->loader.present && row->sim.epoch_ns < c.bottleneck_ns * s->steps)
        fail_msg("case %d: %d steps in %lld ns, the busiest device has %lld a step", i,
                 (int)s->steps, (long long)row->sim.epoch_ns, (long long)c.bottleneck_ns);
    check_free(&c);
}

static void checker_agrees_with_simulator_on_split(void **state)
{
    Rng rng = {.seed = test_seed("checker_agrees_with_simulator_on_split", 82)};
    (void)state;

    for (int i = 0; i < test_cases(1500); i++) {
        RandomTrace h = random_trace_shape(&rng, 7, 6);
        Trace      *trace;
        Scenario    s;
        Candidate   row = {0};
        h.students = i % 3 == 0;
        if (h.batch < h.devices) h.batch = h.devices;
        random_scenario(&rng, &h, 1 + i % 2, &trace, &s);
        assert_int_equal(candidate_price(&row, random_split(&rng, &s), &s, NULL), 0);
        if (!row.plan) fail_msg("case %d: %s", i, row.why);
        check_split_candidate(&row, &s, i);
        candidate_free(&row);
        scenario_free(&s);
        trace_free(trace);
    }
}

static void checker_agrees_with_split_search(void **state)
{
    Rng rng = {.seed = test_seed("checker_agrees_with_split_search", 83)};
    int checked = 0;
    (void)state;

    for (int i = 0; i < 24; i++) {
        RandomTrace    h = random_trace_shape(&rng, 5, 4);
        CompareOptions options = {.schedules = 1u << SCHEDULE_SPLIT, .candidates = 2};
        Trace         *trace;
        Scenario       s;
        Comparison     c;
        h.students = i % 3 == 0;
        random_scenario(&rng, &h, 2, &trace, &s);
        assert_int_equal(compare_rows(&c, &s, &options, NULL), 0);
        if (c.rows[SCHEDULE_SPLIT].plan) {
            check_split_candidate(&c.rows[SCHEDULE_SPLIT], &s, i);
            checked++;
        }
        comparison_free(&c);
        scenario_free(&s);
        trace_free(trace);
    }
    assert_true(checked > 18);
}

/* ahd's plan in split's words: the same work and memory on every device. Without messages
 * (split does not lay them out) the same steps too. */
static void check_ahd_as_split(const Candidate *row, const Scenario *s, int i)
{
    Plan       *plan;
    CheckedPlan ahd, split;

    assert_int_equal(plan_copy(&plan, row->plan, NULL), 0);
    plan->schedule = SCHEDULE_SPLIT;
    assert_int_equal(plan_add_tasks(plan, NULL), 0);
    for (int t = 0, k = 0; t < plan->task_count; t++) {
        while (plan->stages[k].last < plan->tasks[t].first) k++;
        place(plan, &plan->tasks[t], plan->stages[k].devices, plan->stages[k].rows,
              plan->stages[k].width);
    }
    assert_int_equal(check_plan(&ahd, row->plan, s, NULL), 0);
    assert_int_equal(check_plan(&split, plan, s, NULL), 0);
    for (int k = 0; k < plan->stage_count; k++) {
        const CheckedStage *stage = &ahd.stages[k];
        const CheckedPart  *part = &split.devices[plan->stages[k].devices[stage->slowest]];
        assert_int_equal(part->load_ns, stage->part.load_ns);
        assert_int_equal(part->teacher_ns, stage->part.teacher_ns);
        assert_int_equal(part->student_ns, stage->part.student_ns);
        assert_int_equal(part->reduce_ns, stage->part.reduce_ns);
        assert_int_equal(part->update_ns, stage->part.update_ns);
        assert_int_equal(split.devices[stage->memory_device].memory_bytes, stage->memory_bytes);
        if (s->trace->links.p2p.count || s->trace->node_links.p2p.count) continue;
        /* parts may meet later, which split's arithmetic leaves out */
        if (s->trace->micro_batches > 1) { assert_true(part->step_ns <= stage->step_ns); continue; }
        if (part->step_ns != stage->step_ns)
            fail_msg("case %d: stage %d: %lld and %lld", i, k, (long long)part->step_ns,
                     (long long)stage->step_ns);
    }
    if (!s->trace->links.p2p.count && !s->trace->node_links.p2p.count
        && s->trace->micro_batches < 2)
        assert_int_equal(split.bottleneck_ns, ahd.bottleneck_ns);
    check_free(&ahd);
    check_free(&split);
    plan_free(plan);
}

static void split_counts_as_ahd_does(void **state)
{
    Rng rng = {.seed = test_seed("split_counts_as_ahd_does", 84)};
    int checked = 0;
    (void)state;

    for (int i = 0; i < 400; i++) {
        RandomTrace    h = random_trace_shape(&rng, 7, 6);
        CompareOptions options = {.schedules = 1u << SCHEDULE_AHD | 1u << SCHEDULE_IR,
                                  .candidates = 1};
        Trace         *trace;
        Scenario       s;
        Comparison     c;
        h.students = i % 4 == 0;
        if (i % 2) h.p2p = false;
        random_scenario(&rng, &h, 1 + i % 2, &trace, &s);
        assert_int_equal(compare_rows(&c, &s, &options, NULL), 0);
        if (c.rows[SCHEDULE_AHD].plan) {
            check_ahd_as_split(&c.rows[SCHEDULE_AHD], &s, i);
            checked++;
        }
        comparison_free(&c);
        scenario_free(&s);
        trace_free(trace);
    }
    assert_true(checked > 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_by_hand),
        cmocka_unit_test(bad_plans_name_the_stage),
        cmocka_unit_test(broken_lists_are_seen),
        cmocka_unit_test(checker_agrees_with_search),
        cmocka_unit_test(loading_is_counted_once),
        cmocka_unit_test(split_by_hand),
        cmocka_unit_test(broken_splits_are_seen),
        cmocka_unit_test(split_without_memory),
        cmocka_unit_test(checker_agrees_with_simulator_on_split),
        cmocka_unit_test(checker_agrees_with_split_search),
        cmocka_unit_test(split_counts_as_ahd_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
