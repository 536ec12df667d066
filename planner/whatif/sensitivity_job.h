/* What sensitivity is asked of (planner/whatif/sensitivity.h): a trace, a plan, and its inputs. */
#ifndef PLANNER_WHATIF_SENSITIVITY_JOB_H
#define PLANNER_WHATIF_SENSITIVITY_JOB_H

#include "planner/compare.h"

typedef struct {
    char     label[96];          /* "block conv1, student" */
    char     path[2][48];        /* what is scaled, as --scale takes it (planner/whatif/whatif.h);
                                  * the second "": one only */
    int      more, less;         /* per cent; 0: not within the range */
    Schedule more_wins, less_wins;       /* the schedule of the plan that wins there */
    bool     inert;              /* scaling changes no number: all of them are 0 */
} Sensitivity;

typedef struct {
    const char     *name, *text;         /* the trace's file; name is for messages */
    size_t          length;
    ScenarioOptions scenario;
    CompareOptions  compare;
    const Plan     *plan;                /* kept; of this scenario */
    int64_t         simulated;           /* instructions that pricing it simulated */
    int64_t         longest;             /* the most that pricing any plan simulated */
    const WhatIf   *edits;               /* [edit_count] of the trace; scenario has those of the
                                          * cluster already */
    int             edit_count;
    int             jobs;                /* threads, at least 1; 0: 1 */
} SensitivityJob;

#endif
