/* Independent tasks on devices: the lists of layer-wise scheduling. The makespan is
 * the time of the device that finishes last. */
#ifndef PLANNER_TASKS_H
#define PLANNER_TASKS_H

#include <stdint.h>

#include "base/error.h"

typedef struct {
    int            tasks, devices;
    const int64_t *ns;           /* [tasks][devices] */
} TaskProblem;

typedef struct {
    int64_t makespan_ns;
    int64_t bound_ns;            /* no assignment is faster (proven); 0 when not known */
    int     optimal;             /* makespan_ns is proven to be the least */
    int    *device;              /* [tasks], yours: free() it */
} TaskLists;

/* Longest processing time first (Graham 1969): tasks by their time on the fastest
 * device, descending, each to the device that finishes it first. optimal when that meets
 * a simple lower bound, which many short tasks or many devices make likely. */
int tasks_lpt(TaskLists *out, const TaskProblem *problem, Error *err);

/* The assignment problem as a mixed-integer program, by GLPK, for at most limit_ms.
 * When time runs out the incumbent and GLPK's bound come back with optimal 0. */
int tasks_glpk(TaskLists *out, const TaskProblem *problem, int limit_ms, Error *err);

/* Frees what GLPK keeps for the calling thread; each thread that may have called
 * tasks_glpk() calls this last. */
void tasks_thread_end(void);

#endif
