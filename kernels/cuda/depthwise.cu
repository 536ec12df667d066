/* Depthwise convolution, channels last.
 *
 * Forward, and the data gradient of stride 1, which is forward with the window turned around: a
 * thread makes STRIP neighbouring outputs of N channels, so that a row of the window reads each
 * input once:
 *
 *     outputs  o0 o1 o2 o3        kernel 3, stride 1: 6 inputs a row for 4 outputs
 *     inputs   i0 i1 i2 i3 i4 i5
 *
 * The block's weights stand in shared memory as [place of the window][lanes of N channels]; blocks
 * go over several strips, so that they are read seldom. Windows other than 3, 5, 7, strides above 2
 * and channels that are no multiple of 4 take loops of any length.
 *
 * Weight gradient: a thread sums one row of the window over rows of outputs; a block has a thread
 * for each row of the window, so that dy comes from the cache; its sums go to partial
 * [part][place][channels], and a second kernel adds parts in double, in their order. */
#include "kernels/cuda/launch.h"

#include <cmath>

/* Blocks take up to TURNS strips a thread, but so that there are BLOCKS of them, if there can
 * be. */
enum { THREADS = 256, LANES_MAX = 32, STRIP = 4, TURNS = 8, BLOCKS = 512 };

struct Grid {
    int      lanes, rows;    /* lanes: a power of 2 */
    unsigned blocks, tiles;
};

static Grid grid_of(int64_t work, int channels, int wide, int lanes_max)
{
    Grid g = {};
    int  groups = wide ? channels / 4 : channels;

    for (g.lanes = 1; g.lanes < groups && g.lanes < lanes_max; ) g.lanes *= 2;
    g.rows = THREADS / g.lanes;
    g.tiles = (unsigned)ceil_div(groups, g.lanes);
    int64_t turns = work * g.tiles / ((int64_t)g.rows * BLOCKS);
    turns = turns < 1 ? 1 : turns > TURNS ? (int64_t)TURNS : turns;
    g.blocks = (unsigned)ceil_div(work, g.rows * turns);
    return g;
}

template <int N>
static __device__ inline void multiply_add(Floats<N> &sum, const Floats<N> &a, const Floats<N> &b)
{
    for (int j = 0; j < N; j++) sum.v[j] += a.v[j] * b.v[j];
}

struct Finish { const float *bias; float floor, limit; };

template <int N, class T>
static __device__ inline void put(T *y, Floats<N> sum, const Finish &f, int c)
{
    Floats<N> bias = f.bias ? load<N>(f.bias + c) : all<N>(0.0f);

    for (int j = 0; j < N; j++) sum.v[j] = cut(sum.v[j] + bias.v[j], f.floor, f.limit);
    store<N>(y, sum);
}

/* shared[place][lane] of the channels from first on; flip: the window turned around. */
template <int N>
static __device__ inline void share_weights(float *shared, const float *weight, int first,
                                            int channels, int lanes, int places, bool flip)
{
    for (int i = (int)threadIdx.x; i < places * lanes * N; i += (int)blockDim.x) {
        int place = i % places, lane = i / places;       /* neighbours read neighbours */

        shared[place * lanes * N + lane] =
            first + lane < channels
                ? weight[(int64_t)(first + lane) * places + (flip ? places - 1 - place : place)]
                : 0.0f;
    }
    __syncthreads();
}

/* A thread makes STRIP neighbouring outputs of N channels, and goes on to the next strip of its
 * block. */
template <int K, int S, class T>
static __global__ void strips(const KernelDepthwise d, const T *x, const float *weight,
                              const Finish f, T *y, bool flip, int lanes)
{
    SHARED(float, shared);
    const int N = 4, SPAN = (STRIP - 1) * S + K;
    int       lane = (int)threadIdx.x % lanes, rows = (int)blockDim.x / lanes;
    int       first = (int)blockIdx.y * lanes * N, c = first + lane * N;
    int       across = (d.out_width + STRIP - 1) / STRIP;
    int64_t   strips = d.rows * d.out_height * across;

    share_weights<N>(shared, weight, first, d.channels, lanes, K * K, flip);
    if (c >= d.channels) return;
    for (int64_t s = blockIdx.x * (int64_t)rows + (int)threadIdx.x / lanes; s < strips;
         s += (int64_t)gridDim.x * rows) {
        int64_t   line = s / across;     /* row and oy */
        int       ox = (int)(s % across) * STRIP, oy = (int)(line % d.out_height),
            ix = ox * S - d.padding;
        Floats<N> sum[STRIP];

        #pragma unroll
        for (int t = 0; t < STRIP; t++) sum[t] = all<N>(0.0f);
        for (int ky = 0; ky < K; ky++) {
            int       iy = oy * S - d.padding + ky;
            const T  *in =
                x + ((line / d.out_height * d.in_height + iy) * d.in_width + ix) * d.channels + c;
            Floats<N> w[K], value[SPAN];

            if (iy < 0 || iy >= d.in_height) continue;
            #pragma unroll
            for (int i = 0; i < SPAN; i++)
                value[i] = ix + i >= 0 && ix + i < d.in_width
                               ? load<N>(in + (int64_t)i * d.channels)
                               : all<N>(0.0f);
            #pragma unroll
            for (int k = 0; k < K; k++) w[k] = load<N>(shared + ((ky * K + k) * lanes + lane) * N);
            #pragma unroll
            for (int t = 0; t < STRIP; t++)
                #pragma unroll
                for (int k = 0; k < K; k++) multiply_add<N>(sum[t], value[t * S + k], w[k]);
        }
        #pragma unroll
        for (int t = 0; t < STRIP; t++)
            if (ox + t < d.out_width)
                put<N>(y + (line * d.out_width + ox + t) * d.channels + c, sum[t], f, c);
    }
}

/* One output, any window. */
template <int N, class T>
static __global__ void any(const KernelDepthwise d, const T *x, const float *weight, const Finish f,
                           T *y, int lanes)
{
    SHARED(float, shared);
    int     k = d.kernel, lane = (int)threadIdx.x % lanes, rows = (int)blockDim.x / lanes;
    int     first = (int)blockIdx.y * lanes * N, c = first + lane * N;
    int64_t pixels = d.rows * d.out_height * d.out_width;

    share_weights<N>(shared, weight, first, d.channels, lanes, k * k, false);
    if (c >= d.channels) return;
    for (int64_t o = blockIdx.x * (int64_t)rows + (int)threadIdx.x / lanes; o < pixels;
         o += (int64_t)gridDim.x * rows) {
        int64_t   row = o / d.out_width / d.out_height;
        int       oy = (int)(o / d.out_width % d.out_height), ox = (int)(o % d.out_width);
        Floats<N> sum = all<N>(0.0f);

        for (int ky = 0; ky < k; ky++)
            for (int kx = 0; kx < k; kx++) {
                int iy = oy * d.stride - d.padding + ky, ix = ox * d.stride - d.padding + kx;

                if (iy < 0 || ix < 0 || iy >= d.in_height || ix >= d.in_width) continue;
                multiply_add<N>(
                    sum, load<N>(x + ((row * d.in_height + iy) * d.in_width + ix) * d.channels + c),
                    load<N>(shared + ((ky * k + kx) * lanes + lane) * N));
            }
        put<N>(y + o * d.channels + c, sum, f, c);
    }
}

/* One input: the outputs that it went into, every stride-th place of the window. */
template <int N, class T>
static __global__ void any_data(const KernelDepthwise d, const T *dy, const float *weight, T *dx,
                                int lanes)
{
    SHARED(float, shared);
    int     k = d.kernel, lane = (int)threadIdx.x % lanes, rows = (int)blockDim.x / lanes;
    int     first = (int)blockIdx.y * lanes * N, c = first + lane * N;
    int64_t pixels = d.rows * d.in_height * d.in_width;

    share_weights<N>(shared, weight, first, d.channels, lanes, k * k, false);
    if (c >= d.channels) return;
    for (int64_t i = blockIdx.x * (int64_t)rows + (int)threadIdx.x / lanes; i < pixels;
         i += (int64_t)gridDim.x * rows) {
        int64_t   row = i / d.in_width / d.in_height;
        int       py = (int)(i / d.in_width % d.in_height) + d.padding,
            px = (int)(i % d.in_width) + d.padding;
        Floats<N> sum = all<N>(0.0f);

        for (int ky = py % d.stride; ky < k && ky <= py; ky += d.stride)
            for (int kx = px % d.stride; kx < k && kx <= px; kx += d.stride) {
                int oy = (py - ky) / d.stride, ox = (px - kx) / d.stride;

                if (oy >= d.out_height || ox >= d.out_width) continue;
                multiply_add<N>(
                    sum,
                    load<N>(dy + ((row * d.out_height + oy) * d.out_width + ox) * d.channels + c),
                    load<N>(shared + ((ky * k + kx) * lanes + lane) * N));
            }
        store<N>(dx + i * d.channels + c, sum);
    }
}

static bool has_strips(const KernelDepthwise *d, bool wide)
{
    return wide && (d->kernel == 3 || d->kernel == 5 || d->kernel == 7)
           && (d->stride == 1 || d->stride == 2);
}

/* Does what follows with K and S, the kernel and stride of what has_strips(). */
#define OF_WINDOW(d, ...)                                        \
    do {                                                         \
        if ((d)->kernel == 3) OF_STRIDE(d, 3, __VA_ARGS__);      \
        else if ((d)->kernel == 5) OF_STRIDE(d, 5, __VA_ARGS__); \
        else OF_STRIDE(d, 7, __VA_ARGS__);                       \
    } while (0)
#define OF_STRIDE(d, kernel_size, ...)      \
    do {                                    \
        const int K = kernel_size;          \
        if ((d)->stride == 1) {             \
            const int S = 1;                \
            __VA_ARGS__;                    \
        } else {                            \
            const int S = 2;                \
            __VA_ARGS__;                    \
        }                                   \
    } while (0)

/* Lanes for which the window's weights fit in 48 KB. */
static int lanes_max(const KernelDepthwise *d, bool wide)
{
    int lanes = LANES_MAX;

    while (lanes > 1
           && (int64_t)d->kernel * d->kernel * lanes * (wide ? 4 : 1) * (int)sizeof(float)
                  > 48 * 1024)
        lanes /= 2;
    return lanes;
}

/* strips() for the windows and strides that it is made for; blocks of as many lanes as shared
 * memory holds weights of. */
template <class T>
static void launch_strips(const KernelDepthwise *d, const T *x, const float *weight,
                          const Finish &f, T *y, bool flip, cudaStream_t stream)
{
    Grid   g = grid_of(d->rows * d->out_height * ceil_div(d->out_width, STRIP), d->channels, true,
                       lanes_max(d, true));
    dim3   blocks(g.blocks, g.tiles);
    size_t bytes = (size_t)(d->kernel * d->kernel * g.lanes * 4) * sizeof(float);

    OF_WINDOW(d, LAUNCH((strips<K, S, T>), blocks, THREADS, bytes, stream, *d, x, weight, f, y,
                        flip, g.lanes));
}

/* Of loops of any length: how pixels are spread, and the bytes that the window's weights take. */
static Grid grid_of_any(const KernelDepthwise *d, int64_t pixels, bool wide, size_t *bytes)
{
    Grid g = grid_of(pixels, d->channels, wide, lanes_max(d, wide));

    *bytes = (size_t)(d->kernel * d->kernel * g.lanes * (wide ? 4 : 1)) * sizeof(float);
    return g;
}

template <class T>
static void forward(const KernelDepthwise *d, const T *x, const float *weight, const Finish &f,
                    T *y, cudaStream_t stream)
{
    bool   wide = d->channels % 4 == 0 && aligned16(x, y, f.bias);
    size_t bytes;

    if (has_strips(d, wide)) {
        launch_strips(d, x, weight, f, y, false, stream);
        return;
    }
    Grid g = grid_of_any(d, d->rows * d->out_height * d->out_width, wide, &bytes);

    if (wide)
        LAUNCH((any<4, T>), dim3(g.blocks, g.tiles), THREADS, bytes, stream, *d, x, weight, f, y,
               g.lanes);
    else
        LAUNCH((any<1, T>), dim3(g.blocks, g.tiles), THREADS, bytes, stream, *d, x, weight, f, y,
               g.lanes);
}

int kernel_depthwise(const KernelDepthwise *d, const void *x, const float *weight,
                     const float *bias, void *y, float floor, float limit, cudaStream_t stream)
{
    Finish f = {bias, floor, limit};

    OF_TYPE(d->type, forward(d, (const T *)x, weight, f, (T *)y, stream));
    return LAUNCHED;
}

/* dx: [rows][in_height][in_width][channels]. At stride 1 it is the same convolution of dy with the
 * kernel turned round and padding k - 1 - p, so it runs as one; other strides gather each input's
 * outputs one by one. */
template <class T>
static void data_gradient(const KernelDepthwise *d, const T *dy, const float *weight, T *dx,
                          cudaStream_t stream)
{
    bool   wide = d->channels % 4 == 0 && aligned16(dy, dx);
    size_t bytes;

    if (has_strips(d, wide) && d->stride == 1 && d->padding < d->kernel) {
        KernelDepthwise turned = *d;

        turned.in_height = d->out_height, turned.in_width = d->out_width;
        turned.out_height = d->in_height, turned.out_width = d->in_width;
        turned.padding = d->kernel - 1 - d->padding;
        launch_strips(&turned, dy, weight, Finish{nullptr, -INFINITY, INFINITY}, dx, true, stream);
        return;
    }
    Grid g = grid_of_any(d, d->rows * d->in_height * d->in_width, wide, &bytes);

    if (wide)
        LAUNCH((any_data<4, T>), dim3(g.blocks, g.tiles), THREADS, bytes, stream, *d, dy, weight,
               dx, g.lanes);
    else
        LAUNCH((any_data<1, T>), dim3(g.blocks, g.tiles), THREADS, bytes, stream, *d, dy, weight,
               dx, g.lanes);
}

int kernel_depthwise_data(const KernelDepthwise *d, const void *dy, const float *weight, void *dx,
                          cudaStream_t stream)
{
    OF_TYPE(d->type, data_gradient(d, (const T *)dy, weight, (T *)dx, stream));
    return LAUNCHED;
}

/* ---- weight gradient ---- */

enum { GRADIENT_LANES = 8, PARTS_MAX = 256, LINES = 4 };

/* Rows of outputs that a block sums, and how many blocks that makes. */
struct Parts { int rows; int64_t each; unsigned parts; };

static Parts parts_of(const KernelDepthwise *d)
{
    Parts   p = {};
    int64_t lines = d->rows * d->out_height;

    p.rows = THREADS / (GRADIENT_LANES * (d->kernel > 0 && d->kernel <= 7 ? d->kernel : 7));
    p.each = (int64_t)p.rows * LINES;
    if (ceil_div(lines, p.each) > PARTS_MAX) p.each = ceil_div(lines, PARTS_MAX);
    p.parts = (unsigned)ceil_div(lines, p.each);
    return p;
}

int64_t kernel_depthwise_partials(const KernelDepthwise *d)
{
    return (int64_t)parts_of(d).parts * d->kernel * d->kernel * d->channels;
}

/* One line of outputs against a line of inputs: sum[k] += x[ox S - padding + k] dy[ox] */
template <int K, int S, class T>
static __device__ inline void line_gradient(const KernelDepthwise &d, const T *x, const T *dy,
                                            Floats<4> *sum)
{
    const int SPAN = (STRIP - 1) * S + K;

    for (int ox = 0; ox < d.out_width; ox += STRIP) {
        int       ix = ox * S - d.padding;
        Floats<4> g[STRIP], value[SPAN];

        #pragma unroll
        for (int t = 0; t < STRIP; t++)
            g[t] =
                ox + t < d.out_width ? load<4>(dy + (int64_t)(ox + t) * d.channels) : all<4>(0.0f);
        #pragma unroll
        for (int i = 0; i < SPAN; i++)
            value[i] = ix + i >= 0 && ix + i < d.in_width
                           ? load<4>(x + (int64_t)(ix + i) * d.channels)
                           : all<4>(0.0f);
        #pragma unroll
        for (int t = 0; t < STRIP; t++)
            #pragma unroll
            for (int k = 0; k < K; k++) multiply_add<4>(sum[k], value[t * S + k], g[t]);
    }
}

/* threads: [rows of outputs][K rows of the window][GRADIENT_LANES] */
template <int K, int S, class T>
static __global__ void weights(const KernelDepthwise d, const T *x, const T *dy, float *partial,
                               int64_t each)
{
    SHARED(Floats<4>, shared);
    int       lane = (int)threadIdx.x % GRADIENT_LANES, ky = (int)threadIdx.x / GRADIENT_LANES % K;
    int       row = (int)threadIdx.x / (GRADIENT_LANES * K),
        rows = (int)blockDim.x / (GRADIENT_LANES * K);
    int       c = ((int)blockIdx.y * GRADIENT_LANES + lane) * 4;
    int64_t   lines = d.rows * d.out_height, begin = blockIdx.x * each,
            end = begin + each < lines ? begin + each : lines;
    Floats<4> sum[K];

    #pragma unroll
    for (int k = 0; k < K; k++) sum[k] = all<4>(0.0f);
    for (int64_t line = begin + row; c < d.channels && line < end; line += rows) {
        int iy = (int)(line % d.out_height) * S - d.padding + ky;

        if (iy < 0 || iy >= d.in_height) continue;
        line_gradient<K, S>(
            d, x + (line / d.out_height * d.in_height + iy) * d.in_width * d.channels + c,
            dy + line * d.out_width * d.channels + c, sum);
    }
    #pragma unroll
    for (int k = 0; k < K; k++) {
        shared[threadIdx.x] = sum[k];
        __syncthreads();
        for (int r = 1; row == 0 && r < rows; r++)
            for (int j = 0; j < 4; j++)
                sum[k].v[j] += shared[threadIdx.x + r * GRADIENT_LANES * K].v[j];
        __syncthreads();
        if (row == 0 && c < d.channels)
            store<4>(partial + ((int64_t)blockIdx.x * K * K + ky * K + k) * d.channels + c, sum[k]);
    }
}

/* Any window and channels: a block sums one place of the window for LANES_MAX channels. */
template <class T>
static __global__ void any_weights(const KernelDepthwise d, const T *x, const T *dy, float *partial,
                                   int64_t each)
{
    SHARED(float, shared);
    int     c = (int)blockIdx.y * LANES_MAX + (int)threadIdx.x % LANES_MAX,
            rows = (int)blockDim.x / LANES_MAX;
    int     ky = (int)blockIdx.z / d.kernel, kx = (int)blockIdx.z % d.kernel;
    int64_t lines = d.rows * d.out_height, begin = blockIdx.x * each,
            end = begin + each < lines ? begin + each : lines;
    float   sum = 0.0f;

    for (int64_t o = begin * d.out_width + (int)threadIdx.x / LANES_MAX;
         c < d.channels && o < end * d.out_width; o += rows) {
        int64_t line = o / d.out_width;
        int     iy = (int)(line % d.out_height) * d.stride - d.padding + ky,
            ix = (int)(o % d.out_width) * d.stride - d.padding + kx;

        if (iy < 0 || ix < 0 || iy >= d.in_height || ix >= d.in_width) continue;
        sum +=
            load1(x + ((line / d.out_height * d.in_height + iy) * d.in_width + ix) * d.channels + c)
            * load1(dy + o * d.channels + c);
    }
    shared[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x >= LANES_MAX || c >= d.channels) return;
    for (int r = 1; r < rows; r++) sum += shared[threadIdx.x + r * LANES_MAX];
    partial[((int64_t)blockIdx.x * d.kernel * d.kernel + blockIdx.z) * d.channels + c] = sum;
}

enum { FINISH_ELEMENTS = 32, FINISH_ROWS = 8 };

/* 32 elements a block, 8 threads each: a thread adds every 8th part, the first of an element adds
 * theirs. */
static __global__ void add_parts(const float *partial, int parts, int places, int channels,
                                 float *gradient)
{
    SHARED(double, shared);
    int     x = (int)threadIdx.x % FINISH_ELEMENTS, row = (int)threadIdx.x / FINISH_ELEMENTS;
    /* [places][channels] */
    int64_t i = blockIdx.x * (int64_t)FINISH_ELEMENTS + x, count = (int64_t)places * channels;
    double  sum = 0.0;

    for (int p = row; i < count && p < parts; p += FINISH_ROWS) sum += partial[p * count + i];
    sum = sum_rows(sum, shared, FINISH_ELEMENTS, FINISH_ROWS);
    if (row > 0 || i >= count) return;
    gradient[i % channels * places + i / channels] = (float)sum;
}

/* weights() for the windows and strides that it is made for, a block a part of the rows of
 * outputs. */
template <class T>
static void launch_weights(const KernelDepthwise *d, const Parts &p, const T *x, const T *dy,
                           float *partial, cudaStream_t stream)
{
    unsigned threads = (unsigned)(p.rows * d->kernel * GRADIENT_LANES);
    size_t   bytes = threads * sizeof(Floats<4>);
    dim3     blocks(p.parts, (unsigned)ceil_div(d->channels, 4 * GRADIENT_LANES));

    if (!has_strips(d, d->channels % 4 == 0 && aligned16(x, dy, partial)))
        LAUNCH((any_weights<T>),
               dim3(p.parts, (unsigned)ceil_div(d->channels, LANES_MAX),
                    (unsigned)(d->kernel * d->kernel)),
               THREADS, THREADS * sizeof(float), stream, *d, x, dy, partial, p.each);
    else
        OF_WINDOW(d, LAUNCH((weights<K, S, T>), blocks, threads, bytes, stream, *d, x, dy, partial,
                            p.each));
}

int kernel_depthwise_weights(const KernelDepthwise *d, const void *x, const void *dy,
                             float *partial, float *gradient, cudaStream_t stream)
{
    Parts p = parts_of(d);
    int   places = d->kernel * d->kernel;

    OF_TYPE(d->type, launch_weights(d, p, (const T *)x, (const T *)dy, partial, stream));
    LAUNCH(add_parts, (unsigned)ceil_div((int64_t)places * d->channels, FINISH_ELEMENTS),
           FINISH_ELEMENTS * FINISH_ROWS, FINISH_ELEMENTS * FINISH_ROWS * sizeof(double), stream,
           partial, (int)p.parts, places, d->channels, gradient);
    return LAUNCHED;
}
