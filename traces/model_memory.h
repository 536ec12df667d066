/* The byte counts of a modelled trace's blocks, by the executor's rule (kernels/graph.h): what
 * runs together has one result; trained, results stay from forward to backward, and the paths
 * of a choice share their places; frozen, and for gradients, a few buffers as large as the largest go
 * round. Alignment, scratch of libraries and copies of weights are not counted. */
#ifndef TRACES_MODEL_MEMORY_H
#define TRACES_MODEL_MEMORY_H

#include "traces/hardware.h"
#include "traces/trace.h"
#include "workloads/workload.h"

/* Fills output, weight, gradient, state and activation bytes. */
void model_memory(TraceBlock *block, const Workload *workload, const WorkBlock *work, Numbers precision);

#endif
