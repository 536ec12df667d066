/* A compute device: where tensors live and kernels run. A device is opened, used and
 * closed by one thread.
 *
 * "cpu:2" is two devices that share the machine's cores evenly, each a thread bound to its
 * cores (with a team of threads where it has several); more devices than cores is allowed
 * and shares cores (device_spec_shares()). Tensors are float32, [rows][height][width][channels]
 * (channels last), so that rows of a batch are contiguous. */
#ifndef KERNELS_DEVICE_H
#define KERNELS_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct Device Device;

typedef struct {
    int  count;              /* devices */
    int  cores;              /* of the machine that this process may use */
    char kind[64];           /* "1 core of AMD EPYC" as traces name it */
    int64_t memory_bytes;    /* of a device: the machine's, divided */
} DeviceSpec;

/* Parses "cpu:N". Refuses others with what was expected. */
int  device_spec_parse(DeviceSpec *out, const char *text, Error *err);
bool device_spec_shares(const DeviceSpec *spec);         /* more devices than cores */

/* Opens device number index of spec in the calling thread: binds the thread to its cores. */
int   device_open(Device **out, const DeviceSpec *spec, int index, Error *err);
void  device_close(Device *device);

/* 64-byte aligned, zeroed; NULL without memory. */
float *device_alloc(Device *device, size_t count);
void   device_release(Device *device, float *memory);

/* Bytes of the work memory that nets share; it grows as they are prepared, and stays. */
int64_t device_work_bytes(const Device *device);

#endif
