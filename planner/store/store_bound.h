/* What no run of a program that stores takes less than. */
#ifndef PLANNER_STORE_STORE_BOUND_H
#define PLANNER_STORE_STORE_BOUND_H

#include "schedule/program.h"
#include "traces/scenario.h"

/* Of all epochs. The largest of two times, with nobody slowing anybody down:
 *
 *   - of each device: phase after phase its steps times the longest of the work of a step (with
 *     what requests to tiers occupy it for), the sums of its group, and half of the fastest answer
 *     to each FETCH (two are in flight at a time); a phase begins no sooner than what it fetches is
 *     stored, which is the last but one step of who stores it;
 *   - of each tier of a machine: all that is asked of it, each at its least share of the requests
 *     in flight.
 *
 * Returns -1 when a cost is missing. */
int store_bound(int64_t *bound_ns, const Program *program, const Scenario *scenario, Error *err);

#endif
