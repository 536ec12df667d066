/* The model: a trace of a workload on devices that one does not have, from what their vendor
 * publishes (traces/hardware.h) and a few constants (traces/model_constants.h). Formulas,
 * constants, what they were fitted on and how far off they are: docs/model.md.
 *
 * Block times come from traces/model_block.h, bytes from traces/model_memory.h; links and the
 * loader are here:
 *
 *     message      link_us + bytes / rate
 *     all-reduce   2 (w - 1) (reduce_us + bytes / w / rate)        a ring of w devices
 *     loader       batch_us + rows * core_us                       on a worker, as many at a time
 *                                                                  as there are cores
 *                  core_us grows by crowded_share each time there are twice as many workers
 *
 * rate being link_share of what the link's standard gives one way, and half of that where GPUs
 * do not reach each other's memory: messages then go through the host's. Between machines it is
 * that of the network or of PCIe, whichever is less, and link_us and reduce_us count twice. */
#ifndef TRACES_MODEL_H
#define TRACES_MODEL_H

#include "traces/hardware.h"
#include "traces/model_operator.h"
#include "traces/trace.h"
#include "workloads/workload.h"

/* auto: NVLink where it joins all devices of a machine, else PCIe. */
typedef enum { MODEL_LINK_AUTO, MODEL_LINK_PCIE, MODEL_LINK_NVLINK } ModelLink;

/* auto: photographs (JPEG) where the input has at least MODEL_PHOTO_PIXELS, else raw pixels. */
typedef enum { MODEL_DATA_AUTO, MODEL_DATA_RAW, MODEL_DATA_JPEG } ModelData;

enum { MODEL_PHOTO_PIXELS = 64 * 64 };

/* Whose time a photograph takes: this project's loader, or Pillow and torchvision as the original's
 * program uses them (decode, crop and resize, flip, colour jitter, normalise, collate). */
typedef enum { MODEL_LOADER_PIPEBD, MODEL_LOADER_PILLOW } ModelLoader;

/* Devices of one kind. slices 2 to 16: each is a GPU's so-maniest part, with its share of
 * multiprocessors and memory; the GPU's bandwidth and cache are shared, so a slice has them alone
 * or, while all others compute, its share. 0 and 1: whole. */
typedef struct {
    const Hardware *hardware;
    int64_t         count;
    int             slices;
    Numbers         precision;           /* see model_precision() */
} ModelKind;

enum { MODEL_MOST_SLICES = 16 };

typedef struct {
    const Workload *workload;
    const Hardware *hardware;            /* with devices and precision: of all devices, where kinds
                                          * are not given */
    const ModelKind *kinds;              /* [kind_count] in order, or NULL; devices is then
                                          * ignored */
    int         kind_count;
    int64_t     devices;     /* at least 1 */
    int64_t     batch;       /* global; 0: the workload's */
    Numbers   precision;   /* see model_precision() */
    ModelLink   link;
    int64_t     machine_devices;         /* on one machine; 0: all */
    double      network_bytes_per_s;     /* between machines, one way; above 0 where there are
                                          * several */
    bool        blocking;    /* a transfer occupies the device that sends */
    TensorLayout      layout;
    bool        eager_attention, foreach;      /* as in ModelDevice */
    ModelData   data;
    ModelLoader loader;
    double      sample_us;   /* a sample, on one core; 0: what data and loader take */
    int64_t     cores, workers, prefetch;            /* of the loader, all devices together;
                                                      * prefetch of a worker;
                                          * cores 0: MODEL_CORES a device; workers 0: one a core */
    double      host_us;     /* of the host, a kernel; 0: the constant's kernel_us */
    double      step_us;     /* a step of a device besides its work; 0: nothing */
    int64_t     process_bytes;           /* of a device's memory, by its process; 0: nothing */
    const char *name;        /* of the trace; NULL: WORKLOAD-DEVICE */
    const char *date;        /* "2026-11-24", or NULL: none is written */
} ModelOptions;

enum { MODEL_CORES = 4 };

/* tf32 where the device has it, else fp32: what PyTorch's convolutions do by themselves. */
Numbers model_precision(const Hardware *hardware);

/* Whether some layer is an attention. */
bool model_attends(const Workload *workload);

/* Whether the loader decodes photographs. */
bool model_loads_jpeg(const ModelOptions *options);

/* *out is yours: trace_free() it. It has been through trace_parse(). Points are at every share of
 * the batch that a group of 1 to devices can have, and at every power of two up to it. Refuses a
 * precision or link that the device does not have. */
int model_trace(Trace **out, const ModelOptions *options, Error *err);

#endif
