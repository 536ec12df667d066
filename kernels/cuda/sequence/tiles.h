/* For attention's .cu files: products of tiles of TILE rows by a block of 256 threads, as 16 x 16
 * with 4 x 4 numbers each in registers.
 *
 *     products   acc[i][j] += sum over d of a[row i][d] b[row j][d]       both read STEP wide
 *     weighted   acc[i][d] += sum over k of p[k][row i] b[k][d]           p is in shared memory
 *
 * Thread t has rows 4 (t / 16) + i and columns 4 (t % 16) + j. Shared memory: a part that both read
 * into, and p; rows PITCH apart, so that four floats are loaded at once and columns are written to
 * different banks. All threads of the block call these, which begin and end with barriers as their
 * comments say. */
#ifndef KERNELS_CUDA_TILES_H
#define KERNELS_CUDA_TILES_H

#include <cmath>

#include "kernels/cuda/sequence/attention.h"
#include "kernels/cuda/launch.h"

enum { TILE = 64, PITCH = TILE + 4, STEP = 16, TILE_THREADS = 256, TILE_FLOATS = TILE * PITCH };

/* Shared memory of a block, bytes: what is read, and p. */
enum { TILES_BYTES = 2 * TILE_FLOATS * 4 };

/* Rows of dim numbers, `stride` apart; those from count on are as zeros. Of which type they are is
 * asked at each number, all threads alike: half as many kernels to compile. */
struct TileRows {
    const void *first;
    int64_t     stride;
    int         count, dim;
    KernelType  type;
};

static __device__ inline float tile_load(const TileRows &rows, int row, int d)
{
    int64_t at = row * rows.stride + d;

    if (row >= rows.count || d >= rows.dim) return 0.0f;
    return rows.type == KERNEL_BF16 ? load1(static_cast<const __nv_bfloat16 *>(rows.first) + at)
                                    : load1(static_cast<const float *>(rows.first) + at);
}

static __device__ inline void tile_store(void *to, KernelType type, int64_t at, float value)
{
    if (type == KERNEL_BF16) store1(static_cast<__nv_bfloat16 *>(to) + at, value);
    else store1(static_cast<float *>(to) + at, value);
}

/* A loop over a thread's rows or columns: unrolled, so that what it indexes stays in registers. */
#define FOUR(i) _Pragma("unroll") for (int i = 0; i < 4; i++)

static __device__ inline int tile_row() { return (int)threadIdx.x / 16 * 4; }
static __device__ inline int tile_column() { return (int)threadIdx.x % 16 * 4; }

/* Numbers d0 .. d0 + STEP - 1 of all rows, to[d][row]. Eight threads read 32 bytes of a row, and a
 * warp writes to 32 banks. */
static __device__ inline void read_columns(float *to, const TileRows &from, int d0)
{
    for (int r = (int)threadIdx.x / 8; r < TILE; r += TILE_THREADS / 8)
        for (int d = (int)threadIdx.x % 8; d < STEP; d += 8)
            to[d * PITCH + r] = tile_load(from, r, d0 + d);
}

/* Begins with a barrier; read: 2 STEP x PITCH floats. What was in p before was used by all threads
 * when it returns. */
static __device__ inline void products(float acc[4][4], const TileRows &a, const TileRows &b,
                                       float *read)
{
    float *of_a = read, *of_b = read + STEP * PITCH;

    #pragma unroll 1
    for (int d0 = 0; d0 < a.dim; d0 += STEP) {
        __syncthreads();
        read_columns(of_a, a, d0);
        read_columns(of_b, b, d0);
        __syncthreads();
        #pragma unroll 4
        for (int d = 0; d < STEP; d++) {
            Floats<4> u = load<4>(of_a + d * PITCH + tile_row()),
                      v = load<4>(of_b + d * PITCH + tile_column());

            FOUR(i) FOUR(j) acc[i][j] += u.v[i] * v.v[j];
        }
    }
}

/* This thread's numbers as p[column][row]. */
static __device__ inline void write_tile(float *p, const float acc[4][4])
{
    FOUR(j) {
        Floats<4> rows = {{acc[0][j], acc[1][j], acc[2][j], acc[3][j]}};

        store<4>(p + (tile_column() + j) * PITCH + tile_row(), rows);
    }
}

/* CHUNKS of TILE columns. Begins with a barrier, behind which p is whole; ends without one: a
 * barrier must come before p is written again. */
template <int CHUNKS>
static __device__ inline void weighted(float acc[CHUNKS][4][4], const float *p, const TileRows &b,
                                       float *read)
{
    #pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        int d = chunk * TILE + (int)threadIdx.x % TILE;

        __syncthreads();
        #pragma unroll 4
        for (int k = (int)threadIdx.x / TILE; k < TILE; k += TILE_THREADS / TILE)
            read[k * PITCH + (int)threadIdx.x % TILE] = tile_load(b, k, d);
        __syncthreads();
        #pragma unroll 4
        for (int k = 0; k < TILE; k++) {
            Floats<4> u = load<4>(p + k * PITCH + tile_row()),
                      v = load<4>(read + k * PITCH + tile_column());

            FOUR(i) FOUR(j) acc[chunk][i][j] += u.v[i] * v.v[j];
        }
    }
}

/* ---- which keys a query sees ---- */

static __device__ inline bool sees(const KernelAttention &a, int query, int key, int length)
{
    return query < length && key < length && (!a.causal || key <= query)
           && (a.window == 0 || (key > query - a.window && key < query + a.window));
}

struct TileSpan { int first, end; };

/* Keys that some of queries first .. first + TILE - 1 see. */
static __device__ inline TileSpan keys_of(const KernelAttention &a, int first, int length)
{
    int      last = first + TILE < length ? first + TILE - 1 : length - 1;
    TileSpan s = {0, first < length ? length : 0};

    if (a.causal && s.end > last + 1) s.end = last + 1;
    if (a.window > 0 && s.first < first - a.window + 1) s.first = first - a.window + 1;
    if (a.window > 0 && s.end > last + a.window) s.end = last + a.window;
    return s;
}

/* Queries that see some of keys first .. first + TILE - 1. */
static __device__ inline TileSpan queries_of(const KernelAttention &a, int first, int length)
{
    int      last = first + TILE < length ? first + TILE - 1 : length - 1;
    TileSpan s = {0, first < length ? length : 0};

    if (a.window > 0 && s.first < first - a.window + 1) s.first = first - a.window + 1;
    if (a.causal && s.first < first) s.first = first;
    if (a.window > 0 && s.end > last + a.window) s.end = last + a.window;
    return s;
}

static __device__ inline int tile_length(const KernelAttention &a, int64_t row)
{
    return a.lengths ? a.lengths[row] : a.tokens;
}

static __device__ inline int tile_count(int first, int end)
{
    return end - first < TILE ? (end > first ? end - first : 0) : (int)TILE;
}

/* A head of what was loaded, from token first on; heads: of a row. */
static __device__ inline TileRows loaded_rows(const KernelAttention &a, const float *loaded,
                                              int64_t row, int heads, int head, int first,
                                              int count)
{
    return {loaded + ((row * heads + head) * a.tokens + first) * a.dim, a.dim, count, a.dim,
            KERNEL_FLOAT};
}

/* Values of x (at: a.heads + a.kv_heads + kv), or a head of y's shape. */
static __device__ inline TileRows token_rows(const KernelAttention &a, const void *x,
                                             int64_t stride, int64_t row, int head, int first,
                                             int count)
{
    int64_t at = (row * a.tokens + first) * stride + (int64_t)head * a.dim;

    return {static_cast<const char *>(x) + at * (a.type == KERNEL_BF16 ? 2 : 4), stride, count,
            a.dim, a.type};
}

/* The block's tile of TILE tokens of one head; heads: of a row. */
struct TilePlace {
    int64_t row;
    int     head, first;
};

static __device__ inline TilePlace tile_place(const KernelAttention &a, int heads)
{
    int64_t   tiles = (a.tokens + TILE - 1) / TILE, b = blockIdx.x;
    TilePlace p;

    p.first = (int)(b % tiles) * TILE;
    p.head = (int)(b / tiles % heads);
    p.row = b / tiles / heads;
    return p;
}

static inline unsigned tile_blocks(const KernelAttention *a, int heads)
{
    return (unsigned)(a->rows * heads * ceil_div(a->tokens, TILE));
}

/* Does what follows with CHUNKS, how many times TILE numbers a head has at most. */
#define OF_CHUNKS(dim, ...)                                  \
    do {                                                     \
        if ((dim) <= TILE) {                                 \
            const int CHUNKS = 1;                            \
            __VA_ARGS__;                                     \
        } else if ((dim) <= 2 * TILE) {                      \
            const int CHUNKS = 2;                            \
            __VA_ARGS__;                                     \
        } else {                                             \
            const int CHUNKS = KERNEL_HEAD_DIM_MAX / TILE;   \
            __VA_ARGS__;                                     \
        }                                                    \
    } while (0)

#endif
