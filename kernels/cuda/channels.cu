/* Sums a channel over pixels, and batch norm with its activation, which is made of them.
 *
 * A block has lanes x rows threads: a lane is N neighbouring channels, a row every rows-th pixel of
 * the block's part. Its sums (float, of at most a few thousand values around the tensor's first
 * pixel, so that a mean far from zero costs no digits) go to partial [part][2][channels]; a second
 * kernel adds parts in double, in their order.
 *
 *     xh = (x - mean) / sqrt(variance + e)        y = activation(g xh + b)
 *     d = dy where y was not cut, else 0          dg = sum d xh      db = sum d
 *     dx = g / sqrt(variance + e) (d - sum d / n - xh sum(d xh) / n)
 *
 * Passes over a tensor: 1 for each sum of x, 2 for apply; 2 for gradients, 3 for theirs. */
#include "kernels/cuda/launch.h"

#include <cmath>

enum { THREADS = 256, LANES_MAX = 32, EACH = 32, PARTS_MAX = 2048 };

/* How a block's threads lie over pixels and channels. */
struct Tiling {
    int      lanes, rows;    /* lanes: a power of 2 */
    int64_t  each;           /* pixels of a part */
    unsigned parts, tiles;   /* tiles: of lanes, over all channels */
    int      wide;
};

static Tiling tiling(int64_t pixels, int channels, bool wide)
{
    Tiling t = {};
    int    groups = wide ? channels / 4 : channels;

    t.wide = wide;
    for (t.lanes = 1; t.lanes < groups && t.lanes < LANES_MAX; ) t.lanes *= 2;
    t.rows = THREADS / t.lanes;
    t.each = (int64_t)t.rows * EACH;
    if (ceil_div(pixels, t.each) > PARTS_MAX)
        t.each = ceil_div(ceil_div(pixels, PARTS_MAX), t.rows) * t.rows;
    t.parts = (unsigned)ceil_div(pixels, t.each);
    t.tiles = (unsigned)ceil_div(groups, t.lanes);
    return t;
}

/* For passes that write no partials: as many parts as keep a GPU busy, of PIXELS a thread at
 * least. */
enum { PIXELS = 4, BLOCKS = 2048 };

static Tiling spread(int64_t pixels, int channels, bool wide)
{
    Tiling t = tiling(pixels, channels, wide);

    for (int each = EACH; each >= PIXELS; each /= 2) {
        t.each = (int64_t)t.rows * each;
        t.parts = (unsigned)ceil_div(pixels, t.each);
        if ((int64_t)t.parts * t.tiles >= BLOCKS) break;
    }
    return t;
}

int64_t kernel_channel_partials(int64_t pixels, int channels)
{
    unsigned narrow = tiling(pixels, channels, false).parts,
             wide = channels % 4 == 0 ? tiling(pixels, channels, true).parts : 0;

    return (int64_t)(narrow > wide ? narrow : wide) * 2 * channels;
}

/* What is summed: x; x and its square around origin; d and d times (x - mean). */
enum { SUM_PLAIN, SUM_SQUARES, SUM_GRADIENT };

template <int N, int KIND, class T>
static __device__ inline void take(const KernelNorm &n, const T *x, const T *dy, int64_t at,
                                   const Floats<N> *channel, Floats<N> &sum, Floats<N> &dot)
{
    Floats<N> a = load<N>(x + at), d = KIND == SUM_GRADIENT ? load<N>(dy + at) : a;

    for (int j = 0; j < N; j++) {
        float centred = a.v[j] - channel[0].v[j];

        if (KIND == SUM_PLAIN) sum.v[j] += a.v[j];
        if (KIND == SUM_SQUARES) { sum.v[j] += centred; dot.v[j] += centred * centred; }
        if (KIND == SUM_GRADIENT) {
            float v = a.v[j] * channel[1].v[j] + channel[2].v[j];

            if (v <= n.floor || v >= n.limit) d.v[j] = 0.0f;
            sum.v[j] += d.v[j];
            dot.v[j] += d.v[j] * centred;
        }
    }
}

/* Shared: [threads] Floats<N>. The rows of a lane are added in their order. */
template <int N>
static __device__ inline void add_rows(Floats<N> *shared, const Floats<N> &mine, int lanes,
                                       int rows, float *out, bool writes)
{
    __syncthreads();
    shared[threadIdx.x] = mine;
    __syncthreads();
    if (!writes) return;
    Floats<N> sum = mine;

    for (int r = 1; r < rows; r++)
        for (int j = 0; j < N; j++) sum.v[j] += shared[threadIdx.x + r * lanes].v[j];
    store<N>(out, sum);
}

/* The first stage: block (i, tile) sums each pixels from i * each on, N channels a thread. Threads
 * are lanes (channels) by rows (pixels); a row takes every rows-th pixel in order, so the result
 * does not depend on timing. partial: [parts][2][channels]; the second sum is not written for
 * SUM_PLAIN. */
template <int N, int KIND, class T>
static __global__ void sums(const KernelNorm n, const T *x, const T *dy, int lanes, int64_t each)
{
    SHARED(Floats<N>, shared);
    int       rows = (int)blockDim.x / lanes, row = (int)threadIdx.x / lanes;
    int       c = ((int)blockIdx.y * lanes + (int)threadIdx.x % lanes) * N;
    bool      mine = c < n.channels;
    int64_t   begin = blockIdx.x * each, end = begin + each < n.pixels ? begin + each : n.pixels;
    Floats<N> channel[3] = {all<N>(0.0f), all<N>(0.0f), all<N>(0.0f)}, sum = all<N>(0.0f),
              dot = all<N>(0.0f);

    if (mine && KIND == SUM_SQUARES) channel[0] = load<N>(x + c);
    if (mine && KIND == SUM_GRADIENT) {
        channel[0] = load<N>(n.own + NORM_MEAN * n.stride + c);
        channel[1] = load<N>(n.own + NORM_SCALE * n.stride + c);
        channel[2] = load<N>(n.own + NORM_SHIFT * n.stride + c);
    }
    if (mine) {
        #pragma unroll 4
        for (int64_t p = begin + row; p < end; p += rows)
            take<N, KIND>(n, x, dy, p * n.channels + c, channel, sum, dot);
    }
    float *out = n.partial + (int64_t)blockIdx.x * 2 * n.channels + c;

    add_rows<N>(shared, sum, lanes, rows, out, mine && row == 0);
    if (KIND != SUM_PLAIN)
        add_rows<N>(shared, dot, lanes, rows, out + n.channels, mine && row == 0);
}

template <int KIND, class T>
static void launch_sums(const KernelNorm &n, const Tiling &t, const T *x, const T *dy,
                        cudaStream_t stream)
{
    if (t.wide)
        LAUNCH((sums<4, KIND, T>), dim3(t.parts, t.tiles), THREADS, THREADS * sizeof(Floats<4>),
               stream, n, x, dy, t.lanes, t.each);
    else
        LAUNCH((sums<1, KIND, T>), dim3(t.parts, t.tiles), THREADS, THREADS * sizeof(Floats<1>),
               stream, n, x, dy, t.lanes, t.each);
}

static bool wide_norm(const KernelNorm *n, const void *a, const void *b, const void *c = nullptr)
{
    return n->channels % 4 == 0 && n->stride % 4 == 0 && aligned16(a, b, c)
           && aligned16(n->own, n->partial);
}

/* ---- the second stage: 32 channels a block, 32 threads each ---- */

enum { FINISH_CHANNELS = 32, FINISH_ROWS = 32 };

/* Two sums of a channel over parts, in *sum and *dot of the channel's first thread. */
static __device__ inline void add_parts(const float *partial, int parts, int channels, int c,
                                        double *shared, double *sum, double *dot)
{
    double s = 0.0, d = 0.0;

    for (int p = (int)threadIdx.x / FINISH_CHANNELS; c < channels && p < parts; p += FINISH_ROWS) {
        s += partial[(int64_t)p * 2 * channels + c];
        d += partial[((int64_t)p * 2 + 1) * channels + c];
    }
    *sum = sum_rows(s, shared, FINISH_CHANNELS, FINISH_ROWS);
    *dot = sum_rows(d, shared + FINISH_CHANNELS * FINISH_ROWS, FINISH_CHANNELS, FINISH_ROWS);
}

static __device__ inline void set_scale(const KernelNorm &n, int c, double mean, double variance)
{
    double inverse = 1.0 / sqrt(variance + n.eps), scale = n.weight[c] * inverse;

    n.own[NORM_MEAN * n.stride + c] = (float)mean;
    n.own[NORM_INVERSE * n.stride + c] = (float)inverse;
    n.own[NORM_SCALE * n.stride + c] = (float)scale;
    n.own[NORM_SHIFT * n.stride + c] = (float)(n.bias[c] - mean * scale);
}

/* Running statistics with momentum and the unbiased variance, as PyTorch. */
static __device__ inline void set_statistics(const KernelNorm &n, int c, double mean,
                                             double variance, double pixels)
{
    if (variance < 0.0) variance = 0.0;
    set_scale(n, c, mean, variance);
    n.mean[c] = (float)((1.0 - n.momentum) * n.mean[c] + n.momentum * mean);
    n.variance[c] =
        (float)((1.0 - n.momentum) * n.variance[c]
                + n.momentum * variance * (pixels > 1.0 ? pixels / (pixels - 1.0) : 1.0));
}

static __device__ inline void set_gradient(const KernelNorm &n, int c, double sum, double dot,
                                           double pixels)
{
    double inverse = n.own[NORM_INVERSE * n.stride + c];

    n.own[NORM_SUM * n.stride + c] = (float)(sum / pixels);
    n.own[NORM_DOT * n.stride + c] = (float)(dot * inverse * inverse / pixels);
}

/* The second stage: adds the parts of a channel in double and makes of them what KIND asks for:
 * out[] for SUM_PLAIN, else statistics or gradients of the batch norm. group: other devices have
 * rows too, so the sums go to n.sums, [2][channels] and the number of pixels, and are finished when
 * all are added. */
template <int KIND, class T>
static __global__ void finish(const KernelNorm n, const T *x, int parts, int group, float *out)
{
    SHARED(double, shared);
    int    c = (int)blockIdx.x * FINISH_CHANNELS + (int)threadIdx.x % FINISH_CHANNELS;
    double sum, dot, pixels = (double)n.pixels;

    add_parts(n.partial, parts, n.channels, c, shared, &sum, &dot);
    if (threadIdx.x >= FINISH_CHANNELS || c >= n.channels) return;
    if (KIND == SUM_PLAIN) out[c] = (float)sum;
    if (KIND == SUM_SQUARES && !group)
        set_statistics(n, c, load1(x + c) + sum / pixels,
                       dot / pixels - sum / pixels * (sum / pixels), pixels);
    if (KIND == SUM_GRADIENT) {
        n.bias_gradient[c] = (float)sum;
        n.weight_gradient[c] = (float)(dot * n.own[NORM_INVERSE * n.stride + c]);
        if (!group) set_gradient(n, c, sum, dot, pixels);
    }
    if (!group) return;
    if (KIND == SUM_SQUARES) {           /* around zero: origins differ over the group */
        double origin = load1(x + c);

        dot += 2.0 * origin * sum + pixels * origin * origin;
        sum += pixels * origin;
    }
    n.sums[c] = sum;
    n.sums[n.channels + c] = dot;
    if (c == 0) n.sums[2 * n.channels] = pixels;
}

template <int KIND, class T>
static void launch_finish(const KernelNorm &n, unsigned parts, const T *x, int group, float *out,
                          cudaStream_t stream)
{
    LAUNCH((finish<KIND, T>), (unsigned)ceil_div(n.channels, FINISH_CHANNELS),
           FINISH_CHANNELS * FINISH_ROWS, 2 * FINISH_CHANNELS * FINISH_ROWS * sizeof(double),
           stream, n, x, (int)parts, group, out);
}

/* Both stages. dy: of SUM_GRADIENT; out: of SUM_PLAIN. */
template <int KIND, class T>
static void sum_up(const KernelNorm &n, bool wide, const T *x, const T *dy, int group, float *out,
                   cudaStream_t stream)
{
    Tiling t = tiling(n.pixels, n.channels, wide);

    launch_sums<KIND>(n, t, x, dy, stream);
    launch_finish<KIND>(n, t.parts, x, group, out, stream);
}

int kernel_channel_sums(KernelType type, const void *x, int64_t pixels, int channels,
                        float *partial, float *out, cudaStream_t stream)
{
    KernelNorm n = {};

    n.pixels = pixels, n.channels = channels, n.partial = partial;
    OF_TYPE(type, sum_up<SUM_PLAIN>(n, channels % 4 == 0 && aligned16(x, partial), (const T *)x,
                                    (const T *)nullptr, 0, out, stream));
    return LAUNCHED;
}

int kernel_norm_statistics(const KernelNorm *n, const void *x, int group, cudaStream_t stream)
{
    OF_TYPE(n->type, sum_up<SUM_SQUARES>(*n, wide_norm(n, x, nullptr), (const T *)x,
                                         (const T *)nullptr, group, nullptr, stream));
    return LAUNCHED;
}

int kernel_norm_gradients(const KernelNorm *n, const void *x, const void *dy, int group,
                          cudaStream_t stream)
{
    OF_TYPE(n->type, sum_up<SUM_GRADIENT>(*n, wide_norm(n, x, dy), (const T *)x, (const T *)dy,
                                          group, nullptr, stream));
    return LAUNCHED;
}

/* ---- a thread a channel ---- */

static __global__ void set(const KernelNorm n)
{
    int c = (int)first_element();

    if (c >= n.channels) return;
    double pixels = n.sums[2 * n.channels], mean = n.sums[c] / pixels;

    set_statistics(n, c, mean, n.sums[n.channels + c] / pixels - mean * mean, pixels);
}

static __global__ void gradient_set(const KernelNorm n)
{
    int c = (int)first_element();

    if (c < n.channels)
        set_gradient(n, c, n.sums[c], n.sums[n.channels + c], n.sums[2 * n.channels]);
}

static __global__ void frozen(const KernelNorm n)
{
    int c = (int)first_element();

    if (c < n.channels) set_scale(n, c, n.mean[c], n.variance[c]);
}

int kernel_norm_set(const KernelNorm *n, cudaStream_t stream)
{
    LAUNCH(set, blocks_for(n->channels), 256, 0, stream, *n);
    return LAUNCHED;
}

int kernel_norm_gradient_set(const KernelNorm *n, cudaStream_t stream)
{
    LAUNCH(gradient_set, blocks_for(n->channels), 256, 0, stream, *n);
    return LAUNCHED;
}

int kernel_norm_frozen(const KernelNorm *n, cudaStream_t stream)
{
    LAUNCH(frozen, blocks_for(n->channels), 256, 0, stream, *n);
    return LAUNCHED;
}

/* ---- passes over pixels: a thread keeps its channels' numbers ---- */

/* PIXELS at a time are loaded before the first is stored: y may be x, so the compiler would wait
 * for each. */
template <int N, class T>
static __global__ void apply(const KernelNorm n, const T *x, T *y, int lanes, int64_t each)
{
    int     rows = (int)blockDim.x / lanes,
            c = ((int)blockIdx.y * lanes + (int)threadIdx.x % lanes) * N;
    int64_t begin = blockIdx.x * each, end = begin + each < n.pixels ? begin + each : n.pixels;

    if (c >= n.channels) return;
    Floats<N> scale = load<N>(n.own + NORM_SCALE * n.stride + c),
              shift = load<N>(n.own + NORM_SHIFT * n.stride + c);

    for (int64_t p = begin + (int)threadIdx.x / lanes; p < end; p += PIXELS * rows) {
        Floats<N> a[PIXELS];

        #pragma unroll
        for (int k = 0; k < PIXELS; k++) {
            if (p + k * rows >= end) break;
            a[k] = load<N>(x + (p + k * rows) * n.channels + c);
        }
        #pragma unroll
        for (int k = 0; k < PIXELS; k++) {
            if (p + k * rows >= end) break;
            for (int j = 0; j < N; j++)
                a[k].v[j] = cut(a[k].v[j] * scale.v[j] + shift.v[j], n.floor, n.limit);
            store<N>(y + (p + k * rows) * n.channels + c, a[k]);
        }
    }
}

/* dx of a batch norm with its activation, from the sums of the second stage. */
template <int N, class T>
static __global__ void gradient_apply(const KernelNorm n, const T *x, const T *dy, T *dx, int lanes,
                                      int64_t each)
{
    int     rows = (int)blockDim.x / lanes,
            c = ((int)blockIdx.y * lanes + (int)threadIdx.x % lanes) * N;
    int64_t begin = blockIdx.x * each, end = begin + each < n.pixels ? begin + each : n.pixels;

    if (c >= n.channels) return;
    Floats<N> scale = load<N>(n.own + NORM_SCALE * n.stride + c),
              shift = load<N>(n.own + NORM_SHIFT * n.stride + c),
              mean = load<N>(n.own + NORM_MEAN * n.stride + c),
              sum = load<N>(n.own + NORM_SUM * n.stride + c),
              dot = load<N>(n.own + NORM_DOT * n.stride + c);

    for (int64_t p = begin + (int)threadIdx.x / lanes; p < end; p += PIXELS * rows) {
        Floats<N> a[PIXELS], d[PIXELS];

        #pragma unroll
        for (int k = 0; k < PIXELS; k++) {
            if (p + k * rows >= end) break;
            a[k] = load<N>(x + (p + k * rows) * n.channels + c);
            d[k] = load<N>(dy + (p + k * rows) * n.channels + c);
        }
        #pragma unroll
        for (int k = 0; k < PIXELS; k++) {
            if (p + k * rows >= end) break;
            for (int j = 0; j < N; j++) {
                float v = a[k].v[j] * scale.v[j] + shift.v[j];

                if (v <= n.floor || v >= n.limit) d[k].v[j] = 0.0f;
                d[k].v[j] =
                    scale.v[j] * (d[k].v[j] - sum.v[j] - (a[k].v[j] - mean.v[j]) * dot.v[j]);
            }
            store<N>(dx + (p + k * rows) * n.channels + c, d[k]);
        }
    }
}

template <class T>
static void launch_apply(const KernelNorm &n, const Tiling &t, const T *x, T *y,
                         cudaStream_t stream)
{
    if (t.wide)
        LAUNCH((apply<4, T>), dim3(t.parts, t.tiles), THREADS, 0, stream, n, x, y, t.lanes, t.each);
    else
        LAUNCH((apply<1, T>), dim3(t.parts, t.tiles), THREADS, 0, stream, n, x, y, t.lanes, t.each);
}

int kernel_norm_apply(const KernelNorm *n, const void *x, void *y, cudaStream_t stream)
{
    Tiling t = spread(n->pixels, n->channels, wide_norm(n, x, y));

    OF_TYPE(n->type, launch_apply(*n, t, (const T *)x, (T *)y, stream));
    return LAUNCHED;
}

template <class T>
static void launch_gradient_apply(const KernelNorm &n, const Tiling &t, const T *x, const T *dy,
                                  T *dx, cudaStream_t stream)
{
    if (t.wide)
        LAUNCH((gradient_apply<4, T>), dim3(t.parts, t.tiles), THREADS, 0, stream, n, x, dy, dx,
               t.lanes, t.each);
    else
        LAUNCH((gradient_apply<1, T>), dim3(t.parts, t.tiles), THREADS, 0, stream, n, x, dy, dx,
               t.lanes, t.each);
}

int kernel_norm_gradient_apply(const KernelNorm *n, const void *x, const void *dy, void *dx,
                               cudaStream_t stream)
{
    Tiling t = spread(n->pixels, n->channels, wide_norm(n, x, dy, dx));

    OF_TYPE(n->type, launch_gradient_apply(*n, t, (const T *)x, (const T *)dy, (T *)dx, stream));
    return LAUNCHED;
}
