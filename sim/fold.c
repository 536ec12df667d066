/* Devices that cannot differ are simulated once.
 *
 *     device 0  | T T T F B A F B A U U |      the same instructions at the same costs, and nothing
 *     device 1  | T T T F B A F B A U U |      shared but groups that all of them are in: what one
 *     device 2  | T T T F B A F B A U U |      does the others do at the same time
 *
 * One of them, the twin of the others, stands for all. An all-reduce or barrier begins when the
 * last of its group arrives, which is when the last of its twins does. Not where devices load from
 * lanes, send, receive or store: there at equal times the lower number goes first. */
#include "sim/engine.h"

#include <stdlib.h>

static bool is_plain(const Sim *sim, const Code *code)
{
    for (int i = 0; i < code->code_count; i++) {
        Op op = code->code[i].op;
        if (op == OP_SEND || op == OP_RECV || op_stores(op)) return false;
        if (op == OP_LOAD && sim->lane_count > 0) return false;
    }
    return code->phase_count > 0;
}

static bool same_costs(const Cost *a, const Cost *b, int count)
{
    for (int i = 0; i < count; i++)
        if (a[i].ns != b[i].ns || a[i].core_ns != b[i].core_ns) return false;
    return true;
}

/* Of kinds of devices that are stalled differently one may wait for the other. */
static bool same_stalls(const Sim *sim, int d, int e)
{
    const Scenario *s = sim->scenario;

    return s->kinds[d] == s->kinds[e] || !trace_has_stalls(s->trace);
}

static bool same_begin(const Sim *sim, int d, int e)
{
    const int64_t *begin_ns = sim->options->begin_ns;

    return !begin_ns || begin_ns[d] == begin_ns[e];
}

static bool shows_spans(const Sim *sim, int d)
{
    return sim->options->record && (!sim->options->recorded || sim->options->recorded[d]);
}

/* The latest devices that are simulated and may stand for others. Only a few: where there are many
 * kinds of devices, little is saved. */
typedef struct {
    int device[4], count;
} LatestKinds;

/* The device that d cannot differ from, d itself where there is none in kinds, which then has
 * it. */
static int twin_of(const Sim *sim, LatestKinds *kinds, int d)
{
    enum { ROOM = sizeof kinds->device / sizeof *kinds->device };
    const Program *p = sim->program;

    if (shows_spans(sim, d) || !is_plain(sim, &p->devices[d])) return d;
    for (int i = 0; i < kinds->count && i < ROOM; i++) {
        int e = kinds->device[i];
        if (same_stalls(sim, d, e) && same_begin(sim, d, e)
            && code_matches(&p->devices[d], &p->devices[e])
            && same_costs(sim->costs.device[d], sim->costs.device[e], p->devices[d].code_count))
            return e;
    }
    kinds->device[kinds->count++ % ROOM] = d;
    return d;
}

/* The group's members that are simulated: of an excerpt those that have code. */
static int fold_group(Group *out, const Sim *sim, const Group *group)
{
    out->devices = malloc(((size_t)group->count + 1) * sizeof *out->devices);
    if (!out->devices) return -1;
    out->count = 0;
    for (int i = 0; i < group->count; i++)
        if (sim->twin[group->devices[i]] == group->devices[i]
            && sim->program->devices[group->devices[i]].phase_count > 0)
            out->devices[out->count++] = group->devices[i];
    return 0;
}

/* A twin stands for the others only where it is a member of the group too, which it is, as their
 * instructions name the same groups. */
int fold_new(Sim *sim)
{
    const Program *p = sim->program;
    size_t         n = (size_t)p->device_count;
    bool           folds = !sim->options->step_by_step && !sim->options->jitter
                 && p->queue.phase_count == 0 && !sim->storage.used;
    LatestKinds          kinds = {0};

    sim->twin = malloc(n * sizeof *sim->twin);
    sim->twins = calloc(n, sizeof *sim->twins);
    sim->groups = calloc((size_t)p->group_count + 1, sizeof *sim->groups);
    if (!sim->twin || !sim->twins || !sim->groups) return error_no_memory(sim->err);
    for (int d = 0; d < p->device_count; d++) {
        sim->twin[d] = folds ? twin_of(sim, &kinds, d) : d;
        sim->twins[sim->twin[d]] += sim->options->stands_for ? sim->options->stands_for[d] : 1;
    }
    for (int g = 0; g < p->group_count; g++)
        if (fold_group(&sim->groups[g], sim, &p->groups[g]) != 0) return error_no_memory(sim->err);
    return 0;
}

void fold_free(Sim *sim)
{
    for (int g = 0; sim->groups && g < sim->program->group_count; g++) free(sim->groups[g].devices);
    free(sim->groups);
    free(sim->twin);
    free(sim->twins);
}
