/* A candidate: one plan of a schedule, spelled out, verified and simulated, and the
 * best of them kept. */
#ifndef PLANNER_CANDIDATE_H
#define PLANNER_CANDIDATE_H

#include "schedule/plan.h"
#include "sim/memory.h"
#include "sim/sim.h"

typedef struct {
    Plan     *plan;          /* NULL: no plan, and why says why not */
    SimResult sim;
    Memory   *memory;        /* [devices] of the scenario; NULL without a plan */
    Memory    peak;          /* of the device that needs most */
    int       peak_device;
    Plan     *runner_up;     /* the fastest other plan that was tried; NULL: none */
    int64_t   runner_up_ns;
    int       simulated;     /* plans tried */
    int       judged;        /* pruned: not simulated to the end, candidate_try() */
    int64_t   played;        /* instructions of the longest epoch that was simulated */
    int64_t   spent;         /* instructions simulated in all, about */
    int64_t   long_run;      /* what candidate_try() calls long; 0: CANDIDATE_LONG */
    int64_t   cutoff_ns;     /* plans that provably take as long are not tried; 0: all are */
    int64_t   ahd_ns;        /* split: the epoch of ahd's best plan; 0: there is none */
    int64_t   bound_ns;      /* split, tr: no plan of it has a shorter epoch; 0: not known */
    char      method[192];    /* "partition search, best of 4 simulated" */
    char      why[256];
} Candidate;

/* Verifies and simulates one plan into row; takes plan over. When it cannot be simulated
 * or does not fit, the plan is freed and why says why. -1 only without memory. */
int  candidate_price(Candidate *row, Plan *plan, const Scenario *scenario, Error *err);
void candidate_free(Candidate *row);         /* keeps why */

enum { CANDIDATE_STEPS = 16, CANDIDATE_LONG = 1000000 };

/* Below 0: a loads less than b, or recomputes less, or else needs less memory; above: more. */
int  candidate_thrift(const Candidate *a, const Candidate *b);

/* Prices plan and keeps it in row, as found by method, when it is faster than what is
 * there, or as fast and thriftier. Takes plan over. -1 only without memory.
 *
 * Where epochs are long (one took more than long_run instructions) a plan with a bottleneck
 * is first simulated for CANDIDATE_STEPS: when that and the other steps, each at its bottleneck
 * or at the pace of the last half of those simulated, whichever is less, come to no less than the
 * epoch of what is there, it is pruned. Start and end of a run are in those
 * steps, so the estimate is hardly ever too high; it is no proof. */
int  candidate_try(Candidate *row, Plan *plan, const char *method, const Scenario *scenario, Error *err);

/* Whether two plans are the same to whoever runs them: dpu, ahd and ir with the same
 * stages, ls with the same lists on other devices of the same kind. */
bool candidate_same_plan(const Plan *a, const Plan *b, const Scenario *scenario);

/* No epoch of plan is shorter; 0: not known. */
int64_t candidate_bound(const Plan *plan, const Scenario *scenario);

/* No plan, and why. Running out of our own memory says nothing about plans: -1. */
int  candidate_give_up(Candidate *row, const Error *why, Error *err);

#endif
