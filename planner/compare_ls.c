/* ls: lists by several methods, and work stealing, simulated; the fastest is kept. */
#include <stdlib.h>

#include "planner/compare_schedule.h"
#include "planner/tasks.h"

/* ns[task][device]: a step of the task of each block. */
static int task_times(int64_t *ns, const Scenario *s, Error *err)
{
    int n = s->trace->block_count, g = s->device_count;

    for (int d = 0; d < g; d++) {
        int64_t teacher = scenario_load_ns(s, s->batch);
        for (int b = 0; b < n; b++) {
            Cost t, f, k, u;
            if (scenario_work(s, WORK_TEACHER, b, d, s->batch, &t, err) != 0
                || scenario_work(s, WORK_FORWARD, b, d, s->batch, &f, err) != 0
                || scenario_work(s, WORK_BACKWARD, b, d, s->batch, &k, err) != 0
                || scenario_work(s, WORK_UPDATE, b, d, s->batch, &u, err) != 0) return -1;
            teacher += t.ns;
            ns[(size_t)b * (size_t)g + (size_t)d] = teacher + f.ns + k.ns + u.ns;
        }
    }
    return 0;
}

/* Lists as a plan; device NULL: all tasks in the shared queue, longest first. */
static int plan_of_lists(Plan **out, const Scenario *s, const int *device, int64_t makespan, Error *err)
{
    int n = s->trace->block_count;

    if (plan_new(out, SCHEDULE_LS, n, s->device_count, s->batch, n, err) != 0) return -1;
    (*out)->stealing = device == NULL;
    (*out)->bottleneck_ns = makespan;
    for (int i = 0; i < n; i++) {
        int b = device ? i : n - 1 - i;          /* later blocks run more of the teacher */
        if (plan_set_stage(*out, i, b, b, device ? device[b] : 0, device ? 1 : 0, err) == 0) continue;
        plan_free(*out);
        *out = NULL;
        return -1;
    }
    return 0;
}

static int try_lists(Candidate *row, const Scenario *s, const TaskLists *lists, const char *method, Error *err)
{
    Plan *plan;

    if (plan_of_lists(&plan, s, lists ? lists->device : NULL, lists ? lists->makespan_ns : 0, err) != 0)
        return -1;
    return candidate_try(row, plan, method, s, err);
}

/* GLPK's lists where it may know better than LPT: the variables are not too many for it. */
static int try_glpk(Candidate *row, const Scenario *s, const TaskProblem *problem, int limit_ms, Error *err)
{
    TaskLists lists = {0};
    Error     why = {""};

    if ((int64_t)problem->tasks * problem->devices > 4096) return 0;
    if (tasks_glpk(&lists, problem, limit_ms, &why) != 0)
        return error_is_no_memory(&why) ? error_no_memory(err) : 0;
    int rc = try_lists(row, s, &lists, lists.optimal ? "lists by GLPK, least makespan"
                                                     : "lists by GLPK, stopped by its time limit", err);
    free(lists.device);
    return rc;
}

int compare_ls(Candidate *row, const Scenario *s, const CompareOptions *options, Error *err)
{
    TaskProblem problem = {s->trace->block_count, s->device_count, NULL};
    TaskLists   lpt = {0};
    int64_t    *ns = calloc((size_t)problem.tasks * (size_t)problem.devices, sizeof *ns);
    Error       why = {""};
    int         rc = -1;

    if (!ns) { error_no_memory(err); goto done; }
    problem.ns = ns;
    if (task_times(ns, s, &why) != 0) { rc = candidate_give_up(row, &why, err); goto done; }
    if (tasks_lpt(&lpt, &problem, err) != 0) goto done;
    if (try_lists(row, s, &lpt, lpt.optimal ? "lists by LPT, least makespan" : "lists by LPT", err) != 0)
        goto done;
    if (!lpt.optimal && try_glpk(row, s, &problem, options->glpk_ms, err) != 0) goto done;
    rc = try_lists(row, s, NULL, "work stealing, last block first", err);
done:
    free(ns);
    free(lpt.device);
    return rc;
}
