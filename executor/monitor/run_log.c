#include "executor/monitor/run_log.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/lines.h"

struct RunLog {
    Lines *lines;
    int    students, devices;
};

/* ---- text ---------------------------------------------------------------------- */

/* Six digits are enough to draw. NaN and infinity: null. */
static void number(Text *out, double value)
{
    if (isfinite(value)) text_printf(out, "%.6g", value);
    else                 text_append(out, "null");
}

static void numbers(Text *out, const char *key, const double *values, int count)
{
    text_printf(out, ", \"%s\": [", key);
    for (int i = 0; i < count; i++) {
        if (i) text_append(out, ", ");
        number(out, values[i]);
    }
    text_append(out, "]");
}

static void integers(Text *out, const char *key, const int64_t *values, int count)
{
    text_printf(out, ", \"%s\": [", key);
    for (int i = 0; i < count; i++) text_printf(out, i ? ", %" PRId64 : "%" PRId64, values[i]);
    text_append(out, "]");
}

/* The plan's stages on one line. No string in them holds white space. */
static void stages(Text *out, const Plan *plan)
{
    Text text = {0};

    plan_stages_text(plan, "", &text);
    text_append(out, ", \"stages\": ");
    for (const char *c = text_string(&text); *c; c++)
        if (*c != '\n' && (*c != ' ' || c[-1] == ':' || c[-1] == ',')) text_append_bytes(out, c, 1);
    out->failed = out->failed || text_failed(&text);
    text_free(&text);
}

/* The first line of a log: what is trained, on what, by which plan, and the step of each block. */
static void start_text(Text *out, const LogFacts *f)
{
    const Workload *w = f->workload;
    time_t          now = time(NULL);
    struct tm       utc;
    char            date[32];

    gmtime_r(&now, &utc);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    text_printf(out,
                "{\"format\": \"pipebd-log\", \"version\": 1, \"event\": \"start\", \"date\": "
                "\"%s\", \"workload\": ",
                date);
    text_json_string(out, w->name);
    text_printf(out,
                ", \"workload_hash\": \"%016" PRIx64 "\", \"resumed\": %s, \"seed\": %" PRIu64
                ", \"batch\": %" PRId64 ", \"samples\": %" PRId64 ", \"steps_per_epoch\": %" PRId64
                ", \"total_steps\": %" PRId64 ", \"every\": %" PRId64 ", \"device\": ",
                w->hash, f->resumed ? "true" : "false", f->seed, w->batch, f->samples,
                f->steps_per_epoch, f->total_steps, f->every);
    text_json_string(out, f->device_kind);
    text_printf(out, ", \"devices\": %d, \"blocks\": [", f->plan->device_count);
    for (int k = 0; k < workload_students(w); k++) {
        char name[STUDENT_TEXT_BYTES];
        if (k) text_append(out, ", ");
        text_json_string(out, student_text(name, w, workload_student(w, k)));
    }
    text_append(out, "]");
    integers(out, "block_steps", f->block_step, workload_students(w));
    text_printf(out, ", \"schedule\": \"%s\"", schedule_name(f->plan->schedule));
    stages(out, f->plan);
    text_append(out, "}");
}

static void device_text(Text *out, const LogDevice *d)
{
    const char *comma = "";

    if (!d->known) { text_append(out, "null"); return; }
    text_append(out, "{\"work\": ");
    number(out, d->work);
    text_append(out, ", \"wait\": ");
    number(out, d->wait);
    text_append(out, ", \"own\": ");
    number(out, d->own);
    text_append(out, ", \"waits\": {");
    for (int op = 0; op < OP_COUNT; op++) {
        if (!(d->wait_by[op] > 0)) continue;
        text_printf(out, "%s\"%s\": ", comma, op_name((Op)op));
        number(out, d->wait_by[op]);
        comma = ", ";
    }
    text_printf(out, "}, \"memory_bytes\": %" PRId64 "}", d->bytes);
}

/* ---- the file --------------------------------------------------------------------- */

/* Whether the first line begins the log of the same workload. */
static int check_first(const char *path, const char *line, const LogFacts *facts, Error *err)
{
    char        hash[17];
    Json       *doc = NULL;
    const char *found;
    int         rc = -1;

    snprintf(hash, sizeof hash, "%016" PRIx64, facts->workload->hash);
    if (json_doc_parse(&doc, path, line, strlen(line), err) != 0) goto done;
    if (json_check_format(doc, "pipebd-log", 1, err) != 0) goto done;
    JsonAt root = json_root(doc), at = json_member(&root, "workload_hash");
    if (json_get_string(&at, &found, err) != 0) goto done;
    rc = strcmp(found, hash) == 0
             ? 0
             : json_fail(&at, err, "the log of another workload, expected %s", hash);
done:
    json_doc_free(doc);
    return rc;
}

static int add(RunLog *log, Text *text, Error *err)
{
    int rc = text_failed(text) ? error_no_memory(err)
                               : lines_add(log->lines, text_string(text), text->length, err);

    text_free(text);
    return rc;
}

int run_log_open(RunLog **out, const char *path, const LogFacts *facts, size_t *torn, Error *err)
{
    RunLog *log = calloc(1, sizeof *log);
    Text    text = {0};

    *out = NULL;
    *torn = 0;
    if (!log) return error_no_memory(err);
    log->students = workload_students(facts->workload);
    log->devices = facts->plan->device_count;
    if (lines_open(&log->lines, path, facts->resumed, err) != 0) goto fail;
    *torn = lines_torn(log->lines);
    if (lines_first(log->lines) && check_first(path, lines_first(log->lines), facts, err) != 0)
        goto fail;
    start_text(&text, facts);
    if (add(log, &text, err) != 0) goto fail;
    *out = log;
    return 0;
fail:
    run_log_close(log, NULL);
    return -1;
}

int run_log_progress(RunLog *log, const LogProgress *p, Error *err)
{
    Text text = {0};

    text_printf(&text,
                "{\"event\": \"progress\", \"time_s\": %.3f, \"step\": %" PRId64
                ", \"steps\": %" PRId64 ", \"images_per_s\": ",
                p->time_s, p->step, p->steps);
    number(&text, p->images_per_s);
    integers(&text, "block_steps", p->block_step, log->students);
    numbers(&text, "losses", p->loss, log->students);
    text_append(&text, ", \"devices\": [");
    for (int d = 0; d < log->devices; d++) {
        if (d) text_append(&text, ", ");
        device_text(&text, &p->devices[d]);
    }
    text_printf(&text, "], \"resident_bytes\": %" PRId64 "}", p->resident_bytes);
    return add(log, &text, err);
}

int run_log_replan(RunLog *log, const LogReplan *r, Error *err)
{
    Text text = {0};

    text_printf(&text,
                "{\"event\": \"replan\", \"time_s\": %.3f, \"step\": %" PRId64 ", \"taken\": %s",
                r->time_s, r->step, r->plan ? "true" : "false");
    numbers(&text, "factors", r->factors, log->devices);
    text_append(&text, ", \"before_s\": ");
    number(&text, r->before_s > 0 ? r->before_s : NAN);
    text_append(&text, ", \"after_s\": ");
    number(&text, r->after_s > 0 ? r->after_s : NAN);
    if (r->plan) stages(&text, r->plan);
    text_append(&text, "}");
    return add(log, &text, err);
}

int run_log_end(RunLog *log, const LogEnd *e, Error *err)
{
    Text text = {0};

    text_printf(&text,
                "{\"event\": \"end\", \"why\": \"%s\", \"time_s\": %.3f, \"step\": %" PRId64
                ", \"images_per_s\": ",
                e->why, e->time_s, e->step);
    number(&text, e->images_per_s);
    numbers(&text, "losses", e->loss, log->students);
    numbers(&text, "accuracies",
            (const double[]){e->teacher_accuracy, e->before_accuracy, e->after_accuracy}, 3);
    text_append(&text, ", \"error\": ");
    if (e->error[0]) text_json_string(&text, e->error);
    else             text_append(&text, "null");
    text_append(&text, "}");
    return add(log, &text, err);
}

int run_log_close(RunLog *log, Error *err)
{
    if (!log) return 0;
    int rc = lines_close(log->lines, err);
    free(log);
    return rc;
}
