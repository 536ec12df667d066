/* Layers as they stand in a workload file: an array of objects, "layer" says which. */
#ifndef WORKLOADS_LAYERS_H
#define WORKLOADS_LAYERS_H

#include "workloads/build.h"

/* Adds the layers of the array at to list. */
int layers_read(LayerList *list, const JsonAt *at, Error *err);

#endif
