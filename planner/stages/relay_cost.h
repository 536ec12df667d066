/* What a plan of a relaying schedule (tr, dpu, ir, ahd) costs by the simulator's own rules,
 * without simulating: each message on the link it really crosses, each all-reduce among its
 * group, each student by itself.
 *
 *   step_ns    the longest cycle that takes one step. Of a device
 *
 *                  max( T + S + U,  T + max over a <= b of (S(0..a) + R(a..b) + U(b..last)),
 *                       T + all messages out, one after another,  all messages in )
 *
 *              with loading before T where devices load for themselves, and loading as a cycle
 *              of its own where lanes load ahead. T: the stage's teacher; S, R, U: forward and
 *              backward, all-reduce, update of the stage's students in order. Where transfers
 *              block, a group goes from all-reduce to all-reduce together: the sum of the
 *              longest parts between them, messages out with the first, and the all-reduces.
 *
 *              tr: from barrier to barrier, the longest way from a device's update along
 *              teachers and messages to a student; at least the cycles above.
 *
 *   epoch_ns   no epoch of the plan is shorter: steps - 1 cycles of a device, the way of the
 *              first step to it and the way of the last one from it to the end. */
#ifndef PLANNER_STAGES_RELAY_COST_H
#define PLANNER_STAGES_RELAY_COST_H

#include "schedule/plan.h"
#include "traces/scenario.h"

typedef struct { int64_t step_ns, epoch_ns; } RelayCost;

/* bound: what is estimated is left out (that devices slow each other down, turns at the
 * loader), so that no run is shorter. Fails, with the reason in err, when a timing is missing
 * or a time does not fit; memory is not looked at. The plan has passed plan_check(). */
int relay_cost(RelayCost *out, const Plan *plan, const Scenario *scenario, bool bound, Error *err);

#endif
