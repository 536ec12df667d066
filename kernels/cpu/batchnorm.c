/* Batch norm with its activation. In training, statistics are of the rows of the call, or of a
 * group's: sums (in double) pass through the group's NetSum.
 *
 *     xh = (x - mean) / sqrt(variance + e)        y = activation(g xh + b)        e: the layer's
 *                                                 eps
 *     d = dy where y was not cut, else 0          dg = sum d xh      db = sum d
 *     dx = g / sqrt(variance + e) (d - sum d / n - xh sum(d xh) / n)
 *
 * Whether y was cut is computed again from x, so nothing but x is kept. Sums of a channel
 * are floats over a tile of pixels and doubles over tiles, around the tensor's first pixel, so
 * that a mean far from zero costs no digits. */
#include "kernels/cpu/batchnorm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TILE = 64 };          /* pixels */

/* own: [OWN_COUNT][stride]: per channel. */
enum { SCALE, SHIFT, MEAN, INVERSE, GRADIENT_SUM, GRADIENT_DOT, OWN_COUNT };

static int64_t stride_of(const Operator *op) { return cpu_round(op->spec.out.channels); }
static float  *own(const Operator *op, int which) { return op->own + which * stride_of(op); }

/* sums: [threads][2 channels] doubles, and 2 channels + 1 that the group sums; tile: floats of
 * each thread behind own. */
static int make(Operator *op, Error *err)
{
    int64_t channels = op->spec.out.channels, threads = op->device->threads;

    op->own = cpu_alloc((size_t)((OWN_COUNT + 2 * threads) * stride_of(op)));
    op->sums = calloc((size_t)((threads + 1) * 2 * channels + 1), sizeof *op->sums);
    return op->own && op->sums ? 0 : error_no_memory(err);
}

static int64_t pixels_of(const Operator *op, const OperatorCall *call)
{
    return call->rows * op->spec.out.height * op->spec.out.width;
}

static float limit_of(const Operator *op)
{
    return op->spec.activation == ACTIVATION_RELU6 ? 6.0f : INFINITY;
}

static float floor_of(const Operator *op)
{
    return op->spec.activation == ACTIVATION_NONE ? -INFINITY : 0.0f;
}

/* ---- passes over pixels: [pixels][channels] ---- */

/* Channels whose sums stay in registers over a tile. */
enum { LANES = 16 };
typedef float NormLanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

#define ALWAYS static inline __attribute__((always_inline))

/* Of LANES channels. */
ALWAYS void sum_lanes(const float *restrict x, const float *restrict origin, int64_t pixels,
                      int64_t channels, float *restrict sum, float *restrict squares)
{
    NormLanes total = {0}, square = {0}, first = *(const NormLanes *)origin;

    for (int64_t p = 0; p < pixels; p++, x += channels) {
        NormLanes d = *(const NormLanes *)x - first;

        total += d;
        square += d * d;
    }
    *(NormLanes *)sum = total;
    *(NormLanes *)squares = square;
}

VECTORISED static void sum_tile(const float *restrict x, const float *restrict origin,
                                int64_t pixels, int64_t channels, float *restrict sum,
                                float *restrict squares)
{
    int64_t whole = channels / LANES * LANES;

    for (int64_t c = 0; c < whole; c += LANES)
        sum_lanes(x + c, origin + c, pixels, channels, sum + c, squares + c);
    for (int64_t p = 0; p < pixels; p++, x += channels)
        for (int64_t c = whole; c < channels; c++) {
            float d = x[c] - origin[c];

            sum[c] += d;
            squares[c] += d * d;
        }
}

VECTORISED static void normalise(const float *x, float *y, int64_t pixels, int64_t channels,
                                 const float *restrict scale, const float *restrict shift,
                                 float least, float most)
{
    for (int64_t p = 0; p < pixels; p++, x += channels, y += channels)
        #pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            float v = x[c] * scale[c] + shift[c];

            v = v < least ? least : v;
            y[c] = v > most ? most : v;
        }
}

/* y of a pixel's channels, and what comes back through it; of a constant count, y in registers. */
ALWAYS void pixel_back(const float *restrict x, const float *restrict dy, float *restrict y,
                       float *restrict d, float *restrict moment, int64_t count,
                       const float *restrict own, int64_t stride, float least, float most)
{
#pragma omp simd
    for (int64_t c = 0; c < count; c++) {
        float v = x[c] * own[SCALE * stride + c] + own[SHIFT * stride + c];

        d[c] = (v <= least) | (v >= most) ? 0.0f : dy[c];
        moment[c] = d[c] * (x[c] - own[MEAN * stride + c]);
        v = v < least ? least : v;
        y[c] = v > most ? most : v;
    }
}

/* GROUP: pixels whose channels are gone through together, so that memory is read nearly in order;
 * AHEAD: numbers from what is read to what is fetched for later, which the next part reads too. */
enum { GROUP = 4, AHEAD = 1 << 11 };

ALWAYS void fetch(const float *x, const float *dy)
{
    __builtin_prefetch(x + AHEAD);
    __builtin_prefetch(dy + AHEAD);
}

/* Adds LANES channels of at most GROUP pixels. y: what forward made of x, NULL: not wanted. */
ALWAYS void gradient_lanes(const float *restrict x, const float *restrict dy, float *restrict y,
                           int64_t pixels, int64_t channels, const float *restrict own,
                           int64_t stride, float least, float most, float *restrict sum,
                           float *restrict dot)
{
    NormLanes total = *(NormLanes *)sum, moments = *(NormLanes *)dot;
    float     d[LANES], moment[LANES], unwanted[LANES] = {0};

#pragma GCC unroll 4
    for (int64_t p = 0; p < pixels; p++, x += channels, dy += channels) {
        fetch(x, dy);
        pixel_back(x, dy, y ? y + p * channels : unwanted, d, moment, LANES, own, stride, least,
                   most);
        total += *(NormLanes *)d;
        moments += *(NormLanes *)moment;
    }
    *(NormLanes *)sum = total;
    *(NormLanes *)dot = moments;
}

/* All whole LANES of at most GROUP pixels. */
ALWAYS void gradient_group(const float *restrict x, const float *restrict dy, float *restrict y,
                           int64_t pixels, int64_t channels, const float *restrict own,
                           int64_t stride, float least, float most, float *restrict sum,
                           float *restrict dot)
{
    for (int64_t c = 0; c + LANES <= channels; c += LANES)
        gradient_lanes(x + c, dy + c, y ? y + c : NULL, pixels, channels, own + c, stride, least,
                       most, sum + c, dot + c);
}

/* The channels behind whole LANES, of all pixels. */
ALWAYS void gradient_rest(const float *restrict x, const float *restrict dy, float *restrict y,
                          int64_t pixels, int64_t channels, const float *restrict own,
                          int64_t stride, float least, float most, float *restrict sum,
                          float *restrict dot)
{
    int64_t whole = channels / LANES * LANES, rest = channels - whole;
    float   d[LANES], moment[LANES], unwanted[LANES] = {0};

    for (int64_t p = 0; p < pixels && rest > 0; p++) {
        int64_t at = p * channels + whole;

        pixel_back(x + at, dy + at, y ? y + at : unwanted, d, moment, rest, own + whole, stride,
                   least, most);
        for (int64_t c = 0; c < rest; c++) {
            sum[whole + c] += d[c];
            dot[whole + c] += moment[c];
        }
    }
}

/* sum and dot, which are 0 before, of a tile; y: NULL, or where what forward gave is written. */
VECTORISED static void gradient_tile(const float *restrict x, const float *restrict dy,
                                     float *restrict y, int64_t pixels, int64_t channels,
                                     const float *restrict own, int64_t stride, float least,
                                     float most, float *restrict sum, float *restrict dot)
{
    int64_t p = 0;

    for (; p + GROUP <= pixels; p += GROUP) {
        int64_t at = p * channels;

        if (y)
            gradient_group(x + at, dy + at, y + at, GROUP, channels, own, stride, least, most, sum,
                           dot);
        else
            gradient_group(x + at, dy + at, NULL, GROUP, channels, own, stride, least, most, sum,
                           dot);
    }
    if (p < pixels)
        gradient_group(x + p * channels, dy + p * channels, y ? y + p * channels : NULL, pixels - p,
                       channels, own, stride, least, most, sum, dot);
    gradient_rest(x, dy, y, pixels, channels, own, stride, least, most, sum, dot);
}

/* dx = scale (d - sum - (x - mean) dot), sum and dot already divided by n */
ALWAYS void pixel_apply(const float *x, const float *dy, float *dx, int64_t count,
                        const float *restrict own, int64_t stride, float least, float most)
{
    const float *scale = own + SCALE * stride, *shift = own + SHIFT * stride,
                *mean = own + MEAN * stride, *sum = own + GRADIENT_SUM * stride,
                *dot = own + GRADIENT_DOT * stride;

#pragma omp simd
    for (int64_t c = 0; c < count; c++) {
        float v = x[c] * scale[c] + shift[c];
        float d = (v <= least) | (v >= most) ? 0.0f : dy[c];

        dx[c] = scale[c] * (d - sum[c] - (x[c] - mean[c]) * dot[c]);
    }
}

VECTORISED static void gradient_apply(const float *x, const float *dy, float *dx, int64_t pixels,
                                      int64_t channels, const float *restrict own, int64_t stride,
                                      float least, float most)
{
    for (int64_t p = 0; p < pixels; p++, x += channels, dy += channels, dx += channels) {
        int64_t c = 0;

        for (; c + LANES <= channels; c += LANES) {
            fetch(x + c, dy + c);
            pixel_apply(x + c, dy + c, dx + c, LANES, own + c, stride, least, most);
        }
        if (c < channels)
            pixel_apply(x + c, dy + c, dx + c, channels - c, own + c, stride, least, most);
    }
}

/* ---- sums over all pixels ---- */

typedef struct {
    const Operator     *op;
    const OperatorCall *call;
    const float        *origin;          /* [channels]; NULL: backward */
} NormPass;

/* Adds pixels begin to end to the thread's sums: of x less the first pixel's and of its squares, or
 * backward of the gradients. In float within a tile, in double over tiles. */
static void sum_part(void *context, int64_t begin, int64_t end, int thread)
{
    const NormPass     *pass = context;
    const Operator *op = pass->op;
    int64_t         channels = op->spec.out.channels, stride = stride_of(op);
    float          *tile = op->own + (OWN_COUNT + 2 * thread) * stride;
    double         *sums = op->sums + thread * 2 * channels;

    for (int64_t p = begin; p < end; p += TILE) {
        int64_t      pixels = end - p < TILE ? end - p : TILE;
        const float *x = pass->call->x + p * channels;
        float       *y = pass->call->y ? pass->call->y + p * channels : NULL;

        memset(tile, 0, (size_t)(2 * stride) * sizeof *tile);
        if (!pass->origin)
            gradient_tile(x, pass->call->dy + p * channels, y, pixels, channels, op->own, stride,
                          floor_of(op), limit_of(op), tile, tile + stride);
        else
            sum_tile(x, pass->origin, pixels, channels, tile, tile + stride);
        for (int64_t c = 0; c < channels; c++) {
            sums[c] += tile[c];
            sums[channels + c] += tile[stride + c];
        }
    }
}

void norm_begin(Operator *op)
{
    int64_t channels = op->spec.out.channels, threads = op->device->threads;

    memset(op->sums, 0, (size_t)((threads + 1) * 2 * channels + 1) * sizeof *op->sums);
}

void norm_add(Operator *op, const OperatorCall *part, const float *origin)
{
    NormPass pass = {op, part, origin};

    cpu_parallel(op->device, pixels_of(op, part), TILE, sum_part, &pass);
}

/* [2 channels] sums of all threads, in their order. */
static double *sum_all(Operator *op)
{
    int64_t channels = op->spec.out.channels, threads = op->device->threads;
    double *all = op->sums + threads * 2 * channels;

    for (int64_t t = 0; t < threads; t++)
        for (int64_t c = 0; c < 2 * channels; c++) all[c] += op->sums[t * 2 * channels + c];
    return all;
}

/* ---- forward ---- */

static void normalise_part(void *context, int64_t begin, int64_t end, int thread)
{
    const NormPass     *pass = context;
    const Operator *op = pass->op;
    int64_t         channels = op->spec.out.channels;

    (void)thread;
    normalise(pass->call->x + begin * channels, pass->call->y + begin * channels, end - begin,
              channels, own(op, SCALE), own(op, SHIFT), floor_of(op), limit_of(op));
}

static void set_channel(Operator *op, int64_t c, double mean, double variance)
{
    double inverse = 1.0 / sqrt(variance + op->spec.norm_eps),
           scale = op->p.norm_weight[c] * inverse;

    own(op, MEAN)[c] = (float)mean;
    own(op, INVERSE)[c] = (float)inverse;
    own(op, SCALE)[c] = (float)scale;
    own(op, SHIFT)[c] = (float)(op->p.norm_bias[c] - mean * scale);
}

int norm_statistics(Operator *op, const OperatorCall *call, Error *err)
{
    int64_t channels = op->spec.out.channels;
    double *all = sum_all(op), local = (double)pixels_of(op, call), n = local,
           momentum = op->spec.norm_momentum;

    if (call->group.sum) {
        for (int64_t c = 0; c < channels; c++) {         /* around zero: origins differ over the
                                                          * group */
            double origin = call->x[c], sum = all[c];

            all[c] = sum + local * origin;
            all[channels + c] += 2.0 * origin * sum + local * origin * origin;
        }
        all[2 * channels] = local;
        if (call->group.sum(call->group.context, all, (int)(2 * channels + 1), err) != 0) return -1;
        n = all[2 * channels];
    }
    for (int64_t c = 0; c < channels; c++) {
        double centre = all[c] / n, variance = all[channels + c] / n - centre * centre;
        double mean = call->group.sum ? centre : centre + call->x[c];

        if (variance < 0.0) variance = 0.0;
        set_channel(op, c, mean, variance);
        op->p.norm_mean[c] = (float)((1.0 - momentum) * op->p.norm_mean[c] + momentum * mean);
        op->p.norm_variance[c] = (float)((1.0 - momentum) * op->p.norm_variance[c] +
                                         momentum * variance * (n > 1.0 ? n / (n - 1.0) : 1.0));
    }
    return 0;
}

void norm_apply(Operator *op, const OperatorCall *part)
{
    NormPass pass = {op, part, NULL};

    cpu_parallel(op->device, pixels_of(op, part), TILE, normalise_part, &pass);
}

static int forward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    (void)plan;
    if (op->spec.frozen) {
        for (int64_t c = 0; op->stale && c < op->spec.out.channels; c++)
            set_channel(op, c, op->p.norm_mean[c], op->p.norm_variance[c]);
        op->stale = false;
    } else {
        norm_begin(op);
        norm_add(op, call, call->x);
        if (norm_statistics(op, call, err) != 0) return -1;
    }
    norm_apply(op, call);
    return 0;
}

/* ---- backward ---- */

static void gradient_part(void *context, int64_t begin, int64_t end, int thread)
{
    const NormPass         *pass = context;
    const Operator     *op = pass->op;
    const OperatorCall *call = pass->call;
    int64_t             channels = op->spec.out.channels, at = begin * channels;

    (void)thread;
    gradient_apply(call->x + at, call->dy + at, call->dx + at, end - begin, channels, op->own,
                   stride_of(op), floor_of(op), limit_of(op));
}

void norm_gradient_add(Operator *op, const OperatorCall *part) { norm_add(op, part, NULL); }

void norm_gradient_apply(Operator *op, const OperatorCall *part)
{
    NormPass pass = {op, part, NULL};

    cpu_parallel(op->device, pixels_of(op, part), TILE, gradient_part, &pass);
}

/* The weights' gradients are of these rows: a group sums gradients later. */
int norm_gradient_sums(Operator *op, const OperatorCall *call, bool data, Error *err)
{
    int64_t channels = op->spec.out.channels;
    double *all = sum_all(op), n = (double)pixels_of(op, call);

    for (int64_t c = 0; c < channels; c++) {
        op->p.bias_gradient[c] = (float)all[c];
        op->p.weight_gradient[c] = (float)(all[channels + c] * own(op, INVERSE)[c]);
    }
    if (!data) return 0;
    if (call->group.sum) {
        all[2 * channels] = n;
        if (call->group.sum(call->group.context, all, (int)(2 * channels + 1), err) != 0) return -1;
        n = all[2 * channels];
    }
    for (int64_t c = 0; c < channels; c++) {
        double inverse = own(op, INVERSE)[c];

        own(op, GRADIENT_SUM)[c] = (float)(all[c] / n);
        own(op, GRADIENT_DOT)[c] = (float)(all[channels + c] * inverse * inverse / n);
    }
    return 0;
}

static int backward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    OperatorCall sums = *call;

    (void)plan;
    sums.y = NULL;                       /* is there already */
    norm_begin(op);
    norm_gradient_add(op, &sums);
    if (norm_gradient_sums(op, call, call->dx, err) != 0) return -1;
    if (call->dx) norm_gradient_apply(op, call);
    return 0;
}

const CpuKind cpu_batchnorm = {
    .layer = LAYER_BATCHNORM, .make = make, .forward = forward, .backward = backward};
