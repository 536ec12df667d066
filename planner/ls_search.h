/* The last word on ls's lists: their makespan supposes that each device has the loader to itself,
 * and that the others compute all the time; the simulator knows better.
 *
 * Where all lists are few, all are looked at. Otherwise the best so far are changed as long as that
 * makes them faster: a task to another device, or two tasks exchanged, those of the device that
 * ends last first. Runs are as many steps as the budget allows, the whole epoch where it can be;
 * what wins is simulated over all of it. */
#ifndef PLANNER_LS_SEARCH_H
#define PLANNER_LS_SEARCH_H

#include "planner/candidate.h"
#include "planner/ls/tasks.h"

enum { LS_LISTS = 3000 };                /* few */

/* Adds to row what is faster than what is there, from the lists in device, [tasks]. *all: all lists
 * were looked at. Gives up after about budget simulated instructions. -1 only without memory. */
int ls_search(Candidate *row, bool *all, const TaskProblem *problem, const int *device,
              const Scenario *scenario, int64_t budget, Error *err);

/* The lists as a plan, a device's tasks by block; *out is yours: plan_free() it. */
int ls_plan(Plan **out, const int *device, int64_t makespan_ns, const Scenario *scenario,
            Error *err);

#endif
