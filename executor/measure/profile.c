#include "executor/measure/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/compare.h"
#include "base/micro.h"
#include "base/minmax.h"
#include "base/stats.h"
#include "executor/measure/profile_programs.h"
#include "executor/measure/profile_state.h"
#include "executor/measure/profile_trace.h"
#include "executor/train/execute.h"

enum { WARM_UP = 3 };        /* steps before those that are timed, where devices do not record */
enum { LEAST_TURNS = 3, PROFILE_TURNS = 6 };     /* the latter where a turn has ten steps then */

/* ---- what to measure ------------------------------------------------------------- */

static int unique(int64_t *rows, int count)
{
    int kept = 0;

    qsort(rows, (size_t)count, sizeof *rows, compare_int64);
    for (int i = 0; i < count; i++)
        if (kept == 0 || rows[kept - 1] != rows[i]) rows[kept++] = rows[i];
    return kept;
}

/* A trace's machines have so many devices each, one after another. */
static int find_hosts(Profiling *p)
{
    World *world = p->options->world;
    int    hosts = 1 + world_host_number(world, world_size(world) - 1);

    p->per_host = p->devices / hosts;
    for (int d = 0; d < p->devices; d++)
        if (world_host_number(world, world_rank_of(world, d)) != d / p->per_host)
            return error_set(p->err,
                             "%d devices on %d hosts: for a trace each host needs as many, and "
                             "ranks that follow "
                             "each other (mpirun --map-by slot)",
                             p->devices, hosts);
    return 0;
}

/* The first of width devices: on the first host, or on both sides of the border to the second. */
static int first_of_group(const Profiling *p, bool across, int width)
{
    int first = across ? p->per_host - (width + 1) / 2 : 0;

    if (first > p->devices - width) first = p->devices - width;
    return first > 0 ? first : 0;
}

/* Whom device 0 sends to: of another process, if it can, as messages within one are faster. */
static int receiver(const Profiling *p, bool across)
{
    if (across) return p->per_host;
    for (int d = 1; d < p->per_host; d++)
        if (world_rank_of(p->options->world, d) > 0) return d;
    return 1;
}

/* Shares floor and ceil of B/w for every width w; messages of the same and of one row, the
 * least that devices of two groups can have in common. */
static int choose_rows(Profiling *p)
{
    int64_t batch = p->options->batch;
    int64_t micro = p->options->workload->micro_batches;
    int     most = p->devices < batch ? p->devices : (int)batch;

    p->shares = malloc((size_t)(6 * most + 1) * sizeof *p->shares);
    p->messages = malloc((size_t)(2 * most + 1) * sizeof *p->messages);
    if (!p->shares || !p->messages) return error_no_memory(p->err);
    for (int w = 1; w <= most; w++) {
        p->shares[p->share_count++] = batch / w;
        p->shares[p->share_count++] = (batch + w - 1) / w;
    }
    p->share_count = unique(p->shares, p->share_count);
    memcpy(p->messages, p->shares, (size_t)p->share_count * sizeof *p->messages);
    p->messages[p->share_count] = 1;
    p->message_count = unique(p->messages, p->share_count + 1);
    for (int i = 0, whole = p->share_count; micro > 1 && i < whole; i++) {       /* parts of them */
        p->shares[p->share_count++] = p->shares[i] / micro_parts(micro, p->shares[i]);
        p->shares[p->share_count++] = micro_rows(micro, p->shares[i]);
    }
    p->share_count = unique(p->shares, p->share_count);
    p->total = p->turns * profile_work_programs(p);
    for (int across = 0; across < 2; across++) {
        int widest = profile_widest_group(p, across);
        if (widest >= 2)
            p->total += (profile_takes_cores(p) ? 2 : 1) * (widest - 1 + p->message_count);
    }
    return 0;
}

/* ---- running ------------------------------------------------------------------------- */

/* Threads of asynchronous devices enqueue and wait: they are not asked. */
static void add_core_time(Profiling *p, const ExecutionResult *result)
{
    for (int i = 0; i < result->phase_count; i++) {
        const PhaseTimes *times = &result->phases[i];
        if (times->overlapped) continue;
        p->cpu_ns += (double)times->cpu_ns;
        for (int op = 0; op < OP_COUNT; op++) p->work_ns += (double)times->work_ns[op];
    }
}

static double work_us(const Samples *samples, int64_t first)
{
    double us = 0;

    for (int64_t i = first; i < samples->count; i++)
        if (op_computes(samples->list[i].op)) us += samples->list[i].us;
    return us;
}

/* Adds what result recorded to into, and notes the run. */
static int keep_result(Profiling *p, const Program *program, const ExecutionResult *result,
                       Samples *into)
{
    int64_t    first = into->count;
    ProgramRun run = {.into = into, .run = into->runs, .reading = p->speed.count - 1,
                      .besides_us = (double)result->besides_ns * 1e-3};

    if (!array_has_room(p->runs, p->run_count, p->run_room)) return error_no_memory(p->err);
    if (samples_add(into, program, result->spans, result->span_count, p->warm_up, p->err) != 0)
        return -1;
    run.work_us = work_us(into, first);
    if (into == &p->work[ALONE]
        && own_time_find(&run.own, result->spans, result->span_count, p->warm_up, p->err) != 0)
        return -1;
    p->runs[p->run_count++] = run;
    return 0;
}

/* Executes program once and adds the times of its recorded steps to into, and what its transfers
 * took of processors to core, each NULL for none; of programs of devices alone, their own time
 * too. Then reads the machine's speed. */
static int run(Profiling *p, Program *program, Samples *into, CoreTimes *core)
{
    const ProfileOptions *o = p->options;
    ExecutionResult result = {0};
    Execution       e = p->like;
    int             rc = -1;

    if (o->stop && atomic_load(o->stop)) return error_set(p->err, "stopped");
    if (tensors_new(&e.student, p->err) != 0) return -1;
    e.program = program;
    e.steps_per_epoch = program->steps;
    e.record_first = p->warm_up;
    e.record_steps = p->steps;
    if (execute(&result, &e, p->err) != 0) goto done;
    add_core_time(p, &result);
    if (core) core_times_merge(core, result.core_times, result.core_time_count);
    if (core && core->failed) { error_no_memory(p->err); goto done; }
    if (into && keep_result(p, program, &result, into) != 0) goto done;
    rc = speed_read(&p->speed, p->err);
    if (o->progress) o->progress(o->context, ++p->done, p->total);
done:
    execution_free(&result);
    tensors_free(e.student);
    return rc;
}

typedef int TraceBuild(Program **out, const ProfileShape *shape, int active, int width,
                       int64_t rows, Error *err);

static int measure(Profiling *p, TraceBuild *build, int active, int64_t rows, Samples *into)
{
    ProfileShape shape = {p->devices, p->blocks, p->options->batch, p->steps + p->warm_up,
                          p->students};
    Program     *program;

    int width = active > 1 && profile_meets(p) ? profile_width(&shape, rows) : 1;
    if (build(&program, &shape, active, width, rows, p->err) != 0) return -1;
    int rc = run(p, program, into, NULL);
    program_free(program);
    return rc;
}

/* Every program of work once. */
static int measure_turn(Profiling *p)
{
    for (int i = 0; i < p->share_count; i++) {
        int64_t rows = p->shares[i];
        if (measure(p, profile_compute, 1, rows, &p->work[ALONE]) != 0) return -1;
        if (p->devices > 1
            && measure(p, profile_compute, p->devices, rows, &p->work[BUSY]) != 0)
            return -1;
        if (measure(p, profile_single_block, 1, rows, &p->work[SINGLE_BLOCK]) != 0)
            return -1;
        if (profile_meets(p)
            && measure(p, profile_single_block, p->devices, rows, &p->work[SINGLE_BLOCK_BUSY])
                   != 0)
            return -1;
    }
    return 0;
}

/* Of the i-th program of a turn: the standard error of its mean work, at one speed of the machine,
 * over that mean. list: room for p->turns. */
static double error_of_program(const Profiling *p, int i, double mean_us, double *list)
{
    int programs = profile_work_programs(p);

    for (int turn = 0; turn < p->turns; turn++) {
        const ProgramRun *r = &p->runs[turn * programs + i];
        list[turn] = r->work_us / speed_slowness(&p->speed, r->reading, mean_us);
    }
    return stats_variation(list, (size_t)p->turns) / sqrt(p->turns);
}

/* Sets p->error, which is known at rank 0, where all times are. */
static int find_error(Profiling *p)
{
    double *list = malloc((size_t)p->turns * sizeof *list), mean_us = speed_mean_us(&p->speed);

    if (!list) return error_no_memory(p->err);
    p->error = 0;
    for (int i = 0; i < profile_work_programs(p); i++)
        p->error = fmax(p->error, error_of_program(p, i, mean_us, list));
    free(list);
    return 0;
}

/* Whether times are not known well enough yet, and there is time: the same at all ranks. */
static int wants_more(Profiling *p, int64_t start_ns, bool *more)
{
    if (find_error(p) != 0) return -1;
    *more = !p->recorded && p->error > PROFILE_ERROR
            && (double)(clock_ns() - start_ns) * 1e-9 < p->options->limit_s;
    return world_broadcast(p->options->world, more, sizeof *more, p->err);
}

/* In turns, so that a machine whose speed drifts does so in all of them; and on, where times are
 * not known well enough then, for as long as may be. */
static int measure_work(Profiling *p)
{
    bool more = true;

    if (speed_read(&p->speed, p->err) != 0) return -1;
    for (int turn = 0; turn < p->turns; turn++)
        if (measure_turn(p) != 0) return -1;
    for (int64_t start_ns = clock_ns();;) {
        if (wants_more(p, start_ns, &more) != 0) return -1;
        if (!more) return 0;
        p->total += profile_work_programs(p);
        p->turns++;
        if (measure_turn(p) != 0) return -1;
    }
}

/* How often the receiver of busy relays must train for it to have more to do than the sender: rank
 * 0, which has the times, tells all. */
static int times_of_training(Profiling *p, int *times)
{
    static const Op ops[] = {OP_TEACHER, OP_FORWARD, OP_BACKWARD};
    enum { MOST = 8 };
    double teach_us = 0, train_us = 0;

    for (int op = 0; op < 3; op++)
        for (int b = 0; b < p->blocks; b++)
            for (int j = 0; j < (op == 0 ? 1 : p->students[b]); j++) {
                SampleFigures f;
                SampleKey     key = {ops[op], b, p->options->batch, -1, -1, j};
                if (samples_figures(&f, &p->work[ALONE], key, p->err) != 0) return -1;
                *(op == 0 ? &teach_us : &train_us) += f.median;
            }
    *times = 1 + (train_us > 0 ? (int)fmin(MOST, round(teach_us / train_us)) : 0);
    return world_broadcast(p->options->world, times, sizeof *times, p->err);
}

/* What sums and messages take of processors, by devices and rows, while all ends compute; over as
 * many steps as a point of work has in all turns. */
static int measure_cores(Profiling *p, bool across)
{
    ProfileShape shape = {p->devices, p->blocks, p->options->batch,
                          p->options->trials + p->warm_up, p->students};
    Program     *program;
    int          times;

    for (int w = 2; w <= profile_widest_group(p, across); w++) {
        if (profile_reduce(&program, &shape, first_of_group(p, across, w), w, true, p->err) != 0)
            return -1;
        int rc = run(p, program, NULL, &p->core[across]);
        program_free(program);
        if (rc != 0) return -1;
    }
    if (times_of_training(p, &times) != 0) return -1;
    for (int i = 0; i < p->message_count; i++) {
        if (profile_busy_relay(&program, &shape, 0, receiver(p, across), p->messages[i], times,
                               p->err)
            != 0)
            return -1;
        int rc = run(p, program, NULL, &p->core[across]);
        program_free(program);
        if (rc != 0) return -1;
    }
    return 0;
}

/* Times of sums of gradients by the number of devices, and of messages by their rows, on links
 * within a host, or between hosts. Nothing where no two devices have such a link. */
static int measure_links(Profiling *p, bool across)
{
    ProfileShape shape = {p->devices, p->blocks, p->options->batch, p->steps + p->warm_up,
                          p->students};
    bool         several = world_size(p->options->world) > 1;
    int          widest = profile_widest_group(p, across);
    Program     *program;

    for (int w = 2; w <= widest; w++) {
        if (profile_reduce(&program, &shape, first_of_group(p, across, w), w, false, p->err) != 0)
            return -1;
        int rc = run(p, program, &p->reduce[across], NULL);
        program_free(program);
        if (rc != 0) return -1;
    }
    for (int i = 0; i < p->message_count && widest >= 2; i++) {
        if (profile_relay(&program, &shape, 0, receiver(p, across), p->messages[i], several, p->err)
            != 0)
            return -1;
        int rc = run(p, program, &p->relay[across], NULL);
        program_free(program);
        if (rc != 0) return -1;
    }
    return profile_takes_cores(p) && widest >= 2 ? measure_cores(p, across) : 0;
}

/* ---- the whole ---------------------------------------------------------------------------- */

/* What is written must be what is read. */
static int check_text(const Text *text, Error *err)
{
    Trace *trace = NULL;

    if (text_failed(text)) return error_no_memory(err);
    if (trace_parse(&trace, "the measured trace", text_string(text), text->length, err) != 0)
        return -1;
    trace_free(trace);
    return 0;
}

/* What a program has recorded is lost at its end: one of each kind, where devices record. */
static void set_turns(Profiling *p)
{
    p->recorded = execution_warm_up(p->options->workload, p->options->devices);
    p->turns = p->recorded                            ? 1
               : p->options->trials < 10 * PROFILE_TURNS ? LEAST_TURNS
                                                         : PROFILE_TURNS;
    p->warm_up = p->recorded ? p->recorded : WARM_UP;
}

/* What programs are executed with; readings of the machine's speed, where devices do not record. */
static int open_speed(Profiling *p)
{
    const ProfileOptions *o = p->options;
    ProfileShape shape = {p->devices, p->blocks, o->batch, 0, p->students};

    p->like = (Execution){.world = o->world, .first_of_spec = o->first_of_spec,
                          .workload = o->workload, .devices = o->devices, .data = o->data,
                          .teacher = o->teacher, .seed = o->seed, .queue_depth = o->queue_depth,
                          .lanes = o->lanes, .prefetch = o->prefetch, .turns = p->recorded,
                          .stop = o->stop, .current_run = o->current_run};
    return p->recorded ? 0 : speed_open(&p->speed, &p->like, &shape, p->err);
}

int profile(Text *out, const ProfileOptions *options, Error *err)
{
    Profiling p = {.options = options,
                   .devices = world_all_devices(options->world, options->devices->count),
                   .blocks = options->workload->block_count, .err = err};
    Trace  *trace = calloc(1, sizeof *trace);
    int     rc = -1;

    for (int across = 0; across < 2; across++) core_times_open(&p.core[across], 0);
    p.students = workload_student_counts(options->workload);
    if (!trace || !p.students) { error_no_memory(err); goto done; }
    set_turns(&p);
    p.steps = (options->trials + p.turns - 1) / p.turns;
    if (find_hosts(&p) != 0 || choose_rows(&p) != 0 || open_speed(&p) != 0) goto done;
    if (measure_work(&p) != 0) goto done;
    if (measure_links(&p, false) != 0 || measure_links(&p, true) != 0) goto done;
    /* rank 0 has the times of all */
    if (world_rank(options->world) != 0) { rc = 0; goto done; }
    if (profile_fill_trace(&p, trace) != 0) goto done;
    trace_text(trace, out);
    rc = check_text(out, err);
done:
    for (int i = 0; i < WORK_PROGRAMS; i++) samples_free(&p.work[i]);
    for (int across = 0; across < 2; across++) {
        samples_free(&p.reduce[across]);
        samples_free(&p.relay[across]);
        core_times_close(&p.core[across]);
    }
    speed_free(&p.speed);
    free(p.runs);
    free(p.students);
    free(p.shares);
    free(p.messages);
    trace_free(trace);
    return rc;
}
