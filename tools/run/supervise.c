#include "tools/run/supervise.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/options.h"
#include "base/clock.h"
#include "tools/run/common.h"
#include "tools/run/launch.h"

#define SECOND_NS INT64_C(1000000000)

typedef struct {
    const SuperviseOptions *options;
    char    **argv;              /* of the child: room for --resume at the end */
    int       argc;
    pid_t     self, child;
    sigset_t  signals, before;   /* taken one by one; as they were */
    bool      interrupted;
    int64_t   first;             /* the newest checkpoint before the run; 0: none */
    int       fruitless;         /* ends in a row without a new checkpoint */
} Supervisor;

/* ---- the command line --------------------------------------------------------------- */

/* This program, the subcommand, and its arguments but --restarts N. (--processes run_launch()
 * takes out.) */
static int build_command(Supervisor *s, Error *err)
{
    const SuperviseOptions *o = s->options;

    s->argv = calloc((size_t)o->argc + 3, sizeof *s->argv);
    if (!s->argv) return error_no_memory(err);
    s->argv[s->argc++] = (char *)"pipebd-run";
    s->argc += run_without(s->argv + 1, o->argc, o->argv, "--restarts");
    return 0;
}

/* The child does not know the options that are taken out, but says how to go on. */
static int tell_how_to_go_on(const Supervisor *s, Error *err)
{
    Text line = {0};
    int  rc = 0;

    run_go_on_text(&line, s->options->argc, s->options->argv);
    if (text_failed(&line) || setenv(RUN_GO_ON, text_string(&line), 1) != 0)
        rc = error_no_memory(err);
    text_free(&line);
    return rc;
}

static void add_resume(Supervisor *s)
{
    for (int i = 0; i < s->argc; i++)
        if (strcmp(s->argv[i], "--resume") == 0) return;
    s->argv[s->argc++] = (char *)"--resume";
}

/* ---- the child ------------------------------------------------------------------------ */

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
    va_list list;

    fputs("restarts: ", stderr);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputs("\n", stderr);
}

/* What asks the child to finish the step and end. mpirun would kill its ranks a second after an
 * interrupt; SIGUSR2 it passes on, as often as it comes. */
static int stop_signal(const Supervisor *s)
{
    return s->options->processes > 0 ? SIGUSR2 : SIGTERM;
}

/* In a process group of its own, so that a terminal's interrupt comes through the parent, once;
 * without the parent it is interrupted. */
static void become_child(const Supervisor *s)
{
    Error err;

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, stop_signal(s));
    if (getppid() != s->self) _exit(EXIT_FAILED);        /* died before it was asked */
    sigprocmask(SIG_SETMASK, &s->before, NULL);
    if (s->options->processes > 0) {
        run_launch(s->argc - 1, s->argv + 1, s->options->processes, &err);
    } else {
        execv("/proc/self/exe", s->argv);
        error_set(&err, "cannot start %s: %s", s->argv[0], strerror(errno));
    }
    fprintf(stderr, "pipebd-run %s: %s\n", s->argv[1], err.text);
    _exit(EXIT_FAILED);
}

static int start_child(Supervisor *s, Error *err)
{
    s->child = fork();
    if (s->child < 0) return error_set(err, "cannot start a process: %s", strerror(errno));
    if (s->child == 0) become_child(s);
    setpgid(s->child, s->child);                 /* whoever of the two comes first */
    return 0;
}

/* Waits for a signal, at most so long (negative: for ever), and passes it on to the child, if
 * it runs. */
static void take_signal(Supervisor *s, int64_t wait_ns)
{
    struct timespec wait = {.tv_sec = wait_ns / SECOND_NS, .tv_nsec = wait_ns % SECOND_NS};
    int             signal =
        wait_ns < 0 ? sigwaitinfo(&s->signals, NULL) : sigtimedwait(&s->signals, NULL, &wait);

    if (signal <= 0 || signal == SIGCHLD) return;
    if (s->child > 0)
        kill(s->child, signal == SIGUSR1 ? signal : s->interrupted ? SIGTERM : stop_signal(s));
    if (signal != SIGUSR1) s->interrupted = true;
}

/* Returns the child's status, as wait() gives it. */
static int wait_for_child(Supervisor *s)
{
    for (;;) {
        int   status;
        pid_t pid;

        take_signal(s, -1);
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
            if (pid == s->child) { s->child = 0; return status; }
    }
}

/* ---- what it left behind ------------------------------------------------------------------ */

/* Kills what the kernel lists as children of this process. */
static void kill_children(void)
{
    char  path[64];
    FILE *list;
    int   pid;

    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    list = fopen(path, "r");
    if (!list) return;
    while (fscanf(list, "%d", &pid) == 1) kill((pid_t)pid, SIGKILL);
    fclose(list);
}

/* Processes of the child's that outlived it, and came to this one: they get some seconds to end
 * by themselves, for a checkpoint in flight, and then are killed. */
static void end_orphans(Supervisor *s)
{
    int64_t until_ns = clock_ns() + 5 * SECOND_NS;

    for (;;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0 && errno == ECHILD) return;
        if (pid > 0) continue;
        if (clock_ns() > until_ns) kill_children();
        if (clock_ns() > until_ns + 5 * SECOND_NS) return;
        take_signal(s, SECOND_NS / 50);
    }
}

/* ---- what came of it ------------------------------------------------------------------------ */

/* The exit status of a child, with those a shell gives for signals. */
static int exit_status(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void describe(int status, char *out, size_t size)
{
    int code = exit_status(status);

    if (code == EXIT_FAULT)                 snprintf(out, size, "a process of the run was lost");
    else if (code > 128 && code < 128 + 65)
        snprintf(out, size, "ended by signal %d (%s)", code - 128, strsignal(code - 128));
    else                                    snprintf(out, size, "ended with status %d", code);
}

/* Why it is not started again; NULL: it is. */
static const char *why_not(Supervisor *s, int status, int64_t gained, int used)
{
    int  code = exit_status(status);
    bool crashed = code == EXIT_FAULT || code > 128;

    s->fruitless = gained > 0 ? 0 : s->fruitless + 1;
    if (code == EXIT_USAGE) return "that is bad usage";
    if (s->interrupted || code == EXIT_INTERRUPTED) return "it was interrupted";
    if (used == s->options->restarts) return "no restart is left";
    if (!crashed && s->fruitless > 0)
        return "it has written no checkpoint since it was started, and its error would come again";
    if (s->fruitless > 1) return "it has twice written no checkpoint since it was started";
    return NULL;
}

static void report(const Supervisor *s, int status, double seconds, int64_t checkpoint, int used,
                   const char *why_not)
{
    char what[128], from[64] = "the beginning";

    describe(status, what, sizeof what);
    if (checkpoint) snprintf(from, sizeof from, "checkpoint %" PRId64, checkpoint);
    if (why_not) say("%s after %.1f s; not started again: %s", what, seconds, why_not);
    else
        say("%s after %.1f s; restart %d of at most %d, from %s", what, seconds, used + 1,
            s->options->restarts, from);
}

/* An interrupted child has said so itself. */
static void say_how_to_go_on(const Supervisor *s, int code)
{
    if (code == EXIT_OK || code == EXIT_USAGE || code == EXIT_INTERRUPTED || s->interrupted) return;
    if (run_newest_checkpoint(s->options->checkpoint) > s->first)
        fprintf(stderr, "to go on: %s\n", getenv(RUN_GO_ON));
}

/* One start. Returns whether another is wanted. */
static bool run_once(Supervisor *s, int used, int *code, Error *err)
{
    const char *folder = s->options->checkpoint;
    int64_t     began_ns = clock_ns(), before = run_newest_checkpoint(folder);

    *code = EXIT_FAILED;
    if (start_child(s, err) != 0) return false;
    int status = wait_for_child(s);
    end_orphans(s);
    take_signal(s, 0);
    *code = exit_status(status);
    if (*code == EXIT_OK || s->options->restarts == 0) return false;
    int64_t     now = run_newest_checkpoint(folder);
    const char *reason = why_not(s, status, now - before, used);
    report(s, status, (double)(clock_ns() - began_ns) / 1e9, now, used, reason);
    return !reason;
}

int run_supervised(const SuperviseOptions *options)
{
    static const int taken[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
    Supervisor       s = {
        .options = options, .self = getpid(), .first = run_newest_checkpoint(options->checkpoint)};
    Error            err = {""};
    int              code = EXIT_FAILED;

    sigemptyset(&s.signals);
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) sigaddset(&s.signals, taken[i]);
    if (build_command(&s, &err) != 0 || tell_how_to_go_on(&s, &err) != 0) goto done;
    sigprocmask(SIG_BLOCK, &s.signals, &s.before);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (int used = 0; run_once(&s, used, &code, &err); used++) add_resume(&s);
    say_how_to_go_on(&s, code);
done:
    if (*err.text) fprintf(stderr, "pipebd-run %s: %s\n", options->argv[0], err.text);
    free(s.argv);
    return code;
}
