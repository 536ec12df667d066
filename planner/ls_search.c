#include "planner/ls_search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "base/rng.h"
#include "planner/ls/tasks_common.h"

typedef struct {
    Candidate         *row;
    const TaskProblem *p;
    const Scenario    *s;
    bool               bounded;      /* task times are at most what the simulator takes */
    int64_t            steps;        /* of a run */
    int64_t            budget;       /* instructions */
    int64_t            share_ns;     /* of a step: what all loads take of the loader's lanes */
    int               *device;       /* [tasks] the lists looked at; between moves the best */
    int64_t           *load_ns;      /* [devices] of them, a step */
    int64_t           *end_ns;       /* [devices] of the run of the best: from its last work on
                                      * idle */
    int64_t           *run_ns;       /* [devices] the same of the latest run */
    int64_t            best_ns;      /* of so many steps; INT64_MAX: nothing fits */
    int                runs;
    Error             *err;
} ListSearch;

int ls_plan(Plan **out, const int *device, int64_t makespan_ns, const Scenario *s, Error *err)
{
    int n = s->trace->block_count;

    if (plan_new(out, SCHEDULE_LS, n, s->device_count, s->batch, n, err) != 0) return -1;
    (*out)->bottleneck_ns = makespan_ns;
    for (int b = 0; b < n; b++) {
        if (plan_set_stage(*out, b, b, b, device[b], 1, err) == 0) continue;
        plan_free(*out);
        *out = NULL;
        return -1;
    }
    return 0;
}

/* ---- a run ------------------------------------------------------------------------------ */

/* No run of the lists is shorter. */
static int64_t bound(const ListSearch *l)
{
    int64_t most = l->share_ns, ns;

    for (int d = 0; d < l->p->devices && l->bounded; d++) most = larger(most, l->load_ns[d]);
    return __builtin_mul_overflow(most, l->steps, &ns) ? INT64_MAX : ns;
}

/* *ns of the lists, and run_ns; INT64_MAX: they cannot be simulated. */
static int run(ListSearch *l, int64_t *ns)
{
    Plan     *plan = NULL;
    Program  *program = NULL;
    SimResult result = {0};
    Error     why = {""};

    *ns = INT64_MAX;
    if (ls_plan(&plan, l->device, 0, l->s, &why) == 0
        && candidate_check_students(plan, l->s->trace, &why) == 0
        && program_build(&program, plan, l->steps, &why) == 0
        && sim_run(&result, program, l->s, &(SimOptions){0}, &why) == 0) {
        *ns = result.epoch_ns;
        for (int d = 0; d < l->p->devices; d++)
            l->run_ns[d] = result.epoch_ns - result.shares[d][SHARE_IDLE];
    }
    l->runs++;
    l->budget -= result.simulated + 200 + 10 * (int64_t)l->p->tasks;
    sim_free(&result);
    program_free(program);
    plan_free(plan);
    return error_is_no_memory(&why) ? error_no_memory(l->err) : 0;
}

static void place(ListSearch *l, int task, int device)
{
    if (l->device[task] >= 0) l->load_ns[l->device[task]] -= task_time(l->p, task, l->device[task]);
    l->device[task] = device;
    if (device >= 0) l->load_ns[device] += task_time(l->p, task, device);
}

/* Whether the lists are faster than the best, which they then are. */
static int try_lists(ListSearch *l, bool *better)
{
    int64_t ns;

    *better = false;
    if (bound(l) >= l->best_ns) { l->budget -= l->p->devices; return 0; }
    if (run(l, &ns) != 0) return -1;
    if (ns >= l->best_ns) return 0;
    *better = true;
    l->best_ns = ns;
    memcpy(l->end_ns, l->run_ns, (size_t)l->p->devices * sizeof *l->end_ns);
    return 0;
}

/* ---- all lists ------------------------------------------------------------------------------ */

static bool may_take(const ListSearch *l, int task, int device)
{
    return task_time(l->p, task, device) != TASK_IMPOSSIBLE;
}

/* Equal devices too: at equal times the lower number goes first, so which of them has which list
 * can matter. */
static int all_from(ListSearch *l, int task, int *best)
{
    bool better;

    if (l->budget <= 0) return 0;
    if (task == l->p->tasks) {
        if (try_lists(l, &better) != 0) return -1;
        if (better) memcpy(best, l->device, (size_t)task * sizeof *best);
        return 0;
    }
    for (int d = 0; d < l->p->devices; d++) {
        if (!may_take(l, task, d)) continue;
        place(l, task, d);
        int rc = all_from(l, task + 1, best);
        place(l, task, -1);
        if (rc != 0) return -1;
    }
    return 0;
}

static int try_all(ListSearch *l)
{
    size_t bytes = (size_t)l->p->tasks * sizeof *l->device;
    int   *best = malloc(bytes), rc;

    if (!best) return error_no_memory(l->err);
    memcpy(best, l->device, bytes);
    for (int t = 0; t < l->p->tasks; t++) place(l, t, -1);
    rc = all_from(l, 0, best);
    for (int t = 0; t < l->p->tasks; t++) place(l, t, best[t]);
    free(best);
    return rc;
}

/* ---- moves ------------------------------------------------------------------------------- */

/* Task to another device, or in exchange for one of its tasks. */
static int move_task(ListSearch *l, int task, bool *better)
{
    int from = l->device[task];

    for (int d = 0; d < l->p->devices; d++) {
        if (d == from || l->budget <= 0 || !may_take(l, task, d)) continue;
        place(l, task, d);
        if (try_lists(l, better) != 0) return -1;
        if (*better) return 0;
        for (int other = 0; other < l->p->tasks; other++) {
            if (other == task || l->device[other] != d || l->budget <= 0
                || !may_take(l, other, from))
                continue;
            place(l, other, from);
            if (try_lists(l, better) != 0) return -1;
            if (*better) return 0;
            place(l, other, d);
        }
        place(l, task, from);
    }
    return 0;
}

/* Device's list for another one's: at equal times the lower number goes first. */
static int exchange_lists(ListSearch *l, int device, bool *better)
{
    for (int d = 0; d < l->p->devices && !*better; d++) {
        bool fits = d != device && l->budget > 0;
        for (int t = 0; t < l->p->tasks && fits; t++)
            fits = (l->device[t] != d || may_take(l, t, device))
                   && (l->device[t] != device || may_take(l, t, d));
        for (int turn = 0; turn < 2 && fits && !*better; turn++) {
            for (int t = 0; t < l->p->tasks; t++)
                if (l->device[t] == d || l->device[t] == device)
                    place(l, t, l->device[t] == d ? device : d);
            if (turn == 0 && try_lists(l, better) != 0) return -1;
        }
    }
    return 0;
}

/* Of one device; *better: something was. */
static int move_tasks_of(ListSearch *l, int device, bool *better)
{
    *better = false;
    for (int t = l->p->tasks - 1; t >= 0 && !*better; t--)
        if (l->device[t] == device && move_task(l, t, better) != 0) return -1;
    return *better ? 0 : exchange_lists(l, device, better);
}

static int climb(ListSearch *l)
{
    bool *tried = malloc((size_t)l->p->devices * sizeof *tried), better = true;

    if (!tried) return error_no_memory(l->err);
    for (int left = 0; (better || left > 0) && l->budget > 0;) {
        int next = -1;
        if (better) memset(tried, 0, (size_t)l->p->devices * sizeof *tried);
        if (better) left = l->p->devices;
        for (int d = 0; d < l->p->devices; d++)
            if (!tried[d] && (next < 0 || l->end_ns[d] > l->end_ns[next])) next = d;
        tried[next] = true;
        left--;
        if (move_tasks_of(l, next, &better) != 0) { free(tried); return -1; }
    }
    free(tried);
    return 0;
}

enum { KICKS = 24, KICKED = 3 };

/* From the best lists, with some tasks put elsewhere, again: in case the moves lead no further than
 * to the next hill. */
static int climb_again(ListSearch *l)
{
    size_t  bytes = (size_t)l->p->tasks * sizeof *l->device;
    int    *best = malloc(bytes);
    Rng     rng = {.seed = 1};
    int     rc = best ? climb(l) : error_no_memory(l->err);

    for (int i = 0; i < KICKS && rc == 0 && l->budget > 0; i++) {
        int64_t best_ns = l->best_ns;
        memcpy(best, l->device, bytes);
        for (int k = 0; k < KICKED; k++) {
            int task = (int)rng_range(&rng, 0, l->p->tasks - 1),
                d = (int)rng_range(&rng, 0, l->p->devices - 1);
            if (may_take(l, task, d)) place(l, task, d);
        }
        if ((rc = run(l, &l->best_ns)) != 0) break;
        memcpy(l->end_ns, l->run_ns, (size_t)l->p->devices * sizeof *l->end_ns);
        rc = climb(l);
        if (l->best_ns < best_ns) continue;
        for (int t = 0; t < l->p->tasks; t++) place(l, t, best[t]);
        l->best_ns = best_ns;
    }
    free(best);
    return rc;
}

/* ---- both ---------------------------------------------------------------------------------- */

/* So many steps that some hundred runs fit into the budget. */
static void choose_steps(ListSearch *l)
{
    int64_t n = l->p->tasks, step = n * (n + 9) / 2, most = l->budget / (200 * step);

    l->steps = smaller(l->s->steps, larger(most, 8));
}

static bool few(const TaskProblem *p)
{
    double lists = 1;

    for (int t = 0; t < p->tasks; t++) lists *= p->devices;
    return lists <= LS_LISTS;
}

/* Looks for faster lists than device[task], which stand on ideal times, with the simulator as
 * judge: all of them where they are few, else by climbing and kicks within the budget. *all: every
 * list was simulated for the whole epoch, so the best is optimal. Nothing is proposed where
 * device[] stays. */
static int search(ListSearch *l, const int *device, bool *all)
{
    const TraceLoader *loader = &l->s->trace->loader;
    Plan              *plan;
    char               method[sizeof l->row->method];
    bool               better;

    for (int t = 0; t < l->p->tasks; t++) l->device[t] = -1;
    for (int t = 0; t < l->p->tasks; t++) place(l, t, device[t]);
    choose_steps(l);
    if (loader->present)
        l->share_ns = l->p->tasks * scenario_load_ns(l->s, l->s->batch) / loader->lanes;
    if (try_lists(l, &better) != 0) return -1;
    if ((few(l->p) ? try_all(l) : climb_again(l)) != 0) return -1;
    *all = few(l->p) && l->budget > 0 && l->steps == l->s->steps;
    if (!*all && memcmp(l->device, device, (size_t)l->p->tasks * sizeof *device) == 0) return 0;
    snprintf(method, sizeof method,
             *all ? "fastest of all lists, %d simulated"
                  : "lists improved under the simulator, %d runs",
             l->runs);
    if (ls_plan(&plan, l->device, task_makespan(l->p, l->device), l->s, l->err) != 0) return -1;
    return candidate_try(l->row, plan, method, l->s, l->err);
}

int ls_search(Candidate *row, bool *all, const TaskProblem *problem, const int *device,
              const Scenario *s, int64_t budget, Error *err)
{
    size_t     g = (size_t)problem->devices;
    ListSearch l = {.row = row, .p = problem, .s = s, .bounded = !s->trace->contended,
                    .budget = budget, .best_ns = INT64_MAX, .err = err};
    int        rc = -1;

    *all = false;
    l.device = malloc((size_t)problem->tasks * sizeof *l.device);
    l.load_ns = calloc(3 * g, sizeof *l.load_ns);
    if (!l.device || !l.load_ns) { error_no_memory(err); goto done; }
    l.end_ns = l.load_ns + g;
    l.run_ns = l.end_ns + g;
    rc = search(&l, device, all);
done:
    free(l.device);
    free(l.load_ns);
    return rc;
}
