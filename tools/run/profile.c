/* pipebd-run profile: measures what every block costs on these devices, and writes a trace. */
#include <stdio.h>

#include "base/file.h"
#include "base/progress.h"
#include "executor/measure/profile.h"
#include "tools/run/run.h"
#include "tools/run/common.h"
#include "tools/run/measure.h"
#include "tools/run/stored.h"
#include "tools/run/world.h"

typedef struct {
    MeasureSettings measure;
    const char     *output;
} ProfileSettings;

static int check_files(const ProfileSettings *s, Error *err)
{
    const MeasureSettings *m = &s->measure;
    const RunFile files[] = {{"--workload", run_workload_file(m->workload), false},
                             {"--teacher", m->teacher, false},
                             {"--store", run_store_folder(m->store), true},
                             {"-o", s->output, true}};

    return run_check_files(files, sizeof files / sizeof *files, err);
}

static int run(const ProfileSettings *s, World *world, Error *err)
{
    MeasureInputs in = {0};
    Progress      progress;
    Text          trace = {0};
    int           rc = -1;

    if (run_world_speaks(world) && file_check_writable(s->output, err) != 0) return -1;
    if (measure_open(&in, &s->measure, world, "profile", err) != 0
        || measure_say_ranks(&in, err) != 0)
        goto done;
    progress_start(&progress, "profile", 1);
    rc = measure_profile(&trace, &in, &s->measure, &progress, err);
    progress_end(&progress);
    if (rc == 0 && run_world_speaks(world))
        rc = file_write(s->output, text_string(&trace), trace.length, err);
done:
    text_free(&trace);
    measure_close(&in, rc != 0);
    return rc;
}

int run_profile(int argc, char **argv)
{
    ProfileSettings s = {.measure = MEASURE_DEFAULTS};
    Option   table[] = {
        MEASURE_OPTIONS(s.measure),
        {"store", 0, OPTION_STRING, "PLACE",
         "Measure storage for boundaries too: host (memory), or a folder.", &s.measure.store,
         0, 0, NULL, false},
        {"store-precision", 0, OPTION_STRING, "P",
         "Boundaries are stored in fp32 (default), or rounded to bf16: half the bytes.",
         &s.measure.store_precision, 0, 0, NULL, false},
        {"output", 'o', OPTION_STRING, "TRACE",
         "Write the trace to this file; -: to standard output.", &s.output, 0, 0, NULL,
         false},
        {0},
    };
    Options options = {
        "pipebd-run profile", "--workload W --devices DEVICES -o TRACE [options]",
        "Measures blocks, links, all-reduces and the loader, and writes a trace for "
        "pipebd-plan. Each block is timed at every batch that a device may get, alone "
        "and while the other devices compute.",
        table, NULL};
    Operands operands;
    Error    err = {""};

    run_ignore_lost_output();
    World   *world;
    int      status = run_world_open(&world, "pipebd-run profile");

    if (status != 0) return status;
    if (!run_world_parse(world, &options, argc, argv, &operands, &status, &err)) goto done;
    if (operands.count) {
        error_set(&err, "\"%s\": expected only options", operands.values[0]);
        goto done;
    }
    if (measure_check(&s.measure, table, world != NULL, &err) != 0) goto done;
    if (run_store_precision(&s.measure.store_bf16, s.measure.store_precision, s.measure.store, &err)
        != 0)
        goto done;
    if (!s.output) { error_set(&err, "expected -o TRACE"); goto done; }
    if (check_files(&s, &err) != 0) goto done;
    if (run_world_speaks(world)) options_print_settings(&options, stderr);
    status = run(&s, world, &err) == 0 ? EXIT_OK : EXIT_FAILED;
done:
    return measure_status(run_world_close(world, "pipebd-run profile", status, &err));
}
