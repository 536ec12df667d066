#include "sim/costs.h"

#include <stdlib.h>

int transfer_core_ns(const Program *p, const Scenario *s, const Instruction *in, int64_t *ns,
                     Error *err)
{
    *ns = 0;
    if (in->op != OP_SEND && in->op != OP_RECV && in->op != OP_ALLREDUCE) return 0;
    if (in->op == OP_ALLREDUCE)
        return scenario_student_allreduce_core(s, p->groups[in->link].devices,
                                               p->groups[in->link].count, in->block, in->student,
                                               ns, err);
    return scenario_p2p_core(s, in->op == OP_SEND ? SENDER_CORE : RECEIVER_CORE,
                             p->channels[in->link].from, p->channels[in->link].to, in->block,
                             in->rows, ns, err);
}

/* What the trace says of an instruction of a device. RECV, BARRIER and what the store does take
 * none of its time: the engine makes it wait. */
static int cost_of(const Program *p, const Scenario *s, const Instruction *in, int device,
                   Cost *out, Error *err)
{
    static const Work work_of[OP_COUNT] = {[OP_TEACHER] = WORK_TEACHER,
                                           [OP_FORWARD] = WORK_FORWARD,
                                           [OP_BACKWARD] = WORK_BACKWARD,
                                           [OP_UPDATE] = WORK_UPDATE};

    *out = (Cost){0};
    if (transfer_core_ns(p, s, in, &out->core_ns, err) != 0) return -1;
    switch (in->op) {
    case OP_LOAD:
        out->ns = scenario_load_ns(s, in->rows);
        return 0;
    case OP_SEND:
        return scenario_p2p(s, p->channels[in->link].from, p->channels[in->link].to, in->block,
                            in->rows, &out->ns, err);
    case OP_ALLREDUCE:
        return scenario_student_allreduce(s, p->groups[in->link].devices, p->groups[in->link].count,
                                          in->block, in->student, &out->ns, err);
    case OP_RECV:
    case OP_BARRIER:
    case OP_STORE:
    case OP_FETCH:
    case OP_ONLOAD:
    case OP_OFFLOAD:
        return 0;
    default:
        return scenario_student_work(s, work_of[in->op], in->block, in->student, device, in->rows,
                                     out, err);
    }
}

/* Whether a step of the phase trains one block and exchanges nothing: dp and ls. */
static bool trains_alone(const Code *code, const Phase *phase)
{
    int block = -1;

    for (int i = phase->first; i < phase->first + phase->count; i++) {
        const Instruction *in = &code->code[i];
        if (in->op == OP_SEND || in->op == OP_RECV) return false;
        if (in->op == OP_FORWARD && block >= 0 && in->block != block) return false;
        if (in->op == OP_FORWARD) block = in->block;
    }
    return block >= 0;
}

/* A step's own time (trace.step_ns) goes with the last work of the phase on the device, its update
 * where it trains. -1: nothing is computed. */
static int last_work(const Code *code, const Phase *phase)
{
    for (int i = phase->first + phase->count - 1; i >= phase->first; i--)
        if (op_computes(code->code[i].op)) return i;
    return -1;
}

static int fill(Cost **out, const Program *p, const Scenario *s, const Code *code, int device,
                Error *err)
{
    Scenario placed = *s;

    *out = calloc((size_t)code->code_count + 1, sizeof **out);
    if (!*out) return error_no_memory(err);
    for (int n = 0; n < code->phase_count; n++) {
        const Phase *phase = &code->phases[n];
        placed.single_block = trains_alone(code, phase);
        for (int i = phase->first; i < phase->first + phase->count; i++)
            if (cost_of(p, &placed, &code->code[i], device, &(*out)[i], err) != 0) return -1;
        int last = last_work(code, phase);
        if (last >= 0) (*out)[last].ns += s->trace->step_ns;
    }
    return 0;
}

/* Whether neither of devices d and d - 1 is faster. */
static bool is_like_the_last(const Scenario *s, const double *load, int d)
{
    return d > 0 && scenario_same_speed(s, d, d - 1) && (!load || load[d] == load[d - 1]);
}

/* Costs of device d, its own and those of the queue; the device before shares its where they are
 * the same. */
static int fill_device(Costs *out, const Program *p, const Scenario *s, const double *load, int d,
                       Error *err)
{
    bool like = is_like_the_last(s, load, d);

    if (like && code_matches(&p->devices[d], &p->devices[d - 1]))
        out->device[d] = out->device[d - 1];
    else if (fill(&out->device[d], p, s, &p->devices[d], d, err) != 0)
        return -1;
    if (p->queue.phase_count == 0) return 0;
    if (!like) return fill(&out->queue[d], p, s, &p->queue, d, err);
    out->queue[d] = out->queue[d - 1];
    return 0;
}

int costs_build(Costs *out, const Program *program, const Scenario *scenario, const double *load,
                Error *err)
{
    size_t   n = (size_t)program->device_count;
    Scenario loaded = *scenario;

    *out = (Costs){.device_count = program->device_count};
    out->device = calloc(n, sizeof *out->device);
    out->queue = calloc(n, sizeof *out->queue);
    if (!out->device || !out->queue) { costs_free(out); return error_no_memory(err); }
    for (int d = 0; d < program->device_count; d++) {
        if (load) loaded.load = load[d];
        if (fill_device(out, program, &loaded, load, d, err) == 0) continue;
        costs_free(out);
        return -1;
    }
    if (storage_costs_build(&out->storage, program, scenario, err) == 0) return 0;
    costs_free(out);
    return -1;
}

void costs_free(Costs *costs)
{
    for (int d = 0; d < costs->device_count; d++) {
        if (costs->device && (d == 0 || costs->device[d] != costs->device[d - 1]))
            free(costs->device[d]);
        if (costs->queue && (d == 0 || costs->queue[d] != costs->queue[d - 1]))
            free(costs->queue[d]);
    }
    storage_costs_free(&costs->storage, costs->device_count);
    free(costs->device);
    free(costs->queue);
    *costs = (Costs){0};
}
