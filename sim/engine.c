/* The engine: a heap of (time, id), and for each device a walk along its program.
 *
 * A device computes ahead of the clock as long as nobody can notice; before anything
 * that others see or that depends on others (an interaction) it goes through the heap,
 * so that interactions happen in the order of simulated time. */
#include "sim/engine.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "sim/stalls/draw.h"

#define SIMULATED_MOST   ((int64_t)1 << 27)     /* some ten seconds */
#define SIMULATED_EARLY  32                      /* a part: enough of a run that is longer, where no
                                                 * step has repeated so far */

/* ---- the heap ------------------------------------------------------------ */

/* Without branches: which of two events comes first is anyone's guess, to a processor
 * too. */
static bool before(SimEvent a, SimEvent b)
{
    return (a.time_ns < b.time_ns) | ((a.time_ns == b.time_ns) & (a.id < b.id));
}

/* Puts event at i or above. */
static void sift_up(SimEvent *heap, int i, SimEvent event)
{
    while (i > 0 && before(event, heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = event;
}

static void heap_push(Sim *sim, SimEvent event)
{
    sift_up(sim->heap, sim->heap_count++, event);
}

/* The hole goes all the way down, then the last event up from there: it nearly always
 * belongs near the bottom, so this saves comparing it on the way. */
static SimEvent heap_pop(Sim *sim)
{
    SimEvent *heap = sim->heap, top = heap[0];
    int    n = --sim->heap_count, i = 0;

    for (int child = 1; child + 1 < n; child = 2 * i + 1) {
        child += before(heap[child + 1], heap[child]);
        heap[i] = heap[child];
        i = child;
    }
    if (2 * i + 1 == n - 1) {            /* a last level with one child */
        heap[i] = heap[n - 1];
        i = n - 1;
    }
    sift_up(heap, i, heap[n]);
    return top;
}

void sim_order_heap(Sim *sim)
{
    int count = sim->heap_count;

    sim->heap_count = 0;
    for (int i = 0; i < count; i++) heap_push(sim, sim->heap[i]);
}

/* ---- small parts ----------------------------------------------------------- */

int sim_too_long(const Sim *sim)
{
    return error_set(sim->err, "simulated time passes 2^62 ns (146 years)");
}

static SimDevice *device_at(Sim *sim, int d) { return &sim->devices[d]; }

/* Of work that begins at t. */
static int64_t duration(const Sim *sim, int d, const SimDevice *dev, int at, int64_t t)
{
    Cost               cost = dev->cost[at];
    const TraceStalls *stalls = &sim->scenario->trace->kinds[sim->scenario->kinds[d]].stalls;

    if (!sim->options->jitter || (cost.spread == 0 && !stalls_known(stalls))) return cost.ns;
    uint64_t queued = dev->code == &sim->program->queue ? (uint64_t)1 << 40 : 0;
    return stall_draw_ns(stalls,
                         (StallDraw){sim->options->seed, (uint64_t)d + queued, (uint64_t)at,
                                     (uint64_t)dev->step, t},
                         cost.ns, cost.spread);
}

int sim_record(Sim *sim, int d, Lane lane, const Instruction *in, int64_t step, int64_t start,
               int64_t end)
{
    if (!sim->options->record || end == start
        || (sim->options->recorded && !sim->options->recorded[d]))
        return 0;
    if (!array_has_room(sim->spans, sim->span_count, sim->span_capacity))
        return error_no_memory(sim->err);
    sim->spans[sim->span_count++] = (Span){d, lane, in, step, start, end};
    return 0;
}

void sim_block(SimDevice *dev, State state, int64_t t)
{
    dev->state = state;
    dev->since_ns = t;
}

/* Ends a wait at time t (not before now) and books it. */
void sim_wake(Sim *sim, int d, int64_t t, TimeShare share)
{
    SimDevice *dev = device_at(sim, d);

    dev->share_ns[share] += t - dev->since_ns;
    dev->state = STATE_READY;
    dev->since_ns = t;
    heap_push(sim, (SimEvent){t, 2 * d + 1});
}

/* ---- the loader -------------------------------------------------------------- */

/* Takes the lane that is free first; the end of the request. */
static int64_t loader_request(Sim *sim, int d, int64_t t, const Instruction *in, int64_t ns,
                              int64_t step)
{
    int best = 0;

    if (sim->lane_count == 0) return t;
    for (int lane = 1; lane < sim->lane_count; lane++)
        if (sim->lane_free_ns[lane] < sim->lane_free_ns[best]) best = lane;
    int64_t start = sim->lane_free_ns[best] > t ? sim->lane_free_ns[best] : t;
    sim->lane_free_ns[best] = start + ns;
    if (sim_record(sim, d, LANE_LOADER, in, step, start, start + ns) != 0) return -1;
    return start + ns;
}

/* The first requests of a phase. */
static int prefetch_start(Sim *sim, int d, int64_t t)
{
    SimDevice      *dev = device_at(sim, d);
    const Phase *phase = phase_of(dev);

    for (int i = 0; i < phase->count; i++) {
        int at = phase->first + i;
        if (dev->code->code[at].op != OP_LOAD) continue;
        for (int64_t n = 0; n < sim->prefetch && n < phase->steps; n++) {
            dev->ready_ns[n] = loader_request(sim, d, t, &dev->code->code[at], dev->cost[at].ns, n);
            if (dev->ready_ns[n] < 0) return -1;
        }
    }
    return 0;
}

/* 1: go on at *t; 0: wait in the heap; -1: error. */
static int do_load(Sim *sim, int d, int at, int64_t *t)
{
    SimDevice            *dev = device_at(sim, d);
    const Instruction *in = &dev->code->code[at];
    int64_t            ns = dev->cost[at].ns, end;

    if (sim->prefetch == 0) {
        end = loader_request(sim, d, *t, in, ns, dev->step);
        if (end < 0) return -1;
        dev->share_ns[SHARE_LOAD] += end - *t;
        *t = end;
        return 1;
    }
    int64_t *ready = &dev->ready_ns[dev->step % sim->prefetch];
    if (*ready > *t) {                   /* consumed at a later time: come back then */
        sim_block(dev, STATE_READY, *t);
        sim_wake(sim, d, *ready, SHARE_LOAD);
        return 0;
    }
    if (dev->step + sim->prefetch < phase_of(dev)->steps) {
        *ready = loader_request(sim, d, *t, in, ns, dev->step + sim->prefetch);
        if (*ready < 0) return -1;
    }
    return 1;
}

/* ---- messages ------------------------------------------------------------------ */

static int post(Sim *sim, SimDevice *dev, int at, int64_t t)
{
    if (dev->out_count == dev->out_capacity) {
        int      bigger = dev->out_capacity ? 2 * dev->out_capacity : 8;
        int     *out = realloc(dev->out, (size_t)bigger * sizeof *out);
        if (out) dev->out = out;
        int64_t *posted = realloc(dev->out_posted_ns, (size_t)bigger * sizeof *posted);
        if (posted) dev->out_posted_ns = posted;
        if (!out || !posted) return error_no_memory(sim->err);
        dev->out_capacity = bigger;
    }
    dev->out[dev->out_count] = at;
    dev->out_posted_ns[dev->out_count++] = t;
    return 0;
}

/* Starts the oldest posted message of d if lane, slot and receiver allow it. */
static void try_start(Sim *sim, int d)
{
    SimDevice *dev = device_at(sim, d);

    if (dev->out_busy || dev->out_count == 0) return;
    int     link = dev->code->code[dev->out[0]].link;
    Slots  *slots = &sim->slots[link];
    SimDevice *to = device_at(sim, sim->program->channels[link].to);
    if (slots->used == sim->depth || to->in_busy) return;
    slots->used++;
    dev->out_busy = to->in_busy = true;
    dev->out_end_ns = sim->now_ns + dev->cost[dev->out[0]].ns;
    heap_push(sim, (SimEvent){dev->out_end_ns, 2 * d});
    if (dev->state != STATE_SLOT) return;
    dev->share_ns[SHARE_WAIT] += sim->now_ns - dev->since_ns;
    sim_block(dev, STATE_SENDING, sim->now_ns);
}

/* The copy-in lane of a device is free: the message posted first comes next. */
static void offer_copy_in(Sim *sim, int to)
{
    int best = -1;

    for (int i = sim->in_first[to]; i < sim->in_first[to + 1]; i++) {
        int     channel = sim->in_channels[i];
        int     from = sim->program->channels[channel].from;
        SimDevice *dev = device_at(sim, from);
        if (dev->out_busy || dev->out_count == 0 || dev->code->code[dev->out[0]].link != channel)
            continue;
        if (sim->slots[channel].used == sim->depth) continue;
        if (best < 0 || dev->out_posted_ns[0] < device_at(sim, best)->out_posted_ns[0]) best = from;
    }
    if (best >= 0) try_start(sim, best);
}

/* The message at the head of d's list has arrived. */
static int transfer_end(Sim *sim, int d)
{
    SimDevice            *dev = device_at(sim, d);
    int                at = dev->out[0];
    const Instruction *in = &dev->code->code[at];
    int                to = sim->program->channels[in->link].to;
    SimDevice            *receiver = device_at(sim, to);
    int64_t            start = dev->out_end_ns - dev->cost[at].ns;

    if (sim_record(sim, d, sim->blocking ? LANE_COMPUTE : LANE_COPY_OUT, in, dev->step, start,
                   sim->now_ns)
            != 0
        || sim_record(sim, to, LANE_COPY_IN, in, dev->step, start, sim->now_ns) != 0)
        return -1;
    dev->out_count--;
    memmove(dev->out, dev->out + 1, (size_t)dev->out_count * sizeof *dev->out);
    memmove(dev->out_posted_ns, dev->out_posted_ns + 1,
            (size_t)dev->out_count * sizeof *dev->out_posted_ns);
    dev->out_busy = receiver->in_busy = false;
    sim->slots[in->link].arrived++;
    if (receiver->state == STATE_RECV) {
        int waits_at = phase_of(receiver)->first + receiver->index;
        if (receiver->code->code[waits_at].link == in->link) {
            if (receiver->cost[waits_at].core_ns > 0)
                receiver->awaited_ns = sim->now_ns - receiver->since_ns;
            sim_wake(sim, to, sim->now_ns, SHARE_WAIT);
        }
    }
    if (dev->state == STATE_SENDING) {
        dev->index++;
        sim_wake(sim, d, sim->now_ns, SHARE_TRANSFER);
    } else if (dev->state == STATE_DRAIN && dev->out_count == 0) {
        sim_wake(sim, d, sim->now_ns, SHARE_WAIT);
    }
    try_start(sim, d);
    offer_copy_in(sim, to);
    return 0;
}

/* A transfer that is overlapped takes ns of the device's core from *t on. */
static int take_core(Sim *sim, SimDevice *dev, int64_t ns, int64_t *t)
{
    if (*t > TIME_LIMIT_NS - ns) return sim_too_long(sim);
    dev->share_ns[SHARE_TRANSFER] += ns;
    *t += ns;
    return 1;
}

/* 1: the message is there; 0: waits for it; -1: error. */
static int do_recv(Sim *sim, int d, int at, int64_t *t)
{
    SimDevice *dev = device_at(sim, d);
    int        link = dev->code->code[at].link;
    Slots     *slots = &sim->slots[link];

    if (slots->arrived == 0) {
        sim_block(dev, STATE_RECV, *t);
        return 0;
    }
    slots->arrived--;
    slots->used--;
    try_start(sim, sim->program->channels[link].from);
    int64_t left_ns = dev->cost[at].core_ns - dev->awaited_ns;
    dev->awaited_ns = 0;
    return left_ns > 0 ? take_core(sim, dev, left_ns, t) : 1;
}

/* A SEND that occupies the compute lane, until it has arrived. */
static int do_blocking_send(Sim *sim, int d, int at, int64_t t)
{
    if (post(sim, device_at(sim, d), at, t) != 0) return -1;
    sim_block(device_at(sim, d), STATE_SLOT, t);
    try_start(sim, d);
    return 0;
}

/* ---- groups -------------------------------------------------------------------- */

/* A barrier, or an all-reduce that occupies the compute lanes: all wait for the last,
 * then go on together after ns. */
static int do_meet(Sim *sim, int d, const Instruction *in, int64_t ns, int64_t t)
{
    Meet        *meet = &sim->meets[in->link];
    const Group *group = &sim->groups[in->link];
    SimDevice      *dev = device_at(sim, d);

    dev->index++;
    sim_block(dev, STATE_MEET, t);
    if (++meet->arrived < group->count) return 0;
    meet->arrived = 0;
    int64_t late_ns = stalls_meet(sim, group);
    if (late_ns < 0) return error_no_memory(sim->err);
    t += late_ns;
    for (int i = 0; i < group->count; i++) {
        SimDevice *member = device_at(sim, group->devices[i]);
        member->share_ns[SHARE_WAIT] += t - member->since_ns;
        member->since_ns = t;
        const Instruction *own = &member->code->code[phase_of(member)->first + member->index - 1];
        if (sim_record(sim, group->devices[i], LANE_COMPUTE, own, member->step, t, t + ns) != 0)
            return -1;
        sim_wake(sim, group->devices[i], t + ns, SHARE_ALLREDUCE);
    }
    return 0;
}

/* The device's own ALLREDUCE of the slot, at which it has arrived. */
static const Instruction *reduce_of(const Sim *sim, int d, int slot)
{
    const Instruction *code = sim->program->devices[d].code;
    int                at = 0;

    while (code[at].op != OP_ALLREDUCE || sim->reduce_slot[d][at] != slot) at++;
    return &code[at];
}

/* An all-reduce on its own lane: members go on, their UPDATE waits. The last to arrive
 * settles when it ends. */
static int do_reduce(Sim *sim, int d, int at, int64_t t)
{
    SimDevice            *dev = device_at(sim, d);
    const Instruction *in = &dev->code->code[at];
    Meet              *meet = &sim->meets[in->link];
    const Group       *group = &sim->groups[in->link];
    int                slot = sim->reduce_slot[d][at];
    Reduce            *reduce = &sim->reduces[slot][dev->step & 1];

    dev->index++;
    if (reduce->arrived == 0) reduce->end_ns = -1;
    if (stalls_arrive(sim, d, at, t) != 0) return -1;
    if (++reduce->arrived < group->count) return 0;
    int64_t late_ns = stalls_reduce(sim, d, at);
    if (late_ns < 0) return error_no_memory(sim->err);
    t += late_ns;
    int64_t start = meet->lane_free_ns > t ? meet->lane_free_ns : t;
    reduce->arrived = 0;
    reduce->end_ns = meet->lane_free_ns = start + dev->cost[at].ns;
    for (int i = 0; i < group->count; i++) {
        int     member = group->devices[i];
        SimDevice *other = device_at(sim, member);
        const Instruction *own = sim->options->record ? reduce_of(sim, member, slot) : in;
        if (sim_record(sim, member, LANE_REDUCE, own, dev->step, start, reduce->end_ns) != 0)
            return -1;
        if (other->state == STATE_REDUCE
            && sim->reduce_slot[member][phase_of(other)->first + other->index] == slot)
            sim_wake(sim, member, reduce->end_ns, SHARE_ALLREDUCE);
    }
    return 0;
}

/* 1: the gradients are there at *t; 0: waits for members that have not arrived. */
static int await_reduce(Sim *sim, int d, int at, int64_t *t)
{
    SimDevice *dev = device_at(sim, d);
    int64_t end = sim->reduces[sim->reduce_slot[d][at]][dev->step & 1].end_ns;

    if (end < 0) {
        sim_block(dev, STATE_REDUCE, *t);
        return 0;
    }
    if (end > *t) {
        dev->share_ns[SHARE_ALLREDUCE] += end - *t;
        *t = end;
    }
    return 1;
}

/* ---- a device's walk ------------------------------------------------------------- */

static int do_compute(Sim *sim, int d, int at, int64_t *t)
{
    SimDevice            *dev = device_at(sim, d);
    const Instruction *in = &dev->code->code[at];
    int64_t            ns = duration(sim, d, dev, at, *t);

    int64_t               works_ns = ns - dev->cost[at].wait_ns;

    if (*t > TIME_LIMIT_NS - ns) return sim_too_long(sim);
    if (sim_record(sim, d, LANE_COMPUTE, in, dev->step, *t, *t + works_ns) != 0) return -1;
    dev->share_ns[compute_share(in->op)] += works_ns;
    dev->share_ns[SHARE_WAIT] += ns - works_ns;
    *t += ns;
    return 1;
}

/* Does this instruction show itself to others, or depend on them? */
static bool interacts(const Sim *sim, int d, int at, Op op)
{
    if (op == OP_UPDATE)
        return !sim->blocking && sim->reduce_slot[d] && sim->devices[d].code != &sim->program->queue
               && sim->reduce_slot[d][at] >= 0;
    return op != OP_TEACHER && op != OP_FORWARD && op != OP_BACKWARD;
}

/* One instruction at *t. 1: done, go on at *t (the index has moved); 0: the device is
 * blocked or in the heap; -1: error. */
static int execute(Sim *sim, int d, int at, int64_t *t)
{
    SimDevice            *dev = device_at(sim, d);
    const Instruction *in = &dev->code->code[at];
    int                go = 1;

    sim->walked++;
    switch (in->op) {
    case OP_LOAD:
        go = do_load(sim, d, at, t);
        break;
    case OP_RECV:
        go = do_recv(sim, d, at, t);
        break;
    case OP_SEND:
        if (sim->blocking) return do_blocking_send(sim, d, at, *t);
        if (post(sim, dev, at, *t) != 0) return -1;
        try_start(sim, d);
        go = take_core(sim, dev, dev->cost[at].core_ns, t);
        break;
    case OP_ALLREDUCE:
        if (sim->blocking) return do_meet(sim, d, in, dev->cost[at].ns, *t);
        return do_reduce(sim, d, at, *t) == 0 ? take_core(sim, dev, dev->cost[at].core_ns, t) : -1;
    case OP_BARRIER:
        return do_meet(sim, d, in, 0, *t);
    case OP_FETCH:
        go = storage_fetch(sim, d, at, t);
        break;
    case OP_STORE:
        go = storage_store(sim, d, at, t);
        break;
    case OP_ONLOAD:                      /* at the ends of the phase */
    case OP_OFFLOAD:
        break;
    case OP_UPDATE:
        if (interacts(sim, d, at, OP_UPDATE)) go = await_reduce(sim, d, at, t);
        if (go == 1) go = do_compute(sim, d, at, t);
        break;
    default:
        go = do_compute(sim, d, at, t);
    }
    if (go == 1) dev->index++;
    return go;
}

/* The next instruction is the first of a run. */
static bool begins_run(const SimDevice *dev, int at)
{
    return dev->runs && dev->runs->runs[dev->run].first == at;
}

/* All of the run at *t. 1, or -1: time passes the limit. */
static int walk_run(Sim *sim, SimDevice *dev, int64_t *t)
{
    const ComputeRun *run = &dev->runs->runs[dev->run];

    if (*t > TIME_LIMIT_NS - run->ns) return sim_too_long(sim);
    dev->share_ns[SHARE_TEACHER] += run->teacher_ns;
    dev->share_ns[SHARE_STUDENT] += run->student_ns;
    dev->share_ns[SHARE_UPDATE] += run->update_ns;
    dev->share_ns[SHARE_WAIT] += run->wait_ns;
    *t += run->ns;
    dev->index += run->count;
    sim->walked++;
    dev->run++;
    return 1;
}

/* Begins a step, or the first of a phase. */
static void to_first_instruction(SimDevice *dev)
{
    dev->index = 0;
    if (dev->runs) dev->run = dev->runs->of_phase[dev->phase];
}

/* code and cost, and the runs of them. */
static void take_code(const Sim *sim, SimDevice *dev, const Code *code, const Cost *cost, int runs)
{
    dev->code = code;
    dev->cost = cost;
    dev->runs = sim->runs && sim->runs[runs].runs ? &sim->runs[runs] : NULL;
}

/* Begins the phase that the device came to, at t. 1: it has begun; 0: it waits. */
static int begin_phase(Sim *sim, int d, int64_t t)
{
    SimDevice *dev = device_at(sim, d);
    bool       stores = sim->storage.used && dev->code != &sim->program->queue;
    int        go = stores ? storage_begin_phase(sim, d, t, prefetch_start)
                    : prefetch_start(sim, d, t) == 0 ? 1
                                                     : -1;

    to_first_instruction(dev);
    dev->begun = go == 1;
    islands_change(sim);
    return go;
}

static void end_first(Sim *sim, SimDevice *dev)
{
    if (!dev->later) sim->first_left--;
    dev->later = true;
}

/* The next phase at t: its own, then one of the shared queue. As begin_phase(); 0 when there is
 * none. */
static int next_phase(Sim *sim, int d, int64_t t)
{
    SimDevice     *dev = device_at(sim, d);
    const Code *queue = &sim->program->queue;

    islands_change(sim);
    dev->index = 0;
    dev->step = 0;
    dev->mark_step = dev->half_step = 0;
    dev->mark_ns = dev->half_ns = t;
    dev->begun = dev->ahead_asked = false;
    dev->onloads_asked = dev->next_asked;
    dev->onloaded_ns = dev->next_onloaded_ns;
    dev->next_asked = false;
    if (dev->code != queue && ++dev->phase < dev->code->phase_count) return begin_phase(sim, d, t);
    if (sim->next_queued < queue->phase_count) {
        take_code(sim, dev, queue, sim->costs.queue[d], sim->program->device_count + d);
        dev->phase = sim->next_queued++;
        return begin_phase(sim, d, t);
    }
    int64_t last_ns = dev->stored_ns > dev->offloaded_ns ? dev->stored_ns : dev->offloaded_ns;
    if (last_ns > t) {                   /* what it wrote must be there before the run is over */
        dev->share_ns[SHARE_STORAGE] += last_ns - t;
        t = last_ns;
    }
    sim_block(dev, STATE_DONE, t);
    sim->live--;
    if (sim->reference == d) sim->reference = -1;
    return 0;
}

/* Whether somebody looks at the state at the end of the device's step. */
static bool is_looked_at(const Sim *sim, int d)
{
    return sim->reference == d || (sim->islands && islands_look_at(sim, d));
}

/* Looks for something that repeats, at the end of a step of a device. -1: error. */
static int look_for_periods(Sim *sim, int d)
{
    if (sim->islands && islands_step_end(sim, d) != 0) return -1;
    if (sim->reference != d || islands_have(sim) || sim->now_ns < sim->storage.asked_ns) return 0;
    return steady_step_end(sim);
}

/* All instructions of a step are done at t. 1: the next step begins; 0: blocked. */
static int step_end(Sim *sim, int d, int64_t t)
{
    SimDevice *dev = device_at(sim, d);

    if (dev->out_count > 0) {
        sim_block(dev, STATE_DRAIN, t);
        return 0;
    }
    if (sim->storage.used && dev->step + 1 == phase_of(dev)->steps) {
        int go = storage_end_phase(sim, d, t);
        if (go <= 0) return go;
    }
    dev->executed += phase_of(dev)->count;
    sim->simulated += sim->twins[d] * (int64_t)phase_of(dev)->count;
    /* Without messages most instructions are in runs, and what there is to walk decides how long it
     * takes; with them a search may simulate many. */
    int64_t length = sim->program->channel_count > 0 ? sim->simulated : sim->walked;
    int64_t most = sim->options->simulated_most ? sim->options->simulated_most : SIMULATED_MOST;
    if (length > most
        || (sim->simulated > most / SIMULATED_EARLY && sim->all > most && steady_never(sim))) {
        sim->stopped = sim->steady && !sim->options->first_phase;
        return error_set(sim->err,
                         "its steps do not repeat, so each is simulated, more than %" PRId64
                         " instructions of them: expected fewer steps",
                         most);
    }
    estimate_mark(dev, t);
    to_first_instruction(dev);
    if (++dev->step < phase_of(dev)->steps) {
        if (!is_looked_at(sim, d)) return 1;
        sim_block(dev, STATE_READY, t);
        if (look_for_periods(sim, d) != 0) return -1;
        sim_wake(sim, d, dev->since_ns, SHARE_WAIT);
        return 0;
    }
    end_first(sim, dev);
    return next_phase(sim, d, t);
}

/* Walks device d from the current time until it blocks or must queue up in the heap. */
static int advance(Sim *sim, int d)
{
    SimDevice *dev = device_at(sim, d);
    int64_t t = sim->now_ns;
    int     begins = dev->begun ? 1 : begin_phase(sim, d, t);

    if (begins <= 0) return begins;
    for (;;) {
        const Phase *phase = phase_of(dev);
        bool         ends = dev->index == phase->count;
        int          at = phase->first + dev->index, go;
        bool last_step = dev->step + 1 == phase->steps;

        if (!ends && begins_run(dev, at)) {
            if (walk_run(sim, dev, &t) < 0) return -1;
            continue;
        }
        /* Also at equal times: what this device just did may have woken lower numbers. */
        if (ends ? dev->out_count > 0 || is_looked_at(sim, d) || last_step
                 : interacts(sim, d, at, dev->code->code[at].op)) {
            SimEvent self = {t, 2 * d + 1};
            if (sim->heap_count > 0 && before(sim->heap[0], self)) {
                sim_block(dev, STATE_READY, t);
                heap_push(sim, self);
                return 0;
            }
            sim->now_ns = t;
            if (sim->islands) islands_note(sim, d, 2 * d + 1);
        }
        go = ends ? step_end(sim, d, t) : execute(sim, d, at, &t);
        if (go <= 0) return go;
    }
}

/* ---- a run ---------------------------------------------------------------------- */

static int deadlock(const Sim *sim)
{
    static const char *const waits[] = {"is ready", "waits for a message", "waits for a queue slot",
                                        "is sending", "waits for its group",
                                        "waits for an all-reduce",
                                        "waits for its messages to leave", "waits for the store",
                                        "is done"};
    for (int d = 0; d < sim->program->device_count; d++) {
        const SimDevice *dev = &sim->devices[d];
        char          text[160];
        if (dev->state == STATE_DONE) continue;
        int at = phase_of(dev)->first + dev->index;
        if (dev->index == phase_of(dev)->count) at--;
        return error_set(
            sim->err, "deadlock after %" PRId64 " ns: device %d %s at %s, phase %d, step %" PRId64,
            sim->now_ns, d, waits[dev->state],
            instruction_text(sim->program, &dev->code->code[at], text, sizeof text), dev->phase,
            dev->step);
    }
    return 0;
}

/* The device begins its first phase when its time comes. 1, or 0: it has nothing to do. */
static int begin_later(Sim *sim, int d)
{
    SimDevice *dev = device_at(sim, d);

    if (dev->code->phase_count == 0) return next_phase(sim, d, 0);
    dev->phase = 0;
    sim_block(dev, STATE_READY, sim->options->begin_ns[d]);
    return 1;
}

static int start_devices(Sim *sim)
{
    for (int d = 0; d < sim->program->device_count; d++) {
        SimDevice *dev = device_at(sim, d);
        take_code(sim, dev, &sim->program->devices[d], sim->costs.device[d], d);
        dev->phase = -1;
        if (sim->twin[d] != d) {             /* another one is simulated for it */
            end_first(sim, dev);
            sim_block(dev, STATE_DONE, 0);
            sim->live--;
            continue;
        }
        int go = sim->options->begin_ns ? begin_later(sim, d) : next_phase(sim, d, 0);
        if (go < 0) return -1;
        if (go) heap_push(sim, (SimEvent){dev->since_ns, 2 * d + 1});
        if (dev->state == STATE_DONE) end_first(sim, dev);
    }
    return 0;
}

/* The reference must be a device that is still at work. */
static void choose_reference(Sim *sim)
{
    if (!sim->steady || sim->reference >= 0) return;
    for (int d = sim->program->device_count - 1; d >= 0 && sim->reference < 0; d--)
        if (sim->devices[d].state != STATE_DONE && sim->devices[d].state != STATE_STORE)
            sim->reference = d;
}

static int run_events(Sim *sim)
{
    if (start_devices(sim) != 0) return -1;
    while (sim->heap_count > 0) {
        if (sim->options->first_phase && sim->first_left == 0) return 0;
        choose_reference(sim);
        SimEvent event = heap_pop(sim);
        sim->now_ns = event.time_ns;
        if (sim->now_ns > TIME_LIMIT_NS) return sim_too_long(sim);
        if (sim->islands) islands_note(sim, event.id / 2, event.id);
        int rc = event.id % 2 ? advance(sim, event.id / 2) : transfer_end(sim, event.id / 2);
        if (rc < 0) return -1;
    }
    return sim->live > 0 ? deadlock(sim) : 0;
}

/* ---- making and freeing the state -------------------------------------------------- */

/* Numbers the all-reduces of each group in the order its members meet them; an UPDATE
 * gets the number of its student's all-reduce in the same phase. */
static int number_reduces(Sim *sim)
{
    const Program *p = sim->program;
    int *base = calloc((size_t)p->group_count + 1, sizeof *base);
    int *seen = calloc((size_t)p->group_count + 1, sizeof *seen);
    int *of_student = malloc((size_t)program_student_count(p) * sizeof *of_student);
    int  rc = -1;

    if (!base || !seen || !of_student) { error_no_memory(sim->err); goto done; }
    for (int g = 0; g < p->group_count; g++) {
        const Code *code = &p->devices[p->groups[g].devices[0]];
        base[g] = sim->reduce_slot_count;
        for (int i = 0; i < code->code_count; i++)
            sim->reduce_slot_count += code->code[i].op == OP_ALLREDUCE && code->code[i].link == g;
    }
    for (int d = 0; d < p->device_count; d++) {
        const Code *code = &p->devices[d];
        sim->reduce_slot[d] = malloc(((size_t)code->code_count + 1) * sizeof(int));
        if (!sim->reduce_slot[d]) { error_no_memory(sim->err); goto done; }
        memset(seen, 0, (size_t)p->group_count * sizeof *seen);
        for (int f = 0; f < code->phase_count; f++) {
            for (int k = 0; k < program_student_count(p); k++) of_student[k] = -1;
            for (int i = 0; i < code->phases[f].count; i++) {
                int                at = code->phases[f].first + i;
                const Instruction *in = &code->code[at];
                sim->reduce_slot[d][at] = -1;
                if (in->op != OP_ALLREDUCE && in->op != OP_UPDATE) continue;
                int *slot = &of_student[program_student(p, in->block, in->student)];
                if (in->op == OP_ALLREDUCE) *slot = base[in->link] + seen[in->link]++;
                sim->reduce_slot[d][at] = *slot;
            }
        }
    }
    sim->reduces = calloc((size_t)sim->reduce_slot_count + 1, sizeof *sim->reduces);
    if (!sim->reduces) { error_no_memory(sim->err); goto done; }
    rc = 0;
done:
    free(base);
    free(seen);
    free(of_student);
    return rc;
}

/* Lists the channels by receiver. */
static void index_channels(Sim *sim)
{
    const Program *p = sim->program;

    for (int c = 0; c < p->channel_count; c++) sim->in_first[p->channels[c].to + 1]++;
    for (int d = 0; d < p->device_count; d++) sim->in_first[d + 1] += sim->in_first[d];
    for (int c = p->channel_count - 1; c >= 0; c--)
        sim->in_channels[--sim->in_first[p->channels[c].to + 1]] = c;
    for (int d = 0; d < p->device_count; d++) sim->in_first[d] = sim->in_first[d + 1];
    sim->in_first[p->device_count] = p->channel_count;
}

static bool loads(const Code *code)
{
    for (int i = 0; i < code->code_count; i++)
        if (code->code[i].op == OP_LOAD) return true;
    return false;
}

/* Devices that load in some step: a shared queue is everybody's. */
static int loading_devices(const Program *p)
{
    int count = 0;

    if (loads(&p->queue)) return p->device_count;
    for (int d = 0; d < p->device_count; d++) count += loads(&p->devices[d]);
    return count;
}

/* Instructions of all steps of all phases. */
static int64_t all_instructions(const Program *p)
{
    int64_t all = 0, own;

    for (int d = 0; d <= p->device_count; d++) {
        const Code *code = d < p->device_count ? &p->devices[d] : &p->queue;
        for (int f = 0; f < code->phase_count; f++)
            if (__builtin_mul_overflow(code->phases[f].steps, code->phases[f].count, &own)
                || __builtin_add_overflow(all, own, &all)) return INT64_MAX;
    }
    return all;
}

/* Makes what a run needs: devices, queues, lanes of the loader, costs, the store. On an error the
 * caller frees sim. */
static int sim_new(Sim *sim)
{
    const Program     *p = sim->program;
    const TraceLoader *loader = &sim->scenario->trace->loader;
    size_t             n = (size_t)p->device_count;

    sim->depth = sim->scenario->queue_depth;
    sim->blocking = sim->scenario->trace->blocking_transfers;
    sim->lane_count = loader->present ? loader->lanes : 0;
    sim->prefetch = trace_loader_ahead(loader, loading_devices(p));
    sim->live = sim->first_left = p->device_count;
    sim->reference = -1;
    sim->devices = calloc(n, sizeof *sim->devices);
    sim->slots = calloc((size_t)p->channel_count + 1, sizeof *sim->slots);
    sim->meets = calloc((size_t)p->group_count + 1, sizeof *sim->meets);
    sim->reduce_slot = calloc(n, sizeof *sim->reduce_slot);
    sim->lane_free_ns = calloc((size_t)sim->lane_count + 1, sizeof *sim->lane_free_ns);
    sim->in_channels = calloc((size_t)p->channel_count + 1, sizeof *sim->in_channels);
    sim->in_first = calloc(n + 2, sizeof *sim->in_first);
    sim->heap = calloc(2 * n + 2, sizeof *sim->heap);
    if (!sim->devices || !sim->slots || !sim->meets || !sim->reduce_slot || !sim->lane_free_ns
        || !sim->in_channels || !sim->in_first || !sim->heap) return error_no_memory(sim->err);
    for (int d = 0; d < p->device_count; d++) {
        sim->devices[d].ready_ns = calloc((size_t)sim->prefetch + 1, sizeof(int64_t));
        if (!sim->devices[d].ready_ns) return error_no_memory(sim->err);
    }
    index_channels(sim);
    if (number_reduces(sim) != 0) return -1;
    if (costs_build(&sim->costs, p, sim->scenario, sim->load, sim->err) != 0) return -1;
    if (storage_new(sim) != 0 || fold_new(sim) != 0 || stalls_new(sim) != 0) return -1;
    bool fast = !sim->options->step_by_step && !sim->options->record && !sim->options->jitter;
    if (fast && (runs_new(sim) != 0 || steady_new(sim) != 0 || islands_new(sim) != 0)) return -1;
    sim->all = p->channel_count > 0 ? all_instructions(p) : runs_length(sim);
    return 0;
}

/* Frees what sim_new() made, all of it or a part. */
static void sim_delete(Sim *sim)
{
    for (int d = 0; d < sim->program->device_count; d++) {
        if (sim->reduce_slot) free(sim->reduce_slot[d]);
        if (!sim->devices) continue;
        free(sim->devices[d].ready_ns);
        free(sim->devices[d].out);
        free(sim->devices[d].out_posted_ns);
    }
    steady_free(sim);
    islands_free(sim);
    storage_free(sim);
    runs_free(sim);
    stalls_free(sim);
    fold_free(sim);
    costs_free(&sim->costs);
    free(sim->devices);
    free(sim->slots);
    free(sim->meets);
    free(sim->reduce_slot);
    free(sim->reduces);
    free(sim->lane_free_ns);
    free(sim->in_channels);
    free(sim->in_first);
    free(sim->heap);
    free(sim->spans);
}

/* ---- the result --------------------------------------------------------------------- */

/* Teacher rows and loaded rows of a step of every phase of code; of one that does not do all of the
 * run's steps its part. */
static void count_work(const Code *code, int64_t steps, double *teacher, double *loaded)
{
    for (int p = 0; p < code->phase_count; p++) {
        double part = steps > 0 ? (double)code->phases[p].steps / (double)steps : 1;
        for (int i = code->phases[p].first; i < code->phases[p].first + code->phases[p].count;
             i++) {
            if (code->code[i].op == OP_TEACHER) *teacher += part * (double)code->code[i].rows;
            if (code->code[i].op == OP_LOAD) *loaded += part * (double)code->code[i].rows;
        }
    }
}

/* The result of a run that has ended; takes sim's spans over. */
static int fill_result(SimResult *out, Sim *sim)
{
    const Program *p = sim->program;
    double         teacher = 0, loaded = 0;

    assert(p->device_count >= 1);
    out->device_count = p->device_count;
    out->steps = p->steps;
    out->stores = sim->storage.used;
    out->shares = calloc((size_t)p->device_count, sizeof *out->shares);
    if (!out->shares) return error_no_memory(sim->err);
    for (int d = 0; d < p->device_count; d++) {
        if (sim->twin[d] == d) continue;
        sim->devices[d].since_ns = sim->devices[sim->twin[d]].since_ns;
        memcpy(sim->devices[d].share_ns, sim->devices[sim->twin[d]].share_ns,
               sizeof sim->devices[d].share_ns);
    }
    for (int d = 0; d < p->device_count; d++)
        if (sim->devices[d].since_ns > out->epoch_ns) out->epoch_ns = sim->devices[d].since_ns;
    for (int d = 0; d < p->device_count; d++) {
        SimDevice *dev = device_at(sim, d);
        dev->share_ns[SHARE_IDLE] += out->epoch_ns - dev->since_ns;
        memcpy(out->shares[d], dev->share_ns, sizeof dev->share_ns);
        count_work(&p->devices[d], p->steps, &teacher, &loaded);
    }
    count_work(&p->queue, p->steps, &teacher, &loaded);
    out->estimated = sim->stopped;
    out->least_ns = sim->stopped ? sim->least_ns : out->epoch_ns;
    out->most_ns = sim->stopped ? sim->most_ns : out->epoch_ns;
    out->skipped = sim->skipped;
    out->simulated = sim->simulated;
    out->teacher_work = teacher / ((double)p->batch * p->block_count);
    out->loads = loaded / (double)p->batch;
    out->utilisation = sim_utilisation(out);
    out->spans = sim->spans;
    out->span_count = sim->span_count;
    sim->spans = NULL;
    return 0;
}

int64_t share_busy_ns(const int64_t shares[SHARE_COUNT])
{
    return shares[SHARE_TEACHER] + shares[SHARE_STUDENT] + shares[SHARE_UPDATE];
}

double sim_utilisation(const SimResult *result)
{
    int64_t busy = 0;

    for (int d = 0; d < result->device_count; d++) busy += share_busy_ns(result->shares[d]);
    return result->epoch_ns > 0
               ? (double)busy / ((double)result->epoch_ns * result->device_count)
               : 0;
}

const char *share_name(TimeShare share)
{
    static const char *const names[SHARE_COUNT] = {
        "load", "teacher", "student", "allreduce", "update", "transfer", "wait", "idle", "storage"};

    return names[share];
}

int sim_play(SimResult *out, const Program *program, const Scenario *scenario,
             const SimOptions *options, const double *load, Error *err)
{
    Sim sim = {
        .program = program, .scenario = scenario, .options = options, .load = load, .err = err};
    int rc = -1;

    *out = (SimResult){0};
    bool alone;
    if (sim_new(&sim) == 0 && alone_run(&sim, &alone) == 0) {
        bool in_order = !alone && flow_run(&sim);
        bool played = alone || in_order || run_events(&sim) == 0;
        if (!played && sim.stopped) played = estimate_run(&sim) == 0;
        if (played && fill_result(out, &sim) == 0) rc = 0;
        out->in_order = in_order;
    }
    sim_delete(&sim);
    if (rc != 0) {
        sim_free(out);
        out->simulated = sim.simulated;
    }
    return rc;
}

void sim_free(SimResult *result)
{
    free(result->shares);
    free(result->spans);
    *result = (SimResult){0};
}
