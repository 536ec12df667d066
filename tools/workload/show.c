/* pipebd-workload show: a workload's blocks as a table or JSON. */
#include "tools/describe.h"
#include "tools/workload/workload.h"

int workload_show_tool(int argc, char **argv)
{
    int      format = 0;
    Option   table[] = {
        {"format", 0, OPTION_CHOICE, "table|json", "Output format.", &format, 0, 0,
         describe_formats, false},
        {0},
    };
    Options  options = {
         "pipebd-workload show", "WORKLOAD [options]",
         "Prints the blocks of a workload: shapes, parameters, work and bytes. WORKLOAD is a "
         "bundled workload's name, or a file.",
         table, NULL};
    const char *path;
    Error       err = {""};
    int         status;

    if (!workload_operand(&path, &options, argc, argv, "WORKLOAD", &status)) return status;
    status = describe_print(path, format, &err) == 0 ? EXIT_OK : EXIT_FAILED;
    return workload_end(&options, status, &err);
}
