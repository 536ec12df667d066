/* The checker: what any plan, hand-written ones too, costs by the trace. Everything is
 * derived again from the trace's points and the plan's lists; no code of the planner's
 * searches, of the cost look-up or of the simulator takes part, so that an error there is
 * not made twice. Arithmetic is in whole numbers: between two points, the quotient that
 * is nearest.
 *
 *   dpu, ir, ahd      a stage costs the step of its slowest device, nobody waited for but its
 *                     group: with T, S, R, U teacher, students, all-reduces and updates, each
 *                     all-reduce on a lane, overlapped with the computing,
 *                         max( T + S + U, T + all messages out, all messages in,
 *                              T + max over a <= b of (S(..a) + R(a..b) + U(b..)) );
 *                     where transfers block, from one all-reduce of the group to the next the
 *                     longest part of a device, messages out among the first, and the
 *                     all-reduces. Messages are laid out one by one: a device sends and
 *                     receives one at a time. Loading comes on top, devices in turns, or, where
 *                     lanes load ahead, is a step of its own. The bottleneck is the slowest stage
 *   tr                likewise, but a step is at least the longest way from a barrier to the
 *                     next: a device's updates, then teachers and messages down the chain to a
 *                     stage, then its students. The bottleneck is the stage that arrives last
 *   dp                a stage is a phase, T being the teacher from the input; the
 *                     bottleneck is the sum of all phases
 *   ls                a stage is a task, likewise; the bottleneck is the busiest device (0 where
 *                     tasks are stolen)
 *
 *   split             a device's step is likewise the sum of what it does for its stage and its
 *                     tasks, a lane of all-reduces for each group of tasks on the same
 *                     devices; at least all its messages out, one after another, and all in.
 *                     The bottleneck is the busiest device. No step takes less over an epoch,
 *                     but one may take much longer: a device waits for rows, members of a
 *                     group for each other. What counts is the simulator's step
 *
 *   sequential, store a phase, a stage in the first epoch or in the others, costs the work of its
 *                     slowest device: the teacher's blocks from the nearest stored boundary that
 *                     are not fetched, students, updates; or its all-reduces where those take
 *                     longer. The bottleneck is the device with most work in all epochs. What
 *                     comes from the store, and who waits for whom, is left to the simulator
 *
 * A block's several students are trained together, one after another, but by split. */
#ifndef PLANNER_CHECK_CHECK_H
#define PLANNER_CHECK_CHECK_H

#include "planner/check/checked.h"
#include "schedule/plan.h"
#include "traces/scenario.h"

/* Checks plan against scenario and prices it. An error names the stage, task or device: a
 * block or student that is trained twice or never, rows that do not cover the batch, a device in
 * two stages, a timing or link that the trace does not have, a device with too little memory.
 * check_free() out. */
int  check_plan(CheckedPlan *out, const Plan *plan, const Scenario *scenario, Error *err);
void check_free(CheckedPlan *checked);

#endif
