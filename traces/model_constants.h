/* The model's free constants: all of them, in one place. docs/model.md says what each was
 * fitted on, and how well; bench/model_fit.c does it again and prints them.
 *
 * A share is of what the device's file gives as its peak. */
#ifndef TRACES_MODEL_CONSTANTS_H
#define TRACES_MODEL_CONSTANTS_H

#include "traces/hardware.h"

/* Goes up when a formula or a constant changes a time: modelled traces say it. */
enum { MODEL_VERSION = 2 };

typedef struct {
    /* fitted */
    double memory_share;     /* of the bandwidth, by passes over tensors */
    double matrix_share;     /* of the precision's peak, by a large matrix product: forward, data
                              * gradient */
    double weight_cycle;     /* multiply-accumulates of a convolution's weight gradient that a
                              * multiprocessor fetches operands of four bytes for in a cycle */
    double pool_cycle;       /* elements that a multiprocessor's max pooling looks up in a cycle */
    double depthwise_weight_cycle;       /* multiply-accumulates of a depthwise weight gradient,
                                          * likewise */
    double kernel_us;        /* of the host, each call of the framework that queues a kernel */
    double update_us;        /* of the host, each parameter tensor that the optimizer visits */
    double step_us;          /* a step of a device, besides: the framework's loop,
                              * synchronisation */

    /* assumed */
    double depthwise_cycle;  /* as depthwise_weight_cycle: forward, data gradient */
    double gap_us;           /* from a kernel to the next on the device */
    double cache_speed;      /* bandwidth of the last-level cache over that of memory */
    double cache_share;      /* of the cache: tensors that fit together are still there */
    double depth_start;      /* multiply-accumulates of depth that starting and ending a tile
                              * take */
    double tile_reuse;       /* tile edge (harmonic mean) at which loading operands takes half of
                              * the time */
    int    tile_least, tile_most;        /* edges of tiles that a multiprocessor computes: powers of
                                          * two */
    double winograd;         /* multiplications saved in 3x3 convolutions of stride 1, fp32 */
    double split_depth;      /* least depth of a part when weight gradients are summed in parts */
} ModelConstants;

typedef struct {
    double batch_us;         /* a batch, whatever its rows (fitted) */
    double raw_core_us;      /* a sample that is stored as pixels, cropped and normalised, on one
                              * core (fitted) */
    double jpeg_core_us;     /* a photograph by this project's loader: decoded, cropped, resized
                              * (measured: bench/loader.c) */
    double pillow_core_us;   /* the same by Pillow and torchvision, with colour jitter (measured:
                              * bench/loader_pillow.py) */
    double crowded_share;    /* more time of a core a sample, each time there are twice as many
                              * workers as cores for them (measured: bench/loader_pillow.py
                              * --oversubscribe) */
    double process_bytes;    /* of a device's memory, by its process: context, libraries, framework
                              * (assumed) */
    double link_share;       /* of a link's rate, by large messages (assumed) */
    double link_us;          /* a message (assumed) */
    double reduce_us;        /* a step of a ring (assumed) */
} ModelHostConstants;

extern const ModelConstants     model_constants;
extern const ModelHostConstants model_host_constants;

#endif
