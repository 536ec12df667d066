/* A plan for a workload on devices when only a schedule's name was given. */
#ifndef TOOLS_RUN_PLAN_H
#define TOOLS_RUN_PLAN_H

#include "schedule/plan.h"
#include "workloads/workload.h"

/* The schedule of that name. Refuses another word, and without a trace a schedule that run_plan()
 * makes from one only. */
int run_plan_schedule(Schedule *out, const char *name, bool traced, Error *err);

/* For epochs epochs, from the costs of the trace at trace_path; without one (NULL) dp, ir, tr, dpu,
 * store and sequential are split evenly, tr, dpu and store by multiply-accumulates. *out is yours:
 * plan_free() it. how: gets what was done, in words, and where the trace decided the stages, a line
 * each. */
int run_plan(Plan **out, const Workload *workload, int devices, Schedule schedule, int64_t epochs,
             const char *trace_path, Text *how, Error *err);

/* Refuses a plan for other blocks, devices or another batch. */
int run_plan_check(const Plan *plan, const Workload *workload, int devices, Error *err);

#endif
