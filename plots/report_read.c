#include "plots/report_read.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_ROWS = 64, MAX_STAGES = 1 << 16, MAX_DEVICES = 1 << 16 };

/* ---- values that may be absent ------------------------------------------------------- */

static bool absent(const JsonAt *at) { return !json_has(at) || json_has_null(at); }

static int maybe_number(const JsonAt *object, const char *key, double *out, Error *err)
{
    JsonAt at = json_member(object, key);

    *out = NAN;
    return absent(&at) ? 0 : json_get_number(&at, -INFINITY, out, err);
}

static int maybe_string(const JsonAt *object, const char *key, const char **out, Error *err)
{
    JsonAt at = json_member(object, key);

    *out = NULL;
    return absent(&at) ? 0 : json_get_string(&at, out, err);
}

/* A time or a size: at least 0. */
static int maybe_size(const JsonAt *object, const char *key, double *out, Error *err)
{
    JsonAt at = json_member(object, key);

    *out = NAN;
    return absent(&at) ? 0 : json_get_number(&at, 0, out, err);
}

/* Room for the elements of an array; a count of 0 where it is absent. */
static int maybe_array(Arena *arena, const JsonAt *at, size_t most, size_t size, void *room,
                       int *count, Error *err)
{
    void **out = room;

    *count = 0;
    *out = NULL;
    if (absent(at)) return 0;
    if (json_get_array(at, 0, err) != 0) return -1;
    if (json_count(at) > most) return json_fail(at, err, "too many, expected at most %zu", most);
    *out = arena_alloc(arena, json_count(at), size);
    if (!*out) return error_no_memory(err);
    *count = (int)json_count(at);
    return 0;
}

static int get_schedule(const JsonAt *object, Schedule *out, Error *err)
{
    JsonAt      at = json_member(object, "schedule");
    const char *name;

    if (json_get_string(&at, &name, err) != 0) return -1;
    if (schedule_find(name, out)) return 0;
    return json_fail(
        &at, err, "not a schedule, expected dp, ls, tr, dpu, ir, ahd, split, sequential or store");
}

/* An epoch: more than nothing. */
static int get_epoch(const JsonAt *object, const char *key, double *out, Error *err)
{
    JsonAt at = json_member(object, key);

    if (json_get_number(&at, 0, out, err) != 0) return -1;
    return *out > 0 ? 0 : json_fail(&at, err, "%g is no epoch, expected more than 0 s", *out);
}

static int read_strings(Arena *arena, const JsonAt *at, const char ***out, int *count, Error *err)
{
    if (maybe_array(arena, at, MAX_STAGES, sizeof **out, out, count, err) != 0) return -1;
    for (int i = 0; i < *count; i++) {
        JsonAt element = json_element(at, (size_t)i);
        if (json_get_string(&element, &(*out)[i], err) != 0) return -1;
    }
    return 0;
}

/* ---- plans ----------------------------------------------------------------------------- */

static int read_place(Arena *arena, Stage *stage, const JsonAt *object, Error *err)
{
    JsonAt devices = json_member(object, "devices"), rows = json_member(object, "rows");
    int    count;

    if (maybe_array(arena, &devices, MAX_DEVICES, sizeof *stage->devices, &stage->devices,
                    &stage->width, err)
            != 0
        || maybe_array(arena, &rows, MAX_DEVICES, sizeof *stage->rows, &stage->rows, &count, err)
               != 0)
        return -1;
    if (count != stage->width)
        return json_fail(&rows, err, "%d numbers, expected %d, one a device", count, stage->width);
    for (int i = 0; i < count; i++) {
        JsonAt  device = json_element(&devices, (size_t)i), row = json_element(&rows, (size_t)i);
        int64_t number;
        if (json_get_integer(&device, 0, MAX_DEVICES, &number, err) != 0
            || json_get_integer(&row, 0, JSON_MAX_INTEGER, &stage->rows[i], err) != 0) return -1;
        stage->devices[i] = (int)number;
    }
    return 0;
}

static int read_stage(Arena *arena, Stage *stage, const JsonAt *object, bool task, Error *err)
{
    JsonAt  first = json_member(object, task ? "block" : "first"),
            last = json_member(object, "last");
    JsonAt  student = json_member(object, "student");
    int64_t a, b, number = 0;

    if (json_get_object(object, err) != 0 || json_get_integer(&first, 0, MAX_STAGES, &a, err) != 0)
        return -1;
    b = a;
    if (!task && json_get_integer(&last, a, MAX_STAGES, &b, err) != 0) return -1;
    if (json_has(&student) && json_get_integer(&student, 0, MAX_STAGES, &number, err) != 0)
        return -1;
    stage->first = (int)a;
    stage->last = (int)b;
    stage->student = (int)number;
    return read_place(arena, stage, object, err);
}

/* The member key of object, stages or tasks, where it is there. */
static int read_stages(Arena *arena, const JsonAt *object, const char *key, Stage **out, int *count,
                       Error *err)
{
    JsonAt list = json_member(object, key);
    bool   tasks = strcmp(key, "tasks") == 0;

    if (maybe_array(arena, &list, MAX_STAGES, sizeof **out, out, count, err) != 0) return -1;
    for (int i = 0; i < *count; i++) {
        JsonAt stage = json_element(&list, (size_t)i);
        if (read_stage(arena, &(*out)[i], &stage, tasks, err) != 0) return -1;
    }
    return 0;
}

/* The stages and tasks of object. */
static int read_plan(Arena *arena, PlanShown *out, const JsonAt *object, Error *err)
{
    if (maybe_size(object, "bottleneck_us", &out->bottleneck_us, err) != 0
        || read_stages(arena, object, "stages", &out->stages, &out->stage_count, err) != 0
        || read_stages(arena, object, "tasks", &out->tasks, &out->task_count, err) != 0
        || read_stages(arena, object, "later", &out->later, &out->later_count, err) != 0)
        return -1;
    out->known = out->stage_count > 0;
    return 0;
}

/* ---- what both formats say ---------------------------------------------------------------- */

/* Kinds of devices and how many there are of each: "devices" of a comparison is a list of kinds, of
 * a validation a number beside "device", the one kind. */
static int read_kinds(RunFacts *f, const JsonAt *root, Error *err)
{
    JsonAt devices = json_member(root, "devices"), device = json_member(root, "device");

    if (json_has(&device)) {                     /* a validation: one kind, and how many */
        f->kinds = arena_alloc(&f->arena, 1, sizeof *f->kinds);
        if (!f->kinds) return error_no_memory(err);
        f->kind_count = 1;
        return json_get_string(&device, &f->kinds[0].kind, err) == 0
               && json_get_integer(&devices, 1, MAX_DEVICES, &f->kinds[0].count, err) == 0 ? 0 : -1;
    }
    if (maybe_array(&f->arena, &devices, MAX_DEVICES, sizeof *f->kinds, &f->kinds, &f->kind_count,
                    err)
        != 0)
        return -1;
    for (int i = 0; i < f->kind_count; i++) {
        JsonAt element = json_element(&devices, (size_t)i);
        JsonAt kind = json_member(&element, "kind"), count = json_member(&element, "count");
        if (json_get_object(&element, err) != 0
            || json_get_string(&kind, &f->kinds[i].kind, err) != 0
            || json_get_integer(&count, 1, MAX_DEVICES, &f->kinds[i].count, err) != 0)
            return -1;
    }
    return 0;
}

static int read_provenance(RunFacts *f, const JsonAt *root, Error *err)
{
    JsonAt at = json_member(root, "provenance");

    if (absent(&at)) return 0;
    return json_get_object(&at, err) == 0 && maybe_string(&at, "kind", &f->provenance, err) == 0
                   && maybe_string(&at, "source", &f->source, err) == 0
                   && maybe_string(&at, "date", &f->date, err) == 0
                   && maybe_string(&at, "notes", &f->notes, err) == 0
               ? 0
               : -1;
}

/* What comparison and validation both say of the run they are about, into f's arena. Keys that
 * older versions did not write may be absent. */
static int read_facts(RunFacts *f, const JsonAt *root, Error *err)
{
    JsonAt trace = json_member(root, "trace"), blocks = json_member(root, "blocks"),
           plan = json_member(root, "plan");
    JsonAt missing = json_member(root, "missing"), warnings = json_member(root, "notes");

    if (json_get_string(&trace, &f->trace, err) != 0
        || maybe_string(root, "trace_hash", &f->trace_hash, err) != 0
        || maybe_string(root, "command", &f->command, err) != 0
        || maybe_string(root, "workload", &f->workload, err) != 0
        || maybe_size(root, "batch", &f->batch, err) != 0
        || maybe_size(root, "steps", &f->steps, err) != 0 || read_provenance(f, root, err) != 0
        || read_strings(&f->arena, &blocks, &f->blocks, &f->block_count, err) != 0
        || read_kinds(f, root, err) != 0
        || read_strings(&f->arena, &missing, &f->missing, &f->missing_count, err) != 0
        || read_strings(&f->arena, &warnings, &f->warnings, &f->warning_count, err) != 0)
        return -1;
    f->missing_known = json_has(&missing);
    if (absent(&plan)) return 0;
    if (json_get_object(&plan, err) != 0 || get_schedule(&plan, &f->plan.schedule, err) != 0)
        return -1;
    return read_plan(&f->arena, &f->plan, &plan, err);
}

const char *facts_block(const RunFacts *facts, int block, char *room)
{
    if (block < facts->block_count) return facts->blocks[block];
    snprintf(room, 24, "block %d", block);
    return room;
}

/* ---- comparisons --------------------------------------------------------------------------- */

/* Time by shares, in us, and peak memory by parts, in bytes, of one device of a schedule. */
static int read_use(DeviceUse *use, const JsonAt *device, Error *err)
{
    JsonAt memory = json_member(device, "memory");
    char   key[48];

    if (json_get_object(device, err) != 0 || json_get_object(&memory, err) != 0) return -1;
    for (int i = 0; i < SHARE_COUNT; i++) {
        snprintf(key, sizeof key, "%s_us", share_name((TimeShare)i));
        JsonAt at = json_member(device, key);
        if (i == SHARE_STORAGE && !json_has(&at)) continue;      /* of a schedule that stores
                                                                  * nothing */
        if (json_get_number(&at, 0, &use->share_us[i], err) != 0) return -1;
    }
    for (int i = 0; i < MEMORY_COUNT; i++) {
        snprintf(key, sizeof key, "%s_bytes", memory_part_name((MemoryPart)i));
        JsonAt at = json_member(&memory, key);
        if (i == MEMORY_PROCESS && !json_has(&at)) continue;     /* of before there was such a
                                                                  * part */
        if (json_get_number(&at, 0, &use->part_bytes[i], err) != 0) return -1;
    }
    JsonAt total = json_member(&memory, "total_bytes");
    return json_get_number(&total, 0, &use->total_bytes, err) == 0
           && maybe_size(&memory, "limit_bytes", &use->limit_bytes, err) == 0 ? 0 : -1;
}

/* Whether storing pays; 0 for what is null. */
static int read_store(ComparisonFile *f, const JsonAt *root, Error *err)
{
    JsonAt at = json_member(root, "store");
    const struct { const char *key; double *number;
    } all[] = {{"store_s", &f->store_s},
               {"relay_s", &f->relay_s},
               {"recompute_s", &f->recompute_s},
               {"sequential_s", &f->sequential_s},
               {"pays_from_epoch", &f->pays_from},
               {"relaying_wins_below_bytes_per_s", &f->relaying_below}};

    f->stores = json_has(&at);
    for (size_t i = 0; f->stores && i < sizeof all / sizeof *all; i++) {
        if (maybe_size(&at, all[i].key, all[i].number, err) != 0) return -1;
        if (!(*all[i].number > 0)) *all[i].number = 0;
    }
    return 0;
}

/* What speedups are over: dp, where it is not told. */
static int read_over(ComparisonFile *f, const JsonAt *root, Error *err)
{
    JsonAt      at = json_member(root, "speedup_over");
    const char *name;

    f->over = SCHEDULE_DP;
    f->over_known = !json_has_null(&at);
    if (!json_has(&at)) f->over_known = compared_row(f, SCHEDULE_DP) != NULL;
    if (!json_has(&at) || json_has_null(&at)) return 0;
    if (json_get_string(&at, &name, err) != 0) return -1;
    return schedule_find(name, &f->over) ? 0 : json_fail(&at, err, "not a schedule");
}

/* A row of a comparison: a schedule with its times, plan and devices, or why it is impossible, and
 * then nothing else. Only the epoch time has to be there. */
static int read_compared(Arena *arena, ComparedRow *row, const JsonAt *at, Error *err)
{
    JsonAt devices = json_member(at, "devices");

    if (json_get_object(at, err) != 0 || get_schedule(at, &row->schedule, err) != 0
        || maybe_string(at, "impossible", &row->why, err) != 0) return -1;
    if (row->why) return 0;
    if (get_epoch(at, "epoch_s", &row->epoch_s, err) != 0
        || maybe_size(at, "speedup", &row->speedup, err) != 0
        || maybe_size(at, "step_us", &row->step_us, err) != 0
        || maybe_size(at, "utilisation", &row->utilisation, err) != 0
        || maybe_size(at, "teacher_work", &row->teacher_work, err) != 0
        || maybe_size(at, "loads", &row->loads, err) != 0
        || maybe_size(at, "peak_memory_bytes", &row->peak_bytes, err) != 0
        || maybe_size(at, "ahd_s", &row->ahd_s, err) != 0
        || maybe_size(at, "bound_s", &row->bound_s, err) != 0
        || maybe_string(at, "method", &row->method, err) != 0
        || read_plan(arena, &row->plan, at, err) != 0)
        return -1;
    row->plan.schedule = row->schedule;
    if (maybe_array(arena, &devices, MAX_DEVICES, sizeof *row->devices, &row->devices,
                    &row->device_count, err)
        != 0)
        return -1;
    for (int d = 0; d < row->device_count; d++) {
        JsonAt device = json_element(&devices, (size_t)d);
        if (read_use(&row->devices[d], &device, err) != 0) return -1;
    }
    return 0;
}

static int read_margins(ComparisonFile *f, const JsonAt *root, Error *err)
{
    JsonAt list = json_member(root, "sensitivity");

    f->sensitivity_known = !absent(&list);
    if (maybe_array(&f->facts.arena, &list, MAX_STAGES, sizeof *f->margins, &f->margins,
                    &f->margin_count, err)
        != 0)
        return -1;
    for (int i = 0; i < f->margin_count; i++) {
        JsonAt  at = json_element(&list, (size_t)i), input = json_member(&at, "input");
        MarginRow *m = &f->margins[i];
        if (json_get_object(&at, err) != 0 || json_get_string(&input, &m->input, err) != 0
            || maybe_size(&at, "slower_percent", &m->slower_percent, err) != 0
            || maybe_size(&at, "faster_percent", &m->faster_percent, err) != 0
            || maybe_string(&at, "slower_schedule", &m->slower_schedule, err) != 0
            || maybe_string(&at, "faster_schedule", &m->faster_schedule, err) != 0) return -1;
    }
    return 0;
}

int comparison_read(ComparisonFile *f, Json *doc, const char *path, Error *err)
{
    JsonAt root = json_root(doc), rows = json_member(&root, "schedules"),
           step = json_member(&root, "step");
    JsonAt runner_up = json_member(&root, "runner_up");

    *f = (ComparisonFile){.facts = {.doc = doc, .path = path}};
    if (json_check_format(doc, "pipebd-comparison", 1, err) != 0
        || read_facts(&f->facts, &root, err) != 0 || json_get_array(&rows, 1, err) != 0
        || maybe_array(&f->facts.arena, &rows, MAX_ROWS, sizeof *f->rows, &f->rows, &f->row_count,
                       err)
               != 0)
        return -1;
    for (int i = 0; i < f->row_count; i++) {
        JsonAt row = json_element(&rows, (size_t)i);
        if (read_compared(&f->facts.arena, &f->rows[i], &row, err) != 0) return -1;
    }
    if (read_store(f, &root, err) != 0 || read_over(f, &root, err) != 0
        || maybe_size(&root, "epochs", &f->epochs, err) != 0)
        return -1;
    if (maybe_size(&root, "bound_s", &f->bound_s, err) != 0 || read_margins(f, &root, err) != 0)
        return -1;
    if (!absent(&runner_up)) {
        Schedule schedule;
        if (json_get_object(&runner_up, err) != 0 || get_schedule(&runner_up, &schedule, err) != 0
            || get_epoch(&runner_up, "epoch_s", &f->runner_up_s, err) != 0) return -1;
        f->runner_up = schedule_name(schedule);
    }
    return absent(&step) ? 0 : gantt_step(&f->step, &step, err);
}

const ComparedRow *compared_row(const ComparisonFile *file, Schedule schedule)
{
    for (int i = 0; i < file->row_count; i++)
        if (file->rows[i].schedule == schedule && !file->rows[i].why) return &file->rows[i];
    return NULL;
}

/* ---- validations ----------------------------------------------------------------------------- */

static int read_op(OpTime *out, const JsonAt *at, Error *err)
{
    JsonAt      op = json_member(at, "op"), predicted = json_member(at, "predicted_us"),
                measured = json_member(at, "measured_us");
    const char *names[OP_COUNT + 1] = {NULL};
    int         number;

    for (int i = 0; i < OP_COUNT; i++) names[i] = op_name((Op)i);
    if (json_get_object(at, err) != 0 || json_get_choice(&op, names, &number, err) != 0) return -1;
    out->op = (Op)number;
    return json_get_number(&predicted, 0, &out->predicted_us, err) == 0
           && json_get_number(&measured, 0, &out->measured_us, err) == 0 ? 0 : -1;
}

/* A row of a validation: predicted and measured numbers of a schedule, or why it is impossible, and
 * then nothing else. Only the epoch times have to be there. */
static int read_validated(Arena *arena, ValidatedRow *row, const JsonAt *at, Error *err)
{
    JsonAt ops = json_member(at, "instructions"), chosen = json_member(at, "chosen");

    if (json_get_object(at, err) != 0 || get_schedule(at, &row->schedule, err) != 0
        || maybe_string(at, "impossible", &row->why, err) != 0) return -1;
    if (row->why) return 0;
    if (get_epoch(at, "predicted_epoch_s", &row->predicted_s, err) != 0
        || get_epoch(at, "measured_epoch_s", &row->measured_s, err) != 0
        || maybe_size(at, "measured_least_s", &row->least_s, err) != 0
        || maybe_size(at, "measured_most_s", &row->most_s, err) != 0
        || maybe_size(at, "standard_error", &row->standard_error, err) != 0
        || maybe_size(at, "speed", &row->speed, err) != 0
        || maybe_size(at, "predicted_speedup", &row->predicted_speedup, err) != 0
        || maybe_size(at, "measured_speedup", &row->measured_speedup, err) != 0
        || maybe_number(at, "overhead", &row->overhead, err) != 0
        || maybe_size(at, "predicted_peak_memory_bytes", &row->predicted_bytes, err) != 0
        || maybe_size(at, "measured_peak_memory_bytes", &row->measured_bytes, err) != 0)
        return -1;
    if (json_has(&chosen) && json_get_bool(&chosen, &row->chosen, err) != 0) return -1;
    if (maybe_array(arena, &ops, OP_COUNT, sizeof *row->ops, &row->ops, &row->op_count, err) != 0)
        return -1;
    for (int i = 0; i < row->op_count; i++) {
        JsonAt op = json_element(&ops, (size_t)i);
        if (read_op(&row->ops[i], &op, err) != 0) return -1;
    }
    return 0;
}

int validation_read(ValidationFile *f, Json *doc, const char *path, Error *err)
{
    JsonAt root = json_root(doc), rows = json_member(&root, "schedules"),
           order = json_member(&root, "same_order");
    JsonAt old = json_member(&root, "doubt");            /* version 0.1's name of
                                                          * plausibility_warning */

    *f = (ValidationFile){.facts = {.doc = doc, .path = path}};
    if (json_check_format(doc, "pipebd-validation", 1, err) != 0
        || read_facts(&f->facts, &root, err) != 0 || json_get_array(&rows, 1, err) != 0
        || maybe_array(&f->facts.arena, &rows, MAX_ROWS, sizeof *f->rows, &f->rows, &f->row_count,
                       err)
               != 0)
        return -1;
    for (int i = 0; i < f->row_count; i++) {
        JsonAt row = json_element(&rows, (size_t)i);
        if (read_validated(&f->facts.arena, &f->rows[i], &row, err) != 0) return -1;
    }
    f->order_known = json_has(&order);
    if (f->order_known && json_get_bool(&order, &f->same_order, err) != 0) return -1;
    return maybe_size(&root, "median_error", &f->median_error, err) == 0
                   && maybe_size(&root, "worst_error", &f->worst_error, err) == 0
                   && maybe_string(&root, json_has(&old) ? "doubt" : "plausibility_warning",
                                   &f->warning, err)
                          == 0
               ? 0
               : -1;
}

/* ---- freeing --------------------------------------------------------------------------------- */

static void facts_free(RunFacts *facts)
{
    arena_free(&facts->arena);
    json_doc_free(facts->doc);
    *facts = (RunFacts){0};
}

void comparison_file_free(ComparisonFile *file)
{
    gantt_free(&file->step);
    facts_free(&file->facts);
}

void validation_file_free(ValidationFile *file)
{
    facts_free(&file->facts);
}
