/* Between what a run certainly takes, for runs that are too long to simulate: docs/model.md derives
 * both sides.
 *
 * From below: a lane does one thing at a time. A device computes, a link's end copies, a group sums
 * and the loader's workers load what they have to, so the run is no shorter than the busiest of
 * them.
 *
 * From above: a timetable that the run is never behind.
 *
 *     round      |  0   |  1   |  2   |  3   |        a device does one step a round, so many
 *     rounds
 *     stage 0    | s 0  | s 1  | s 2  |      |        after those that send to it that all it needs
 *     stage 1    |      | s 0  | s 1  | s 2  |        is there when the round begins; a round is as
 *                                                     long as the longest step in it
 *
 * Where stages cannot be apart so, all do the same step in a round. What the order of events
 * decides, how long a batch waits for a worker or a message for the lane into a device, has the
 * most that can be ahead of it.
 *
 * And no run takes longer than all its work one after another. */
#include "sim/bounds.h"

#include <stdlib.h>

#include "base/minmax.h"

typedef struct {
    Sim         *sim;
    const Costs *costs;
    int         *part;           /* [devices] the least of those that it meets, directly or not */
    int64_t     *loading_ns;     /* [devices] the most that a batch takes from being asked for on */
} Bounds;

/* ---- sums that stay within what fits ------------------------------------------------- */

static int64_t plus(int64_t a, int64_t b)
{
    return a > TIME_LIMIT_NS - b ? TIME_LIMIT_NS : a + b;
}

static int64_t times(int64_t count, int64_t ns)
{
    int64_t all;

    return __builtin_mul_overflow(count, ns, &all) || all > TIME_LIMIT_NS ? TIME_LIMIT_NS : all;
}

static int64_t parts_of(int64_t ns, int64_t count) { return (ns + count - 1) / count; }

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
        step = plus(step, own_ns(sim, code->code[i].op, &cost[i]));
        if (code->code[i].op == OP_LOAD && sim->lane_count > 0) load = cost[i].ns;
    }
    int64_t own = times(phase->steps, step);
    if (load == 0 || sim->prefetch == 0) return own;
    return larger(own, plus(times((phase->steps - 1) / sim->prefetch + 1, load), step));
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
        int64_t            ns = times(phase->steps, cost[i].ns);
        if (in->op == OP_LOAD && sim->lane_count > 0) sums->loader = plus(sums->loader, ns);
        if (in->op == OP_SEND) {
            int to = sim->program->channels[in->link].to;
            sums->out[device] = plus(sums->out[device], ns);
            sums->in[to] = plus(sums->in[to], ns);
        }
        if (in->op == OP_ALLREDUCE && sim->groups[in->link].devices[0] == device)
            sums->group[in->link] = plus(sums->group[in->link], ns);
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
static int64_t queue_least(const Bounds *b, int64_t own, LaneSums *sums)
{
    const Program *p = b->sim->program;
    int64_t        longest = 0;

    for (int f = 0; f < p->queue.phase_count; f++) {
        int64_t least = INT64_MAX;
        for (int d = 0; d < p->device_count; d++)
            least = smaller(least, bounds_phase_least(b->sim, &p->queue, &p->queue.phases[f],
                                               b->costs->queue[d]));
        add_lanes(sums, b->sim, &p->queue, &p->queue.phases[f], b->costs->queue[0], 0);
        own = plus(own, least);
        longest = larger(longest, least);
    }
    return larger(longest, own / p->device_count);
}

/* *out: no run is shorter. -1: without memory. */
static int find_least(int64_t *out, const Bounds *b)
{
    const Program *p = b->sim->program;
    size_t         n = (size_t)p->device_count;
    int64_t        most = 0, all = 0;
    LaneSums       sums = {.out = calloc(n, sizeof *sums.out), .in = calloc(n, sizeof *sums.in),
                           .group = calloc((size_t)p->group_count + 1, sizeof *sums.group)};
    bool           good = sums.out && sums.in && sums.group;

    for (int d = 0; d < p->device_count && good; d++) {
        int64_t own = 0;
        for (int f = 0; f < p->devices[d].phase_count; f++) {
            const Phase *phase = &p->devices[d].phases[f];
            own = plus(own, bounds_phase_least(b->sim, &p->devices[d], phase, b->costs->device[d]));
            add_lanes(&sums, b->sim, &p->devices[d], phase, b->costs->device[d], d);
        }
        most = larger(most, own);
        all = plus(all, own);
    }
    if (good) *out = larger(larger(most, queue_least(b, all, &sums)), busiest_lane(b->sim, &sums));
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
        sum =
            plus(sum, plus(storage_most_ns(sim, &costs->requests[r]), costs->requests[r].link_ns));
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
        if (stores && op_stores(op)) ns = plus(ns, requests_most(sim, d, i));
        sum = plus(sum, op == OP_ONLOAD || op == OP_OFFLOAD ? ns : times(phase->steps, ns));
    }
    return sum;
}

/* What lies between the parts of a program that stores. */
static int64_t between_parts(const Sim *sim)
{
    if (!sim->storage.used) return 0;
    return times(sim->storage.part[program_numbers(sim->program) - 1],
                 sim->scenario->trace->part_ns);
}

static int64_t find_serial(const Bounds *b)
{
    const Program *p = b->sim->program;
    int64_t        sum = between_parts(b->sim);

    for (int d = 0; d < p->device_count; d++)
        for (int f = 0; f < p->devices[d].phase_count; f++)
            sum = plus(sum, phase_serial(b->sim, d, &p->devices[d], f, b->costs->device[d]));
    for (int f = 0; f < p->queue.phase_count; f++) {
        int64_t most = 0;
        for (int d = 0; d < p->device_count; d++)
            most = larger(most, phase_serial(b->sim, d, &p->queue, f, b->costs->queue[d]));
        sum = plus(sum, most);
    }
    return sum;
}

/* ---- the loader ---------------------------------------------------------------------- */

static int64_t longest_load(const Code *code, const Cost *cost)
{
    int64_t most = 0;

    for (int i = 0; i < code->code_count; i++)
        if (code->code[i].op == OP_LOAD) most = larger(most, cost[i].ns);
    return most;
}

/* A device has at most prefetch batches asked for that are not loaded, at least one. Of what is
 * ahead of a batch all workers do an equal part before one of them takes it. */
static void find_loading(Bounds *b)
{
    const Sim     *sim = b->sim;
    const Program *p = sim->program;
    int64_t        ahead = sim->prefetch > 0 ? sim->prefetch : 1, sum = 0;

    for (int d = 0; d < p->device_count && sim->lane_count > 0; d++) {
        b->loading_ns[d] = longest_load(&p->devices[d], b->costs->device[d]);
        if (p->queue.phase_count > 0)
            b->loading_ns[d] =
                larger(b->loading_ns[d], longest_load(&p->queue, b->costs->queue[d]));
        sum = plus(sum, times(ahead, b->loading_ns[d]));
    }
    for (int d = 0; d < p->device_count && sim->lane_count > 0; d++)
        b->loading_ns[d] = plus(b->loading_ns[d], sum / sim->lane_count);
}

/* ---- a round ------------------------------------------------------------------------- */

typedef struct {
    const Bounds *b;
    int      part, phase;
    int     *level;              /* [devices] rounds behind the first */
    int      levels;
    int     *at;                 /* [devices] of code[], the next instruction */
    int64_t *t, *out_ns;         /* [devices] now; when the lane out is free */
    int     *count;              /* [channels] messages a step */
    int     *first;              /* [channels] of sent_ns and taken_ns */
    int     *sent, *taken;       /* [channels] so far */
    int64_t *sent_ns, *taken_ns; /* [messages] */
    int64_t *message_ns;         /* [channels] the longest */
    int     *arrived;            /* [groups], where they meet */
    int64_t *arrived_ns, *lane_ns;               /* [groups] the last; when their lane is free */
    int     *reduced;            /* [reduce slots] members that have arrived */
    int64_t *reduced_ns, *ends_ns;       /* [reduce slots] the last; -1: not all have */
    StallSince *since;           /* [devices] the most in the phase */
} Round;

static bool takes_part(const Round *r, int d)
{
    const Sim *sim = r->b->sim;

    return sim->twin[d] == d && r->b->part[d] == r->part
           && r->phase < sim->program->devices[d].phase_count;
}

static const Phase *round_phase(const Round *r, int d)
{
    return &r->b->sim->program->devices[d].phases[r->phase];
}

static void round_free(Round *r)
{
    free(r->level); free(r->at); free(r->t); free(r->out_ns); free(r->count); free(r->first);
    free(r->sent); free(r->taken); free(r->sent_ns); free(r->taken_ns); free(r->message_ns);
    free(r->arrived); free(r->arrived_ns); free(r->lane_ns); free(r->reduced); free(r->reduced_ns);
    free(r->ends_ns); free(r->since);
}

/* Counts the messages of each channel in a step of the phase; where each has its places. */
static int count_messages(Round *r)
{
    const Program *p = r->b->sim->program;
    int            all = 0;

    for (int d = 0; d < p->device_count; d++) {
        if (!takes_part(r, d)) continue;
        const Phase *phase = round_phase(r, d);
        for (int i = phase->first; i < phase->first + phase->count; i++) {
            const Instruction *in = &p->devices[d].code[i];
            if (in->op != OP_SEND) continue;
            r->count[in->link]++;
            r->message_ns[in->link] =
                larger(r->message_ns[in->link], r->b->costs->device[d][i].ns);
        }
    }
    for (int c = 0; c < p->channel_count; c++) { r->first[c] = all; all += r->count[c]; }
    r->sent_ns = calloc((size_t)all + 1, sizeof *r->sent_ns);
    r->taken_ns = calloc((size_t)all + 1, sizeof *r->taken_ns);
    return r->sent_ns && r->taken_ns ? 0 : -1;
}

/* Empty tables, and every device before its first instruction. -1: without memory. */
static int round_new(Round *r)
{
    const Sim *sim = r->b->sim;
    size_t     n = (size_t)sim->program->device_count + 1,
           c = (size_t)sim->program->channel_count + 1, g = (size_t)sim->program->group_count + 1,
           k = (size_t)sim->reduce_slot_count + 1;

    r->level = calloc(n, sizeof *r->level);
    r->at = calloc(n, sizeof *r->at);
    r->t = calloc(n, sizeof *r->t);
    r->out_ns = calloc(n, sizeof *r->out_ns);
    r->count = calloc(c, sizeof *r->count);
    r->first = calloc(c, sizeof *r->first);
    r->sent = calloc(c, sizeof *r->sent);
    r->taken = calloc(c, sizeof *r->taken);
    r->message_ns = calloc(c, sizeof *r->message_ns);
    r->arrived = calloc(g, sizeof *r->arrived);
    r->arrived_ns = calloc(g, sizeof *r->arrived_ns);
    r->lane_ns = calloc(g, sizeof *r->lane_ns);
    r->reduced = calloc(k, sizeof *r->reduced);
    r->reduced_ns = calloc(k, sizeof *r->reduced_ns);
    r->ends_ns = malloc(k * sizeof *r->ends_ns);
    r->since = calloc(n, sizeof *r->since);
    if (!r->level || !r->at || !r->t || !r->out_ns || !r->count || !r->first || !r->sent
        || !r->taken || !r->message_ns || !r->arrived || !r->arrived_ns || !r->lane_ns
        || !r->reduced || !r->reduced_ns || !r->ends_ns || !r->since)
        return -1;
    for (size_t i = 0; i < k; i++) r->ends_ns[i] = -1;
    for (int d = 0; d < sim->program->device_count; d++)
        if (takes_part(r, d)) {
            r->at[d] = round_phase(r, d)->first;
            r->since[d] = stalls_longest(sim, d, round_phase(r, d));
        }
    return count_messages(r);
}

/* Devices of a group are of one level, those that a message goes to of one more at least. Where
 * there are none such, or a queue has too few places, all are of level 0. */
static void find_levels(Round *r)
{
    const Sim     *sim = r->b->sim;
    const Program *p = sim->program;
    bool           moved = true;
    int            n = p->device_count;

    for (int round = 0; round <= n && moved; round++) {
        moved = false;
        for (int c = 0; c < p->channel_count; c++) {
            int least = r->level[p->channels[c].from] + 1, *to = &r->level[p->channels[c].to];
            if (r->count[c] == 0 || *to >= least) continue;
            *to = least;
            moved = true;
        }
        for (int g = 0; g < p->group_count; g++) {
            const Group *group = &sim->groups[g];
            int          most = 0;
            for (int i = 0; i < group->count; i++)
                most = (int)larger(most, r->level[group->devices[i]]);
            for (int i = 0; i < group->count; i++) {
                moved |= r->level[group->devices[i]] != most;
                r->level[group->devices[i]] = most;
            }
        }
    }
    for (int c = 0; c < p->channel_count && !moved; c++)
        moved = (r->level[p->channels[c].to] - r->level[p->channels[c].from]) * r->count[c]
                > sim->depth;
    for (int d = 0; d < n; d++) {
        if (moved) r->level[d] = 0;
        if (takes_part(r, d)) r->levels = (int)larger(r->levels, r->level[d]);
    }
}

static int apart(const Round *r, int channel)
{
    const Channel *c = &r->b->sim->program->channels[channel];

    return r->level[c->to] - r->level[c->from];
}

/* The most that messages of other channels can be ahead of one at the lane into its receiver: of
 * each as many as fit into its queue, those of the receiver's step, and those of the rounds that
 * their senders are ahead or behind. */
static int64_t lane_wait(const Round *r, int channel)
{
    const Program *p = r->b->sim->program;
    const Channel *own = &p->channels[channel];
    int64_t        sum = 0;

    for (int c = 0; c < p->channel_count; c++) {
        const Channel *other = &p->channels[c];
        if (c == channel || other->to != own->to || r->count[c] == 0) continue;
        int between = r->level[other->from] - r->level[own->from];
        int64_t count = r->b->sim->depth
                        + (int64_t)r->count[c] * (1 + (between < 0 ? -between : between));
        sum = plus(sum, times(count, r->message_ns[c]));
    }
    return sum;
}

/* ---- a walk through a round: each returns whether the device goes on ------------------- */

/* The next message, whose place in the queue is free once an earlier one was taken. */
static bool walk_send(Round *r, int d, int channel, int64_t ns)
{
    const Sim *sim = r->b->sim;
    int        number = r->sent[channel],
        waits_for = number - sim->depth + apart(r, channel) * r->count[channel];
    int64_t    start = larger(r->t[d], r->out_ns[d]);

    if (waits_for >= 0 && r->taken[channel] <= waits_for) return false;
    if (waits_for >= 0) start = larger(start, r->taken_ns[r->first[channel] + waits_for]);
    r->out_ns[d] = plus(plus(start, lane_wait(r, channel)), ns);
    r->sent_ns[r->first[channel] + number] = r->out_ns[d];
    r->sent[channel]++;
    if (sim->blocking) r->t[d] = r->out_ns[d];
    return true;
}

/* core_ns: of the device's core, from when it comes to the message, which it may wait for. */
static bool walk_receive(Round *r, int d, int channel, int64_t core_ns)
{
    int     number = r->taken[channel];
    int64_t taken_ns = r->t[d];

    if (apart(r, channel) == 0) {
        if (r->sent[channel] <= number) return false;
        taken_ns = larger(taken_ns, r->sent_ns[r->first[channel] + number]);
    }
    r->taken_ns[r->first[channel] + number] = taken_ns;
    r->t[d] = larger(taken_ns, plus(r->t[d], core_ns));
    r->taken[channel]++;
    return true;
}

/* All wait for the last, and are past where they met. */
static bool walk_meet(Round *r, int d, int at, const Instruction *in, int64_t ns)
{
    const Group *group = &r->b->sim->groups[in->link];

    r->arrived_ns[in->link] = larger(r->arrived_ns[in->link], r->t[d]);
    if (++r->arrived[in->link] < group->count) { r->at[d] = -1 - at; return false; }
    r->at[d] = -1 - at;
    int64_t late_ns = stalls_most(r->b->sim, group, r->since);
    int64_t end_ns = plus(plus(r->arrived_ns[in->link], late_ns), ns);
    for (int i = 0; i < group->count; i++) {
        int member = group->devices[i];
        r->t[member] = end_ns;
        r->at[member] = -r->at[member];          /* behind it: 1 + at */
    }
    r->arrived[in->link] = 0;
    r->arrived_ns[in->link] = 0;
    return false;
}

static void walk_reduce(Round *r, int d, int at, const Instruction *in, int64_t ns)
{
    const Sim   *sim = r->b->sim;
    const Group *group = &sim->groups[in->link];
    int          slot = sim->reduce_slot[d][at];

    r->reduced_ns[slot] = larger(r->reduced_ns[slot], r->t[d]);
    if (++r->reduced[slot] < group->count) return;
    int64_t begin_ns = plus(r->reduced_ns[slot], stalls_most(r->b->sim, group, r->since));
    r->ends_ns[slot] = plus(larger(begin_ns, r->lane_ns[in->link]), ns);
    r->lane_ns[in->link] = r->ends_ns[slot];
}

static bool walk_update(Round *r, int d, int at, int64_t ns)
{
    const Sim *sim = r->b->sim;
    int        slot = sim->blocking ? -1 : sim->reduce_slot[d][at];

    if (slot >= 0 && r->ends_ns[slot] < 0) return false;
    if (slot >= 0) r->t[d] = larger(r->t[d], r->ends_ns[slot]);
    r->t[d] = plus(r->t[d], ns);
    return true;
}

/* One instruction. */
static bool walk_on(Round *r, int d)
{
    const Sim         *sim = r->b->sim;
    int                at = r->at[d];
    const Instruction *in = &sim->program->devices[d].code[at];
    int64_t            ns = r->b->costs->device[d][at].ns;
    int64_t            core_ns = r->b->costs->device[d][at].core_ns;
    bool               on = true;

    switch (in->op) {
    case OP_LOAD:
        if (sim->prefetch == 0) r->t[d] = plus(r->t[d], r->b->loading_ns[d]);
        break;
    case OP_RECV:    on = walk_receive(r, d, in->link, core_ns); break;
    case OP_SEND:
        on = walk_send(r, d, in->link, ns);
        if (on) r->t[d] = plus(r->t[d], core_ns);
        break;
    case OP_BARRIER: return walk_meet(r, d, at, in, 0);
    case OP_ALLREDUCE:
        if (sim->blocking) return walk_meet(r, d, at, in, ns);
        walk_reduce(r, d, at, in, ns);
        r->t[d] = plus(r->t[d], core_ns);
        break;
    case OP_UPDATE:  on = walk_update(r, d, at, ns); break;
    default:         r->t[d] = plus(r->t[d], ns);
    }
    if (on) r->at[d]++;
    return on;
}

/* Walks all devices through a round. False: it comes to no end. */
static bool walk(Round *r)
{
    int  n = r->b->sim->program->device_count;
    bool moved = true, ended = false;

    while (moved && !ended) {
        moved = false;
        ended = true;
        for (int d = 0; d < n; d++) {
            if (!takes_part(r, d)) continue;
            int end = round_phase(r, d)->first + round_phase(r, d)->count, before = r->at[d];
            while (r->at[d] >= 0 && r->at[d] < end && walk_on(r, d)) {}
            moved |= r->at[d] != before;
            ended &= r->at[d] == end;
        }
    }
    return ended;
}

/* How long a round is, from the walk, with messages and sums that go on to its end, and how long
 * loading makes it; *start_ns: what the first batches take. */
static int64_t round_length(const Round *r, int64_t *start_ns)
{
    const Sim *sim = r->b->sim;
    int64_t    most = 0;

    *start_ns = 0;
    for (int d = 0; d < sim->program->device_count; d++) {
        if (!takes_part(r, d)) continue;
        const Phase *phase = round_phase(r, d);
        most = larger(most, larger(r->t[d], r->out_ns[d]));
        for (int i = phase->first; i < phase->first + phase->count && sim->prefetch > 0; i++)
            if (sim->program->devices[d].code[i].op == OP_LOAD) {
                most = larger(most, parts_of(r->b->loading_ns[d], sim->prefetch));
                *start_ns = larger(*start_ns, r->b->loading_ns[d]);
            }
    }
    for (int k = 0; k < sim->reduce_slot_count; k++) most = larger(most, r->ends_ns[k]);
    return most;
}

/* ---- a timetable --------------------------------------------------------------------- */

/* A phase of a part's devices. -1: without memory; 1: there is no timetable. */
static int phase_most(int64_t *out, const Bounds *b, int part, int phase)
{
    Round   r = {.b = b, .part = part, .phase = phase};
    int64_t steps = -1, start_ns;
    int     rc = -1;

    if (round_new(&r) == 0) {
        rc = 0;
        for (int d = 0; d < b->sim->program->device_count && rc == 0; d++) {
            if (!takes_part(&r, d)) continue;
            if (steps >= 0 && round_phase(&r, d)->steps != steps) rc = 1;
            steps = round_phase(&r, d)->steps;
        }
        if (rc == 0) find_levels(&r);
        if (rc == 0 && !walk(&r)) rc = 1;
        if (rc == 0) {
            int64_t ns = round_length(&r, &start_ns);
            *out = plus(start_ns, times(steps + r.levels, ns));
        }
    }
    round_free(&r);
    return rc;
}

/* All devices that meet, directly or not, have the least of them as their part. */
static void find_parts(Bounds *b)
{
    const Program *p = b->sim->program;
    bool           moved = true;

    for (int d = 0; d < p->device_count; d++) b->part[d] = d;
    while (moved) {
        moved = false;
        for (int c = 0; c < p->channel_count; c++) {
            int *from = &b->part[p->channels[c].from], *to = &b->part[p->channels[c].to];
            if (*from == *to) continue;
            *from = *to = *from < *to ? *from : *to;
            moved = true;
        }
        for (int g = 0; g < p->group_count; g++)
            for (int i = 1; i < b->sim->groups[g].count; i++) {
                int *a = &b->part[b->sim->groups[g].devices[i - 1]],
                    *c = &b->part[b->sim->groups[g].devices[i]];
                if (*a == *c) continue;
                *a = *c = *a < *c ? *a : *c;
                moved = true;
            }
    }
}

/* All phases of a part. Its devices have as many. */
static int part_most(int64_t *out, const Bounds *b, int part)
{
    const Program *p = b->sim->program;
    int            phases = p->devices[part].phase_count, rc = 0;

    *out = 0;
    for (int d = 0; d < p->device_count; d++)
        if (b->part[d] == part && b->sim->twin[d] == d && p->devices[d].phase_count != phases)
            return 1;
    for (int f = 0; f < phases && rc == 0; f++) {
        int64_t ns = 0;
        rc = phase_most(&ns, b, part, f);
        *out = plus(*out, ns);
    }
    return rc;
}

/* A phase of the queue on a device, alone but for the loader. */
static int64_t queued_most(const Bounds *b, const Phase *phase, int d)
{
    const Sim *sim = b->sim;
    int64_t    step = 0, start_ns = 0;

    for (int i = phase->first; i < phase->first + phase->count; i++) {
        if (sim->program->queue.code[i].op != OP_LOAD) {
            step = plus(step, b->costs->queue[d][i].ns);
            continue;
        }
        if (sim->prefetch == 0) step = plus(step, b->loading_ns[d]);
        else                    start_ns = b->loading_ns[d];
    }
    if (start_ns > 0) step = larger(step, parts_of(start_ns, sim->prefetch));
    return plus(start_ns, times(phase->steps, step));
}

/* No device rests while the queue has a phase left: the last one begins when all that is before it,
 * own ns of the devices' own among it, is done, shared by all. */
static int64_t queue_most(const Bounds *b, int64_t own)
{
    const Program *p = b->sim->program;
    int64_t        longest = 0;

    if (p->queue.phase_count == 0) return 0;
    for (int f = 0; f < p->queue.phase_count; f++) {
        int64_t most = 0;
        for (int d = 0; d < p->device_count; d++)
            most = larger(most, queued_most(b, &p->queue.phases[f], d));
        own = plus(own, most);
        longest = larger(longest, most);
    }
    return plus(own / p->device_count, longest);
}

/* *out: no run is longer. -1: without memory. */
static int find_most(int64_t *out, Bounds *b)
{
    const Sim     *sim = b->sim;
    const Program *p = sim->program;
    int64_t        most = 0, all = 0, ns;
    int            rc = sim->storage.used ? 1 : 0;

    *out = find_serial(b);
    find_loading(b);
    find_parts(b);
    for (int d = 0; d < p->device_count && rc == 0; d++) {
        if (b->part[d] != d || sim->twin[d] != d) continue;
        rc = part_most(&ns, b, d);
        most = larger(most, ns);
        for (int e = d; e < p->device_count; e++) if (b->part[e] == d) all = plus(all, ns);
    }
    if (rc == 0) *out = smaller(*out, larger(most, queue_most(b, all)));
    return rc < 0 ? -1 : 0;
}

/* ---- both ---------------------------------------------------------------------------- */

/* The bounds at costs; *least: from below, *most: from above, where they are wanted. */
static int at_costs(Sim *sim, const Costs *costs, int64_t *least, int64_t *most)
{
    size_t n = (size_t)sim->program->device_count;
    Bounds b = {.sim = sim, .costs = costs, .part = calloc(n, sizeof *b.part),
                .loading_ns = calloc(n, sizeof *b.loading_ns)};
    int    rc = b.part && b.loading_ns ? 0 : -1;

    if (rc == 0 && least) rc = find_least(least, &b);
    if (rc == 0 && most) rc = find_most(most, &b);
    free(b.part);
    free(b.loading_ns);
    return rc == 0 ? 0 : error_no_memory(sim->err);
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
