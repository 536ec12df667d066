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

/* Sums over steps that several devices worked in. */
typedef struct {
    double  of_steps;        /* variances of their devices */
    double  of_runs;         /* those of what devices are off in a run's mean, each as often as the
                              * run has steps */
    int64_t steps, runs;
} Variances;

/* What each of the devices [count] in a step is off their mean, over it. */
static void to_deviations(StepWork *list, size_t count)
{
    double mean = 0;

    for (size_t i = 0; i < count; i++) mean += list[i].us / (double)count;
    for (size_t i = 0; i < count; i++) list[i].us = mean > 0 ? list[i].us / mean - 1 : 0;
}

/* Of the deviations of devices [count], as an estimate of the variance of each. */
static double variance_of(const StepWork *list, size_t count)
{
    double sum = 0;

    for (size_t i = 0; i < count; i++) sum += list[i].us * list[i].us;
    return sum / ((double)count - 1);
}

/* Where those of the same step, or run, end that begin at first. */
static size_t end_of(const StepWork *list, size_t first, size_t count, bool of_step)
{
    size_t end = first + 1;

    while (end < count && list[end].run == list[first].run
           && (!of_step || list[end].step == list[first].step))
        end++;
    return end;
}

/* The steps of a run, list [count], which it changes. */
static void add_run(Variances *sum, StepWork *list, size_t count)
{
    size_t kept = 0, steps = 0;

    for (size_t i = 0, end; i < count; i = end) {
        end = end_of(list, i, count, true);
        if (end - i < 2) continue;
        to_deviations(list + i, end - i);
        sum->of_steps += variance_of(list + i, end - i);
        steps++;
        for (; i < end; i++) { list[kept] = list[i]; list[kept++].step = 0; }
    }
    if (steps == 0) return;
    size_t devices = join(list, kept);
    for (size_t i = 0; i < devices; i++) list[i].us /= (double)steps;
    sum->of_runs += (double)steps * variance_of(list, devices);
    sum->steps += (int64_t)steps;
    sum->runs++;
}

/* In the mean of a run's n steps what differs from step to step has an n-th of its variance, so
 * that
 *     of_steps = steps * (lasting^2 + short^2),  of_runs = steps * lasting^2 + runs * short^2 */
static Skew skew_of(const Variances *sum)
{
    double steps = (double)sum->steps, runs = (double)sum->runs;
    double all = steps > 0 ? sum->of_steps / steps : 0;
    double lasting = steps > runs ? (sum->of_runs - runs * all) / (steps - runs) : 0;

    return (Skew){sqrt(all), sqrt(fmax(0, fmin(lasting, all)))};
}

int samples_skew(Skew *out, const Samples *samples, Error *err)
{
    StepWork *list = malloc(((size_t)samples->count + 1) * sizeof *list);
    size_t    n = 0;
    Variances sum = {0};

    *out = (Skew){0};
    if (!list) return error_no_memory(err);
    for (int64_t i = 0; i < samples->count; i++) {
        const Sample *s = &samples->list[i];
        if (op_computes(s->op))
            list[n++] = (StepWork){s->run, s->device, s->step, s->us - s->stall_us};
    }
    n = join(list, n);
    for (size_t i = 0, end; i < n; i = end) {
        end = end_of(list, i, n, false);
        add_run(&sum, list + i, end - i);
    }
    *out = skew_of(&sum);
    free(list);
    return 0;
}
