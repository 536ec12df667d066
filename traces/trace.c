/* Reading a trace. Every check is here or in base/json.c, so that nothing behind
 * this file meets a malformed trace. */
#include "traces/trace.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/micro.h"

static const int64_t MANY = (int64_t)1 << 31;

/* ---- small readers ----------------------------------------------------- */

static int get_text(Trace *trace, const JsonAt *parent, const char *key, bool required,
                    const char **out, Error *err)
{
    JsonAt      at = json_member(parent, key);
    const char *value = "";

    if (required && json_get_line(&at, &value, err) != 0) return -1;
    if (!required && json_has(&at) && json_get_string(&at, &value, err) != 0) return -1;
    *out = arena_strdup(&trace->arena, value);
    return *out ? 0 : error_no_memory(err);
}

static int get_bytes(const JsonAt *parent, const char *key, int64_t *out, Error *err)
{
    JsonAt at = json_member(parent, key);

    *out = TRACE_ABSENT;
    return json_has(&at) ? json_get_integer(&at, 0, JSON_MAX_INTEGER, out, err) : 0;
}

static int get_count(const JsonAt *parent, const char *key, int64_t minimum, int64_t maximum,
                     int64_t *out, Error *err)
{
    JsonAt at = json_member(parent, key);

    return json_get_integer(&at, minimum, maximum, out, err);
}

static int get_us(const JsonAt *parent, const char *key, int64_t *out_ns, Error *err)
{
    JsonAt at = json_member(parent, key);

    if (json_get_us(&at, out_ns, err) != 0) return -1;
    if (*out_ns <= TRACE_MAX_NS) return 0;
    return json_fail(&at, err, "%g us is beyond 2^47 ns (39 hours), expected microseconds",
                     (double)*out_ns * 1e-3);
}

/* ---- curves ------------------------------------------------------------ */

/* Room for one more point, doubled when used up: most curves are far shorter than the
 * list that their points stand in. */
static bool curve_reserve(Trace *trace, Curve *curve)
{
    size_t      count = (size_t)curve->count;
    CurvePoint *points;

    if (count > 0 && (count & (count - 1)) != 0) return true;
    points = arena_alloc(&trace->arena, count > 0 ? 2 * count : 1, sizeof *points);
    if (!points) return false;
    if (count > 0) memcpy(points, curve->points, count * sizeof *points);
    curve->points = points;
    return true;
}

typedef enum { INSERTED, TWICE, NO_MEMORY } Insertion;

/* Puts a point where it belongs; TWICE: x is there already. */
static Insertion curve_insert(Trace *trace, Curve *curve, CurvePoint point)
{
    int i = curve->count;

    while (i > 0 && curve->points[i - 1].x > point.x) i--;
    if (i > 0 && curve->points[i - 1].x == point.x) return TWICE;
    if (!curve_reserve(trace, curve)) return NO_MEMORY;
    memmove(curve->points + i + 1, curve->points + i, (size_t)(curve->count - i) * sizeof point);
    curve->points[i] = point;
    curve->count++;
    return INSERTED;
}

/* *out_ns keeps its value where the member is not there. */
static int get_us_if(const JsonAt *parent, const char *key, int64_t *out_ns, Error *err)
{
    JsonAt at = json_member(parent, key);

    return json_has(&at) ? get_us(parent, key, out_ns, err) : 0;
}

/* The processor time of a link's point at x, 0 where the member is not there. */
static int read_core(Trace *trace, const JsonAt *item, const char *key, int64_t x, Curve *curve,
                     Error *err)
{
    CurvePoint point = {.x = x};

    if (get_us_if(item, key, &point.ns, err) != 0) return -1;
    return curve_insert(trace, curve, point) == NO_MEMORY ? error_no_memory(err) : 0;
}

/* Of points that are all 0, the most there are, none is kept. */
static void drop_zeros(Curve *curve)
{
    int i = 0;

    while (i < curve->count && curve->points[i].ns == 0) i++;
    if (i == curve->count) *curve = (Curve){0};
}

/* p2p[] into curves by bytes. */
static int read_p2p(Trace *trace, const JsonAt *at, TraceLinks *links, int64_t version, Error *err)
{
    static const char *const keys[] = {"bytes", "us", NULL};
    static const char *const keys_2[] = {"bytes", "us", "sender_core_us", "receiver_core_us", NULL};

    if (json_get_array(at, 1, err) != 0) return -1;
    for (size_t i = 0; i < json_count(at); i++) {
        JsonAt     item = json_element(at, i);
        CurvePoint point = {0};
        if (json_check_keys(&item, version == 1 ? keys : keys_2, err) != 0) return -1;
        if (get_count(&item, "bytes", 0, JSON_MAX_INTEGER, &point.x, err) != 0) return -1;
        if (get_us(&item, "us", &point.ns, err) != 0) return -1;
        Insertion done = curve_insert(trace, &links->p2p, point);
        if (done == NO_MEMORY) return error_no_memory(err);
        if (done == TWICE)
            return json_fail(&item, err, "duplicate point: %lld bytes are measured twice, keep one",
                             (long long)point.x);
        if (read_core(trace, &item, "sender_core_us", point.x, &links->sender_core, err) != 0
            || read_core(trace, &item, "receiver_core_us", point.x, &links->receiver_core, err)
                   != 0)
            return -1;
    }
    drop_zeros(&links->sender_core);
    drop_zeros(&links->receiver_core);
    return 0;
}

/* The entry of this device count, made where it belongs; room for all is there. */
static TraceReduce *reduce_of(TraceLinks *links, int devices)
{
    int i = links->reduce_count;

    while (i > 0 && links->reduces[i - 1].devices > devices) i--;
    if (i > 0 && links->reduces[i - 1].devices == devices) return &links->reduces[i - 1];
    memmove(links->reduces + i + 1, links->reduces + i,
            (size_t)(links->reduce_count - i) * sizeof *links->reduces);
    links->reduces[i] = (TraceReduce){.devices = devices};
    links->reduce_count++;
    return &links->reduces[i];
}

/* allreduce[]: a curve by bytes for each number of devices. A point that is there already is
 * refused. */
static int read_allreduce(Trace *trace, const JsonAt *at, TraceLinks *links, int64_t version,
                          Error *err)
{
    static const char *const keys[] = {"devices", "bytes", "us", NULL};
    static const char *const keys_2[] = {"devices", "bytes", "us", "core_us", NULL};
    size_t count;

    if (json_get_array(at, 1, err) != 0) return -1;
    count = json_count(at);
    links->reduces = arena_alloc(&trace->arena, count, sizeof *links->reduces);
    if (!links->reduces) return error_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        JsonAt     item = json_element(at, i);
        CurvePoint point = {0};
        int64_t    devices = 0;
        if (json_check_keys(&item, version == 1 ? keys : keys_2, err) != 0) return -1;
        if (get_count(&item, "devices", 2, TRACE_MAX_DEVICES, &devices, err) != 0) return -1;
        if (get_count(&item, "bytes", 0, JSON_MAX_INTEGER, &point.x, err) != 0) return -1;
        if (get_us(&item, "us", &point.ns, err) != 0) return -1;
        TraceReduce *reduce = reduce_of(links, (int)devices);
        Insertion    done = curve_insert(trace, &reduce->curve, point);
        if (done == NO_MEMORY) return error_no_memory(err);
        if (done == TWICE)
            return json_fail(&item, err, "duplicate point: %lld bytes on %lld devices are measured "
                             "twice, keep one", (long long)point.x, (long long)devices);
        if (read_core(trace, &item, "core_us", point.x, &reduce->core, err) != 0) return -1;
    }
    for (int i = 0; i < links->reduce_count; i++) drop_zeros(&links->reduces[i].core);
    return 0;
}

/* ---- parts of the file -------------------------------------------------- */

/* What kernels were chosen while it was measured. */
static int read_algorithms(Trace *trace, const JsonAt *provenance, Error *err)
{
    JsonAt at = json_member(provenance, "algorithms");

    if (!json_has(&at)) return 0;
    if (json_get_array(&at, 1, err) != 0) return -1;
    trace->algorithms = arena_alloc(&trace->arena, json_count(&at), sizeof *trace->algorithms);
    if (!trace->algorithms) return error_no_memory(err);
    for (size_t i = 0; i < json_count(&at); i++) {
        JsonAt      item = json_element(&at, i);
        const char *line;
        if (json_get_string(&item, &line, err) != 0) return -1;
        if (!*line) return json_fail(&item, err, "empty, expected an algorithm");
        trace->algorithms[i] = arena_strdup(&trace->arena, line);
        if (!trace->algorithms[i]) return error_no_memory(err);
        trace->algorithm_count++;
    }
    return 0;
}

static int read_provenance(Trace *trace, const JsonAt *root, Error *err)
{
    static const char *const keys[] = {"kind", "source", "date", "notes", "algorithms", NULL};
    static const char *const kinds[] = {"measured", "modelled", "imported", NULL};
    JsonAt at = json_member(root, "provenance");
    JsonAt kind = json_member(&at, "kind");
    int    choice = 0;

    if (json_check_keys(&at, keys, err) != 0) return -1;
    if (json_get_choice(&kind, kinds, &choice, err) != 0) return -1;
    trace->provenance_kind = kinds[choice];
    if (get_text(trace, &at, "source", true, &trace->source, err) != 0) return -1;
    if (get_text(trace, &at, "date", false, &trace->date, err) != 0) return -1;
    if (get_text(trace, &at, "notes", false, &trace->notes, err) != 0) return -1;
    return read_algorithms(trace, &at, err);
}

static int read_workload(Trace *trace, const JsonAt *root, int64_t version, Error *err)
{
    static const char *const keys[] = {"name", "batch", "samples", NULL};
    static const char *const keys_2[] = {"name",   "batch",         "samples",
                                         "epochs", "micro_batches", NULL};
    JsonAt at = json_member(root, "workload"), epochs = json_member(&at, "epochs"),
           micro = json_member(&at, "micro_batches");

    trace->epochs = trace->micro_batches = 1;
    if (json_check_keys(&at, version == 1 ? keys : keys_2, err) != 0) return -1;
    if (json_has(&epochs)
        && json_get_integer(&epochs, 1, TRACE_MAX_EPOCHS, &trace->epochs, err) != 0)
        return -1;
    if (json_has(&micro)
        && json_get_integer(&micro, 1, MICRO_BATCHES_MAX, &trace->micro_batches, err) != 0)
        return -1;
    if (get_text(trace, &at, "name", true, &trace->workload, err) != 0) return -1;
    if (get_count(&at, "batch", 1, MANY, &trace->batch, err) != 0) return -1;
    return get_count(&at, "samples", 1, JSON_MAX_INTEGER, &trace->samples, err);
}

static int find_kind(const Trace *trace, const char *name)
{
    for (int kind = 0; kind < trace->kind_count; kind++)
        if (strcmp(trace->kinds[kind].name, name) == 0) return kind;
    return -1;
}

/* One of devices[]. A kind that is there already is refused. */
static int read_kind(Trace *trace, const JsonAt *at, int64_t version, TraceKind *kind, Error *err)
{
    static const char *const keys[] = {"kind", "count", "memory_bytes", NULL};
    static const char *const keys_2[] = {"kind", "count", "memory_bytes", "stalls", NULL};
    JsonAt  stalls = json_member(at, "stalls");
    char    word[JSON_SHOWN_BYTES];
    int64_t count = 0;

    if (json_check_keys(at, version == 1 ? keys : keys_2, err) != 0) return -1;
    if (get_text(trace, at, "kind", true, &kind->name, err) != 0) return -1;
    if (find_kind(trace, kind->name) >= 0) {
        JsonAt name = json_member(at, "kind");
        return json_fail(&name, err, "\"%s\" is listed twice, expected one entry a kind",
                         json_shown(word, kind->name));
    }
    if (get_count(at, "count", 1, TRACE_MAX_DEVICES, &count, err) != 0) return -1;
    kind->count = (int)count;
    if (get_bytes(at, "memory_bytes", &kind->memory_bytes, err) != 0) return -1;
    if (kind->memory_bytes == 0) {
        JsonAt memory = json_member(at, "memory_bytes");
        return json_fail(&memory, err, "0, expected bytes (leave the key out when unknown)");
    }
    return json_has(&stalls) ? stalls_read(&kind->stalls, &stalls, TRACE_MAX_NS, err) : 0;
}

static int read_devices(Trace *trace, const JsonAt *root, int64_t version, Error *err)
{
    JsonAt at = json_member(root, "devices");
    size_t count;

    if (json_get_array(&at, 1, err) != 0) return -1;
    count = json_count(&at);
    if (count > TRACE_MAX_KINDS)
        return json_fail(&at, err, "%zu kinds, expected at most %d", count, TRACE_MAX_KINDS);
    trace->kinds = arena_alloc(&trace->arena, count, sizeof *trace->kinds);
    if (!trace->kinds) return error_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        JsonAt item = json_element(&at, i);
        if (read_kind(trace, &item, version, &trace->kinds[i], err) != 0) return -1;
        trace->kind_count++;
    }
    if (trace_device_count(trace) > TRACE_MAX_DEVICES)
        return json_fail(&at, err, "%d devices, expected at most %d", trace_device_count(trace),
                         TRACE_MAX_DEVICES);
    return 0;
}

/* What the same work takes while all other devices compute, alone_ns without; *ns stays where
 * contended is absent. */
static int read_contended(Trace *trace, const JsonAt *contended, const char *key, int64_t alone_ns,
                          int64_t *ns, Error *err)
{
    if (!json_has(contended)) return 0;
    if (get_us(contended, key, ns, err) != 0) return -1;
    if (*ns < alone_ns) {
        JsonAt at = json_member(contended, key);
        return json_fail(&at, err, "%g is less than alone (%g), expected at least that",
                         (double)*ns * 1e-3, (double)alone_ns * 1e-3);
    }
    trace->contended |= *ns > alone_ns;
    return 0;
}

/* What the same work takes in a step that trains no other block. */
static int read_single_block(Trace *trace, const JsonAt *single_block, const char *key,
                             CurvePoint *point, Error *err)
{
    point->single_block_ns = point->single_block_contended_ns = 0;
    if (!json_has(single_block)) return 0;
    if (get_us(single_block, key, &point->single_block_ns, err) != 0) return -1;
    if (point->single_block_ns == 0 && point->ns > 0) {
        JsonAt at = json_member(single_block, key);
        return json_fail(&at, err, "0, expected more (it takes %g among other blocks)",
                         (double)point->ns * 1e-3);
    }
    JsonAt contended = json_member(single_block, "contended");
    return read_contended(trace, &contended, key, point->single_block_ns,
                          &point->single_block_contended_ns, err);
}

/* Timings hold the work from first to last: a teacher's, a student's, or both. */
typedef struct {
    Work        first, last;
    Curve     **work;            /* [WORK_COUNT] */
    const char *what, *name;     /* "block", and its name */
} TimedPoint;

static const char *const work_keys[] = {"teacher_us", "forward_us", "backward_us", "update_us",
                                        NULL};

/* The member key, or old, its name in traces of before; both are an error. */
static int renamed_member(JsonAt *out, const JsonAt *at, const char *key, const char *old,
                          Error *err)
{
    JsonAt before = json_member(at, old);

    *out = json_member(at, key);
    if (!json_has(&before)) return 0;
    if (json_has(out))
        return json_fail(&before, err, "\"%s\" is the old name of \"%s\", expected one of them",
                         old, key);
    *out = before;
    return 0;
}

/* The works, and the same while the other devices compute. works: [count], ended by NULL. */
static int check_single_block_keys(const JsonAt *single_block, const char *const *works, int count,
                                   Error *err)
{
    const char *keys[WORK_COUNT + 2];
    JsonAt      contended = json_member(single_block, "contended");

    for (int i = 0; i < count; i++) keys[i] = works[i];
    keys[count++] = "contended";
    keys[count] = NULL;
    if (json_check_keys(single_block, keys, err) != 0) return -1;
    return json_has(&contended) ? json_check_keys(&contended, works, err) : 0;
}

static int check_timing_keys(const JsonAt *at, const JsonAt *contended, const JsonAt *single_block,
                             const TimedPoint *timed, Error *err)
{
    const char *keys[WORK_COUNT + 8], *works[WORK_COUNT + 1];
    int         count = 0, contended_count = 0;

    keys[count++] = "device";
    keys[count++] = "batch";
    for (int work = timed->first; work <= (int)timed->last; work++)
        works[contended_count++] = keys[count++] = work_keys[work];
    keys[count++] = "spread";
    keys[count++] = "contended";
    keys[count++] = "single_block";
    keys[count++] = "busy";
    keys[count++] = "lone";
    keys[count] = works[contended_count] = NULL;
    if (json_check_keys(at, keys, err) != 0) return -1;
    if (json_has(contended) && json_check_keys(contended, works, err) != 0) return -1;
    return json_has(single_block)
               ? check_single_block_keys(single_block, works, contended_count, err) : 0;
}

/* One of timings[]: a point of each of its works on the curve of its device's kind. A point that is
 * there already is refused. */
static int read_timing(Trace *trace, const JsonAt *at, const TimedPoint *timed, Error *err)
{
    JsonAt      device = json_member(at, "device"), batch = json_member(at, "batch");
    JsonAt      spread = json_member(at, "spread"), contended, single_block;
    CurvePoint  point = {0};
    const char *name = trace->kinds[0].name;
    char        word[JSON_SHOWN_BYTES], other[JSON_SHOWN_BYTES];

    if (renamed_member(&contended, at, "contended", "busy", err) != 0
        || renamed_member(&single_block, at, "single_block", "lone", err) != 0) return -1;
    if (check_timing_keys(at, &contended, &single_block, timed, err) != 0) return -1;
    if (json_has(&device) && json_get_string(&device, &name, err) != 0) return -1;
    int kind = find_kind(trace, name);
    if (kind < 0)
        return json_fail(&device, err, "device \"%s\" is not in devices[], expected a kind such as "
                         "\"%s\"", json_shown(word, name), json_shown(other, trace->kinds[0].name));
    if (json_get_integer(&batch, 1, MANY, &point.x, err) != 0) return -1;
    if (point.x > trace->batch)
        return json_fail(&batch, err,
                         "no schedule can use a batch of %lld: the workload's is %lld, "
                         "remove this timing or raise workload.batch",
                         (long long)point.x, (long long)trace->batch);
    if (json_has(&spread) && json_get_number(&spread, 0, &point.spread, err) != 0) return -1;
    if (point.spread > 10)
        return json_fail(&spread, err,
                         "%g is no coefficient of variation (0.02 is 2 %%), expected 0 to 10",
                         point.spread);
    for (int work = timed->first; work <= (int)timed->last; work++) {
        if (get_us(at, work_keys[work], &point.ns, err) != 0) return -1;
        point.contended_ns = point.ns;
        if (read_contended(trace, &contended, work_keys[work], point.ns, &point.contended_ns, err)
                != 0
            || read_single_block(trace, &single_block, work_keys[work], &point, err) != 0)
            return -1;
        Insertion done = curve_insert(trace, &timed->work[work][kind], point);
        if (done == NO_MEMORY) return error_no_memory(err);
        if (done == TWICE)
            return json_fail(at, err,
                             "duplicate point: batch %lld on \"%s\" is measured twice, keep one",
                             (long long)point.x, json_shown(word, name));
    }
    return 0;
}

/* The list "timings" of a block or a student: fills the curves [kind] of the works timed->first to
 * last. An empty list is an error; sort order and doubles are judged by what reads a timing. */
static int read_timings(Trace *trace, const JsonAt *parent, const TimedPoint *timed, Error *err)
{
    JsonAt at = json_member(parent, "timings");
    char   word[JSON_SHOWN_BYTES];
    size_t count;

    if (json_get_array(&at, 0, err) != 0) return -1;
    count = json_count(&at);
    if (count == 0)
        return json_fail(&at, err,
                         "%s \"%s\" has no timings, expected at least one: measure it, "
                         "or leave the %s out",
                         timed->what, json_shown(word, timed->name), timed->what);
    for (int work = timed->first; work <= (int)timed->last; work++) {
        timed->work[work] = arena_alloc(&trace->arena, (size_t)trace->kind_count, sizeof(Curve));
        if (!timed->work[work]) return error_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        JsonAt item = json_element(&at, i);
        if (read_timing(trace, &item, timed, err) != 0) return -1;
    }
    return 0;
}

static int read_student_bytes(const JsonAt *at, int64_t *weight, int64_t *gradient, int64_t *state,
                              int64_t *activation, Error *err)
{
    if (get_bytes(at, "weight_bytes", weight, err) != 0
        || get_bytes(at, "gradient_bytes", gradient, err) != 0
        || get_bytes(at, "state_bytes", state, err) != 0)
        return -1;
    return get_bytes(at, "activation_bytes", activation, err);
}

/* One of a list. */
static int read_student(Trace *trace, const JsonAt *at, TraceBlock *block, TraceStudent *student,
                        Error *err)
{
    static const char *const keys[] = {"name", "weight_bytes", "gradient_bytes", "state_bytes",
                                       "activation_bytes", "timings", NULL};
    char word[JSON_SHOWN_BYTES];

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (get_text(trace, at, "name", true, &student->name, err) != 0) return -1;
    for (int i = 0; i < block->student_count; i++) {
        if (strcmp(block->students[i].name, student->name) != 0) continue;
        JsonAt name = json_member(at, "name");
        return json_fail(&name, err,
                         "\"%s\" is the name of students[%d] too, expected one a student",
                         json_shown(word, student->name), i);
    }
    if (read_student_bytes(at, &student->weight_bytes, &student->gradient_bytes,
                           &student->state_bytes, &student->activation_bytes, err)
        != 0)
        return -1;
    student->work[WORK_TEACHER] = block->work[WORK_TEACHER];
    return read_timings(
        trace, at,
        &(TimedPoint){WORK_FORWARD, WORK_UPDATE, student->work, "student", student->name}, err);
}

static int read_students(Trace *trace, const JsonAt *at, TraceBlock *block, Error *err)
{
    size_t count;

    if (json_get_array(at, 1, err) != 0) return -1;
    count = json_count(at);
    if (count > TRACE_MAX_STUDENTS)
        return json_fail(at, err, "%zu students, expected at most %d", count, TRACE_MAX_STUDENTS);
    block->students = arena_alloc(&trace->arena, count, sizeof *block->students);
    if (!block->students) return error_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        JsonAt item = json_element(at, i);
        if (read_student(trace, &item, block, &block->students[i], err) != 0) return -1;
        block->student_count++;
    }
    for (int work = WORK_FORWARD; work < WORK_COUNT; work++)
        block->work[work] = block->students[0].work[work];
    trace_sum_students(block);
    return 0;
}

/* A block: bytes, timings of the teacher, and its student's, or those of each of its students. */
static int read_block(Trace *trace, const JsonAt *at, TraceBlock *block, Error *err)
{
    static const char *const keys[] = {"name",     "output_bytes", "teacher", "student",
                                       "students", "timings",      NULL};
    static const char *const teacher_keys[] = {"weight_bytes", "activation_bytes", NULL};
    static const char *const student_keys[] = {"weight_bytes", "gradient_bytes", "state_bytes",
                                               "activation_bytes", NULL};
    JsonAt teacher = json_member(at, "teacher"), student = json_member(at, "student");
    JsonAt students = json_member(at, "students");
    bool   listed = json_has(&students);

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (get_text(trace, at, "name", true, &block->name, err) != 0) return -1;
    if (get_bytes(at, "output_bytes", &block->output_bytes, err) != 0) return -1;
    if (json_has(&teacher) && json_check_keys(&teacher, teacher_keys, err) != 0) return -1;
    if (json_has(&student) && json_check_keys(&student, student_keys, err) != 0) return -1;
    if (listed && json_has(&student))
        return json_fail(&students, err, "students beside student, expected one of the two");
    if (get_bytes(&teacher, "weight_bytes", &block->teacher_weight_bytes, err) != 0
        || get_bytes(&teacher, "activation_bytes", &block->teacher_activation_bytes, err) != 0
        || read_student_bytes(&student, &block->student_weight_bytes, &block->gradient_bytes,
                              &block->state_bytes, &block->student_activation_bytes, err)
               != 0)
        return -1;
    TimedPoint timed = {WORK_TEACHER, listed ? WORK_TEACHER : WORK_UPDATE, block->work, "block",
                        block->name};
    if (read_timings(trace, at, &timed, err) != 0) return -1;
    return listed ? read_students(trace, &students, block, err) : 0;
}

/* The blocks, whose names differ. */
static int read_blocks(Trace *trace, const JsonAt *root, Error *err)
{
    JsonAt  at = json_member(root, "blocks");
    char    word[JSON_SHOWN_BYTES];
    size_t  count;
    int64_t students = 0;

    if (json_get_array(&at, 1, err) != 0) return -1;
    count = json_count(&at);
    if (count > TRACE_MAX_BLOCKS)
        return json_fail(&at, err, "%zu blocks, expected at most %d", count, TRACE_MAX_BLOCKS);
    trace->blocks = arena_alloc(&trace->arena, count, sizeof *trace->blocks);
    if (!trace->blocks) return error_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        JsonAt item = json_element(&at, i);
        if (read_block(trace, &item, &trace->blocks[i], err) != 0) return -1;
        trace->block_count++;
        students += trace_students(&trace->blocks[i]);
        if (students > TRACE_MAX_STUDENTS)
            return json_fail(&at, err, "more than %d students, expected at most that",
                             TRACE_MAX_STUDENTS);
        JsonAt name = json_member(&item, "name");
        for (size_t j = 0; j < i; j++)
            if (strcmp(trace->blocks[j].name, trace->blocks[i].name) == 0)
                return json_fail(&name, err,
                                 "\"%s\" is the name of blocks[%zu] too, expected one a block",
                                 json_shown(word, trace->blocks[i].name), j);
    }
    return 0;
}

/* lanes; or from version 2 on workers, and cores where there are fewer. */
static int read_lanes(const JsonAt *at, TraceLoader *loader, Error *err)
{
    JsonAt  workers_at = json_member(at, "workers"), lanes_at = json_member(at, "lanes"),
            cores_at = json_member(at, "cores");
    int64_t lanes = 0, workers = 0, cores = 0;

    if (!json_has(&workers_at)) {
        if (json_has(&cores_at))
            return json_fail(&cores_at, err, "cores without workers, expected both, or lanes");
        if (get_count(at, "lanes", 1, TRACE_MAX_DEVICES, &lanes, err) != 0) return -1;
        loader->lanes = (int)lanes;
        return 0;
    }
    if (json_has(&lanes_at))
        return json_fail(&lanes_at, err, "lanes beside workers, expected one of the two");
    if (json_get_integer(&workers_at, 1, TRACE_MAX_DEVICES, &workers, err) != 0) return -1;
    cores = workers;
    if (json_has(&cores_at) && json_get_integer(&cores_at, 1, TRACE_MAX_DEVICES, &cores, err) != 0)
        return -1;
    loader->workers = (int)workers;
    loader->cores = (int)cores;
    loader->lanes = (int)(cores < workers ? cores : workers);
    return 0;
}

/* The loader, where the file has one; its lanes and workers are read_lanes()'s. */
static int read_loader(Trace *trace, const JsonAt *root, int64_t version, Error *err)
{
    static const char *const keys[] = {"batch_us", "sample_us", "lanes", "prefetch", NULL};
    static const char *const keys_2[] = {"batch_us", "sample_us", "lanes", "workers",
                                         "cores",    "prefetch",  NULL};
    JsonAt  at = json_member(root, "loader");
    JsonAt  sample = json_member(&at, "sample_us"), prefetch_at = json_member(&at, "prefetch");
    int64_t prefetch = 0;
    double  sample_us = 0;

    if (!json_has(&at)) return 0;
    if (json_check_keys(&at, version == 1 ? keys : keys_2, err) != 0) return -1;
    if (get_us(&at, "batch_us", &trace->loader.batch_ns, err) != 0) return -1;
    if (json_get_number(&sample, 0, &sample_us, err) != 0) return -1;
    if (sample_us * 1000.0 * (double)trace->batch > (double)TRACE_MAX_NS)
        return json_fail(&sample, err,
                         "%g us takes a batch of %lld beyond 2^47 ns (39 hours), expected "
                         "microseconds a sample",
                         sample_us, (long long)trace->batch);
    if (read_lanes(&at, &trace->loader, err) != 0) return -1;
    if (json_get_integer(&prefetch_at, 0, TRACE_MAX_PREFETCH, &prefetch, err) != 0) return -1;
    if (prefetch * trace->loader.workers > TRACE_MAX_PREFETCH)
        return json_fail(&prefetch_at, err,
                         "%lld batches ahead of %d workers are %lld, expected at most %d",
                         (long long)prefetch, trace->loader.workers,
                         (long long)prefetch * trace->loader.workers, TRACE_MAX_PREFETCH);
    trace->loader.sample_ns = sample_us * 1000.0;
    trace->loader.prefetch = (int)prefetch;
    trace->loader.present = true;
    return 0;
}

static int read_links(Trace *trace, const JsonAt *at, TraceLinks *links, int64_t version,
                      Error *err)
{
    JsonAt p2p = json_member(at, "p2p"), allreduce = json_member(at, "allreduce");

    if (json_has(&p2p) && read_p2p(trace, &p2p, links, version, err) != 0) return -1;
    if (json_has(&allreduce)) return read_allreduce(trace, &allreduce, links, version, err);
    return 0;
}

static int read_nodes(Trace *trace, const JsonAt *root, int64_t version, Error *err)
{
    static const char *const keys[] = {"devices_per_node", "p2p", "allreduce", NULL};
    JsonAt  at = json_member(root, "nodes");
    int64_t devices = 0;

    if (!json_has(&at)) return 0;
    if (json_check_keys(&at, keys, err) != 0) return -1;
    if (get_count(&at, "devices_per_node", 1, TRACE_MAX_DEVICES, &devices, err) != 0) return -1;
    trace->devices_per_node = (int)devices;
    return read_links(trace, &at, &trace->node_links, version, err);
}

static int read_transfers(Trace *trace, const JsonAt *root, Error *err)
{
    static const char *const modes[] = {"overlapped", "blocking", NULL};
    JsonAt at = json_member(root, "transfers");
    int    mode = 0;

    if (!json_has(&at)) return 0;
    if (json_get_choice(&at, modes, &mode, err) != 0) return -1;
    trace->blocking_transfers = mode == 1;
    return 0;
}

/* Whose cores move what is transferred; from version 2 on. */
static int read_transfer_core(Trace *trace, const JsonAt *root, Error *err)
{
    static const char *const cores[] = {"other", "device", NULL};
    JsonAt at = json_member(root, "transfer_core");
    int    core = 0;

    if (!json_has(&at)) return 0;
    if (json_get_choice(&at, cores, &core, err) != 0) return -1;
    if (core == 1 && trace->blocking_transfers)
        return json_fail(&at, err, "blocking transfers occupy the device anyway, expected "
                                   "\"other\", or \"overlapped\" transfers");
    trace->transfers_on_device = core == 1;
    return 0;
}

/* What a step, a process and parts of a job take besides the blocks; from version 2 on. */
static int read_besides(Trace *trace, const JsonAt *root, Error *err)
{
    JsonAt process = json_member(root, "process_bytes"), share = json_member(root, "stored_share");

    if (json_has(&share)
        && (json_get_number(&share, 0, &trace->stored_share, err) != 0
            || (!(trace->stored_share > 0 && trace->stored_share <= 1)
                && json_fail(&share, err, "expected above 0, and at most 1") != 0)))
        return -1;

    if (get_us_if(root, "step_us", &trace->step_ns, err) != 0
        || get_us_if(root, "network_us", &trace->network_ns, err) != 0
        || get_us_if(root, "part_us", &trace->part_ns, err) != 0)
        return -1;
    return json_has(&process)
               ? json_get_integer(&process, 0, JSON_MAX_INTEGER, &trace->process_bytes, err)
               : 0;
}

/* The keys of each version; a key of a later one is unknown in an earlier. */
static int read_root(Trace *trace, const Json *doc, Error *err)
{
    static const char *const keys[] = {"format", "version", "name", "provenance", "workload",
                                       "devices", "input_bytes", "blocks", "loader", "p2p",
                                       "allreduce", "transfers", "nodes", NULL};
    static const char *const keys_2[] = {
        "format",      "version", "name",          "provenance", "workload",  "devices",
        "input_bytes", "blocks",  "loader",        "p2p",        "allreduce", "transfers",
        "nodes",       "step_us", "process_bytes", "network_us", "part_us",   "storage",
        "stored_share", "transfer_core", NULL};
    JsonAt  root = json_root(doc);
    int64_t version = 0;

    if (json_check_versions(doc, "pipebd-trace", 1, TRACE_VERSION, &version, err) != 0) return -1;
    if (json_check_keys(&root, version == 1 ? keys : keys_2, err) != 0) return -1;
    if (get_text(trace, &root, "name", true, &trace->name, err) != 0) return -1;
    if (read_provenance(trace, &root, err) != 0) return -1;
    if (read_workload(trace, &root, version, err) != 0) return -1;
    if (read_devices(trace, &root, version, err) != 0) return -1;
    if (get_bytes(&root, "input_bytes", &trace->input_bytes, err) != 0) return -1;
    if (read_blocks(trace, &root, err) != 0) return -1;
    if (read_loader(trace, &root, version, err) != 0) return -1;
    if (read_besides(trace, &root, err) != 0) return -1;
    if (tiers_read(&trace->tiers, &trace->tier_count, &trace->arena, &root, TRACE_MAX_NS, err) != 0)
        return -1;
    if (read_links(trace, &root, &trace->links, version, err) != 0) return -1;
    if (read_transfers(trace, &root, err) != 0) return -1;
    if (read_transfer_core(trace, &root, err) != 0) return -1;
    return read_nodes(trace, &root, version, err);
}

/* ---- whole ------------------------------------------------------------- */

int trace_parse(Trace **out, const char *name, const char *text, size_t length, Error *err)
{
    int    rc = -1;
    Json  *doc = NULL;
    Trace *trace = NULL;

    *out = NULL;
    if (json_doc_parse(&doc, name, text, length, err) != 0) goto done;
    trace = calloc(1, sizeof *trace);
    if (!trace) { error_no_memory(err); goto done; }
    if (read_root(trace, doc, err) != 0) goto done;
    trace->hash = hash_bytes(HASH_START, text, length);
    *out = trace; trace = NULL; rc = 0;
done:
    json_doc_free(doc);
    trace_free(trace);
    return rc;
}

int trace_read(Trace **out, const char *path, Error *err)
{
    char  *text;
    size_t length;

    *out = NULL;
    if (file_read(&text, &length, path, 0, err) != 0) return -1;
    int rc = trace_parse(out, strcmp(path, "-") == 0 ? "<stdin>" : path, text, length, err);
    free(text);
    return rc;
}

void trace_free(Trace *trace)
{
    if (!trace) return;
    arena_free(&trace->arena);
    free(trace);
}

const char **trace_block_names(const Trace *trace)
{
    const char **names = calloc((size_t)trace->block_count, sizeof *names);

    for (int b = 0; names && b < trace->block_count; b++) names[b] = trace->blocks[b].name;
    return names;
}

int trace_students(const TraceBlock *block) { return block->students ? block->student_count : 1; }

TraceStudent trace_student(const TraceBlock *block, int student)
{
    if (block->students) return block->students[student];
    TraceStudent only = {"", block->student_weight_bytes, block->gradient_bytes, block->state_bytes,
                         block->student_activation_bytes, {NULL}};
    memcpy(only.work, block->work, sizeof only.work);
    return only;
}

bool trace_has_many_students(const Trace *trace)
{
    for (int b = 0; b < trace->block_count; b++)
        if (trace_students(&trace->blocks[b]) > 1) return true;
    return false;
}

/* TRACE_ABSENT while all are. */
static void add_bytes(int64_t *sum, int64_t bytes)
{
    if (bytes == TRACE_ABSENT) return;
    if (*sum == TRACE_ABSENT) *sum = bytes;
    else if (__builtin_add_overflow(*sum, bytes, sum))
        *sum = INT64_MAX; /* scenario_build() refuses it */
}

void trace_sum_students(TraceBlock *block)
{
    block->student_weight_bytes = block->gradient_bytes = TRACE_ABSENT;
    block->state_bytes = block->student_activation_bytes = TRACE_ABSENT;
    for (int i = 0; i < block->student_count; i++) {
        const TraceStudent *student = &block->students[i];
        add_bytes(&block->student_weight_bytes, student->weight_bytes);
        add_bytes(&block->gradient_bytes, student->gradient_bytes);
        add_bytes(&block->state_bytes, student->state_bytes);
        if (student->activation_bytes > block->student_activation_bytes)
            block->student_activation_bytes = student->activation_bytes;
    }
}

int trace_loader_ahead(const TraceLoader *loader, int devices)
{
    int each = devices > 0 && devices < loader->workers ? loader->workers / devices : 1;

    return loader->present ? loader->prefetch * (loader->workers ? each : 1) : 0;
}

int trace_loader_held(const TraceLoader *loader)
{
    if (!loader->present) return 0;
    return loader->workers ? loader->prefetch > 0 : loader->prefetch;
}

bool trace_has_stalls(const Trace *trace)
{
    for (int kind = 0; kind < trace->kind_count; kind++)
        if (stalls_known(&trace->kinds[kind].stalls)) return true;
    return false;
}

int trace_device_count(const Trace *trace)
{
    int count = 0;

    for (int kind = 0; kind < trace->kind_count; kind++) count += trace->kinds[kind].count;
    return count;
}

double trace_stored_share(const Trace *trace)
{
    return trace->stored_share > 0 ? trace->stored_share : 1;
}

int64_t trace_stored_bytes(const Trace *trace, int boundary)
{
    int64_t bytes = trace_boundary_bytes(trace, boundary);

    return bytes > 0 ? (int64_t)ceil((double)bytes * trace_stored_share(trace)) : bytes;
}

int64_t trace_boundary_bytes(const Trace *trace, int boundary)
{
    return boundary == 0 ? trace->input_bytes : trace->blocks[boundary - 1].output_bytes;
}
