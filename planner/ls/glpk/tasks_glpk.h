/* --ls glpk. For programs that are linked with GLPK, which is GPL: pipebd-plan and pipebd-sim. The
 * library, and what trains, are without it. */
#ifndef PLANNER_LS_GLPK_TASKS_GLPK_H
#define PLANNER_LS_GLPK_TASKS_GLPK_H

#include "planner/ls/tasks.h"

TaskSolver tasks_glpk;

extern const MipSolver glpk_solver;

#endif
