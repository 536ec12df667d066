/* Exact lists where a task's time depends on the device: depth first, tasks by their time
 * on their fastest device, descending; each on its devices by when they would finish it.
 *
 * The bound is a mean over devices with weights w that sum to 1: whatever the assignment,
 *
 *     makespan >= sum_d w[d] load[d] >= sum_t min_d w[d] ns[t][d]
 *
 * (the Lagrangian dual of the linear relaxation). Good weights come from a subgradient
 * ascent in floating point; they are then rounded to integers that sum to 2^20, so that
 * the bound itself is exact, whatever the weights. With equal weights it is the plain
 * mean. Devices with the same times for all tasks and the same load are tried once. */
#include <stdlib.h>
#include <string.h>

#include "planner/ls/tasks_common.h"

enum { WEIGHT_SUM = 1 << 20, MAX_PAIRS = 1 << 20, ASCENT_STEPS = 400, ASCENT_PAIRS = 1 << 24 };

__extension__ typedef __int128 Wide;

typedef struct {
    const TaskProblem *p;
    const TaskOrder   *order;
    TaskLists         *lists;
    TaskBudget        *budget;
    int64_t           *weight;   /* [devices], they sum to WEIGHT_SUM */
    int               *like;     /* [devices] the lowest device with the same times */
    Wide              *rest;     /* [tasks + 1] weighted time of the tasks from i on, at least */
    int64_t           *busy;     /* [devices] */
    int               *device;   /* [tasks] */
} Branch;

/* ---- weights ------------------------------------------------------------------------ */

/* The bound of weights, and what load they would put on each device. */
static double dual(const TaskProblem *p, const double *weight, double *load)
{
    double value = 0;

    memset(load, 0, (size_t)p->devices * sizeof *load);
    for (int t = 0; t < p->tasks; t++) {
        int best = task_fastest(p, t);
        for (int d = 0; d < p->devices; d++)
            if (task_time(p, t, d) < TASK_IMPOSSIBLE
                && weight[d] * (double)task_time(p, t, d)
                       < weight[best] * (double)task_time(p, t, best))
                best = d;
        value += weight[best] * (double)task_time(p, t, best);
        load[best] += (double)task_time(p, t, best);
    }
    return value;
}

/* More weight on devices with more load than the mean; steps get shorter. */
static void step(double *weight, const double *load, int devices, int number)
{
    double most = 0, sum = 0;

    for (int d = 0; d < devices; d++) if (load[d] > most) most = load[d];
    for (int d = 0; d < devices; d++) {
        if (most > 0) weight[d] *= 1 + load[d] / most * 4 / (double)(number + 8);
        sum += weight[d];
    }
    for (int d = 0; d < devices; d++) weight[d] /= sum;
}

static void to_integers(int64_t *out, const double *weight, int devices)
{
    int64_t sum = 0;
    int     largest = 0;

    for (int d = 0; d < devices; d++) {
        out[d] = (int64_t)(weight[d] * WEIGHT_SUM);
        sum += out[d];
        if (out[d] > out[largest]) largest = d;
    }
    out[largest] += WEIGHT_SUM - sum;
}

static int find_weights(Branch *b, Error *err)
{
    size_t  m = (size_t)b->p->devices;
    double *weight = malloc(3 * m * sizeof *weight), *load = weight ? weight + m : NULL;
    double *best = weight ? weight + 2 * m : NULL, highest = -1;

    if (!weight) return error_no_memory(err);
    for (size_t d = 0; d < m; d++) weight[d] = 1 / (double)m;
    int steps = ASCENT_PAIRS / (b->p->tasks * b->p->devices);
    for (int i = 0; i < ASCENT_STEPS && i <= steps; i++) {
        double value = dual(b->p, weight, load);
        if (value > highest) { highest = value; memcpy(best, weight, m * sizeof *best); }
        step(weight, load, b->p->devices, i);
    }
    to_integers(b->weight, best, b->p->devices);
    free(weight);
    return 0;
}

static void add_up_rest(Branch *b)
{
    b->rest[b->p->tasks] = 0;
    for (int i = b->p->tasks - 1; i >= 0; i--) {
        Wide least = -1;
        for (int d = 0; d < b->p->devices; d++) {
            Wide here = (Wide)b->weight[d] * task_time(b->p, b->order->task[i], d);
            if (task_time(b->p, b->order->task[i], d) == TASK_IMPOSSIBLE) continue;
            if (least < 0 || here < least) least = here;
        }
        b->rest[i] = b->rest[i + 1] + least;
    }
}

/* ---- branches -------------------------------------------------------------------------- */

static void find_likes(Branch *b)
{
    for (int d = 0; d < b->p->devices; d++)
        for (b->like[d] = 0; b->like[d] < d; b->like[d]++) {
            int t = 0;
            while (t < b->p->tasks && task_time(b->p, t, d) == task_time(b->p, t, b->like[d])) t++;
            if (t == b->p->tasks) break;
        }
}

/* The device after (end, device) in the order of when they would finish task; -1: none. */
static int next_device(const Branch *b, int task, int64_t end, int device)
{
    int     best = -1;
    int64_t least = INT64_MAX;

    for (int d = 0; d < b->p->devices; d++) {
        if (task_time(b->p, task, d) == TASK_IMPOSSIBLE) continue;
        int64_t here = b->busy[d] + task_time(b->p, task, d);
        if ((here > end || (here == end && d > device)) && here < least) { least = here; best = d; }
    }
    return best;
}

/* A lower device with the same times has the same load. */
static bool twin(const Branch *b, int device)
{
    for (int d = b->like[device]; d < device; d++)
        if (b->like[d] == b->like[device] && b->busy[d] == b->busy[device]) return true;
    return false;
}

/* Tasks from i on; weighted is the weighted sum of the loads so far. */
static void branch(Branch *b, int i, Wide weighted)
{
    if (i == b->p->tasks) {
        memcpy(b->lists->device, b->device, (size_t)b->p->tasks * sizeof *b->device);
        task_lists_finish(b->lists, b->p);
        return;
    }
    if (!task_budget_spend(b->budget, 1)) return;
    int     task = b->order->task[i], d = -1;
    int64_t end = -1;
    while ((d = next_device(b, task, end, d)) >= 0) {
        int64_t ns = task_time(b->p, task, d);
        end = b->busy[d] + ns;
        if (end >= b->lists->makespan_ns) return;        /* and so would be all that come after */
        Wide more = weighted + (Wide)b->weight[d] * ns;
        if (more + b->rest[i + 1] > (Wide)(b->lists->makespan_ns - 1) * WEIGHT_SUM || twin(b, d))
            continue;
        b->busy[d] += ns;
        b->device[task] = d;
        branch(b, i + 1, more);
        b->busy[d] -= ns;
        if (b->lists->optimal || b->budget->stopped != TASKS_FINISHED) return;
    }
}

/* ---- all ------------------------------------------------------------------------------- */

static int search(Branch *b, Error *err)
{
    if (find_weights(b, err) != 0) return -1;
    add_up_rest(b);
    find_likes(b);
    int64_t bound = (int64_t)((b->rest[0] + WEIGHT_SUM - 1) / WEIGHT_SUM);
    if (bound > b->lists->bound_ns) b->lists->bound_ns = bound;
    b->lists->optimal = b->lists->makespan_ns == b->lists->bound_ns;
    if (!b->lists->optimal) branch(b, 0, 0);
    if (b->budget->stopped != TASKS_FINISHED) return 0;
    b->lists->bound_ns = b->lists->makespan_ns;          /* all was looked at */
    b->lists->optimal = true;
    return 0;
}

int task_search_unrelated(TaskLists *lists, const TaskProblem *p, const TaskOrder *order,
                          TaskBudget *budget, Error *err)
{
    size_t n = (size_t)p->tasks, m = (size_t)p->devices;
    Branch b = {.p = p, .order = order, .lists = lists, .budget = budget};
    int    rc = -1;

    if (n * m > MAX_PAIRS || lists->makespan_ns > INT64_MAX / 4) {
        budget->stopped = TASKS_TOO_LARGE;
        return 0;
    }
    b.weight = malloc(m * sizeof *b.weight);
    b.like = malloc(m * sizeof *b.like);
    b.rest = malloc((n + 1) * sizeof *b.rest);
    b.busy = calloc(m, sizeof *b.busy);
    b.device = calloc(n, sizeof *b.device);
    if (!b.weight || !b.like || !b.rest || !b.busy || !b.device) error_no_memory(err);
    else rc = search(&b, err);
    free(b.weight);
    free(b.like);
    free(b.rest);
    free(b.busy);
    free(b.device);
    return rc;
}
