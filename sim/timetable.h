/* A timetable that a run is never behind, for its bound from above (sim/bounds.h).
 *
 *     round    |  0  |  1  |  2  |  3  |     a device does one step a round, so many rounds after
 *     stage 0  | s 0 | s 1 | s 2 |     |     those that send to it that all it needs is there when
 *     stage 1  |     | s 0 | s 1 | s 2 |     the round begins; a round is as long as the longest
 *                                            step in it
 *
 * Where stages cannot be apart so, all do the same step in a round. What the order of events
 * decides, how long a batch waits for a worker or a message for the lane into a device, has the
 * most that can be ahead of it. */
#ifndef SIM_TIMETABLE_H
#define SIM_TIMETABLE_H

#include "sim/engine.h"

/* *out: what sim_new() made takes no longer at these costs, which may be others than its own. 1:
 * there is no timetable, as of programs that store; -1: without memory. */
int timetable_most(int64_t *out, Sim *sim, const Costs *costs);

#endif
