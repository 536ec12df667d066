/* The subcommands of pipebd-workload, a file each. */
#ifndef TOOLS_WORKLOAD_WORKLOAD_H
#define TOOLS_WORKLOAD_WORKLOAD_H

/* argv[0] is the subcommand's name. Returns the exit status. */
int workload_check_tool(int argc, char **argv);
int workload_show_tool(int argc, char **argv);
int workload_import_tool(int argc, char **argv);
int workload_make_students_tool(int argc, char **argv);

#endif
