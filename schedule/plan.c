#include "schedule/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "schedule/registry.h"

enum { MAX_TIERS = 8, MAX_EPOCHS = 1000000 };
enum { MAX_BLOCKS = 4096, MAX_STUDENTS = 1 << 14 };      /* of all blocks */

/* Microseconds below 2^43 have three exact decimals as a double; plans do not predict
 * times beyond (101 days), rather than let them change on the way. */
#define MAX_PREDICTED_NS (((int64_t)1 << 43) * 1000)

/* ---- making ------------------------------------------------------------ */

int plan_new(Plan **out, Schedule schedule, int block_count, int device_count, int64_t batch,
             int stage_count, Error *err)
{
    Plan *plan = calloc(1, sizeof *plan);

    *out = NULL;
    if (!plan) return error_no_memory(err);
    plan->schedule = schedule;
    plan->block_count = block_count;
    plan->device_count = device_count;
    plan->batch = batch;
    plan->stage_count = stage_count;
    plan->trace_name = "";
    plan->epochs = 1;
    plan->home = -1;
    plan->stages = arena_alloc(&plan->arena, (size_t)stage_count, sizeof *plan->stages);
    if (!plan->stages) { plan_free(plan); return error_no_memory(err); }
    *out = plan;
    return 0;
}

/* Room for width devices and rows. */
static int size_stage(Plan *plan, Stage *stage, int width, Error *err)
{
    stage->width = width;
    stage->devices = arena_alloc(&plan->arena, (size_t)width, sizeof *stage->devices);
    stage->rows = arena_alloc(&plan->arena, (size_t)width, sizeof *stage->rows);
    return stage->devices && stage->rows ? 0 : error_no_memory(err);
}

int plan_set_stage(Plan *plan, int stage, int first_block, int last_block, int first_device,
                   int width, Error *err)
{
    Stage *s = &plan->stages[stage];

    s->first = first_block;
    s->last = last_block;
    if (size_stage(plan, s, width, err) != 0) return -1;
    for (int i = 0; i < width; i++) {
        s->devices[i] = first_device + i;
        s->rows[i] = plan->batch / width + (i < plan->batch % width);
    }
    return 0;
}

int plan_place(Plan *plan, Stage *stage, const int *devices, const int64_t *rows, int width,
               Error *err)
{
    if (size_stage(plan, stage, width, err) != 0) return -1;
    memcpy(stage->devices, devices, (size_t)width * sizeof *devices);
    memcpy(stage->rows, rows, (size_t)width * sizeof *rows);
    return 0;
}

int plan_students(const Plan *plan, int block)
{
    return plan->students ? plan->students[block] : 1;
}

int plan_set_students(Plan *plan, const int *students, Error *err)
{
    plan->students = NULL;
    if (!students) return 0;
    plan->students = arena_alloc(&plan->arena, (size_t)plan->block_count, sizeof *students);
    if (!plan->students) return error_no_memory(err);
    memcpy(plan->students, students, (size_t)plan->block_count * sizeof *students);
    return 0;
}

int plan_add_tasks(Plan *plan, Error *err)
{
    int count = 0, task = 0;

    for (int b = 0; b < plan->block_count; b++) count += plan_students(plan, b);
    plan->tasks = arena_alloc(&plan->arena, (size_t)count, sizeof *plan->tasks);
    if (!plan->tasks) return error_no_memory(err);
    plan->task_count = count;
    for (int b = 0; b < plan->block_count; b++)
        for (int j = 0; j < plan_students(plan, b); j++)
            plan->tasks[task++] = (Stage){.first = b, .last = b, .student = j};
    return 0;
}

int plan_set_store(Plan *plan, int64_t epochs, bool turns, int later_count, Error *err)
{
    plan->epochs = epochs;
    plan->turns = turns;
    plan->stored = arena_alloc(&plan->arena, (size_t)plan->block_count + 1, sizeof *plan->stored);
    plan->later = arena_alloc(&plan->arena, (size_t)later_count + 1, sizeof *plan->later);
    if (!plan->stored || !plan->later) return error_no_memory(err);
    for (int k = 0; k <= plan->block_count; k++) plan->stored[k] = -1;
    plan->later_count = later_count;
    return 0;
}

static int copy_stage(Plan *copy, Stage *to, const Stage *from, Error *err)
{
    to->first = from->first;
    to->last = from->last;
    to->student = from->student;
    return plan_place(copy, to, from->devices, from->rows, from->width, err);
}

static int copy_store(Plan *copy, const Plan *plan, Error *err)
{
    if (plan_set_store(copy, plan->epochs, plan->turns, plan->later_count, err) != 0) return -1;
    memcpy(copy->stored, plan->stored, ((size_t)plan->block_count + 1) * sizeof *copy->stored);
    copy->home = plan->home;
    for (int i = 0; i < plan->later_count; i++)
        if (copy_stage(copy, &copy->later[i], &plan->later[i], err) != 0) return -1;
    return 0;
}

int plan_copy(Plan **out, const Plan *plan, Error *err)
{
    Plan *copy = NULL;

    *out = NULL;
    if (plan_new(&copy, plan->schedule, plan->block_count, plan->device_count, plan->batch,
                 plan->stage_count, err)
        != 0)
        return -1;
    copy->stealing = plan->stealing;
    copy->trace_hash = plan->trace_hash;
    copy->bottleneck_ns = plan->bottleneck_ns;
    copy->step_ns = plan->step_ns;
    copy->epoch_ns = plan->epoch_ns;
    copy->trace_name = arena_strdup(&copy->arena, plan->trace_name);
    if (!copy->trace_name) { error_no_memory(err); goto fail; }
    for (int i = 0; i < plan->stage_count; i++)
        if (copy_stage(copy, &copy->stages[i], &plan->stages[i], err) != 0) goto fail;
    if (plan_set_students(copy, plan->students, err) != 0) goto fail;
    if (plan->task_count && plan_add_tasks(copy, err) != 0) goto fail;
    if (plan->stored && copy_store(copy, plan, err) != 0) goto fail;
    for (int i = 0; i < plan->task_count; i++)
        if (copy_stage(copy, &copy->tasks[i], &plan->tasks[i], err) != 0) goto fail;
    *out = copy;
    return 0;
fail:
    plan_free(copy);
    return -1;
}

void plan_free(Plan *plan)
{
    if (!plan) return;
    arena_free(&plan->arena);
    free(plan);
}

/* By insertion: they are few, and mostly in order. */
static void sort_stage(Stage *stage)
{
    for (int i = 1; i < stage->width; i++)
        for (int j = i; j > 0 && stage->devices[j - 1] > stage->devices[j]; j--) {
            int     device = stage->devices[j];
            int64_t rows = stage->rows[j];
            stage->devices[j] = stage->devices[j - 1];
            stage->rows[j] = stage->rows[j - 1];
            stage->devices[j - 1] = device;
            stage->rows[j - 1] = rows;
        }
}

void plan_sort_devices(Plan *plan)
{
    for (int i = 0; i < plan->stage_count; i++) sort_stage(&plan->stages[i]);
    for (int i = 0; i < plan->task_count; i++) sort_stage(&plan->tasks[i]);
    for (int i = 0; i < plan->later_count; i++) sort_stage(&plan->later[i]);
}

/* ---- checking ---------------------------------------------------------- */

/* A stage's or a task's devices and rows; what: "stage" or "task", for messages. */
static int check_devices(const Plan *plan, const Stage *stage, const char *what, int index,
                         char *used, Error *err)
{
    int64_t rows = 0;

    for (int i = 0; i < stage->width; i++) {
        int device = stage->devices[i];
        if (device < 0 || device >= plan->device_count)
            return error_set(err, "%s %d: device %d, expected 0 to %d", what, index, device,
                             plan->device_count - 1);
        if (used[device])
            return error_set(err, "%s %d: device %d is used already, expected each device once",
                             what, index, device);
        if (stage->rows[i] < 1)
            return error_set(err, "%s %d: device %d gets %" PRId64 " rows, expected at least 1",
                             what, index, device, stage->rows[i]);
        used[device] = 1;
        rows += stage->rows[i];
    }
    if (stage->width > 0 && rows != plan->batch)
        return error_set(err, "%s %d: rows sum to %" PRId64 ", expected the batch, %" PRId64, what,
                         index, rows, plan->batch);
    return 0;
}

static int check_stage(const Plan *plan, int index, char *used, Error *err)
{
    const Stage *stage = &plan->stages[index];

    if (stage->first < 0 || stage->first > stage->last || stage->last >= plan->block_count)
        return error_set(err,
                         "stage %d: blocks %d to %d, expected an ascending range within 0 to %d",
                         index, stage->first, stage->last, plan->block_count - 1);
    if (stage->width == 0 && !plan->stealing)
        return error_set(err, "stage %d: no devices, expected at least one", index);
    if (stage->width > 0 && plan->stealing)
        return error_set(err, "stage %d: has devices, expected none in a plan with stealing",
                         index);
    return check_devices(plan, stage, "stage", index, used, err);
}

/* The tasks of a split plan: every student of every block once, in order. */
static int check_tasks(const Plan *plan, char *used, int *task_at, Error *err)
{
    int block = 0, student = 0;

    for (int i = 0; i < plan->task_count; i++) {
        const Stage *task = &plan->tasks[i];
        *task_at = i;
        if (block == plan->block_count || task->first != block || task->last != block
            || task->student != student)
            return error_set(
                err,
                "task %d: student %d of block %d, expected each student once, by block and "
                "number",
                i, task->student, task->first);
        if (task->width == 0)
            return error_set(err, "task %d: no devices, expected at least one", i);
        memset(used, 0, (size_t)plan->device_count);
        if (check_devices(plan, task, "task", i, used, err) != 0) return -1;
        if (++student == plan_students(plan, block)) { block++; student = 0; }
    }
    *task_at = -1;
    if (!schedule_row(plan->schedule)->apart || block == plan->block_count) return 0;
    return error_set(err, "student %d of block %d is in no task, expected each student once",
                     student, block);
}

/* What each schedule asks of a stage beyond check_stage(). */
static int check_shape(const Plan *plan, int index, Error *err)
{
    const Stage *stage = &plan->stages[index];
    bool         one_block = stage->first == stage->last;

    switch (plan->schedule) {
    case SCHEDULE_DP:
    case SCHEDULE_SEQUENTIAL:
        if (!one_block || stage->width != plan->device_count)
            return error_set(
                err,
                "stage %d: %s expects one block on all %d devices, found blocks %d to %d on "
                "%d",
                index, schedule_name(plan->schedule), plan->device_count, stage->first, stage->last,
                stage->width);
        return 0;
    case SCHEDULE_LS:
        if (!one_block || stage->width > 1)
            return error_set(
                err, "stage %d: ls expects one block on one device, found blocks %d to %d on %d",
                index, stage->first, stage->last, stage->width);
        return 0;
    case SCHEDULE_TR:
    case SCHEDULE_DPU:
        if (stage->width != 1)
            return error_set(err, "stage %d: %s expects one device a stage, found %d", index,
                             schedule_name(plan->schedule), stage->width);
        return 0;
    case SCHEDULE_IR:
        if (plan->stage_count != 1)
            return error_set(err, "ir expects one stage, found %d", plan->stage_count);
        return 0;
    default:
        return 0;
    }
}

enum { WHOLE_PLAN = -1, NO_STAGE = -2 };      /* NO_STAGE: the plan is not to blame */

/* at: the stage looked at, as in check(). */
static int check_order(const Plan *plan, char *seen, int *at, Error *err)
{
    bool chain = !schedule_row(plan->schedule)->phases || plan->turns;
    int  next = 0;

    for (int i = 0; i < plan->stage_count; i++) {
        const Stage *stage = &plan->stages[i];
        *at = i;
        if (chain && stage->first != next)
            return error_set(err,
                             "stage %d: starts at block %d, expected block %d: stages follow one "
                             "another along the chain",
                             i, stage->first, next);
        next = stage->last + 1;
        for (int b = stage->first; b <= stage->last; b++)
            if (seen[b]++)
                return error_set(
                    err, "stage %d: block %d is in an earlier stage too, expected each block once",
                    i, b);
    }
    *at = WHOLE_PLAN;
    for (int b = 0; b < plan->block_count; b++)
        if (!seen[b]) return error_set(err, "block %d is in no stage, expected each block once", b);
    return 0;
}

/* Stages of the epochs after the first: every block once, in any order. */
static int check_later(const Plan *plan, char *used, char *seen, Error *err)
{
    memset(seen, 0, (size_t)plan->block_count);
    for (int i = 0; i < plan->later_count; i++) {
        const Stage *stage = &plan->later[i];
        if (stage->first < 0 || stage->first > stage->last || stage->last >= plan->block_count)
            return error_set(
                err, "later %d: blocks %d to %d, expected an ascending range within 0 to %d", i,
                stage->first, stage->last, plan->block_count - 1);
        if (stage->width == 0)
            return error_set(err, "later %d: no devices, expected at least one", i);
        memset(used, 0, (size_t)plan->device_count);
        if (check_devices(plan, stage, "later", i, used, err) != 0) return -1;
        for (int b = stage->first; b <= stage->last; b++)
            if (seen[b]++)
                return error_set(
                    err, "later %d: block %d is in an earlier one too, expected each block once", i,
                    b);
    }
    for (int b = 0; b < plan->block_count; b++)
        if (!seen[b])
            return error_set(err, "block %d is in no stage of later, expected each block once", b);
    return 0;
}

/* What sequential and store have, and no other. */
static int check_store(const Plan *plan, char *used, char *seen, Error *err)
{
    const char *name = schedule_name(plan->schedule);

    if (!schedule_row(plan->schedule)->stores) {
        if (plan->stored || plan->epochs != 1 || plan->turns || plan->later_count)
            return error_set(
                err, "stored boundaries with %s, expected them with sequential or store only",
                name);
        return 0;
    }
    if (!plan->stored || plan->epochs < 1)
        return error_set(err, "%s without stored boundaries or epochs, expected both", name);
    if (plan->schedule == SCHEDULE_SEQUENTIAL && !plan->turns)
        return error_set(err, "sequential without turns, expected them");
    if (plan->later_count == 0) {
        if (plan->turns || plan->epochs == 1) return 0;
        return error_set(err, "store for %" PRId64 " epochs, expected stages of later, or turns",
                         plan->epochs);
    }
    if (plan->turns || plan->epochs == 1)
        return error_set(err, "later, expected none with turns or one epoch");
    return check_later(plan, used, seen, err);
}

/* plan_check(), and in *at the stage at fault, or one of the above; in *task_at the
 * task, or -1. */
static int check(const Plan *plan, int *at, int *task_at, Error *err)
{
    int   rc = -1;
    bool  phases = schedule_row(plan->schedule)->phases || plan->turns;
    char *used = calloc((size_t)plan->device_count, 1),
         *seen = calloc((size_t)plan->block_count, 1);

    *at = NO_STAGE;
    *task_at = -1;
    if (!used || !seen) { error_no_memory(err); goto done; }
    *at = WHOLE_PLAN;
    if (plan->stealing && plan->schedule != SCHEDULE_LS) {
        error_set(err, "stealing with %s, expected it with ls only", schedule_name(plan->schedule));
        goto done;
    }
    if (plan->task_count && !schedule_row(plan->schedule)->apart) {
        error_set(err, "tasks with %s, expected them with split only",
                  schedule_name(plan->schedule));
        goto done;
    }
    for (int i = 0; i < plan->stage_count; i++) {
        *at = i;
        if (phases) memset(used, 0, (size_t)plan->device_count);
        if (check_stage(plan, i, used, err) != 0) goto done;
        if (check_shape(plan, i, err) != 0) goto done;
    }
    if (check_order(plan, seen, at, err) != 0) goto done;
    rc = check_tasks(plan, used, task_at, err);
    if (rc == 0) rc = check_store(plan, used, seen, err);
done:
    free(used);
    free(seen);
    return rc;
}

int plan_check(const Plan *plan, Error *err)
{
    int at, task_at;

    return check(plan, &at, &task_at, err);
}

/* ---- writing ----------------------------------------------------------- */

static void devices_text(const Stage *stage, Text *out)
{
    text_append(out, "\"devices\": [");
    for (int d = 0; d < stage->width; d++)
        text_printf(out, "%s%d", d ? ", " : "", stage->devices[d]);
    text_append(out, "], \"rows\": [");
    for (int d = 0; d < stage->width; d++)
        text_printf(out, "%s%" PRId64, d ? ", " : "", stage->rows[d]);
    text_append(out, "]}");
}

static void stages_text(const Stage *stages, int count, const char *indent, Text *out)
{
    text_append(out, "[");
    for (int i = 0; i < count; i++) {
        const Stage *stage = &stages[i];
        text_printf(out, "%s\n%s  {\"first\": %d, \"last\": %d, ", i ? "," : "", indent,
                    stage->first, stage->last);
        devices_text(stage, out);
    }
    text_printf(out, "\n%s]", indent);
}

void plan_stages_text(const Plan *plan, const char *indent, Text *out)
{
    stages_text(plan->stages, plan->stage_count, indent, out);
}

void plan_store_text(const Plan *plan, const char *indent, Text *out)
{
    bool first = true;

    text_printf(out, "\"epochs\": %" PRId64 ", ", plan->epochs);
    if (plan->turns && plan->schedule == SCHEDULE_STORE) text_append(out, "\"turns\": true, ");
    if (plan->home >= 0) text_printf(out, "\"home\": %d, ", plan->home);
    text_append(out, "\"stored\": [");
    for (int k = 0; k <= plan->block_count; k++) {
        if (plan->stored[k] < 0) continue;
        text_printf(out, "%s{\"boundary\": %d, \"tier\": %d}", first ? "" : ", ", k,
                    plan->stored[k]);
        first = false;
    }
    text_append(out, "]");
    if (!plan->later_count) return;
    text_append(out, ", \"later\": ");
    stages_text(plan->later, plan->later_count, indent, out);
}

void plan_tasks_text(const Plan *plan, const char *indent, Text *out)
{
    text_append(out, "[");
    for (int i = 0; i < plan->task_count; i++) {
        const Stage *task = &plan->tasks[i];
        text_printf(out, "%s\n%s  {\"block\": %d, ", i ? "," : "", indent, task->first);
        if (plan->students) text_printf(out, "\"student\": %d, ", task->student);
        devices_text(task, out);
    }
    text_printf(out, "\n%s]", indent);
}

/* A time of 0 is none: dp and others have no bottleneck. */
static void predicted_text(const Plan *plan, Text *out)
{
    const struct { const char *key; int64_t ns;
    } times[] = {
        {"bottleneck_us", plan->bottleneck_ns},
        {"step_us", plan->step_ns},
        {"epoch_us", plan->epoch_ns},
    };
    bool first = true;

    text_append(out, "{");
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        if (times[i].ns == 0 || times[i].ns >= MAX_PREDICTED_NS) continue;
        text_printf(out, "%s\"%s\": ", first ? "" : ", ", times[i].key);
        text_us(out, times[i].ns);
        first = false;
    }
    text_append(out, "}");
}

void plan_text(const Plan *plan, Text *out)
{
    text_append(out, "{\n  \"format\": \"pipebd-plan\",\n  \"version\": 1,\n");
    text_printf(out, "  \"schedule\": \"%s\",\n", schedule_name(plan->schedule));
    if (plan->stealing) text_append(out, "  \"stealing\": true,\n");
    text_append(out, "  \"trace\": {\"name\": ");
    text_json_string(out, plan->trace_name);
    text_printf(out, ", \"hash\": \"%016" PRIx64 "\"},\n", plan->trace_hash);
    text_printf(out, "  \"blocks\": %d,\n  \"devices\": %d,\n  \"batch\": %" PRId64 ",\n",
                plan->block_count, plan->device_count, plan->batch);
    for (int b = 0; plan->students && b < plan->block_count; b++)
        text_printf(out, b ? ", %d" : "  \"students\": [%d", plan->students[b]);
    if (plan->students) text_append(out, "],\n");
    text_append(out, "  \"predicted\": ");
    predicted_text(plan, out);
    text_append(out, ",\n  \"stages\": ");
    plan_stages_text(plan, "  ", out);
    if (plan->task_count) {
        text_append(out, ",\n  \"tasks\": ");
        plan_tasks_text(plan, "  ", out);
    }
    if (plan->stored) {
        text_append(out, ",\n  ");
        plan_store_text(plan, "  ", out);
    }
    text_append(out, "\n}\n");
}

int plan_write(const Plan *plan, const char *path, Error *err)
{
    Text text = {0};

    plan_text(plan, &text);
    int rc = text_failed(&text) ? error_no_memory(err)
                                : file_write(path, text_string(&text), text.length, err);
    text_free(&text);
    return rc;
}

/* ---- reading ----------------------------------------------------------- */

static int read_devices(Plan *plan, const JsonAt *at, Stage *stage, Error *err)
{
    JsonAt  devices = json_member(at, "devices"), rows = json_member(at, "rows");
    int64_t value = 0;

    if (json_get_array(&devices, 0, err) != 0 || json_get_array(&rows, 0, err) != 0) return -1;
    if (json_count(&devices) > (size_t)plan->device_count)
        return json_fail(&devices, err, "%zu devices, expected at most %d", json_count(&devices),
                         plan->device_count);
    if (json_count(&rows) != json_count(&devices))
        return json_fail(&rows, err, "%zu shares for %zu devices, expected one a device",
                         json_count(&rows), json_count(&devices));
    if (size_stage(plan, stage, (int)json_count(&devices), err) != 0) return -1;
    for (int i = 0; i < stage->width; i++) {
        JsonAt device = json_element(&devices, (size_t)i), share = json_element(&rows, (size_t)i);
        if (json_get_integer(&device, 0, plan->device_count - 1, &value, err) != 0) return -1;
        stage->devices[i] = (int)value;
        if (json_get_integer(&share, 1, plan->batch, &stage->rows[i], err) != 0) return -1;
    }
    return 0;
}

static int read_stage(Plan *plan, const JsonAt *at, Stage *stage, Error *err)
{
    static const char *const keys[] = {"first", "last", "devices", "rows", NULL};
    JsonAt  first = json_member(at, "first"), last = json_member(at, "last");
    int64_t value = 0;

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (json_get_integer(&first, 0, plan->block_count - 1, &value, err) != 0) return -1;
    stage->first = (int)value;
    if (json_get_integer(&last, stage->first, plan->block_count - 1, &value, err) != 0) return -1;
    stage->last = (int)value;
    return read_devices(plan, at, stage, err);
}

static int read_task(Plan *plan, const JsonAt *at, Stage *task, Error *err)
{
    static const char *const keys[] = {"block", "student", "devices", "rows", NULL};
    JsonAt  block = json_member(at, "block"), student = json_member(at, "student");
    int64_t value = 0;

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (json_get_integer(&block, 0, plan->block_count - 1, &value, err) != 0) return -1;
    task->first = task->last = (int)value;
    value = 0;
    if (json_has(&student)
        && json_get_integer(&student, 0, plan_students(plan, task->first) - 1, &value, err) != 0)
        return -1;
    task->student = (int)value;
    return read_devices(plan, at, task, err);
}

static int read_tasks(Plan *plan, const JsonAt *root, Error *err)
{
    JsonAt tasks = json_member(root, "tasks");

    if (!schedule_row(plan->schedule)->apart && json_has(&tasks))
        return json_fail(&tasks, err, "tasks with %s, expected them with split only",
                         schedule_name(plan->schedule));
    if (!schedule_row(plan->schedule)->apart) return 0;
    if (json_get_array(&tasks, 1, err) != 0 || plan_add_tasks(plan, err) != 0) return -1;
    if (json_count(&tasks) != (size_t)plan->task_count)
        return json_fail(&tasks, err, "%zu tasks, expected one a student, %d", json_count(&tasks),
                         plan->task_count);
    for (int i = 0; i < plan->task_count; i++) {
        JsonAt item = json_element(&tasks, (size_t)i);
        if (read_task(plan, &item, &plan->tasks[i], err) != 0) return -1;
    }
    return 0;
}

static int read_stored(Plan *plan, const JsonAt *stored, Error *err)
{
    static const char *const keys[] = {"boundary", "tier", NULL};

    for (size_t i = 0; i < json_count(stored); i++) {
        JsonAt  item = json_element(stored, i), boundary = json_member(&item, "boundary"),
                tier = json_member(&item, "tier");
        int64_t k = 0, t = 0;
        if (json_check_keys(&item, keys, err) != 0
            || json_get_integer(&boundary, 0, plan->block_count, &k, err) != 0
            || json_get_integer(&tier, 0, MAX_TIERS - 1, &t, err) != 0)
            return -1;
        if (plan->stored[k] >= 0)
            return json_fail(&boundary, err, "boundary %d twice, expected each once", (int)k);
        plan->stored[k] = (int)t;
    }
    return 0;
}

/* Of sequential and store. */
static int read_store(Plan *plan, const JsonAt *root, Error *err)
{
    static const char *const keys[] = {"epochs", "turns", "home", "stored", "later"};
    JsonAt  epochs = json_member(root, "epochs"), turns = json_member(root, "turns"),
            home = json_member(root, "home");
    JsonAt  stored = json_member(root, "stored"), later = json_member(root, "later");
    bool    sequential = plan->schedule == SCHEDULE_SEQUENTIAL, takes_turns = sequential;
    int64_t count = 0, tier = -1;

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        JsonAt at = json_member(root, keys[i]);
        bool   good = schedule_row(plan->schedule)->stores && !(sequential && (i == 1 || i == 4));
        if (json_has(&at) && !good)
            return json_fail(&at, err, "%s with %s, expected it with %s only", keys[i],
                             schedule_name(plan->schedule),
                             i == 1 || i == 4 ? "store" : "sequential or store");
    }
    if (!schedule_row(plan->schedule)->stores) return 0;
    if (json_get_integer(&epochs, 1, MAX_EPOCHS, &count, err) != 0
        || json_get_array(&stored, 0, err) != 0)
        return -1;
    if (json_has(&turns) && json_get_bool(&turns, &takes_turns, err) != 0) return -1;
    if (json_has(&home) && json_get_integer(&home, 0, MAX_TIERS - 1, &tier, err) != 0) return -1;
    if (json_has(&later) && json_get_array(&later, 1, err) != 0) return -1;
    size_t stages = json_has(&later) ? json_count(&later) : 0;
    if (stages > (size_t)plan->block_count)
        return json_fail(&later, err, "%zu stages, expected at most a stage a block, %d", stages,
                         plan->block_count);
    if (plan_set_store(plan, count, takes_turns, (int)stages, err) != 0) return -1;
    plan->home = (int)tier;
    for (size_t i = 0; i < stages; i++) {
        JsonAt item = json_element(&later, i);
        if (read_stage(plan, &item, &plan->later[i], err) != 0) return -1;
    }
    return read_stored(plan, &stored, err);
}

static int read_students(Plan *plan, const JsonAt *root, Error *err)
{
    JsonAt  at = json_member(root, "students");
    int64_t count = 0, sum = 0;

    if (!json_has(&at)) return 0;
    if (json_get_array(&at, 1, err) != 0) return -1;
    if (json_count(&at) != (size_t)plan->block_count)
        return json_fail(&at, err, "%zu numbers, expected one a block, %d", json_count(&at),
                         plan->block_count);
    plan->students = arena_alloc(&plan->arena, (size_t)plan->block_count, sizeof *plan->students);
    if (!plan->students) return error_no_memory(err);
    for (int b = 0; b < plan->block_count; b++) {
        JsonAt item = json_element(&at, (size_t)b);
        if (json_get_integer(&item, 1, MAX_STUDENTS, &count, err) != 0) return -1;
        plan->students[b] = (int)count;
        sum += count;
    }
    if (sum <= MAX_STUDENTS) return 0;
    return json_fail(&at, err, "%lld students, expected at most %d", (long long)sum, MAX_STUDENTS);
}

static int read_trace_name(Plan *plan, const JsonAt *root, Error *err)
{
    static const char *const keys[] = {"name", "hash", NULL};
    JsonAt      at = json_member(root, "trace");
    JsonAt      name = json_member(&at, "name"), hash = json_member(&at, "hash");
    const char *value = "", *digits = "";

    if (!json_has(&at)) return 0;
    if (json_check_keys(&at, keys, err) != 0) return -1;
    if (json_get_string(&name, &value, err) != 0 || json_get_string(&hash, &digits, err) != 0)
        return -1;
    plan->trace_name = arena_strdup(&plan->arena, value);
    if (!plan->trace_name) return error_no_memory(err);
    /* strtoull takes 0x, - */
    if (strlen(digits) != 16 || strspn(digits, "0123456789abcdefABCDEF") != 16)
        return json_fail(&hash, err, "is no hash, expected 16 hexadecimal digits");
    plan->trace_hash = strtoull(digits, NULL, 16);
    return 0;
}

static int read_predicted(Plan *plan, const JsonAt *root, Error *err)
{
    static const char *const keys[] = {"bottleneck_us", "step_us", "epoch_us", NULL};
    int64_t *const targets[] = {&plan->bottleneck_ns, &plan->step_ns, &plan->epoch_ns};
    JsonAt at = json_member(root, "predicted");

    if (!json_has(&at)) return 0;
    if (json_check_keys(&at, keys, err) != 0) return -1;
    for (int i = 0; i < 3; i++) {
        JsonAt us = json_member(&at, keys[i]);
        if (json_has(&us) && json_get_us(&us, targets[i], err) != 0) return -1;
    }
    return 0;
}

/* What stands at the head of a plan's file: *out is a plan of its sizes, its stages still to be
 * read. */
static int read_head(Plan **out, const JsonAt *root, Error *err)
{
    static const char *const names[] = {"dp",  "ls",    "tr",         "dpu",   "ir",
                                        "ahd", "split", "sequential", "store", NULL};
    JsonAt  schedule = json_member(root, "schedule"), stealing = json_member(root, "stealing");
    JsonAt  blocks = json_member(root, "blocks"), devices = json_member(root, "devices");
    JsonAt  batch = json_member(root, "batch"), stages = json_member(root, "stages");
    int     kind = 0;
    int64_t block_count = 0, device_count = 0, rows = 0;
    bool    steals = false;

    if (json_get_choice(&schedule, names, &kind, err) != 0) return -1;
    if (json_has(&stealing) && json_get_bool(&stealing, &steals, err) != 0) return -1;
    if (steals && kind != SCHEDULE_LS)
        return json_fail(&stealing, err, "stealing with %s, expected it with ls only", names[kind]);
    if (json_get_integer(&blocks, 1, MAX_BLOCKS, &block_count, err) != 0) return -1;
    if (json_get_integer(&devices, 1, PLAN_MAX_DEVICES, &device_count, err) != 0) return -1;
    if (json_get_integer(&batch, 1, (int64_t)1 << 31, &rows, err) != 0) return -1;
    if (json_get_array(&stages, 1, err) != 0) return -1;
    if (json_count(&stages) > (size_t)block_count)
        return json_fail(&stages, err, "%zu stages, expected at most a stage a block, %d",
                         json_count(&stages), (int)block_count);
    if (plan_new(out, (Schedule)kind, (int)block_count, (int)device_count, rows,
                 (int)json_count(&stages), err) != 0) return -1;
    (*out)->stealing = steals;
    return 0;
}

/* Reads the plan of doc, part by part, and checks it; an error of the check is told at the stage or
 * task that it is about. */
static int read_plan(Plan **out, const Json *doc, Error *err)
{
    static const char *const keys[] = {"format", "version", "schedule", "stealing", "trace",
                                       "blocks", "devices", "batch",    "students", "predicted",
                                       "stages", "tasks",   "epochs",   "turns",    "home",
                                       "stored", "later",   NULL};
    JsonAt root = json_root(doc), stages = json_member(&root, "stages"),
        tasks = json_member(&root, "tasks");
    Error  why = {""};
    int    at = NO_STAGE, task_at = -1;

    if (json_check_format(doc, "pipebd-plan", 1, err) != 0) return -1;
    if (json_check_keys(&root, keys, err) != 0) return -1;
    if (read_head(out, &root, err) != 0) return -1;
    if (read_trace_name(*out, &root, err) != 0 || read_predicted(*out, &root, err) != 0) return -1;
    if (read_students(*out, &root, err) != 0) return -1;
    for (int i = 0; i < (*out)->stage_count; i++) {
        JsonAt item = json_element(&stages, (size_t)i);
        if (read_stage(*out, &item, &(*out)->stages[i], err) != 0) return -1;
    }
    if (read_tasks(*out, &root, err) != 0 || read_store(*out, &root, err) != 0) return -1;
    if (check(*out, &at, &task_at, &why) == 0) return 0;
    if (at == NO_STAGE) return error_set(err, "%s", why.text);
    if (task_at >= 0) {
        JsonAt task = json_element(&tasks, (size_t)task_at);
        return json_fail(&task, err, "%s", why.text);
    }
    if (at == WHOLE_PLAN) return json_fail(&stages, err, "%s", why.text);
    JsonAt stage = json_element(&stages, (size_t)at);
    return json_fail(&stage, err, "%s", why.text);
}

int plan_parse(Plan **out, const char *name, const char *text, size_t length, Error *err)
{
    Json *doc = NULL;
    Plan *plan = NULL;

    *out = NULL;
    if (json_doc_parse(&doc, name, text, length, err) != 0) return -1;
    int rc = read_plan(&plan, doc, err);
    json_doc_free(doc);
    if (rc != 0) { plan_free(plan); return -1; }
    *out = plan;
    return 0;
}

int plan_read(Plan **out, const char *path, Error *err)
{
    char  *text;
    size_t length;

    *out = NULL;
    if (file_read(&text, &length, path, 0, err) != 0) return -1;
    int rc = plan_parse(out, strcmp(path, "-") == 0 ? "<stdin>" : path, text, length, err);
    free(text);
    return rc;
}
