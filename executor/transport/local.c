/* The transport between threads of one process.
 *
 * A channel is a ring of queue_depth buffers in the receiver's memory, with one thread at
 * each end:
 *
 *     send:     wait for a free buffer | copy rows into it | held + 1
 *     receive:  wait for a full one    | take it (copy, or swap for a spare) | held - 1
 *
 * A group meets: all members arrive before any goes on. An all-reduce meets, each member
 * then sums one slice of all members' values and writes it back to all of them, and they
 * meet again:
 *
 *     member 0   |sum 0..k|            of every slice the addends come in the order of
 *     member 1            |sum k..n|   the members, whoever adds them */
#include "executor/transport/transport.h"

#include <stdlib.h>
#include <string.h>

#include "executor/measure/clock.h"
#include "executor/transport/barrier.h"

enum { SPINS = 1000, CHUNK = 256 };

typedef struct {
    EventCount   held;            /* messages in the ring */
    float **ring;            /* [queue_depth], of the receiver's memory; NULL before it joins */
    size_t  capacity;        /* floats of each */
    int     next, first;     /* the sender's end, the receiver's */
    Device *memory;
} LocalQueue;

typedef struct {             /* what a member brings to a barrier */
    const GradientRun *runs;
    int                run_count;
    double             loss;
    double            *values;
    int                value_count;
} SumPart;

typedef struct {
    Barrier    barrier;
    SumPart      *parts;        /* [count] */
    const int *devices;      /* borrowed from the program */
    int        count;
} LocalTeam;

typedef struct {
    Transport   head;
    LocalQueue      *queues;      /* [queue_count], one a channel */
    LocalTeam       *teams;       /* [team_count], one a group */
    int         queue_count, team_count;
    const Channel *channels; /* borrowed from the program */
    World      *world;
    int         depth;
    WaitPolicy  rules;
} Local;

/* ---- channels ---------------------------------------------------------------- */

static int join(Transport *transport, int device, Device *memory, int64_t *bytes, Error *err)
{
    Local *t = (Local *)transport;

    *bytes = 0;
    for (int c = 0; c < t->queue_count; c++) {
        LocalQueue *q = &t->queues[c];
        if (t->channels[c].to != device || !world_has_device(t->world, t->channels[c].from)) continue;
        q->memory = memory;
        for (int i = 0; i < t->depth; i++) {
            q->ring[i] = device_alloc(memory, q->capacity);
            if (!q->ring[i]) return error_set(err, "no memory for the queue of messages to device %d", device);
            *bytes += (int64_t)(q->capacity * sizeof(float));
        }
    }
    return 0;
}

static void leave(Transport *transport, int device)
{
    Local *t = (Local *)transport;

    for (int c = 0; c < t->queue_count; c++) {
        LocalQueue *q = &t->queues[c];
        if (t->channels[c].to != device) continue;
        for (int i = 0; i < t->depth; i++) {
            if (q->ring[i]) device_release(q->memory, q->ring[i]);
            q->ring[i] = NULL;
        }
    }
}

static int send(Transport *transport, int channel, const float *values, size_t count, int64_t *ready_ns,
                Error *err)
{
    Local *t = (Local *)transport;
    LocalQueue *q = &t->queues[channel];

    if (eventcount_wait(&t->rules, &q->held, t->depth, err) != 0) return -1;
    *ready_ns = clock_ns();
    memcpy(q->ring[q->next], values, count * sizeof *values);
    q->next = (q->next + 1) % t->depth;
    eventcount_add(&q->held, 1);
    return 0;
}

static int receive(Transport *transport, int channel, float **values, size_t count, bool swap,
                   int64_t *ready_ns, Error *err)
{
    Local *t = (Local *)transport;
    LocalQueue *q = &t->queues[channel];

    if (eventcount_wait(&t->rules, &q->held, 0, err) != 0) return -1;
    *ready_ns = clock_ns();
    float *message = q->ring[q->first];
    if (swap) {
        q->ring[q->first] = *values;
        *values = message;
    } else {
        memcpy(*values, message, count * sizeof **values);
    }
    q->first = (q->first + 1) % t->depth;
    eventcount_add(&q->held, -1);
    return 0;
}

/* ---- groups ------------------------------------------------------------------ */

/* Adds the values at offset of one run over all members, in order, and gives the sum to all. */
static void sum_chunk(const LocalTeam *team, int run, int64_t offset, int64_t count)
{
    float   sum[CHUNK] = {0};
    int64_t n = count < CHUNK ? count : CHUNK;

    memcpy(sum, team->parts[0].runs[run].values + offset, (size_t)n * sizeof *sum);
    for (int m = 1; m < team->count; m++) {
        const float *more = team->parts[m].runs[run].values + offset;
        if (n == CHUNK) for (int i = 0; i < CHUNK; i++) sum[i] += more[i];
        else            for (int64_t i = 0; i < n; i++) sum[i] += more[i];
    }
    for (int m = 0; m < team->count; m++)
        memcpy(team->parts[m].runs[run].values + offset, sum, (size_t)n * sizeof *sum);
}

/* A member's slice: chunks are dealt out in turn. */
static void sum_slice(const LocalTeam *team, int member)
{
    const SumPart *part = &team->parts[member];
    int64_t     chunk = 0;

    for (int r = 0; r < part->run_count; r++)
        for (int64_t at = 0; at < part->runs[r].count; at += CHUNK, chunk++)
            if (chunk % team->count == member) sum_chunk(team, r, at, part->runs[r].count - at);
}

static int check_parts(const LocalTeam *team, Error *err)
{
    const SumPart *first = &team->parts[0];

    for (int m = 1; m < team->count; m++) {
        const SumPart *part = &team->parts[m];
        if (part->value_count != first->value_count
            || !transport_runs_match(part->runs, part->run_count, first->runs, first->run_count))
            return error_set(err, "devices %d and %d have different gradients to sum", team->devices[0],
                                    team->devices[m]);
    }
    return 0;
}

static int reduce(Transport *transport, int group, int device, const GradientRun *runs, int run_count,
                  double *loss, int64_t *ready_ns, Error *err)
{
    Local *t = (Local *)transport;
    LocalTeam  *team = &t->teams[group];
    int    self = transport_member(team->devices, device);
    double total = 0;

    team->parts[self] = (SumPart){.runs = runs, .run_count = run_count, .loss = *loss};
    if (barrier_wait(&t->rules, &team->barrier, false, err) != 0) return -1;
    *ready_ns = clock_ns();
    int rc = check_parts(team, err);             /* the same to all */
    if (rc == 0) sum_slice(team, self);
    for (int m = 0; m < team->count; m++) total += team->parts[m].loss;
    barrier_wait(&t->rules, &team->barrier, true, NULL);
    *loss = total;
    return rc;
}

static int sum(Transport *transport, int group, int device, double *values, int count, Error *err)
{
    Local *t = (Local *)transport;
    LocalTeam  *team = &t->teams[group];
    int    self = transport_member(team->devices, device);

    team->parts[self] = (SumPart){.values = values, .value_count = count};
    if (barrier_wait(&t->rules, &team->barrier, false, err) != 0) return -1;
    int rc = check_parts(team, err);             /* the same to all */
    for (int i = self; rc == 0 && i < count; i += team->count) {
        double total = team->parts[0].values[i];
        for (int m = 1; m < team->count; m++) total += team->parts[m].values[i];
        for (int m = 0; m < team->count; m++) team->parts[m].values[i] = total;
    }
    barrier_wait(&t->rules, &team->barrier, true, NULL);
    return rc;
}

static int barrier(Transport *transport, int group, int device, int64_t *ready_ns, Error *err)
{
    Local *t = (Local *)transport;

    (void)device;
    if (barrier_wait(&t->rules, &t->teams[group].barrier, false, err) != 0) return -1;
    *ready_ns = clock_ns();
    return 0;
}

/* ---- beginning and end ------------------------------------------------------- */

/* The number is left as it is: whoever waits looks at the flag when woken. */
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
        free(t->teams[g].parts);
    }
    free(t->queues);
    free(t->teams);
    free(t);
}

static const TransportOps local_ops = {.join = join, .leave = leave, .send = send, .receive = receive,
                                       .reduce = reduce, .sum = sum, .barrier = barrier, .stop = stop,
                                       .free = local_free};

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
        team->count = program->groups[g].count;
        team->parts = calloc((size_t)team->count, sizeof *team->parts);
        if (!team->parts) return -1;
        team->barrier.expected = team->count;
        eventcount_open(&team->barrier.eventcount);
        t->team_count++;
    }
    return 0;
}

int local_new(Transport **out, const TransportOptions *options, Error *err)
{
    const Program *program = options->program;
    Local         *t = calloc(1, sizeof *t);

    *out = NULL;
    if (!t) return error_no_memory(err);
    t->head.ops = &local_ops;
    t->channels = program->channels;
    t->world = options->world;
    t->depth = options->queue_depth;
    t->rules.spins = options->spin ? SPINS : 0;
    t->queues = calloc((size_t)program->channel_count + 1, sizeof *t->queues);
    t->teams = calloc((size_t)program->group_count + 1, sizeof *t->teams);
    if (!t->queues || !t->teams || open_queues(t, options) != 0 || open_teams(t, program) != 0) {
        local_free(&t->head);
        return error_no_memory(err);
    }
    *out = &t->head;
    return 0;
}
