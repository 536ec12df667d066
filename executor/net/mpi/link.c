/* Messages over MPI. One thread of ours makes all calls to MPI, so MPI_THREAD_SERIALIZED is
 * enough, and no wait of a worker ever stands in MPI, where nothing could end it:
 *
 *     post()    -> queue --\                     /--> callbacks: place(), taken(), release()
 *     (any thread)          the link's thread --<
 *                                                \--> MPI_Isend, MPI_Irecv, MPI_Test
 *
 * A header is a message of fixed size with tag 0; a payload that fits stands in it, another
 * follows with tag 1, in pieces that MPI can count. One receive of headers, from anyone, is
 * posted at all times; a payload's is posted when its header has come, into memory that the
 * listener named. MPI keeps the order of headers, and of payloads, between two ranks.
 *
 * MPI cannot be waited for, so the thread waits on a doorbell (executor/net/doorbell.h), which is
 * rung for every message that leaves, and for what MPI needs to hear from the receiver of a long
 * one. As rings may be lost, or come before what they announce, it also looks now and then, after a
 * short sleep while somebody is waiting (hurry()). It does not look all the time: who uses a core
 * much has to wait for it when a device computes there. Only where nobody rings it looks without
 * pause for who waits.
 *
 * While somebody asks, what the thread has of a processor in a turn is told to those whose messages
 * it had to do with (LinkCalls.spent), in equal parts: what it sent, rang for, took, and what is on
 * its way, for which it looks. Looks for what has not been announced are nobody's: they are as many
 * without messages. So are those that it makes only because somebody waits, and leaves the thread
 * his core, but for what they take longer than a look that finds nothing, as then MPI moves
 * bytes. */
#include <mpi.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "executor/net/world_link.h"

enum { TAG_HEADER, TAG_PAYLOAD };
enum { INLINE_BYTES = 176, PIECE_BYTES = 1 << 30, CLOSE_MS = 1000 };
/* Pauses between two looks: after something went on while more is on its way, or somebody waits,
 * twice as long each time; the longest; the same where others ring and nothing is on its way. A
 * look takes about 10 us of a core that a device may be using. */
enum { LEAST_NS = 20000, MOST_NS = 500000, MOST_RUNG_NS = 2000000, SLICE_NS = 100000 };

typedef struct {
    Message message;
    char    bytes[INLINE_BYTES];         /* the payload, if it fits */
} Header;

/* A message to be sent, or being sent. */
typedef struct Outgoing {
    struct Outgoing *next;
    Header      header;
    int         to, left;                /* left: requests not complete */
    const void *payload;
    void       *owned;                   /* the copy of a payload; free() */
    void      (*release)(void *context);
    void       *context;
} Outgoing;

/* A payload that is being received. */
typedef struct {
    Message message;
    void   *memory;
    bool    owned, announced;
    int     left;
} IncomingMessage;

/* What a request belongs to: one of both. */
typedef struct {
    Outgoing *outgoing;
    IncomingMessage *incoming;
} RequestOwner;

typedef struct {
    Link            head;
    const LinkCalls *calls;
    void           *context;
    MPI_Comm        comm;
    pthread_t       thread;
    bool            running;
    /* the thread's own */
    MPI_Request     header_request;
    Header          header;
    MPI_Request    *request;             /* [capacity], of them count are active */
    RequestOwner          *owner;
    int            *done;
    int             count, capacity;
    int64_t         pause_ns;            /* before the next look */
    bool           *to_ring;             /* [size], after this look */
    bool            rings;
    bool            asked;               /* somebody asks what this turn takes */
    int64_t         before_ns;           /* of a processor, before it; -1: it was not read */
    Message        *concerned;           /* [concerned_capacity] whose messages this turn is for */
    int             concerned_count, concerned_capacity;
    int64_t         look_ns;             /* what a look takes that finds nothing, when nothing is on
                                          * its way: a running mean */
    int64_t         calm_look_ns, calm_pause_ns;     /* when it would look next if nobody waited,
                                                      * and after what pause */
    /* everybody's */
    atomic_int      hurried;
    atomic_int      in_flight[PORT_COUNT];
    pthread_mutex_t lock;
    Doorbell           *doorbell;
    Outgoing       *first, **end;
    bool            closing, failed;
} MpiLink;

/* ---- requests ------------------------------------------------------------------------ */

/* Room for more requests, before they are started. */
static int make_room(MpiLink *l, int more)
{
    if (l->count + more <= l->capacity) return 0;
    int bigger = 2 * l->capacity > l->count + more ? 2 * l->capacity : l->count + more + 16;
    MPI_Request *request = realloc(l->request, (size_t)bigger * sizeof *request);
    if (request) l->request = request;
    RequestOwner       *owner = realloc(l->owner, (size_t)bigger * sizeof *owner);
    if (owner) l->owner = owner;
    int         *done = realloc(l->done, (size_t)bigger * sizeof *done);
    if (done) l->done = done;
    if (!request || !owner || !done) return -1;
    l->capacity = bigger;
    return 0;
}

static int piece_count(int64_t bytes)
{
    return (int)((bytes + PIECE_BYTES - 1) / PIECE_BYTES);
}

static int piece_at(int64_t bytes, int piece)
{
    int64_t left = bytes - (int64_t)piece * PIECE_BYTES;

    return (int)(left < PIECE_BYTES ? left : PIECE_BYTES);
}

/* This turn has to do with the message; without memory it is told nothing. */
static void concern(MpiLink *l, const Message *message)
{
    if (l->asked && array_has_room(l->concerned, l->concerned_count, l->concerned_capacity))
        l->concerned[l->concerned_count++] = *message;
}

static void out_of_memory(MpiLink *l)
{
    Error err;

    error_no_memory(&err);
    l->calls->failed(l->context, &err);
}

/* ---- sending ---------------------------------------------------------------------------- */

static void finish_outgoing(Outgoing *o)
{
    if (o->release) o->release(o->context);
    free(o->owned);
    free(o);
}

static void announce(MpiLink *l, int rank) { l->to_ring[rank] = l->rings = true; }

static void start_outgoing(MpiLink *l, Outgoing *o)
{
    int64_t bytes = o->header.message.bytes;
    int     pieces = bytes <= INLINE_BYTES ? 0 : piece_count(bytes);

    if (make_room(l, pieces + 1) != 0) { out_of_memory(l); finish_outgoing(o); return; }
    concern(l, &o->header.message);
    o->left = pieces + 1;
    MPI_Isend(&o->header, sizeof o->header, MPI_BYTE, o->to, TAG_HEADER, l->comm,
              &l->request[l->count]);
    l->owner[l->count++] = (RequestOwner){o, NULL};
    announce(l, o->to);
    for (int p = 0; p < pieces; p++) {
        MPI_Isend((const char *)o->payload + (int64_t)p * PIECE_BYTES, piece_at(bytes, p), MPI_BYTE,
                  o->to, TAG_PAYLOAD, l->comm, &l->request[l->count]);
        l->owner[l->count++] = (RequestOwner){o, NULL};
    }
}

/* Queues a message for the thread that calls MPI. A payload without release is copied; one with
 * release is borrowed until that is called. */
static int post(Link *link, int to, const Message *message, const void *payload,
                void (*release)(void *), void *context, Error *err)
{
    MpiLink  *l = (MpiLink *)link;
    Outgoing *o = calloc(1, sizeof *o);
    size_t    bytes = (size_t)message->bytes;

    if (!o) return error_no_memory(err);
    *o = (Outgoing){.header.message = *message,
                    .to = to,
                    .payload = payload,
                    .release = release,
                    .context = context};
    if (bytes && bytes <= INLINE_BYTES) {
        memcpy(o->header.bytes, payload, bytes);
    } else if (bytes && !release) {
        o->owned = malloc(bytes);
        if (!o->owned) { free(o); return error_no_memory(err); }
        memcpy(o->owned, payload, bytes);
        o->payload = o->owned;
    }
    pthread_mutex_lock(&l->lock);
    *l->end = o;
    l->end = &o->next;
    pthread_mutex_unlock(&l->lock);
    doorbell_wake(l->doorbell);
    return 0;
}

static Outgoing *take_posted(MpiLink *l)
{
    pthread_mutex_lock(&l->lock);
    Outgoing *o = l->first;
    l->first = NULL;
    l->end = &l->first;
    pthread_mutex_unlock(&l->lock);
    return o;
}

static bool start_posted(MpiLink *l)
{
    Outgoing *o = take_posted(l);
    bool      some = o != NULL;

    while (o) {
        Outgoing *next = o->next;
        start_outgoing(l, o);
        o = next;
    }
    return some;
}

/* ---- receiving ----------------------------------------------------------------------------- */

static void expect_header(MpiLink *l)
{
    MPI_Irecv(&l->header, sizeof l->header, MPI_BYTE, MPI_ANY_SOURCE, TAG_HEADER, l->comm,
              &l->header_request);
}

static void finish_incoming(MpiLink *l, IncomingMessage *in)
{
    l->calls->taken(l->context, &in->message, in->memory);
    announce(l, in->message.from);       /* whose request is complete now */
    if (in->owned) free(in->memory);
    else           atomic_fetch_sub(&l->in_flight[in->message.port], 1);
    free(in);
}

static void expect_payload(MpiLink *l, const Message *m)
{
    IncomingMessage *in = calloc(1, sizeof *in);
    int       pieces = piece_count(m->bytes);

    if (!in || make_room(l, pieces) != 0) { free(in); out_of_memory(l); return; }
    *in =
        (IncomingMessage){.message = *m, .left = pieces, .memory = l->calls->place(l->context, m)};
    if (!in->memory) {
        in->memory = malloc((size_t)m->bytes);
        in->owned = true;
        if (!in->memory) { free(in); out_of_memory(l); return; }
    } else {
        atomic_fetch_add(&l->in_flight[m->port], 1);
    }
    for (int p = 0; p < pieces; p++) {
        MPI_Irecv((char *)in->memory + (int64_t)p * PIECE_BYTES, piece_at(m->bytes, p), MPI_BYTE,
                  m->from, TAG_PAYLOAD, l->comm, &l->request[l->count]);
        l->owner[l->count++] = (RequestOwner){NULL, in};
    }
}

/* A payload that came with its header still goes where the listener wants it. */
static void take_inline(MpiLink *l, const Header *h)
{
    void *memory = h->message.bytes ? l->calls->place(l->context, &h->message) : NULL;

    if (memory) memcpy(memory, h->bytes, (size_t)h->message.bytes);
    l->calls->taken(l->context, &h->message, memory ? memory : h->bytes);
}

static bool take_headers(MpiLink *l)
{
    bool some = false;

    for (;;) {
        int flag;
        MPI_Test(&l->header_request, &flag, MPI_STATUS_IGNORE);
        if (!flag) return some;
        Header h = l->header;
        concern(l, &h.message);
        expect_header(l);
        if (h.message.bytes <= INLINE_BYTES) take_inline(l, &h);
        else                                 expect_payload(l, &h.message);
        some = true;
    }
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* Those of requests that are active: header and pieces of one stand side by side. */
static void concern_active(MpiLink *l)
{
    for (int i = 0; i < l->count; i++) {
        RequestOwner o = l->owner[i], before = i > 0 ? l->owner[i - 1] : (RequestOwner){0};
        if (o.outgoing && o.outgoing != before.outgoing) concern(l, &o.outgoing->header.message);
        if (o.incoming && o.incoming != before.incoming) concern(l, &o.incoming->message);
    }
}

static bool finish_requests(MpiLink *l)
{
    int completed = 0, kept = 0;

    if (l->count == 0) return false;
    if (l->asked) concern_active(l);
    MPI_Testsome(l->count, l->request, &completed, l->done, MPI_STATUSES_IGNORE);
    if (completed <= 0) return false;                /* MPI_UNDEFINED is negative */
    for (int i = 0; i < completed; i++) {
        RequestOwner o = l->owner[l->done[i]];
        l->owner[l->done[i]] = (RequestOwner){0};
        if (o.outgoing && --o.outgoing->left == 0) finish_outgoing(o.outgoing);
        if (o.incoming && --o.incoming->left == 0) finish_incoming(l, o.incoming);
    }
    for (int i = 0; i < l->count; i++) {
        if (!l->owner[i].outgoing && !l->owner[i].incoming) continue;
        l->request[kept] = l->request[i];
        l->owner[kept++] = l->owner[i];
    }
    l->count = kept;
    return true;
}

/* A long payload that was not here yet: MPI may have asked its sender for it. */
static void announce_receives(MpiLink *l)
{
    for (int i = 0; i < l->count; i++) {
        IncomingMessage *in = l->owner[i].incoming;
        if (!in || in->announced) continue;
        in->announced = true;
        announce(l, in->message.from);
    }
}

static void ring(MpiLink *l)
{
    announce_receives(l);
    for (int r = 0; l->rings && r < l->head.size; r++)
        if (l->to_ring[r]) doorbell_ring(l->doorbell, r);
    memset(l->to_ring, 0, (size_t)l->head.size * sizeof *l->to_ring);
    l->rings = false;
}

static bool has_posted(MpiLink *l)
{
    pthread_mutex_lock(&l->lock);
    bool has = l->first || l->closing;
    pthread_mutex_unlock(&l->lock);
    return has;
}

/* Nothing went on. */
static void rest(MpiLink *l)
{
    bool    rung = doorbell_is_rung(l->doorbell), hurried = atomic_load(&l->hurried) > 0;
    int64_t most_ns = hurried ? LEAST_NS : rung && l->count == 0 ? MOST_RUNG_NS : MOST_NS;

    ring(l);
    if (hurried && !rung) { sched_yield(); return; }
    doorbell_prepare(l->doorbell);
    if (has_posted(l)) return;
    if (doorbell_wait(l->doorbell, l->pause_ns < most_ns ? l->pause_ns : most_ns))
        l->pause_ns = LEAST_NS;
    else if (l->pause_ns < most_ns)                                          l->pause_ns *= 2;
}

/* Of a look that found nothing while somebody waits: what counts of ns. */
static int64_t beyond_waiting(MpiLink *l, int64_t ns)
{
    int64_t now_ns = clock_ns();

    if (now_ns < l->calm_look_ns) return ns > l->look_ns ? ns - l->look_ns : 0;
    if (l->calm_pause_ns < MOST_NS) l->calm_pause_ns *= 2;
    l->calm_look_ns = now_ns + l->calm_pause_ns;
    return ns;
}

/* A turn is over, in which the thread had ns of a processor; some: something went on. */
static void tell_spent(MpiLink *l, bool some, int64_t ns)
{
    enum { SMOOTH = 16 };

    if (some) {
        l->calm_pause_ns = LEAST_NS;
        l->calm_look_ns = clock_ns() + LEAST_NS;
    } else if (l->concerned_count == 0) {
        l->look_ns += l->look_ns > 0 ? (ns - l->look_ns) / SMOOTH : ns;
    } else if (atomic_load(&l->hurried) > 0) {
        ns = beyond_waiting(l, ns);
    }
    for (int i = 0; i < l->concerned_count; i++)
        l->calls->spent(l->context, &l->concerned[i], ns / l->concerned_count);
    if (!l->rings) l->concerned_count = 0;           /* else they are rung for in the next turn */
}

/* After a turn: of one that began and ends while somebody asks, what it took. */
static void end_turn(MpiLink *l, bool some)
{
    int64_t now_ns = l->asked ? clock_thread_ns() : -1;

    if (now_ns >= 0 && l->before_ns >= 0) tell_spent(l, some, now_ns - l->before_ns);
    else                                  l->concerned_count = 0;
    l->before_ns = now_ns;
}

/* Whether all is sent, or, after a failure, enough has been tried. */
static bool may_end(MpiLink *l, int64_t *closing_ns)
{
    pthread_mutex_lock(&l->lock);
    bool closing = l->closing, failed = l->failed, empty = !l->first;
    pthread_mutex_unlock(&l->lock);
    if (!closing) return false;
    if (*closing_ns == 0) *closing_ns = clock_ns();
    if (failed && clock_ns() - *closing_ns > (int64_t)CLOSE_MS * 1000000) return true;
    return empty && l->count == 0;
}

/* Since Linux 6.12 a thread that asks for short turns gets its turn as soon as it wakes, though
 * another computes; else that may be milliseconds later. Before, nothing changes. */
static void ask_for_short_turns(void)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t  nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes = {.size = sizeof attributes, .policy = SCHED_OTHER,
                    .nice = getpriority(PRIO_PROCESS, 0), .runtime = SLICE_NS};

    /* else as the user chose */
    if (sched_getscheduler(0) == SCHED_OTHER) syscall(SYS_sched_setattr, 0, &attributes, 0);
}

/* The thread: sends, takes, rests, and tells what each turn took, until all is sent and the link is
 * to be closed. */
static void *run(void *argument)
{
    MpiLink *l = argument;
    int64_t  closing_ns = 0;

    prctl(PR_SET_TIMERSLACK, 1000);
    ask_for_short_turns();
    l->pause_ns = MOST_NS;
    l->before_ns = -1;
    expect_header(l);
    while (!may_end(l, &closing_ns)) {
        l->asked = l->calls->asks(l->context);
        bool some = start_posted(l);
        if (take_headers(l)) some = true;
        if (finish_requests(l)) some = true;
        if (some) l->pause_ns = l->count ? LEAST_NS : MOST_NS;
        else      rest(l);
        end_turn(l, some);
    }
    MPI_Cancel(&l->header_request);
    MPI_Request_free(&l->header_request);
    return NULL;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static void hurry(Link *link, int more)
{
    MpiLink *l = (MpiLink *)link;

    atomic_fetch_add(&l->hurried, more);
    if (more > 0) doorbell_wake(l->doorbell);
}

/* Where it cannot be bound it runs anywhere, as before. */
static void bind_thread(Link *link, const void *cores, size_t bytes)
{
    pthread_setaffinity_np(((MpiLink *)link)->thread, bytes, cores);
}

static Doorbell *doorbell(Link *link) { return ((MpiLink *)link)->doorbell; }

static int in_flight(Link *link, Port port)
{
    return atomic_load(&((MpiLink *)link)->in_flight[port]);
}

static void free_link(MpiLink *l)
{
    for (int i = 0; i < l->count; i++) {             /* what a failure left */
        RequestOwner o = l->owner[i];
        if (o.outgoing && --o.outgoing->left == 0) finish_outgoing(o.outgoing);
        if (o.incoming && --o.incoming->left == 0) {
            if (o.incoming->owned) free(o.incoming->memory);
            free(o.incoming);
        }
    }
    for (Outgoing *o = l->first, *next; o; o = next) { next = o->next; finish_outgoing(o); }
    doorbell_free(l->doorbell);
    pthread_mutex_destroy(&l->lock);
    free(l->to_ring);
    free(l->concerned);
    free(l->request);
    free(l->owner);
    free(l->done);
    free(l);
}

static void close_link(Link *link, bool failed)
{
    MpiLink *l = (MpiLink *)link;

    pthread_mutex_lock(&l->lock);
    l->closing = true;
    l->failed = failed;
    pthread_mutex_unlock(&l->lock);
    if (l->doorbell) doorbell_wake(l->doorbell);
    if (l->running) pthread_join(l->thread, NULL);
    MPI_Finalize();
    free_link(l);
}

static const LinkOps ops = {post, hurry, bind_thread, in_flight, doorbell, close_link};

int mpi_link_open(Link **out, const LinkCalls *calls, void *context, Error *err)
{
    int      level;
    MpiLink *l = calloc(1, sizeof *l);

    *out = NULL;
    if (!l) return error_no_memory(err);
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level) != MPI_SUCCESS) {
        free(l);
        return error_set(err, "MPI cannot be started");
    }
    l->head.ops = &ops;
    l->calls = calls;
    l->context = context;
    l->comm = MPI_COMM_WORLD;
    l->end = &l->first;
    MPI_Comm_rank(l->comm, &l->head.rank);
    MPI_Comm_size(l->comm, &l->head.size);
    pthread_mutex_init(&l->lock, NULL);
    if (level < MPI_THREAD_SERIALIZED) {
        close_link(&l->head, true);
        return error_set(
            err, "this MPI gives thread level %d, expected at least %d (MPI_THREAD_SERIALIZED)",
            level, MPI_THREAD_SERIALIZED);
    }
    l->to_ring = calloc((size_t)l->head.size, sizeof *l->to_ring);
    int rc = l->to_ring ? doorbell_open(&l->doorbell, l->head.size, err) : error_no_memory(err);
    if (rc != 0) { close_link(&l->head, true); return -1; }
    *out = &l->head;
    return 0;
}

int open_mpi_major(void)
{
#ifdef OMPI_MAJOR_VERSION
    return OMPI_MAJOR_VERSION;
#else
    return 0;
#endif
}

int mpi_link_start(Link *link, Error *err)
{
    MpiLink *l = (MpiLink *)link;

    if (pthread_create(&l->thread, NULL, run, l) != 0)
        return error_set(err, "cannot start a thread for MPI");
    l->running = true;
    return 0;
}
