/* The rule by which a run is planned again: noise and single slow epochs do nothing, a step
 * does, once; a device that comes and goes is let be. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "executor/monitor/drift.h"

#define THRESHOLD 0.15
enum { DEVICES = 4, PATIENCE = 3 };

static Drift *new_drift(int patience)
{
    Drift *drift;
    Error  err = {""};

    assert_int_equal(drift_new(&drift, DEVICES, THRESHOLD, patience, &err), 0);
    return drift;
}

/* All devices as the trace says, but for one. */
static bool check_one(Drift *drift, int device, double ratio)
{
    double ratios[DEVICES];

    for (int d = 0; d < DEVICES; d++) ratios[d] = d == device ? ratio : 1;
    return drift_check(drift, ratios);
}

/* What the head of executor/monitor/drift.h draws. */
static void a_step_is_seen_after_so_many_checks(void **state)
{
    (void)state;
    static const double ratios[] = {1.0, 1.1, 0.9, 1.5, 1.0, 1.4, 1.5};
    Drift *drift = new_drift(PATIENCE);

    for (size_t i = 0; i < sizeof ratios / sizeof *ratios; i++)
        assert_false(check_one(drift, 2, ratios[i]));
    assert_true(check_one(drift, 2, 1.4));
    for (int d = 0; d < DEVICES; d++) assert_true(drift_factors(drift)[d] == (d == 2 ? 1.4 : 1));
    drift_settle(drift, true);
    for (int i = 0; i < 1000; i++)
        assert_false(check_one(drift, 2, 1.4 * (i % 2 ? 1.149 : 1 / 1.149)));
    drift_free(drift);
}

/* Independent noise of 5 % on every device, in 20,000 checks of 4 devices. */
static void noise_does_nothing(void **state)
{
    (void)state;
    uint64_t seed = test_seed("noise", 1);
    Drift   *drift = new_drift(PATIENCE);
    double   ratios[DEVICES];

    for (uint64_t i = 0; i < 20000; i++) {
        for (int d = 0; d < DEVICES; d++)
            ratios[d] = exp(0.05 * rng_normal(seed, i, (uint64_t)d, 0));
        assert_false(drift_check(drift, ratios));
    }
    drift_free(drift);
}

/* Slow for less than patience checks in a row, however often and however slow; also to alternating
 * sides. */
static void short_troubles_do_nothing(void **state)
{
    (void)state;
    uint64_t seed = test_seed("short", 2);
    Drift   *drift = new_drift(PATIENCE);
    Rng      rng = {.seed = seed};

    for (int i = 0; i < 2000; i++) {
        int length = (int)rng_range(&rng, 1, PATIENCE - 1);
        for (int k = 0; k < length; k++)
            assert_false(check_one(drift, 1, 1.2 + (double)rng_range(&rng, 0, 100)));
        assert_false(check_one(drift, 1, 1));
        assert_false(check_one(drift, 1, 0.5));
        assert_false(check_one(drift, 1, 2));
        assert_false(check_one(drift, 1, 0.5));
        assert_false(check_one(drift, 1, 1.1));
    }
    drift_free(drift);
}

/* Any step beyond threshold and noise is seen soon, its size told within the noise, and then it
 * is quiet; when the device is as before, that is seen too. */
static void steps_are_found_and_measured(void **state)
{
    (void)state;
    uint64_t seed = test_seed("steps", 3);

    for (uint64_t round = 0; round < 300; round++) {
        Drift *drift = new_drift(PATIENCE);
        Rng    rng = {.seed = seed + round};
        double factor = 1, asked = 0;
        int    slow = (int)rng_range(&rng, 0, DEVICES - 1);
        for (int change = 0; change < 2; change++) {
            int quiet = 0, needed = 0;
            factor = change ? 1 : 1.35 + 0.01 * (double)rng_range(&rng, 0, 200);
            for (int i = 0; i < 400; i++) {
                double ratios[DEVICES];
                for (int d = 0; d < DEVICES; d++)
                    ratios[d] =
                        (d == slow ? factor : 1)
                        * exp(0.03
                              * rng_normal(seed, round, (uint64_t)(change * 400 + i), (uint64_t)d));
                if (!drift_check(drift, ratios)) { quiet++; continue; }
                assert_int_equal(needed, 0);             /* once */
                needed = i + 1;
                asked = drift_factors(drift)[slow];
                for (int d = 0; d < DEVICES; d++)
                    if (d != slow) assert_true(drift_factors(drift)[d] == 1);
                drift_settle(drift, true);
            }
            assert_int_equal(quiet, 399);
            assert_int_equal(needed, PATIENCE << change);        /* no check in between misses it */
            assert_true(fabs(asked / factor - 1) < 0.1);
        }
        drift_free(drift);
    }
}

/* What was planned for and not worth it is not asked again, until it has changed as much once
 * more. */
static void the_same_question_is_not_asked_twice(void **state)
{
    (void)state;
    Drift *drift = new_drift(PATIENCE);
    int    asked = 0;

    for (int i = 0; i < 100; i++)
        if (check_one(drift, 0, 1.3)) { asked++; drift_settle(drift, false); }
    assert_int_equal(asked, 1);
    assert_int_equal(drift_patience(drift), PATIENCE);
    for (int i = 0; i < PATIENCE - 1; i++) assert_false(check_one(drift, 0, 1.6));
    assert_true(check_one(drift, 0, 1.6));
    drift_settle(drift, false);
    drift_free(drift);
}

/* Back and forth at any period: the number of plans grows as the logarithm of the checks. */
static void a_device_that_comes_and_goes_is_let_be(void **state)
{
    (void)state;
    for (int period = 1; period <= 70; period++)
        for (int patience = 1; patience <= 4; patience++) {
            Drift *drift = new_drift(patience);
            int    taken = 0, checks = 4000;
            for (int i = 0; i < checks; i++)
                if (check_one(drift, 3, i / period % 2 ? 2 : 1)) {
                    taken++;
                    drift_settle(drift, true);
                }
            double most = period >= DRIFT_MAX_PATIENCE ? (double)checks / period
                                                       : log2((double)checks / patience + 1);
            if (taken > most + 1)
                fail_msg("period %d, patience %d: %d plans", period, patience, taken);
            if (period >= patience && taken == 0)
                fail_msg("period %d, patience %d: never", period, patience);
            drift_free(drift);
        }
}

/* Two devices drift at different times: a plan for the first keeps the streak of the second. */
static void devices_are_looked_at_apart(void **state)
{
    (void)state;
    Drift *drift = new_drift(PATIENCE);

    for (int i = 0; i < 5; i++) {
        double ratios[DEVICES] = {1, 1.5, i >= 1 ? 0.7 : 1, NAN};
        bool   asks = drift_check(drift, ratios);
        assert_int_equal(asks, i == 2 || i == 3);
        if (i == 2) assert_true(drift_factors(drift)[1] == 1.5 && drift_factors(drift)[2] == 1);
        if (i == 3) assert_true(drift_factors(drift)[1] == 1.5 && drift_factors(drift)[2] == 0.7);
        if (asks) drift_settle(drift, false);
    }
    drift_free(drift);
}

static void unknown_ratios_neither_add_nor_end(void **state)
{
    (void)state;
    Drift *drift = new_drift(PATIENCE);

    assert_false(check_one(drift, 0, 1.5));
    assert_false(check_one(drift, 0, NAN));
    assert_false(check_one(drift, 0, 1.5));
    for (int i = 0; i < 10; i++) assert_false(check_one(drift, 0, i % 2 ? NAN : INFINITY));
    assert_false(check_one(drift, 0, 0));        /* no work at all is no measurement */
    assert_true(check_one(drift, 0, 1.5));
    drift_free(drift);
}

static void only_gains_are_worth_it(void **state)
{
    (void)state;
    assert_true(drift_worth(100, 94, 0.05));
    assert_true(drift_worth(100, 95, 0.05));
    assert_false(drift_worth(100, 96, 0.05));
    assert_false(drift_worth(100, 110, 0.05));
    assert_false(drift_worth(100, 0, 0.05));
    assert_true(drift_worth(100, 99, 0));
    assert_false(drift_worth(100, 100, 0));      /* the plan that runs */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_is_seen_after_so_many_checks),
        cmocka_unit_test(noise_does_nothing),
        cmocka_unit_test(short_troubles_do_nothing),
        cmocka_unit_test(steps_are_found_and_measured),
        cmocka_unit_test(the_same_question_is_not_asked_twice),
        cmocka_unit_test(a_device_that_comes_and_goes_is_let_be),
        cmocka_unit_test(devices_are_looked_at_apart),
        cmocka_unit_test(unknown_ratios_neither_add_nor_end),
        cmocka_unit_test(only_gains_are_worth_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
