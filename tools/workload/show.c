/* pipebd-workload show: a workload's blocks as a table or JSON. */
#include <stdio.h>

#include "base/options.h"
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
    Operands operands;
    Error    err = {""};

    if (options_parse(&options, argc, argv, &operands, &err) != 0) goto usage;
    if (operands.info) return options_info(&options, operands.info);
    if (operands.count != 1) { error_set(&err, "expected one WORKLOAD, see --help"); goto usage; }
    if (describe_print(operands.values[0], format, &err) == 0) return EXIT_OK;
    fprintf(stderr, "pipebd-workload show: %s\n", err.text);
    return EXIT_FAILED;
usage:
    fprintf(stderr, "pipebd-workload show: %s\n", err.text);
    return EXIT_USAGE;
}
