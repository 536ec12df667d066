/* A run that is started again when it ends before its time: --restarts.
 *
 * The command runs as a child, without --restarts, and after a fault again with --resume. Not
 * after a usage error, not when it was interrupted, and not when it gained nothing: when it wrote
 * no checkpoint since it was started, an error of its own would come again, and after a crash or
 * a fault of another process it is tried once more. */
#ifndef TOOLS_RUN_RESTART_H
#define TOOLS_RUN_RESTART_H

typedef struct {
    int         argc;        /* the command line, argv[0] the subcommand */
    char      **argv;
    const char *checkpoint;  /* the folder */
    int         restarts;    /* at most so many */
} RestartOptions;

/* Returns the exit status: the child's last one. Interrupts are passed on to the child. All its
 * processes, and their own, have ended when this returns. */
int run_with_restarts(const RestartOptions *options);

#endif
