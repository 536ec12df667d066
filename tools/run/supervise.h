/* A run as a child of this process: several processes through mpirun (--processes), and started
 * again when it ends before its time (--restarts), then with --resume. It is not started again
 * after a usage error, not when it was interrupted, and not when it gained nothing: when it wrote
 * no checkpoint since it was started, an error of its own would come again, and after a crash or
 * a fault of another process it is tried once more. */
#ifndef TOOLS_RUN_SUPERVISE_H
#define TOOLS_RUN_SUPERVISE_H

typedef struct {
    int         argc;        /* the command line, argv[0] the subcommand */
    char      **argv;
    const char *checkpoint;  /* the folder; NULL: none, and no restarts */
    int         restarts;    /* at most so many */
    int         processes;   /* as so many ranks of mpirun; 0: as a process */
} SuperviseOptions;

/* Returns the exit status: the child's last one. Interrupts are passed on to the child. All its
 * processes, and their own, have ended when this returns. */
int run_supervised(const SuperviseOptions *options);

#endif
