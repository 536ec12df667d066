/* The model's free constants: all of them, in one place. docs/model.md says what each was
 * fitted on, and how well; bench/model_fit.c does it again and prints them.
 *
 * A share is of what the device's file gives as its peak. */
#ifndef TRACES_MODEL_CONSTANTS_H
#define TRACES_MODEL_CONSTANTS_H

#include "traces/hardware.h"

/* Goes up when a formula or a constant changes a time: modelled traces say it. */
enum { MODEL_VERSION = 1 };

typedef struct {
    /* fitted */
    double memory_share;     /* of the bandwidth, by passes over tensors */
    double depthwise_share;  /* of the fp32 peak, by depthwise convolutions: forward, data gradient */
    double depthwise_weight_share;       /* the same: weight gradient */
    double kernel_us;        /* each kernel, the host's part included */
    double update_us;        /* each parameter tensor that the optimizer visits */

    /* assumed */
    double matrix_share;     /* of the precision's peak, by a large matrix product */
    double cache_speed;      /* bandwidth of the last-level cache over that of memory */
    double cache_share;      /* of the cache: tensors that fit together are still there */
    double depth_start;      /* multiply-accumulates of depth that starting and ending a tile take */
    double tile_reuse;       /* tile edge (harmonic mean) at which loading operands takes half of the time */
    int    tile_least, tile_most;        /* edges of tiles that a multiprocessor computes: powers of two */
    double winograd;         /* multiplications saved in 3x3 convolutions of stride 1, fp32 */
    double split_depth;      /* least depth of a part when weight gradients are summed in parts */
} ModelConstants;

typedef struct {
    double batch_us;         /* a batch, whatever its rows (fitted) */
    double raw_core_us;      /* a sample that is stored as pixels, cropped and normalised, on one core (fitted) */
    double jpeg_core_us;     /* a photograph: decoded, cropped, resized (measured: bench/loader.c) */
    double link_share;       /* of a link's rate, by large messages (assumed) */
    double link_us;          /* a message (assumed) */
    double reduce_us;        /* a step of a ring (assumed) */
} ModelHostConstants;

extern const ModelConstants     model_constants;
extern const ModelHostConstants model_host_constants;

#endif
