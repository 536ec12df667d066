#include "planner/ls/tasks_common.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/minmax.h"

/* ---- order ----------------------------------------------------------------------- */

typedef struct { int64_t ns; int task; } Ranked;

static int by_time(const void *a, const void *b)
{
    const Ranked *x = a, *y = b;

    if (x->ns != y->ns) return x->ns > y->ns ? -1 : 1;
    return x->task < y->task ? -1 : 1;
}

bool task_same_times(const TaskProblem *p, int a, int b)
{
    int t = 0;

    while (t < p->tasks && task_time(p, t, a) == task_time(p, t, b)) t++;
    return t == p->tasks;
}

int task_fastest(const TaskProblem *p, int task)
{
    int best = 0;

    for (int d = 1; d < p->devices; d++)
        if (task_time(p, task, d) < task_time(p, task, best)) best = d;
    return best;
}

int task_order_build(TaskOrder *out, const TaskProblem *p, Error *err)
{
    size_t  n = (size_t)p->tasks;
    Ranked *ranked = malloc(n * sizeof *ranked);

    *out = (TaskOrder){malloc(n * sizeof *out->task), malloc(n * sizeof *out->shortest), 0};
    if (!ranked || !out->task || !out->shortest) {
        free(ranked);
        task_order_free(out);
        return error_no_memory(err);
    }
    for (int t = 0; t < p->tasks; t++) ranked[t] = (Ranked){task_time(p, t, task_fastest(p, t)), t};
    qsort(ranked, n, sizeof *ranked, by_time);
    for (size_t i = 0; i < n; i++) {
        out->task[i] = ranked[i].task;
        out->shortest[i] = ranked[i].ns;
        if (__builtin_add_overflow(out->total, ranked[i].ns, &out->total)) out->total = INT64_MAX;
    }
    free(ranked);
    return 0;
}

void task_order_free(TaskOrder *order)
{
    free(order->task);
    free(order->shortest);
    *order = (TaskOrder){0};
}

/* ---- bounds ------------------------------------------------------------------------ */

int64_t task_bound(const TaskProblem *p, const TaskOrder *order)
{
    int64_t bound = order->shortest[0], m = p->devices;

    if (order->total < INT64_MAX) {
        int64_t mean = order->total / m + (order->total % m > 0);
        if (mean > bound) bound = mean;
    }
    for (int64_t k = 1; k * m < p->tasks; k++) {
        int64_t sum = 0;
        for (int64_t i = k * m - k; i <= k * m; i++)
            if (__builtin_add_overflow(sum, order->shortest[i], &sum)) return bound;
        if (sum > bound) bound = sum;
    }
    return bound;
}

int64_t task_makespan(const TaskProblem *p, const int *device)
{
    int64_t worst = 0;

    for (int d = 0; d < p->devices; d++) {
        int64_t sum = 0;
        for (int t = 0; t < p->tasks; t++)
            if (device[t] == d && __builtin_add_overflow(sum, task_time(p, t, d), &sum))
                return INT64_MAX;
        if (sum > worst) worst = sum;
    }
    return worst;
}

bool task_uniform(const TaskProblem *p)
{
    for (int t = 0; t < p->tasks; t++)
        for (int d = 1; d < p->devices; d++)
            if (task_time(p, t, d) != task_time(p, t, 0)) return false;
    return true;
}

double tasks_gap(const TaskLists *lists)
{
    if (lists->optimal) return 0;
    return lists->bound_ns > 0
               ? (double)(lists->makespan_ns - lists->bound_ns) / (double)lists->bound_ns
               : 1;
}

/* ---- lists --------------------------------------------------------------------------- */

int task_lists_start(TaskLists *out, const TaskProblem *p, Error *err)
{
    *out = (TaskLists){.device = calloc((size_t)p->tasks, sizeof *out->device)};
    return out->device ? 0 : error_no_memory(err);
}

void task_lists_finish(TaskLists *lists, const TaskProblem *p)
{
    lists->makespan_ns = task_makespan(p, lists->device);
    lists->optimal = lists->makespan_ns == lists->bound_ns;
}

void task_lists_raise(TaskLists *lists, int64_t bound_ns)
{
    if (bound_ns > lists->makespan_ns) bound_ns = lists->makespan_ns;
    if (bound_ns > lists->bound_ns) lists->bound_ns = bound_ns;
    lists->optimal = lists->makespan_ns == lists->bound_ns;
}

int task_lists_quick(TaskLists *out, const TaskProblem *p, Error *err)
{
    TaskLists other;

    if (tasks_lpt(out, p, NULL, err) != 0) return -1;
    if (out->optimal) return 0;
    if (tasks_multifit(&other, p, NULL, err) != 0) {
        free(out->device);
        *out = (TaskLists){0};
        return -1;
    }
    if (other.makespan_ns < out->makespan_ns) {
        TaskLists worse = *out;
        *out = other;
        other = worse;
    }
    free(other.device);
    return 0;
}

/* ---- limits ----------------------------------------------------------------------------- */

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void task_budget_start(TaskBudget *out, const TaskLimits *limits, int64_t default_nodes)
{
    *out = (TaskBudget){0};
    if (limits && limits->time_ms)    out->deadline_ms = now_ms() + limits->time_ms;
    else if (limits && limits->nodes) out->most = limits->nodes;
    else                              out->most = default_nodes;
}

void task_budget_part(TaskBudget *out, const TaskBudget *whole, double part, int64_t a_node)
{
    *out = (TaskBudget){0};
    if (whole->deadline_ms) {
        int64_t now = now_ms(), left = whole->deadline_ms - now;
        out->deadline_ms = now + (int64_t)((double)(left > 0 ? left : 0) * part);
    } else if (whole->most) {
        int64_t left = larger(whole->most - whole->nodes, 0);
        double  most = (double)left * (double)a_node * part;
        out->most = most < 0x1p62 ? (int64_t)most + 1 : INT64_MAX;
    }
}

bool task_budget_spend(TaskBudget *budget, int64_t nodes)
{
    enum { NODES_A_LOOK_AT_THE_CLOCK = 1024 };

    if (budget->stopped != TASKS_FINISHED) return false;
    if (budget->most && budget->nodes + nodes > budget->most) {
        budget->stopped = TASKS_OUT_OF_NODES;
        return false;
    }
    if (budget->deadline_ms && budget->nodes >= budget->look) {
        budget->look = budget->nodes + NODES_A_LOOK_AT_THE_CLOCK;
        if (now_ms() >= budget->deadline_ms) budget->stopped = TASKS_OUT_OF_TIME;
        if (budget->stopped != TASKS_FINISHED) return false;
    }
    budget->nodes += nodes;
    return true;
}
