/* The last word on a relaying schedule's plan: what the partition searches found is held
 * against other plans under the simulator itself, as their cost knows no queue that fills, no
 * receiver that two devices want to send to at once, and no start and end of a run.
 *
 * Where all plans are few, all of them are looked at; otherwise those that differ from the best
 * so far in one move (a block to the next stage, a device to another, two stages made one, one
 * made two, two devices exchanged), again and again. A plan that cannot be faster by
 * relay_cost() is not simulated. */
#ifndef PLANNER_RELAY_SEARCH_H
#define PLANNER_RELAY_SEARCH_H

#include "planner/candidate.h"

enum { RELAY_PLANS = 3000 };             /* few */

/* Adds to row what is faster than what is there; *all: every plan of the schedule was looked
 * at (groups with even shares, and by speed). Gives up after about budget instructions. */
int relay_search(Candidate *row, bool *all, Schedule schedule, const Scenario *scenario,
                 int64_t budget, Error *err);

#endif
