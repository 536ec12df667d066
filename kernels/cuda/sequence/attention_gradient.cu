/* Attention, backward, in tiles of TILE by TILE. Scores s are computed again; with kept of the
 * forward pass and delta = dy . y of each query,
 *
 *     p = exp(s - kept)      dp = dy v'      ds = p (dp - delta)
 *     dv += p' dy            dk += ds' q     dq += ds k
 *
 * Twice: a block is a tile of keys with all the queries of its group that see it, and then a tile
 * of queries with its keys. So each number has one block that adds to it, in a fixed order; two
 * products of seven are what that costs. Truth: tests/slow_sequence.c. */
#include "kernels/cuda/sequence/pass.h"
#include "kernels/cuda/sequence/tiles.h"

/* delta: [rows][heads][tokens]; a warp a head of a token. */
template <class T>
static __global__ void deltas(const KernelAttention a, const T *y, const T *dy, float *delta)
{
    int     lane = (int)threadIdx.x % 32;
    int64_t all = a.rows * a.tokens * a.heads;

    for (int64_t v = first_element() / 32; v < all; v += next_element() / 32) {
        int64_t place = v / a.heads, head = v % a.heads, row = place / a.tokens;
        float   sum = 0.0f;

        for (int c = lane; c < a.dim; c += 32)
            sum += load1(y + v * a.dim + c) * load1(dy + v * a.dim + c);
        sum = warp_sum(sum);
        if (lane == 0) delta[(row * a.heads + head) * a.tokens + place % a.tokens] = sum;
    }
}

/* p and ds of one pair. */
struct PairSlope { float p, ds; };

static __device__ inline PairSlope slope_of(const KernelAttention &a, float score, float dp,
                                            int query, int key, int length, const float *kept,
                                            const float *delta)
{
    if (!sees(a, query, key, length)) return {0.0f, 0.0f};
    float p = expf(score - kept[query]);

    return {p, p * (dp - delta[query])};
}

/* Rows of a tile to to[row][dim], those of tokens that there are. */
template <int CHUNKS>
static __device__ inline void write(const float acc[CHUNKS][4][4], void *to, KernelType type,
                                    int64_t first, int64_t stride, int dim, int count)
{
    FOUR(i) {
        #pragma unroll
        for (int c = 0; c < CHUNKS; c++)
            FOUR(j)
                if (tile_row() + i < count && c * TILE + tile_column() + j < dim)
                    tile_store(to, type,
                               first + (tile_row() + i) * stride + c * TILE + tile_column() + j,
                               acc[c][i][j]);
    }
}

/* A tile of keys of one head, with all queries of its group that see some of them: dkey of what was
 * loaded, and the values' part of dx. */
template <int CHUNKS>
static __global__ void __launch_bounds__(TILE_THREADS)
    of_keys(const KernelAttention a, const void *x, const void *dy, const float *delta,
            float *dkey, void *dx)
{
    SHARED(float, read);
    float    *weight = read + TILE_FLOATS, dk[CHUNKS][4][4] = {}, dv[CHUNKS][4][4] = {};
    TilePlace p = tile_place(a, a.kv_heads);
    int       group = a.heads / a.kv_heads, length = tile_length(a, p.row),
        here = tile_count(p.first, a.tokens), at = a.heads + a.kv_heads + p.head;
    TileSpan        span = queries_of(a, p.first, length);
    int             keys = tile_count(p.first, length);
    TileRows key_rows =
        loaded_rows(a, a.key, p.row, a.kv_heads, p.head, p.first, keys);
    TileRows value_rows = token_rows(a, x, a.stride, p.row, at, p.first, keys);

    #pragma unroll 1
    for (int head = p.head * group; head < (p.head + 1) * group; head++) {
        const float *kept = a.kept + p.row * a.kept_row + (int64_t)head * a.tokens,
                    *of_row = delta + (p.row * a.heads + head) * a.tokens;

        #pragma unroll 1
        for (int q = span.first; q < span.end; q += TILE) {
            int             count = tile_count(q, span.end);
            TileRows queries = loaded_rows(a, a.query, p.row, a.heads, head, q, count);
            TileRows slopes =
                token_rows(a, dy, (int64_t)a.heads * a.dim, p.row, head, q, count);
            float score[4][4] = {}, dp[4][4] = {};

            products(score, key_rows, queries, read);
            products(dp, value_rows, slopes, read);
            FOUR(i)
                FOUR(j) {
                    int       query = q + tile_column() + j;
                    PairSlope s = {0.0f, 0.0f};

                    if (query < span.end)
                        s = slope_of(a, score[i][j], dp[i][j], query, p.first + tile_row() + i,
                                     length, kept, of_row);
                    score[i][j] = s.p;
                    dp[i][j] = s.ds;
                }
            write_tile(weight, score);
            weighted<CHUNKS>(dv, weight, slopes, read);
            __syncthreads();
            write_tile(weight, dp);
            weighted<CHUNKS>(dk, weight, queries, read);
        }
    }
    write<CHUNKS>(dk, dkey, KERNEL_FLOAT,
                  ((p.row * a.kv_heads + p.head) * a.tokens + p.first) * a.dim, a.dim, a.dim, here);
    if (dx)
        write<CHUNKS>(dv, dx, a.type,
                      (p.row * a.tokens + p.first) * a.stride + (int64_t)at * a.dim, a.stride,
                      a.dim, here);
}

/* A tile of queries of one head, with the keys that they see: dquery of what was loaded. */
template <int CHUNKS>
static __global__ void __launch_bounds__(TILE_THREADS)
    of_queries(const KernelAttention a, const void *x, const void *dy, const float *delta,
               float *dquery)
{
    SHARED(float, read);
    float    *weight = read + TILE_FLOATS, dq[CHUNKS][4][4] = {};
    TilePlace p = tile_place(a, a.heads);
    int       kv = p.head / (a.heads / a.kv_heads), length = tile_length(a, p.row);
    TileSpan        span = keys_of(a, p.first, length);
    int             count = tile_count(p.first, length);
    const float    *kept = a.kept + p.row * a.kept_row + (int64_t)p.head * a.tokens,
                *of_row = delta + (p.row * a.heads + p.head) * a.tokens;
    TileRows queries = loaded_rows(a, a.query, p.row, a.heads, p.head, p.first, count);
    TileRows slopes =
        token_rows(a, dy, (int64_t)a.heads * a.dim, p.row, p.head, p.first, count);

    #pragma unroll 1
    for (int k = span.first; k < span.end; k += TILE) {
        int             keys = tile_count(k, span.end);
        TileRows key_rows = loaded_rows(a, a.key, p.row, a.kv_heads, kv, k, keys);
        float           score[4][4] = {}, dp[4][4] = {};

        products(score, queries, key_rows, read);
        products(dp, slopes,
                 token_rows(a, x, a.stride, p.row, a.heads + a.kv_heads + kv, k, keys), read);
        FOUR(i)
            FOUR(j)
                dp[i][j] = k + tile_column() + j < span.end
                               ? slope_of(a, score[i][j], dp[i][j], p.first + tile_row() + i,
                                          k + tile_column() + j, length, kept, of_row)
                                     .ds
                               : 0.0f;
        write_tile(weight, dp);
        weighted<CHUNKS>(dq, weight, key_rows, read);
    }
    write<CHUNKS>(dq, dquery, KERNEL_FLOAT,
                  ((p.row * a.heads + p.head) * a.tokens + p.first) * a.dim, a.dim, a.dim,
                  tile_count(p.first, a.tokens));
}

int kernel_attention_gradient(const KernelAttention *a, const void *x, const void *y,
                              const void *dy, float *delta, float *dquery, float *dkey, void *dx,
                              cudaStream_t stream)
{
    int64_t vectors = a->rows * a->tokens * a->heads;

    OF_TYPE(a->type, LAUNCH((deltas<T>), blocks_for(vectors * 32), 256, 0, stream, *a, (const T *)y,
                            (const T *)dy, delta));
    OF_CHUNKS(a->dim, {
        LAUNCH((of_keys<CHUNKS>), tile_blocks(a, a->kv_heads), TILE_THREADS, TILES_BYTES, stream,
               *a, x, dy, (const float *)delta, dkey, dx);
        LAUNCH((of_queries<CHUNKS>), tile_blocks(a, a->heads), TILE_THREADS, TILES_BYTES, stream,
               *a, x, dy, (const float *)delta, dquery);
    });
    return LAUNCHED;
}
