/* Layers of transformers as they stand in a workload file: each reads the object at, checks it
 * against the list's shape and adds one layer. For workloads/layers.c. */
#ifndef WORKLOADS_LAYERS_SEQUENCE_H
#define WORKLOADS_LAYERS_SEQUENCE_H

#include "workloads/build.h"

typedef int ReadLayer(LayerList *list, const JsonAt *at, Error *err);

ReadLayer read_embedding, read_layernorm, read_rmsnorm, read_gelu, read_silu, read_tanh, read_gated,
    read_attention, read_tokens, read_pool;

#endif
