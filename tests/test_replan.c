/* Planning again: devices that work as the trace says leave the plan alone, one that slows down
 * gets less to do, and what cannot be planned again is refused. The run is played: what devices
 * worked is told to device_status, no kernel runs. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "executor/train/replan.h"
#include "planner/compare.h"
#include "planner/predict.h"

enum { DEVICES = 4, EPOCH = 20, PATIENCE = 3 };

static const char trace_path[] = PIPEBD_ROOT "/traces/vgg-cpu.json";

typedef struct {
    Trace       *trace;
    Scenario     scenario;
    StatusBoard *board;
    Plan        *plan;
    double       work_ns[DEVICES];       /* a step of plan, as the trace says */
} Run;

static Plan *plan_of(const Scenario *scenario, Schedule schedule)
{
    Comparison comparison;
    Plan      *plan;
    Error      err = {""};

    if (compare(&comparison, scenario,
                &(CompareOptions){.schedules = 1u << schedule, .candidates = 8}, &err)
            != 0
        || plan_copy(&plan, comparison.rows[schedule].plan, &err) != 0)
        fail_msg("%s", err.text);
    comparison_free(&comparison);
    return plan;
}

static void look_up_work(Run *run)
{
    Prediction p;
    Error      err = {""};

    if (predict(&p, run->plan, &run->scenario, 64, &err) != 0) fail_msg("%s", err.text);
    for (int d = 0; d < DEVICES; d++) run->work_ns[d] = 0;
    for (int64_t i = 0; i < p.span_count; i++) {
        Op op = p.spans[i].instruction->op;
        if (op == OP_TEACHER || op == OP_FORWARD || op == OP_BACKWARD || op == OP_UPDATE)
            run->work_ns[p.spans[i].device] +=
                (double)(p.spans[i].end_ns - p.spans[i].start_ns) / 64;
    }
    prediction_free(&p);
}

static Run open_run(Schedule schedule)
{
    Run   run = {0};
    Error err = {""};

    if (trace_read(&run.trace, trace_path, &err) != 0
        || scenario_build(&run.scenario, run.trace,
                          &(ScenarioOptions){.devices = DEVICES, .queue_depth = 2}, &err)
               != 0
        || status_board_new(&run.board, DEVICES, &err) != 0)
        fail_msg("%s", err.text);
    run.plan = plan_of(&run.scenario, schedule);
    look_up_work(&run);
    return run;
}

static void close_run(Run *run)
{
    plan_free(run->plan);
    status_board_free(run->board);
    scenario_free(&run->scenario);
    trace_free(run->trace);
}

/* An epoch in which device d works factors[d] times as long as the trace says; waits do not
 * matter. */
static void play_epoch(Run *run, const double *factors)
{
    for (int d = 0; d < DEVICES; d++)
        for (int step = 0; step < EPOCH; step++) {
            int64_t ns = llround(run->work_ns[d] * factors[d]);
            status_board_count(run->board, d, OP_TEACHER, 0, ns / 3);
            status_board_count(run->board, d, OP_BACKWARD, 77, ns - ns / 3);
            status_board_count(run->board, d, OP_RECV, 1000 * ns, 5 * ns);
            status_board_step(run->board, d, 1006 * ns + 77);
        }
}

static Replan *open_replan(const Run *run, double least_gain)
{
    Replan *replan;
    Error   err = {""};

    if (replan_open(&replan,
                    &(ReplanOptions){.trace = trace_path, .devices = DEVICES, .queue_depth = 2,
                                     .threshold = 0.15, .patience = PATIENCE,
                                     .least_gain = least_gain},
                    run->plan, &err)
        != 0)
        fail_msg("%s", err.text);
    return replan;
}

static ReplanResult check(Replan *replan, const Run *run)
{
    ReplanResult answer;
    Error        err = {""};

    assert_int_equal(replan_check(replan, run->board, &answer, &err), 0);
    assert_string_equal(answer.why, "");
    return answer;
}

/* What a device has to do under a plan, as the trace says. */
static double work_of(Run *run, const Plan *plan, int device)
{
    Run other = *run;

    other.plan = (Plan *)plan;
    look_up_work(&other);
    return other.work_ns[device];
}

/* All as the trace says, or a little off, or one epoch not: nothing is asked. Then device 1 works
 * three times as long: after PATIENCE epochs there is a plan that gives it less, and that is
 * expected to gain; under that plan all is quiet; when the device is as fast as before, it gets its
 * work back where that is worth it; of whole blocks it may not be. */
static void a_slow_device_gets_less_to_do(void **state)
{
    (void)state;
    static const Schedule schedules[] = {SCHEDULE_TR, SCHEDULE_DPU, SCHEDULE_AHD, SCHEDULE_SPLIT};

    for (size_t s = 0; s < sizeof schedules / sizeof *schedules; s++) {
        Run     run = open_run(schedules[s]);
        Replan *replan = open_replan(&run, 0.05);
        Error   err = {""};
        double  factors[DEVICES] = {1, 1, 1, 1};
        for (int e = 0; e < 3 * PATIENCE; e++) {
            factors[0] = e % 2 ? 1.1 : 0.9;
            factors[1] = e == 2 ? 3 : 1;
            play_epoch(&run, factors);
            assert_false(check(replan, &run).asked);
        }
        factors[0] = 1;
        factors[1] = 3;
        ReplanResult answer = {0};
        for (int e = 0; e < PATIENCE; e++) {
            assert_false(answer.asked);
            play_epoch(&run, factors);
            answer = check(replan, &run);
        }
        assert_true(answer.asked);
        assert_true(fabs(answer.factors[1] - 3) < 0.01 && answer.factors[0] == 1);
        if (!answer.plan)
            fail_msg("%s: no plan, %g s and %g s", schedule_name(schedules[s]), answer.before_s,
                     answer.after_s);
        assert_true(answer.after_s < 0.95 * answer.before_s);
        assert_int_equal(answer.plan->schedule, schedules[s]);
        assert_true(work_of(&run, answer.plan, 1) < 0.8 * run.work_ns[1]);
        plan_free(run.plan);
        run.plan = answer.plan;
        look_up_work(&run);
        assert_int_equal(replan_begin(replan, run.plan, run.board, &err), 0);
        for (int e = 0; e < 4 * PATIENCE; e++) {
            play_epoch(&run, factors);
            assert_false(check(replan, &run).asked);
        }
        double slow = run.work_ns[1];
        factors[1] = 1;
        for (int e = 0; e < 2 * PATIENCE; e++) {
            play_epoch(&run, factors);
            answer = check(replan, &run);
            assert_int_equal(answer.asked, e == 2 * PATIENCE - 1);       /* patience has doubled */
        }
        assert_int_equal(answer.plan != NULL, answer.after_s <= 0.95 * answer.before_s);
        if (schedules[s] == SCHEDULE_AHD) assert_non_null(answer.plan);
        if (answer.plan) assert_true(work_of(&run, answer.plan, 1) > slow);
        plan_free(answer.plan);
        replan_free(replan);
        close_run(&run);
    }
}

/* All twice as slow: no plan is better than the one that runs, and it is asked for once. */
static void when_all_are_slow_the_plan_stays(void **state)
{
    (void)state;
    Run     run = open_run(SCHEDULE_DPU);
    Replan *replan = open_replan(&run, 0.05);
    Text    text = {0};
    int     asked = 0;

    for (int e = 0; e < 20; e++) {
        play_epoch(&run, (const double[]){2, 2, 2, 2});
        ReplanResult answer = check(replan, &run);
        asked += answer.asked;
        assert_null(answer.plan);
        if (answer.asked) replan_text(&answer, DEVICES, &text);
    }
    assert_int_equal(asked, 1);
    assert_string_equal(text_string(&text),
                        "device 0 works 2.00 times as long as the trace says, "
                        "device 1 works 2.00 times as long as the trace says, device 2 works 2.00 "
                        "times as long as the "
                        "trace says, device 3 works 2.00 times as long as the trace says");
    text_free(&text);
    replan_free(replan);
    close_run(&run);
}

/* Nor where any gain would do: the planner's best is the one that runs. */
static void the_plan_that_runs_gains_nothing(void **state)
{
    (void)state;
    Run     run = open_run(SCHEDULE_AHD);
    Replan *replan = open_replan(&run, 0);
    int     asked = 0;

    for (int e = 0; e < 2 * PATIENCE; e++) {
        play_epoch(&run, (const double[]){2, 2, 2, 2});
        ReplanResult answer = check(replan, &run);
        asked += answer.asked;
        if (answer.asked) assert_true(answer.after_s == answer.before_s);
        assert_null(answer.plan);
    }
    assert_int_equal(asked, 1);
    replan_free(replan);
    close_run(&run);
}

/* Less than five steps between two looks are no measurement. */
static void too_few_steps_are_not_measured(void **state)
{
    (void)state;
    Run     run = open_run(SCHEDULE_DPU);
    Replan *replan = open_replan(&run, 0.05);

    for (int e = 0; e < 4; e++) {
        for (int d = 0; d < DEVICES; d++) {
            status_board_count(run.board, d, OP_TEACHER, 0, llround(50 * run.work_ns[d]));
            status_board_step(run.board, d, 0);
        }
        assert_false(check(replan, &run).asked);
    }
    replan_free(replan);
    close_run(&run);
}

static void refuse(const Run *run, const char *trace, const char *expected)
{
    Replan *replan;
    Error   err = {""};

    assert_int_equal(replan_open(&replan,
                                 &(ReplanOptions){.trace = trace, .devices = DEVICES,
                                                  .queue_depth = 2, .threshold = 0.15,
                                                  .patience = 3},
                                 run->plan, &err),
                     -1);
    assert_null(replan);
    if (!strstr(err.text, expected)) fail_msg("%s", err.text);
}

static void what_cannot_be_planned_again_is_refused(void **state)
{
    (void)state;
    Run run = open_run(SCHEDULE_DPU);

    refuse(&run, PIPEBD_ROOT "/traces/mobilenet-cpu.json",
           "not the trace that the plan came from, which is vgg-cpu");
    run.plan->trace_hash = 0;                    /* written by hand */
    refuse(&run, PIPEBD_ROOT "/traces/nas-cifar10-a6000.json", "has 6 blocks, the plan has 13");
    refuse(&run, "/nothere.json", "/nothere.json");
    close_run(&run);
    for (int i = 0; i < 2; i++) {
        run = open_run(i ? SCHEDULE_LS : SCHEDULE_DP);
        refuse(&run, trace_path, "one block after another");
        close_run(&run);
    }
}

static void memory_may_run_out(void **state)
{
    (void)state;
    Run  run = open_run(SCHEDULE_DPU);
    bool reached = true;

    for (long n = 1; reached; n += 1 + n / 6) {
        Replan *replan;
        Error   err = {""};
        alloc_fail_after(n);
        int rc = replan_open(&replan,
                             &(ReplanOptions){.trace = trace_path, .devices = DEVICES,
                                              .queue_depth = 2, .threshold = 0.15, .patience = 1,
                                              .least_gain = 0.05},
                             run.plan, &err);
        for (int e = 0; rc == 0 && e < 2; e++) {
            ReplanResult answer;
            play_epoch(&run, (const double[]){1, 2, 1, 1});
            rc = replan_check(replan, run.board, &answer, &err);
            plan_free(answer.plan);
        }
        reached = alloc_fail_reached();
        alloc_fail_after(0);
        if (rc != 0 && (!reached || !err.text[0])) fail_msg("allocation %ld: \"%s\"", n, err.text);
        replan_free(replan);
    }
    close_run(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_device_gets_less_to_do),
        cmocka_unit_test(when_all_are_slow_the_plan_stays),
        cmocka_unit_test(the_plan_that_runs_gains_nothing),
        cmocka_unit_test(too_few_steps_are_not_measured),
        cmocka_unit_test(what_cannot_be_planned_again_is_refused),
        cmocka_unit_test(memory_may_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
