/* A split plan while it is searched: teacher stages, and the parts of the students'
 * tasks, in arrays that are cheap to copy and to change.
 *
 *     stages     first block  0   3        devices  0 | 1 2        (at: 0, 1, 3)
 *     parts      task 0: device 0 all rows; task 1: device 3 rows 0..9, device 0 10..15; ... */
#ifndef PLANNER_SPLIT_SPLIT_LAYOUT_H
#define PLANNER_SPLIT_SPLIT_LAYOUT_H

#include <stdbool.h>

#include "schedule/plan.h"
#include "traces/scenario.h"

typedef struct {
    int     task, device;
    int64_t row, rows;
} SplitPart;

/* The students of a scenario, numbered over all blocks. */
typedef struct {
    int  count;
    int *block, *student;        /* [count] */
} SplitTasks;

typedef struct {
    int      blocks, devices, stages;
    int64_t  batch;
    int     *first;              /* [stages + 1] first block of each stage, and blocks */
    int     *at;                 /* [stages + 1] where its devices begin */
    int     *device;             /* [at[stages]] */
    int64_t *rows;
    int      parts, capacity;
    SplitPart    *part;               /* by task, then by row */
    const SplitTasks *tasks;     /* borrowed */
} Layout;

/* All students by block, then number. split_tasks_free() *out. */
int  split_tasks(SplitTasks *out, const Scenario *scenario, Error *err);
void split_tasks_free(SplitTasks *tasks);

/* Room for any layout of the scenario; no stages, no parts. */
int  layout_new(Layout *out, const Scenario *scenario, const SplitTasks *tasks, Error *err);
void layout_free(Layout *layout);
void layout_copy(Layout *to, const Layout *from);

/* The stage that runs block. */
int  layout_stage_of(const Layout *layout, int block);

/* Gives device more rows of task; false when the layout is full. layout_arrange() the
 * task when all its rows are given. */
bool layout_give(Layout *layout, int task, int device, int64_t rows);
void layout_remove(Layout *layout, int part);

/* Orders the parts of a task so that devices of its block's stage train, where they can,
 * rows that their teacher makes. */
void layout_arrange(Layout *layout, int task);

/* Fills layout from a plan of a schedule with stages, students where their block is; and the other
 * way, a split plan: *out is yours, plan_free() it. */
void layout_read(Layout *layout, const Plan *plan);
int  layout_plan(Plan **out, const Layout *layout, Error *err);

#endif
