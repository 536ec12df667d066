#include "tools/run_launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/options.h"

enum { PATH_BYTES = 4096 };

static bool is_option(const char *word, const char *name)
{
    size_t length = strlen(name);

    return strncmp(word, name, length) == 0 && (word[length] == '\0' || word[length] == '=');
}

/* Open MPI's defaults are those of a cluster: what is set here can be overridden from outside.
 * Another MPI does not look at these. */
static void set_defaults(void)
{
    static const char *const defaults[][2] = {
        {"OMPI_MCA_rmaps_base_oversubscribe", "1"},      /* more ranks than cores */
        {"OMPI_MCA_hwloc_base_binding_policy", "none"},  /* ranks divide cores themselves */
    };

    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) setenv(defaults[i][0], defaults[i][1], 0);
    if (geteuid() != 0) return;
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);            /* whoever is root here has asked for it */
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
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
    for (int i = 0; i < argc; i++) {
        if (!is_option(argv[i], "--processes")) { line[n++] = argv[i]; continue; }
        if (!strchr(argv[i], '=')) i++;
    }
    return line;
}

/* ---- waiting --------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupts;

static void interrupt(int signal)
{
    (void)signal;
    interrupts++;
}

/* mpirun would kill the ranks a moment after a SIGINT of its own; this it passes on to them. */
static void pass_on(pid_t child, int count) { kill(child, count == 1 ? SIGUSR2 : SIGTERM); }

static int wait_for(pid_t child)
{
    int passed = 0, status;

    for (;;) {
        if (waitpid(child, &status, 0) == child) return status;
        if (interrupts > passed) pass_on(child, passed = interrupts);
    }
}

/* The child, in a process group of its own: what the terminal sends comes here. */
static void become_mpirun(char **line)
{
    int null = open("/dev/null", O_RDONLY);

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (null >= 0) dup2(null, STDIN_FILENO);
    execvp(line[0], line);
    fprintf(stderr, "--processes: cannot start mpirun: %s\n", strerror(errno));
    _exit(127);
}

int run_launch(int argc, char **argv, int processes, int *status, Error *err)
{
    char             self[PATH_BYTES], number[16], **line;
    ssize_t          length = readlink("/proc/self/exe", self, sizeof self - 1);
    struct sigaction action = {.sa_handler = interrupt};

    if (length <= 0) return error_set(err, "cannot find this program: %s", strerror(errno));
    self[length] = '\0';
    snprintf(number, sizeof number, "%d", processes);
    line = build_line(argc, argv, self, number, err);
    if (!line) return -1;
    set_defaults();
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    pid_t child = fork();
    if (child == 0) become_mpirun(line);
    free(line);
    if (child < 0) return error_set(err, "--processes: %s", strerror(errno));
    int ended = wait_for(child);
    *status = WIFEXITED(ended) ? WEXITSTATUS(ended) : EXIT_FAILED;
    return 0;
}
