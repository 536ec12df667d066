/* A rank of a run of random transfers. Every rank draws the same events from the same seed:
 *
 *     send | receive       a message of a channel, received up to DEPTH messages later
 *     begin | finish       a sum of gradients, finished up to BLOCKS sums later
 *     statistics           a sum of a few doubles
 *     barrier
 *
 * and each of its devices does, in this order, those that it has a part in. What every message
 * and sum must be follows from its number. Arguments: random DEVICES_EACH ROUNDS [SEED [async]], or
 * stop, or full. Run by tests/test_mpi.sh. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/rng.h"
#include "executor/transport/transport.h"
#include "tests/mpi/mpi_test.h"
#include "tests/plain_device.h"

enum { DEPTH = 3, BLOCKS = 3, CHANNELS = 12, GROUPS = 5, EVENTS = 400, DEVICES = 16 };
enum { SHORT = 300, LONG = 150000 };             /* of both messages and sums: also of several
                                                  * chunks */

/* Those of this process, as the arguments say. */
static Device           *device_here = &plain_device;
static const DeviceSpec *spec_here = &plain_devices;

typedef enum { SEND, RECEIVE, BEGIN, FINISH, STATISTICS, BARRIER, KINDS } Kind;

typedef struct {
    Kind kind;
    int  link, number;       /* of the channel's messages, of the group's sums */
    int  count;              /* values */
} Event;

typedef struct {
    World     *world;
    Transport *t;
    Program   *program;
    Event      events[EVENTS];
    uint64_t   seed;
    CoreTimes  core_times;
    atomic_int faults;
} Play;

typedef struct { Play *play; int device; atomic_int calls; } Actor;

/* ---- what is played --------------------------------------------------------------------- */

static Program *random_program(Rng *rng, int devices)
{
    Program *program = program_new(devices, BLOCKS, 8, 1);
    Error    err = {""};

    REQUIRE(program);
    for (int i = 0; i < CHANNELS; i++) {
        int from = (int)rng_range(rng, 0, devices - 1), to = (int)rng_range(rng, 0, devices - 1);
        if (from != to) program_channel(program, from, to, &err);
    }
    program_channel(program, 0, devices - 1, &err);
    for (int i = 0; i < GROUPS; i++) {
        int members[DEVICES], count = 0;
        for (int d = 0; d < devices; d++) if (i == 0 || rng_range(rng, 0, 2)) members[count++] = d;
        if (count > 1) program_group(program, members, count, &err);
    }
    return program;
}

static int length_of(Rng *rng)
{
    return (int)rng_range(rng, 1, rng_range(rng, 0, 5) ? SHORT : LONG);
}

static void draw_events(Play *play, Rng *rng)
{
    int sent[CHANNELS + 1] = {0}, received[CHANNELS + 1] = {0}, begun[GROUPS] = {0},
                        finished[GROUPS] = {0};
    int length[CHANNELS + 1][EVENTS], gradients[GROUPS][EVENTS], statistics = 0;

    for (int i = 0; i < EVENTS; i++) {
        Event *e = &play->events[i];
        int    c = (int)rng_range(rng, 0, play->program->channel_count - 1);
        int    g = (int)rng_range(rng, 0, play->program->group_count - 1);
        e->kind = (Kind)rng_range(rng, 0, KINDS - 1);
        if (e->kind == SEND && sent[c] - received[c] == DEPTH) e->kind = RECEIVE;
        if (e->kind == RECEIVE && sent[c] == received[c]) e->kind = SEND;
        if (e->kind == BEGIN && begun[g] - finished[g] == BLOCKS) e->kind = FINISH;
        if (e->kind == FINISH && begun[g] == finished[g]) e->kind = BEGIN;
        e->link = e->kind == SEND || e->kind == RECEIVE ? c : g;
        switch (e->kind) {
        case SEND:
            e->number = sent[c]++;
            length[c][e->number] = e->count = length_of(rng);
            break;
        case RECEIVE:    e->number = received[c]++; e->count = length[c][e->number]; break;
        case BEGIN:
            e->number = begun[g]++;
            gradients[g][e->number] = e->count = length_of(rng);
            break;
        case FINISH:     e->number = finished[g]++; e->count = gradients[g][e->number]; break;
        case STATISTICS: e->number = statistics++; e->count = (int)rng_range(rng, 1, 40); break;
        default: break;
        }
    }
}

/* A value whose sum depends on the order of the addends. */
static float value_of(const Play *play, int link, int number, int device, int element)
{
    double x = rng_uniform(play->seed + (uint64_t)link, (uint64_t)number, (uint64_t)device,
                           (uint64_t)element);

    return (float)((x - 0.5) * (device % 2 ? 1e4 : 1.0));
}

static bool has_part(const Play *play, const Event *e, int device)
{
    const Group *group;

    if (e->kind == SEND) return play->program->channels[e->link].from == device;
    if (e->kind == RECEIVE) return play->program->channels[e->link].to == device;
    group = &play->program->groups[e->link];
    for (int i = 0; i < group->count; i++) if (group->devices[i] == device) return true;
    return false;
}

/* ---- a device ----------------------------------------------------------------------------- */

/* A sum of gradients between its begin and its finish. */
typedef struct { float *first, *second; double loss; } Gradients;

static int do_message(Actor *a, const Event *e, float *values, float **spare)
{
    Play   *play = a->play;
    Error   err = {""};
    int     from = play->program->channels[e->link].from, rc;
    bool    swap = e->number % 2;

    if (e->kind == SEND) {
        for (int k = 0; k < e->count; k++) values[k] = value_of(play, e->link, e->number, from, k);
        rc = play->t->ops->send(play->t, e->link, values, (size_t)e->count, &err);
        memset(values, 0, (size_t)e->count * sizeof *values);            /* it was copied */
        return rc;
    }
    rc = play->t->ops->receive(play->t, e->link, swap ? spare : &values, (size_t)e->count, swap,
                               &err);
    const float *came = swap ? *spare : values;
    for (int k = 0; k < e->count && rc == 0; k++)
        if (came[k] != value_of(play, e->link, e->number, from, k)) { rc = -1; break; }
    return rc;
}

static int do_begin(Actor *a, const Event *e, Gradients *sum)
{
    Play        *play = a->play;
    int          first = e->count / 3 + 1, second = e->count - first;
    GradientRun  runs[2] = {{NULL, first}, {NULL, second > 0 ? second : 0}};
    Error        err = {""};

    *sum = (Gradients){malloc((size_t)first * sizeof(float)),
                       malloc((size_t)e->count * sizeof(float)), a->device + 1};
    for (int k = 0; k < e->count; k++) {
        float value = value_of(play, 100 + e->link, e->number, a->device, k);
        if (k < first) sum->first[k] = value; else sum->second[k - first] = value;
    }
    runs[0].values = sum->first;
    runs[1].values = sum->second;
    if (e->count < first) runs[0].count = e->count;
    return play->t->ops->reduce(play->t, e->link, a->device, runs, 2, &sum->loss, &err);
}

static int do_finish(Actor *a, const Event *e, Gradients *sum)
{
    Play        *play = a->play;
    const Group *group = &play->program->groups[e->link];
    int          first = e->count / 3 + 1, rc = 0;
    double       losses = 0;
    Error        err = {""};

    if (play->t->ops->overlaps(play->t, OP_ALLREDUCE, e->link))
        rc = play->t->ops->finish(play->t, e->link, a->device, &sum->loss, &err);
    for (int k = 0; k < e->count && rc == 0; k++) {
        float wanted = value_of(play, 100 + e->link, e->number, group->devices[0], k);
        for (int i = 1; i < group->count; i++)
            wanted += value_of(play, 100 + e->link, e->number, group->devices[i], k);
        if ((k < first ? sum->first[k] : sum->second[k - first]) != wanted) rc = -1;
    }
    for (int i = 0; i < group->count; i++) losses += group->devices[i] + 1;
    if (sum->loss != losses) rc = -1;
    free(sum->first);
    free(sum->second);
    *sum = (Gradients){0};
    return rc;
}

static int do_statistics(Actor *a, const Event *e)
{
    const Group *group = &a->play->program->groups[e->link];
    double       values[40], wanted[40];
    Error        err = {""};

    for (int k = 0; k < e->count; k++) {
        values[k] = value_of(a->play, 200 + e->link, e->number, a->device, k) / 3.0;
        for (int i = 0; i < group->count; i++) {
            double more = value_of(a->play, 200 + e->link, e->number, group->devices[i], k) / 3.0;
            wanted[k] = i ? wanted[k] + more : more;
        }
    }
    if (a->play->t->ops->sum(a->play->t, e->link, a->device, values, e->count, &err) != 0)
        return -1;
    return memcmp(values, wanted, (size_t)e->count * sizeof *values) ? -1 : 0;
}

static void pause_at_random(const Play *play, int device, int i)
{
    uint64_t x = rng_u64(play->seed, 77, (uint64_t)device, (uint64_t)i);

    if (x % 16 == 0) usleep((useconds_t)(x >> 8) % 2000);
}

static void *act(void *context)
{
    Actor    *a = context;
    Play     *play = a->play;
    float    *values = calloc(LONG, sizeof *values), *spare = device_alloc(device_here, LONG);
    Gradients open[GROUPS][BLOCKS] = {{{0}}};
    int64_t   bytes;
    Error     err = {""};

    REQUIRE(values && spare);
    if (play->t->ops->join(play->t, a->device, device_here, &bytes, &err) != 0)
        atomic_fetch_add(&play->faults, 1);
    atomic_fetch_add(&a->calls, 1);
    /* until all ranks have joined */
    while (atomic_load(&a->calls) < 2) usleep(100);
    for (int i = 0, rc = 0; i < EVENTS && rc == 0; i++) {
        const Event *e = &play->events[i];
        if (!has_part(play, e, a->device)) continue;
        pause_at_random(play, a->device, i);
        switch (e->kind) {
        case BEGIN:      rc = do_begin(a, e, &open[e->link][e->number % BLOCKS]); break;
        case FINISH:     rc = do_finish(a, e, &open[e->link][e->number % BLOCKS]); break;
        case STATISTICS: rc = do_statistics(a, e); break;
        case BARRIER:    rc = play->t->ops->barrier(play->t, e->link, a->device, &err); break;
        default:         rc = do_message(a, e, values, &spare); break;
        }
        if (rc == 0) continue;
        fprintf(stderr, "device %d, event %d, kind %d of %d, number %d: %s\n", a->device, i,
                (int)e->kind, e->link, e->number, err.text);
        atomic_fetch_add(&play->faults, 1);
        if (!err.text[0]) error_set(&err, "a wrong value at device %d", a->device);
        play->t->ops->stop(play->t);
        world_fail(play->world, &err);
    }
    /* Sums that are still under way use the gradients. */
    for (int g = 0; g < play->program->group_count; g++)
        for (int b = 0; b < BLOCKS; b++) {
            if (open[g][b].first && play->t->ops->overlaps(play->t, OP_ALLREDUCE, g))
                play->t->ops->finish(play->t, g, a->device, &open[g][b].loss, &err);
        }
    for (int g = 0; g < play->program->group_count; g++)
        for (int b = 0; b < BLOCKS; b++) { free(open[g][b].first); free(open[g][b].second); }
    free(values);
    device_release(device_here, spare);
    return NULL;
}

/* ---- a run --------------------------------------------------------------------------------- */

static void stop_transport(void *context, const Error *err)
{
    Play *play = context;

    (void)err;
    play->t->ops->stop(play->t);
}

static void open_play(Play *play, World *world, uint64_t seed, int devices)
{
    static size_t count[DEVICES * DEVICES];
    Rng           rng = {seed, 0};
    Error         err = {""};

    *play = (Play){.world = world, .seed = seed, .program = random_program(&rng, devices)};
    draw_events(play, &rng);
    core_times_open(&play->core_times, 0);
    for (int c = 0; c < play->program->channel_count; c++) count[c] = LONG;
    TransportOptions options = {.program = play->program, .message_count = count,
                                .queue_depth = DEPTH, .spin = seed % 2, .devices = spec_here,
                                .world = world, .number = world_number(world),
                                .core_times = seed % 3 ? &play->core_times : NULL};
    REQUIRE(remote_new(&play->t, &options, &err) == 0);
    world_on_failure(world, stop_transport, play);
}

static void close_play(Play *play)
{
    world_barrier(play->world, NULL);
    for (int d = 0; d < play->program->device_count; d++)
        if (world_has_device(play->world, d)) play->t->ops->leave(play->t, d);
    world_on_failure(play->world, NULL, NULL);
    play->t->ops->free(play->t);
    core_times_close(&play->core_times);
    program_free(play->program);
    faults += atomic_load(&play->faults);
}

/* Transfers of an op that were noted, of any size; they took some time, but for messages that come
 * just now. */
static int64_t noted(Play *play, Op op)
{
    int64_t count = 0;

    pthread_mutex_lock(&play->core_times.lock);
    for (int i = 0; i < play->core_times.count; i++) {
        const CoreTime *time = &play->core_times.list[i];
        if (time->kind.op != op) continue;
        CHECK(time->ns > 0 || op == OP_RECV);
        CHECK(time->count == time->begun && time->kind.bytes > 0);
        CHECK((time->kind.devices > 1) == (op == OP_ALLREDUCE));
        count += time->count;
    }
    pthread_mutex_unlock(&play->core_times.lock);
    return count;
}

/* All that this rank sent to others, took from them (more may have come), and brought to sums with
 * them has been noted. */
static void check_core_times(Play *play)
{
    const Program *program = play->program;
    int64_t        sent = 0, taken = 0, brought = 0;

    for (int i = 0; i < EVENTS; i++) {
        const Event *e = &play->events[i];
        Op op = e->kind == SEND ? OP_SEND : e->kind == RECEIVE ? OP_RECV : OP_ALLREDUCE;
        if ((e->kind != SEND && e->kind != RECEIVE && e->kind != BEGIN)
            || !play->t->ops->overlaps(play->t, op, e->link))
            continue;
        sent += op == OP_SEND && world_has_device(play->world, program->channels[e->link].from);
        taken += op == OP_RECV && world_has_device(play->world, program->channels[e->link].to);
        for (int m = 0; op == OP_ALLREDUCE && m < program->groups[e->link].count; m++)
            brought += world_has_device(play->world, program->groups[e->link].devices[m]);
    }
    CHECK(noted(play, OP_SEND) == sent);
    CHECK(noted(play, OP_RECV) >= taken);
    CHECK(noted(play, OP_ALLREDUCE) == brought);
    CHECK(!play->core_times.failed);
}

static void play_once(World *world, uint64_t seed, int each)
{
    Play     *play = malloc(sizeof *play);
    Actor     actors[DEVICES] = {{0}};
    pthread_t threads[DEVICES];
    Error     err = {""};
    int       first = world_first_device(world);

    REQUIRE(play);
    open_play(play, world, seed, each * world_size(world));
    for (int i = 0; i < each; i++) {
        actors[i] = (Actor){.play = play, .device = first + i};
        REQUIRE(pthread_create(&threads[i], NULL, act, &actors[i]) == 0);
    }
    for (int i = 0; i < each; i++) while (atomic_load(&actors[i].calls) == 0) usleep(100);
    world_barrier(world, &err);
    for (int i = 0; i < each; i++) atomic_fetch_add(&actors[i].calls, 1);
    for (int i = 0; i < each; i++) pthread_join(threads[i], NULL);
    if (seed % 3 && !atomic_load(&play->faults)) check_core_times(play);
    close_play(play);
    free(play);
}

/* ---- stopping -------------------------------------------------------------------------------- */

/* Device 0 sends to the last, which never takes: so many are sent, and then a stop ends the
 * wait. */
static void *fill(void *context)
{
    Actor  *a = context;
    float   values[SHORT] = {0};
    Error   err = {""};
    int     channel = 0;

    while (a->play->program->channels[channel].from != 0
           || a->play->program->channels[channel].to != a->play->program->device_count - 1)
        channel++;
    while (a->play->t->ops->send(a->play->t, channel, values, SHORT, &err) == 0)
        atomic_fetch_add(&a->calls, 1);
    if (strcmp(err.text, "stopped") != 0) atomic_fetch_add(&a->play->faults, 1);
    return NULL;
}

/* All wait in the group for device 0, which never comes. */
static void *wait_in_group(void *context)
{
    Actor      *a = context;
    float       values[SHORT] = {0};
    GradientRun run = {values, SHORT};
    double      loss = 0, sums[2] = {0};
    Error       err = {""};
    int         rc;

    switch (a->device % 3) {
    case 0:  rc = a->play->t->ops->sum(a->play->t, 0, a->device, sums, 2, &err); break;
    case 1:  rc = a->play->t->ops->barrier(a->play->t, 0, a->device, &err); break;
    default: rc = a->play->t->ops->reduce(a->play->t, 0, a->device, &run, 1, &loss, &err);
             if (rc == 0) rc = a->play->t->ops->finish(a->play->t, 0, a->device, &loss, &err);
    }
    if (rc == 0 || strcmp(err.text, "stopped") != 0) atomic_fetch_add(&a->play->faults, 1);
    atomic_fetch_add(&a->calls, 1);
    return NULL;
}

static void try_stop(World *world)
{
    Play      play;
    int       rank = world_rank(world), last = world_size(world) - 1;
    Actor     a = {.play = &play, .device = rank};
    pthread_t thread;
    int64_t   bytes;
    Error     err = {""};

    open_play(&play, world, 3, world_size(world));
    CHECK(play.t->ops->join(play.t, rank, device_here, &bytes, &err) == 0);
    CHECK(world_barrier(world, &err) == 0);
    REQUIRE(pthread_create(&thread, NULL, rank == 0 ? fill : wait_in_group, &a) == 0);
    usleep(100000);
    if (rank == last) {
        error_set(&err, "enough");
        world_fail(world, &err);                 /* the others are stopped by this */
    }
    pthread_join(thread, NULL);
    CHECK(atomic_load(&a.calls) <= (rank == 0 ? DEPTH : 1));
    close_play(&play);
}

int main(int argc, char **argv)
{
    World   *world;
    Error    err = {""};
    int      each = argc > 2 ? atoi(argv[2]) : 1, rounds = argc > 3 ? atoi(argv[3]) : 1;
    uint64_t seed = argc > 4 ? strtoull(argv[4], NULL, 10) : 1;

    REQUIRE(argc >= 2);
    if (argc > 5 && strcmp(argv[5], "async") == 0) {
        static Backend    backend;
        static Device     device = {&backend};
        static DeviceSpec spec = {.backend = &backend};
        backend = plain_backend;
        backend.async = true;
        device_here = &device;
        spec_here = &spec;
    }
    if (world_open(&world, &err) != 0) { fprintf(stderr, "%s\n", err.text); return 1; }
    REQUIRE(world && each * world_size(world) <= DEVICES);
    CHECK(world_set_devices(world, each, &err) == 0);
    if (strcmp(argv[1], "stop") == 0) try_stop(world);
    else for (int i = 0; i < rounds && !faults; i++) play_once(world, seed + (uint64_t)i, each);
    if (faults)
        fprintf(stderr, "rank %d: %d faults, seed %llu\n", world_rank(world), faults,
                (unsigned long long)seed);
    world_close(world);
    return faults ? 1 : 0;
}
