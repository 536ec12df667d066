/* A run that launches itself as several ranks on this machine: --processes. */
#ifndef TOOLS_RUN_LAUNCH_H
#define TOOLS_RUN_LAUNCH_H

#include "base/error.h"

/* Starts mpirun with this command line (argv[0] the subcommand), without --processes, as so many
 * ranks, and waits for it. An interrupt asks the ranks to stop after a step, a second ends them.
 * *status: the ranks'. -1 when mpirun cannot be started. */
int run_launch(int argc, char **argv, int processes, int *status, Error *err);

#endif
