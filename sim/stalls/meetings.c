/* Where devices meet, the wait for the slowest (sim/stalls/wait.h).
 *
 * Where transfers block, an ALLREDUCE is where a group meets, as a BARRIER is: it goes on when the
 * last is expected, and a device has worked since it last met others. Where they are overlapped an
 * ALLREDUCE begins when the last member is expected, and members meet where their UPDATE waits for
 * it. That work is known before the run: it is what stands between two such instructions of a
 * phase, from the end of a step on to the next one's. */
#include "sim/engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/minmax.h"

static bool meets(Op op) { return op == OP_ALLREDUCE || op == OP_BARRIER; }

/* Behind this instruction the device stands where the others of its group do. */
static bool is_even(const Sim *sim, int d, int at, Op op)
{
    if (op == OP_UPDATE) return !sim->blocking && sim->reduce_slot[d][at] >= 0;
    return op == OP_BARRIER || (op == OP_ALLREDUCE && sim->blocking);
}

int64_t stalls_own_ns(const Sim *sim, int d, int at)
{
    Op          op = sim->program->devices[d].code[at].op;
    bool        works = op_computes(op) || (op == OP_LOAD && sim->prefetch == 0);
    const Cost *cost = &sim->costs.device[d][at];

    return works ? cost->ns : cost->core_ns;
}

/* How far the work since the last meeting deviates besides stalls: variances of instructions add
 * up, and all of it has the device's skew. */
static int64_t spread_of(double variance, const TraceStalls *stalls, int64_t work_ns)
{
    double skew = stalls->skew * (1 - stalls_share(stalls)) * (double)work_ns;

    return llround(sqrt(variance + skew * skew));
}

/* Two steps of the phase: in the second the work before the first meeting has what the step before
 * left. */
static void fill_phase(Sim *sim, int d, const Phase *phase)
{
    const Instruction *code = sim->program->devices[d].code;
    int64_t            since_ns = 0;
    const TraceStalls *stalls = &sim->scenario->trace->kinds[sim->scenario->kinds[d]].stalls;
    double             variance = 0, even = 1 - stalls_share(stalls);

    for (int twice = 0; twice < 2; twice++)
        for (int at = phase->first; at < phase->first + phase->count; at++) {
            int64_t ns = stalls_own_ns(sim, d, at);
            double  deviation = even * (double)ns * sim->costs.device[d][at].spread;
            if (meets(code[at].op))
                sim->stalls.since[d][at] =
                    (StallSince){since_ns, spread_of(variance, stalls, since_ns)};
            if (is_even(sim, d, at, code[at].op)) { since_ns = 0; variance = 0; }
            if (since_ns >= TIME_LIMIT_NS) continue;
            since_ns += ns;
            variance += deviation * deviation;
        }
}

int stalls_new(Sim *sim)
{
    const Program *p = sim->program;
    StallMeetings *stalls = &sim->stalls;

    if (sim->options->jitter || !trace_has_stalls(sim->scenario->trace)) return 0;
    stalls->waits = stall_waits_new(sim->scenario->trace);
    stalls->since = calloc((size_t)p->device_count, sizeof *stalls->since);
    stalls->late = calloc(2 * (size_t)sim->reduce_slot_count + 1, sizeof *stalls->late);
    stalls->list = malloc((size_t)p->device_count * sizeof *stalls->list);
    if (!stalls->waits || !stalls->since || !stalls->late || !stalls->list)
        return error_no_memory(sim->err);
    for (int d = 0; d < p->device_count; d++) {
        const Code *code = &p->devices[d];
        if (sim->twin[d] != d) continue;
        stalls->since[d] = calloc((size_t)code->code_count + 1, sizeof **stalls->since);
        if (!stalls->since[d]) return error_no_memory(sim->err);
        for (int n = 0; n < code->phase_count; n++) fill_phase(sim, d, &code->phases[n]);
    }
    return stalls_add_relays(sim);
}

void stalls_free(Sim *sim)
{
    StallMeetings *stalls = &sim->stalls;

    for (int d = 0; stalls->since && d < sim->program->device_count; d++)
        free(stalls->since[d]);
    for (int i = 0; stalls->late && i < 2 * sim->reduce_slot_count; i++) free(stalls->late[i].list);
    stall_waits_free(stalls->waits);
    free(stalls->since);
    free(stalls->late);
    free(stalls->list);
}

/* Device d, and those that it stands for, arrives at t at its instruction at. */
static StallArrival arrival_of(const Sim *sim, int d, int at, int64_t t)
{
    StallSince since = sim->stalls.since[d][at];

    return (StallArrival){t, since.work_ns, since.spread_ns, sim->scenario->kinds[d],
                          sim->twins[d]};
}

int64_t stalls_meet(Sim *sim, const Group *group)
{
    if (!sim->stalls.waits) return 0;
    for (int i = 0; i < group->count; i++) {
        int              d = group->devices[i];
        const SimDevice *dev = &sim->devices[d];
        int at = phase_of(dev)->first + dev->index - 1;     /* it stands behind */
        sim->stalls.list[i] = arrival_of(sim, d, at, dev->since_ns);
    }
    return stall_wait_ns(sim->stalls.waits, sim->stalls.list, group->count);
}

int stalls_arrive(Sim *sim, int d, int at, int64_t t)
{
    StallMeetings *stalls = &sim->stalls;

    if (!stalls->waits) return 0;
    StallsLate *late = &stalls->late[2 * sim->reduce_slot[d][at] + (sim->devices[d].step & 1)];
    if (!array_has_room(late->list, late->count, late->capacity)) return error_no_memory(sim->err);
    late->list[late->count++] = arrival_of(sim, d, at, t);
    return 0;
}

int64_t stalls_reduce(Sim *sim, int d, int at)
{
    StallMeetings *stalls = &sim->stalls;

    if (!stalls->waits) return 0;
    StallsLate *late = &stalls->late[2 * sim->reduce_slot[d][at] + (sim->devices[d].step & 1)];
    int count = late->count;
    late->count = 0;
    return stall_wait_ns(stalls->waits, late->list, count);
}

StallSince stalls_longest(const Sim *sim, int d, const Phase *phase)
{
    StallSince most = {0, 0};

    for (int at = phase->first; sim->stalls.waits && at < phase->first + phase->count; at++) {
        if (!meets(sim->program->devices[d].code[at].op)) continue;
        most.work_ns = larger(most.work_ns, sim->stalls.since[d][at].work_ns);
        most.spread_ns = larger(most.spread_ns, sim->stalls.since[d][at].spread_ns);
    }
    return most;
}

int64_t stalls_most(const Sim *sim, const Group *group, const StallSince *since)
{
    if (!sim->stalls.waits) return 0;
    for (int i = 0; i < group->count; i++) {
        int d = group->devices[i];
        sim->stalls.list[i] = (StallArrival){0, since[d].work_ns, since[d].spread_ns,
                                             sim->scenario->kinds[d], sim->twins[d]};
    }
    return stall_wait_ns(sim->stalls.waits, sim->stalls.list, group->count);
}
