/* Data sources of text: files that the tests write, of 16 and 32 bits, with llm.c's headers, bytes,
 * lengths; damaged ones. */
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "executor/data/data.h"

enum { TOKENS = 4 };

static const Workload text = {
    .input = {1, TOKENS, 1}, .vocabulary = 70000, .samples = 9, .batch = 2, .deviation = {1}};

static void write_file(const char *folder, const char *name, const void *bytes, size_t length)
{
    char *path = format_text("%s/%s", folder, name);

    spill_bytes(path, bytes, length);
    free(path);
}

static Data *open_ok(const char *source, const char *folder, const Workload *w, DataPart part)
{
    char *name = format_text("%s:%s", source, folder);
    Data *data;
    Error err = {""};

    if (data_open(&data, name, w, part, 0, &err) != 0) fail_msg("%s", err.text);
    free(name);
    return data;
}

/* The error of opening, or of sample i, behind the folder's name. */
static void refused(const char *source, const char *folder, const Workload *w, int64_t i,
                    const char *expected)
{
    char *name = format_text("%s:%s", source, folder);
    float x[2 * TOKENS];
    int   label;
    Data *data;
    Error err = {""};

    if (data_open(&data, name, w, DATA_TRAIN, 0, &err) == 0)
        assert_int_equal(data_load(data, i, 0, 0, x, &label, &err), -1);
    data_free(data);
    assert_string_equal(strncmp(err.text, folder, strlen(folder)) == 0 ? err.text + strlen(folder)
                                                                       : err.text,
                        expected);
    free(name);
}

static void check_sample(Data *data, int64_t i, const float *expected)
{
    float x[TOKENS];
    int   label;
    Error err = {""};

    if (data_load(data, i, 1, 2, x, &label, &err) != 0) fail_msg("%s", err.text);
    assert_memory_equal(x, expected, sizeof x);
    assert_int_equal(label, -1);
}

/* The next tokens. */
static void check_labels(Data *data, int64_t i, const int *expected)
{
    int   labels[TOKENS];
    Error err = {""};

    assert_true(data_has_labels(data));
    if (data_labels(data, i, labels, &err) != 0) fail_msg("%s", err.text);
    assert_memory_equal(labels, expected, sizeof labels);
}

static void samples_follow_each_other(void **state)
{
    char                *folder = temp_make();
    static const uint8_t narrow[] = {1, 0, 2, 1, 3, 0, 4, 0, 0xFF, 0xFF, 6, 0, 7, 0, 8, 0, 9, 0};
    static const uint8_t wide[] = {1, 0, 0, 0, 0x10, 0x11, 1, 0, 3, 0, 0, 0, 4, 0, 0, 0};
    Data                *data;

    (void)state;
    write_file(folder, "train.bin", narrow, sizeof narrow);
    write_file(folder, "val.bin", wide, sizeof wide);
    data = open_ok("tokens", folder, &text, DATA_TRAIN);
    assert_int_equal(data_count(data), 2);               /* the ninth token is a rest */
    assert_false(data_is_uneven(data));
    check_sample(data, 0, (float[]){1, 258, 3, 4});
    check_sample(data, 1, (float[]){65535, 6, 7, 8});
    data_free(data);
    data = open_ok("tokens32", folder, &text, DATA_VALIDATION);
    assert_int_equal(data_count(data), 1);
    check_sample(data, 0, (float[]){1, 69904, 3, 4});
    data_free(data);
    write_file(folder, "train.txt", "abcd\xFF" "fgh!", 9);
    data = open_ok("bytes", folder, &text, DATA_TRAIN);
    assert_int_equal(data_count(data), 2);
    check_sample(data, 1, (float[]){255, 'f', 'g', 'h'});
    check_labels(data, 1, (int[]){'f', 'g', 'h', -1});
    data_free(data);
    temp_remove(folder);
}

static void put(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> 8 * i);
}

/* llm.c's headers say the width, whatever the source is called. */
static void headers_are_read(void **state)
{
    char   *folder = temp_make();
    uint8_t file[1024 + 16] = {0};
    Data   *data;

    (void)state;
    put(file, 20240520), put(file + 4, 1), put(file + 8, 8);
    for (int i = 0; i < 8; i++) file[1024 + 2 * i] = (uint8_t)(i + 1);
    write_file(folder, "train.bin", file, sizeof file);
    data = open_ok("tokens", folder, &text, DATA_TRAIN);
    assert_int_equal(data_count(data), 2);
    check_sample(data, 1, (float[]){5, 6, 7, 8});
    data_free(data);
    put(file + 8, 9);
    write_file(folder, "train.bin", file, sizeof file);
    refused("tokens", folder, &text, 0,
            "/train.bin: its header says 9 tokens, and 16 bytes of them follow");
    put(file + 4, 2);
    write_file(folder, "train.bin", file, sizeof file);
    refused("tokens", folder, &text, 0, "/train.bin: its header has version 2, expected 1");
    put(file, 20240801), put(file + 4, 7), put(file + 8, 4);
    for (int i = 0; i < 4; i++) put(file + 1024 + 4 * i, 69000u + (uint32_t)i);
    write_file(folder, "train.bin", file, sizeof file);
    data = open_ok("tokens", folder, &text, DATA_TRAIN);
    check_sample(data, 0, (float[]){69000, 69001, 69002, 69003});
    data_free(data);
    temp_remove(folder);
}

static void lengths_cut_sequences(void **state)
{
    char   *folder = temp_make();
    uint8_t lengths[12] = {0};
    Data   *data;

    (void)state;
    put(lengths, 3), put(lengths + 4, 1), put(lengths + 8, 4);
    write_file(folder, "train.txt", "abcdefgh", 8);
    write_file(folder, "train.lengths", lengths, sizeof lengths);
    data = open_ok("bytes", folder, &text, DATA_TRAIN);
    assert_int_equal(data_count(data), 3);
    assert_true(data_is_uneven(data));
    assert_int_equal(data_length(data, 0), 3);
    assert_int_equal(data_length(data, 1), 1);
    assert_int_equal(data_length(data, 2), 4);
    check_sample(data, 0, (float[]){'a', 'b', 'c', 0});
    check_sample(data, 1, (float[]){'d', 0, 0, 0});
    check_sample(data, 2, (float[]){'e', 'f', 'g', 'h'});
    check_labels(data, 0, (int[]){'b', 'c', -1, -1});
    check_labels(data, 1, (int[]){-1, -1, -1, -1});
    data_free(data);
    put(lengths + 8, 3);
    write_file(folder, "train.lengths", lengths, sizeof lengths);
    char *expected =
        format_text("/train.lengths: lengths of 7 tokens together, and %s/train.txt has 8", folder);
    refused("bytes", folder, &text, 0, expected);
    free(expected);
    put(lengths + 8, 5);
    write_file(folder, "train.lengths", lengths, sizeof lengths);
    refused("bytes", folder, &text, 0,
            "/train.lengths: sequence 2 has 5 tokens, expected 1 to the workload's 4");
    put(lengths + 8, 0);
    write_file(folder, "train.lengths", lengths, sizeof lengths);
    refused("bytes", folder, &text, 0,
            "/train.lengths: sequence 2 has 0 tokens, expected 1 to the workload's 4");
    write_file(folder, "train.lengths", lengths, 11);
    refused("bytes", folder, &text, 0,
            "/train.lengths: 11 bytes, expected lengths of 4 bytes each");
    temp_remove(folder);
}

static void what_does_not_fit_is_refused(void **state)
{
    char    *folder = temp_make();
    Workload image = {.input = {1, TOKENS, 1}, .samples = 9, .batch = 2, .deviation = {1}},
             few = text, small = text;

    (void)state;
    few.vocabulary = 255;
    small.vocabulary = 100;
    refused("tokens", folder, &text, 0, "/train.bin: cannot open: No such file or directory");
    write_file(folder, "train.bin", "", 0);
    refused("tokens", folder, &text, 0, "/train.bin: is empty");
    write_file(folder, "train.bin", "abc", 3);
    refused("tokens", folder, &text, 0, "/train.bin: 3 bytes, expected tokens of 2 bytes each");
    write_file(folder, "train.bin", "abcd", 4);
    refused("tokens", folder, &text, 0,
            "/train.bin: 2 tokens, expected at least the workload's 4 a sample");
    refused("tokens", folder, &image, 0,
            "a source of tokens for a workload whose input is an image");
    refused("bytes", folder, &few, 0, "bytes have 256 values, and the workload's vocabulary 255");
    write_file(folder, "train.bin", "\1\0\2\0\3\0\4\0\5\0\x64\0\7\0\x8\0", 16);
    refused("tokens", folder, &small, 1,
            "/train.bin: token 5 is 100, expected less than the workload's vocabulary of 100");
    temp_remove(folder);

    Data *data;
    Error err = {""};
    assert_int_equal(data_open(&data, "digits", &text, DATA_TRAIN, 0, &err), -1);
    assert_string_equal(err.text,
                        "data source digits: it has images, and the workload's input is tokens");
}

/* Of synthetic text every number and type is in range, and comes again. */
static void synthetic_text_is_in_range(void **state)
{
    Workload w = {.input = {2, TOKENS, 1},
                  .vocabulary = 5,
                  .types = 3,
                  .samples = 50,
                  .batch = 2,
                  .deviation = {1, 1}};
    bool     token[5] = {0}, type[3] = {0};
    float    x[2 * TOKENS], again[2 * TOKENS];
    int      label;
    Data    *data;
    Error    err = {""};

    (void)state;
    assert_int_equal(data_open(&data, "synthetic", &w, DATA_TRAIN, 0, &err), 0);
    for (int64_t i = 0; i < 50; i++) {
        assert_int_equal(data_load(data, i, 0, 0, x, &label, &err), 0);
        assert_int_equal(data_load(data, i, 1, 1, again, &label, &err), 0);
        assert_memory_equal(x, again, sizeof x);
        for (int t = 0; t < TOKENS; t++) {
            assert_int_in_range((int)x[2 * t], 0, 4);
            assert_int_in_range((int)x[2 * t + 1], 0, 2);
            token[(int)x[2 * t]] = type[(int)x[2 * t + 1]] = true;
        }
    }
    for (int k = 0; k < 5; k++) assert_true(token[k]);
    for (int k = 0; k < 3; k++) assert_true(type[k]);
    data_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_follow_each_other), cmocka_unit_test(headers_are_read),
        cmocka_unit_test(lengths_cut_sequences),     cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(synthetic_text_is_in_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
