/* The partition search for devices of several classes on one node: stages in order, each
 * on some devices of each class, so that the slowest stage is as fast as possible.
 *
 * As devices of a class are interchangeable, a group is how many it has of each, and
 * what is left is how many are used of each. The search is over all orders of devices
 * and all groups at once: exact, with the shares of group_cost().
 *
 *     classes      0 0 0 0 | 1 1 1 1
 *     stage 0      0 0     | 1              blocks 0..3
 *     stage 1      0       | 1 1            blocks 4..6
 *     stage 2      0       |                blocks 7..9;  one of class 1 is idle */
#ifndef PLANNER_HETERO_HETERO_H
#define PLANNER_HETERO_HETERO_H

#include "planner/hetero/hetero_memo.h"

/* The optimum, then up to wanted - 1 others by bottleneck, each the best among narrower
 * or among wider groups. *out is an array of *count; hetero_free() it. No partition at
 * all is *count 0, not an error.
 *
 * unit above 1: only groups whose counts are multiples of it, up to max_width. A class's
 * devices beyond the last multiple stay idle. The optimum is that of such groups. limit_ns:
 * partitions with a longer bottleneck need not be found; 0: all. memo: looked into, and added to;
 * NULL: none. */
int    hetero_search(HeteroPartition **out, int *count, GroupCosts *costs, int max_width, int unit,
                     int wanted, int64_t limit_ns, HeteroMemo *memo, Error *err);
/* The others alone, as hetero_search() finds them behind its optimum, which is given; *out is
 * without it. */
int    hetero_others(HeteroPartition **out, int *count, GroupCosts *costs, int max_width, int unit,
                     int wanted, int64_t limit_ns, const HeteroPartition *optimum,
                     HeteroMemo *memo, Error *err);
void   hetero_free(HeteroPartition *partitions, int count);

/* About how many steps a search takes, for who has to choose another way. */
double hetero_work(const GroupCosts *costs, int max_width, int unit);

#endif
