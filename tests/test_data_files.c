/* Data sources with files: CIFAR-10's binary ones and folders of JPEG files, which the tests
 * make themselves; damaged, truncated and missing ones. */
#include "tests/support.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef HAVE_JPEG
#include <jpeglib.h>
#endif

#include "base/rng.h"
#include "executor/data/crop.h"
#include "executor/data/data.h"
#include "executor/data/loader.h"

static Workload workload_of(int side, int classes)
{
    return (Workload){.input = {3, side, side},
                      .classes = classes,
                      .samples = 55,
                      .batch = 8,
                      .deviation = {1, 1, 1}};
}

static Data *open_ok(const char *source, const Workload *workload, DataPart part, int64_t skip_bad)
{
    Data *data;
    Error err = {""};

    if (data_open(&data, source, workload, part, skip_bad, &err) != 0) fail_msg("%s", err.text);
    return data;
}

static int load_ok(Data *data, int64_t i, uint64_t seed, int64_t epoch, float *out)
{
    int   label;
    Error err = {""};

    if (data_load(data, i, seed, epoch, out, &label, &err) != 0) fail_msg("%s", err.text);
    return label;
}

/* What opening says, without the folder at its start; "" when it works. */
static char *open_error(const char *source, const char *folder, const Workload *workload,
                        DataPart part, int64_t skip_bad)
{
    char *name = format_text("%s:%s", source, folder);
    Data *data;
    Error err = {""};

    data_open(&data, name, workload, part, skip_bad, &err);
    data_free(data);
    free(name);
    bool there = strncmp(err.text, folder, strlen(folder)) == 0;
    return format_text("%s", there ? err.text + strlen(folder) : err.text);
}

static void check_open(const char *source, const char *folder, const Workload *workload,
                       DataPart part, int64_t skip_bad, const char *expected)
{
    char *found = open_error(source, folder, workload, part, skip_bad);

    assert_string_equal(found, expected);
    free(found);
}

/* ---- CIFAR-10 -------------------------------------------------------------------- */

enum { SAMPLE = 3073, SIDE = 32, PIXELS = 32 * 32 * 3 };

/* Sample n of all files: its label and bytes. */
static unsigned char cifar_byte(int n, int at)
{
    return at == 0 ? (unsigned char)(n % 10)
                   : (unsigned char)rng_u64(77, (uint64_t)n, (uint64_t)at, 0);
}

/* A file of count samples from number first on, the last extra bytes longer or shorter. */
static void write_cifar(const char *folder, const char *name, int first, int count, int extra)
{
    unsigned char *bytes = malloc((size_t)(count + 1) * SAMPLE);
    char          *path = format_text("%s/%s", folder, name);

    for (int n = 0; n <= count; n++)
        for (int at = 0; at < SAMPLE; at++) bytes[n * SAMPLE + at] = cifar_byte(first + n, at);
    spill_bytes(path, bytes, (size_t)(count * SAMPLE + extra));
    free(path);
    free(bytes);
}

/* data_batch_N has N samples: 15 in all; two for validation. */
static char *cifar_folder(void)
{
    char *folder = temp_make();

    for (int n = 1, first = 0; n <= 5; first += n++) {
        char *name = format_text("data_batch_%d.bin", n);
        write_cifar(folder, name, first, n, 0);
        free(name);
    }
    write_cifar(folder, "test_batch.bin", 100, 2, 0);
    return folder;
}

static Data *open_cifar(const char *folder, DataPart part, int64_t skip_bad)
{
    Workload workload = workload_of(SIDE, 10);
    char    *source = format_text("cifar10:%s", folder);
    Data    *data = open_ok(source, &workload, part, skip_bad);

    free(source);
    return data;
}

/* Whether out is sample n moved by (dx, dy), black where nothing is, and mirrored. */
static bool is_moved(const float *out, int n, int dx, int dy, bool mirror)
{
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            for (int c = 0; c < 3; c++) {
                int from_x = (mirror ? SIDE - 1 - x : x) + dx, from_y = y + dy, value = 0;
                if (from_x >= 0 && from_x < SIDE && from_y >= 0 && from_y < SIDE)
                    value = cifar_byte(n, 1 + c * 1024 + from_y * SIDE + from_x);
                if (out[(y * SIDE + x) * 3 + c] != (float)value / 255) return false;
            }
    return true;
}

static void cifar_validation_is_as_in_the_file(void **state)
{
    (void)state;
    char *folder = cifar_folder();
    Data *data = open_cifar(folder, DATA_VALIDATION, 0);
    float out[PIXELS];

    assert_int_equal(data_count(data), 2);
    for (int n = 0; n < 2; n++) {
        assert_int_equal(load_ok(data, n, 5, 6, out), n);
        assert_true(is_moved(out, 100 + n, 0, 0, false));
    }
    data_free(data);
    temp_remove(folder);
}

/* Found among all 81 moves and both sides; over the epochs every side and border comes up,
 * and the same epoch gives the same again. */
static void cifar_training_is_moved_and_mirrored(void **state)
{
    (void)state;
    char *folder = cifar_folder();
    Data *data = open_cifar(folder, DATA_TRAIN, 0);
    float out[PIXELS], again[PIXELS];
    int   seen_x[9] = {0}, seen_y[9] = {0}, mirrored = 0, found = 0;

    assert_int_equal(data_count(data), 15);
    for (int64_t epoch = 0; epoch < 6; epoch++)
        for (int n = 0; n < 15; n++) {
            assert_int_equal(load_ok(data, n, 3, epoch, out), n % 10);
            load_ok(data, n, 3, epoch, again);
            assert_memory_equal(out, again, sizeof out);
            for (int move = 0; move < 2 * 81; move++) {
                int dx = move % 9 - 4, dy = move / 9 % 9 - 4;
                if (!is_moved(out, n, dx, dy, move >= 81)) continue;
                found++;
                seen_x[dx + 4]++;
                seen_y[dy + 4]++;
                mirrored += move >= 81;
            }
        }
    assert_int_equal(found, 6 * 15);
    assert_int_in_range(mirrored, 30, 60);
    for (int i = 0; i < 9; i++) assert_true(seen_x[i] > 0 && seen_y[i] > 0);
    data_free(data);
    temp_remove(folder);
}

/* "augment": false. */
static void cifar_training_can_be_as_in_the_file(void **state)
{
    (void)state;
    char    *folder = cifar_folder(), *source = format_text("cifar10:%s", folder);
    Workload workload = workload_of(SIDE, 10);
    float    out[PIXELS];

    workload.unaugmented = true;
    Data *data = open_ok(source, &workload, DATA_TRAIN, 0);
    for (int64_t epoch = 0; epoch < 4; epoch++)
        for (int n = 0; n < 15; n++) {
            assert_int_equal(load_ok(data, n, (uint64_t)epoch, epoch, out), n % 10);
            assert_true(is_moved(out, n, 0, 0, false));
        }
    data_free(data);
    free(source);
    temp_remove(folder);
}

static void cifar_files_that_are_wrong_are_refused(void **state)
{
    (void)state;
    Workload workload = workload_of(SIDE, 10);
    char    *folder = cifar_folder(), *path = format_text("%s/data_batch_3.bin", folder);

    write_cifar(folder, "data_batch_3.bin", 3, 3, -1);
    check_open("cifar10", folder, &workload, DATA_TRAIN, 0,
               "/data_batch_3.bin: sample 2 is cut short: it has 3072 of 3073 bytes");
    write_cifar(folder, "data_batch_3.bin", 3, 3, 7);
    check_open("cifar10", folder, &workload, DATA_TRAIN, 0,
               "/data_batch_3.bin: sample 3 is cut short: it has 7 of 3073 bytes");
    spill_bytes(path, "", 0);
    check_open("cifar10", folder, &workload, DATA_TRAIN, 9, "/data_batch_3.bin: is empty");
    assert_int_equal(remove(path), 0);
    check_open("cifar10", folder, &workload, DATA_TRAIN, 9,
               "/data_batch_3.bin: cannot open: No such file or directory");
    assert_int_equal(mkdir(path, 0700), 0);
    check_open("cifar10", folder, &workload, DATA_TRAIN, 9,
               "/data_batch_3.bin: is no regular file");
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    check_open("cifar10", folder, &workload, DATA_TRAIN, 9,
               "/data_batch_3.bin: is no regular file");
    check_open("cifar10", folder, &workload, DATA_VALIDATION, 0, "");
    check_open("cifar10", "", &workload, DATA_TRAIN, 0,
               "data source \"cifar10:\" needs a folder: cifar10:FOLDER");
    workload.classes = 100;
    check_open("cifar10", folder, &workload, DATA_TRAIN, 0,
               "data source cifar10: has 10 classes, and the workload 100");
    free(path);
    temp_remove(folder);
}

typedef struct { int count; char why[2][ERROR_MAX_TEXT]; } Enqueued;

static void hear(void *context, int64_t before, const char *why)
{
    Enqueued *told = context;

    assert_int_in_range(told->count, 0, 1);
    assert_int_equal(before, told->count);
    snprintf(told->why[told->count++], ERROR_MAX_TEXT, "%s", why);
}

/* Samples 2 (label 200) and 14 (cut short) are replaced by 3 and, around the end, 0. */
static void damaged_samples_are_skipped_if_allowed(void **state)
{
    (void)state;
    char *folder = cifar_folder(), *path = format_text("%s/data_batch_2.bin", folder);
    float out[PIXELS];
    int   label;
    Error err = {""};

    size_t         length;
    unsigned char *bytes = (unsigned char *)slurp(path, &length);
    bytes[SAMPLE] = 200;
    spill_bytes(path, bytes, length);
    write_cifar(folder, "data_batch_5.bin", 10, 5, -100);

    Data *data = open_cifar(folder, DATA_TRAIN, 2);
    assert_int_equal(data_count(data), 15);
    Enqueued told = {0};
    data_tell_skipped(data, hear, &told);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(load_ok(data, 2, 0, 0, out), 3);
        assert_int_equal(load_ok(data, 14, 0, 0, out), 0);
    }
    assert_int_equal(data_skipped(data), 2);
    assert_int_equal(told.count, 2);
    assert_non_null(
        strstr(told.why[0], "data_batch_2.bin: sample 1 has the label 200, expected 0 to 9"));
    assert_non_null(strstr(told.why[1], "data_batch_5.bin: sample 4 is cut short"));
    data_free(data);

    data = open_cifar(folder, DATA_TRAIN, 1);
    assert_int_equal(load_ok(data, 14, 0, 0, out), 0);
    char *expected = format_text(
        "more damaged samples than the 1 that may be skipped; one more: %s: sample 1 has the "
        "label 200, expected 0 to 9",
        path);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(data_load(data, 2, 0, 0, out, &label, &err), -1);
        assert_string_equal(err.text, expected);
        assert_int_equal(data_skipped(data), 1);
    }
    data_free(data);
    free(expected);

    write_cifar(folder, "data_batch_5.bin", 10, 5, 0);
    data = open_cifar(folder, DATA_TRAIN, 0);
    assert_int_equal(data_load(data, 2, 0, 0, out, &label, &err), -1);
    expected = format_text("%s: sample 1 has the label 200, expected 0 to 9", path);
    assert_string_equal(err.text, expected);
    data_free(data);
    free(expected);
    free(bytes);
    free(path);
    temp_remove(folder);
}

static void when_all_are_damaged_there_is_an_error(void **state)
{
    (void)state;
    char         *folder = temp_make(), *path = format_text("%s/test_batch.bin", folder);
    unsigned char bytes[2 * SAMPLE];
    float         out[PIXELS];
    int           label;
    Error         err = {""};

    memset(bytes, 255, sizeof bytes);
    spill_bytes(path, bytes, sizeof bytes);
    Data *data = open_cifar(folder, DATA_VALIDATION, 10);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(data_load(data, 1, 0, 0, out, &label, &err), -1);
        assert_non_null(strstr(err.text, "no sample is good"));
    }
    data_free(data);
    free(path);
    temp_remove(folder);
}

/* A damaged sample reaches whoever takes the batch, and only then. */
static void the_loader_hands_errors_over(void **state)
{
    (void)state;
    char *folder = cifar_folder(), *path = format_text("%s/data_batch_1.bin", folder);

    unsigned char bytes[SAMPLE] = {99};
    spill_bytes(path, bytes, sizeof bytes);
    Data *data = open_cifar(folder, DATA_TRAIN, 0);
    for (int prefetch = 0; prefetch < 4; prefetch++) {
        LoaderOptions o = {.lanes = 2, .prefetch = prefetch, .devices = 1, .batch = 1,
                           .steps_per_epoch = 15, .seed = 4};
        Loader       *loader;
        const float  *x;
        const int    *labels;
        int64_t       start_ns, end_ns;
        int           failed = 0;
        assert_int_equal(loader_new(&loader, data, &o, NULL), 0);
        assert_int_equal(loader_begin(loader, 0, 0, 1, 0, 30, NULL), 0);
        for (int64_t n = 0; n < 30; n++) {
            Error err = {""};
            int   rc = loader_take(loader, 0, &x, &labels, &start_ns, &end_ns, &err);
            bool  bad = data_order(15, 4, n / 15, n % 15) == 0;
            assert_int_equal(rc, bad ? -1 : 0);
            if (bad)
                assert_non_null(strstr(err.text, "data_batch_1.bin: sample 0 has the label 99"));
            failed += bad;
        }
        assert_int_equal(failed, 2);
        loader_free(loader);
    }
    data_free(data);
    free(path);
    temp_remove(folder);
}

/* ---- crops ------------------------------------------------------------------------ */

static double rng_draw(void *context, int n)
{
    return rng_uniform(*(uint64_t *)context, (uint64_t)n, 0, 0);
}

static void random_crops_lie_inside(void **state)
{
    (void)state;
    Rng    rng = {test_seed("random_crops_lie_inside", 1), 0};
    double least = 1, most = 0;

    for (int round = 0; round < 3000; round++) {
        int      w = (int)rng_range(&rng, 1, 700), h = (int)rng_range(&rng, 1, 700);
        uint64_t seed = rng_next(&rng);
        Crop     crop = crop_random(w, h, rng_draw, &seed);
        assert_true(crop.x >= 0 && crop.y >= 0 && crop.width > 0 && crop.height > 0);
        assert_true(crop.x + crop.width <= w && crop.y + crop.height <= h);
        if (w < 100 || h < 100 || w > 2 * h || h > 2 * w) continue;
        double part = crop.width * crop.height / ((double)w * h), aspect = crop.width / crop.height;
        assert_true(aspect > 0.73 && aspect < 1.37 && part > 0.07);
        least = part < least ? part : least;
        most = part > most ? part : most;
    }
    assert_true(least < 0.12 && most > 0.9);
}

/* A plane, value = 10 x + 20 y + 5 at a pixel's centre, stays one: at an output's centre is the
 * plane's value there, but near borders. */
static void resampling_keeps_a_plane(void **state)
{
    (void)state;
    enum { W = 12, H = 10, OUT = 7 };
    unsigned char pixels[H][W][3];
    float         out[OUT][OUT][3], mirrored[OUT][OUT][3];
    Crop          crop = {2.5, 1.25, 7, 6};

    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            for (int c = 0; c < 3; c++)
                pixels[y][x][c] = (unsigned char)(10 * x + (c == 1 ? 0 : 10 * y) + 5);
    assert_int_equal(
        crop_resample(&out[0][0][0], OUT, OUT, &pixels[0][0][0], W, H, crop, false, NULL), 0);
    assert_int_equal(
        crop_resample(&mirrored[0][0][0], OUT, OUT, &pixels[0][0][0], W, H, crop, true, NULL), 0);
    for (int y = 0; y < OUT; y++)
        for (int x = 0; x < OUT; x++) {
            double at_x = crop.x + (x + 0.5) * crop.width / OUT - 0.5,
                   at_y = crop.y + (y + 0.5) * crop.height / OUT - 0.5;
            assert_true(fabs(255 * out[y][x][0] - (10 * at_x + 10 * at_y + 5)) < 0.01);
            assert_true(fabs(255 * out[y][x][1] - (10 * at_x + 5)) < 0.01);
            for (int c = 0; c < 3; c++) assert_true(mirrored[y][OUT - 1 - x][c] == out[y][x][c]);
        }
}

static void reductions_keep_enough_pixels(void **state)
{
    (void)state;
    assert_int_equal(crop_reduction((Crop){0, 0, 224, 224}, 224, 224), 1);
    assert_int_equal(crop_reduction((Crop){0, 0, 448, 447}, 224, 224), 1);
    assert_int_equal(crop_reduction((Crop){0, 0, 448, 448}, 224, 224), 2);
    assert_int_equal(crop_reduction((Crop){0, 0, 9000, 1000}, 224, 224), 4);
    assert_int_equal(crop_reduction((Crop){0, 0, 9000, 9000}, 224, 224), 8);
    Crop crop = crop_centre(512, 256, 224, 224);
    assert_true(fabs(crop.width - 224) < 1e-9 && fabs(crop.x - 144) < 1e-9
                && fabs(crop.y - 16) < 1e-9);
}

/* ---- folders of images --------------------------------------------------------------- */

#ifdef HAVE_JPEG

/* Red grows to the right, green downwards, from 0 to 255; blue is given. */
static void write_jpeg(const char *path, int width, int height, int blue, J_COLOR_SPACE space)
{
    struct jpeg_compress_struct encoder;
    struct jpeg_error_mgr       manager;
    FILE          *file = fopen(path, "wb");
    int            components = space == JCS_GRAYSCALE ? 1 : space == JCS_CMYK ? 4 : 3;
    unsigned char *row = calloc((size_t)width, 4);

    assert_non_null(file);
    encoder.err = jpeg_std_error(&manager);
    jpeg_create_compress(&encoder);
    jpeg_stdio_dest(&encoder, file);
    encoder.image_width = (unsigned)width;
    encoder.image_height = (unsigned)height;
    encoder.input_components = components;
    encoder.in_color_space = space;
    jpeg_set_defaults(&encoder);
    jpeg_set_quality(&encoder, 100, TRUE);
    jpeg_start_compress(&encoder, TRUE);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            unsigned char value[4] = {(unsigned char)(255 * x / width),
                                      (unsigned char)(255 * y / height), (unsigned char)blue, 255};
            memcpy(row + components * x, value, (size_t)components);
        }
        jpeg_write_scanlines(&encoder, &row, 1);
    }
    jpeg_finish_compress(&encoder);
    jpeg_destroy_compress(&encoder);
    fclose(file);
    free(row);
}

static char *path_in(const char *folder, const char *name)
{
    return format_text("%s/%s", folder, name);
}

static void make_folder(const char *folder, const char *name)
{
    char *path = path_in(folder, name);

    assert_int_equal(mkdir(path, 0700), 0);
    free(path);
}

static void put_jpeg(const char *folder, const char *name, int width, int height, int blue,
                     J_COLOR_SPACE space)
{
    char *path = path_in(folder, name);

    write_jpeg(path, width, height, blue, space);
    free(path);
}

/* Two classes, of which "B" comes before "a"; three images for training, two for validation. */
static char *images_folder(void)
{
    char *folder = temp_make(), *notes = path_in(folder, "train/a/notes.txt"),
         *file = path_in(folder, "train/list");

    make_folder(folder, "train");
    make_folder(folder, "train/a");
    make_folder(folder, "train/B");
    make_folder(folder, "val");
    make_folder(folder, "val/a");
    make_folder(folder, "val/B");
    put_jpeg(folder, "train/a/2.jpg", 90, 60, 200, JCS_RGB);
    put_jpeg(folder, "train/a/1.JPEG", 60, 90, 100, JCS_RGB);
    put_jpeg(folder, "train/B/x.jpg", 64, 64, 0, JCS_RGB);
    put_jpeg(folder, "val/a/1.jpg", 600, 300, 100, JCS_RGB);
    put_jpeg(folder, "val/B/1.jpg", 37, 45, 0, JCS_RGB);
    spill(notes, "not an image\n");
    spill(file, "not a class\n");
    free(notes);
    free(file);
    return folder;
}

static Data *open_images(const char *folder, DataPart part, int64_t skip_bad)
{
    Workload workload = workload_of(SIDE, 2);
    char    *source = format_text("images:%s", folder);
    Data    *data = open_ok(source, &workload, part, skip_bad);

    free(source);
    return data;
}

static bool near(double a, double b, double tolerance)
{
    return fabs(a - b) < tolerance;
}

static void classes_are_in_order_of_name(void **state)
{
    (void)state;
    char *folder = images_folder();
    Data *data = open_images(folder, DATA_TRAIN, 0);
    float out[PIXELS];
    int   blue[] = {0, 100, 200}, label[] = {0, 1, 1};

    assert_int_equal(data_count(data), 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(load_ok(data, i, 1, 1, out), label[i]);
        assert_true(near(255 * out[2], blue[i], 4));
    }
    data_free(data);
    temp_remove(folder);
}

/* The red and green of an output say where in the image it comes from. */
static void validation_is_the_centre(void **state)
{
    (void)state;
    char *folder = images_folder();
    Data *data = open_images(folder, DATA_VALIDATION, 0);
    int   size[2][2] = {{37, 45}, {600, 300}};
    float out[SIDE][SIDE][3];

    for (int i = 0; i < 2; i++) {
        assert_int_equal(load_ok(data, i, 1, 1, &out[0][0][0]), i);
        int    w = size[i][0], h = size[i][1];
        double side = (w < h ? w : h) * 7.0 / 8, left = (w - side) / 2, top = (h - side) / 2;
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) {
                assert_true(near(out[y][x][0], (left + (x + 0.5) * side / SIDE - 0.5) / w, 0.02));
                assert_true(near(out[y][x][1], (top + (y + 0.5) * side / SIDE - 0.5) / h, 0.02));
            }
    }
    data_free(data);
    temp_remove(folder);
}

/* A random crop is linear in x and y; mirrored ones fall to the right. */
static void training_is_cropped_and_mirrored(void **state)
{
    (void)state;
    char *folder = images_folder();
    Data *data = open_images(folder, DATA_TRAIN, 0);
    float out[SIDE][SIDE][3], again[SIDE][SIDE][3];
    int   mirrored = 0;
    double least = 1, most = 0;

    for (int64_t epoch = 0; epoch < 40; epoch++) {
        load_ok(data, 2, 9, epoch, &out[0][0][0]);
        load_ok(data, 2, 9, epoch, &again[0][0][0]);
        assert_memory_equal(out, again, sizeof out);
        double across = out[16][28][0] - out[16][3][0], down = out[28][16][1] - out[3][16][1];
        double part = fabs(across) * down * SIDE * SIDE / 625;
        mirrored += across < 0;
        least = part < least ? part : least;
        most = part > most ? part : most;
        assert_true(down > 0 && part > 0.06 && part < 1.05);
        for (int x = 3; x <= 28; x++)
            assert_true(near(out[10][x][0], out[16][3][0] + across * (x - 3) / 25, 0.03));
    }
    assert_int_in_range(mirrored, 8, 32);
    assert_true(most - least > 0.4);
    data_free(data);
    temp_remove(folder);
}

/* "augment": false: a training image is what it would be for validation, in every epoch. */
static void training_can_be_the_centre(void **state)
{
    (void)state;
    char    *folder = images_folder(), *source = format_text("images:%s", folder);
    Workload workload = workload_of(SIDE, 2);
    float    out[PIXELS], as_validation[PIXELS];

    put_jpeg(folder, "val/B/1.jpg", 64, 64, 0, JCS_RGB);         /* train/B/x.jpg */
    workload.unaugmented = true;
    Data *training = open_ok(source, &workload, DATA_TRAIN, 0),
         *validation = open_images(folder, DATA_VALIDATION, 0);
    load_ok(validation, 0, 1, 1, as_validation);
    for (int64_t epoch = 0; epoch < 5; epoch++) {
        load_ok(training, 0, 9, epoch, out);
        assert_memory_equal(out, as_validation, sizeof out);
    }
    data_free(training);
    data_free(validation);
    free(source);
    temp_remove(folder);
}

static void grey_and_cmyk_become_rgb(void **state)
{
    (void)state;
    char *folder = images_folder();
    float out[SIDE][SIDE][3];

    put_jpeg(folder, "val/a/1.jpg", 64, 64, 0, JCS_GRAYSCALE);
    put_jpeg(folder, "val/B/1.jpg", 64, 64, 77, JCS_CMYK);       /* inverted: red, green, blue, no
                                                                  * black */
    Data *data = open_images(folder, DATA_VALIDATION, 0);
    load_ok(data, 1, 0, 0, &out[0][0][0]);
    assert_true(out[5][7][0] == out[5][7][1] && out[5][7][1] == out[5][7][2]
                && out[5][27][0] > out[5][7][0] + 0.3f);
    load_ok(data, 0, 0, 0, &out[0][0][0]);
    assert_true(near(255 * out[9][9][2], 77, 6) && out[5][27][0] > out[5][7][0] + 0.3f);
    data_free(data);
    temp_remove(folder);
}

static void check_damaged(Data *data, const char *path, const void *bytes, size_t length,
                          const char *expected)
{
    float out[PIXELS];
    int   label;
    Error err = {""};
    char *start = format_text("sample 2: %s: ", path);

    spill_bytes(path, bytes, length);
    assert_int_equal(data_load(data, 2, 0, 0, out, &label, &err), -1);
    if (strncmp(err.text, start, strlen(start)) != 0 || !strstr(err.text, expected))
        fail_msg("\"%s\" is not \"%s ... %s\"", err.text, start, expected);
    free(start);
}

static void damaged_images_are_errors(void **state)
{
    (void)state;
    char  *folder = images_folder(), *path = path_in(folder, "train/a/2.jpg");
    Data  *data = open_images(folder, DATA_TRAIN, 0);
    size_t length;
    char  *bytes = slurp(path, &length);

    check_damaged(data, path, bytes, length - 200, "damaged JPEG: Premature end of JPEG file");
    check_damaged(data, path, bytes, 30, "damaged JPEG: ");
    check_damaged(data, path, "", 0, "damaged JPEG: Empty input file");
    check_damaged(data, path, "GIF89a, perhaps", 15, "damaged JPEG: Not a JPEG file");
    for (size_t at = length / 2; at < length / 2 + 40; at++) bytes[at] = (char)0xFF;
    check_damaged(data, path, bytes, length, "damaged JPEG: Corrupt JPEG data");
    data_free(data);

    float out[PIXELS];
    data = open_images(folder, DATA_TRAIN, 1);
    assert_int_equal(load_ok(data, 2, 0, 0, out), 0);        /* the first instead */
    assert_int_equal(data_skipped(data), 1);
    data_free(data);

    int   label;
    Error err = {""};
    data = open_images(folder, DATA_TRAIN, 0);
    assert_int_equal(remove(path), 0);
    assert_int_equal(data_load(data, 2, 0, 0, out, &label, &err), -1);
    char *expected = format_text("sample 2: %s: cannot open: No such file or directory", path);
    assert_string_equal(err.text, expected);
    data_free(data);
    free(expected);
    free(bytes);
    free(path);
    temp_remove(folder);
}

/* A pipe, which nobody writes to, would be waited for; a device or a folder is no image either. */
static void what_is_no_file_is_a_damaged_image(void **state)
{
    (void)state;
    char *folder = images_folder(), *path = path_in(folder, "train/a/2.jpg");
    char *expected = format_text("sample 2: %s: is no regular file", path);
    float out[PIXELS];
    int   label;

    for (int kind = 0; kind < 3; kind++) {
        Error err = {""};
        assert_int_equal(remove(path), 0);
        assert_int_equal(kind == 0   ? mkfifo(path, 0600)
                         : kind == 1 ? symlink("/dev/zero", path)
                                     : mkdir(path, 0700),
                         0);
        Data *data = open_images(folder, DATA_TRAIN, 0);
        assert_int_equal(data_load(data, 2, 0, 0, out, &label, &err), -1);
        assert_string_equal(err.text, expected);
        data_free(data);
        data = open_images(folder, DATA_TRAIN, 1);
        assert_int_equal(load_ok(data, 2, 0, 0, out), 0);
        assert_int_equal(data_skipped(data), 1);
        data_free(data);
    }
    free(expected);
    free(path);
    temp_remove(folder);
}

/* Any byte changed or missing gives an image or an error, never a crash. */
static void random_damage_does_no_harm(void **state)
{
    (void)state;
    Rng    rng = {test_seed("random_damage_does_no_harm", 1), 0};
    char  *folder = images_folder(), *path = path_in(folder, "train/a/2.jpg");
    Data  *data = open_images(folder, DATA_TRAIN, 0);
    size_t length;
    char  *bytes = slurp(path, &length);
    float  out[PIXELS];
    int    label, refused = 0;

    for (int round = 0; round < 400; round++) {
        char  *copy = malloc(length);
        Error  err = {""};
        size_t kept = round % 4 == 0 ? (size_t)rng_range(&rng, 0, (int64_t)length - 1) : length;
        memcpy(copy, bytes, length);
        /* The header's sizes in every other round: there a byte decides over memory. */
        int64_t reach = round % 2 ? (int64_t)length : 700;
        copy[rng_range(&rng, 0, reach - 1)] = (char)rng_range(&rng, 0, 255);
        spill_bytes(path, copy, kept);
        if (data_load(data, 2, (uint64_t)round, 0, out, &label, &err) != 0) refused++;
        else for (int i = 0; i < PIXELS; i++) assert_true(out[i] >= 0 && out[i] <= 1.001f);
        free(copy);
    }
    assert_true(refused > 100);
    data_free(data);
    free(bytes);
    free(path);
    temp_remove(folder);
}

static void folders_that_are_wrong_are_refused(void **state)
{
    (void)state;
    Workload workload = workload_of(SIDE, 2), grey = {.input = {1, 8, 8}, .deviation = {1}};
    char    *folder = images_folder();

    check_open("images", folder, &grey, DATA_TRAIN, 0,
               "data source images: has 3 channels, and the workload's input 1");
    check_open("images", "/nowhere", &workload, DATA_TRAIN, 0,
               "/train: cannot read the folder: No such file or directory");
    workload.classes = 3;
    check_open("images", folder, &workload, DATA_TRAIN, 0,
               "/train: has 2 classes, and the workload 3");
    workload.classes = 0;
    check_open("images", folder, &workload, DATA_TRAIN, 0, "");
    workload.classes = 2;
    char *b = format_text("%s/val/B", folder), *hidden = format_text("%s/val/.B", folder);
    assert_int_equal(rename(b, hidden), 0);
    check_open("images", folder, &workload, DATA_VALIDATION, 0,
               "/val: has no folder of class B, though train has");
    assert_int_equal(rename(hidden, b), 0);
    free(hidden);
    free(b);
    make_folder(folder, "val/C");
    check_open("images", folder, &workload, DATA_VALIDATION, 0,
               "/val/C: there is no such class for training");
    workload.classes = 3;
    make_folder(folder, "train/C");
    check_open("images", folder, &workload, DATA_TRAIN, 0, "/train/C: has no .jpg files");
    char *root = temp_make();
    make_folder(root, "train");
    check_open("images", root, &workload, DATA_TRAIN, 0,
               "/train: has no folders, expected one a class");
    temp_remove(root);
    temp_remove(folder);
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    char    *folder = images_folder(), *source = format_text("images:%s", folder);
    Workload workload = workload_of(SIDE, 2);
    float    out[PIXELS];
    long     n = 1;

    for (int done = 0; !done; n++) {
        Data *data = NULL;
        int   label;
        Error err = {""};
        alloc_fail_after(n);
        int rc = data_open(&data, source, &workload, DATA_VALIDATION, 5, &err);
        if (rc == 0) rc = data_load(data, 1, 0, 0, out, &label, &err);
        done = !alloc_fail_reached();
        alloc_fail_after(0);
        assert_int_equal(rc, done ? 0 : -1);
        if (!done)
            assert_true(error_is_no_memory(&err)
                        || strstr(err.text, "no memory for the state of "));
        data_free(data);
    }
    assert_true(n > 15);
    free(source);
    temp_remove(folder);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cifar_validation_is_as_in_the_file),
        cmocka_unit_test(cifar_training_is_moved_and_mirrored),
        cmocka_unit_test(cifar_training_can_be_as_in_the_file),
        cmocka_unit_test(cifar_files_that_are_wrong_are_refused),
        cmocka_unit_test(damaged_samples_are_skipped_if_allowed),
        cmocka_unit_test(when_all_are_damaged_there_is_an_error),
        cmocka_unit_test(the_loader_hands_errors_over),
        cmocka_unit_test(random_crops_lie_inside),
        cmocka_unit_test(resampling_keeps_a_plane),
        cmocka_unit_test(reductions_keep_enough_pixels),
#ifdef HAVE_JPEG
        cmocka_unit_test(classes_are_in_order_of_name),
        cmocka_unit_test(validation_is_the_centre),
        cmocka_unit_test(training_is_cropped_and_mirrored),
        cmocka_unit_test(training_can_be_the_centre),
        cmocka_unit_test(grey_and_cmyk_become_rgb),
        cmocka_unit_test(damaged_images_are_errors),
        cmocka_unit_test(what_is_no_file_is_a_damaged_image),
        cmocka_unit_test(random_damage_does_no_harm),
        cmocka_unit_test(folders_that_are_wrong_are_refused),
        cmocka_unit_test(running_out_of_memory_is_an_error),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
