/* sequential and store: plans are offered, the simulator decides between those with the least
 * bounds. */
#include <stdio.h>

#include "planner/compare_schedule.h"
#include "planner/split/split_cost.h"
#include "planner/store/store_plans.h"

/* Instructions simulated, and plans, at most; plans that are all tried. */
enum { STORE_BUDGET = 6000000, STORE_PLANS = 160, ALL_BUDGET = 20000000, ALL_PLANS = 30000 };

static bool can_store(Candidate *row, const Scenario *s)
{
    if (s->trace->tier_count == 0)
        snprintf(row->why, sizeof row->why,
                 "the trace has no \"storage\" to keep boundaries in: measure it, or write it");
    return s->trace->tier_count > 0;
}

/* No plan that stores has a shorter mean epoch. */
static void bound_row(Candidate *row, const Scenario *s)
{
    if (__builtin_mul_overflow(split_bound_stored(s), s->steps, &row->bound_ns)) row->bound_ns = 0;
}

int compare_sequential(Candidate *row, const Scenario *s, Error *err)
{
    StoreSearch search = {
        .s = s, .row = row, .budget = STORE_BUDGET, .most = STORE_PLANS, .err = err};
    int         rc;

    if (!can_store(row, s) || !compare_has_rows(row, s)) return 0;
    bound_row(row, s);
    rc = store_offer_sequential(&search) != 0 || store_run(&search) != 0 ? -1 : 0;
    store_search_free(&search);
    snprintf(row->method, sizeof row->method,
             "a block at a time on all devices, fastest of %d simulated", row->simulated);
    return rc;
}

/* All plans where they are few. */
static int search_all(StoreSearch *x, bool *all)
{
    x->budget = ALL_BUDGET;
    x->most = ALL_PLANS;
    if (store_offer_all(x, ALL_PLANS, all) != 0 || store_run(x) != 0) return -1;
    if (*all)
        snprintf(x->row->method, sizeof x->row->method, "%s of %d plans, %d simulated",
                 x->cut ? "good" : "fastest", x->total, x->row->simulated);
    return 0;
}

/* Families of plans, then what is near the best as long as it gets better. */
static int search_some(StoreSearch *x, const Plan *relay)
{
    int64_t before;

    x->budget = STORE_BUDGET;
    x->most = STORE_PLANS;
    if (store_offer_turns(x) != 0 || (relay && store_offer_relaying(x, relay) != 0)
        || store_run(x) != 0)
        return -1;
    do {
        before = candidate_fastest_ns(x->row);
        if (x->row->simulated >= x->most || x->row->spent >= x->budget) break;
        if (store_offer_neighbours(x) != 0 || store_run(x) != 0) return -1;
    } while (candidate_fastest_ns(x->row) < before);
    snprintf(x->row->method, sizeof x->row->method,
             "search from families of plans, %d offered, %d simulated", x->total,
             x->row->simulated);
    return 0;
}

int compare_store(Candidate *row, const Candidate *relay, const Scenario *s, Error *err)
{
    StoreSearch search = {.s = s, .row = row, .err = err};
    bool        all = false;
    int         rc;

    if (!can_store(row, s)) return 0;
    bound_row(row, s);
    rc = search_all(&search, &all);
    if (rc == 0 && !all) rc = search_some(&search, relay->plan);
    store_search_free(&search);
    return rc;
}
