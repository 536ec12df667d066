/* A span's context is what it lies in on its thread: the block, forward or backward, the optimizer.
 * It is found by walking a thread's spans with a stack of the open ones, twice: first what the
 * forward's operators lie in, by sequence number; then launches, those in nodes of the backward by
 * the number's. */
#include "traces/import/kineto.h"

#include <stdlib.h>
#include <string.h>

#include "base/compare.h"

typedef struct {
    int       block;             /* -1: none */
    BlockPart part;
    WorkClass class;
    bool      teacher, in_module, in_node, in_operator, between;
    int       name;              /* of the outermost operator; -1 */
} Context;

typedef struct { int64_t end_ns; Context context; } Frame;

/* What a forward's operator with a sequence number lies in. */
typedef struct { int64_t sequence, start_ns; int block; } Forward;

typedef struct { int64_t correlation, start_ns; bool flow; Context context; } Launch;

typedef struct {
    const KinetoFile   *file;
    const KinetoBlocks *blocks;
    KinetoSums         *sums;
    Frame              *frames;
    Forward            *forwards;    /* second walk: by sequence and start */
    Launch             *launches;    /* after it: by correlation */
    size_t              forward_count, launch_count;
    int64_t            *step_starts, *step_ends;
    int64_t            *outside_of;  /* [names] ns of CLASS_OUTSIDE by outermost operator */
    int                 last_block;  /* of the thread, of the forward; -1 */
    Context             last_node;   /* of the thread, of the backward */
} Sums;

static const Context nowhere = {
    .block = -1, .part = PART_FORWARD, .class = CLASS_OUTSIDE, .name = -1};

static bool begins(const char *string, const char *with)
{
    return strncmp(string, with, strlen(with)) == 0;
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* Starts of steps: of ProfilerStep's ranges, else of the first block outside of the backward. Pairs
 * of start and end. */
static size_t collect_steps(const Sums *s, bool marked, int64_t (*out)[2])
{
    size_t  count = 0;
    int32_t thread = -1;
    int64_t covered = INT64_MIN;     /* by a node, or by the same range around */

    for (size_t i = 0; i < s->file->span_count; i++) {
        const KinetoSpan *span = &s->file->spans[i];
        if (span->thread != thread) {
            thread = span->thread;
            covered = INT64_MIN;
        }
        bool first = (span->type == SPAN_RANGE || span->type == SPAN_MODULE)
                     && span->name == s->blocks->first_name;
        if (marked ? span->type == SPAN_STEP : first && span->start_ns >= covered) {
            out[count][0] = span->start_ns;
            out[count++][1] = span->end_ns;
        }
        if ((span->type == SPAN_NODE || first) && span->end_ns > covered) covered = span->end_ns;
    }
    return count;
}

/* Begin and end of each step, ascending, in ns: ProfilerStep ranges where the profile has them,
 * else from one start of the first block to the next; then the first step begins with the profile,
 * and the last ends with it. Limits steps times blocks, the size of the tables to come. */
static int find_steps(Sums *s, const char *file_name, Error *err)
{
    Arena  *arena = &s->sums->arena;
    int64_t (*steps)[2] = arena_alloc(arena, s->file->span_count, sizeof *steps);

    if (!steps) return error_no_memory(err);
    for (size_t i = 0; i < s->file->span_count; i++)
        s->sums->marked |= s->file->spans[i].type == SPAN_STEP;
    size_t count = collect_steps(s, s->sums->marked, steps);
    qsort(steps, count, sizeof *steps, compare_int64);
    if (count * (size_t)s->blocks->count > (size_t)1 << 22)
        return error_set(err, "%s: %zu steps of %d blocks, expected less to be profiled", file_name,
                         count, s->blocks->count);
    s->step_starts = arena_alloc(arena, count, sizeof *s->step_starts);
    s->step_ends = arena_alloc(arena, count, sizeof *s->step_ends);
    if (!s->step_starts || !s->step_ends) return error_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        s->step_starts[i] = steps[i][0];
        s->step_ends[i] = s->sums->marked ? steps[i][1]
                          : i + 1 < count ? steps[i + 1][0]
                                          : INT64_MAX;
    }
    /* copies of its input come before */
    if (!s->sums->marked && count > 0) s->step_starts[0] = INT64_MIN;
    s->sums->steps = (int)count;
    return 0;
}

/* The step at a time, or -1. */
static int step_at(const Sums *s, int64_t ns)
{
    int low = 0, high = s->sums->steps;

    while (low < high) {
        int middle = low + (high - low) / 2;
        if (s->step_starts[middle] <= ns) low = middle + 1;
        else                              high = middle;
    }
    return low > 0 && ns < s->step_ends[low - 1] ? low - 1 : -1;
}

/* ---- contexts -------------------------------------------------------------------------------- */

/* The block of the last operator of the forward with that number that began before; -2: none. */
static int find_forward(const Sums *s, int64_t sequence, int64_t before_ns)
{
    size_t low = 0, high = s->forward_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const Forward *f = &s->forwards[middle];
        if (f->sequence < sequence || (f->sequence == sequence && f->start_ns <= before_ns))
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && s->forwards[low - 1].sequence == sequence ? s->forwards[low - 1].block : -2;
}

static void enter_block(Sums *s, Context *c, int name)
{
    c->block = s->blocks->of_name[name];
    c->class = CLASS_BLOCK;
    c->between = false;
    c->teacher = s->blocks->role_of_name[name] == ROLE_TEACHER;
    if (!c->in_node) {
        c->part = c->teacher ? PART_TEACHER : PART_FORWARD;
        s->last_block = c->block;
    }
}

static void enter_range(Sums *s, Context *c, const KinetoSpan *span)
{
    const char *name = s->file->names.strings[span->name];

    if (s->blocks->of_name[span->name] >= 0) enter_block(s, c, span->name);
    else if (begins(name, "Optimizer.")) {
        if (c->block >= 0 && !c->between) c->part = PART_UPDATE;
        else {
            c->class = CLASS_OPTIMIZER;
            c->block = -1;
        }
    } else if (begins(name, "enumerate(DataLoader)")) {
        c->class = CLASS_LOADER;
        c->block = -1;
    } else if (begins(name, "nccl:") || begins(name, "rccl:")) c->class = CLASS_COMMUNICATION;
}

/* Work of a module that is no block belongs to the block before: what a network does between its
 * modules, and the loss. */
static void enter_module(Sums *s, Context *c, const KinetoSpan *span)
{
    c->in_module = true;
    if (s->blocks->of_name[span->name] >= 0) enter_block(s, c, span->name);
    else if (c->block < 0 && c->class == CLASS_OUTSIDE && s->blocks->source != BLOCKS_OF_RANGES)
        c->between = true;
}

/* A node in another one (a checkpoint's recomputed part) is the outer one's. One without a number
 * (AccumulateGrad) follows that of the same block. */
static void enter_node(Sums *s, Context *c, const KinetoSpan *span)
{
    if (c->in_node) return;
    *c = (Context){.block = -1, .part = PART_BACKWARD, .class = CLASS_OUTSIDE, .in_node = true,
                   .name = c->name};
    if (span->number < 0) {
        c->block = s->last_node.block;
        c->class = s->last_node.class;
        return;
    }
    int block = find_forward(s, span->number, span->start_ns);
    c->block = block >= 0 ? block : -1;
    c->class = block >= 0 ? CLASS_BLOCK : block == -2 ? CLASS_LOST : CLASS_OUTSIDE;
    s->last_node = *c;
}

static Context enter(Sums *s, Context c, const KinetoSpan *span)
{
    switch (span->type) {
    case SPAN_ECHO:
        enter_block(s, &c, span->name);
        c.part = PART_BACKWARD;
        c.in_node = true;
        break;
    case SPAN_RANGE:  enter_range(s, &c, span); break;
    case SPAN_MODULE: enter_module(s, &c, span); break;
    case SPAN_NODE:   enter_node(s, &c, span); break;
    case SPAN_OPERATOR:
        c.in_operator = true;
        if (c.name < 0) c.name = span->name;
        break;
    default: break;
    }
    return c;
}

/* With the block of what lies between blocks. */
static Context settle(const Sums *s, Context c)
{
    if (!c.between || c.block >= 0 || c.class != CLASS_OUTSIDE) return c;
    c.block = s->last_block >= 0 ? s->last_block : 0;
    c.class = CLASS_BLOCK;
    return c;
}

/* ---- walks ----------------------------------------------------------------------------------- */

typedef void Visit(Sums *s, const KinetoSpan *span, const Context *outer, const Context *own);

/* Times that are cut to whole microseconds may end up to one too early: what a launch lies in stays
 * open for as long, unless the next span starts. */
static void walk(Sums *s, Visit *visit)
{
    int64_t slack = s->file->fractions ? 0 : 1000;
    int     count = 0;
    int32_t thread = -1;

    for (size_t i = 0; i < s->file->span_count; i++) {
        const KinetoSpan *span = &s->file->spans[i];
        if (span->thread != thread) {
            thread = span->thread;
            count = 0;
            s->last_block = -1;
            s->last_node =
                (Context){.block = -1, .class = CLASS_OUTSIDE, .part = PART_BACKWARD, .name = -1};
        }
        while (count > 0
               && s->frames[count - 1].end_ns + (span->type >= SPAN_LAUNCH ? slack : 0)
                      <= span->start_ns)
            count--;
        const Context *outer = count > 0 ? &s->frames[count - 1].context : &nowhere;
        Context        own = enter(s, *outer, span);
        visit(s, span, outer, &own);
        if (span->type < SPAN_LAUNCH) s->frames[count++] = (Frame){span->end_ns, own};
    }
}

static void visit_forward(Sums *s, const KinetoSpan *span, const Context *outer, const Context *own)
{
    (void)outer;
    if (span->type != SPAN_OPERATOR || span->number < 0 || own->in_node) return;
    Context settled = settle(s, *own);
    s->forwards[s->forward_count++] =
        (Forward){span->number, span->start_ns, settled.class == CLASS_BLOCK ? settled.block : -1};
}

static int64_t *cell(const KinetoSums *sums, int step, int block, BlockPart part)
{
    return &sums->ns[((size_t)step * (size_t)sums->blocks + (size_t)block) * PART_COUNT + part];
}

/* Work of so many nanoseconds, launched or done at a time. */
static void count(Sums *s, const Context *c, int64_t at_ns, int64_t ns)
{
    int step = step_at(s, at_ns);

    if (step < 0) { s->sums->before_ns += ns; return; }
    WorkClass class = c->block < 0 && c->class == CLASS_BLOCK ? CLASS_OUTSIDE : c->class;
    s->sums->class_ns[(size_t)step * CLASS_COUNT + class] += ns;
    if (class == CLASS_BLOCK) {
        *cell(s->sums, step, c->block, c->part) += ns;
        if (c->between) s->sums->between_ns += ns;
    }
    if (class == CLASS_OUTSIDE && c->name >= 0) s->outside_of[c->name] += ns;
}

/* Sizes of tensors: of the gradients of a block, and of what its first operator takes. */
static void visit_shape(Sums *s, const KinetoSpan *span, const Context *own)
{
    if (own->block < 0 || own->class != CLASS_BLOCK || span->tensor_bytes < 0) return;
    if (own->in_node) {
        if (strcmp(s->file->names.strings[span->name], "torch::autograd::AccumulateGrad") != 0)
            return;
        int step = step_at(s, span->start_ns);
        /* Of the first step alone: it is the same in all. */
        if (step != 0) return;
        int64_t *bytes = &s->sums->gradient_bytes[own->block];
        *bytes = (*bytes < 0 ? 0 : *bytes) + span->tensor_bytes;
    } else if (!own->between && s->sums->input_bytes[own->block] < 0) {
        s->sums->input_bytes[own->block] = span->tensor_bytes;
        s->sums->input_rows[own->block] = span->rows;
        s->sums->input_dimensions[own->block] = span->dimensions;
    }
}

static void visit_launch(Sums *s, const KinetoSpan *span, const Context *outer, const Context *own)
{
    if (span->type >= SPAN_LAUNCH)
        s->launches[s->launch_count++] =
            (Launch){span->number, span->start_ns, span->type == SPAN_FLOW, settle(s, *own)};
    if (span->type == SPAN_OPERATOR) visit_shape(s, span, own);
    bool work = (span->type == SPAN_OPERATOR || span->type == SPAN_NODE) && !outer->in_operator
                && !outer->in_node;
    if (!s->sums->of_host || !work) return;
    Context settled = settle(s, *own);
    if (settled.name < 0) settled.name = span->name;
    count(s, &settled, span->start_ns, span->end_ns - span->start_ns);
}

/* ---- the device's work ----------------------------------------------------------------------- */

static int by_sequence(const void *a, const void *b)
{
    const Forward *x = a, *y = b;

    if (x->sequence != y->sequence) return x->sequence < y->sequence ? -1 : 1;
    return x->start_ns < y->start_ns ? -1 : x->start_ns > y->start_ns;
}

static int by_correlation(const void *a, const void *b)
{
    const Launch *x = a, *y = b;

    if (x->correlation != y->correlation) return x->correlation < y->correlation ? -1 : 1;
    return x->flow != y->flow ? x->flow - y->flow
                              : (x->start_ns > y->start_ns) - (x->start_ns < y->start_ns);
}

static const Launch *find_launch(const Sums *s, int64_t correlation)
{
    size_t low = 0, high = s->launch_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->launches[middle].correlation < correlation) low = middle + 1;
        else                                               high = middle;
    }
    return low < s->launch_count && s->launches[low].correlation == correlation ? &s->launches[low]
                                                                                : NULL;
}

static void count_works(Sums *s)
{
    static const Context lost = {.block = -1, .class = CLASS_LOST, .name = -1};
    bool                 seen[KINETO_MAX_DEVICES] = {false};

    for (size_t i = 0; i < s->file->work_count; i++) {
        const KinetoWork *work = &s->file->works[i];
        const Launch *launch = work->correlation >= 0 ? find_launch(s, work->correlation) : NULL;
        Context           c = launch ? launch->context : lost;
        if (work->type == DEVICE_COPY) c.class = CLASS_COPY;
        if (work->type == DEVICE_COLLECTIVE) c.class = CLASS_COMMUNICATION;
        /* Without a launch nothing says when: it is counted to the first step. */
        count(s, &c, launch ? launch->start_ns : s->sums->steps ? s->step_starts[0] : 0, work->ns);
        if (!seen[work->device])
            s->sums->device = s->sums->devices++ ? s->sums->device : work->device;
        seen[work->device] = true;
    }
}

static void name_outside(Sums *s)
{
    for (int i = 0; i < s->file->names.count; i++)
        if (s->outside_of[i] > s->sums->outside_ns) {
            s->sums->outside_ns = s->outside_of[i];
            s->sums->outside_name = s->file->names.strings[i];
        }
}

static int allocate(Sums *s, Error *err)
{
    KinetoSums *out = s->sums;
    Arena      *arena = &out->arena;
    size_t steps = (size_t)out->steps, blocks = (size_t)out->blocks, spans = s->file->span_count;

    out->ns = arena_alloc(arena, steps * blocks, PART_COUNT * sizeof *out->ns);
    out->class_ns = arena_alloc(arena, steps, CLASS_COUNT * sizeof *out->class_ns);
    out->gradient_bytes = arena_alloc(arena, blocks, sizeof *out->gradient_bytes);
    out->input_bytes = arena_alloc(arena, blocks, sizeof *out->input_bytes);
    out->input_rows = arena_alloc(arena, blocks, sizeof *out->input_rows);
    out->input_dimensions = arena_alloc(arena, blocks, sizeof *out->input_dimensions);
    s->outside_of = arena_alloc(arena, (size_t)s->file->names.count, sizeof *s->outside_of);
    s->frames = malloc((spans + 1) * sizeof *s->frames);
    s->forwards = malloc((spans + 1) * sizeof *s->forwards);
    s->launches = malloc((spans + 1) * sizeof *s->launches);
    if (!out->ns || !out->class_ns || !out->gradient_bytes || !out->input_bytes || !out->input_rows
        || !out->input_dimensions || !s->outside_of || !s->frames || !s->forwards || !s->launches)
        return error_no_memory(err);
    for (size_t b = 0; b < blocks; b++) out->gradient_bytes[b] = out->input_bytes[b] = -1;
    return 0;
}

int kineto_sums(KinetoSums *out, const KinetoFile *file, const KinetoBlocks *blocks,
                const char *file_name, Error *err)
{
    Sums s = {.file = file, .blocks = blocks, .sums = out};
    int  rc = -1;

    *out = (KinetoSums){.blocks = blocks->count, .of_host = file->work_count == 0};
    if (find_steps(&s, file_name, err) != 0 || allocate(&s, err) != 0) goto done;
    walk(&s, visit_forward);
    qsort(s.forwards, s.forward_count, sizeof *s.forwards, by_sequence);
    walk(&s, visit_launch);
    qsort(s.launches, s.launch_count, sizeof *s.launches, by_correlation);
    count_works(&s);
    name_outside(&s);
    rc = 0;
done:
    free(s.frames);
    free(s.forwards);
    free(s.launches);
    return rc;
}

void kineto_sums_free(KinetoSums *sums) { arena_free(&sums->arena); }
