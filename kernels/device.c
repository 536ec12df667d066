/* Devices of all backends: asks, opens, and passes calls on to the backend's table. */
#include "kernels/cuda_plugin.h"

#include <sched.h>
#include <stdlib.h>

/* What is in this program itself; NULL: none. */
#ifdef HAVE_DNNL
static const Backend *const own_backend = &backend_cpu;
#else
static const Backend *const own_backend = NULL;
#endif

static const Backend *backend_of(const DeviceSpec *spec)
{
    return spec->backend ? spec->backend : own_backend;
}

static int find_backend(DeviceSpec *spec, Error *err)
{
    if (spec->backend) return 0;
    if (spec->type == DEVICE_CUDA) {
        const CudaPlugin *plugin = cuda_plugin(err);
        if (!plugin) return -1;
        if (spec->nccl && !plugin->nccl_new)
            return error_set(err, "--nccl: this build has no NCCL; make config says what it needs");
        spec->backend = plugin->backend;
        return 0;
    }
    if (!own_backend)
        return error_set(err,
                         "cpu devices: this build has no oneDNN; make config says what it needs");
    spec->backend = own_backend;
    return 0;
}

static int cores_of_process(int *cores, Error *err)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return error_set(err, "cannot ask which cores may be used");
    *cores = CPU_COUNT(&set);
    return 0;
}

int device_spec_ask(DeviceSpec *spec, Error *err)
{
    if (find_backend(spec, err) != 0) return -1;
    return cores_of_process(&spec->cores, err) == 0 ? spec->backend->spec(spec, err) : -1;
}

bool device_reset_environment(void)
{
#ifdef HAVE_DNNL
    return cpu_reset_environment();
#else
    return false;
#endif
}

bool device_spec_is_async(const DeviceSpec *spec) { return backend_of(spec)->async; }

int device_spec_facts(const DeviceSpec *spec, Text *out, Error *err)
{
    const Backend *backend = backend_of(spec);

    return backend && backend->facts ? backend->facts(spec, out, err) : 0;
}

int device_spec_version(const DeviceSpec *spec, Text *out, Error *err)
{
    const Backend *backend = backend_of(spec);

    return backend && backend->version ? backend->version(spec, out, err) : 0;
}

int device_open(Device **out, const DeviceSpec *spec, int index, Error *err)
{
    *out = NULL;
    return backend_of(spec)->open(out, spec, index, err);
}

void device_close(Device *device)
{
    if (device) device->backend->close(device);
}

float *device_alloc(Device *device, size_t count)
{
    return device->backend->alloc(device, count);
}

int device_no_memory(Device *device, size_t count, const char *what, Error *err)
{
    if (device->backend->no_memory) return device->backend->no_memory(device, count, what, err);
    return error_set(err, "no memory for %s: %zu bytes", what, count * sizeof(float));
}

void device_release(Device *device, float *memory)
{
    if (memory) device->backend->release(device, memory);
}

void device_fetch(Device *device, float *host, const float *memory, int64_t count)
{
    device->backend->fetch(device, host, memory, count);
}

void device_put(Device *device, float *memory, const float *host, int64_t count)
{
    device->backend->put(device, memory, host, count);
}

void device_copy(Device *device, float *to, const float *from, int64_t count)
{
    device->backend->copy(device, to, from, count);
}

int device_keep_choices(const DeviceSpec *spec, const char *path, Error *err)
{
    const Backend *backend = backend_of(spec);

    return backend->keep_choices ? backend->keep_choices(spec, path, err) : 0;
}

int device_choices(Device *device, Text *out, Error *err)
{
    return device->backend->choices ? device->backend->choices(device, out, err) : 0;
}

int64_t device_work_bytes(const Device *device)
{
    return device->backend->reserved(device);
}

void loss_backward(Device *device, const LossCall *call)
{
    LossCall whole = *call;

    if (whole.places == 0) whole.places = 1;
    if (!(whole.temperature > 0.0)) whole.temperature = 1.0;
    device->backend->loss(device, &whole);
}

int device_trains(const DeviceSpec *spec, const Workload *workload, Error *err)
{
    const Backend *backend = backend_of(spec);

    for (int b = 0; b < workload->block_count; b++) {
        const WorkBlock *block = &workload->block[b];
        if (!(backend->losses >> block->loss & 1))
            return error_set(err, "block \"%s\": devices of %s do not compute the loss %s",
                             block->name, backend->name, loss_name(block->loss));
        if (workload_training(workload, block).clip > 0.0 && !backend->squares
            && !backend->clips)
            return error_set(err, "block \"%s\": devices of %s do not clip gradients", block->name,
                             backend->name);
    }
    if (workload->optimizer == OPTIMIZER_ADAMW && !backend->adamw)
        return error_set(err, "devices of %s do not step by AdamW", backend->name);
    return 0;
}

/* ---- memory of the host ---- */

void *host_alloc(const DeviceSpec *spec, size_t bytes)
{
    return backend_of(spec)->streams->host_alloc(spec, bytes);
}

void host_release(const DeviceSpec *spec, void *memory)
{
    if (memory) backend_of(spec)->streams->host_release(spec, memory);
}
