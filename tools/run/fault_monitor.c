#include "tools/run/fault_monitor.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/options.h"
#include "base/clock.h"
#include "executor/net/heartbeat.h"

#define SECOND_NS INT64_C(1000000000)

enum {
    STUCK_TIMES = 10, STUCK_LEAST_S = 60,    /* no progress for so many timeouts, and seconds: a
                                              * warning */
    START_S = 60,                            /* until all ranks have come */
    CONNECT_S = 30,
    FLUSH_S = 10,
    CHECK_S = 1                              /* a crash is seen within milliseconds */
};

struct FaultMonitor {
    FaultMonitorOptions    o;
    Heartbeat      *heartbeat;
    pthread_mutex_t lock;        /* for writer, and held while it is flushed */
    CheckpointWriter      *writer;
};

/* ---- what the detector asks and tells ----------------------------------------------- */

/* "device 2, step 310 of 5000, RECV ..., waiting 0.8 s; device 3, ..." While nothing runs that
 * has steps, time itself is the progress. */
static void device_status(void *context, char *text, size_t size, uint64_t *progress)
{
    const FaultMonitor *v = context;
    CurrentRun     *current_run = v->o.current_run;
    int64_t      now_ns = clock_ns();
    Text         words = {0};

    *progress = (uint64_t)now_ns;
    snprintf(text, size, "between runs");
    pthread_mutex_lock(&current_run->lock);
    if (current_run->board) {
        int devices = current_run->program->device_count;
        *progress = 0;
        for (int d = 0; d < devices; d++) {
            DeviceStatus place = status_board_get(current_run->board, d);
            if (!world_has_device(v->o.world, d)) continue;
            if (words.length) text_append(&words, "; ");
            device_status_text(&place, current_run->program, d, now_ns, &words);
            *progress += (uint64_t)place.since_ns;
        }
        snprintf(text, size, "%s", text_string(&words));
    }
    pthread_mutex_unlock(&current_run->lock);
    text_free(&words);
}

/* In one piece, past stdio, whose lock another thread may hold. */
static void warn(void *context, const char *line)
{
    const FaultMonitor *v = context;

    dprintf(STDERR_FILENO, "pipebd-run %s: %s\n", v->o.command, line);
}

static void fault(void *context, const Fault *fault, bool reports)
{
    const FaultMonitor *v = context;

    if (!reports) return;
    if (v->o.checkpoint)
        dprintf(STDERR_FILENO,
                "pipebd-run %s: %s; --resume goes on from the last checkpoint in %s\n",
                v->o.command, fault->text, v->o.checkpoint);
    else
        dprintf(STDERR_FILENO, "pipebd-run %s: %s; nothing is kept\n", v->o.command, fault->text);
}

/* MPI would wait for the process that is lost, so this is no orderly end. */
static void end(void *context)
{
    FaultMonitor *v = context;
    Error  err;

    pthread_mutex_lock(&v->lock);
    if (v->writer && checkpoint_writer_flush(v->writer, FLUSH_S * SECOND_NS, &err) != 0)
        dprintf(STDERR_FILENO, "pipebd-run %s: %s\n", v->o.command, err.text);
    _exit(EXIT_FAULT);
}

/* ---- coming together ------------------------------------------------------------------- */

static void give_up(int signal)
{
    static const char line[] = "pipebd-run: the processes of the run have not come together within "
                               "a minute; is one stopped?\n";
    ssize_t           written = write(STDERR_FILENO, line, sizeof line - 1);

    (void)signal;
    (void)written;
    _exit(EXIT_FAULT);
}

void fault_monitor_expect(void)
{
    struct sigaction action = {.sa_handler = give_up};

    sigemptyset(&action.sa_mask);
    sigaction(SIGALRM, &action, NULL);
    alarm(START_S);
}

void fault_monitor_have_come(void) { alarm(0); }

/* ---- beginning and end ------------------------------------------------------------------ */

/* Connects every rank with every other by TCP, through MPI's help for the last time, and starts the
 * heartbeats. On one host the connections are of the loopback. What is made before an error is
 * freed by the caller. */
static int start(FaultMonitor *v, Mesh **mesh, MeshAddress *addresses, RankLabel *labels,
                 Error *err)
{
    World           *world = v->o.world;
    int64_t          stuck_ns = STUCK_TIMES * v->o.timeout_ns;
    HeartbeatOptions options = {
        .rank = world_rank(world),
        .count = world_size(world),
        .timeout_ns = v->o.timeout_ns,
        .stuck_ns = stuck_ns > STUCK_LEAST_S * SECOND_NS ? stuck_ns : STUCK_LEAST_S * SECOND_NS,
        .label = labels,
        .device_status = device_status,
        .warn = warn,
        .fault = fault,
        .ended = end,
        .context = v};
    bool             here;

    for (int r = 0; r < options.count; r++)
        snprintf(labels[r].text, sizeof labels[r].text, "%s", world_host(world, r));
    if (world_shares_loopback(world, &here, err) != 0) return -1;
    if (mesh_listen(mesh, here ? MESH_HERE : MESH_ANYWHERE, v->o.interface, err) != 0) return -1;
    if (world_gather_all(world, addresses, mesh_address(*mesh), sizeof *addresses, err) != 0)
        return -1;
    if (mesh_connect(*mesh, options.rank, options.count, addresses, CONNECT_S * SECOND_NS, err)
        != 0)
        return -1;
    if (world_connect_doorbells(world, *mesh, err) != 0) return -1;
    return heartbeat_start(&v->heartbeat, *mesh, &options, err);
}

int fault_monitor_start(FaultMonitor **out, const FaultMonitorOptions *options, Error *err)
{
    size_t count = (size_t)world_size(options->world);
    Mesh  *mesh = NULL;

    *out = NULL;
    if (count < 2) return 0;
    fault_monitor_expect();
    FaultMonitor       *v = calloc(1, sizeof *v);
    MeshAddress *addresses = calloc(count, sizeof *addresses);
    RankLabel   *labels = calloc(count, sizeof *labels);
    int          rc = v && addresses && labels ? 0 : error_no_memory(err);
    if (rc == 0) {
        v->o = *options;
        pthread_mutex_init(&v->lock, NULL);
        rc = start(v, &mesh, addresses, labels, err);
    }
    rc = world_agree(options->world, rc, err);
    fault_monitor_have_come();
    if (rc == 0) { *out = v; v = NULL; }
    else if (v && v->heartbeat) { fault_monitor_stop(v); v = NULL; }
    mesh_free(mesh);
    free(labels);
    free(addresses);
    free(v);
    return rc;
}

void fault_monitor_keep(FaultMonitor *v, CheckpointWriter *writer)
{
    if (!v) return;
    pthread_mutex_lock(&v->lock);
    v->writer = writer;
    pthread_mutex_unlock(&v->lock);
}

void fault_monitor_check(FaultMonitor *v)
{
    if (v) heartbeat_wait(v->heartbeat, CHECK_S * SECOND_NS);
}

void fault_monitor_stop(FaultMonitor *v)
{
    if (!v) return;
    heartbeat_stop(v->heartbeat);
    pthread_mutex_destroy(&v->lock);
    free(v);
}
