/* Better lists from given ones: the busiest device and some others reassign their tasks
 * anew, in every way there is, as long as that makes the busiest end earlier. Two devices
 * at a time, and three when two do not help. What is found is no better than its start
 * promises; it is where a search begins. */
#include <stdlib.h>
#include <string.h>

#include "planner/ls/tasks_common.h"

enum { MOST_REASSIGNED = 24, MOST_PARTNERS = 3, REASSIGN_NODES = 20000 };

typedef struct {
    const TaskProblem *p;
    TaskLists         *lists;
    TaskBudget        *budget;
    int64_t           *load;     /* [devices] */
    int                partner[MOST_PARTNERS], partners;  /* devices that take part, the busiest
                                                           * first */
    int                task[MOST_REASSIGNED], tasks;  /* theirs, by time, descending */
    /* partner of each */
    int                assigned[MOST_REASSIGNED], best_assigned[MOST_REASSIGNED];
    int64_t            best;     /* the busiest of the partners must end before this */
    int64_t            nodes;    /* left for this attempt */
} Improvement;

static int64_t time_in(const Improvement *x, int i, int partner)
{
    return task_time(x->p, x->task[i], x->partner[partner]);
}

/* Tasks from i on to partners with these loads. */
static void reassign(Improvement *x, int i, int64_t load[MOST_PARTNERS])
{
    if (i == x->tasks) {
        x->best = 0;
        for (int h = 0; h < x->partners; h++) if (load[h] > x->best) x->best = load[h];
        memcpy(x->best_assigned, x->assigned, sizeof x->assigned);
        return;
    }
    if (x->nodes-- <= 0) return;
    for (int h = 0; h < x->partners; h++) {
        int64_t ns = time_in(x, i, h);
        if (ns >= x->best - load[h]) continue;        /* too long, or cannot be */
        load[h] += ns;
        x->assigned[i] = h;
        reassign(x, i + 1, load);
        load[h] -= ns;
    }
}

/* The tasks of all partners; false: too many to reassign. */
static bool collect(Improvement *x)
{
    x->tasks = 0;
    for (int t = 0; t < x->p->tasks; t++)
        for (int h = 0; h < x->partners; h++) {
            if (x->lists->device[t] != x->partner[h]) continue;
            if (x->tasks == MOST_REASSIGNED) return false;
            int at = x->tasks++;
            while (at > 0
                   && task_time(x->p, x->task[at - 1], x->partner[0])
                          < task_time(x->p, t, x->partner[0])) {
                x->task[at] = x->task[at - 1];
                at--;
            }
            x->task[at] = t;
        }
    return true;
}

/* True: the partners were assigned anew, and the busiest of them ends earlier. */
static bool try_partners(Improvement *x)
{
    int64_t load[MOST_PARTNERS] = {0}, before = x->load[x->partner[0]];

    if (!task_budget_spend(x->budget, 100) || !collect(x)) return false;
    x->best = before;
    x->nodes = REASSIGN_NODES;
    reassign(x, 0, load);
    task_budget_spend(x->budget, REASSIGN_NODES - x->nodes);
    if (x->best >= before) return false;
    for (int h = 0; h < x->partners; h++) x->load[x->partner[h]] = 0;
    for (int i = 0; i < x->tasks; i++) {
        int h = x->best_assigned[i];
        x->lists->device[x->task[i]] = x->partner[h];
        x->load[x->partner[h]] += time_in(x, i, h);
    }
    return true;
}

static bool try_one_partner(Improvement *x)
{
    x->partners = 2;
    for (x->partner[1] = 0; x->partner[1] < x->p->devices; x->partner[1]++)
        if (x->partner[1] != x->partner[0] && try_partners(x)) return true;
    return false;
}

static bool try_two_partners(Improvement *x)
{
    x->partners = 3;
    for (int a = 0; a < x->p->devices; a++)
        for (int b = a + 1; b < x->p->devices; b++) {
            x->partner[1] = a;
            x->partner[2] = b;
            if (a != x->partner[0] && b != x->partner[0] && try_partners(x)) return true;
            if (x->budget->stopped != TASKS_FINISHED) return false;
        }
    return false;
}

int task_lists_improve(TaskLists *lists, const TaskProblem *p, TaskBudget *budget, Error *err)
{
    Improvement x = {.p = p, .lists = lists, .budget = budget,
                     .load = calloc((size_t)p->devices, sizeof *x.load)};

    if (!x.load) return error_no_memory(err);
    for (int t = 0; t < p->tasks; t++)
        x.load[lists->device[t]] += task_time(p, t, lists->device[t]);
    for (;;) {
        x.partner[0] = 0;
        for (int d = 1; d < p->devices; d++)
            if (x.load[d] > x.load[x.partner[0]]) x.partner[0] = d;
        if (x.load[x.partner[0]] == lists->bound_ns) break;
        if (!try_one_partner(&x) && !try_two_partners(&x)) break;
    }
    task_lists_finish(lists, p);
    free(x.load);
    return 0;
}
