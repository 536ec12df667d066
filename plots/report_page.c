#include "plots/report_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "plots/picture.h"
#include "plots/report_parts.h"

typedef struct {
    ComparisonFile comparison;
    ValidationFile validation;
    bool           compared, validated;
    Gantt          timelines[REPORT_TIMELINES];
    SweepData     *sweeps[REPORT_SWEEPS];
    ReportShown    shown;
} ReportInputs;

/* ---- reading ----------------------------------------------------------------------- */

static int read_comparison(ReportInputs *in, Json *doc, const char *path, Error *err)
{
    if (in->compared) {
        json_doc_free(doc);
        return error_set(err, "%s: a second comparison, expected one", path);
    }
    in->compared = true;
    in->shown.comparison = &in->comparison;
    return comparison_read(&in->comparison, doc, path, err);
}

static int read_validation(ReportInputs *in, Json *doc, const char *path, Error *err)
{
    if (in->validated) {
        json_doc_free(doc);
        return error_set(err, "%s: a second validation, expected one", path);
    }
    in->validated = true;
    in->shown.validation = &in->validation;
    return validation_read(&in->validation, doc, path, err);
}

static int read_timeline(ReportInputs *in, Json *doc, const char *path, Error *err)
{
    ReportShown *shown = &in->shown;
    int          rc;

    if (shown->timeline_count == REPORT_TIMELINES) {
        json_doc_free(doc);
        return error_set(err, "%s: too many timelines, expected at most %d", path,
                         REPORT_TIMELINES);
    }
    shown->timelines[shown->timeline_count] = &in->timelines[shown->timeline_count];
    shown->timeline_paths[shown->timeline_count] = path;
    rc = gantt_parse(&in->timelines[shown->timeline_count++], doc, path, 1, -1, -1, err);
    json_doc_free(doc);
    return rc;
}

/* What a document is, by its format, or by a timeline's own place for it. Takes doc over. */
static int read_document(ReportInputs *in, Json *doc, const char *path, Error *err)
{
    JsonAt      root = json_root(doc), format = json_member(&root, "format"),
                timeline = json_member(&root, "pipebd");
    const char *name = "";

    if (json_get_string(&format, &name, NULL) != 0) name = "";
    if (json_has(&timeline)) return read_timeline(in, doc, path, err);
    if (strcmp(name, "pipebd-comparison") == 0) return read_comparison(in, doc, path, err);
    if (strcmp(name, "pipebd-validation") == 0) return read_validation(in, doc, path, err);
    json_fail(json_has(&format) ? &format : &root, err,
              "expected a comparison, a validation, a timeline or a sweep (CSV)");
    json_doc_free(doc);
    return -1;
}

/* Speedups where every possible point has one, which takes dp to be possible there; else epochs. */
static int read_sweep(ReportInputs *in, const char *path, const char *text, size_t length,
                      Error *err)
{
    ReportShown *shown = &in->shown;
    int          n = shown->sweep_count, rc;
    Error        why = {""};

    if (n == REPORT_SWEEPS)
        return error_set(err, "%s: too many sweeps, expected at most %d", path, REPORT_SWEEPS);
    shown->metrics[n] = METRIC_SPEEDUP;
    rc = sweep_parse(&in->sweeps[n], path, text, length, METRIC_SPEEDUP, &why);
    if ((rc != 0 && !error_is_no_memory(&why)) || (rc == 0 && in->sweeps[n]->lacking)) {
        sweep_data_free(in->sweeps[n]);
        shown->metrics[n] = METRIC_EPOCH;
        rc = sweep_parse(&in->sweeps[n], path, text, length, METRIC_EPOCH, &why);
    }
    if (rc != 0) return error_set(err, "%s", why.text);
    shown->sweep_paths[n] = path;
    shown->sweeps[shown->sweep_count++] = in->sweeps[n];
    return 0;
}

static int read_input(ReportInputs *in, const char *path, Error *err)
{
    char  *text, *first;
    size_t length;
    Json  *doc = NULL;
    int    rc = -1;

    if (file_read(&text, &length, path, 0, err) != 0) return -1;
    first = text + strspn(text, " \t\r\n");
    if (*first != '{' && *first != '[' && *first) rc = read_sweep(in, path, text, length, err);
    else if (json_doc_parse(&doc, path, text, length, err) == 0)
        rc = read_document(in, doc, path, err);
    free(text);
    return rc;
}

/* ---- of one trace ------------------------------------------------------------------ */

typedef struct { const char *path, *trace, *hash; } Origin;

/* Without a hash, or with one of zeros, a file does not tell. */
static bool tells(const Origin *o) { return o->hash && o->hash[strspn(o->hash, "0")]; }

static int check_origin(const Origin *first, const Origin *other, Error *err)
{
    char words[4][JSON_SHOWN_BYTES];

    if (!tells(first) || !tells(other) || strcmp(first->hash, other->hash) == 0) return 0;
    return error_set(err,
                     "%s: of the trace \"%s\" (hash %s), but %s is of \"%s\" (hash %s), expected "
                     "files of one trace",
                     other->path, json_shown(words[0], other->trace),
                     json_shown(words[1], other->hash), first->path,
                     json_shown(words[2], first->trace), json_shown(words[3], first->hash));
}

/* One page is about one trace. Sweeps do not tell of which they are. */
static int check_origins(const ReportInputs *in, Error *err)
{
    const ReportShown *shown = &in->shown;
    const RunFacts    *a = in->compared ? &in->comparison.facts : &in->validation.facts,
                   *b = &in->validation.facts;
    Origin first = {a->path, a->trace, a->trace_hash}, second = {b->path, b->trace, b->trace_hash};

    if (in->compared && in->validated && check_origin(&first, &second, err) != 0) return -1;
    if (!tells(&first) && in->validated) first = second;
    for (int i = 0; i < shown->timeline_count; i++) {
        Origin timeline = {shown->timeline_paths[i], in->timelines[i].trace, in->timelines[i].hash};
        if (check_origin(&first, &timeline, err) != 0) return -1;
    }
    return 0;
}

static void inputs_free(ReportInputs *in)
{
    if (in->compared) comparison_file_free(&in->comparison);
    if (in->validated) validation_file_free(&in->validation);
    for (int i = 0; i < REPORT_TIMELINES; i++) gantt_free(&in->timelines[i]);
    for (int i = 0; i < REPORT_SWEEPS; i++) sweep_data_free(in->sweeps[i]);
    free(in);
}

/* ---- the page ------------------------------------------------------------------------- */

static void write_page(Text *out, const ReportShown *shown)
{
    static void (*const parts[])(Text *, const ReportShown *) = {
        report_head,   report_schedules, report_validation, report_plan,
        report_step,   report_time,      report_memory,     report_margins,
        report_sweeps, report_missing,   report_commands,
    };
    Text title = {0};

    text_printf(&title, "%s: schedules of blockwise distillation", report_facts(shown)->trace);
    html_begin(out, text_string(&title));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) parts[i](out, shown);
    html_end(out);
    out->failed |= title.failed;
    text_free(&title);
}

int report_page(Text *out, const char *const *paths, int count, const char *command, Error *err)
{
    ReportInputs *in = calloc(1, sizeof *in);
    int     rc = 0;

    if (!in) return error_no_memory(err);
    in->shown.command = command;
    for (int i = 0; i < count && rc == 0; i++) rc = read_input(in, paths[i], err);
    if (rc == 0 && !in->compared && !in->validated)
        rc = error_set(err, "%s: expected a comparison or a validation too", paths[0]);
    if (rc == 0) rc = check_origins(in, err);
    if (rc == 0) {
        write_page(out, &in->shown);
        rc = pictures_draw(out, err);
    }
    inputs_free(in);
    return rc;
}
