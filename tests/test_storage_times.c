/* executor/measure/storage_times.h: tiers that a trace takes, complete, of the right sizes and
 * kinds; nothing is left in the folder; a place that cannot be written is an error, and so is an
 * interrupt. */
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/measure/storage_times.h"
#include "executor/store/store.h"
#include "workloads/head.h"

static Workload *digits(void)
{
    Workload *w;
    Error     err = {""};

    ok(workload_read(&w, "digits", &err), &err);
    return w;
}

static void check_requests(const TraceRequests *r, const Workload *w, int64_t batch)
{
    int64_t least = INT64_MAX, most = 0;

    for (int k = 0; k <= w->block_count; k++) {
        int64_t bytes = workload_boundary_count(w, k) * 4;
        if (bytes < least) least = bytes;
        if (bytes > most) most = bytes;
    }
    assert_int_equal(r->row_bytes[0], least);
    assert_int_equal(r->row_bytes[r->row_bytes_count - 1], most);
    assert_int_equal(r->rows[0], 1);
    assert_int_equal(r->rows[r->rows_count - 1], batch);
    assert_int_equal(r->in_flight[0], 1);
    for (int i = 0; i < r->row_bytes_count * r->rows_count * r->in_flight_count; i++)
        assert_true(r->ns[i] > 0);
    for (int i = 1; i < r->row_bytes_count; i++) assert_true(r->row_bytes[i] > r->row_bytes[i - 1]);
}

/* A disk's rows take longer when the page cache does not hold them, but on file systems that are
 * memory. */
static void tiers_are_measured(void **state)
{
    (void)state;
    char     *folder = temp_make();
    Workload *w = digits();

    for (int i = 0; i < 4; i++) {
        bool                memory = i % 2, ahead = i / 2;
        StorageTimesOptions options = {.place = memory ? STORE_HOST : folder, .workload = w,
                                       .batch = w->batch, .devices = 2, .trials = 1,
                                       .ahead = ahead, .async = i == 3};
        Arena      arena = {0};
        TraceTier *tier;
        int        count;
        Error      err = {""};
        Text       text = {0};
        ok(storage_times_measure(&tier, &count, &arena, &options, &err), &err);
        assert_int_equal(count, memory ? 1 : 2);
        for (int t = 0; t < count; t++) {
            assert_true(tier[t].memory == memory && tier[t].size_bytes > 0);
            check_requests(&tier[t].read, w, w->batch);
            check_requests(&tier[t].write, w, w->batch);
            assert_true(tier[t].write.device_share == (i == 3 ? 0 : 1));
            assert_true(tier[t].read.device_share <= (ahead ? 0 : 1));
        }
        assert_true(tier[0].read.device_share == (ahead ? 0 : 1));
        assert_true(memory || ahead || tier[1].read.device_share > 0);
        assert_string_equal(tier[0].name, memory ? "host" : "cached disk");
        tiers_write(tier, count, &text);
        assert_non_null(strstr(text_string(&text), "\"in_flight\": 2"));
        text_free(&text);
        assert_int_equal(files_in(folder), 0);
        arena_free(&arena);
    }
    workload_free(w);
    temp_remove(folder);
}

/* Rows of more than a request holds are timed one at a time, and taken in proportion. */
static void large_requests_are_taken_in_proportion(void **state)
{
    (void)state;
    Workload           *w = digits();
    StorageTimesOptions options = {
        .place = STORE_HOST, .workload = w, .batch = 4096, .devices = 1, .trials = 1};
    Arena               arena = {0};
    TraceTier          *tier;
    int                 count;
    Error               err = {""};

    ok(storage_times_measure(&tier, &count, &arena, &options, &err), &err);
    check_requests(&tier->read, w, 4096);                /* 4096 rows of 8 KiB are 32 MiB */
    arena_free(&arena);
    workload_free(w);
}

static void what_cannot_be_measured_is_an_error(void **state)
{
    (void)state;
    char               *folder = temp_make(), *file = format_text("%s/file", folder);
    Workload           *w = digits();
    atomic_bool         stop = true;
    StorageTimesOptions options = {.place = folder, .workload = w, .batch = w->batch, .devices = 1,
                                   .trials = 1, .stop = &stop};
    Arena               arena = {0};
    TraceTier          *tier;
    int                 count;
    Error               err = {""};

    assert_int_equal(storage_times_measure(&tier, &count, &arena, &options, &err), -1);
    assert_string_equal(err.text, "interrupted");
    assert_int_equal(files_in(folder), 0);
    spill(file, "no folder");
    options.place = file;
    options.stop = NULL;
    assert_int_equal(storage_times_measure(&tier, &count, &arena, &options, &err), -1);
    assert_non_null(strstr(err.text, "Not a directory"));
    arena_free(&arena);
    free(file);
    workload_free(w);
    temp_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiers_are_measured),
        cmocka_unit_test(large_requests_are_taken_in_proportion),
        cmocka_unit_test(what_cannot_be_measured_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
