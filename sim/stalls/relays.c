/* What devices that relay wait for each other while one of them is slow for long.
 *
 *     device 0  | step | step | step |      |      |      a queue between them takes up what lasts
 *     device 1    | step  | step  | step  | step  |       a few steps; then the whole chain goes as
 *                                                         fast as the slowest of it
 *
 * Skew that lasts (traces/stalls.h) makes device d's step T_d (1 + V_d) long, for so many steps on
 * end that a step of the chain takes the longest of them: E[max T_d (1 + V_d)] in the mean, V_d
 * normal of standard deviation `lasting`, all independent (sim/stalls/wait.h). Devices that meet in
 * an all-reduce of every step have waited for the slowest of their group there already, so what is
 * added is
 *
 *     E[max over all d] - max over groups of E[max over the group's d],
 *
 * a device that meets nobody being a group. It is at least 0. Every device has it behind the last
 * work of its step, as a wait: where a device waits for others anyway nothing changes. Where all
 * meet at a barrier nothing is added. */
#include "sim/engine.h"

#include <math.h>
#include <stdlib.h>

#include "base/minmax.h"
#include "sim/time_sum.h"

enum { NO_GROUP = -1 };

/* A device's step of its n-th phase. */
typedef struct {
    const Phase *phase;      /* NULL: it is not simulated, or does not relay there */
    int          group;      /* where it meets others; NO_GROUP: nowhere */
    StallArrival end;
} RelayStep;

static const TraceStalls *stalls_of(const Sim *sim, int d)
{
    return &sim->scenario->trace->kinds[sim->scenario->kinds[d]].stalls;
}

static bool any_lasts(const Sim *sim)
{
    for (int d = 0; d < sim->program->device_count; d++)
        if (stalls_of(sim, d)->lasting > 0) return true;
    return false;
}

static bool has_op(const Code *code, const Phase *phase, Op op)
{
    for (int i = phase->first; i < phase->first + phase->count; i++)
        if (code->code[i].op == op) return true;
    return false;
}

/* The device's n-th phase, if it is simulated, relays in it and does not meet all others there;
 * else NULL. */
static const Phase *relaying_phase(const Sim *sim, int d, int n)
{
    const Code *code = &sim->program->devices[d];

    if (sim->twin[d] != d || n >= code->phase_count) return NULL;
    const Phase *phase = &code->phases[n];
    bool         relays = has_op(code, phase, OP_SEND) || has_op(code, phase, OP_RECV);
    return relays && !has_op(code, phase, OP_BARRIER) ? phase : NULL;
}

/* Where the device meets others in the phase; NO_GROUP: nowhere. */
static int group_of(const Code *code, const Phase *phase)
{
    for (int i = phase->first; i < phase->first + phase->count; i++)
        if (code->code[i].op == OP_ALLREDUCE) return code->code[i].link;
    return NO_GROUP;
}

/* A step of the phase: when it ends if nobody waits, and how much that varies for long. */
static StallArrival step_of(const Sim *sim, int d, const Phase *phase)
{
    const Instruction *code = sim->program->devices[d].code;
    const TraceStalls *stalls = stalls_of(sim, d);
    int64_t            work_ns = 0, moves_ns = 0;

    for (int i = phase->first; i < phase->first + phase->count; i++) {
        bool moves = sim->blocking && (code[i].op == OP_SEND || code[i].op == OP_ALLREDUCE);
        work_ns = time_plus(work_ns, stalls_own_ns(sim, d, i));
        if (moves) moves_ns = time_plus(moves_ns, sim->costs.device[d][i].ns);
    }
    double spread = stalls->lasting * (1 - stalls_share(stalls)) * (double)work_ns;
    return (StallArrival){time_plus(work_ns, moves_ns), 0, llround(spread),
                          sim->scenario->kinds[d], sim->twins[d]};
}

/* When the last of those with a step that meet in the group is expected; NO_GROUP: of all of them.
 * -1: no memory. */
static int64_t last_of(const Sim *sim, const RelayStep *steps, int group)
{
    StallArrival *list = sim->stalls.list;
    int           count = 0;
    int64_t       last_ns = 0;

    for (int d = 0; d < sim->program->device_count; d++) {
        if (!steps[d].phase || (group != NO_GROUP && steps[d].group != group)) continue;
        list[count++] = steps[d].end;
        last_ns = larger(last_ns, steps[d].end.at_ns);
    }
    int64_t wait_ns = stall_wait_ns(sim->stalls.waits, list, count);
    return wait_ns < 0 ? -1 : last_ns + wait_ns;
}

/* What devices with a step wait in each; -1: no memory. */
static int64_t wait_of(const Sim *sim, const RelayStep *steps)
{
    int64_t longest_ns = 0, all_ns = last_of(sim, steps, NO_GROUP);

    for (int d = 0; d < sim->program->device_count; d++)
        if (steps[d].phase) longest_ns = larger(longest_ns, steps[d].end.at_ns);
    for (int g = 0; g < sim->program->group_count; g++) {
        int64_t last_ns = last_of(sim, steps, g);
        if (last_ns < 0) return -1;
        longest_ns = larger(longest_ns, last_ns);
    }
    if (all_ns < 0) return -1;
    return all_ns > longest_ns ? all_ns - longest_ns : 0;
}

/* Adds it to the last work of each device's phase. Equal neighbours have one list of costs. */
static void add_wait(Sim *sim, const RelayStep *steps, int64_t wait_ns)
{
    const Cost *done = NULL;

    for (int d = 0; d < sim->program->device_count; d++) {
        const Phase *phase = steps[d].phase;
        const Code  *code = &sim->program->devices[d];
        if (!phase || sim->costs.device[d] == done) continue;
        done = sim->costs.device[d];
        for (int i = phase->first + phase->count - 1; i >= phase->first; i--) {
            if (!op_computes(code->code[i].op)) continue;
            sim->costs.device[d][i].ns += wait_ns;
            sim->costs.device[d][i].wait_ns += wait_ns;
            break;
        }
    }
}

int stalls_add_relays(Sim *sim)
{
    int count = sim->program->device_count, phases = 0, rc = 0;

    if (sim->program->channel_count == 0 || !any_lasts(sim)) return 0;
    RelayStep *steps = calloc((size_t)count, sizeof *steps);
    if (!steps) return error_no_memory(sim->err);
    for (int d = 0; d < count; d++)
        phases = (int)larger(phases, sim->program->devices[d].phase_count);
    for (int n = 0; n < phases && rc == 0; n++) {
        for (int d = 0; d < count; d++) {
            const Phase *phase = steps[d].phase = relaying_phase(sim, d, n);
            if (!phase) continue;
            steps[d].end = step_of(sim, d, phase);
            steps[d].group = group_of(&sim->program->devices[d], phase);
        }
        int64_t wait_ns = wait_of(sim, steps);
        if (wait_ns < 0) rc = error_no_memory(sim->err);
        else if (wait_ns > 0) add_wait(sim, steps, wait_ns);
    }
    free(steps);
    return rc;
}
