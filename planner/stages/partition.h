/* The partition search: contiguous stages, each on one or more consecutive devices,
 * with the slowest stage as fast as possible. Exact for any costs; devices may be left
 * over at the end.
 *
 * Costs need not be monotone (a message makes a shorter stage dearer). What makes the
 * search fast is an optional bound from below that is: the floor. With it, 1,000 blocks
 * on 1,024 devices take well under a second; without, small problems only. */
#ifndef PLANNER_STAGES_PARTITION_H
#define PLANNER_STAGES_PARTITION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Nanoseconds of blocks first..last on devices device..device+width-1, 0 or more;
 * INT64_MAX: impossible. Must be a pure function. */
typedef int64_t PartitionCost(void *context, int first, int last, int device, int width);

/* The same for any stage that ends with block last. */
typedef int64_t PartitionEnd(void *context, int last, int device, int width);

typedef struct {
    int     blocks, devices;
    int     max_width;           /* 1 for tr and dpu */
    bool    uniform;             /* costs do not depend on device */
    PartitionCost *cost;
    PartitionCost *floor;        /* at most cost, and not less for a stage that contains
                                  * this one; NULL: 0 */
    PartitionEnd  *end;          /* at most the cost of any stage with this end; NULL: 0 */
    void   *context;
    const int *widths;           /* [width_count] those to try, ascending; NULL: all */
    int     width_count;
    int     wanted;              /* different partitions, at most; 0 counts as 1 */
    int64_t limit_ns;            /* those with a longer bottleneck need not be found; 0: all */
} PartitionProblem;

typedef struct {
    int64_t bottleneck_ns;
    int     stages;
    int    *first, *device, *width;      /* [stages]: first block, first device, devices */
} Partition;

/* The optimum, then up to wanted - 1 others by bottleneck: the best for a number of
 * stages where the problem is small enough to know them all, otherwise the best among
 * narrower and among wider stages (each exact for what it is; the second best of all
 * partitions need not be among them). *out is an array of *count; partitions_free() it. No
 * partition at all is *count 0, not an error. */
int  partition_search(Partition **out, int *count, const PartitionProblem *problem, Error *err);
void partitions_free(Partition *partitions, int count);

/* ---- the two ways to search ---- */

/* The optimum, by bisection; *found false when there is none (partition_bisect.c). Of
 * equal ones, with uniform costs, one on the fewest devices. *out is yours. */
int  partition_bisect(Partition *out, bool *found, const PartitionProblem *problem, Error *err);

/* Whether some partition has a bottleneck of at most limit_ns. */
int  partition_exists(bool *exists, const PartitionProblem *problem, int64_t limit_ns, Error *err);

/* The best for every number of stages that has one, in order of that number, *count of them, yours:
 * partitions_free(); widths and end are not used. O(S N^2 G W) time, O(N^2 W G) memory: for
 * small problems (partition_table.c). */
int  partition_table(Partition **out, int *count, const PartitionProblem *problem, Error *err);

/* Room for a partition of this many stages; -1 without memory. */
int  partition_allocate(Partition *partition, int stages, Error *err);

#endif
