#include "traces/import/import_read.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- lines ------------------------------------------------------------------------- */

ImportLines lines_start(const ImportFile *file)
{
    return (ImportLines){.name = file->name, .next = file->text, .end = file->text + file->length};
}

bool lines_next(ImportLines *lines)
{
    if (lines->next == lines->end) return false;
    const char *feed = memchr(lines->next, '\n', (size_t)(lines->end - lines->next));
    lines->line = lines->next;
    lines->stop = feed ? feed : lines->end;
    lines->next = feed ? feed + 1 : lines->end;
    lines->number++;
    if (lines->stop > lines->line && lines->stop[-1] == '\r') lines->stop--;
    return true;
}

int lines_fail(const ImportLines *lines, const char *at, Error *err, const char *format, ...)
{
    char    message[ERROR_MAX_TEXT];
    int     column = 1;
    va_list arguments;

    for (const char *c = lines->line; c < at; c++) column += ((unsigned char)*c & 0xC0) != 0x80;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return error_set(err, "%s:%d:%d: %s", lines->name, lines->number, column, message);
}

bool skip_word(const ImportLines *lines, const char **at, const char *word)
{
    size_t length = strlen(word);

    if ((size_t)(lines->stop - *at) < length || memcmp(*at, word, length) != 0) return false;
    *at += length;
    return true;
}

int read_word(const ImportLines *lines, const char **at, const char *word, Error *err)
{
    if (skip_word(lines, at, word)) return 0;
    return lines_fail(lines, *at, err, "expected \"%s\"", word);
}

static const char *skip_digits(const char *at, const char *stop)
{
    while (at < stop && *at >= '0' && *at <= '9') at++;
    return at;
}

/* The end of the number at at; at itself when there is none. */
static const char *number_end(const char *at, const char *stop)
{
    const char *end = skip_digits(at, stop);

    if (end < stop && *end == '.') end = skip_digits(end + 1, stop);
    if (end == at || (end == at + 1 && *at == '.')) return at;
    if (end < stop && (*end == 'e' || *end == 'E')) {
        const char *digits = end + 1;
        if (digits < stop && (*digits == '+' || *digits == '-')) digits++;
        if (skip_digits(digits, stop) > digits) end = skip_digits(digits, stop);
    }
    return end;
}

int read_number(const ImportLines *lines, const char **at, double *out, Error *err)
{
    char        copy[64];
    const char *end = number_end(*at, lines->stop);
    size_t      length = (size_t)(end - *at);

    if (length == 0) return lines_fail(lines, *at, err, "expected a number that is not negative");
    if (length >= sizeof copy)
        return lines_fail(lines, *at, err, "a number of %zu digits, expected fewer", length);
    memcpy(copy, *at, length);
    copy[length] = '\0';
    *out = strtod(copy, NULL);
    if (!(*out <= 1e15))
        return lines_fail(lines, *at, err, "%s is too large, expected at most 1e15", copy);
    *at = end;
    return 0;
}

int read_bytes_list(int64_t **out, int *count, const char *list, const char *option, Arena *arena,
                    Error *err)
{
    size_t room = 1;

    for (const char *c = list; *c; c++) room += *c == ',';
    *count = 0;
    if (room > TRACE_MAX_BLOCKS)
        return error_set(err, "--%s: %zu numbers, expected at most %d", option, room,
                         TRACE_MAX_BLOCKS);
    *out = arena_alloc(arena, room, sizeof **out);
    if (!*out) return error_no_memory(err);
    for (const char *at = list;;) {
        char *end;
        long long bytes = *at >= '0' && *at <= '9' ? strtoll(at, &end, 10) : -1;
        if (bytes < 0 || bytes > (long long)1 << 40 || (*end && *end != ','))
            return error_set(err,
                             "--%s: \"%.40s\" does not begin with a number of bytes, expected such "
                             "as 98304,32768",
                             option, at);
        (*out)[(*count)++] = bytes;
        if (!*end) return 0;
        at = end + 1;
    }
}

/* ---- parts of a trace ------------------------------------------------------------------ */

int import_blocks(Trace *trace, int count, Error *err)
{
    trace->blocks = arena_alloc(&trace->arena, (size_t)count, sizeof *trace->blocks);
    if (!trace->blocks) return error_no_memory(err);
    trace->block_count = count;
    for (int b = 0; b < count; b++) {
        TraceBlock *block = &trace->blocks[b];
        *block = (TraceBlock){.name = "", .output_bytes = TRACE_ABSENT,
                              .teacher_weight_bytes = TRACE_ABSENT,
                              .teacher_activation_bytes = TRACE_ABSENT,
                              .student_weight_bytes = TRACE_ABSENT, .gradient_bytes = TRACE_ABSENT,
                              .state_bytes = TRACE_ABSENT,
                              .student_activation_bytes = TRACE_ABSENT};
        for (int work = 0; work < WORK_COUNT; work++) {
            block->work[work] =
                arena_alloc(&trace->arena, (size_t)trace->kind_count, sizeof *block->work[work]);
            if (!block->work[work]) return error_no_memory(err);
        }
    }
    return 0;
}

int import_point(Trace *trace, Curve *curve, int64_t x, double ms, Error *err)
{
    size_t      count = (size_t)curve->count;
    CurvePoint *points = arena_alloc(&trace->arena, count + 1, sizeof *points);

    if (!points) return error_no_memory(err);
    if (count) memcpy(points, curve->points, count * sizeof *points);
    points[count].x = x;
    points[count].ns = points[count].contended_ns = (int64_t)llround(ms * 1e6);
    curve->points = points;
    curve->count++;
    return 0;
}

int import_timing(Trace *trace, int block, int64_t batch, double teacher_ms, double forward_ms,
                  double backward_ms, const ImportFile *file, int line, Error *err)
{
    const double ms[WORK_COUNT] = {[WORK_TEACHER] = teacher_ms, [WORK_FORWARD] = forward_ms,
                                   [WORK_BACKWARD] = backward_ms, [WORK_UPDATE] = 0};

    for (int work = 0; work < WORK_COUNT; work++) {
        if (ms[work] * 1e6 > (double)TRACE_MAX_NS)
            return error_set(err, "%s:%d:1: block \"%s\" takes %g ms, expected less than 39 hours",
                             file->name, line, trace->blocks[block].name, ms[work]);
        if (import_point(trace, trace->blocks[block].work[work], batch, ms[work], err) != 0)
            return -1;
    }
    return 0;
}

int import_kinds(Trace *trace, const char *const *names, int count, const ImportOptions *o,
                 Error *err)
{
    if (o->devices.count && o->devices.count != count)
        return error_set(
            err, "--devices: %d numbers, but %d kinds of devices were profiled: expected one each",
            o->devices.count, count);
    if (count > TRACE_MAX_KINDS)
        return error_set(err, "%d kinds of devices, expected at most %d", count, TRACE_MAX_KINDS);
    trace->kinds = arena_alloc(&trace->arena, (size_t)count, sizeof *trace->kinds);
    if (!trace->kinds) return error_no_memory(err);
    trace->kind_count = count;
    for (int i = 0; i < count; i++)
        trace->kinds[i] =
            (TraceKind){.name = names[i], .memory_bytes = TRACE_ABSENT,
                        .count = o->devices.count ? (int)o->devices.values[i] : 1};
    return 0;
}
