/* executor/loader: batches are what data_load() and data_order() say, whoever makes them
 * and however many do; prefetching is bounded; stopping wakes everybody. */
#include "tests/support.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/clock.h"
#include "executor/data/loader.h"

enum { ELEMENTS = 64 };

static Data *digits(void)
{
    Workload workload = {.input = {1, 8, 8}, .classes = 10, .deviation = {1}};
    Data    *data;
    Error    err = {""};

    if (data_open(&data, "digits", &workload, DATA_TRAIN, 0, &err) != 0) fail_msg("%s", err.text);
    return data;
}

static Loader *loader_of(Data *data, LoaderOptions options)
{
    Loader *loader;
    Error   err = {""};

    if (loader_new(&loader, data, &options, &err) != 0) fail_msg("%s", err.text);
    return loader;
}

/* ---- a device's thread ------------------------------------------------------- */

typedef struct {
    Loader *loader;
    Data   *data;
    const LoaderOptions *options;
    int     device;
    int64_t row, rows, first, steps;
    int64_t taken;           /* good batches; checked where cmocka may fail a test */
    bool    wrong;           /* one differed, or came too early */
    Error   err;
} Taker;

/* Whether a batch is what it has to be, made from its definition. */
static bool as_defined(const Taker *t, int64_t step, const float *x, const int *labels)
{
    const LoaderOptions *o = t->options;
    int64_t epoch = step / o->steps_per_epoch, at = step % o->steps_per_epoch * o->batch + t->row;
    float   expected[ELEMENTS];
    int     label;

    for (int64_t r = 0; r < t->rows; r++) {
        int64_t sample = data_order(data_count(t->data), o->seed, epoch, at + r);
        if (data_load(t->data, sample, o->seed, epoch, expected, &label, NULL) != 0) return false;
        if (label != labels[r] || memcmp(expected, x + r * ELEMENTS, sizeof expected) != 0)
            return false;
    }
    return true;
}

/* Takes everything. A batch that was asked for by a take is made after it. */
static void *take_all(void *argument)
{
    Taker   *t = argument;
    int64_t  ahead = t->options->prefetch,
            *called_ns = calloc((size_t)t->steps + 1, sizeof *called_ns);

    if (loader_begin(t->loader, t->device, t->row, t->rows, t->first, t->steps, &t->err) != 0)
        goto done;
    for (int64_t n = 0; n < t->steps; n++) {
        const float *x;
        const int   *labels;
        int64_t      start_ns, end_ns;
        called_ns[n] = clock_ns();
        if (loader_take(t->loader, t->device, &x, &labels, &start_ns, &end_ns, &t->err) != 0)
            goto done;
        if (!as_defined(t, t->first + n, x, labels) || end_ns < start_ns) t->wrong = true;
        if (n >= ahead && start_ns < called_ns[n - ahead]) t->wrong = true;
        t->taken++;
    }
done:
    free(called_ns);
    return NULL;
}

/* Devices that share a batch evenly, each in a thread, for so many steps from first. */
static void run_takers(Taker *taker, Loader *loader, Data *data, const LoaderOptions *o,
                       int64_t first, int64_t steps)
{
    pthread_t thread[8];

    for (int d = 0; d < o->devices; d++) {
        int64_t row = o->batch * d / o->devices, end = o->batch * (d + 1) / o->devices;
        taker[d] = (Taker){loader, data, o, d, row, end - row, first, steps, 0, false, {""}};
        assert_int_equal(pthread_create(&thread[d], NULL, take_all, &taker[d]), 0);
    }
    for (int d = 0; d < o->devices; d++) pthread_join(thread[d], NULL);
}

/* ---- tests -------------------------------------------------------------------- */

static void batches_are_as_defined(void **state)
{
    (void)state;
    Rng   rng = {test_seed("batches_are_as_defined", 1), 0};
    Data *data = digits();

    for (int round = 0; round < 40; round++) {
        LoaderOptions o = {.lanes = (int)rng_range(&rng, 1, 4),
                           .prefetch = (int)rng_range(&rng, 0, 4),
                           .devices = (int)rng_range(&rng, 1, 6), .batch = rng_range(&rng, 8, 70),
                           .steps_per_epoch = rng_range(&rng, 1, 30), .seed = rng_next(&rng)};
        Loader *loader = loader_of(data, o);
        Taker   taker[8];
        for (int64_t phase = 0; phase < 3; phase++) {
            int64_t steps = rng_range(&rng, 0, 25);
            run_takers(taker, loader, data, &o, rng_range(&rng, 0, 100), steps);
            for (int d = 0; d < o.devices; d++) {
                if (taker[d].err.text[0]) fail_msg("%s", taker[d].err.text);
                assert_false(taker[d].wrong);
                assert_int_equal(taker[d].taken, steps);
            }
        }
        loader_free(loader);
    }
    data_free(data);
}

static void the_borrowed_batch_stays(void **state)
{
    (void)state;
    Data         *data = digits();
    LoaderOptions o = {
        .lanes = 2, .prefetch = 3, .devices = 1, .batch = 4, .steps_per_epoch = 5, .seed = 3};
    Loader       *loader = loader_of(data, o);
    Taker         t = {loader, data, &o, 0, 0, 4, 0, 0, 0, false, {""}};
    const float  *x;
    const int    *labels;
    int64_t       start_ns, end_ns;

    assert_int_equal(loader_begin(loader, 0, 0, 4, 0, 50, NULL), 0);
    for (int64_t n = 0; n < 50; n++) {
        assert_int_equal(loader_take(loader, 0, &x, &labels, &start_ns, &end_ns, NULL), 0);
        for (int turn = 0; turn < 20; turn++) sched_yield();         /* lanes go on */
        assert_true(as_defined(&t, n, x, labels));
    }
    loader_free(loader);
    data_free(data);
}

static void a_device_may_begin_anew_before_it_took_all(void **state)
{
    (void)state;
    Rng           rng = {test_seed("a_device_may_begin_anew_before_it_took_all", 1), 0};
    Data         *data = digits();
    LoaderOptions o = {
        .lanes = 2, .prefetch = 3, .devices = 2, .batch = 16, .steps_per_epoch = 5, .seed = 3};
    Loader       *loader = loader_of(data, o);
    const float  *x;
    const int    *labels;
    int64_t       start_ns, end_ns;

    assert_int_equal(loader_begin(loader, 1, 0, 1, 7, 1, NULL), 0);
    for (int round = 0; round < 100; round++) {
        Taker   t = {loader, data, &o,    0,   rng_range(&rng, 0, 8), rng_range(&rng, 1, 8), round,
                     0,      0,    false, {""}};
        int64_t steps = rng_range(&rng, 0, 6), take = rng_range(&rng, 0, steps);
        assert_int_equal(loader_begin(loader, 0, t.row, t.rows, t.first, steps, NULL), 0);
        for (int64_t n = 0; n < take; n++) {
            assert_int_equal(loader_take(loader, 0, &x, &labels, &start_ns, &end_ns, NULL), 0);
            assert_true(as_defined(&t, t.first + n, x, labels));
        }
    }
    Taker other = {loader, data, &o, 1, 0, 1, 7, 1, 0, false, {""}};
    assert_int_equal(loader_take(loader, 1, &x, &labels, &start_ns, &end_ns, NULL), 0);
    assert_true(as_defined(&other, 7, x, labels));       /* the other device lost nothing */
    loader_free(loader);
    data_free(data);
}

static void *stop_soon(void *argument)
{
    Loader *loader = argument;

    for (int turn = 0; turn < 50; turn++) sched_yield();
    loader_stop(loader);
    return NULL;
}

/* Whatever they wait for, all devices come back with the reason. */
static void stopping_wakes_everybody(void **state)
{
    (void)state;
    Data *data = digits();

    for (int round = 0; round < test_cases(30); round++) {
        LoaderOptions o = {
            .lanes = 1, .prefetch = round % 3, .devices = 4, .batch = 64, .steps_per_epoch = 5};
        Loader       *loader = loader_of(data, o);
        Taker         taker[8];
        pthread_t     stopper;
        assert_int_equal(pthread_create(&stopper, NULL, stop_soon, loader), 0);
        run_takers(taker, loader, data, &o, 0, 100000000);
        pthread_join(stopper, NULL);
        for (int d = 0; d < 4; d++) {
            assert_false(taker[d].wrong);
            assert_string_equal(taker[d].err.text, "the loader was stopped");
        }
        assert_int_equal(loader_begin(loader, 0, 0, 1, 0, 1, NULL), -1);
        loader_free(loader);
    }
    data_free(data);
}

static void what_was_not_asked_for_is_refused(void **state)
{
    (void)state;
    Data         *data = digits();
    LoaderOptions o = {.lanes = 1, .prefetch = 1, .devices = 1, .batch = 8, .steps_per_epoch = 5};
    Loader       *loader = loader_of(data, o);
    const float  *x;
    const int    *labels;
    int64_t       start_ns, end_ns;
    Error         err = {""};

    assert_int_equal(loader_begin(loader, 0, 4, 5, 0, 1, &err), -1);
    assert_string_equal(err.text, "rows 4..8 are not of a batch of 8");
    assert_int_equal(loader_begin(loader, 0, 4, 4, 0, 1, &err), 0);
    assert_int_equal(loader_take(loader, 0, &x, &labels, &start_ns, &end_ns, &err), 0);
    assert_int_equal(loader_take(loader, 0, &x, &labels, &start_ns, &end_ns, &err), -1);
    assert_string_equal(err.text, "device 0 took all its batches already");
    loader_free(loader);
    o.lanes = 0;
    assert_int_equal(loader_new(&loader, data, &o, &err), -1);
    assert_string_equal(err.text, "the loader needs a lane to load ahead");
    assert_null(loader);
    data_free(data);
}

static void lanes_run_on_their_cores(void **state)
{
    (void)state;
    Data         *data = digits();
    cpu_set_t     mine;
    int           core = 0;
    LoaderOptions o = {.lanes = 2, .prefetch = 2, .devices = 1, .batch = 8, .steps_per_epoch = 5,
                       .cores = &core, .core_count = 1};
    Taker         taker[8];

    assert_int_equal(sched_getaffinity(0, sizeof mine, &mine), 0);
    while (!CPU_ISSET((size_t)core, &mine)) core++;
    Loader *loader = loader_of(data, o);
    run_takers(taker, loader, data, &o, 0, 20);
    assert_false(taker[0].wrong);
    assert_int_equal(taker[0].taken, 20);
    loader_free(loader);

    Error err = {""};
    core = CPU_SETSIZE;
    assert_int_equal(loader_new(&loader, data, &o, &err), -1);
    assert_string_equal(err.text, "the loader cannot run on core 1024");
    data_free(data);
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    Data         *data = digits();
    LoaderOptions o = {.lanes = 0, .prefetch = 0, .devices = 2, .batch = 8, .steps_per_epoch = 5};
    long          n = 1;

    for (int done = 0; !done; n++) {
        Loader *loader = NULL;
        Error   err = {""};
        alloc_fail_after(n);
        int rc = loader_new(&loader, data, &o, &err);
        for (int d = 0; d < 2 && rc == 0; d++) rc = loader_begin(loader, d, 0, 4, 0, 1, &err);
        done = !alloc_fail_reached();
        alloc_fail_after(0);
        assert_int_equal(rc, done ? 0 : -1);
        if (!done) assert_true(error_is_no_memory(&err));
        loader_free(loader);
    }
    assert_true(n > 8);
    data_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_are_as_defined),
        cmocka_unit_test(the_borrowed_batch_stays),
        cmocka_unit_test(a_device_may_begin_anew_before_it_took_all),
        cmocka_unit_test(stopping_wakes_everybody),
        cmocka_unit_test(what_was_not_asked_for_is_refused),
        cmocka_unit_test(lanes_run_on_their_cores),
        cmocka_unit_test(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
