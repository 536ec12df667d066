/* pipebd-run profile: measures what every block costs on these devices, and writes a trace. */
#include <stdio.h>

#include "base/file.h"
#include "base/progress.h"
#include "executor/profile.h"
#include "tools/run.h"
#include "tools/run_measure.h"

typedef struct {
    MeasureSettings measure;
    const char     *output;
} Settings;

static int run(const Settings *s, Error *err)
{
    MeasureInputs in = {0};
    Progress      progress;
    Text          trace = {0};
    int           rc = -1;

    if (file_check_writable(s->output, err) != 0) return -1;
    if (measure_open(&in, &s->measure, err) != 0) goto done;
    progress_start(&progress, "profile", 1);
    rc = measure_profile(&trace, &in, &s->measure, &progress, err);
    progress_end(&progress);
    if (rc == 0) rc = file_write(s->output, text_string(&trace), trace.length, err);
done:
    text_free(&trace);
    measure_close(&in);
    return rc;
}

int run_profile(int argc, char **argv)
{
    Settings s = {.measure = MEASURE_DEFAULTS};
    Option   table[] = {
        MEASURE_OPTIONS(s.measure),
        {"output", 'o', OPTION_STRING, "TRACE", "Write the trace here; -: on standard output.", &s.output, 0, 0, NULL,
         false},
        {0},
    };
    Options options = {"pipebd-run profile", "--workload W --devices DEVICES -o TRACE [options]",
                       "Measures every block at every share of the batch that a group of devices can "
                       "have, alone and while the other devices compute, the links between devices, "
                       "all-reduces and the loader, and writes a trace for pipebd-plan.", table, NULL};
    Operands operands;
    Error    err = {""};

    if (options_parse(&options, argc, argv, &operands, &err) != 0) goto usage;
    if (operands.help) { options_print_help(&options, stdout); return EXIT_OK; }
    if (operands.count) { error_set(&err, "\"%s\": expected only options", operands.values[0]); goto usage; }
    if (measure_check(&s.measure, table, &err) != 0) goto usage;
    if (!s.output) { error_set(&err, "expected -o TRACE"); goto usage; }
    options_print_settings(&options, stderr);
    if (run(&s, &err) == 0) return EXIT_OK;
    fprintf(stderr, "pipebd-run profile: %s\n", err.text);
    return EXIT_FAILED;
usage:
    fprintf(stderr, "pipebd-run profile: %s\n", err.text);
    return EXIT_USAGE;
}
