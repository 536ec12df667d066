/* What no lists can do, where devices differ: a bound by prices of tasks.
 *
 * Give every task a price, at least 0, and let every device take the tasks that are worth most
 * together, of those sets that it can do within a limit: a knapsack. Lists that end within the
 * limit are such sets, and hold every task. So if all devices' best sets are worth less than all
 * tasks, no lists end within it:
 *
 *     sum_d max { sum of price[t] over t in S : sum of ns[t][d] over t in S <= limit }
 *         < sum_t price[t]                                       no makespan <= limit
 *
 * (Lagrangian relaxation of the assignment; Fisher, Jaikumar, Van Wassenhove 1986. Its best bound
 * is that of the linear program over all sets that a device can do, so it is at least that of the
 * linear relaxation of the assignment.) Prices are found by subgradient steps in floating point;
 * the comparison is made in whole numbers, sets' values rounded up, so that it is exact.
 *
 * The same comparison, with task t put on device d, rules out single pairs. */
#ifndef PLANNER_LS_TASKS_PRICES_H
#define PLANNER_LS_TASKS_PRICES_H

#include "planner/ls/tasks_common.h"

typedef struct TaskPrices TaskPrices;

/* Borrows problem, of at most 2^20 pairs of a task and a device. Its times may become
 * TASK_IMPOSSIBLE later, for devices with the same times together. *out is yours:
 * task_prices_free() it. -1 only without memory. */
int  task_prices_build(TaskPrices **out, const TaskProblem *problem, Error *err);
void task_prices_free(TaskPrices *prices);

/* True: no lists end within limit_ns, at most INT64_MAX / 4. False: not proven, within so many
 * steps and the budget. Begins with the best prices of the call before. */
bool task_prices_prove(TaskPrices *prices, int64_t limit_ns, int steps, TaskBudget *budget);

/* Makes impossible in ns, the times of the problem, what is in no lists that end within the limit
 * of the last proof, which failed; returns how many pairs. */
int64_t task_prices_strike(TaskPrices *prices, int64_t *ns, TaskBudget *budget);

#endif
