/* For .cu files: a warp a vector, and gradients of weights in two stages, as channels.cu's sums: a
 * block sums a part of the vectors, in float, its warps every eighth vector each, whose sums are
 * added in order; then parts are added in double, in their order. */
#ifndef KERNELS_CUDA_PARTS_H
#define KERNELS_CUDA_PARTS_H

#include "kernels/cuda/sequence/pass.h"

enum { THREADS = 256, WARP = 32, PARTS_MAX = 256, VECTORS_LEAST = 32 };  /* of a part */

/* Blocks for a warp a vector. */
static inline unsigned vector_blocks(int64_t vectors) { return blocks_for(vectors * WARP); }

/* The warp's first vector, and how far it is to its next. */
static __device__ inline int64_t first_vector() { return first_element() / WARP; }
static __device__ inline int64_t next_vector() { return next_element() / WARP; }

static inline int64_t parts_of(int64_t vectors)
{
    int64_t parts = ceil_div(vectors, VECTORS_LEAST);

    return parts > PARTS_MAX ? (int64_t)PARTS_MAX : parts;
}

/* partial: [parts][sums][columns], of one sum or two; second NULL: not wanted. */
static __global__ void add_parts(const float *partial, int64_t parts, int sums, int columns,
                                 float *first, float *second)
{
    int64_t all = (int64_t)sums * columns;

    for (int64_t i = first_element(); i < all; i += next_element()) {
        float *to = i < columns ? first + i : second ? second + (i - columns) : nullptr;
        double sum = 0.0;

        for (int64_t part = 0; to && part < parts; part++) sum += (double)partial[part * all + i];
        if (to) *to = (float)sum;
    }
}

#endif
