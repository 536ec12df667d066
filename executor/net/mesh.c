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

enum { CANDIDATES = 16 };

/* A caller's first word, and the listener's answer. */
typedef struct {
    uint64_t token;          /* the listener's */
    uint32_t rank;           /* the speaker's */
    uint32_t unused;
} Hello;

struct Mesh {
    MeshAddress own;
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

/* On every address of a family, at a port (0: any). Returns the socket or -1. */
static int listen_on(int family, uint32_t port)
{
    struct sockaddr_in  four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    int                 one = 1, fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) return -1;
    if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    int rc = family == AF_INET ? bind(fd, (struct sockaddr *)&four, sizeof four)
                               : bind(fd, (struct sockaddr *)&six, sizeof six);
    if (rc == 0) rc = listen(fd, MESH_RANKS);
    if (rc != 0) close_socket(&fd);
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
    snprintf(own->addresses + length, sizeof own->addresses - length, "%s%s", length ? " " : "", text);
}

static int list_addresses(MeshAddress *own, bool six, Error *err)
{
    struct ifaddrs *list;

    if (getifaddrs(&list) != 0) return error_set(err, "cannot list this host's addresses: %s", strerror(errno));
    for (const struct ifaddrs *at = list; at; at = at->ifa_next) add_address(own, at, six);
    freeifaddrs(list);
    return 0;
}

int mesh_listen(Mesh **out, Error *err)
{
    Mesh              *mesh = calloc(1, sizeof *mesh);
    struct sockaddr_in bound;
    socklen_t          length = sizeof bound;

    *out = NULL;
    if (!mesh) return error_no_memory(err);
    mesh->listener6 = -1;
    mesh->listener = listen_on(AF_INET, 0);
    if (mesh->listener < 0 || getsockname(mesh->listener, (struct sockaddr *)&bound, &length) != 0) {
        error_set(err, "cannot listen on a port: %s", strerror(errno));
        goto fail;
    }
    mesh->own.port = ntohs(bound.sin_port);
    mesh->listener6 = listen_on(AF_INET6, mesh->own.port);
    if (gethostname(mesh->own.host, sizeof mesh->own.host - 1) != 0) snprintf(mesh->own.host, MESH_HOST, "unknown");
    if (getrandom(&mesh->own.token, sizeof mesh->own.token, 0) != (ssize_t)sizeof mesh->own.token) {
        error_set(err, "cannot draw a random number: %s", strerror(errno));
        goto fail;
    }
    if (list_addresses(&mesh->own, mesh->listener6 >= 0, err) != 0) goto fail;
    *out = mesh;
    return 0;
fail:
    mesh_free(mesh);
    return -1;
}

const MeshAddress *mesh_address(const Mesh *mesh) { return &mesh->own; }

/* ---- waiting, with an end --------------------------------------------------------- */

static int milliseconds_to(int64_t until_ns)
{
    int64_t left_ns = until_ns - clock_ns();

    return left_ns <= 0 ? 0 : left_ns > 3600000000000 ? 3600000 : (int)(left_ns / 1000000) + 1;
}

/* Until events, or the end: then false. */
static bool wait_for(int fd, short events, int64_t until_ns)
{
    struct pollfd poller = {.fd = fd, .events = events};
    int           rc;

    do rc = poll(&poller, 1, milliseconds_to(until_ns)); while (rc < 0 && errno == EINTR && clock_ns() < until_ns);
    return rc > 0;
}

static bool read_hello(int fd, Hello *hello, int64_t until_ns)
{
    for (size_t have = 0; have < sizeof *hello;) {
        if (!wait_for(fd, POLLIN, until_ns)) return false;
        ssize_t got = recv(fd, (char *)hello + have, sizeof *hello - have, 0);
        if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) return false;
        if (got > 0) have += (size_t)got;
    }
    return true;
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
    struct addrinfo  hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found;
    char             service[16];
    int              fd;

    snprintf(service, sizeof service, "%u", (unsigned)port);
    if (getaddrinfo(address, service, &hints, &found) != 0) return -1;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS) close_socket(&fd);
    freeaddrinfo(found);
    return fd;
}

/* Calls all addresses of a process at once. candidates [CANDIDATES]; returns how many. */
static int call_all(const Mesh *mesh, const MeshAddress *to, struct pollfd *candidates)
{
    char  list[MESH_ADDRESSES + 16], *rest = list, *address;
    bool  here = strncmp(to->host, mesh->own.host, MESH_HOST) == 0;
    int   count = 0;

    snprintf(list, sizeof list, "%s%.*s", here ? "127.0.0.1 " : "", MESH_ADDRESSES - 1, to->addresses);
    while (count < CANDIDATES && (address = strsep(&rest, " "))) {
        int fd = *address ? call(address, to->port) : -1;
        if (fd >= 0) candidates[count++] = (struct pollfd){.fd = fd, .events = POLLOUT};
    }
    return count;
}

/* What came of a candidate: connected, it is greeted; answered, it is the one or is dropped.
 * Whoever listens answers only one of a caller's connections, so all may be greeted. */
static bool candidate_leads(struct pollfd *candidate, const Hello *hello, int rank, int64_t until_ns)
{
    Hello answer;

    if (candidate->events == POLLOUT && (candidate->revents & POLLOUT) && write_hello(candidate->fd, hello)) {
        candidate->events = POLLIN;
        return false;
    }
    if (candidate->events == POLLIN && (candidate->revents & POLLIN) && read_hello(candidate->fd, &answer, until_ns)
        && answer.token == hello->token && answer.rank == (uint32_t)rank) return true;
    close_socket(&candidate->fd);
    return false;
}

/* The first address that leads to the process. Returns the socket or -1. */
static int call_rank(const Mesh *mesh, int rank, const MeshAddress *to, int64_t until_ns)
{
    struct pollfd candidates[CANDIDATES];
    Hello         hello = {.token = to->token, .rank = (uint32_t)mesh->rank};
    int           count = call_all(mesh, to, candidates), found = -1;

    for (int left = count; left > 0 && found < 0;) {
        int rc = poll(candidates, (nfds_t)count, milliseconds_to(until_ns));
        if (rc == 0 || (rc < 0 && errno != EINTR)) break;
        left = 0;
        for (int i = 0; i < count && rc > 0 && found < 0; i++) {
            if (candidates[i].fd >= 0 && candidates[i].revents
                && candidate_leads(&candidates[i], &hello, rank, until_ns)) {
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

/* A caller of the run is kept, anyone else turned away. */
static int admit(Mesh *mesh, int fd, int64_t until_ns)
{
    int64_t soon_ns = clock_ns() + 1000000000;
    Hello   hello, answer = {.token = mesh->own.token, .rank = (uint32_t)mesh->rank};

    if (!read_hello(fd, &hello, soon_ns < until_ns ? soon_ns : until_ns) || hello.token != mesh->own.token
        || hello.rank <= (uint32_t)mesh->rank || hello.rank >= (uint32_t)mesh->count
        || mesh->sockets[hello.rank] >= 0 || !write_hello(fd, &answer)) {
        close_socket(&fd);
        return 0;
    }
    mesh->sockets[hello.rank] = fd;
    return 1;
}

/* Waits until all higher ranks have called. Returns how many did not. */
static int answer_calls(Mesh *mesh, int64_t until_ns)
{
    struct pollfd pollers[2] = {{.fd = mesh->listener, .events = POLLIN}, {.fd = mesh->listener6, .events = POLLIN}};
    int           missing = mesh->count - 1 - mesh->rank;

    while (missing > 0) {
        int rc = poll(pollers, 2, milliseconds_to(until_ns));
        if (rc == 0 || (rc < 0 && errno != EINTR)) break;
        for (int i = 0; i < 2 && rc > 0; i++) {
            if (!(pollers[i].revents & POLLIN)) continue;
            int fd = accept4(pollers[i].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (fd >= 0) missing -= admit(mesh, fd, until_ns);
        }
    }
    return missing;
}

/* ---- connecting ------------------------------------------------------------------------ */

static int unreachable(int rank, const MeshAddress *to, int64_t timeout_ns, Error *err)
{
    return error_set(err, "rank %d on %.*s (%.*s, port %u) cannot be reached within %.0f s", rank, MESH_HOST - 1, to->host,
                     MESH_ADDRESSES - 1, to->addresses[0] ? to->addresses : "no address", (unsigned)to->port,
                     (double)timeout_ns / 1e9);
}

static void send_at_once(int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

int mesh_connect(Mesh *mesh, int rank, int count, const MeshAddress *address, int64_t timeout_ns, Error *err)
{
    int64_t until_ns = clock_ns() + timeout_ns;

    if (count > MESH_RANKS) return error_set(err, "%d processes, expected at most %d", count, MESH_RANKS);
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
