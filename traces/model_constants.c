#include "traces/model_constants.h"

const ModelConstants model_constants = {
    .memory_share = 0.615, .depthwise_share = 0.150, .depthwise_weight_share = 0.00501, .kernel_us = 28.8, .update_us = 60.8,
    .matrix_share = 0.7, .cache_speed = 3, .cache_share = 0.5, .depth_start = 32, .tile_reuse = 16, .tile_least = 32,
    .tile_most = 128, .winograd = 2.25, .split_depth = 1024,
};

const ModelHostConstants model_host_constants = {
    .batch_us = 1630, .raw_core_us = 58, .jpeg_core_us = 2500,
    .link_share = 0.8, .link_us = 20, .reduce_us = 10,
};
