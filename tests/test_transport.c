/* The transport between threads: order, bounded queues, exact sums, stopping. Threads pause at
 * random, so that runs meet in many orders; make check runs few, PIPEBD_ROUNDS=1000 many. No
 * kernels are linked, which the thread sanitizer could not look into (make check-tsan). */
#include "tests/support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "executor/transport/transport.h"
#include "tests/plain_device.h"

enum { MEMBERS = 4, DEPTH = 3, LENGTH = 1000 };

/* Four devices: a channel 0 -> 1, and a group of all. */
static Program *ring_of_four(void)
{
    Error    err = {""};
    Program *program = program_new(MEMBERS, 1, 8, 1);
    int      all[MEMBERS] = {0, 1, 2, 3};

    assert_non_null(program);
    assert_int_equal(program_channel(program, 0, 1, &err), 0);
    assert_int_equal(program_group(program, all, MEMBERS, &err), 0);
    return program;
}

static Transport *open_local(const Program *program, bool spin)
{
    size_t           count = LENGTH;
    TransportOptions options = {.program = program, .message_count = &count, .queue_depth = DEPTH,
                                .spin = spin, .devices = &plain_devices};
    Transport       *t;
    Error            err = {""};

    assert_int_equal(local_new(&t, &options, &err), 0);
    return t;
}

/* All devices join. */
static void join_all(Transport *t)
{
    int64_t bytes;
    Error   err = {""};

    for (int d = 0; d < MEMBERS; d++) {
        assert_int_equal(t->ops->join(t, d, &plain_device, &bytes, &err), 0);
        assert_int_equal(bytes, d == 1 ? DEPTH * LENGTH * (int64_t)sizeof(float) : 0);
    }
}

static void leave_all(Transport *t)
{
    for (int d = 0; d < MEMBERS; d++) t->ops->leave(t, d);
}

static void pause_at_random(uint64_t seed, int who, int step)
{
    uint64_t x = rng_u64(seed, (uint64_t)who, (uint64_t)step, 0);

    if (x % 4 == 0) usleep((useconds_t)(x >> 8) % 100);
}

static int rounds(int fallback)
{
    const char *text = getenv("PIPEBD_ROUNDS");

    return text ? atoi(text) : fallback;
}

/* What a thread of a test has, and found. cmocka's asserts belong to the main thread, so
 * threads count faults. */
typedef struct {
    Transport  *t;
    int         device, rounds;
    uint64_t    seed;
    bool        swap;
    float      *buffer;      /* of the receiver; with swap another one afterwards */
    atomic_int *in_flight;   /* sent and not yet taken */
    int         faults, calls;
} Actor;

static void run_actors(Actor *actors, int count, void *(*const *bodies)(void *))
{
    pthread_t threads[MEMBERS];

    for (int i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, bodies[i], &actors[i]), 0);
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < count; i++) assert_int_equal(actors[i].faults, 0);
}

/* ---- channels ------------------------------------------------------------------ */

static void *sender(void *context)
{
    Actor  *a = context;
    float   values[LENGTH];
    Error   err = {""};

    for (int i = 0; i < a->rounds; i++) {
        size_t count = 1 + rng_u64(a->seed, 9, (uint64_t)i, 0) % LENGTH;
        for (size_t k = 0; k < count; k++) values[k] = (float)(i + (int)k);
        pause_at_random(a->seed, 0, i);
        if (a->t->ops->send(a->t, 0, values, count, &err) != 0) a->faults++;
        /* + 1: being taken */
        if (atomic_fetch_add(a->in_flight, 1) + 1 > DEPTH + 1) a->faults++;
    }
    return NULL;
}

static void *receiver(void *context)
{
    Actor  *a = context;
    float  *values = a->buffer;
    Error   err = {""};

    for (int i = 0; i < a->rounds; i++) {
        size_t count = 1 + rng_u64(a->seed, 9, (uint64_t)i, 0) % LENGTH;
        pause_at_random(a->seed, 1, i);
        if (a->t->ops->receive(a->t, 0, &values, count, a->swap, &err) != 0) a->faults++;
        atomic_fetch_sub(a->in_flight, 1);
        for (size_t k = 0; k < count; k++) a->faults += values[k] != (float)(i + (int)k);
    }
    a->buffer = values;
    return NULL;
}

/* Messages of any length come in order, whole, never more than the queue holds. */
static void messages_arrive_in_order(void **state)
{
    (void)state;
    for (int spin = 0; spin < 2; spin++) {
        for (int swap = 0; swap < 2; swap++) {
            Program   *program = ring_of_four();
            Transport *t = open_local(program, spin);
            atomic_int in_flight = 0;
            uint64_t   seed = test_seed("messages", 11);
            Actor      actors[2] = {
                {.t = t, .device = 0, .rounds = rounds(300), .seed = seed,
                 .in_flight = &in_flight},
                {.t = t, .device = 1, .rounds = rounds(300), .seed = seed,
                 .in_flight = &in_flight, .swap = swap}};
            void *(*const bodies[])(void *) = {sender, receiver};
            join_all(t);
            actors[1].buffer = device_alloc(&plain_device, LENGTH);
            run_actors(actors, 2, bodies);
            device_release(&plain_device, actors[1].buffer);
            leave_all(t);
            t->ops->free(t);
            program_free(program);
        }
    }
}

/* ---- groups ---------------------------------------------------------------------- */

/* A value whose sum depends on the order of the addends. */
static float part_of(uint64_t seed, int member, int round, int element)
{
    double x = rng_uniform(seed, (uint64_t)member, (uint64_t)round, (uint64_t)element);

    return (float)((x - 0.5) * (member % 2 ? 1e4 : 1.0));
}

static float sum_in_order(uint64_t seed, int round, int element)
{
    float sum = part_of(seed, 0, round, element);

    for (int m = 1; m < MEMBERS; m++) sum += part_of(seed, m, round, element);
    return sum;
}

static void *reducer(void *context)
{
    Actor      *a = context;
    float       first[LENGTH], second[7];
    GradientRun runs[2] = {{first, LENGTH}, {second, 7}};
    Error       err = {""};

    for (int i = 0; i < a->rounds; i++) {
        double loss = a->device + 1, sums[3] = {a->device, 1, i};
        for (int k = 0; k < LENGTH; k++) first[k] = part_of(a->seed, a->device, i, k);
        for (int k = 0; k < 7; k++) second[k] = part_of(a->seed, a->device, i, LENGTH + k);
        pause_at_random(a->seed, a->device, 3 * i);
        if (a->t->ops->reduce(a->t, 0, a->device, runs, 2, &loss, &err) != 0) a->faults++;
        for (int k = 0; k < LENGTH; k++) a->faults += first[k] != sum_in_order(a->seed, i, k);
        for (int k = 0; k < 7; k++) a->faults += second[k] != sum_in_order(a->seed, i, LENGTH + k);
        a->faults += loss != 10;
        pause_at_random(a->seed, a->device, 3 * i + 1);
        if (a->t->ops->sum(a->t, 0, a->device, sums, 3, &err) != 0) a->faults++;
        a->faults += sums[0] != 6 || sums[1] != 4 || sums[2] != 4 * i;
        pause_at_random(a->seed, a->device, 3 * i + 2);
        if (a->t->ops->barrier(a->t, 0, a->device, &err) != 0) a->faults++;
    }
    return NULL;
}

/* Every member gets the sum made in the order of the members, bit by bit, whoever comes first. */
static void sums_are_made_in_the_order_of_members(void **state)
{
    (void)state;
    for (int spin = 0; spin < 2; spin++) {
        Program   *program = ring_of_four();
        Transport *t = open_local(program, spin);
        uint64_t   seed = test_seed("sums", 12);
        Actor      actors[MEMBERS];
        void *(*const bodies[])(void *) = {reducer, reducer, reducer, reducer};
        for (int i = 0; i < MEMBERS; i++)
            actors[i] = (Actor){.t = t, .device = i, .rounds = rounds(100), .seed = seed};
        join_all(t);
        run_actors(actors, MEMBERS, bodies);
        leave_all(t);
        t->ops->free(t);
        program_free(program);
    }
}

static void *mismatched(void *context)
{
    Actor      *a = context;
    float       values[8] = {0};
    GradientRun run = {values, a->device == 2 ? 7 : 8};
    double      loss = 0;
    Error       err = {""};

    if (a->t->ops->reduce(a->t, 0, a->device, &run, 1, &loss, &err) == 0) a->faults++;
    if (!strstr(err.text, "different gradients")) a->faults++;
    return NULL;
}

static void different_gradients_are_refused_by_all(void **state)
{
    Program   *program = ring_of_four();
    Transport *t = open_local(program, false);
    Actor      actors[MEMBERS];
    void *(*const bodies[])(void *) = {mismatched, mismatched, mismatched, mismatched};

    (void)state;
    for (int i = 0; i < MEMBERS; i++) actors[i] = (Actor){.t = t, .device = i};
    join_all(t);
    run_actors(actors, MEMBERS, bodies);
    leave_all(t);
    t->ops->free(t);
    program_free(program);
}

/* ---- stopping ---------------------------------------------------------------------- */

/* Works until the transport is stopped under it. */
static void *until_stopped(void *context)
{
    Actor      *a = context;
    float       values[LENGTH] = {0}, *rows = values;
    GradientRun run = {values, LENGTH};
    double      loss = 0;
    Error       err = {""};
    int         rc = 0;

    for (int i = 0; rc == 0; i++, a->calls++) {
        pause_at_random(a->seed, a->device, i);
        if (a->device == 0)      rc = a->t->ops->send(a->t, 0, values, LENGTH, &err);
        else if (a->device == 1) rc = a->t->ops->receive(a->t, 0, &rows, LENGTH, false, &err);
        if (rc == 0) rc = a->t->ops->reduce(a->t, 0, a->device, &run, 1, &loss, &err);
    }
    if (strcmp(err.text, "stopped") != 0) a->faults++;
    return NULL;
}

/* One thread only sends: it comes to rest on a full queue, others in the group. */
static void *stopper(void *context)
{
    Actor *a = context;

    usleep((useconds_t)(rng_u64(a->seed, 5, 5, 5) % 3000));
    a->t->ops->stop(a->t);
    return NULL;
}

static void a_stop_ends_every_wait(void **state)
{
    (void)state;
    for (int i = 0; i < rounds(40); i++) {
        Program   *program = ring_of_four();
        Transport *t = open_local(program, i % 2);
        uint64_t   seed = (uint64_t)i;
        Actor      actors[MEMBERS];
        /* The last member never comes: the others wait for it in the group when stopped. */
        void *(*const all[])(void *) = {until_stopped, until_stopped, until_stopped, stopper};
        for (int k = 0; k < MEMBERS; k++) actors[k] = (Actor){.t = t, .device = k, .seed = seed};
        join_all(t);
        run_actors(actors, MEMBERS, all);
        leave_all(t);
        t->ops->free(t);
        program_free(program);
    }
}

/* All four work, and a fifth stops them in the middle. */
static void a_stop_in_the_middle_of_sums(void **state)
{
    (void)state;
    for (int i = 0; i < rounds(40); i++) {
        Program   *program = ring_of_four();
        Transport *t = open_local(program, i % 2);
        Actor      actors[MEMBERS], last = {.t = t, .seed = (uint64_t)i};
        pthread_t  thread;
        void *(*const all[])(void *) = {until_stopped, until_stopped, until_stopped, until_stopped};
        for (int k = 0; k < MEMBERS; k++)
            actors[k] = (Actor){.t = t, .device = k, .seed = (uint64_t)i};
        join_all(t);
        assert_int_equal(pthread_create(&thread, NULL, stopper, &last), 0);
        run_actors(actors, MEMBERS, all);
        pthread_join(thread, NULL);
        leave_all(t);
        t->ops->free(t);
        program_free(program);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_arrive_in_order),
        cmocka_unit_test(sums_are_made_in_the_order_of_members),
        cmocka_unit_test(different_gradients_are_refused_by_all),
        cmocka_unit_test(a_stop_ends_every_wait),
        cmocka_unit_test(a_stop_in_the_middle_of_sums),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
