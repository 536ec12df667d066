/* What a comparison is asked. */
#ifndef PLANNER_COMPARE_OPTIONS_H
#define PLANNER_COMPARE_OPTIONS_H

#include "planner/hetero/hetero_memo.h"
#include "planner/hetero/order.h"
#include "planner/ls/tasks.h"
#include "planner/stages/stage_cost.h"

/* Where the lists of ls come from. LS_ALL: LPT; MULTIFIT and branch and bound where that
 * is not proven to be the best; and work stealing. */
typedef enum { LS_ALL, LS_LPT, LS_MULTIFIT, LS_GLPK, LS_EXACT, LS_STEALING, LS_COUNT } LsMethod;

extern const char *const ls_method_names[LS_COUNT + 1];      /* "all", "lpt", ..., NULL */

/* The method searches, so that a time limit may end it. */
bool ls_method_searches(LsMethod method);

typedef struct {
    unsigned schedules;      /* bit SCHEDULE_x: compare it */
    bool     tiers_too;      /* sequential and store besides, where the trace has tiers */
    CostKind cost;           /* what the partition search minimises */
    int      candidates;     /* partitions simulated a schedule, at least 1 */
    int64_t  time_limit_ms;  /* of each search for lists; 0: a number of nodes, which is the
                              * same on every machine */
    LsMethod ls;
    const MipSolver *mip;    /* for LS_GLPK; NULL: this program has none, and LS_GLPK is an error */
    int64_t  long_run;       /* instructions of an epoch beyond which plans are evaluated by short
                              * simulations (candidate_try()); 0: CANDIDATE_LONG */
    int64_t  cutoff_ns;      /* plans that provably take as long need not be found; 0: none */
    int64_t  enough_ns;      /* a plan with a shorter epoch ends the search; 0: none does. If
                              * provably there is none, no others need be found either */
    bool     by_bound;       /* plans that relay are as fast as candidate_bound() says, where that
                              * is clearly more or less than enough_ns: they are not simulated */
    bool     in_order;       /* simulates in order where possible (Candidate): no row says then how
                              * much was simulated */
    bool     only_fastest;   /* plans that provably cannot be a schedule's best are not simulated:
                              * no runner-up, and fewer counted */
    HeteroMemo *memo;        /* of searches with other slowdowns; NULL: nothing is kept */
    Order    order;          /* of the devices along the stages of tr, dpu and ahd */
} CompareOptions;

/* A search for a plan that takes less is of use. */
static inline int64_t compare_goal_ns(const CompareOptions *options)
{
    return options->enough_ns > 0 && options->enough_ns < options->cutoff_ns ? options->enough_ns
                                                                             : options->cutoff_ns;
}

#endif
