/* The comparison: for each schedule the best plan that the planner knows, spelled out,
 * verified and simulated; the simulator decides. */
#ifndef PLANNER_COMPARE_H
#define PLANNER_COMPARE_H

#include "planner/compare_rows.h"

/* Borrows scenario for the call. comparison_free() out. Fails only when no schedule has
 * a plan (err: the reason of the last, and what would help) or memory is out. */
int  compare(Comparison *out, const Scenario *scenario, const CompareOptions *options, Error *err);

#endif
