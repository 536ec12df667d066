#include "planner/store/store_search.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "planner/store/store_bound.h"

/* The program of a plan that can be and fits on its devices; -1: why not. */
static int build_fitting(Program **program, Plan *plan, const Scenario *s, Error *why)
{
    Memory *memory = calloc((size_t)s->device_count, sizeof *memory);
    int     rc = -1;

    *program = NULL;
    if (!memory) return error_no_memory(why);
    if (candidate_check_students(plan, s->trace, why) == 0 && plan_check(plan, why) == 0
        && program_build_epochs(program, plan, s->steps, why) == 0
        && memory_peak(memory, *program, s, why) == 0)
        rc = memory_fits(memory, s, why);
    free(memory);
    return rc;
}

/* *bound of a program that fits on its machines, too; -1: why not. */
static int bound_fitting(int64_t *bound, const Program *program, const Scenario *s, Error *why)
{
    HostMemory *host = calloc((size_t)scenario_nodes(s), sizeof *host);
    int         rc = -1;

    if (!host) return error_no_memory(why);
    if (memory_host(host, program, s, why) == 0 && memory_host_fits(host, program, s, why) == 0)
        rc = store_bound(bound, program, s, why);
    free(host);
    return rc;
}

/* A plan that cannot be, or does not fit: the first such is said as long as there is no other. -1
 * only without memory. */
static int drop(StoreSearch *x, const Error *why)
{
    if (error_is_no_memory(why)) return error_no_memory(x->err);
    if (!x->row->plan && !x->row->why[0])
        snprintf(x->row->why, sizeof x->row->why, "%.255s", why->text);
    return 0;
}

/* Plan, whose program this is, is offered if it fits with weights kept in tier home. Takes plan
 * over where *offered. */
static int offer_home(StoreSearch *x, Plan *plan, Program *program, int home, bool *offered)
{
    Error   why = {""};
    int64_t bound = 0;

    *offered = false;
    program->home = home;
    if (bound_fitting(&bound, program, x->s, &why) != 0) return drop(x, &why);
    if (!array_has_room(x->offered, x->count, x->capacity)) return error_no_memory(x->err);
    plan->home = home;
    x->offered[x->count++] = (OfferedPlan){plan, bound, x->total++};
    *offered = true;
    return 0;
}

/* Weights kept in the first tier of first..last with which the plan fits. Takes plan over. */
static int offer_first(StoreSearch *x, Plan *plan, int first, int last)
{
    Program *program;
    Error    why = {""};
    bool     offered = false;
    int      rc;

    if (build_fitting(&program, plan, x->s, &why) != 0) rc = drop(x, &why);
    else
        for (rc = 0; first <= last && rc == 0 && !offered; first++)
            rc = offer_home(x, plan, program, first, &offered);
    program_free(program);
    if (!offered) plan_free(plan);
    return rc;
}

int store_offer(StoreSearch *x, Plan *plan)
{
    return offer_first(x, plan, plan->home, plan->home);
}

int store_offer_homes(StoreSearch *x, Plan *plan)
{
    plan->home = 0;
    return offer_first(x, plan, 0, x->s->trace->tier_count - 1);
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
