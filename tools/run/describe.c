/* pipebd-run describe: the old name of pipebd-workload show. */
#include <stdio.h>

#include "base/options.h"
#include "tools/describe.h"
#include "tools/run/run.h"

int run_describe(int argc, char **argv)
{
    const char *workload = NULL;
    int         format = 0;
    Option table[] = {
        {"workload", 'w', OPTION_STRING, "W", "A bundled workload's name, or a file.", &workload, 0,
         0, NULL, false},
        {"format", 0, OPTION_CHOICE, "table|json", "Output format.", &format, 0, 0,
         describe_formats, false},
        {0},
    };
    Options  options = {"pipebd-run describe", "--workload W [options]",
                        "Prints the blocks of a workload: shapes, parameters, work and bytes.",
                        table, NULL};
    Operands operands;
    Error    err = {""};

    if (options_parse(&options, argc, argv, &operands, &err) != 0) goto usage;
    if (operands.info) return options_info(&options, operands.info);
    if (operands.count) { error_set(&err, "unexpected \"%s\"", operands.values[0]); goto usage; }
    if (!workload) { error_set(&err, "expected --workload W, see --help"); goto usage; }
    if (describe_print(workload, format, &err) == 0) return EXIT_OK;
    fprintf(stderr, "pipebd-run describe: %s\n", err.text);
    return EXIT_FAILED;
usage:
    fprintf(stderr, "pipebd-run describe: %s\n", err.text);
    return EXIT_USAGE;
}
