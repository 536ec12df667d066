#include "executor/net/doorbell.h"

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

/* A rank's doorbell. */
typedef struct {
    atomic_bool             connected;
    struct sockaddr_storage at;
    socklen_t               length;
    uint64_t                token;
} DoorbellPeer;

struct Doorbell {
    DoorbellAddress own;
    int         family;      /* of the socket */
    atomic_int  socket;      /* -1: none, as yet */
    int         event;       /* for threads of this process */
    atomic_bool waiting;
    atomic_bool rung;
    DoorbellPeer       *peers;       /* [ranks] */
};

/* At any port of an address. Returns the socket or -1. */
static int open_socket(const struct sockaddr_storage *address, uint32_t *port)
{
    struct sockaddr_storage at = *address;
    socklen_t               length =
        address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int no = 0, fd = socket(address->ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) return -1;
    if ((address->ss_family == AF_INET6
         && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no) != 0)
        || bind(fd, (struct sockaddr *)&at, length) != 0
        || getsockname(fd, (struct sockaddr *)&at, &length) != 0) {
        close(fd);
        return -1;
    }
    *port = ntohs(address->ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                                 : ((struct sockaddr_in *)&at)->sin_port);
    return fd;
}

int doorbell_open(Doorbell **out, int count, Error *err)
{
    Doorbell *doorbell = calloc(1, sizeof *doorbell);

    *out = NULL;
    if (!doorbell) return error_no_memory(err);
    atomic_init(&doorbell->socket, -1);
    doorbell->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    doorbell->peers = calloc((size_t)count, sizeof *doorbell->peers);
    if (!doorbell->peers) { error_no_memory(err); goto fail; }
    if (doorbell->event < 0) {
        error_set(err, "cannot open an event: %s", strerror(errno));
        goto fail;
    }
    if (getrandom(&doorbell->own.token, sizeof doorbell->own.token, 0)
        != (ssize_t)sizeof doorbell->own.token) {
        error_set(err, "cannot draw a random number: %s", strerror(errno));
        goto fail;
    }
    *out = doorbell;
    return 0;
fail:
    doorbell_free(doorbell);
    return -1;
}

void doorbell_listen(Doorbell *doorbell, const struct sockaddr_storage *address)
{
    static const sa_family_t families[] = {AF_INET6, AF_INET};       /* IPv6 takes IPv4 too */
    int                      fd = -1;

    if (atomic_load(&doorbell->socket) >= 0) return;
    for (int i = 0; i < 2 && fd < 0; i++) {
        struct sockaddr_storage any = {.ss_family = families[i]};
        doorbell->family = address ? address->ss_family : families[i];
        fd = open_socket(address ? address : &any, &doorbell->own.port);
    }
    atomic_store(&doorbell->socket, fd);
}

DoorbellAddress doorbell_address(const Doorbell *doorbell) { return doorbell->own; }

/* An IPv4 address as IPv6 writes it: ::ffff:a.b.c.d. */
static struct sockaddr_in6 mapped(const struct sockaddr_in *four)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};

    six.sin6_addr.s6_addr[10] = six.sin6_addr.s6_addr[11] = 0xff;
    memcpy(&six.sin6_addr.s6_addr[12], &four->sin_addr, 4);
    return six;
}

void doorbell_connect(Doorbell *doorbell, int rank, const struct sockaddr_storage *peer,
                      DoorbellAddress address)
{
    DoorbellPeer               *p = &doorbell->peers[rank];
    struct sockaddr_in  four;
    struct sockaddr_in6 six;

    if (atomic_load(&doorbell->socket) < 0 || address.port == 0) return;
    if (peer->ss_family == AF_INET) {
        memcpy(&four, peer, sizeof four);
        six = mapped(&four);
    } else {
        if (doorbell->family != AF_INET6) return;
        memcpy(&six, peer, sizeof six);
    }
    four.sin_port = six.sin6_port = htons((uint16_t)address.port);
    p->length = doorbell->family == AF_INET6 ? sizeof six : sizeof four;
    memcpy(&p->at, doorbell->family == AF_INET6 ? (void *)&six : (void *)&four, p->length);
    p->token = address.token;
    atomic_store(&p->connected, true);
}

void doorbell_ring(Doorbell *doorbell, int rank)
{
    const DoorbellPeer *p = &doorbell->peers[rank];

    if (!atomic_load(&p->connected)) return;
    ssize_t sent = sendto(atomic_load(&doorbell->socket), &p->token, sizeof p->token,
                          MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&p->at, p->length);
    (void)sent;                          /* lost is lost */
}

void doorbell_wake(Doorbell *doorbell)
{
    uint64_t one = 1;

    if (!atomic_exchange(&doorbell->waiting, false)) return;
    ssize_t written = write(doorbell->event, &one, sizeof one);
    (void)written;
}

void doorbell_prepare(Doorbell *doorbell) { atomic_store(&doorbell->waiting, true); }

/* Takes all rings that have come; whether one carries the token. */
static bool take_rings(Doorbell *doorbell)
{
    uint64_t token;
    bool     some = false;

    for (ssize_t n;
         (n = recv(atomic_load(&doorbell->socket), &token, sizeof token, MSG_DONTWAIT | MSG_TRUNC))
         >= 0;)
        if (n == sizeof token && token == doorbell->own.token) some = true;
    if (some) atomic_store(&doorbell->rung, true);
    return some;
}

bool doorbell_wait(Doorbell *doorbell, int64_t most_ns)
{
    struct pollfd   fds[2] = {{.fd = doorbell->event, .events = POLLIN},
                              {.fd = atomic_load(&doorbell->socket), .events = POLLIN}};
    struct timespec most = {most_ns / 1000000000, most_ns % 1000000000};
    uint64_t        number;
    bool            some;

    if (atomic_load(&doorbell->waiting)) ppoll(fds, 2, &most, NULL);
    some = !atomic_exchange(&doorbell->waiting, false);
    if (some || fds[0].revents) {        /* who woke us may write only now, for the next wait */
        ssize_t taken = read(doorbell->event, &number, sizeof number);
        (void)taken;
    }
    if (fds[1].revents && take_rings(doorbell)) some = true;     /* without a socket there are no
                                                                  * events */
    return some;
}

bool doorbell_is_rung(const Doorbell *doorbell) { return atomic_load(&doorbell->rung); }

void doorbell_free(Doorbell *doorbell)
{
    if (!doorbell) return;
    if (atomic_load(&doorbell->socket) >= 0) close(atomic_load(&doorbell->socket));
    if (doorbell->event >= 0) close(doorbell->event);
    free(doorbell->peers);
    free(doorbell);
}
