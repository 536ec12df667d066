/* What the simulator says that a plan will do: for those who run it and compare. */
#ifndef PLANNER_PREDICT_H
#define PLANNER_PREDICT_H

#include "schedule/plan.h"
#include "schedule/timeline.h"
#include "traces/scenario.h"

typedef struct {
    Program *program;        /* the plan spelled out for steps steps a phase, verified */
    int64_t  run_ns;         /* from the first load to the last update */
    int64_t  core_ns;        /* of all devices: what overlapped transfers take of their cores, in
                              * waits too */
    Span    *spans;          /* all of them, in the order of their ends; borrow from program */
    int64_t  span_count;
} Prediction;

/* Borrows scenario for the call; prediction_free() out. */
int predict(Prediction *out, const Plan *plan, const Scenario *scenario, int64_t steps, Error *err);
void prediction_free(Prediction *prediction);

#endif
