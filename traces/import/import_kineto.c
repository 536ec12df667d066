/* PyTorch's profiles as a trace. Times are sums of what the device did, medians over the steps of
 * all files of a kind of device and batch. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"
#include "traces/import/import_read.h"
#include "traces/import/kineto.h"

enum { LEAST_TRIALS = 5 };       /* for a spread */

/* One file. Strings are the trace's. */
typedef struct {
    const char  *file, *kind;
    const char **names;          /* [sums.blocks] */
    int64_t      rows, memory_bytes;
    BlockSource  source;
    int          depth, deepest, kind_number;
    bool         has_teachers, compiled;
    KinetoSums   sums;
} Profile;

typedef struct {
    Trace               *trace;
    const char          *what;           /* "PyTorch" */
    ReadProfile         *read;
    Text                *notes;
    const ImportOptions *options;
    Profile             *profiles;       /* [count], then the student's */
    int                  count;
    Profile             *student;        /* or NULL */
    const char         **kinds;
    int                  kind_count;
    double              *values;         /* [steps of all files] */
} Import;

/* ---- a file ---------------------------------------------------------------------------------- */

static const char *copy_utf8(Trace *trace, const char *string)
{
    Text text = {0};

    text_utf8(&text, string);
    const char *copy = text_failed(&text) ? NULL : arena_strdup(&trace->arena, text_string(&text));
    text_free(&text);
    return copy;
}

static int copy_strings(Profile *p, const KinetoFile *file, const KinetoBlocks *blocks,
                        Trace *trace, Error *err)
{
    const char *device = file->device_names[p->sums.device];

    p->names = arena_alloc(&trace->arena, (size_t)blocks->count, sizeof *p->names);
    if (!p->names) return error_no_memory(err);
    for (int b = 0; b < blocks->count; b++)
        if (!(p->names[b] = copy_utf8(trace, blocks->names[b]))) return error_no_memory(err);
    p->kind = copy_utf8(trace, p->sums.of_host ? "CPU" : *device ? device : "unknown");
    p->memory_bytes = p->sums.of_host ? 0 : file->device_memory[p->sums.device];
    bool outside = p->sums.outside_name != NULL;
    if (outside) p->sums.outside_name = copy_utf8(trace, p->sums.outside_name);
    return p->kind && (p->sums.outside_name || !outside) ? 0 : error_no_memory(err);
}

static int read_profile(Profile *p, const Import *im, const ImportFile *file, Error *err)
{
    const ImportOptions *o = im->options;
    KinetoFile          *read = NULL;
    KinetoBlocks         blocks = {0};
    int                  rc = -1;

    p->file = file->name;
    if (im->read(&read, file, o->progress, o->progress_context, err) != 0) goto done;
    if (kineto_blocks(&blocks, read, file->name, o->blocks, (int)o->depth, err) != 0) goto done;
    if (kineto_sums(&p->sums, read, &blocks, file->name, err) != 0) goto done;
    p->source = blocks.source;
    p->depth = blocks.depth;
    p->deepest = blocks.deepest;
    p->has_teachers = blocks.has_teachers;
    p->compiled = blocks.compiled;
    rc = copy_strings(p, read, &blocks, im->trace, err);
done:
    kineto_blocks_free(&blocks);
    kineto_free(read);
    return rc;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static int64_t part_ns(const Profile *p, int step, int block, BlockPart part)
{
    return p->sums.ns[((size_t)step * (size_t)p->sums.blocks + (size_t)block) * PART_COUNT + part];
}

/* Whether a block had work in it: the profiler's last step often has none. */
static bool has_work(const Profile *p, int step)
{
    return p->sums.class_ns[step * CLASS_COUNT + CLASS_BLOCK] > 0;
}

static int working_steps(const Profile *p)
{
    int count = 0;

    for (int step = 0; step < p->sums.steps; step++) count += has_work(p, step);
    return count;
}

/* Of all profiles of a kind and batch, what (profile, step) gives; the median, 0 of none. Sorts
 * im->values, of which *count are filled. */
typedef double OfStep(const Import *im, const Profile *p, int step, int block, int part);

static double median_of(const Import *im, int kind, int64_t rows, OfStep *value, int block,
                        int part, size_t *count)
{
    *count = 0;
    for (int i = 0; i < im->count; i++) {
        const Profile *p = &im->profiles[i];
        if (p->kind_number != kind || p->rows != rows) continue;
        for (int step = 0; step < p->sums.steps; step++)
            if (has_work(p, step)) im->values[(*count)++] = value(im, p, step, block, part);
    }
    if (*count == 0) return 0;
    return stats_median(im->values, *count);
}

static double part_of_step(const Import *im, const Profile *p, int step, int block, int part)
{
    (void)im;
    return (double)part_ns(p, step, block, (BlockPart)part);
}

static double whole_step(const Import *im, const Profile *p, int step, int block, int part)
{
    double sum = 0;

    (void)im;
    (void)part;
    for (int i = 0; i < PART_COUNT; i++) sum += (double)part_ns(p, step, block, (BlockPart)i);
    return sum;
}

static double optimizer_of_step(const Import *im, const Profile *p, int step, int block, int part)
{
    (void)im;
    (void)block;
    (void)part;
    return (double)p->sums.class_ns[step * CLASS_COUNT + CLASS_OPTIMIZER];
}

/* The deviation over the median, as stats_deviation() has it. */
static double spread_of(const Import *im, int kind, int64_t rows, int block)
{
    size_t count;
    double median = median_of(im, kind, rows, whole_step, block, 0, &count);

    if (count < LEAST_TRIALS || median <= 0) return 0;
    return stats_deviation(im->values, count, median) / median;
}

/* ---- checks ---------------------------------------------------------------------------------- */

static int check_steps(const Profile *p, Error *err)
{
    if (working_steps(p) > 0) return 0;
    if (p->sums.of_host)
        return error_set(
            err, "%s: no block has work: no kernels and no operators lie in the blocks of any step",
            p->file);
    return error_set(err,
                     "%s: no block has work on a device in any step: expected kernels "
                     "(ProfilerActivity.CUDA) launched "
                     "within the blocks",
                     p->file);
}

static int check_names(const Profile *first, const Profile *p, Error *err)
{
    for (int b = 0; b < first->sums.blocks && b < p->sums.blocks; b++)
        if (strcmp(first->names[b], p->names[b]) != 0)
            return error_set(err,
                             "%s: block %d is \"%s\", but in %s it is \"%s\": expected the same "
                             "blocks in all files",
                             p->file, b, p->names[b], first->file, first->names[b]);
    if (first->sums.blocks != p->sums.blocks)
        return error_set(err, "%s: %d blocks, but %s has %d: expected the same in all files",
                         p->file, p->sums.blocks, first->file, first->sums.blocks);
    if (first->has_teachers != p->has_teachers)
        return error_set(err, "%s and %s: one has ranges named teacher:, the other has none",
                         first->file, p->file);
    return 0;
}

static int check_student(const Import *im, Error *err)
{
    const Profile *t = &im->profiles[0], *s = im->student;

    if (!s) return 0;
    if (im->count > 1)
        return error_set(err, "--student: goes with one FILE, of the teacher, not with %d",
                         im->count);
    if (t->has_teachers || s->has_teachers)
        return error_set(err,
                         "--student: %s has ranges named teacher:, expected the teacher in one "
                         "file and the student in the other",
                         t->has_teachers ? t->file : s->file);
    if (t->sums.blocks != s->sums.blocks)
        return error_set(err, "%s: %d blocks, but the teacher's %s has %d: expected as many",
                         s->file, s->sums.blocks, t->file, t->sums.blocks);
    return check_steps(s, err);
}

/* ---- kinds and batches ----------------------------------------------------------------------- */

/* The kind of device of each profile: --device, one for all files or one each in their order, else
 * the name in the profile. Profiles of one kind share its number; memory is that of the kind's last
 * profile that says it. */
static int name_kinds(Import *im, Error *err)
{
    const ImportOptions *o = im->options;

    if (o->device.count > 1 && o->device.count != im->count)
        return error_set(
            err, "--device: %d names, but %d files: expected one, or one for each file in order",
            o->device.count, im->count);
    im->kinds = arena_alloc(&im->trace->arena, (size_t)im->count, sizeof *im->kinds);
    if (!im->kinds) return error_no_memory(err);
    for (int i = 0; i < im->count; i++) {
        Profile *p = &im->profiles[i];
        if (o->device.count) p->kind = o->device.values[o->device.count > 1 ? i : 0];
        for (p->kind_number = 0; p->kind_number < im->kind_count; p->kind_number++)
            if (strcmp(im->kinds[p->kind_number], p->kind) == 0) break;
        if (p->kind_number == im->kind_count) im->kinds[im->kind_count++] = p->kind;
    }
    if (import_kinds(im->trace, im->kinds, im->kind_count, o, err) != 0) return -1;
    for (int i = 0; i < im->count; i++)
        if (im->profiles[i].memory_bytes > 0)
            im->trace->kinds[im->profiles[i].kind_number].memory_bytes =
                im->profiles[i].memory_bytes;
    return 0;
}

/* --rows, else the batch. What is larger than the batch cannot be asked for, and is dropped. */
static int set_rows(Import *im, Error *err)
{
    const ImportOptions *o = im->options;
    int                  kept = 0;

    if (o->rows.count && o->rows.count != im->count)
        return error_set(err,
                         "--rows: %d numbers, but %d files: expected one for each file in order",
                         o->rows.count, im->count);
    for (int i = 0; i < im->count; i++) {
        Profile *p = &im->profiles[i];
        p->rows = o->rows.count ? o->rows.values[i] : o->batch;
        kept += p->rows <= o->batch;
        if (p->rows > o->batch)
            text_printf(im->notes, " Left out: %s, whose %" PRId64 " rows are more than the batch.",
                        p->file, p->rows);
    }
    if (im->student) im->student->rows = im->profiles[0].rows;
    return kept ? 0
                : error_set(err, "--rows: all files have more rows than the batch of %" PRId64,
                            o->batch);
}

static bool is_first_of_its_kind(const Import *im, int i)
{
    for (int j = 0; j < i; j++)
        if (im->profiles[j].kind_number == im->profiles[i].kind_number
            && im->profiles[j].rows == im->profiles[i].rows)
            return false;
    return im->profiles[i].rows <= im->options->batch;
}

/* ---- times ----------------------------------------------------------------------------------- */

/* What gradients all blocks together have; -1 where one that learns has none recorded. */
static int64_t all_gradients(const Profile *p)
{
    int64_t sum = 0;

    for (int b = 0; b < p->sums.blocks; b++)
        sum += p->sums.gradient_bytes[b] > 0 ? p->sums.gradient_bytes[b] : 0;
    return sum > 0 ? sum : -1;
}

/* The profile with the student's times and gradients. */
static const Profile *learner(const Import *im)
{
    return im->student ? im->student : &im->profiles[0];
}

/* The optimizer's time, which is one for all blocks, by their gradients. */
static double update_share(const Import *im, double optimizer_ns, int block)
{
    const Profile *p = learner(im);
    int64_t        all = all_gradients(p);

    if (all < 0 || p->sums.gradient_bytes[block] <= 0) return 0;
    return optimizer_ns * (double)p->sums.gradient_bytes[block] / (double)all;
}

static int insert_point(Import *im, Curve *curve, int64_t rows, double ns, double spread,
                        const char *block, Error *err)
{
    CurvePoint *points = arena_alloc(&im->trace->arena, (size_t)curve->count + 1, sizeof *points);
    int         at = 0;

    if (!points) return error_no_memory(err);
    if (ns > (double)TRACE_MAX_NS)
        return error_set(err, "block \"%s\" takes more than 39 hours", block);
    while (at < curve->count && curve->points[at].x < rows) at++;
    if (at > 0) memcpy(points, curve->points, (size_t)at * sizeof *points);
    if (at < curve->count)
        memcpy(points + at + 1, curve->points + at, (size_t)(curve->count - at) * sizeof *points);
    points[at] = (CurvePoint){.x = rows, .ns = (int64_t)(ns + 0.5),
                              .contended_ns = (int64_t)(ns + 0.5), .spread = spread};
    curve->points = points;
    curve->count++;
    return 0;
}

/* The times of the student's file in place of those of FILE, whose forward is the teacher's. */
static void take_student(const Import *im, int block, double ns[WORK_COUNT])
{
    const Profile *s = im->student;

    ns[WORK_TEACHER] = ns[WORK_FORWARD];
    for (int part = PART_FORWARD; part < PART_COUNT; part++) {
        size_t count = 0;
        for (int step = 0; step < s->sums.steps; step++)
            if (has_work(s, step))
                im->values[count++] = (double)part_ns(s, step, block, (BlockPart)part);
        ns[part] = stats_median(im->values, count);
    }
}

static double student_optimizer(const Import *im)
{
    const Profile *s = im->student;
    size_t         count = 0;

    for (int step = 0; step < s->sums.steps; step++)
        if (has_work(s, step)) im->values[count++] = optimizer_of_step(im, s, step, 0, 0);
    return stats_median(im->values, count);
}

/* One point, at rows samples on a kind of device, on the curve of every work of every block:
 * medians over the steps of its profiles, in ns. The optimizer's time, which a profile has for all
 * blocks together, is shared out by update_share(). */
static int fill_point(Import *im, int kind, int64_t rows, Error *err)
{
    size_t count;
    double optimizer = im->student ? student_optimizer(im)
                                   : median_of(im, kind, rows, optimizer_of_step, 0, 0, &count);

    for (int b = 0; b < im->trace->block_count; b++) {
        TraceBlock *block = &im->trace->blocks[b];
        double      ns[WORK_COUNT], spread = spread_of(im, kind, rows, b);
        _Static_assert((int)PART_TEACHER == WORK_TEACHER && (int)PART_UPDATE == WORK_UPDATE,
                       "parts are the works of a trace");
        for (int part = 0; part < PART_COUNT; part++)
            ns[part] = median_of(im, kind, rows, part_of_step, b, part, &count);
        if (im->student) take_student(im, b, ns);
        else if (!im->profiles[0].has_teachers) ns[WORK_TEACHER] = ns[WORK_FORWARD];
        ns[WORK_UPDATE] += update_share(im, optimizer, b);
        for (int work = 0; work < WORK_COUNT; work++)
            if (insert_point(im, &block->work[work][kind], rows, ns[work], spread, block->name, err)
                != 0)
                return -1;
    }
    return 0;
}

/* ---- sizes ----------------------------------------------------------------------------------- */

/* Bytes of a sample that a block takes in; absent where the profile does not say, or its rows are
 * others. */
static int64_t boundary_bytes(const Profile *p, int block)
{
    int64_t bytes = p->sums.input_bytes[block];

    if (bytes < 0 || p->sums.input_rows[block] != p->rows || bytes % p->rows != 0)
        return TRACE_ABSENT;
    return bytes / p->rows;
}

static void fill_sizes(Import *im)
{
    const Profile *t = &im->profiles[0], *s = learner(im);

    im->trace->input_bytes = boundary_bytes(t, 0);
    for (int b = 0; b < im->trace->block_count; b++) {
        TraceBlock *block = &im->trace->blocks[b];
        bool        learned = all_gradients(s) >= 0;
        int64_t     gradients = !learned                        ? TRACE_ABSENT
                                : s->sums.gradient_bytes[b] > 0 ? s->sums.gradient_bytes[b]
                                                                : 0;
        if (b + 1 < im->trace->block_count) block->output_bytes = boundary_bytes(t, b + 1);
        block->gradient_bytes = block->student_weight_bytes = gradients;
        if (!im->student && !t->has_teachers) block->teacher_weight_bytes = gradients;
        else if (im->student && all_gradients(t) >= 0)
            block->teacher_weight_bytes =
                t->sums.gradient_bytes[b] > 0 ? t->sums.gradient_bytes[b] : 0;
    }
}

/* ---- notes ----------------------------------------------------------------------------------- */

typedef struct { int64_t of_class[CLASS_COUNT], all, before, between; int steps, empty; } Totals;

static Totals add_up(const Import *im)
{
    Totals t = {{0}, 0, 0, 0, 0, 0};

    for (int i = 0; i < im->count + (im->student != NULL); i++) {
        const Profile *p = &im->profiles[i];
        for (int step = 0; step < p->sums.steps; step++) {
            t.empty += !has_work(p, step);
            t.steps += has_work(p, step);
            for (int class = 0; class < CLASS_COUNT; class ++)
                t.of_class[class] += p->sums.class_ns[step * CLASS_COUNT + class];
        }
        t.before += p->sums.before_ns;
        t.between += p->sums.between_ns;
    }
    for (int class = 0; class < CLASS_COUNT; class++) t.all += t.of_class[class];
    return t;
}

/* Notes what the time of the profile was spent on, and what of it is in no block. */
static void note_classes(Import *im, const Totals *t)
{
    static const char *const words[CLASS_COUNT] = {
        "in blocks",
        "the optimizer's",
        "collective communication",
        "copies to and from the host or another device",
        "data loading",
        "outside of the blocks",
        "of launches or forwards that the file does not have"};
    double all = t->all > 0 ? (double)t->all : 1;

    text_printf(im->notes, " Of %.3f ms %s, %.1f %% are in blocks", (double)t->all * 1e-6,
                im->profiles[0].sums.of_host ? "of operators" : "of device time",
                100 * (double)t->of_class[CLASS_BLOCK] / all);
    for (int class = CLASS_BLOCK + 1; class < CLASS_COUNT; class++)
        if (t->of_class[class] > 0)
            text_printf(im->notes, "; %.1f %% %s %s", 100 * (double)t->of_class[class] / all,
                        class == CLASS_COPY ? "are" : "is", words[class]);
    text_append(im->notes, ".");
    const Profile *p = &im->profiles[0];
    if (p->sums.outside_name)
        text_printf(im->notes, " Outside, %s takes most, %.3f ms.", p->sums.outside_name,
                    (double)p->sums.outside_ns * 1e-6);
    int64_t others =
        t->of_class[CLASS_LOADER] + t->of_class[CLASS_OUTSIDE] + t->of_class[CLASS_LOST];
    if ((double)others > 0.02 * all)
        text_printf(im->notes,
                    " Attention: %.1f %% are left out of all plans; blocks that hold this work too "
                    "would be closer.",
                    100 * (double)others / all);
    if (t->between > 0)
        text_printf(im->notes, " Between blocks, counted to the block before: %.3f ms.",
                    (double)t->between * 1e-6);
    if (t->before > 0)
        text_printf(im->notes, " Not in a ProfilerStep, left out: %.3f ms.",
                    (double)t->before * 1e-6);
}

static void note_blocks(Import *im)
{
    const Profile *p = &im->profiles[0];

    if (p->source == BLOCKS_OF_DEPTH)
        text_printf(im->notes, " Blocks: nn.Modules at depth %d of %d.", p->depth, p->deepest);
    else
        text_printf(im->notes, " Blocks: %s.",
                    p->source == BLOCKS_OF_LIST ? "those named by --blocks"
                                                : "ranges named block:, teacher: or student:");
    if (p->compiled && p->sums.blocks == 1)
        text_append(im->notes, " What torch.compile compiled as a whole shows no modules inside: "
                               "compile each block to see more than one.");
    if (im->student) text_append(im->notes, " Teacher = forward of FILE, student = --student.");
    else if (!p->has_teachers)
        text_append(im->notes, " Teacher = forward of the same blocks, taken while they train; "
                               "student = their forward and backward.");
}

/* A batch first: images have four dimensions, and the first is the rows. */
static void note_rows(Import *im)
{
    for (int i = 0; i < im->count; i++) {
        const Profile *p = &im->profiles[i];
        if (p->sums.input_bytes[0] >= 0 && p->sums.input_dimensions[0] >= 4
            && p->sums.input_rows[0] != p->rows)
            text_printf(im->notes,
                        " Attention: %s was profiled with %d rows, by what its first block takes, "
                        "but %s says %" PRId64 ".",
                        p->file, p->sums.input_rows[0],
                        im->options->rows.count ? "--rows" : "--batch", p->rows);
    }
}

static void note_update(Import *im, const Totals *t)
{
    if (t->of_class[CLASS_OPTIMIZER] == 0) return;
    if (all_gradients(learner(im)) >= 0)
        text_append(im->notes, " The optimizer's time is that of all blocks, and shared by the "
                               "bytes of their gradients.");
    else
        text_append(im->notes, " The update is left out: the optimizer's time is that of all "
                               "blocks, and without record_shapes=True nothing "
                               "says which share is whose.");
}

/* The trace's notes: what was read, what was found in no block or left out, and what times do and
 * do not hold, so that a reader of the trace can judge it without the profiles. */
static void note(Import *im)
{
    Totals t = add_up(im);

    text_printf(im->notes, "Profiles of %s: %d file%s, %d step%s", im->what,
                im->count + (im->student != NULL),
                im->count + (im->student != NULL) == 1 ? "" : "s", t.steps,
                t.steps == 1 ? "" : "s");
    if (!im->profiles[0].sums.marked)
        text_append(im->notes, ", each from one start of the first block to the next, as there are "
                               "no ProfilerStep ranges");
    if (t.empty) text_printf(im->notes, ", %d more without work in blocks", t.empty);
    text_append(im->notes, ".");
    note_blocks(im);
    note_classes(im, &t);
    note_update(im, &t);
    note_rows(im);
    for (int i = 0; i < im->count; i++)
        if (im->profiles[i].sums.devices > 1)
            text_printf(im->notes, " %s has work of %d devices, which is added up.",
                        im->profiles[i].file, im->profiles[i].sums.devices);
    text_append(im->notes,
                im->profiles[0].sums.of_host
                    ? " Times are those of operators, without what Python does between them."
                    : " Times are sums of device work, without the gaps between launches.");
    text_append(im->notes, " Not in profiles: what the backward keeps, links, the loader.");
}

/* ---- the trace ------------------------------------------------------------------------------- */

static int read_all(Import *im, const ImportFile *files, Error *err)
{
    size_t steps = 0;

    for (int i = 0; i < im->count; i++) {
        if (read_profile(&im->profiles[i], im, &files[i], err) != 0
            || check_steps(&im->profiles[i], err) != 0)
            return -1;
        if (check_names(&im->profiles[0], &im->profiles[i], err) != 0) return -1;
        steps += (size_t)im->profiles[i].sums.steps;
    }
    if (im->options->student.name) {
        im->student = &im->profiles[im->count];
        if (read_profile(im->student, im, &im->options->student, err) != 0
            || check_student(im, err) != 0)
            return -1;
        steps += (size_t)im->student->sums.steps;
    }
    im->values = arena_alloc(&im->trace->arena, steps, sizeof *im->values);
    return im->values ? 0 : error_no_memory(err);
}

/* Makes the trace of profiles that are read and agree on their blocks: kinds, then rows, then a
 * point for each number of rows, sizes last. im->notes are written on the way. */
static int build(Import *im, Error *err)
{
    Text after = {0}, *notes = im->notes;

    im->notes = &after;                  /* what is left out stands behind what was read */
    int rc = name_kinds(im, err) == 0 ? set_rows(im, err) : -1;
    im->notes = notes;
    if (rc == 0) {
        note(im);
        text_append(im->notes, text_string(&after));
        if (after.failed) rc = error_no_memory(err);
    }
    text_free(&after);
    if (rc != 0 || import_blocks(im->trace, im->profiles[0].sums.blocks, err) != 0) return -1;
    for (int b = 0; b < im->trace->block_count; b++)
        im->trace->blocks[b].name = im->profiles[0].names[b];
    for (int i = 0; i < im->count; i++)
        if (is_first_of_its_kind(im, i)
            && fill_point(im, im->profiles[i].kind_number, im->profiles[i].rows, err) != 0)
            return -1;
    fill_sizes(im);
    return 0;
}

int import_profiles(Trace *trace, Text *notes, const ImportFile *files, int count,
                    const ImportOptions *options, const char *what, ReadProfile *read, Error *err)
{
    Import im = {.trace = trace, .what = what, .read = read, .notes = notes, .options = options,
                 .count = count};
    int    rc = -1;

    im.profiles = calloc((size_t)count + 1, sizeof *im.profiles);
    if (!im.profiles) return error_no_memory(err);
    if (read_all(&im, files, err) == 0) rc = build(&im, err);
    for (int i = 0; i <= count; i++) kineto_sums_free(&im.profiles[i].sums);
    free(im.profiles);
    return rc;
}

static int read_kineto(Trace *trace, Text *notes, const ImportFile *files, int count,
                       const ImportOptions *options, Error *err)
{
    return import_profiles(trace, notes, files, count, options, "PyTorch", kineto_read, err);
}

const ImportFormat import_kineto = {"kineto", "student blocks depth rows", OPTIONS_MAX_OPERANDS - 1,
                                    true, read_kineto};
