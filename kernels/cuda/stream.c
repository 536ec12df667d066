/* Streams, events, copies between devices, sums over groups: what kernels/stream.h declares. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <nvtx3/nvToolsExt.h>

#include "kernels/cuda/cuda.h"

typedef struct {
    struct StreamEvent base;
    CudaDevice *device;
    cudaEvent_t event;
} CudaMark;

static CudaMark *cuda_mark(const StreamEvent *event) { return (CudaMark *)(uintptr_t)event; }

static void use(Device *base, StreamNumber stream)
{
    CudaDevice *device = cuda_device(base);

    device->stream = device->streams[stream];
}

static void *native(Device *base) { return cuda_device(base)->stream; }

static int finish(Device *base, Error *err)
{
    CudaDevice *device = cuda_device(base);
    int         rc = cuda_noted(device, err);

    for (int i = 0; i < STREAM_COUNT; i++)
        if (rc == 0)
            rc = cuda_failed(cudaStreamSynchronize(device->streams[i]), "work of the GPU", err);
        else         cudaStreamSynchronize(device->streams[i]);
    return rc;
}

/* ---- events ---- */

/* The thread sleeps when it waits for one: it has nothing else to do, others want its core. */
static int make_mark(StreamEvent **out, Device *base, Error *err)
{
    CudaMark *event = calloc(1, sizeof *event);

    *out = NULL;
    if (!event) return error_no_memory(err);
    event->base.backend = base->backend;
    event->device = cuda_device(base);
    if (cuda_failed(cudaEventCreateWithFlags(&event->event, cudaEventBlockingSync), "an event", err)
        != 0) {
        free(event);
        return -1;
    }
    *out = &event->base;
    return 0;
}

static void free_mark(StreamEvent *event)
{
    cudaEventDestroy(cuda_mark(event)->event);
    free(event);
}

static int set_mark(Device *base, StreamEvent *event, Error *err)
{
    CudaDevice *device = cuda_device(base);

    if (cuda_noted(device, err) != 0) return -1;
    return cuda_failed(cudaEventRecord(cuda_mark(event)->event, device->stream), "an event", err);
}

static int wait_for_mark(Device *base, const StreamEvent *event, Error *err)
{
    return cuda_failed(cudaStreamWaitEvent(cuda_device(base)->stream, cuda_mark(event)->event, 0),
                       "waiting for an event", err);
}

static int finish_mark(const StreamEvent *event, Error *err)
{
    if (cuda_noted(cuda_mark(event)->device, err) != 0) return -1;
    return cuda_failed(cudaEventSynchronize(cuda_mark(event)->event), "work of the GPU", err);
}

/* Milliseconds as a float: to half a microsecond over the steps that lie between two events. */
static int64_t since(const StreamEvent *from, const StreamEvent *event)
{
    float ms = 0;

    if (cudaEventElapsedTime(&ms, cuda_mark(from)->event, cuda_mark(event)->event) != cudaSuccess)
        cudaGetLastError();
    return llround((double)ms * 1e6);
}

/* ---- memory of the host ---- */

static void *alloc_host(const DeviceSpec *spec, size_t bytes)
{
    void *memory = NULL;

    (void)spec;
    if (cudaHostAlloc(&memory, bytes ? bytes : 1, cudaHostAllocPortable) != cudaSuccess) {
        cudaGetLastError();
        return NULL;
    }
    memset(memory, 0, bytes);
    return memory;
}

static void release_host(const DeviceSpec *spec, void *memory)
{
    (void)spec;
    cudaFreeHost(memory);
}

/* ---- copies ---- */

static int load(Device *base, float *to, const float *host, int64_t count, Error *err)
{
    return cuda_failed(cudaMemcpyAsync(to, host, (size_t)count * sizeof *to, cudaMemcpyHostToDevice,
                                       cuda_device(base)->stream),
                       "rows from the host", err);
}

static int store(Device *base, float *host, const float *from, int64_t count, Error *err)
{
    return cuda_failed(cudaMemcpyAsync(host, from, (size_t)count * sizeof *host,
                                       cudaMemcpyDeviceToHost, cuda_device(base)->stream),
                       "rows to the host", err);
}

static int move(Device *base, float *to, const Device *to_device, const float *from,
                const Device *from_device, int64_t count, Error *err)
{
    int          to_gpu = ((const CudaDevice *)to_device)->gpu,
                 from_gpu = ((const CudaDevice *)from_device)->gpu;
    size_t       bytes = (size_t)count * sizeof *to;
    cudaStream_t stream = cuda_device(base)->stream;
    cudaError_t  status = to_gpu == from_gpu
                              ? cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream)
                              : cudaMemcpyPeerAsync(to, to_gpu, from, from_gpu, bytes, stream);

    return cuda_failed(status, "a message", err);
}

/* Asks for access the first time. */
static bool reaches(Device *base, const DeviceSpec *spec, int index)
{
    CudaDevice *device = cuda_device(base);
    int         other = device_spec_gpu(spec, index), can = 0;

    if (other == device->gpu) return true;
    if (cudaDeviceCanAccessPeer(&can, device->gpu, other) != cudaSuccess || !can) {
        cudaGetLastError();
        return false;
    }
    cudaError_t status = cudaDeviceEnablePeerAccess(other, 0);
    if (status != cudaSuccess) cudaGetLastError();
    return status == cudaSuccess || status == cudaErrorPeerAccessAlreadyEnabled;
}

/* ---- sums ---- */

static int members_of(KernelMembers *out, void *const *values, int members, Error *err)
{
    if (members > KERNEL_MEMBERS)
        return error_set(err, "a sum over %d devices of one process: at most %d", members,
                         KERNEL_MEMBERS);
    out->count = members;
    for (int m = 0; m < members; m++) out->values[m] = values[m];
    return 0;
}

static int sum(Device *base, float *const *values, int members, int64_t count, Error *err)
{
    KernelMembers of;
    void         *memory[KERNEL_MEMBERS];

    for (int m = 0; m < members && m < KERNEL_MEMBERS; m++) memory[m] = values[m];
    if (members_of(&of, memory, members, err) != 0) return -1;
    return launch_failed(kernel_sum_members(&of, count, cuda_device(base)->stream),
                         "a sum over devices", err);
}

static int sum_doubles(Device *base, double *to, double *const *values, int members, int count,
                       Error *err)
{
    KernelMembers of;
    void         *memory[KERNEL_MEMBERS];

    for (int m = 0; m < members && m < KERNEL_MEMBERS; m++) memory[m] = values[m];
    if (members_of(&of, memory, members, err) != 0) return -1;
    return launch_failed(kernel_sum_doubles(to, &of, count, cuda_device(base)->stream),
                         "a sum over devices", err);
}

/* ---- names for profilers ---- */

static void begin_range(Device *device, const char *name)
{
    (void)device;
    nvtxRangePushA(name);
}

static void end_range(Device *device)
{
    (void)device;
    nvtxRangePop();
}

const StreamOps cuda_streams = {
    .use = use,
    .finish = finish,
    .native = native,
    .event_new = make_mark,
    .event_free = free_mark,
    .event_record = set_mark,
    .stream_wait_event = wait_for_mark,
    .event_synchronize = finish_mark,
    .event_elapsed_ns = since,
    .host_alloc = alloc_host,
    .host_release = release_host,
    .load = load,
    .store = store,
    .move = move,
    .reaches = reaches,
    .sum = sum,
    .sum_doubles = sum_doubles,
    .replay_begin = cuda_replay_begin,
    .replay_end = cuda_replay_end,
    .replay_forget = cuda_replay_forget,
    .replay_counts = cuda_replay_counts,
    .range_begin = begin_range,
    .range_end = end_range,
};
