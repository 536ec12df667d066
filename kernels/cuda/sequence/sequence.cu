/* What makes sequences and ends them: embeddings, tokens of an image's places, one vector of a
 * sequence. A thread an element, channels side by side.
 *
 * The gradient of an embedding adds the vectors of all tokens that are alike. Tokens are sorted by
 * what they are and then by where they stand (a bitonic network of 64-bit keys, all different), so
 * that those alike are a run; a block adds RUN_TOKENS of the sorted ones, whatever runs they are
 * of:
 *
 *     sorted   | 3 3 3 5 | 5 5 5 5 | 5 8 9 9 |
 *     block    |  0      |  1      |  2      |      3, 8 and 9 are whole within a block
 *                     tail   head     head          5: tail of 0, then heads of 1 and 2, in double
 *
 * Truth: tests/slow_sequence.c. */
#include "kernels/cuda/sequence/pass.h"
#include "kernels/cuda/sequence/sequence.h"

#include <cmath>

enum { PUT_INTS = 1000 };    /* a launch's arguments may be 4 KiB */

struct PutInts {
    int v[PUT_INTS];
};

static __global__ void put_ints(int *to, const PutInts from, int count)
{
    for (int i = (int)threadIdx.x; i < count; i += (int)blockDim.x) to[i] = from.v[i];
}

int kernel_put_ints(int *to, const int *from, int64_t count, cudaStream_t stream)
{
    for (int64_t at = 0; at < count; at += PUT_INTS) {
        PutInts some = {};
        int     n = count - at < PUT_INTS ? (int)(count - at) : (int)PUT_INTS;

        for (int i = 0; i < n; i++) some.v[i] = from[at + i];
        LAUNCH(put_ints, 1, 256, 0, stream, to + at, some, n);
    }
    return LAUNCHED;
}

static __device__ inline int length_of(const int *lengths, int64_t row, int tokens)
{
    return lengths ? lengths[row] : tokens;
}

/* ---- embedding ---- */

/* What a token is: below the table's size (numbers were checked where they were read; a wrong one
 * must not reach beyond the table). */
static __device__ inline int64_t number_of(float x, int most)
{
    return x >= 0.0f && x < (float)most ? (int64_t)x : 0;
}

template <int N, class T>
static __global__ void embed(const KernelEmbedding e, const float *x, T *y, int64_t count)
{
    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        int64_t      token = i / e.channels, c = i % e.channels;
        const float *in = x + token * e.each;
        Floats<N>    v = load<N>(e.number + number_of(in[0], e.vocabulary) * e.channels + c);

        if (e.place) {
            Floats<N> more = load<N>(e.place + token % e.tokens * e.channels + c);
            for (int j = 0; j < N; j++) v.v[j] += more.v[j];
        }
        if (e.kind) {
            Floats<N> more = load<N>(e.kind + number_of(in[1], e.types) * e.channels + c);
            for (int j = 0; j < N; j++) v.v[j] += more.v[j];
        }
        store<N>(y + i, v);
    }
}

int kernel_embedding(const KernelEmbedding *e, const float *x, void *y, cudaStream_t stream)
{
    int64_t count = e->rows * e->tokens * e->channels;
    bool    wide = e->channels % 4 == 0 && aligned16(e->number, e->place, e->kind) && aligned16(y);

    OF_TYPE(e->type, LAUNCH_NUMBERS((embed<N, T>), wide, count, stream, *e, x, (T *)y, count));
    return LAUNCHED;
}

/* ---- its gradient: sorting ---- */

enum { RUN_TOKENS = 32, SORT_THREADS = 256, SORTED = 2 * SORT_THREADS };

#define NO_TOKEN 0xffffffffffffffffull

/* Keys: what number `which` of a token says, then its place in the batch; NO_TOKEN behind a
 * sequence's end, and behind the last. */
static __global__ void make_keys(const KernelEmbedding e, const float *x, int which, int most,
                                 uint64_t *keys, int64_t room)
{
    for (int64_t i = first_element(); i < room; i += next_element()) {
        bool counts = i < e.rows * e.tokens
                      && i % e.tokens < length_of(e.lengths, i / e.tokens, e.tokens);

        keys[i] = counts ? (uint64_t)number_of(x[i * e.each + which], most) << 32 | (uint64_t)i
                         : NO_TOKEN;
    }
}

/* Puts a pair of a sorting network in order; upward where the bit of its run is 0. */
static __device__ inline void order(uint64_t *a, uint64_t *b, bool upward)
{
    if ((*a > *b) == upward) {
        uint64_t more = *a;
        *a = *b;
        *b = more;
    }
}

/* One step of the network over all: pairs `apart` from each other, of runs of `run`. */
static __global__ void sort_step(uint64_t *keys, int64_t pairs, int64_t apart, int64_t run)
{
    for (int64_t p = first_element(); p < pairs; p += next_element()) {
        int64_t i = p / apart * 2 * apart + p % apart;

        order(keys + i, keys + i + apart, (i & run) == 0);
    }
}

/* A block's SORTED keys: all steps of runs up to `last` from `first` on, whose pairs are within the
 * block. */
static __global__ void sort_block(uint64_t *keys, int64_t first, int64_t last)
{
    SHARED(uint64_t, mine);
    int64_t begin = (int64_t)blockIdx.x * SORTED;
    int     t = (int)threadIdx.x;

    mine[t] = keys[begin + t];
    mine[t + SORT_THREADS] = keys[begin + t + SORT_THREADS];
    for (int64_t run = first; run <= last; run *= 2)
        for (int apart = run / 2 < SORT_THREADS ? (int)(run / 2) : (int)SORT_THREADS; apart > 0;
             apart /= 2) {
            int i = t / apart * 2 * apart + t % apart;

            __syncthreads();
            order(mine + i, mine + i + apart, ((begin + i) & run) == 0);
        }
    __syncthreads();
    keys[begin + t] = mine[t];
    keys[begin + t + SORT_THREADS] = mine[t + SORT_THREADS];
}

/* room: a power of 2, at least SORTED. */
static void sort(uint64_t *keys, int64_t room, cudaStream_t stream)
{
    unsigned blocks = (unsigned)(room / SORTED);
    size_t   bytes = SORTED * sizeof(uint64_t);

    LAUNCH(sort_block, blocks, SORT_THREADS, bytes, stream, keys, (int64_t)2, (int64_t)SORTED);
    for (int64_t run = 2 * SORTED; run <= room; run *= 2) {
        for (int64_t apart = run / 2; apart >= SORTED; apart /= 2)
            LAUNCH(sort_step, blocks_for(room / 2), 256, 0, stream, keys, room / 2, apart, run);
        LAUNCH(sort_block, blocks, SORT_THREADS, bytes, stream, keys, run, run);
    }
}

/* ---- its gradient: adding runs ---- */

static __device__ inline uint64_t run_of(const uint64_t *sorted, int64_t i)
{
    return sorted[i] >> 32;
}

/* Where parts of runs go that are not whole within a block: [blocks][channels] each. */
struct RunParts {
    float *head, *tail;
};

/* A block of the sorted tokens (x) and 256 channels (y). */
template <class T>
static __global__ void add_runs(const uint64_t *sorted, int64_t tokens, const T *dy, int channels,
                                float *gradient, const RunParts parts)
{
    int64_t begin = (int64_t)blockIdx.x * RUN_TOKENS,
            end = begin + RUN_TOKENS < tokens ? begin + RUN_TOKENS : tokens;
    int c = (int)(blockIdx.y * blockDim.x + threadIdx.x);

    if (c >= channels) return;
    for (int64_t i = begin, next; i < end; i = next) {
        uint64_t run = run_of(sorted, i);
        float    sum = 0.0f, *to = gradient + (int64_t)run * channels;

        if (run == NO_TOKEN >> 32) return;
        for (next = i; next < end && run_of(sorted, next) == run; next++)
            sum += load1(dy + (int64_t)(sorted[next] & 0xffffffff) * channels + c);
        if (i == begin && begin > 0 && run_of(sorted, begin - 1) == run)
            to = parts.head + (int64_t)blockIdx.x * channels;
        else if (next == end && end < tokens && run_of(sorted, end) == run)
            to = parts.tail + (int64_t)blockIdx.x * channels;
        to[c] = sum;
    }
}

/* Runs that begin in a block and go on in the next ones: their parts in order. */
static __global__ void join_runs(const uint64_t *sorted, int64_t tokens, int channels,
                                 float *gradient, const RunParts parts)
{
    int64_t begin = (int64_t)blockIdx.x * RUN_TOKENS, end = begin + RUN_TOKENS;
    int     c = (int)(blockIdx.y * blockDim.x + threadIdx.x);

    if (c >= channels || end >= tokens) return;
    uint64_t run = run_of(sorted, end - 1);

    if (run == NO_TOKEN >> 32 || run_of(sorted, end) != run) return;
    if (run_of(sorted, begin) == run && begin > 0 && run_of(sorted, begin - 1) == run) return;
    double sum = (double)parts.tail[(int64_t)blockIdx.x * channels + c];

    for (int64_t b = blockIdx.x + 1;
         b * RUN_TOKENS < tokens && run_of(sorted, b * RUN_TOKENS) == run; b++)
        sum += (double)parts.head[b * channels + c];
    gradient[(int64_t)run * channels + c] = (float)sum;
}

/* ---- its gradient: all of it ---- */

/* Scratch: the keys, then parts of runs. */
static int64_t keys_of(const KernelEmbedding *e)
{
    int64_t room = SORTED;

    while (room < e->rows * e->tokens) room *= 2;
    return room;
}

static int64_t run_blocks(const KernelEmbedding *e)
{
    return ceil_div(e->rows * e->tokens, RUN_TOKENS);
}

int64_t kernel_embedding_scratch(const KernelEmbedding *e)
{
    return 2 * keys_of(e) + 2 * run_blocks(e) * e->channels;
}

/* The gradient of a table [most][channels] that number `which` of each token chooses from. */
static int table_gradient(const KernelEmbedding *e, const float *x, int which, int most,
                          const void *dy, float *gradient, float *scratch, cudaStream_t stream)
{
    uint64_t   *keys = reinterpret_cast<uint64_t *>(scratch);
    int64_t     room = keys_of(e), tokens = e->rows * e->tokens;
    RunParts    parts = {scratch + 2 * room, scratch + 2 * room + run_blocks(e) * e->channels};
    dim3        blocks((unsigned)run_blocks(e), (unsigned)ceil_div(e->channels, 256));
    cudaError_t status =
        cudaMemsetAsync(gradient, 0, (size_t)most * (size_t)e->channels * sizeof(float), stream);

    if (status != cudaSuccess) return (int)status;
    LAUNCH(make_keys, blocks_for(room), 256, 0, stream, *e, x, which, most, keys, room);
    sort(keys, room, stream);
    OF_TYPE(e->type, LAUNCH((add_runs<T>), blocks, 256, 0, stream, (const uint64_t *)keys, tokens,
                            (const T *)dy, e->channels, gradient, parts));
    LAUNCH(join_runs, blocks, 256, 0, stream, (const uint64_t *)keys, tokens, e->channels, gradient,
           parts);
    return LAUNCHED;
}

/* out[i][c] = the sum over rows of dy[row][i][c], where token i counts. */
template <class T>
static __global__ void sum_of_rows(const T *dy, int64_t rows, int tokens, int channels,
                                   const int *lengths, float *out, int64_t count)
{
    for (int64_t i = first_element(); i < count; i += next_element()) {
        float sum = 0.0f;

        for (int64_t r = 0; r < rows; r++)
            if (i / channels < length_of(lengths, r, tokens))
                sum += load1(dy + r * tokens * channels + i);
        out[i] = sum;
    }
}

int kernel_embedding_gradient(const KernelEmbedding *e, const float *x, const void *dy,
                              float *scratch, cudaStream_t stream)
{
    int64_t places = (int64_t)e->tokens * e->channels;
    int     status = table_gradient(e, x, 0, e->vocabulary, dy, e->number, scratch, stream);

    if (status == 0 && e->kind)
        status = table_gradient(e, x, 1, e->types, dy, e->kind, scratch, stream);
    if (status != 0 || !e->place) return status;
    OF_TYPE(e->type, LAUNCH((sum_of_rows<T>), blocks_for(places), 256, 0, stream, (const T *)dy,
                            e->rows, e->tokens, e->channels, e->lengths, e->place, places));
    return LAUNCHED;
}

/* ---- tokens of places ---- */

template <class T>
static __global__ void tokens(const KernelTokens t, const T *x, T *y, int64_t count)
{
    int64_t row = (int64_t)t.tokens * t.channels, own = t.token ? t.channels : 0;

    for (int64_t i = first_element(); i < count; i += next_element()) {
        int64_t r = i / row, at = i % row;
        float   v = at < own ? t.token[at] : load1(x + r * (row - own) + at - own);

        store1(y + i, t.positions ? v + t.positions[at] : v);
    }
}

int kernel_tokens(const KernelTokens *t, const void *x, void *y, cudaStream_t stream)
{
    int64_t count = t->rows * t->tokens * t->channels;

    OF_TYPE(t->type, LAUNCH((tokens<T>), blocks_for(count), 256, 0, stream, *t, (const T *)x,
                            (T *)y, count));
    return LAUNCHED;
}

/* dy without the learnt token's. count: of dx */
template <class T>
static __global__ void without_token(const T *dy, T *dx, int64_t row, int64_t own, int64_t count)
{
    for (int64_t i = first_element(); i < count; i += next_element())
        dx[i] = dy[i / (row - own) * row + own + i % (row - own)];
}

int kernel_tokens_gradient(const KernelTokens *t, const void *dy, void *dx, cudaStream_t stream)
{
    int64_t row = (int64_t)t->tokens * t->channels, own = t->token ? t->channels : 0,
            count = t->rows * (row - own);

    OF_TYPE(t->type, {
        if (t->token)
            LAUNCH((sum_of_rows<T>), blocks_for(own), 256, 0, stream, (const T *)dy, t->rows,
                   t->tokens, t->channels, (const int *)nullptr, t->token, own);
        if (t->positions)
            LAUNCH((sum_of_rows<T>), blocks_for(row), 256, 0, stream, (const T *)dy, t->rows,
                   t->tokens, t->channels, (const int *)nullptr, t->positions, row);
        if (dx)
            LAUNCH((without_token<T>), blocks_for(count), 256, 0, stream, (const T *)dy, (T *)dx,
                   row, own, count);
    });
    return LAUNCHED;
}

/* ---- one vector of a sequence ---- */

template <class T>
static __global__ void pool(const KernelSequencePool p, const T *x, T *y, int64_t count)
{
    for (int64_t i = first_element(); i < count; i += next_element()) {
        int64_t  r = i / p.channels;
        int      length = p.first ? 1 : length_of(p.lengths, r, p.tokens);
        const T *in = x + r * p.tokens * p.channels + i % p.channels;
        float    sum = 0.0f;

        for (int t = 0; t < length; t++) sum += load1(in + (int64_t)t * p.channels);
        store1(y + i, sum / (float)length);
    }
}

int kernel_sequence_pool(const KernelSequencePool *p, const void *x, void *y, cudaStream_t stream)
{
    int64_t count = p->rows * p->channels;

    OF_TYPE(p->type, LAUNCH((pool<T>), blocks_for(count), 256, 0, stream, *p, (const T *)x, (T *)y,
                            count));
    return LAUNCHED;
}

template <class T>
static __global__ void pool_gradient(const KernelSequencePool p, const T *dy, T *dx, int64_t count)
{
    int64_t row = (int64_t)p.tokens * p.channels;

    for (int64_t i = first_element(); i < count; i += next_element()) {
        int64_t r = i / row;
        int     t = (int)(i % row / p.channels),
            length = p.first ? 1 : length_of(p.lengths, r, p.tokens);

        store1(dx + i,
               t < length ? load1(dy + r * p.channels + i % p.channels) / (float)length : 0.0f);
    }
}

int kernel_sequence_pool_gradient(const KernelSequencePool *p, const void *dy, void *dx,
                                  cudaStream_t stream)
{
    int64_t count = p->rows * p->tokens * p->channels;

    OF_TYPE(p->type, LAUNCH((pool_gradient<T>), blocks_for(count), 256, 0, stream, *p,
                            (const T *)dy, (T *)dx, count));
    return LAUNCHED;
}
