/* Lists improved where devices differ: descents, each from the lists before with a few tasks put
 * elsewhere (iterated local search; Lourenco, Martin, Stuetzle 2003).
 *
 * A descent changes what the device that ends last has to do, as long as all devices that take part
 * then end before it did:
 *
 *     move    a task to another device
 *     swap    a task for one of another device
 *     chain   a task to another device, and one of that device to a third
 *
 * the best of the moves and swaps first; where there is none, the best of the chains. */
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "base/rng.h"
#include "planner/ls/tasks_common.h"

enum { MOST_MOVED = 8, CHOICES = 4 };

typedef struct {
    const TaskProblem *p;
    TaskBudget        *budget;
    Rng                rng;
    int               *device;   /* [tasks] */
    int64_t           *load;     /* [devices] */
    int               *first, *next;     /* [devices], [tasks]: the tasks of a device, -1 ends */
    int               *fastest;  /* [tasks][CHOICES] devices, where a task takes least first */
} Climb;

/* Task goes to device to; for a swap other comes back, for a chain it goes to third. */
typedef struct {
    int64_t end;                 /* of the last of the devices that take part */
    int     task, to, other, third;
} ClimbStep;

static void unlink_task(Climb *c, int task)
{
    int d = c->device[task], *at = &c->first[d];

    while (*at != task) at = &c->next[*at];
    *at = c->next[task];
    c->load[d] -= task_time(c->p, task, d);
}

static void put(Climb *c, int task, int device)
{
    c->device[task] = device;
    c->next[task] = c->first[device];
    c->first[device] = task;
    c->load[device] += task_time(c->p, task, device);
}

static void move(Climb *c, int task, int device)
{
    unlink_task(c, task);
    put(c, task, device);
}

static void place_all(Climb *c, const int *device)
{
    for (int d = 0; d < c->p->devices; d++) { c->load[d] = 0; c->first[d] = -1; }
    for (int t = c->p->tasks - 1; t >= 0; t--) put(c, t, device[t]);
}

static int busiest(const Climb *c)
{
    int most = 0;

    for (int d = 1; d < c->p->devices; d++) if (c->load[d] > c->load[most]) most = d;
    return most;
}

/* load and a task more on device; INT64_MAX where it cannot be. */
static int64_t with(const Climb *c, int64_t load, int task, int device)
{
    int64_t ns = task_time(c->p, task, device);

    return ns == TASK_IMPOSSIBLE ? INT64_MAX : load + ns;
}

static void find_swaps(const Climb *c, int from, int task, int to, ClimbStep *best)
{
    int64_t without = c->load[from] - task_time(c->p, task, from),
            more = with(c, c->load[to], task, to);

    if (more == INT64_MAX) return;
    if (larger(without, more) < best->end)
        *best = (ClimbStep){larger(without, more), task, to, -1, -1};
    for (int u = c->first[to]; u >= 0; u = c->next[u]) {
        int64_t less = more - task_time(c->p, u, to);
        if (less >= best->end) continue;
        int64_t end = larger(less, with(c, without, u, from));
        if (end < best->end) *best = (ClimbStep){end, task, to, u, from};
    }
}

static void find_chains(const Climb *c, int from, int task, int to, ClimbStep *best)
{
    int64_t without = c->load[from] - task_time(c->p, task, from),
            more = with(c, c->load[to], task, to);

    if (more == INT64_MAX || without >= best->end) return;
    for (int u = c->first[to]; u >= 0; u = c->next[u]) {
        int64_t end = larger(without, more - task_time(c->p, u, to));
        for (int d = 0; d < c->p->devices && end < best->end; d++) {
            if (d == from || d == to) continue;
            int64_t third = larger(end, with(c, c->load[d], u, d));
            if (third < best->end) *best = (ClimbStep){third, task, to, u, d};
        }
    }
}

/* False: nothing makes the busiest device end sooner, or the budget is spent. */
static bool climb_step(Climb *c)
{
    int       from = busiest(c);
    ClimbStep best = {.end = c->load[from], .task = -1};

    for (int chains = 0; chains < 2 && best.task < 0; chains++)
        for (int t = c->first[from]; t >= 0; t = c->next[t]) {
            int64_t looks = c->p->tasks;
            if (!task_budget_spend(c->budget, chains ? looks * 4 : looks)) return false;
            for (int d = 0; d < c->p->devices; d++)
                if (d != from) (chains ? find_chains : find_swaps)(c, from, t, d, &best);
        }
    if (best.task < 0) return false;
    move(c, best.task, best.to);
    if (best.other >= 0) move(c, best.other, best.third);
    return true;
}

static void kick(Climb *c)
{
    int count = (int)rng_range(&c->rng, 2, MOST_MOVED);

    for (int i = 0; i < count; i++) {
        int t = (int)rng_range(&c->rng, 0, c->p->tasks - 1);
        int d = c->fastest[t * CHOICES + (int)rng_range(&c->rng, 0, CHOICES - 1)];
        if (d >= 0) move(c, t, d);
    }
}

static void find_fastest(Climb *c)
{
    for (int t = 0; t < c->p->tasks; t++)
        for (int k = 0; k < CHOICES; k++) {
            int *mine = &c->fastest[t * CHOICES], best = -1;
            for (int d = 0; d < c->p->devices; d++) {
                bool had = false;
                for (int h = 0; h < k; h++) had |= mine[h] == d;
                if (!had && task_time(c->p, t, d) != TASK_IMPOSSIBLE
                    && (best < 0 || task_time(c->p, t, d) < task_time(c->p, t, best)))
                    best = d;
            }
            mine[k] = best;
        }
}

/* lists <- the best found; c->device: where to start; from: [tasks], scratch. */
static void climb(Climb *c, TaskLists *lists, int *from)
{
    size_t  bytes = (size_t)c->p->tasks * sizeof *c->device;
    int64_t here = INT64_MAX;

    while (lists->makespan_ns > lists->bound_ns) {
        while (climb_step(c)) {}
        int64_t end = c->load[busiest(c)];
        if (end < lists->makespan_ns) {
            lists->makespan_ns = end;
            memcpy(lists->device, c->device, bytes);
        }
        if (end <= here) { here = end; memcpy(from, c->device, bytes); }
        else             place_all(c, from);
        if (c->budget->stopped != TASKS_FINISHED) break;
        kick(c);
    }
    lists->optimal = lists->makespan_ns == lists->bound_ns;
}

/* A task that is where it cannot be goes to where it takes least. */
static void start(Climb *c, const int *device, int *from)
{
    find_fastest(c);
    for (int t = 0; t < c->p->tasks; t++)
        from[t] = task_time(c->p, t, device[t]) < TASK_IMPOSSIBLE ? device[t]
                                                                  : c->fastest[t * CHOICES];
    place_all(c, from);
}

int task_lists_climb(TaskLists *lists, const int *device, const TaskProblem *p, TaskBudget *budget,
                     Error *err)
{
    size_t n = (size_t)p->tasks, m = (size_t)p->devices;
    Climb  c = {.p = p, .budget = budget, .rng = {.seed = 1}};
    int    rc = -1;

    c.load = malloc(m * sizeof *c.load);
    c.device = malloc((3 * n + m + n * CHOICES) * sizeof *c.device);
    if (!c.load || !c.device) { error_no_memory(err); goto done; }
    c.next = c.device + n;
    c.first = c.next + n;
    c.fastest = c.first + m;
    int *from = c.fastest + n * CHOICES;
    start(&c, device, from);
    climb(&c, lists, from);
    rc = 0;
done:
    free(c.device);
    free(c.load);
    return rc;
}
