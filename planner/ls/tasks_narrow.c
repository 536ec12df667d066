/* Hard problems on devices that differ, made easier in rounds: better lists by descents; a higher
 * bound by prices; and, struck out, the pairs of a task and a device that by those prices are in no
 * better lists. What is left is a smaller problem, in which the next round's descents go further.
 *
 * A round takes a part of the budget for each, so that all end after a number of operations; a
 * node of the budget stands for a number of them. */
#include <stdlib.h>
#include <string.h>

#include "planner/ls/tasks_common.h"
#include "planner/ls/tasks_prices.h"
#include "planner/ls/tasks_weights.h"

enum { CLIMB_A_NODE = 100, PRICE_A_NODE = 30, PRICE_STEPS = 150, ROUNDS = 3 };

static const double CLIMB_PART = 0.15, PRICE_PART = 0.3;

/* Raises the bound as far as prices prove it, to within a 5,000th. */
static void raise_by_prices(TaskLists *lists, TaskPrices *prices, TaskBudget *budget)
{
    int64_t high = lists->makespan_ns - 1;               /* not proven, and not below the bound */

    while (high - lists->bound_ns > lists->bound_ns / 5000 && budget->stopped == TASKS_FINISHED) {
        int64_t limit = lists->bound_ns + (high - lists->bound_ns) / 2;
        if (task_prices_prove(prices, limit, PRICE_STEPS, budget))
            task_lists_raise(lists, limit + 1);
        else
            high = limit;
    }
}

/* Every task has a device left. */
static bool some_left(const TaskProblem *p)
{
    for (int t = 0; t < p->tasks; t++)
        if (task_time(p, t, task_fastest(p, t)) == TASK_IMPOSSIBLE) return false;
    return true;
}

/* From the lists, and from what the linear relaxation has. */
static int climb_twice(TaskLists *lists, const TaskProblem *p, const TaskBudget *budget, Error *err)
{
    int64_t   *weight = malloc((size_t)p->devices * sizeof *weight);
    int       *device = malloc((size_t)p->tasks * sizeof *device), rc = -1;
    TaskBudget part;

    if (!weight || !device) { error_no_memory(err); goto done; }
    if (task_weights_find(weight, device, p, err) != 0) goto done;
    task_budget_part(&part, budget, CLIMB_PART, CLIMB_A_NODE);
    if (task_lists_climb(lists, device, p, &part, err) != 0) goto done;
    memcpy(device, lists->device, (size_t)p->tasks * sizeof *device);
    task_budget_part(&part, budget, CLIMB_PART, CLIMB_A_NODE);
    rc = task_lists_climb(lists, device, p, &part, err);
done:
    free(weight);
    free(device);
    return rc;
}

/* One round of climbing and of prices; ns: the times of p. *more: another one may do better. */
static int narrow_once(TaskLists *lists, const TaskProblem *p, int64_t *ns, TaskPrices *prices,
                       const TaskBudget *budget, bool *more, Error *err)
{
    TaskBudget part;

    *more = false;
    if (climb_twice(lists, p, budget, err) != 0) return -1;
    if (lists->optimal) return 0;
    task_budget_part(&part, budget, PRICE_PART, PRICE_A_NODE);
    if (task_prices_prove(prices, lists->makespan_ns - 1, PRICE_STEPS, &part)) {
        task_lists_raise(lists, lists->makespan_ns);
        return 0;
    }
    *more = task_prices_strike(prices, ns, &part) > 0;
    if (some_left(p)) raise_by_prices(lists, prices, &part);
    else              task_lists_raise(lists, lists->makespan_ns);
    return 0;
}

int task_lists_narrow(TaskLists *lists, const TaskProblem *p, int64_t *ns, const TaskBudget *budget,
                      Error *err)
{
    TaskPrices *prices;
    bool        more = true;
    int         rc = 0;

    if (task_prices_build(&prices, p, err) != 0) return -1;
    for (int i = 0; i < ROUNDS && more && !lists->optimal && rc == 0; i++)
        rc = narrow_once(lists, p, ns, prices, budget, &more, err);
    task_prices_free(prices);
    return rc;
}
