/* Memory runs out at one allocation after another, from the scenario to the report: each
 * call fails with a reason or gives a whole result; nothing crashes, and nothing is
 * leaked (the sanitizers and valgrind see it). Readers have such tests of their own. */
#include "tests/support.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "planner/report/report.h"
#include "schedule/registry.h"
#include "schedule/verify.h"

static Trace *small_trace(void)
{
    char  *path = format_text("%s/tests/fixtures/trace/good/all-keys.json", PIPEBD_ROOT);
    Trace *trace;
    Error  err = {""};

    if (trace_read(&trace, path, &err) != 0) fail_msg("%s", err.text);
    free(path);
    return trace;
}

/* The same with a tier to store in. */
static Trace *stored_trace(void)
{
    static int64_t   row_bytes[] = {100}, rows[] = {4}, in_flight[] = {1}, ns[] = {50000};
    static TraceTier tier = {"host",
                             true,
                             false,
                             (int64_t)1 << 40,
                             {row_bytes, rows, in_flight, 1, 1, 1, ns, 0.5},
                             {row_bytes, rows, in_flight, 1, 1, 1, ns, 0.5}};
    Trace           *trace = small_trace();

    trace->tiers = &tier;
    trace->tier_count = 1;
    return trace;
}

/* Options that make every cost of all-keys.json known. */
static const ScenarioOptions loose = {.queue_depth = 2, .devices = 2, .extrapolate = true};

/* A step of the road; -1 with a reason in err. */
typedef int Journey(const Trace *trace, Schedule schedule, Error *err);

/* Plan by hand: two blocks on two devices, as the schedule wants it. */
static int plan_by_hand(Plan **out, Schedule schedule, Error *err)
{
    bool one = schedule == SCHEDULE_IR, sequential = schedule == SCHEDULE_SEQUENTIAL,
         all = schedule == SCHEDULE_DP || one || sequential;
    int  stages = one ? 1 : 2;

    if (plan_new(out, schedule, 2, 2, 8, stages, err) != 0) return -1;
    for (int i = 0; i < stages; i++)
        if (plan_set_stage(*out, i, i, one ? 1 : i, all ? 0 : i, all ? 2 : 1, err) != 0) return -1;
    if (schedule == SCHEDULE_SPLIT && plan_add_tasks(*out, err) != 0) return -1;
    for (int i = 0; i < (*out)->task_count; i++)                 /* the first alone, the second by
                                                                  * both */
        if (plan_place(*out, &(*out)->tasks[i], (int[]){1, 0},
                       i ? (int64_t[]){4, 4} : (int64_t[]){8}, 1 + i, err)
            != 0)
            return -1;
    if ((sequential || schedule == SCHEDULE_STORE)
        && plan_set_store(*out, 2, sequential, sequential ? 0 : 2, err) != 0)
        return -1;
    for (int i = 0; i < (*out)->later_count; i++) {              /* each where it was not */
        (*out)->later[i].first = (*out)->later[i].last = i;
        if (plan_place(*out, &(*out)->later[i], (int[]){1 - i}, (int64_t[]){8}, 1, err) != 0)
            return -1;
    }
    for (int k = 1; (*out)->stored && k <= 2; k++) (*out)->stored[k] = 0;
    if ((*out)->stored) (*out)->home = 0;
    return plan_check(*out, err);
}

/* Plan, program, verifier, memory, simulator, timeline. */
static int simulate(const Trace *trace, Schedule schedule, Error *err)
{
    Scenario  scenario = {0};
    Plan     *plan = NULL;
    Program  *program = NULL;
    SimResult result = {0};
    Memory    memory[2];
    HostMemory host[2];
    Text      text = {0};
    const char **names = trace_block_names(trace);
    int       rc = -1;

    if (!names) { error_no_memory(err); goto done; }
    if (scenario_build(&scenario, trace, &loose, err) != 0) goto done;
    if (plan_by_hand(&plan, schedule, err) != 0) goto done;
    if (program_build(&program, plan, 6, err) != 0) goto done;
    if (program_verify(program, 2, err) != 0) goto done;
    if (memory_peak(memory, program, &scenario, err) != 0
        || memory_host(host, program, &scenario, err) != 0)
        goto done;
    if (sim_run(&result, program, &scenario, &(SimOptions){.record = true}, err) != 0) goto done;
    timeline_text(&(Timeline){.kind = "predicted", .schedule = "name", .trace_name = "",
                              .block_names = names, .program = program, .steps = 6,
                              .spans = result.spans, .span_count = result.span_count},
                  &text);
    plan_text(plan, &text);
    rc = text_failed(&text) ? error_no_memory(err) : 0;
done:
    text_free(&text);
    sim_free(&result);
    program_free(program);
    plan_free(plan);
    scenario_free(&scenario);
    free(names);
    return rc;
}

static int64_t instructions_of_an_epoch(const Program *program)
{
    int64_t sum = 0;

    for (int d = 0; d < program->device_count; d++)
        for (int p = 0; p < program->devices[d].phase_count; p++)
            sum += program->devices[d].phases[p].count * program->devices[d].phases[p].steps;
    return sum;
}

/* An epoch long enough for whole periods to be skipped. Without memory to look for
 * periods the simulator goes step by step: slower, and right. (ls, store: their two devices have
 * nothing to do with each other, so their joint period is too long to be seen.) */
static int skip_periods(const Trace *trace, Schedule schedule, Error *err)
{
    Scenario  scenario = {0};
    Plan     *plan = NULL;
    Program  *program = NULL;
    SimResult result = {0};
    int       rc = -1;

    if (scenario_build(&scenario, trace, &loose, err) != 0) goto done;
    if (plan_by_hand(&plan, schedule, err) != 0) goto done;
    if (program_build(&program, plan, 5000, err) != 0) goto done;
    if (sim_run(&result, program, &scenario, &(SimOptions){0}, err) != 0) goto done;
    if (!alloc_fail_reached() && schedule != SCHEDULE_LS && schedule != SCHEDULE_STORE)
        assert_true(result.skipped > result.simulated);
    assert_int_equal(result.simulated + result.skipped, instructions_of_an_epoch(program));
    rc = 0;
done:
    sim_free(&result);
    program_free(program);
    plan_free(plan);
    scenario_free(&scenario);
    return rc;
}

/* The planner and its reports. Only the search for periods may do without its memory;
 * that a schedule is not possible is never said for want of it. */
static int compare_cluster(const Trace *trace, Schedule schedule, int devices, OrderKind order,
                           Error *err)
{
    CompareOptions options = {
        .schedules = 1u << schedule | 1u << SCHEDULE_IR, .candidates = 4, .order = {.kind = order}};
    ScenarioOptions cluster = {.queue_depth = 2, .devices = devices, .extrapolate = true};
    Scenario       scenario = {0};
    Comparison     comparison = {.best = -1};
    Text           text = {0};
    int            rc = -1;

    if (scenario_build(&scenario, trace, &cluster, err) != 0) goto done;
    if (compare(&comparison, &scenario, &options, err) != 0) goto done;
    for (int i = 0; i < SCHEDULE_COUNT; i++)
        if (options.schedules & 1u << i) {
            assert_true(comparison.rows[i].plan || comparison.rows[i].why[0]);
            assert_null(strstr(comparison.rows[i].why, "memory"));
        }
    report_table(&comparison, &scenario, &text);
    report_csv(&comparison, &text);
    if (report_json(&comparison, &scenario, &text, err) != 0) goto done;
    scenario_missing(&scenario, &text);
    if (report_gantt(comparison.rows[comparison.best].plan, &scenario, &text, err) != 0) goto done;
    rc = text_failed(&text) ? error_no_memory(err) : 0;
done:
    text_free(&text);
    comparison_free(&comparison);
    scenario_free(&scenario);
    return rc;
}

static int compare_and_report(const Trace *trace, Schedule schedule, Error *err)
{
    return compare_cluster(trace, schedule, 2, ORDER_SEARCHED, err);
}

/* Two fast devices and a slow one. */
static int compare_kinds(const Trace *trace, Schedule schedule, Error *err)
{
    return compare_cluster(trace, schedule, 3, ORDER_SEARCHED, err);
}

static int compare_in_order(const Trace *trace, Schedule schedule, Error *err)
{
    return compare_cluster(trace, schedule, 3, ORDER_GIVEN, err);
}

/* Of the allocations beyond FIRST, which searches make over and over, every stride-th fails. */
enum { FIRST = 400 };
static const int stride_in_check = 29, stride_thorough = 7;

/* Returns how many allocations there were, about. strict: each one that fails fails it all. */
static long fail_each(Journey *journey, const Trace *trace, Schedule schedule, bool strict)
{
    int stride = test_thorough() ? stride_thorough : stride_in_check;

    for (long n = 1;; n += n < FIRST ? 1 : stride) {
        Error err = {""};

        alloc_fail_after(n);
        int  rc = journey(trace, schedule, &err);
        bool reached = alloc_fail_reached();
        alloc_fail_after(0);
        if (rc != 0) assert_string_not_equal(err.text, "");
        if (rc != 0 && strict) assert_string_equal(err.text, "out of memory");
        if (strict || !reached) assert_int_equal(rc, reached ? -1 : 0);
        if (!reached) return n - 1;
    }
}

/* Two kinds, where block b takes as long as a on the slow one; per_node 0: on one node. */
static Trace *trace_of_kinds(int per_node)
{
    Trace *trace = small_trace();

    trace->devices_per_node = per_node;
    for (int work = 0; work < WORK_COUNT; work++)
        trace->blocks[1].work[work][1] = trace->blocks[0].work[work][1];
    return trace;
}

static void run_all(Journey *journey, Trace *trace, bool strict)
{
    for (int schedule = 0; schedule < SCHEDULE_COUNT; schedule++)
        if (trace->tier_count > 0 || !schedule_row((Schedule)schedule)->stores)
            assert_true(fail_each(journey, trace, (Schedule)schedule, strict) > 10);
    trace_free(trace);
}

static void simulating(void **state)       { (void)state; run_all(simulate, stored_trace(), true); }
static void skipping_periods(void **state)
{
    (void)state;
    run_all(skip_periods, stored_trace(), false);
}
static void comparing(void **state)
{
    (void)state;
    run_all(compare_and_report, small_trace(), false);
}
static void comparing_sequential(void **state)
{
    Trace *trace = stored_trace();
    (void)state;

    assert_true(fail_each(compare_and_report, trace, SCHEDULE_SEQUENTIAL, false) > 100);
    trace_free(trace);
}

static void comparing_kinds(void **state)
{
    (void)state;
    run_all(compare_kinds, trace_of_kinds(0), false);
}
static void comparing_order(void **state)
{
    (void)state;
    run_all(compare_in_order, trace_of_kinds(0), false);
}
static void comparing_orders(void **state)
{
    (void)state;
    run_all(compare_kinds, trace_of_kinds(2), false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simulating),
        cmocka_unit_test(skipping_periods),
        cmocka_unit_test(comparing),
        cmocka_unit_test(comparing_sequential),
        cmocka_unit_test(comparing_kinds),
        cmocka_unit_test(comparing_order),
        cmocka_unit_test(comparing_orders),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
