/* Exact lists: where devices are equal, bins are filled to a capacity that is bisected
 * (tasks_equal.c); where they are not, tasks are assigned one after another, after descents and
 * a bound by prices where that is hard (tasks_unrelated.c). Both start from the better of LPT and
 * MULTIFIT, improved by dealing out anew the tasks of two or three devices (tasks_improve.c). */
#include <stdlib.h>

#include "planner/ls/tasks_common.h"

enum { DEFAULT_NODES = 1000000 };

int tasks_exact(TaskLists *out, const TaskProblem *p, const TaskLimits *limits, Error *err)
{
    TaskOrder  order = {0};
    TaskBudget budget;
    int        rc = -1;

    task_budget_start(&budget, limits, DEFAULT_NODES);
    if (task_lists_quick(out, p, err) != 0) return -1;
    if (task_order_build(&order, p, err) != 0) goto done;
    if (!out->optimal && (order.total == INT64_MAX || out->makespan_ns > INT64_MAX / 4))
        out->stopped = TASKS_TOO_LARGE;
    else if (!out->optimal) {
        TaskBudget part = budget;
        part.most = budget.most / 4 + (budget.most > 0);         /* 0 would be no limit */
        if (task_lists_improve(out, p, &part, err) != 0) goto done;
        budget.nodes = part.nodes;
        if (part.stopped == TASKS_OUT_OF_TIME) budget.stopped = TASKS_OUT_OF_TIME;
        if ((task_uniform(p) ? task_search_equal(out, p, &order, &budget, err)
                             : task_search_unrelated(out, p, &budget, err))
            != 0)
            goto done;
        out->stopped = out->optimal ? TASKS_FINISHED : budget.stopped;
        out->nodes = budget.nodes;
    }
    rc = 0;
done:
    task_order_free(&order);
    if (rc != 0) { free(out->device); *out = (TaskLists){0}; }
    return rc;
}
