/* Doorbells: who is woken, by what. What does not ring is waited for a moment only: such tests pass
 * too early at worst, they never fail by chance. */
#include "executor/net/doorbell.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "tests/support.h"

enum { LONG_S = 20 };
static const int64_t long_ns = LONG_S * INT64_C(1000000000), short_ns = 2000000;

static Doorbell *opened(int count)
{
    Doorbell *doorbell;
    Error err;

    assert_int_equal(doorbell_open(&doorbell, count, &err), 0);
    doorbell_listen(doorbell, NULL);
    return doorbell;
}

static bool waits(Doorbell *doorbell, int64_t ns)
{
    doorbell_prepare(doorbell);
    return doorbell_wait(doorbell, ns);
}

/* This machine, as IPv4 or as IPv6 has it; the port is not the doorbell's. */
static struct sockaddr_storage here(int family)
{
    struct sockaddr_storage at = {.ss_family = (sa_family_t)family};

    if (family == AF_INET) {
        struct sockaddr_in four = {
            .sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        memcpy(&at, &four, sizeof four);
    } else {
        struct sockaddr_in6 six = {
            .sin6_family = AF_INET6, .sin6_port = htons(1), .sin6_addr = in6addr_loopback};
        memcpy(&at, &six, sizeof six);
    }
    return at;
}

static void a_ring_ends_a_wait(void **state)
{
    Doorbell                   *a = opened(2), *b = opened(2);
    struct sockaddr_storage at = here(AF_INET);

    (void)state;
    doorbell_ring(a, 1);                             /* nobody yet: nothing happens */
    doorbell_connect(a, 1, &at, doorbell_address(b));
    assert_false(doorbell_is_rung(b));
    doorbell_ring(a, 1);
    assert_true(waits(b, long_ns));
    assert_true(doorbell_is_rung(b));
    assert_false(waits(b, short_ns));            /* one ring ends one wait */
    doorbell_ring(a, 1);
    doorbell_ring(a, 1);
    assert_true(waits(b, long_ns));
    assert_false(waits(a, short_ns));
    assert_false(doorbell_is_rung(a));
    doorbell_free(a);
    doorbell_free(b);
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    int                 fd = socket(AF_INET6, SOCK_DGRAM, 0);
    bool                has = fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any) == 0;

    if (fd >= 0) close(fd);
    return has;
}

static void by_ipv6_too(void **state)
{
    (void)state;
    if (!has_ipv6()) skip();
    Doorbell                   *a = opened(2), *b = opened(2);
    struct sockaddr_storage at = here(AF_INET6);

    doorbell_connect(a, 1, &at, doorbell_address(b));
    doorbell_ring(a, 1);
    assert_true(waits(b, long_ns));
    doorbell_free(a);
    doorbell_free(b);
}

static void strangers_do_not_ring(void **state)
{
    Doorbell                   *a = opened(2), *b = opened(2);
    struct sockaddr_storage at = here(AF_INET);
    DoorbellAddress             wrong = doorbell_address(b);

    (void)state;
    wrong.token ^= 1;
    doorbell_connect(a, 1, &at, wrong);
    doorbell_ring(a, 1);
    assert_false(waits(b, short_ns));
    assert_false(doorbell_is_rung(b));
    doorbell_free(a);
    doorbell_free(b);
}

/* A message longer than a ring that begins like one. */
static void nor_do_long_words(void **state)
{
    Doorbell              *b = opened(1);
    DoorbellAddress        address = doorbell_address(b);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)address.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char               word[64] = {0};
    int                fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)state;
    memcpy(word, &address.token, sizeof address.token);
    assert_true(fd >= 0);
    assert_int_equal(sendto(fd, word, sizeof word, 0, (struct sockaddr *)&at, sizeof at),
                     sizeof word);
    assert_false(waits(b, short_ns));
    close(fd);
    doorbell_free(b);
}

/* One that listens at 127.0.0.1 does not hear 127.0.0.2, which is this machine as well. */
static void it_listens_where_it_is_told(void **state)
{
    Doorbell               *a = opened(2), *b;
    struct sockaddr_storage at = here(AF_INET), elsewhere = at;
    Error                   err = {""};

    (void)state;
    ((struct sockaddr_in *)&elsewhere)->sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
    ((struct sockaddr_in *)&at)->sin_port = 0;
    assert_int_equal(doorbell_open(&b, 1, &err), 0);
    assert_int_equal(doorbell_address(b).port, 0);       /* nothing listens before it is asked to */
    doorbell_listen(b, &at);
    doorbell_connect(a, 0, &elsewhere, doorbell_address(b));
    doorbell_connect(a, 1, &at, doorbell_address(b));
    doorbell_ring(a, 0);
    assert_false(waits(b, short_ns));
    doorbell_ring(a, 1);
    assert_true(waits(b, long_ns));
    doorbell_free(a);
    doorbell_free(b);
}

static atomic_bool is_awake;

static void *wake(void *doorbell)
{
    while (!atomic_load(&is_awake)) { usleep(2000); doorbell_wake(doorbell); }
    return NULL;
}

static void a_thread_wakes(void **state)
{
    Doorbell     *doorbell = opened(1);
    pthread_t thread;

    (void)state;
    doorbell_wake(doorbell);                             /* nobody waits, nor will one because of
                                                          * it */
    assert_false(waits(doorbell, short_ns));
    doorbell_prepare(doorbell);
    doorbell_wake(doorbell);                             /* between: not missed */
    assert_true(doorbell_wait(doorbell, long_ns));
    for (int i = 0; i < 3; i++) {
        atomic_store(&is_awake, false);
        assert_int_equal(pthread_create(&thread, NULL, wake, doorbell), 0);
        assert_true(waits(doorbell, long_ns));
        atomic_store(&is_awake, true);
        pthread_join(thread, NULL);
    }
    assert_false(doorbell_is_rung(doorbell));            /* that is what others do */
    doorbell_free(doorbell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ring_ends_a_wait),          cmocka_unit_test(by_ipv6_too),
        cmocka_unit_test(strangers_do_not_ring),       cmocka_unit_test(nor_do_long_words),
        cmocka_unit_test(it_listens_where_it_is_told), cmocka_unit_test(a_thread_wakes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
