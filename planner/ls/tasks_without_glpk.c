/* In place of tasks_glpk.c in a build without GLPK. */
#include "planner/ls/tasks.h"

int tasks_glpk(TaskLists *out, const TaskProblem *p, const TaskLimits *limits, Error *err)
{
    (void)p; (void)limits;
    *out = (TaskLists){0};
    return error_set(err, "lists by glpk: this build has no GLPK, expected another method (exact finds "
                     "the least makespan, too)");
}

void tasks_thread_end(void)
{
}
