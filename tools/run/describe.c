/* pipebd-run describe: a workload's blocks as a table or JSON. */
#include <stdio.h>

#include "base/file.h"
#include "base/options.h"
#include "tools/run/run.h"
#include "workloads/workload.h"

static int describe(const char *path, int format, Error *err)
{
    Workload *workload = NULL;
    Text      text = {0};
    int       rc = -1;

    if (workload_read(&workload, path, err) != 0) goto done;
    if (format == 0) workload_describe(workload, &text);
    else             workload_describe_json(workload, &text);
    if (text_failed(&text)) { error_no_memory(err); goto done; }
    rc = file_write("-", text_string(&text), text.length, err);
done:
    text_free(&text);
    workload_free(workload);
    return rc;
}

int run_describe(int argc, char **argv)
{
    static const char *const formats[] = {"table", "json", NULL};
    const char *workload = NULL;
    int         format = 0;
    Option table[] = {
        {"workload", 'w', OPTION_STRING, "W", "A bundled workload's name, or a file.", &workload, 0, 0, NULL, false},
        {"format", 0, OPTION_CHOICE, "table|json", "What to print.", &format, 0, 0, formats, false},
        {0},
    };
    Options  options = {"pipebd-run describe", "--workload W [options]",
                        "Prints what a workload is made of: shapes, parameters, work and bytes of\neach block.",
                        table, NULL};
    Operands operands;
    Error    err = {""};

    if (options_parse(&options, argc, argv, &operands, &err) != 0) goto usage;
    if (operands.info) return options_info(&options, operands.info);
    if (operands.count) { error_set(&err, "unexpected \"%s\"", operands.values[0]); goto usage; }
    if (!workload) { error_set(&err, "expected --workload W, see --help"); goto usage; }
    if (describe(workload, format, &err) == 0) return EXIT_OK;
    fprintf(stderr, "pipebd-run describe: %s\n", err.text);
    return EXIT_FAILED;
usage:
    fprintf(stderr, "pipebd-run describe: %s\n", err.text);
    return EXIT_USAGE;
}
