#include "plots/gnuplot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { CHUNK = 64 * 1024, COMPLAINT = 4096 };

/* ---- what it complains of ---------------------------------------------------------- */

/* The terminal that a script asks for, as a word. */
static void terminal_of(const char *script, char out[32])
{
    const char *at = strstr(script, "set terminal ");

    if (!at || sscanf(at, "set terminal %31s", out) != 1) snprintf(out, 32, "this picture");
}

/* The first line of complaints that gives a reason: gnuplot's are "FILE" line N: REASON. */
static int say_failed(const Text *script, int complaints, Error *err)
{
    char    text[COMPLAINT], terminal[32], *save;
    ssize_t length = pread(complaints, text, sizeof text - 1, 0);

    text[length > 0 ? length : 0] = '\0';
    terminal_of(script->bytes, terminal);
    if (strstr(text, "unknown or ambiguous terminal"))
        return error_set(err,
                         "this gnuplot has no terminal %s, since it was built without %s: install "
                         "one that has it "
                         "(Debian, Ubuntu: package gnuplot-nox), or draw .svg",
                         terminal, strstr(terminal, "cairo") ? "cairo" : "it");
    for (char *at = strtok_r(text, "\n", &save); at; at = strtok_r(NULL, "\n", &save)) {
        const char *reason = strstr(at, "line ");
        if (reason && (reason = strchr(reason, ':')) && reason[1])
            return error_set(err, "gnuplot failed: %s", reason + 2);
    }
    return error_set(err, "gnuplot failed and gives no reason");
}

/* ---- running it ----------------------------------------------------------------------- */

/* Writes text to file from its beginning, where it is left. */
static bool fill(int file, const Text *text)
{
    for (size_t done = 0; done < text->length;) {
        ssize_t put = write(file, text->bytes + done, text->length - done);
        if (put < 0 && errno != EINTR) return false;
        if (put > 0) done += (size_t)put;
    }
    return lseek(file, 0, SEEK_SET) == 0;
}

/* A file in memory that holds text; NULL: nothing. */
static int memory_file(const Text *text, Error *err)
{
    int file = memfd_create("gnuplot", MFD_CLOEXEC);

    if (file >= 0 && (!text || fill(file, text))) return file;
    error_set(err, "cannot hold the script of gnuplot: %s", strerror(errno));
    if (file >= 0) close(file);
    return -1;
}

/* gnuplot with these as its standard input, output and error. SIGPIPE ends it should its reader be
 * gone. */
static int start(pid_t *child, int in, int out, int complaints)
{
    char                      *argv[] = {"gnuplot", "/dev/stdin", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t          attributes;
    sigset_t                   usual;
    int                        rc = posix_spawn_file_actions_init(&actions);

    if (rc != 0) return rc;
    if ((rc = posix_spawnattr_init(&attributes)) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return rc;
    }
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    rc = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    if (rc == 0) rc = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    if (rc == 0) rc = posix_spawn_file_actions_adddup2(&actions, complaints, STDERR_FILENO);
    if (rc == 0) rc = posix_spawnp(child, "gnuplot", &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static int read_to_end(Text *out, int from, Error *err)
{
    char    chunk[CHUNK];
    ssize_t got;

    while ((got = read(from, chunk, sizeof chunk)) != 0) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return error_set(err, "gnuplot: %s", strerror(errno));
        text_append_bytes(out, chunk, (size_t)got);
    }
    return text_failed(out) ? error_no_memory(err) : 0;
}

/* Whether it exited with 0. */
static bool ended_well(pid_t child)
{
    int status = 0;

    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int run(Text *out, const Text *script, int in, int complaints, Error *err)
{
    pid_t child;
    int   ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0) return error_set(err, "gnuplot: %s", strerror(errno));
    int why = start(&child, in, ends[1], complaints);
    close(ends[1]);
    int rc = why == 0 ? read_to_end(out, ends[0], err) : -1;
    close(ends[0]);
    if (why == ENOENT)
        return error_set(err, "gnuplot is not installed: install it (package gnuplot-nox)");
    if (why != 0) return error_set(err, "gnuplot does not start: %s", strerror(why));
    if (!ended_well(child) && rc == 0) return say_failed(script, complaints, err);
    return rc;
}

int gnuplot_run(Text *out, const Text *script, Error *err)
{
    int in = memory_file(script, err), complaints = in >= 0 ? memory_file(NULL, err) : -1;
    int rc = complaints >= 0 ? run(out, script, in, complaints, err) : -1;

    if (in >= 0) close(in);
    if (complaints >= 0) close(complaints);
    return rc;
}
