/* What .cu files need to be compiled by nvcc, and by a C++ compiler for tests that run them on
 * the CPU (tests/cuda/emulator.h, included before this, which then has all of it):
 *
 *     LAUNCH((kernel<3>), blocks, threads, shared_bytes, stream, arguments...)
 *     SHARED(float, tile);      in a kernel: tile is the block's shared memory
 *
 * Kernels end with return LAUNCHED, and use of CUDA's device functions what emulator.h has. */
#ifndef KERNELS_CUDA_LAUNCH_H
#define KERNELS_CUDA_LAUNCH_H

#ifndef LAUNCH
#include <cuda_runtime.h>

#define LAUNCH(kernel, blocks, threads, bytes, stream, ...) \
    kernel<<<blocks, threads, bytes, stream>>>(__VA_ARGS__)
#define SHARED(type, name)                    \
    extern __shared__ float4 shared_memory[]; \
    type *name = reinterpret_cast<type *>(shared_memory)
#endif

#include <cuda_bf16.h>

#include "kernels/cuda/kernel.h"

#define LAUNCHED (int)cudaGetLastError()

static inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Blocks of 256 threads for count of them; more is done by turns. */
static inline unsigned blocks_for(int64_t count)
{
    int64_t blocks = ceil_div(count, 256);

    return (unsigned)(blocks < 1 ? 1 : blocks > 65536 ? 65536 : blocks);
}

/* Whether all of them may be read 16 bytes at a time. */
static inline bool aligned16(const void *a, const void *b = nullptr, const void *c = nullptr)
{
    return ((reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b)
             | reinterpret_cast<uintptr_t>(c))
            & 15)
           == 0;
}

/* N neighbouring numbers, loaded and stored at once; N is 1 or 4. They are floats in registers,
 * whatever they are in memory. */
template <int N> struct alignas(4 * N) Floats { float v[N]; };
template <int N> struct alignas(2 * N) Halves { __nv_bfloat16 v[N]; };

template <int N> static __device__ inline Floats<N> load(const float *p)
{
    return *reinterpret_cast<const Floats<N> *>(p);
}
template <int N> static __device__ inline void store(float *p, const Floats<N> &f)
{
    *reinterpret_cast<Floats<N> *>(p) = f;
}

template <int N> static __device__ inline Floats<N> load(const __nv_bfloat16 *p)
{
    Halves<N> h = *reinterpret_cast<const Halves<N> *>(p);
    Floats<N> f;

    for (int i = 0; i < N; i++) f.v[i] = __bfloat162float(h.v[i]);
    return f;
}

template <int N> static __device__ inline void store(__nv_bfloat16 *p, const Floats<N> &f)
{
    Halves<N> h;

    for (int i = 0; i < N; i++) h.v[i] = __float2bfloat16(f.v[i]);
    *reinterpret_cast<Halves<N> *>(p) = h;
}

/* One number. */
template <class T> static __device__ inline float load1(const T *p) { return load<1>(p).v[0]; }
template <class T> static __device__ inline void  store1(T *p, float value)
{
    store<1>(p, Floats<1>{{value}});
}

/* Does what follows with T as the type of a tensor's numbers. */
#define OF_TYPE(type, ...)           \
    do {                             \
        if ((type) == KERNEL_BF16) { \
            using T = __nv_bfloat16; \
            __VA_ARGS__;             \
        } else {                     \
            using T = float;         \
            __VA_ARGS__;             \
        }                            \
    } while (0)

template <int N> static __device__ inline Floats<N> all(float value)
{
    Floats<N> f;

    for (int i = 0; i < N; i++) f.v[i] = value;
    return f;
}

/* Threads lie as [rows][lanes]: the sum over rows, in their order, at the first row's threads.
 * shared: [threads]. */
static __device__ inline double sum_rows(double mine, double *shared, int lanes, int rows)
{
    shared[threadIdx.x] = mine;
    __syncthreads();
    for (int r = 1; (int)threadIdx.x < lanes && r < rows; r++)
        mine += shared[r * lanes + (int)threadIdx.x];
    return mine;
}

/* The first of this thread's elements of a pass over an array, and how far it is to the next. */
static __device__ inline int64_t first_element()
{
    return blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
}
static __device__ inline int64_t next_element() { return (int64_t)gridDim.x * blockDim.x; }

/* NaN stays NaN. */
static __device__ inline float cut(float v, float floor, float limit)
{
    v = v < floor ? floor : v;
    return v > limit ? limit : v;
}

#endif
