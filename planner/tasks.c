#include "planner/tasks.h"

#include <glpk.h>
#include <math.h>
#include <stdlib.h>

static int64_t time_on(const TaskProblem *p, int task, int device)
{
    return p->ns[(size_t)task * (size_t)p->devices + (size_t)device];
}

static int64_t shortest(const TaskProblem *p, int task)
{
    int64_t least = time_on(p, task, 0);

    for (int d = 1; d < p->devices; d++)
        if (time_on(p, task, d) < least) least = time_on(p, task, d);
    return least;
}

/* The makespan of an assignment, added up anew. */
static int64_t makespan(const TaskProblem *p, const int *device)
{
    int64_t worst = 0;

    for (int d = 0; d < p->devices; d++) {
        int64_t sum = 0;
        for (int t = 0; t < p->tasks; t++) sum += device[t] == d ? time_on(p, t, d) : 0;
        if (sum > worst) worst = sum;
    }
    return worst;
}

/* Tasks by descending time; equal ones by number. */
static void sort_tasks(const TaskProblem *p, int *order)
{
    for (int i = 0; i < p->tasks; i++) {
        int at = i;
        while (at > 0 && shortest(p, order[at - 1]) < shortest(p, i)) { order[at] = order[at - 1]; at--; }
        order[at] = i;
    }
}

/* No assignment ends before its longest task, nor before the mean over devices; and of
 * the first devices + 1 of order two must share a device (Graham 1969). A task counts as
 * it takes on its fastest device. */
static int64_t lower_bound(const TaskProblem *p, const int *order)
{
    int64_t bound = shortest(p, order[0]), sum = 0;
    int     m = p->devices;

    for (int t = 0; t < p->tasks; t++)
        if (__builtin_add_overflow(sum, shortest(p, t), &sum)) return bound;
    int64_t mean = sum / m + (sum % m > 0);
    if (mean > bound) bound = mean;
    if (p->tasks > m && shortest(p, order[m - 1]) + shortest(p, order[m]) > bound)
        bound = shortest(p, order[m - 1]) + shortest(p, order[m]);
    return bound;
}

int tasks_lpt(TaskLists *out, const TaskProblem *p, Error *err)
{
    int     *order = malloc((size_t)p->tasks * sizeof *order);
    int64_t *busy = calloc((size_t)p->devices, sizeof *busy);
    int      rc = -1;

    *out = (TaskLists){0};
    out->device = malloc((size_t)p->tasks * sizeof *out->device);
    if (!order || !busy || !out->device) { error_no_memory(err); goto done; }
    sort_tasks(p, order);
    for (int i = 0; i < p->tasks; i++) {
        int best = 0;
        for (int d = 1; d < p->devices; d++)
            if (busy[d] + time_on(p, order[i], d) < busy[best] + time_on(p, order[i], best)) best = d;
        out->device[order[i]] = best;
        busy[best] += time_on(p, order[i], best);
    }
    out->makespan_ns = makespan(p, out->device);
    out->bound_ns = lower_bound(p, order);
    out->optimal = out->makespan_ns == out->bound_ns;
    rc = 0;
done:
    free(order);
    free(busy);
    if (rc != 0) { free(out->device); out->device = NULL; }
    return rc;
}

/* Column of task on device: 1 is the makespan, then tasks by devices, from 2. */
static int column(const TaskProblem *p, int task, int device) { return 2 + task * p->devices + device; }

/* min C;  sum_d x[t][d] = 1 for every task;  sum_t ns[t][d] x[t][d] <= C for every
 * device;  x binary. Times are scaled to their mean, for the solver's tolerances. */
static void state_problem(glp_prob *lp, const TaskProblem *p, double scale, int *index, double *value)
{
    glp_set_obj_dir(lp, GLP_MIN);
    glp_add_cols(lp, 1 + p->tasks * p->devices);
    glp_set_col_bnds(lp, 1, GLP_LO, 0, 0);
    glp_set_obj_coef(lp, 1, 1);
    for (int c = 2; c <= 1 + p->tasks * p->devices; c++) glp_set_col_kind(lp, c, GLP_BV);
    glp_add_rows(lp, p->tasks + p->devices);
    for (int t = 0; t < p->tasks; t++) {
        for (int d = 0; d < p->devices; d++) { index[d + 1] = column(p, t, d); value[d + 1] = 1; }
        glp_set_row_bnds(lp, t + 1, GLP_FX, 1, 1);
        glp_set_mat_row(lp, t + 1, p->devices, index, value);
    }
    for (int d = 0; d < p->devices; d++) {
        index[1] = 1;
        value[1] = -1;
        for (int t = 0; t < p->tasks; t++) {
            index[t + 2] = column(p, t, d);
            value[t + 2] = (double)time_on(p, t, d) / scale;
        }
        glp_set_row_bnds(lp, p->tasks + d + 1, GLP_UP, 0, 0);
        glp_set_mat_row(lp, p->tasks + d + 1, p->tasks + 1, index, value);
    }
}

static void note_bound(glp_tree *tree, void *info)
{
    double *bound = info;
    int     node = glp_ios_best_node(tree);

    if (node) *bound = glp_ios_node_bound(tree, node);
}

static int solve(glp_prob *lp, const TaskProblem *p, double scale, int limit_ms, TaskLists *out, Error *err)
{
    glp_iocp options;
    double   bound = 0;

    glp_init_iocp(&options);
    options.msg_lev = GLP_MSG_OFF;
    options.presolve = GLP_ON;
    options.tm_lim = limit_ms;
    options.cb_func = note_bound;
    options.cb_info = &bound;
    int rc = glp_intopt(lp, &options), status = glp_mip_status(lp);
    if ((rc != 0 && rc != GLP_ETMLIM && rc != GLP_EMIPGAP) || (status != GLP_OPT && status != GLP_FEAS))
        return error_set(err, "GLPK found no assignment of %d tasks to %d devices in %d ms", p->tasks,
                         p->devices, limit_ms);
    for (int t = 0; t < p->tasks; t++)
        for (int d = 0; d < p->devices; d++)
            if (glp_mip_col_val(lp, column(p, t, d)) > 0.5) out->device[t] = d;
    out->makespan_ns = makespan(p, out->device);
    out->optimal = status == GLP_OPT && rc == 0;
    out->bound_ns = out->optimal ? out->makespan_ns : (int64_t)floor(bound * scale);
    return 0;
}

int tasks_glpk(TaskLists *out, const TaskProblem *p, int limit_ms, Error *err)
{
    size_t    wide = (size_t)(p->tasks > p->devices ? p->tasks : p->devices) + 3;
    int      *index = calloc(wide, sizeof *index);
    double   *value = calloc(wide, sizeof *value), scale = 0;
    glp_prob *lp = NULL;
    int       rc = -1, previous = GLP_ON;

    *out = (TaskLists){0};
    out->device = calloc((size_t)p->tasks, sizeof *out->device);
    if (!index || !value || !out->device) { error_no_memory(err); goto done; }
    for (int t = 0; t < p->tasks; t++) scale += (double)shortest(p, t) / p->tasks;
    if (scale <= 0) scale = 1;
    previous = glp_term_out(GLP_OFF);
    lp = glp_create_prob();
    state_problem(lp, p, scale, index, value);
    rc = solve(lp, p, scale, limit_ms, out, err);
    glp_term_out(previous);
done:
    if (lp) glp_delete_prob(lp);
    free(index);
    free(value);
    if (rc != 0) { free(out->device); out->device = NULL; }
    return rc;
}

void tasks_thread_end(void)
{
    glp_free_env();
}
