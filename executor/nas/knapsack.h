/* One candidate a block, so that the sum of losses is least while the sum of costs keeps
 * within a budget: the multiple-choice knapsack problem. Solved exactly: block after block,
 * all sums that no other beats in both cost and loss are kept (Nemhauser and Ullmann, 1969).
 * Their number is small where losses are measured, though not in the worst case. */
#ifndef EXECUTOR_NAS_KNAPSACK_H
#define EXECUTOR_NAS_KNAPSACK_H

#include <stdint.h>

#include "base/error.h"

typedef struct {
    int64_t macs;            /* >= 0 */
    double  loss;            /* finite */
} KnapsackItem;

typedef struct {
    const KnapsackItem *candidate;          /* [count] */
    int              count;
} Candidates;

#define SELECT_ANY_MACS INT64_MAX        /* no budget */

/* chosen: [blocks] candidate numbers. Among equal losses (added in the order of the blocks)
 * the least macs, then the lowest numbers of the last blocks. Refuses a budget that the
 * least costs exceed, saying what they need, and more than 2^22 sums at once. */
int select_candidates(int *chosen, const Candidates *blocks, int block_count, int64_t max_macs,
                      Error *err);

#endif
