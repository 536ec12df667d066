#include "tools/run/monitor.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"

struct Monitor {
    pthread_t   thread;
    int         asked_fd, wake_fd;       /* counters that become readable (eventfd); the first is
                                          * not its own */
    int         period_ms;
    atomic_bool ending;
    void      (*work)(void *context, bool asked);
    void       *context;
};

/* ---- the signal ---------------------------------------------------------------- */

/* What a handler can reach is global. The thread that the signal interrupts may be any, so all
 * the handler does is write. Never closed: a handler may be on its way to it. */
static atomic_int asked_fd = -1;

static void ring(int fd)
{
    uint64_t one = 1;
    ssize_t  put = write(fd, &one, sizeof one);

    (void)put;                           /* full: it is readable anyway */
}

static void hear(int signal)
{
    int before = errno, fd = atomic_load(&asked_fd);

    (void)signal;
    if (fd >= 0) ring(fd);
    errno = before;
}

static int listen_for_signal(int *fd, Error *err)
{
    struct sigaction action = {.sa_handler = hear, .sa_flags = SA_RESTART};

    *fd = atomic_load(&asked_fd);
    if (*fd < 0) *fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (*fd < 0) return error_set(err, "eventfd: %s", strerror(errno));
    atomic_store(&asked_fd, *fd);
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGUSR1, &action, NULL) == 0) return 0;
    return error_set(err, "cannot listen for SIGUSR1: %s", strerror(errno));
}

/* ---- the thread ------------------------------------------------------------------ */

/* Whether it rang; it is then quiet again. */
static bool rang(int fd)
{
    uint64_t count;

    return read(fd, &count, sizeof count) == (ssize_t)sizeof count;
}

static void *monitor_run(void *argument)
{
    Monitor *s = argument;

    while (!atomic_load(&s->ending)) {
        struct pollfd doorbells[2] = {{.fd = s->asked_fd, .events = POLLIN},
                                      {.fd = s->wake_fd, .events = POLLIN}};
        if (poll(doorbells, 2, s->period_ms > 0 ? s->period_ms : -1) < 0 && errno != EINTR) break;
        rang(s->wake_fd);
        if (!atomic_load(&s->ending)) s->work(s->context, rang(s->asked_fd));
    }
    s->work(s->context, rang(s->asked_fd));
    return NULL;
}

static void monitor_free(Monitor *s)
{
    if (s->wake_fd >= 0) close(s->wake_fd);
    free(s);
}

int monitor_start(Monitor **out, int period_ms, void (*work)(void *context, bool asked),
                  void *context, Error *err)
{
    Monitor *s = calloc(1, sizeof *s);
    int      rc;

    *out = NULL;
    if (!s) return error_no_memory(err);
    *s = (Monitor){.period_ms = period_ms, .work = work, .context = context};
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0) { error_set(err, "eventfd: %s", strerror(errno)); goto fail; }
    if (listen_for_signal(&s->asked_fd, err) != 0) goto fail;
    if ((rc = pthread_create(&s->thread, NULL, monitor_run, s)) != 0) {
        error_set(err, "cannot start a thread: %s", strerror(rc));
        goto fail;
    }
    *out = s;
    return 0;
fail:
    monitor_free(s);
    return -1;
}

void monitor_wake(Monitor *monitor) { ring(monitor->wake_fd); }

void monitor_end(Monitor *monitor)
{
    if (!monitor) return;
    atomic_store(&monitor->ending, true);
    monitor_wake(monitor);
    pthread_join(monitor->thread, NULL);
    monitor_free(monitor);
}

/* ---- where devices are --------------------------------------------------------------- */

static void answer(void *context, bool asked)
{
    Text text = {0};

    if (!asked) return;
    if (!current_run_text(context, clock_ns(), &text))
        text_append(&text, "no device runs a program\n");
    fputs(text_string(&text), stderr);
    text_free(&text);
}

Monitor *monitor_of_run(CurrentRun *current_run)
{
    Monitor *monitor;
    Error    err = {""};

    if (monitor_start(&monitor, 0, answer, current_run, &err) == 0) return monitor;
    fprintf(stderr, "SIGUSR1 is not answered: %s\n", err.text);
    return NULL;
}
