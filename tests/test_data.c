/* executor/data: what every source promises, the order of samples, and the sources without
 * files. Those with files are in tests/test_data_files.c. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "executor/data/data.h"

static Workload workload_of(int channels, int side, int classes)
{
    return (Workload){.input = {channels, side, side},
                      .classes = classes,
                      .samples = 55,
                      .batch = 8,
                      .deviation = {1, 1, 1, 1}};
}

static Data *open_ok(const char *source, const Workload *workload, DataPart part)
{
    Data *data;
    Error err = {""};

    if (data_open(&data, source, workload, part, 0, &err) != 0) fail_msg("%s", err.text);
    return data;
}

static void open_refused(const char *source, const Workload *workload, const char *expected)
{
    Data *data = (Data *)1;
    Error err = {""};

    assert_int_equal(data_open(&data, source, workload, DATA_TRAIN, 0, &err), -1);
    assert_null(data);
    assert_string_equal(err.text, expected);
}

static int load_ok(Data *data, int64_t i, uint64_t seed, int64_t epoch, float *out)
{
    int   label;
    Error err = {""};

    if (data_load(data, i, seed, epoch, out, &label, &err) != 0) fail_msg("%s", err.text);
    return label;
}

/* ---- order ---------------------------------------------------------------- */

static void an_epoch_is_a_permutation(void **state)
{
    (void)state;
    Rng rng = {test_seed("an_epoch_is_a_permutation", 1), 0};

    for (int round = 0; round < 60; round++) {
        int64_t  samples = round < 20 ? round + 1 : rng_range(&rng, 1, 5000);
        uint64_t seed = rng_next(&rng);
        char    *seen = calloc((size_t)samples, 1);
        for (int64_t i = 0; i < samples; i++) {
            int64_t at = data_order(samples, seed, round, i);
            assert_true(at >= 0 && at < samples && !seen[at]);
            seen[at] = 1;
            assert_int_equal(data_order(samples, seed, round, i + samples), at);
        }
        free(seen);
    }
}

/* Neighbours are no neighbours afterwards, and epochs and seeds differ: of 10 000 random
 * pairs about one agrees. */
static void orders_are_shuffled(void **state)
{
    (void)state;
    enum { SAMPLES = 10000 };
    int neighbours = 0, same_epoch = 0, same_seed = 0, fixed = 0;

    for (int64_t i = 0; i < SAMPLES; i++) {
        int64_t at = data_order(SAMPLES, 1, 0, i);
        neighbours += data_order(SAMPLES, 1, 0, i + 1) == at + 1;
        same_epoch += data_order(SAMPLES, 1, 1, i) == at;
        same_seed += data_order(SAMPLES, 2, 0, i) == at;
        fixed += at == i;
    }
    assert_int_in_range(neighbours, 0, 10);
    assert_int_in_range(same_epoch, 0, 10);
    assert_int_in_range(same_seed, 0, 10);
    assert_int_in_range(fixed, 0, 10);
}

/* Every position takes every place about equally often: 7 samples, 7 000 epochs. The
 * expected count is 1 000, its deviation about 30. */
static void orders_are_even(void **state)
{
    (void)state;
    int count[7][7] = {{0}};

    for (int64_t epoch = 0; epoch < 7000; epoch++)
        for (int64_t i = 0; i < 7; i++) count[i][data_order(7, 5, epoch, i)]++;
    for (int i = 0; i < 7; i++)
        for (int at = 0; at < 7; at++) assert_int_in_range(count[i][at], 880, 1120);
}

/* ---- synthetic ------------------------------------------------------------- */

static void synthetic_numbers_have_mean_0_and_deviation_1(void **state)
{
    (void)state;
    Workload workload = workload_of(3, 31, 7);
    Data    *data = open_ok("synthetic", &workload, DATA_TRAIN);
    float    x[3 * 31 * 31], again[3 * 31 * 31];
    double   sum = 0, squares = 0;
    int      classes[7] = {0};

    assert_int_equal(data_count(data), 55);
    for (int64_t i = 0; i < 55; i++) {
        int label = load_ok(data, i, 1, 2, x);
        assert_int_in_range(label, 0, 6);
        classes[label]++;
        assert_int_equal(load_ok(data, i, 3, 4, again), label);
        assert_memory_equal(x, again, sizeof x);
        for (size_t j = 0; j < sizeof x / sizeof *x; j++) {
            sum += x[j];
            squares += (double)x[j] * x[j];
        }
    }
    double n = 55 * (double)(sizeof x / sizeof *x);
    assert_true(fabs(sum / n) < 0.02);
    assert_true(fabs(squares / n - 1) < 0.02);
    for (int c = 0; c < 7; c++) assert_true(classes[c] > 0);

    Data *validation = open_ok("synthetic", &workload, DATA_VALIDATION);
    assert_int_equal(data_count(validation), 6);
    load_ok(validation, 0, 1, 2, again);
    load_ok(data, 0, 1, 2, x);
    assert_memory_not_equal(x, again, sizeof x);
    data_free(validation);
    data_free(data);
}

static void without_classes_there_are_no_labels(void **state)
{
    (void)state;
    Workload workload = workload_of(1, 1, 0);
    Data    *data = open_ok("synthetic", &workload, DATA_TRAIN);
    float    x;

    assert_int_equal(load_ok(data, 54, 0, 0, &x), -1);
    data_free(data);
}

/* ---- digits ---------------------------------------------------------------- */

/* The rows of data/digits.csv, whose every fifth is for validation, 0..16 as 0..1. */
static void digits_are_those_of_the_file(void **state)
{
    (void)state;
    Workload workload = workload_of(1, 8, 10);
    Data    *part[2] = {open_ok("digits", &workload, DATA_TRAIN),
                        open_ok("digits", &workload, DATA_VALIDATION)};
    int64_t  at[2] = {0, 0};
    char    *path = format_text("%s/data/digits.csv", PIPEBD_ROOT), *text = slurp(path, NULL);
    char    *rest = text, *line = strsep(&rest, "\n");
    float    x[64];
    int      rows = 0;

    while ((line = strsep(&rest, "\n")) && *line) {
        int which = rows++ % 5 == 0;
        int label = load_ok(part[which], at[which]++, 9, 9, x);
        for (int j = 0; j < 64; j++) assert_true(x[j] == (float)atoi(strsep(&line, ",")) / 16);
        assert_int_equal(label, atoi(line));
    }
    assert_int_equal(rows, 1797);
    assert_int_equal(data_count(part[0]), 1437);
    assert_int_equal(data_count(part[1]), 360);
    assert_int_equal(at[0], 1437);
    data_free(part[0]);
    data_free(part[1]);
    free(text);
    free(path);
}

static void values_are_normalised(void **state)
{
    (void)state;
    Workload workload = workload_of(1, 8, 10), plain = workload;
    float    x[64], y[64];

    workload.mean[0] = 0.25f;
    workload.deviation[0] = 0.5f;
    Data *data = open_ok("digits", &workload, DATA_TRAIN),
         *other = open_ok("digits", &plain, DATA_TRAIN);
    load_ok(data, 7, 0, 0, x);
    load_ok(other, 7, 0, 0, y);
    for (int j = 0; j < 64; j++) assert_true(x[j] == (y[j] - 0.25f) / 0.5f);
    data_free(data);
    data_free(other);
}

/* ---- refusals --------------------------------------------------------------- */

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    Workload digits = workload_of(1, 8, 10), other = workload_of(3, 32, 10),
             few = workload_of(1, 8, 3), flat = digits;

    flat.deviation[0] = 0;
    open_refused("digits", &flat, "the workload's deviation of channel 0 is not positive");
    open_refused("digits", &other,
                 "data source digits: its images are 1 x 8 x 8 (channels, height, width), and the "
                 "workload's input is 3 x 32 x 32");
    open_refused("digits", &few, "data source digits: has 10 classes, and the workload 3");
    open_refused("digits:here", &digits,
                 "data source \"digits:here\" takes no folder, expected digits");
    open_refused("digit", &digits,
                 "data source \"digit\" is not known, expected one of: " DATA_SOURCES);
    open_refused("", &digits, "data source \"\" is not known, expected one of: " DATA_SOURCES);
}

/* As many as a workload may say: more than any machine has memory for. The number is named. */
static void samples_without_number_are_named(void **state)
{
    (void)state;
    Workload many = workload_of(1, 8, 10);

    many.samples = INT64_C(1) << 53;
    open_refused("synthetic", &many,
                 "no memory for the state of 9007199254740992 samples, a byte each");
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    Workload workload = workload_of(1, 8, 10);
    Data    *data;
    long     n = 1;

    for (int done = 0; !done; n++) {
        Error err = {""};
        alloc_fail_after(n);
        int rc = data_open(&data, "digits", &workload, DATA_TRAIN, 0, &err);
        done = !alloc_fail_reached();
        alloc_fail_after(0);
        assert_int_equal(rc, done ? 0 : -1);
        if (!done)
            assert_true(error_is_no_memory(&err)
                        || strstr(err.text, "no memory for the state of 1437 samples"));
        data_free(data);
    }
    assert_true(n > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_is_a_permutation),
        cmocka_unit_test(orders_are_shuffled),
        cmocka_unit_test(orders_are_even),
        cmocka_unit_test(synthetic_numbers_have_mean_0_and_deviation_1),
        cmocka_unit_test(without_classes_there_are_no_labels),
        cmocka_unit_test(digits_are_those_of_the_file),
        cmocka_unit_test(values_are_normalised),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(samples_without_number_are_named),
        cmocka_unit_test(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
