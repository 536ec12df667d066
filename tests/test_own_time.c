/* A step's own time, from spans by hand. */
#include "tests/support.h"

#include "executor/measure/own_time.h"

static void near(double found, double expected)
{
    if (found < expected - 1e-9 || found > expected + 1e-9)
        fail_msg("%g, expected %g", found, expected);
}

/* Microseconds of device 0, after a step of warming up (0):
 *     step 1 | 10..14 | 15..19 |   step 2 | 22..25 and, beside it, 24..28 |   step 3 | 30.. |
 * between them 1 + 3 + 2 = 6 in two steps. */
static void gaps_are_counted(void **state)
{
    static const Span spans[] = {
        {0, LANE_COMPUTE, NULL, 0, 1000, 2000},   {0, LANE_COMPUTE, NULL, 1, 15000, 19000},
        {0, LANE_COMPUTE, NULL, 1, 10000, 14000}, {1, LANE_COMPUTE, NULL, 1, 0, 90000},
        {0, LANE_COMPUTE, NULL, 2, 22000, 25000}, {0, LANE_REDUCE, NULL, 2, 24000, 28000},
        {0, LANE_COMPUTE, NULL, 3, 30000, 40000}, {0, LANE_COMPUTE, NULL, 3, 50000, 60000}};
    Error  err = {""};
    double us = -1;

    (void)state;
    assert_int_equal(own_time_us(&us, spans, 8, 1, &err), 0);
    near(us, 3);
    assert_int_equal(own_time_us(&us, spans, 8, 3, &err), 0);        /* one step: nothing to tell */
    near(us, 0);
    assert_int_equal(own_time_us(&us, spans, 0, 0, &err), 0);
    near(us, 0);
}

static void without_memory(void **state)
{
    Error  err = {""};
    double us;

    (void)state;
    alloc_fail_after(1);
    int rc = own_time_us(&us, NULL, 0, 0, &err);
    alloc_fail_after(0);
    assert_int_equal(rc, -1);
    assert_true(error_is_no_memory(&err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gaps_are_counted),
                                       cmocka_unit_test(without_memory)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
