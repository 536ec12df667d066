/* What .cu files need to be compiled as C++ for the CPU: given to the compiler before them
 * (-include). A kernel that is launched is queued on the fake's stream, and run then a block after
 * another, each thread a fiber that runs until it ends or comes to __syncthreads() or to an
 * exchange within its warp. Blocks run their threads first to last and last to first by turns, and
 * shared memory starts as NaN, so that a missing barrier shows. Block sizes, grids and shared
 * memory are held to a GPU's limits. */
#ifndef TESTS_CUDA_EMULATOR_H
#define TESTS_CUDA_EMULATOR_H

#include <tuple>
#include <utility>

#include <cuda_runtime_api.h>
#include <vector_functions.h>

#include "tests/cuda/fake.h"

extern thread_local uint3 threadIdx, blockIdx;
extern thread_local dim3  blockDim, gridDim;

void __syncthreads();

/* The value of the thread whose number in the warp differs by these bits. All threads of the warp
 * take part; blocks are of whole warps. */
float __shfl_xor_sync(unsigned mask, float value, int lanes);

/* The block's shared memory. */
void *emulator_shared();

/* Runs body(closure) for every thread. */
typedef void EmulatorBody(void *closure);
void         emulator_run(dim3 blocks, dim3 threads, size_t shared_bytes, EmulatorBody *body,
                          void *closure);

/* Whether a GPU would take it; else fails as cudaGetLastError() tells. */
bool emulator_accepts(dim3 blocks, dim3 threads, size_t shared_bytes);

template <class T> bool emulator_reachable(const T &) { return true; }
template <class T> bool emulator_reachable(T *const &memory) { return fake_is_reachable(memory); }

template <class... P> struct EmulatorLaunch {
    dim3             blocks, threads;
    size_t           bytes;
    void             (*kernel)(P...);
    std::tuple<P...> arguments;

    static void thread(void *closure)
    {
        EmulatorLaunch *l = static_cast<EmulatorLaunch *>(closure);

        std::apply(l->kernel, l->arguments);
    }
    static void run(void *closure)
    {
        EmulatorLaunch *l = static_cast<EmulatorLaunch *>(closure);

        emulator_run(l->blocks, l->threads, l->bytes, thread, l);
    }
    static void destroy(void *closure) { delete static_cast<EmulatorLaunch *>(closure); }
};

template <class... P, class... A>
void emulator_launch(dim3 blocks, dim3 threads, size_t bytes, cudaStream_t stream,
                     void (*kernel)(P...), A... arguments)
{
    using Launch = EmulatorLaunch<P...>;

    if (!emulator_accepts(blocks, threads, bytes)) return;
    if (!(emulator_reachable(arguments) && ...)) { fake_fail(cudaErrorInvalidValue); return; }
    fake_queue(stream, Launch::run,
               new Launch{blocks, threads, bytes, kernel, std::tuple<P...>(arguments...)},
               Launch::destroy);
}

#define LAUNCH(kernel, blocks, threads, bytes, stream, ...) \
    emulator_launch(dim3(blocks), dim3(threads), bytes, stream, kernel, __VA_ARGS__)
#define SHARED(type, name) type *name = static_cast<type *>(emulator_shared())

/* For nvcc's registers. */
#ifndef __launch_bounds__
#define __launch_bounds__(...)
#endif

#endif
