/* NVIDIA GPUs as devices: GPUs opened, memory, copies. */
#include "kernels/cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>

enum { ALIGN = 16 };         /* floats: what counts are rounded up to, so that kernels may read 16
                              * bytes */

enum { LEAST_SCRATCH = 1 << 17 };        /* floats: losses of up to 65534 rows take no more */

static void close_device(Device *base)
{
    CudaDevice *device = cuda_device(base);

    for (int i = 0; i < STREAM_COUNT; i++)
        if (device->streams[i]) cudaStreamSynchronize(device->streams[i]);
    cuda_replay_free(device);
    cuda_release(device->work);
    cuda_release(device->scratch);
    if (device->cudnn) cudnnDestroy(device->cudnn);
    if (device->blas) cublasLtDestroy(device->blas);
    for (int i = 0; i < STREAM_COUNT; i++)
        if (device->streams[i]) cudaStreamDestroy(device->streams[i]);
    slice_leave(device->slice, device->gpu);
    free(device);
}

/* Opens device index of spec: the GPU, or its slice, streams, cuBLASLt and scratch. */
static int open_device(Device **out, const DeviceSpec *spec, int index, Error *err)
{
    CudaDevice *device = calloc(1, sizeof *device);
    char        what[32];
    int         major = 0, minor = 0;

    *out = NULL;
    if (!device) return error_no_memory(err);
    device->base.backend = &backend_cuda;
    device->gpu = device_spec_gpu(spec, index);
    device->precision = spec->precision;
    snprintf(what, sizeof what, "cuda:%d", device->gpu);
    if (cuda_failed(cudaSetDevice(device->gpu), what, err) != 0
        || cuda_failed(cudaDeviceGetAttribute(&device->processors, cudaDevAttrMultiProcessorCount,
                                              device->gpu),
                       what, err)
               != 0
        || cuda_failed(
               cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device->gpu), what,
               err)
               != 0
        || cuda_failed(
               cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device->gpu), what,
               err)
               != 0)
        goto failed;
    device->capability = 10 * major + minor;
    if (spec->slices > 1
        && slice_enter(&device->slice, &device->processors, device->gpu, spec->slices,
                       device_spec_slice(spec, index), err)
               != 0)
        goto failed;
    for (int i = 0; i < STREAM_COUNT; i++)
        if (cuda_failed(cudaStreamCreateWithFlags(&device->streams[i], cudaStreamNonBlocking), what,
                        err)
            != 0)
            goto failed;
    device->stream = device->streams[STREAM_COMPUTE];
    if (blas_failed(cublasLtCreate(&device->blas), what, err) != 0) goto failed;
    if (cuda_reserve_scratch(device, LEAST_SCRATCH, err) != 0) goto failed;
    *out = &device->base;
    return 0;
failed:
    close_device(&device->base);
    return -1;
}

int cuda_cudnn(CudaDevice *device, cudnnHandle_t *out, Error *err)
{
    char what[32];

    snprintf(what, sizeof what, "cuda:%d", device->gpu);
    if (!device->cudnn && cudnn_failed(cudnnCreate(&device->cudnn), what, err) != 0) return -1;
    if (cudnn_failed(cudnnSetStream(device->cudnn, device->streams[STREAM_COMPUTE]), what, err)
        != 0)
        return -1;
    *out = device->cudnn;
    return 0;
}

/* ---- memory ---- */

float *cuda_alloc(CudaDevice *device, size_t count)
{
    size_t rounded = (count + ALIGN - 1) / ALIGN * ALIGN;
    void  *memory = NULL;

    if (count > SIZE_MAX / sizeof(float) - ALIGN
        || cudaMalloc(&memory, rounded * sizeof(float)) != cudaSuccess) {
        cudaGetLastError();              /* it is told by NULL, and must not be told again */
        return NULL;
    }
    cuda_note(device,
              cudaMemsetAsync(memory, 0, rounded * sizeof(float), device->streams[STREAM_COMPUTE]),
              "memory");
    cuda_note(device, cudaStreamSynchronize(device->streams[STREAM_COMPUTE]), "memory");
    return memory;
}

int cuda_no_memory(Device *base, size_t count, const char *what, Error *err)
{
    CudaDevice *device = cuda_device(base);
    size_t      free_bytes = 0, all_bytes = 0;

    if (cudaMemGetInfo(&free_bytes, &all_bytes) != cudaSuccess) cudaGetLastError();
    return error_set(err,
                     "cuda:%d: no memory for %s: %zu MiB wanted, %zu of %zu MiB are free; a "
                     "smaller --batch, or fewer blocks "
                     "or slices on the GPU, needs less",
                     device->gpu, what, (count * sizeof(float) >> 20) + 1, free_bytes >> 20,
                     all_bytes >> 20);
}

void cuda_release(float *memory)
{
    if (memory) cudaFree(memory);
}

static float *alloc(Device *device, size_t count) { return cuda_alloc(cuda_device(device), count); }
static void   release(Device *device, float *memory) { (void)device; cuda_release(memory); }

static int grow(CudaDevice *device, float **memory, int64_t *count, int64_t wanted, Error *err)
{
    if (wanted <= *count) return 0;
    cuda_replay_forget(&device->base, NULL);             /* graphs know the memory that goes */
    cuda_release(*memory);               /* first: both need not fit. cudaFree() waits for work that
                                          * uses it */
    *count = 0;
    *memory = cuda_alloc(device, (size_t)wanted);
    if (!*memory) return cuda_no_memory(&device->base, (size_t)wanted, "kernels to work in", err);
    *count = wanted;
    return 0;
}

static int reserve(Device *base, int64_t count, Error *err)
{
    CudaDevice *device = cuda_device(base);

    return grow(device, &device->work, &device->work_count, count, err);
}

int cuda_reserve_scratch(CudaDevice *device, int64_t count, Error *err)
{
    return grow(device, &device->scratch, &device->scratch_count, count, err);
}

static float *work(Device *device) { return cuda_device(device)->work; }

static int64_t reserved(const Device *base)
{
    const CudaDevice *device = (const CudaDevice *)base;

    return (device->work_count + device->scratch_count) * (int64_t)sizeof(float);
}

/* ---- copies ---- */

static void copy_bytes(Device *base, void *to, const void *from, int64_t count,
                       enum cudaMemcpyKind kind)
{
    CudaDevice *device = cuda_device(base);

    if (count > 0)
        cuda_note(device,
                  cudaMemcpyAsync(to, from, (size_t)count * sizeof(float), kind, device->stream),
                  "a copy");
}

static void copy(Device *device, float *to, const float *from, int64_t count)
{
    copy_bytes(device, to, from, count, cudaMemcpyDeviceToDevice);
}

/* The host's memory is the caller's again when these return. */
static void fetch(Device *device, float *host, const float *memory, int64_t count)
{
    copy_bytes(device, host, memory, count, cudaMemcpyDeviceToHost);
    cuda_note(cuda_device(device), cudaStreamSynchronize(cuda_device(device)->stream),
              "a copy to the host");
}

static void put(Device *device, float *memory, const float *host, int64_t count)
{
    copy_bytes(device, memory, host, count, cudaMemcpyHostToDevice);
    cuda_note(cuda_device(device), cudaStreamSynchronize(cuda_device(device)->stream),
              "a copy from the host");
}

const Backend backend_cuda = {
    .name = "cuda",
    .async = true,
    .adds = true,
    .streams = &cuda_streams,
    .spec = cuda_spec,
    .facts = cuda_facts,
    .open = open_device,
    .close = close_device,
    .alloc = alloc,
    .release = release,
    .no_memory = cuda_no_memory,
    .reserve = reserve,
    .work = work,
    .reserved = reserved,
    .fetch = fetch,
    .put = put,
    .copy = copy,
    .put_ints = cuda_put_ints,
    .half = cuda_is_half,
    .narrow = cuda_narrow,
    .widen = cuda_widen,
    .add = cuda_add,
    .add_floats = cuda_add_floats,
    .clips = true,
    .sgd = cuda_sgd,
    .adamw = cuda_adamw,
    .check_finite = cuda_check_finite,
    .loss = cuda_loss,
    .losses = (1u << LOSS_COUNT) - 1,
    .choices = cuda_choices,
    .keep_choices = choices_keep,
    .version = choices_version,
    .kept = cuda_operator_kept,
    .make = cuda_operator_make,
    .free = cuda_operator_free,
    .prepare = cuda_operator_prepare,
    .changed = cuda_operator_changed,
    .forward = cuda_operator_forward,
    .backward = cuda_operator_backward,
    .bytes = cuda_operator_bytes,
};
