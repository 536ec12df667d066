#include "executor/bell.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* A rank's bell. */
typedef struct {
    atomic_bool             connected;
    struct sockaddr_storage at;
    socklen_t               length;
    uint64_t                token;
} Peer;

struct Bell {
    BellAddress own;
    int         family;      /* of the socket */
    int         socket;      /* -1: none */
    int         event;       /* for threads of this process */
    atomic_bool waiting;
    atomic_bool rung;
    Peer       *peers;       /* [ranks] */
};

/* At any port of all addresses: IPv6, which takes IPv4 too, or else IPv4. */
static int open_socket(int family, uint32_t *port)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    struct sockaddr_in  any4 = {.sin_family = AF_INET};
    socklen_t           length = family == AF_INET6 ? sizeof any : sizeof any4;
    struct sockaddr    *at = family == AF_INET6 ? (struct sockaddr *)&any : (struct sockaddr *)&any4;
    int                 no = 0, fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) return -1;
    if ((family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no) != 0)
        || bind(fd, at, length) != 0 || getsockname(fd, at, &length) != 0) {
        close(fd);
        return -1;
    }
    *port = ntohs(family == AF_INET6 ? any.sin6_port : any4.sin_port);
    return fd;
}

int bell_open(Bell **out, int count, Error *err)
{
    Bell *bell = calloc(1, sizeof *bell);

    *out = NULL;
    if (!bell) return error_no_memory(err);
    bell->socket = -1;
    bell->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bell->peers = calloc((size_t)count, sizeof *bell->peers);
    if (!bell->peers) { error_no_memory(err); goto fail; }
    if (bell->event < 0) { error_set(err, "cannot open an event: %s", strerror(errno)); goto fail; }
    if (getrandom(&bell->own.token, sizeof bell->own.token, 0) != (ssize_t)sizeof bell->own.token) {
        error_set(err, "cannot draw a random number: %s", strerror(errno));
        goto fail;
    }
    bell->family = AF_INET6;
    bell->socket = open_socket(AF_INET6, &bell->own.port);
    if (bell->socket < 0) {
        bell->family = AF_INET;
        bell->socket = open_socket(AF_INET, &bell->own.port);
    }
    *out = bell;
    return 0;
fail:
    bell_free(bell);
    return -1;
}

BellAddress bell_address(const Bell *bell) { return bell->own; }

/* An IPv4 address as IPv6 writes it: ::ffff:a.b.c.d. */
static struct sockaddr_in6 mapped(const struct sockaddr_in *four)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};

    six.sin6_addr.s6_addr[10] = six.sin6_addr.s6_addr[11] = 0xff;
    memcpy(&six.sin6_addr.s6_addr[12], &four->sin_addr, 4);
    return six;
}

void bell_connect(Bell *bell, int rank, const struct sockaddr_storage *peer, BellAddress address)
{
    Peer               *p = &bell->peers[rank];
    struct sockaddr_in  four;
    struct sockaddr_in6 six;

    if (bell->socket < 0 || address.port == 0) return;
    if (peer->ss_family == AF_INET) {
        memcpy(&four, peer, sizeof four);
        six = mapped(&four);
    } else {
        if (bell->family != AF_INET6) return;
        memcpy(&six, peer, sizeof six);
    }
    four.sin_port = six.sin6_port = htons((uint16_t)address.port);
    p->length = bell->family == AF_INET6 ? sizeof six : sizeof four;
    memcpy(&p->at, bell->family == AF_INET6 ? (void *)&six : (void *)&four, p->length);
    p->token = address.token;
    atomic_store(&p->connected, true);
}

void bell_ring(Bell *bell, int rank)
{
    const Peer *p = &bell->peers[rank];

    if (!atomic_load(&p->connected)) return;
    ssize_t sent = sendto(bell->socket, &p->token, sizeof p->token, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&p->at,
                          p->length);
    (void)sent;                          /* lost is lost */
}

void bell_wake(Bell *bell)
{
    uint64_t one = 1;

    if (!atomic_exchange(&bell->waiting, false)) return;
    ssize_t written = write(bell->event, &one, sizeof one);
    (void)written;
}

void bell_prepare(Bell *bell) { atomic_store(&bell->waiting, true); }

/* Takes all rings that have come; whether one carries the token. */
static bool take_rings(Bell *bell)
{
    uint64_t token;
    bool     some = false;

    for (ssize_t n; (n = recv(bell->socket, &token, sizeof token, MSG_DONTWAIT | MSG_TRUNC)) >= 0;)
        if (n == sizeof token && token == bell->own.token) some = true;
    if (some) atomic_store(&bell->rung, true);
    return some;
}

bool bell_wait(Bell *bell, int64_t most_ns)
{
    struct pollfd   fds[2] = {{.fd = bell->event, .events = POLLIN}, {.fd = bell->socket, .events = POLLIN}};
    struct timespec most = {most_ns / 1000000000, most_ns % 1000000000};
    uint64_t        number;
    bool            some;

    if (atomic_load(&bell->waiting)) ppoll(fds, 2, &most, NULL);
    some = !atomic_exchange(&bell->waiting, false);
    if (some || fds[0].revents) {        /* who woke us may write only now, for the next wait */
        ssize_t taken = read(bell->event, &number, sizeof number);
        (void)taken;
    }
    if (fds[1].revents && take_rings(bell)) some = true;     /* without a socket there are no events */
    return some;
}

bool bell_is_rung(const Bell *bell) { return atomic_load(&bell->rung); }

void bell_free(Bell *bell)
{
    if (!bell) return;
    if (bell->socket >= 0) close(bell->socket);
    if (bell->event >= 0) close(bell->event);
    free(bell->peers);
    free(bell);
}
