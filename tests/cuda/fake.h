/* A fake of CUDA, cuDNN and cuBLASLt for tests on machines without a GPU: the functions that the
 * backend calls, with the same names, linked in their place.
 *
 *     fake_runtime.c   GPUs, memory, streams, events, graphs
 *     fake_cudnn.c     convolutions, slow loops
 *     fake_blas.c      products, slow loops
 *     fake_nccl.c      messages between GPUs
 *     emulator.{h,cpp}   runs the kernels of .cu files, compiled as C++
 *
 * To be caught are mistakes of the host's side that a GPU shows only sometimes:
 *
 *   - With a guard, a GPU's memory is out of the program's reach (PROT_NONE) but while enqueued
 *     work runs, so that touching it from the host ends in a signal; copies look at which side
 *     their pointers are on; memory starts as NaN, and under the address sanitizer overruns are
 *     found.
 *   - A stream runs nothing until somebody waits for it (or asks, or a copy to ordinary memory must
 *     end), so that results read too early are not there yet. Work waits for events as enqueued,
 *     and streams that nothing orders run one after another in the order they are waited for.
 *   - Kernels get no pointers to ordinary memory.
 *
 * PIPEBD_FAKE_GPUS: how many GPUs (2). PIPEBD_FAKE_BYTES: memory of each (1 GiB).
 * PIPEBD_FAKE_GUARD=1: memory is out of reach as said above, which takes time. */
#ifndef TESTS_CUDA_FAKE_H
#define TESTS_CUDA_FAKE_H

#include <stdbool.h>
#include <stddef.h>

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Queues run(closure); destroy(closure) when it is not needed any more. Returns and remembers
 * errors as CUDA's calls do. A recorded graph runs it again; every n-th (PIPEBD_FAKE_UNRECORDABLE)
 * fails while a graph is recorded, and makes that invalid, as calls do that a graph cannot hold. */
typedef void FakeRun(void *closure);
cudaError_t fake_queue(cudaStream_t stream, FakeRun *run, void *closure, FakeRun *destroy);

/* Fails the call: what cudaGetLastError() gives. */
cudaError_t fake_fail(cudaError_t status);

/* Memory of a GPU; of cudaHostAlloc(), too. */
bool fake_is_device(const void *memory);
bool fake_is_reachable(const void *memory);

#ifdef __cplusplus
}
#endif

#endif
