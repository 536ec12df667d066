/* Heads of queries and keys on their way into attention and their gradients on the way back, a warp
 * a head of a token. With n the norm's 1 / deviation and w its weight,
 *
 *     h = x n w                                   (h = x without a norm)
 *     number i with number i + half turns: (a, b) -> (a c - b s, b c + a s), then the scale
 *     back: d turned back; dw = sum d x n;  dx = n (d w - x n mean(d w x n))
 *
 * dw takes two stages (parts.h). Truth: tests/slow_sequence.c. */
#include "kernels/cuda/sequence/attention.h"
#include "kernels/cuda/sequence/parts.h"

#include <cmath>

/* Vector v of all: heads of a token are neighbours, so that x is read in its order. */
struct HeadPlace {
    int     token;
    int64_t in, loaded;      /* where it begins in x, and as loaded */
};

static __device__ inline HeadPlace place_of(const KernelHeads &h, int64_t v)
{
    int64_t   place = v / h.heads, head = v % h.heads, row = place / h.tokens;
    HeadPlace p;

    p.token = (int)(place % h.tokens);
    p.in = place * h.stride + h.first + head * h.dim;
    p.loaded = ((row * h.heads + head) * h.tokens + p.token) * h.dim;
    return p;
}

/* The turn of a token's pair i. */
struct HeadTurn { float c, s; };

static __device__ inline HeadTurn turn_of(const KernelHeads &h, int token, int i)
{
    return {h.table[(int64_t)token * h.half + i],
            h.table[((int64_t)h.tokens + token) * h.half + i]};
}

template <class T>
static __device__ inline float normed(const KernelHeads &h, const T *x, float inverse, int c)
{
    return h.weight ? load1(x + c) * inverse * h.weight[c] : load1(x + c);
}

template <class T>
static __device__ inline float turned(const KernelHeads &h, const T *x, float inverse, int token,
                                      int c)
{
    float a = normed(h, x, inverse, c);

    if (c >= 2 * h.half) return a;
    if (c < h.half) {
        HeadTurn t = turn_of(h, token, c);
        return a * t.c - normed(h, x, inverse, c + h.half) * t.s;
    }
    HeadTurn t = turn_of(h, token, c - h.half);
    return a * t.c + normed(h, x, inverse, c - h.half) * t.s;
}

static __device__ inline float turned_back(const KernelHeads &h, const float *d, int token, int c)
{
    float a = d[c];

    if (c >= 2 * h.half) return h.scale * a;
    if (c < h.half) {
        HeadTurn t = turn_of(h, token, c);
        return h.scale * (a * t.c + d[c + h.half] * t.s);
    }
    HeadTurn t = turn_of(h, token, c - h.half);
    return h.scale * (a * t.c - d[c - h.half] * t.s);
}

template <class T> static __global__ void load_heads(const KernelHeads h, const T *x, float *to)
{
    int lane = (int)threadIdx.x % WARP;

    for (int64_t v = first_vector(); v < h.rows * h.tokens * h.heads; v += next_vector()) {
        HeadPlace p = place_of(h, v);
        float     sum = 0.0f, inverse = 1.0f;

        for (int c = lane; h.weight && c < h.dim; c += WARP) {
            float a = load1(x + p.in + c);
            sum += a * a;
        }
        if (h.weight) inverse = 1.0f / sqrtf(warp_sum(sum) / (float)h.dim + h.eps);
        for (int c = lane; c < h.dim; c += WARP)
            to[p.loaded + c] = h.scale * turned(h, x + p.in, inverse, p.token, c);
        if (h.inverse && lane == 0) h.inverse[v] = inverse;
    }
}

template <class T>
static __global__ void gradient(const KernelHeads h, const T *x, const float *d, T *dx)
{
    int lane = (int)threadIdx.x % WARP;

    for (int64_t v = first_vector(); v < h.rows * h.tokens * h.heads; v += next_vector()) {
        HeadPlace p = place_of(h, v);
        float     inverse = h.weight ? h.inverse[v] : 1.0f, dot = 0.0f;

        for (int c = lane; h.weight && c < h.dim; c += WARP)
            dot += turned_back(h, d + p.loaded, p.token, c) * h.weight[c] * load1(x + p.in + c)
                   * inverse;
        if (h.weight) dot = warp_sum(dot) / (float)h.dim;
        for (int c = lane; c < h.dim; c += WARP) {
            float g = turned_back(h, d + p.loaded, p.token, c);

            if (h.weight)
                g = inverse * (g * h.weight[c] - load1(x + p.in + c) * inverse * dot);
            store1(dx + p.in + c, g);
        }
    }
}

/* A block is a part of the vectors (x) and WARP numbers of a head (y). partial: [part][dim] */
template <class T>
static __global__ void weights(const KernelHeads h, const T *x, const float *d, float *partial)
{
    SHARED(float, shared);
    int     warp = (int)threadIdx.x / WARP,
            c = (int)blockIdx.y * WARP + (int)threadIdx.x % WARP;
    int64_t all = h.rows * h.tokens * h.heads, begin = all * blockIdx.x / gridDim.x,
            end = all * (blockIdx.x + 1) / gridDim.x;
    float   sum = 0.0f;

    for (int64_t v = begin + warp; c < h.dim && v < end; v += THREADS / WARP) {
        HeadPlace p = place_of(h, v);

        sum += turned_back(h, d + p.loaded, p.token, c) * load1(x + p.in + c) * h.inverse[v];
    }
    shared[threadIdx.x] = sum;
    __syncthreads();
    if (warp > 0 || c >= h.dim) return;
    for (int r = 1; r < THREADS / WARP; r++) sum += shared[r * WARP + threadIdx.x];
    partial[(int64_t)blockIdx.x * h.dim + c] = sum;
}

/* ---- queueing ---- */

static int64_t vectors_of(const KernelHeads *h) { return h->rows * h->tokens * h->heads; }

int64_t kernel_heads_partials(const KernelHeads *h) { return parts_of(vectors_of(h)) * h->dim; }

int kernel_heads(const KernelHeads *h, const void *x, float *to, cudaStream_t stream)
{
    OF_TYPE(h->type, LAUNCH((load_heads<T>), vector_blocks(vectors_of(h)), THREADS, 0, stream,
                            *h, (const T *)x, to));
    return LAUNCHED;
}

int kernel_heads_gradient(const KernelHeads *h, const void *x, const float *d, void *dx,
                          cudaStream_t stream)
{
    OF_TYPE(h->type, LAUNCH((gradient<T>), vector_blocks(vectors_of(h)), THREADS, 0, stream, *h,
                            (const T *)x, d, (T *)dx));
    return LAUNCHED;
}

int kernel_heads_weights(const KernelHeads *h, const void *x, const float *d, float *partial,
                         float *dweight, cudaStream_t stream)
{
    int64_t parts = parts_of(vectors_of(h));
    dim3    blocks((unsigned)parts, (unsigned)ceil_div(h->dim, WARP));

    OF_TYPE(h->type, LAUNCH((weights<T>), blocks, THREADS, THREADS * sizeof(float), stream, *h,
                            (const T *)x, d, partial));
    LAUNCH(add_parts, blocks_for(h->dim), 256, 0, stream, (const float *)partial, parts, 1,
           h->dim, dweight, (float *)nullptr);
    return LAUNCHED;
}
