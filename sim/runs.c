/* Runs of computations, walked as one.
 *
 *     RECV  TEACHER TEACHER TEACHER  SEND  FORWARD BACKWARD  ALLREDUCE  FORWARD BACKWARD  ...
 *           |------- a run -------|        |--- a run ---|              |--- a run ---|
 *
 * A device tells nobody and waits for nobody within a run, so its end and what it adds to the
 * device's shares are sums known before the simulation. Not where times are drawn or spans are
 * kept; and not step by step, so that the witness of the fast way has no part of it. */
#include "sim/engine.h"

#include <limits.h>
#include <stdlib.h>

static bool is_alone(const Instruction *in, const int *slot, int at, bool waits)
{
    if (in->op == OP_UPDATE) return !waits || slot[at] < 0;
    return in->op == OP_TEACHER || in->op == OP_FORWARD || in->op == OP_BACKWARD;
}

/* Adds an instruction to run; false: the sum passes TIME_LIMIT_NS. */
static bool extend(ComputeRun *run, const Instruction *in, Cost cost)
{
    int64_t *part = in->op == OP_TEACHER  ? &run->teacher_ns
                    : in->op == OP_UPDATE ? &run->update_ns
                                          : &run->student_ns;

    run->count++;
    *part += cost.ns - cost.wait_ns;
    run->wait_ns += cost.wait_ns;
    run->ns += cost.ns;
    return run->ns <= TIME_LIMIT_NS;
}

/* Runs of code, which one device walks at cost. slot: reduce slots, or NULL. Leaves runs->runs NULL
 * where a sum does not fit: the engine then meets that error where it comes up. */
static int find_runs(ComputeRuns *runs, const Code *code, const Cost *cost, const int *slot,
                     bool waits, Error *err)
{
    size_t count = 0;
    int    used = 0;

    for (int i = 0; i < code->code_count; i++) {
        bool alone = is_alone(&code->code[i], slot, i, waits),
             joins = i > 0 && is_alone(&code->code[i - 1], slot, i - 1, waits);
        count += alone && !joins;
    }
    runs->runs = calloc(count + (size_t)code->phase_count + 1, sizeof *runs->runs);
    runs->of_phase = calloc((size_t)code->phase_count + 1, sizeof *runs->of_phase);
    if (!runs->runs || !runs->of_phase) return error_no_memory(err);
    for (int p = 0; p < code->phase_count; p++) {
        const Phase *phase = &code->phases[p];
        ComputeRun  *run = NULL;
        runs->of_phase[p] = used;
        for (int i = phase->first; i < phase->first + phase->count; i++) {
            if (!is_alone(&code->code[i], slot, i, waits)) { run = NULL; continue; }
            if (!run) { run = &runs->runs[used++]; run->first = i; }
            if (extend(run, &code->code[i], cost[i])) continue;
            free(runs->runs);
            runs->runs = NULL;
            return 0;
        }
    }
    runs->runs[used].first = INT_MAX;
    return 0;
}

/* Of the shared queue, for device d; like: the device before for which they were found, -1:
 * none. */
static int find_queue_runs(Sim *sim, int d, int like)
{
    const Program *p = sim->program;
    ComputeRuns   *queue = sim->runs + p->device_count;

    if (like < 0 || sim->costs.queue[like] != sim->costs.queue[d])
        return find_runs(&queue[d], &p->queue, sim->costs.queue[d], NULL, false, sim->err);
    queue[d] = queue[like];
    queue[d].shared = true;
    return 0;
}

int runs_new(Sim *sim)
{
    const Program *p = sim->program;
    size_t         n = (size_t)p->device_count;
    bool           waits = !sim->blocking;
    int            before = -1;

    sim->runs = calloc(2 * n, sizeof *sim->runs);
    if (!sim->runs) return error_no_memory(sim->err);
    for (int d = 0; d < p->device_count; d++) {
        if (sim->twin[d] != d) continue;         /* another one is simulated for it */
        if (find_runs(&sim->runs[d], &p->devices[d], sim->costs.device[d], sim->reduce_slot[d],
                      waits, sim->err)
                != 0
            || (p->queue.phase_count > 0 && find_queue_runs(sim, d, before) != 0))
            return -1;
        before = d;
    }
    return 0;
}

/* Adds steps times what there is to go through in the phase; false: too much. */
static bool add_phase(int64_t *sum, const Code *code, int number, const ComputeRuns *runs)
{
    const Phase *phase = &code->phases[number];
    int64_t      pieces = phase->count, all;

    if (runs && runs->runs)
        for (const ComputeRun *run = &runs->runs[runs->of_phase[number]];
             run->first < phase->first + phase->count; run++)
            pieces -= run->count - 1;
    return !__builtin_mul_overflow(pieces, phase->steps, &all)
           && !__builtin_add_overflow(*sum, all, sum);
}

int64_t runs_length(const Sim *sim)
{
    const Program *p = sim->program;
    int64_t        sum = 0;

    for (int d = 0; d < p->device_count; d++)
        for (int f = 0; f < p->devices[d].phase_count && sim->twin[d] == d; f++)
            if (!add_phase(&sum, &p->devices[d], f, sim->runs ? &sim->runs[d] : NULL))
                return INT64_MAX;
    for (int f = 0; f < p->queue.phase_count; f++)
        if (!add_phase(&sum, &p->queue, f, sim->runs ? &sim->runs[p->device_count] : NULL))
            return INT64_MAX;
    return sum;
}

void runs_free(Sim *sim)
{
    for (int i = 0; sim->runs && i < 2 * sim->program->device_count; i++) {
        if (sim->runs[i].shared) continue;
        free(sim->runs[i].runs);
        free(sim->runs[i].of_phase);
    }
    free(sim->runs);
}
