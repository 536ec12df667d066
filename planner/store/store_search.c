#include "planner/store/store_search.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "planner/store/store_bound.h"

/* *bound of a plan that can be and fits; -1: why not. */
static int look_at(int64_t *bound, Plan *plan, const Scenario *s, Error *why)
{
    Program    *program = NULL;
    Memory     *memory = calloc((size_t)s->device_count, sizeof *memory);
    HostMemory *host = calloc((size_t)scenario_nodes(s), sizeof *host);
    int         rc = -1;

    if (!memory || !host) { error_no_memory(why); goto done; }
    if (candidate_check_students(plan, s->trace, why) != 0 || plan_check(plan, why) != 0
        || program_build(&program, plan, s->steps * plan->epochs, why) != 0) goto done;
    if (store_bound(bound, program, s, why) != 0 || memory_peak(memory, program, s, why) != 0)
        goto done;
    if (memory_fits(memory, s, why) != 0 || memory_host(host, program, s, why) != 0
        || memory_host_fits(host, program, s, why) != 0)
        goto done;
    rc = 0;
done:
    program_free(program);
    free(memory);
    free(host);
    return rc;
}

int store_offer(StoreSearch *x, Plan *plan)
{
    Error   why = {""};
    int64_t bound = 0;

    if (look_at(&bound, plan, x->s, &why) != 0) {
        plan_free(plan);
        if (error_is_no_memory(&why)) return error_no_memory(x->err);
        if (!x->row->plan && !x->row->why[0])
            snprintf(x->row->why, sizeof x->row->why, "%.255s", why.text);
        return 0;
    }
    if (!array_has_room(x->offered, x->count, x->capacity)) {
        plan_free(plan);
        return error_no_memory(x->err);
    }
    x->offered[x->count++] = (OfferedPlan){plan, bound, x->total++};
    return 0;
}

int store_offer_homes(StoreSearch *x, Plan *plan)
{
    int before = x->count;

    for (int t = 0; t < x->s->trace->tier_count && x->count == before; t++) {
        Plan *copy;
        if (plan_copy(&copy, plan, x->err) != 0) { plan_free(plan); return -1; }
        copy->home = t;
        if (store_offer(x, copy) != 0) { plan_free(plan); return -1; }
    }
    plan_free(plan);
    return 0;
}

static int by_bound(const void *a, const void *b)
{
    const OfferedPlan *x = a, *y = b;

    if (x->bound_ns != y->bound_ns) return x->bound_ns < y->bound_ns ? -1 : 1;
    return x->number - y->number;
}

int store_run(StoreSearch *x)
{
    int rc = 0;

    if (x->count > 0) qsort(x->offered, (size_t)x->count, sizeof *x->offered, by_bound);
    for (int i = 0; i < x->count; i++) {
        OfferedPlan *o = &x->offered[i];
        Plan        *plan = o->plan;
        bool hopeless = x->row->plan && o->bound_ns / x->s->epochs >= candidate_fastest_ns(x->row);
        bool spent = x->row->plan && (x->row->simulated >= x->most || x->row->spent >= x->budget);
        o->plan = NULL;
        x->cut |= spent && !hopeless;
        if (hopeless || spent || rc != 0) { plan_free(plan); continue; }
        rc = candidate_try(x->row, plan, "", x->s, x->err);
    }
    x->count = 0;
    return rc;
}

void store_search_free(StoreSearch *x)
{
    for (int i = 0; i < x->count; i++) plan_free(x->offered[i].plan);
    free(x->offered);
    x->offered = NULL;
    x->count = x->capacity = 0;
}
