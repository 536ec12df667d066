/* pipebd-run validate: profiles, plans, runs every schedule, and compares what happened with
 * what was predicted. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/progress.h"
#include "executor/measure/validate.h"
#include "plots/plot.h"
#include "plots/report_page.h"
#include "schedule/registry.h"
#include "tools/run/run.h"
#include "tools/run/common.h"
#include "tools/run/measure.h"
#include "tools/run/stored.h"
#include "tools/run/world.h"

typedef struct {
    MeasureSettings measure;
    const char     *output, *schedules, *trace, *update, *command;
    double          seconds;
    int64_t         rounds, epochs;
    int             format;
} ValidateSettings;

typedef struct {
    const ValidateSettings *settings;
    MeasureInputs   inputs;
    Trace          *trace;
    Scenario        scenario;
    Validation      validation;
    Error          *err;
} ValidateTask;

/* ---- files in the folder ------------------------------------------------------------- */

/* *made: it was not there. */
static int make_folder(bool *made, const char *path, Error *err)
{
    struct stat st;

    *made = mkdir(path, 0777) == 0;
    if (*made) return 0;
    if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return 0;
    return error_set(err, "%s: %s", path, errno == EEXIST ? "not a folder" : strerror(errno));
}

/* FOLDER/ and the name after it, yours; NULL without memory. */
__attribute__((format(printf, 2, 3)))
static char *path_in(const ValidateTask *job, const char *format, ...)
{
    char    name[64];
    Text    text = {0};
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    text_printf(&text, "%s/%s", job->settings->output, name);
    if (text_failed(&text)) { text_free(&text); error_no_memory(job->err); return NULL; }
    return text.bytes;
}

/* Takes path over. */
static int write_text(const ValidateTask *job, char *path, const Text *text)
{
    int rc = -1;

    if (path)
        rc = text_failed(text) ? error_no_memory(job->err)
                               : file_write(path, text_string(text), text->length, job->err);
    free(path);
    return rc;
}

static int write_row(const ValidateTask *job, const ValidationRow *row)
{
    const char *name = schedule_name(row->schedule);
    Text        plan = {0};
    int         rc;

    if (row->why[0]) return 0;
    plan_text(row->plan, &plan);
    rc = write_text(job, path_in(job, "plan-%s.json", name), &plan);
    text_free(&plan);
    if (rc != 0
        || write_text(job, path_in(job, "%s-predicted.json", name), &row->predicted_timeline) != 0)
        return -1;
    return write_text(job, path_in(job, "%s-measured.json", name), &row->measured_timeline);
}

static int write_page(const ValidateTask *job)
{
    const char *name = schedule_name(job->validation.rows[job->validation.best].schedule);
    char       *paths[] = {path_in(job, "validation.json"), path_in(job, "%s-predicted.json", name),
                           path_in(job, "%s-measured.json", name)};
    Text        page = {0};
    int         rc = -1;

    if (paths[0] && paths[1] && paths[2])
        rc = report_page(&page, (const char *const *)paths, 3, NULL, job->err);
    if (rc == 0) rc = write_text(job, path_in(job, "report.html"), &page);
    text_free(&page);
    for (int i = 0; i < 3; i++) free(paths[i]);
    return rc;
}

static int write_files(const ValidateTask *job)
{
    Text text = {0};
    int  rc;

    validation_json(&job->validation, &job->scenario, &text);
    rc = write_text(job, path_in(job, "validation.json"), &text);
    text_free(&text);
    for (int i = 0; i < job->validation.row_count && rc == 0; i++)
        rc = write_row(job, &job->validation.rows[i]);
    if (rc == 0 && job->validation.best >= 0) rc = write_page(job);
    if (rc == 0 && job->settings->update)
        rc = file_write(job->settings->update, text_string(&job->validation.trace),
                        job->validation.trace.length, job->err);
    return rc;
}

/* Nothing that is read is written over by --update-trace, nor a new profile. */
static int check_files(const ValidateSettings *s, Error *err)
{
    const MeasureSettings *m = &s->measure;
    Text                   profile = {0};

    if (!s->trace) text_printf(&profile, "%s/trace.json", s->output);
    const RunFile files[] = {
        {"--workload", run_workload_file(m->workload), false},
        {"--teacher", m->teacher, false},
        {"--trace", s->trace, false},
        {"the profile in -o", profile.bytes, false},
        {"-o", s->output, false},
        {"--update-trace", s->update, true},
    };
    int rc = text_failed(&profile) ? error_no_memory(err)
                                   : run_check_files(files, sizeof files / sizeof *files, err);
    text_free(&profile);
    return rc;
}

/* ---- pictures ---------------------------------------------------------------------------- */

/* Takes path over; plot is freed. rc: of what made plot. */
static int draw(Plot *plot, int rc, char *path, Error *err)
{
    if (rc == 0) rc = path ? plot_render(plot, path, err) : -1;
    free(path);
    plot_free(plot);
    return rc;
}

static int draw_epochs(const ValidateTask *job)
{
    char *path = path_in(job, "validation.json");
    Plot  plot = {0};
    int   rc = path ? plot_validation(&plot, (const char *const[]){path}, 1, job->err) : -1;

    free(path);
    return draw(&plot, rc, path_in(job, "validation.svg"), job->err);
}

static int draw_chosen(const ValidateTask *job)
{
    const char *name = schedule_name(job->validation.rows[job->validation.best].schedule);
    char       *predicted = path_in(job, "%s-predicted.json", name),
         *measured = path_in(job, "%s-measured.json", name);
    Plot        plot = {0};
    int         rc = -1;

    if (predicted && measured)
        rc = plot_gantt(&plot, (const char *const[]){predicted, measured}, 2, -1, -1, job->err);
    free(predicted);
    free(measured);
    return draw(&plot, rc, path_in(job, "chosen.svg"), job->err);
}

/* Pictures are not what was asked for: without gnuplot there are none, and that is said. */
static void draw_all(const ValidateTask *job)
{
    Error why = {""};
    ValidateTask   drawing = *job;

    drawing.err = &why;
    if (draw_epochs(&drawing) != 0 || draw_chosen(&drawing) != 0)
        fprintf(stderr, "pipebd-run validate: no pictures: %s\n", why.text);
}

/* ---- the run ------------------------------------------------------------------------------- */

static void progress_of_runs(void *context, int done, int total)
{
    Progress *progress = context;

    progress->total = total;
    progress_add(progress, done - progress->done);
}

/* Rank 0's profile, to all. */
static int measure(ValidateTask *job, Text *text)
{
    Progress progress;

    progress_start(&progress, "profile", 1);
    int rc = measure_profile(text, &job->inputs, &job->settings->measure, &progress, job->err);
    progress_end(&progress);
    if (world_agree(job->inputs.world, rc, job->err) != 0) return -1;
    return world_broadcast_text(job->inputs.world, text, job->err);
}

static int read_or_measure(ValidateTask *job)
{
    Text text = {0};
    int  rc;

    if (job->settings->trace) return trace_read(&job->trace, job->settings->trace, job->err);
    rc = measure(job, &text);
    if (rc == 0)
        rc = trace_parse(&job->trace, "trace.json", text_string(&text), text.length, job->err);
    if (rc == 0 && run_world_speaks(job->inputs.world)) {
        char *path = path_in(job, "trace.json");
        rc = path ? file_write(path, text_string(&text), text.length, job->err) : -1;
        free(path);
    }
    text_free(&text);
    return rc;
}

/* Runs of all ranks are of the same plans, which follow from the trace and these. */
static int check_ranks(const ValidateTask *job, unsigned schedules)
{
    Text facts = {0};

    text_printf(&facts,
                "hash of the trace\t%016" PRIx64
                "\nschedules\t%u\n--seconds\t%g\n--rounds\t%" PRId64 "\n",
                job->trace->hash, schedules, job->settings->seconds, job->settings->rounds);
    int rc = run_world_same(job->inputs.world, &facts, job->err);
    text_free(&facts);
    return rc;
}

/* A trace that was not measured just now must be of this workload and these devices. */
static int check_trace(const ValidateTask *job)
{
    const Trace    *t = job->trace;
    const Workload *w = job->inputs.workload;

    if (t->block_count != w->block_count)
        return error_set(job->err, "%s: %d blocks, but the workload has %d", job->settings->trace,
                         t->block_count, w->block_count);
    if (trace_device_count(t) != job->inputs.device_count)
        return error_set(
            job->err,
            "%s: of %d devices, but --devices has %d: what they do to each other would not "
            "be known",
            job->settings->trace, trace_device_count(t), job->inputs.device_count);
    return 0;
}

/* Simulates and runs the schedules of the mask for --seconds each, with progress on a terminal.
 * job->scenario borrows job->trace. */
static int compare_all(ValidateTask *job, unsigned schedules)
{
    const ValidateSettings *s = job->settings;
    Progress        progress;
    ScenarioOptions cluster = {
        .batch = job->inputs.batch, .epochs = s->epochs, .queue_depth = s->measure.queue_depth};
    ValidateOptions options;
    int             rc;

    if (s->measure.store) job->trace->stored_share = s->measure.store_bf16 ? 0.5 : 0;
    if (scenario_build(&job->scenario, job->trace, &cluster, job->err) != 0) return -1;
    options = (ValidateOptions){.world = job->inputs.world,
                                .first_of_spec = job->inputs.first_of_spec,
                                .workload = job->inputs.workload, .devices = &job->inputs.devices,
                                .data = job->inputs.data, .teacher = job->inputs.teacher,
                                .scenario = &job->scenario, .schedules = schedules,
                                .seconds = s->seconds, .rounds = (int)s->rounds,
                                .limit_s = s->measure.limit, .store = s->measure.store,
                                .store_bf16 = s->measure.store_bf16, .lanes = job->inputs.lanes,
                                .prefetch = job->inputs.prefetch, .seed = (uint64_t)s->measure.seed,
                                .stop = job->inputs.stop, .current_run = &job->inputs.current_run,
                                .progress = progress_of_runs, .context = &progress};
    progress_start(&progress, "runs", 1);
    rc = validate(&job->validation, &options, job->err);
    progress_end(&progress);
    return rc;
}

static int print(const ValidateTask *job)
{
    Text text = {0};
    int  rc;

    if (job->settings->format == 0)      validation_table(&job->validation, &job->scenario, &text);
    else if (job->settings->format == 1) validation_csv(&job->validation, &text);
    else                                 validation_json(&job->validation, &job->scenario, &text);
    rc = text_failed(&text) ? error_no_memory(job->err)
                            : file_write("-", text_string(&text), text.length, job->err);
    text_free(&text);
    return rc;
}

/* Files and tables, at rank 0. */
static int write_and_print(ValidateTask *job)
{
    job->validation.command = job->settings->command;
    if (write_files(job) != 0) return -1;
    draw_all(job);
    return print(job);
}

/* The whole command, on every rank; rank 0 writes and prints. The output folder, if it was made
 * here, goes again after an error unless something is in it. */
static int run(const ValidateSettings *s, unsigned schedules, World *world, Error *err)
{
    ValidateTask  job = {.settings = s, .err = err, .validation = {.best = -1}};
    bool speaks = run_world_speaks(world), made = false;
    int  rc = -1;

    if (speaks && s->update && file_check_writable(s->update, err) != 0) return -1;
    if (measure_open(&job.inputs, &s->measure, world, "validate", err) != 0
        || measure_say_ranks(&job.inputs, err) != 0)
        goto done;
    if (speaks && make_folder(&made, s->output, err) != 0) goto done;
    if (read_or_measure(&job) != 0 || check_trace(&job) != 0 || check_ranks(&job, schedules) != 0)
        goto done;
    if (compare_all(&job, schedules) != 0) goto done;
    rc = speaks ? write_and_print(&job) : 0;
done:
    if (rc != 0 && made) rmdir(s->output);       /* where something was written it stays */
    validation_free(&job.validation);
    scenario_free(&job.scenario);
    trace_free(job.trace);
    measure_close(&job.inputs, rc != 0);
    return rc;
}

/* --store and --epochs are those of schedules that store. */
static int check_store(const ValidateSettings *s, unsigned schedules, bool epochs_given, Error *err)
{
    int first = 0;

    while (first < SCHEDULE_COUNT
           && !(schedules >> first & 1 && schedule_row((Schedule)first)->stores))
        first++;
    if (first < SCHEDULE_COUNT)
        return run_store_wanted(true, s->measure.store, schedule_name((Schedule)first), err);
    if (s->measure.store)
        return error_set(err, "--store: no effect, none of --schedules stores boundaries");
    if (epochs_given)
        return error_set(err, "--epochs: no effect, none of --schedules stores boundaries");
    return 0;
}

int run_validate(int argc, char **argv)
{
    static const char *const formats[] = {"table", "csv", "json", NULL};
    ValidateSettings s = {.measure = MEASURE_DEFAULTS, .schedules = "dp,ls,tr,dpu,ir,ahd",
                          .seconds = 0.3, .rounds = 5, .epochs = 3};
    Option   table[] = {
        MEASURE_OPTIONS(s.measure),
        {"trace", 0, OPTION_STRING, "FILE", "Predict from this trace instead of a new profile.",
         &s.trace, 0, 0,
         NULL, false},
        {"schedules", 0, OPTION_STRING, "LIST", "Schedules to run.", &s.schedules, 0, 0, NULL,
         false},
        {"seconds", 0, OPTION_NUMBER, "S", "Approximate length of a run.", &s.seconds, 0, 0, NULL,
         false},
        {"rounds", 0, OPTION_INTEGER, "N", "Runs of each schedule, interleaved.", &s.rounds, 1,
         1000, NULL, false},
        {"epochs", 0, OPTION_INTEGER, "E",
         "Epochs of the job under sequential and store.", &s.epochs, 1, 1000, NULL,
         false},
        {"store", 0, OPTION_STRING, "PLACE",
         "Where sequential and store keep boundaries: host (memory), or a folder.",
         &s.measure.store, 0, 0, NULL, false},
        {"store-precision", 0, OPTION_STRING, "P",
         "Boundaries are stored in fp32 (default), or rounded to bf16: half the bytes.",
         &s.measure.store_precision, 0, 0, NULL, false},
        {"update-trace", 0, OPTION_STRING, "FILE",
         "Write the trace, corrected by the runs, to this file.", &s.update, 0, 0, NULL,
         false},
        {"format", 0, OPTION_CHOICE, "table|csv|json", "Output format.", &s.format, 0, 0, formats,
         false},
        {"output", 'o', OPTION_STRING, "FOLDER",
         "Write trace, plans, timelines, plots and report.html to this folder.", &s.output, 0, 0,
         NULL,
         false},
        {0},
    };
    Options  options = {
         "pipebd-run validate", "--workload W --devices DEVICES -o FOLDER [options]",
         "Profiles the blocks, predicts the epoch time of every schedule from the profile, runs "
         "every schedule, and compares the times.",
         table, NULL};
    Operands operands;
    Error    err = {""};
    unsigned schedules;
    Text     command = {0};

    run_ignore_lost_output();
    World   *world;
    int      status = run_world_open(&world, "pipebd-run validate");

    if (status != 0) return status;
    if (!run_world_parse(world, &options, argc, argv, &operands, &status, &err)) goto done;
    if (operands.count) {
        error_set(&err, "\"%s\": expected only options", operands.values[0]);
        goto done;
    }
    if (measure_check(&s.measure, table, world != NULL, &err) != 0
        || schedule_list(&schedules, s.schedules, &err) != 0)
        goto done;
    if (check_store(&s, schedules, option_given(table, "epochs"), &err) != 0
        || run_store_precision(&s.measure.store_bf16, s.measure.store_precision, s.measure.store,
                               &err)
               != 0)
        goto done;
    if (!s.output) { error_set(&err, "expected -o FOLDER"); goto done; }
    if (!(s.seconds > 0)) { error_set(&err, "--seconds: expected more than 0"); goto done; }
    if (s.trace && option_given(table, "trials")) {
        error_set(&err, "--trials: no effect with --trace, which is not measured");
        goto done;
    }
    if (check_files(&s, &err) != 0) goto done;
    if (run_world_speaks(world)) options_print_settings(&options, stderr);
    text_append(&command, "pipebd-run ");
    text_command(&command, argc, argv);
    s.command = text_string(&command);
    status = EXIT_FAILED;
    if (text_failed(&command)) error_no_memory(&err);
    else if (run(&s, schedules, world, &err) == 0) status = EXIT_OK;
    text_free(&command);
done:
    return measure_status(run_world_close(world, "pipebd-run validate", status, &err));
}
