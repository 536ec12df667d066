#include "tools/run/measure.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "executor/measure/profile.h"
#include "include/pipebd.h"
#include "tools/run/common.h"
#include "tools/run/stored.h"
#include "tools/run/world.h"

int measure_check(MeasureSettings *s, const Option *table, bool ranks, Error *err)
{
    DeviceSpec devices;

    s->prefetch_given = option_given(table, "prefetch");
    if (!s->workload) return error_set(err, "expected --workload W");
    if (!s->devices) return error_set(err, "expected --devices, as in cpu:2 or cuda:0/4");
    if (s->prefetch_given && s->prefetch == 0 && s->lanes > 0)
        return error_set(err, "--workers: no effect with --prefetch 0");
    if (run_store_check(s->store, err) != 0) return -1;
    if (s->interface && !ranks)
        return error_set(err, "--interface: no effect on a run of one process");
    if (s->data && data_check_source(s->data, err) != 0) return -1;
    return run_devices(&devices, s->devices, s->precision, s->nccl, false, err);
}

/* The teacher's weights from a file, or from what the workload names. */
static int open_teacher(MeasureInputs *out, const MeasureSettings *s, Error *err)
{
    const char *path = s->teacher ? s->teacher : out->workload->teacher_weights;

    return path ? run_read_weights(&out->teacher, path, err) : 0;
}

/* What must be the same in all ranks. */
static int check_ranks(const MeasureInputs *in, const MeasureSettings *s, const char *source,
                       Error *err)
{
    Text facts = {0};

    text_printf(&facts,
                "version of pipebd-run\t%s\nhash of the workload\t%016" PRIx64
                "\ndevices\t%s each\n--precision\t%s\n"
                "data\t%s\nsamples\t%" PRId64 "\nbatch\t%" PRId64 "\n--seed\t%" PRId64
                "\n--trials\t%" PRId64 "\n--queue-depth\t%" PRId64 "\nprefetch\t%d\n",
                PIPEBD_VERSION, in->workload->hash, in->devices.kind,
                precision_name(in->devices.precision), source, data_count(in->data), in->batch,
                s->seed, s->trials, s->queue_depth, in->prefetch);
    int rc = run_world_same(in->world, &facts, err);
    text_free(&facts);
    return rc;
}

int measure_open(MeasureInputs *out, const MeasureSettings *s, World *world, const char *command,
                 Error *err)
{
    *out = (MeasureInputs){
        .world = world, .stop = run_catch_interrupt(), .current_run = CURRENT_RUN_INITIALIZER};
    out->monitor = monitor_of_run(&out->current_run);
    FaultMonitorOptions fault_monitor = {.world = world, .command = command,
                                         .timeout_ns = FAULT_TIMEOUT_S * INT64_C(1000000000),
                                         .interface = s->interface,
                                         .current_run = &out->current_run};
    if (fault_monitor_start(&out->fault_monitor, &fault_monitor, err) != 0) return -1;
    if (run_devices(&out->devices, s->devices, s->precision, s->nccl, true, err) != 0) return -1;
    if (run_world_devices(world, &out->devices, &out->first_of_spec, err) != 0) return -1;
    out->device_count = world_all_devices(world, out->devices.count);
    if (run_read_workload(&out->workload, s->workload, run_world_speaks(world), err) != 0)
        return -1;
    const char *folder = run_store_folder(s->store);
    if (folder && run_world_speaks(world) && run_store_check_folder(folder, err) != 0) return -1;
    out->batch = s->batch ? s->batch : out->workload->batch;
    const char *source = run_data_source(s->data, out->workload);
    if (data_open(&out->data, source, out->workload, DATA_TRAIN, 0, err) != 0) return -1;
    if (run_check_batch(out->batch, out->data, source, err) != 0) return -1;
    run_choose_lanes(&out->devices, s->lanes, s->prefetch_given ? s->prefetch : -1, &out->lanes,
                     &out->prefetch);
    if (!s->lanes) out->lanes = run_world_lanes(world, &out->devices, out->lanes);
    if (open_teacher(out, s, err) != 0) return -1;
    return check_ranks(out, s, source, err);
}

int measure_say_ranks(const MeasureInputs *in, Error *err)
{
    Text ranks = {0};
    int  rc = run_world_table(in->world, &in->devices, in->first_of_spec, &ranks, err);

    fputs(text_string(&ranks), stderr);
    text_free(&ranks);
    return rc;
}

int measure_status(int status)
{
    return status == EXIT_FAILED && run_interrupted() ? EXIT_INTERRUPTED : status;
}

void measure_close(MeasureInputs *inputs, bool failed)
{
    if (failed) fault_monitor_check(inputs->fault_monitor);
    fault_monitor_stop(inputs->fault_monitor);
    monitor_end(inputs->monitor);
    tensors_free(inputs->teacher);
    data_free(inputs->data);
    workload_free(inputs->workload);
}

static void progress_of_programs(void *context, int done, int total)
{
    Progress *progress = context;

    progress->total = total;
    progress_add(progress, done - progress->done);
}

static void today(char *out, size_t size)
{
    time_t    now = time(NULL);
    struct tm tm;

    gmtime_r(&now, &tm);
    strftime(out, size, "%Y-%m-%d", &tm);
}

int measure_profile(Text *out, MeasureInputs *in, const MeasureSettings *s, Progress *progress,
                    Error *err)
{
    char           date[16];
    Text           facts = {0};
    ProfileOptions options = {.world = in->world, .first_of_spec = in->first_of_spec,
                              .workload = in->workload, .devices = &in->devices, .data = in->data,
                              .teacher = in->teacher, .batch = in->batch, .trials = (int)s->trials,
                              .limit_s = s->limit,
                              .queue_depth = (int)s->queue_depth, .lanes = in->lanes,
                              .prefetch = in->prefetch, .seed = (uint64_t)s->seed, .stop = in->stop,
                              .current_run = &in->current_run, .progress = progress_of_programs,
                              .store = s->store, .store_bf16 = s->store_bf16,
                              .context = progress, .date = date, .note = ""};

    today(date, sizeof date);
    if (device_spec_facts(&in->devices, &facts, err) != 0) return -1;
    options.note = text_string(&facts);
    int rc = profile(out, &options, err);
    text_free(&facts);
    return rc;
}
