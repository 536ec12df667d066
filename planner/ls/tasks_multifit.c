/* MULTIFIT (Coffman, Garey, Johnson 1978): a capacity is bisected; first fit decreasing
 * says whether all tasks fit into devices of that capacity. On equal devices at most
 * 13/11 times the least makespan (Yue 1990).
 *
 * Where a task's time depends on the device, first fit takes the device that is fastest
 * for the task among those where it still fits (of equals the lowest), and tasks go by
 * their time on their fastest device. There is no such guarantee then. */
#include <stdlib.h>
#include <string.h>

#include "planner/ls/tasks_common.h"

typedef struct {
    const TaskProblem *p;
    const TaskOrder   *order;
    bool               uniform;
    int64_t           *busy;     /* [devices] */
    int               *device;   /* [tasks] of the last attempt */
} PackedFit;

/* -1: fits nowhere. */
static int first_fit(const PackedFit *f, int task, int64_t capacity)
{
    int best = -1;

    for (int d = 0; d < f->p->devices; d++) {
        int64_t ns = task_time(f->p, task, d);
        if (ns > capacity - f->busy[d]) continue;
        if (f->uniform) return d;
        if (best < 0 || ns < task_time(f->p, task, best)) best = d;
    }
    return best;
}

static bool all_fit(PackedFit *f, int64_t capacity)
{
    memset(f->busy, 0, (size_t)f->p->devices * sizeof *f->busy);
    for (int i = 0; i < f->p->tasks; i++) {
        int t = f->order->task[i], d = first_fit(f, t, capacity);
        if (d < 0) return false;
        f->device[t] = d;
        f->busy[d] += task_time(f->p, t, d);
    }
    return true;
}

/* First fit is not monotone in the capacity, so the best assignment seen is kept, and the
 * bisection goes on to its end. */
static void bisect(TaskLists *out, PackedFit *f)
{
    int64_t low = out->bound_ns, high = out->makespan_ns;

    while (low < high) {
        int64_t capacity = low + (high - low) / 2;
        if (!all_fit(f, capacity)) { low = capacity + 1; continue; }
        high = capacity;
        int64_t makespan = task_makespan(f->p, f->device);
        if (makespan >= out->makespan_ns) continue;
        memcpy(out->device, f->device, (size_t)f->p->tasks * sizeof *f->device);
        out->makespan_ns = makespan;
        if (makespan < high) high = makespan;
    }
}

/* All tasks on the device that takes them soonest: where first fit begins. Where none can
 * take all, each on its own fastest, and no makespan is too long. */
static void one_device(TaskLists *out, const TaskProblem *p)
{
    int64_t least = INT64_MAX;
    int     best = 0;

    for (int d = 0; d < p->devices; d++) {
        int64_t sum = 0;
        for (int t = 0; t < p->tasks; t++)
            if (__builtin_add_overflow(sum, task_time(p, t, d), &sum)) { sum = INT64_MAX; break; }
        if (sum < least) { least = sum; best = d; }
    }
    for (int t = 0; t < p->tasks; t++)
        out->device[t] = least < INT64_MAX ? best : task_fastest(p, t);
    out->makespan_ns = least;
}

int tasks_multifit(TaskLists *out, const TaskProblem *p, const TaskLimits *limits, Error *err)
{
    TaskOrder order = {0};
    PackedFit       fit = {.p = p, .order = &order, .uniform = task_uniform(p),
                     .busy = calloc((size_t)p->devices, sizeof *fit.busy),
                     .device = calloc((size_t)p->tasks, sizeof *fit.device)};
    int       rc = -1;

    (void)limits;
    if (task_lists_start(out, p, err) != 0) goto done;
    if (!fit.busy || !fit.device) { error_no_memory(err); goto done; }
    if (task_order_build(&order, p, err) != 0) goto done;
    out->bound_ns = task_bound(p, &order);
    one_device(out, p);
    bisect(out, &fit);
    task_lists_finish(out, p);
    rc = 0;
done:
    task_order_free(&order);
    free(fit.busy);
    free(fit.device);
    if (rc != 0) { free(out->device); *out = (TaskLists){0}; }
    return rc;
}
