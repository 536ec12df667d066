/* This file alone is compiled with fused multiply-add, as oneDNN's convolutions are: its results
 * are the same on every machine that has it. */
#include "kernels/cpu/depthwise_loops.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) \
    && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FUSED __attribute__((target_clones("avx512f", "fma", "default")))
static bool has_32_registers(void) { return __builtin_cpu_supports("avx512f"); }
#else
#define FUSED
static bool has_32_registers(void) { return false; }
#endif

#define ALWAYS static inline __attribute__((always_inline))

ALWAYS void load(SliceLanes *to, const float *from, int lanes)
{
    if (lanes == SLICE_LANES) { *to = *(const SliceLanes *)from; return; }
    *to = (SliceLanes){0};
    memcpy(to, from, (size_t)lanes * sizeof *from);
}

FUSED void slice_load(SliceLanes *tile, int rows, int pitch, int top, int left,
                      const MapSlice *from)
{
    int height = from->height < rows - top ? from->height : rows - top,
        width = from->width < pitch - left ? from->width : pitch - left;

    for (int y = 0; y < height; y++) {
        const float *x = from->at + (int64_t)y * from->width * from->channels;
        SliceLanes  *to = tile + (int64_t)(top + y) * pitch + left;

        for (int i = 0; i < width; i++) load(&to[i], x + i * from->channels, from->lanes);
    }
}

/* ---- sums over windows ---- */

/* LINES: output rows from what is computed to what is fetched for it: a store to what no cache has
 * would hold up all behind it. */
enum { WINDOWS = 8, LINES = 2 };

/* Of count neighbours in a row, whose sums stay in registers. */
ALWAYS void windows(const SlicePlaces *to, float *at, const SliceLanes *tile, int pitch, int stride,
                    const SliceLanes *weights, int rows, int columns, int lanes, int count)
{
    SliceLanes sum[WINDOWS];

#pragma GCC unroll 8
    for (int i = 0; i < count; i++) {
        sum[i] = (SliceLanes){0};
        __builtin_prefetch(at + i * to->column + LINES * to->row, 1);
    }
    for (int ky = 0; ky < rows; ky++)
        for (int kx = 0; kx < columns; kx++) {
            const SliceLanes *x = tile + (int64_t)ky * pitch + kx;
            SliceLanes        w = *weights++;
#pragma GCC unroll 8
            for (int i = 0; i < count; i++) sum[i] += x[i * stride] * w;
        }
#pragma GCC unroll 8
    for (int i = 0; i < count; i++)
        if (lanes == SLICE_LANES) *(SliceLanes *)(at + i * to->column) = sum[i];
        else memcpy(at + i * to->column, &sum[i], (size_t)lanes * sizeof *at);
}

ALWAYS void all_windows(const SlicePlaces *to, const SliceLanes *tile, int pitch, int stride,
                        const SliceLanes *weights, int rows, int columns, int lanes)
{
    for (int y = 0; y < to->height; y++) {
        const SliceLanes *from = tile + (int64_t)y * stride * pitch;
        float            *at = to->at + y * to->row;
        int               x = 0;

        for (; x + WINDOWS <= to->width; x += WINDOWS)
            windows(to, at + x * to->column, from + x * stride, pitch, stride, weights, rows,
                    columns, lanes, WINDOWS);
        for (; x + WINDOWS / 2 <= to->width; x += WINDOWS / 2)
            windows(to, at + x * to->column, from + x * stride, pitch, stride, weights, rows,
                    columns, lanes, WINDOWS / 2);
        for (; x < to->width; x++)
            windows(to, at + x * to->column, from + x * stride, pitch, stride, weights, rows,
                    columns, lanes, 1);
    }
}

FUSED void slice_windows(const SlicePlaces *to, const SliceLanes *tile, int pitch, int stride,
                         const SliceLanes *weights, int rows, int columns)
{
    if (to->lanes == SLICE_LANES && stride == 1)
        all_windows(to, tile, pitch, 1, weights, rows, columns, SLICE_LANES);
    else if (to->lanes == SLICE_LANES)
        all_windows(to, tile, pitch, 2, weights, rows, columns, SLICE_LANES);
    else
        all_windows(to, tile, pitch, stride, weights, rows, columns, to->lanes);
}

/* ---- the weights' gradient ---- */

/* rows rows of the window at a time, as many as there are registers for their sums. */
ALWAYS void window_rows(SliceLanes *total, const SliceLanes *tile, int pitch, int kernel,
                        int stride, int rows, const SliceLanes *dy, int height, int width,
                        int dy_pitch)
{
    SliceLanes sum[4 * SLICE_WINDOW];

#pragma GCC unroll 28
    for (int k = 0; k < rows * kernel; k++) sum[k] = (SliceLanes){0};
    for (int oy = 0; oy < height; oy++) {
        const SliceLanes *x = tile + (int64_t)oy * stride * pitch, *d = dy + (int64_t)oy * dy_pitch;

        for (int ox = 0; ox < width; ox++, x += stride, d++) {
            SliceLanes v = *d;
#pragma GCC unroll 7
            for (int ky = 0; ky < rows; ky++)
#pragma GCC unroll 7
                for (int kx = 0; kx < kernel; kx++)
                    sum[ky * kernel + kx] += v * x[ky * pitch + kx];
        }
    }
#pragma GCC unroll 28
    for (int k = 0; k < rows * kernel; k++) total[k] += sum[k];
}

/* All of the window, in parts of at most rows rows. */
ALWAYS void window_gradient(SliceLanes *sum, const SliceLanes *tile, const SliceWindow *window,
                            int kernel, int rows, const SliceLanes *dy, int height, int width,
                            int dy_pitch)
{
    int ky = 0;

    for (; ky + rows <= kernel; ky += rows)
        window_rows(sum + ky * kernel, tile + ky * window->pitch, window->pitch, kernel,
                    window->stride, rows, dy, height, width, dy_pitch);
    if (rows > 1 && kernel % rows > 0)
        window_rows(sum + ky * kernel, tile + ky * window->pitch, window->pitch, kernel,
                    window->stride, kernel % rows, dy, height, width, dy_pitch);
}

FUSED static void gradient_wide(SliceLanes *sum, const SliceLanes *tile, const SliceWindow *window,
                                const SliceLanes *dy, int height, int width, int dy_pitch)
{
    switch (window->kernel) {
    case 3: window_gradient(sum, tile, window, 3, 3, dy, height, width, dy_pitch); break;
    case 5: window_gradient(sum, tile, window, 5, 5, dy, height, width, dy_pitch); break;
    default: window_gradient(sum, tile, window, 7, 4, dy, height, width, dy_pitch);
    }
}

FUSED static void gradient_narrow(SliceLanes *sum, const SliceLanes *tile,
                                  const SliceWindow *window, const SliceLanes *dy, int height,
                                  int width, int dy_pitch)
{
    switch (window->kernel) {
    case 3: window_gradient(sum, tile, window, 3, 1, dy, height, width, dy_pitch); break;
    case 5: window_gradient(sum, tile, window, 5, 1, dy, height, width, dy_pitch); break;
    default: window_gradient(sum, tile, window, 7, 1, dy, height, width, dy_pitch);
    }
}

void slice_weights(SliceLanes *sum, const SliceLanes *tile, const SliceWindow *window,
                   const SliceLanes *dy, int height, int width, int dy_pitch)
{
    (has_32_registers() ? gradient_wide : gradient_narrow)(sum, tile, window, dy, height, width,
                                                           dy_pitch);
}
