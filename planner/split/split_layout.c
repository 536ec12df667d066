#include "planner/split/split_layout.h"

#include <stdlib.h>
#include <string.h>

int split_tasks(SplitTasks *out, const Scenario *s, Error *err)
{
    const Trace *trace = s->trace;
    int          count = 0;

    for (int b = 0; b < trace->block_count; b++) count += trace_students(&trace->blocks[b]);
    *out =
        (SplitTasks){count, calloc((size_t)count, sizeof(int)), calloc((size_t)count, sizeof(int))};
    if (!out->block || !out->student) { split_tasks_free(out); return error_no_memory(err); }
    count = 0;
    for (int b = 0; b < trace->block_count; b++)
        for (int j = 0; j < trace_students(&trace->blocks[b]); j++) {
            out->block[count] = b;
            out->student[count++] = j;
        }
    return 0;
}

void split_tasks_free(SplitTasks *tasks)
{
    free(tasks->block);
    free(tasks->student);
    *tasks = (SplitTasks){0};
}

int layout_new(Layout *out, const Scenario *s, const SplitTasks *tasks, Error *err)
{
    size_t blocks = (size_t)s->trace->block_count, devices = (size_t)s->device_count;

    *out =
        (Layout){.blocks = (int)blocks, .devices = (int)devices, .batch = s->batch, .tasks = tasks};
    out->capacity = 2 * tasks->count + 8 * (int)devices;
    out->first = calloc(blocks + 1, sizeof *out->first);
    out->at = calloc(blocks + 1, sizeof *out->at);
    out->device = calloc(devices, sizeof *out->device);
    out->rows = calloc(devices, sizeof *out->rows);
    out->part = calloc((size_t)out->capacity, sizeof *out->part);
    if (out->first && out->at && out->device && out->rows && out->part) return 0;
    layout_free(out);
    return error_no_memory(err);
}

void layout_free(Layout *layout)
{
    free(layout->first);
    free(layout->at);
    free(layout->device);
    free(layout->rows);
    free(layout->part);
    *layout = (Layout){0};
}

void layout_copy(Layout *to, const Layout *from)
{
    size_t stages = (size_t)from->stages + 1, devices = (size_t)from->at[from->stages];

    to->stages = from->stages;
    to->parts = from->parts;
    memcpy(to->first, from->first, stages * sizeof *to->first);
    memcpy(to->at, from->at, stages * sizeof *to->at);
    memcpy(to->device, from->device, devices * sizeof *to->device);
    memcpy(to->rows, from->rows, devices * sizeof *to->rows);
    memcpy(to->part, from->part, (size_t)from->parts * sizeof *to->part);
}

int layout_stage_of(const Layout *layout, int block)
{
    int s = 0;

    while (layout->first[s + 1] <= block) s++;
    return s;
}

/* ---- parts ------------------------------------------------------------------------ */

/* The first part of task, or where it would stand. */
static int find_task(const Layout *layout, int task)
{
    int low = 0, high = layout->parts;

    while (low < high) {
        int middle = (low + high) / 2;
        if (layout->part[middle].task < task) low = middle + 1;
        else                                  high = middle;
    }
    return low;
}

bool layout_give(Layout *layout, int task, int device, int64_t rows)
{
    int i = find_task(layout, task);

    for (; i < layout->parts && layout->part[i].task == task; i++)
        if (layout->part[i].device == device) { layout->part[i].rows += rows; return true; }
    if (layout->parts == layout->capacity) return false;
    memmove(&layout->part[i + 1], &layout->part[i],
            (size_t)(layout->parts - i) * sizeof *layout->part);
    layout->part[i] = (SplitPart){task, device, 0, rows};
    layout->parts++;
    return true;
}

void layout_remove(Layout *layout, int part)
{
    layout->parts--;
    memmove(&layout->part[part], &layout->part[part + 1],
            (size_t)(layout->parts - part) * sizeof *layout->part);
}

/* The part among first..end-1 to come next at row: a device of the stage, in its order,
 * once the row is among those it makes; before, or when there is none, another device. */
static int next_part(const Layout *layout, int stage, int first, int end, int64_t row)
{
    int64_t made = 0;
    int     other = -1;

    for (int d = layout->at[stage]; d < layout->at[stage + 1]; made += layout->rows[d++])
        for (int i = first; i < end; i++) {
            if (layout->part[i].device != layout->device[d]) continue;
            if (row >= made) return i;
            if (other < 0) other = i;            /* the next of the stage, if no outsider is left */
        }
    for (int i = first; i < end; i++) {
        bool member = false;
        for (int d = layout->at[stage]; d < layout->at[stage + 1]; d++)
            member |= layout->part[i].device == layout->device[d];
        if (!member) return i;
    }
    return other;
}

void layout_arrange(Layout *layout, int task)
{
    int     first = find_task(layout, task), end = first;
    int     stage = layout_stage_of(layout, layout->tasks->block[task]);
    int64_t row = 0;

    while (end < layout->parts && layout->part[end].task == task) end++;
    for (; first < end; first++) {
        int  next = end - first > 1 ? next_part(layout, stage, first, end, row) : first;
        SplitPart part = layout->part[next];
        layout->part[next] = layout->part[first];
        layout->part[first] = part;
        layout->part[first].row = row;
        row += part.rows;
    }
}

/* ---- plans ------------------------------------------------------------------------- */

void layout_read(Layout *layout, const Plan *plan)
{
    int task = 0;

    layout->stages = plan->stage_count;
    layout->parts = 0;
    for (int s = 0; s < plan->stage_count; s++) {
        const Stage *stage = &plan->stages[s];
        layout->first[s] = stage->first;
        layout->at[s + 1] = layout->at[s] + stage->width;
        memcpy(layout->device + layout->at[s], stage->devices,
               (size_t)stage->width * sizeof *stage->devices);
        memcpy(layout->rows + layout->at[s], stage->rows,
               (size_t)stage->width * sizeof *stage->rows);
        for (; task < layout->tasks->count && layout->tasks->block[task] <= stage->last; task++)
            for (int i = 0; i < stage->width && layout->parts < layout->capacity; i++)
                layout->part[layout->parts++] =
                    (SplitPart){task, stage->devices[i], 0, stage->rows[i]};
    }
    layout->first[layout->stages] = layout->blocks;
    for (task = 0; task < layout->tasks->count; task++) layout_arrange(layout, task);
}

static int place_tasks(Plan *plan, const Layout *layout, int *devices, int64_t *rows, Error *err)
{
    for (int i = 0; i < layout->parts;) {
        int task = layout->part[i].task, width = 0;
        for (; i < layout->parts && layout->part[i].task == task; i++) {
            devices[width] = layout->part[i].device;
            rows[width++] = layout->part[i].rows;
        }
        if (plan_place(plan, &plan->tasks[task], devices, rows, width, err) != 0) return -1;
    }
    return 0;
}

int layout_plan(Plan **out, const Layout *layout, Error *err)
{
    int     *counts = calloc((size_t)layout->blocks, sizeof *counts), rc = -1;
    int     *devices = calloc((size_t)layout->devices, sizeof *devices);
    int64_t *rows = calloc((size_t)layout->devices, sizeof *rows);
    Plan    *plan = NULL;

    *out = NULL;
    if (!counts || !devices || !rows) { error_no_memory(err); goto done; }
    for (int t = 0; t < layout->tasks->count; t++) counts[layout->tasks->block[t]]++;
    bool many = layout->tasks->count > layout->blocks;
    if (plan_new(&plan, SCHEDULE_SPLIT, layout->blocks, layout->devices, layout->batch,
                 layout->stages, err)
        != 0)
        goto done;
    if (plan_set_students(plan, many ? counts : NULL, err) != 0 || plan_add_tasks(plan, err) != 0)
        goto done;
    for (int s = 0; s < layout->stages; s++) {
        int at = layout->at[s];
        plan->stages[s].first = layout->first[s];
        plan->stages[s].last = layout->first[s + 1] - 1;
        if (plan_place(plan, &plan->stages[s], layout->device + at, layout->rows + at,
                       layout->at[s + 1] - at, err)
            != 0)
            goto done;
    }
    if (place_tasks(plan, layout, devices, rows, err) != 0) goto done;
    *out = plan;
    plan = NULL;
    rc = 0;
done:
    plan_free(plan);
    free(counts);
    free(devices);
    free(rows);
    return rc;
}
