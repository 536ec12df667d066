/* The subcommands of pipebd-workload, a file each. */
#ifndef TOOLS_WORKLOAD_WORKLOAD_H
#define TOOLS_WORKLOAD_WORKLOAD_H

#include <stdbool.h>

#include "base/options.h"
#include "executor/checkpoint/tensors.h"
#include "workloads/workload.h"

/* argv[0] is the subcommand's name. Returns the exit status. */
int workload_check_tool(int argc, char **argv);
int workload_show_tool(int argc, char **argv);
int workload_import_tool(int argc, char **argv);
int workload_make_students_tool(int argc, char **argv);
int workload_pick_tool(int argc, char **argv);

/* Reads the command line of a subcommand with one operand, a WHAT ("WORKLOAD"), which *out is,
 * borrowed from argv. False: there is nothing to do but return *status; what is wrong has been
 * printed. */
bool workload_operand(const char **out, const Options *options, int argc, char **argv,
                      const char *what, int *status);

/* Prints err, unless status is EXIT_OK. Returns status. */
int workload_end(const Options *options, int status, const Error *err);

/* Refuses a BASE whose files are among those that are read: files [count], NULL: none. */
int workload_check_base(const char *base, const char *const *files, int count, Error *err);

/* Writes a workload and its students' weights, BASE.json and BASE.safetensors; neither where the
 * workload could not be read again. The teacher's weights and the data are named from there. */
int workload_write_both(const Workload *workload, const Tensors *students, const char *base,
                        Error *err);

#endif
