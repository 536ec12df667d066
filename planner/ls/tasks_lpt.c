/* Longest processing time first (Graham 1969): tasks by their time on the fastest device,
 * descending, each to the device that finishes it first (of equals the lowest). On equal
 * devices at most 4/3 - 1/(3m) times the least makespan. */
#include <stdlib.h>

#include "planner/ls/tasks_common.h"

static void assign(TaskLists *out, const TaskProblem *p, const TaskOrder *order, int64_t *busy)
{
    for (int i = 0; i < p->tasks; i++) {
        int     t = order->task[i], best = task_fastest(p, t);
        int64_t least = INT64_MAX;
        for (int d = 0; d < p->devices; d++) {
            int64_t end;                         /* of what cannot be: beyond, or the largest there
                                                  * is */
            if (!__builtin_add_overflow(busy[d], task_time(p, t, d), &end) && end < least) {
                least = end;
                best = d;
            }
        }
        out->device[t] = best;
        busy[best] = least;
    }
}

int tasks_lpt(TaskLists *out, const TaskProblem *p, const TaskLimits *limits, Error *err)
{
    TaskOrder order = {0};
    int64_t  *busy = calloc((size_t)p->devices, sizeof *busy);
    int       rc = -1;

    (void)limits;
    if (task_lists_start(out, p, err) != 0) goto done;
    if (!busy) { error_no_memory(err); goto done; }
    if (task_order_build(&order, p, err) != 0) goto done;
    assign(out, p, &order, busy);
    out->bound_ns = task_bound(p, &order);
    task_lists_finish(out, p);
    rc = 0;
done:
    task_order_free(&order);
    free(busy);
    if (rc != 0) { free(out->device); *out = (TaskLists){0}; }
    return rc;
}
