#include "planner/whatif/whatif.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/micro.h"
#include "base/text.h"

typedef struct {
    Trace           *trace;
    ScenarioOptions *options;
    EditKind         kind;
    const char      *path;
    double           value;
    bool            *changed;    /* set when a number is not what it was */
    Error           *err;
} Edit;

static int bad(const Edit *edit, const char *why)
{
    return error_set(edit->err, "%s: %s", edit->path, why);
}

/* ---- numbers ------------------------------------------------------------- */

static int edit_double(const Edit *edit, double *number)
{
    double result = edit->kind == EDIT_SET ? edit->value : *number * edit->value;

    if (!(result >= 0) || result > 0x1p53)
        return bad(edit, "the value is out of range, expected 0 to 2^53");
    *edit->changed |= result != *number;
    *number = result;
    return 0;
}

/* Says what was given, as its product can be beyond any double. */
static int out_of_range(const Edit *edit, int64_t number, int64_t minimum, int64_t maximum,
                        int64_t unit)
{
    char shown[64];

    if (edit->kind == EDIT_SET) snprintf(shown, sizeof shown, "%g", edit->value);
    else
        snprintf(shown, sizeof shown, "%g times %g", edit->value, (double)number / (double)unit);
    return error_set(edit->err, "%s: %s is out of range, expected %lld to %lld", edit->path, shown,
                     (long long)(minimum / unit), (long long)(maximum / unit));
}

/* A whole number of minimum or more, counted in units (1000 ns in a microsecond). */
static int edit_integer(const Edit *edit, int64_t *number, int64_t minimum, int64_t maximum,
                        int64_t unit)
{
    double result =
        edit->kind == EDIT_SET ? edit->value * (double)unit : (double)*number * edit->value;

    if (unit == 1 && result != floor(result))
        return error_set(edit->err, "%s: %g is not a whole number", edit->path, result);
    if (!(result >= (double)minimum) || result > (double)maximum)
        return out_of_range(edit, *number, minimum, maximum, unit);
    *edit->changed |= llround(result) != *number;
    *number = llround(result);
    return 0;
}

static int edit_int(const Edit *edit, int *number, int minimum, int maximum)
{
    int64_t wide = *number;

    if (edit_integer(edit, &wide, minimum, maximum, 1) != 0) return -1;
    *number = (int)wide;
    return 0;
}

/* Changes *ns as much as point->ns has changed from before, in proportion. */
static int keep_in_proportion(const Edit *edit, int64_t *ns, const CurvePoint *point,
                              int64_t before, const char *when)
{
    double now = (double)point->ns * ((double)*ns / (double)before);

    if (now > (double)TRACE_MAX_NS)
        return error_set(edit->err, "%s: %s it would take %g us, expected at most %lld",
                         edit->path, when, now * 1e-3, (long long)(TRACE_MAX_NS / 1000));
    *ns = llround(now);
    return 0;
}

/* How much the other devices slow a point down, and how it is alone in a step, stay in
 * proportion. */
static int edit_curve(const Edit *edit, const Curve *curve)
{
    for (int i = 0; i < curve->count; i++) {
        CurvePoint *point = &curve->points[i];
        int64_t     before = point->ns;
        if (edit_integer(edit, &point->ns, 0, TRACE_MAX_NS, 1000) != 0) return -1;
        if (before == 0) {               /* no proportions */
            point->contended_ns = point->ns;
            point->single_block_ns = point->single_block_contended_ns = 0;
            continue;
        }
        if (keep_in_proportion(edit, &point->contended_ns, point, before,
                               "while other devices compute") != 0
            || keep_in_proportion(edit, &point->single_block_ns, point, before,
                                  "in a step of one block") != 0
            || keep_in_proportion(edit, &point->single_block_contended_ns, point, before,
                                  "in a step of one block, while other devices compute") != 0)
            return -1;
    }
    return 0;
}

/* ---- parts ----------------------------------------------------------------- */

/* A number that the command line may have left at 0 for "as the trace says". */
static int edit_option(const Edit *edit, int64_t *number, int64_t now, int64_t maximum)
{
    if (*number == 0) *number = now;
    return edit_integer(edit, number, 1, maximum, 1);
}

/* An edit of devices, batch, steps, queue_depth or memory_bytes, which are options and not in the
 * trace. *found: whether the path is one of these. */
static int edit_cluster(const Edit *edit, bool *found)
{
    Trace           *t = edit->trace;
    ScenarioOptions *o = edit->options;
    const char      *path = edit->path;
    int64_t          batch = o->batch ? o->batch : t->batch;

    *found = true;
    if (strcmp(path, "devices") == 0)
        return edit_option(edit, &o->devices, trace_device_count(t), TRACE_MAX_DEVICES);
    if (strcmp(path, "batch") == 0) return edit_option(edit, &o->batch, t->batch, (int64_t)1 << 31);
    if (strcmp(path, "micro_batches") == 0)
        return edit_integer(edit, &t->micro_batches, 1, MICRO_BATCHES_MAX, 1);
    if (strcmp(path, "steps") == 0)
        return edit_option(edit, &o->steps, (t->samples + batch - 1) / batch, (int64_t)1 << 40);
    if (strcmp(path, "epochs") == 0)
        return edit_option(edit, &o->epochs, t->epochs > 1 ? t->epochs : 1, TRACE_MAX_EPOCHS);
    if (strcmp(path, "queue_depth") == 0) return edit_option(edit, &o->queue_depth, 2, 1024);
    if (strcmp(path, "memory_bytes") == 0) {
        int64_t now = t->kinds[0].memory_bytes;
        if (edit->kind == EDIT_SCALE && !o->memory_bytes && now == TRACE_ABSENT)
            return bad(edit, "not in this trace, so it cannot be scaled");
        return edit_option(edit, &o->memory_bytes, now, (int64_t)1 << 53);
    }
    *found = false;
    return 0;
}

/* As many lanes as both allow. */
static int edit_workers(const Edit *edit, TraceLoader *l, bool workers)
{
    int most = l->prefetch ? TRACE_MAX_PREFETCH / l->prefetch : TRACE_MAX_DEVICES;

    if (!l->workers) return bad(edit, "this trace's loader has lanes");
    if (edit_int(edit, workers ? &l->workers : &l->cores, 1, workers ? most : TRACE_MAX_DEVICES)
        != 0)
        return -1;
    l->lanes = l->workers < l->cores ? l->workers : l->cores;
    return 0;
}

/* An edit of loader.*. *found: whether the path begins so; if it does, a name that does not exist
 * and a trace without a loader are errors. */
static int edit_loader(const Edit *edit, bool *found)
{
    TraceLoader *l = &edit->trace->loader;
    const char  *key = edit->path + strlen("loader.");

    *found = strncmp(edit->path, "loader.", strlen("loader.")) == 0;
    if (!*found) return 0;
    if (!l->present) return bad(edit, "this trace has no loader");
    if (strcmp(key, "batch_us") == 0)
        return edit_integer(edit, &l->batch_ns, 0, TRACE_MAX_NS, 1000);
    if (strcmp(key, "sample_us") == 0) {
        double us = l->sample_ns / 1000;
        if (edit_double(edit, &us) != 0) return -1;
        l->sample_ns = us * 1000;
        return 0;
    }
    if (strcmp(key, "prefetch") == 0)
        return edit_int(edit, &l->prefetch, 0,
                        l->workers ? TRACE_MAX_PREFETCH / l->workers : TRACE_MAX_PREFETCH);
    if (strcmp(key, "lanes") == 0)
        return l->workers ? bad(edit, "this trace's loader has workers and cores")
                          : edit_int(edit, &l->lanes, 1, TRACE_MAX_DEVICES);
    if (strcmp(key, "workers") == 0 || strcmp(key, "cores") == 0)
        return edit_workers(edit, l, key[0] == 'w');
    return bad(edit, "no such number, expected loader.batch_us, .sample_us, .lanes, .workers, "
                     ".cores or .prefetch");
}

/* storage[N or NAME].read.us, .write.us (all points of the grid) or .size_bytes. */
static int edit_storage(const Edit *edit)
{
    const char *name = edit->path + 8, *end = strstr(name, "]."), *key = end ? end + 2 : "";
    Trace      *t = edit->trace;
    char       *rest;
    long        number = strtol(name, &rest, 10);
    int         tier = -1;

    if (t->tier_count == 0) return bad(edit, "this trace has no storage");
    if (!end) return bad(edit, "expected storage[NUMBER or NAME].KEY");
    if (rest == end && rest > name && number >= 0 && number < t->tier_count) tier = (int)number;
    for (int i = 0; i < t->tier_count && tier < 0; i++)
        if (strlen(t->tiers[i].name) == (size_t)(end - name)
            && strncmp(t->tiers[i].name, name, (size_t)(end - name)) == 0)
            tier = i;
    if (tier < 0) return bad(edit, "no such tier");
    if (strcmp(key, "size_bytes") == 0)
        return edit_integer(edit, &t->tiers[tier].size_bytes, 1, (int64_t)1 << 53, 1);
    bool read = strcmp(key, "read.us") == 0;
    if (!read && strcmp(key, "write.us") != 0)
        return bad(edit, "no such number, expected storage[N].read.us, .write.us or .size_bytes");
    TraceRequests *r = read ? &t->tiers[tier].read : &t->tiers[tier].write;
    for (int i = 0; i < r->row_bytes_count * r->rows_count * r->in_flight_count; i++)
        if (edit_integer(edit, &r->ns[i], 0, TRACE_MAX_NS, 1000) != 0) return -1;
    return 0;
}

/* Above 0, at most 1. */
static int edit_share(const Edit *edit, double *share)
{
    double now = *share;

    if (now == 0) *share = 1;                    /* the file does not say */
    if (edit_double(edit, share) != 0) return -1;
    if (*share > 0 && *share <= 1) return 0;
    *share = now;
    return bad(edit, "expected above 0, and at most 1");
}

/* A step's own time, what lies between parts of a job, and a process' memory. */
static int edit_besides(const Edit *edit, bool *found)
{
    *found = true;
    if (strncmp(edit->path, "storage[", 8) == 0) return edit_storage(edit);
    if (strcmp(edit->path, "step_us") == 0)
        return edit_integer(edit, &edit->trace->step_ns, 0, TRACE_MAX_NS, 1000);
    if (strcmp(edit->path, "network_us") == 0)
        return edit_integer(edit, &edit->trace->network_ns, 0, TRACE_MAX_NS, 1000);
    if (strcmp(edit->path, "part_us") == 0)
        return edit_integer(edit, &edit->trace->part_ns, 0, TRACE_MAX_NS, 1000);
    if (strcmp(edit->path, "stored_share") == 0)
        return edit_share(edit, &edit->trace->stored_share);
    if (strcmp(edit->path, "process_bytes") == 0)
        return edit_integer(edit, &edit->trace->process_bytes, 0, (int64_t)1 << 53, 1);
    *found = false;
    return 0;
}

static int edit_links(const Edit *edit, bool *found)
{
    const char       *path = edit->path;
    const TraceLinks *links = &edit->trace->links;

    *found = true;
    if (strncmp(path, "nodes.", 6) == 0) { links = &edit->trace->node_links; path += 6; }
    if (strcmp(path, "p2p.us") == 0)
        return links->p2p.count ? edit_curve(edit, &links->p2p) : bad(edit, "this trace has none");
    if (strcmp(path, "allreduce.us") == 0) {
        for (int i = 0; i < links->reduce_count; i++)
            if (edit_curve(edit, &links->reduces[i].curve) != 0) return -1;
        return links->reduce_count ? 0 : bad(edit, "this trace has none");
    }
    *found = false;
    return 0;
}

/* ---- blocks and devices -------------------------------------------------------- */

/* student -1: the teacher, or all students. */
static int edit_works(const Edit *edit, TraceBlock *block, int student, Work first, Work last)
{
    int from = student < 0 ? 0 : student,
        to = student < 0 && first != WORK_TEACHER ? trace_students(block) - 1 : from;

    for (int j = from; j <= to; j++)
        for (int work = first; work <= (int)last; work++)
            for (int kind = 0; kind < edit->trace->kind_count; kind++)
                if (edit_curve(edit, &trace_student(block, j).work[work][kind]) != 0) return -1;
    return 0;
}

static int edit_bytes(const Edit *edit, int64_t *bytes)
{
    if (*bytes == TRACE_ABSENT && edit->kind == EDIT_SCALE)
        return bad(edit, "not in this trace, so it cannot be scaled");
    return edit_integer(edit, bytes, 0, (int64_t)1 << 53, 1);
}

static bool is_named(int index, const char *own, const char *name, size_t length)
{
    char *end;
    long  number = strtol(name, &end, 10);

    if (end == name + length && length > 0 && number == index) return true;
    return strlen(own) == length && strncmp(own, name, length) == 0;
}

/* rest: "[1].us" of "blocks[3].students[1].us". */
static int edit_student(const Edit *edit, TraceBlock *block, const char *rest)
{
    static const struct { const char *key; Work first, last; } works[] = {
        {"us", WORK_FORWARD, WORK_UPDATE}, {"forward.us", WORK_FORWARD, WORK_FORWARD},
        {"backward.us", WORK_BACKWARD, WORK_BACKWARD}, {"update.us", WORK_UPDATE, WORK_UPDATE},
    };
    const char *close = strchr(rest, ']');
    int         j = 0;

    if (*rest != '[' || !close || close[1] != '.')
        return bad(edit, "expected .students[NUMBER or NAME].KEY");
    if (!block->students) return bad(edit, "this block lists no students");
    while (j < block->student_count
           && !is_named(j, block->students[j].name, rest + 1, (size_t)(close - rest - 1))) j++;
    if (j == block->student_count) return bad(edit, "no such student");
    if (strcmp(close + 2, "us") == 0 && edit->kind == EDIT_SET)
        return bad(edit,
                   "us is forward, backward and update together: scale it, or set one of them");
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        if (strcmp(close + 2, works[i].key) == 0)
            return edit_works(edit, block, j, works[i].first, works[i].last);
    if (strcmp(close + 2, "gradient_bytes") == 0) {
        if (edit_bytes(edit, &block->students[j].gradient_bytes) != 0) return -1;
        trace_sum_students(block);
        return 0;
    }
    return bad(
        edit,
        "no such number, expected .us, .forward.us, .backward.us, .update.us or .gradient_bytes");
}

/* An edit of a number of one block; key is what follows the block in the path. student.us stands
 * for forward, backward and update, so it can be scaled, but not set. */
static int edit_block(const Edit *edit, TraceBlock *block, const char *key)
{
    static const struct { const char *key; Work first, last; } works[] = {
        {"teacher.us", WORK_TEACHER, WORK_TEACHER}, {"forward.us", WORK_FORWARD, WORK_FORWARD},
        {"backward.us", WORK_BACKWARD, WORK_BACKWARD}, {"update.us", WORK_UPDATE, WORK_UPDATE},
        {"student.us", WORK_FORWARD, WORK_UPDATE},
    };

    if (strcmp(key, "student.us") == 0 && edit->kind == EDIT_SET)
        return bad(
            edit,
            "student.us is forward, backward and update together: scale it, or set one of them");
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        if (strcmp(key, works[i].key) == 0)
            return edit_works(edit, block, -1, works[i].first, works[i].last);
    if (strncmp(key, "students", 8) == 0) return edit_student(edit, block, key + 8);
    if (block->students && strcmp(key, "gradient_bytes") == 0)
        return bad(edit, "this block lists students: expected .students[N].gradient_bytes");
    if (strcmp(key, "output_bytes") == 0) return edit_bytes(edit, &block->output_bytes);
    if (strcmp(key, "gradient_bytes") == 0) return edit_bytes(edit, &block->gradient_bytes);
    return bad(edit,
               "no such number, expected .teacher.us, .student.us, .forward.us, .backward.us, "
               ".update.us, .output_bytes or .gradient_bytes");
}

static bool is_block(const Trace *trace, int b, const char *name, size_t length)
{
    return is_named(b, trace->blocks[b].name, name, length);
}

static int edit_blocks(const Edit *edit, bool *found)
{
    const char *rest = edit->path + strlen("blocks");
    const char *close = strchr(rest, ']');
    int         matched = 0;

    *found = strncmp(edit->path, "blocks", strlen("blocks")) == 0 && (*rest == '.' || *rest == '[');
    if (!*found) return 0;
    if (*rest == '[' && (!close || close[1] != '.'))
        return bad(edit, "expected blocks[NUMBER or NAME].KEY");
    for (int b = 0; b < edit->trace->block_count; b++) {
        if (*rest == '[' && !is_block(edit->trace, b, rest + 1, (size_t)(close - rest - 1)))
            continue;
        matched++;
        if (edit_block(edit, &edit->trace->blocks[b], *rest == '[' ? close + 2 : rest + 1) != 0)
            return -1;
        if (*rest == '[') break;
    }
    return matched ? 0 : bad(edit, "no such block");
}

static int edit_device(const Edit *edit, bool *found)
{
    const char *number = edit->path + strlen("device[");
    char       *end;

    *found = strncmp(edit->path, "device[", strlen("device[")) == 0;
    if (!*found) return 0;
    long device = strtol(number, &end, 10);
    if (end == number || strcmp(end, "].slowdown") != 0)
        return bad(edit, "expected device[NUMBER].slowdown");
    int64_t count =
        edit->options->devices ? edit->options->devices : trace_device_count(edit->trace);
    if (device < 0 || device >= count) return bad(edit, "no such device");
    if (!edit->trace->slowdown) {
        edit->trace->slowdown = arena_alloc(&edit->trace->arena, TRACE_MAX_DEVICES, sizeof(double));
        if (!edit->trace->slowdown) return error_no_memory(edit->err);
        for (int d = 0; d < TRACE_MAX_DEVICES; d++) edit->trace->slowdown[d] = 1;
    }
    if (edit_double(edit, &edit->trace->slowdown[device]) != 0) return -1;
    return edit->trace->slowdown[device] > 0 && edit->trace->slowdown[device] <= 1e6
               ? 0 : bad(edit, "expected a slowdown above 0, at most 1e6");
}

int whatif_apply(Trace *trace, ScenarioOptions *options, EditKind kind, const char *path,
                 double value, bool *changed, Error *err)
{
    static int (*const parts[])(const Edit *, bool *) = {edit_cluster, edit_loader, edit_besides,
                                                         edit_links,   edit_blocks, edit_device};
    Edit edit = {trace, options, kind, path, value, changed, err};
    bool found = false;

    *changed = false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i](&edit, &found) != 0) return -1;
        if (found) return 0;
    }
    return bad(
        &edit,
        "no such number: expected devices, batch, micro_batches, steps, epochs, "
        "queue_depth, memory_bytes, loader.KEY, "
        "step_us, network_us, part_us, process_bytes, stored_share, storage[N].KEY, p2p.us, "
        "allreduce.us, nodes.p2p.us, nodes.allreduce.us, blocks[N].KEY or device[N].slowdown");
}

/* ---- arguments --------------------------------------------------------------- */

int whatif_apply_all(Trace *trace, ScenarioOptions *options, const WhatIf *edits, int count,
                     bool *changed, Error *err)
{
    for (int i = 0; i < count; i++) {
        bool did;
        if (whatif_apply(trace, options, edits[i].kind, edits[i].path, edits[i].value, &did, err)
            != 0)
            return -1;
        if (changed) changed[i] = did;
    }
    return 0;
}

int whatif_split(char **path, const char **rest, const char *argument, const char *option,
                 Error *err)
{
    const char *equals = strchr(argument, '=');

    *path = NULL;
    if (!equals || equals == argument || !equals[1])
        return error_set(err, "--%s: \"%.80s\", expected PATH=VALUE such as loader.lanes=8", option,
                         argument);
    *path = strndup(argument, (size_t)(equals - argument));
    *rest = equals + 1;
    return *path ? 0 : error_no_memory(err);
}

int whatif_number(double *out, const char *text, size_t length, const char *option, Error *err)
{
    const char *end = number_scan(text, out);

    if (end != text + length || *out < 0)
        return error_set(err, "--%s: \"%.*s\" is not a number of 0 or more", option,
                         length > 40 ? 40 : (int)length, text);
    return 0;
}
