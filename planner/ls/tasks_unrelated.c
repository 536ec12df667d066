/* Exact lists where a task's time depends on the device: depth first, tasks by their time
 * on their fastest device, descending; each on its devices by when they would finish it. The bound
 * is a mean over devices with weights (tasks_weights.h). Devices with the same times for all tasks
 * and the same load are tried once.
 *
 * A quarter of the budget is spent so. What that does not settle is first narrowed: better lists by
 * descents, a higher bound by prices, and fewer pairs of a task and a device (tasks_narrow.c). */
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "planner/ls/tasks_common.h"
#include "planner/ls/tasks_weights.h"

enum { MAX_PAIRS = 1 << 20 };

static const double FIRST_PART = 0.25;

__extension__ typedef __int128 Wide;

typedef struct {
    const TaskProblem *p;
    const TaskOrder   *order;
    TaskLists         *lists;
    TaskBudget        *budget;
    int64_t           *weight;   /* [devices], they sum to TASK_WEIGHT_SUM */
    int               *like;     /* [devices] the lowest device with the same times */
    Wide              *rest;     /* [tasks + 1] weighted time of the tasks from i on, at least */
    int64_t           *busy;     /* [devices] */
    int               *device;   /* [tasks] */
} Branch;

/* ---- branches -------------------------------------------------------------------------- */

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

static void find_likes(Branch *b)
{
    for (int d = 0; d < b->p->devices; d++) {
        b->like[d] = 0;
        while (b->like[d] < d && !task_same_times(b->p, d, b->like[d])) b->like[d]++;
    }
}

/* A lower device with the same times has the same load. */
static bool twin(const Branch *b, int device)
{
    for (int d = b->like[device]; d < device; d++)
        if (b->like[d] == b->like[device] && b->busy[d] == b->busy[device]) return true;
    return false;
}

/* The next device for the i-th task after (*end, device) in the order of when they would finish it,
 * of those with which there may be better lists; -1: none. */
static int next_device(const Branch *b, int i, Wide weighted, int64_t *end, int device)
{
    int     task = b->order->task[i], best = -1;
    int64_t least = b->lists->makespan_ns;
    Wide    most = (Wide)(least - 1) * TASK_WEIGHT_SUM - weighted - b->rest[i + 1];

    for (int d = 0; d < b->p->devices; d++) {
        int64_t ns = task_time(b->p, task, d), here;
        if (ns >= least - b->busy[d]) continue;
        here = b->busy[d] + ns;
        if (here >= least || here < *end || (here == *end && d <= device)) continue;
        if ((Wide)b->weight[d] * ns > most || twin(b, d)) continue;
        least = here;
        best = d;
    }
    *end = least;
    return best;
}

static void keep_lists(Branch *b)
{
    b->lists->makespan_ns = 0;
    for (int d = 0; d < b->p->devices; d++)
        b->lists->makespan_ns = larger(b->lists->makespan_ns, b->busy[d]);
    memcpy(b->lists->device, b->device, (size_t)b->p->tasks * sizeof *b->device);
    b->lists->optimal = b->lists->makespan_ns == b->lists->bound_ns;
}

/* Tasks from i on; weighted is the weighted sum of the loads so far. */
static void branch(Branch *b, int i, Wide weighted)
{
    if (i == b->p->tasks) { keep_lists(b); return; }
    if (!task_budget_spend(b->budget, 1)) return;
    int64_t end = -1;
    for (int d = -1; (d = next_device(b, i, weighted, &end, d)) >= 0;) {
        int64_t ns = task_time(b->p, b->order->task[i], d);
        b->busy[d] += ns;
        b->device[b->order->task[i]] = d;
        branch(b, i + 1, weighted + (Wide)b->weight[d] * ns);
        b->busy[d] -= ns;
        if (b->lists->optimal || b->budget->stopped != TASKS_FINISHED) return;
    }
}

/* ---- a tree ---------------------------------------------------------------------------- */

/* Depth first, until the budget is spent. -1 only without memory. */
static int search_tree(Branch *b, Error *err)
{
    if (task_weights_find(b->weight, NULL, b->p, err) != 0) return -1;
    add_up_rest(b);
    find_likes(b);
    task_lists_raise(b->lists, (int64_t)((b->rest[0] + TASK_WEIGHT_SUM - 1) / TASK_WEIGHT_SUM));
    if (!b->lists->optimal) branch(b, 0, 0);
    if (b->budget->stopped == TASKS_FINISHED) task_lists_raise(b->lists, b->lists->makespan_ns);
    return 0;
}

/* Better lists, and a higher bound: all there is where the budget suffices. Where p has fewer pairs
 * than the problem that is asked, lists that are better than those given must have none of those
 * that it lacks. */
static int search_problem(TaskLists *lists, const TaskProblem *p, TaskBudget *budget, Error *err)
{
    size_t    n = (size_t)p->tasks, m = (size_t)p->devices;
    TaskOrder order = {0};
    Branch    b = {.p = p, .order = &order, .lists = lists, .budget = budget};
    int       rc = -1;

    b.weight = malloc(m * sizeof *b.weight);
    b.like = malloc(m * sizeof *b.like);
    b.rest = malloc((n + 1) * sizeof *b.rest);
    b.busy = calloc(m, sizeof *b.busy);
    b.device = calloc(n, sizeof *b.device);
    if (!b.weight || !b.like || !b.rest || !b.busy || !b.device) error_no_memory(err);
    else if (task_order_build(&order, p, err) == 0) rc = search_tree(&b, err);
    task_order_free(&order);
    free(b.weight);
    free(b.like);
    free(b.rest);
    free(b.busy);
    free(b.device);
    return rc;
}

/* ---- all ------------------------------------------------------------------------------- */

/* The times; what is in no better lists, because one device alone would take as long:
 * impossible. */
static int64_t *copy_times(const TaskProblem *p, int64_t makespan_ns, Error *err)
{
    size_t   pairs = (size_t)p->tasks * (size_t)p->devices;
    int64_t *ns = malloc(pairs * sizeof *ns);

    if (!ns) { error_no_memory(err); return NULL; }
    for (size_t i = 0; i < pairs; i++)
        ns[i] = p->ns[i] < makespan_ns ? p->ns[i] : TASK_IMPOSSIBLE;
    return ns;
}

int task_search_unrelated(TaskLists *lists, const TaskProblem *p, TaskBudget *budget, Error *err)
{
    TaskBudget part;

    if ((int64_t)p->tasks * p->devices > MAX_PAIRS || lists->makespan_ns > INT64_MAX / 4) {
        budget->stopped = TASKS_TOO_LARGE;
        return 0;
    }
    task_budget_part(&part, budget, FIRST_PART, 1);
    if (search_problem(lists, p, &part, err) != 0) return -1;
    budget->nodes += part.nodes;
    if (lists->optimal) return 0;
    int64_t *ns = copy_times(p, lists->makespan_ns, err);
    if (!ns) return -1;
    TaskProblem left = {p->tasks, p->devices, ns};
    int         rc = 0;
    if (lists->makespan_ns < INT64_MAX / 4 / p->tasks)
        rc = task_lists_narrow(lists, &left, ns, budget, err);
    if (rc == 0 && !lists->optimal) rc = search_problem(lists, &left, budget, err);
    free(ns);
    return rc;
}
