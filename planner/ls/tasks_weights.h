/* A bound where devices differ: a mean over devices with weights w that sum to 1. Whatever the
 * assignment,
 *
 *     makespan >= sum_d w[d] load[d] >= sum_t min_d w[d] ns[t][d]
 *
 * (the Lagrangian dual of the linear relaxation). Good weights come from a subgradient ascent in
 * floating point; they are then rounded to integers that sum to TASK_WEIGHT_SUM, so that the bound
 * itself is exact, whatever the weights. With equal weights it is the plain mean. */
#ifndef PLANNER_LS_TASKS_WEIGHTS_H
#define PLANNER_LS_TASKS_WEIGHTS_H

#include "planner/ls/tasks_common.h"

enum { TASK_WEIGHT_SUM = 1 << 20 };

/* weight: [devices]. device: [tasks], or NULL: lists near the linear relaxation. Over the steps of
 * the ascent the device that has the least weighted time of a task changes as in a solution of the
 * linear program the task is split (Barahona and Anbil 2000), so a task goes to a device that had
 * it often. At most 2^20 pairs of a task and a device. -1 only without memory. */
int task_weights_find(int64_t *weight, int *device, const TaskProblem *problem, Error *err);

#endif
