#include "executor/profile.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/execute.h"
#include "executor/net_bytes.h"
#include "executor/profile_programs.h"
#include "executor/samples.h"

enum { WARM_UP = 3 };

typedef struct {
    const ProfileOptions *options;
    int      devices, blocks;
    int64_t *shares;         /* [share_count] rows that a device of a group can have, ascending */
    int      share_count;
    int64_t *messages;       /* [message_count] rows of the messages that are timed, ascending */
    int      message_count;
    Samples  alone, busy, lone, reduce, relay;
    int      done, total;    /* programs run */
    Error   *err;
} Profile;

/* ---- what to measure ------------------------------------------------------------- */

static int compare_rows(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int unique(int64_t *rows, int count)
{
    int kept = 0;

    qsort(rows, (size_t)count, sizeof *rows, compare_rows);
    for (int i = 0; i < count; i++)
        if (kept == 0 || rows[kept - 1] != rows[i]) rows[kept++] = rows[i];
    return kept;
}

/* Shares floor and ceil of B/w for every width w; messages of the same and of one row, the
 * least that devices of two groups can have in common. */
static int choose_rows(Profile *p)
{
    int64_t batch = p->options->batch;
    int     most = p->devices < batch ? p->devices : (int)batch;

    p->shares = malloc((size_t)(2 * most + 1) * sizeof *p->shares);
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
    p->total = PROFILE_ROUNDS * (p->devices > 1 ? 3 : 2) * p->share_count + most - 1
               + (p->devices > 1 ? p->message_count : 0);
    return 0;
}

/* ---- running ------------------------------------------------------------------------- */

static int run(Profile *p, Program *program, int64_t steps, Samples *into)
{
    const ProfileOptions *o = p->options;
    ExecutionResult result = {0};
    Tensors        *student = NULL;
    int             rc = -1;

    if (o->stop && atomic_load(o->stop)) return error_set(p->err, "stopped");
    if (tensors_new(&student, p->err) != 0) return -1;
    Execution e = {.program = program, .workload = o->workload, .devices = o->devices, .data = o->data,
                   .teacher = o->teacher, .student = student, .seed = o->seed, .steps_per_epoch = program->steps,
                   .queue_depth = o->queue_depth, .lanes = o->lanes,
                   .prefetch = o->prefetch, .record_first = WARM_UP, .record_steps = steps, .stop = o->stop,
                   .lookout = o->lookout};
    if (execute(&result, &e, p->err) != 0) goto done;
    rc = samples_add(into, program, result.spans, result.span_count, WARM_UP, p->err);
    if (o->progress) o->progress(o->context, ++p->done, p->total);
done:
    execution_free(&result);
    tensors_free(student);
    return rc;
}

typedef int Build(Program **out, const ProfileShape *shape, int active, int64_t rows, Error *err);

static int measure(Profile *p, Build *build, int active, int64_t rows, int64_t steps, Samples *into)
{
    ProfileShape shape = {p->devices, p->blocks, p->options->batch, steps + WARM_UP};
    Program     *program;

    if (build(&program, &shape, active, rows, p->err) != 0) return -1;
    int rc = run(p, program, steps, into);
    program_free(program);
    return rc;
}

/* In turns, so that a machine whose speed drifts does so in all of them. */
static int measure_work(Profile *p, int64_t steps)
{
    for (int round = 0; round < PROFILE_ROUNDS; round++)
        for (int i = 0; i < p->share_count; i++) {
            int64_t rows = p->shares[i];
            if (measure(p, profile_compute, 1, rows, steps, &p->alone) != 0) return -1;
            if (p->devices > 1 && measure(p, profile_compute, p->devices, rows, steps, &p->busy) != 0) return -1;
            if (measure(p, profile_lone, 1, rows, steps, &p->lone) != 0) return -1;
        }
    return 0;
}

static int measure_links(Profile *p, int64_t steps)
{
    ProfileShape shape = {p->devices, p->blocks, p->options->batch, steps + WARM_UP};
    Program     *program;

    for (int w = 2; w <= p->devices && w <= p->options->batch; w++) {
        if (profile_reduce(&program, &shape, w, p->err) != 0) return -1;
        int rc = run(p, program, steps, &p->reduce);
        program_free(program);
        if (rc != 0) return -1;
    }
    for (int i = 0; i < p->message_count && p->devices > 1; i++) {
        if (profile_relay(&program, &shape, p->messages[i], p->err) != 0) return -1;
        int rc = run(p, program, steps, &p->relay);
        program_free(program);
        if (rc != 0) return -1;
    }
    return 0;
}

/* ---- the trace --------------------------------------------------------------------------- */

static int64_t ns_of(double us) { return llround(us * 1000); }

/* Means (without the tenth at each end), as times add up over an epoch: a median would leave
 * out that steps are slower than usual more often, and by more, than faster. */
static int fill_point(Profile *p, TraceBlock *block, int b, int i)
{
    static const Op op_of[WORK_COUNT] = {OP_TEACHER, OP_FORWARD, OP_BACKWARD, OP_UPDATE};
    double spread = 0, sum = 0;

    for (int w = 0; w < WORK_COUNT; w++) {
        SampleKey     key = {op_of[w], b, p->shares[i], -1, -1};
        SampleFigures alone, lone, busy = {0};
        CurvePoint   *point = &block->work[w][0].points[i];
        if (samples_figures(&alone, &p->alone, key, p->err) != 0) return -1;
        if (p->devices > 1 && samples_figures(&busy, &p->busy, key, p->err) != 0) return -1;
        if (samples_figures(&lone, &p->lone, key, p->err) != 0) return -1;
        point->x = p->shares[i];
        point->ns = ns_of(alone.mean);
        point->busy_ns = p->devices > 1 ? ns_of(busy.mean) : point->ns;
        if (point->busy_ns < point->ns) point->busy_ns = point->ns;      /* nothing but noise */
        point->lone_ns = ns_of(lone.mean);
        spread += alone.spread * alone.median;
        sum += alone.median;
    }
    for (int w = 0; w < WORK_COUNT; w++)
        block->work[w][0].points[i].spread = sum > 0 ? round(spread / sum * 1e4) * 1e-4 : 0;
    return 0;
}

static int fill_block(Profile *p, Trace *t, int b)
{
    const WorkBlock *work = &p->options->workload->block[b];
    TraceBlock      *block = &t->blocks[b];

    block->name = work->name;
    block->output_bytes = shape_count(work->out) * (int64_t)sizeof(float);
    for (int w = 0; w < WORK_COUNT; w++) {
        block->work[w] = arena_alloc(&t->arena, 1, sizeof(Curve));
        if (!block->work[w]) return error_no_memory(p->err);
        block->work[w]->count = p->share_count;
        block->work[w]->points = arena_alloc(&t->arena, (size_t)p->share_count, sizeof(CurvePoint));
        if (!block->work[w]->points) return error_no_memory(p->err);
    }
    for (int i = 0; i < p->share_count; i++)
        if (fill_point(p, block, b, i) != 0) return -1;
    return 0;
}

/* A line through the loads' medians, by least squares; neither coefficient below 0. */
static int fill_loader(Profile *p, Trace *t)
{
    double n = 0, x = 0, y = 0, xx = 0, xy = 0;

    for (int i = 0; i < p->share_count; i++) {
        SampleFigures f;
        double rows = (double)p->shares[i];
        if (samples_figures(&f, p->devices > 1 ? &p->busy : &p->alone, (SampleKey){OP_LOAD, -1, p->shares[i], -1, -1}, p->err) != 0)
            return -1;
        n += 1; x += rows; y += f.median; xx += rows * rows; xy += rows * f.median;
    }
    double slope = n * xx > x * x ? (n * xy - x * y) / (n * xx - x * x) : y / x;
    double start = (y - slope * x) / n;
    if (slope < 0) { slope = 0; start = y / n; }
    if (start < 0) { start = 0; slope = xy / xx; }
    t->loader = (TraceLoader){true, ns_of(start), round(slope * 1e6) * 1e-3, p->options->prefetch ? p->options->lanes : p->devices,
                              p->options->prefetch};
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
    memmove(curve->points + at + 1, curve->points + at, (size_t)(curve->count - at) * sizeof(CurvePoint));
    curve->points[at] = (CurvePoint){.x = bytes, .ns = ns};
    curve->count++;
}

static int fill_p2p(Profile *p, Trace *t)
{
    Curve *curve = &t->links.p2p;

    curve->points = arena_alloc(&t->arena, (size_t)(p->message_count * p->blocks), sizeof(CurvePoint));
    if (!curve->points) return error_no_memory(p->err);
    for (int i = 0; i < p->message_count; i++)
        for (int k = 1; k <= p->blocks; k++) {
            SampleFigures f;
            if (samples_figures(&f, &p->relay, (SampleKey){OP_SEND, k, p->messages[i], -1, -1}, p->err) != 0) return -1;
            if (f.count) add_point(curve, p->messages[i] * t->blocks[k - 1].output_bytes, ns_of(f.median));
        }
    return 0;
}

static int fill_reduce(Profile *p, Trace *t, TraceReduce *reduce, int width)
{
    *reduce = (TraceReduce){.devices = width};
    reduce->curve.points = arena_alloc(&t->arena, (size_t)p->blocks, sizeof(CurvePoint));
    if (!reduce->curve.points) return error_no_memory(p->err);
    for (int b = 0; b < p->blocks; b++) {
        SampleFigures f;
        if (samples_figures(&f, &p->reduce, (SampleKey){OP_ALLREDUCE, b, -1, width, -1}, p->err) != 0) return -1;
        if (f.count) add_point(&reduce->curve, t->blocks[b].gradient_bytes, ns_of(f.median));
    }
    return 0;
}

static int fill_links(Profile *p, Trace *t)
{
    int most = p->devices < p->options->batch ? p->devices : (int)p->options->batch;

    if (p->devices == 1) return 0;
    if (fill_p2p(p, t) != 0) return -1;
    t->links.reduces = arena_alloc(&t->arena, (size_t)most, sizeof *t->links.reduces);
    if (!t->links.reduces) return error_no_memory(p->err);
    for (int w = 2; w <= most; w++)
        if (fill_reduce(p, t, &t->links.reduces[t->links.reduce_count++], w) != 0) return -1;
    return 0;
}

static const char *notes(Profile *p, Trace *t)
{
    char text[1024];

    snprintf(text, sizeof text, "%d steps a point in %d turns after %d of warm-up; means without the tenth at each end; "
             "real kernels on real input; busy: all %d devices at once%s%s", p->options->trials, PROFILE_ROUNDS,
             WARM_UP, p->devices, p->options->note[0] ? "; " : "", p->options->note);
    return arena_strdup(&t->arena, text);
}

static int fill_trace(Profile *p, Trace *t)
{
    const Workload *w = p->options->workload;

    t->name = t->workload = w->name;
    t->provenance_kind = "measured";
    t->source = "pipebd-run profile";
    t->date = p->options->date;
    t->notes = notes(p, t);
    t->batch = p->options->batch;
    t->samples = data_count(p->options->data);
    t->kinds = arena_alloc(&t->arena, 1, sizeof *t->kinds);
    t->blocks = arena_alloc(&t->arena, (size_t)p->blocks, sizeof *t->blocks);
    if (!t->notes || !t->kinds || !t->blocks) return error_no_memory(p->err);
    t->kind_count = 1;
    t->kinds[0] = (TraceKind){p->options->devices->kind, p->devices, p->options->devices->memory_bytes};
    t->input_bytes = shape_count(w->input) * (int64_t)sizeof(float);
    t->block_count = p->blocks;
    t->blocking_transfers = !device_spec_queues(p->options->devices);
    if (net_bytes_fill(t, w, p->options->devices, p->err) != 0) return -1;
    for (int b = 0; b < p->blocks; b++)
        if (fill_block(p, t, b) != 0) return -1;
    if (fill_loader(p, t) != 0) return -1;
    return fill_links(p, t);
}

/* What is written must be what is read. */
static int check_text(const Text *text, Error *err)
{
    Trace *trace = NULL;

    if (text_failed(text)) return error_no_memory(err);
    if (trace_parse(&trace, "the measured trace", text_string(text), text->length, err) != 0) return -1;
    trace_free(trace);
    return 0;
}

int profile(Text *out, const ProfileOptions *options, Error *err)
{
    Profile p = {.options = options, .devices = options->devices->count, .blocks = options->workload->block_count,
                 .err = err};
    Trace  *trace = calloc(1, sizeof *trace);
    int64_t steps = (options->trials + PROFILE_ROUNDS - 1) / PROFILE_ROUNDS;
    int     rc = -1;

    if (!trace) { error_no_memory(err); goto done; }
    if (choose_rows(&p) != 0 || measure_work(&p, steps) != 0 || measure_links(&p, steps) != 0) goto done;
    if (fill_trace(&p, trace) != 0) goto done;
    trace_text(trace, out);
    rc = check_text(out, err);
done:
    samples_free(&p.alone);
    samples_free(&p.busy);
    samples_free(&p.lone);
    samples_free(&p.reduce);
    samples_free(&p.relay);
    free(p.shares);
    free(p.messages);
    trace_free(trace);
    return rc;
}
