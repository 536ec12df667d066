/* Where the search for split plans begins: layouts made from nothing. */
#ifndef PLANNER_SPLIT_SPLIT_STARTS_H
#define PLANNER_SPLIT_SPLIT_STARTS_H

#include "planner/split/split_cost.h"

typedef enum { ASSIGN_BLOCKS, ASSIGN_LONGEST } StartAssignment;

/* The teacher in stages of width devices each, cut evenly; the students dealt out to all
 * devices. *found false: costs are not known, or it cannot be. -1 only without memory. */
int start_make(Layout *out, bool *found, SplitCost *cost, const Scenario *scenario, int stages,
               int width, StartAssignment assignment, Error *err);

#endif
