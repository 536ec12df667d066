/* The assignment as a mixed-integer program, solved by GLPK through its C API:
 *
 *     min C    sum_d x[t][d] = 1                 for every task t
 *              sum_t ns[t][d] x[t][d] <= C       for every device d
 *              bound <= C <= makespan of LPT or MULTIFIT,  x binary
 *
 * Fixed to 0 beforehand: x[t][d] where the task alone takes longer than that makespan, or
 * cannot be; and, for symmetry, x of the i-th task of the order on the k-th of devices with the
 * same times where i < k: numbered by their longest task, equal devices can stand in no other
 * order. A task that takes no time somewhere goes there and is left out.
 *
 * Times are scaled to their mean, for the solver's tolerances. Those make its answer exact
 * only to about a part in a million: the bound is moved down by as much, so that what is
 * called optimal is. */
#include "planner/ls/glpk/tasks_glpk.h"

#include <glpk.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "planner/ls/tasks_common.h"

enum { DEFAULT_NODES = 20000, MAX_COLUMNS = 16384 };

static const double TOLERANCE = 1e-6;

typedef struct {
    const TaskProblem *p;
    const TaskOrder   *order;
    TaskLists         *lists;    /* LPT's or MULTIFIT's, then GLPK's */
    int                tasks;    /* those that take any time */
    double             scale;    /* ns */
    int               *rank;     /* [devices] among the devices with the same times */
    TaskBudget         budget;
    double             bound;    /* of the tree, scaled; -1: none yet */
    glp_prob          *lp;
} IntegerProgram;

/* Column of the i-th task of the order on device: 1 is the makespan, then from 2. */
static int column(const IntegerProgram *g, int i, int device)
{
    return 2 + i * g->p->devices + device;
}

static void find_ranks(IntegerProgram *g)
{
    for (int d = 0; d < g->p->devices; d++) {
        g->rank[d] = 0;
        for (int e = 0; e < d; e++) {
            int t = 0;
            while (t < g->p->tasks && task_time(g->p, t, d) == task_time(g->p, t, e)) t++;
            g->rank[d] += t == g->p->tasks;
        }
    }
}

static void state_columns(const IntegerProgram *g)
{
    glp_add_cols(g->lp, 1 + g->tasks * g->p->devices);
    double low = (double)g->lists->bound_ns / g->scale,
           high = (double)g->lists->makespan_ns / g->scale;
    glp_set_col_bnds(g->lp, 1, GLP_DB, low * (1 - TOLERANCE), high * (1 + TOLERANCE));
    glp_set_obj_coef(g->lp, 1, 1);
    for (int i = 0; i < g->tasks; i++)
        for (int d = 0; d < g->p->devices; d++) {
            int c = column(g, i, d);
            glp_set_col_kind(g->lp, c, GLP_BV);
            if (g->rank[d] > i || task_time(g->p, g->order->task[i], d) > g->lists->makespan_ns)
                glp_set_col_bnds(g->lp, c, GLP_FX, 0, 0);
        }
}

/* The constraints, over x[i][d] = 1: task i is on device d, and y, the makespan: each task is on
 * one device (n rows); the sum of a device's times is at most y (m rows). Times are divided by
 * g->scale, as GLPK computes in doubles. index, value: room for max(n, m) + 2, filled from 1. */
static void state_rows(const IntegerProgram *g, int *index, double *value)
{
    int n = g->tasks, m = g->p->devices;

    glp_add_rows(g->lp, n + m);
    for (int i = 0; i < n; i++) {
        for (int d = 0; d < m; d++) { index[d + 1] = column(g, i, d); value[d + 1] = 1; }
        glp_set_row_bnds(g->lp, i + 1, GLP_FX, 1, 1);
        glp_set_mat_row(g->lp, i + 1, m, index, value);
    }
    for (int d = 0; d < m; d++) {
        index[1] = 1;
        value[1] = -1;
        for (int i = 0; i < n; i++) {
            index[i + 2] = column(g, i, d);
            int64_t ns = task_time(g->p, g->order->task[i], d);
            /* x is 0 then */
            value[i + 2] = ns < TASK_IMPOSSIBLE ? (double)ns / g->scale : 0;
        }
        glp_set_row_bnds(g->lp, n + d + 1, GLP_UP, 0, 0);
        glp_set_mat_row(g->lp, n + d + 1, n + 1, index, value);
    }
}

/* GLPK calls this at every event of its search. */
static void watch(glp_tree *tree, void *info)
{
    IntegerProgram *g = info;
    int      node = glp_ios_best_node(tree);

    if (node) g->bound = glp_ios_node_bound(tree, node);
    if (glp_ios_reason(tree) == GLP_ISELECT && !task_budget_spend(&g->budget, 1))
        glp_ios_terminate(tree);
}

/* What GLPK found, where it is better than what was there. */
static void take_incumbent(IntegerProgram *g)
{
    TaskLists found = *g->lists;

    found.device = malloc((size_t)g->p->tasks * sizeof *found.device);
    if (!found.device) return;                   /* the lists that there are still hold */
    memcpy(found.device, g->lists->device, (size_t)g->p->tasks * sizeof *found.device);
    for (int i = 0; i < g->tasks; i++)
        for (int d = 0; d < g->p->devices; d++)
            if (glp_mip_col_val(g->lp, column(g, i, d)) > 0.5) found.device[g->order->task[i]] = d;
    for (int i = g->tasks; i < g->p->tasks; i++)
        found.device[g->order->task[i]] = task_fastest(g->p, g->order->task[i]);
    task_lists_finish(&found, g->p);
    if (found.makespan_ns < g->lists->makespan_ns)
        memcpy(g->lists->device, found.device, (size_t)g->p->tasks * sizeof *found.device);
    free(found.device);
}

static void solve(IntegerProgram *g, const TaskLimits *limits)
{
    glp_iocp options;

    glp_init_iocp(&options);
    options.msg_lev = GLP_MSG_OFF;
    options.presolve = GLP_ON;
    options.cb_func = watch;
    options.cb_info = g;
    if (limits && limits->time_ms)
        options.tm_lim = limits->time_ms < INT32_MAX ? (int)limits->time_ms : INT32_MAX;
    int rc = glp_intopt(g->lp, &options), status = glp_mip_status(g->lp);
    if (status == GLP_OPT || status == GLP_FEAS) take_incumbent(g);
    if (rc == 0 && status == GLP_OPT) g->bound = glp_mip_obj_val(g->lp);
    g->lists->stopped = g->budget.stopped;
    if (rc == GLP_ETMLIM) g->lists->stopped = TASKS_OUT_OF_TIME;
    /* Nothing within the tolerance of the bounds: then what was there is as good. */
    if (rc == GLP_ENOPFS || (rc == 0 && status == GLP_NOFEAS))
        g->bound = (double)g->lists->makespan_ns / g->scale;
}

static void conclude(IntegerProgram *g)
{
    double bound = g->bound > 0 ? ceil(g->bound * g->scale * (1 - TOLERANCE)) : 0;

    task_lists_finish(g->lists, g->p);
    if (bound > (double)g->lists->makespan_ns) bound = (double)g->lists->makespan_ns;
    if (bound > (double)g->lists->bound_ns) g->lists->bound_ns = (int64_t)bound;
    g->lists->optimal = g->lists->makespan_ns == g->lists->bound_ns;
    g->lists->nodes = g->budget.nodes;
    if (g->lists->optimal) g->lists->stopped = TASKS_FINISHED;
}

static int run(IntegerProgram *g, const TaskLimits *limits, Error *err)
{
    size_t  wide = (size_t)(g->tasks > g->p->devices ? g->tasks : g->p->devices) + 3;
    int    *index = calloc(wide, sizeof *index);
    double *value = calloc(wide, sizeof *value);
    int     rc = index && value ? 0 : error_no_memory(err);

    if (rc == 0) {
        int previous = glp_term_out(GLP_OFF);
        g->lp = glp_create_prob();
        glp_set_obj_dir(g->lp, GLP_MIN);
        state_columns(g);
        state_rows(g, index, value);
        solve(g, limits);
        glp_delete_prob(g->lp);
        glp_term_out(previous);
        conclude(g);
    }
    free(index);
    free(value);
    return rc;
}

int tasks_glpk(TaskLists *out, const TaskProblem *p, const TaskLimits *limits, Error *err)
{
    TaskOrder order = {0};
    IntegerProgram   g = {.p = p, .order = &order, .lists = out, .tasks = p->tasks, .bound = -1};
    int       rc = -1;

    task_budget_start(&g.budget, limits, DEFAULT_NODES);
    if (task_lists_quick(out, p, err) != 0) return -1;
    g.rank = malloc((size_t)p->devices * sizeof *g.rank);
    if (!g.rank) { error_no_memory(err); goto done; }
    if (task_order_build(&order, p, err) != 0) goto done;
    while (g.tasks > 0 && order.shortest[g.tasks - 1] == 0) g.tasks--;
    if (!out->optimal
        && ((int64_t)g.tasks * p->devices > MAX_COLUMNS || out->makespan_ns == INT64_MAX
            || order.total == INT64_MAX)) {
        out->stopped = TASKS_TOO_LARGE;
    } else if (!out->optimal) {
        g.scale = (double)order.total / g.tasks;
        find_ranks(&g);
        if (run(&g, limits, err) != 0) goto done;
    }
    rc = 0;
done:
    task_order_free(&order);
    free(g.rank);
    if (rc != 0) { free(out->device); *out = (TaskLists){0}; }
    return rc;
}

static void end_thread(void)
{
    glp_free_env();
}

const MipSolver glpk_solver = {tasks_glpk, end_thread};
