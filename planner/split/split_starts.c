#include "planner/split/split_starts.h"

#include <stdlib.h>

typedef struct {
    Layout         *layout;
    SplitCost      *cost;
    const Scenario *s;
    int64_t        *ns;          /* [tasks] on the whole batch, or a share of it */
    int64_t        *busy;        /* [devices] */
    int            *order;       /* [tasks] */
} Start;

/* ---- the teacher --------------------------------------------------------------------- */

/* Cuts blocks into at most stages of at most limit; how many it takes, or more. */
static int cut(Layout *l, const int64_t *ns, int stages, int64_t limit)
{
    int64_t sum = 0;
    int     count = 0;

    for (int b = 0; b < l->blocks; b++) {
        if (ns[b] > limit) return stages + 1;
        if (b == 0 || ns[b] > limit - sum) {
            if (count == stages) return stages + 1;
            l->first[count++] = b;
            sum = 0;
        }
        sum += ns[b];
    }
    return count;
}

/* The least limit that stages can keep, by bisection. */
static bool place_teacher(Start *x, int stages, int width, int64_t *ns)
{
    Layout *l = x->layout;
    int64_t low = 0, high = 0, rows = scenario_share(l->batch, width, 0);

    for (int b = 0; b < l->blocks; b++) {
        ns[b] = split_cost_teacher(x->cost, b, 0, rows);
        if (ns[b] < 0) return false;
        high += ns[b];
    }
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (cut(l, ns, stages, middle) <= stages) high = middle;
        else                                      low = middle + 1;
    }
    l->stages = cut(l, ns, stages, high);
    l->first[l->stages] = l->blocks;
    for (int s = 0; s < l->stages; s++) {
        l->at[s + 1] = l->at[s] + width;
        for (int i = 0; i < width; i++) {
            l->device[l->at[s] + i] = s * width + i;
            l->rows[l->at[s] + i] = scenario_share(l->batch, width, i);
        }
    }
    return true;
}

/* ---- the students --------------------------------------------------------------------- */

/* A step of every task by the first device; a batch that was not measured is extended from
 * a share of it. */
static bool time_tasks(Start *x)
{
    for (int t = 0; t < x->layout->tasks->count; t++) {
        int64_t ns = -1, rows = x->s->batch;
        for (int width = 1; width <= x->s->device_count && ns < 0; width++) {
            rows = scenario_share(x->s->batch, width, 0);
            ns = split_cost_task(x->cost, t, 0, rows);
        }
        if (ns < 0) return false;
        x->ns[t] = (int64_t)((double)ns * (double)x->s->batch / (double)rows);
    }
    return true;
}

/* Rows of task that take device ns, at most rows. */
static int64_t rows_within(Start *x, int task, int device, int64_t rows, int64_t ns)
{
    int64_t low = 0, high = rows;

    while (low < high) {
        int64_t middle = (low + high + 1) / 2, t = split_cost_task(x->cost, task, device, middle);
        if (t >= 0 && t <= ns) low = middle;
        else                   high = middle - 1;
    }
    return low;
}

/* In the order of blocks, every device up to limit; false when they do not hold all. */
static bool deal_blocks(Start *x, const int64_t *teaching, int64_t limit)
{
    Layout *l = x->layout;
    int     device = 0;
    int64_t left = limit - teaching[0];

    l->parts = 0;
    for (int t = 0; t < l->tasks->count; t++)
        for (int64_t rows = l->batch; rows > 0;) {
            int64_t fit = left > 0 ? rows_within(x, t, device, rows, left) : 0;
            if (fit > 0 && !layout_give(l, t, device, fit)) return false;
            rows -= fit;
            if (fit > 0) left -= split_cost_task(x->cost, t, device, fit);
            if (rows == 0) break;
            if (++device == l->devices) return false;
            left = limit - teaching[device];
        }
    return true;
}

static bool assign_evenly(Start *x, const int64_t *teaching, int64_t total)
{
    int64_t low = total / x->layout->devices, limit = low;

    for (int d = 0; d < x->layout->devices; d++) if (teaching[d] > limit) limit = teaching[d];
    for (int round = 0; round < 60; round++, limit += limit / 64 + 1)
        if (deal_blocks(x, teaching, limit)) return true;
    return false;
}

/* Longest first, each to the device that is done with it first. Tasks longer than an even
 * share are cut into equal pieces. */
static bool assign_longest(Start *x, const int64_t *teaching, int64_t total)
{
    Layout *l = x->layout;
    int64_t even = total / l->devices + 1;
    int     count = l->tasks->count;

    for (int d = 0; d < l->devices; d++) x->busy[d] = teaching[d];
    for (int t = 0; t < count; t++) {
        int at = t;                              /* sorted by insertion: nearly in order, or few */
        while (at > 0 && x->ns[x->order[at - 1]] < x->ns[t]) {
            x->order[at] = x->order[at - 1];
            at--;
        }
        x->order[at] = t;
    }
    l->parts = 0;
    for (int i = 0; i < count; i++) {
        int     t = x->order[i];
        int64_t pieces = x->ns[t] / even + 1;
        if (pieces > l->devices) pieces = l->devices;
        if (pieces > l->batch) pieces = l->batch;
        for (int k = 0; k < pieces; k++) {
            int best = 0;
            for (int d = 1; d < l->devices; d++)
                if (x->busy[d] < x->busy[best]) best = d;
            int64_t rows = scenario_share(l->batch, (int)pieces, k),
                    ns = split_cost_task(x->cost, t, best, rows);
            if (ns < 0 || !layout_give(l, t, best, rows)) return false;
            x->busy[best] += ns;
        }
    }
    return true;
}

static bool make(Start *x, int stages, int width, StartAssignment assignment, int64_t *teacher,
                 int64_t *teaching)
{
    Layout *l = x->layout;
    int64_t total = 0;

    if (!place_teacher(x, stages, width, teacher) || !time_tasks(x)) return false;
    if (l->stages != stages) return false;               /* as good as one of fewer */
    for (int s = 0; s < l->stages; s++)
        for (int i = l->at[s]; i < l->at[s + 1]; i++)
            for (int b = l->first[s]; b < l->first[s + 1]; b++) {
                teaching[l->device[i]] += teacher[b];
                total += teacher[b];
            }
    for (int t = 0; t < l->tasks->count; t++) total += x->ns[t];
    if (!(assignment == ASSIGN_BLOCKS ? assign_evenly(x, teaching, total)
                                      : assign_longest(x, teaching, total)))
        return false;
    for (int t = 0; t < l->tasks->count; t++) layout_arrange(l, t);
    return true;
}

int start_make(Layout *out, bool *found, SplitCost *cost, const Scenario *s, int stages, int width,
               StartAssignment assignment, Error *err)
{
    size_t   devices = (size_t)s->device_count, tasks = (size_t)out->tasks->count;
    Start    x = {.layout = out, .cost = cost, .s = s, .ns = calloc(tasks, sizeof *x.ns),
                  .busy = calloc(devices, sizeof *x.busy), .order = calloc(tasks, sizeof *x.order)};
    int64_t *teacher = calloc((size_t)out->blocks, sizeof *teacher),
            *teaching = calloc(devices, sizeof *teaching);
    int      rc = 0;

    *found = false;
    if (!x.ns || !x.busy || !x.order || !teacher || !teaching) rc = error_no_memory(err);
    else *found = make(&x, stages, width, assignment, teacher, teaching);
    free(x.ns);
    free(x.busy);
    free(x.order);
    free(teacher);
    free(teaching);
    return rc;
}
