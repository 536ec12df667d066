#include "executor/transport/nccl/nccl.h"

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "executor/transport/nccl/comm.h"

/* PIECE: floats of a member's slice that are summed at a time; DOUBLES likewise; CTAS: thread
 * blocks of the GPU that a channel may take from computing; AHEAD: messages that a receiver asks
 * for ahead. */
enum { PIECE = 1 << 20, DOUBLES = 4096, CTAS = 8, AHEAD = 2, LOOK_MS = 20, WHAT_BYTES = 400 };

typedef struct {
    float      *memory;
    cudaEvent_t filled, empty;   /* by the device's stream and the end's, or the other way round */
} NcclBox;

/* One end of a channel: what is sent is copied into a box first; what comes goes into one ahead of
 * its time. */
typedef struct {
    Comm         comm;
    NcclBox         *ring;           /* [boxes] */
    int          boxes, next;
    cudaStream_t stream;         /* of its own: neither ends nor computing wait for each other's
                                  * messages */
    float       *header;
    cudaEvent_t  came;           /* the header */
} NcclEnd;

typedef struct {
    char   what[WHAT_BYTES];
    NcclEnd    out, in;
    size_t capacity;             /* floats of a box */
} NcclLink;

typedef struct {
    Comm         comm;
    float       *slices;         /* [count][PIECE]: a member's part of all, to be summed */
    double      *losses, *values;        /* [count], [count][DOUBLES] of the device */
    cudaEvent_t  done;           /* who uses slices and losses, or values, next waits for the last
                                  * use */
} NcclMember;

typedef struct {
    char       what[WHAT_BYTES];
    NcclMember    *members;          /* [count] */
    const int *devices;          /* borrowed from the program */
    int        count;
} NcclTeam;

typedef struct {
    Device *memory;              /* NULL: not here, or not joined */
    StreamEvent   *ready;
} NcclJoined;

typedef struct {
    Transport      head;
    NcclLink          *links;        /* [link_count] */
    NcclTeam          *teams;        /* [team_count] */
    NcclJoined        *joined;       /* [devices] */
    ncclUniqueId  *ids;          /* of links, then of teams */
    const Channel *channels;     /* borrowed */
    int            link_count, team_count, depth;
    int gpu;         /* one of this process's */
    CommRules      rules;
    atomic_bool    stopped, closing;
    pthread_t      watch;
    bool           watching;
    void         (*failed)(void *context, const Error *err);
    void          *context;
} Nccl;

static int cuda_failed(cudaError_t status, const char *what, Error *err)
{
    return status == cudaSuccess ? 0
                                 : error_set(err, "nccl: %s: %s", what, cudaGetErrorString(status));
}

static cudaStream_t stream_of(Device *memory) { return stream_native(memory); }

/* ---- joining ------------------------------------------------------------------- */

static float *take(Device *memory, size_t count, int64_t *bytes)
{
    float *taken = device_alloc(memory, count);

    if (taken) *bytes += (int64_t)(count * sizeof *taken);
    return taken;
}

static int new_event(cudaEvent_t *out, Error *err)
{
    return cuda_failed(cudaEventCreateWithFlags(out, cudaEventDisableTiming), "an event", err);
}

static int open_end(Nccl *t, int c, NcclEnd *end, int rank, Device *memory, int64_t *bytes,
                    Error *err)
{
    size_t capacity = t->links[c].capacity;

    end->header = take(memory, 1, bytes);
    if (!end->header) return error_set(err, "no memory for a message's header");
    if (cuda_failed(cudaStreamCreateWithFlags(&end->stream, cudaStreamNonBlocking), "a stream", err)
        != 0)
        return -1;
    if (new_event(&end->came, err) != 0) return -1;
    for (int i = 0; i < end->boxes; i++) {
        NcclBox *box = &end->ring[i];
        box->memory = take(memory, capacity, bytes);
        if (!box->memory)
            return error_set(err, "no memory for a queue's message of %zu bytes",
                             capacity * sizeof(float));
        if (new_event(&box->filled, err) != 0 || new_event(&box->empty, err) != 0) return -1;
    }
    return comm_open(&end->comm, &t->ids[c], rank, 2, CTAS, err);
}

static int open_member(Nccl *t, int g, int m, Device *memory, int64_t *bytes, Error *err)
{
    NcclTeam   *team = &t->teams[g];
    NcclMember *member = &team->members[m];
    size_t  count = (size_t)team->count;

    member->slices = take(memory, count * PIECE, bytes);
    member->losses = (double *)(void *)take(memory, 2 * (count + 1), bytes);
    member->values = (double *)(void *)take(memory, 2 * count * DOUBLES, bytes);
    if (!member->slices || !member->losses || !member->values)
        return error_set(err, "no memory for sums over %d devices: %zu bytes", team->count,
                         count * PIECE * sizeof(float));
    if (new_event(&member->done, err) != 0) return -1;
    return comm_open(&member->comm, &t->ids[t->link_count + g], m, team->count, 0, err);
}

/* In the order of their numbers, as every device does: so those who open the same one meet. */
static int join(Transport *transport, int device, Device *memory, int64_t *bytes, Error *err)
{
    Nccl *t = (Nccl *)transport;

    *bytes = 0;
    t->joined[device].memory = memory;
    for (int c = 0; c < t->link_count; c++) {
        bool sends = t->channels[c].from == device, takes = t->channels[c].to == device;
        NcclEnd *end = sends ? &t->links[c].out : &t->links[c].in;
        if ((sends || takes) && open_end(t, c, end, takes, memory, bytes, err) != 0) return -1;
    }
    for (int g = 0; g < t->team_count; g++)
        for (int m = 0; m < t->teams[g].count; m++)
            if (t->teams[g].devices[m] == device && open_member(t, g, m, memory, bytes, err) != 0)
                return -1;
    return 0;
}

static void close_event(cudaEvent_t event)
{
    if (event) cudaEventDestroy(event);
}

static void close_end(NcclEnd *end, Device *memory)
{
    if (end->stream) cudaStreamSynchronize(end->stream);
    comm_close(&end->comm);
    for (int i = 0; i < end->boxes; i++) {
        close_event(end->ring[i].filled);
        close_event(end->ring[i].empty);
        device_release(memory, end->ring[i].memory);
        end->ring[i] = (NcclBox){0};
    }
    close_event(end->came);
    if (end->stream) cudaStreamDestroy(end->stream);
    device_release(memory, end->header);
}

static void close_member(NcclMember *member, Device *memory)
{
    comm_close(&member->comm);
    close_event(member->done);
    device_release(memory, member->slices);
    device_release(memory, (float *)(void *)member->losses);
    device_release(memory, (float *)(void *)member->values);
}

static void leave(Transport *transport, int device)
{
    Nccl   *t = (Nccl *)transport;
    Device *memory = t->joined[device].memory;

    for (int c = 0; c < t->link_count; c++) {
        if (t->channels[c].from == device) close_end(&t->links[c].out, memory);
        if (t->channels[c].to == device) close_end(&t->links[c].in, memory);
    }
    for (int g = 0; g < t->team_count; g++)
        for (int m = 0; m < t->teams[g].count; m++)
            if (t->teams[g].devices[m] == device) close_member(&t->teams[g].members[m], memory);
}

static void expect(Transport *transport, int device, StreamEvent *ready)
{
    ((Nccl *)transport)->joined[device].ready = ready;
}

/* ---- channels ------------------------------------------------------------------ */

/* stream waits for what event events; or event events where it is. */
static int wait_for(cudaStream_t stream, cudaEvent_t event, Error *err)
{
    return cuda_failed(cudaStreamWaitEvent(stream, event, 0), "a wait", err);
}

static int event(cudaEvent_t event, cudaStream_t stream, Error *err)
{
    return cuda_failed(cudaEventRecord(event, stream), "an event", err);
}

static int post_send(NcclEnd *end, const float *from, size_t count, Error *err)
{
    if (comm_begin(&end->comm, err) != 0) return -1;
    return comm_end(&end->comm, ncclSend(from, count, ncclFloat32, 1, end->comm.comm, end->stream),
                    end->stream, err);
}

static int post_receive(NcclEnd *end, float *to, size_t count, Error *err)
{
    if (comm_begin(&end->comm, err) != 0) return -1;
    return comm_end(&end->comm, ncclRecv(to, count, ncclFloat32, 0, end->comm.comm, end->stream),
                    end->stream, err);
}

static int send(Transport *transport, int channel, const float *values, size_t count, Error *err)
{
    Nccl        *t = (Nccl *)transport;
    NcclEnd         *end = &t->links[channel].out;
    NcclBox         *box = &end->ring[end->next];
    NcclJoined      *from = &t->joined[t->channels[channel].from];
    cudaStream_t stream = stream_of(from->memory);

    end->next = (end->next + 1) % end->boxes;
    if (wait_for(stream, box->empty, err) != 0
        || event_record_once(from->memory, &from->ready, err) != 0)
        return -1;
    device_copy(from->memory, box->memory, values, (int64_t)count);
    if (event(box->filled, stream, err) != 0 || wait_for(end->stream, box->filled, err) != 0)
        return -1;
    if (post_send(end, end->header, 1, err) != 0 || post_send(end, box->memory, count, err) != 0)
        return -1;
    return event(box->empty, end->stream, err);
}

/* Enqueues the receipt of a channel's next message. swap: the caller's buffer and the message's
 * change places, nothing is copied. */
static int receive(Transport *transport, int channel, float **values, size_t count, bool swap,
                   Error *err)
{
    Nccl        *t = (Nccl *)transport;
    NcclEnd         *end = &t->links[channel].in;
    NcclBox         *box = &end->ring[end->next];
    NcclJoined      *to = &t->joined[t->channels[channel].to];
    cudaStream_t stream = stream_of(to->memory);
    float       *message = box->memory;

    end->next = (end->next + 1) % end->boxes;
    if (wait_for(end->stream, box->empty, err) != 0) return -1;
    if (post_receive(end, end->header, 1, err) != 0 || event(end->came, end->stream, err) != 0)
        return -1;
    if (post_receive(end, message, count, err) != 0 || event(box->filled, end->stream, err) != 0)
        return -1;
    if (wait_for(stream, end->came, err) != 0
        || event_record_once(to->memory, &to->ready, err) != 0)
        return -1;
    if (wait_for(stream, box->filled, err) != 0) return -1;
    if (swap) {                                  /* what used the spare was queued before the
                                                  * event */
        box->memory = *values;
        *values = message;
    } else {
        device_copy(to->memory, *values, message, (int64_t)count);
    }
    return event(box->empty, stream, err);
}

/* ---- groups -------------------------------------------------------------------- */

/* count doubles of each into all [members][count]. */
static int gather(NcclMember *member, Device *memory, const double *own, double *all, int count,
                  Error *err)
{
    Comm *comm = &member->comm;

    if (comm_begin(comm, err) != 0) return -1;
    ncclResult_t status =
        ncclAllGather(own, all, (size_t)count, ncclFloat64, comm->comm, stream_of(memory));
    return comm_end(comm, status, stream_of(memory), err);
}

static int sum_gathered(Device *memory, double *to, double *all, int members, int count, Error *err)
{
    double *values[DEVICES_MAX];

    for (int m = 0; m < members; m++) values[m] = all + (size_t)m * (size_t)count;
    return stream_sum_doubles(memory, to, values, members, count, err);
}

/* NcclMember m's part of n values. */
static int64_t part(int64_t n, int members, int m) { return n * m / members; }

/* Every member's part of my values to it, and of its values mine to me: or back, when summed. */
static int exchange(const NcclTeam *team, int self, float *values, int64_t n, bool back,
                    Device *memory, Error *err)
{
    NcclMember      *member = &team->members[self];
    Comm        *comm = &member->comm;
    cudaStream_t stream = stream_of(memory);
    ncclResult_t status = ncclSuccess;
    int64_t mine = part(n, team->count, self), mine_count = part(n, team->count, self + 1) - mine;

    if (comm_begin(comm, err) != 0) return -1;
    for (int m = 0; m < team->count; m++) {
        int64_t theirs = part(n, team->count, m), count = part(n, team->count, m + 1) - theirs;
        float  *slice = member->slices + (size_t)m * PIECE;
        if (m == self) continue;
        size_t sent = (size_t)(back ? mine_count : count),
               got = (size_t)(back ? count : mine_count);
        if (status == ncclSuccess && sent > 0)
            status = ncclSend(back ? member->slices + (size_t)self * PIECE : values + theirs, sent,
                              ncclFloat32, m, comm->comm, stream);
        if (status == ncclSuccess && got > 0)
            status =
                ncclRecv(back ? values + theirs : slice, got, ncclFloat32, m, comm->comm, stream);
    }
    return comm_end(comm, status, stream, err);
}

/* n values, at most PIECE a member. */
static int sum_piece(const NcclTeam *team, int self, float *values, int64_t n, Device *memory,
                     Error *err)
{
    NcclMember *member = &team->members[self];
    float  *own = member->slices + (size_t)self * PIECE, *slices[DEVICES_MAX];
    int64_t mine = part(n, team->count, self), count = part(n, team->count, self + 1) - mine;

    for (int m = 0; m < team->count; m++) slices[m] = member->slices + (size_t)m * PIECE;
    if (exchange(team, self, values, n, false, memory, err) != 0) return -1;
    if (count > 0) {
        device_copy(memory, own, values + mine, count);
        if (stream_sum(memory, slices, team->count, count, err) != 0) return -1;
        device_copy(memory, values + mine, own, count);
    }
    return exchange(team, self, values, n, true, memory, err);
}

/* The losses come first: with them the members meet. */
static int reduce(Transport *transport, int group, int device, const GradientRun *runs,
                  int run_count, double *loss, Error *err)
{
    Nccl    *t = (Nccl *)transport;
    NcclTeam    *team = &t->teams[group];
    int      self = transport_member(team->devices, device);
    NcclMember  *member = &team->members[self];
    Device  *memory = t->joined[device].memory;
    double  *own = member->losses + team->count;
    int64_t  most = (int64_t)PIECE * team->count;

    if (wait_for(stream_of(memory), member->done, err) != 0) return -1;
    if (stream_sum_doubles(memory, own, &loss, 1, 1, err) != 0
        || gather(member, memory, own, member->losses, 1, err) != 0)
        return -1;
    if (event_record_once(memory, &t->joined[device].ready, err) != 0) return -1;
    for (int r = 0; r < run_count; r++)
        for (int64_t at = 0, n; at < runs[r].count; at += n) {
            n = runs[r].count - at < most ? runs[r].count - at : most;
            if (sum_piece(team, self, runs[r].values + at, n, memory, err) != 0) return -1;
        }
    if (sum_gathered(memory, loss, member->losses, team->count, 1, err) != 0) return -1;
    return event(member->done, stream_of(memory), err);
}

static int sum(Transport *transport, int group, int device, double *values, int count, Error *err)
{
    Nccl   *t = (Nccl *)transport;
    NcclTeam   *team = &t->teams[group];
    NcclMember *member = &team->members[transport_member(team->devices, device)];
    Device *memory = t->joined[device].memory;

    if (wait_for(stream_of(memory), member->done, err) != 0) return -1;
    for (int at = 0, n; at < count; at += n) {
        n = count - at < DOUBLES ? count - at : DOUBLES;
        if (gather(member, memory, values + at, member->values, n, err) != 0) return -1;
        if (sum_gathered(memory, values + at, member->values, team->count, n, err) != 0) return -1;
    }
    return event(member->done, stream_of(memory), err);
}

static int barrier(Transport *transport, int group, int device, Error *err)
{
    Nccl   *t = (Nccl *)transport;
    NcclTeam   *team = &t->teams[group];
    NcclMember *member = &team->members[transport_member(team->devices, device)];
    Device *memory = t->joined[device].memory;

    if (wait_for(stream_of(memory), member->done, err) != 0) return -1;
    if (gather(member, memory, member->losses + team->count, member->losses, 1, err) != 0)
        return -1;
    if (event(member->done, stream_of(memory), err) != 0) return -1;
    return event_record_once(memory, &t->joined[device].ready, err);
}

/* ---- all communicators ------------------------------------------------------------ */

/* The first error that visit gives. */
static int each_comm(Nccl *t, int (*visit)(Comm *comm, Error *err), Error *err)
{
    for (int c = 0; c < t->link_count; c++)
        if (visit(&t->links[c].out.comm, err) != 0 || visit(&t->links[c].in.comm, err) != 0)
            return -1;
    for (int g = 0; g < t->team_count; g++)
        for (int m = 0; m < t->teams[g].count; m++)
            if (visit(&t->teams[g].members[m].comm, err) != 0) return -1;
    return 0;
}

static int abort_one(Comm *comm, Error *err)
{
    (void)err;
    comm_abort(comm);
    return 0;
}

static void stop(Transport *transport)
{
    Nccl *t = (Nccl *)transport;

    atomic_store(&t->stopped, true);
    each_comm(t, abort_one, NULL);
}

static void *watch(void *argument)
{
    Nccl *t = argument;
    Error err = {""};

    cudaSetDevice(t->gpu);
    while (!atomic_load(&t->closing) && !atomic_load(&t->stopped)) {
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
        if (each_comm(t, comm_check, &err) == 0) continue;
        t->failed(t->context, &err);             /* which stops us */
        break;
    }
    return NULL;
}

/* ---- beginning and end ----------------------------------------------------------- */

static void nccl_free(Transport *transport)
{
    Nccl *t = (Nccl *)transport;

    atomic_store(&t->closing, true);
    if (t->watching) pthread_join(t->watch, NULL);
    for (int c = 0; c < t->link_count; c++) {
        comm_free(&t->links[c].out.comm);
        comm_free(&t->links[c].in.comm);
        free(t->links[c].out.ring);
        free(t->links[c].in.ring);
    }
    for (int g = 0; g < t->team_count; g++) {
        for (int m = 0; m < t->teams[g].count; m++) comm_free(&t->teams[g].members[m].comm);
        free(t->teams[g].members);
    }
    free(t->links);
    free(t->teams);
    free(t->joined);
    free(t->ids);
    free(t);
}

static const TransportOps nccl_ops = {
    .join = join,
    .leave = leave,
    .send = send,
    .receive = receive,
    .reduce = reduce,
    .sum = sum,
    .barrier = barrier,
    .stop = stop,
    .free = nccl_free,
    .expect = expect,
    .overlaps = transport_overlaps_nothing,
    .finish = transport_finish_nothing,
    .in_flight = transport_nothing_in_flight,
};

/* "device 3", and where it is when there are several processes. */
static void name_device(char *out, size_t size, World *world, int device)
{
    int rank = world_rank_of(world, device);

    if (world_size(world) > 1)
        snprintf(out, size, "device %d (rank %d, %s)", device, rank, world_host(world, rank));
    else                       snprintf(out, size, "device %d", device);
}

static int open_links(Nccl *t, const NcclOptions *o)
{
    char from[WHAT_BYTES / 3], to[WHAT_BYTES / 3];

    for (int c = 0; c < o->base.program->channel_count; c++) {
        NcclLink *link = &t->links[c];
        name_device(from, sizeof from, o->base.world, t->channels[c].from);
        name_device(to, sizeof to, o->base.world, t->channels[c].to);
        snprintf(link->what, sizeof link->what, "from %s to %s", from, to);
        link->capacity = o->base.message_count[c];
        link->out.boxes = o->base.queue_depth;
        link->in.boxes = AHEAD;
        comm_init(&link->out.comm, &t->rules, link->what);
        comm_init(&link->in.comm, &t->rules, link->what);
        t->link_count++;
        link->out.ring = calloc((size_t)link->out.boxes, sizeof *link->out.ring);
        link->in.ring = calloc((size_t)link->in.boxes, sizeof *link->in.ring);
        if (!link->out.ring || !link->in.ring) return -1;
    }
    return 0;
}

static int open_teams(Nccl *t, const NcclOptions *o)
{
    const Program *program = o->base.program;
    char           first[WHAT_BYTES / 3], last[WHAT_BYTES / 3];

    for (int g = 0; g < program->group_count; g++) {
        NcclTeam *team = &t->teams[g];
        team->devices = program->groups[g].devices;
        name_device(first, sizeof first, o->base.world, team->devices[0]);
        name_device(last, sizeof last, o->base.world, team->devices[program->groups[g].count - 1]);
        snprintf(team->what, sizeof team->what, "the group of %d from %s to %s",
                 program->groups[g].count, first, last);
        team->members = calloc((size_t)program->groups[g].count, sizeof *team->members);
        if (!team->members) return -1;
        team->count = program->groups[g].count;
        for (int m = 0; m < team->count; m++)
            comm_init(&team->members[m].comm, &t->rules, team->what);
        t->team_count++;
    }
    return 0;
}

typedef char GpuName[32];       /* of the bus it is on; "" none */

/* [GPUS_MAX]: where the GPUs of this process are. */
static int name_gpus(GpuName *out, const NcclOptions *o, Error *err)
{
    const DeviceSpec *spec = o->base.devices;
    int               here = world_devices(o->base.world, o->base.program->device_count);

    if (spec->slices > 1) return error_set(err, "nccl takes a GPU once, these are slices of one");
    if (here > GPUS_MAX)
        return error_set(err, "%d devices of one process, nccl serves %d", here, GPUS_MAX);
    for (int i = 0; i < here; i++)
        if (cuda_failed(cudaDeviceGetPCIBusId(out[i], sizeof *out,
                                              device_spec_gpu(spec, o->first_of_spec + i)),
                        "a GPU's place", err)
            != 0)
            return -1;
    return 0;
}

/* NCCL takes a GPU once: no two that are at the same place of the same host. */
static int check_gpus(const NcclOptions *o, Error *err)
{
    int       ranks = world_size(o->base.world), rc = 0;
    GpuName *own = calloc(GPUS_MAX, sizeof *own),
           *all = calloc((size_t)ranks * GPUS_MAX, sizeof *all);

    rc = own && all ? name_gpus(own, o, err) : error_no_memory(err);
    rc = world_agree(o->base.world, rc, err);
    if (rc == 0) rc = world_gather_all(o->base.world, all, own, GPUS_MAX * sizeof *own, err);
    for (int i = 0; rc == 0 && i < ranks * GPUS_MAX; i++)
        for (int k = 0; rc == 0 && all[i][0] && k < i; k++) {
            int a = k / GPUS_MAX, b = i / GPUS_MAX;
            if (strcmp(all[i], all[k]) != 0
                || world_host_number(o->base.world, a) != world_host_number(o->base.world, b))
                continue;
            rc = error_set(err,
                           "nccl takes a GPU once: %s is that of devices of rank %d and of rank %d",
                           all[i], a, b);
        }
    free(own);
    free(all);
    return rc;
}

/* Rank 0's, told to all. */
static int make_ids(Nccl *t, const NcclOptions *o, Error *err)
{
    int count = t->link_count + t->team_count, rc = 0;

    for (int i = 0; rc == 0 && world_rank(o->base.world) == 0 && i < count; i++) {
        ncclResult_t status = ncclGetUniqueId(&t->ids[i]);
        if (status != ncclSuccess)
            rc = error_set(err, "nccl: no id for a communicator: %s", ncclGetErrorString(status));
    }
    if (world_agree(o->base.world, rc, err) != 0) return -1;
    return world_broadcast(o->base.world, t->ids, (size_t)count * sizeof *t->ids, err);
}

int nccl_new(Transport **out, const NcclOptions *o, Error *err)
{
    const Program *program = o->base.program;
    Nccl          *t = calloc(1, sizeof *t);
    int            rc = t ? 0 : error_no_memory(err);

    *out = NULL;
    if (rc == 0) {
        t->head.ops = &nccl_ops;
        t->channels = program->channels;
        t->rules = (CommRules){&t->stopped, o->limit_ms};
        t->failed = o->failed;
        t->context = o->context;
        t->gpu = device_spec_gpu(o->base.devices, o->first_of_spec);
        t->links = calloc((size_t)program->channel_count + 1, sizeof *t->links);
        t->teams = calloc((size_t)program->group_count + 1, sizeof *t->teams);
        t->joined = calloc((size_t)program->device_count, sizeof *t->joined);
        t->ids = calloc((size_t)program->channel_count + (size_t)program->group_count + 1,
                        sizeof *t->ids);
        if (!t->links || !t->teams || !t->joined || !t->ids || open_links(t, o) != 0
            || open_teams(t, o) != 0)
            rc = error_no_memory(err);
    }
    if (world_agree(o->base.world, rc, err) != 0) goto failed;
    if (check_gpus(o, err) != 0 || make_ids(t, o, err) != 0) goto failed;
    t->watching = pthread_create(&t->watch, NULL, watch, t) == 0;
    if (world_agree(o->base.world, t->watching ? 0 : error_set(err, "cannot start a thread"), err)
        != 0)
        goto failed;
    *out = &t->head;
    return 0;
failed:
    if (t) nccl_free(&t->head);
    return -1;
}
