/* Inside the methods for task lists (tasks.h): times, order, bounds, limits. */
#ifndef PLANNER_LS_TASKS_COMMON_H
#define PLANNER_LS_TASKS_COMMON_H

#include <stddef.h>

#include "planner/ls/tasks.h"

/* ns of a task on a device; TASK_IMPOSSIBLE where it may not run. */
static inline int64_t task_time(const TaskProblem *p, int task, int device)
{
    return p->ns[(size_t)task * (size_t)p->devices + (size_t)device];
}

/* Tasks by their time on their fastest device, descending; equal ones by number. */
typedef struct {
    int     *task;               /* [tasks] */
    int64_t *shortest;           /* [tasks], of task[i] */
    int64_t  total;              /* of shortest; INT64_MAX when it is beyond */
} TaskOrder;

/* *out is yours: task_order_free() it. -1 only without memory: there is nothing to free. */
int  task_order_build(TaskOrder *out, const TaskProblem *problem, Error *err);
void task_order_free(TaskOrder *order);

/* No assignment ends before its longest task, nor before the mean over devices; and of
 * the first k m + 1 tasks of the order some device gets k + 1, at least the last k + 1. */
int64_t task_bound(const TaskProblem *problem, const TaskOrder *order);

/* The two devices take the same time for every task. */
bool task_same_times(const TaskProblem *problem, int a, int b);

/* The device that takes the task soonest, of equals the lowest: one that can take it. */
int task_fastest(const TaskProblem *problem, int task);

/* The makespan of an assignment, added up anew; INT64_MAX when it is beyond. */
int64_t task_makespan(const TaskProblem *problem, const int *device);

/* Every task takes the same time on all devices. */
bool task_uniform(const TaskProblem *problem);

/* Empty lists with room for the devices. */
int  task_lists_start(TaskLists *out, const TaskProblem *problem, Error *err);

/* Fills makespan and optimal from device and bound_ns. */
void task_lists_finish(TaskLists *lists, const TaskProblem *problem);

/* A bound that was proven; what is beyond the makespan proves that it is the least. */
void task_lists_raise(TaskLists *lists, int64_t bound_ns);

/* The better of LPT and MULTIFIT, where searches start. */
int  task_lists_quick(TaskLists *out, const TaskProblem *problem, Error *err);

/* ---- limits --------------------------------------------------------------------- */

typedef struct {
    int64_t  nodes, most;        /* spent; most: stop there, 0: never */
    int64_t  deadline_ms;        /* of the monotonic clock, 0: none */
    int64_t  look;               /* nodes at which the clock is looked at next */
    TaskStop stopped;
} TaskBudget;

/* Begins now. limits: its time if it has one, else its nodes; else, or NULL, default_nodes. */
void task_budget_start(TaskBudget *out, const TaskLimits *limits, int64_t default_nodes);

/* Begins now. For a part of what remains of the whole: of its time, or of its nodes, each of which
 * stands for so many of the part's. */
void task_budget_part(TaskBudget *out, const TaskBudget *whole, double part, int64_t a_node);

/* That many more nodes; false when the budget is spent, from then on always. */
bool task_budget_spend(TaskBudget *budget, int64_t nodes);

/* ---- the two halves of tasks_exact() -------------------------------------------- */

/* Both improve lists (an assignment with its bound) until it is optimal or the budget is
 * spent, and raise the bound where they prove one. -1 only without memory. */
int task_search_equal(TaskLists *lists, const TaskProblem *problem, const TaskOrder *order,
                      TaskBudget *budget, Error *err);
int task_search_unrelated(TaskLists *lists, const TaskProblem *problem, TaskBudget *budget,
                          Error *err);

/* Lists no worse than those given, by dealing out anew the tasks of the busiest device and
 * one or two others. -1 only without memory, the lists then as they were. */
int task_lists_improve(TaskLists *lists, const TaskProblem *problem, TaskBudget *budget,
                       Error *err);

/* Better lists than those given, if there are any, by descents of which the first begins at device,
 * [tasks]. The lists given need not be possible in this problem, nor device. -1 only without
 * memory, the lists then as they were. */
int task_lists_climb(TaskLists *lists, const int *device, const TaskProblem *problem,
                     TaskBudget *budget, Error *err);

/* Better lists, a higher bound, and fewer pairs in ns, which are the times of the problem: what
 * becomes impossible there is in no lists that are better than those on return. The makespan is
 * less than INT64_MAX / 4 / tasks, and more than any time that is possible. -1 only without
 * memory. */
int task_lists_narrow(TaskLists *lists, const TaskProblem *problem, int64_t *ns,
                      const TaskBudget *budget, Error *err);

/* Looks, not in all places, for an assignment of tasks (time: [tasks], none 0) to equal
 * devices with no load over capacity. slack: devices * capacity - all times, at least 0.
 * device: [tasks]. False: not found, which proves nothing. Without memory: false. */
bool task_fill_perfectly(int *device, const int64_t *time, int tasks, int devices, int64_t capacity,
                         int64_t slack, TaskBudget *budget);

#endif
