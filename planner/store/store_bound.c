#include "planner/store/store_bound.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "base/minmax.h"
#include "sim/costs.h"

typedef struct {
    const Program  *program;
    const Scenario *s;
    Costs           costs;
    double         *end;         /* [devices] of the phases so far */
    int            *next;        /* [devices] phase to come */
    double         *whole;       /* [blocks + 1] when the last step stores the boundary, at the
                                  * earliest */
    double         *busy;        /* [stations] */
} BoundWalk;

/* Requests in flight at a time: the most of either grid of the tier. */
static int64_t lanes_of(const Scenario *s, int tier)
{
    const TraceRequests *read = scenario_requests(s, tier, false),
                        *write = scenario_requests(s, tier, true);

    return larger(read->in_flight[read->in_flight_count - 1],
                  write->in_flight[write->in_flight_count - 1]);
}

/* The least that a request keeps a station, of which lanes are busy at a time; beyond its grid it
 * takes what it does at the end. */
static double least_share(const BoundWalk *w, const StorageRequest *request)
{
    int                  tier = request->station / w->costs.storage.machines;
    const TraceRequests *grid = scenario_requests(w->s, tier, request->write);
    int                  last = grid->in_flight_count - 1;
    double               least = (double)request->ns[last] / (double)lanes_of(w->s, tier);

    for (int q = 0; q <= last; q++)
        least = fmin(least, (double)request->ns[q] / (double)grid->in_flight[q]);
    return least;
}

static double least_ns(const BoundWalk *w, const StorageRequest *request)
{
    const TraceRequests *grid =
        scenario_requests(w->s, request->station / w->costs.storage.machines, request->write);
    int64_t              least = request->ns[0];

    for (int q = 1; q < grid->in_flight_count; q++)
        if (request->ns[q] < least) least = request->ns[q];
    return (double)least;
}

/* What a STORE or FETCH occupies its device for, at least. */
static double occupied_ns(const BoundWalk *w, int d, int at)
{
    const StorageCosts *storage = &w->costs.storage;
    double              direct = 0, own = 0;

    for (int r = storage->first[d][at]; r < storage->first[d][at + 1]; r++) {
        const StorageRequest *request = &storage->requests[r];
        own += (double)request->own_ns;
        if (request->direct) direct = fmax(direct, least_ns(w, request) + (double)request->link_ns);
    }
    return fmax(direct, own);
}

/* A step of the phase on device d, and what it asks of tiers times the steps. */
static double step_of(BoundWalk *w, int d, const Phase *phase)
{
    const Code         *code = &w->program->devices[d];
    const StorageCosts *storage = &w->costs.storage;
    double              work = 0, sums = 0, step = 0;

    for (int i = phase->first; i < phase->first + phase->count; i++) {
        Op op = code->code[i].op;
        if (op == OP_TEACHER || op_trains(op))
            *(op == OP_ALLREDUCE ? &sums : &work) += (double)w->costs.device[d][i].ns;
        if (storage->first && (op == OP_STORE || op == OP_FETCH)) work += occupied_ns(w, d, i);
        for (int r = storage->first ? storage->first[d][i] : 0;
             storage->first && r < storage->first[d][i + 1]; r++) {
            const StorageRequest *request = &storage->requests[r];
            double times = op == OP_STORE || op == OP_FETCH ? (double)phase->steps : 1;
            w->busy[request->station] += times * least_share(w, request);
            if (op == OP_FETCH) step = fmax(step, least_ns(w, request) / STORAGE_AHEAD);
        }
    }
    if (w->s->trace->blocking_transfers) work += sums;
    return fmax(fmax(work, sums), step);
}

static void walk_phase(BoundWalk *w, int d, const Phase *phase)
{
    const Code *code = &w->program->devices[d];
    double      step = step_of(w, d, phase), start = w->end[d];

    for (int i = phase->first; i < phase->first + phase->count; i++)
        if (code->code[i].op == OP_FETCH && w->whole[code->code[i].block] > start)
            start = w->whole[code->code[i].block];
    for (int i = phase->first; i < phase->first + phase->count; i++)
        if (code->code[i].op == OP_STORE
            && start + (double)(phase->steps - 1) * step > w->whole[code->code[i].block])
            w->whole[code->code[i].block] = start + (double)(phase->steps - 1) * step;
    w->end[d] = start + (double)phase->steps * step;
}

/* In the order of numbers: a phase fetches what those of lower ones stored. */
static void walk_all(BoundWalk *w)
{
    const Program *p = w->program;

    for (;;) {
        int least = INT_MAX;
        for (int d = 0; d < p->device_count; d++)
            if (w->next[d] < p->devices[d].phase_count
                && p->devices[d].phases[w->next[d]].number < least)
                least = p->devices[d].phases[w->next[d]].number;
        if (least == INT_MAX) return;
        for (int d = 0; d < p->device_count; d++)
            if (w->next[d] < p->devices[d].phase_count
                && p->devices[d].phases[w->next[d]].number == least)
                walk_phase(w, d, &p->devices[d].phases[w->next[d]++]);
    }
}

int store_bound(int64_t *bound_ns, const Program *program, const Scenario *s, Error *err)
{
    BoundWalk w = {.program = program, .s = s};
    Scenario  alone = *s;
    size_t    devices = (size_t)program->device_count;
    double    most = 0;
    int       rc = -1;

    alone.load = 0;
    *bound_ns = 0;
    if (costs_build(&w.costs, program, &alone, NULL, err) != 0) return -1;
    w.end = calloc(devices, sizeof *w.end);
    w.next = calloc(devices, sizeof *w.next);
    w.whole = calloc((size_t)program->block_count + 1, sizeof *w.whole);
    w.busy = calloc((size_t)w.costs.storage.stations + 1, sizeof *w.busy);
    if (!w.end || !w.next || !w.whole || !w.busy) { error_no_memory(err); goto done; }
    walk_all(&w);
    for (size_t d = 0; d < devices; d++) most = fmax(most, w.end[d]);
    for (int i = 0; i < w.costs.storage.stations; i++) most = fmax(most, w.busy[i]);
    *bound_ns = most < 0x1p62 ? (int64_t)most : (int64_t)1 << 62;
    rc = 0;
done:
    costs_free(&w.costs);
    free(w.end);
    free(w.next);
    free(w.whole);
    free(w.busy);
    return rc;
}
