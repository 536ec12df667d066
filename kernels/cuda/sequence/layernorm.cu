/* LayerNorm and RMSNorm, a warp a place: its threads read neighbouring channels. The weights'
 * gradients take two stages (parts.h).
 *
 *     h = (x - mean) inverse      y = weight h + bias      g = dy weight
 *     dx = inverse (g - mean(g) - h mean(g h))             RMSNorm: mean = 0, without mean(g)
 *
 * Passes over memory, of x alone where a place stays in the cache: forward 2 numbers an element,
 * data 3, weights 2. Truth: tests/slow_sequence.c. */
#include "kernels/cuda/sequence/parts.h"
#include "kernels/cuda/sequence/sequence.h"

#include <cmath>

template <int N, class T> static __global__ void forward(const KernelLayerNorm n, const T *x, T *y)
{
    int lane = (int)threadIdx.x % WARP * N;

    for (int64_t p = first_vector(); p < n.places; p += next_vector()) {
        const T *in = x + p * n.channels;
        T       *out = y + p * n.channels;
        float    mean = 0.0f, sum = 0.0f;

        for (int c = lane; n.centred && c < n.channels; c += WARP * N) {
            Floats<N> a = load<N>(in + c);
            for (int j = 0; j < N; j++) mean += a.v[j];
        }
        if (n.centred) mean = warp_sum(mean) / (float)n.channels;
        for (int c = lane; c < n.channels; c += WARP * N) {
            Floats<N> a = load<N>(in + c);
            for (int j = 0; j < N; j++) sum += (a.v[j] - mean) * (a.v[j] - mean);
        }
        float inverse = 1.0f / sqrtf(warp_sum(sum) / (float)n.channels + n.eps);

        for (int c = lane; c < n.channels; c += WARP * N) {
            Floats<N> a = load<N>(in + c), w = load<N>(n.weight + c),
                      b = n.bias ? load<N>(n.bias + c) : all<N>(0.0f);
            for (int j = 0; j < N; j++) a.v[j] = (a.v[j] - mean) * inverse * w.v[j] + b.v[j];
            store<N>(out + c, a);
        }
        if (n.kept && lane == 0) n.kept[2 * p] = mean, n.kept[2 * p + 1] = inverse;
    }
}

/* dx of a layer norm, or an RMS norm where it is not centred, a warp a place: with g = dy w and xh
 * = (x - mean) inverse it is inverse (g - mean(g) - xh mean(g xh)), the first mean only of a layer
 * norm. */
template <int N, class T>
static __global__ void data(const KernelLayerNorm n, const T *x, const T *dy, T *dx)
{
    int lane = (int)threadIdx.x % WARP * N;

    for (int64_t p = first_vector(); p < n.places; p += next_vector()) {
        int64_t at = p * n.channels;
        float   mean = n.kept[2 * p], inverse = n.kept[2 * p + 1], sum = 0.0f, dot = 0.0f;

        for (int c = lane; c < n.channels; c += WARP * N) {
            Floats<N> a = load<N>(x + at + c), d = load<N>(dy + at + c), w = load<N>(n.weight + c);
            for (int j = 0; j < N; j++) {
                float g = d.v[j] * w.v[j];

                sum += g;
                dot += g * (a.v[j] - mean) * inverse;
            }
        }
        sum = n.centred ? warp_sum(sum) / (float)n.channels : 0.0f;
        dot = warp_sum(dot) / (float)n.channels;
        for (int c = lane; c < n.channels; c += WARP * N) {
            Floats<N> a = load<N>(x + at + c), d = load<N>(dy + at + c), w = load<N>(n.weight + c);
            for (int j = 0; j < N; j++)
                d.v[j] = inverse * (d.v[j] * w.v[j] - sum - (a.v[j] - mean) * inverse * dot);
            store<N>(dx + at + c, d);
        }
    }
}

/* ---- gradients of weights ---- */

int64_t kernel_layernorm_partials(int64_t places, int channels)
{
    return parts_of(places) * 2 * channels;
}

/* A block is a part of the places (x) and WARP x N channels (y). partial: [part][2][channels] */
template <int N, class T>
static __global__ void weights(const KernelLayerNorm n, const T *x, const T *dy, float *partial)
{
    SHARED(Floats<N>, shared);
    int       warp = (int)threadIdx.x / WARP,
              c = ((int)blockIdx.y * WARP + (int)threadIdx.x % WARP) * N;
    int64_t   begin = n.places * blockIdx.x / gridDim.x,
              end = n.places * (blockIdx.x + 1) / gridDim.x;
    bool      mine = c < n.channels;
    Floats<N> dot = all<N>(0.0f), sum = all<N>(0.0f);

    for (int64_t p = begin + warp; mine && p < end; p += THREADS / WARP) {
        Floats<N> a = load<N>(x + p * n.channels + c), d = load<N>(dy + p * n.channels + c);
        float     mean = n.kept[2 * p], inverse = n.kept[2 * p + 1];

        for (int j = 0; j < N; j++) {
            dot.v[j] += d.v[j] * (a.v[j] - mean) * inverse;
            sum.v[j] += d.v[j];
        }
    }
    shared[threadIdx.x] = dot;
    shared[THREADS + threadIdx.x] = sum;
    __syncthreads();
    if (warp > 0 || !mine) return;
    for (int r = 1; r < THREADS / WARP; r++)
        for (int j = 0; j < N; j++) {
            dot.v[j] += shared[r * WARP + threadIdx.x].v[j];
            sum.v[j] += shared[THREADS + r * WARP + threadIdx.x].v[j];
        }
    store<N>(partial + (int64_t)blockIdx.x * 2 * n.channels + c, dot);
    store<N>(partial + ((int64_t)blockIdx.x * 2 + 1) * n.channels + c, sum);
}

/* ---- queueing ---- */

static bool is_wide(const KernelLayerNorm *n, const void *x, const void *dy, const void *to)
{
    return n->channels % 4 == 0 && aligned16(x, dy, to) && aligned16(n->weight, n->bias);
}

int kernel_layernorm(const KernelLayerNorm *n, const void *x, void *y, cudaStream_t stream)
{
    OF_TYPE(n->type, {
        if (is_wide(n, x, nullptr, y))
            LAUNCH((forward<4, T>), vector_blocks(n->places), THREADS, 0, stream, *n, (const T *)x,
                   (T *)y);
        else
            LAUNCH((forward<1, T>), vector_blocks(n->places), THREADS, 0, stream, *n, (const T *)x,
                   (T *)y);
    });
    return LAUNCHED;
}

int kernel_layernorm_data(const KernelLayerNorm *n, const void *x, const void *dy, void *dx,
                          cudaStream_t stream)
{
    OF_TYPE(n->type, {
        if (is_wide(n, x, dy, dx))
            LAUNCH((data<4, T>), vector_blocks(n->places), THREADS, 0, stream, *n, (const T *)x,
                   (const T *)dy, (T *)dx);
        else
            LAUNCH((data<1, T>), vector_blocks(n->places), THREADS, 0, stream, *n, (const T *)x,
                   (const T *)dy, (T *)dx);
    });
    return LAUNCHED;
}

int kernel_layernorm_weights(const KernelLayerNorm *n, const void *x, const void *dy,
                             float *partial, float *dweight, float *dbias, cudaStream_t stream)
{
    unsigned parts = (unsigned)parts_of(n->places);

    OF_TYPE(n->type, {
        if (is_wide(n, x, dy, partial)) {
            dim3 blocks(parts, (unsigned)ceil_div(n->channels, 4 * WARP));
            LAUNCH((weights<4, T>), blocks, THREADS, 2 * THREADS * sizeof(Floats<4>), stream, *n,
                   (const T *)x, (const T *)dy, partial);
        } else {
            dim3 blocks(parts, (unsigned)ceil_div(n->channels, WARP));
            LAUNCH((weights<1, T>), blocks, THREADS, 2 * THREADS * sizeof(Floats<1>), stream, *n,
                   (const T *)x, (const T *)dy, partial);
        }
    });
    LAUNCH(add_parts, blocks_for(2 * n->channels), 256, 0, stream, (const float *)partial,
           (int64_t)parts, 2, n->channels, dweight, dbias);
    return LAUNCHED;
}
