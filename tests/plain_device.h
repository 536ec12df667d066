/* Devices without kernels, for tests of what moves and sums: memory of the host, the CPU's streams
 * and events. An asynchronous one says that it is, so that its rows go by way of the host's. */
#ifndef TESTS_PLAIN_DEVICE_H
#define TESTS_PLAIN_DEVICE_H

#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "kernels/cpu/stream.h"

static float *plain_alloc(Device *device, size_t count)
{
    (void)device;
    return calloc(count, sizeof(float));
}
static void   plain_release(Device *device, float *memory) { (void)device; free(memory); }
static void   plain_close(Device *device) { (void)device; }

static void plain_copy(Device *device, float *to, const float *from, int64_t count)
{
    (void)device;
    memcpy(to, from, (size_t)count * sizeof *to);
}

static const Backend plain_backend = {.name = "plain", .streams = &cpu_streams,
                                      .alloc = plain_alloc, .release = plain_release,
                                      .close = plain_close, .fetch = plain_copy, .put = plain_copy,
                                      .copy = plain_copy};
static Device           plain_device = {&plain_backend};
static const DeviceSpec plain_devices = {.backend = &plain_backend};

#endif
