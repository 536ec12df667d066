/* Plans of dp whose program is long, a phase after another, each a program of its own.
 *
 *     device 0  | block 0, steps times |  block 1 ...     each step of a phase has an all-reduce of
 *     device 1  | block 0, steps times      |  block 1    all devices, and the last step's is done
 *     device 2  | block 0, steps times |  block 1 ...     before any of them begins the next phase
 *
 * So all that is left of a phase when the next one begins is when each device ended it. Devices
 * begin the next one then, each at its own time, and the sum over the phases is what the whole
 * program gives, to the nanosecond; a phase has a thousandth of its instructions where there are as
 * many blocks.
 *
 * Devices of one kind, one slowdown and as many rows in every phase make a class. Where there is no
 * loader that they share they do the same at the same time, and the first of them is simulated for
 * all.
 *
 * Where devices slow each other down all phases are repeated until that settles (sim_settle()). */
#ifndef PLANNER_CANDIDATE_PHASES_H
#define PLANNER_CANDIDATE_PHASES_H

#include "schedule/plan.h"
#include "sim/memory.h"
#include "sim/sim.h"

/* Verifies and simulates a plan of dp that has passed plan_check(), and its memory, [devices].
 * *done: it could be done so; false: nothing is there. sim_free() the result. -1: what whoever
 * makes the whole program would find wrong with it. */
int phases_price(SimResult *out, Memory *memory, bool *done, const Plan *plan,
                 const Scenario *scenario, Error *err);

#endif
