#include "executor/net/heartbeat.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define SECOND_NS INT64_C(1000000000)

enum { BEATS = 8, WORDS = MESH_RANKS / 64 };     /* beats within the timeout */

typedef enum { SAYS_BEAT = 1, SAYS_FAULT, SAYS_REPORTED, SAYS_GOODBYE } BeatKind;

/* What goes from one to the other: the head, and length bytes of text. */
typedef struct {
    uint32_t kind, length;
    uint32_t fault, rank;        /* FAULT */
    uint64_t progress;           /* BEAT */
    uint64_t hears[WORDS];       /* BEAT: bit r: the sender hears rank r */
} Head;

typedef struct {
    Head head;
    char text[1024];
} Beat;

typedef struct {
    int      fd;                 /* -1: this process, or closed */
    bool     gone, left, reported;   /* closed without a goodbye; with one; it reported the fault */
    int64_t  heard_ns;
    uint64_t progress;
    uint64_t hears[WORDS];
    char     doing[HEARTBEAT_TEXT];
    Beat  in, out;
    size_t   in_bytes;           /* of in, so far */
    size_t   out_bytes, out_sent;
} BeatPeer;

struct Heartbeat {
    HeartbeatOptions o;
    RankLabel       *label;              /* [count] */
    BeatPeer            *peer;               /* [count] */
    struct pollfd   *pollers;            /* [count + 1] */
    int              wake;               /* an eventfd: look at what follows */
    pthread_t        thread;
    pthread_mutex_t  lock;               /* for what follows */
    pthread_cond_t   changed;
    bool             stopping;           /* asked of the thread */
    bool             found, done;        /* by the thread: a fault; it has no more to do */
    /* the thread's own */
    int64_t          interval_ns, beat_ns, turn_ns;
    uint64_t         progress;           /* of all, and since when */
    int64_t          moved_ns, stuck_ns;
    Fault            told;               /* by another; kind FAULT_NONE: nothing */
};

/* ---- words ---------------------------------------------------------------------------- */

static void set_bit(uint64_t *bits, int at) { bits[at / 64] |= UINT64_C(1) << (at % 64); }
static bool has_bit(const uint64_t *bits, int at) { return bits[at / 64] >> (at % 64) & 1; }

static double seconds(int64_t ns) { return (double)ns / 1e9; }

/* Takes part in the run still, as far as this process knows. */
static bool counts(const Heartbeat *h, int rank) { return !h->peer[rank].left; }

/* Whether a rank is heard: within the last half of the timeout. */
static bool hears(const Heartbeat *h, int rank, int64_t now_ns)
{
    const BeatPeer *peer = &h->peer[rank];

    if (rank == h->o.rank) return true;
    return !peer->gone && !peer->left && now_ns - peer->heard_ns <= h->o.timeout_ns / 2;
}

static void add(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add(char *text, size_t size, const char *format, ...)
{
    size_t  length = strlen(text);
    va_list list;

    va_start(list, format);
    vsnprintf(text + length, size - length, format, list);
    va_end(list);
}

static void add_rank(const Heartbeat *h, int rank, Fault *fault)
{
    add(fault->text, sizeof fault->text, "rank %d (%s)", rank, h->label[rank].text);
}

/* "; it was last heard 1.2 s ago: device 3 at step 310 ..." */
static void add_doing(const Heartbeat *h, int rank, int64_t now_ns, Fault *fault)
{
    const BeatPeer *peer = &h->peer[rank];

    add(fault->text, sizeof fault->text, ", last heard %.1f s ago: %s",
        seconds(now_ns - peer->heard_ns), peer->doing[0] ? peer->doing : "before its first step");
}

/* ---- sending ---------------------------------------------------------------------------- */

/* What a socket does not take at once is kept. */
static void push(BeatPeer *peer)
{
    while (peer->fd >= 0 && peer->out_sent < peer->out_bytes) {
        ssize_t sent = send(peer->fd, (char *)&peer->out + peer->out_sent,
                            peer->out_bytes - peer->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return;           /* full, or closed: reading will tell */
        peer->out_sent += (size_t)sent;
    }
}

/* A message is dropped while one before it is not out: the peer does not read. */
static void post(BeatPeer *peer, const Beat *message)
{
    if (peer->fd < 0 || peer->out_sent < peer->out_bytes) return;
    peer->out = *message;
    peer->out_bytes = sizeof message->head + message->head.length;
    peer->out_sent = 0;
    push(peer);
}

static void post_all(Heartbeat *h, const Beat *message)
{
    for (int r = 0; r < h->o.count; r++) post(&h->peer[r], message);
}

static void post_kind(Heartbeat *h, BeatKind kind)
{
    Beat message = {.head.kind = kind};

    post_all(h, &message);
}

static void post_beat(Heartbeat *h, int64_t now_ns)
{
    Beat message = {.head.kind = SAYS_BEAT};
    BeatPeer   *self = &h->peer[h->o.rank];

    h->o.device_status(h->o.context, self->doing, sizeof self->doing, &self->progress);
    self->heard_ns = now_ns;
    message.head.progress = self->progress;
    message.head.length =
        (uint32_t)snprintf(message.text, sizeof message.text, "%s", self->doing) + 1;
    for (int r = 0; r < h->o.count; r++)
        if (hears(h, r, now_ns)) set_bit(message.head.hears, r);
    post_all(h, &message);
}

static void post_fault(Heartbeat *h, const Fault *fault)
{
    Beat message = {.head = {.kind = SAYS_FAULT,
                             .fault = (uint32_t)fault->kind,
                             .rank = (uint32_t)fault->rank}};

    memcpy(message.text, fault->text, sizeof fault->text);
    message.head.length = (uint32_t)strlen(fault->text) + 1;
    post_all(h, &message);
}

/* ---- receiving ----------------------------------------------------------------------------- */

static void hang_up(BeatPeer *peer, bool gone)
{
    if (peer->fd >= 0) close(peer->fd);
    peer->fd = -1;
    if (!peer->left) peer->gone = gone;
}

/* A whole message of the peer has arrived: notes what it says. A second fault, or one of an unknown
 * kind or rank, is left out. */
static void take(Heartbeat *h, BeatPeer *peer)
{
    const Head *head = &peer->in.head;
    char       *text = peer->in.text;

    peer->heard_ns = clock_ns();
    if (head->length > 0) text[head->length - 1] = '\0';
    switch (head->kind) {
    case SAYS_BEAT:
        snprintf(peer->doing, sizeof peer->doing, "%.*s", HEARTBEAT_TEXT - 1, text);
        peer->progress = head->progress;
        memcpy(peer->hears, head->hears, sizeof peer->hears);
        break;
    case SAYS_FAULT:
        if (h->told.kind != FAULT_NONE || head->fault >= FAULT_KINDS
            || head->rank >= (uint32_t)h->o.count)
            break;
        h->told = (Fault){.kind = (FaultKind)head->fault, .rank = (int)head->rank};
        snprintf(h->told.text, sizeof h->told.text, "%s", text);
        break;
    case SAYS_REPORTED:
        peer->reported = true;
        break;
    case SAYS_GOODBYE:
        peer->left = true;
        break;
    default:
        break;
    }
}

/* How many bytes of a message are wanted, as far as they are known. */
static size_t wanted(const BeatPeer *peer)
{
    return peer->in_bytes < sizeof(Head) ? sizeof(Head) : sizeof(Head) + peer->in.head.length;
}

static void read_peer(Heartbeat *h, BeatPeer *peer)
{
    while (peer->fd >= 0) {
        ssize_t got = recv(peer->fd, (char *)&peer->in + peer->in_bytes,
                           wanted(peer) - peer->in_bytes, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        /* The end, or a reset, came from the other side; other errors are the network's:
         * a timeout will tell. */
        if (got <= 0) { hang_up(peer, got == 0 || errno == ECONNRESET || errno == EPIPE); return; }
        peer->in_bytes += (size_t)got;
        if (peer->in_bytes >= sizeof(Head) && peer->in.head.length > sizeof peer->in.text) {
            hang_up(peer, true);
            return;
        }
        if (peer->in_bytes < sizeof(Head) || peer->in_bytes < wanted(peer)) continue;
        take(h, peer);
        peer->in_bytes = 0;
    }
}

/* Waits for words, or until a time; reads them. */
static void listen_until(Heartbeat *h, int64_t until_ns)
{
    int      count = h->o.count;
    int64_t  left_ns = until_ns - clock_ns();
    uint64_t woken;

    for (int r = 0; r < count; r++) {
        const BeatPeer *peer = &h->peer[r];
        short       more = peer->out_sent < peer->out_bytes ? POLLOUT : 0;
        h->pollers[r] = (struct pollfd){.fd = peer->fd, .events = POLLIN | more};
    }
    h->pollers[count] = (struct pollfd){.fd = h->wake, .events = POLLIN};
    if (poll(h->pollers, (nfds_t)count + 1, left_ns <= 0 ? 0 : (int)(left_ns / 1000000) + 1) <= 0)
        return;
    for (int r = 0; r < count; r++) {
        if (h->pollers[r].revents & POLLOUT) push(&h->peer[r]);
        if (h->pollers[r].revents & ~POLLOUT) read_peer(h, &h->peer[r]);
    }
    if (h->pollers[count].revents && read(h->wake, &woken, sizeof woken) < 0) return;
}

/* ---- finding faults -------------------------------------------------------------------------- */

static bool find_crashed(const Heartbeat *h, int64_t now_ns, Fault *fault)
{
    for (int r = 0; r < h->o.count; r++) {
        if (!h->peer[r].gone) continue;
        if (fault->kind == FAULT_NONE) { fault->kind = FAULT_CRASHED; fault->rank = r; }
        else add(fault->text, sizeof fault->text, "; and ");
        add_rank(h, r, fault);
        add(fault->text, sizeof fault->text, " has crashed, its connection is closed");
        add_doing(h, r, now_ns, fault);
    }
    return fault->kind != FAULT_NONE;
}

/* One that this process hears and that hears the rank: -1: none. */
static int witness(const Heartbeat *h, int rank, int64_t now_ns)
{
    for (int r = 0; r < h->o.count; r++)
        if (r != h->o.rank && hears(h, r, now_ns) && has_bit(h->peer[r].hears, rank)) return r;
    return -1;
}

static void say_cut_off(const Heartbeat *h, int hearing, int all, int64_t unheard_ns, Fault *fault)
{
    fault->kind = FAULT_CUT_OFF;
    fault->rank = h->o.rank;
    add_rank(h, h->o.rank, fault);
    add(fault->text, sizeof fault->text,
        " is cut off: %d of the run's %d processes have not been heard for %.1f s; here: %s",
        all - hearing, all, seconds(unheard_ns), h->peer[h->o.rank].doing);
}

static void say_link_down(const Heartbeat *h, int rank, int between, int64_t now_ns, Fault *fault)
{
    fault->kind = FAULT_LINK_DOWN;
    fault->rank = rank;
    add_rank(h, rank, fault);
    add(fault->text, sizeof fault->text, " and ");
    add_rank(h, h->o.rank, fault);
    add(fault->text, sizeof fault->text,
        " have not heard each other for %.1f s, though rank %d hears both: the network "
        "between them is down; there: %s",
        seconds(now_ns - h->peer[rank].heard_ns), between, h->peer[rank].doing);
}

/* A rank that timed out, of a minority; or of the other half. */
static void say_timed_out(const Heartbeat *h, int rank, bool halves, int64_t now_ns, Fault *fault)
{
    if (fault->kind == FAULT_NONE) { fault->kind = FAULT_TIMED_OUT; fault->rank = rank; }
    else add(fault->text, sizeof fault->text, "; and ");
    add_rank(h, rank, fault);
    add(fault->text, sizeof fault->text, " has timed out, it is stopped or cut off%s",
        halves ? " (or this half of the run is)" : "");
    add_doing(h, rank, now_ns, fault);
}

/* Which fault it is, where one rank has not been heard for the timeout. */
static void explain_timeout(const Heartbeat *h, int64_t now_ns, Fault *fault)
{
    int     hearing = 0, all = 0, down = -1, between = -1;
    bool    unseen = false;              /* one that nobody hears */
    int64_t unheard_ns = 0;

    for (int r = 0; r < h->o.count; r++) {
        if (!counts(h, r)) continue;
        all++;
        if (hears(h, r, now_ns)) { hearing++; continue; }
        int by = witness(h, r, now_ns);
        if (by < 0) unseen = true;
        else if (down < 0) { down = r; between = by; }
        if (now_ns - h->peer[r].heard_ns > unheard_ns) unheard_ns = now_ns - h->peer[r].heard_ns;
    }
    if (!unseen) { say_link_down(h, down, between, now_ns, fault); return; }
    if (2 * hearing < all) { say_cut_off(h, hearing, all, unheard_ns, fault); return; }
    for (int r = 0; r < h->o.count; r++)
        if (counts(h, r) && !hears(h, r, now_ns) && witness(h, r, now_ns) < 0)
            say_timed_out(h, r, 2 * hearing == all, now_ns, fault);
}

static bool find_timed_out(const Heartbeat *h, int64_t now_ns, Fault *fault)
{
    for (int r = 0; r < h->o.count; r++) {
        if (r == h->o.rank || !counts(h, r) || now_ns - h->peer[r].heard_ns <= h->o.timeout_ns)
            continue;
        explain_timeout(h, now_ns, fault);
        return true;
    }
    return false;
}

/* After this thread itself was held up (stopped, or no processor to be had) others get their time
 * anew: what they said meanwhile has been read, and may say that they gave this process up. */
static void forgive(Heartbeat *h, int64_t now_ns)
{
    if (now_ns - h->turn_ns > h->o.timeout_ns / 2)
        for (int r = 0; r < h->o.count; r++) h->peer[r].heard_ns = now_ns;
    h->turn_ns = now_ns;
}

/* The lowest rank of those that hear each other speaks for them all. */
static bool is_speaker(const Heartbeat *h, int64_t now_ns)
{
    for (int r = 0; r < h->o.rank; r++)
        if (hears(h, r, now_ns)) return false;
    return true;
}

static void warn_stuck(Heartbeat *h, int64_t now_ns)
{
    uint64_t progress = 0;
    char     line[4 * HEARTBEAT_TEXT] = "";

    for (int r = 0; r < h->o.count; r++) progress += h->peer[r].progress;
    if (progress != h->progress) {
        h->progress = progress;
        h->moved_ns = now_ns;
        h->stuck_ns = h->o.stuck_ns;
    }
    if (h->o.stuck_ns == 0 || now_ns - h->moved_ns < h->stuck_ns || !is_speaker(h, now_ns)) return;
    h->stuck_ns *= 2;
    add(line, sizeof line, "no device has got on for %.0f s", seconds(now_ns - h->moved_ns));
    for (int r = 0; r < h->o.count; r++)
        if (counts(h, r)) add(line, sizeof line, "; rank %d: %s", r, h->peer[r].doing);
    h->o.warn(h->o.context, line);
}

/* ---- a fault --------------------------------------------------------------------------------- */

static bool is_reported(const Heartbeat *h)
{
    for (int r = 0; r < h->o.count; r++)
        if (h->peer[r].reported) return true;
    return false;
}

/* Until someone else has reported it: false when there is no one lower to do so, or it does not
 * come to it within a second. */
static bool wait_for_speaker(Heartbeat *h)
{
    int64_t until_ns = clock_ns() + SECOND_NS;

    while (!is_reported(h) && !is_speaker(h, clock_ns()) && clock_ns() < until_ns)
        listen_until(h, until_ns);
    return is_reported(h);
}

/* Lets words go out to those who still read. */
static void drain(Heartbeat *h)
{
    int64_t until_ns = clock_ns() + SECOND_NS / 10;

    for (bool waiting = true; waiting && clock_ns() < until_ns;) {
        waiting = false;
        for (int r = 0; r < h->o.count; r++) {
            push(&h->peer[r]);
            waiting = waiting || (h->peer[r].fd >= 0 && h->peer[r].out_sent < h->peer[r].out_bytes);
        }
        if (waiting) usleep(2000);
    }
}

/* Sends it to all, has one process report it, and tells this one of the end. */
static void conclude(Heartbeat *h, const Fault *fault)
{
    drain(h);
    post_fault(h, fault);
    drain(h);
    bool reports = !wait_for_speaker(h);
    h->o.fault(h->o.context, fault, reports);
    if (reports) post_kind(h, SAYS_REPORTED);
    drain(h);
    h->o.ended(h->o.context);
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* A turn: words in, a beat out, a look at what is missing. */
static void turn(Heartbeat *h, Fault *fault)
{
    listen_until(h, h->beat_ns);
    int64_t now_ns = clock_ns();
    forgive(h, now_ns);
    if (now_ns >= h->beat_ns) {
        post_beat(h, now_ns);
        h->beat_ns = now_ns + h->interval_ns;
    }
    if (h->told.kind != FAULT_NONE) *fault = h->told;
    else if (!find_crashed(h, now_ns, fault) && !find_timed_out(h, now_ns, fault))
        warn_stuck(h, now_ns);
}

/* The thread: turns until a fault is found, which it concludes, or until it is asked to stop, when
 * it says goodbye. */
static void *run_thread(void *context)
{
    Heartbeat *h = context;
    Fault      fault = {0};

    for (bool stopping = false; !stopping && fault.kind == FAULT_NONE;) {
        turn(h, &fault);
        pthread_mutex_lock(&h->lock);
        h->found = fault.kind != FAULT_NONE;
        stopping = h->stopping;
        if (h->found) pthread_cond_broadcast(&h->changed);
        pthread_mutex_unlock(&h->lock);
    }
    if (fault.kind != FAULT_NONE) {
        conclude(h, &fault);
    } else {
        drain(h);
        post_kind(h, SAYS_GOODBYE);
        drain(h);
    }
    pthread_mutex_lock(&h->lock);
    h->done = true;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

static void wake(const Heartbeat *h)
{
    uint64_t one = 1;

    if (write(h->wake, &one, sizeof one) < 0) return;    /* full: it is awake */
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static void heartbeat_free(Heartbeat *h)
{
    for (int r = 0; h->peer && r < h->o.count; r++)
        if (h->peer[r].fd >= 0) close(h->peer[r].fd);
    if (h->wake >= 0) close(h->wake);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    free(h->pollers);
    free(h->peer);
    free(h->label);
    free(h);
}

static int open_peers(Heartbeat *h, const Mesh *mesh, Error *err)
{
    size_t count = (size_t)h->o.count;

    h->peer = calloc(count, sizeof *h->peer);
    h->pollers = calloc(count + 1, sizeof *h->pollers);
    h->label = malloc(count * sizeof *h->label);
    if (!h->peer || !h->pollers || !h->label) return error_no_memory(err);
    memcpy(h->label, h->o.label, count * sizeof *h->label);
    for (int r = 0; r < h->o.count; r++) h->peer[r].fd = -1;
    for (int r = 0; r < h->o.count; r++) {
        h->peer[r].heard_ns = h->turn_ns;
        if (r == h->o.rank) continue;
        h->peer[r].fd = fcntl(mesh_socket(mesh, r), F_DUPFD_CLOEXEC, 0);
        if (h->peer[r].fd < 0)
            return error_set(err, "cannot keep a connection: %s", strerror(errno));
    }
    return 0;
}

int heartbeat_start(Heartbeat **out, const Mesh *mesh, const HeartbeatOptions *options, Error *err)
{
    Heartbeat *h = calloc(1, sizeof *h);
    int        rc;

    *out = NULL;
    if (!h) return error_no_memory(err);
    pthread_mutex_init(&h->lock, NULL);
    clock_init_condition(&h->changed);
    h->o = *options;
    h->interval_ns = h->o.timeout_ns / BEATS;
    h->turn_ns = h->beat_ns = h->moved_ns = clock_ns();
    h->stuck_ns = h->o.stuck_ns;
    h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (h->wake < 0) { error_set(err, "cannot make an eventfd: %s", strerror(errno)); goto fail; }
    if (open_peers(h, mesh, err) != 0) goto fail;
    rc = pthread_create(&h->thread, NULL, run_thread, h);
    if (rc != 0) {
        error_set(err, "cannot start the thread of heartbeats: %s", strerror(rc));
        goto fail;
    }
    *out = h;
    return 0;
fail:
    heartbeat_free(h);
    return -1;
}

bool heartbeat_wait(Heartbeat *h, int64_t wait_ns)
{
    struct timespec until = clock_in(wait_ns);
    int             rc = 0;

    pthread_mutex_lock(&h->lock);
    while (rc == 0 && !h->found) rc = pthread_cond_timedwait(&h->changed, &h->lock, &until);
    bool found = h->found;
    while (found && !h->done) pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
    return found;
}

void heartbeat_stop(Heartbeat *h)
{
    if (!h) return;
    pthread_mutex_lock(&h->lock);
    h->stopping = true;
    pthread_mutex_unlock(&h->lock);
    wake(h);
    pthread_join(h->thread, NULL);
    heartbeat_free(h);
}
