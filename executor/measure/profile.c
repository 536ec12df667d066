#include "executor/measure/profile.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/compare.h"
#include "base/micro.h"
#include "base/minmax.h"
#include "executor/measure/cpu_quota.h"
#include "executor/train/execute.h"
#include "executor/measure/skew_samples.h"
#include "executor/measure/net_bytes.h"
#include "base/stats.h"
#include "executor/measure/own_time.h"
#include "executor/measure/profile_programs.h"
#include "executor/measure/speed.h"
#include "executor/measure/stall_samples.h"
#include "executor/measure/storage_times.h"
#include "workloads/head.h"

enum { STORAGE_TRIALS = 8 }; /* requests of a kind, at most: files are as large as all that are
                              * written */
enum { WARM_UP = 3 };        /* steps before those that are timed, where devices do not record */
enum { LEAST_TURNS = 3, PROFILE_TURNS = 6 };     /* the latter where a turn has ten steps then */

/* Programs of which a profile consists, one for each share of the batch. */
typedef enum { ALONE, BUSY, SINGLE_BLOCK, WORK_PROGRAMS } WorkProgram;

/* A program that has run: what its samples were added to, as the how manieth. */
typedef struct {
    Samples *into;
    int      run;
    int64_t  reading;        /* of the machine's speed, before it */
    double   work_us;        /* of a step, all devices */
} ProgramRun;

typedef struct {
    const ProfileOptions *options;
    Execution like;          /* what all programs are executed with */
    Speed    speed;
    int      devices, blocks;
    int     *students;       /* [blocks] */
    int64_t *shares;         /* [share_count] rows that a device of a group can have, ascending */
    int      share_count;
    int64_t *messages;       /* [message_count] rows of the messages that are timed, ascending */
    int      message_count;
    int      per_host;       /* devices of each host; all where there is one host */
    int      recorded;       /* execution_warm_up() */
    int64_t  steps;          /* of a program that are timed */
    int      warm_up, turns; /* turns: each has every program of work once */
    double   error;          /* standard error, over the mean, of the program known least */
    Samples  work[WORK_PROGRAMS];
    Samples  reduce[2], relay[2];        /* within a host, across */
    CoreTimes core[2];                   /* of these */
    ProgramRun *runs;        /* [run_count] */
    int64_t  run_count, run_room;
    double  *own_us, *alone_us;          /* [work[ALONE].runs] of each program of the whole network
                                          * that one device runs alone: a step's own time, and what
                                          * execute() took besides the run */
    double  *part_us;                    /* [work[SINGLE_BLOCK].runs] this too, of programs whose
                                          * first phase is of one block */
    int64_t  own_room, alone_room, part_room;
    double   work_ns, cpu_ns;            /* of all programs: what devices worked, and had of their
                                          * cores meanwhile */
    int      done, total;    /* programs run */
    Error   *err;
} Profiling;

/* ---- what to measure ------------------------------------------------------------- */

static int unique(int64_t *rows, int count)
{
    int kept = 0;

    qsort(rows, (size_t)count, sizeof *rows, compare_int64);
    for (int i = 0; i < count; i++)
        if (kept == 0 || rows[kept - 1] != rows[i]) rows[kept++] = rows[i];
    return kept;
}

/* Whether transfers take from cores that devices compute on: those of the CPU are all that their
 * ranks use, for MPI's thread too. */
static bool takes_cores(const Profiling *p)
{
    return !device_spec_is_async(p->options->devices) && world_size(p->options->world) > 1;
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

/* The most devices that can share a batch, within a host or on several; less than 2: none. */
static int widest_group(const Profiling *p, bool across)
{
    int devices = across ? p->devices : p->per_host;

    if (across && p->per_host == p->devices) return 0;
    return devices < p->options->batch ? devices : (int)p->options->batch;
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

/* In a turn. */
static int work_programs(const Profiling *p) { return (p->devices > 1 ? 3 : 2) * p->share_count; }

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
    p->total = p->turns * work_programs(p);
    for (int across = 0; across < 2; across++) {
        int widest = widest_group(p, across);
        if (widest >= 2) p->total += widest - 1 + (takes_cores(p) ? 2 : 1) * p->message_count;
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

static int keep(double **list, int64_t count, int64_t *room, double us, Error *err)
{
    if (!array_has_room(*list, count, *room)) return error_no_memory(err);
    (*list)[count] = us;
    return 0;
}

/* Of a program of work that was the last to be added to into: how long a step takes besides its
 * instructions, and the program besides its steps. */
static int keep_own_times(Profiling *p, const ExecutionResult *result, const Samples *into)
{
    double  us, besides_us = (double)result->besides_ns * 1e-3;
    int64_t last = into->runs - 1;

    if (into == &p->work[SINGLE_BLOCK])
        return keep(&p->part_us, last, &p->part_room, besides_us, p->err);
    if (into != &p->work[ALONE]) return 0;
    if (own_time_us(&us, result->spans, result->span_count, p->warm_up, p->err) != 0) return -1;
    if (keep(&p->own_us, last, &p->own_room, us, p->err) != 0) return -1;
    return keep(&p->alone_us, last, &p->alone_room, besides_us, p->err);
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
    int64_t first = into->count;

    if (!array_has_room(p->runs, p->run_count, p->run_room)) return error_no_memory(p->err);
    if (samples_add(into, program, result->spans, result->span_count, p->warm_up, p->err) != 0)
        return -1;
    p->runs[p->run_count++] =
        (ProgramRun){into, into->runs - 1, p->speed.count - 1, work_us(into, first)};
    return keep_own_times(p, result, into);
}

/* Executes program once and adds the times of its recorded steps to into, and what its transfers
 * took of processors to core, each NULL for none; of programs of devices alone, a step's own time
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

typedef int TraceBuild(Program **out, const ProfileShape *shape, int active, int64_t rows,
                       Error *err);

static int measure(Profiling *p, TraceBuild *build, int active, int64_t rows, Samples *into)
{
    ProfileShape shape = {p->devices, p->blocks, p->options->batch, p->steps + p->warm_up,
                          p->students};
    Program     *program;

    if (build(&program, &shape, active, rows, p->err) != 0) return -1;
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
    }
    return 0;
}

/* Of the i-th program of a turn: the standard error of a step's mean work, at one speed of the
 * machine, over that mean. list: room for p->turns. */
static double error_of_program(const Profiling *p, int i, double *list)
{
    int n = 0;

    for (int turn = 0; turn < p->turns; turn++) {
        const ProgramRun *r = &p->runs[turn * work_programs(p) + i];
        list[n++] = r->work_us / speed_slowness(&p->speed, r->reading);
    }
    return stats_variation(list, (size_t)n) / sqrt(n);
}

/* Sets p->error, at all ranks alike. */
static int find_error(Profiling *p)
{
    double *list = malloc((size_t)p->turns * sizeof *list);

    if (!list) return error_no_memory(p->err);
    p->error = 0;
    for (int i = 0; i < work_programs(p); i++)
        p->error = fmax(p->error, error_of_program(p, i, list));
    free(list);
    return world_broadcast(p->options->world, &p->error, sizeof p->error, p->err);
}

/* In turns, so that a machine whose speed drifts does so in all of them; and on, where times are
 * not known well enough then, for as long as may be. */
static int measure_work(Profiling *p)
{
    int64_t until = 0;

    if (speed_read(&p->speed, p->err) != 0) return -1;
    for (int turn = 0; turn < p->turns; turn++)
        if (measure_turn(p) != 0) return -1;
    for (int64_t now = clock_ns();; now = clock_ns()) {
        if (find_error(p) != 0) return -1;
        if (until == 0) until = now + (int64_t)(p->options->limit_s * 1e9);
        bool on = !p->recorded && p->error > PROFILE_ERROR && now < until;
        if (world_broadcast(p->options->world, &on, sizeof on, p->err) != 0) return -1;
        if (!on) return 0;
        p->total += work_programs(p);
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

/* What messages take of processors, by their rows, while both ends compute; over as many steps as a
 * point of work has in all turns. */
static int measure_cores(Profiling *p, bool across)
{
    ProfileShape shape = {p->devices, p->blocks, p->options->batch,
                          p->options->trials + p->warm_up, p->students};
    Program     *program;
    int          times;

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
    int          widest = widest_group(p, across);
    Program     *program;

    for (int w = 2; w <= widest; w++) {
        if (profile_reduce(&program, &shape, first_of_group(p, across, w), w, p->err) != 0)
            return -1;
        int rc = run(p, program, &p->reduce[across], &p->core[across]);
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
    return takes_cores(p) && widest >= 2 ? measure_cores(p, across) : 0;
}

/* ---- the trace --------------------------------------------------------------------------- */

static int64_t ns_of(double us) { return llround(us * 1000); }

/* Means, as times add up over an epoch: of what was not stalled, and with it the share of time
 * that all work of the kind of program was stalled. */
static int fill_point(Profiling *p, Curve *const *work, StudentId id, int i)
{
    static const Op op_of[WORK_COUNT] = {OP_TEACHER, OP_FORWARD, OP_BACKWARD, OP_UPDATE};
    double spread = 0, sum = 0;

    for (int w = 0; w < WORK_COUNT; w++) {
        SampleKey     key = {op_of[w], id.block, p->shares[i], -1, -1,
                             w == WORK_TEACHER ? 0 : id.student};
        SampleFigures alone, single_block, busy = {0};
        CurvePoint   *point = &work[w][0].points[i];
        if (samples_figures(&alone, &p->work[ALONE], key, p->err) != 0) return -1;
        if (p->devices > 1 && samples_figures(&busy, &p->work[BUSY], key, p->err) != 0) return -1;
        if (samples_figures(&single_block, &p->work[SINGLE_BLOCK], key, p->err) != 0) return -1;
        point->x = p->shares[i];
        point->ns = ns_of(alone.mean);
        point->contended_ns = p->devices > 1 ? ns_of(busy.mean) : point->ns;
        /* nothing but noise */
        if (point->contended_ns < point->ns) point->contended_ns = point->ns;
        point->single_block_ns = ns_of(single_block.mean);
        const SampleFigures *met = p->devices > 1 ? &busy : &alone;
        spread += met->spread * met->median;
        sum += met->median;
    }
    for (int w = 0; w < WORK_COUNT; w++)
        work[w][0].points[i].spread = sum > 0 ? round(spread / sum * 1e4) * 1e-4 : 0;
    return 0;
}

static Curve *new_curve(Profiling *p, Trace *t)
{
    Curve *curve = arena_alloc(&t->arena, 1, sizeof *curve);

    if (curve) curve->count = p->share_count;
    if (curve)
        curve->points = arena_alloc(&t->arena, (size_t)p->share_count, sizeof *curve->points);
    if (!curve || !curve->points) { error_no_memory(p->err); return NULL; }
    return curve;
}

/* The curves of a student, and with it those of the teacher, which are block's. */
static int fill_student(Profiling *p, Trace *t, TraceBlock *block, Curve **work, StudentId id)
{
    work[WORK_TEACHER] = block->work[WORK_TEACHER];
    for (int w = 0; w < WORK_COUNT; w++)
        if (w != WORK_TEACHER && !(work[w] = new_curve(p, t))) return -1;
    for (int i = 0; i < p->share_count; i++)
        if (fill_point(p, work, id, i) != 0) return -1;
    return 0;
}

/* Behind net_bytes_fill(), which lists the students. */
static int fill_block(Profiling *p, Trace *t, int b)
{
    const Workload *workload = p->options->workload;
    TraceBlock     *block = &t->blocks[b];

    block->name = workload->block[b].name;
    block->output_bytes = workload_boundary_count(workload, b + 1) * (int64_t)sizeof(float);
    if (!(block->work[WORK_TEACHER] = new_curve(p, t))) return -1;
    for (int j = 0; j < p->students[b]; j++) {
        Curve **work = block->students ? block->students[j].work : block->work;
        if (fill_student(p, t, block, work, workload_student_of(workload, b, j)) != 0) return -1;
    }
    for (int w = 0; block->students && w < WORK_COUNT; w++)
        block->work[w] = block->students[0].work[w];
    return 0;
}

/* A line through the loads' medians, by least squares; neither coefficient below 0. */
static int fill_loader(Profiling *p, Trace *t)
{
    double n = 0, x = 0, y = 0, xx = 0, xy = 0;

    for (int i = 0; i < p->share_count; i++) {
        SampleFigures f;
        double rows = (double)p->shares[i];
        if (samples_figures(&f, &p->work[p->devices > 1 ? BUSY : ALONE],
                            (SampleKey){OP_LOAD, -1, p->shares[i], -1, -1, -1}, p->err)
            != 0)
            return -1;
        n += 1; x += rows; y += f.median; xx += rows * rows; xy += rows * f.median;
    }
    double slope = n * xx > x * x ? (n * xy - x * y) / (n * xx - x * x) : y / x;
    double start = (y - slope * x) / n;
    if (slope < 0) { slope = 0; start = y / n; }
    if (start < 0) { start = 0; slope = xy / xx; }
    t->loader = (TraceLoader){.present = true,
                              .batch_ns = ns_of(start),
                              .sample_ns = round(slope * 1e6) * 1e-3,
                              .lanes = p->options->prefetch
                                           ? p->options->lanes * world_size(p->options->world)
                                           : p->devices,
                              .prefetch = p->options->prefetch};
    return 0;
}

/* Adds a point where it belongs; one of the same bytes becomes the mean of both. */
static void add_point(Curve *curve, int64_t bytes, int64_t ns)
{
    int at = 0;

    while (at < curve->count && curve->points[at].x < bytes) at++;
    if (at < curve->count && curve->points[at].x == bytes) {
        curve->points[at].ns = (curve->points[at].ns + ns) / 2;
        return;
    }
    memmove(curve->points + at + 1, curve->points + at,
            (size_t)(curve->count - at) * sizeof(CurvePoint));
    curve->points[at] = (CurvePoint){.x = bytes, .ns = ns};
    curve->count++;
}

static int make_points(Profiling *p, Trace *t, Curve *curve, int count)
{
    curve->points = arena_alloc(&t->arena, (size_t)count, sizeof *curve->points);
    return curve->points ? 0 : error_no_memory(p->err);
}

/* What a transfer took of processors, where it was between processes. */
static void add_core_point(Curve *curve, const CoreTimes *times, TransferKind kind)
{
    double ns = core_time_mean_ns(times->list, times->count, kind);

    add_point(curve, kind.bytes, ns > 0 ? llround(ns) : 0);
}

/* Times of messages, and what they take of cores where that was measured, at the same bytes. */
static int fill_p2p(Profiling *p, Trace *t, TraceLinks *links, bool across)
{
    const CoreTimes *core = &p->core[across];
    int              count = p->message_count * p->blocks;

    if (make_points(p, t, &links->p2p, count) != 0
        || make_points(p, t, &links->sender_core, count) != 0
        || make_points(p, t, &links->receiver_core, count) != 0)
        return -1;
    for (int i = 0; i < p->message_count; i++)
        for (int k = 1; k <= p->blocks; k++) {
            SampleKey     key = {OP_SEND, k, p->messages[i], -1, -1, -1};
            int64_t       bytes = p->messages[i] * t->blocks[k - 1].output_bytes;
            SampleFigures f;
            if (samples_figures(&f, &p->relay[across], key, p->err) != 0) return -1;
            if (f.count == 0) continue;
            add_point(&links->p2p, bytes, ns_of(f.median));
            if (core->count == 0) continue;
            add_core_point(&links->sender_core, core, (TransferKind){OP_SEND, 0, bytes});
            add_core_point(&links->receiver_core, core, (TransferKind){OP_RECV, 0, bytes});
        }
    return 0;
}

static int fill_reduce(Profiling *p, Trace *t, const Samples *samples, const CoreTimes *core,
                       TraceReduce *reduce, int width)
{
    *reduce = (TraceReduce){.devices = width};
    int students = workload_students(p->options->workload);
    if (make_points(p, t, &reduce->curve, students) != 0
        || make_points(p, t, &reduce->core, students) != 0)
        return -1;
    for (int k = 0; k < students; k++) {
        StudentId     id = workload_student(p->options->workload, k);
        SampleKey     key = {OP_ALLREDUCE, id.block, -1, width, -1, id.student};
        SampleFigures f;
        int64_t bytes = trace_student(&t->blocks[id.block], id.student).gradient_bytes;
        if (samples_slowest(&f, samples, key, p->err) != 0) return -1;
        if (f.count == 0) continue;
        add_point(&reduce->curve, bytes, ns_of(f.median));
        if (core->count > 0)
            add_core_point(&reduce->core, core, (TransferKind){OP_ALLREDUCE, width, bytes});
    }
    return 0;
}

static int fill_links(Profiling *p, Trace *t, TraceLinks *links, bool across)
{
    int widest = widest_group(p, across);

    if (widest < 2) return 0;
    if (fill_p2p(p, t, links, across) != 0) return -1;
    links->reduces = arena_alloc(&t->arena, (size_t)widest, sizeof *links->reduces);
    if (!links->reduces) return error_no_memory(p->err);
    for (int w = 2; w <= widest; w++)
        if (fill_reduce(p, t, &p->reduce[across], &p->core[across],
                        &links->reduces[links->reduce_count++], w)
            != 0)
            return -1;
    return 0;
}

/* How it was measured, and what a reader must know: stalls, a quota, other programs. NULL without
 * memory. */
static const char *notes(Profiling *p, Trace *t)
{
    char   text[1024], quota[64] = "", busy[96] = "", together[48] = "", known[32] = "";
    double granted = cpu_quota(""), share = p->work_ns > 0 ? p->cpu_ns / p->work_ns : 1;

    if (granted > 0) snprintf(quota, sizeof quota, "; under a quota of %.3g processors", granted);
    if (share < CORE_SHARE_BUSY)
        snprintf(busy, sizeof busy,
                 "; the machine was busy: devices had %.0f %% of their cores while they worked",
                 100 * share);
    if (p->turns > 1) snprintf(known, sizeof known, ", known to %.1f %%", 100 * p->error);
    if (p->devices > 1)
        snprintf(together, sizeof together, ", %.1f %% all at once",
                 100 * samples_stalled_share(&p->work[BUSY]));
    snprintf(
        text, sizeof text,
        "%d steps a point in %d turn%s after %d of warm-up%s; means, with "
        "stalls: %.1f %% of a "
        "device's time alone%s; "
        "real kernels on real input; contended: all %d devices at once%s%s%s%s",
        (int)p->steps * p->turns, p->turns, p->turns > 1 ? "s" : "", p->warm_up,
        known, 100 * samples_stalled_share(&p->work[ALONE]), together, p->devices, quota,
        busy, p->options->note[0] ? "; " : "", p->options->note);
    return arena_strdup(&t->arena, text);
}

/* As if the machine had had its mean speed all the time: all samples of into. */
static int scale(Profiling *p, Samples *into)
{
    double *by = malloc(((size_t)into->runs + 1) * sizeof *by);

    if (!by) return error_no_memory(p->err);
    for (int64_t i = 0; i < p->run_count; i++)
        if (p->runs[i].into == into)
            by[p->runs[i].run] = 1 / speed_slowness(&p->speed, p->runs[i].reading);
    samples_scale(into, by);
    for (int i = 0; into == &p->work[ALONE] && i < into->runs; i++) {
        p->own_us[i] *= by[i];
        p->alone_us[i] *= by[i];
    }
    for (int i = 0; into == &p->work[SINGLE_BLOCK] && i < into->runs; i++) p->part_us[i] *= by[i];
    free(by);
    return 0;
}

static int scale_all(Profiling *p)
{
    for (int i = 0; i < WORK_PROGRAMS; i++)
        if (scale(p, &p->work[i]) != 0) return -1;
    for (int across = 0; across < 2; across++)
        if (scale(p, &p->reduce[across]) != 0 || scale(p, &p->relay[across]) != 0) return -1;
    return 0;
}

/* Stalls are those of devices that all work, as where they meet. */
static int fill_stalls(Profiling *p, TraceKind *kind)
{
    if (samples_find_stalls(&p->work[ALONE], p->err) != 0
        || samples_find_stalls(&p->work[BUSY], p->err) != 0
        || samples_find_stalls(&p->work[SINGLE_BLOCK], p->err) != 0)
        return -1;
    if (samples_stalls(&kind->stalls, &p->work[p->devices > 1 ? BUSY : ALONE], p->err) != 0)
        return -1;
    if (samples_skew(&kind->stalls.skew, &p->work[BUSY], p->err) != 0) return -1;
    kind->stalls.skew = fmin(round(kind->stalls.skew * 1e4) * 1e-4, 0.99);
    return 0;
}

/* The trace of what was measured: bytes as nets count them, times of blocks, the median of steps'
 * own times, loader and links. */
static int fill_trace(Profiling *p, Trace *t)
{
    const Workload *w = p->options->workload;

    t->name = t->workload = w->name;
    t->provenance_kind = "measured";
    t->source = "pipebd-run profile";
    t->date = p->options->date;
    t->batch = p->options->batch;
    t->samples = data_count(p->options->data);
    t->micro_batches = w->micro_batches;
    t->kinds = arena_alloc(&t->arena, 1, sizeof *t->kinds);
    t->blocks = arena_alloc(&t->arena, (size_t)p->blocks, sizeof *t->blocks);
    if (!t->kinds || !t->blocks) return error_no_memory(p->err);
    t->kind_count = 1;
    t->kinds[0] = (TraceKind){.name = p->options->devices->kind, .count = p->devices,
                              .memory_bytes = p->options->devices->memory_bytes};
    if (scale_all(p) != 0 || fill_stalls(p, t->kinds) != 0) return -1;
    t->notes = notes(p, t);
    if (!t->notes) return error_no_memory(p->err);
    t->input_bytes = shape_count(w->input) * (int64_t)sizeof(float);
    t->block_count = p->blocks;
    t->blocking_transfers =
        !device_spec_is_async(p->options->devices) && world_size(p->options->world) == 1;
    t->transfers_on_device = takes_cores(p);
    if (net_bytes_fill(t, w, p->options->devices, p->err) != 0) return -1;
    for (int b = 0; b < p->blocks; b++)
        if (fill_block(p, t, b) != 0) return -1;
    size_t alone = (size_t)p->work[ALONE].runs;
    stats_sort(p->own_us, alone);
    t->step_ns = ns_of(stats_quantile(p->own_us, alone, 0.5));
    if (fill_loader(p, t) != 0 || fill_links(p, t, &t->links, false) != 0) return -1;
    if (p->per_host == p->devices) return 0;
    t->devices_per_node = p->per_host;
    return fill_links(p, t, &t->node_links, true);
}

/* The first program makes all networks for the first time, and so has what the backend does once:
 * what it took more than the later ones of its kind, a network. A part of a job costs what programs
 * did whose networks were known. */
static void fill_parts(Profiling *p, Trace *t)
{
    double again_us = 0;

    if (p->turns < 2) return;
    for (int turn = 1; turn < p->turns; turn++) {
        double us = p->alone_us[turn * p->share_count];
        if (turn == 1 || us < again_us) again_us = us;
    }
    size_t parts = (size_t)p->work[SINGLE_BLOCK].runs;
    stats_sort(p->part_us, parts);
    t->network_ns = ns_of(fmax(p->alone_us[0] - again_us, 0) / (2 * p->blocks));
    t->part_ns = ns_of(stats_quantile(p->part_us, parts, 0.5));
}

static int fill_tiers(const Profiling *p, Trace *t)
{
    const ProfileOptions *o = p->options;
    StorageTimesOptions   options = {.place = o->store, .workload = o->workload, .batch = o->batch,
                                     .devices = o->devices->count,
                                     .trials = (int)smaller(o->trials, STORAGE_TRIALS),
                                     .bf16 = o->store_bf16, .ahead = o->prefetch > 0,
                                     .stop = o->stop};

    t->stored_share = o->store && o->store_bf16 ? 0.5 : 0;
    return o->store ? storage_times_measure(&t->tiers, &t->tier_count, &t->arena, &options, p->err)
                    : 0;
}

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
    if (fill_trace(&p, trace) != 0 || fill_tiers(&p, trace) != 0) goto done;
    if (options->store) fill_parts(&p, trace);
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
    free(p.own_us);
    free(p.alone_us);
    free(p.part_us);
    free(p.shares);
    free(p.messages);
    trace_free(trace);
    return rc;
}
