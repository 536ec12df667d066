/* A run that launches itself as several ranks on this machine: --processes. */
#ifndef TOOLS_RUN_LAUNCH_H
#define TOOLS_RUN_LAUNCH_H

#include "base/error.h"

/* Becomes mpirun, which starts this command line (argv[0] the subcommand) without --processes as
 * so many ranks. Returns only when that is not possible. */
int run_launch(int argc, char **argv, int processes, Error *err);

/* A command line without an option and its value. Returns how many words are left, in out. */
int run_without(char **out, int argc, char **argv, const char *option);

#endif
