#include "traces/import/import.h"

#include <stdlib.h>
#include <string.h>

#include "traces/import/import_read.h"

static const ImportFormat *const formats[] = {&import_kineto, &import_sailor, &import_pipedream,
                                              &import_pipe_bd_log, &import_nsys};

const char *const import_format_names[] = {"kineto",      "sailor", "pipedream",
                                           "pipe-bd-log", "nsys",   NULL};

const ImportFormat *import_format(int index) { return formats[index]; }

bool import_takes(const ImportFormat *format, const char *option)
{
    size_t length = strlen(option);

    for (const char *at = format->options; *at; at += strcspn(at, " "), at += *at == ' ')
        if (strcspn(at, " ") == length && memcmp(at, option, length) == 0) return true;
    return false;
}

/* What every format has; the format fills the rest. */
static int start(Trace **out, const ImportFormat *format, const ImportFile *files, int count,
                 const ImportOptions *o, Error *err)
{
    Trace *trace = calloc(1, sizeof *trace);
    Text   source = {0};

    *out = trace;
    if (!trace) return error_no_memory(err);
    for (int i = 0; i < count; i++) text_printf(&source, "%s%s", i ? ", " : "", files[i].name);
    text_printf(&source, " (%s)", format->name);
    if (o->student.name) text_printf(&source, ", student: %s", o->student.name);
    trace->provenance_kind = "imported";
    trace->source = arena_strdup(&trace->arena, text_string(&source));
    trace->date = o->date ? o->date : "";
    trace->name = trace->workload = o->name;
    trace->batch = o->batch;
    trace->samples = o->samples;
    trace->input_bytes = TRACE_ABSENT;
    trace->kinds = arena_alloc(&trace->arena, 1, sizeof *trace->kinds);
    bool failed = text_failed(&source) || !trace->source || !trace->kinds;
    text_free(&source);
    if (failed) return error_no_memory(err);
    *trace->kinds = (TraceKind){.name = o->device.count ? o->device.values[0] : "unknown",
                                .count = o->devices.count ? (int)o->devices.values[0] : 1,
                                .memory_bytes = TRACE_ABSENT};
    trace->kind_count = 1;
    return 0;
}

/* Through the text of a file, so that it is checked as any trace is. */
static int check(Trace **out, const Trace *loose, const ImportFile *file, Error *err)
{
    Text text = {0};

    trace_text(loose, &text);
    int rc = text_failed(&text)
                 ? error_no_memory(err)
                 : trace_parse(out, "the trace", text_string(&text), text.length, err);
    text_free(&text);
    if (rc != 0 && !error_is_no_memory(err)) error_prefix(err, "%s", file->name);
    return rc;
}

int import_trace(Trace **out, const ImportFormat *format, const ImportFile *files, int count,
                 const ImportOptions *options, Error *err)
{
    Trace *loose = NULL;
    Text   notes = {0};
    int    rc = -1;

    *out = NULL;
    if (start(&loose, format, files, count, options, err) != 0) goto done;
    if (format->read(loose, &notes, files, count, options, err) != 0) goto done;
    if (text_failed(&notes)) { error_no_memory(err); goto done; }
    loose->notes = text_string(&notes);
    rc = check(out, loose, files, err);
done:
    trace_free(loose);
    text_free(&notes);
    return rc;
}
