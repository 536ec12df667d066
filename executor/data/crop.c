#include "executor/data/crop.h"

#include <math.h>
#include <stdlib.h>

enum { TRIES = 10, DRAWS_PER_TRY = 4, CHANNELS = 3 };

static double min(double a, double b) { return a < b ? a : b; }
static double max(double a, double b) { return a > b ? a : b; }

/* ---- rectangles ----------------------------------------------------------------- */

Crop crop_random(int width, int height, CropDraw *draw, void *context)
{
    double area = (double)width * height, widest = 4.0 / 3;

    for (int n = 0; n < TRIES * DRAWS_PER_TRY; n += DRAWS_PER_TRY) {
        double part = area * (0.08 + 0.92 * draw(context, n));
        double aspect = exp((2 * draw(context, n + 1) - 1) * log(widest));
        int    w = (int)lround(sqrt(part * aspect)), h = (int)lround(sqrt(part / aspect));
        if (w < 1 || h < 1 || w > width || h > height) continue;
        return (Crop){floor(draw(context, n + 2) * (width - w + 1)),
                      floor(draw(context, n + 3) * (height - h + 1)), w, h};
    }
    double w = min(width, height * widest), h = min(height, width * widest);
    return (Crop){(width - w) / 2, (height - h) / 2, w, h};
}

Crop crop_centre(int width, int height, int out_width, int out_height)
{
    double scale = 8.0 / 7 * max((double)out_width / width, (double)out_height / height);
    double w = out_width / scale, h = out_height / scale;

    return (Crop){(width - w) / 2, (height - h) / 2, w, h};
}

int crop_reduction(Crop crop, int out_width, int out_height)
{
    int reduced = 8;

    while (
        reduced > 1
        && (crop.width < (double)reduced * out_width || crop.height < (double)reduced * out_height))
        reduced /= 2;
    return reduced;
}

/* ---- resampling ------------------------------------------------------------------- */

/* The pixels that make an output, and their shares, which sum to 1. */
typedef struct {
    int    first, count;
    float *share;            /* [count] */
} Taps;

/* Taps of every output along one axis: of a crop start..start+length of size pixels. */
static int make_taps(Taps **out, int outputs, int size, double start, double length, Error *err)
{
    double scale = length / outputs, radius = max(scale, 1);
    int    most = (int)ceil(2 * radius) + 2;
    Taps  *taps = malloc((size_t)outputs * (sizeof *taps + (size_t)most * sizeof(float)));

    *out = taps;
    if (!taps) return error_no_memory(err);
    float *share = (float *)(taps + outputs);
    for (int i = 0; i < outputs; i++, share += most) {
        double centre = start + (i + 0.5) * scale;               /* pixel p covers p..p+1 */
        int    first = (int)max(0, floor(centre - radius)),
            last = (int)min(size - 1, ceil(centre + radius));
        double sum = 0;
        if (first > last) first = last = (int)max(0, min(size - 1, centre));
        taps[i] = (Taps){first, 0, share};
        for (int p = first; p <= last && taps[i].count < most; p++) {
            double weight = max(0, 1 - fabs(p + 0.5 - centre) / radius);
            share[taps[i].count++] = (float)weight;
            sum += weight;
        }
        for (int t = 0; t < taps[i].count; t++)
            share[t] = sum > 0 ? (float)(share[t] / sum) : 1.0f / (float)taps[i].count;
    }
    return 0;
}

/* A row of pixels to a row of outputs. */
static void resample_row(float *out, const Taps *taps, int outputs, const unsigned char *row,
                         bool mirror)
{
    for (int i = 0; i < outputs; i++) {
        float sum[CHANNELS] = {0};
        for (int t = 0; t < taps[i].count; t++)
            for (int c = 0; c < CHANNELS; c++)
                sum[c] += taps[i].share[t] * (float)row[CHANNELS * (taps[i].first + t) + c];
        float *to = out + CHANNELS * (mirror ? outputs - 1 - i : i);
        for (int c = 0; c < CHANNELS; c++) to[c] = sum[c] / 255;
    }
}

/* Sums of rows, which have a line of n floats each in rows, starting with the pixel row base. */
static void resample_column(float *out, const Taps *taps, int outputs, const float *rows, int base,
                            int n)
{
    for (int i = 0; i < outputs; i++, out += n) {
        for (int j = 0; j < n; j++) out[j] = 0;
        for (int t = 0; t < taps[i].count; t++) {
            const float *row = rows + (size_t)(taps[i].first + t - base) * (size_t)n;
            for (int j = 0; j < n; j++) out[j] += taps[i].share[t] * row[j];
        }
    }
}

int crop_resample(float *out, int out_width, int out_height, const unsigned char *pixels, int width,
                  int height, Crop crop, bool mirror, Error *err)
{
    int    rc = -1, n = CHANNELS * out_width;
    Taps  *across = NULL, *down = NULL;
    float *rows = NULL;

    if (make_taps(&across, out_width, width, crop.x, crop.width, err) != 0) goto done;
    if (make_taps(&down, out_height, height, crop.y, crop.height, err) != 0) goto done;
    int base = down[0].first, end = down[out_height - 1].first + down[out_height - 1].count;
    rows = malloc((size_t)(end - base) * (size_t)n * sizeof *rows);
    if (!rows) { error_no_memory(err); goto done; }
    for (int y = base; y < end; y++)
        resample_row(rows + (size_t)(y - base) * (size_t)n, across, out_width,
                     pixels + (size_t)y * (size_t)width * CHANNELS, mirror);
    resample_column(out, down, out_height, rows, base, n);
    rc = 0;
done:
    free(rows);
    free(down);
    free(across);
    return rc;
}
