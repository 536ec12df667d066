/* pipebd-run train: trains the students of a workload under a plan, and says what came of it. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/options.h"
#include "executor/checkpoint/checkpoint_writer.h"
#include "executor/monitor/drift.h"
#include "executor/train/evaluate.h"
#include "executor/train/execute.h"
#include "executor/checkpoint/state.h"
#include "include/pipebd.h"
#include "schedule/registry.h"
#include "schedule/verify.h"
#include "tools/search_options.h"
#include "tools/run/run.h"
#include "tools/run/common.h"
#include "tools/run/plan.h"
#include "tools/run/replan.h"
#include "tools/run/stored.h"
#include "tools/run/supervise.h"
#include "tools/run/fault_monitor.h"
#include "tools/run/watch.h"
#include "tools/run/world.h"

enum { RECORD_FIRST = 2, RECORD_STEPS = 4 };     /* steps of a timeline */
enum { LINES_AN_EPOCH = 10 };                    /* of the log, about */

typedef struct {
    const char *workload, *plan, *schedule, *trace, *devices, *precision, *data, *teacher, *student,
        *checkpoint, *timeline, *output, *log, *interface, *store, *store_precision;
    bool        store_bf16;              /* what --store-precision says */
    int64_t epochs, batch, seed, queue_depth, lanes, prefetch, skip_bad, every, restarts, processes,
        timeout, log_every;
    bool        nccl, synchronise, prefetch_given, resume, replan;
    double      replan_threshold, replan_gain;           /* per cent */
    int64_t     replan_checks;
} TrainSettings;

enum { SKIPPED_NAMED = 20 };                     /* of each part: damaged samples that are named,
                                                  * more are counted */

/* What a run works with; train_close() frees all of it. */
typedef struct {
    const TrainSettings *settings;
    int         argc;
    char      **argv;                    /* the command line, from "train" on */
    World      *world;                   /* borrowed; NULL: this process alone */
    FaultMonitor      *fault_monitor;                   /* NULL: nobody to miss */
    Workload   *workload;
    DeviceSpec  devices;                 /* of the ranks here that share cores; this one's from
                                          * first_of_spec */
    int         first_of_spec;
    int         device_count;            /* of all ranks */
    Data       *data, *validation;       /* validation: NULL when there is nothing to ask for */
    Plan       *plan;
    Text        how_planned;             /* where the plan is not from a file */
    Program    *program;
    Program    *first;                   /* the run began with, when that is another; spans borrow
                                          * from it */
    RunReplan   replan;
    Tensors    *teacher;                 /* NULL: random */
    uint64_t    teacher_hash;
    Tensors    *student;
    StatusBoard *board;
    CurrentRun     current_run;
    Watch       watch;
    int64_t     steps_per_epoch;
    int64_t     first_checkpoint;        /* the newest before the run; 0: none */
    CheckpointWriter  *writer;               /* NULL: no checkpoints */
    Store      *store;                   /* NULL: the program stores nothing */
    bool        bad_usage;               /* what failed is a fault of the command line */
    int         lanes, prefetch;
    atomic_bool *stop;                   /* set by an interrupt */
    Accuracy    of_teacher, before, after;
    Agreement   near_before, near_after; /* where there are no right answers */
    int        *picked;                  /* [blocks]: the students that accuracy is of; NULL: each
                                          * block has one */
    ExecutionResult result;
} Train;

/* ---- files ---------------------------------------------------------------------- */

/* Nothing is written over what is read, or twice. workloads_teacher: of the workload's file, once
 * that is read. */
static int check_files(const TrainSettings *s, const char *workloads_teacher, Error *err)
{
    const RunFile files[] = {
        {"--workload", run_workload_file(s->workload), false},
        {"--plan", s->plan, false},
        {"--trace", s->trace, false},
        {"--init", s->student, false},
        {"--teacher", s->teacher, false},
        {"the workload's teacher", workloads_teacher, false},
        {"--checkpoint", s->checkpoint, true},
        {"--store", run_store_folder(s->store), true},
        {"--log", s->log, true},
        {"--timeline", s->timeline, true},
        {"-o", s->output, true},
    };

    return run_check_files(files, sizeof files / sizeof *files, err);
}

/* ---- before the run ------------------------------------------------------------- */

/* To standard error, once. */
__attribute__((format(printf, 2, 3)))
static void say(const Train *t, const char *format, ...)
{
    va_list arguments;

    if (!run_world_speaks(t->world)) return;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
}

static const char *data_source(const Train *t)
{
    return run_data_source(t->settings->data, t->workload);
}

/* The run's plan: read from --plan, or made for --schedule. Refuses one that does not fit the
 * workload, the devices of all ranks together, or --epochs of a plan that stores. */
static int open_plan(Train *t, Error *err)
{
    const TrainSettings *s = t->settings;
    Schedule        schedule;

    if (s->plan) {
        if (plan_read(&t->plan, s->plan, err) != 0) return -1;
    } else {
        if (run_plan_schedule(&schedule, s->schedule, s->trace, err) != 0) return -1;
        if (run_plan(&t->plan, t->workload, t->device_count, schedule, s->epochs, s->trace,
                     &t->how_planned, err)
            != 0)
            return -1;
    }
    if (world_size(t->world) > 1 && t->plan->device_count != t->device_count)
        return error_set(
            err,
            "the plan is for %d devices, the %d ranks have %d together: --devices is of each rank",
            t->plan->device_count, world_size(t->world), t->device_count);
    if (run_plan_check(t->plan, t->workload, t->device_count, err) != 0) return -1;
    if (schedule_row(t->plan->schedule)->stores && t->plan->epochs != s->epochs)
        return error_set(err, "the plan is for %" PRId64 " epochs, --epochs gives %" PRId64,
                         t->plan->epochs, s->epochs);
    plan_sort_devices(t->plan);          /* processes hold ascending devices: then one gives the
                                          * same bits */
    return 0;
}

static int open_program(Train *t, Error *err)
{
    int64_t samples = data_count(t->data), batch = t->workload->batch;

    t->steps_per_epoch = (samples + batch - 1) / batch;
    if (t->settings->epochs > INT64_MAX / 2 / t->steps_per_epoch)
        return error_set(err, "--epochs: too many");
    if (program_build(&t->program, t->plan, t->steps_per_epoch * t->settings->epochs, err) != 0)
        return -1;
    if (run_store_wanted(program_stores(t->program), t->settings->store,
                         schedule_name(t->plan->schedule), err)
        != 0) {
        t->bad_usage = true;
        return -1;
    }
    return program_verify(t->program, (int)t->settings->queue_depth, err);
}

/* Boundaries live as long as something fetches them where stages take turns: two at a time. */
static bool drops(const Train *t) { return t->plan->turns; }

static int open_store(Train *t, Error *err)
{
    StoreOptions options = {.place = t->settings->store, .world = t->world, .workload = t->workload,
                            .data = t->data, .devices = &t->devices, .teacher = t->teacher,
                            .seed = (uint64_t)t->settings->seed, .bf16 = t->settings->store_bf16,
                            .later = drops(t)};

    return run_store_open(&t->store, t->program, &options, err);
}

static int open_data(Train *t, Error *err)
{
    const TrainSettings *s = t->settings;
    const char     *source = data_source(t);

    if (data_open(&t->data, source, t->workload, DATA_TRAIN, s->skip_bad, err) != 0) return -1;
    if (run_check_batch(t->workload->batch, t->data, source, err) != 0) return -1;
    if (!workload_has_labels(t->workload) && t->workload->vocabulary == 0) return 0;
    return data_open(&t->validation, source, t->workload, DATA_VALIDATION, s->skip_bad, err);
}

/* NULL, as where weights are drawn, is the same for all. */
static uint64_t weights_hash(const Tensors *weights)
{
    uint64_t hash = HASH_START;

    for (int i = 0; weights && i < tensors_count(weights); i++) {
        const Tensor *tensor = tensors_at(weights, i);
        hash = hash_bytes(hash, tensor->values, (size_t)tensor->count * sizeof *tensor->values);
    }
    return hash;
}

static int open_teacher(Train *t, Error *err)
{
    const char *path = t->settings->teacher ? t->settings->teacher : t->workload->teacher_weights;

    if (path && run_read_weights(&t->teacher, path, err) != 0) return -1;
    if (!path)
        say(t, "teacher: random weights, as neither --teacher nor the workload gives a file\n");
    t->teacher_hash = weights_hash(t->teacher);
    return 0;
}

static void find_batchnorm(const Layer *layer, void *context)
{
    if (layer->kind == LAYER_BATCHNORM) *(bool *)context = true;
}

/* Says what splitting the batch means for batch normalisation; refuses an option without effect. */
static int check_statistics(const Train *t, Error *err)
{
    bool normalised = false;

    for (int b = 0; b < t->workload->block_count; b++)
        students_each(&t->workload->block[b], find_batchnorm, &normalised);
    bool matters = normalised && t->program->group_count > 0;
    if (t->settings->synchronise && !matters && !(normalised && t->settings->replan))
        return error_set(err, "--sync-batchnorm: no effect, %s",
                         normalised ? "no block is on several devices"
                                    : "the students have no batch normalisation");
    if (matters && !t->settings->synchronise)
        say(t, "batch normalisation: each device uses the statistics of its own rows; "
               "--sync-batchnorm: those of the batch\n");
    return 0;
}

/* What must be the same in all ranks, in words and numbers. */
static int check_ranks(const Train *t, Error *err)
{
    const TrainSettings *s = t->settings;
    Text            facts = {0}, plan = {0};

    plan_text(t->plan, &plan);
    text_printf(
        &facts,
        "version of pipebd-run\t%s\nhash of the workload\t%016" PRIx64
        "\nhash of the plan\t%016" PRIx64 "\nhash of the teacher\t%016" PRIx64
        "\n--precision\t%s\n--nccl\t%s\ndata\t%s\nsamples\t%" PRId64 "\nbatch\t%" PRId64
        "\n--seed\t%" PRId64 "\n--epochs\t%" PRId64 "\n--queue-depth\t%" PRId64
        "\n--sync-batchnorm\t%s"
        "\n--checkpoint\t%s\n--every\t%" PRId64 "\n--resume\t%s\n--replan\t%s\n--store\t%s\n"
        "--store-precision\t%s\n",
        PIPEBD_VERSION, t->workload->hash, hash_bytes(HASH_START, text_string(&plan), plan.length),
        t->teacher_hash, precision_name(t->devices.precision), s->nccl ? "yes" : "no",
        data_source(t), data_count(t->data), t->workload->batch, s->seed, s->epochs, s->queue_depth,
        s->synchronise ? "yes" : "no", s->checkpoint ? s->checkpoint : "no", s->every,
        s->resume ? "yes" : "no", s->replan ? "yes" : "no", s->store ? s->store : "no",
        s->store_bf16 ? "bf16" : "fp32");
    int rc = text_failed(&plan) ? error_no_memory(err) : run_world_same(t->world, &facts, err);
    text_free(&plan);
    text_free(&facts);
    return rc;
}

/* Where blocks start, as rank 0 read it. */
static int share_student(Train *t, Error *err)
{
    Text text = {0};
    int  rc = 0;

    if (!t->world) return 0;
    if (run_world_speaks(t->world)) rc = tensors_bytes(t->student, &text, err);
    if (world_agree(t->world, rc, err) == 0) rc = world_broadcast_text(t->world, &text, err);
    else                                     rc = -1;
    if (rc == 0 && !run_world_speaks(t->world)) {
        tensors_free(t->student);
        rc = tensors_parse(&t->student, "the students of rank 0", text_string(&text), text.length,
                           err);
    }
    text_free(&text);
    return rc;
}

/* Reads the newest checkpoint into the students. *out: it, or NULL when there is none yet. */
static int resume(Tensors **out, int64_t *sequence, const Train *t, const CheckpointFacts *facts,
                  Error *err)
{
    const char     *folder = t->settings->checkpoint;
    CheckpointFacts found;
    Text            warnings = {0};
    int             rc = checkpoint_latest(out, &found, sequence, folder, &warnings, err);

    fputs(text_string(&warnings), stderr);
    text_free(&warnings);
    if (rc != 0) return -1;
    if (!*out) {
        fprintf(stderr, "%s: no checkpoint yet, from the beginning\n", folder);
        return 0;
    }
    if (checkpoint_fits(&found, facts, err) != 0) return error_prefix(err, "%s", folder);
    return tensors_put(t->student, *out, err);
}

/* The students of a file that train, choose or make-students wrote: all of them, from step 0 on,
 * without momentum. */
static int open_student(Train *t, Error *err)
{
    const TrainSettings *s = t->settings;
    Tensors        *from = NULL;
    int             rc = 0;

    if (tensors_new(&t->student, err) != 0) return -1;
    if (!s->student || !run_world_speaks(t->world)) return 0;
    if (run_read_weights(&from, s->student, err) != 0) return -1;
    if (state_check_students(from, t->workload, err) != 0) rc = -1;
    for (int i = 0; rc == 0 && i < tensors_count(from); i++) {
        const Tensor *tensor = tensors_at(from, i);
        if (state_student(t->workload, tensor->name) < 0 || state_prefix(tensor->name) > 0)
            continue;
        rc = tensors_put_one(t->student, tensor, err);
    }
    tensors_free(from);
    return rc;
}

static int open_checkpoint(Train *t, Error *err)
{
    const TrainSettings *s = t->settings;
    Tensors        *from = NULL;
    int64_t         sequence = 0;

    if (!s->checkpoint || !run_world_speaks(t->world)) return 0;
    CheckpointFacts facts = {.workload = t->workload->hash, .seed = (uint64_t)s->seed,
                             .batch = t->workload->batch, .steps_per_epoch = t->steps_per_epoch,
                             .total_steps = t->program->steps, .blocks = t->workload->block_count,
                             .workload_of = t->workload,
                             .teacher = t->teacher_hash, .student = weights_hash(t->student),
                             .samples = data_count(t->data)};
    snprintf(facts.data, sizeof facts.data, "%.*s", (int)strcspn(data_source(t), ":"),
             data_source(t));
    int rc = s->resume ? resume(&from, &sequence, t, &facts, err) : 0;
    if (rc == 0)
        rc = checkpoint_writer_open(&t->writer, s->checkpoint, &facts, from, sequence, err);
    tensors_free(from);
    return rc;
}

/* Where each student starts: [students], yours. */
static int64_t *student_steps(const Train *t, Error *err)
{
    int      n = workload_students(t->workload);
    int64_t *step = calloc((size_t)n, sizeof *step);

    if (!step) { error_no_memory(err); return NULL; }
    for (int k = 0; k < n; k++)
        if (state_step(&step[k], t->student, workload_student(t->workload, k), err) != 0) {
            free(step);
            return NULL;
        }
    return step;
}

static int open_replan(Train *t, Error *err)
{
    const TrainSettings *s = t->settings;
    RunReplan      *r = &t->replan;
    ReplanOptions   options = {.trace = s->trace, .devices = t->device_count,
                               .queue_depth = (int)s->queue_depth,
                               .threshold = s->replan_threshold / 100,
                               .patience = (int)s->replan_checks,
                               .least_gain = s->replan_gain / 100};

    if (!s->replan || !run_world_speaks(t->world)) return 0;
    if (replan_open(&r->replan, &options, t->plan, err) != 0) return error_prefix(err, "--replan");
    r->board = t->board;
    r->watch = &t->watch;
    r->stop = t->stop;
    r->devices = t->device_count;
    r->every = run_replan_every(t->steps_per_epoch);
    r->total_steps = t->program->steps;
    return 0;
}

/* Names a damaged sample that is skipped, so that the data can be repaired. */
static void tell_skipped(Train *t, const char *part, int64_t before, const char *why)
{
    Text line = {0};

    if (before > SKIPPED_NAMED) return;
    if (world_size(t->world) > 1) text_printf(&line, "rank %d: ", world_rank(t->world));
    if (before < SKIPPED_NAMED) text_printf(&line, "%s part: %s: skipped", part, why);
    else
        text_printf(&line, "%s part: %d samples were skipped, more are only counted", part,
                    SKIPPED_NAMED);
    watch_note(&t->watch, text_string(&line));
    text_free(&line);
}

static void tell_training(void *t, int64_t before, const char *why)
{
    tell_skipped(t, "training", before, why);
}

static void tell_validation(void *t, int64_t before, const char *why)
{
    tell_skipped(t, "validation", before, why);
}

static void tell_of_skipped(Train *t)
{
    data_tell_skipped(t->data, tell_training, t);
    if (t->validation) data_tell_skipped(t->validation, tell_validation, t);
}

/* Opens what looks at the run while it goes: the status of devices, replanning, the log and the
 * progress line. */
static int open_watch(Train *t, Error *err)
{
    const TrainSettings *s = t->settings;
    int64_t        *step = student_steps(t, err);
    int64_t         every = s->log_every ? s->log_every : t->steps_per_epoch / LINES_AN_EPOCH + 1;

    if (!step) return -1;
    int rc = status_board_new(&t->board, t->device_count, err);
    if (rc == 0) rc = open_replan(t, err);
    if (rc == 0)
        rc = watch_open(&t->watch,
                        &(WatchFacts){.workload = t->workload,
                                      .schedule = schedule_name(t->plan->schedule),
                                      .steps_per_epoch = t->steps_per_epoch,
                                      .total_steps = t->program->steps, .block_step = step,
                                      .board = t->board, .current_run = &t->current_run,
                                      .stop = t->stop,
                                      .log = run_world_speaks(t->world) ? s->log : NULL,
                                      .monitor_every = s->replan ? t->replan.every : 0,
                                      .check = run_replan_monitor, .context = &t->replan,
                                      .log_facts = {.workload = t->workload, .plan = t->plan,
                                                    .device_kind = t->devices.kind,
                                                    .seed = (uint64_t)s->seed,
                                                    .samples = data_count(t->data),
                                                    .steps_per_epoch = t->steps_per_epoch,
                                                    .total_steps = t->program->steps,
                                                    .every = every, .block_step = step,
                                                    .resumed = s->resume}},
                        err);
    free(step);
    return rc;
}

/* Opens what the command line names, in an order in which what is wrong is said before anything
 * takes long. */
static int open_all(Train *t, Error *err)
{
    const TrainSettings *s = t->settings;
    char            devices[32] = "";        /* the plan's */
    bool            writes = run_world_speaks(t->world);

    if (writes && file_check_writable(s->output, err) != 0) return -1;
    if (writes && s->timeline && file_check_writable(s->timeline, err) != 0) return -1;
    if (run_read_workload(&t->workload, s->workload, writes, err) != 0) return -1;
    if (writes && check_files(s, t->workload->teacher_weights, err) != 0) return -1;
    if (s->batch) t->workload->batch = s->batch;
    if (s->plan && !s->devices) {
        if (plan_read(&t->plan, s->plan, err) != 0) return -1;
        int each = t->plan->device_count / world_size(t->world);
        if (each * world_size(t->world) != t->plan->device_count)
            return error_set(
                err,
                "the plan's %d devices cannot be divided over %d ranks: give each rank --devices",
                t->plan->device_count, world_size(t->world));
        snprintf(devices, sizeof devices, "cpu:%d", each);
        plan_free(t->plan);
        t->plan = NULL;
    }
    if (run_devices(&t->devices, s->devices ? s->devices : devices, s->precision, s->nccl, true,
                    err)
        != 0)
        return -1;
    if (run_world_devices(t->world, &t->devices, &t->first_of_spec, err) != 0) return -1;
    t->device_count = world_all_devices(t->world, t->devices.count);
    if (open_plan(t, err) != 0 || open_data(t, err) != 0 || open_program(t, err) != 0) return -1;
    if (check_statistics(t, err) != 0 || open_teacher(t, err) != 0) return -1;
    run_choose_lanes(&t->devices, s->lanes, s->prefetch_given ? s->prefetch : -1, &t->lanes,
                     &t->prefetch);
    if (!s->lanes) t->lanes = run_world_lanes(t->world, &t->devices, t->lanes);
    if (check_ranks(t, err) != 0) return -1;
    if (open_student(t, err) != 0 || open_checkpoint(t, err) != 0) return -1;
    if ((s->resume || s->student) && share_student(t, err) != 0) return -1;
    if (open_store(t, err) != 0) return -1;
    if (open_watch(t, err) != 0) return -1;
    tell_of_skipped(t);
    return 0;
}

static void train_close(Train *t)
{
    checkpoint_writer_close(t->writer, NULL);
    store_close(t->store);
    execution_free(&t->result);
    watch_free(&t->watch);
    run_replan_free(&t->replan);
    status_board_free(t->board);
    tensors_free(t->student);
    tensors_free(t->teacher);
    program_free(t->first);
    program_free(t->program);
    plan_free(t->plan);
    text_free(&t->how_planned);
    data_free(t->validation);
    data_free(t->data);
    free(t->picked);
    workload_free(t->workload);
}

/* What the run is, on stderr, before it begins: options, devices, data, where batches come from,
 * how the plan was made, and the ranks. Of several ranks only rank 0 speaks; all take part. */
static int print_settings(const Train *t, const Options *options, Error *err)
{
    Text ranks = {0};
    int  rc = run_world_table(t->world, &t->devices, t->first_of_spec, &ranks, err);

    if (rc == 0 && run_world_speaks(t->world)) options_print_settings(options, stderr);
    say(t, "  %d devices, %s each; %d blocks, ", t->device_count, t->devices.kind,
        t->workload->block_count);
    if (workload_has_candidates(t->workload))
        say(t, "%d students, ", workload_students(t->workload));
    say(t, "%s; batch %" PRId64 ", %" PRId64 " samples, %" PRId64 " steps an epoch; ",
        schedule_name(t->plan->schedule), t->workload->batch, data_count(t->data),
        t->steps_per_epoch);
    if (t->prefetch)
        say(t, "%d loader lanes%s, %d batches ahead\n", t->lanes, t->world ? " a rank" : "",
            t->prefetch);
    else             say(t, "devices load for themselves\n");
    if (t->how_planned.length) say(t, "plan: %s", text_string(&t->how_planned));
    if (t->store) {
        Text store = {0};
        run_store_text(t->store, t->program, t->settings->store, &store);
        say(t, "%s", text_string(&store));
        text_free(&store);
    }
    say(t, "%s", text_string(&ranks));
    text_free(&ranks);
    return rc;
}

/* ---- accuracy --------------------------------------------------------------------- */

/* Of the teacher, or of a workload's students, one a block. */
static int ask_workload(Accuracy *out, Agreement *near, const Train *t, const Workload *workload,
                        bool student, Error *err)
{
    Evaluation e = {.workload = workload, .devices = &t->devices, .data = t->validation,
                    .student = student, .weights = student ? t->student : t->teacher,
                    .seed = (uint64_t)t->settings->seed, .stop = t->stop};

    if (workload_has_labels(workload)) return evaluate(out, &e, err);
    return student && t->validation ? evaluate_agreement(near, &e, t->teacher, err) : 0;
}

/* Of several students a block those that are picked, once they are. */
static int ask(Accuracy *out, Agreement *near, const Train *t, bool student, Error *err)
{
    Workload *picked = NULL;

    *out = (Accuracy){0};
    if (student && workload_has_choices(t->workload)) return 0;
    if (!student || !workload_has_candidates(t->workload))
        return ask_workload(out, near, t, t->workload, student, err);
    if (!t->picked) return 0;
    int rc = workload_pick(&picked, t->workload, t->picked, err);
    if (rc == 0) rc = ask_workload(out, near, t, picked, true, err);
    workload_free(picked);
    return rc;
}

/* Where blocks have several students: of each the one whose loss is least. */
static int pick_students(Train *t, Error *err)
{
    if (!workload_has_candidates(t->workload)) return 0;
    t->picked = calloc((size_t)t->workload->block_count, sizeof *t->picked);
    if (!t->picked) return error_no_memory(err);
    watch_pick(&t->watch, t->picked);
    return 0;
}

static void accuracy_text(const char *what, const Accuracy *accuracy, Text *out)
{
    if (accuracy->asked)
        text_printf(out, "%s %.2f %%", what,
                    100.0 * (double)accuracy->right / (double)accuracy->asked);
}

/* exp of the mean loss of a token. */
static void perplexity_text(const char *what, const Accuracy *accuracy, Text *out)
{
    if (accuracy->asked)
        text_printf(out, "%s %.4g", what, exp(accuracy->loss / (double)accuracy->asked));
}

/* ---- the run ------------------------------------------------------------------------- */

static void on_update(void *context, int device, int student, int64_t step, double loss)
{
    (void)device;
    watch_update(&((Train *)context)->watch, student, step, loss);
}

static int on_snapshot(void *context, int student, int64_t step, const Tensors *state, Error *err)
{
    return checkpoint_writer_put(((Train *)context)->writer, student, step, state, err);
}

static int on_keep(void *context, Error *err)
{
    const int64_t an_hour_ns = INT64_C(3600000000000);

    return checkpoint_writer_flush(((Train *)context)->writer, an_hour_ns, err);
}

/* Takes back a stop that was only for another plan. */
static void unset_stop(Train *t)
{
    atomic_store(t->stop, false);
    /* since then */
    if (run_interrupted() || watch_failed(&t->watch)) atomic_store(t->stop, true);
}

/* Takes plan over: the run goes on under it. */
static int take_plan(Train *t, Plan *plan, Error *err)
{
    Program *program = NULL;

    plan_free(t->plan);
    t->plan = plan;
    plan_sort_devices(plan);
    if (program_build(&program, plan, t->program->steps, err) != 0
        || program_verify(program, (int)t->settings->queue_depth, err) != 0) {
        program_free(program);
        return -1;
    }
    if (t->first) program_free(t->program);
    else          t->first = t->program;
    t->program = program;
    unset_stop(t);
    return 0;
}

/* Whether a rank does not go on. */
static int find_who_leaves(bool *out, const Train *t, Error *err)
{
    size_t size = (size_t)world_size(t->world);
    bool   leaves = run_interrupted() || watch_failed(&t->watch),
         *theirs = calloc(size, sizeof *theirs);
    int    rc = theirs ? world_gather_all(t->world, theirs, &leaves, sizeof leaves, err)
                       : error_no_memory(err);

    *out = leaves;
    for (size_t r = 0; rc == 0 && r < size; r++) *out |= theirs[r];
    free(theirs);
    return rc;
}

/* Whether the run stopped only to go on under another plan, with the students as rank 0 has
 * them. */
static int find_next_plan(Train *t, bool *again, Error *err)
{
    Plan *plan = NULL;
    bool  leaves = false;

    *again = false;
    if (!t->result.stopped || !t->settings->replan) return 0;
    if (find_who_leaves(&leaves, t, err) != 0) return -1;
    if (leaves) return 0;
    if (run_replan_take(&t->replan, t->world, &plan, err) != 0) { plan_free(plan); return -1; }
    if (!plan) return 0;
    *again = true;
    return take_plan(t, plan, err) == 0 ? share_student(t, err) : -1;
}

/* All plans of the run, one after another. */
static int run_programs(Train *t, Execution *x, Error *err)
{
    bool again = true;

    if (t->store) return execute_parts(&t->result, x, drops(t), err);
    if (execute(&t->result, x, err) != 0 || find_next_plan(t, &again, err) != 0) return -1;
    while (again) {
        ExecutionResult more;
        x->program = t->program;
        x->student = t->student;
        x->record_steps = 0;
        if (execute(&more, x, err) != 0) return -1;
        int students = workload_students(t->workload);
        if (execution_join(&t->result, &more, students, t->device_count, err) != 0) {
            execution_free(&more);
            return -1;
        }
        if (find_next_plan(t, &again, err) != 0) return -1;
    }
    return 0;
}

/* Executes the programs, with checkpoints, log and timeline as the command line has them. The first
 * error counts. */
static int run(Train *t, Error *err)
{
    const TrainSettings *s = t->settings;
    Execution x = {.world = t->world, .program = t->program, .workload = t->workload,
                   .devices = &t->devices, .first_of_spec = t->first_of_spec, .data = t->data,
                   .store = t->store, .teacher = t->teacher, .student = t->student,
                   .seed = (uint64_t)s->seed, .steps_per_epoch = t->steps_per_epoch,
                   .queue_depth = (int)s->queue_depth, .lanes = t->lanes,
                   .micro_batches = t->workload->micro_batches, .prefetch = t->prefetch,
                   .synchronise = s->synchronise, .stop = t->stop, .board = t->board,
                   .current_run = &t->current_run, .progress = on_update, .context = t};

    if (s->checkpoint) {
        x.snapshot = on_snapshot;
        x.keep = on_keep;
        x.snapshot_every = s->every ? s->every : t->steps_per_epoch;
    }
    if (s->timeline) { x.record_first = RECORD_FIRST; x.record_steps = RECORD_STEPS; }
    watch_start(&t->watch);
    fault_monitor_keep(t->fault_monitor, t->writer);
    int rc = run_programs(t, &x, err);
    if (rc != 0) fault_monitor_check(t->fault_monitor);
    fault_monitor_keep(t->fault_monitor, NULL);
    int told = watch_end(&t->watch, rc == 0 ? err : NULL);
    if (rc == 0) rc = told;
    if (rc == 0 && !t->result.stopped) unset_stop(t);        /* by a plan that came when all devices
                                                              * were done */
    /* the first error counts */
    int kept = checkpoint_writer_close(t->writer, rc == 0 ? err : NULL);
    t->writer = NULL;
    return rc == 0 ? kept : rc;
}

/* ---- after it ------------------------------------------------------------------------- */

/* Writes the measured spans of the first RECORD_STEPS steps to --timeline, in Chrome's trace
 * format. */
static int write_timeline(const Train *t, Error *err)
{
    int          n = t->workload->block_count, rc = -1;
    const char **names = calloc((size_t)n, sizeof *names);
    Text         text = {0};
    Timeline     timeline = {.kind = "measured", .schedule = schedule_name(t->plan->schedule),
                             .trace_name = "", .block_names = names,
                             .program = t->first ? t->first : t->program, .spans = t->result.spans,
                             .span_count = t->result.span_count, .steps = RECORD_STEPS};

    if (!names) return error_no_memory(err);
    for (int b = 0; b < n; b++) names[b] = t->workload->block[b].name;
    for (int64_t i = 0; i < t->result.span_count; i++)
        if (t->result.spans[i].end_ns > timeline.epoch_ns)
            timeline.epoch_ns = t->result.spans[i].end_ns;
    timeline_text(&timeline, &text);
    rc = text_failed(&text)
             ? error_no_memory(err)
             : file_write(t->settings->timeline, text_string(&text), text.length, err);
    text_free(&text);
    free(names);
    return rc;
}

static int add_note(Tensors *tensors, const char *key, Error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int add_note(Tensors *tensors, const char *key, Error *err, const char *format, ...)
{
    char    value[256];
    va_list list;

    va_start(list, format);
    vsnprintf(value, sizeof value, format, list);
    va_end(list);
    return tensors_set_note(tensors, key, value, err);
}

static int add_notes(const Train *t, Tensors *out, Error *err)
{
    if (add_note(out, "workload", err, "%s", t->workload->name) != 0
        || add_note(out, "workload_hash", err, "%016" PRIx64, t->workload->hash) != 0
        || add_note(out, "schedule", err, "%s", schedule_name(t->plan->schedule)) != 0
        || add_note(out, "batch", err, "%" PRId64, t->workload->batch) != 0
        || add_note(out, "epochs", err, "%" PRId64, t->settings->epochs) != 0
        || add_note(out, "seed", err, "%" PRId64, t->settings->seed) != 0) return -1;
    return 0;
}

/* The student's own tensors, without the optimizer's state. */
static int add_student(Tensors *out, const Tensors *students, StudentId id, Error *err)
{
    for (int i = 0; i < tensors_count(students); i++) {
        const Tensor *tensor = tensors_at(students, i);
        if (!state_is_of(tensor->name, id) || state_prefix(tensor->name) > 0) continue;
        if (tensors_put_one(out, tensor, err) != 0) return -1;
    }
    return 0;
}

/* Student by student, so that the same ones are the same bytes whoever finished first. */
static int write_student(const Train *t, Error *err)
{
    Tensors *out = NULL;
    int      rc = -1;

    if (tensors_new(&out, err) != 0) return -1;
    for (int k = 0; k < workload_students(t->workload); k++)
        if (add_student(out, t->student, workload_student(t->workload, k), err) != 0) goto done;
    if (add_notes(t, out, err) != 0) goto done;
    rc = tensors_write(out, t->settings->output, err);
done:
    tensors_free(out);
    return rc;
}

/* Where each device's time went, of the time of the run. Own: the executor's, neither work nor
 * waiting; the rest, setting phases up and having none left. */
static void device_table(const Train *t, Text *out)
{
    double run_ns = (double)(t->result.end_ns - t->result.start_ns);

    text_append(out, "device      work      wait       own      rest    memory\n"
                     "               %         %         %         %       MiB\n");
    for (int d = 0; d < t->device_count; d++) {
        double work = 0, wait = 0, all = 0;
        for (int p = 0; p < t->result.phase_count; p++) {
            const PhaseTimes *times = &t->result.phases[p];
            if (times->device != d || times->steps == 0) continue;
            all += (double)(times->step_end_ns[times->steps - 1] - times->start_ns);
            for (int op = 0; op < OP_COUNT; op++) {
                work += (double)phase_work_ns(times, (Op)op);
                wait += (double)times->wait_ns[op];
            }
        }
        text_printf(out, "%-6d %9.2f %9.2f %9.2f %9.2f %9.1f\n", d, 100 * work / run_ns,
                    100 * wait / run_ns, 100 * (all - work - wait) / run_ns,
                    100 * (run_ns - all) / run_ns, (double)t->result.peak_bytes[d] / (1 << 20));
    }
}

static void skipped_text(const Train *t, Text *out)
{
    if (data_skipped(t->data))
        text_printf(out, "%" PRId64 " damaged samples were replaced by others\n",
                    data_skipped(t->data));
    if (t->validation && data_skipped(t->validation))
        text_printf(out,
                    "%" PRId64 " damaged samples of the validation part were replaced by others\n",
                    data_skipped(t->validation));
}

/* Of a rank that prints no result: its own, where not all were named. */
static void note_skipped(Train *t)
{
    char line[128];

    if (data_skipped(t->data) <= SKIPPED_NAMED) return;
    snprintf(line, sizeof line, "rank %d: %" PRId64 " damaged samples were replaced by others",
             world_rank(t->world), data_skipped(t->data));
    watch_note(&t->watch, line);
}

/* Which students the figures below are of, where blocks have several. */
static void picked_text(const Train *t, Text *out)
{
    if (!t->picked || !(t->after.asked || t->near_after.count)) return;
    text_append(out, "of each block the student with the least loss: ");
    for (int b = 0; b < t->workload->block_count; b++) {
        const char *name = workload_student_of(t->workload, b, t->picked[b]).name;
        text_printf(out, "%s%s", b ? "," : "", name ? name : "0");
    }
    text_append(out, "\n");
}

/* What a run prints at its end: losses, times of devices, accuracy, perplexity, samples that were
 * left out. */
static int print_result(const Train *t, Error *err)
{
    Text   text = {0};
    double seconds = (double)(t->result.end_ns - t->result.start_ns) / 1e9;
    bool   predicts = workload_predicts_tokens(t->workload);
    int    rc;

    watch_table(&t->watch, &text);
    text_append(&text, "\n");
    device_table(t, &text);
    text_printf(&text, "\n%.*f s, ", seconds < 10 ? 2 : 1, seconds);
    watch_rate_text(&t->watch, seconds, &text);
    text_append(&text, "\n");
    picked_text(t, &text);
    if (t->of_teacher.asked) {
        accuracy_text("accuracy: teacher", &t->of_teacher, &text);
        accuracy_text(", student before", &t->before, &text);
        accuracy_text(", after", &t->after, &text);
        text_printf(&text, " (of %" PRId64 "%s)\n", t->of_teacher.asked,
                    predicts ? " next tokens" : "");
        if (predicts) {
            perplexity_text("perplexity: teacher", &t->of_teacher, &text);
            perplexity_text(", student before", &t->before, &text);
            perplexity_text(", after", &t->after, &text);
            text_append(&text, "\n");
        }
        if (workload_has_choices(t->workload))
            text_append(
                &text,
                "the students have paths to choose from: no accuracy before one is chosen\n");
    }
    if (t->near_after.count) {
        text_append(&text, "agreement with the teacher on held-out samples (cosine): ");
        if (t->near_before.count)
            text_printf(&text, "before %.4f, ", t->near_before.sum / (double)t->near_before.count);
        text_printf(&text, "after %.4f (of %" PRId64 ")\n",
                    t->near_after.sum / (double)t->near_after.count, t->near_after.count);
    }
    skipped_text(t, &text);
    rc = text_failed(&text) ? error_no_memory(err)
                            : file_write("-", text_string(&text), text.length, err);
    text_free(&text);
    return rc;
}

/* What goes on where this ended. Of ranks that somebody else launched the launcher's line is not
 * known. */
static void resume_text(const Train *t, Text *out)
{
    const char *whole = getenv(RUN_GO_ON);
    int         ranks = world_size(t->world);

    text_append(out, "to go on");
    if (!whole && ranks > 1) text_printf(out, ", on %d processes as before", ranks);
    text_append(out, ": ");
    if (whole) text_append(out, whole);
    else       run_go_on_text(out, t->argc, t->argv);
}

static void say_how_to_go_on(const Train *t)
{
    Text text = {0};

    resume_text(t, &text);
    say(t, "%s\n", text_string(&text));
    text_free(&text);
}

/* Of an error, where the run has written a checkpoint. Who started this process says it after the
 * last restart. */
static void go_on_after_error(const Train *t, const Error *err)
{
    int64_t newest = run_newest_checkpoint(t->settings->checkpoint);

    if (execution_diverged(err)) {
        if (newest > t->first_checkpoint)
            say(t,
                "with a smaller learning_rate it is another workload, which --resume refuses; "
                "--init %s/checkpoint-%06" PRId64
                "-*.safetensors begins where this run was finite, once all blocks have begun\n",
                t->settings->checkpoint, newest);
        return;
    }
    if (!t->settings->checkpoint || getenv(RUN_GO_ON) || !run_world_speaks(t->world)) return;
    if (run_newest_checkpoint(t->settings->checkpoint) > t->first_checkpoint) say_how_to_go_on(t);
}

static int interrupted(const Train *t, Error *err)
{
    if (!t->settings->checkpoint)
        return error_set(err, "interrupted: without --checkpoint nothing is kept");
    if (t->watch.step_sum == 0)
        return error_set(err, "interrupted before a step was done: there is nothing to keep");
    say_how_to_go_on(t);
    return error_set(err, "interrupted after step %" PRId64 ", which is kept in %s",
                     t->watch.step_sum / t->watch.students, t->settings->checkpoint);
}

static int train(Train *t, const Options *options, Error *err)
{
    bool speaks = run_world_speaks(t->world);

    t->stop = run_catch_interrupt();
    if (open_all(t, err) != 0 || print_settings(t, options, err) != 0) return -1;
    watch_doing(&t->watch, "accuracy is measured");
    if (speaks
        && (ask(&t->of_teacher, NULL, t, false, err) != 0
            || ask(&t->before, &t->near_before, t, true, err) != 0))
        return -1;
    if (run(t, err) != 0) return -1;
    if (t->result.stopped) return interrupted(t, err);
    if (!speaks) { note_skipped(t); return 0; }
    if (t->settings->timeline && write_timeline(t, err) != 0) return -1;
    if (write_student(t, err) != 0 || pick_students(t, err) != 0) return -1;
    if (ask(&t->after, &t->near_after, t, true, err) != 0) return -1;
    return print_result(t, err);
}

static double accuracy_of(const Accuracy *a)
{
    return a->asked ? (double)a->right / (double)a->asked : NAN;
}

/* The log's last line says how it ended. */
static int end_log(Train *t, int rc, Error *err)
{
    const double accuracies[3] = {accuracy_of(&t->of_teacher), accuracy_of(&t->before),
                                  accuracy_of(&t->after)};

    if (!t->watch.log) return rc;
    int told = watch_close(&t->watch,
                           rc == 0             ? "done"
                           : t->result.stopped ? "stopped"
                                               : "failed",
                           rc == 0 || t->result.stopped ? NULL : err->text, accuracies,
                           rc == 0 ? err : NULL);
    return rc == 0 ? told : rc;
}

static int open_fault_monitor(Train *t, Error *err)
{
    int64_t      seconds = t->settings->timeout ? t->settings->timeout : FAULT_TIMEOUT_S;
    FaultMonitorOptions options = {.world = t->world, .command = "train",
                                   .timeout_ns = seconds * 1000000000,
                                   .interface = t->settings->interface,
                                   .current_run = &t->current_run,
                                   .checkpoint = t->settings->checkpoint};

    return fault_monitor_start(&t->fault_monitor, &options, err);
}

/* ---- the command line ------------------------------------------------------------------- */

/* What is wrong in these words whatever files and machine there are. */
static int check_words(const TrainSettings *s, Error *err)
{
    DeviceSpec devices;
    Schedule   schedule;

    if (s->schedule && run_plan_schedule(&schedule, s->schedule, s->trace, err) != 0) return -1;
    if (s->data && data_check_source(s->data, err) != 0) return -1;
    return run_devices(&devices, s->devices ? s->devices : "cpu:1", s->precision, s->nccl, false,
                       err);
}

/* --store goes with schedules that store boundaries. Of a plan's only its file tells. */
static int check_store(const TrainSettings *s, Error *err)
{
    Schedule schedule;

    if (run_store_check(s->store, err) != 0) return -1;
    if (!s->schedule || !schedule_find(s->schedule, &schedule)) return 0;
    return run_store_wanted(schedule_row(schedule)->stores, s->store, s->schedule, err);
}

/* ranks: this process is one of several. */
static int check_usage(const TrainSettings *s, bool ranks, Error *err)
{
    if (!s->workload) return error_set(err, "expected --workload W, see --help");
    if (!s->plan == !s->schedule)
        return error_set(err, "expected either --plan or --schedule, see --help");
    if (s->schedule && !s->devices)
        return error_set(err, "--schedule needs --devices, such as cpu:2");
    if (s->plan && s->trace && !s->replan)
        return error_set(err, "--trace: no effect with --plan, but for --replan");
    if (s->replan && !s->trace)
        return error_set(err, "--replan needs --trace, the times that the plan came from");
    if (!s->output) return error_set(err, "expected -o OUT.safetensors, see --help");
    if (strcmp(s->output, "-") == 0 || (s->timeline && strcmp(s->timeline, "-") == 0))
        return error_set(err, "-: the table goes to standard output, expected a file's name");
    if (s->resume && !s->checkpoint) return error_set(err, "--resume needs --checkpoint DIR");
    if (s->every && !s->checkpoint)
        return error_set(err, "--checkpoint-every: no effect without --checkpoint");
    if (s->restarts && !s->checkpoint) return error_set(err, "--restarts needs --checkpoint DIR");
    if (check_store(s, err) != 0) return -1;
    if (s->store && s->replan)
        return error_set(err, "--replan: not with --store, whose moves are not evaluated");
    if (s->log_every && !s->log) return error_set(err, "--log-every: no effect without --log");
    if (s->log && strcmp(s->log, "-") == 0)
        return error_set(err, "-: the table goes to standard output, expected a file's name");
    if (s->prefetch_given && s->prefetch == 0 && s->lanes > 0)
        return error_set(err, "--workers: no effect with --prefetch 0");
    if (s->timeout && !ranks && s->processes < 2)
        return error_set(err, "--fault-timeout: no effect on a run of one process");
    if (s->interface && !ranks && s->processes < 2)
        return error_set(err, "--interface: no effect on a run of one process");
    if (ranks && s->processes)
        return error_set(err, "--processes: this is a rank already, give mpirun its number");
    if (ranks && s->restarts)
        return error_set(err, "--restarts: of a rank, no; with --processes, of the whole run");
    if (check_files(s, NULL, err) != 0) return -1;
    return check_words(s, err);
}

/* Its defaults are no settings of a run without it. */
static void hide_replan(TrainSettings *s)
{
    s->replan_threshold = s->replan_gain = 0;
    s->replan_checks = 0;
}

int run_train(int argc, char **argv)
{
    static const char *const replan_only[] = {"replan-threshold", "replan-checks", "replan-gain"};
    TrainSettings s = {.replan_threshold = 15, .replan_gain = 5, .replan_checks = 3, .epochs = 1,
                       .seed = 1, .queue_depth = 2};
    Option table[] = {
        {"workload", 'w', OPTION_STRING, "W", "A bundled workload's name, or a file.", &s.workload,
         0, 0, NULL, false},
        {"plan", 0, OPTION_STRING, "PLAN", "The plan, a file of pipebd-plan -o.", &s.plan, 0, 0,
         NULL, false},
        {"schedule", 0, OPTION_STRING, "NAME",
         "Or a schedule: dp, ls, tr, dpu, ir, ahd, split, sequential, store; ls, ahd and split "
         "need --trace.",
         &s.schedule, 0, 0, NULL, false},
        {"trace", 0, OPTION_STRING, "TRACE",
         "The trace that --schedule plans from, and that --replan compares the devices' times "
         "with.", &s.trace, 0, 0, NULL, false},
        {"devices", 0, OPTION_STRING, RUN_DEVICES,
         RUN_DEVICES_HELP " Default: cpu:N for a plan of N devices.", &s.devices, 0, 0,
         NULL, false},
        {"precision", 0, OPTION_STRING, "P",
         "Precision: fp32 (default), bf16, on GPUs tf32 too.", &s.precision, 0, 0, NULL, false},
        {"nccl", 0, OPTION_FLAG, NULL,
         "Transfer rows and gradients between GPUs by NCCL instead of peer copies.", &s.nccl, 0, 0,
         NULL, false},
        {"data", 0, OPTION_STRING, "SOURCE", DATA_SOURCES " (default: the workload's).", &s.data, 0,
         0, NULL, false},
        {"epochs", 0, OPTION_INTEGER, "N", "Epochs to train each block for.", &s.epochs, 1,
         (int64_t)1 << 30, NULL, false},
        {"batch", 0, OPTION_INTEGER, "B", "Global batch (default: the workload's).", &s.batch, 1,
         (int64_t)1 << 24, NULL, false},
        {"seed", 0, OPTION_INTEGER, "S", "Seed of weights, sample order, augmentation and paths.",
         &s.seed, 0, (int64_t)1 << 53, NULL, false},
        {"init", 0, OPTION_STRING, "FILE",
         "Initial weights of the students, a file of train, choose or make-students (default: "
         "random).",
         &s.student, 0, 0, NULL, false},
        {"teacher", 0, OPTION_STRING, "FILE",
         "The teacher's weights, safetensors (default: the workload's).",
         &s.teacher, 0, 0, NULL, false},
        {"sync-batchnorm", 0, OPTION_FLAG, NULL,
         "Compute batch statistics over all devices of a block, not on each device alone.",
         &s.synchronise, 0, 0, NULL, false},
        {"queue-depth", 0, OPTION_INTEGER, "N", "Capacity of a relay queue, in messages.",
         &s.queue_depth, 1, 1024, NULL, false},
        {"workers", 0, OPTION_INTEGER, "N",
         "Loader workers (default: as many as cores that devices leave).",
         &s.lanes, 1, 1024, NULL, false},
        {"prefetch", 0, OPTION_INTEGER, "N",
         "Batches loaded ahead for each device; 0: the device loads its own (default: 2 with "
         "--workers or if devices leave cores, else 0).",
         &s.prefetch, 0, 1024, NULL, false},
        {"max-bad-samples", 0, OPTION_INTEGER, "N",
         "Replace at most N damaged samples by the next good ones.", &s.skip_bad, 0,
         (int64_t)1 << 40, NULL, false},
        {"checkpoint", 0, OPTION_STRING, "DIR", "Write checkpoints to this folder.", &s.checkpoint,
         0, 0, NULL, false},
        {"checkpoint-every", 0, OPTION_INTEGER, "N",
         "Steps of a block between its checkpoints (default: an epoch).",
         &s.every, 1, (int64_t)1 << 40, NULL, false},
        {"resume", 0, OPTION_FLAG, NULL,
         "Continue from the checkpoint, under the same plan or another.", &s.resume, 0, 0, NULL,
         false},
        {"store", 0, OPTION_STRING, "PLACE",
         "Where store and sequential keep boundaries: host (memory), or a folder for later runs.",
         &s.store, 0, 0, NULL, false},
        {"store-precision", 0, OPTION_STRING, "P",
         "Boundaries are stored in fp32 (default), or rounded to bf16: half the bytes.",
         &s.store_precision, 0, 0, NULL, false},
        {"restarts", 0, OPTION_INTEGER, "N",
         "Restart from the checkpoint after a crash or a fault, at most N times.",
         &s.restarts, 1, 1000000, NULL, false},
        {"replan", 0, OPTION_FLAG, NULL,
         "Compare the devices' times with --trace after each epoch, and change the plan if a "
         "device has become slower.",
         &s.replan, 0, 0, NULL, false},
        {"replan-threshold", 0, OPTION_NUMBER, "PERCENT", "Change of a device's times that counts.",
         &s.replan_threshold, 1, 0, NULL, false},
        {"replan-checks", 0, OPTION_INTEGER, "N", "Checks in a row that must find the change.",
         &s.replan_checks, 1, DRIFT_MAX_PATIENCE, NULL, false},
        {"replan-gain", 0, OPTION_NUMBER, "PERCENT", "Least gain in epoch time for another plan.",
         &s.replan_gain, 0, 0, NULL, false},
        {"log", 0, OPTION_STRING, "FILE",
         "Write a log, JSON lines, for pipebd-plot progress; --resume appends to it.",
         &s.log, 0, 0, NULL, false},
        {"log-every", 0, OPTION_INTEGER, "N",
         "Steps between lines of the log (default: a tenth of an epoch).",
         &s.log_every, 1, (int64_t)1 << 40, NULL, false},
        {"processes", 0, OPTION_INTEGER, "P",
         "Run P processes on this machine through mpirun, each with --devices.",
         &s.processes, 1, 4096, NULL, false},
        {"interface", 0, OPTION_STRING, "NAME",
         "Listen for other processes at this interface or address only.", &s.interface, 0, 0, NULL,
         false},
        {"fault-timeout", 0, OPTION_INTEGER, "SECONDS",
         "Time without a heartbeat after which a process is lost (default: 30).",
         &s.timeout, 1, 1000000, NULL, false},
        {"timeline", 0, OPTION_STRING, "FILE",
         "Write a timeline of steps 2 to 5 of each phase, for Perfetto.",
         &s.timeline, 0, 0, NULL, false},
        {"output", 'o', OPTION_STRING, "FILE",
         "Write the students' weights, safetensors, to this file.", &s.output, 0, 0, NULL, false},
        {0},
    };
    Options  options = {
         "pipebd-run train",
         "--workload W (--plan PLAN | --schedule NAME --devices DEVICES) -o FILE [options]",
         "Trains the students of a workload block by block against its teacher.", table, NULL};
    Operands operands;
    Error    err = {""};
    Train    t = {.settings = &s, .argc = argc, .argv = argv,
                  .current_run = CURRENT_RUN_INITIALIZER, .replan = RUN_REPLAN_INITIALIZER};

    run_ignore_lost_output();
    int      status = run_world_open(&t.world, "pipebd-run train");

    if (status != 0) return status;
    if (!run_world_parse(t.world, &options, argc, argv, &operands, &status, &err)) goto done;
    if (operands.count) { error_set(&err, "unexpected \"%s\"", operands.values[0]); goto done; }
    s.prefetch_given = option_given(table, "prefetch");
    for (int i = 0; i < 3 && !s.replan; i++)
        if (option_given(table, replan_only[i])) {
            error_set(&err, "--%s: no effect without --replan", replan_only[i]);
            goto done;
        }
    if (check_usage(&s, t.world != NULL, &err) != 0
        || run_store_precision(&s.store_bf16, s.store_precision, s.store, &err) != 0)
        goto done;
    if (!s.replan) hide_replan(&s);
    status = EXIT_FAILED;
    if (s.restarts || s.processes)
        return run_supervised(
            &(SuperviseOptions){argc, argv, s.checkpoint, (int)s.restarts, (int)s.processes});
    t.first_checkpoint = run_newest_checkpoint(s.checkpoint);
    if (open_fault_monitor(&t, &err) != 0) goto done;
    if (end_log(&t, train(&t, &options, &err), &err) == 0) status = EXIT_OK;
    else if ((t.result.stopped && !watch_failed(&t.watch)) || run_interrupted())
        status = EXIT_INTERRUPTED;
    else if (t.bad_usage) status = EXIT_USAGE;
    else go_on_after_error(&t, &err);
    train_close(&t);
done:
    if (status != EXIT_OK) fault_monitor_check(t.fault_monitor);
    status = run_world_close(t.world, "pipebd-run train", status, &err);
    fault_monitor_stop(t.fault_monitor);
    return status;
}
