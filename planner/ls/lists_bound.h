/* A bound of ls from its tasks' times alone, without a search. */
#ifndef PLANNER_LS_LISTS_BOUND_H
#define PLANNER_LS_LISTS_BOUND_H

#include "traces/scenario.h"

/* No ls plan has a shorter epoch; 0: not known. */
int64_t lists_bound(const Scenario *scenario);

#endif
