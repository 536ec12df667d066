/* What searches over counts (planner/hetero/hetero.h) have found, kept for scenarios that differ in
 * nothing but which of several devices that are alike is slowed down: the best partition depends on
 * how many devices of each class there are, not on which. A partition, once found, is the answer
 * for every limit that it keeps; a limit within which there is none is the answer for all below it.
 * So what is answered does not depend on what was asked before. */
#ifndef PLANNER_HETERO_HETERO_MEMO_H
#define PLANNER_HETERO_HETERO_MEMO_H

#include "planner/hetero/hetero.h"

typedef struct HeteroMemo HeteroMemo;

/* Any number of threads may ask. hetero_memo_free() *out. */
int  hetero_memo_new(HeteroMemo **out, Error *err);
void hetero_memo_free(HeteroMemo *memo);

/* hetero_search() for the optimum alone, with costs of COST_SIM that are not optimistic; memo NULL:
 * nothing is kept. All costs that a memo sees are of one trace, but for its slowdowns. */
int  hetero_memo_search(HeteroPartition **out, int *count, HeteroMemo *memo, GroupCosts *costs,
                        int max_width, int unit, int64_t limit_ns, Error *err);

#endif
