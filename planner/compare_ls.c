/* ls: lists by several methods, and work stealing, simulated; the fastest is kept. A
 * makespan leaves out that the loader is shared, so the simulator decides. A device that has
 * too little memory for a task cannot take it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "planner/compare_schedule.h"
#include "planner/ls_search.h"
#include "planner/stages/stage_memory.h"
#include "planner/ls/tasks_common.h"

enum { LS_BUDGET = 3000000 };            /* instructions simulated to do better than the makespan */
enum { METHOD_BYTES = sizeof ((Candidate *)0)->method };

/* ns[task][device]: a step of the task of each block, a device having the loader to itself. */
static int task_times(int64_t *ns, const Scenario *scenario, Error *err)
{
    Scenario        alone = *scenario;    /* a task trains one block */
    const Scenario *s = &alone;
    int             n = s->trace->block_count, g = s->device_count;
    const TraceLoader *loader = &s->trace->loader;
    int             ahead = trace_loader_ahead(loader, n < g ? n : g);
    int64_t         load = scenario_load_ns(s, s->batch);

    alone.single_block = true;
    if (ahead > loader->lanes) ahead = loader->lanes;
    for (int d = 0; d < g; d++) {
        int64_t teacher = 0;
        for (int b = 0; b < n; b++) {
            Cost t, f, k, u;
            if (scenario_work(s, WORK_TEACHER, b, d, s->batch, &t, err) != 0
                || scenario_work(s, WORK_FORWARD, b, d, s->batch, &f, err) != 0
                || scenario_work(s, WORK_BACKWARD, b, d, s->batch, &k, err) != 0
                || scenario_work(s, WORK_UPDATE, b, d, s->batch, &u, err) != 0) return -1;
            teacher += t.ns;
            int64_t work = teacher + f.ns + k.ns + u.ns + s->trace->step_ns;
            ns[(size_t)b * (size_t)g + (size_t)d] =
                ahead ? larger(work, load / ahead) : work + load;
        }
    }
    return 0;
}

/* Marks what devices have no room for. *everywhere: nothing; false: a task fits nowhere. */
static bool mark_too_large(int64_t *ns, const int64_t *bytes, bool *everywhere, const Scenario *s,
                           Error *why)
{
    int g = s->device_count;

    *everywhere = true;
    for (int b = 0; b < s->trace->block_count; b++) {
        int largest = 0, room = 0;
        for (int d = 0; d < g; d++) {
            bool fits = !s->memory_bytes[d] || bytes[b] <= s->memory_bytes[d];
            if (!fits) ns[(size_t)b * (size_t)g + (size_t)d] = TASK_IMPOSSIBLE;
            if (s->memory_bytes[d] > s->memory_bytes[largest]) largest = d;
            room += fits;
        }
        *everywhere &= room == g;
        if (room > 0) continue;
        error_set(
            why,
            "block \"%.60s\" is too large for device %d: as a task of ls it needs %.6g MiB of %.6g",
            s->trace->blocks[b].name, largest, (double)bytes[b] * 0x1p-20,
            (double)s->memory_bytes[largest] * 0x1p-20);
        return false;
    }
    return true;
}

/* All tasks in the shared queue, longest first. */
static int plan_of_queue(Plan **out, const Scenario *s, const TaskProblem *problem, Error *err)
{
    TaskOrder order;
    int       n = s->trace->block_count, rc = 0;

    *out = NULL;
    if (task_order_build(&order, problem, err) != 0) return -1;
    if (plan_new(out, SCHEDULE_LS, n, s->device_count, s->batch, n, err) != 0) rc = -1;
    if (rc == 0) (*out)->stealing = true;
    for (int i = 0; i < n && rc == 0; i++)
        rc = plan_set_stage(*out, i, order.task[i], order.task[i], 0, 0, err);
    task_order_free(&order);
    if (rc == 0) return 0;
    plan_free(*out);
    *out = NULL;
    return -1;
}

/* ---- methods ------------------------------------------------------------------------ */

static const struct {
    const char *words;
    TaskSolver *solve;           /* NULL: work stealing, all, or what CompareOptions.mip has */
    bool        searches;
} methods[LS_COUNT] = {
    [LS_ALL]      = {NULL, NULL, true},
    [LS_LPT]      = {"LPT", tasks_lpt, false},
    [LS_MULTIFIT] = {"MULTIFIT", tasks_multifit, false},
    [LS_GLPK]     = {"GLPK", NULL, true},
    [LS_EXACT]    = {"branch and bound", tasks_exact, true},
    [LS_STEALING] = {NULL, NULL, false},
};

const char *const ls_method_names[LS_COUNT + 1] = {"all",   "lpt",      "multifit", "glpk",
                                                   "exact", "stealing", NULL};

bool ls_method_searches(LsMethod method) { return methods[method].searches; }

/* What is known of the lists. The incumbent of a search that was stopped never passes for
 * the optimum. */
static void describe(char out[METHOD_BYTES], const TaskLists *lists, const char *words,
                     const CompareOptions *options)
{
    size_t used = (size_t)snprintf(out, METHOD_BYTES, "lists by %s, ", words);

    if (lists->optimal)
        snprintf(out + used, METHOD_BYTES - used, "least makespan");
    else
        used +=
            (size_t)snprintf(out + used, METHOD_BYTES - used,
                             "makespan at most %.2g %% above the least", 100 * tasks_gap(lists));
    if (lists->stopped == TASKS_OUT_OF_NODES)
        snprintf(out + used, METHOD_BYTES - used, ": stopped after %lld nodes",
                 (long long)lists->nodes);
    else if (lists->stopped == TASKS_OUT_OF_TIME)
        snprintf(out + used, METHOD_BYTES - used, ": stopped by the time limit of %g s",
                 (double)options->time_limit_ms * 1e-3);
    else if (lists->stopped == TASKS_TOO_LARGE)
        snprintf(out + used, METHOD_BYTES - used, ": too large to search");
    else if (!lists->optimal && lists->nodes > 0)
        snprintf(out + used, METHOD_BYTES - used, ": as exact as its arithmetic");
}

/* ---- trying them ---------------------------------------------------------------------- */

typedef struct {
    Candidate            *row;
    const Scenario       *s;
    const CompareOptions *options;
    TaskProblem           problem;
    bool                  everywhere;    /* any device has room for any task */
} LsSearch;

static int try_stealing(const LsSearch *l, Error *err)
{
    Plan *plan;

    if (plan_of_queue(&plan, l->s, &l->problem, err) != 0) return -1;
    return candidate_try(l->row, plan, "work stealing, longest task first", l->s, err);
}

static int try_lists(const LsSearch *l, const TaskLists *lists, LsMethod method, Error *err)
{
    char  words[METHOD_BYTES];
    Plan *plan;

    describe(words, lists, methods[method].words, l->options);
    if (ls_plan(&plan, lists->device, lists->makespan_ns, l->s, err) != 0) return -1;
    return candidate_try(l->row, plan, words, l->s, err);
}

/* Devices wait for the loader, or are faster or slower as others compute: the epoch is not the
 * makespan of the row's lists, by so many per cent; 0: it is, but for a two-thousandth. */
static double beyond_makespan(const LsSearch *l)
{
    const Plan *plan = l->row->plan;
    double ns = plan && !plan->stealing ? (double)plan->bottleneck_ns * (double)l->s->steps : 0;
    double      more = ns > 0 ? 100 * ((double)l->row->sim.epoch_ns / ns - 1) : 0;

    return fabs(more) > 0.05 ? more : 0;
}

/* Whether some lists may end before the cutoff. */
static bool may_be_faster(const LsSearch *l, const TaskLists *lists)
{
    int64_t ns;

    if (!l->row->cutoff_ns || l->s->trace->contended) return true;
    return !__builtin_mul_overflow(lists->bound_ns, l->s->steps, &ns) && ns < l->row->cutoff_ns;
}

/* Names what the makespan leaves out, where it can matter. */
static void say_left_out(const LsSearch *l)
{
    size_t used = strlen(l->row->method);
    double more = beyond_makespan(l);

    if (more != 0)
        snprintf(l->row->method + used, sizeof l->row->method - used,
                 "; simulated %.2g %% %s, as devices %s", fabs(more),
                 more > 0 ? "longer" : "shorter",
                 l->s->trace->contended ? "slow each other down" : "share the loader");
}

static int solve(TaskLists *out, const LsSearch *l, LsMethod method, Error *err)
{
    const MipSolver *mip = l->options->mip;
    TaskSolver      *solver = method != LS_GLPK ? methods[method].solve : mip ? mip->solve : NULL;

    *out = (TaskLists){0};
    if (!solver)
        return error_set(
            err,
            "lists by glpk: this program has no GLPK, which only pipebd-plan and pipebd-sim have, "
            "where it was there when they were built; expected another method (exact finds "
            "the least makespan, too)");
    return solver(out, &l->problem, &(TaskLimits){.time_ms = l->options->time_limit_ms}, err);
}

static int try_method(const LsSearch *l, LsMethod method, Error *err)
{
    TaskLists lists;

    if (method == LS_STEALING) return try_stealing(l, err);
    if (solve(&lists, l, method, err) != 0) return -1;
    int rc = try_lists(l, &lists, method, err);
    free(lists.device);
    if (rc == 0) say_left_out(l);
    return rc;
}

/* What the lists were chosen from, and whether the clock had a part in it. */
static void say_from(Candidate *row, bool lpt, const TaskLists *exact, bool stealing)
{
    size_t      used = strlen(row->method);
    const char *stopped = exact->stopped == TASKS_OUT_OF_TIME ? " (stopped by the time limit)" : "";

    if (!row->plan) return;
    snprintf(row->method + used, sizeof row->method - used, "; fastest of %s%s%s%s%s",
             lpt ? "lpt" : "", lpt && exact->device ? ", " : "", exact->device ? "exact" : "",
             stopped, stealing ? " and stealing" : "");
}

static void say_no_stealing(Candidate *row)
{
    size_t used = strlen(row->method);

    if (row->plan)
        snprintf(row->method + used, sizeof row->method - used,
                 "; no stealing, as not every device has room for every task");
}

/* The simulator looks for better lists, from those in device. */
static int improve(const LsSearch *l, const int *device, Error *err)
{
    bool all;

    if (ls_search(l->row, &all, &l->problem, device, l->s, LS_BUDGET, err) != 0) return -1;
    if (!all) say_left_out(l);
    return 0;
}

/* LPT, where that is not proven the best also branch and bound (which begins with the
 * better of LPT and MULTIFIT), and work stealing where any device may take any task. */
static int try_all(const LsSearch *l, Error *err)
{
    TaskLists lpt = {0}, exact = {0};
    size_t    bytes = (size_t)l->problem.tasks * sizeof *lpt.device;
    bool      other = false, search;
    int       rc = -1;

    if (solve(&lpt, l, LS_LPT, err) != 0) goto done;
    if (!lpt.optimal && solve(&exact, l, LS_EXACT, err) != 0) goto done;
    other = exact.device && memcmp(lpt.device, exact.device, bytes) != 0;
    if ((!exact.device || other) && try_lists(l, &lpt, LS_LPT, err) != 0) goto done;
    if (exact.device && try_lists(l, &exact, LS_EXACT, err) != 0) goto done;
    search = beyond_makespan(l) != 0 && may_be_faster(l, exact.device ? &exact : &lpt);
    if (l->everywhere && try_stealing(l, err) != 0) goto done;
    say_from(l->row, !exact.device || other, &exact, l->everywhere);
    rc = search ? improve(l, exact.device ? exact.device : lpt.device, err) : 0;
    if (!l->everywhere) say_no_stealing(l->row);
done:
    free(lpt.device);
    free(exact.device);
    return rc;
}

int compare_ls(Candidate *row, const Scenario *s, const CompareOptions *options, Error *err)
{
    int      n = s->trace->block_count;
    int64_t *ns = calloc((size_t)n * (size_t)s->device_count, sizeof *ns),
            *bytes = calloc((size_t)n, sizeof *bytes);
    LsSearch   l = {.row = row, .s = s, .options = options, .problem = {n, s->device_count, ns}};
    Error    why = {""};
    int      rc = -1;

    if (!ns || !bytes) { error_no_memory(err); goto done; }
    stage_memory_tasks(bytes, s);
    if (task_times(ns, s, &why) != 0 || !mark_too_large(ns, bytes, &l.everywhere, s, &why)) {
        rc = candidate_give_up(row, &why, err);
        goto done;
    }
    rc = options->ls == LS_ALL ? try_all(&l, err) : try_method(&l, options->ls, err);
done:
    free(ns);
    free(bytes);
    return rc;
}
