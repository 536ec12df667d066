/* Invariants, under the lock, of a stream, whose steps are numbered from its first phase on:
 *   1. here it ends: places of steps free .. free + depth - 1 are its own; a place that is free has
 *      no row that came, and its order is not known;
 *   2. here rows of it are: step < peer_free + depth was sent, where this machine has rows of
 *      it. */
#include "executor/train/row_exchange.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/array.h"
#include "executor/net/world.h"
#include "workloads/head.h"

enum { KIND_ROWS, KIND_FREE };

/* A place of a stream's ring. */
typedef struct {
    float   *rows;           /* [rows][elements] */
    int     *order;          /* [rows]: where a row of the step stands; -1: it is in reach */
    bool     ordered;
    int64_t  expected, came; /* rows; expected where ordered */
    int64_t  taken;          /* rows of the step, also those in reach */
} ExchangePlace;

/* A phase of a stream. */
typedef struct {
    const Phase *phase;
    int64_t      row, rows, step, steps;         /* rows of each step, from step on */
    int64_t      number;                         /* of its first step in the stream */
} ExchangePart;

typedef struct {
    int           boundary, rank, machine;       /* where it ends */
    int64_t       elements, most_rows;           /* of a row; of a step */
    ExchangePart *part;                          /* [part_count] */
    int           part_count, part_room;
    int64_t       steps;                         /* of all parts */
    /* here it ends */
    ExchangePlace *ring;                         /* [depth]; NULL: elsewhere */
    int           *owner;                        /* [most_rows]: machines that have rows of a step,
                                                  * while it is put in order */
    const ExchangePart *now;
    int64_t        free;
    /* here rows of it are */
    int64_t        next, peer_free;
    int            part_next;                    /* that next is of */
} ExchangeStream;

struct RowExchange {
    RowExchangeOptions options;
    const Execution *x;
    World          *world;
    int64_t         number;
    int             depth, machine;
    int             streams;
    ExchangeStream *stream;                      /* [streams], by run_fetch_queue() */
    int            *leader;                      /* [ranks]: first rank of a machine */
    pthread_t       sender;
    bool            listens, sends, started, stopped;
    pthread_mutex_t lock;
    pthread_cond_t  changed;
};

/* ---- which rows ------------------------------------------------------------------------- */

static int machine_of(const RowExchange *e, const ExchangeStream *s, const ExchangePart *part,
                      int64_t step, int64_t r)
{
    const Execution *x = e->x;

    return store_machine(x->store, s->boundary, execution_sample(x, step, part->row + r));
}

/* Where the rows of a machine begin in a place, and how many they are. */
static int64_t find_rows(const RowExchange *e, const ExchangeStream *s, const ExchangePart *part,
                         int64_t step, int machine, int64_t *begin)
{
    int64_t count = 0;

    *begin = 0;
    for (int64_t r = 0; r < part->rows; r++) {
        int of = machine_of(e, s, part, step, r);
        count += of == machine;
        *begin += of < machine && of != s->machine;
    }
    return count;
}

int row_exchange_add(RowExchange *e, int queue, int device, const Phase *phase,
                     const Instruction *fetch, int64_t step, int64_t steps, Error *err)
{
    ExchangeStream *s = &e->stream[queue];

    if (!array_has_room(s->part, s->part_count, s->part_room)) return error_no_memory(err);
    s->boundary = fetch->block;
    s->rank = world_rank_of(e->world, device);
    s->machine = world_host_number(e->world, s->rank);
    s->elements = workload_boundary_count(e->x->workload, fetch->block);
    s->part[s->part_count++] =
        (ExchangePart){phase, fetch->row, fetch->rows, step, steps, s->steps};
    s->steps += steps;
    if (fetch->rows > s->most_rows) s->most_rows = fetch->rows;
    return 0;
}

/* ---- where a stream ends ------------------------------------------------------------------ */

static int make_ring(const RowExchange *e, ExchangeStream *s, Error *err)
{
    s->ring = calloc((size_t)e->depth, sizeof *s->ring);
    s->owner = calloc((size_t)s->most_rows, sizeof *s->owner);
    if (!s->ring || !s->owner) return error_no_memory(err);
    for (int i = 0; i < e->depth; i++) {
        s->ring[i].rows = calloc((size_t)(s->most_rows * s->elements), sizeof(float));
        s->ring[i].order = calloc((size_t)s->most_rows, sizeof(int));
        if (!s->ring[i].rows || !s->ring[i].order) return error_no_memory(err);
    }
    return 0;
}

static void free_ring(const RowExchange *e, ExchangeStream *s)
{
    for (int i = 0; s->ring && i < e->depth; i++) {
        free(s->ring[i].rows);
        free(s->ring[i].order);
    }
    free(s->ring);
    free(s->owner);
}

static int64_t number_of(const ExchangeStream *s, const RowWanted *row)
{
    return s->now->number + row->step - s->now->step;
}

/* With the lock, of a step whose place is the stream's. */
static void put_in_order(const RowExchange *e, const ExchangeStream *s, ExchangePlace *place,
                         int64_t step)
{
    int machines = 0;

    if (place->ordered) return;
    place->ordered = true;
    place->expected = 0;
    for (int64_t r = 0; r < s->now->rows; r++) {
        s->owner[r] = machine_of(e, s, s->now, step, r);
        place->order[r] = -1;
        if (s->owner[r] >= machines) machines = s->owner[r] + 1;
    }
    for (int m = 0; m < machines; m++)
        for (int64_t r = 0; m != s->machine && r < s->now->rows; r++)
            if (s->owner[r] == m) place->order[r] = (int)place->expected++;
}

void row_exchange_begin(RowExchange *e, int queue, const Phase *phase)
{
    ExchangeStream *s = &e->stream[queue];

    pthread_mutex_lock(&e->lock);
    for (int i = 0; i < s->part_count; i++)
        if (s->part[i].phase == phase) s->now = &s->part[i];
    pthread_mutex_unlock(&e->lock);
}

bool row_exchange_has(const RowExchange *e, int queue, const RowWanted *row)
{
    return store_machine(e->x->store, e->stream[queue].boundary, row->sample) != e->machine;
}

static int stopped(Error *err)
{
    return error_set(err, "the exchange of stored rows was stopped");
}

/* With the lock: waits until a step's rows of other machines are here. NULL: stopped. */
static const ExchangePlace *wait_for_rows(RowExchange *e, const ExchangeStream *s,
                                          const RowWanted *row)
{
    int64_t        n = number_of(s, row);
    ExchangePlace *place = &s->ring[n % e->depth];

    while (!e->stopped) {
        if (n < s->free + e->depth) {
            put_in_order(e, s, place, row->step);
            if (place->came == place->expected) return place;
        }
        world_hurry(e->world, 1);
        pthread_cond_wait(&e->changed, &e->lock);
        world_hurry(e->world, -1);
    }
    return NULL;
}

int row_exchange_get(RowExchange *e, int queue, const RowWanted *row, float *out, Error *err)
{
    ExchangeStream *s = &e->stream[queue];

    pthread_mutex_lock(&e->lock);
    const ExchangePlace *place = wait_for_rows(e, s, row);
    pthread_mutex_unlock(&e->lock);
    if (!place) return stopped(err);
    const float *from = place->rows + place->order[row->number] * s->elements;
    for (int64_t i = 0; i < s->elements; i++) out[i] = from[i];
    return 0;
}

/* With the lock: places of steps that are taken are free, in their order. Whether any became so. */
static bool free_places(const RowExchange *e, ExchangeStream *s)
{
    int64_t before = s->free, end = s->now->number + s->now->steps;

    for (; s->free < end; s->free++) {
        ExchangePlace *place = &s->ring[s->free % e->depth];
        if (place->taken < s->now->rows) break;
        place->taken = place->came = 0;
        place->ordered = false;
    }
    return s->free > before;
}

/* Those who send may go on to what follows on so many steps. */
static void tell_free(const RowExchange *e, const ExchangeStream *s, int queue, int64_t steps)
{
    Message m = {.port = PORT_STORE, .kind = KIND_FREE, .id = queue, .number = e->number,
                 .value = {steps}};
    Error   err;

    for (int r = 0; r < world_size(e->world); r++) {
        if (e->leader[r] != r || world_host_number(e->world, r) == s->machine) continue;
        if (world_post(e->world, r, &m, NULL, NULL, NULL, &err) != 0) world_fail(e->world, &err);
    }
}

void row_exchange_took(RowExchange *e, int queue, const RowWanted *row)
{
    ExchangeStream *s = &e->stream[queue];

    pthread_mutex_lock(&e->lock);
    s->ring[number_of(s, row) % e->depth].taken++;
    bool    more = free_places(e, s);
    int64_t steps = s->free;
    if (more) pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
    if (more) tell_free(e, s, queue, steps);
}

/* ---- where rows are ----------------------------------------------------------------------- */

/* The rows of a step that this machine has, in one message. */
static int send_rows(const RowExchange *e, const ExchangeStream *s, int queue,
                     const ExchangePart *part, int64_t step, int64_t n, Error *err)
{
    const Execution *x = e->x;
    StoredRows      *stored = store_boundary(x->store, s->boundary);
    int64_t          begin, count = find_rows(e, s, part, step, e->machine, &begin), at = 0;
    size_t           bytes = (size_t)(count * s->elements) * sizeof(float);

    if (count == 0) return 0;
    float *rows = malloc(bytes);
    if (!rows) return error_no_memory(err);
    for (int64_t r = 0; r < part->rows; r++) {
        int64_t sample = execution_sample(x, step, part->row + r);
        if (store_machine(x->store, s->boundary, sample) != e->machine) continue;
        if (stored_get(stored, sample, rows + at++ * s->elements, err) != 0) {
            free(rows);
            return -1;
        }
    }
    Message m = {.port = PORT_STORE, .kind = KIND_ROWS, .id = queue, .number = e->number,
                 .value = {n, begin, count}, .bytes = (int64_t)bytes};
    if (world_post(e->world, s->rank, &m, rows, free, rows, err) == 0) return 0;
    free(rows);
    return -1;
}

/* With the lock, which is let go meanwhile: the next step of a stream, if there is room for it. 1:
 * it is sent. */
static int send_next(RowExchange *e, int queue, Error *err)
{
    ExchangeStream *s = &e->stream[queue];

    if (s->part_count == 0 || s->machine == e->machine || s->next == s->steps
        || s->next >= s->peer_free + e->depth)
        return 0;
    const ExchangePart *part = &s->part[s->part_next];
    int64_t             n = s->next++, step = part->step + n - part->number;
    if (s->next == part->number + part->steps) s->part_next++;
    pthread_mutex_unlock(&e->lock);
    int rc = send_rows(e, s, queue, part, step, n, err);
    pthread_mutex_lock(&e->lock);
    return rc == 0 ? 1 : -1;
}

static void *send_all(void *argument)
{
    RowExchange *e = argument;
    Error        err;
    int          sent = 0;

    pthread_mutex_lock(&e->lock);
    while (!e->stopped && sent >= 0) {
        sent = 0;
        for (int q = 0; e->started && !e->stopped && sent >= 0 && q < e->streams; q++) {
            int one = send_next(e, q, &err);
            sent = one < 0 ? -1 : sent + one;
        }
        if (sent == 0 && !e->stopped) pthread_cond_wait(&e->changed, &e->lock);
    }
    pthread_mutex_unlock(&e->lock);
    if (sent < 0) e->options.fail(e->options.context, &err);
    return NULL;
}

/* ---- messages ------------------------------------------------------------------------------ */

/* A stream that ends here, and rows that fit in a place of it. */
static bool fits(const RowExchange *e, const Message *m)
{
    const ExchangeStream *s = m->id >= 0 && m->id < e->streams ? &e->stream[m->id] : NULL;

    return s && s->ring && m->value[0] >= 0 && m->value[0] < s->steps && m->value[1] >= 0
           && m->value[2] > 0 && m->value[2] <= s->most_rows - m->value[1]
           && m->bytes == m->value[2] * s->elements * (int64_t)sizeof(float);
}

static void *place_rows(void *context, const Message *m)
{
    RowExchange *e = context;

    if (m->kind != KIND_ROWS || !fits(e, m)) return NULL;
    const ExchangeStream *s = &e->stream[m->id];
    return s->ring[m->value[0] % e->depth].rows + m->value[1] * s->elements;
}

static void arrived(void *context, const Message *m, const void *payload)
{
    RowExchange *e = context;
    Error        err;

    (void)payload;
    if (m->kind == KIND_ROWS && !fits(e, m)) {
        error_set(&err, "rank %d sent stored rows that were not expected", m->from);
        world_fail(e->world, &err);
        return;
    }
    pthread_mutex_lock(&e->lock);
    if (m->kind == KIND_ROWS)
        e->stream[m->id].ring[m->value[0] % e->depth].came += m->value[2];
    if (m->kind == KIND_FREE && m->id >= 0 && m->id < e->streams
        && m->value[0] > e->stream[m->id].peer_free)
        e->stream[m->id].peer_free = m->value[0];
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

/* ---- making and freeing ---------------------------------------------------------------------- */

static int find_leaders(RowExchange *e, Error *err)
{
    int ranks = world_size(e->world);

    e->leader = calloc((size_t)ranks, sizeof *e->leader);
    if (!e->leader) return error_no_memory(err);
    for (int r = 0; r < ranks; r++)
        while (world_host_number(e->world, e->leader[r]) != world_host_number(e->world, r))
            e->leader[r]++;
    return 0;
}

static int start_sender(RowExchange *e, Error *err)
{
    int me = world_rank(e->world);

    if (e->leader[me] != me) return 0;
    if (pthread_create(&e->sender, NULL, send_all, e) != 0)
        return error_set(err, "cannot start a thread that sends stored rows");
    e->sends = true;
    return 0;
}

int row_exchange_open(RowExchange *e, Error *err)
{
    static const Listener listener = {place_rows, arrived, NULL};

    for (int q = 0; q < e->streams; q++) {
        ExchangeStream *s = &e->stream[q];
        if (s->part_count > 0 && s->rank == world_rank(e->world) && make_ring(e, s, err) != 0)
            return -1;
    }
    world_listen(e->world, PORT_STORE, e->number, &listener, e);
    e->listens = true;
    return start_sender(e, err);
}

int row_exchange_new(RowExchange **out, const RowExchangeOptions *options, Error *err)
{
    RowExchange *e = calloc(1, sizeof *e);

    *out = NULL;
    if (!e) return error_no_memory(err);
    e->options = *options;
    e->x = options->x;
    e->world = e->x->world;
    e->number = options->number;
    e->depth = e->x->queue_depth > STORAGE_AHEAD ? e->x->queue_depth : STORAGE_AHEAD;
    e->machine = world_host_number(e->world, world_rank(e->world));
    e->streams = options->queues;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->changed, NULL);
    e->stream = calloc((size_t)e->streams, sizeof *e->stream);
    if (!e->stream) error_no_memory(err);
    if (e->stream && find_leaders(e, err) == 0) {
        *out = e;
        return 0;
    }
    row_exchange_free(e);
    return -1;
}

void row_exchange_free(RowExchange *e)
{
    if (!e) return;
    row_exchange_stop(e);
    if (e->sends) pthread_join(e->sender, NULL);
    if (e->listens) world_listen(e->world, PORT_STORE, e->number, NULL, NULL);
    for (int q = 0; e->stream && q < e->streams; q++) {
        free_ring(e, &e->stream[q]);
        free(e->stream[q].part);
    }
    free(e->stream);
    free(e->leader);
    pthread_cond_destroy(&e->changed);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

void row_exchange_start(RowExchange *e)
{
    pthread_mutex_lock(&e->lock);
    e->started = true;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

void row_exchange_stop(RowExchange *e)
{
    pthread_mutex_lock(&e->lock);
    e->stopped = true;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

int64_t row_exchange_bytes(const RowExchange *e, int queue)
{
    const ExchangeStream *s = &e->stream[queue];

    return s->ring ? e->depth * s->most_rows
                         * (s->elements * (int64_t)sizeof(float) + (int64_t)sizeof(int))
                   : 0;
}
