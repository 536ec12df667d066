/* What simulating a row's plans took, in instructions by events: searches stop when a budget of
 * them is spent, and simulate only a part of plans that take long. Plans that are simulated in
 * order (sim/flow.c), which is faster, would have taken up to all instructions of their programs;
 * mostly that is enough to know. Where it is not they are simulated by events after all, so that
 * what a search finds does not depend on the way. */
#include "planner/candidate.h"

#include <stdlib.h>

#include "base/array.h"
#include "base/minmax.h"

/* Runs of contended times are repeated. */
static int64_t weight_of(const Scenario *s)
{
    return s->trace->contended && s->device_count > 1 ? 8 : 1;
}

static int note_unsure(Candidate *row, const Candidate *priced, Error *err)
{
    UnsureSpent *unsure = &row->unsure;
    int64_t      most = priced->sim.simulated + priced->sim.skipped;

    if (!array_has_room(unsure->plans, unsure->count, unsure->capacity))
        return error_no_memory(err);
    if (plan_copy(&unsure->plans[unsure->count], priced->plan, err) != 0) return -1;
    unsure->count++;
    unsure->most += most;
    unsure->longest = larger(unsure->longest, most);
    return 0;
}

int candidate_note_spent(Candidate *row, const Candidate *priced, const Scenario *s, Error *err)
{
    row->simulated++;
    if (priced->plan && priced->in_order && priced->sim.in_order)
        return note_unsure(row, priced, err);
    row->longest = larger(row->longest, priced->sim.simulated);
    row->spent += priced->sim.simulated * weight_of(s);
    return 0;
}

static void forget(UnsureSpent *unsure)
{
    for (int i = 0; i < unsure->count; i++) plan_free(unsure->plans[i]);
    free(unsure->plans);
    *unsure = (UnsureSpent){0};
}

int candidate_settle_spent(Candidate *row, const Scenario *s, Error *err)
{
    UnsureSpent *unsure = &row->unsure;
    int          rc = 0;

    for (int i = 0; i < unsure->count && rc == 0; i++) {
        Candidate by_events = {0};
        Plan     *plan = unsure->plans[i];
        unsure->plans[i] = NULL;
        rc = candidate_price(&by_events, plan, s, err);
        row->longest = larger(row->longest, by_events.sim.simulated);
        if (i >= unsure->before) row->spent += by_events.sim.simulated * weight_of(s);
        candidate_free(&by_events);
    }
    forget(unsure);
    return rc;
}

void candidate_begin_budget(Candidate *row)
{
    row->unsure.before = row->unsure.count;
    row->unsure.most = 0;
}
