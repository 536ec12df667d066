/* Attention, forward, in tiles of TILE queries by TILE keys (Dao et al., FlashAttention, 2022): the
 * softmax is kept as its largest score m, the sum l of exp(score - m), and the sum O of exp(score -
 * m) v, all rescaled when m grows. No matrix of all tokens by all tokens is ever held.
 *
 * A block is a tile of queries of one head. A query's scores are spread over 16 threads of a warp,
 * which find m and l by exchanges in a fixed order. Products are of floats, by the general cores: 4
 * dim operations a pair of tokens that see each other. Truth: tests/slow_sequence.c. */
#include "kernels/cuda/sequence/tiles.h"

/* Over the 16 threads that share rows; in all of them. */
static __device__ inline float most_of_row(float v)
{
    for (int lanes = 8; lanes > 0; lanes /= 2) {
        float other = __shfl_xor_sync(0xffffffffu, v, lanes);
        v = other > v ? other : v;
    }
    return v;
}

static __device__ inline float sum_of_row(float v)
{
    for (int lanes = 8; lanes > 0; lanes /= 2) v += __shfl_xor_sync(0xffffffffu, v, lanes);
    return v;
}

/* A thread's four queries: m, l and O. */
template <int CHUNKS> struct Softmax {
    float most[4], total[4], sum[CHUNKS][4][4];
};

/* Takes scores of the tile's queries with keys first .. in: they become exp(score - m), 0 where a
 * query does not see the key. */
template <int CHUNKS>
static __device__ inline void soften(const KernelAttention &a, Softmax<CHUNKS> &s,
                                     float score[4][4], int query, int key, int end, int length)
{
    FOUR(i) {
        float more = -INFINITY, sum = 0.0f, next, scale;

        FOUR(j) {
            if (key + j >= end || !sees(a, query + i, key + j, length)) score[i][j] = -INFINITY;
            more = score[i][j] > more ? score[i][j] : more;
        }
        more = most_of_row(more);
        next = more > s.most[i] ? more : s.most[i];
        scale = s.most[i] == -INFINITY ? 0.0f : expf(s.most[i] - next);
        FOUR(j) {
            score[i][j] = score[i][j] == -INFINITY ? 0.0f : expf(score[i][j] - next);
            sum += score[i][j];
        }
        s.total[i] = s.total[i] * scale + sum_of_row(sum);
        s.most[i] = next;
        #pragma unroll
        for (int c = 0; c < CHUNKS; c++)
            FOUR(j) s.sum[c][i][j] *= scale;
    }
}

template <int CHUNKS>
static __device__ inline void write(const KernelAttention &a, const Softmax<CHUNKS> &s,
                                    const TilePlace &p, int length, void *y)
{
    FOUR(i) {
        int     query = p.first + tile_row() + i;
        int64_t out = ((p.row * a.tokens + query) * a.heads + p.head) * a.dim;
        float   inverse = query < length && s.total[i] > 0.0f ? 1.0f / s.total[i] : 0.0f;

        if (query >= a.tokens) continue;
        #pragma unroll
        for (int c = 0; c < CHUNKS; c++)
            FOUR(j)
                if (c * TILE + tile_column() + j < a.dim)
                    tile_store(y, a.type, out + c * TILE + tile_column() + j,
                               s.sum[c][i][j] * inverse);
        if (a.kept && tile_column() == 0)
            a.kept[p.row * a.kept_row + (int64_t)p.head * a.tokens + query] =
                query < length ? s.most[i] + logf(s.total[i]) : 0.0f;
    }
}

/* A block takes a tile of queries of one head and sequence, and goes over the tiles of keys that
 * they see: scores, softmax so far, sum of values. CHUNKS: tiles of a head's width. Shared: read
 * (TILE_FLOATS), then the weights of a tile. */
template <int CHUNKS>
static __global__ void __launch_bounds__(TILE_THREADS)
    forward(const KernelAttention a, const void *x, void *y)
{
    SHARED(float, read);
    float          *weight = read + TILE_FLOATS;
    TilePlace       p = tile_place(a, a.heads);
    int             kv = p.head / (a.heads / a.kv_heads), length = tile_length(a, p.row);
    TileSpan        span = keys_of(a, p.first, length);
    TileRows        queries = loaded_rows(a, a.query, p.row, a.heads, p.head, p.first,
                                          tile_count(p.first, length));
    Softmax<CHUNKS> s = {};

    FOUR(i) s.most[i] = -INFINITY;
    #pragma unroll 1
    for (int k = span.first; k < span.end; k += TILE) {
        int         keys = tile_count(k, span.end);
        float       score[4][4] = {};
        TileRows    values =
            token_rows(a, x, a.stride, p.row, a.heads + a.kv_heads + kv, k, keys);

        products(score, queries, loaded_rows(a, a.key, p.row, a.kv_heads, kv, k, keys), read);
        soften<CHUNKS>(a, s, score, p.first + tile_row(), k + tile_column(), span.end, length);
        write_tile(weight, score);
        weighted<CHUNKS>(s.sum, weight, values, read);
    }
    write<CHUNKS>(a, s, p, length, y);
}

int kernel_attention(const KernelAttention *a, const void *x, void *y, cudaStream_t stream)
{
    OF_CHUNKS(a->dim, LAUNCH((forward<CHUNKS>), tile_blocks(a, a->heads), TILE_THREADS, TILES_BYTES,
                             stream, *a, x, y));
    return LAUNCHED;
}
