#include "planner/ls/lists_bound.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ns[block] of the task of each block on device d; false: not known. */
static bool look_up_tasks(int64_t *ns, const Scenario *alone, int d)
{
    int64_t teacher = alone->trace->step_ns;
    Cost    cost;

    for (int b = 0; b < alone->trace->block_count; b++) {
        ns[b] = 0;
        for (int work = 0; work < WORK_COUNT; work++) {
            if (scenario_work(alone, (Work)work, b, d, alone->batch, &cost, NULL) != 0)
                return false;
            *(work == WORK_TEACHER ? &teacher : &ns[b]) += cost.ns;
        }
        ns[b] += teacher;
    }
    return true;
}

/* ns[device][block] of all tasks. */
static bool look_up_all_tasks(int64_t *ns, const Scenario *alone)
{
    size_t n = (size_t)alone->trace->block_count;

    for (int d = 0; d < alone->device_count; d++, ns += n) {
        if (d > 0 && scenario_same_speed(alone, d, d - 1)) memcpy(ns, ns - n, n * sizeof *ns);
        else if (!look_up_tasks(ns, alone, d)) return false;
    }
    return true;
}

/* No lists of these tasks take less: with weights y of the devices, whose sum is 1, the longest
 * list is no shorter than the mean of all, and that no less than the sum over tasks of the least y
 * ns. y: 1 over the time of all tasks, so that no device is better than another by much. */
static double lists_mean(const int64_t *ns, int tasks, int devices)
{
    double sum = 0, all = 0;
    double weight[TRACE_MAX_DEVICES];

    if (devices < 1) return 0;
    for (int d = 0; d < devices; d++) {
        weight[d] = 1;
        for (int b = 0; b < tasks; b++) weight[d] += (double)ns[d * tasks + b];
        weight[d] = 1 / weight[d];
        all += weight[d];
    }
    for (int b = 0; b < tasks; b++) {
        double least = weight[0] * (double)ns[b];
        for (int d = 1; d < devices; d++)
            least = fmin(least, weight[d] * (double)ns[d * tasks + b]);
        sum += least / all;
    }
    return sum * (1 - 1e-9);             /* what rounding may have added */
}

int64_t lists_bound(const Scenario *s)
{
    Scenario alone = *s;
    int      n = s->trace->block_count;
    int64_t *ns = malloc((size_t)n * (size_t)s->device_count * sizeof *ns);
    double   bound = 0;

    alone.load = 0;
    alone.single_block = true;
    if (ns && look_up_all_tasks(ns, &alone))
        bound = lists_mean(ns, n, s->device_count) * (double)s->steps;
    free(ns);
    return bound < 0x1p62 ? (int64_t)bound : 0;
}
