/* Plans of dp whose program is long, a phase after another, each a program of its own.
 *
 *     block 0  | all devices, steps times |                  all end at the same time, so the
 *     block 1                             | all devices ...  next phase begins as the first did
 *
 * The sum over the phases is what the whole program gives, to the nanosecond; a phase has a
 * thousandth of its instructions where there are as many blocks. Not where devices end a phase at
 * different times, nor where they slow each other down, which depends on the whole run. */
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
