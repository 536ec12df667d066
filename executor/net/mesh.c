#include "executor/net/mesh.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

/* Strangers that are heard at the same time, and for how long each. */
enum { CANDIDATES = 16, CALLERS = 64, CALLER_MS = 1000 };

/* A caller's first word, and the listener's answer. */
typedef struct {
    uint64_t token;          /* the listener's */
    uint32_t rank;           /* the speaker's */
    uint32_t unused;
} Hello;

/* A connection that has not said all of its hello yet. */
typedef struct {
    int     fd;
    size_t  have;            /* bytes of hello */
    Hello   hello;
    int64_t until_ns;        /* then it is turned away */
} Caller;

struct Mesh {
    MeshAddress own;
    struct sockaddr_storage bound;       /* of which family, and which address; AF_UNSPEC: all */
    int         listener, listener6;     /* -1: none */
    int         rank, count;
    int        *sockets;                 /* [count] */
};

static void close_socket(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

/* ---- listening ------------------------------------------------------------------ */

static socklen_t length_of(const struct sockaddr_storage *at)
{
    return at->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static in_port_t *port_of(struct sockaddr_storage *at)
{
    return at->ss_family == AF_INET6 ? &((struct sockaddr_in6 *)at)->sin6_port
                                     : &((struct sockaddr_in *)at)->sin_port;
}

/* At an address, which may be all of a family, and its port (0: any, which *at then says). Returns
 * the socket or -1. */
static int listen_at(struct sockaddr_storage *at)
{
    socklen_t length = length_of(at);
    int       one = 1, fd = socket(at->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) return -1;
    if (at->ss_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)at, length) != 0 || listen(fd, MESH_RANKS) != 0
        || getsockname(fd, (struct sockaddr *)at, &length) != 0) close_socket(&fd);
    return fd;
}

/* Adds an interface's address to the list, if it can be reached from elsewhere. */
static void add_address(MeshAddress *own, const struct ifaddrs *at, bool six)
{
    char   text[INET6_ADDRSTRLEN];
    size_t length = strlen(own->addresses);

    if (!at->ifa_addr || !(at->ifa_flags & IFF_UP) || (at->ifa_flags & IFF_LOOPBACK)) return;
    if (at->ifa_addr->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)at->ifa_addr;
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
    } else if (at->ifa_addr->sa_family == AF_INET6 && six) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)at->ifa_addr;
        if (IN6_IS_ADDR_LINKLOCAL(&in->sin6_addr)) return;
        inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text);
    } else {
        return;
    }
    if (length + strlen(text) + 2 > sizeof own->addresses) return;
    snprintf(own->addresses + length, sizeof own->addresses - length, "%s%s", length ? " " : "",
             text);
}

static int list_addresses(MeshAddress *own, bool six, Error *err)
{
    struct ifaddrs *list;

    if (getifaddrs(&list) != 0)
        return error_set(err, "cannot list this host's addresses: %s", strerror(errno));
    for (const struct ifaddrs *at = list; at; at = at->ifa_next) add_address(own, at, six);
    freeifaddrs(list);
    return 0;
}

/* Of an interface, by its name or by one of its addresses: the IPv4 address, or else the IPv6
 * one. */
static int find_interface(struct sockaddr_storage *out, const char *interface, Error *err)
{
    struct ifaddrs *list;
    char            text[INET6_ADDRSTRLEN];

    *out = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    if (getifaddrs(&list) != 0)
        return error_set(err, "cannot list this host's addresses: %s", strerror(errno));
    for (const struct ifaddrs *at = list; at; at = at->ifa_next) {
        int family = at->ifa_addr ? at->ifa_addr->sa_family : AF_UNSPEC;
        if ((family != AF_INET && family != AF_INET6) || !(at->ifa_flags & IFF_UP)) continue;
        const void *bytes =
            family == AF_INET
                ? (const void *)&((const struct sockaddr_in *)at->ifa_addr)->sin_addr
                : (const void *)&((const struct sockaddr_in6 *)at->ifa_addr)->sin6_addr;
        inet_ntop(family, bytes, text, sizeof text);
        bool address = strcmp(text, interface) == 0, name = strcmp(at->ifa_name, interface) == 0;
        bool better =
            out->ss_family == AF_UNSPEC || (out->ss_family == AF_INET6 && family == AF_INET);
        if (name && family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL((const struct in6_addr *)bytes))
            name = false;
        if (!address && !(name && better)) continue;
        memset(out, 0, sizeof *out);
        memcpy(out, at->ifa_addr,
               family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
        if (address) break;
    }
    freeifaddrs(list);
    return out->ss_family != AF_UNSPEC
               ? 0
               : error_set(err, "--interface %s: this host has no such interface or address",
                           interface);
}

/* On one address, which alone is told to others. */
static int listen_on_one(Mesh *mesh, Error *err)
{
    struct sockaddr_storage at = mesh->bound;
    const void             *bytes = at.ss_family == AF_INET
                                        ? (const void *)&((struct sockaddr_in *)&at)->sin_addr
                                        : (const void *)&((struct sockaddr_in6 *)&at)->sin6_addr;

    mesh->listener = listen_at(&at);
    if (mesh->listener < 0) return error_set(err, "cannot listen on a port: %s", strerror(errno));
    mesh->own.port = ntohs(*port_of(&at));
    inet_ntop(at.ss_family, bytes, mesh->own.addresses, sizeof mesh->own.addresses);
    return 0;
}

static int listen_on_all(Mesh *mesh, Error *err)
{
    struct sockaddr_storage four = {.ss_family = AF_INET}, six = {.ss_family = AF_INET6};

    mesh->listener = listen_at(&four);
    if (mesh->listener < 0) return error_set(err, "cannot listen on a port: %s", strerror(errno));
    mesh->own.port = ntohs(*port_of(&four));
    *port_of(&six) = *port_of(&four);
    mesh->listener6 = listen_at(&six);
    return list_addresses(&mesh->own, mesh->listener6 >= 0, err);
}

/* Where to listen: mesh->bound. */
static int choose_address(Mesh *mesh, MeshReach reach, const char *interface, Error *err)
{
    if (interface) return find_interface(&mesh->bound, interface, err);
    if (reach == MESH_HERE) {
        struct sockaddr_in loopback = {.sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        memcpy(&mesh->bound, &loopback, sizeof loopback);
    }
    return 0;
}

int mesh_listen(Mesh **out, MeshReach reach, const char *interface, Error *err)
{
    Mesh *mesh = calloc(1, sizeof *mesh);

    *out = NULL;
    if (!mesh) return error_no_memory(err);
    mesh->listener = mesh->listener6 = -1;
    if (gethostname(mesh->own.host, sizeof mesh->own.host - 1) != 0)
        snprintf(mesh->own.host, MESH_HOST, "unknown");
    if (getrandom(&mesh->own.token, sizeof mesh->own.token, 0) != (ssize_t)sizeof mesh->own.token) {
        error_set(err, "cannot draw a random number: %s", strerror(errno));
        goto fail;
    }
    if (choose_address(mesh, reach, interface, err) != 0) goto fail;
    if ((mesh->bound.ss_family == AF_UNSPEC ? listen_on_all(mesh, err) : listen_on_one(mesh, err))
        != 0)
        goto fail;
    *out = mesh;
    return 0;
fail:
    mesh_free(mesh);
    return -1;
}

const struct sockaddr_storage *mesh_listens_at(const Mesh *mesh)
{
    return mesh->bound.ss_family == AF_UNSPEC ? NULL : &mesh->bound;
}

const MeshAddress *mesh_address(const Mesh *mesh) { return &mesh->own; }

/* ---- waiting, with an end --------------------------------------------------------- */

static int milliseconds_to(int64_t until_ns)
{
    int64_t left_ns = until_ns - clock_ns();

    return left_ns <= 0 ? 0 : left_ns > 3600000000000 ? 3600000 : (int)(left_ns / 1000000) + 1;
}

/* What there is of a hello, without waiting: 1 when it is whole, 0 when more may come, -1 when none
 * will. */
static int read_hello(int fd, Hello *hello, size_t *have)
{
    while (*have < sizeof *hello) {
        ssize_t got = recv(fd, (char *)hello + *have, sizeof *hello - *have, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
        if (got <= 0) return -1;
        *have += (size_t)got;
    }
    return 1;
}

/* A fresh connection holds that much. */
static bool write_hello(int fd, const Hello *hello)
{
    return send(fd, hello, sizeof *hello, MSG_NOSIGNAL) == (ssize_t)sizeof *hello;
}

/* ---- calling ------------------------------------------------------------------------- */

/* Begins to connect with a numeric address. Returns the socket or -1. */
static int call(const char *address, uint32_t port)
{
    struct addrinfo  hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                              .ai_socktype = SOCK_STREAM},
                     *found;
    char             service[16];
    int              fd;

    snprintf(service, sizeof service, "%u", (unsigned)port);
    if (getaddrinfo(address, service, &hints, &found) != 0) return -1;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS)
        close_socket(&fd);
    freeaddrinfo(found);
    return fd;
}

/* Calls all addresses of a process at once. candidates [CANDIDATES]; returns how many. */
static int call_all(const Mesh *mesh, const MeshAddress *to, struct pollfd *candidates)
{
    char  list[MESH_ADDRESSES + 16], *rest = list, *address;
    bool  here = strncmp(to->host, mesh->own.host, MESH_HOST) == 0
                && strcmp(to->addresses, "127.0.0.1") != 0;
    int   count = 0;

    snprintf(list, sizeof list, "%s%.*s", here ? "127.0.0.1 " : "", MESH_ADDRESSES - 1,
             to->addresses);
    while (count < CANDIDATES && (address = strsep(&rest, " "))) {
        int fd = *address ? call(address, to->port) : -1;
        if (fd >= 0) candidates[count++] = (struct pollfd){.fd = fd, .events = POLLOUT};
    }
    return count;
}

/* What came of a candidate: connected, it is greeted; answered, it is the one or is dropped.
 * Whoever listens answers only one of a caller's connections, so all may be greeted. answer: as far
 * as it has come. */
static bool candidate_leads(struct pollfd *candidate, Caller *answer, const Hello *hello, int rank)
{
    if (candidate->events == POLLOUT && (candidate->revents & POLLOUT)
        && write_hello(candidate->fd, hello)) {
        candidate->events = POLLIN;
        return false;
    }
    if (candidate->events == POLLIN && (candidate->revents & POLLIN)) {
        int whole = read_hello(candidate->fd, &answer->hello, &answer->have);
        if (whole == 0) return false;
        if (whole == 1 && answer->hello.token == hello->token
            && answer->hello.rank == (uint32_t)rank)
            return true;
    }
    close_socket(&candidate->fd);
    return false;
}

/* The first address that leads to the process. Returns the socket or -1. */
static int call_rank(const Mesh *mesh, int rank, const MeshAddress *to, int64_t until_ns)
{
    struct pollfd candidates[CANDIDATES];
    Caller        answers[CANDIDATES] = {0};
    Hello         hello = {.token = to->token, .rank = (uint32_t)mesh->rank};
    int           count = call_all(mesh, to, candidates), found = -1;

    for (int left = count; left > 0 && found < 0;) {
        int rc = poll(candidates, (nfds_t)count, milliseconds_to(until_ns));
        if (rc == 0 || (rc < 0 && errno != EINTR)) break;
        left = 0;
        for (int i = 0; i < count && rc > 0 && found < 0; i++) {
            if (candidates[i].fd >= 0 && candidates[i].revents
                && candidate_leads(&candidates[i], &answers[i], &hello, rank)) {
                found = candidates[i].fd;
                candidates[i].fd = -1;
            }
            left += candidates[i].fd >= 0;
        }
        if (rc < 0) left = count;
    }
    for (int i = 0; i < count; i++) close_socket(&candidates[i].fd);
    return found;
}

/* ---- being called ------------------------------------------------------------------- */

/* A caller that has said its hello: one of the run is kept, anyone else turned away. Returns how
 * many were kept. */
static int admit(Mesh *mesh, Caller *caller)
{
    uint32_t rank = caller->hello.rank;
    Hello    answer = {.token = mesh->own.token, .rank = (uint32_t)mesh->rank};
    bool     ours = caller->hello.token == mesh->own.token && rank > (uint32_t)mesh->rank
                && rank < (uint32_t)mesh->count && mesh->sockets[rank] < 0
                && write_hello(caller->fd, &answer);

    if (!ours) { close_socket(&caller->fd); return 0; }
    mesh->sockets[rank] = caller->fd;
    caller->fd = -1;
    return 1;
}

/* Takes connections while there is room for them. */
static void take_callers(int listener, Caller *callers, int *count)
{
    while (*count < CALLERS) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) return;
        callers[(*count)++] =
            (Caller){.fd = fd, .until_ns = clock_ns() + CALLER_MS * INT64_C(1000000)};
    }
}

/* Listens to all callers; those that are admitted, gone, or silent for too long leave the list.
 * Returns how many were admitted. */
static int hear_callers(Mesh *mesh, Caller *callers, int *count)
{
    int admitted = 0, left = 0;

    for (int i = 0; i < *count; i++) {
        int whole = read_hello(callers[i].fd, &callers[i].hello, &callers[i].have);
        if (whole == 1) admitted += admit(mesh, &callers[i]);
        else if (whole < 0 || clock_ns() >= callers[i].until_ns) close_socket(&callers[i].fd);
        if (callers[i].fd >= 0 && whole == 0) callers[left++] = callers[i];
    }
    *count = left;
    return admitted;
}

/* Until a caller comes or says something, or the first of them has been silent for too long. False:
 * nothing more comes in time. */
static bool wait_for_callers(const Mesh *mesh, const Caller *callers, int count, int64_t until_ns)
{
    struct pollfd pollers[CALLERS + 2];
    bool          room = count < CALLERS;

    pollers[0] = (struct pollfd){.fd = room ? mesh->listener : -1, .events = POLLIN};
    pollers[1] = (struct pollfd){.fd = room ? mesh->listener6 : -1, .events = POLLIN};
    for (int i = 0; i < count; i++) {
        pollers[i + 2] = (struct pollfd){.fd = callers[i].fd, .events = POLLIN};
        if (callers[i].until_ns < until_ns) until_ns = callers[i].until_ns;
    }
    int rc = poll(pollers, (nfds_t)count + 2, milliseconds_to(until_ns));
    return rc >= 0 || errno == EINTR;
}

/* Waits until all higher ranks have called. Strangers are heard beside each other, so that they
 * delay nobody who has said his hello; when there are too many, only until the first of them is
 * turned away. Returns how many did not call. */
static int answer_calls(Mesh *mesh, int64_t until_ns)
{
    Caller callers[CALLERS];
    int    count = 0, missing = mesh->count - 1 - mesh->rank;

    while (missing > 0 && clock_ns() < until_ns
           && wait_for_callers(mesh, callers, count, until_ns)) {
        take_callers(mesh->listener, callers, &count);
        if (mesh->listener6 >= 0) take_callers(mesh->listener6, callers, &count);
        missing -= hear_callers(mesh, callers, &count);
    }
    for (int i = 0; i < count; i++) close_socket(&callers[i].fd);
    return missing;
}

/* ---- connecting ------------------------------------------------------------------------ */

static int unreachable(int rank, const MeshAddress *to, int64_t timeout_ns, Error *err)
{
    return error_set(err, "rank %d on %.*s (%.*s, port %u) cannot be reached within %.0f s", rank,
                     MESH_HOST - 1, to->host, MESH_ADDRESSES - 1,
                     to->addresses[0] ? to->addresses : "no address", (unsigned)to->port,
                     (double)timeout_ns / 1e9);
}

static void send_at_once(int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

int mesh_connect(Mesh *mesh, int rank, int count, const MeshAddress *address, int64_t timeout_ns,
                 Error *err)
{
    int64_t until_ns = clock_ns() + timeout_ns;

    if (count > MESH_RANKS)
        return error_set(err, "%d processes, expected at most %d", count, MESH_RANKS);
    mesh->sockets = malloc((size_t)count * sizeof *mesh->sockets);
    if (!mesh->sockets) return error_no_memory(err);
    mesh->rank = rank;
    mesh->count = count;
    for (int r = 0; r < count; r++) mesh->sockets[r] = -1;
    for (int r = 0; r < rank; r++) {
        mesh->sockets[r] = call_rank(mesh, r, &address[r], until_ns);
        if (mesh->sockets[r] < 0) return unreachable(r, &address[r], timeout_ns, err);
    }
    if (answer_calls(mesh, until_ns) > 0) {
        for (int r = rank + 1; r < count; r++)
            if (mesh->sockets[r] < 0) return unreachable(r, &address[r], timeout_ns, err);
    }
    for (int r = 0; r < count; r++)
        if (r != rank) send_at_once(mesh->sockets[r]);
    close_socket(&mesh->listener);
    close_socket(&mesh->listener6);
    return 0;
}

int mesh_socket(const Mesh *mesh, int rank) { return mesh->sockets[rank]; }

void mesh_free(Mesh *mesh)
{
    if (!mesh) return;
    for (int r = 0; mesh->sockets && r < mesh->count; r++) close_socket(&mesh->sockets[r]);
    close_socket(&mesh->listener);
    close_socket(&mesh->listener6);
    free(mesh->sockets);
    free(mesh);
}
