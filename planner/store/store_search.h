/* The search for plans that store: plans are offered with their bounds, and simulated from the
 * least bound on until no bound is below the best time. */
#ifndef PLANNER_STORE_STORE_SEARCH_H
#define PLANNER_STORE_STORE_SEARCH_H

#include "planner/candidate.h"

typedef struct { Plan *plan; int64_t bound_ns; int number; } OfferedPlan;

typedef struct {
    const Scenario *s;
    Candidate      *row;
    OfferedPlan    *offered;
    int             count, capacity;
    int             total;       /* plans offered that fit */
    int64_t         budget;      /* instructions that may be simulated in all */
    int             most;        /* plans that may be simulated */
    bool            cut;         /* some whose bound was below the best were not */
    Error          *err;
} StoreSearch;

/* Takes plan over. What cannot be, or does not fit, is dropped; row says why as long as it has no
 * plan. -1 only without memory. */
int  store_offer(StoreSearch *search, Plan *plan);

/* Simulates what was offered, and keeps the best in row. */
int  store_run(StoreSearch *search);
void store_search_free(StoreSearch *search);

/* The tier that weights move from and to: the first that they and all else fit in; as store_offer()
 * for each tier that may be. plan->home is set. Takes plan over. */
int  store_offer_homes(StoreSearch *search, Plan *plan);

#endif
