/* What searches over counts (planner/hetero/hetero.h) have found, kept for scenarios that differ in
 * nothing but which of several devices that are alike is slowed down: the best partition depends on
 * how many devices of each class there are, not on which. A partition, once found, is the answer
 * for every limit that it keeps; a limit within which there is none is the answer for all below it.
 * So what is answered does not depend on what was asked before. */
#ifndef PLANNER_HETERO_HETERO_MEMO_H
#define PLANNER_HETERO_HETERO_MEMO_H

#include "planner/hetero/group_cost.h"

/* Stages along the chain. */
typedef struct {
    int64_t bottleneck_ns;
    int     stages;
    int    *first;               /* [stages] first block */
    int    *counts;              /* [stages][classes] devices */
} HeteroPartition;

typedef struct HeteroMemo HeteroMemo;

/* The best partition of some devices with groups of some widths. */
typedef struct HeteroEntry HeteroEntry;

/* Any number of threads may ask. hetero_memo_free() *out. All costs that a memo sees are of one
 * trace, but for its slowdowns, of COST_SIM, and not optimistic. */
int  hetero_memo_new(HeteroMemo **out, Error *err);
void hetero_memo_free(HeteroMemo *memo);

/* The entry for groups of low to high times unit of the costs' devices, which nobody else gets
 * until hetero_memo_release(); made where there is none. NULL without memory. */
HeteroEntry *hetero_memo_entry(HeteroMemo *memo, const GroupCosts *costs, int low, int high,
                               int unit);
void         hetero_memo_release(HeteroEntry *entry);

/* Whether the entry has the answer for a limit (0: none): *best, borrowed, or that there is none
 * within it, NULL. */
bool hetero_memo_knows(const HeteroEntry *entry, int64_t limit_ns, const HeteroPartition **best);

/* What the search within the limit found: best, taken over, or no stages for none. */
void hetero_memo_note(HeteroEntry *entry, int64_t limit_ns, HeteroPartition *best);

#endif
