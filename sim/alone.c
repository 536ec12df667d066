/* Runs in which every device is alone: tasks of ls, without a loader that they share.
 *
 *     device 0  | task 3, steps times | task 7, steps times |     nobody waits for anybody, but
 *     device 1  | task 5, steps times         | task 2 ...        for the next task of the queue
 *
 * A step of a phase takes the sum of its costs, whenever it begins, so a phase takes that times its
 * steps, and the engine need not look for what repeats. Phases of the shared queue go to the device
 * that comes first, at equal times to the lowest. */
#include "sim/engine.h"

static bool is_alone(const Code *code)
{
    for (int i = 0; i < code->code_count; i++) {
        Op op = code->code[i].op;
        if (op != OP_LOAD && !op_computes(op)) return false;
    }
    return true;
}

/* Where devices slow each other down, runs are repeated and searched: their length in instructions
 * is part of the searches' limits, and stays as the engine has it. */
static bool suits(const Sim *sim)
{
    const Program *p = sim->program;

    if (!sim->steady || sim->options->way != SIM_ANY_WAY || sim->options->first_phase) return false;
    if (sim->options->begin_ns) return false;
    if (sim->load || sim->storage.used || sim->lane_count > 0 || sim->prefetch > 0) return false;
    for (int d = 0; d < p->device_count; d++) if (!is_alone(&p->devices[d])) return false;
    return is_alone(&p->queue);
}

/* All steps of a phase. -1: time passes TIME_LIMIT_NS. */
static int do_phase(Sim *sim, int d, const Phase *phase, const Code *code, const Cost *cost)
{
    SimDevice *dev = &sim->devices[d];
    int64_t    part[SHARE_COUNT] = {0}, step = 0, all;

    for (int i = phase->first; i < phase->first + phase->count; i++) {
        if (code->code[i].op == OP_LOAD) continue;       /* there is no loader */
        if (cost[i].ns > TIME_LIMIT_NS - step) return sim_too_long(sim);
        step += cost[i].ns;
        part[compute_share(code->code[i].op)] += cost[i].ns;
    }
    if (__builtin_mul_overflow(step, phase->steps, &all) || all > TIME_LIMIT_NS - dev->since_ns)
        return sim_too_long(sim);
    dev->since_ns += all;
    for (int k = 0; k < SHARE_COUNT; k++) dev->share_ns[k] += part[k] * phase->steps;
    sim->simulated += sim->twins[d] * (int64_t)phase->count;
    sim->skipped += sim->twins[d] * (int64_t)phase->count * (phase->steps - 1);
    return 0;
}

static int do_own_phases(Sim *sim)
{
    for (int d = 0; d < sim->program->device_count; d++) {
        const Code *code = &sim->program->devices[d];
        for (int f = 0; f < code->phase_count && sim->twin[d] == d; f++)
            if (do_phase(sim, d, &code->phases[f], code, sim->costs.device[d]) != 0) return -1;
    }
    return 0;
}

static int first_free(const Sim *sim)
{
    int first = 0;

    for (int d = 1; d < sim->program->device_count; d++)
        if (sim->devices[d].since_ns < sim->devices[first].since_ns) first = d;
    return first;
}

int alone_run(Sim *sim, bool *done)
{
    const Code *queue = &sim->program->queue;

    *done = suits(sim);
    if (!*done) return 0;
    if (do_own_phases(sim) != 0) return -1;
    for (int f = 0; f < queue->phase_count; f++) {
        int d = first_free(sim);
        if (do_phase(sim, d, &queue->phases[f], queue, sim->costs.queue[d]) != 0) return -1;
    }
    return 0;
}
