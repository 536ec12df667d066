/* tensors:FOLDER: files of safetensors with inputs and labels; numbers and shapes that are not the
 * workload's. */
#include "tests/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/data/data.h"

/* Two samples of 2 x 1 x 3: 0 1 2 | 3 4 5 and 6 7 8 | 9 10 11. */
static const Workload work = {.input = {2, 1, 3},
                              .classes = 4,
                              .samples = 9,
                              .batch = 2,
                              .mean = {0.5f, 0},
                              .deviation = {0.25f, 1}};

/* FOLDER/PART.safetensors with this header and these bytes. */
static void write_file(const char *folder, const char *part, const char *header, const void *bytes,
                       size_t length)
{
    char         *path = format_text("%s/%s.safetensors", folder, part);
    FILE         *file = fopen(path, "wb");
    unsigned char size[8] = {(unsigned char)(strlen(header) & 255),
                             (unsigned char)(strlen(header) >> 8)};

    assert_non_null(file);
    assert_int_equal(fwrite(size, 1, 8, file), 8);
    assert_int_equal(fwrite(header, 1, strlen(header), file), strlen(header));
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
    free(path);
}

static Data *open_ok(const char *folder, DataPart part, int64_t skip)
{
    char *source = format_text("tensors:%s", folder);
    Data *data;
    Error err = {""};

    if (data_open(&data, source, &work, part, skip, &err) != 0) fail_msg("%s", err.text);
    free(source);
    return data;
}

static void check_refused(const char *folder, const Workload *workload, const char *expected)
{
    char *source = format_text("tensors:%s", folder);
    Data *data;
    Error err = {""};

    assert_int_equal(data_open(&data, source, workload, DATA_TRAIN, 0, &err), -1);
    assert_null(data);
    assert_string_equal(strncmp(err.text, folder, strlen(folder)) == 0 ? err.text + strlen(folder)
                                                                       : err.text,
                        expected);
    free(source);
}

#define FLOATS "{\"inputs\":{\"dtype\":\"F32\",\"shape\":[2,2,1,3],\"data_offsets\":[0,48]}"
#define LABELS ",\"labels\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[48,64]}}"

typedef struct {
    float   input[12];
    int64_t label[2];
} Samples;

static Samples samples(int64_t first, int64_t second)
{
    Samples s = {.label = {first, second}};

    for (int i = 0; i < 12; i++) s.input[i] = (float)i;
    return s;
}

static void floats_are_taken_as_they_are(void **state)
{
    Samples s = samples(3, 0);
    char   *folder = temp_make();
    float   out[6];
    int     label;
    Error   err = {""};

    (void)state;
    write_file(folder, "val", FLOATS LABELS, &s, sizeof s);
    Data *data = open_ok(folder, DATA_VALIDATION, 0);
    assert_int_equal(data_count(data), 2);
    assert_int_equal(data_load(data, 1, 1, 0, out, &label, &err), 0);
    /* channels last */
    for (int i = 0; i < 6; i++) assert_true(out[i] == (float)(6 + i % 2 * 3 + i / 2));
    assert_int_equal(label, 0);
    assert_int_equal(data_load(data, 0, 1, 0, out, &label, &err), 0);
    assert_int_equal(label, 3);
    data_free(data);
    temp_remove(folder);
}

static void bytes_are_normalised(void **state)
{
    unsigned char bytes[20] = {0, 51, 255, 0, 255, 51, 1, 1, 1, 1, 1, 1, 2, 0, 0, 0, 1, 0, 0, 0};
    char         *folder = temp_make();
    float         out[6];
    int           label;
    Error         err = {""};

    (void)state;
    write_file(folder, "train",
               "{\"inputs\":{\"dtype\":\"U8\",\"shape\":[2,2,1,3],\"data_offsets\":[0,12]},"
               "\"labels\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[12,20]}}",
               bytes, sizeof bytes);
    Data *data = open_ok(folder, DATA_TRAIN, 0);
    assert_int_equal(data_load(data, 0, 1, 5, out, &label, &err), 0);
    const float expected[] = {-2, 0, (51.0f / 255 - 0.5f) * 4, 1, 2, 51.0f / 255};
    for (int i = 0; i < 6; i++) assert_float_equal(out[i], expected[i], 1e-6);
    assert_int_equal(label, 2);
    data_free(data);
    temp_remove(folder);
}

static void damaged_samples_are_named_or_skipped(void **state)
{
    Samples s = samples(4, 1);
    char   *folder = temp_make();
    float   out[6];
    int     label;
    Error   err = {""};

    (void)state;
    write_file(folder, "train", FLOATS LABELS, &s, sizeof s);
    Data *data = open_ok(folder, DATA_TRAIN, 0);
    assert_int_equal(data_load(data, 0, 1, 0, out, &label, &err), -1);
    assert_string_equal(err.text + strlen(folder),
                        "/train.safetensors: sample 0 has the label 4, expected 0 to 3");
    data_free(data);
    s.label[0] = 0;
    s.input[7] = NAN;
    write_file(folder, "train", FLOATS LABELS, &s, sizeof s);
    data = open_ok(folder, DATA_TRAIN, 1);
    assert_int_equal(data_load(data, 1, 1, 0, out, &label, &err), 0);
    assert_int_equal(label, 0);                          /* the next good one is sample 0 */
    assert_int_equal(data_skipped(data), 1);
    data_free(data);
    temp_remove(folder);
}

/* 2^32, cut to 32 bits, would be class 0. */
static void a_label_too_large_for_a_class_is_none(void **state)
{
    Samples s = samples(INT64_C(1) << 32, 1);
    char   *folder = temp_make();
    int     label;
    Error   err = {""};

    (void)state;
    write_file(folder, "train", FLOATS LABELS, &s, sizeof s);
    Data *data = open_ok(folder, DATA_TRAIN, 0);
    assert_int_equal(data_labels(data, 1, &label, &err), 0);
    assert_int_equal(label, 1);
    assert_int_equal(data_labels(data, 0, &label, &err), -1);
    assert_non_null(strstr(err.text, "sample 0 has the label"));
    data_free(data);
    temp_remove(folder);
}

/* A process that has not loaded sample 1 gives it the label of sample 0 too, which stands in for
 * it. */
static void labels_follow_skipped_samples(void **state)
{
    Samples s = samples(3, 1);
    char   *folder = temp_make();
    int     label;
    Error   err = {""};

    (void)state;
    s.input[7] = NAN;
    write_file(folder, "train", FLOATS LABELS, &s, sizeof s);
    Data *data = open_ok(folder, DATA_TRAIN, 1);
    assert_int_equal(data_labels(data, 1, &label, &err), 0);
    assert_int_equal(label, 3);
    assert_int_equal(data_skipped(data), 1);
    assert_int_equal(data_labels(data, 0, &label, &err), 0);
    assert_int_equal(label, 3);
    data_free(data);
    temp_remove(folder);
}

static void files_that_are_wrong_are_refused(void **state)
{
    Samples  s = samples(0, 0);
    Workload wide = work, text = work, none = work;
    char    *folder = temp_make();

    (void)state;
    check_refused(folder, &work, "/train.safetensors: cannot open: No such file or directory");
    write_file(folder, "train", FLOATS LABELS, &s, sizeof s);
    wide.input.width = 4;
    check_refused(folder, &wide,
                  "/train.safetensors: inputs have another shape than the workload's, expected "
                  "[samples][2][1][4]");
    text.vocabulary = 9;
    check_refused(folder, &text,
                  "data source tensors: it has images, and the workload's input is tokens");
    write_file(folder, "train", FLOATS "}", &s, 48);
    check_refused(folder, &work,
                  "/train.safetensors: has no tensor \"labels\", and the workload has 4 classes");
    none.classes = 0;
    char *source = format_text("tensors:%s", folder);
    Data *data;
    Error err = {""};
    assert_int_equal(data_open(&data, source, &none, DATA_TRAIN, 0, &err), 0);
    data_free(data);
    free(source);
    write_file(folder, "train",
               "{\"x\":{\"dtype\":\"F32\",\"shape\":[12],\"data_offsets\":[0,48]}}", &s, 48);
    check_refused(folder, &work, "/train.safetensors: has no tensor \"inputs\"");
    write_file(folder, "train",
               "{\"inputs\":{\"dtype\":\"F16\",\"shape\":[2,2,1,3],\"data_offsets\":[0,24]}}", &s,
               24);
    check_refused(folder, &work, "/train.safetensors: inputs are F16, expected F32 or U8");
    write_file(folder, "train",
               FLOATS ",\"labels\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[48,56]}}", &s,
               56);
    check_refused(folder, &work, "/train.safetensors: labels are F32, expected I64 or I32");
    write_file(folder, "train",
               FLOATS ",\"labels\":{\"dtype\":\"I32\",\"shape\":[4],\"data_offsets\":[48,64]}}", &s,
               64);
    check_refused(folder, &work,
                  "/train.safetensors: expected labels of 2 samples, one number each");
    temp_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_are_taken_as_they_are),
        cmocka_unit_test(bytes_are_normalised),
        cmocka_unit_test(damaged_samples_are_named_or_skipped),
        cmocka_unit_test(a_label_too_large_for_a_class_is_none),
        cmocka_unit_test(labels_follow_skipped_samples),
        cmocka_unit_test(files_that_are_wrong_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
