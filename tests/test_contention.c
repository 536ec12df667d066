/* Work whose time depends on what else runs: devices that slow each other down (the fixed
 * point of sim/contention.c), and steps that train one block alone. By hand. */
#include "tests/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "planner/compare.h"
#include "planner/whatif/whatif.h"

/* Two blocks. The first takes alone_us, or busy_us while the other device computes; the
 * second other_us whatever happens. All of it teacher time but for 0 us of student. */
static Trace *two_blocks(const char *first, const char *second)
{
    char *text = format_text(
        "{\"format\": \"pipebd-trace\", \"version\": 1, \"name\": \"two\", "
        "\"provenance\": {\"kind\": \"measured\", \"source\": \"test\"}, "
        "\"workload\": {\"name\": \"w\", \"batch\": 8, \"samples\": 80000}, "
        "\"devices\": [{\"kind\": \"d\", \"count\": 2}], \"blocks\": ["
        "{\"name\": \"a\", \"timings\": [{\"batch\": 4, %s}, {\"batch\": 8, %s}]}, "
        "{\"name\": \"b\", \"timings\": [{\"batch\": 4, %s}, {\"batch\": 8, %s}]}]}",
        first, first, second, second);
    Trace *trace = NULL;
    Error  err = {""};

    if (trace_parse(&trace, "test", text, strlen(text), &err) != 0) fail_msg("%s", err.text);
    free(text);
    return trace;
}

#define TIMES(t, f, b, u) \
    "\"teacher_us\": " #t ", \"forward_us\": " #f ", \"backward_us\": " #b ", \"update_us\": " #u
#define LONE(times) ", \"lone\": {" times "}"
#define BUSY(times) ", \"busy\": {" times "}"
#define LONE_BUSY(times, busy) \
    ", \"single_block\": {" times ", \"contended\": {" busy "}}"

static Comparison compared(const Trace *trace, unsigned schedules, int64_t steps)
{
    Scenario   scenario;
    Comparison comparison;
    Error      err = {""};

    ScenarioOptions options = {.queue_depth = 2, .steps = steps};
    CompareOptions  what = {.schedules = schedules, .candidates = 8};
    if (scenario_build(&scenario, trace, &options, &err) != 0) fail_msg("%s", err.text);
    if (compare(&comparison, &scenario, &what, &err) != 0) fail_msg("%s", err.text);
    scenario_free(&scenario);
    return comparison;
}

/* dpu, block a on device 0 (alone 10, busy 20), block b on device 1 (10, never slower):
 *
 *     dev 0 | a: s us                 | a ...
 *     dev 1 | b 10 us |               | b ...      computes for l = 10 / s of the time
 *
 *     s = 10 + 10 l = 10 + 100 / s, so s = 5 + sqrt(125) = 16.180 us */
static void a_step_is_the_fixed_point(void **state)
{
    Trace     *trace = two_blocks(TIMES(1, 3, 5, 1) BUSY(TIMES(2, 6, 10, 2)), TIMES(1, 3, 5, 1));
    Comparison c = compared(trace, 1u << SCHEDULE_DPU, 0);
    double     step_us = (double)c.rows[SCHEDULE_DPU].sim.epoch_ns * 1e-3 / 10000;

    (void)state;
    if (fabs(step_us - 16.1803) > 0.01) fail_msg("a step takes %.4f us, expected 16.180", step_us);
    /* Nobody is faster than alone: 10 us a step for 10,000 steps. */
    assert_int_equal(c.bound_ns, 10000 * 10000);
    comparison_free(&c);
    trace_free(trace);
}

/* ir without messages: both devices compute all the time, so everything takes its busy time. */
static void always_busy_is_busy(void **state)
{
    Trace     *slow = two_blocks(TIMES(2, 6, 10, 2), TIMES(4, 4, 4, 4));
    Trace     *busy = two_blocks(TIMES(1, 3, 5, 1) BUSY(TIMES(2, 6, 10, 2)), TIMES(4, 4, 4, 4));
    unsigned   both = 1u << SCHEDULE_IR | 1u << SCHEDULE_DP;
    Comparison a = compared(slow, both, 0), b = compared(busy, both, 0);

    (void)state;
    assert_int_equal(a.rows[SCHEDULE_IR].sim.epoch_ns, b.rows[SCHEDULE_IR].sim.epoch_ns);
    assert_int_equal(a.rows[SCHEDULE_DP].sim.epoch_ns, b.rows[SCHEDULE_DP].sim.epoch_ns);
    comparison_free(&a);
    comparison_free(&b);
    trace_free(slow);
    trace_free(busy);
}

/* Busy times equal to those alone are no busy times, to the nanosecond. */
static void busy_as_alone_changes_nothing(void **state)
{
    Trace     *without = two_blocks(TIMES(1, 3, 5, 1), TIMES(4, 4, 4, 4));
    Trace     *with = two_blocks(TIMES(1, 3, 5, 1) BUSY(TIMES(1, 3, 5, 1)), TIMES(4, 4, 4, 4));
    Comparison a = compared(without, ~0u, 100), b = compared(with, ~0u, 100);

    (void)state;
    assert_false(with->contended);
    for (int i = 0; i < SCHEDULE_COUNT; i++)
        assert_int_equal(a.rows[i].sim.epoch_ns, b.rows[i].sim.epoch_ns);
    comparison_free(&a);
    comparison_free(&b);
    trace_free(without);
    trace_free(with);
}

/* One device has nobody to slow it down. */
static void one_device_is_alone(void **state)
{
    Trace *trace = two_blocks(TIMES(1, 3, 5, 1) BUSY(TIMES(2, 6, 10, 2)), TIMES(4, 4, 4, 4));
    Scenario        scenario;
    Comparison      c;
    ScenarioOptions options = {.queue_depth = 2, .devices = 1, .steps = 10};
    CompareOptions  what = {.schedules = 1u << SCHEDULE_IR, .candidates = 8};

    (void)state;
    assert_int_equal(scenario_build(&scenario, trace, &options, NULL), 0);
    assert_int_equal(compare(&c, &scenario, &what, NULL), 0);
    assert_int_equal(c.rows[SCHEDULE_IR].sim.epoch_ns, 10 * (10 + 16) * 1000);
    comparison_free(&c);
    scenario_free(&scenario);
    trace_free(trace);
}

/* One device; block a 10 us, 7 where it is alone in a step; block b 16. Teachers 1 and 4.
 *
 *     dp  a: 1 + 6 = 7 alone     b: teacher a 1 + b 16 (its own times, it has no others)
 *     ir  a: 10, b: 16           both in one step: nobody is alone */
static void lone_times_are_those_of_dp_and_ls(void **state)
{
    Trace *trace = two_blocks(TIMES(1, 3, 5, 1) LONE(TIMES(1, 2, 3, 1)), TIMES(4, 4, 4, 4));
    Scenario        scenario;
    Comparison      c;
    ScenarioOptions options = {.queue_depth = 2, .devices = 1, .steps = 10};
    CompareOptions  what = {.schedules = 1u << SCHEDULE_DP | 1u << SCHEDULE_LS | 1u << SCHEDULE_IR,
                            .candidates = 8};

    (void)state;
    assert_int_equal(scenario_build(&scenario, trace, &options, NULL), 0);
    assert_int_equal(compare(&c, &scenario, &what, NULL), 0);
    assert_int_equal(c.rows[SCHEDULE_DP].sim.epoch_ns, 10 * (7 + 1 + 16) * 1000);
    assert_int_equal(c.rows[SCHEDULE_LS].sim.epoch_ns, 10 * (7 + 1 + 16) * 1000);
    assert_int_equal(c.rows[SCHEDULE_IR].sim.epoch_ns, 10 * (10 + 16) * 1000);
    comparison_free(&c);
    scenario_free(&scenario);
    trace_free(trace);
}

/* dp on two devices is always contended: times of a single block grow in the proportion of busy to
 * alone.
 * Block a on 4 rows: alone 10, contended 20, of a single block 6, so 12; block b 16 and teacher a 2
 * busy. */
static void lone_times_grow_with_load(void **state)
{
    Trace *trace = two_blocks(TIMES(1, 3, 5, 1) BUSY(TIMES(2, 6, 10, 2)) LONE(TIMES(1, 2, 2, 1)),
                              TIMES(4, 4, 4, 4));
    Comparison c = compared(trace, 1u << SCHEDULE_DP, 10);

    (void)state;
    assert_int_equal(c.rows[SCHEDULE_DP].sim.epoch_ns, 10 * (12 + 2 + 16) * 1000);
    comparison_free(&c);
    trace_free(trace);
}

/* The same, but for times of a single block that were measured while others compute: block a's are
 * 17, not 12, of them its teacher 3, which goes before block b too. Where all work takes twice as
 * long, so does dp. */
static void single_block_times_grow_as_measured(void **state)
{
    Trace *trace = two_blocks(TIMES(1, 3, 5, 1) BUSY(TIMES(2, 6, 10, 2))
                                  LONE_BUSY(TIMES(1, 2, 2, 1), TIMES(3, 5, 7, 2)),
                              TIMES(4, 4, 4, 4));
    Comparison      c = compared(trace, 1u << SCHEDULE_DP, 10);
    ScenarioOptions options = {.queue_depth = 2};
    bool            changed;

    (void)state;
    assert_true(trace->contended);
    assert_int_equal(c.rows[SCHEDULE_DP].sim.epoch_ns, 10 * (17 + 3 + 16) * 1000);
    comparison_free(&c);
    assert_int_equal(whatif_apply(trace, &options, EDIT_SCALE, "blocks.teacher.us", 2, &changed,
                                  NULL), 0);
    assert_int_equal(whatif_apply(trace, &options, EDIT_SCALE, "blocks.student.us", 2, &changed,
                                  NULL), 0);
    c = compared(trace, 1u << SCHEDULE_DP, 10);
    assert_int_equal(c.rows[SCHEDULE_DP].sim.epoch_ns, 2 * 10 * (17 + 3 + 16) * 1000);
    comparison_free(&c);
    trace_free(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_is_the_fixed_point),
        cmocka_unit_test(always_busy_is_busy),
        cmocka_unit_test(busy_as_alone_changes_nothing),
        cmocka_unit_test(one_device_is_alone),
        cmocka_unit_test(lone_times_are_those_of_dp_and_ls),
        cmocka_unit_test(lone_times_grow_with_load),
        cmocka_unit_test(single_block_times_grow_as_measured),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
