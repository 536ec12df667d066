/* The byte counts of a modelled trace's blocks, by the executor's rule (kernels/graph.h): what
 * runs together has one result; trained, results stay from forward to backward, and the paths
 * of a choice share their places; frozen, and for gradients, a few buffers as large as the largest
 * go round. Alignment of the executor's, scratch of libraries and copies of weights are not
 * counted.
 *
 * A framework that runs eagerly allocates each tensor by itself, and its allocator rounds up. Taken
 * here is PyTorch's (c10/cuda/CUDACachingAllocator: its head comment and constants): tensors of up
 * to 1 MiB come from segments of 2 MiB, those of less than 10 MiB from segments of 20 MiB, in
 * multiples of 512 bytes; larger ones have segments of their own, multiples of 2 MiB. */
#ifndef TRACES_MODEL_MEMORY_H
#define TRACES_MODEL_MEMORY_H

#include "traces/hardware.h"
#include "traces/trace.h"
#include "workloads/workload.h"

/* What the allocator sets aside for a tensor of rows, at least 1, of so many bytes, beyond
 * these. */
int64_t model_rounding(int64_t bytes, int64_t rows);

/* At most so much of a process' segments is empty: one of each size is partly filled. */
enum { MODEL_SEGMENT_BYTES = (2 + 20) << 20 };

/* Fills output, weight, gradient, state and activation bytes. rows: tensors are allocated for so
 * many, each rounded up; 0: by nobody, as the executor and compilers lay them out in one piece.
 * What rounding adds to weights, gradients and states stands with the weights (gradients are also
 * what an all-reduce sends), and what it adds to activations is spread over the rows. */
void model_memory(TraceBlock *block, const Workload *workload, const WorkBlock *work,
                  Numbers precision, int64_t rows);

#endif
