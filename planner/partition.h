/* The partition search: contiguous stages, each on one or more consecutive devices,
 * with the slowest stage as fast as possible. Exact for any cost table.
 *
 *   best(s, i, d) = min over j, w of max(cost(i..j-1 on d..d+w-1), best(s-1, j, d+w))
 *
 * for s stages that start at block i and device d; devices may be left over at the
 * end. O(S N^2 G W) time for widths up to W, O(S N G) memory, after the cost table. */
#ifndef PLANNER_PARTITION_H
#define PLANNER_PARTITION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Cost of blocks first..last on devices device..device+width-1; INT64_MAX: impossible.
 * Must be a pure function. */
typedef int64_t PartitionCost(void *context, int first, int last, int device, int width);

typedef struct {
    int     blocks, devices;
    int     max_width;           /* 1 for tr and dpu */
    bool    uniform;             /* the cost does not depend on device: a smaller table */
    PartitionCost *cost;
    void   *context;
} PartitionProblem;

typedef struct {
    int64_t bottleneck_ns;
    int     stages;
    int    *first, *device, *width;      /* [stages]: first block, first device, devices */
} Partition;

/* The best partition for every number of stages 1..min(blocks, devices) that has one,
 * by bottleneck, then by fewer stages. *out is an array of *count; partitions_free() it.
 * No partition at all is *count 0, not an error. */
int  partition_search(Partition **out, int *count, const PartitionProblem *problem, Error *err);
void partitions_free(Partition *partitions, int count);

#endif
