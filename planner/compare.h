/* The comparison: for each schedule the best plan that the planner knows, spelled out,
 * verified and simulated; the simulator decides. */
#ifndef PLANNER_COMPARE_H
#define PLANNER_COMPARE_H

#include "planner/candidate.h"
#include "planner/hetero/order.h"
#include "planner/ls/tasks.h"
#include "planner/stages/stage_cost.h"
#include "planner/whatif/whatif.h"

/* Where the lists of ls come from. LS_ALL: LPT; MULTIFIT and branch and bound where that
 * is not proven to be the best; and work stealing. */
typedef enum { LS_ALL, LS_LPT, LS_MULTIFIT, LS_GLPK, LS_EXACT, LS_STEALING, LS_COUNT } LsMethod;

extern const char *const ls_method_names[LS_COUNT + 1];      /* "all", "lpt", ..., NULL */

/* The method searches, so that a time limit may end it. */
bool ls_method_searches(LsMethod method);

typedef struct {
    unsigned schedules;      /* bit SCHEDULE_x: compare it */
    CostKind cost;           /* what the partition search minimises */
    int      candidates;     /* partitions simulated a schedule, at least 1 */
    int64_t  time_limit_ms;  /* of each search for lists; 0: a number of nodes, which is the
                              * same on every machine */
    LsMethod ls;
    const MipSolver *mip;    /* for LS_GLPK; NULL: this program has none, and LS_GLPK is an error */
    int64_t  long_run;       /* instructions of an epoch beyond which plans are judged by short plays
                              * (candidate_try()); 0: CANDIDATE_LONG */
    int64_t  cutoff_ns;      /* plans that provably take as long need not be found; 0: none */
    Order    order;          /* of the devices along the stages of tr, dpu and ahd */
} CompareOptions;

/* Epochs that differ by less than one part in so many are as good as each other. */
enum { COMPARE_TIE = 10000 };

typedef struct {
    Candidate rows[SCHEDULE_COUNT];
    int       best;          /* row of the fastest, of ties the one that loads and recomputes least, then that
                              * needs less memory; -1: none */
    int64_t   bound_ns;      /* no relaying schedule's epoch is shorter; 0: not known */
    const struct Sensitivities *margins;       /* of the best plan (planner/whatif/sensitivity.h), for reports;
                                          * borrowed; NULL: nobody asked */
    const char *command;     /* that asked, for reports; borrowed; NULL: none did */
    const WhatIf *edits;     /* [edit_count] that the trace was changed by, for reports; borrowed */
    int       edit_count;
    const char *idle;        /* lines on edits that change nothing for some schedules; borrowed; NULL: none */
} Comparison;

/* Borrows scenario for the call. comparison_free() out. Fails only when no schedule has
 * a plan (err: the reason of the last, and what would help) or memory is out. */
int  compare(Comparison *out, const Scenario *scenario, const CompareOptions *options, Error *err);
void comparison_free(Comparison *comparison);

/* compare() without the bound, and with best -1 and no error when nothing is possible. */
int  compare_rows(Comparison *out, const Scenario *scenario, const CompareOptions *options, Error *err);

/* The fastest plan that was simulated and is not the best one, NULL: none; *ns its epoch,
 * *simulated (NULL: not wanted) how many were. Borrowed from comparison. */
const Plan *comparison_runner_up(const Comparison *comparison, const Scenario *scenario, int64_t *ns, int *simulated);

/* What compare() puts in bound_ns. */
int  compare_bound(int64_t *bound_ns, const Scenario *scenario, Error *err);

#endif
