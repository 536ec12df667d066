/* The transport between devices of one process.
 *
 * Threads wait for each other until the other's work is enqueued; devices wait for it in their
 * streams, for events (kernels/stream.h). Where work is done when a call returns, as the CPU's is,
 * an event that was recorded is over, and the threads' waits are all there are. A channel is a ring
 * of boxes in the receiver's memory, each with an event at either end:
 *
 *     send:     thread waits for a box that is given back | stream waits for its event empty
 *               | move rows into it | event full
 *     receive:  thread waits for a box that is sent       | stream waits for its event full
 *               | copy, or swap for a spare | event empty
 *
 * An all-reduce: every member events that its gradients are there, the threads meet, each
 * stream waits for all events, sums its slice of every run and gives it to all; again events, a
 * barrier and waits. A member whose kernels do not reach the memory of all others moves
 * pieces to and fro instead. Addends come in the order of the members either way.
 *
 * Sums of doubles go by way of the host's memory, which all reach. What a member may come to
 * again before the others have left is there twice, and used in turn: whoever is at the second
 * sum after has met all that were at the first, and its stream has waited for theirs. Nothing
 * is allocated but in join(). */
#include "executor/transport/transport.h"

#include <stdlib.h>
#include <string.h>

#include "executor/transport/barrier.h"

/* FAR: floats of a piece that is moved; DOUBLES: summed at a time. */
enum { SPINS = 1000, FAR = 1 << 18, DOUBLES = 4096 };

typedef struct {
    float *memory;           /* of the receiver */
    StreamEvent  *full, *empty;     /* of the sender, of the receiver */
} LocalBox;

typedef struct {
    EventCount   held;            /* boxes that are sent and not given back */
    LocalBox    *ring;            /* [depth] */
    size_t  capacity;        /* floats of each */
    int     next, first;     /* the sender's end, the receiver's */
} LocalQueue;

/* A member's events: of the pairs the one of its turn, which is the same for all members. */
enum { COME, BROUGHT = COME + 2, DONE = BROUGHT + 2, MARKS };

typedef struct {             /* a member of a group, and what it brings to a barrier */
    StreamEvent              *events[MARKS];
    int                turn, sum_turn;   /* of COME; of BROUGHT and sums */
    double            *sums[2];          /* [DOUBLES] */
    double            *loss;             /* where the total is until all have read the losses */
    float             *far;              /* [2 * FAR]; NULL: all others are within reach */
    const GradientRun *runs;
    int                run_count, value_count;
    double            *part;             /* its loss */
} LocalMember;

typedef struct {
    Barrier    barrier;
    LocalMember    *members;      /* [count] */
    const int *devices;      /* borrowed from the program */
    int        count;
} LocalTeam;

typedef struct {
    Device *memory;          /* NULL before it joins */
    StreamEvent   *ready;           /* for the next call */
} LocalJoined;

typedef struct {
    Transport        head;
    LocalQueue           *queues;     /* [queue_count], one a channel */
    LocalTeam            *teams;      /* [team_count], one a group */
    LocalJoined          *joined;     /* [devices] */
    int              queue_count, team_count;
    const Channel   *channels;   /* borrowed from the program */
    const DeviceSpec *devices;
    World           *world;
    int              depth;
    WaitPolicy        rules;
} Local;

/* ---- joining ------------------------------------------------------------------- */

static int open_box(const LocalQueue *q, LocalBox *box, Device *memory, int64_t *bytes, Error *err)
{
    box->memory = device_alloc(memory, q->capacity);
    if (!box->memory) return device_no_memory(memory, q->capacity, "a message of a queue", err);
    *bytes += (int64_t)(q->capacity * sizeof(float));
    return event_new(&box->empty, memory, err);
}

/* Both ends are in this process. */
static bool is_here(const Local *t, int channel)
{
    return world_has_device(t->world, t->channels[channel].from)
           && world_has_device(t->world, t->channels[channel].to);
}

static int open_channels(Local *t, int device, Device *memory, int64_t *bytes, Error *err)
{
    for (int c = 0; c < t->queue_count; c++)
        for (int i = 0; i < t->depth; i++) {
            LocalBox *box = &t->queues[c].ring[i];
            if (!is_here(t, c)) continue;
            if (t->channels[c].to == device
                && open_box(&t->queues[c], box, memory, bytes, err) != 0)
                return -1;
            if (t->channels[c].from == device && event_new(&box->full, memory, err) != 0) return -1;
        }
    return 0;
}

static bool is_team_here(const Local *t, const LocalTeam *team)
{
    for (int m = 0; m < team->count; m++)
        if (!world_has_device(t->world, team->devices[m])) return false;
    return true;
}

static bool reaches_all(const Local *t, const LocalTeam *team, Device *memory)
{
    for (int m = 0; m < team->count; m++)
        if (!stream_reaches(memory, t->devices, team->devices[m])) return false;
    return true;
}

static int open_member(Local *t, const LocalTeam *team, LocalMember *member, Device *memory,
                       int64_t *bytes, Error *err)
{
    for (int i = 0; i < MARKS; i++)
        if (event_new(&member->events[i], memory, err) != 0) return -1;
    for (int i = 0; i < 2; i++) {
        member->sums[i] = host_alloc(t->devices, DOUBLES * sizeof(double));
        if (!member->sums[i]) return error_set(err, "no pinned memory of the host for sums");
    }
    member->loss = host_alloc(t->devices, sizeof(double));
    if (!member->loss) return error_set(err, "no pinned memory of the host for sums");
    if (reaches_all(t, team, memory)) return 0;
    member->far = device_alloc(memory, 2 * FAR);
    *bytes += (int64_t)(2 * FAR * sizeof(float));
    return member->far ? 0 : device_no_memory(memory, 2 * FAR, "sums with GPUs out of reach", err);
}

static int join(Transport *transport, int device, Device *memory, int64_t *bytes, Error *err)
{
    Local *t = (Local *)transport;

    *bytes = 0;
    t->joined[device].memory = memory;
    if (open_channels(t, device, memory, bytes, err) != 0) return -1;
    for (int g = 0; g < t->team_count; g++)
        for (int m = 0; m < t->teams[g].count; m++)
            if (t->teams[g].devices[m] == device && is_team_here(t, &t->teams[g])
                && open_member(t, &t->teams[g], &t->teams[g].members[m], memory, bytes, err) != 0)
                return -1;
    return 0;
}

static void close_member(const Local *t, LocalMember *member, Device *memory)
{
    for (int i = 0; i < MARKS; i++) event_free(member->events[i]);
    for (int i = 0; i < 2; i++) host_release(t->devices, member->sums[i]);
    host_release(t->devices, member->loss);
    device_release(memory, member->far);
    *member = (LocalMember){0};
}

static void leave(Transport *transport, int device)
{
    Local *t = (Local *)transport;
    Device *memory = t->joined[device].memory;

    for (int c = 0; c < t->queue_count; c++)
        for (int i = 0; i < t->depth; i++) {
            LocalBox *box = &t->queues[c].ring[i];
            if (t->channels[c].to == device) {
                device_release(memory, box->memory);
                event_free(box->empty);
                box->memory = NULL;
                box->empty = NULL;
            }
            if (t->channels[c].from == device) { event_free(box->full); box->full = NULL; }
        }
    for (int g = 0; g < t->team_count; g++)
        for (int m = 0; m < t->teams[g].count; m++)
            if (t->teams[g].devices[m] == device) close_member(t, &t->teams[g].members[m], memory);
}

static void expect(Transport *transport, int device, StreamEvent *ready)
{
    ((Local *)transport)->joined[device].ready = ready;
}

/* ---- channels ------------------------------------------------------------------ */

static int send(Transport *transport, int channel, const float *values, size_t count, Error *err)
{
    Local *t = (Local *)transport;
    LocalQueue  *q = &t->queues[channel];
    LocalJoined *from = &t->joined[t->channels[channel].from],
                *to = &t->joined[t->channels[channel].to];

    if (eventcount_wait(&t->rules, &q->held, t->depth, err) != 0) return -1;
    LocalBox *box = &q->ring[q->next];
    if (stream_wait_event(from->memory, box->empty, err) != 0
        || event_record_once(from->memory, &from->ready, err) != 0)
        return -1;
    if (stream_move(from->memory, box->memory, to->memory, values, from->memory, (int64_t)count,
                    err)
        != 0)
        return -1;
    if (event_record(from->memory, box->full, err) != 0) return -1;
    q->next = (q->next + 1) % t->depth;
    eventcount_add(&q->held, 1);
    return 0;
}

/* Takes the oldest message of a channel once its sender has enqueued it; the device waits for the
 * sender's event. swap: *values and the message's memory change places, so nothing is copied; the
 * old one may only be memory that this device's earlier work alone uses. */
static int receive(Transport *transport, int channel, float **values, size_t count, bool swap,
                   Error *err)
{
    Local *t = (Local *)transport;
    LocalQueue  *q = &t->queues[channel];
    LocalJoined *to = &t->joined[t->channels[channel].to];

    if (eventcount_wait(&t->rules, &q->held, 0, err) != 0) return -1;
    LocalBox   *box = &q->ring[q->first];
    float *message = box->memory;
    if (stream_wait_event(to->memory, box->full, err) != 0
        || event_record_once(to->memory, &to->ready, err) != 0)
        return -1;
    if (swap) {                                  /* what used the spare was queued before the
                                                  * event */
        box->memory = *values;
        *values = message;
    } else {
        device_copy(to->memory, *values, message, (int64_t)count);
    }
    if (event_record(to->memory, box->empty, err) != 0) return -1;
    q->first = (q->first + 1) % t->depth;
    eventcount_add(&q->held, -1);
    return 0;
}

/* ---- groups -------------------------------------------------------------------- */

/* Tells the others' threads that what the stream has so far is marked. */
static int arrive(Local *t, LocalTeam *team, int self, Device *memory, int event, Error *err)
{
    return event_record(memory, team->members[self].events[event], err) == 0
               ? barrier_wait(&t->rules, &team->barrier, false, err)
               : -1;
}

static int wait_for(const LocalTeam *team, int self, Device *memory, int event, Error *err)
{
    for (int m = 0; m < team->count; m++)
        if (m != self && stream_wait_event(memory, team->members[m].events[event], err) != 0)
            return -1;
    return 0;
}

/* LocalMember m's part of count values: from a multiple of 4, so that all are aligned as the first
 * is. */
static int64_t slice_begin(int64_t count, int members, int m)
{
    return m == members ? count : count / members / 4 * 4 * m;
}

static int sum_far(Local *t, const LocalTeam *team, int self, int run, int64_t at, int64_t count,
                   Error *err)
{
    Device *memory = t->joined[team->devices[self]].memory;
    float  *sum = team->members[self].far, *more = sum + FAR;

    for (int m = 0; m < team->count; m++) {
        const float *from = team->members[m].runs[run].values + at;
        if (stream_move(memory, m == 0 ? sum : more, memory, from,
                        t->joined[team->devices[m]].memory, count, err)
            != 0)
            return -1;
        if (m > 0 && stream_sum(memory, (float *[]){sum, more}, 2, count, err) != 0) return -1;
    }
    for (int m = 0; m < team->count; m++)
        if (stream_move(memory, team->members[m].runs[run].values + at,
                        t->joined[team->devices[m]].memory, sum, memory, count, err)
            != 0)
            return -1;
    return 0;
}

static int sum_near(Local *t, const LocalTeam *team, int self, int run, int64_t at, int64_t count,
                    Error *err)
{
    float *values[DEVICES_MAX];

    for (int m = 0; m < team->count; m++) values[m] = team->members[m].runs[run].values + at;
    return stream_sum(t->joined[team->devices[self]].memory, values, team->count, count, err);
}

static int sum_slices(Local *t, const LocalTeam *team, int self, Error *err)
{
    const LocalMember *member = &team->members[self];

    for (int r = 0; r < member->run_count; r++) {
        int64_t at = slice_begin(member->runs[r].count, team->count, self);
        int64_t end = slice_begin(member->runs[r].count, team->count, self + 1);
        for (int64_t n; at < end; at += n) {
            n = member->far && end - at > FAR ? FAR : end - at;
            if ((member->far ? sum_far : sum_near)(t, team, self, r, at, n, err) != 0) return -1;
        }
    }
    return 0;
}

static int sum_losses(Local *t, const LocalTeam *team, int self, Error *err)
{
    double *values[DEVICES_MAX];

    for (int m = 0; m < team->count; m++) values[m] = team->members[m].part;
    return stream_sum_doubles(t->joined[team->devices[self]].memory, team->members[self].loss,
                              values, team->count, 1, err);
}

static int check_parts(const LocalTeam *team, Error *err)
{
    const LocalMember *first = &team->members[0];

    for (int m = 1; m < team->count; m++) {
        const LocalMember *member = &team->members[m];
        if (member->value_count != first->value_count
            || !transport_runs_match(member->runs, member->run_count, first->runs,
                                     first->run_count))
            return error_set(err, "devices %d and %d have different gradients to sum",
                             team->devices[0], team->devices[m]);
    }
    return 0;
}

/* Sums gradients and losses over the group: every member waits for all, sums its slice of all of
 * them in the order of devices, and waits for all again. */
static int reduce(Transport *transport, int group, int device, const GradientRun *runs,
                  int run_count, double *loss, Error *err)
{
    Local *t = (Local *)transport;
    LocalTeam   *team = &t->teams[group];
    int     self = transport_member(team->devices, device);
    LocalMember *member = &team->members[self];
    Device *memory = t->joined[device].memory;

    member->runs = runs;
    member->run_count = run_count;
    member->value_count = 0;
    member->part = loss;
    member->turn ^= 1;
    if (arrive(t, team, self, memory, COME + member->turn, err) != 0) return -1;
    int rc = wait_for(team, self, memory, COME + member->turn, err);
    if (rc == 0) rc = event_record_once(memory, &t->joined[device].ready, err);
    if (rc == 0) rc = check_parts(team, err);                /* the same to all */
    if (rc == 0) rc = sum_slices(t, team, self, err);
    if (rc == 0) rc = sum_losses(t, team, self, err);
    if (rc == 0) rc = event_record(memory, member->events[DONE], err);
    barrier_wait(&t->rules, &team->barrier, true, NULL);
    if (rc == 0) rc = wait_for(team, self, memory, DONE, err);
    return rc == 0 ? stream_sum_doubles(memory, loss, &member->loss, 1, 1, err) : -1;
}

static int sum_piece(Local *t, LocalTeam *team, int self, double *values, int count, Error *err)
{
    LocalMember *member = &team->members[self];
    Device *memory = t->joined[team->devices[self]].memory;
    double *of_all[DEVICES_MAX];

    member->run_count = 0;
    member->value_count = count;
    member->sum_turn ^= 1;
    if (stream_sum_doubles(memory, member->sums[member->sum_turn], &values, 1, count, err) != 0)
        return -1;
    if (arrive(t, team, self, memory, BROUGHT + member->sum_turn, err) != 0) return -1;
    int rc = wait_for(team, self, memory, BROUGHT + member->sum_turn, err);
    if (rc == 0) rc = check_parts(team, err);                /* the same to all */
    for (int m = 0; m < team->count; m++) of_all[m] = team->members[m].sums[member->sum_turn];
    if (rc == 0) rc = stream_sum_doubles(memory, values, of_all, team->count, count, err);
    barrier_wait(&t->rules, &team->barrier, true, NULL);             /* all have seen what the
                                                                      * others bring */
    return rc;
}

static int sum(Transport *transport, int group, int device, double *values, int count, Error *err)
{
    Local *t = (Local *)transport;
    LocalTeam   *team = &t->teams[group];

    for (int at = 0; at < count; at += DOUBLES) {
        int n = count - at < DOUBLES ? count - at : DOUBLES;
        if (sum_piece(t, team, transport_member(team->devices, device), values + at, n, err) != 0)
            return -1;
    }
    return 0;
}

static int barrier(Transport *transport, int group, int device, Error *err)
{
    Local *t = (Local *)transport;
    LocalTeam   *team = &t->teams[group];
    int     self = transport_member(team->devices, device);
    Device *memory = t->joined[device].memory;
    int     turn = team->members[self].turn ^= 1;

    if (arrive(t, team, self, memory, COME + turn, err) != 0) return -1;
    if (wait_for(team, self, memory, COME + turn, err) != 0) return -1;
    return event_record_once(memory, &t->joined[device].ready, err);
}

/* ---- beginning and end ----------------------------------------------------------- */

static void stop(Transport *transport)
{
    Local *t = (Local *)transport;

    atomic_store(&t->rules.stopped, true);
    for (int c = 0; c < t->queue_count; c++) eventcount_add(&t->queues[c].held, 0);
    for (int g = 0; g < t->team_count; g++) eventcount_add(&t->teams[g].barrier.eventcount, 0);
}

static void local_free(Transport *transport)
{
    Local *t = (Local *)transport;

    for (int c = 0; c < t->queue_count; c++) {
        eventcount_close(&t->queues[c].held);
        free(t->queues[c].ring);
    }
    for (int g = 0; g < t->team_count; g++) {
        eventcount_close(&t->teams[g].barrier.eventcount);
        free(t->teams[g].members);
    }
    free(t->queues);
    free(t->teams);
    free(t->joined);
    free(t);
}

static const TransportOps local_ops = {.join = join, .leave = leave, .send = send,
                                       .receive = receive, .reduce = reduce, .sum = sum,
                                       .barrier = barrier, .stop = stop, .free = local_free,
                                       .expect = expect, .overlaps = transport_overlaps_nothing,
                                       .finish = transport_finish_nothing,
                                       .in_flight = transport_nothing_in_flight};

static int open_queues(Local *t, const TransportOptions *options)
{
    for (int c = 0; c < options->program->channel_count; c++) {
        LocalQueue *q = &t->queues[c];
        q->capacity = options->message_count[c];
        q->ring = calloc((size_t)t->depth, sizeof *q->ring);
        if (!q->ring) return -1;
        eventcount_open(&q->held);
        t->queue_count++;
    }
    return 0;
}

static int open_teams(Local *t, const Program *program)
{
    for (int g = 0; g < program->group_count; g++) {
        LocalTeam *team = &t->teams[g];
        team->devices = program->groups[g].devices;
        team->count = team->barrier.expected = program->groups[g].count;
        team->members = calloc((size_t)team->count, sizeof *team->members);
        if (!team->members) return -1;
        eventcount_open(&team->barrier.eventcount);
        t->team_count++;
    }
    return 0;
}

int local_new(Transport **out, const TransportOptions *options, Error *err)
{
    const Program *program = options->program;
    Local        *t = calloc(1, sizeof *t);

    *out = NULL;
    if (!t) return error_no_memory(err);
    t->head.ops = &local_ops;
    t->channels = program->channels;
    t->devices = options->devices;
    t->world = options->world;
    t->depth = options->queue_depth;
    t->rules.spins = options->spin ? SPINS : 0;
    t->queues = calloc((size_t)program->channel_count + 1, sizeof *t->queues);
    t->teams = calloc((size_t)program->group_count + 1, sizeof *t->teams);
    t->joined = calloc((size_t)program->device_count, sizeof *t->joined);
    if (!t->queues || !t->teams || !t->joined || open_queues(t, options) != 0
        || open_teams(t, program) != 0) {
        local_free(&t->head);
        return error_no_memory(err);
    }
    *out = &t->head;
    return 0;
}
