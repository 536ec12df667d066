#include "traces/import/kineto.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/byte_stream.h"
#include "base/hash.h"
#include "base/json_stream.h"
#include "base/text.h"

/* ---- strings, each once --------------------------------------------------------------------- */

static int find_slot(const Interned *set, const char *string, size_t length)
{
    uint64_t mask = (uint64_t)set->slot_count - 1,
             slot = hash_bytes(HASH_START, string, length) & mask;

    for (; set->slots[slot]; slot = (slot + 1) & mask) {
        const char *there = set->strings[set->slots[slot] - 1];
        if (strncmp(there, string, length) == 0 && there[length] == '\0') break;
    }
    return (int)slot;
}

int intern_find(const Interned *set, const char *string, size_t length)
{
    return set->slot_count ? set->slots[find_slot(set, string, length)] - 1 : -1;
}

static int grow_slots(Interned *set)
{
    int  count = set->slot_count ? set->slot_count * 2 : 1024;
    int *slots = calloc((size_t)count, sizeof *slots);

    if (!slots) return -1;
    free(set->slots);
    set->slots = slots;
    set->slot_count = count;
    for (int i = 0; i < set->count; i++)
        set->slots[find_slot(set, set->strings[i], strlen(set->strings[i]))] = i + 1;
    return 0;
}

/* Up to a NUL, should the string hold one. */
int intern(Interned *set, const char *string, size_t length)
{
    length = strnlen(string, length);
    int number = intern_find(set, string, length);

    if (number >= 0) return number;
    if (!array_has_room(set->strings, set->count, set->room)) return -1;
    if (set->count * 2 >= set->slot_count && grow_slots(set) != 0) return -1;
    char *copy = arena_alloc(&set->arena, length + 1, 1);
    if (!copy) return -1;
    memcpy(copy, string, length);
    set->strings[set->count] = copy;
    set->slots[find_slot(set, copy, length)] = ++set->count;
    return set->count - 1;
}

void interned_free(Interned *set)
{
    arena_free(&set->arena);
    free(set->strings);
    free(set->slots);
}

/* ---- one event ------------------------------------------------------------------------------- */

typedef enum {
    CATEGORY_OTHER,
    CATEGORY_OPERATOR,
    CATEGORY_ANNOTATION,
    CATEGORY_PYTHON,
    CATEGORY_LAUNCH,
    CATEGORY_KERNEL,
    CATEGORY_COPY,
    CATEGORY_FLOW
} Category;

typedef struct {
    char     phase;
    Category category;
    Text     name, thread;       /* thread: "pid/tid" */
    bool     has_start, has_duration;
    int64_t  start_ns, duration_ns, id;
    int64_t  correlation, sequence;
    int64_t  elements;           /* of the first tensor; -1: not recorded */
    int32_t  rows, dimensions, element_bytes, device;
} Event;

typedef struct {
    JsonStream *json;
    ByteStream *bytes;
    KinetoFile *file;
    Event       event;
    int64_t     told;            /* bytes that progress knows of */
    ImportProgress *progress;
    void       *context;
} Reader;

static bool begins(const char *string, const char *with)
{
    return strncmp(string, with, strlen(with)) == 0;
}

static bool ends(const char *string, const char *with)
{
    size_t length = strlen(string), tail = strlen(with);

    return length >= tail && strcmp(string + length - tail, with) == 0;
}

/* Names of 2021 begin with capitals. */
static Category category_of(const char *name)
{
    static const struct { const char *name; Category category;
    } known[] = {{"cpu_op", CATEGORY_OPERATOR},
                 {"Operator", CATEGORY_OPERATOR},
                 {"user_annotation", CATEGORY_ANNOTATION},
                 {"python_function", CATEGORY_PYTHON},
                 {"kernel", CATEGORY_KERNEL},
                 {"Kernel", CATEGORY_KERNEL},
                 {"concurrent_kernel", CATEGORY_KERNEL},
                 {"gpu_memcpy", CATEGORY_COPY},
                 {"Memcpy", CATEGORY_COPY},
                 {"gpu_memset", CATEGORY_KERNEL},
                 {"Memset", CATEGORY_KERNEL},
                 {"Runtime", CATEGORY_LAUNCH},
                 {"ac2g", CATEGORY_FLOW},
                 {"async_cpu_to_gpu", CATEGORY_FLOW}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0) return known[i].category;
    return ends(name, "_runtime") || ends(name, "_driver") ? CATEGORY_LAUNCH : CATEGORY_OTHER;
}

static int next(Reader *r, Token *token, Error *err)
{
    return json_stream_next(r->json, token, err);
}
static int skip(Reader *r, const Token *token, Error *err)
{
    return json_stream_skip(r->json, token, err);
}

/* Microseconds of a decimal number as nanoseconds, exact but for digits beyond. Times since 1970
 * have more digits than a double. */
static int read_time(Reader *r, const Token *token, const char *key, int64_t *out, Error *err)
{
    const char *at = token->text, *end;
    double      value = 0;
    int64_t     ns = 0;
    bool        negative = *at == '-';

    if (token->type != TOKEN_NUMBER)
        return json_stream_fail(r->json, err, "\"%s\" is no number, expected microseconds", key);
    end = number_scan(at, &value);
    if (!end || !(fabs(value) <= 9e15))
        return json_stream_fail(r->json, err, "\"%s\" is %s, expected microseconds of at most 9e15",
                                key, at);
    if (strpbrk(at, "eE")) {
        *out = llround(value * 1000);
        return 0;
    }
    for (at += negative; *at >= '0' && *at <= '9'; at++) ns = ns * 10 + (*at - '0');
    ns *= 1000;
    if (*at == '.') {
        r->file->fractions = true;
        int64_t unit = 100;
        for (at++; *at && unit > 0; at++, unit /= 10) ns += (*at - '0') * unit;
        if (*at >= '5') ns++;
    }
    *out = negative ? -ns : ns;
    return 0;
}

/* A whole number, or -1 for what is none (an id that is a word, a correlation of 2^64). */
static int64_t whole(const Token *token)
{
    char *end;

    if (token->type != TOKEN_NUMBER && token->type != TOKEN_STRING) return -1;
    long long value = strtoll(token->text, &end, 10);
    return *token->text && !*end && value >= 0 && value < INT64_MAX ? value : -1;
}

/* ---- tensors --------------------------------------------------------------------------------- */

/* The first element of "Input Dims": [[512, 3, 224, 224], ...]. What is no list of numbers counts
 * as not recorded. */
static int read_dimensions(Reader *r, Event *e, Error *err)
{
    Token token;

    if (next(r, &token, err) != 0) return -1;
    if (token.type != TOKEN_ARRAY) return skip(r, &token, err);
    if (next(r, &token, err) != 0) return -1;
    if (token.type == TOKEN_ARRAY_END) return 0;
    if (token.type != TOKEN_ARRAY) {
        if (skip(r, &token, err) != 0) return -1;
    } else {
        e->elements = 1;
        for (;;) {
            if (next(r, &token, err) != 0) return -1;
            if (token.type == TOKEN_ARRAY_END) break;
            int64_t size = token.type == TOKEN_NUMBER ? whole(&token) : -1;
            if (skip(r, &token, err) != 0) return -1;
            if (e->dimensions++ == 0) e->rows = size > 0 && size < INT32_MAX ? (int32_t)size : 0;
            if (e->elements >= 0
                && (size < 0 || __builtin_mul_overflow(e->elements, size, &e->elements)
                    || e->elements > (int64_t)1 << 50))
                e->elements = -1;
        }
        if (e->dimensions == 0) e->elements = -1;
    }
    while (token.type != TOKEN_END) {              /* the other tensors */
        if (next(r, &token, err) != 0) return -1;
        if (token.type == TOKEN_ARRAY_END) return 0;
        if (skip(r, &token, err) != 0) return -1;
    }
    return 0;
}

static int32_t bytes_of_type(const char *name)
{
    static const struct { const char *name; int32_t bytes;
    } known[] = {{"float", 4},       {"double", 8},        {"c10::Half", 2}, {"c10::BFloat16", 2},
                 {"long int", 8},    {"long", 8},          {"int", 4},       {"short", 2},
                 {"signed char", 1}, {"unsigned char", 1}, {"bool", 1}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0) return known[i].bytes;
    return begins(name, "c10::Float8") ? 1 : 0;
}

/* "Input type": ["float", ...]. */
static int read_types(Reader *r, Event *e, Error *err)
{
    Token token;

    if (next(r, &token, err) != 0) return -1;
    if (token.type != TOKEN_ARRAY) return skip(r, &token, err);
    for (bool first = true;; first = false) {
        if (next(r, &token, err) != 0) return -1;
        if (token.type == TOKEN_ARRAY_END) return 0;
        if (first && token.type == TOKEN_STRING) e->element_bytes = bytes_of_type(token.text);
        if (skip(r, &token, err) != 0) return -1;
    }
}

/* ---- an event's keys ------------------------------------------------------------------------- */

/* An event's "args": correlation, sequence number, device, dimensions and types of inputs; others
 * are skipped. */
static int read_arguments(Reader *r, Event *e, Error *err)
{
    Token token;

    if (next(r, &token, err) != 0) return -1;
    if (token.type != TOKEN_OBJECT) return skip(r, &token, err);
    for (;;) {
        int64_t *number = NULL;
        if (next(r, &token, err) != 0) return -1;
        if (token.type == TOKEN_OBJECT_END) return 0;
        if (strcmp(token.text, "correlation") == 0) number = &e->correlation;
        else if (strcmp(token.text, "Sequence number") == 0) number = &e->sequence;
        else if (strcmp(token.text, "Input Dims") == 0) {
            if (read_dimensions(r, e, err) != 0) return -1;
            continue;
        } else if (strcmp(token.text, "Input type") == 0) {
            if (read_types(r, e, err) != 0) return -1;
            continue;
        }
        bool device = strcmp(token.text, "device") == 0;
        if (!number && !device) {
            if (skip(r, &token, err) != 0) return -1;
            continue;
        }
        if (next(r, &token, err) != 0) return -1;
        int64_t value = whole(&token);
        if (number) *number = value;
        else if (value >= 0 && value < KINETO_MAX_DEVICES) e->device = (int32_t)value;
        if (skip(r, &token, err) != 0) return -1;
    }
}

static void clear(Text *text)
{
    text->length = 0;
    if (text->bytes) *text->bytes = '\0';
}

static void set_text(Text *text, const Token *token)
{
    clear(text);
    text_append_bytes(text, token->text, token->length);
}

/* pid stands before tid in all files; what comes second is added. */
static int read_key(Reader *r, Event *e, const Token *name, Error *err)
{
    char  key[8];
    Token token;

    if (strcmp(name->text, "args") == 0) return read_arguments(r, e, err);
    if (name->length >= sizeof key) return skip(r, name, err);
    memcpy(key, name->text, name->length + 1);
    if (next(r, &token, err) != 0) return -1;
    if (strcmp(key, "ph") == 0)
        e->phase = token.type == TOKEN_STRING && token.length == 1 ? *token.text : 0;
    else if (strcmp(key, "cat") == 0 && token.type == TOKEN_STRING)
        e->category = category_of(token.text);
    else if (strcmp(key, "name") == 0) set_text(&e->name, &token);
    else if (strcmp(key, "id") == 0) e->id = whole(&token);
    else if (strcmp(key, "pid") == 0 || strcmp(key, "tid") == 0) {
        text_append(&e->thread, *key == 'p' ? "p" : "t");
        text_append_bytes(&e->thread, token.text, token.length);
    } else if (strcmp(key, "ts") == 0) {
        e->has_start = true;
        if (token.type == TOKEN_NUMBER && read_time(r, &token, key, &e->start_ns, err) != 0)
            return -1;
        e->has_start = token.type == TOKEN_NUMBER;
    } else if (strcmp(key, "dur") == 0) {
        if (read_time(r, &token, key, &e->duration_ns, err) != 0) return -1;
        e->has_duration = true;
    }
    return skip(r, &token, err);
}

/* ---- what is kept ---------------------------------------------------------------------------- */

int kineto_add_span(KinetoFile *f, KinetoSpan span, Error *err)
{
    if (!array_has_room(f->spans, f->span_count, f->span_room)) return error_no_memory(err);
    span.order = (uint32_t)f->span_count;
    f->spans[f->span_count++] = span;
    return 0;
}

int kineto_add_work(KinetoFile *f, KinetoWork work, Error *err)
{
    if (!array_has_room(f->works, f->work_count, f->work_room)) return error_no_memory(err);
    f->works[f->work_count++] = work;
    return 0;
}

static int add_span(Reader *r, KinetoSpanType type, const char *name, int64_t number, Error *err)
{
    KinetoFile        *f = r->file;
    const Event *e = &r->event;
    int name_number = type >= SPAN_LAUNCH ? 0 : intern(&f->names, name, strlen(name));
    int                thread = intern(&f->threads, text_string(&e->thread), e->thread.length);

    if (name_number < 0 || thread < 0) return error_no_memory(err);
    return kineto_add_span(f,
                           (KinetoSpan){.start_ns = e->start_ns,
                                        .end_ns = e->start_ns + e->duration_ns,
                                        .number = number,
                                        .tensor_bytes = e->elements >= 0 && e->element_bytes > 0
                                                            ? e->elements * e->element_bytes
                                                            : -1,
                                        .rows = e->rows,
                                        .dimensions = e->dimensions,
                                        .thread = thread,
                                        .name = name_number,
                                        .type = type},
                           err);
}

/* Whether a name says that GPUs talk to each other. */
bool kineto_is_collective(const char *name)
{
    return strcasestr(name, "nccl") || strcasestr(name, "rccl");
}

static int add_work(Reader *r, Error *err)
{
    const Event *e = &r->event;
    const char        *name = text_string(&e->name);
    bool               copy = e->category == CATEGORY_COPY && !strstr(name, "DtoD")
                && !strstr(name, "Device -> Device") && !strstr(name, "DeviceToDevice");

    return kineto_add_work(
        r->file,
        (KinetoWork){.ns = e->duration_ns,
                     .correlation = e->correlation,
                     .device = e->device,
                     .type = copy ? DEVICE_COPY
                             : e->category == CATEGORY_KERNEL && kineto_is_collective(name)
                                 ? DEVICE_COLLECTIVE
                                 : DEVICE_KERNEL},
        err);
}

KinetoSpanType kineto_span_type(const char *name, bool annotation)
{
    if (begins(name, "autograd::engine::evaluate_function")) return SPAN_NODE;
    if (begins(name, "ProfilerStep")) return SPAN_STEP;
    bool range = annotation || begins(name, "Optimizer.") || begins(name, "enumerate(DataLoader)")
                 || begins(name, "block:") || begins(name, "teacher:") || begins(name, "student:");
    return range ? SPAN_RANGE : SPAN_OPERATOR;
}

static int keep_operator(Reader *r, Error *err)
{
    const char    *name = text_string(&r->event.name);
    KinetoSpanType type = kineto_span_type(name, r->event.category == CATEGORY_ANNOTATION);

    return add_span(r, type, name, type == SPAN_STEP ? -1 : r->event.sequence, err);
}

/* Sorts an event that is read to its end to where it belongs, by its category. Kept are complete
 * events ("X"), starts of flows, which link a launch to its work, and of Python's frames only those
 * of modules. One without a time, or longer than a trace can hold, is an error. */
static int keep_event(Reader *r, Error *err)
{
    static const char module[] = "nn.Module: ";
    Event            *e = &r->event;
    bool              flow = e->category == CATEGORY_FLOW && e->phase == 's' && e->id >= 0;

    if (e->name.failed || e->thread.failed) return error_no_memory(err);
    if (e->category == CATEGORY_OTHER || (e->phase != 'X' && !flow)) return 0;
    if (e->category == CATEGORY_PYTHON && !begins(text_string(&e->name), module)) return 0;
    if (!e->has_start || (!flow && !e->has_duration))
        return json_stream_fail(
            r->json, err, "the event that ends here has no \"ts\" or no \"dur\", expected both");
    if (!flow && (e->duration_ns < 0 || e->duration_ns > TRACE_MAX_NS))
        return json_stream_fail(r->json, err,
                                "the event that ends here lasts %.3f us, expected 0 to 39 hours",
                                (double)e->duration_ns / 1000);
    switch (e->category) {
    case CATEGORY_OPERATOR:
    case CATEGORY_ANNOTATION: return keep_operator(r, err);
    case CATEGORY_PYTHON:
        return add_span(r, SPAN_MODULE, text_string(&e->name) + strlen(module), -1, err);
    case CATEGORY_LAUNCH:
        return e->correlation < 0 ? 0 : add_span(r, SPAN_LAUNCH, "", e->correlation, err);
    case CATEGORY_FLOW:       e->duration_ns = 0; return add_span(r, SPAN_FLOW, "", e->id, err);
    default:                  return add_work(r, err);
    }
}

static int read_event(Reader *r, Error *err)
{
    Event *e = &r->event;
    Token  token;

    clear(&e->name);
    clear(&e->thread);
    *e = (Event){.name = e->name, .thread = e->thread, .id = -1, .correlation = -1, .sequence = -1,
                 .elements = -1};
    for (;;) {
        if (next(r, &token, err) != 0) return -1;
        if (token.type == TOKEN_OBJECT_END) break;
        if (read_key(r, e, &token, err) != 0) return -1;
    }
    return keep_event(r, err);
}

static int read_events(Reader *r, Error *err)
{
    Token token;

    for (;;) {
        if (next(r, &token, err) != 0) return -1;
        if (token.type == TOKEN_ARRAY_END) return 0;
        if (token.type != TOKEN_OBJECT)
            return json_stream_fail(r->json, err, "expected an event, an object");
        if (read_event(r, err) != 0) return -1;
        int64_t now = byte_stream_offset(r->bytes);
        if (r->progress && now != r->told) r->progress(r->context, now - r->told);
        r->told = now;
    }
}

/* ---- the file's head ------------------------------------------------------------------------- */

/* An entry of "deviceProperties": its name and memory. Numbers of devices that are out of range are
 * skipped. */
static int read_device(Reader *r, Error *err)
{
    int64_t id = -1, memory = 0;
    char    name[64] = "";
    Token   token;

    for (;;) {
        if (next(r, &token, err) != 0) return -1;
        if (token.type == TOKEN_OBJECT_END) break;
        int which = strcmp(token.text, "id") == 0               ? 1
                    : strcmp(token.text, "name") == 0           ? 2
                    : strcmp(token.text, "totalGlobalMem") == 0 ? 3
                                                                : 0;
        if (which == 0) {
            if (skip(r, &token, err) != 0) return -1;
            continue;
        }
        if (next(r, &token, err) != 0) return -1;
        if (which == 1) id = whole(&token);
        else if (which == 3) memory = whole(&token);
        else if (token.type == TOKEN_STRING) {
            size_t length = strnlen(token.text, sizeof name - 1);
            memcpy(name, token.text, length);
            name[length] = '\0';
        }
        if (skip(r, &token, err) != 0) return -1;
    }
    if (id < 0 || id >= KINETO_MAX_DEVICES) return 0;
    memcpy(r->file->device_names[id], name, sizeof name);
    r->file->device_memory[id] = memory > 0 ? memory : 0;
    return 0;
}

static int read_devices(Reader *r, Error *err)
{
    Token token;

    if (next(r, &token, err) != 0) return -1;
    if (token.type != TOKEN_ARRAY) return skip(r, &token, err);
    for (;;) {
        if (next(r, &token, err) != 0) return -1;
        if (token.type == TOKEN_ARRAY_END) return 0;
        if ((token.type == TOKEN_OBJECT ? read_device(r, err) : skip(r, &token, err)) != 0)
            return -1;
    }
}

static int read_version(Reader *r, Error *err)
{
    Token token;

    if (next(r, &token, err) != 0) return -1;
    if (token.type != TOKEN_NUMBER || strcmp(token.text, "1") != 0)
        return json_stream_fail(r->json, err, "schemaVersion is %s, expected 1",
                                token.type == TOKEN_NUMBER ? token.text : "no number");
    return 0;
}

static int read_head(Reader *r, bool *events, Error *err)
{
    Token token;

    for (;;) {
        if (next(r, &token, err) != 0) return -1;
        if (token.type == TOKEN_OBJECT_END) return 0;
        int rc;
        if (strcmp(token.text, "traceEvents") == 0) {
            *events = true;
            if (next(r, &token, err) != 0) return -1;
            if (token.type != TOKEN_ARRAY)
                return json_stream_fail(r->json, err, "\"traceEvents\": expected an array");
            rc = read_events(r, err);
        } else if (strcmp(token.text, "deviceProperties") == 0) rc = read_devices(r, err);
        else if (strcmp(token.text, "schemaVersion") == 0) rc = read_version(r, err);
        else rc = skip(r, &token, err);
        if (rc != 0) return -1;
    }
}

/* An object with traceEvents, or as Chrome reads too, those events alone. */
static int read_file(Reader *r, Error *err)
{
    bool  events = false;
    Token token;

    if (next(r, &token, err) != 0) return -1;
    if (token.type == TOKEN_ARRAY) {
        events = true;
        if (read_events(r, err) != 0) return -1;
    } else if (token.type == TOKEN_OBJECT) {
        if (read_head(r, &events, err) != 0) return -1;
    } else return json_stream_fail(r->json, err, "expected a profile of PyTorch, an object");
    if (next(r, &token, err) != 0) return -1;
    if (!events)
        return error_set(
            err, "%s: no \"traceEvents\", expected a profile of PyTorch (export_chrome_trace)",
            byte_stream_name(r->bytes));
    return 0;
}

/* ---- order ----------------------------------------------------------------------------------- */

static int by_thread_and_start(const void *a, const void *b)
{
    const KinetoSpan *x = a, *y = b;

    if (x->thread != y->thread) return x->thread < y->thread ? -1 : 1;
    if (x->start_ns != y->start_ns) return x->start_ns < y->start_ns ? -1 : 1;
    if (x->end_ns != y->end_ns) return x->end_ns > y->end_ns ? -1 : 1;
    if (x->type != y->type) return x->type < y->type ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

void kineto_sort(KinetoFile *file)
{
    if (file->span_count)
        qsort(file->spans, file->span_count, sizeof *file->spans, by_thread_and_start);
}

int kineto_read(KinetoFile **out, const ImportFile *file, ImportProgress *progress, void *context,
                Error *err)
{
    Reader reader = {.progress = progress, .context = context};
    int    rc = -1;

    *out = reader.file = calloc(1, sizeof **out);
    if (!reader.file) return error_no_memory(err);
    if ((file->text
             ? byte_stream_of_memory(&reader.bytes, file->name, file->text, file->length, err)
             : byte_stream_open(&reader.bytes, file->name, err))
        != 0)
        goto done;
    if (json_stream_open(&reader.json, reader.bytes, err) != 0 || read_file(&reader, err) != 0)
        goto done;
    kineto_sort(reader.file);
    rc = 0;
done:
    text_free(&reader.event.name);
    text_free(&reader.event.thread);
    json_stream_close(reader.json);
    byte_stream_close(reader.bytes);
    return rc;
}

void kineto_free(KinetoFile *file)
{
    if (!file) return;
    interned_free(&file->names);
    interned_free(&file->threads);
    free(file->spans);
    free(file->works);
    free(file);
}
