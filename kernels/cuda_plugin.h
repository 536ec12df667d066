/* The CUDA backend is a plug-in, libpipebd-cuda.so, loaded when cuda: devices are asked for: so one
 * package serves machines with and without GPUs, and a run on CPUs does not wait for CUDA's
 * libraries.
 *
 * Looked for in $PIPEBD_PLUGINS, beside the program (../lib/pipebd), and where it was installed.
 * Programs that tests link it into have it already. */
#ifndef KERNELS_CUDA_PLUGIN_H
#define KERNELS_CUDA_PLUGIN_H

#include "kernels/backend.h"

typedef struct {
    const char    *version;      /* PIPEBD_VERSION, */
    size_t         table_bytes;  /* and sizeof(Backend), of the program that it is made for */
    const Backend *backend;
    void         (*nccl_new)(void);      /* executor/transport/nccl/nccl.h has its type; NULL: built
                                          * without NCCL */
} CudaPlugin;

/* NULL, and why, where it cannot be had. From any thread; loaded once, and kept. */
const CudaPlugin *cuda_plugin(Error *err);

#endif
