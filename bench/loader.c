/* What a sample of a photograph costs a core to load: JPEG files of 500x375 (about what ImageNet's
 * are, 100 KiB) read, decoded, cropped and resized to 3x224x224 as for training. The content is
 * made up: smooth waves and enough noise for that size. */
#include "bench/bench.h"

#include <math.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"
#include "executor/data/data.h"

#ifdef HAVE_JPEG
#include <jpeglib.h>

enum { WIDTH = 500, HEIGHT = 375, FILES = 32, ROUNDS = 9 };

static void paint(unsigned char *row, int y, int number)
{
    for (int x = 0; x < WIDTH; x++)
        for (int c = 0; c < 3; c++) {
            double value =
                128
                + 40 * (rng_uniform(1, (uint64_t)number, (uint64_t)y, (uint64_t)(3 * x + c)) - 0.5)
                      * 2;
            for (int wave = 1; wave <= 4; wave++)
                value += 15 * sin(number + 0.02 * wave * x * (c + 1) + 0.017 * (5 - wave) * y);
            row[3 * x + c] = (unsigned char)fmin(255, fmax(0, value));
        }
}

/* Returns the file's bytes. */
static long write_jpeg(const char *path, int number)
{
    struct jpeg_compress_struct encoder;
    struct jpeg_error_mgr       errors;
    unsigned char               pixels[3 * WIDTH];
    JSAMPROW                    row = pixels;
    FILE                       *file = fopen(path, "wb");

    if (!file) { fprintf(stderr, "bench: cannot write %s\n", path); exit(1); }
    encoder.err = jpeg_std_error(&errors);
    jpeg_create_compress(&encoder);
    jpeg_stdio_dest(&encoder, file);
    encoder.image_width = WIDTH;
    encoder.image_height = HEIGHT;
    encoder.input_components = 3;
    encoder.in_color_space = JCS_RGB;
    jpeg_set_defaults(&encoder);
    jpeg_set_quality(&encoder, 88, TRUE);
    jpeg_start_compress(&encoder, TRUE);
    for (int y = 0; y < HEIGHT; y++) {
        paint(pixels, y, number);
        jpeg_write_scanlines(&encoder, &row, 1);
    }
    jpeg_finish_compress(&encoder);
    jpeg_destroy_compress(&encoder);
    long bytes = ftell(file);
    fclose(file);
    return bytes;
}

static void measure(const char *source, long bytes)
{
    Workload    *workload;
    Data        *data;
    BenchSamples ms = {0};
    Error        err = {""};
    int          label;

    bench_require(workload_read(&workload, "nas-imagenet", &err), &err);
    workload->classes = 0;
    bench_require(data_open(&data, source, workload, DATA_TRAIN, 0, &err), &err);
    float *out = bench_alloc((size_t)data_elements(data), sizeof *out);
    for (int round = 0; round < ROUNDS; round++) {
        double start = bench_now();
        for (int i = 0; i < FILES; i++)
            bench_require(data_load(data, i, 1, round, out, &label, &err), &err);
        bench_add(&ms, (bench_now() - start) / FILES * 1e3);
    }
    printf("| a photograph, KiB | ms a sample, median | least |\n|---|---|---|\n| %.0f | %.2f | "
           "%.2f |\n",
           (double)bytes / FILES / 1024, bench_quantile(&ms, 0.5), bench_quantile(&ms, 0));
    free(out);
    data_free(data);
    workload_free(workload);
}

int main(void)
{
    char folder[] = "/tmp/pipebd-loader-XXXXXX", path[128], source[128];
    long bytes = 0;

    if (!mkdtemp(folder)) { fprintf(stderr, "bench: no folder in /tmp\n"); return 1; }
    snprintf(path, sizeof path, "%s/train", folder);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/train/class", folder);
    mkdir(path, 0700);
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "%s/train/class/%03d.jpg", folder, i);
        bytes += write_jpeg(path, i);
    }
    snprintf(source, sizeof source, "images:%s", folder);
    measure(source, bytes);
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "%s/train/class/%03d.jpg", folder, i);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/train/class", folder);
    rmdir(path);
    snprintf(path, sizeof path, "%s/train", folder);
    rmdir(path);
    rmdir(folder);
    return 0;
}
#else
int main(void)
{
    printf("No libjpeg in this build.\n");
    return 0;
}
#endif
