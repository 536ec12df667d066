/* For .cu files: passes over memory, N numbers a thread at a time, and sums over a warp. */
#ifndef KERNELS_CUDA_PASS_H
#define KERNELS_CUDA_PASS_H

#include "kernels/cuda/launch.h"

/* Queues of, a kernel for N numbers at a time, on count of them: four at a time where they are
 * wide. */
#define LAUNCH_NUMBERS(of, wide, count, stream, ...)                          \
    do {                                                                      \
        if ((count) < 1) return 0;                                            \
        if (wide) {                                                           \
            const int N = 4;                                                  \
            LAUNCH(of, blocks_for((count) / 4), 256, 0, stream, __VA_ARGS__); \
        } else {                                                              \
            const int N = 1;                                                  \
            LAUNCH(of, blocks_for(count), 256, 0, stream, __VA_ARGS__);       \
        }                                                                     \
    } while (0)

/* Sum over a warp, in all its threads: the order is fixed. All threads of the warp take part. */
static __device__ inline float warp_sum(float v)
{
    for (int lanes = 16; lanes > 0; lanes /= 2) v += __shfl_xor_sync(0xffffffffu, v, lanes);
    return v;
}

/* Sum, or most, over the block, in all threads. shared: [threads]. */
template <class T, bool MOST> static __device__ inline T over_block(T mine, T *shared)
{
    __syncthreads();
    shared[threadIdx.x] = mine;
    for (int half = (int)blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < half) {
            T other = shared[threadIdx.x + half];

            if (MOST)
                shared[threadIdx.x] = other > shared[threadIdx.x] ? other : shared[threadIdx.x];
            else shared[threadIdx.x] += other;
        }
    }
    __syncthreads();
    return shared[0];
}

#endif
