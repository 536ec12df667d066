#include "executor/measure/skew_samples.h"

#include <math.h>
#include <stdlib.h>

/* A device's work in a step of a run. */
typedef struct { int run, device; int64_t step; double us; } StepWork;

static int by_step(const void *a, const void *b)
{
    const StepWork *x = a, *y = b;

    if (x->run != y->run) return (x->run > y->run) - (x->run < y->run);
    if (x->step != y->step) return (x->step > y->step) - (x->step < y->step);
    return (x->device > y->device) - (x->device < y->device);
}

/* Sums up what belongs together in the list [count], which it sorts; how many remain. */
static size_t join(StepWork *list, size_t count)
{
    size_t kept = 0;

    qsort(list, count, sizeof *list, by_step);
    for (size_t i = 0; i < count; i++)
        if (kept > 0 && by_step(&list[kept - 1], &list[i]) == 0) list[kept - 1].us += list[i].us;
        else list[kept++] = list[i];
    return kept;
}

/* Of the devices [count] in a step: the squares of what they are off their mean, over its square,
 * as an estimate of the variance of each. */
static double variance_of(const StepWork *list, size_t count)
{
    double mean = 0, sum = 0;

    for (size_t i = 0; i < count; i++) mean += list[i].us / (double)count;
    for (size_t i = 0; i < count; i++) sum += (list[i].us - mean) * (list[i].us - mean);
    return mean > 0 ? sum / ((double)count - 1) / (mean * mean) : 0;
}

int samples_skew(double *out, const Samples *samples, Error *err)
{
    StepWork *list = malloc(((size_t)samples->count + 1) * sizeof *list);
    size_t    n = 0, steps = 0;
    double    sum = 0;

    *out = 0;
    if (!list) return error_no_memory(err);
    for (int64_t i = 0; i < samples->count; i++) {
        const Sample *s = &samples->list[i];
        if (op_computes(s->op))
            list[n++] = (StepWork){s->run, s->device, s->step, s->us - s->stall_us};
    }
    n = join(list, n);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1;
             end < n && list[end].run == list[i].run && list[end].step == list[i].step;)
            end++;
        if (end - i < 2) continue;
        sum += variance_of(list + i, end - i);
        steps++;
    }
    if (steps > 0) *out = sqrt(sum / (double)steps);
    free(list);
    return 0;
}
