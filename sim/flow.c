/* Runs in which nobody competes, step by step and without a clock.
 *
 *     stage 0   | RECV  TEACHER  SEND  students  UPDATE |     when a step of a stage ends is a
 *     stage 1     | RECV  TEACHER  SEND  students  UPD..|     maximum of sums of what came before:
 *                                                              what it received, its step before,
 *                                                              and where its messages found room
 *
 * The engine takes events in the order of time as at a shared resource the first comes first. In a
 * chain of stages with a loader for each there is one such resource, the copy-in lane of a device
 * that receives from several. So a step of all stages is evaluated from the first to the last, each
 * time once, and only the messages between two stages are put in order, by the engine's rules.
 * Where that order could depend on the next step, or on which of two things at the same time comes
 * first, the engine simulates the run instead.
 *
 * It does so too where the run repeats, as it then skips periods (sim/steady.c): results say how
 * much was simulated, so what is evaluated here must be what the engine would not have skipped.
 * That is so when for no two steps that steady.c would compare all that comes after the one is what
 * comes after the other, later by the same time. */
#include "sim/flow.h"

#include <string.h>

enum { STEPS_MOST = 1 << 13, FIRST_LOOK = 16 };

#define ENDS_MOST ((int64_t)1 << 21)     /* steps of all devices */
#define STEP_MOST ((int64_t)1 << 40)     /* ns of one step's own work and messages */

/* ---- from a program ------------------------------------------------------------------ */

/* A device's step, which must be a load or what it receives, compute, what it sends, students with
 * their all-reduces, and updates, in this order; false: it is not. */
static bool fill_device(Flow *f, FlowDevice *dev)
{
    enum { RECEIVE, BEFORE, SEND, STUDENTS, UPDATE } at = RECEIVE;
    const Sim  *sim = f->sim;
    const Code *code = &sim->program->devices[dev->device];
    const Cost *cost = sim->costs.device[dev->device];
    const int  *slot = sim->reduce_slot[dev->device];
    int64_t     all = 0;

    for (int i = 0; i < code->code_count; i++) {
        const Instruction *in = &code->code[i];
        int64_t            ns = cost[i].ns;
        if (ns < 0 || ns > STEP_MOST - all) return false;
        all += ns;
        switch (in->op) {
        case OP_LOAD:
            if (i > 0) return false;
            if (sim->lane_count > 0) dev->load_ns = ns;
            break;
        case OP_RECV:
            if (at != RECEIVE) return false;
            dev->receives[dev->receive_count++] = in->link;
            break;
        case OP_SEND:
            if (at > SEND) return false;
            at = SEND;
            dev->sends[dev->send_count++] =
                (FlowMessage){sim->program->channels[in->link].to, in->link, 0, ns};
            break;
        case OP_ALLREDUCE:
            if (at == UPDATE) return false;
            at = STUDENTS;
            dev->sums_ns[dev->reduce_count] = ns;
            dev->slots[dev->reduce_count++] = slot[i];
            break;
        case OP_TEACHER:
        case OP_FORWARD:
        case OP_BACKWARD:
        case OP_UPDATE:
            if (in->op == OP_UPDATE && slot[i] >= 0) at = UPDATE;
            dev->share_ns[compute_share(in->op)] += ns - cost[i].wait_ns;
            dev->share_ns[SHARE_WAIT] += cost[i].wait_ns;
            if (at == UPDATE)
                dev->updates[dev->update_count++] =
                    (FlowUpdate){ns, in->op == OP_UPDATE ? slot[i] : -1};
            else if (at <= BEFORE) { at = BEFORE; dev->before_ns += ns; }
            else { at = STUDENTS; dev->parts[dev->reduce_count] += ns; }
            break;
        default:
            return false;
        }
    }
    return true;
}

static bool make_device(Flow *f, FlowDevice *dev)
{
    size_t n = (size_t)f->sim->program->devices[dev->device].code_count + 1;

    dev->receives = arena_alloc(&f->arena, n, sizeof *dev->receives);
    dev->sends = arena_alloc(&f->arena, n, sizeof *dev->sends);
    dev->slots = arena_alloc(&f->arena, n, sizeof *dev->slots);
    dev->sums_ns = arena_alloc(&f->arena, n, sizeof *dev->sums_ns);
    dev->parts = arena_alloc(&f->arena, n, sizeof *dev->parts);
    dev->updates = arena_alloc(&f->arena, n, sizeof *dev->updates);
    return dev->receives && dev->sends && dev->slots && dev->sums_ns && dev->parts
           && dev->updates && fill_device(f, dev);
}

/* Where a message is received, and whether its receiver has others. */
static bool place_messages(Flow *f, FlowUnit *unit)
{
    for (int m = 0; m < unit->count; m++) {
        FlowDevice *dev = &f->devices[unit->members[m]];
        for (int i = 0; i < dev->send_count; i++) {
            const FlowDevice *to = &f->devices[f->index[dev->sends[i].to]];
            while (dev->sends[i].place < to->receive_count
                   && to->receives[dev->sends[i].place] != dev->sends[i].channel)
                dev->sends[i].place++;
            if (dev->sends[i].place == to->receive_count) return false;
            unit->merges |= to->receive_count > 1;
        }
    }
    /* At the same time, which comes first? And teachers that take no time post at once. */
    for (int m = 0; m < unit->count && unit->merges; m++) {
        FlowDevice *dev = &f->devices[unit->members[m]];
        if (dev->before_ns == 0) return false;
        for (int i = 0; i < dev->send_count; i++)
            if (dev->sends[i].ns == 0) return false;
    }
    return true;
}

/* Members of a unit meet in the same all-reduces. */
static bool same_slots(const Flow *f, const FlowUnit *unit)
{
    const FlowDevice *one = &f->devices[unit->members[0]];

    for (int m = 1; m < unit->count; m++) {
        const FlowDevice *dev = &f->devices[unit->members[m]];
        if (dev->reduce_count != one->reduce_count
            || memcmp(dev->slots, one->slots, (size_t)one->reduce_count * sizeof *one->slots) != 0)
            return false;
    }
    /* Posts of a step come before those of the next only where members meet in each. */
    return !unit->merges || unit->count == 1 || one->reduce_count > 0;
}

/* Devices by the group of their all-reduces; unit_of: [count]. */
static bool find_units(Flow *f, int *unit_of)
{
    const Program *p = f->sim->program;
    int            used = 0;

    for (int i = 0; i < f->count; i++) unit_of[i] = -1;
    for (int i = 0; i < f->count; i++) {
        const Code *code = &p->devices[f->devices[i].device];
        int         group = -1;
        for (int at = 0; at < code->code_count; at++) {
            if (code->code[at].op != OP_ALLREDUCE) continue;
            if (group >= 0 && group != code->code[at].link) return false;
            group = code->code[at].link;
        }
        if (unit_of[i] >= 0) {
            if (f->units[unit_of[i]].group != group) return false;
            continue;
        }
        FlowUnit *unit = &f->units[f->unit_count];
        *unit = (FlowUnit){f->members + used, 0, group, -1, -1, false, -1};
        for (int k = 0; k < (group < 0 ? 1 : p->groups[group].count); k++) {
            int member = group < 0 ? i : f->index[p->groups[group].devices[k]];
            if (member < 0 || unit_of[member] >= 0) return false;
            unit_of[member] = f->unit_count;
            unit->members[unit->count++] = member;
            used++;
        }
        f->unit_count++;
    }
    return true;
}

/* Links units into chains by their messages, and puts them in order. */
static bool order_units(Flow *f, const int *unit_of)
{
    const Program *p = f->sim->program;
    FlowUnit      *sorted = arena_alloc(&f->arena, (size_t)f->unit_count, sizeof *sorted);
    int            count = 0;

    if (!sorted) return false;
    for (int c = 0; c < p->channel_count; c++) {
        int from = f->index[p->channels[c].from], to = f->index[p->channels[c].to];
        if (from < 0 || to < 0) return false;
        from = unit_of[from];
        to = unit_of[to];
        if (from == to || (f->units[from].next >= 0 && f->units[from].next != to)
            || (f->units[to].before >= 0 && f->units[to].before != from))
            return false;
        f->units[from].next = to;
        f->units[to].before = from;
    }
    for (int u = 0; u < f->unit_count; u++)
        for (int v = f->units[u].before < 0 ? u : -1; v >= 0; v = f->units[v].next)
            sorted[count++] = f->units[v];
    if (count != f->unit_count) return false;            /* a circle */
    f->units = sorted;
    return true;
}

/* Whether the run can be evaluated so at all. */
static bool suits(const Sim *sim)
{
    const Program *p = sim->program;
    int64_t        steps = 0, loading = 0, active = 0;

    if (!sim->steady || sim->options->way == SIM_BY_EVENTS) return false;
    if (sim->options->begin_ns) return false;
    if (sim->stalls.waits && p->group_count > 0) return false;
    if (sim->scenario->trace->transfers_on_device) return false;     /* sends are not posted at
                                                                      * once */
    if (sim->blocking || sim->storage.used || p->queue.phase_count > 0 || p->channel_count == 0)
        return false;
    for (int d = 0; d < p->device_count; d++) {
        const Code *code = &p->devices[d];
        if (sim->twin[d] != d || code->phase_count > 1) return false;
        if (code->phase_count == 0) continue;
        if (active++ && code->phases[0].steps != steps) return false;
        steps = code->phases[0].steps;
        loading += code->code[0].op == OP_LOAD;
    }
    if (sim->lane_count > 0 && (loading > 1 || sim->prefetch > 0)) return false;
    return active > 0 && steps >= 2 && steps <= STEPS_MOST && steps * active <= ENDS_MOST;
}

/* All that a run needs; false: not this one, or without memory. */
static bool flow_new(Flow *f)
{
    const Program *p = f->sim->program;
    size_t         n = (size_t)p->device_count, channels = (size_t)p->channel_count;
    int           *unit_of = arena_alloc(&f->arena, n, sizeof *unit_of);

    f->devices = arena_alloc(&f->arena, n, sizeof *f->devices);
    f->index = arena_alloc(&f->arena, n, sizeof *f->index);
    f->units = arena_alloc(&f->arena, n, sizeof *f->units);
    f->members = arena_alloc(&f->arena, n, sizeof *f->members);
    f->arrival_ns = arena_alloc(&f->arena, channels, sizeof *f->arrival_ns);
    f->taken_ns = arena_alloc(&f->arena, channels * (size_t)f->sim->depth, sizeof *f->taken_ns);
    f->in_free_ns = arena_alloc(&f->arena, n, sizeof *f->in_free_ns);
    f->reduce_ns =
        arena_alloc(&f->arena, (size_t)f->sim->reduce_slot_count, sizeof *f->reduce_ns);
    if (!unit_of || !f->devices || !f->index || !f->units || !f->members || !f->arrival_ns
        || !f->taken_ns || !f->in_free_ns || !f->reduce_ns)
        return false;
    for (int d = 0; d < p->device_count; d++) {
        f->index[d] = -1;
        if (p->devices[d].phase_count == 0) continue;
        f->steps = (int)p->devices[d].phases[0].steps;
        f->index[d] = f->count;
        f->devices[f->count].device = d;
        if (!make_device(f, &f->devices[f->count++])) return false;
    }
    if (!find_units(f, unit_of) || !order_units(f, unit_of)) return false;
    for (int u = 0; u < f->unit_count; u++)
        if (!place_messages(f, &f->units[u]) || !same_slots(f, &f->units[u])) return false;
    return true;
}

/* ---- messages of a step -------------------------------------------------------------- */

static void start(Flow *f, FlowDevice *dev, int64_t ns)
{
    const FlowMessage *m = &dev->sends[dev->next_send++];

    dev->sent_ns = f->in_free_ns[m->to] = f->arrival_ns[m->channel] = ns + m->ns;
}

/* Each receiver has one sender: a message starts when it is asked for, the ones before it have
 * left, and its queue has room. */
static void send_in_turn(Flow *f, const FlowUnit *unit, int step)
{
    for (int k = 0; k < unit->count; k++) {
        FlowDevice *dev = &f->devices[unit->members[k]];
        int64_t     t = dev->posted_ns;
        for (int i = 0; i < dev->send_count; i++) {
            int64_t room = *flow_taken(f, dev->sends[i].channel, step);
            if (room > t) t = room;
            start(f, dev, t);
            t = dev->sent_ns;
        }
    }
}

/* Why a message can start when it can. */
typedef enum { WHEN_POSTED, WHEN_ROOM, WHEN_LEFT, WHEN_SEVERAL } FlowReason;

/* The sender's next message: when it can start but for the receiver's lane. */
static int64_t ready_at(Flow *f, const FlowDevice *dev, int step, FlowReason *why)
{
    int64_t post = dev->posted_ns, room = *flow_taken(f, dev->sends[dev->next_send].channel, step),
            left = dev->next_send > 0 ? dev->sent_ns : -1, t = post;

    if (room > t) t = room;
    if (left > t) t = left;
    *why = (t == post) + (t == room) + (t == left) > 1 ? WHEN_SEVERAL
           : t == post                                 ? WHEN_POSTED
           : t == room                                 ? WHEN_ROOM
                                                       : WHEN_LEFT;
    return t;
}

/* Of two that can start at t at a lane that is free from free_ns on, whether b comes first: 1, 0;
 * -1: that depends on what else happens then. A lane that gets free takes what was asked for
 * first, then the lower channel; a free one what comes first. */
static int comes_first(Flow *f, const FlowDevice *a, const FlowDevice *b, int64_t t,
                       int64_t free_ns, int step)
{
    const FlowMessage *m = &a->sends[a->next_send], *n = &b->sends[b->next_send];
    FlowReason         why_a, why_b;
    int64_t            ready_a = ready_at(f, a, step, &why_a),
                       ready_b = ready_at(f, b, step, &why_b);

    if (t == free_ns) {
        if (ready_a == t || ready_b == t) return -1;
        return b->posted_ns != a->posted_ns ? b->posted_ns < a->posted_ns : n->channel < m->channel;
    }
    if (why_a != why_b) return -1;
    if (why_a == WHEN_POSTED) return b->device < a->device;
    return why_a == WHEN_ROOM ? n->place < m->place : -1;
}

/* The sender whose message starts next, at *t; NULL: none is left. *sure: the engine would take it
 * too. */
static FlowDevice *next_to_start(Flow *f, const FlowUnit *unit, int step, int64_t *t, bool *sure)
{
    FlowDevice *best = NULL;

    *sure = true;
    for (int k = 0; k < unit->count; k++) {
        FlowDevice *dev = &f->devices[unit->members[k]];
        FlowReason  why;
        if (dev->next_send == dev->send_count) continue;
        int     to = dev->sends[dev->next_send].to;
        int64_t at = ready_at(f, dev, step, &why);
        if (f->in_free_ns[to] > at) at = f->in_free_ns[to];
        if (best && at > *t) continue;
        if (best && at == *t) {
            if (to != best->sends[best->next_send].to) continue;
            int first = comes_first(f, best, dev, at, f->in_free_ns[to], step);
            if (first < 0) *sure = false;
            if (first <= 0) continue;
        } else {
            *sure = true;
        }
        best = dev;
        *t = at;
    }
    return best;
}

/* False: their order is not known. */
static bool send_merged(Flow *f, FlowUnit *unit, int step)
{
    int64_t     t = 0, last = unit->last_start_ns;
    FlowDevice *dev;
    bool        sure;

    for (int k = 0; k < unit->count; k++)        /* might have come before one of the last step */
        if (f->devices[unit->members[k]].posted_ns <= last) return false;
    while ((dev = next_to_start(f, unit, step, &t, &sure))) {
        if (!sure) return false;
        start(f, dev, t);
        if (t > unit->last_start_ns) unit->last_start_ns = t;
    }
    return true;
}

/* ---- a step ----------------------------------------------------------------------------- */

/* The device stands still until then, if that is later than *t. */
static void wait_until(Flow *f, const FlowDevice *dev, int64_t *t, int64_t until, TimeShare share)
{
    if (until <= *t) return;
    f->sim->devices[dev->device].share_ns[share] += until - *t;
    *t = until;
}

static void begin_step(Flow *f, FlowDevice *dev, int step)
{
    int64_t t = dev->end_ns + dev->load_ns;

    for (int i = 0; i < dev->receive_count; i++) {
        wait_until(f, dev, &t, f->arrival_ns[dev->receives[i]], SHARE_WAIT);
        *flow_taken(f, dev->receives[i], step) = t;
    }
    dev->posted_ns = dev->sent_ns = t + dev->before_ns;
    dev->next_send = 0;
}

/* When students are done, and the unit's all-reduces, each of which begins when the last member
 * comes and the one before has ended. */
static void sum_gradients(Flow *f, const FlowUnit *unit)
{
    const FlowDevice *one = &f->devices[unit->members[0]];

    for (int i = 0; i < one->reduce_count; i++) f->reduce_ns[one->slots[i]] = 0;
    for (int k = 0; k < unit->count; k++) {
        FlowDevice *dev = &f->devices[unit->members[k]];
        int64_t     t = dev->posted_ns;
        for (int i = 0; i < dev->reduce_count; i++) {
            t += dev->parts[i];
            if (t > f->reduce_ns[dev->slots[i]]) f->reduce_ns[dev->slots[i]] = t;
        }
        dev->ready_ns = t + dev->parts[dev->reduce_count];
    }
    if (unit->group < 0) return;
    int64_t *lane = &f->sim->meets[unit->group].lane_free_ns;
    for (int i = 0; i < one->reduce_count; i++) {
        int64_t *end = &f->reduce_ns[one->slots[i]];
        if (*lane > *end) *end = *lane;
        *lane = *end += one->sums_ns[i];
    }
}

static void end_step(Flow *f, FlowDevice *dev, int step)
{
    int64_t t = dev->ready_ns;

    for (int i = 0; i < dev->update_count; i++) {
        if (dev->updates[i].slot >= 0)
            wait_until(f, dev, &t, f->reduce_ns[dev->updates[i].slot], SHARE_ALLREDUCE);
        t += dev->updates[i].ns;
    }
    wait_until(f, dev, &t, dev->sent_ns, SHARE_WAIT);
    dev->end_ns = t;
    if (dev->ends) dev->ends[step] = t;
}

/* False: not known, or too long. */
static bool run_step(Flow *f, int step)
{
    int64_t last = 0;

    for (int u = 0; u < f->unit_count; u++) {
        FlowUnit *unit = &f->units[u];
        for (int k = 0; k < unit->count; k++) begin_step(f, &f->devices[unit->members[k]], step);
        if (!unit->merges) send_in_turn(f, unit, step);
        else if (!send_merged(f, unit, step)) return false;
        sum_gradients(f, unit);
        for (int k = 0; k < unit->count; k++) {
            end_step(f, &f->devices[unit->members[k]], step);
            if (f->devices[unit->members[k]].end_ns > last)
                last = f->devices[unit->members[k]].end_ns;
        }
    }
    return last < TIME_LIMIT_NS / 4;
}

/* ---- a run --------------------------------------------------------------------------------- */

/* Puts what the engine would have put there. */
static void hand_over(Flow *f)
{
    for (int i = 0; i < f->count; i++) {
        const FlowDevice *from = &f->devices[i];
        SimDevice        *dev = &f->sim->devices[from->device];
        for (int k = 0; k < SHARE_COUNT; k++) dev->share_ns[k] += from->share_ns[k] * f->steps;
        dev->share_ns[SHARE_LOAD] += from->load_ns * f->steps;
        dev->since_ns = from->end_ns;
        int64_t count = f->sim->program->devices[from->device].code_count;
        f->sim->simulated += count * (f->steps - f->skipped);
        f->sim->skipped += count * f->skipped;
    }
}

/* As the engine found it. */
static void reset(Flow *f)
{
    for (int i = 0; f->devices && i < f->count; i++)
        memset(f->sim->devices[f->devices[i].device].share_ns, 0,
               sizeof f->sim->devices[0].share_ns);
    for (int u = 0; f->units && u < f->unit_count; u++)
        if (f->units[u].group >= 0) f->sim->meets[f->units[u].group].lane_free_ns = 0;
}

/* Room for the ends of all steps. */
static bool keep_ends(Flow *f)
{
    int64_t *ends = arena_alloc(&f->arena, (size_t)f->count * (size_t)f->steps, sizeof *ends);

    for (int i = 0; ends && i < f->count; i++)
        f->devices[i].ends = ends + (size_t)i * (size_t)f->steps;
    return ends;
}

/* As if the engine had simulated all: false where it would have skipped some. */
static bool run_as_engine(Flow *f)
{
    if (!keep_ends(f)) return false;
    for (int step = 0, look = FIRST_LOOK; step < f->steps; step++) {
        if (!run_step(f, step)) return false;
        if (step + 1 != look) continue;
        if (flow_has_settled(f, step + 1)) return false;
        look *= 2;
    }
    return !flow_may_repeat(f);
}

static bool run_skipping(Flow *f)
{
    FlowState state;

    if (!flow_state_new(&state, f)) return false;
    for (int step = 0; step < f->steps; step++)
        if (!run_step(f, step) || !flow_skip(&state, f, &step)) return false;
    return true;
}

bool flow_run(Sim *sim)
{
    Flow f = {.sim = sim};
    bool good;

    if (!suits(sim)) return false;
    good = flow_new(&f)
           && (sim->options->way == SIM_IN_ORDER ? run_skipping(&f) : run_as_engine(&f));
    if (good) hand_over(&f);
    else      reset(&f);
    arena_free(&f.arena);
    return good;
}
