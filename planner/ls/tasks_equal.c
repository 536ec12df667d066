/* Exact lists on equal devices: does everything fit within a capacity? (Bin completion,
 * after Martello and Toth 1990 and Korf 2011.)
 *
 * Devices are filled one after another. The first takes the longest task left, so no two
 * orders of equal devices are both tried; then every set of further tasks that leaves no
 * more idle time than all devices together may still have:
 *
 *     slack = devices * capacity - all times        capacity - slack <= load <= capacity
 *
 * A set with room for one more task is dominated by the set with that task. The last two
 * tasks of a set come from two pointers that walk towards each other, so that a set of k
 * costs as much as one of k - 2. Of equal tasks only the first is left out or taken.
 *
 * The least capacity that fits is the answer. It is probed first at the bound, which many
 * short tasks meet (tasks_perfect.c looks for them there), then by bisection; a probe that spends
 * its share of the nodes decides nothing, and the search goes on above it. What is left over goes
 * to the last proof. */
#include <stdlib.h>
#include <string.h>

#include "planner/ls/tasks_common.h"

enum { PROBES_A_BUDGET = 8, MANY_A_DEVICE = 8 };

typedef struct {
    int            n, m;
    const int64_t *time;         /* [n], descending */
    int64_t        capacity, left;       /* left: time of the tasks not taken */
    int           *device;       /* [n] of a task taken, -1: not taken */
    TaskBudget    *budget;
    int64_t        probe_end;    /* nodes at which this probe gives up; 0: never */
} Fill;

/* Filling device: need is what is missing to the capacity, slack the idle time that all
 * devices from this one on may have together. */
typedef struct { int device; int64_t slack; } DeviceSlack;

static bool fill_device(Fill *f, DeviceSlack place);

static bool spend(Fill *f)
{
    if (f->probe_end && f->budget->nodes >= f->probe_end) return false;
    return task_budget_spend(f->budget, 1);
}

static bool gave_up(const Fill *f)
{
    return f->budget->stopped != TASKS_FINISHED
           || (f->probe_end && f->budget->nodes >= f->probe_end);
}

static void take(Fill *f, int task, int device)
{
    f->device[task] = device;
    f->left -= f->time[task];
}
static void give_back(Fill *f, int task)         { f->device[task] = -1; f->left += f->time[task]; }

/* The next task not taken, from task on; n: none. And the one before, down to first - 1. */
static int next(const Fill *f, int task)
{
    while (task < f->n && f->device[task] >= 0) task++;
    return task;
}

static int previous(const Fill *f, int task, int first)
{
    while (task >= first && f->device[task] >= 0) task--;
    return task;
}

/* The set is whole: on to the next device, unless one more task would fit beside it. */
static bool close_set(Fill *f, DeviceSlack place, int64_t idle)
{
    int shortest = previous(f, f->n - 1, 0);

    if (idle > place.slack || (shortest >= 0 && f->time[shortest] <= idle)) return false;
    return fill_device(f, (DeviceSlack){place.device + 1, place.slack - idle});
}

/* Every set that two more tasks from first on complete. */
static bool add_pairs(Fill *f, DeviceSlack place, int first, int64_t need)
{
    int low = previous(f, f->n - 1, first);

    for (int a = next(f, first); a < low; a = next(f, a + 1)) {
        while (low > a && f->time[a] + f->time[low] < need - place.slack)
            low = previous(f, low - 1, first);
        int64_t tried = -1;
        for (int b = low; b > a && f->time[a] + f->time[b] <= need; b = previous(f, b - 1, first)) {
            if (f->time[b] == tried) continue;
            tried = f->time[b];
            take(f, a, place.device);
            take(f, b, place.device);
            if (close_set(f, place, need - f->time[a] - tried)) return true;
            give_back(f, a);
            give_back(f, b);
            if (gave_up(f)) return false;
        }
        int same = a;                            /* the equals of a would give the same sets */
        while (same + 1 < f->n && f->time[same + 1] == f->time[a]) same++;
        a = same;
    }
    return false;
}

/* Every set that two or more tasks from first on complete; rest is the time of those not
 * taken from first on. */
static bool add_tasks(Fill *f, DeviceSlack place, int first, int64_t need, int64_t rest)
{
    int64_t tried = -1;

    if (!spend(f)) return false;
    if (add_pairs(f, place, first, need)) return true;
    for (int i = next(f, first); i < f->n && !gave_up(f); i = next(f, i + 1)) {
        if (rest < need - place.slack) return false;     /* not even with all of them */
        int64_t ns = f->time[i];
        rest -= ns;
        if (ns == tried || ns + 2 * f->time[f->n - 1] > need) continue;
        tried = ns;
        take(f, i, place.device);
        if (add_tasks(f, place, i + 1, need - ns, rest)) return true;
        give_back(f, i);
    }
    return false;
}

/* The longest task alone, and with one more. */
static bool add_one_or_none(Fill *f, DeviceSlack place, int first, int64_t need)
{
    int64_t tried = -1;

    if (close_set(f, place, need)) return true;
    for (int i = next(f, first); i < f->n && !gave_up(f); i = next(f, i + 1)) {
        if (f->time[i] == tried || f->time[i] > need || f->time[i] < need - place.slack) continue;
        tried = f->time[i];
        take(f, i, place.device);
        if (close_set(f, place, need - tried)) return true;
        give_back(f, i);
    }
    return false;
}

/* Of the devices left plus one longest tasks left, two must share a device. */
static bool hopeless(const Fill *f, int first, int devices)
{
    int64_t before = 0, last = 0;
    int     seen = 0;

    for (int i = first; i < f->n && seen <= devices; i = next(f, i + 1), seen++) {
        before = last;
        last = f->time[i];
    }
    return seen > devices && before + last > f->capacity;
}

static bool fill_device(Fill *f, DeviceSlack place)
{
    int first = next(f, 0);

    if (first == f->n) return true;
    if (place.device == f->m - 1) {
        if (f->left > f->capacity) return false;
        for (int i = first; i < f->n; i = next(f, i + 1)) take(f, i, place.device);
        return true;
    }
    if (!spend(f) || hopeless(f, first, f->m - place.device)) return false;
    take(f, first, place.device);
    int64_t need = f->capacity - f->time[first];
    if (add_one_or_none(f, place, first + 1, need)) return true;
    if (!gave_up(f) && add_tasks(f, place, first + 1, need, f->left)) return true;
    give_back(f, first);
    return false;
}

typedef enum { FITS, NEVER_FITS, UNDECIDED } DealResult;

static DealResult probe(Fill *f, const TaskOrder *order, int64_t capacity, int64_t nodes)
{
    f->capacity = capacity;
    f->left = order->total;
    f->probe_end = nodes ? f->budget->nodes + nodes : 0;
    for (int i = 0; i < f->n; i++) f->device[i] = -1;
    if (fill_device(f, (DeviceSlack){0, f->m * capacity - order->total})) return FITS;
    return gave_up(f) ? UNDECIDED : NEVER_FITS;
}

/* lists <- the assignment that the last probe found. */
static void keep(TaskLists *lists, const Fill *f, const TaskProblem *p, const TaskOrder *order)
{
    for (int i = 0; i < f->n; i++) lists->device[order->task[i]] = f->device[i];
    task_lists_finish(lists, p);
}

/* Many tasks a device: most likely the bound can be met. Spends half the nodes at most. */
static void try_perfect(TaskLists *lists, Fill *f, const TaskProblem *p, const TaskOrder *order)
{
    TaskBudget half = *f->budget;
    int64_t    capacity = lists->bound_ns, slack = f->m * capacity - order->total;

    if (f->n / f->m < MANY_A_DEVICE) return;
    half.most = half.most / 2 + half.most % 2;   /* 0 would be no limit */
    if (task_fill_perfectly(f->device, f->time, f->n, f->m, capacity, slack, &half))
        keep(lists, f, p, order);
    f->budget->nodes = half.nodes;
    if (half.stopped == TASKS_OUT_OF_TIME) f->budget->stopped = half.stopped;
}

static void search(TaskLists *lists, Fill *f, const TaskProblem *p, const TaskOrder *order)
{
    int64_t low = lists->bound_ns, capacity = low;       /* low: what is below is settled or given
                                                          * up */
    int64_t share = f->budget->most ? f->budget->most / PROBES_A_BUDGET + 1 : 200000;

    while (!lists->optimal && f->budget->stopped == TASKS_FINISHED) {
        bool   last = low >= lists->makespan_ns;
        DealResult answer =
            probe(f, order, last ? lists->makespan_ns - 1 : capacity, last ? 0 : share);
        if (answer == FITS)            keep(lists, f, p, order);
        else if (answer == NEVER_FITS) lists->bound_ns = low = f->capacity + 1;
        else                           low = f->capacity + 1;
        lists->optimal = lists->makespan_ns == lists->bound_ns;
        capacity = low + (lists->makespan_ns - 1 - low) / 2;
    }
}

int task_search_equal(TaskLists *lists, const TaskProblem *p, const TaskOrder *order,
                      TaskBudget *budget, Error *err)
{
    Fill f = {.n = p->tasks, .m = p->devices, .time = order->shortest, .budget = budget};

    /* Times of no length go anywhere: they would only multiply the sets. */
    while (f.n > 0 && f.time[f.n - 1] == 0) f.n--;
    if (lists->makespan_ns > INT64_MAX / 2 / f.m) { budget->stopped = TASKS_TOO_LARGE; return 0; }
    f.device = malloc((size_t)p->tasks * sizeof *f.device);
    if (!f.device) return error_no_memory(err);
    try_perfect(lists, &f, p, order);
    search(lists, &f, p, order);
    free(f.device);
    return 0;
}
