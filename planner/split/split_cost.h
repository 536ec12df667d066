/* What the devices of a split layout do a step, without playing it: the figure that the
 * search lowers before the simulator decides. And a bound that no split plan beats. */
#ifndef PLANNER_SPLIT_SPLIT_COST_H
#define PLANNER_SPLIT_SPLIT_COST_H

#include "planner/split/split_layout.h"

typedef struct SplitCost SplitCost;

/* Borrows scenario and tasks for as long as out lives. split_cost_free() it. */
int  split_cost_new(SplitCost **out, const Scenario *scenario, const SplitTasks *tasks, Error *err);
void split_cost_free(SplitCost *cost);

/* busy_ns[d]: the longest of device d's compute, of its messages out, and of those in
 * (with blocking transfers: compute and messages out together). False when a cost is not
 * known or a device's weights, gradients, optimizer state and largest activation alone
 * exceed its memory. */
bool split_cost_busy(SplitCost *cost, const Layout *layout, int64_t *busy_ns);

/* Forward, backward and update of a task on rows; -1: not known. */
int64_t split_cost_task(SplitCost *cost, int task, int device, int64_t rows);
int64_t split_cost_teacher(SplitCost *cost, int block, int device, int64_t rows);

/* No split plan's step takes less, over an epoch: the larger of
 *   all work over all devices, every block at the rows with the least time a row;
 *   the longest piece: some device has at least batch / devices rows of each student;
 *   the loader's lanes, each row loaded once.
 * 0: not known. */
int64_t split_bound(const Scenario *scenario);

/* Likewise of the mean step of all epochs of any plan that stores: the teacher need see, and the
 * loader load, each row once in all of them. */
int64_t split_bound_stored(const Scenario *scenario);

#endif
