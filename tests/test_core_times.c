/* What transfers take of processors: counted by kind, without the first ones, over ranks. */
#include "tests/support.h"

#include "executor/transport/core_times.h"

static double mean_of(const CoreTimes *times, TransferKind kind)
{
    return core_time_mean_ns(times->list, times->count, kind);
}

/* Kinds differ by op, group and bytes; of each the first two do not count, nor what is told of
 * them. */
static void first_ones_do_not_count(void **state)
{
    (void)state;
    const TransferKind kinds[] = {{OP_SEND, 0, 100}, {OP_RECV, 0, 100}, {OP_SEND, 0, 200},
                                  {OP_ALLREDUCE, 2, 100}, {OP_ALLREDUCE, 3, 100}};
    CoreTimes times;

    core_times_open(&times, 2);
    for (int n = 0; n < 5; n++)
        for (int k = 0; k < 5; k++) {
            core_times_begin(&times, kinds[k]);
            core_times_add(&times, kinds[k], n < 2 ? 1000000 : 10 * (k + 1));
            core_times_add(&times, kinds[k], n < 2 ? 1000000 : 1);
        }
    assert_int_equal(times.count, 5);
    for (int k = 0; k < 5; k++) {
        assert_int_equal(times.list[k].begun, 5);
        assert_int_equal(times.list[k].count, 3);
        assert_float_equal(mean_of(&times, kinds[k]), 10 * (k + 1) + 1, 1e-9);
    }
    assert_float_equal(mean_of(&times, (TransferKind){OP_SEND, 0, 300}), -1, 0);
    core_times_close(&times);
}

/* The mean over ranks is that over transfers, whatever each rank skipped. */
static void ranks_are_added(void **state)
{
    (void)state;
    const TransferKind kind = {OP_ALLREDUCE, 3, 64}, other = {OP_RECV, 0, 8};
    CoreTimes mine, theirs;

    core_times_open(&mine, 1);
    core_times_open(&theirs, 1);
    for (int n = 0; n < 3; n++) {
        core_times_begin(&mine, kind);
        core_times_add(&mine, kind, 100);
    }
    for (int n = 0; n < 2; n++) {
        core_times_begin(&theirs, kind);
        core_times_add(&theirs, kind, 400);
    }
    core_times_begin(&theirs, other);
    core_times_merge(&mine, theirs.list, theirs.count);
    assert_float_equal(mean_of(&mine, kind), (2 * 100 + 400) / 3.0, 1e-9);
    assert_float_equal(mean_of(&mine, other), -1, 0);            /* none that counts */
    assert_false(mine.failed);
    core_times_close(&mine);
    core_times_close(&theirs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_ones_do_not_count),
        cmocka_unit_test(ranks_are_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
