#include "planner/store/store_plans.h"

#include <stdlib.h>

#include "base/minmax.h"

/* ---- pieces ------------------------------------------------------------------------- */

static int blocks_of(const StoreSearch *x) { return x->s->trace->block_count; }

/* Blocks first..last on width devices from device on, with equal shares. */
static int place(Plan *plan, Stage *stage, int first, int last, int device, int width, Error *err)
{
    int     devices[TRACE_MAX_DEVICES];
    int64_t rows[TRACE_MAX_DEVICES];

    for (int i = 0; i < width; i++) {
        devices[i] = device + i;
        rows[i] = scenario_share(plan->batch, width, i);
    }
    stage->first = first;
    stage->last = last;
    return plan_place(plan, stage, devices, rows, width, err);
}

/* Stages of per_stage blocks, of which the last may have fewer. */
static int even_stages(const StoreSearch *x, int per_stage)
{
    return (blocks_of(x) + per_stage - 1) / per_stage;
}

/* Fills them, on groups of width devices in turn. */
static int place_evenly(const StoreSearch *x, Plan *plan, Stage *stages, int per_stage, int width)
{
    int n = blocks_of(x), groups = x->s->device_count / width;

    for (int i = 0; i < even_stages(x, per_stage); i++) {
        int first = i * per_stage, last = first + per_stage < n ? first + per_stage - 1 : n - 1;
        if (place(plan, &stages[i], first, last, i % groups * width, width, x->err) != 0) return -1;
    }
    return 0;
}

/* Stages of per_stage blocks that take turns on groups of width devices, one after another. */
static int turns_plan(Plan **out, const StoreSearch *x, Schedule schedule, int per_stage, int width)
{
    if (plan_new(out, schedule, blocks_of(x), x->s->device_count, x->s->batch,
                 even_stages(x, per_stage), x->err)
        != 0)
        return -1;
    if (place_evenly(x, *out, (*out)->stages, per_stage, width) == 0
        && plan_set_store(*out, x->s->epochs, true, 0, x->err) == 0) return 0;
    plan_free(*out);
    *out = NULL;
    return -1;
}

/* Which boundaries a plan stores. */
typedef enum { SET_ALL, SET_CUTS, SET_CUTS_AND_TOPS, SET_WORTH, SET_COUNT } StoredSet;

static bool is_start(const Stage *stages, int count, int boundary)
{
    for (int i = 0; i < count; i++)
        if (stages[i].first == boundary) return true;
    return false;
}

/* Whether boundary k takes less time to fetch than to compute from the one below, each once a batch
 * on one device. */
static bool is_worth(const StoreSearch *x, int k, int tier)
{
    int64_t ns[TRACE_MAX_IN_FLIGHT] = {0};
    Cost    cost = {0};

    if (k == 0)
        return x->s->trace->loader.present
               && scenario_request(x->s, tier, false, 0, x->s->batch, ns, NULL) == 0
               && ns[0] < scenario_load_ns(x->s, x->s->batch);
    return scenario_request(x->s, tier, false, k, x->s->batch, ns, NULL) == 0
           && scenario_work(x->s, WORK_TEACHER, k - 1, 0, x->s->batch, &cost, NULL) == 0
           && ns[0] < cost.ns;
}

static void store_set(Plan *plan, const StoreSearch *x, StoredSet set, int tier, bool input,
                      bool last)
{
    const Stage *stages = plan->later_count ? plan->later : plan->stages;
    int count = plan->later_count ? plan->later_count : plan->stage_count, n = blocks_of(x);

    for (int k = 0; k <= n; k++) {
        bool cut = k < n && is_start(stages, count, k), stored = set == SET_ALL || cut;
        if (set == SET_CUTS_AND_TOPS) stored = cut || k == n;
        if (set == SET_WORTH) stored = cut || is_worth(x, k, tier);
        if (k == 0) stored = input;
        if (k == n) stored = stored && last;
        plan->stored[k] = stored ? tier : -1;
    }
}

/* The plan with this set in each tier; stages that begin above the input need one below. Takes plan
 * over. */
static int offer_tiers(StoreSearch *x, Plan *plan, StoredSet set)
{
    int rc = 0;

    for (int t = 0; t < x->s->trace->tier_count && rc == 0; t++)
        for (int input = 0; input < 2 && rc == 0; input++)
            for (int last = 0; last < 2 && rc == 0; last++) {
                Plan *copy;
                /* nobody would fetch them */
                if (x->s->epochs == 1 && (input || last)) continue;
                if (!last && x->s->epochs > 1 && set == SET_ALL
                    && plan->schedule == SCHEDULE_SEQUENTIAL)
                    continue;
                if (plan_copy(&copy, plan, x->err) != 0) { rc = -1; break; }
                store_set(copy, x, set, t, input, last);
                rc = store_offer_homes(x, copy);
            }
    plan_free(plan);
    return rc;
}

/* ---- turns -------------------------------------------------------------------------- */

int store_offer_sequential(StoreSearch *x)
{
    Plan *plan;

    if (turns_plan(&plan, x, SCHEDULE_SEQUENTIAL, 1, x->s->device_count) != 0) return -1;
    return offer_tiers(x, plan, SET_ALL);
}

int store_offer_turns(StoreSearch *x)
{
    for (int width = 1;; width = width * 2 < x->s->device_count ? width * 2 : x->s->device_count) {
        if (width > x->s->batch) return 0;
        for (int blocks = 1; blocks <= blocks_of(x); blocks *= 2)
            for (int set = SET_ALL; set <= SET_WORTH; set++) {
                Plan *plan;
                if (set == SET_CUTS_AND_TOPS || (blocks == 1 && set != SET_ALL)) continue;
                if (turns_plan(&plan, x, SCHEDULE_STORE, blocks, width) != 0
                    || offer_tiers(x, plan, (StoredSet)set) != 0)
                    return -1;
            }
        if (width == x->s->device_count) return 0;
    }
}

/* ---- relaying in the first epoch ------------------------------------------------------- */

/* The relaying plan, with count stages of later to be filled. */
static int relay_plan(Plan **out, const StoreSearch *x, const Plan *relay, int later)
{
    if (plan_copy(out, relay, x->err) != 0) return -1;
    (*out)->schedule = SCHEDULE_STORE;
    (*out)->bottleneck_ns = 0;
    if (plan_set_store(*out, x->s->epochs, false, later, x->err) == 0) return 0;
    plan_free(*out);
    *out = NULL;
    return -1;
}

static int offer_sets(StoreSearch *x, Plan *plan)
{
    int rc = 0;

    for (int set = SET_ALL; set < SET_COUNT && rc == 0; set++) {
        Plan *copy;
        if (plan_copy(&copy, plan, x->err) != 0) { rc = -1; break; }
        rc = offer_tiers(x, copy, (StoredSet)set);
    }
    plan_free(plan);
    return rc;
}

static int offer_same_stages(StoreSearch *x, const Plan *relay)
{
    Plan *plan;

    if (relay_plan(&plan, x, relay, relay->stage_count) != 0) return -1;
    for (int i = 0; i < relay->stage_count; i++) {
        const Stage *stage = &relay->stages[i];
        plan->later[i].first = stage->first;
        plan->later[i].last = stage->last;
        if (plan_place(plan, &plan->later[i], stage->devices, stage->rows, stage->width, x->err)
            != 0) {
            plan_free(plan);
            return -1;
        }
    }
    return offer_sets(x, plan);
}

/* Stages of per_stage blocks on groups of width devices, in turn. */
static int offer_even(StoreSearch *x, const Plan *relay, int per_stage, int width)
{
    Plan *plan;

    if (relay_plan(&plan, x, relay, even_stages(x, per_stage)) != 0) return -1;
    if (place_evenly(x, plan, plan->later, per_stage, width) != 0) { plan_free(plan); return -1; }
    return offer_sets(x, plan);
}

/* A step of a block's students on a device with the whole batch; INT64_MAX: not measured. */
static int64_t block_ns(const StoreSearch *x, int block, int device)
{
    int64_t sum = 0;

    for (int work = WORK_FORWARD; work < WORK_COUNT; work++) {
        Cost cost;
        if (scenario_work(x->s, (Work)work, block, device, x->s->batch, &cost, NULL) != 0)
            return INT64_MAX;
        sum += cost.ns;
    }
    return sum;
}

/* Each block on one device: the longest on device 0 first, each where it would end first. ns:
 * [blocks] block_ns() of device 0. */
static int offer_lists(StoreSearch *x, const Plan *relay, const int64_t *ns)
{
    int      n = blocks_of(x), g = x->s->device_count, rc = -1;
    int64_t *load = calloc((size_t)g, sizeof *load);
    char    *done = calloc((size_t)n, 1);
    Plan    *plan = NULL;

    if (!load || !done) { error_no_memory(x->err); goto done; }
    if (relay_plan(&plan, x, relay, n) != 0) goto done;
    for (int i = 0; i < n; i++) {
        int     longest = -1, best = 0;
        int64_t end = INT64_MAX;
        for (int b = 0; b < n; b++)
            if (!done[b] && (longest < 0 || ns[b] > ns[longest])) longest = b;
        for (int d = 0; d < g; d++) {
            int64_t own = block_ns(x, longest, d);
            if (own == INT64_MAX) { rc = 0; goto done; }
            if (load[d] + own < end) { best = d; end = load[d] + own; }
        }
        load[best] = end;
        done[longest] = 1;
        if (place(plan, &plan->later[i], longest, longest, best, 1, x->err) != 0) goto done;
    }
    rc = offer_sets(x, plan);
    plan = NULL;
done:
    plan_free(plan);
    free(load);
    free(done);
    return rc;
}

/* How many ranges of blocks there are where each takes most at most, from the first block on. last:
 * [blocks] of each range, or NULL. */
static int count_ranges(int *last, const int64_t *ns, int blocks, int64_t most)
{
    int     ranges = 0;
    int64_t sum = 0;

    for (int b = 0; b < blocks; b++) {
        if (b == 0 || sum + ns[b] > most) { ranges++; sum = 0; }
        sum += ns[b];
        if (last) last[ranges - 1] = b;
    }
    return ranges;
}

/* Contiguous ranges, a device each: the most time of students is least, by bisection over the
 * ranges' sums. ns: as in offer_lists(). */
static int offer_cuts(StoreSearch *x, const Plan *relay, const int64_t *ns)
{
    int     n = blocks_of(x), g = x->s->device_count < n ? x->s->device_count : n;
    int64_t low = 0, high = 0;
    int    *last;
    Plan   *plan = NULL;

    for (int b = 0; b < n; b++) {
        if (ns[b] == INT64_MAX) return 0;
        high += ns[b];
        low = larger(low, ns[b]);
    }
    while (low < high) {                         /* the least most that g ranges allow */
        int64_t middle = low + (high - low) / 2;
        if (count_ranges(NULL, ns, n, middle) <= g) high = middle;
        else                                        low = middle + 1;
    }
    last = malloc((size_t)n * sizeof *last);
    if (!last) return error_no_memory(x->err);
    int stages = count_ranges(last, ns, n, high), rc = relay_plan(&plan, x, relay, stages);
    for (int i = 0; i < stages && rc == 0; i++)
        rc = place(plan, &plan->later[i], i ? last[i - 1] + 1 : 0, last[i], i, 1, x->err);
    free(last);
    if (rc == 0) return offer_sets(x, plan);
    plan_free(plan);
    return -1;
}

/* Later by lists, and by cuts; no plans where a block was not measured. */
static int offer_balanced(StoreSearch *x, const Plan *relay)
{
    int64_t *ns = malloc((size_t)blocks_of(x) * sizeof *ns);
    int      rc = -1;

    if (!ns) return error_no_memory(x->err);
    for (int b = 0; b < blocks_of(x); b++) ns[b] = block_ns(x, b, 0);
    if (offer_lists(x, relay, ns) == 0) rc = offer_cuts(x, relay, ns);
    free(ns);
    return rc;
}

int store_offer_relaying(StoreSearch *x, const Plan *relay)
{
    int g = x->s->device_count, n = blocks_of(x);

    if (x->s->epochs < 2) return 0;
    if (offer_same_stages(x, relay) != 0 || offer_balanced(x, relay) != 0) return -1;
    for (int width = 1; width <= g && width <= x->s->batch; width = width == g      ? g + 1
                                                                    : width * 2 < g ? width * 2
                                                                                    : g)
        for (int blocks = 1; blocks <= n; blocks = blocks == n      ? n + 1
                                                   : blocks * 2 < n ? blocks * 2
                                                                    : n)
            if (offer_even(x, relay, blocks, width) != 0) return -1;
    return 0;
}

/* ---- near the best ----------------------------------------------------------------------- */

/* Boundary k in another tier, or not stored. */
static int offer_stored(StoreSearch *x, int k)
{
    const Plan *best = x->row->plan;

    for (int t = -1; t < x->s->trace->tier_count; t++) {
        Plan *copy;
        if (best->stored[k] == t) continue;
        if (plan_copy(&copy, best, x->err) != 0) return -1;
        copy->stored[k] = t;
        if (store_offer(x, copy) != 0) return -1;
    }
    return 0;
}

/* Stage i of later on one device, or on all. */
static int offer_moved(StoreSearch *x, int i)
{
    const Plan *best = x->row->plan;
    int         g = x->s->device_count;

    for (int d = 0; d <= g; d++) {
        Plan *copy;
        if (d == g && g > x->s->batch) continue;
        if (plan_copy(&copy, best, x->err) != 0) return -1;
        Stage *stage = &copy->later[i];
        if (place(copy, stage, stage->first, stage->last, d < g ? d : 0, d < g ? 1 : g, x->err)
            != 0) {
            plan_free(copy);
            return -1;
        }
        if (store_offer_homes(x, copy) != 0) return -1;
    }
    return 0;
}

/* Most moves that are looked at in a round. */
enum { NEIGHBOURS = 400 };

int store_offer_neighbours(StoreSearch *x)
{
    const Plan *best = x->row->plan;
    int         n = blocks_of(x), tiers = x->s->trace->tier_count, g = x->s->device_count;

    if (!best) return 0;
    for (int k = 0; k <= n && (n + 1) * tiers <= NEIGHBOURS; k++)
        if (offer_stored(x, k) != 0) return -1;
    for (int i = 0; i < best->later_count && best->later_count * (g + 1) <= NEIGHBOURS; i++)
        if (offer_moved(x, i) != 0) return -1;
    return 0;
}
