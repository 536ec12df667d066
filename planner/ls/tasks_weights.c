#include "planner/ls/tasks_weights.h"

#include <stdlib.h>
#include <string.h>

enum { ASCENT_STEPS = 400, ASCENT_PAIRS = 1 << 24, SETTLING_PART = 2, RARE_PART = 10 };

typedef struct {
    const TaskProblem *p;
    double            *weight, *load, *best;     /* [devices] */
    int               *had;      /* [tasks] the device where the task is in the bound */
    int               *often;    /* [tasks][devices] steps, of the later ones, in which it was */
} Ascent;

/* The bound of weights, and what load they would put on each device. */
static double dual(Ascent *a)
{
    const TaskProblem *p = a->p;
    double             value = 0;

    memset(a->load, 0, (size_t)p->devices * sizeof *a->load);
    for (int t = 0; t < p->tasks; t++) {
        int best = task_fastest(p, t);
        for (int d = 0; d < p->devices; d++)
            if (task_time(p, t, d) < TASK_IMPOSSIBLE
                && a->weight[d] * (double)task_time(p, t, d)
                       < a->weight[best] * (double)task_time(p, t, best))
                best = d;
        value += a->weight[best] * (double)task_time(p, t, best);
        a->load[best] += (double)task_time(p, t, best);
        a->had[t] = best;
    }
    return value;
}

/* More weight on devices with more load than the mean; steps get shorter. */
static void step(Ascent *a, int number)
{
    double most = 0, sum = 0;

    for (int d = 0; d < a->p->devices; d++) if (a->load[d] > most) most = a->load[d];
    for (int d = 0; d < a->p->devices; d++) {
        if (most > 0) a->weight[d] *= 1 + a->load[d] / most * 4 / (double)(number + 8);
        sum += a->weight[d];
    }
    for (int d = 0; d < a->p->devices; d++) a->weight[d] /= sum;
}

static void to_integers(int64_t *out, const double *weight, int devices)
{
    int64_t sum = 0;
    int     largest = 0;

    for (int d = 0; d < devices; d++) {
        out[d] = (int64_t)(weight[d] * TASK_WEIGHT_SUM);
        sum += out[d];
        if (out[d] > out[largest]) largest = d;
    }
    out[largest] += TASK_WEIGHT_SUM - sum;
}

/* Returns the number of steps that a->often counts. */
static int ascend(Ascent *a)
{
    int    m = a->p->devices, steps = ASCENT_PAIRS / (a->p->tasks * m) + 1, counted = 0;
    double highest = -1;

    if (steps > ASCENT_STEPS) steps = ASCENT_STEPS;
    for (int d = 0; d < m; d++) a->weight[d] = 1 / (double)m;
    for (int i = 0; i < steps; i++) {
        double value = dual(a);
        if (value > highest) {
            highest = value;
            memcpy(a->best, a->weight, (size_t)m * sizeof *a->best);
        }
        step(a, i);
        if (i < steps / SETTLING_PART) continue;
        counted++;
        for (int t = 0; t < a->p->tasks; t++) a->often[(size_t)t * (size_t)m + (size_t)a->had[t]]++;
    }
    return counted;
}

/* Of the devices that had the task often, that which would finish it first; a->had: whether there
 * is but one, 1 or 0. */
static int choose(Ascent *a, int task, int counted)
{
    const int *often = a->often + (size_t)task * (size_t)a->p->devices;
    int        best = -1, several = 0;

    for (int d = 0; d < a->p->devices; d++) {
        if (often[d] * RARE_PART < counted || often[d] == 0) continue;
        several++;
        if (best < 0
            || a->load[d] + (double)task_time(a->p, task, d)
                   < a->load[best] + (double)task_time(a->p, task, best))
            best = d;
    }
    a->had[task] = several == 1;
    return best >= 0 ? best : task_fastest(a->p, task);
}

/* First the tasks that have no choice, then the others, the longest first. */
static int deal(Ascent *a, int *device, int counted, Error *err)
{
    TaskOrder order = {0};

    if (task_order_build(&order, a->p, err) != 0) return -1;
    memset(a->load, 0, (size_t)a->p->devices * sizeof *a->load);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < a->p->tasks; i++) {
            int t = order.task[i], d = choose(a, t, counted);
            if (a->had[t] != (pass == 0)) continue;
            device[t] = d;
            a->load[d] += (double)task_time(a->p, t, d);
        }
    task_order_free(&order);
    return 0;
}

int task_weights_find(int64_t *weight, int *device, const TaskProblem *p, Error *err)
{
    size_t n = (size_t)p->tasks, m = (size_t)p->devices;
    Ascent a = {.p = p, .weight = malloc(3 * m * sizeof *a.weight),
                .had = calloc(n + n * m, sizeof *a.had)};
    int    rc = -1;

    if (!a.weight || !a.had) { error_no_memory(err); goto done; }
    a.load = a.weight + m;
    a.best = a.load + m;
    a.often = a.had + n;
    int counted = ascend(&a);
    to_integers(weight, a.best, p->devices);
    rc = device ? deal(&a, device, counted, err) : 0;
done:
    free(a.weight);
    free(a.had);
    return rc;
}
