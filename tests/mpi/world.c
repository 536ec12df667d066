/* A rank of a world: collectives, messages in order, and failure. Argument: collectives, messages,
 * or failure. Run by tests/test_mpi.sh. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "executor/net/world.h"
#include "tests/mpi/mpi_test.h"

enum { MESSAGES = 300, MOST_BYTES = 300000 };

/* ---- collectives --------------------------------------------------------------------- */

static void try_numbers(World *world)
{
    int   rank = world_rank(world), size = world_size(world), all[64];
    Error err = {""};

    for (int round = 0; round < 20; round++) {
        int mine = 100 * round + rank;
        CHECK(world_gather_all(world, all, &mine, sizeof mine, &err) == 0);
        for (int r = 0; r < size; r++) CHECK(all[r] == 100 * round + r);
        int told = rank == 0 ? round : -1;
        CHECK(world_broadcast(world, &told, sizeof told, &err) == 0 && told == round);
        if ((round + rank) % 3 == 0) usleep(500);
        CHECK(world_barrier(world, &err) == 0);
        CHECK(world_agree(world, 0, &err) == 0);
    }
}

/* Longer than a header holds, and empty. */
static void try_texts(World *world)
{
    int   rank = world_rank(world), size = world_size(world);
    Text  mine = {0}, told = {0}, theirs[64] = {{0}};
    Error err = {""};

    for (int i = 0; i < 100000 * rank; i++) text_append(&mine, "x");
    CHECK(world_gather_texts(world, theirs, &mine, &err) == 0);
    for (int r = 1; r < size && rank == 0; r++) CHECK(theirs[r].length == (size_t)r * 100000);
    if (rank == 0) for (int i = 0; i < 50000; i++) text_append(&told, "ab");
    CHECK(world_broadcast_text(world, &told, &err) == 0);
    CHECK(told.length == 100000 && strncmp(text_string(&told), "abab", 4) == 0);
    for (int r = 0; r < size; r++) text_free(&theirs[r]);
    text_free(&mine);
    text_free(&told);
}

static void try_devices(World *world)
{
    int   rank = world_rank(world), size = world_size(world);
    Error err = {""};

    CHECK(world_set_devices(world, rank + 1, &err) == 0);
    CHECK(world_first_device(world) == rank * (rank + 1) / 2);
    CHECK(world_devices(world, 99) == rank + 1);
    CHECK(world_all_devices(world, 99) == size * (size + 1) / 2);
    for (int r = 0, d = 0; r < size; r++)
        for (int i = 0; i <= r; i++, d++)
            CHECK(world_rank_of(world, d) == r && world_has_device(world, d) == (r == rank));
    for (int r = 0; r < size; r++)
        CHECK(world_host_number(world, r) == 0 && world_host(world, r)[0]);
    bool loopback = false;
    CHECK(world_shares_loopback(world, &loopback, &err) == 0
          && loopback == (access("/proc/self/ns/net", F_OK) == 0));
}

/* ---- messages --------------------------------------------------------------------------- */

/* Every rank sends to every other; the number of a message and its contents follow from both. */
typedef struct {
    World    *world;
    uint64_t  seed;
    int       placed[64];                        /* messages seen from each rank */
    int       number[64][MESSAGES];              /* of the payload's place: so many came */
    char     *payload[64][MESSAGES];
    atomic_int arrived, released;
} Post;

static int64_t length_of(const Post *post, int from, int i)
{
    uint64_t x = rng_u64(post->seed, (uint64_t)from, (uint64_t)i, 0);

    return x % 3 == 0 ? 0 : (int64_t)(x >> 8) % (x % 3 == 1 ? 400 : MOST_BYTES);
}

static char byte_of(int from, int i, int64_t at) { return (char)(from * 7 + i * 13 + at); }

static void *place(void *context, const Message *m)
{
    Post *post = context;

    if (m->id != post->placed[m->from]++) faults++;              /* in the order of sending */
    if (m->bytes != length_of(post, m->from, m->id)) faults++;
    if (m->id % 4 == 0) return NULL;                             /* the world's memory */
    return post->payload[m->from][m->id] = malloc((size_t)m->bytes);
}

static void arrived(void *context, const Message *m, const void *payload)
{
    Post       *post = context;
    const char *bytes = payload;

    if (m->bytes == 0 && m->id != post->placed[m->from]++) faults++;
    for (int64_t i = 0; i < m->bytes; i++)
        if (bytes[i] != byte_of(m->from, m->id, i)) {
            faults++;
            break;
        }
    free(post->payload[m->from][m->id]);
    post->payload[m->from][m->id] = NULL;
    atomic_fetch_add(&post->arrived, 1);
}

typedef struct { Post *post; char *bytes; } Sent;

static void release(void *context)
{
    Sent *sent = context;

    atomic_fetch_add(&sent->post->released, 1);
    free(sent->bytes);
    free(sent);
}

static void send_one(Post *post, int to, int i, int64_t number)
{
    int     rank = world_rank(post->world);
    Message m = {.port = PORT_WATCH, .id = i, .number = number, .bytes = length_of(post, rank, i)};
    char   *bytes = malloc((size_t)m.bytes + 1);
    Error   err = {""};

    REQUIRE(bytes);
    for (int64_t k = 0; k < m.bytes; k++) bytes[k] = byte_of(rank, i, k);
    if (i % 2 == 0) {
        CHECK(world_post(post->world, to, &m, bytes, NULL, NULL, &err) == 0);        /* copied */
        memset(bytes, 0, (size_t)m.bytes);
        free(bytes);
        return;
    }
    Sent *sent = malloc(sizeof *sent);
    REQUIRE(sent);
    *sent = (Sent){post, bytes};
    CHECK(world_post(post->world, to, &m, bytes, release, sent, &err) == 0);
}

static void try_messages(World *world)
{
    static const Listener listener = {place, arrived, NULL};
    Post   *post = calloc(1, sizeof *post);
    int     size = world_size(world), rank = world_rank(world);
    int64_t number = world_number(world);
    Error   err = {""};

    REQUIRE(post);
    post->world = world;
    post->seed = 5;
    world_listen(world, PORT_WATCH, number, &listener, post);
    CHECK(world_barrier(world, &err) == 0);
    for (int i = 0; i < MESSAGES; i++)
        for (int r = 0; r < size; r++)
            if (r != rank) {
                send_one(post, r, i, number);
                /* of another run: for nobody */
                if (i % 50 == 0) send_one(post, r, i, number - 1);
            }
    for (int wait = 0; atomic_load(&post->arrived) < (size - 1) * MESSAGES && wait < 20000; wait++)
        usleep(1000);
    CHECK(atomic_load(&post->arrived) == (size - 1) * MESSAGES);
    CHECK(world_barrier(world, &err) == 0);
    for (int wait = 0; atomic_load(&post->released) < (size - 1) * MESSAGES / 2 && wait < 20000;
         wait++)
        usleep(1000);
    CHECK(atomic_load(&post->released) == (size - 1) * MESSAGES / 2);
    world_listen(world, PORT_WATCH, number, NULL, NULL);
    for (int r = 0; r < size; r++) if (r != rank) CHECK(world_heard_ns(world, r) > 0);
    free(post);
}

/* ---- failure -------------------------------------------------------------------------------- */

static atomic_int told;

static void on_failure(void *context, const Error *err)
{
    (void)context;
    if (strstr(err->text, "out of luck")) atomic_fetch_add(&told, 1);
}

/* The last rank fails while the others wait for all in one way or another. */
static void try_failure(World *world)
{
    int   rank = world_rank(world), size = world_size(world), number = 0;
    Error err = {""};
    char  wanted[64];

    snprintf(wanted, sizeof wanted, "rank %d (%s): out of luck", size - 1,
             world_host(world, size - 1));
    world_on_failure(world, on_failure, NULL);
    if (rank == size - 1) {
        usleep(20000);
        error_set(&err, "out of luck");
        CHECK(world_agree(world, -1, &err) == -1);
        CHECK(strcmp(err.text, "out of luck") == 0);
    } else {
        CHECK(world_barrier(world, &err) == -1);
        CHECK(strcmp(err.text, wanted) == 0);
    }
    CHECK(world_failed(world, &err));
    CHECK(world_gather(world, NULL, &number, sizeof number, &err) == -1);        /* it stays */
    CHECK(world_agree(world, 0, &err) == -1);
    for (int wait = 0; atomic_load(&told) == 0 && wait < 2000; wait++) usleep(1000);
    CHECK(atomic_load(&told) == 1);
}

int main(int argc, char **argv)
{
    World *world;
    Error  err = {""};

    REQUIRE(argc == 2);
    if (world_open(&world, &err) != 0) { fprintf(stderr, "%s\n", err.text); return 1; }
    REQUIRE(world);
    if (strcmp(argv[1], "failure") == 0) {
        try_failure(world);
    } else if (strcmp(argv[1], "messages") == 0) {
        try_messages(world);
        try_messages(world);
    } else {
        try_numbers(world);
        try_texts(world);
        try_devices(world);
    }
    world_close(world);
    return faults ? 1 : 0;
}
