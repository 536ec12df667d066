#include "plots/log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/file.h"
#include "schedule/plan.h"
#include "schedule/program.h"
#include "traces/trace.h"

/* ---- lists that grow ------------------------------------------------------------ */

static int add_mark(LoggedRun *log, LogMarkKind kind, int64_t step, Error *err)
{
    if (!array_has_room(log->marks, log->mark_count, log->mark_capacity))
        return error_no_memory(err);
    log->marks[log->mark_count++] = (LogMark){kind, step};
    return 0;
}

static int add_point(LoggedRun *log, LogPoint **out, Error *err)
{
    if (!array_has_room(log->points, log->point_count, log->point_capacity))
        return error_no_memory(err);
    LogPoint *p = &log->points[log->point_count];
    *p = (LogPoint){.loss = calloc((size_t)log->blocks, sizeof *p->loss),
                    .block_step = calloc((size_t)log->blocks, sizeof *p->block_step),
                    .work = calloc((size_t)log->run_devices, sizeof *p->work),
                    .wait = calloc((size_t)log->run_devices, sizeof *p->wait),
                    .devices = log->run_devices};
    log->point_count++;
    if (!p->loss || !p->block_step || !p->work || !p->wait) return error_no_memory(err);
    *out = p;
    return 0;
}

static int keep_text(char **out, const char *text, Error *err)
{
    char *copy = strdup(text);

    if (!copy) return error_no_memory(err);
    free(*out);
    *out = copy;
    return 0;
}

/* ---- values ------------------------------------------------------------------------- */

static int get_integer(const JsonAt *root, const char *key, int64_t least, int64_t *out, Error *err)
{
    JsonAt at = json_member(root, key);

    return json_get_integer(&at, least, JSON_MAX_INTEGER, out, err);
}

/* A number of at least 0, or null: NaN. */
static int get_number(const JsonAt *at, double *out, Error *err)
{
    if (json_has_null(at)) { *out = NAN; return 0; }
    return json_get_number(at, 0, out, err);
}

static int get_array(const JsonAt *root, JsonAt *out, const char *key, int count, Error *err)
{
    *out = json_member(root, key);
    if (json_get_array(out, 0, err) != 0) return -1;
    if (json_count(out) == (size_t)count) return 0;
    return json_fail(out, err, "%zu entries, expected %d", json_count(out), count);
}

static int get_losses(const JsonAt *root, double *out, int count, Error *err)
{
    JsonAt array;

    if (get_array(root, &array, "losses", count, err) != 0) return -1;
    for (int b = 0; b < count; b++) {
        JsonAt at = json_element(&array, (size_t)b);
        if (get_number(&at, &out[b], err) != 0) return -1;
    }
    return 0;
}

static int get_steps(const JsonAt *root, int64_t *out, int count, Error *err)
{
    JsonAt array;

    if (get_array(root, &array, "block_steps", count, err) != 0) return -1;
    for (int b = 0; b < count; b++) {
        JsonAt at = json_element(&array, (size_t)b);
        if (json_get_integer(&at, 0, JSON_MAX_INTEGER, &out[b], err) != 0) return -1;
    }
    return 0;
}

/* ---- the start ---------------------------------------------------------------------- */

static int first_start(LoggedRun *log, const JsonAt *root, Error *err)
{
    JsonAt      name_at = json_member(root, "workload"), names = json_member(root, "blocks");
    const char *name;

    if (json_get_string(&name_at, &name, err) != 0 || keep_text(&log->workload, name, err) != 0)
        return -1;
    if (json_get_array(&names, 1, err) != 0) return -1;
    if (json_count(&names) > TRACE_MAX_BLOCKS)
        return json_fail(&names, err, "more than %d blocks", TRACE_MAX_BLOCKS);
    log->block_names = calloc(json_count(&names), sizeof *log->block_names);
    if (!log->block_names) return error_no_memory(err);
    log->blocks = (int)json_count(&names);
    for (int b = 0; b < log->blocks; b++) {
        JsonAt at = json_element(&names, (size_t)b);
        if (json_get_string(&at, &name, err) != 0
            || keep_text(&log->block_names[b], name, err) != 0)
            return -1;
    }
    return 0;
}

/* What a run did beyond the steps that the next starts from was lost. */
static void forget(LoggedRun *log, const int64_t *block_step, int64_t step)
{
    for (int i = 0; i < log->point_count; i++) {
        LogPoint *p = &log->points[i];
        if (p->step > step) p->lost = true;
        for (int b = 0; b < log->blocks; b++)
            if (p->block_step[b] > block_step[b]) p->block_step[b] = -1;
    }
    while (log->mark_count && log->marks[log->mark_count - 1].step > step) log->mark_count--;
}

static int resumed(LoggedRun *log, const JsonAt *root, Error *err)
{
    int64_t *step = calloc((size_t)log->blocks, sizeof *step), sum = 0;
    JsonAt   names;
    int      rc = -1;

    if (!step) return error_no_memory(err);
    if (get_array(root, &names, "blocks", log->blocks, err) != 0
        || get_steps(root, step, log->blocks, err) != 0)
        goto done;
    for (int b = 0; b < log->blocks; b++) sum += step[b];
    forget(log, step, sum / log->blocks);
    rc = sum ? add_mark(log, MARK_RESUMED, sum / log->blocks, err) : 0;
done:
    free(step);
    return rc;
}

/* A run's first line: of the log's first run what every run has in common, of later ones the step
 * from which they go on. */
static int start(LoggedRun *log, const JsonAt *root, Error *err)
{
    static const char *const keys[] = {
        "format",          "version",     "event",    "date",   "workload",
        "workload_hash",   "resumed",     "seed",     "batch",  "samples",
        "steps_per_epoch", "total_steps", "every",    "device", "devices",
        "blocks",          "block_steps", "schedule", "stages", NULL};
    JsonAt      at = json_member(root, "schedule"), devices_at = json_member(root, "devices");
    const char *name;
    Schedule    schedule;
    int64_t     devices;

    if (json_check_keys(root, keys, err) != 0) return -1;
    if (json_check_format(root->doc, "pipebd-log", 1, err) != 0) return -1;
    if (get_integer(root, "batch", 1, &log->batch, err) != 0
        || get_integer(root, "steps_per_epoch", 1, &log->steps_per_epoch, err) != 0
        || get_integer(root, "total_steps", 1, &log->total_steps, err) != 0) return -1;
    if (json_get_integer(&devices_at, 1, TRACE_MAX_DEVICES, &devices, err) != 0) return -1;
    log->run_devices = (int)devices;
    if (log->run_devices > log->devices) log->devices = log->run_devices;
    if (json_get_string(&at, &name, err) != 0) return -1;
    if (!schedule_find(name, &schedule))
        return json_fail(&at, err, "not a schedule, expected dp, ls, tr, ...");
    if (keep_text(&log->schedule, name, err) != 0) return -1;
    if (log->begun) return resumed(log, root, err);
    if (first_start(log, root, err) != 0) return -1;
    log->begun = true;
    return resumed(log, root, err);              /* a log may begin with a run that was resumed */
}

/* ---- progress and what else there is ----------------------------------------------------- */

static int one_device(const JsonAt *at, double *work, double *wait, Error *err)
{
    static const char *const keys[] = {"work", "wait", "own", "waits", "memory_bytes", NULL};
    JsonAt work_at = json_member(at, "work"), wait_at = json_member(at, "wait");

    *work = *wait = NAN;
    if (json_has_null(at)) return 0;
    if (json_get_object(at, err) != 0 || json_check_keys(at, keys, err) != 0) return -1;
    return get_number(&work_at, work, err) == 0 && get_number(&wait_at, wait, err) == 0 ? 0 : -1;
}

static int read_devices(LogPoint *p, const JsonAt *root, Error *err)
{
    JsonAt array;

    if (get_array(root, &array, "devices", p->devices, err) != 0) return -1;
    for (int d = 0; d < p->devices; d++) {
        JsonAt at = json_element(&array, (size_t)d);
        if (one_device(&at, &p->work[d], &p->wait[d], err) != 0) return -1;
    }
    return 0;
}

static int progress(LoggedRun *log, const JsonAt *root, Error *err)
{
    static const char *const keys[] = {"event",          "time_s",      "step",   "steps",
                                       "images_per_s",   "block_steps", "losses", "devices",
                                       "resident_bytes", NULL};
    JsonAt    time_at = json_member(root, "time_s"), rate_at = json_member(root, "images_per_s");
    LogPoint *p = NULL;

    if (json_check_keys(root, keys, err) != 0 || add_point(log, &p, err) != 0) return -1;
    if (json_get_number(&time_at, 0, &p->time_s, err) != 0
        || get_number(&rate_at, &p->images_per_s, err) != 0
        || get_integer(root, "step", 0, &p->step, err) != 0
        || get_integer(root, "steps", 0, &p->steps, err) != 0
        || get_steps(root, p->block_step, log->blocks, err) != 0
        || get_losses(root, p->loss, log->blocks, err) != 0)
        return -1;
    return read_devices(p, root, err);
}

static int replan(LoggedRun *log, const JsonAt *root, Error *err)
{
    static const char *const keys[] = {"event",    "time_s",  "step",   "taken", "factors",
                                       "before_s", "after_s", "stages", NULL};
    JsonAt  taken_at = json_member(root, "taken");
    int64_t step;
    bool    taken;

    if (json_check_keys(root, keys, err) != 0 || get_integer(root, "step", 0, &step, err) != 0
        || json_get_bool(&taken_at, &taken, err) != 0) return -1;
    return taken ? add_mark(log, MARK_REPLANNED, step, err) : 0;
}

static int finish(const JsonAt *root, Error *err)
{
    static const char *const keys[] = {"event",  "why",        "time_s", "step", "images_per_s",
                                       "losses", "accuracies", "error",  NULL};
    static const char *const whys[] = {"done", "stopped", "failed", NULL};
    JsonAt at = json_member(root, "why");
    int    why;

    return json_check_keys(root, keys, err) == 0 ? json_get_choice(&at, whys, &why, err) : -1;
}

static int one_line(LoggedRun *log, const Json *doc, Error *err)
{
    static const char *const events[] = {"start", "progress", "replan", "end", NULL};
    JsonAt root = json_root(doc), event_at = json_member(&root, "event");
    int    event;

    if (json_get_object(&root, err) != 0) return -1;
    if (!log->begun && json_check_format(doc, "pipebd-log", 1, err) != 0) return -1;
    if (json_get_choice(&event_at, events, &event, err) != 0) return -1;
    if (!log->begun && event != 0)
        return json_fail(&event_at, err, "expected \"start\" in the first line");
    switch (event) {
    case 0:  return start(log, &root, err);
    case 1:  return progress(log, &root, err);
    case 2:  return replan(log, &root, err);
    default: return finish(&root, err);
    }
}

/* ---- lines ------------------------------------------------------------------------------- */

static int parse_line(LoggedRun *log, const char *path, size_t before, const char *text,
                      size_t length, Error *err)
{
    Json *doc = NULL;
    int   rc = json_line_parse(&doc, path, before, text, length, err);

    if (rc == 0) rc = one_line(log, doc, err);
    json_doc_free(doc);
    return rc;
}

/* A file without a log's first line may be JSON of another kind, which says more than err does. */
static int other_kind(const char *path, const char *text, size_t length, Error *err)
{
    Json *doc = NULL;
    Error why = {""};

    if (json_doc_parse(&doc, path, text, length, &why) == 0) {
        JsonAt root = json_root(doc), format = json_member(&root, "format");
        if (!json_has(&format))
            json_fail(&root, err, "no log of a run, expected a JSON object a line");
        else if (json_check_format(doc, "pipebd-log", 1, &why) != 0) *err = why;
    }
    json_doc_free(doc);
    return error_is_no_memory(&why) ? error_no_memory(err) : -1;
}

static int check_first_line(const char *path, const char *text, size_t length, Error *err)
{
    const char *end = memchr(text, '\n', length);
    Json       *doc = NULL;
    Error       why = {""};

    if (!end) {
        error_set(err, "%s:1:1: no whole line, expected a log's start", path);
        return other_kind(path, text, length, err);
    }
    int rc = json_line_parse(&doc, path, 0, text, (size_t)(end - text), &why);
    json_doc_free(doc);
    if (rc == 0) return 0;
    if (error_is_no_memory(&why)) return error_no_memory(err);
    error_set(err, "%s; a log of a run has a JSON object a line", why.text);
    return other_kind(path, text, length, err);
}

int log_read(LoggedRun *out, const char *path, Error *err)
{
    char  *text = NULL;
    size_t length, number = 0;
    int    rc = -1;

    *out = (LoggedRun){0};
    if (file_read(&text, &length, path, 0, err) != 0) return -1;
    if (check_first_line(path, text, length, err) != 0) goto done;
    for (char *line = text, *end; (end = memchr(line, '\n', (size_t)(text + length - line)));
         line = end + 1, number++)
        if (parse_line(out, path, number, line, (size_t)(end - line), err) != 0) goto done;
    rc = 0;
done:
    free(text);
    return rc;
}

void log_free(LoggedRun *log)
{
    for (int i = 0; i < log->point_count; i++) {
        free(log->points[i].loss);
        free(log->points[i].block_step);
        free(log->points[i].work);
        free(log->points[i].wait);
    }
    for (int b = 0; b < log->blocks; b++) free(log->block_names[b]);
    free(log->block_names);
    free(log->points);
    free(log->marks);
    free(log->workload);
    free(log->schedule);
    *log = (LoggedRun){0};
}
