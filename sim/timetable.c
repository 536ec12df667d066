#include "sim/timetable.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/minmax.h"
#include "sim/time_sum.h"

typedef struct {
    Sim         *sim;
    const Costs *costs;
    int         *part;           /* [devices] the least of those that it meets, directly or not */
    int64_t     *loading_ns;     /* [devices] the most that a batch takes from being asked for on */
} Timetable;

static int64_t parts_of(int64_t ns, int64_t count) { return (ns + count - 1) / count; }

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
static void find_loading(Timetable *table)
{
    const Sim     *sim = table->sim;
    const Program *p = sim->program;
    int64_t        ahead = sim->prefetch > 0 ? sim->prefetch : 1, sum = 0;

    for (int d = 0; d < p->device_count && sim->lane_count > 0; d++) {
        table->loading_ns[d] = longest_load(&p->devices[d], table->costs->device[d]);
        if (p->queue.phase_count > 0)
            table->loading_ns[d] =
                larger(table->loading_ns[d], longest_load(&p->queue, table->costs->queue[d]));
        sum = time_plus(sum, time_times(ahead, table->loading_ns[d]));
    }
    for (int d = 0; d < p->device_count && sim->lane_count > 0; d++)
        table->loading_ns[d] = time_plus(table->loading_ns[d], sum / sim->lane_count);
}

/* ---- a round ------------------------------------------------------------------------- */

typedef struct {
    const Timetable *table;
    int      part, phase, levels;
    bool     failed;             /* without memory */
    Arena    arena;              /* has all that follows */
    int     *level;              /* [devices] rounds behind the first */
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
    const Sim *sim = r->table->sim;

    return sim->twin[d] == d && r->table->part[d] == r->part
           && r->phase < sim->program->devices[d].phase_count;
}

static const Phase *round_phase(const Round *r, int d)
{
    return &r->table->sim->program->devices[d].phases[r->phase];
}

/* Counts the messages of each channel in a step of the phase; where each has its places. */
static int count_messages(Round *r)
{
    const Program *p = r->table->sim->program;
    int            all = 0;

    for (int d = 0; d < p->device_count; d++) {
        if (!takes_part(r, d)) continue;
        const Phase *phase = round_phase(r, d);
        for (int i = phase->first; i < phase->first + phase->count; i++) {
            const Instruction *in = &p->devices[d].code[i];
            if (in->op != OP_SEND) continue;
            r->count[in->link]++;
            r->message_ns[in->link] =
                larger(r->message_ns[in->link], r->table->costs->device[d][i].ns);
        }
    }
    for (int c = 0; c < p->channel_count; c++) { r->first[c] = all; all += r->count[c]; }
    r->sent_ns = arena_alloc(&r->arena, (size_t)all, sizeof *r->sent_ns);
    r->taken_ns = arena_alloc(&r->arena, (size_t)all, sizeof *r->taken_ns);
    return r->sent_ns && r->taken_ns ? 0 : -1;
}

/* Empty tables, and every device before its first instruction. -1: without memory. */
static int round_new(Round *r)
{
    const Sim *sim = r->table->sim;
    size_t     n = (size_t)sim->program->device_count, c = (size_t)sim->program->channel_count,
           g = (size_t)sim->program->group_count, k = (size_t)sim->reduce_slot_count;

    r->level = arena_alloc(&r->arena, n, sizeof *r->level);
    r->at = arena_alloc(&r->arena, n, sizeof *r->at);
    r->t = arena_alloc(&r->arena, n, sizeof *r->t);
    r->out_ns = arena_alloc(&r->arena, n, sizeof *r->out_ns);
    r->count = arena_alloc(&r->arena, c, sizeof *r->count);
    r->first = arena_alloc(&r->arena, c, sizeof *r->first);
    r->sent = arena_alloc(&r->arena, c, sizeof *r->sent);
    r->taken = arena_alloc(&r->arena, c, sizeof *r->taken);
    r->message_ns = arena_alloc(&r->arena, c, sizeof *r->message_ns);
    r->arrived = arena_alloc(&r->arena, g, sizeof *r->arrived);
    r->arrived_ns = arena_alloc(&r->arena, g, sizeof *r->arrived_ns);
    r->lane_ns = arena_alloc(&r->arena, g, sizeof *r->lane_ns);
    r->reduced = arena_alloc(&r->arena, k, sizeof *r->reduced);
    r->reduced_ns = arena_alloc(&r->arena, k, sizeof *r->reduced_ns);
    r->ends_ns = arena_alloc(&r->arena, k, sizeof *r->ends_ns);
    r->since = arena_alloc(&r->arena, n, sizeof *r->since);
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

/* Rounds that the receiver of a channel is behind its sender. */
static int apart(const Round *r, int channel)
{
    const Channel *c = &r->table->sim->program->channels[channel];

    return r->level[c->to] - r->level[c->from];
}

/* Devices of a group are of one level, those that a message goes to of one more at least. Where
 * there are none such, or a queue has too few places, all are of level 0. */
static void find_levels(Round *r)
{
    const Sim     *sim = r->table->sim;
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
        moved = apart(r, c) * r->count[c] > sim->depth;
    for (int d = 0; d < n; d++) {
        if (moved) r->level[d] = 0;
        if (takes_part(r, d)) r->levels = (int)larger(r->levels, r->level[d]);
    }
}

/* The most that messages of other channels can be ahead of one at the lane into its receiver: of
 * each as many as fit into its queue, those of the receiver's step, and those of the rounds that
 * their senders are ahead or behind. */
static int64_t lane_wait(const Round *r, int channel)
{
    const Program *p = r->table->sim->program;
    const Channel *own = &p->channels[channel];
    int64_t        sum = 0;

    for (int c = 0; c < p->channel_count; c++) {
        const Channel *other = &p->channels[c];
        if (c == channel || other->to != own->to || r->count[c] == 0) continue;
        int between = r->level[other->from] - r->level[own->from];
        int64_t count = r->table->sim->depth
                        + (int64_t)r->count[c] * (1 + (between < 0 ? -between : between));
        sum = time_plus(sum, time_times(count, r->message_ns[c]));
    }
    return sum;
}

/* ---- a walk through a round: each returns whether the device goes on ------------------- */

/* The next message, whose place in the queue is free once an earlier one was taken. */
static bool walk_send(Round *r, int d, int channel, int64_t ns)
{
    const Sim *sim = r->table->sim;
    int        number = r->sent[channel],
        waits_for = number - sim->depth + apart(r, channel) * r->count[channel];
    int64_t    start = larger(r->t[d], r->out_ns[d]);

    if (waits_for >= 0 && r->taken[channel] <= waits_for) return false;
    if (waits_for >= 0) start = larger(start, r->taken_ns[r->first[channel] + waits_for]);
    r->out_ns[d] = time_plus(time_plus(start, lane_wait(r, channel)), ns);
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
    r->t[d] = larger(taken_ns, time_plus(r->t[d], core_ns));
    r->taken[channel]++;
    return true;
}

/* By how much members of a group go on later than the last of them arrives, at most. */
static int64_t late_most(Round *r, const Group *group)
{
    int64_t ns = stalls_most(r->table->sim, group, r->since);

    r->failed |= ns < 0;
    return larger(ns, 0);
}

/* All wait for the last, and are past where they met. */
static bool walk_meet(Round *r, int d, int at, const Instruction *in, int64_t ns)
{
    const Group *group = &r->table->sim->groups[in->link];

    r->arrived_ns[in->link] = larger(r->arrived_ns[in->link], r->t[d]);
    if (++r->arrived[in->link] < group->count) { r->at[d] = -1 - at; return false; }
    r->at[d] = -1 - at;
    int64_t end_ns = time_plus(time_plus(r->arrived_ns[in->link], late_most(r, group)), ns);
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
    const Sim   *sim = r->table->sim;
    const Group *group = &sim->groups[in->link];
    int          slot = sim->reduce_slot[d][at];

    r->reduced_ns[slot] = larger(r->reduced_ns[slot], r->t[d]);
    if (++r->reduced[slot] < group->count) return;
    int64_t begin_ns = time_plus(r->reduced_ns[slot], late_most(r, group));
    r->ends_ns[slot] = time_plus(larger(begin_ns, r->lane_ns[in->link]), ns);
    r->lane_ns[in->link] = r->ends_ns[slot];
}

static bool walk_update(Round *r, int d, int at, int64_t ns)
{
    const Sim *sim = r->table->sim;
    int        slot = sim->blocking ? -1 : sim->reduce_slot[d][at];

    if (slot >= 0 && r->ends_ns[slot] < 0) return false;
    if (slot >= 0) r->t[d] = larger(r->t[d], r->ends_ns[slot]);
    r->t[d] = time_plus(r->t[d], ns);
    return true;
}

/* One instruction. */
static bool walk_on(Round *r, int d)
{
    const Sim         *sim = r->table->sim;
    int                at = r->at[d];
    const Instruction *in = &sim->program->devices[d].code[at];
    int64_t            ns = r->table->costs->device[d][at].ns;
    int64_t            core_ns = r->table->costs->device[d][at].core_ns;
    bool               on = true;

    switch (in->op) {
    case OP_LOAD:
        if (sim->prefetch == 0) r->t[d] = time_plus(r->t[d], r->table->loading_ns[d]);
        break;
    case OP_RECV:    on = walk_receive(r, d, in->link, core_ns); break;
    case OP_SEND:
        on = walk_send(r, d, in->link, ns);
        if (on) r->t[d] = time_plus(r->t[d], core_ns);
        break;
    case OP_BARRIER: return walk_meet(r, d, at, in, 0);
    case OP_ALLREDUCE:
        if (sim->blocking) return walk_meet(r, d, at, in, ns);
        walk_reduce(r, d, at, in, ns);
        r->t[d] = time_plus(r->t[d], core_ns);
        break;
    case OP_UPDATE:  on = walk_update(r, d, at, ns); break;
    default:         r->t[d] = time_plus(r->t[d], ns);
    }
    if (on) r->at[d]++;
    return on;
}

/* Walks all devices through a round. False: it comes to no end. */
static bool walk(Round *r)
{
    int  n = r->table->sim->program->device_count;
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
    const Sim *sim = r->table->sim;
    int64_t    most = 0;

    *start_ns = 0;
    for (int d = 0; d < sim->program->device_count; d++) {
        if (!takes_part(r, d)) continue;
        const Phase *phase = round_phase(r, d);
        most = larger(most, larger(r->t[d], r->out_ns[d]));
        for (int i = phase->first; i < phase->first + phase->count && sim->prefetch > 0; i++)
            if (sim->program->devices[d].code[i].op == OP_LOAD) {
                most = larger(most, parts_of(r->table->loading_ns[d], sim->prefetch));
                *start_ns = larger(*start_ns, r->table->loading_ns[d]);
            }
    }
    for (int k = 0; k < sim->reduce_slot_count; k++) most = larger(most, r->ends_ns[k]);
    return most;
}

/* ---- a timetable --------------------------------------------------------------------- */

/* The steps of the phase; -1: devices have different ones. */
static int64_t common_steps(const Round *r)
{
    int64_t steps = -1;

    for (int d = 0; d < r->table->sim->program->device_count; d++) {
        if (!takes_part(r, d)) continue;
        if (steps >= 0 && round_phase(r, d)->steps != steps) return -1;
        steps = round_phase(r, d)->steps;
    }
    return steps;
}

/* A phase of a part's devices. -1: without memory; 1: there is no timetable. */
static int phase_most(int64_t *out, const Timetable *table, int part, int phase)
{
    Round r = {.table = table, .part = part, .phase = phase};
    int   rc = -1;

    if (round_new(&r) == 0) {
        int64_t steps = common_steps(&r), start_ns;
        rc = 1;
        if (steps >= 0) find_levels(&r);
        if (steps >= 0 && walk(&r)) {
            int64_t ns = round_length(&r, &start_ns);
            *out = time_plus(start_ns, time_times(steps + r.levels, ns));
            rc = 0;
        }
        if (r.failed) rc = -1;
    }
    arena_free(&r.arena);
    return rc;
}

/* All devices that meet, directly or not, have the least of them as their part. */
static void find_parts(Timetable *table)
{
    const Program *p = table->sim->program;
    bool           moved = true;

    for (int d = 0; d < p->device_count; d++) table->part[d] = d;
    while (moved) {
        moved = false;
        for (int c = 0; c < p->channel_count; c++) {
            int *from = &table->part[p->channels[c].from], *to = &table->part[p->channels[c].to];
            if (*from == *to) continue;
            *from = *to = *from < *to ? *from : *to;
            moved = true;
        }
        for (int g = 0; g < p->group_count; g++)
            for (int i = 1; i < table->sim->groups[g].count; i++) {
                int *a = &table->part[table->sim->groups[g].devices[i - 1]],
                    *c = &table->part[table->sim->groups[g].devices[i]];
                if (*a == *c) continue;
                *a = *c = *a < *c ? *a : *c;
                moved = true;
            }
    }
}

/* All phases of a part. Its devices have as many. */
static int part_most(int64_t *out, const Timetable *table, int part)
{
    const Program *p = table->sim->program;
    int            phases = p->devices[part].phase_count, rc = 0;

    *out = 0;
    for (int d = 0; d < p->device_count; d++)
        if (table->part[d] == part && table->sim->twin[d] == d
            && p->devices[d].phase_count != phases)
            return 1;
    for (int f = 0; f < phases && rc == 0; f++) {
        int64_t ns = 0;
        rc = phase_most(&ns, table, part, f);
        *out = time_plus(*out, ns);
    }
    return rc;
}

/* A phase of the queue on a device, alone but for the loader. */
static int64_t queued_most(const Timetable *table, const Phase *phase, int d)
{
    const Sim *sim = table->sim;
    int64_t    step = 0, start_ns = 0;

    for (int i = phase->first; i < phase->first + phase->count; i++) {
        if (sim->program->queue.code[i].op != OP_LOAD) {
            step = time_plus(step, table->costs->queue[d][i].ns);
            continue;
        }
        if (sim->prefetch == 0) step = time_plus(step, table->loading_ns[d]);
        else                    start_ns = table->loading_ns[d];
    }
    if (start_ns > 0) step = larger(step, parts_of(start_ns, sim->prefetch));
    return time_plus(start_ns, time_times(phase->steps, step));
}

/* No device rests while the queue has a phase left: the last one begins when all that is before it,
 * own ns of the devices' own among it, is done, shared by all. */
static int64_t queue_most(const Timetable *table, int64_t own)
{
    const Program *p = table->sim->program;
    int64_t        longest = 0;

    if (p->queue.phase_count == 0) return 0;
    for (int f = 0; f < p->queue.phase_count; f++) {
        int64_t most = 0;
        for (int d = 0; d < p->device_count; d++)
            most = larger(most, queued_most(table, &p->queue.phases[f], d));
        own = time_plus(own, most);
        longest = larger(longest, most);
    }
    return time_plus(own / p->device_count, longest);
}

/* Each part for itself, and then the queue. */
static int all_parts(int64_t *out, const Timetable *table)
{
    const Sim *sim = table->sim;
    int64_t    most = 0, all = 0, ns;
    int        n = sim->program->device_count, rc = 0;

    for (int d = 0; d < n && rc == 0; d++) {
        if (table->part[d] != d || sim->twin[d] != d) continue;
        rc = part_most(&ns, table, d);
        most = larger(most, ns);
        for (int e = d; e < n; e++) if (table->part[e] == d) all = time_plus(all, ns);
    }
    if (rc == 0) *out = larger(most, queue_most(table, all));
    return rc;
}

int timetable_most(int64_t *out, Sim *sim, const Costs *costs)
{
    size_t    n = (size_t)sim->program->device_count;
    Timetable table = {.sim = sim, .costs = costs};
    int       rc = -1;

    if (sim->storage.used) return 1;
    table.part = calloc(n, sizeof *table.part);
    table.loading_ns = calloc(n, sizeof *table.loading_ns);
    if (table.part && table.loading_ns) {
        find_loading(&table);
        find_parts(&table);
        rc = all_parts(out, &table);
    }
    free(table.part);
    free(table.loading_ns);
    return rc;
}
