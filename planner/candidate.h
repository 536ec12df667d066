/* A candidate: one plan of a schedule, spelled out, verified and simulated, and the
 * best of them kept. */
#ifndef PLANNER_CANDIDATE_H
#define PLANNER_CANDIDATE_H

#include "schedule/plan.h"
#include "sim/memory.h"
#include "sim/sim.h"

typedef struct Candidate Candidate;

/* Plans that were simulated in order: what they would have taken by events is not known yet. */
typedef struct {
    Plan   **plans;          /* [count] */
    int      count, capacity;
    int      before;         /* of them that no budget counts any more */
    int64_t  most;           /* instructions, of the others together */
    int64_t  longest;        /* the most that one of all may have taken */
} UnsureSpent;

struct Candidate {
    Plan     *plan;          /* NULL: no plan, and why says why not */
    SimResult sim;
    Memory   *memory;        /* [devices] of the scenario; NULL without a plan */
    HostMemory *host;        /* [scenario_nodes()] of a plan that stores; else NULL */
    int64_t   total_ns;      /* all epochs of the scenario. Of a plan that stores sim's epoch is the
                              * mean, and its shares */
    Memory    peak;          /* of the device that needs most */
    int       peak_device;
    Candidate *faster;       /* [faster_count] tried, faster than plan by at most 1 part in
                              * COMPARE_TIE and less thrifty, fastest first */
    size_t    faster_count;
    Plan     *runner_up;     /* the fastest that was tried and is neither plan nor in faster; NULL:
                              * none */
    int64_t   runner_up_ns;
    int       simulated;     /* plans tried */
    int       pruned;        /* pruned: not simulated to the end, candidate_try() */
    int64_t   longest;       /* instructions of the longest epoch that was simulated */
    int64_t   spent;         /* instructions simulated in all, about */
    int64_t   long_run;      /* what candidate_try() calls long; 0: CANDIDATE_LONG */
    int64_t   cutoff_ns;     /* plans that provably take as long are not tried; 0: all are */
    int64_t   enough_ns;     /* a plan with a shorter epoch is all that is looked for; 0: the
                              * fastest is */
    bool      by_bound;      /* plans that relay, with a bound that is clearly more or less than
                              * enough_ns, are kept at it, not simulated: their thrift, memory and
                              * shares are not known */
    bool      in_order;      /* plans of several stages are simulated in their order where that is
                              * possible (SIM_IN_ORDER): the same times, sooner; candidate_try() not
                              * where times are contended */
    UnsureSpent unsure;      /* what longest and spent do not have yet of those; who asks for them
                              * calls candidate_settle_spent() first */
    bool      none_faster;   /* proven: no plan of the schedule takes less than cutoff_ns, or than
                              * enough_ns */
    bool      only_fastest;  /* nor those that provably cannot be kept: there is no runner-up */
    int64_t   ahd_ns;        /* split: the epoch of ahd's best plan; 0: there is none */
    int64_t   bound_ns;      /* split, tr, sequential, store: no plan of it has a shorter epoch; 0:
                              * not known */
    char      method[192];    /* "partition search, best of 4 simulated" */
    char      why[256];
};

/* Epochs that differ by less than one part in so many are as good as each other. */
enum { COMPARE_TIE = 10000 };

/* The most that is as good as ns. */
static inline int64_t compare_tie(int64_t ns) { return ns + ns / COMPARE_TIE; }

/* The plan trains the students that the trace has; one that does not say trains all, and says so
 * then. */
int  candidate_check_students(Plan *plan, const Trace *trace, Error *err);

/* Verifies and simulates one plan into row; takes plan over. When it cannot be simulated
 * or does not fit, the plan is freed and why says why. -1 only without memory. */
int  candidate_price(Candidate *row, Plan *plan, const Scenario *scenario, Error *err);
void candidate_free(Candidate *row);         /* keeps why */

enum { CANDIDATE_STEPS = 16, CANDIDATE_LONG = 1000000 };

/* What plans that take as long are told apart by, in this order. */
typedef struct {
    double  loads, teacher_work;     /* as in SimResult */
    int64_t peak_bytes;
} Thrift;

/* Of a row that has a plan. */
Thrift candidate_thrift(const Candidate *row);

/* Below 0: a loads less than b, or recomputes less, or else needs less memory; above: more. */
int  thrift_compare(const Thrift *a, const Thrift *b);

/* The shortest epoch of the plans tried; INT64_MAX: none. */
int64_t candidate_fastest_ns(const Candidate *row);

/* Whether what is there ends the search. */
bool candidate_is_enough(const Candidate *row);

/* What was tried takes as long as the cutoff: why there is no plan, where there is none. */
void candidate_is_slower(Candidate *row);

/* Whether a plan with an epoch of at least bound_ns and this thrift could be kept: none of those
 * kept is as fast and as thrifty. */
bool candidate_could_win(const Candidate *row, int64_t bound_ns, const Thrift *thrift);

/* Prices plan and keeps it in row, as found by method: of the plans whose epochs are at most a tie
 * above the shortest, row has the thriftiest, of those the fastest, of those the first. Takes plan
 * over. -1 only without memory.
 *
 * Where epochs are long (one took more than long_run instructions) a plan with a bottleneck
 * is first simulated for CANDIDATE_STEPS: when that and the other steps, each at its bottleneck
 * or at the pace of the last half of those simulated, whichever is less, come to no less than the
 * epoch of what is there, it is pruned. Start and end of a run are in those
 * steps, so the estimate is hardly ever too high; it is no proof. */
int candidate_try(Candidate *row, Plan *plan, const char *method, const Scenario *scenario,
                  Error *err);

/* Whether two plans are the same to whoever runs them: dpu, ahd and ir with the same
 * stages, ls with the same lists on other devices of the same kind. */
bool candidate_same_plan(const Plan *a, const Plan *b, const Scenario *scenario);

/* ---- what was spent (planner/candidate_spent.c) ---- */

/* Counts a plan that was simulated, priced, into row's longest and spent: by events it takes as
 * many instructions as priced says, or, where it was simulated in order, it is unsure how many. -1
 * only without memory. */
int  candidate_note_spent(Candidate *row, const Candidate *priced, const Scenario *scenario,
                          Error *err);

/* Simulates what is unsure by events, so that longest and spent are as if all had been. -1 only
 * without memory. */
int  candidate_settle_spent(Candidate *row, const Scenario *scenario, Error *err);

/* Who counts what is spent from here on does not ask for what was spent before. */
void candidate_begin_budget(Candidate *row);

/* No epoch of plan is shorter; 0: not known. */
int64_t candidate_bound(const Plan *plan, const Scenario *scenario);

/* No plan, and why. Running out of our own memory says nothing about plans: -1. */
int  candidate_give_up(Candidate *row, const Error *why, Error *err);

#endif
