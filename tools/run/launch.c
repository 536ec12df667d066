#include "tools/run/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "executor/net/world_link.h"

enum { PATH_BYTES = 4096, RELAY_BYTES = 4096 };

static bool is_option(const char *word, const char *name)
{
    size_t length = strlen(name);

    return strncmp(word, name, length) == 0 && (word[length] == '\0' || word[length] == '=');
}

/* Open MPI's defaults are those of a cluster: there may be more ranks than cores, and they divide
 * the cores themselves. What is set here can be overridden from outside. PRRTE launches since Open
 * MPI 5 and heeds names of its own, and since Open MPI 6 others, with a warning for those before.
 * Another MPI does not look at these. */
static void set_defaults(void)
{
    static const struct {
        int         from;                /* the first version of Open MPI that heeds the names */
        const char *many[2], *unbound[2];
    } defaults[] = {
        {6, {"PRTE_MCA_mapby", ":oversubscribe"}, {"PRTE_MCA_bindto", "none"}},
        {5,
         {"PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"},
         {"PRTE_MCA_hwloc_default_binding_policy", "none"}},
        {0,
         {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
         {"OMPI_MCA_hwloc_base_binding_policy", "none"}},
    };
    size_t i = 0;

    while (open_mpi_major() < defaults[i].from) i++;
    setenv(defaults[i].many[0], defaults[i].many[1], 0);
    setenv(defaults[i].unbound[0], defaults[i].unbound[1], 0);
    if (geteuid() != 0) return;
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);            /* whoever is root here has asked for it */
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
}

int run_without(char **out, int argc, char **argv, const char *option)
{
    int n = 0;

    for (int i = 0; i < argc; i++) {
        if (!is_option(argv[i], option)) { out[n++] = argv[i]; continue; }
        if (!strchr(argv[i], '=')) i++;
    }
    return n;
}

/* "mpirun -np P PROGRAM SUBCOMMAND ..."; free() it. */
static char **build_line(int argc, char **argv, char *self, char *number, Error *err)
{
    char **line = calloc((size_t)argc + 6, sizeof *line);
    int    n = 0;

    if (!line) { error_no_memory(err); return NULL; }
    line[n++] = (char *)"mpirun";
    line[n++] = (char *)"-np";
    line[n++] = number;
    line[n++] = self;
    run_without(line + n, argc, argv, "--processes");
    return line;
}

/* ---- messages that nobody reads any more ------------------------------------------------ */

/* Copies until the end of `from`; what `to` does not take any more is dropped. */
static void copy_all(int from, int to)
{
    char    bytes[RELAY_BYTES];
    ssize_t length;

    while ((length = read(from, bytes, sizeof bytes)) > 0 || (length < 0 && errno == EINTR)) {
        for (ssize_t at = 0, n; at < length; at += n) {
            n = write(to, bytes + at, (size_t)(length - at));
            if (n < 0 && errno != EINTR) break;
            if (n < 0) n = 0;
        }
    }
}

/* mpirun of Open MPI (4.1.8 and 5.0.11 were seen) may end, and its ranks with it, when nobody reads
 * its standard error any more. Where standard error is a pipe, a process of its own reads it in
 * mpirun's place and passes on what is read; it ends when all writers have. A file or a terminal
 * stays as it is, since nobody would wait there for the last lines. Without the means for it,
 * nothing changes. */
static void relay_messages(void)
{
    static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE};
    struct stat      s;
    int              ends[2];

    if (fstat(STDERR_FILENO, &s) != 0 || !(S_ISFIFO(s.st_mode) || S_ISSOCK(s.st_mode))
        || pipe(ends) != 0)
        return;
    pid_t child = fork();
    if (child == 0) {
        if (fork() != 0) _exit(0);               /* no child of mpirun's, which waits for its own */
        for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) signal(ignored[i], SIG_IGN);
        close(ends[1]);
        close(STDIN_FILENO);
        close(STDOUT_FILENO);
        copy_all(ends[0], STDERR_FILENO);
        _exit(0);
    }
    if (child > 0 && waitpid(child, NULL, 0) == child) dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
}

/* ---- becoming mpirun ------------------------------------------------------------------- */

int run_launch(int argc, char **argv, int processes, Error *err)
{
    char    self[PATH_BYTES], number[16], **line;
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    int     null = open("/dev/null", O_RDONLY);

    if (length <= 0) return error_set(err, "cannot find this program: %s", strerror(errno));
    self[length] = '\0';
    snprintf(number, sizeof number, "%d", processes);
    line = build_line(argc, argv, self, number, err);
    if (!line) return -1;
    set_defaults();
    relay_messages();
    if (null >= 0) dup2(null, STDIN_FILENO);     /* which mpirun would read */
    execvp(line[0], line);
    free(line);
    return error_set(err, "--processes: cannot start mpirun: %s", strerror(errno));
}
