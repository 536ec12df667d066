/* A compute device: where tensors live and kernels run. A device is opened, used and
 * closed by one thread.
 *
 *     cpu:2          two devices that share the machine's cores evenly, each a thread bound to its
 *                    cores (with a team of threads where it has several); more devices than
 *                    cores is allowed and shares cores (device_spec_shares())
 *     cuda:0         one GPU
 *     cuda:0,1,3     these GPUs, in this order
 *     cuda:0/4       four slices of one GPU, with multiprocessors of their own
 *     cuda:0/2,1/2   slices of several GPUs, the same number of each
 *
 * Devices of a run are of one kind: not cpu and cuda, whole GPUs and slices, or GPUs of several
 * models together. Tensors are float32, [rows][height][width][channels]
 * (channels last), so that rows of a batch are contiguous. */
#ifndef KERNELS_DEVICE_H
#define KERNELS_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/plugin.h"
#include "base/error.h"
#include "base/text.h"

typedef struct Device Device;

typedef enum { DEVICE_CPU, DEVICE_CUDA } DeviceType;

/* What convolutions and products compute in. Weights, losses and sums are float32 in all. */
typedef enum { PRECISION_FP32, PRECISION_TF32, PRECISION_BF16, PRECISION_COUNT } Precision;

/* The most devices and GPUs of one spec. */
enum { DEVICES_MAX = 1024, GPUS_MAX = 64, SLICES_MAX = 16 };

typedef struct {
    DeviceType type;
    const struct Backend *backend;       /* NULL: the type's, which device_spec_ask() finds
                                          * (kernels/backend.h) */
    int  count;              /* devices */
    int  gpus[GPUS_MAX], gpu_count;   /* cuda: numbers of the GPUs */
    int  slices;             /* of a GPU; 1: whole GPUs */
    Precision precision;
    bool nccl;               /* NCCL transfers between GPUs, not peer copies */
    /* what device_spec_ask() finds */
    int  cores;              /* of the machine that this process may use */
    char kind[96];           /* as traces name it: "1 core of AMD EPYC", "NVIDIA H100 80GB HBM3, 33
                              * of 132 SMs" */
    int64_t memory_bytes;    /* of a device: the machine's or the GPU's, divided */
} DeviceSpec;

/* Reads the text only. Refuses what no machine has, with what was expected. */
int  device_spec_read(DeviceSpec *out, const char *text, Error *err);
/* For the start of a program, before devices are asked about: takes variables out of the
 * environment that would spoil devices (OpenMP's of teams and places), and lets the thread use the
 * cores that they kept from it. true: there were some, and as libraries have read them the program
 * is to be started again, by execv(). */
bool device_reset_environment(void);

/* Asks the build, the machine and the driver about what was read and set. CPUs without instructions
 * for bf16 compute in fp32: precision becomes that. */
int  device_spec_ask(DeviceSpec *spec, Error *err);
/* Both. */
int  device_spec_parse(DeviceSpec *out, const char *text, Error *err);
bool device_spec_shares(const DeviceSpec *spec);         /* more devices than cores, on the CPU */
bool device_spec_is_async(const DeviceSpec *spec);         /* they do their work later
                                                            * (kernels/stream.h) */

/* "fp32", "tf32", "bf16". Those that the devices cannot compute in are refused. */
int         device_spec_set_precision(DeviceSpec *spec, const char *text, Error *err);
FOR_PLUGINS const char *precision_name(Precision precision);

/* Sets nccl, or says why these devices have no use for it. */
int  device_spec_set_nccl(DeviceSpec *spec, Error *err);

/* Facts for a trace's notes, "driver 580.65, CUDA 13.0, ..."; nothing for the CPU. After
 * device_spec_ask(). */
int  device_spec_facts(const DeviceSpec *spec, Text *out, Error *err);

/* What besides a network decides the bits that come out of it, "oneDNN 3.1.0, AVX2": the same text,
 * the same bits on devices of as many cores. Nothing of backends that do not say. */
int  device_spec_version(const DeviceSpec *spec, Text *out, Error *err);

/* The GPU of device number index, and which of its slices it is. */
static inline int device_spec_gpu(const DeviceSpec *spec, int index)
{
    return spec->gpus[index / spec->slices];
}
static inline int device_spec_slice(const DeviceSpec *spec, int index)
{
    return index % spec->slices;
}

/* Opens device number index of spec in the calling thread: binds the thread to its cores. */
int   device_open(Device **out, const DeviceSpec *spec, int index, Error *err);
void  device_close(Device *device);

/* 64-byte aligned, zeroed; NULL without memory. */
FOR_PLUGINS float *device_alloc(Device *device, size_t count);
FOR_PLUGINS void   device_release(Device *device, float *memory);

/* The error of device_alloc() that gave none for what; says how much there is, where the device
 * knows. Returns -1. */
int device_no_memory(Device *device, size_t count, const char *what, Error *err);

/* Between the device's memory and the host's, and within the device's. The host's is the caller's
 * again on return; an asynchronous device does its copies later. */
void   device_fetch(Device *device, float *host, const float *memory, int64_t count);
void   device_put(Device *device, float *memory, const float *host, int64_t count);
FOR_PLUGINS void   device_copy(Device *device, float *to, const float *from, int64_t count);

/* From now on what a file says was chosen is, and what is chosen is added to it. Algorithms differ
 * in the last bits: so what is trained in several processes agrees. The file need not exist. */
int device_keep_choices(const DeviceSpec *spec, const char *path, Error *err);

/* Appends what was chosen by measurement so far: a line for each operation, "convolution ...:
 * cuDNN's algorithm 1, 1048576 bytes of workspace, 41.2 us". On the CPU, of bf16 alone: "conv ...,
 * forward, 1 thread: bf16, 41.2 us; fp32 112.0 us". */
int device_choices(Device *device, Text *out, Error *err);

/* Bytes of the work memory that nets share; it grows as they are prepared, and stays. */
int64_t device_work_bytes(const Device *device);

#endif
