#include "executor/net/chain_sum.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* Of a group on several hosts, whose messages take long, a sum is CHUNKS pieces, so that the first
 * comes back while the last leaves: fewer of a small one, as messages below LEAST_CHUNK cost more
 * than they save, and more of a large one, as everywhere. */
enum { MOST_CHUNK = 1 << 18, LEAST_CHUNK = 1 << 14, CHUNKS = 8, ADD = 256 };
enum { HAS_ADDENDS = 1, IS_ADDED = 2 };          /* of a chunk */

/* What a device of this process brings. */
typedef struct {
    GradientRun *runs;       /* [capacity], copied */
    int          run_count, capacity;
    double      *values;
    double       loss;
} ChainPart;

/* A sum that some rank has begun. Message.value: its number among its kind's, the element where
 * a chunk begins, elements in all, when the last device came (on rank 0's clock). */
typedef struct {
    ChainKind kind;
    bool      used;
    int64_t   number, count;
    int64_t   chunk_elements;        /* of every chunk but the last */
    int       begun, left;           /* devices of this process that began; that did not finish */
    ChainPart     *parts;                 /* [members here] */
    char     *addends, *sum;         /* [count]: as far as this rank has added; the result */
    char     *chunk;                 /* [chunks] HAS_ADDENDS, IS_ADDED */
    size_t    capacity;              /* bytes of addends and of sum */
    int64_t   chunk_capacity;
    int64_t   chunks_left;           /* of the result, to come */
    int       sending;               /* chunks that the world still reads */
    double    loss;                  /* with those before, then the result */
    bool      loss_added;
    int64_t   start_ns, end_ns;
} ChainPiece;

typedef struct {
    int64_t begun[CHAIN_KINDS], finished[CHAIN_KINDS];
    int64_t start_ns, end_ns;
} ChainMember;

/* A chunk on its way: whose memory the world reads. */
typedef struct { struct Chain *chain; ChainPiece *sum; } Sending;

struct Chain {
    ChainRoute route;
    int        group;
    int        before, after;        /* ranks; -1 at the ends */
    bool       on_hosts;             /* on several */
    int        first, members;       /* devices here: a part of the group's list */
    const int *devices;              /* [members] */
    ChainMember    *member;               /* [members] */
    pthread_mutex_t lock;            /* recursive: who holds it may fail, which stops the
                                      * transport */
    EventCount      progress;             /* changes when a sum is ready, or let go */
    ChainPiece       *sums[CHAIN_KINDS];    /* [depth]: number n is at n % depth */
    int        depth[CHAIN_KINDS];
};

static size_t size_of(const ChainPiece *sum)
{
    return sum->kind == CHAIN_STATISTICS ? sizeof(double) : sizeof(float);
}

/* The same at all ranks of the group. */
static int64_t chunk_elements(const Chain *c, const ChainPiece *sum)
{
    int64_t size = (int64_t)size_of(sum),
            bytes = c->on_hosts ? sum->count * size / CHUNKS : MOST_CHUNK;

    if (bytes < LEAST_CHUNK) bytes = LEAST_CHUNK;
    if (bytes > MOST_CHUNK) bytes = MOST_CHUNK;
    return bytes / size;
}

static int64_t chunks_of(const ChainPiece *sum)
{
    return (sum->count + sum->chunk_elements - 1) / sum->chunk_elements;
}

static int64_t length_at(const ChainPiece *sum, int64_t at)
{
    int64_t left = sum->count - at;

    return left < sum->chunk_elements ? left : sum->chunk_elements;
}

/* ---- values of devices ------------------------------------------------------------- */

static void add_floats(float *to, const float *from, int64_t count)
{
    for (; count >= ADD; count -= ADD, to += ADD, from += ADD)
        for (int i = 0; i < ADD; i++) to[i] += from[i];
    for (int64_t i = 0; i < count; i++) to[i] += from[i];
}

/* What to do with the part of a run that lies in a chunk. */
typedef void Visit(float *chunk, float *run, int64_t count);

static void visit_add(float *chunk, float *run, int64_t count) { add_floats(chunk, run, count); }
static void visit_take(float *chunk, float *run, int64_t count)
{
    memcpy(chunk, run, (size_t)count * sizeof *chunk);
}
static void visit_give(float *chunk, float *run, int64_t count)
{
    memcpy(run, chunk, (size_t)count * sizeof *run);
}

static void visit_runs(const ChainPart *part, float *chunk, int64_t at, int64_t count, Visit *visit)
{
    int64_t first = 0;

    for (int r = 0; r < part->run_count && first < at + count; first += part->runs[r].count, r++) {
        int64_t low = at > first ? at : first, high = first + part->runs[r].count;
        if (high > at + count) high = at + count;
        if (low < high) visit(chunk + (low - at), part->runs[r].values + (low - first), high - low);
    }
}

/* Adds the values of this process's devices to those of the ones before. */
static void add_chunk(Chain *c, ChainPiece *sum, int64_t at, int64_t count)
{
    for (int m = 0; m < c->members; m++) {
        bool first = c->before < 0 && m == 0;
        if (sum->kind == CHAIN_GRADIENTS) {
            visit_runs(&sum->parts[m], (float *)(void *)sum->addends + at, at, count,
                       first ? visit_take : visit_add);
            continue;
        }
        double *to = (double *)(void *)sum->addends + at, *from = sum->parts[m].values + at;
        for (int64_t i = 0; i < count; i++) to[i] = first ? from[i] : to[i] + from[i];
    }
}

static void give_chunk(Chain *c, ChainPiece *sum, const char *values, int64_t at, int64_t count)
{
    for (int m = 0; m < c->members; m++) {
        if (sum->kind == CHAIN_GRADIENTS)
            visit_runs(&sum->parts[m], (float *)(void *)(values + (size_t)at * sizeof(float)), at,
                       count, visit_give);
        else
            memcpy(sum->parts[m].values + at, values + (size_t)at * sizeof(double),
                   (size_t)count * sizeof(double));
    }
}

/* ---- sums ------------------------------------------------------------------------------ */

static ChainPiece *sum_at(Chain *c, ChainKind kind, int64_t number)
{
    return &c->sums[kind][number % c->depth[kind]];
}

/* Room for the sum's numbers and for the state of its chunks, which begin at 0. -1: no memory. */
static int make_room(ChainPiece *sum)
{
    size_t  bytes = (size_t)sum->count * size_of(sum);
    int64_t chunks = chunks_of(sum);

    if (bytes > sum->capacity) {
        free(sum->addends);
        free(sum->sum);
        sum->capacity = 0;
        sum->addends = malloc(bytes);
        sum->sum = malloc(bytes);
        if (!sum->addends || !sum->sum) return -1;
        sum->capacity = bytes;
    }
    if (chunks > sum->chunk_capacity) {
        free(sum->chunk);
        sum->chunk_capacity = 0;
        sum->chunk = malloc((size_t)chunks);
        if (!sum->chunk) return -1;
        sum->chunk_capacity = chunks;
    }
    memset(sum->chunk, 0, (size_t)chunks);
    return 0;
}

/* The sum of that number, begun now if nobody has. With the lock. */
static ChainPiece *find_sum(Chain *c, ChainKind kind, int64_t number, int64_t count, Error *err)
{
    ChainPiece *sum = sum_at(c, kind, number);

    if (!sum->used) {
        sum->number = number;
        sum->count = count;
        sum->chunk_elements = chunk_elements(c, sum);
        if (make_room(sum) != 0) { error_no_memory(err); return NULL; }
        sum->used = true;
        sum->begun = 0;
        sum->left = c->members;
        sum->loss = 0;
        sum->loss_added = false;
        sum->start_ns = INT64_MIN;
        sum->chunks_left = chunks_of(sum);
    }
    if (sum->number != number || sum->count != count) {
        error_set(err, "devices of group %d have different gradients to sum", c->group);
        return NULL;
    }
    return sum;
}

static int64_t on_common_clock(const Chain *c, int64_t ns)
{
    return ns + world_clock_offset_ns(c->route.world, world_rank(c->route.world));
}

/* ---- chunks ------------------------------------------------------------------------------ */

static void let_go(void *context)
{
    Sending *sending = context;
    Chain   *c = sending->chain;

    pthread_mutex_lock(&c->lock);
    sending->sum->sending--;
    eventcount_add(&c->progress, 1);
    pthread_mutex_unlock(&c->lock);
    atomic_fetch_sub(c->route.sending, 1);
    free(sending);
}

/* The run cannot go on: there is nobody here to return an error to. */
static void fail(Chain *c, const Error *err) { world_fail(c->route.world, err); }

/* Sends the chunk of a sum that begins at element at to rank to. values is read while it is under
 * way, so sum->sending holds the sum until let_go(). Message.number and .value as at ChainPiece.
 * With the lock. */
static void send_chunk(Chain *c, ChainPiece *sum, int kind, int to, char *values, int64_t at)
{
    size_t   size = size_of(sum);
    Message  m = {.port = PORT_TRANSPORT, .kind = kind + 2 * (int)sum->kind, .id = c->group,
                  .number = c->route.number,
                  .value = {sum->number, at, sum->count, sum->start_ns},
                  .real = sum->loss,
                  .bytes = length_at(sum, at) * (int64_t)size};
    Sending *sending = malloc(sizeof *sending);
    Error    err;

    if (!sending) { error_no_memory(&err); fail(c, &err); return; }
    *sending = (Sending){c, sum};
    sum->sending++;
    atomic_fetch_add(c->route.sending, 1);
    if (world_post(c->route.world, to, &m, values + (size_t)at * size, let_go, sending, &err)
        != 0) {
        sum->sending--;
        atomic_fetch_sub(c->route.sending, 1);
        free(sending);
        fail(c, &err);
    }
}

static bool is_stopped(const Chain *c) { return atomic_load(&c->route.rules->stopped); }

/* The result of a chunk is here: for the devices, and the ranks before. */
static void spread_chunk(Chain *c, ChainPiece *sum, char *values, int64_t at)
{
    if (is_stopped(c)) return;           /* what devices brought may be gone */
    give_chunk(c, sum, values, at, length_at(sum, at));
    if (c->before >= 0) send_chunk(c, sum, CHAIN_SUM, c->before, values, at);
    if (--sum->chunks_left > 0) return;
    sum->end_ns = clock_ns();
    eventcount_add(&c->progress, 1);
}

/* A chunk whose addends from before are here, once this process's devices have begun. */
static void pass_chunk(Chain *c, ChainPiece *sum, int64_t at)
{
    char *chunk = &sum->chunk[at / sum->chunk_elements];

    if (is_stopped(c) || *chunk & IS_ADDED || sum->begun < c->members
        || (c->before >= 0 && !(*chunk & HAS_ADDENDS)))
        return;
    *chunk |= IS_ADDED;
    if (!sum->loss_added) {
        for (int m = 0; m < c->members; m++) sum->loss += sum->parts[m].loss;
        sum->loss_added = true;
    }
    add_chunk(c, sum, at, length_at(sum, at));
    if (c->after >= 0) send_chunk(c, sum, CHAIN_ADD, c->after, sum->addends, at);
    else               spread_chunk(c, sum, sum->addends, at);
}

static void *find_place(Chain *c, const Message *m, ChainKind kind, bool result)
{
    Error err;
    ChainPiece  *sum = find_sum(c, kind, m->value[0], m->value[2], &err);

    if (!sum) { fail(c, &err); return NULL; }
    return (result ? sum->sum : sum->addends) + (size_t)m->value[1] * size_of(sum);
}

void *chain_place(Chain *c, const Message *m)
{
    int kind = m->kind - CHAIN_ADD;

    pthread_mutex_lock(&c->lock);
    void *place = find_place(c, m, (ChainKind)(kind / 2), kind % 2);
    pthread_mutex_unlock(&c->lock);
    return place;
}

void chain_arrived(Chain *c, const Message *m)
{
    int  kind = m->kind - CHAIN_ADD;
    ChainPiece *sum = sum_at(c, (ChainKind)(kind / 2), m->value[0]);

    pthread_mutex_lock(&c->lock);
    if (sum->used && sum->number == m->value[0]) {
        if (m->value[3] > sum->start_ns) sum->start_ns = m->value[3];
        if (kind % 2 == 0) {
            if (!sum->loss_added) sum->loss = m->real;       /* the same in every chunk */
            sum->chunk[m->value[1] / sum->chunk_elements] |= HAS_ADDENDS;
            pass_chunk(c, sum, m->value[1]);
        } else {
            sum->loss = m->real;
            spread_chunk(c, sum, sum->sum, m->value[1]);
        }
    }
    pthread_mutex_unlock(&c->lock);
}

/* ---- devices ------------------------------------------------------------------------------- */

static int copy_runs(ChainPart *part, const GradientRun *runs, int count)
{
    if (count > part->capacity) {
        GradientRun *moved = realloc(part->runs, (size_t)count * sizeof *moved);
        if (!moved) return -1;
        part->runs = moved;
        part->capacity = count;
    }
    if (count) memcpy(part->runs, runs, (size_t)count * sizeof *runs);
    part->run_count = count;
    return 0;
}

/* With the lock: the device has brought its part; the last lets all chunks go that can. */
static void come(Chain *c, ChainPiece *sum)
{
    int64_t now_ns = on_common_clock(c, clock_ns());

    if (now_ns > sum->start_ns) sum->start_ns = now_ns;
    if (++sum->begun < c->members) return;
    for (int64_t at = 0; at < sum->count; at += sum->chunk_elements) pass_chunk(c, sum, at);
}

/* A device's part of its kind's next sum. */
static int begin(Chain *c, ChainKind kind, int device, const GradientRun *runs, int run_count,
                 double *values, double loss, int64_t count, Error *err)
{
    int  m = transport_member(c->devices, device), rc = -1;

    pthread_mutex_lock(&c->lock);
    ChainPiece *sum = find_sum(c, kind, c->member[m].begun[kind], count, err);
    if (!sum) goto done;
    ChainPart *part = &sum->parts[m];
    if (copy_runs(part, runs, run_count) != 0) { error_no_memory(err); goto done; }
    part->values = values;
    part->loss = loss;
    c->member[m].begun[kind]++;
    come(c, sum);
    rc = 0;
done:
    pthread_mutex_unlock(&c->lock);
    return rc;
}

int chain_begin(Chain *c, int device, const GradientRun *runs, int run_count, double loss,
                Error *err)
{
    int64_t count = 0;

    for (int r = 0; r < run_count; r++) count += runs[r].count;
    return begin(c, CHAIN_GRADIENTS, device, runs, run_count, NULL, loss, count, err);
}

int chain_begin_statistics(Chain *c, int device, double *values, int count, Error *err)
{
    return begin(c, CHAIN_STATISTICS, device, NULL, 0, values, 0, count, err);
}

/* Ready for the devices, and read by nobody any more. */
static bool is_ready(const ChainPiece *sum, int64_t number)
{
    return sum->used && sum->number == number && sum->chunks_left == 0 && sum->sending == 0;
}

static int wait_until_ready(Chain *c, const ChainPiece *sum, int64_t number, Error *err)
{
    int rc = 0;

    if (c->route.hurry) world_hurry(c->route.world, 1);
    while (rc == 0 && !is_ready(sum, number)) {
        int seen = atomic_load(&c->progress.number);
        pthread_mutex_unlock(&c->lock);
        rc = eventcount_wait(c->route.rules, &c->progress, seen, err);
        pthread_mutex_lock(&c->lock);
    }
    if (c->route.hurry) world_hurry(c->route.world, -1);
    return rc;
}

int chain_finish(Chain *c, ChainKind kind, int device, double *loss, Error *err)
{
    int m = transport_member(c->devices, device);

    pthread_mutex_lock(&c->lock);
    ChainMember *member = &c->member[m];
    ChainPiece    *sum = sum_at(c, kind, member->finished[kind]);
    int     rc = wait_until_ready(c, sum, member->finished[kind], err);
    if (rc == 0) {
        if (loss) *loss = sum->loss;
        member->finished[kind]++;
        member->start_ns = sum->start_ns - on_common_clock(c, 0);
        member->end_ns = sum->end_ns;
        if (--sum->left == 0) sum->used = false;
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

void chain_in_flight(const Chain *c, int device, int64_t *start_ns, int64_t *end_ns)
{
    const ChainMember *member = &c->member[transport_member(c->devices, device)];

    *start_ns = member->start_ns;
    *end_ns = member->end_ns;
}

void chain_wake(Chain *c) { eventcount_add(&c->progress, 0); }

void chain_quiet(Chain *c)
{
    pthread_mutex_lock(&c->lock);
    pthread_mutex_unlock(&c->lock);
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static int open_sums(Chain *c, ChainKind kind, int depth)
{
    c->sums[kind] = calloc((size_t)depth, sizeof *c->sums[kind]);
    if (!c->sums[kind]) return -1;
    c->depth[kind] = depth;
    for (int i = 0; i < depth; i++) {
        c->sums[kind][i].kind = kind;
        c->sums[kind][i].parts = calloc((size_t)c->members, sizeof *c->sums[kind][i].parts);
        if (!c->sums[kind][i].parts) return -1;
    }
    return 0;
}

static int host_of(const World *world, int device)
{
    return world_host_number(world, world_rank_of(world, device));
}

/* Which of the group's devices are here, and the ranks beside. Devices of a group are in
 * ascending order, so those of a rank stand together. */
static void find_place_in_group(Chain *c, const Group *group)
{
    World *world = c->route.world;

    c->before = c->after = -1;
    for (int i = 0; i < group->count; i++) {
        if (host_of(world, group->devices[i]) != host_of(world, group->devices[0]))
            c->on_hosts = true;
        if (!world_has_device(world, group->devices[i])) continue;
        if (c->members++ == 0) {
            c->first = i;
            if (i > 0) c->before = world_rank_of(world, group->devices[i - 1]);
        }
        if (i + 1 < group->count) c->after = world_rank_of(world, group->devices[i + 1]);
        else                      c->after = -1;
    }
    c->devices = group->devices + c->first;
}

int chain_new(Chain **out, const ChainRoute *route, int group, const Group *members, int blocks,
              Error *err)
{
    pthread_mutexattr_t recursive;
    Chain              *c = calloc(1, sizeof *c);

    *out = NULL;
    if (!c) return error_no_memory(err);
    c->route = *route;
    c->group = group;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&c->lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
    eventcount_open(&c->progress);
    find_place_in_group(c, members);
    c->member = calloc((size_t)c->members, sizeof *c->member);
    /* Of gradients a device has begun one for every block at most, and ranks beside it may be
     * as many ahead; statistics are waited for one by one. */
    if (!c->member || open_sums(c, CHAIN_GRADIENTS, 2 * blocks + 2) != 0
        || open_sums(c, CHAIN_STATISTICS, 4) != 0) {
        chain_free(c);
        return error_no_memory(err);
    }
    *out = c;
    return 0;
}

static void free_sum(ChainPiece *sum, int members)
{
    for (int m = 0; sum->parts && m < members; m++) free(sum->parts[m].runs);
    free(sum->parts);
    free(sum->addends);
    free(sum->sum);
    free(sum->chunk);
}

void chain_free(Chain *c)
{
    if (!c) return;
    for (int k = 0; k < CHAIN_KINDS; k++) {
        for (int i = 0; i < c->depth[k]; i++) free_sum(&c->sums[k][i], c->members);
        free(c->sums[k]);
    }
    eventcount_close(&c->progress);
    pthread_mutex_destroy(&c->lock);
    free(c->member);
    free(c);
}
