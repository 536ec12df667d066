/* Between what a run certainly takes, for runs that are too long to simulate: docs/model.md derives
 * both sides.
 *
 * From below: a lane does one thing at a time. A device computes, a link's end copies, a group sums
 * and the loader's workers load what they have to, so the run is no shorter than the busiest of
 * them.
 *
 * From above: a timetable that the run is never behind (sim/timetable.h). And no run takes longer
 * than all its work one after another. */
#include "sim/bounds.h"

#include <stdlib.h>

#include "base/minmax.h"
#include "sim/time_sum.h"
#include "sim/timetable.h"

/* ---- from below ---------------------------------------------------------------------- */

/* What occupies a device of an instruction; of a RECV what it takes of the core, waiting or not. */
static int64_t own_ns(const Sim *sim, Op op, const Cost *cost)
{
    bool works = op_computes(op) || (op == OP_LOAD && sim->lane_count > 0 && sim->prefetch == 0)
                 || ((op == OP_SEND || op == OP_ALLREDUCE) && sim->blocking);

    return (works ? cost->ns : 0) + cost->core_ns;
}

/* A phase on a device: its own work; and where a batch is asked for so many steps ahead, no more
 * than so many of them come while one is loaded. */
int64_t bounds_phase_least(const Sim *sim, const Code *code, const Phase *phase, const Cost *cost)
{
    int64_t step = 0, load = 0;

    for (int i = phase->first; i < phase->first + phase->count; i++) {
        step = time_plus(step, own_ns(sim, code->code[i].op, &cost[i]));
        if (code->code[i].op == OP_LOAD && sim->lane_count > 0) load = cost[i].ns;
    }
    int64_t own = time_times(phase->steps, step);
    if (load == 0 || sim->prefetch == 0) return own;
    return larger(own, time_plus(time_times((phase->steps - 1) / sim->prefetch + 1, load), step));
}

/* Sums of what each lane does. */
typedef struct {
    int64_t *out, *in;           /* [devices] copying */
    int64_t *group;              /* [groups] */
    int64_t  loader;
} LaneSums;

static void add_lanes(LaneSums *sums, const Sim *sim, const Code *code, const Phase *phase,
                      const Cost *cost, int device)
{
    for (int i = phase->first; i < phase->first + phase->count; i++) {
        const Instruction *in = &code->code[i];
        int64_t            ns = time_times(phase->steps, cost[i].ns);
        if (in->op == OP_LOAD && sim->lane_count > 0) sums->loader = time_plus(sums->loader, ns);
        if (in->op == OP_SEND) {
            int to = sim->program->channels[in->link].to;
            sums->out[device] = time_plus(sums->out[device], ns);
            sums->in[to] = time_plus(sums->in[to], ns);
        }
        if (in->op == OP_ALLREDUCE && sim->groups[in->link].devices[0] == device)
            sums->group[in->link] = time_plus(sums->group[in->link], ns);
    }
}

static int64_t busiest_lane(const Sim *sim, const LaneSums *sums)
{
    int64_t most = sim->lane_count > 0 ? sums->loader / sim->lane_count : 0;

    for (int d = 0; d < sim->program->device_count; d++)
        most = larger(most, larger(sums->out[d], sums->in[d]));
    for (int g = 0; g < sim->program->group_count; g++) most = larger(most, sums->group[g]);
    return most;
}

/* Phases of the queue, each on whoever takes least. */
static int64_t queue_least(const Sim *sim, const Costs *costs, int64_t own, LaneSums *sums)
{
    const Program *p = sim->program;
    int64_t        longest = 0;

    for (int f = 0; f < p->queue.phase_count; f++) {
        int64_t least = INT64_MAX;
        for (int d = 0; d < p->device_count; d++)
            least = smaller(least, bounds_phase_least(sim, &p->queue, &p->queue.phases[f],
                                               costs->queue[d]));
        add_lanes(sums, sim, &p->queue, &p->queue.phases[f], costs->queue[0], 0);
        own = time_plus(own, least);
        longest = larger(longest, least);
    }
    return larger(longest, own / p->device_count);
}

/* *out: no run is shorter. -1: without memory. */
static int find_least(int64_t *out, const Sim *sim, const Costs *costs)
{
    const Program *p = sim->program;
    size_t         n = (size_t)p->device_count;
    int64_t        most = 0, all = 0;
    LaneSums       sums = {.out = calloc(n, sizeof *sums.out), .in = calloc(n, sizeof *sums.in),
                           .group = calloc((size_t)p->group_count + 1, sizeof *sums.group)};
    bool           good = sums.out && sums.in && sums.group;

    for (int d = 0; d < p->device_count && good; d++) {
        int64_t own = 0;
        for (int f = 0; f < p->devices[d].phase_count; f++) {
            const Phase *phase = &p->devices[d].phases[f];
            own = time_plus(own, bounds_phase_least(sim, &p->devices[d], phase, costs->device[d]));
            add_lanes(&sums, sim, &p->devices[d], phase, costs->device[d], d);
        }
        most = larger(most, own);
        all = time_plus(all, own);
    }
    if (good)
        *out = larger(larger(most, queue_least(sim, costs, all, &sums)), busiest_lane(sim, &sums));
    free(sums.out);
    free(sums.in);
    free(sums.group);
    return good ? 0 : -1;
}

/* ---- all one after another ----------------------------------------------------------- */

static int64_t requests_most(const Sim *sim, int d, int at)
{
    const StorageCosts *costs = &sim->costs.storage;
    int64_t             sum = 0;

    for (int r = costs->first[d][at]; r < costs->first[d][at + 1]; r++)
        sum = time_plus(sum, time_plus(storage_most_ns(sim, &costs->requests[r]),
                                       costs->requests[r].link_ns));
    return sum;
}

/* All that a phase does, of which its requests of the store. Weights come and go once. */
static int64_t phase_serial(const Sim *sim, int d, const Code *code, int number, const Cost *cost)
{
    const Phase *phase = &code->phases[number];
    bool         stores = sim->storage.used && code != &sim->program->queue;
    int64_t      sum = stores ? sim->storage.setup_ns[d][number] : 0;

    for (int i = phase->first; i < phase->first + phase->count; i++) {
        Op      op = code->code[i].op;
        int64_t ns = cost[i].ns + cost[i].core_ns;
        if (stores && op_stores(op)) ns = time_plus(ns, requests_most(sim, d, i));
        if (op != OP_ONLOAD && op != OP_OFFLOAD) ns = time_times(phase->steps, ns);
        sum = time_plus(sum, ns);
    }
    return sum;
}

/* What lies between the parts of a program that stores. */
static int64_t between_parts(const Sim *sim)
{
    if (!sim->storage.used) return 0;
    return time_times(sim->storage.part[program_numbers(sim->program) - 1],
                 sim->scenario->trace->part_ns);
}

static int64_t find_serial(const Sim *sim, const Costs *costs)
{
    const Program *p = sim->program;
    int64_t        sum = between_parts(sim);

    for (int d = 0; d < p->device_count; d++)
        for (int f = 0; f < p->devices[d].phase_count; f++)
            sum = time_plus(sum, phase_serial(sim, d, &p->devices[d], f, costs->device[d]));
    for (int f = 0; f < p->queue.phase_count; f++) {
        int64_t most = 0;
        for (int d = 0; d < p->device_count; d++)
            most = larger(most, phase_serial(sim, d, &p->queue, f, costs->queue[d]));
        sum = time_plus(sum, most);
    }
    return sum;
}

/* ---- both ---------------------------------------------------------------------------- */

/* *out: no run is longer. -1: without memory. */
static int find_most(int64_t *out, Sim *sim, const Costs *costs)
{
    int64_t most;
    int     rc = timetable_most(&most, sim, costs);

    *out = find_serial(sim, costs);
    if (rc == 0) *out = smaller(*out, most);
    return rc < 0 ? -1 : 0;
}

/* The bounds at costs; *least: from below, *most: from above, where they are wanted. */
static int at_costs(Sim *sim, const Costs *costs, int64_t *least, int64_t *most)
{
    if (least && find_least(least, sim, costs) != 0) return error_no_memory(sim->err);
    if (most && find_most(most, sim, costs) != 0) return error_no_memory(sim->err);
    return 0;
}

/* One side at costs with nobody, or everybody, else computing. */
static int at_load(Sim *sim, double load, int64_t *least, int64_t *most)
{
    int     n = sim->program->device_count, rc = -1;
    double *loads = malloc((size_t)n * sizeof *loads);
    Costs   costs;

    if (!loads) return error_no_memory(sim->err);
    for (int d = 0; d < n; d++) loads[d] = load;
    if (costs_build(&costs, sim->program, sim->scenario, loads, sim->err) == 0) {
        rc = at_costs(sim, &costs, least, most);
        costs_free(&costs);
    }
    free(loads);
    return rc;
}

int bounds_find(Sim *sim, int64_t *least_ns, int64_t *most_ns)
{
    if (!sim->load) return at_costs(sim, &sim->costs, least_ns, most_ns);
    return at_load(sim, 0, least_ns, NULL) == 0 && at_load(sim, 1, NULL, most_ns) == 0 ? 0 : -1;
}
