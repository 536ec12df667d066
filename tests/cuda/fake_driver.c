/* The driver's functions that cut a GPU into slices: a GPU has 16 multiprocessors, given out in
 * pairs. PIPEBD_FAKE_DRIVER=old: one that knows none of it. */
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cuda/fake.h"

enum { ALL = 16, STEP = 2 };

static CUresult get_device(CUdevice *out, int number) { *out = number; return CUDA_SUCCESS; }

static CUresult get_resource(CUdevice device, CUdevResource *out, CUdevResourceType type)
{
    (void)device;
    if (type != CU_DEV_RESOURCE_TYPE_SM) return CUDA_ERROR_INVALID_RESOURCE_TYPE;
    memset(out, 0, sizeof *out);
    out->type = type;
    out->sm.smCount = ALL;
    out->sm.minSmPartitionSize = out->sm.smCoscheduledAlignment = STEP;
    return CUDA_SUCCESS;
}

static CUresult split(CUdevResource *out, unsigned *groups, const CUdevResource *in,
                      CUdevResource *rest, unsigned flags, unsigned least)
{
    unsigned each = (least + STEP - 1) / STEP * STEP;

    (void)rest, (void)flags;
    if (each == 0 || each > ALL) return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
    if (*groups > ALL / each) *groups = ALL / each;
    for (unsigned i = 0; out && i < *groups; i++) {
        out[i] = *in;
        out[i].sm.smCount = each;
    }
    return CUDA_SUCCESS;
}

static CUresult describe(CUdevResourceDesc *out, CUdevResource *resource, unsigned count)
{
    (void)count;
    *out = (CUdevResourceDesc)(void *)resource;
    return CUDA_SUCCESS;
}

static CUresult create(CUgreenCtx *out, CUdevResourceDesc description, CUdevice device,
                       unsigned flags)
{
    (void)description, (void)flags;
    *out = (CUgreenCtx)(uintptr_t)(0x1000 + device);
    return CUDA_SUCCESS;
}

static CUresult destroy(CUgreenCtx context) { (void)context; return CUDA_SUCCESS; }
static CUresult context_of(CUcontext *out, CUgreenCtx context)
{
    *out = (CUcontext)(void *)context;
    return CUDA_SUCCESS;
}
static CUresult use(CUcontext context)
{
    return cudaSetDevice((int)((uintptr_t)context - 0x1000)) == cudaSuccess
               ? CUDA_SUCCESS
               : CUDA_ERROR_INVALID_CONTEXT;
}

typedef void Function(void);

cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **out, unsigned version,
                                             unsigned long long                    flags,
                                             enum cudaDriverEntryPointQueryResult *found)
{
    static const struct { const char *name; Function *function;
    } known[] = {{"cuDeviceGet", (Function *)get_device},
                 {"cuDeviceGetDevResource", (Function *)get_resource},
                 {"cuDevSmResourceSplitByCount", (Function *)split},
                 {"cuDevResourceGenerateDesc", (Function *)describe},
                 {"cuGreenCtxCreate", (Function *)create},
                 {"cuGreenCtxDestroy", (Function *)destroy},
                 {"cuCtxFromGreenCtx", (Function *)context_of},
                 {"cuCtxSetCurrent", (Function *)use}};

    const char *driver = getenv("PIPEBD_FAKE_DRIVER");

    (void)version, (void)flags;
    *found = cudaDriverEntryPointSymbolNotFound;
    *out = NULL;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, name) == 0
            && !(driver && strcmp(driver, "old") == 0 && strstr(name, "Green"))) {
            memcpy(out, &known[i].function, sizeof *out);
            *found = cudaDriverEntryPointSuccess;
        }
    return cudaSuccess;
}
