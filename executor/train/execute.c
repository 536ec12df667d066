#include "executor/train/execute.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "executor/train/buffers.h"
#include "executor/train/gather.h"
#include "executor/data/loader.h"
#include "executor/train/record.h"
#include "executor/checkpoint/state.h"
#include "executor/train/worker.h"
#include "executor/transport/nccl/nccl.h"
#include "kernels/cuda_plugin.h"
#include "workloads/head.h"

/* ---- what can be run ------------------------------------------------------------ */

static int check_code(const Execution *x, const Code *code, Error *err)
{
    for (int p = 0; p < code->phase_count; p++) {
        int loads = 0;
        for (int i = 0; i < code->phases[p].count; i++) {
            const Instruction *in = &code->code[code->phases[p].first + i];
            loads += in->op == OP_LOAD;
        }
        if (loads > 1)
            return error_set(err, "a device loads %d times a step, expected once", loads);
        if (code->phases[p].first_step + code->phases[p].steps > x->program->steps)
            return error_set(
                err, "a phase ends with step %" PRId64 ", expected the run's %" PRId64 " at most",
                code->phases[p].first_step + code->phases[p].steps, x->program->steps);
    }
    return 0;
}

/* A block that learns from labels, and data that has them where it is trained. */
static int check_labels(const Execution *x, Error *err)
{
    const WorkBlock *last = &x->workload->block[x->workload->block_count - 1];

    if (!loss_is_of_labels(last->loss) || (x->data && data_has_labels(x->data))) return 0;
    return error_set(err, "block \"%s\" learns from labels (%s), and the data has none", last->name,
                     loss_name(last->loss));
}

static int check_store(const Execution *x, Error *err)
{
    if (!program_stores(x->program)) return 0;
    if (!x->store || !x->part.given)
        return error_set(
            err, "the program stores boundaries: it needs a store, and is executed in parts");
    if (x->program->queue.phase_count > 0)
        return error_set(err, "a program that stores boundaries has no shared queue");
    return 0;
}

static int check_students(const Execution *x, Error *err)
{
    const Program *program = x->program;

    for (int b = 0; b < program->block_count; b++) {
        int has = program_students(program, b), wanted = block_students(&x->workload->block[b]);
        if (has != wanted)
            return error_set(err,
                             "the program trains %d students of block \"%s\", workload %s has %d",
                             has, x->workload->block[b].name, x->workload->name, wanted);
    }
    return 0;
}

/* Devices that can do what the workload asks for, data that has it, and a program for its
 * blocks and students. */
static int check(const Execution *x, Error *err)
{
    const Program *program = x->program;

    if (device_trains(x->devices, x->workload, err) != 0 || check_labels(x, err) != 0) return -1;
    if (program->block_count != x->workload->block_count)
        return error_set(err, "the program trains %d blocks, workload %s has %d",
                         program->block_count, x->workload->name, x->workload->block_count);
    if (check_students(x, err) != 0) return -1;
    int devices = world_all_devices(x->world, x->devices->count);
    if (program->device_count != devices)
        return error_set(err, "the program is for %d devices, there are %d", program->device_count,
                         devices);
    if (x->board && status_board_devices(x->board) != program->device_count)
        return error_set(err, "device_status of %d devices, the program is for %d",
                         status_board_devices(x->board), program->device_count);
    if (check_store(x, err) != 0) return -1;
    for (int d = 0; d < program->device_count; d++)
        if (check_code(x, &program->devices[d], err) != 0) return -1;
    return check_code(x, &program->queue, err);
}

/* ---- the run -------------------------------------------------------------------- */

/* Lowers run->first[] to where the device's phases begin, and notes whether any is linked. */
static void look_at_phases(Run *run, const Code *code)
{
    for (int p = 0; p < code->phase_count; p++) {
        const Phase *phase = &code->phases[p];
        int64_t     *first = &run->first[phase->number], step = run_phase_first(run, code, phase);
        if (!run_has_phase(run, phase)) continue;
        if (step >= 0 && step < *first) *first = step;
        for (int i = 0; i < phase->count; i++)
            if (code->code[phase->first + i].link >= 0) run->linked = true;
    }
}

static int find_first_steps(Run *run, Error *err)
{
    const Program *program = run->x->program;
    int            numbers = program_numbers(program);

    for (int k = 0; k < program_student_count(program); k++) {
        StudentId id = workload_student(run->x->workload, k);
        if (state_step(&run->from_step[k], run->x->student, id, err) != 0) return -1;
        if (run->from_step[k] > program->steps)
            return error_set(err, "block %d stands at step %" PRId64 ", the run has %" PRId64,
                             id.block, run->from_step[k], program->steps);
        run->ended[k] = run->from_step[k];
        run->loss[k] = NAN;
    }
    run->first = calloc((size_t)numbers + 1, sizeof *run->first);
    if (!run->first) return error_no_memory(err);
    for (int n = 0; n < numbers; n++) run->first[n] = program->steps;
    for (int d = 0; d < program->device_count; d++) look_at_phases(run, &program->devices[d]);
    return 0;
}

/* Another rank, or a transport's own thread, failed. */
static void fail_with_others(void *context, const Error *err) { run_fail(context, err); }

static int open_nccl(Run *run, const TransportOptions *options, Error *err)
{
    enum { LIMIT_MS = 600000 };          /* a first step measures algorithms */
    const CudaPlugin *plugin = cuda_plugin(err);
    NcclOptions       nccl = {*options, run->x->first_of_spec, LIMIT_MS, fail_with_others, run};

    return plugin ? ((NcclNew *)plugin->nccl_new)(&run->transport, &nccl, err) : -1;
}

/* GPUs of several processes: NCCL takes a GPU once. */
static bool wants_nccl(const Execution *x)
{
    const CudaPlugin *plugin = x->devices->type == DEVICE_CUDA ? cuda_plugin(NULL) : NULL;

    return x->devices->nccl
           || (plugin && plugin->nccl_new && world_size(x->world) > 1 && x->devices->slices == 1);
}

/* NCCL where it is asked for, or GPUs are in several processes; else messages of the world, if
 * there are several. */
static int open_transport(Run *run, const TransportOptions *options, Error *err)
{
    if (wants_nccl(run->x)) return open_nccl(run, options, err);
    return (world_size(run->x->world) > 1 ? remote_new : local_new)(&run->transport, options, err);
}

static void *rows_alloc(const void *devices, size_t bytes) { return host_alloc(devices, bytes); }
static void  rows_release(const void *devices, void *rows) { host_release(devices, rows); }

/* Rows for asynchronous devices: copies overlap with the program from memory of theirs only. */
static void keep_pinned(LoaderOptions *options, const DeviceSpec *devices)
{
    if (!device_spec_is_async(devices)) return;
    options->alloc = rows_alloc;
    options->release = rows_release;
    options->context = devices;
}

static int64_t fetched_elements(const void *context, int queue)
{
    const Run *run = context;

    return workload_boundary_count(run->x->workload, queue % (run->x->program->block_count + 1));
}

static int fetch_row(void *context, int queue, const RowWanted *row, float *out, int *label,
                     Error *err)
{
    const Run *run = context;
    int        k = queue % (run->x->program->block_count + 1);

    *label = -1;
    if (run->exchange && row_exchange_has(run->exchange, queue, row)) {
        if (row_exchange_get(run->exchange, queue, row, out, err) != 0) return -1;
    } else if (stored_get(store_boundary(run->x->store, k), row->sample, out, err) != 0) return -1;
    if (run->exchange) row_exchange_took(run->exchange, queue, row);
    return 0;
}

/* The fetching phases of a device, in their order. */
static int add_streams(Run *run, int device, Error *err)
{
    const Code *code = &run->x->program->devices[device];

    for (int p = 0; p < code->phase_count; p++) {
        const Phase *phase = &code->phases[p];
        int64_t      first = run_first_step(run, code, phase), end = run_phase_end(run, phase);
        for (int i = 0; run_has_phase(run, phase) && first < end && i < phase->count; i++) {
            const Instruction *in = &code->code[phase->first + i];
            if (in->op == OP_FETCH
                && row_exchange_add(run->exchange, run_fetch_queue(run, device, in->block), device,
                                    phase, in, first, end - first, err)
                       != 0)
                return -1;
        }
    }
    return 0;
}

static int open_exchange(Run *run, int64_t number, Error *err)
{
    RowExchangeOptions options = {run->x, run_fetch_queue(run, run->x->program->device_count, 0),
                                  number, fail_with_others, run};

    if (!store_is_apart(run->x->store)) return 0;
    if (row_exchange_new(&run->exchange, &options, err) != 0) return -1;
    for (int d = 0; d < run->x->program->device_count; d++)
        if (add_streams(run, d, err) != 0) return -1;
    return row_exchange_open(run->exchange, err);
}

/* What devices fetch. As batches are loaded: by threads ahead of the devices, where these leave
 * cores or loading ahead was asked for, else by the devices' own, for which rows of a folder are
 * announced (stored_expect()). */
static int open_fetcher(Run *run, Error *err)
{
    enum { FETCH_LANES = 4 };
    const Execution *x = run->x;
    RowSource        source = {fetched_elements, fetch_row, run, data_count(x->data)};
    LoaderOptions    options = {.source = &source, .lanes = FETCH_LANES,
                                .prefetch = x->prefetch > 0 ? STORAGE_AHEAD : 0,
                                .devices = run_fetch_queue(run, x->program->device_count, 0),
                                .batch = x->program->batch, .steps_per_epoch = x->steps_per_epoch,
                                .seed = x->seed};

    keep_pinned(&options, x->devices);
    return loader_new(&run->fetcher, NULL, &options, err);
}

/* Makes what the devices of a run share: status board, transport, run control, fetcher, loader. On
 * an error the caller closes run. */
static int open_run(Run *run, size_t *message_count, int64_t number, Error *err)
{
    const Execution *x = run->x;
    size_t devices = (size_t)x->program->device_count,
           students = (size_t)program_student_count(x->program);
    TransportOptions transport = {.program = x->program, .message_count = message_count,
                                  .queue_depth = x->queue_depth,
                                  .spin = !device_spec_shares(x->devices), .devices = x->devices,
                                  .world = x->world, .number = number,
                                  .core_times = x->record_steps > 0 ? &run->core_times : NULL};
    LoaderOptions    loader = {.lanes = x->lanes, .prefetch = x->prefetch,
                               .devices = x->program->device_count, .batch = x->program->batch,
                               .steps_per_epoch = x->steps_per_epoch, .seed = x->seed};

    keep_pinned(&loader, x->devices);
    run->from_step = calloc(students, sizeof *run->from_step);
    run->ended = calloc(students, sizeof *run->ended);
    run->loss = calloc(students, sizeof *run->loss);
    run->trained = calloc(students, sizeof *run->trained);
    run->peak_bytes = calloc(devices, sizeof *run->peak_bytes);
    if (!run->from_step || !run->ended || !run->loss || !run->trained || !run->peak_bytes)
        return error_no_memory(err);
    run->board = x->board;
    if (!run->board && status_board_new(&run->board, x->program->device_count, err) != 0) return -1;
    if (find_first_steps(run, err) != 0) return -1;
    buffers_messages(message_count, x->program, x->workload);
    run->message_count = message_count;
    if (open_transport(run, &transport, err) != 0) return -1;
    if (run_control_open(&run->control, x, number, run->linked, err) != 0) return -1;
    if (program_stores(x->program)
        && (open_fetcher(run, err) != 0 || open_exchange(run, number, err) != 0))
        return -1;
    return loader_new(&run->loader, x->data, &loader, err);
}

static void close_run(Run *run)
{
    run_control_close(run->control);
    if (run->transport) run->transport->ops->free(run->transport);
    if (run->exchange) row_exchange_stop(run->exchange);         /* nobody waits for rows */
    loader_free(run->loader);
    loader_free(run->fetcher);
    row_exchange_free(run->exchange);
    if (run->board != run->x->board) status_board_free(run->board);
    free(run->from_step);
    free(run->ended);
    free(run->loss);
    free(run->trained);
    free(run->peak_bytes);
    free(run->first);
}

/* Starts the workers of the devices here and waits for them. The caller comes to the barrier with
 * them, to see when the run starts and ends. */
static void run_workers(Run *run, ExecutionResult *out, pthread_t *threads,
                        WorkerArgument *arguments, Recorder *recorders)
{
    World *world = run->x->world;
    int    first = world_first_device(world),
        devices = world_devices(world, run->x->program->device_count), created = 0;

    start_barrier_open(&run->start, devices + 1, world);
    world_on_failure(world, fail_with_others, run);
    for (; created < devices; created++) {
        Recorder *recorder = &recorders[first + created];
        *recorder = (Recorder){.device = first + created,
                               .first = run->x->record_first,
                               .steps = run->x->record_steps};
        arguments[created] = (WorkerArgument){run, first + created, recorder};
        if (pthread_create(&threads[created], NULL, worker_run, &arguments[created]) != 0) break;
    }
    if (created < devices) {
        Error err;
        error_set(&err, "cannot start a thread for device %d", first + created);
        run_fail(run, &err);
        start_barrier_expect(&run->start, created + 1);
    }
    start_barrier_pass(&run->start);
    out->start_ns = run->start.opened_ns;         /* it cannot open again without the caller */
    start_barrier_pass(&run->start);
    out->end_ns = run->start.opened_ns;
    for (int d = 0; d < created; d++) pthread_join(threads[d], NULL);
    world_on_failure(world, NULL, NULL);
    start_barrier_close(&run->start);
}

int execute(ExecutionResult *out, const Execution *x, Error *err)
{
    size_t          devices = (size_t)x->program->device_count;
    int64_t         called_ns = clock_ns();
    Run     run = {.x = x, .lock = PTHREAD_MUTEX_INITIALIZER, .report = PTHREAD_MUTEX_INITIALIZER};
    size_t *message_count = calloc((size_t)x->program->channel_count + 1, sizeof *message_count);
    pthread_t      *threads = calloc(devices, sizeof *threads);
    WorkerArgument *arguments = calloc(devices, sizeof *arguments);
    Recorder       *recorders = calloc(devices, sizeof *recorders);
    int             rc = -1;

    *out = (ExecutionResult){0};
    core_times_open(&run.core_times, x->record_first);
    int ready =
        message_count && threads && arguments && recorders ? check(x, err) : error_no_memory(err);
    if (ready == 0) ready = open_run(&run, message_count, world_number(x->world), err);
    if (world_agree(x->world, ready, err) != 0) goto done;
    if (run.exchange) row_exchange_start(run.exchange);
    if (x->current_run) current_run_show(x->current_run, run.board, x->program);
    run_workers(&run, out, threads, arguments, recorders);
    if (x->current_run) current_run_hide(x->current_run);
    if (atomic_load(&run.failed)) { if (err) *err = run.error; goto done; }
    out->stopped = run_control_stopped(run.control);
    if (gather_results(&run, recorders, &out->stopped, err) != 0) goto done;
    if (run.core_times.failed) { error_no_memory(err); goto done; }
    if (record_collect(out, recorders, devices, err) != 0) goto done;
    out->loss = run.loss;             run.loss = NULL;
    out->steps = run.ended;           run.ended = NULL;
    out->peak_bytes = run.peak_bytes; run.peak_bytes = NULL;
    out->core_times = run.core_times.list;
    out->core_time_count = run.core_times.count;
    run.core_times.list = NULL;
    rc = 0;
done:
    if (rc != 0) execution_free(out);
    for (size_t d = 0; recorders && d < devices; d++) record_free(&recorders[d]);
    free(recorders);
    free(arguments);
    free(threads);
    free(message_count);
    close_run(&run);
    core_times_close(&run.core_times);
    if (rc == 0) out->besides_ns = clock_ns() - called_ns - (out->end_ns - out->start_ns);
    return rc;
}

static int join_phases(ExecutionResult *out, ExecutionResult *more, Error *err)
{
    int64_t     later_ns = more->start_ns - out->start_ns;
    PhaseTimes *moved =
        realloc(out->phases, (size_t)(out->phase_count + more->phase_count + 1) * sizeof *moved);

    if (!moved) return error_no_memory(err);
    out->phases = moved;
    for (int p = 0; p < more->phase_count; p++) {
        PhaseTimes *times = &out->phases[out->phase_count++];
        *times = more->phases[p];
        times->start_ns += later_ns;
        for (int64_t s = 0; s < times->steps; s++) times->step_end_ns[s] += later_ns;
    }
    more->phase_count = 0;
    return 0;
}

static int join_spans(ExecutionResult *out, const ExecutionResult *more, Error *err)
{
    int64_t later_ns = more->start_ns - out->start_ns;
    Span   *moved;

    if (more->span_count == 0) return 0;
    moved = realloc(out->spans, (size_t)(out->span_count + more->span_count) * sizeof *moved);
    if (!moved) return error_no_memory(err);
    out->spans = moved;
    for (int64_t i = 0; i < more->span_count; i++) {
        Span *span = &out->spans[out->span_count++];
        *span = more->spans[i];
        span->start_ns += later_ns;
        span->end_ns += later_ns;
    }
    return 0;
}

static int join_core_times(ExecutionResult *out, const ExecutionResult *more, Error *err)
{
    CoreTimes all;

    core_times_open(&all, 0);
    core_times_merge(&all, out->core_times, out->core_time_count);
    core_times_merge(&all, more->core_times, more->core_time_count);
    if (!all.failed) {
        free(out->core_times);
        out->core_times = all.list;
        out->core_time_count = all.count;
        all.list = NULL;
    }
    int rc = all.failed ? error_no_memory(err) : 0;
    core_times_close(&all);
    return rc;
}

int execution_warm_up(const Workload *workload, const DeviceSpec *devices)
{
    enum { FIRST = 3, EACH_PATH = 2 };   /* seen, recorded, and once more as memory goes round; of
                                          * each path of a supernet */
    int paths = workload_most_paths(workload);

    if (!device_spec_is_async(devices)) return 0;
    return FIRST + (paths > 1 ? EACH_PATH * paths : 0);
}

int execution_join(ExecutionResult *out, ExecutionResult *more, int students, int devices,
                   Error *err)
{
    if (join_spans(out, more, err) != 0 || join_phases(out, more, err) != 0
        || join_core_times(out, more, err) != 0)
        return -1;
    for (int k = 0; k < students; k++) {
        if (!isnan(more->loss[k])) out->loss[k] = more->loss[k];
        out->steps[k] = more->steps[k];
    }
    for (int d = 0; d < devices; d++)
        if (more->peak_bytes[d] > out->peak_bytes[d]) out->peak_bytes[d] = more->peak_bytes[d];
    out->end_ns = more->end_ns;
    out->besides_ns += more->besides_ns;
    out->stopped = more->stopped;
    execution_free(more);
    return 0;
}

bool execution_diverged(const Error *err) { return strstr(err->text, EXECUTION_DIVERGED) != NULL; }

void execution_free(ExecutionResult *result)
{
    for (int p = 0; p < result->phase_count; p++) free(result->phases[p].step_end_ns);
    free(result->phases);
    free(result->spans);
    free(result->core_times);
    free(result->loss);
    free(result->steps);
    free(result->peak_bytes);
    *result = (ExecutionResult){0};
}
