#include "executor/measure/profile_trace.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "base/stats.h"
#include "executor/measure/cpu_quota.h"
#include "executor/measure/net_bytes.h"
#include "executor/measure/skew_samples.h"
#include "executor/measure/stall_samples.h"
#include "executor/measure/storage_times.h"
#include "workloads/head.h"

enum { STORAGE_TRIALS = 8 }; /* requests of a kind, at most: files are as large as all that are
                              * written */

static int64_t ns_of(double us) { return llround(us * 1000); }

/* Means, as times add up over an epoch: of what was not stalled, and with it the share of time
 * that all work of the kind of program was stalled; and what an instruction takes besides. */
static int fill_point(Profiling *p, Curve *const *work, StudentId id, int i)
{
    static const Op op_of[WORK_COUNT] = {OP_TEACHER, OP_FORWARD, OP_BACKWARD, OP_UPDATE};
    double spread = 0, sum = 0;

    for (int w = 0; w < WORK_COUNT; w++) {
        SampleKey     key = {op_of[w], id.block, p->shares[i], -1, -1,
                             w == WORK_TEACHER ? 0 : id.student};
        SampleFigures alone, single_block, busy = {0}, single_busy = {0};
        CurvePoint   *point = &work[w][0].points[i];
        if (samples_figures(&alone, &p->work[ALONE], key, p->err) != 0) return -1;
        if (p->devices > 1 && samples_figures(&busy, &p->work[BUSY], key, p->err) != 0) return -1;
        if (samples_figures(&single_block, &p->work[SINGLE_BLOCK], key, p->err) != 0) return -1;
        if (profile_meets(p)
            && samples_figures(&single_busy, &p->work[SINGLE_BLOCK_BUSY], key, p->err) != 0)
            return -1;
        point->x = p->shares[i];
        point->ns = ns_of(alone.mean + p->own.instruction_us);
        point->contended_ns =
            p->devices > 1 ? ns_of(busy.mean + p->own.instruction_us) : point->ns;
        /* nothing but noise */
        if (point->contended_ns < point->ns) point->contended_ns = point->ns;
        point->single_block_ns = ns_of(single_block.mean + p->own.instruction_us);
        if (profile_meets(p))
            point->single_block_contended_ns =
                larger(point->single_block_ns, ns_of(single_busy.mean + p->own.instruction_us));
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
    int widest = profile_widest_group(p, across);

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

/* How much slower than in the mean the machine was while a program ran. */
static double slowness(const Profiling *p, const ProgramRun *run)
{
    return speed_slowness(&p->speed, run->reading, p->mean_us);
}

/* As if the machine had had its mean speed all the time: all samples of into. */
static int scale(Profiling *p, Samples *into)
{
    double *by = malloc(((size_t)into->runs + 1) * sizeof *by);

    if (!by) return error_no_memory(p->err);
    for (int64_t i = 0; i < p->run_count; i++)
        if (p->runs[i].into == into) by[p->runs[i].run] = 1 / slowness(p, &p->runs[i]);
    samples_scale(into, by);
    free(by);
    return 0;
}

static int scale_all(Profiling *p)
{
    p->mean_us = speed_mean_us(&p->speed);
    for (int i = 0; i < WORK_PROGRAMS; i++)
        if (scale(p, &p->work[i]) != 0) return -1;
    for (int across = 0; across < 2; across++)
        if (scale(p, &p->reduce[across]) != 0 || scale(p, &p->relay[across]) != 0) return -1;
    return 0;
}

static double own_step_us(const ProgramRun *run) { return run->own.step_us; }
static double own_instruction_us(const ProgramRun *run) { return run->own.instruction_us; }
static double besides_us(const ProgramRun *run) { return run->besides_us; }

/* The median of a time over the programs of a kind, at one speed. */
static int median_of(const Profiling *p, WorkProgram kind, double (*of)(const ProgramRun *),
                     double *us)
{
    double *list = malloc(((size_t)p->run_count + 1) * sizeof *list);
    size_t  n = 0;

    if (!list) return error_no_memory(p->err);
    for (int64_t i = 0; i < p->run_count; i++)
        if (p->runs[i].into == &p->work[kind])
            list[n++] = of(&p->runs[i]) / slowness(p, &p->runs[i]);
    *us = stats_median(list, n);
    free(list);
    return 0;
}

/* Stalls are those of devices that all work, as where they meet. */
static int fill_stalls(Profiling *p, TraceKind *kind)
{
    Skew skew;

    if (samples_find_stalls(&p->work[ALONE], p->err) != 0
        || samples_find_stalls(&p->work[BUSY], p->err) != 0
        || samples_find_stalls(&p->work[SINGLE_BLOCK], p->err) != 0
        || samples_find_stalls(&p->work[SINGLE_BLOCK_BUSY], p->err) != 0)
        return -1;
    if (samples_stalls(&kind->stalls, &p->work[p->devices > 1 ? BUSY : ALONE], p->err) != 0)
        return -1;
    if (samples_skew(&skew, &p->work[BUSY], p->err) != 0) return -1;
    kind->stalls.skew = fmin(round(skew.all * 1e4) * 1e-4, 0.99);
    kind->stalls.lasting = fmin(round(skew.lasting * 1e4) * 1e-4, kind->stalls.skew);
    return 0;
}

/* The trace of what was measured: bytes as nets count them, times of blocks and of steps
 * themselves, loader and links. */
static int fill_measured(Profiling *p, Trace *t)
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
    t->transfers_on_device = profile_takes_cores(p);
    if (net_bytes_fill(t, w, p->options->devices, p->err) != 0) return -1;
    if (median_of(p, ALONE, own_step_us, &p->own.step_us) != 0
        || median_of(p, ALONE, own_instruction_us, &p->own.instruction_us) != 0)
        return -1;
    for (int b = 0; b < p->blocks; b++)
        if (fill_block(p, t, b) != 0) return -1;
    t->step_ns = ns_of(p->own.step_us);
    if (fill_loader(p, t) != 0 || fill_links(p, t, &t->links, false) != 0) return -1;
    if (p->per_host == p->devices) return 0;
    t->devices_per_node = p->per_host;
    return fill_links(p, t, &t->node_links, true);
}

/* The first program makes all networks for the first time, and so has what the backend does once:
 * what it took more than the same of later turns, a network. A part of a job costs what programs
 * did whose networks were known. */
static int fill_parts(Profiling *p, Trace *t)
{
    int    programs = profile_work_programs(p);
    double first_us = p->runs[0].besides_us / slowness(p, &p->runs[0]), again_us = INFINITY;
    double part_us;

    if (p->turns < 2) return 0;
    for (int turn = 1; turn < p->turns; turn++) {
        const ProgramRun *same = &p->runs[turn * programs];
        again_us = fmin(again_us, same->besides_us / slowness(p, same));
    }
    if (median_of(p, SINGLE_BLOCK, besides_us, &part_us) != 0) return -1;
    t->network_ns = ns_of(fmax(first_us - again_us, 0) / (2 * p->blocks));
    t->part_ns = ns_of(part_us);
    return 0;
}

static int fill_tiers(const Profiling *p, Trace *t)
{
    const ProfileOptions *o = p->options;
    StorageTimesOptions   options = {.place = o->store, .workload = o->workload, .batch = o->batch,
                                     .devices = o->devices->count,
                                     .trials = (int)smaller(o->trials, STORAGE_TRIALS),
                                     .bf16 = o->store_bf16, .ahead = o->prefetch > 0,
                                     .async = device_spec_is_async(o->devices), .stop = o->stop};

    t->stored_share = o->store && o->store_bf16 ? 0.5 : 0;
    return o->store ? storage_times_measure(&t->tiers, &t->tier_count, &t->arena, &options, p->err)
                    : 0;
}

int profile_fill_trace(Profiling *p, Trace *trace)
{
    if (fill_measured(p, trace) != 0 || fill_tiers(p, trace) != 0) return -1;
    return p->options->store ? fill_parts(p, trace) : 0;
}
