/* Independent tasks on devices: the lists of layer-wise scheduling. The makespan is
 * the time of the device that finishes last; the least makespan is sought.
 *
 *   lpt       longest first, each to the device that finishes it first (Graham 1969)
 *   multifit  a capacity is bisected, first fit decides (Coffman, Garey, Johnson 1978)
 *   glpk      a mixed-integer program, by GLPK, in programs that are linked with it
 *             (planner/ls/glpk/)
 *   exact     branch and bound
 *
 * All give lists, a bound that no lists beat, and whether they meet. The call worked is
 * not the answer is optimal: glpk and exact stop at a limit and say so. */
#ifndef PLANNER_LS_TASKS_H
#define PLANNER_LS_TASKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* The time of a task on a device that cannot take it; every task needs one that can. */
#define TASK_IMPOSSIBLE INT64_MAX

typedef struct {
    int            tasks, devices;       /* at least 1 each */
    const int64_t *ns;                   /* [tasks][devices], at least 0, or TASK_IMPOSSIBLE */
} TaskProblem;

typedef enum { TASKS_FINISHED, TASKS_OUT_OF_NODES, TASKS_OUT_OF_TIME, TASKS_TOO_LARGE } TaskStop;

typedef struct {
    int64_t  makespan_ns;
    int64_t  bound_ns;           /* no assignment is faster: proven, at least 0 */
    bool     optimal;            /* makespan_ns == bound_ns */
    TaskStop stopped;            /* what ended the search; TOO_LARGE: there was none */
    int64_t  nodes;              /* looked at; 0 for lpt and multifit */
    int     *device;             /* [tasks], yours: free() it */
} TaskLists;

/* A search stops after time_ms of the clock or, when that is 0, after nodes of its tree
 * (0: the method's own number), which is the same on every machine. */
typedef struct {
    int64_t time_ms, nodes;
} TaskLimits;

typedef int TaskSolver(TaskLists *out, const TaskProblem *problem, const TaskLimits *limits,
                       Error *err);

/* limits is not used by the first two. -1 only without memory. */
TaskSolver tasks_lpt, tasks_multifit, tasks_exact;

/* How far makespan_ns may be above the least, as a fraction of the bound; 0: optimal. */
double tasks_gap(const TaskLists *lists);

/* A solver of mixed-integer programs, which a program hands to the planner (CompareOptions.mip).
 * Each thread that may have called solve calls thread_end last, which frees what it keeps for the
 * thread. */
typedef struct {
    TaskSolver *solve;
    void      (*thread_end)(void);
} MipSolver;

#endif
