/* What instructions and steps take besides, from spans by hand. */
#include "tests/support.h"

#include "executor/measure/own_time.h"

static void near(double found, double expected)
{
    if (found < expected - 1e-9 || found > expected + 1e-9)
        fail_msg("%g, expected %g", found, expected);
}

/* Microseconds of device 0, after a step of warming up (0):
 *     step 1 | 10..14 | 15..19 | 20..21
 *     step 2 | 24..27 and, beside it, 26..30 | 30..31 | 32..33
 *     step 3 | 34..40
 *     step 4 | 90..
 * from a step to the next 3, 1 and 50, within them 1, 1, 0, 0 and 1. */
static void medians_of_gaps(void **state)
{
    static const Span spans[] = {
        {0, LANE_COMPUTE, NULL, 0, 1000, 2000},   {0, LANE_COMPUTE, NULL, 1, 15000, 19000},
        {0, LANE_COMPUTE, NULL, 1, 10000, 14000}, {1, LANE_COMPUTE, NULL, 1, 0, 90000},
        {0, LANE_COMPUTE, NULL, 1, 20000, 21000}, {0, LANE_COMPUTE, NULL, 2, 24000, 27000},
        {0, LANE_REDUCE, NULL, 2, 26000, 30000},  {0, LANE_COMPUTE, NULL, 2, 30000, 31000},
        {0, LANE_COMPUTE, NULL, 2, 32000, 33000}, {0, LANE_COMPUTE, NULL, 3, 34000, 40000},
        {0, LANE_COMPUTE, NULL, 4, 90000, 91000}, {0, LANE_COMPUTE, NULL, 4, 99000, 99500}};
    Error   err = {""};
    OwnTime own;

    (void)state;
    assert_int_equal(own_time_find(&own, spans, 12, 1, &err), 0);
    near(own.step_us, 3);
    near(own.instruction_us, 1);
    assert_int_equal(own_time_find(&own, spans, 12, 4, &err), 0);    /* one step: nothing to tell */
    near(own.step_us, 0);
    near(own.instruction_us, 0);
    assert_int_equal(own_time_find(&own, spans, 0, 0, &err), 0);
    near(own.step_us, 0);
}

static void without_memory(void **state)
{
    (void)state;
    for (int at = 1; at <= 2; at++) {
        Error   err = {""};
        OwnTime own;
        alloc_fail_after(at);
        int rc = own_time_find(&own, NULL, 0, 0, &err);
        alloc_fail_after(0);
        assert_int_equal(rc, -1);
        assert_true(error_is_no_memory(&err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(medians_of_gaps),
                                       cmocka_unit_test(without_memory)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
