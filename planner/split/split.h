/* The search for split plans: starts, then changes to the busiest device, all evaluated by
 * short simulations (split_cost.h counts what cannot be fast, and what is busiest).
 *
 * Starts: the plan given (ahd's best); and, for each number of teacher stages and width
 * that devices allow, the teacher cut evenly and the students dealt out in the time that is
 * left: in the order of blocks, a student cut by rows where a device is full (few boundaries
 * to send), or the longest first to the least busy device (no student cut that fits).
 *
 * Changes: a part of a student to another device, whole or some of its rows; two parts
 * exchanged; a block to the teacher's stage before or after; a device into or out of a
 * stage. The amount of work is bounded, and the result is the same on every machine. */
#ifndef PLANNER_SPLIT_SPLIT_H
#define PLANNER_SPLIT_SPLIT_H

#include "schedule/plan.h"
#include "traces/scenario.h"

enum { SPLIT_RESULTS = 3 };

typedef struct {
    Plan *plans[SPLIT_RESULTS];  /* the most promising first; owned */
    int   count;
    int   starts, simulated;     /* starts made; layouts simulated */
} SplitResult;

/* ahd: a plan of stages to start from too, or NULL. count 0: no layout has known costs and
 * fits. -1 only without memory. split_result_free() out. */
int  split_search(SplitResult *out, const Plan *ahd, const Scenario *scenario, Error *err);
void split_result_free(SplitResult *result);

#endif
