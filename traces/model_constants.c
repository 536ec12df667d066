#include "traces/model_constants.h"

const ModelConstants model_constants = {
    .memory_share = 0.835,
    .matrix_share = 0.728,
    .weight_cycle = 357,
    .pool_cycle = 0.317,
    .depthwise_weight_cycle = 0.556,
    .kernel_us = 78,
    .update_us = 43.1,
    .step_us = 5230,
    .depthwise_cycle = 16,
    .gap_us = 2,
    .cache_speed = 3,
    .cache_share = 0.5,
    .depth_start = 32,
    .tile_reuse = 16,
    .tile_least = 32,
    .tile_most = 128,
    .winograd = 2.25,
    .split_depth = 1024,
};

const ModelHostConstants model_host_constants = {
    .batch_us = 1630,
    .raw_core_us = 58,
    .jpeg_core_us = 2500,
    .pillow_core_us = 4300,
    .crowded_share = 0.035,
    .process_bytes = 2.5e9,
    .link_share = 0.8,
    .link_us = 20,
    .reduce_us = 10,
};
