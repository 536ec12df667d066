/* The failure detector, with processes of its own and no MPI: killed, stopped, cut off through a
 * relay that stops passing bytes on, busy for longer than the timeout. */
#include "tests/support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "executor/net/heartbeat.h"

enum { RANKS = 4, ENDED_BY_FAULT = 3, NO_MESH = 4 };

#define TIMEOUT_NS INT64_C(3000000000)      /* processes of a busy machine notice half of it
                                             * apart */

/* What a process does once it is connected. */
typedef enum { WAITS, COMPUTES, ECHOES } Part;

typedef struct {
    int   rank, count;
    Part  part;
    int   addresses, orders, results;    /* pipes */
} Role;

/* What a process tells of its end, through results. */
typedef struct {
    int   from;
    bool  says, warned;
    Fault fault;
} Result;

typedef struct {
    int         count;
    pid_t       pid[RANKS];
    int         orders[RANKS];
    int         addresses[RANKS], results[RANKS];
    MeshAddress address[RANKS];
    pid_t       relay;                   /* 0: none */
} Processes;

/* ---- a process ---------------------------------------------------------------------- */

static void pass(int fd, const void *bytes, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t n = write(fd, (const char *)bytes + done, length - done);
        if (n <= 0) _exit(NO_MESH);
        done += (size_t)n;
    }
}

static bool get(int fd, void *bytes, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t n = read(fd, (char *)bytes + done, length - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

static void device_status(void *context, char *text, size_t size, uint64_t *progress)
{
    const Role *role = context;

    snprintf(text, size, "device %d, step %d", role->rank, 100 + role->rank);
    *progress = 1;
}

static void tell(const Role *role, const Fault *fault, bool says, bool warned)
{
    Result result = {.from = role->rank, .says = says, .warned = warned};

    if (fault) result.fault = *fault;
    pass(role->results, &result, sizeof result);
}

static void on_fault(void *context, const Fault *fault, bool says)
{
    tell(context, fault, says, false);
}
static void on_end(void *context) { (void)context; _exit(ENDED_BY_FAULT); }

static void on_warning(void *context, const char *line)
{
    Fault fault = {0};

    snprintf(fault.text, sizeof fault.text, "%s", line);
    tell(context, &fault, false, true);
}

static void play(const Role *role, Heartbeat *heartbeat)
{
    struct timespec begun, now;
    char            order;

    if (role->part == COMPUTES) {        /* one long step: nothing is told, nothing moves */
        clock_gettime(CLOCK_MONOTONIC, &begun);
        do clock_gettime(CLOCK_MONOTONIC, &now);
        while ((now.tv_sec - begun.tv_sec) * 1000000000 + now.tv_nsec - begun.tv_nsec
               < 2 * TIMEOUT_NS);
    }
    if (!get(role->orders, &order, 1)) _exit(NO_MESH);
    /* ended() exits */
    if (role->part == ECHOES && heartbeat_wait(heartbeat, 10 * TIMEOUT_NS)) _exit(NO_MESH);
    heartbeat_stop(heartbeat);
}

static void run_process(Role *role)
{
    RankLabel        label[RANKS];
    HeartbeatOptions options = {.rank = role->rank, .count = role->count, .timeout_ns = TIMEOUT_NS,
                                .label = label, .stuck_ns = role->part == COMPUTES ? TIMEOUT_NS : 0,
                                .device_status = device_status, .warn = on_warning,
                                .fault = on_fault, .ended = on_end, .context = role};
    MeshAddress      all[RANKS];
    Mesh            *mesh;
    Heartbeat       *heartbeat;
    Error            err = {""};

    for (int r = 0; r < RANKS; r++) snprintf(label[r].text, sizeof label[r].text, "host %d", r);
    if (mesh_listen(&mesh, MESH_ANYWHERE, NULL, &err) != 0) _exit(NO_MESH);
    pass(role->addresses, mesh_address(mesh), sizeof *mesh_address(mesh));
    if (!get(role->orders, all, sizeof all)
        || mesh_connect(mesh, role->rank, role->count, all, 20000000000, &err) != 0
        || heartbeat_start(&heartbeat, mesh, &options, &err) != 0) {
        fprintf(stderr, "rank %d: %s\n", role->rank, err.text);
        _exit(NO_MESH);
    }
    mesh_free(mesh);
    tell(role, NULL, false, false);      /* it is connected */
    play(role, heartbeat);
    _exit(0);
}

/* ---- a relay, which can be stopped: a network that is cut ------------------------------- */

static int listen_here(uint32_t *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          length = sizeof at;
    int                fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &length), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static int connect_here(uint32_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int                fd = socket(AF_INET, SOCK_STREAM, 0);

    return fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0 ? fd : -1;
}

/* One end of a pair: what comes is passed on to the other. */
typedef struct {
    int from, to;
} End;

static void pass_on(End *end)
{
    char    bytes[4096];
    ssize_t n = read(end->from, bytes, sizeof bytes);

    if (n > 0) { pass(end->to, bytes, (size_t)n); return; }
    shutdown(end->to, SHUT_WR);
    end->from = -1;
}

/* Calls at listener i are passed on to port i, once each, for ever. */
static void run_relay(const int *listeners, const uint32_t *ports, int count)
{
    struct pollfd pollers[3 * RANKS];
    End           ends[2 * RANKS];
    int           open = 0;

    for (;;) {
        for (int i = 0; i < count; i++)
            pollers[i] = (struct pollfd){.fd = listeners[i], .events = POLLIN};
        for (int i = 0; i < open; i++)
            pollers[count + i] = (struct pollfd){.fd = ends[i].from, .events = POLLIN};
        if (poll(pollers, (nfds_t)(count + open), -1) <= 0) return;
        for (int i = 0; i < open; i++) if (pollers[count + i].revents) pass_on(&ends[i]);
        for (int i = 0; i < count; i++) {
            if (!pollers[i].revents || open + 2 > 2 * RANKS) continue;
            int caller = accept(listeners[i], NULL, NULL), called = connect_here(ports[i]);
            ends[open++] = (End){caller, called};
            ends[open++] = (End){called, caller};
        }
    }
}

/* Puts a relay between rank `high` and each of `count` lower ranks from `low` on: they stand in
 * the addresses that high is handed. */
static void put_relay(Processes *p, int low, int count, MeshAddress *handed)
{
    int      listeners[RANKS];
    uint32_t ports[RANKS];

    for (int i = 0; i < count; i++) {
        ports[i] = handed[low + i].port;
        listeners[i] = listen_here(&handed[low + i].port);
        snprintf(handed[low + i].host, MESH_HOST, "relay");
        snprintf(handed[low + i].addresses, MESH_ADDRESSES, "127.0.0.1");
    }
    p->relay = fork();
    assert_true(p->relay >= 0);
    if (p->relay == 0) { run_relay(listeners, ports, count); _exit(0); }
    for (int i = 0; i < count; i++) close(listeners[i]);
}

/* ---- all processes ------------------------------------------------------------------------ */

static void start_process(Processes *p, int rank, Part part)
{
    int addresses[2], orders[2], results[2];

    assert_int_equal(pipe(addresses), 0);
    assert_int_equal(pipe(orders), 0);
    assert_int_equal(pipe(results), 0);
    p->pid[rank] = fork();
    assert_true(p->pid[rank] >= 0);
    if (p->pid[rank] == 0) {
        Role role = {rank, p->count, part, addresses[1], orders[0], results[1]};
        run_process(&role);
    }
    close(addresses[1]);
    close(orders[0]);
    close(results[1]);
    p->addresses[rank] = addresses[0];
    p->orders[rank] = orders[1];
    p->results[rank] = results[0];
}

static Result next_result(const Processes *p, int rank)
{
    Result result;

    if (!get(p->results[rank], &result, sizeof result))
        fail_msg("rank %d ended without a word", rank);
    return result;
}

/* Starts processes with a part each, connected; rank high reaches `lower` ranks from low on
 * through a relay. */
static Processes start(int count, const Part *parts, int high, int low, int lower)
{
    Processes p = {.count = count};

    for (int r = 0; r < count; r++) start_process(&p, r, parts[r]);
    for (int r = 0; r < count; r++)
        assert_true(get(p.addresses[r], &p.address[r], sizeof p.address[r]));
    for (int r = 0; r < count; r++) {
        MeshAddress handed[RANKS];
        memcpy(handed, p.address, sizeof handed);
        if (r == high && lower > 0) put_relay(&p, low, lower, handed);
        pass(p.orders[r], handed, sizeof handed);
    }
    for (int r = 0; r < count; r++) assert_int_equal(next_result(&p, r).fault.kind, FAULT_NONE);
    return p;
}

static void go(const Processes *p, int rank) { pass(p->orders[rank], "g", 1); }

static int status_of(const Processes *p, int rank)
{
    int status;

    assert_int_equal(waitpid(p->pid[rank], &status, 0), p->pid[rank]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void close_all(Processes *p)
{
    for (int r = 0; r < p->count; r++) {
        close(p->addresses[r]);
        close(p->orders[r]);
        close(p->results[r]);
    }
    if (p->relay == 0) return;
    kill(p->relay, SIGKILL);
    waitpid(p->relay, NULL, 0);
}

/* A rank ends by this fault. Returns whether it says so. */
static bool ends_with(const Processes *p, int rank, FaultKind kind, int whose, const char *words)
{
    Result result = next_result(p, rank);

    if (result.fault.kind != kind || result.fault.rank != whose
        || !strstr(result.fault.text, words))
        fail_msg("rank %d: kind %d of rank %d: %s", rank, (int)result.fault.kind, result.fault.rank,
                 result.fault.text);
    assert_int_equal(status_of(p, rank), ENDED_BY_FAULT);
    return result.says;
}

static const Part all_wait[RANKS] = {WAITS, WAITS, WAITS, WAITS};

/* ---- tests ---------------------------------------------------------------------------------- */

/* Each leaves when told, one long before the others. */
static void goodbye_is_no_fault(void **state)
{
    Processes p = start(RANKS, all_wait, 0, 0, 0);

    (void)state;
    go(&p, 2);
    assert_int_equal(status_of(&p, 2), 0);
    usleep((useconds_t)(TIMEOUT_NS / 1000 + 500000));
    for (int r = 0; r < RANKS; r++) if (r != 2) go(&p, r);
    for (int r = 0; r < RANKS; r++) if (r != 2) assert_int_equal(status_of(&p, r), 0);
    close_all(&p);
}

static void a_killed_process_is_named(void **state)
{
    for (int victim = 0; victim < RANKS; victim++) {
        Processes p = start(RANKS, all_wait, 0, 0, 0);
        char      words[64];
        int       say = 0;

        (void)state;
        usleep(20000);                   /* its first beat is out */
        kill(p.pid[victim], SIGKILL);
        snprintf(words, sizeof words, "rank %d (host %d) has crashed", victim, victim);
        for (int r = 0; r < RANKS; r++)
            if (r != victim) say += ends_with(&p, r, FAULT_CRASHED, victim, words);
        assert_int_equal(say, 1);
        assert_int_equal(status_of(&p, victim), 128 + SIGKILL);
        close_all(&p);
    }
}

/* What it was doing is said; when it goes on, it learns that it was given up. */
static void a_stopped_process_is_named(void **state)
{
    Processes p = start(RANKS, all_wait, 0, 0, 0);
    int       say = 0;

    (void)state;
    usleep(1000000);                     /* several beats */
    kill(p.pid[1], SIGSTOP);
    for (int r = 0; r < RANKS; r++)
        if (r != 1)
            say += ends_with(&p, r, FAULT_TIMED_OUT, 1,
                             "rank 1 (host 1) has timed out, it is stopped or cut off, last heard");
    assert_int_equal(say, 1);
    kill(p.pid[1], SIGCONT);
    ends_with(&p, 1, FAULT_TIMED_OUT, 1, "s ago: device 1, step 101");
    close_all(&p);
}

/* Most of the run stays together: the one beyond the cut knows that it is the one. */
static void a_minority_knows_that_it_is_cut_off(void **state)
{
    Processes p = start(RANKS, all_wait, 3, 0, 3);
    int       say = 0;

    (void)state;
    kill(p.relay, SIGSTOP);
    for (int r = 0; r < 3; r++)
        say += ends_with(&p, r, FAULT_TIMED_OUT, 3, "rank 3 (host 3) has timed out");
    assert_int_equal(say, 1);
    assert_true(ends_with(&p, 3, FAULT_CUT_OFF, 3, "3 of the run's 4 processes"));
    close_all(&p);
}

static void one_connection_that_is_cut_is_told_from_a_stopped_process(void **state)
{
    Processes p = start(3, all_wait, 2, 0, 1);

    (void)state;
    kill(p.relay, SIGSTOP);
    for (int r = 0; r < 3; r++) {
        Result result = next_result(&p, r);
        assert_int_equal(result.fault.kind, FAULT_LINK_DOWN);
        assert_true(result.fault.rank == 0 || result.fault.rank == 2);
        assert_non_null(strstr(result.fault.text, "though rank 1 hears both"));
        assert_int_equal(status_of(&p, r), ENDED_BY_FAULT);
    }
    close_all(&p);
}

/* Of two, neither can know which is cut off, and both say that. */
static void two_halves_say_so(void **state)
{
    Processes p = start(2, all_wait, 1, 0, 1);

    (void)state;
    kill(p.relay, SIGSTOP);
    assert_true(ends_with(&p, 0, FAULT_TIMED_OUT, 1, "or this half of the run is"));
    assert_true(ends_with(&p, 1, FAULT_TIMED_OUT, 0, "or this half of the run is"));
    close_all(&p);
}

/* A step of twice the timeout is no fault, only worth a warning. */
static void a_long_step_is_no_fault(void **state)
{
    static const Part parts[RANKS] = {COMPUTES, WAITS};
    Processes         p = start(2, parts, 0, 0, 0);
    Result            result = next_result(&p, 0);

    (void)state;
    assert_true(result.warned);
    assert_non_null(strstr(
        result.fault.text,
        "no device has got on for 3 s; rank 0: device 0, step 100; rank 1: device 1, step 101"));
    go(&p, 0);
    assert_int_equal(status_of(&p, 0), 0);
    go(&p, 1);
    assert_int_equal(status_of(&p, 1), 0);
    close_all(&p);
}

/* A process whose error may have come of another's crash waits for word of it. */
static void an_error_waits_for_its_cause(void **state)
{
    static const Part parts[RANKS] = {ECHOES, WAITS, WAITS, WAITS};
    Processes         p = start(RANKS, parts, 0, 0, 0);

    (void)state;
    go(&p, 0);
    usleep(100000);
    kill(p.pid[3], SIGKILL);
    for (int r = 0; r < 3; r++)
        assert_int_equal(ends_with(&p, r, FAULT_CRASHED, 3, "rank 3 (host 3) has crashed"), r == 0);
    status_of(&p, 3);
    close_all(&p);
}

/* Who does not know the token is turned away, by the listener and by the caller. */
static void strangers_are_turned_away(void **state)
{
    MeshAddress all[2];
    Mesh       *mesh, *other;
    uint32_t    port;
    int         stranger, nobody = listen_here(&port);
    Error       err = {""};

    (void)state;
    assert_int_equal(mesh_listen(&mesh, MESH_ANYWHERE, NULL, &err), 0);
    assert_int_equal(mesh_listen(&other, MESH_ANYWHERE, NULL, &err), 0);
    all[0] = *mesh_address(mesh);
    all[1] = *mesh_address(other);
    stranger = connect_here(all[0].port);
    assert_true(stranger >= 0);
    pass(stranger, "GET / HTTP/1.1\r\nHost: nobody\r\n\r\n", 32);
    assert_int_equal(mesh_connect(mesh, 0, 2, all, 500000000, &err), -1);
    assert_non_null(strstr(err.text, "rank 1 on "));
    assert_non_null(strstr(err.text, "cannot be reached within"));
    all[0].port = port;                  /* somebody who listens, and does not answer */
    assert_int_equal(mesh_connect(other, 1, 2, all, 500000000, &err), -1);
    assert_non_null(strstr(err.text, "rank 0 on "));
    close(stranger);
    close(nobody);
    mesh_free(mesh);
    mesh_free(other);
}

/* Rank 1 of two, in a process of its own: status 0 when it has connected. */
static pid_t call_from_elsewhere(Mesh *mesh, const MeshAddress *all)
{
    pid_t child = fork();

    if (child == 0) _exit(mesh_connect(mesh, 1, 2, all, 60000000000, NULL) == 0 ? 0 : NO_MESH);
    assert_true(child > 0);
    return child;
}

/* Each of them would be waited for a second, if one after another: longer than the connection may
 * take. */
static void silent_strangers_delay_nobody(void **state)
{
    enum { STRANGERS = 100 };
    MeshAddress all[2];
    Mesh       *mesh, *other;
    int         stranger[STRANGERS], status;
    Error       err = {""};

    (void)state;
    assert_int_equal(mesh_listen(&mesh, MESH_HERE, NULL, &err), 0);
    assert_int_equal(mesh_listen(&other, MESH_HERE, NULL, &err), 0);
    all[0] = *mesh_address(mesh);
    all[1] = *mesh_address(other);
    for (int i = 0; i < STRANGERS; i++) {
        stranger[i] = connect_here(all[0].port);
        assert_true(stranger[i] >= 0);
        if (i % 2) pass(stranger[i], "x", 1);        /* or does not go on */
    }
    pid_t child = call_from_elsewhere(other, all);
    if (mesh_connect(mesh, 0, 2, all, 60000000000, &err) != 0) fail_msg("%s", err.text);
    assert_true(mesh_socket(mesh, 1) >= 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    for (int i = 0; i < STRANGERS; i++) close(stranger[i]);
    mesh_free(mesh);
    mesh_free(other);
}

static bool answers_at(const char *address, uint32_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int                fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(inet_pton(AF_INET, address, &at.sin_addr), 1);
    bool answers = connect(fd, (struct sockaddr *)&at, sizeof at) == 0;
    close(fd);
    return answers;
}

/* 127.0.0.2 is this machine as well, and no address that one socket on 127.0.0.1 hears. */
static void it_listens_where_it_is_told(void **state)
{
    Mesh *all, *here, *named, *none;
    Error err = {""};

    (void)state;
    assert_int_equal(mesh_listen(&all, MESH_ANYWHERE, NULL, &err), 0);
    assert_int_equal(mesh_listen(&here, MESH_HERE, NULL, &err), 0);
    assert_int_equal(mesh_listen(&named, MESH_ANYWHERE, "lo", &err), 0);
    assert_null(mesh_listens_at(all));
    assert_true(answers_at("127.0.0.1", mesh_address(all)->port)
                && answers_at("127.0.0.2", mesh_address(all)->port));
    assert_string_equal(mesh_address(here)->addresses, "127.0.0.1");
    assert_true(answers_at("127.0.0.1", mesh_address(here)->port));
    assert_false(answers_at("127.0.0.2", mesh_address(here)->port));
    assert_string_equal(mesh_address(named)->addresses, "127.0.0.1");
    assert_false(answers_at("127.0.0.2", mesh_address(named)->port));
    mesh_free(named);
    assert_int_equal(mesh_listen(&named, MESH_ANYWHERE, "127.0.0.1", &err), 0);
    assert_string_equal(mesh_address(named)->addresses, "127.0.0.1");
    assert_int_equal(mesh_listen(&none, MESH_ANYWHERE, "no-such0", &err), -1);
    assert_string_equal(err.text,
                        "--interface no-such0: this host has no such interface or address");
    mesh_free(named);
    mesh_free(here);
    mesh_free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silent_strangers_delay_nobody),
        cmocka_unit_test(it_listens_where_it_is_told),
        cmocka_unit_test(goodbye_is_no_fault),
        cmocka_unit_test(a_killed_process_is_named),
        cmocka_unit_test(a_stopped_process_is_named),
        cmocka_unit_test(a_minority_knows_that_it_is_cut_off),
        cmocka_unit_test(one_connection_that_is_cut_is_told_from_a_stopped_process),
        cmocka_unit_test(two_halves_say_so),
        cmocka_unit_test(a_long_step_is_no_fault),
        cmocka_unit_test(an_error_waits_for_its_cause),
        cmocka_unit_test(strangers_are_turned_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
