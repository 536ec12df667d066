/* What the subcommands' command lines have in common. */
#include <stdio.h>

#include "tools/workload/workload.h"

bool workload_operand(const char **out, const Options *options, int argc, char **argv,
                      const char *what, int *status)
{
    Operands operands;
    Error    err = {""};

    if (options_parse(options, argc, argv, &operands, &err) == 0) {
        if (operands.info) { *status = options_info(options, operands.info); return false; }
        *out = operands.values[0];
        if (operands.count == 1) return true;
        error_set(&err, "expected one %s, see --help", what);
    }
    *status = workload_end(options, EXIT_USAGE, &err);
    return false;
}

int workload_end(const Options *options, int status, const Error *err)
{
    if (status != EXIT_OK) fprintf(stderr, "%s: %s\n", options->program, err->text);
    return status;
}
