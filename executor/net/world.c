/* Collectives are made of mail: messages of PORT_WORLD that carry the number of the collective,
 * and are kept until whoever waits for them takes them:
 *
 *     gather      every rank -> rank 0, which takes them in the order of ranks
 *     broadcast   rank 0 -> every rank
 *     barrier     a gather of nothing, then a broadcast of nothing
 *
 * A failure is a message to all; it ends every wait and stays. */
#include "executor/net/world.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "executor/net/world_link.h"

enum { KIND_MAIL, KIND_FAILURE, KIND_PING, KIND_PONG };
enum { HOST_BYTES = 64, CLOCK_ROUNDS = 64, LISTEN_POLL_US = 200, LISTEN_PATIENCE_MS = 2000 };

typedef struct Mail {
    struct Mail *next;
    Message      message;
    void        *payload;
} Mail;

typedef struct {
    const Listener *listener;
    void           *context;
    int64_t         number;
} Ear;

struct World {
    Link           *link;
    int             rank, size;
    char          (*host)[HOST_BYTES];   /* [size] */
    int            *host_number;         /* [size] */
    int            *first_device;        /* [size + 1] */
    int64_t        *clock_offset_ns;     /* [size] */
    _Atomic int64_t *heard_ns;           /* [size] */
    int64_t         collective;          /* number of the next */
    pthread_mutex_t dispatch;            /* held while listeners are called, and changed; recursive,
                                          * as these may fail */
    Ear             ear[PORT_COUNT];
    atomic_bool     asks;                /* a listener is told what messages take */
    pthread_mutex_t lock;                /* for what follows */
    pthread_cond_t  changed;
    Mail           *mail;
    bool            failed;
    Error           failure;
    void          (*on_failure)(void *context, const Error *err);
    void           *on_failure_context;
};

/* ---- messages ---------------------------------------------------------------------- */

int world_post(World *world, int to, const Message *message, const void *payload,
               void (*release)(void *), void *context, Error *err)
{
    Message m = *message;

    m.from = world->rank;
    m.sent_ns = clock_ns();
    return world->link->ops->post(world->link, to, &m, payload, release, context, err);
}

void world_hurry(World *world, int more) { if (world) world->link->ops->hurry(world->link, more); }

void world_bind(World *world, const void *cores, size_t bytes)
{
    if (world) world->link->ops->bind(world->link, cores, bytes);
}

int64_t world_heard_ns(const World *world, int rank) { return atomic_load(&world->heard_ns[rank]); }

int64_t world_clock_offset_ns(const World *world, int rank)
{
    return world ? world->clock_offset_ns[rank] : 0;
}

void world_listen(World *world, Port port, int64_t number, const Listener *listener, void *context)
{
    bool asks = false;

    pthread_mutex_lock(&world->dispatch);
    world->ear[port] = (Ear){listener, context, number};
    for (int p = 0; p < PORT_COUNT; p++)
        asks = asks || (world->ear[p].listener && world->ear[p].listener->spent);
    atomic_store(&world->asks, asks);
    pthread_mutex_unlock(&world->dispatch);
    if (listener) return;
    /* What is on its way ends by itself, unless the sender is gone. */
    int64_t begin_ns = clock_ns();
    while (world->link->ops->in_flight(world->link, port) > 0) {
        if (world_failed(world, NULL)
            && clock_ns() - begin_ns > (int64_t)LISTEN_PATIENCE_MS * 1000000)
            break;
        usleep(LISTEN_POLL_US);
    }
}

/* The listener that the message is for; NULL: none. With the dispatch lock. */
static const Ear *ear_of(World *world, const Message *message)
{
    const Ear *ear = &world->ear[message->port];

    return ear->listener && ear->number == message->number ? ear : NULL;
}

static void *place(void *context, const Message *message)
{
    World *world = context;
    void  *memory = NULL;

    if (message->port == PORT_WORLD) return NULL;
    pthread_mutex_lock(&world->dispatch);
    const Ear *ear = ear_of(world, message);
    if (ear && ear->listener->place) memory = ear->listener->place(ear->context, message);
    pthread_mutex_unlock(&world->dispatch);
    return memory;
}

static void add_mail(World *world, const Message *message, const void *payload)
{
    Mail *mail = calloc(1, sizeof *mail);
    void *copy = message->bytes ? malloc((size_t)message->bytes) : NULL;

    if (!mail || (message->bytes && !copy)) {
        Error err;
        free(mail);
        free(copy);
        error_no_memory(&err);
        world_fail(world, &err);
        return;
    }
    if (copy) memcpy(copy, payload, (size_t)message->bytes);
    *mail = (Mail){NULL, *message, copy};
    pthread_mutex_lock(&world->lock);
    Mail **end = &world->mail;
    while (*end) end = &(*end)->next;
    *end = mail;
    pthread_cond_broadcast(&world->changed);
    pthread_mutex_unlock(&world->lock);
}

/* Keeps the first failure; returns whether this is it. */
static bool keep_failure(World *world, const Error *err)
{
    pthread_mutex_lock(&world->lock);
    bool first = !world->failed;
    if (first) world->failure = *err;
    world->failed = true;
    pthread_cond_broadcast(&world->changed);
    pthread_mutex_unlock(&world->lock);
    return first;
}

static void tell_failure(World *world, const Error *err)
{
    pthread_mutex_lock(&world->dispatch);
    if (world->on_failure) world->on_failure(world->on_failure_context, err);
    pthread_mutex_unlock(&world->dispatch);
}

static void hear_failure(World *world, const Message *message, const char *text)
{
    Error err;
    int   from = message->from;

    error_set(&err, "%.*s", (int)message->bytes, text);
    if (world->host[from][0]) error_prefix(&err, "rank %d (%s)", from, world->host[from]);
    else                      error_prefix(&err, "rank %d", from);
    if (keep_failure(world, &err)) tell_failure(world, &err);
}

static void answer_ping(World *world, const Message *message)
{
    Message pong = {.port = PORT_WORLD, .kind = KIND_PONG};

    /* not answered: it waits */
    if (world_post(world, message->from, &pong, NULL, NULL, NULL, NULL) != 0) return;
}

static void taken(void *context, const Message *message, const void *payload)
{
    World *world = context;

    atomic_store(&world->heard_ns[message->from], clock_ns());
    if (message->port == PORT_WORLD) {
        if (message->kind == KIND_FAILURE)   hear_failure(world, message, payload);
        else if (message->kind == KIND_PING) answer_ping(world, message);
        else                                 add_mail(world, message, payload);
        return;
    }
    pthread_mutex_lock(&world->dispatch);
    const Ear *ear = ear_of(world, message);
    if (ear) ear->listener->arrived(ear->context, message, payload);
    pthread_mutex_unlock(&world->dispatch);
}

static void spent(void *context, const Message *message, int64_t ns)
{
    World *world = context;

    if (message->port == PORT_WORLD) return;
    pthread_mutex_lock(&world->dispatch);
    const Ear *ear = ear_of(world, message);
    if (ear && ear->listener->spent) ear->listener->spent(ear->context, message, ns);
    pthread_mutex_unlock(&world->dispatch);
}

static bool asks(void *context) { return atomic_load(&((World *)context)->asks); }

/* ---- failure ------------------------------------------------------------------------ */

void world_fail(World *world, const Error *err)
{
    if (!world || !keep_failure(world, err)) return;
    for (int r = 0; r < world->size; r++) {
        Message m = {.port = PORT_WORLD, .kind = KIND_FAILURE, .bytes = (int64_t)strlen(err->text)};
        /* A rank that cannot be told notices by itself, or not: there is nobody else to tell. */
        if (r != world->rank) world_post(world, r, &m, err->text, NULL, NULL, NULL);
    }
    tell_failure(world, err);
}

bool world_failed(World *world, Error *err)
{
    if (!world) return false;
    pthread_mutex_lock(&world->lock);
    bool failed = world->failed;
    if (failed && err) *err = world->failure;
    pthread_mutex_unlock(&world->lock);
    return failed;
}

void world_on_failure(World *world, void (*function)(void *context, const Error *err),
                      void  *context)
{
    Error err;

    if (!world) return;
    pthread_mutex_lock(&world->dispatch);
    world->on_failure = function;
    world->on_failure_context = context;
    if (function && world_failed(world, &err)) function(context, &err);
    pthread_mutex_unlock(&world->dispatch);
}

static void link_failed(void *context, const Error *err) { world_fail(context, err); }

/* ---- mail ------------------------------------------------------------------------------ */

static int send_mail(World *world, int to, int64_t number, const void *bytes, size_t size,
                     Error *err)
{
    Message m = {.port = PORT_WORLD, .kind = KIND_MAIL, .value = {number}, .bytes = (int64_t)size};

    return world_post(world, to, &m, bytes, NULL, NULL, err);
}

/* The oldest that fits leaves the list. With the lock. */
static Mail *find_mail(World *world, int from, int kind, int64_t number)
{
    for (Mail **at = &world->mail; *at; at = &(*at)->next) {
        Mail *mail = *at;
        if (mail->message.from != from || mail->message.kind != kind
            || mail->message.value[0] != number)
            continue;
        *at = mail->next;
        return mail;
    }
    return NULL;
}

/* Waits for it; free_mail() it. NULL: a failure came first. */
static Mail *take_mail(World *world, int from, int kind, int64_t number, Error *err)
{
    Mail *mail = NULL;

    pthread_mutex_lock(&world->lock);
    while (!world->failed && !(mail = find_mail(world, from, kind, number)))
        pthread_cond_wait(&world->changed, &world->lock);
    if (!mail && err) *err = world->failure;
    pthread_mutex_unlock(&world->lock);
    return mail;
}

static void free_mail(Mail *mail)
{
    free(mail->payload);
    free(mail);
}

/* Mail of exactly size bytes into out. */
static int receive_mail(World *world, int from, int64_t number, void *out, size_t size, Error *err)
{
    Mail *mail = take_mail(world, from, KIND_MAIL, number, err);
    int   rc = 0;

    if (!mail) return -1;
    if ((size_t)mail->message.bytes != size)
        rc = error_set(err,
                       "rank %d sent %" PRId64
                       " bytes where %zu were expected: another version of this program?",
                       from, mail->message.bytes, size);
    else if (size) memcpy(out, mail->payload, size);
    free_mail(mail);
    return rc;
}

/* ---- all together ------------------------------------------------------------------------ */

/* A collective that went wrong here is everybody's failure. */
static int ended(World *world, int rc, Error *err)
{
    if (rc != 0 && err) world_fail(world, err);
    return rc;
}

int world_broadcast(World *world, void *bytes, size_t size, Error *err)
{
    int rc = 0;

    if (!world) return 0;
    int64_t number = world->collective++;
    if (world_failed(world, err)) return -1;
    if (world->rank != 0)
        return ended(world, receive_mail(world, 0, number, bytes, size, err), err);
    for (int r = 1; r < world->size && rc == 0; r++)
        rc = send_mail(world, r, number, bytes, size, err);
    return ended(world, rc, err);
}

int world_broadcast_text(World *world, Text *text, Error *err)
{
    int rc = 0;

    if (!world) return 0;
    int64_t number = world->collective++;
    if (world_failed(world, err)) return -1;
    if (world->rank == 0) {
        for (int r = 1; r < world->size && rc == 0; r++)
            rc = send_mail(world, r, number, text->bytes, text->length, err);
        return ended(world, rc, err);
    }
    Mail *mail = take_mail(world, 0, KIND_MAIL, number, err);
    if (!mail) return -1;
    text_free(text);
    *text = (Text){0};
    text_append_bytes(text, mail->payload, (size_t)mail->message.bytes);
    free_mail(mail);
    return text_failed(text) ? ended(world, error_no_memory(err), err) : 0;
}

int world_gather(World *world, void *out, const void *bytes, size_t size, Error *err)
{
    int rc = 0;

    if (!world) { if (out != bytes) memcpy(out, bytes, size); return 0; }
    int64_t number = world->collective++;
    if (world_failed(world, err)) return -1;
    if (world->rank != 0) return ended(world, send_mail(world, 0, number, bytes, size, err), err);
    if (size) memcpy(out, bytes, size);
    for (int r = 1; r < world->size && rc == 0; r++)
        rc =
            receive_mail(world, r, number, size ? (char *)out + (size_t)r * size : NULL, size, err);
    return ended(world, rc, err);
}

int world_gather_all(World *world, void *out, const void *bytes, size_t size, Error *err)
{
    if (world_gather(world, out, bytes, size, err) != 0) return -1;
    return world ? world_broadcast(world, out, size * (size_t)world->size, err) : 0;
}

int world_gather_texts(World *world, Text *out, const Text *text, Error *err)
{
    if (!world) return 0;
    int64_t number = world->collective++;
    if (world_failed(world, err)) return -1;
    if (world->rank != 0)
        return ended(world, send_mail(world, 0, number, text->bytes, text->length, err), err);
    for (int r = 1; r < world->size; r++) {
        Mail *mail = take_mail(world, r, KIND_MAIL, number, err);
        if (!mail) return -1;
        text_append_bytes(&out[r], mail->payload, (size_t)mail->message.bytes);
        free_mail(mail);
        if (text_failed(&out[r])) return ended(world, error_no_memory(err), err);
    }
    return 0;
}

int64_t world_number(World *world) { return world ? world->collective++ : 0; }

int world_barrier(World *world, Error *err)
{
    if (!world) return 0;
    if (world_gather(world, NULL, NULL, 0, err) != 0) return -1;
    return world_broadcast(world, NULL, 0, err);
}

int world_agree(World *world, int rc, Error *err)
{
    Error none = {""};

    if (!world) return rc;
    if (rc != 0) world_fail(world, err ? err : &none);
    if (world_barrier(world, &none) == 0) return 0;
    if (err && rc == 0) *err = none;
    return -1;
}

/* ---- who is where ---------------------------------------------------------------------------- */

int world_rank(const World *world) { return world ? world->rank : 0; }
int world_size(const World *world) { return world ? world->size : 1; }

const char *world_host(const World *world, int rank)
{
    return world ? world->host[rank] : "localhost";
}
int world_host_number(const World *world, int rank) { return world ? world->host_number[rank] : 0; }

int world_set_devices(World *world, int count, Error *err)
{
    if (!world) return 0;
    if (world_gather_all(world, world->first_device + 1, &count, sizeof count, err) != 0) return -1;
    for (int r = 0; r < world->size; r++) world->first_device[r + 1] += world->first_device[r];
    return 0;
}

int world_first_device(const World *world) { return world ? world->first_device[world->rank] : 0; }

int world_devices(const World *world, int devices)
{
    return world ? world->first_device[world->rank + 1] - world->first_device[world->rank]
                 : devices;
}

int world_all_devices(const World *world, int devices)
{
    return world ? world->first_device[world->size] : devices;
}

int world_rank_of(const World *world, int device)
{
    int rank = 0;

    while (world && rank + 1 < world->size && device >= world->first_device[rank + 1]) rank++;
    return rank;
}

bool world_has_device(const World *world, int device)
{
    return world_rank_of(world, device) == world_rank(world);
}

static int learn_hosts(World *world, Error *err)
{
    char mine[HOST_BYTES] = "";

    gethostname(mine, sizeof mine - 1);
    if (world_gather_all(world, world->host, mine, sizeof mine, err) != 0) return -1;
    for (int r = 0, hosts = 0; r < world->size; r++) {
        int same = 0;
        while (same < r && strcmp(world->host[same], world->host[r]) != 0) same++;
        world->host_number[r] = same < r ? world->host_number[same] : hosts++;
    }
    return 0;
}

/* A machine since its start, and a network namespace of it; what cannot be read is zeros. */
typedef struct {
    char     boot[40];
    uint64_t network;
} Loopback;

static void find_loopback(Loopback *out)
{
    struct stat network;
    FILE       *file = fopen("/proc/sys/kernel/random/boot_id", "re");

    *out = (Loopback){0};
    if (file && !fgets(out->boot, sizeof out->boot, file)) out->boot[0] = '\0';
    if (file) fclose(file);
    if (stat("/proc/self/ns/net", &network) == 0) out->network = network.st_ino;
}

int world_shares_loopback(World *world, bool *out, Error *err)
{
    Loopback mine, *all = calloc((size_t)world_size(world), sizeof *all);
    int      rc = -1;

    if (!all) return error_no_memory(err);
    find_loopback(&mine);
    rc = world_gather_all(world, all, &mine, sizeof mine, err);
    *out = mine.boot[0] && mine.network;
    for (int r = 0; r < world_size(world) && world; r++)
        if (strcmp(all[r].boot, mine.boot) != 0 || all[r].network != mine.network) *out = false;
    free(all);
    return rc;
}

/* ---- clocks ---------------------------------------------------------------------------------- */

/* A question takes as long as its answer, when neither is held up: rank's clock lies in the middle
 * of the fastest question and the fastest answer, be they of different rounds. */
static int ask_clock(World *world, int rank, int64_t *offset_ns, Error *err)
{
    int64_t there_ns = INT64_MAX, back_ns = INT64_MAX;   /* each with the difference of the
                                                          * clocks */

    for (int i = 0; i < CLOCK_ROUNDS; i++) {
        Message ping = {.port = PORT_WORLD, .kind = KIND_PING};
        int64_t begin_ns = clock_ns();
        if (world_post(world, rank, &ping, NULL, NULL, NULL, err) != 0) return -1;
        Mail *mail = take_mail(world, rank, KIND_PONG, 0, err);
        if (!mail) return -1;
        int64_t end_ns = clock_ns(), theirs_ns = mail->message.sent_ns;
        if (theirs_ns - begin_ns < there_ns) there_ns = theirs_ns - begin_ns;
        if (end_ns - theirs_ns < back_ns) back_ns = end_ns - theirs_ns;
        free_mail(mail);
    }
    *offset_ns = (back_ns - there_ns) / 2;
    return 0;
}

static int learn_clocks(World *world, Error *err)
{
    int rc = 0;

    world_hurry(world, 1);
    for (int r = 1; r < world->size && rc == 0 && world->rank == 0; r++)
        if (world->host_number[r] != 0) rc = ask_clock(world, r, &world->clock_offset_ns[r], err);
    if (rc == 0)
        rc = world_broadcast(world, world->clock_offset_ns,
                             (size_t)world->size * sizeof *world->clock_offset_ns, err);
    world_hurry(world, -1);
    return ended(world, rc, err);
}

/* ---- doorbells ------------------------------------------------------------------------------- */

int world_connect_doorbells(World *world, const Mesh *mesh, Error *err)
{
    Doorbell        *doorbell = world->link->ops->doorbell(world->link);
    DoorbellAddress  mine, *all = calloc((size_t)world->size, sizeof *all);

    doorbell_listen(doorbell, mesh_listens_at(mesh));
    mine = doorbell_address(doorbell);
    int rc = all ? world_gather_all(world, all, &mine, sizeof mine, err) : error_no_memory(err);

    for (int r = 0; r < world->size && rc == 0; r++) {
        struct sockaddr_storage peer;
        socklen_t               length = sizeof peer;
        if (r != world->rank
            && getpeername(mesh_socket(mesh, r), (struct sockaddr *)&peer, &length) == 0)
            doorbell_connect(doorbell, r, &peer, all[r]);
    }
    free(all);
    return rc;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static void free_world(World *world)
{
    while (world->mail) {
        Mail *mail = world->mail;
        world->mail = mail->next;
        free_mail(mail);
    }
    pthread_cond_destroy(&world->changed);
    pthread_mutex_destroy(&world->lock);
    pthread_mutex_destroy(&world->dispatch);
    free(world->host);
    free(world->host_number);
    free(world->first_device);
    free(world->clock_offset_ns);
    free(world->heard_ns);
    free(world);
}

static int allocate(World *world, Error *err)
{
    size_t size = (size_t)world->size;

    world->host = calloc(size, sizeof *world->host);
    world->host_number = calloc(size, sizeof *world->host_number);
    world->first_device = calloc(size + 1, sizeof *world->first_device);
    world->clock_offset_ns = calloc(size, sizeof *world->clock_offset_ns);
    world->heard_ns = calloc(size, sizeof *world->heard_ns);
    return world->host && world->host_number && world->first_device && world->clock_offset_ns
                   && world->heard_ns
               ? 0
               : error_no_memory(err);
}

#ifdef HAVE_MPI
static int open_link(World *world, Error *err)
{
    static const LinkCalls calls = {place, taken, link_failed, spent, asks};

    if (mpi_link_open(&world->link, &calls, world, err) != 0) return -1;
    world->rank = world->link->rank;
    world->size = world->link->size;
    return 0;
}
#else
int mpi_link_start(Link *link, Error *err)
{
    (void)link;
    return error_set(err, "this build has no MPI");
}
int open_mpi_major(void) { return 0; }

static int open_link(World *world, Error *err)
{
    (void)world;
    (void)place;
    (void)taken;
    (void)spent;
    (void)asks;
    (void)link_failed;
    return error_set(
        err,
        "this process was launched as one of several, but this build has no MPI (make config)");
}
#endif

static bool set_to(const char *name)
{
    const char *text = getenv(name);

    return text && *text;
}

bool launched_as_rank(void)
{
    return set_to("OMPI_COMM_WORLD_SIZE") || set_to("PMIX_RANK") || set_to("PMI_RANK");
}

/* How many processes the launcher says it started, and in which variable: the first that is set, as
 * some launchers start others and leave their own variables. 1: it started one, or nothing says
 * so. */
static int launched_count(const char **variable)
{
    static const char *const counts[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE",
                                         "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS"};

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        *variable = counts[i];
        if (set_to(counts[i])) return atoi(getenv(counts[i]));
    }
    *variable = "PMIX_RANK";                             /* PMIx tells the number only to who asks
                                                          * its server */
    return set_to(*variable) ? atoi(getenv(*variable)) + 1 : 1;
}

/* Of several processes that each believe to be alone, all would do the whole run, and write the
 * same files. size: what MPI says; 1 without it. count, variable: of launched_count(), before MPI
 * changes the environment. */
static int check_launch(int size, int count, const char *variable, Error *err)
{
    if (size > 1 || count < 2) return 0;
    if (strcmp(variable, "SLURM_STEP_NUM_TASKS") == 0)
        return error_set(
            err, "srun started %d processes that do not know of each other: use srun --mpi=pmix",
            count);
    return error_set(err,
                     "at least %d processes were started (%s) that do not know of each other: use "
                     "the launcher of the MPI "
                     "that this program is built with (make config)",
                     count, variable);
}

int world_open(World **out, Error *err)
{
    pthread_mutexattr_t recursive;
    World      *world;
    const char *variable;
    int         rc = -1, count = launched_count(&variable);

    *out = NULL;
    if (!launched_as_rank()) return check_launch(1, count, variable, err);
    world = calloc(1, sizeof *world);
    if (!world) return error_no_memory(err);
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&world->dispatch, &recursive);
    pthread_mutexattr_destroy(&recursive);
    pthread_mutex_init(&world->lock, NULL);
    pthread_cond_init(&world->changed, NULL);
    if (open_link(world, err) != 0 || check_launch(world->size, count, variable, err) != 0
        || allocate(world, err) != 0 || mpi_link_start(world->link, err) != 0)
        goto done;
    /* When another rank has failed already, the first call says so, as it would a moment later. */
    if ((learn_hosts(world, err) != 0 || learn_clocks(world, err) != 0)
        && !world_failed(world, NULL))
        goto done;
    *out = world; world = NULL; rc = 0;
done:
    if (world) world_close(world);
    return rc;
}

void world_close(World *world)
{
    Error err;

    if (!world) return;
    bool failed = world_failed(world, NULL) || world_barrier(world, &err) != 0;
    if (world->link) world->link->ops->close(world->link, failed);
    free_world(world);
}
