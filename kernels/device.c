#include "kernels/backend.h"

#include <stdlib.h>
#include <string.h>

/* The most devices of one spec. */
enum { DEVICES_MAX = 1024 };

int device_spec_parse(DeviceSpec *out, const char *text, Error *err)
{
    const Backend *backend = &backend_cpu;
    size_t         length = strlen(backend->name);
    char          *end;
    long           count;

    *out = (DeviceSpec){0};
    if (strncmp(text, backend->name, length) != 0 || text[length] != ':')
        return error_set(err, "devices \"%s\": expected cpu:N, N devices", text);
    if (text[length + 1] < '0' || text[length + 1] > '9')
        return error_set(err, "devices \"%s\": expected a number after the colon", text);
    count = strtol(text + length + 1, &end, 10);
    if (*end || count < 1 || count > DEVICES_MAX)
        return error_set(err, "devices \"%s\": expected cpu:N with N from 1 to %d", text, DEVICES_MAX);
    out->count = (int)count;
    return backend->spec(out, err);
}

bool device_spec_shares(const DeviceSpec *spec)
{
    return spec->count > spec->cores;
}

int device_open(Device **out, const DeviceSpec *spec, int index, Error *err)
{
    return backend_cpu.open(out, spec, index, err);
}

void device_close(Device *device)
{
    if (device) device->backend->close(device);
}

float *device_alloc(Device *device, size_t count)
{
    return device->backend->alloc(device, count);
}

void device_release(Device *device, float *memory)
{
    if (memory) device->backend->release(device, memory);
}

int64_t device_work_bytes(const Device *device)
{
    return device->backend->reserved(device);
}

void loss_backward(Device *device, LossKind kind, const float *student, const float *teacher, float *dy,
                   int64_t rows, int64_t per_row, int64_t global_rows, double *loss)
{
    *loss = device->backend->loss(device, kind, student, teacher, dy, rows, per_row, global_rows);
}
