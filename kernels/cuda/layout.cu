/* Orders of memory changed, and a batch norm folded into weights. */
#include "kernels/cuda/launch.h"

#include <cmath>

enum { TILE = 32, TILE_ROWS = 8 };

/* A tile at a time through shared memory, a column wider so that its columns lie in different
 * banks. */
template <class T>
static __global__ void transpose(const T *from, T *to, int64_t rows, int64_t a, int64_t b)
{
    SHARED(T, tile);
    int     x = (int)threadIdx.x % TILE, y = (int)threadIdx.x / TILE;
    int64_t first_a = blockIdx.y * (int64_t)TILE, first_b = blockIdx.x * (int64_t)TILE;

    for (int64_t r = blockIdx.z; r < rows; r += gridDim.z) {
        const T *in = from + r * a * b;
        T       *out = to + r * a * b;

        for (int i = y; i < TILE; i += TILE_ROWS)
            if (first_a + i < a && first_b + x < b)
                tile[i * (TILE + 1) + x] = in[(first_a + i) * b + first_b + x];
        __syncthreads();
        for (int i = y; i < TILE; i += TILE_ROWS)
            if (first_b + i < b && first_a + x < a)
                out[(first_b + i) * a + first_a + x] = tile[x * (TILE + 1) + i];
        __syncthreads();
    }
}

int kernel_transpose(KernelType type, const void *from, void *to, int64_t rows, int64_t a,
                     int64_t b, cudaStream_t stream)
{
    dim3 blocks((unsigned)ceil_div(b, TILE), (unsigned)ceil_div(a, TILE),
                (unsigned)(rows < 65535 ? rows : 65535));

    OF_TYPE(type, LAUNCH((transpose<T>), blocks, TILE * TILE_ROWS, TILE * (TILE + 1) * sizeof(T),
                         stream, (const T *)from, (T *)to, rows, a, b));
    return LAUNCHED;
}

static __global__ void fold(const KernelNorm n, const float *weight, const float *bias,
                            int64_t each, float *folded, float *folded_bias)
{
    for (int64_t i = first_element(); i < n.channels * each; i += next_element()) {
        int   c = (int)(i / each);
        float scale = n.weight[c] / sqrtf(n.variance[c] + (float)n.eps);

        folded[i] = weight[i] * scale;
        if (i % each == 0)
            folded_bias[c] = n.bias[c] + ((bias ? bias[c] : 0.0f) - n.mean[c]) * scale;
    }
}

int kernel_fold(const KernelNorm *n, const float *weight, const float *bias, int64_t each,
                float *folded, float *folded_bias, cudaStream_t stream)
{
    LAUNCH(fold, blocks_for(n->channels * each), 256, 0, stream, *n, weight, bias, each, folded,
           folded_bias);
    return LAUNCHED;
}
