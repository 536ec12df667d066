/* What libpipebd-cuda.so gives to the program that loads it. */
#include "base/plugin.h"
#include "executor/transport/nccl/nccl.h"
#include "include/pipebd.h"
#include "kernels/cuda_plugin.h"

extern FOR_PLUGINS const CudaPlugin pipebd_cuda_plugin;

const CudaPlugin pipebd_cuda_plugin = {
    .version = PIPEBD_VERSION, .table_bytes = sizeof(Backend), .backend = &backend_cuda,
#ifdef HAVE_NCCL
    .nccl_new = (void (*)(void))nccl_new,
#endif
};
