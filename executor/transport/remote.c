/* The transport between processes, over the world's messages; what has both ends in this
 * process goes through a `local` inside.
 *
 *     sender's process                        receiver's process
 *     send: copy -> ring of queue_depth ----> ring of queue_depth -> receive: copy or swap
 *           a place is free again when        <---- credit
 *           it was sent, and its credit came
 *
 * So a full queue blocks its sender as it does locally, and the world sends while the device
 * computes. Rows and gradients of an asynchronous device (kernels/stream.h) go by way of the host's
 * memory, which the world reads and writes: its thread waits until they are there before they are
 * sent, and gives a place back once they are on the device. Sums: executor/net/chain_sum.h. A
 * barrier is counted by the first rank of the group.
 *
 * No wait is for a thing that only a message could end: each looks at the same flag, so that
 * stop() ends them all, whether peers live or not. */
#include "executor/transport/transport.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "executor/net/chain_sum.h"
#include "base/clock.h"
#include "executor/transport/barrier.h"
#include "kernels/stream.h"

enum { SPINS = 1000, PATIENCE_MS = 2000, LOOK_NS = 200000 };
enum { KIND_ROWS, KIND_CREDIT, KIND_ARRIVED, KIND_RELEASED };

struct Remote;

/* A place of a ring. */
typedef struct {
    struct RemoteLine *line;
    float       *values;
    bool         done;           /* out: the world has let go of it; in: the message is whole */
    int64_t      sent_ns, arrived_ns;
} RemoteSlot;

/* A channel with one end here. */
typedef struct RemoteLine {
    struct Remote *remote;
    int       channel, peer;     /* rank of the other end */
    bool      out;
    size_t    capacity;          /* floats of a message */
    Device   *memory;
    StreamEvent *loaded;         /* in, of an asynchronous device: the last message is on the
                                  * device; */
    bool      owes;              /* and then its place is to be given back */
    bool      on_host;           /* the ring is in the host's memory */
    RemoteSlot     *ring;              /* [depth] */
    EventCount     ready;             /* out: free places; in: messages */
    int       next;              /* the device's end */
    pthread_mutex_t lock;        /* for what follows */
    int       oldest;            /* out: the next place to be free; in: the next message to be
                                  * whole */
    int       placed;            /* in: where the next message goes */
    int       credits;           /* out: messages taken by the receiver, whose place is not yet
                                  * free */
    int64_t   sent_ns, arrived_ns;       /* in: of the last that was received */
    _Atomic int64_t bytes;       /* of the latest message */
} RemoteLine;

/* A sum of an asynchronous device's gradients, from reduce() to finish(). */
typedef struct {
    GradientRun *host, *device;  /* [count]: the runs in the host's memory, and where they belong */
    int          count, capacity;
    float       *memory;         /* [floats] */
    int64_t      floats;
} StagedSum;

typedef struct {
    Device      *memory;         /* NULL: not here, or not joined */
    StreamEvent *ready;          /* for the next call */
    StagedSum   *sums;           /* [groups][blocks]: rings of those that were begun and not
                                  * finished */
    int         *begun, *finished;       /* [groups] */
    double      *statistics;     /* [statistics_count] */
    int          statistics_count;
} RemoteJoined;

/* Barriers of a group that spans processes. */
typedef struct {
    Chain  *chain;               /* NULL: the group is all in one process */
    int     ranks, root, members;        /* ranks that have members; the first of them; members
                                          * here */
    pthread_mutex_t lock;
    int     arrived, come;       /* devices here; at the root: ranks */
    EventCount   released;            /* barriers that are over */
} ByteSpan;

typedef struct Remote {
    Transport   head;
    Transport  *local;
    World      *world;
    int64_t     number;
    const Program *program;      /* borrowed */
    const DeviceSpec *devices;
    int         depth;
    bool        hurry;
    WaitPolicy   rules;
    CoreTimes  *core_times;
    atomic_int  sending;         /* payloads that the world still reads */
    RemoteJoined     *joined;          /* [devices] */
    RemoteLine      **lines;           /* [channels]; NULL: both ends here, or none */
    ByteSpan       *spans;           /* [groups] */
} Remote;

/* ---- messages ------------------------------------------------------------------------ */

static void post_or_fail(Remote *t, int to, int kind, int id)
{
    Message m = {.port = PORT_TRANSPORT, .kind = kind, .id = id, .number = t->number};
    Error   err;

    if (world_post(t->world, to, &m, NULL, NULL, NULL, &err) != 0) world_fail(t->world, &err);
}

static int wait_for(Remote *t, EventCount *eventcount, int value, Error *err)
{
    if (t->hurry) world_hurry(t->world, 1);
    int rc = eventcount_wait(&t->rules, eventcount, value, err);
    if (t->hurry) world_hurry(t->world, -1);
    return rc;
}

/* ---- processor time ---------------------------------------------------------------------- */

/* A message of the channel, at this end. */
static TransferKind message_kind(const RemoteLine *line, int64_t bytes)
{
    return (TransferKind){line->out ? OP_SEND : OP_RECV, 0, bytes};
}

static TransferKind sum_kind(const Remote *t, int group, int64_t bytes)
{
    return (TransferKind){OP_ALLREDUCE, t->program->groups[group].count, bytes};
}

/* What the device's thread has had so far, where somebody asks. */
static int64_t own_ns(const Remote *t) { return t->core_times ? clock_thread_ns() : 0; }

/* It has had so much since from_ns for the transfer. */
static void note_own(Remote *t, TransferKind kind, int64_t from_ns)
{
    if (t->core_times) core_times_add(t->core_times, kind, clock_thread_ns() - from_ns);
}

/* The world's thread, for a message to or from here. A credit is part of its message. */
static void spent(void *context, const Message *m, int64_t ns)
{
    Remote *t = context;

    if (m->kind == KIND_ROWS || m->kind == KIND_CREDIT) {
        RemoteLine *line = t->lines[m->id];
        core_times_add(t->core_times, message_kind(line, atomic_load(&line->bytes)), ns);
    } else if (m->kind == CHAIN_ADD || m->kind == CHAIN_SUM) {
        int64_t bytes = m->value[2] * (int64_t)sizeof(float);
        core_times_add(t->core_times, sum_kind(t, m->id, bytes), ns);
    }
}

/* ---- channels -------------------------------------------------------------------------- */

/* With the lock. Places become free in the order of their messages. */
static void free_places(RemoteLine *line)
{
    while (line->credits > 0 && line->ring[line->oldest].done) {
        line->ring[line->oldest].done = false;
        line->credits--;
        line->oldest = (line->oldest + 1) % line->remote->depth;
        eventcount_add(&line->ready, 1);
    }
}

static void let_go(void *context)
{
    RemoteSlot   *slot = context;
    RemoteLine   *line = slot->line;
    Remote *t = line->remote;

    pthread_mutex_lock(&line->lock);
    slot->done = true;
    free_places(line);
    pthread_mutex_unlock(&line->lock);
    atomic_fetch_sub(&t->sending, 1);
}

static void hear_credit(RemoteLine *line)
{
    pthread_mutex_lock(&line->lock);
    line->credits++;
    free_places(line);
    pthread_mutex_unlock(&line->lock);
}

/* The wait of the device's call is over. */
static int is_ready(Remote *t, int device, Error *err)
{
    return event_record_once(t->joined[device].memory, &t->joined[device].ready, err);
}

static int send_remote(Remote *t, RemoteLine *line, const float *values, size_t count, Error *err)
{
    Message m = {.port = PORT_TRANSPORT, .kind = KIND_ROWS, .id = line->channel,
                 .number = t->number,
                 .value = {line->next},
                 .bytes = (int64_t)(count * sizeof *values)};
    RemoteSlot   *slot = &line->ring[line->next];

    if (wait_for(t, &line->ready, 0, err) != 0) return -1;
    if (is_ready(t, t->program->channels[line->channel].from, err) != 0) return -1;
    int64_t from_ns = own_ns(t);
    atomic_store(&line->bytes, m.bytes);
    core_times_begin(t->core_times, message_kind(line, m.bytes));
    device_fetch(line->memory, slot->values, values, (int64_t)count);
    line->next = (line->next + 1) % t->depth;
    eventcount_add(&line->ready, -1);
    atomic_fetch_add(&t->sending, 1);
    int rc = world_post(t->world, line->peer, &m, slot->values, let_go, slot, err);
    if (rc != 0) atomic_fetch_sub(&t->sending, 1);
    note_own(t, message_kind(line, m.bytes), from_ns);
    return rc;
}

static int give_back(Remote *t, RemoteLine *line, Error *err)
{
    Message m = {
        .port = PORT_TRANSPORT, .kind = KIND_CREDIT, .id = line->channel, .number = t->number};

    line->owes = false;
    return world_post(t->world, line->peer, &m, NULL, NULL, NULL, err);
}

/* The place of the last message, once an asynchronous device has it: asked for at the device's next
 * call, by when it has mostly been copied. */
static int settle(Remote *t, RemoteLine *line, Error *err)
{
    if (!line->owes) return 0;
    return event_synchronize(line->loaded, err) == 0 ? give_back(t, line, err) : -1;
}

/* All that the device owes, before it may have to wait: others may wait for those places. */
static int settle_all(Remote *t, int device, Error *err)
{
    for (int c = 0; device_is_async(t->joined[device].memory) && c < t->program->channel_count; c++)
        if (t->lines[c] && t->program->channels[c].to == device && settle(t, t->lines[c], err) != 0)
            return -1;
    return 0;
}

/* Out of its place: to an asynchronous device, or as receive() says. */
static int take_message(RemoteLine *line, RemoteSlot *slot, float **values, size_t count, bool swap,
                        Error *err)
{
    if (device_is_async(line->memory)) {
        line->owes = true;
        return stream_load(line->memory, *values, slot->values, (int64_t)count, err) == 0
               ? event_record(line->memory, line->loaded, err) : -1;
    }
    if (swap) {
        float *message = slot->values;
        slot->values = *values;
        *values = message;
    } else {
        memcpy(*values, slot->values, count * sizeof **values);
    }
    return 0;
}

static int receive_remote(Remote *t, RemoteLine *line, float **values, size_t count, bool swap,
                          Error *err)
{
    RemoteSlot *slot = &line->ring[line->next];

    if (wait_for(t, &line->ready, 0, err) != 0) return -1;
    if (is_ready(t, t->program->channels[line->channel].to, err) != 0) return -1;
    int64_t from_ns = own_ns(t);
    if (take_message(line, slot, values, count, swap, err) != 0) return -1;
    line->sent_ns = slot->sent_ns;
    line->arrived_ns = slot->arrived_ns;
    line->next = (line->next + 1) % t->depth;
    eventcount_add(&line->ready, -1);
    int rc = line->owes ? 0 : give_back(t, line, err);
    note_own(t, message_kind(line, (int64_t)(count * sizeof **values)), from_ns);
    return rc;
}

/* A message comes: its place is the next, as the sender's is. */
static void *place_rows(RemoteLine *line, const Message *m)
{
    pthread_mutex_lock(&line->lock);
    RemoteSlot *slot = &line->ring[line->placed];
    void *memory = (size_t)m->bytes <= line->capacity * sizeof(float) ? slot->values : NULL;
    line->placed = (line->placed + 1) % line->remote->depth;
    pthread_mutex_unlock(&line->lock);
    atomic_store(&line->bytes, m->bytes);
    core_times_begin(line->remote->core_times, message_kind(line, m->bytes));
    return memory;
}

/* The clock of rank, as this process would have read it. */
static int64_t on_own_clock(const Remote *t, int rank, int64_t ns)
{
    return ns + world_clock_offset_ns(t->world, rank)
           - world_clock_offset_ns(t->world, world_rank(t->world));
}

/* Long payloads may end after shorter ones that followed. */
static void take_rows(RemoteLine *line, const Message *m)
{
    Remote *t = line->remote;
    RemoteSlot   *slot = &line->ring[m->value[0]];

    pthread_mutex_lock(&line->lock);
    slot->done = true;
    slot->arrived_ns = clock_ns();
    slot->sent_ns = on_own_clock(t, m->from, m->sent_ns);
    if (slot->sent_ns > slot->arrived_ns) slot->sent_ns = slot->arrived_ns;
    for (; line->ring[line->oldest].done; line->oldest = (line->oldest + 1) % t->depth) {
        line->ring[line->oldest].done = false;
        eventcount_add(&line->ready, 1);
    }
    pthread_mutex_unlock(&line->lock);
}

static int send(Transport *transport, int channel, const float *values, size_t count, Error *err)
{
    Remote *t = (Remote *)transport;

    if (settle_all(t, t->program->channels[channel].from, err) != 0) return -1;
    return t->lines[channel] ? send_remote(t, t->lines[channel], values, count, err)
                             : t->local->ops->send(t->local, channel, values, count, err);
}

static int receive(Transport *transport, int channel, float **values, size_t count, bool swap,
                   Error *err)
{
    Remote *t = (Remote *)transport;

    if (settle_all(t, t->program->channels[channel].to, err) != 0) return -1;
    return t->lines[channel] ? receive_remote(t, t->lines[channel], values, count, swap, err)
                             : t->local->ops->receive(t->local, channel, values, count, swap, err);
}

/* ---- groups -------------------------------------------------------------------------------- */

static StagedSum *staged(const Remote *t, int group, int device, int number)
{
    int blocks = t->program->block_count;

    return &t->joined[device].sums[group * blocks + number % blocks];
}

static int64_t bytes_of(const GradientRun *runs, int count)
{
    int64_t floats = 0;

    for (int r = 0; r < count; r++) floats += runs[r].count;
    return floats * (int64_t)sizeof(float);
}

/* Room for such a sum. */
static int stage(StagedSum *sum, const GradientRun *runs, int count, Error *err)
{
    int64_t floats = bytes_of(runs, count) / (int64_t)sizeof *sum->memory;

    if (count > sum->capacity) {
        free(sum->host);
        sum->host = calloc(2 * (size_t)count, sizeof *sum->host);
        sum->capacity = sum->host ? count : 0;
        if (!sum->host) return error_no_memory(err);
    }
    if (floats > sum->floats) {
        free(sum->memory);
        sum->memory = malloc((size_t)floats * sizeof *sum->memory);
        sum->floats = sum->memory ? floats : 0;
        if (!sum->memory) return error_no_memory(err);
    }
    sum->device = sum->host + sum->capacity;
    sum->count = count;
    return 0;
}

/* The runs of an asynchronous device as ones of the host's memory, with their values; NULL: an
 * error. */
static const GradientRun *fetch_runs(Remote *t, int group, int device, const GradientRun *runs,
                                     int count, Error *err)
{
    RemoteJoined *joined = &t->joined[device];
    StagedSum    *sum = staged(t, group, device, joined->begun[group]++);
    float        *at;

    if (stage(sum, runs, count, err) != 0) return NULL;
    at = sum->memory;
    for (int r = 0; r < count; at += runs[r++].count) {
        sum->device[r] = runs[r];
        sum->host[r] = (GradientRun){.values = at, .count = runs[r].count};
        device_fetch(joined->memory, at, runs[r].values, runs[r].count);
    }
    return sum->host;
}

static void put_runs(Remote *t, int group, int device)
{
    RemoteJoined *joined = &t->joined[device];
    StagedSum    *sum = staged(t, group, device, joined->finished[group]++);

    for (int r = 0; r < sum->count; r++)
        device_put(joined->memory, sum->device[r].values, sum->host[r].values, sum->host[r].count);
}

static int reduce(Transport *transport, int group, int device, const GradientRun *runs,
                  int run_count, double *loss, Error *err)
{
    Remote *t = (Remote *)transport;
    Chain  *chain = t->spans[group].chain;

    if (settle_all(t, device, err) != 0) return -1;
    if (!chain) return t->local->ops->reduce(t->local, group, device, runs, run_count, loss, err);
    if (is_ready(t, device, err) != 0) return -1;
    if (device_is_async(t->joined[device].memory))
        runs = fetch_runs(t, group, device, runs, run_count, err);
    if (!runs) return -1;
    int64_t      from_ns = own_ns(t);
    TransferKind kind = sum_kind(t, group, bytes_of(runs, run_count));
    core_times_begin(t->core_times, kind);
    int rc = chain_begin(chain, device, runs, run_count, *loss, err);
    note_own(t, kind, from_ns);
    return rc;
}

static int finish(Transport *transport, int group, int device, double *loss, Error *err)
{
    Remote *t = (Remote *)transport;

    if (settle_all(t, device, err) != 0) return -1;
    if (chain_finish(t->spans[group].chain, CHAIN_GRADIENTS, device, loss, err) != 0
        || is_ready(t, device, err) != 0)
        return -1;
    if (device_is_async(t->joined[device].memory)) put_runs(t, group, device);
    return 0;
}

/* Memory of the host for so many statistics; NULL: an error. */
static double *statistics_of(RemoteJoined *joined, int count, Error *err)
{
    if (count <= joined->statistics_count) return joined->statistics;
    free(joined->statistics);
    joined->statistics = malloc((size_t)count * sizeof *joined->statistics);
    joined->statistics_count = joined->statistics ? count : 0;
    if (!joined->statistics) error_no_memory(err);
    return joined->statistics;
}

/* doubles are moved as pairs of floats. */
static int sum(Transport *transport, int group, int device, double *values, int count, Error *err)
{
    Remote       *t = (Remote *)transport;
    Chain        *chain = t->spans[group].chain;
    RemoteJoined *joined = &t->joined[device];
    double       *host = values;

    if (settle_all(t, device, err) != 0) return -1;
    if (!chain) return t->local->ops->sum(t->local, group, device, values, count, err);
    if (device_is_async(joined->memory)) {
        if (!(host = statistics_of(joined, count, err))) return -1;
        device_fetch(joined->memory, (float *)(void *)host, (float *)(void *)values,
                     2 * (int64_t)count);
    }
    if (chain_begin_statistics(chain, device, host, count, err) != 0) return -1;
    if (chain_finish(chain, CHAIN_STATISTICS, device, NULL, err) != 0) return -1;
    if (host != values)
        device_put(joined->memory, (float *)(void *)values, (float *)(void *)host,
                   2 * (int64_t)count);
    return 0;
}

static void release_group(Remote *t, int group)
{
    const Group *members = &t->program->groups[group];
    int          last = t->spans[group].root;

    for (int i = 0; i < members->count; i++) {
        int rank = world_rank_of(t->world, members->devices[i]);
        if (rank != last) post_or_fail(t, rank, KIND_RELEASED, group);
        last = rank;
    }
    eventcount_add(&t->spans[group].released, 1);
}

/* At the root: all devices of a rank have come. */
static void rank_came(Remote *t, int group)
{
    ByteSpan *span = &t->spans[group];

    pthread_mutex_lock(&span->lock);
    bool all = ++span->come == span->ranks;
    if (all) span->come = 0;
    pthread_mutex_unlock(&span->lock);
    if (all) release_group(t, group);
}

static int barrier(Transport *transport, int group, int device, Error *err)
{
    Remote *t = (Remote *)transport;
    ByteSpan   *span = &t->spans[group];

    if (settle_all(t, device, err) != 0) return -1;
    if (!span->chain) return t->local->ops->barrier(t->local, group, device, err);
    if (device_finish(t->joined[device].memory, err) != 0) return -1;
    pthread_mutex_lock(&span->lock);
    int  number = atomic_load(&span->released.number);
    bool all = ++span->arrived == span->members;
    if (all) span->arrived = 0;
    pthread_mutex_unlock(&span->lock);
    if (all && span->root == world_rank(t->world)) rank_came(t, group);
    else if (all)                                  post_or_fail(t, span->root, KIND_ARRIVED, group);
    if (wait_for(t, &span->released, number, err) != 0) return -1;
    return is_ready(t, device, err);
}

/* ---- what comes ------------------------------------------------------------------------------ */

static void *place(void *context, const Message *m)
{
    Remote *t = context;

    return m->kind >= CHAIN_ADD ? chain_place(t->spans[m->id].chain, m)
                                : place_rows(t->lines[m->id], m);
}

static void arrived(void *context, const Message *m, const void *payload)
{
    Remote *t = context;

    (void)payload;                               /* it is where place() said */
    switch (m->kind) {
    case KIND_ROWS:     take_rows(t->lines[m->id], m); break;
    case KIND_CREDIT:   hear_credit(t->lines[m->id]); break;
    case KIND_ARRIVED:  rank_came(t, m->id); break;
    case KIND_RELEASED: eventcount_add(&t->spans[m->id].released, 1); break;
    default:            chain_arrived(t->spans[m->id].chain, m); break;
    }
}

/* ---- overlapped with compute ----------------------------------------------------------------- */

static bool overlaps(const Transport *transport, Op op, int link)
{
    const Remote *t = (const Remote *)transport;

    if (op == OP_SEND || op == OP_RECV) return t->lines[link] != NULL;
    return op == OP_ALLREDUCE && t->spans[link].chain;
}

static void in_flight(const Transport *transport, Op op, int link, int device, int64_t *start_ns,
                      int64_t *end_ns)
{
    const Remote *t = (const Remote *)transport;

    if (op == OP_ALLREDUCE) {
        chain_in_flight(t->spans[link].chain, device, start_ns, end_ns);
        return;
    }
    *start_ns = t->lines[link]->sent_ns;
    *end_ns = t->lines[link]->arrived_ns;
}

static void expect(Transport *transport, int device, StreamEvent *ready)
{
    Remote *t = (Remote *)transport;

    t->joined[device].ready = ready;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static bool ends_at(const Remote *t, const RemoteLine *line, int device)
{
    const Channel *channel = &t->program->channels[line->channel];

    return (line->out ? channel->from : channel->to) == device;
}

/* Where a message lies that the world sends or has brought: the device's memory, or the host's
 * where the device is asynchronous. */
static int open_place(const Remote *t, RemoteLine *line, RemoteSlot *slot, int64_t *bytes)
{
    size_t size = line->capacity * sizeof(float);

    slot->values =
        line->on_host ? host_alloc(t->devices, size) : device_alloc(line->memory, line->capacity);
    *bytes += line->on_host ? 0 : (int64_t)size;
    return slot->values ? 0 : -1;
}

static void close_place(const Remote *t, RemoteLine *line, RemoteSlot *slot)
{
    if (line->on_host) host_release(t->devices, slot->values);
    else               device_release(line->memory, slot->values);
}

/* A device of this process takes part: room for its sums, and for the messages of its channels to
 * and from other processes, in memory that it can reach. */
static int join(Transport *transport, int device, Device *memory, int64_t *bytes, Error *err)
{
    Remote       *t = (Remote *)transport;
    RemoteJoined *joined = &t->joined[device];
    size_t groups = (size_t)t->program->group_count, blocks = (size_t)t->program->block_count;

    if (t->local->ops->join(t->local, device, memory, bytes, err) != 0) return -1;
    joined->memory = memory;
    if (device_is_async(memory)) {
        joined->sums = calloc(groups * blocks + 1, sizeof *joined->sums);
        joined->begun = calloc(groups + 1, sizeof *joined->begun);
        joined->finished = calloc(groups + 1, sizeof *joined->finished);
        if (!joined->sums || !joined->begun || !joined->finished) return error_no_memory(err);
    }
    for (int c = 0; c < t->program->channel_count; c++) {
        RemoteLine *line = t->lines[c];
        if (!line || !ends_at(t, line, device)) continue;
        line->memory = memory;
        line->on_host = device_is_async(memory);
        if (event_new(&line->loaded, memory, err) != 0) return -1;
        for (int i = 0; i < t->depth; i++)
            if (open_place(t, line, &line->ring[i], bytes) != 0)
                return error_set(err, "no memory for the messages of device %d", device);
    }
    return 0;
}

static void free_staged(RemoteJoined *joined, int sums)
{
    for (int i = 0; joined->sums && i < sums; i++) {
        free(joined->sums[i].host);
        free(joined->sums[i].memory);
    }
    free(joined->sums);
    free(joined->begun);
    free(joined->finished);
    free(joined->statistics);
    *joined = (RemoteJoined){0};
}

/* Until the world reads nothing of ours any more. False: a peer is gone, and may never take it. */
static bool all_sent(Remote *t)
{
    int64_t begin_ns = clock_ns();

    while (atomic_load(&t->sending) > 0) {
        if (world_failed(t->world, NULL) && clock_ns() - begin_ns > (int64_t)PATIENCE_MS * 1000000)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
    return true;
}

/* No message is taken, or on its way into our memory, and nobody uses what devices brought. */
static bool quiet(Remote *t)
{
    atomic_store(&t->rules.stopped, true);
    for (int g = 0; t->spans && g < t->program->group_count; g++)
        if (t->spans[g].chain) chain_quiet(t->spans[g].chain);
    world_listen(t->world, PORT_TRANSPORT, t->number, NULL, NULL);
    return all_sent(t);
}

/* What the world may still read of a peer that is gone is left to it. */
static void leave(Transport *transport, int device)
{
    Remote *t = (Remote *)transport;
    bool    free_all = quiet(t);

    t->local->ops->leave(t->local, device);
    if (free_all)
        free_staged(&t->joined[device], t->program->group_count * t->program->block_count);
    for (int c = 0; c < t->program->channel_count; c++) {
        RemoteLine *line = t->lines[c];
        if (!line || !ends_at(t, line, device)) continue;
        for (int i = 0; i < t->depth; i++) {
            if (line->ring[i].values && free_all) close_place(t, line, &line->ring[i]);
            line->ring[i].values = NULL;
        }
        event_free(line->loaded);
        line->loaded = NULL;
    }
}

static void stop(Transport *transport)
{
    Remote *t = (Remote *)transport;

    atomic_store(&t->rules.stopped, true);
    t->local->ops->stop(t->local);
    for (int c = 0; c < t->program->channel_count; c++)
        if (t->lines[c]) eventcount_add(&t->lines[c]->ready, 0);
    for (int g = 0; g < t->program->group_count; g++) {
        if (!t->spans[g].chain) continue;
        eventcount_add(&t->spans[g].released, 0);
        chain_wake(t->spans[g].chain);
    }
}

static void free_line(RemoteLine *line)
{
    if (!line) return;
    eventcount_close(&line->ready);
    pthread_mutex_destroy(&line->lock);
    free(line->ring);
    free(line);
}

static void remote_free(Transport *transport)
{
    Remote *t = (Remote *)transport;

    if (!quiet(t)) return;
    for (int c = 0; t->lines && c < t->program->channel_count; c++) free_line(t->lines[c]);
    for (int g = 0; t->spans && g < t->program->group_count; g++) {
        if (!t->spans[g].chain) continue;
        chain_free(t->spans[g].chain);
        eventcount_close(&t->spans[g].released);
        pthread_mutex_destroy(&t->spans[g].lock);
    }
    if (t->local) t->local->ops->free(t->local);
    free(t->joined);
    free(t->lines);
    free(t->spans);
    free(t);
}

static const TransportOps remote_ops = {.join = join, .leave = leave, .send = send,
                                        .receive = receive, .reduce = reduce, .sum = sum,
                                        .barrier = barrier, .stop = stop, .free = remote_free,
                                        .overlaps = overlaps, .expect = expect, .finish = finish,
                                        .in_flight = in_flight};

static int open_line(Remote *t, int c, size_t capacity)
{
    const Channel *channel = &t->program->channels[c];
    bool           out = world_has_device(t->world, channel->from),
         in = world_has_device(t->world, channel->to);

    if (out == in) return 0;
    RemoteLine *line = calloc(1, sizeof *line);
    if (!line) return -1;
    *line = (RemoteLine){.remote = t, .channel = c, .out = out, .capacity = capacity,
                   .peer = world_rank_of(t->world, out ? channel->to : channel->from),
                   .ring = calloc((size_t)t->depth, sizeof *line->ring)};
    pthread_mutex_init(&line->lock, NULL);
    eventcount_open(&line->ready);
    t->lines[c] = line;
    if (!line->ring) return -1;
    for (int i = 0; i < t->depth; i++) line->ring[i].line = line;
    if (out) eventcount_add(&line->ready, t->depth);
    return 0;
}

static int open_span(Remote *t, int g, Error *err)
{
    const Group *group = &t->program->groups[g];
    ByteSpan        *span = &t->spans[g];
    int          last = -1, here = world_rank(t->world);
    ChainRoute   route = {t->world, &t->rules, t->hurry, &t->sending, t->number};

    span->root = world_rank_of(t->world, group->devices[0]);
    for (int i = 0; i < group->count; i++) {
        int rank = world_rank_of(t->world, group->devices[i]);
        if (rank < last) return error_set(err, "devices of group %d are not in ascending order", g);
        span->ranks += rank != last;
        span->members += rank == here;
        last = rank;
    }
    if (span->ranks == 1 || span->members == 0) return 0;
    if (chain_new(&span->chain, &route, g, group, t->program->block_count, err) != 0) return -1;
    pthread_mutex_init(&span->lock, NULL);
    eventcount_open(&span->released);
    return 0;
}

int remote_new(Transport **out, const TransportOptions *options, Error *err)
{
    static const Listener listener = {place, arrived, NULL}, timed = {place, arrived, spent};
    const Program *program = options->program;
    Remote        *t = calloc(1, sizeof *t);
    int            rc = -1;

    *out = NULL;
    if (!t) return error_no_memory(err);
    t->head.ops = &remote_ops;
    t->world = options->world;
    t->number = options->number;
    t->core_times = options->core_times;
    t->program = program;
    t->devices = options->devices;
    t->depth = options->queue_depth;
    t->hurry = options->spin;
    t->rules.spins = options->spin ? SPINS : 0;
    t->lines = calloc((size_t)program->channel_count + 1, sizeof *t->lines);
    t->spans = calloc((size_t)program->group_count + 1, sizeof *t->spans);
    t->joined = calloc((size_t)program->device_count, sizeof *t->joined);
    if (!t->lines || !t->spans || !t->joined) { error_no_memory(err); goto done; }
    if (local_new(&t->local, options, err) != 0) goto done;
    for (int c = 0; c < program->channel_count; c++)
        if (open_line(t, c, options->message_count[c]) != 0) { error_no_memory(err); goto done; }
    for (int g = 0; g < program->group_count; g++)
        if (open_span(t, g, err) != 0) goto done;
    world_listen(t->world, PORT_TRANSPORT, t->number, t->core_times ? &timed : &listener, t);
    *out = &t->head; t = NULL; rc = 0;
done:
    if (t) remote_free(&t->head);
    return rc;
}
