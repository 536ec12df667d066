/* A GPU cut into slices: green contexts with multiprocessors of their own. The driver's functions
 * are asked for by name through the runtime, so that nothing is linked to the driver, and what
 * older drivers lack is an error of those who want slices.
 *
 * Streams, events and libraries that are made while a slice's context is the thread's own keep to
 * the slice. Memory is the GPU's, whatever the context. A GPU is cut once for a number of slices,
 * as only the parts of one cut are promised to have nothing in common; each slice takes its
 * part. */
#include "kernels/cuda/cuda.h"

#include <cuda.h>
#include <cudaTypedefs.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct Slice {
    CUgreenCtx context;
};

typedef struct {
    PFN_cuDeviceGet_v2000                  device;
    PFN_cuDeviceGetDevResource_v12040      resource;
    PFN_cuDevSmResourceSplitByCount_v12040 split;
    PFN_cuDevResourceGenerateDesc_v12040   describe;
    PFN_cuGreenCtxCreate_v12040            create;
    PFN_cuGreenCtxDestroy_v12040           destroy;
    PFN_cuCtxFromGreenCtx_v12040           context_of;
    PFN_cuCtxSetCurrent_v4000              use;
} Driver;

typedef struct {
    CUdevResource part[SLICES_MAX];
    unsigned      all, each;             /* multiprocessors */
} SliceCut;

enum { LEAST_DRIVER = 12040 };           /* CUDA 12.4 has green contexts */

static int find(void *to, size_t size, const char *name, int version, Error *err)
{
    enum cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    void       *entry = NULL;
    cudaError_t status = cudaGetDriverEntryPointByVersion(name, &entry, (unsigned)version,
                                                          cudaEnableDefault, &found);

    if (status != cudaSuccess || found != cudaDriverEntryPointSuccess || !entry) {
        cudaGetLastError();
        return error_set(err,
                         "slices of a GPU need a driver of CUDA %d.%d or newer: this one has no %s",
                         LEAST_DRIVER / 1000, LEAST_DRIVER % 1000 / 10, name);
    }
    memcpy(to, &entry, size);            /* a function's address: C has no cast from an object's */
    return 0;
}

#define FIND(field, name, version) find(&out->field, sizeof out->field, name, version, err)

static int find_driver(Driver *out, Error *err)
{
    if (FIND(device, "cuDeviceGet", 2000) != 0
        || FIND(resource, "cuDeviceGetDevResource", 12040) != 0
        || FIND(split, "cuDevSmResourceSplitByCount", 12040) != 0
        || FIND(describe, "cuDevResourceGenerateDesc", 12040) != 0
        || FIND(create, "cuGreenCtxCreate", 12040) != 0
        || FIND(destroy, "cuGreenCtxDestroy", 12040) != 0
        || FIND(context_of, "cuCtxFromGreenCtx", 12040) != 0
        || FIND(use, "cuCtxSetCurrent", 4000) != 0)
        return -1;
    return 0;
}

static int driver_failed(CUresult status, int gpu, const char *what, Error *err)
{
    if (status == CUDA_SUCCESS) return 0;
    return error_set(err, "cuda:%d: %s: the driver's error %d", gpu, what, (int)status);
}

/* The largest equal parts: as many multiprocessors as the GPU has for each, down to what it can
 * give. */
static int cut_anew(SliceCut *out, const Driver *driver, int gpu, int slices, Error *err)
{
    static const unsigned flags[] = {0, CU_DEV_SM_RESOURCE_SPLIT_IGNORE_SM_COSCHEDULING};
    CUdevResource whole;
    CUdevice      device;

    if (driver_failed(driver->device(&device, gpu), gpu, "asking for the GPU", err) != 0
        || driver_failed(driver->resource(device, &whole, CU_DEV_RESOURCE_TYPE_SM), gpu,
                         "asking for multiprocessors", err)
               != 0)
        return -1;
    out->all = whole.sm.smCount;
    for (size_t f = 0; f < sizeof flags / sizeof *flags; f++)
        for (unsigned least = out->all / (unsigned)slices; least > 0; least--) {
            unsigned groups = (unsigned)slices;
            if (driver->split(out->part, &groups, &whole, NULL, flags[f], least) != CUDA_SUCCESS
                || groups < (unsigned)slices)
                continue;
            out->each = out->part[0].sm.smCount;
            return 0;
        }
    return error_set(err,
                     "cuda:%d/%d: the GPU has %u multiprocessors, and gives them out in groups of "
                     "%u at least, in steps of "
                     "%u: too few for %d slices",
                     gpu, slices, out->all, whole.sm.minSmPartitionSize,
                     whole.sm.smCoscheduledAlignment, slices);
}

/* Cuts that were made, newest first. */
static struct Made { SliceCut cut; int gpu, slices; struct Made *next; } *made;
static pthread_mutex_t made_lock = PTHREAD_MUTEX_INITIALIZER;

/* With the lock. */
static int find_cut(SliceCut *out, const Driver *driver, int gpu, int slices, Error *err)
{
    struct Made *one;

    for (one = made; one; one = one->next)
        if (one->gpu == gpu && one->slices == slices) { *out = one->cut; return 0; }
    if (cut_anew(out, driver, gpu, slices, err) != 0) return -1;
    one = malloc(sizeof *one);
    if (!one) return error_no_memory(err);
    *one = (struct Made){*out, gpu, slices, made};
    made = one;                          /* kept until the program ends */
    return 0;
}

static int cut(SliceCut *out, const Driver *driver, int gpu, int slices, Error *err)
{
    pthread_mutex_lock(&made_lock);
    int rc = find_cut(out, driver, gpu, slices, err);
    pthread_mutex_unlock(&made_lock);
    return rc;
}

int slices_count(int *each, int *all, int gpu, int slices, Error *err)
{
    Driver driver;
    SliceCut    parts;

    if (find_driver(&driver, err) != 0 || cut(&parts, &driver, gpu, slices, err) != 0) return -1;
    *each = (int)parts.each;
    *all = (int)parts.all;
    return 0;
}

int slice_enter(Slice **out, int *processors, int gpu, int slices, int slice, Error *err)
{
    Slice            *self = calloc(1, sizeof *self);
    Driver            driver;
    SliceCut               parts;
    CUdevResourceDesc description;
    CUdevice          device;
    CUcontext         context;

    *out = NULL;
    if (!self) return error_no_memory(err);
    if (find_driver(&driver, err) != 0 || cut(&parts, &driver, gpu, slices, err) != 0) goto failed;
    if (driver_failed(driver.device(&device, gpu), gpu, "asking for the GPU", err) != 0
        || driver_failed(driver.describe(&description, &parts.part[slice], 1), gpu,
                         "describing a slice", err)
               != 0
        || driver_failed(
               driver.create(&self->context, description, device, CU_GREEN_CTX_DEFAULT_STREAM), gpu,
               "making a slice", err)
               != 0)
        goto failed;
    if (driver_failed(driver.context_of(&context, self->context), gpu, "a slice's context", err)
            != 0
        || driver_failed(driver.use(context), gpu, "entering a slice", err) != 0) {
        driver.destroy(self->context);
        goto failed;
    }
    *processors = (int)parts.each;
    *out = self;
    return 0;
failed:
    free(self);
    return -1;
}

void slice_leave(Slice *slice, int gpu)
{
    Driver driver;

    if (!slice) return;
    cudaSetDevice(gpu);                 /* the whole GPU's context again */
    if (find_driver(&driver, NULL) == 0) driver.destroy(slice->context);
    free(slice);
}
