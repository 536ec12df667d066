/* Plans that do not fit: which block is too large where, and what would help. */
#ifndef PLANNER_MEMORY_FEASIBILITY_H
#define PLANNER_MEMORY_FEASIBILITY_H

#include "base/text.h"
#include "planner/compare_options.h"

/* Whether memory alone leaves no plan of a relaying schedule with stages of at most
 * max_width devices, and then in why: the first block that no group has room for, or that
 * only together the blocks are too large. -1 only without memory. */
int memory_feasibility_refused(bool *refused, const Scenario *scenario, int max_width, Error *why,
                               Error *err);

/* What of memory, batch, devices or schedules, changed alone, makes a plan possible: each
 * was tried, and the next smaller change was not enough. "" when nothing of these helps, or
 * when no device has a limit. For scenarios of which nothing that options asks for is
 * possible. -1 only without memory. */
int memory_feasibility_advice(Text *out, const Scenario *scenario, const CompareOptions *options,
                              Error *err);

#endif
