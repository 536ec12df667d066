/* SplitBuild: teacher stages along the chain, and every student a task on any devices. A
 * student of block b needs only boundaries b and b + 1; their owners, the devices of the
 * stage that makes a boundary, send it the rows that it does not make itself.
 *
 *     device 0 (blocks 0, 1)      LOAD | T0 T1 | SEND 2 -> 1 | SEND 0, 1 -> 2 | student 1 | U1
 *     device 1 (block 2)          RECV 2 | T2 | student 2 | U2
 *     device 2 (no teacher)       RECV 0, 1 | student 0 | U0
 *
 * The instructions of a step are emitted in one order for all devices together, stage
 * after stage: what a device of the stage receives, TEACHER, the relay to the next stage,
 * other boundaries to those who need them (each SEND followed at once by its RECV), then
 * the tasks of the stage's blocks; last of all the updates. Playing them in this order one
 * by one never waits, with queues of one message: no step can come to a deadlock.
 *
 * BuiltRows of a boundary that a device holds are one range: the smallest that has all its
 * tasks need and its teacher makes. */
#include "base/minmax.h"
#include "schedule/program.h"

#include <stdlib.h>

typedef struct { int64_t row, end; } BuiltRows;          /* none: row == end */

typedef struct {
    Program    *program;
    const Plan *plan;
    BuiltRows       *needs;           /* [device][boundary]: all that the device holds of it */
    BuiltRows       *makes;           /* [device]: its rows in its teacher stage */
    int        *stage_of;        /* [device]; -1: no teacher */
    Error      *err;
} SplitBuild;

static BuiltRows *needs(const SplitBuild *x, int device, int boundary)
{
    return &x->needs[(size_t)device * (size_t)(x->plan->block_count + 1) + (size_t)boundary];
}

static void widen(BuiltRows *have, BuiltRows more)
{
    if (more.row == more.end) return;
    if (have->row == have->end) { *have = more; return; }
    have->row = smaller(have->row, more.row);
    have->end = larger(have->end, more.end);
}

static int emit(SplitBuild *x, int device, Op op, int block, int link, BuiltRows rows, int student)
{
    Instruction in = {op, block, link, rows.row, rows.end - rows.row, student};

    return program_emit(x->program, &x->program->devices[device], in, x->err);
}

/* ---- who needs what -------------------------------------------------------------- */

/* The rows of each boundary that each device needs: those it runs the teacher on, and those of its
 * students' inputs and outputs. */
static void find_needs(SplitBuild *x)
{
    const Plan *plan = x->plan;

    for (int d = 0; d < plan->device_count; d++) x->stage_of[d] = -1;
    for (int s = 0; s < plan->stage_count; s++) {
        const Stage *stage = &plan->stages[s];
        int64_t      row = 0;
        for (int i = 0; i < stage->width; row += stage->rows[i++]) {
            int d = stage->devices[i];
            x->stage_of[d] = s;
            x->makes[d] = (BuiltRows){row, row + stage->rows[i]};
            for (int b = stage->first; b <= stage->last + 1; b++) *needs(x, d, b) = x->makes[d];
        }
    }
    for (int t = 0; t < plan->task_count; t++) {
        const Stage *task = &plan->tasks[t];
        int64_t      row = 0;
        for (int i = 0; i < task->width; row += task->rows[i++])
            for (int side = 0; side < 2; side++)
                widen(needs(x, task->devices[i], task->first + side),
                      (BuiltRows){row, row + task->rows[i]});
    }
}

/* The rows that device does not receive: those it loads or its teacher makes. */
static BuiltRows own(const SplitBuild *x, int device, int boundary)
{
    int s = x->stage_of[device];

    if (s < 0 || boundary > x->plan->stages[s].last + 1) return (BuiltRows){0, 0};
    if (boundary < x->plan->stages[s].first || (boundary == x->plan->stages[s].first && s > 0))
        return (BuiltRows){0, 0};
    return x->makes[device];
}

/* ---- messages ------------------------------------------------------------------------ */

static int message(SplitBuild *x, int from, int to, int boundary, BuiltRows rows)
{
    int channel = program_channel(x->program, from, to, x->err);

    if (channel < 0) return -1;
    if (emit(x, from, OP_SEND, boundary, channel, rows, 0) != 0) return -1;
    return emit(x, to, OP_RECV, boundary, channel, rows, 0);
}

/* From an owner the rows of boundary that device needs and does not make: below its own,
 * and above. */
static int supply(SplitBuild *x, int from, int to, int boundary)
{
    BuiltRows need = *needs(x, to, boundary), self = own(x, to, boundary), have = x->makes[from];

    if (from == to || need.row == need.end) return 0;
    if (self.row == self.end) self = (BuiltRows){need.end, need.end};
    BuiltRows below = {larger(need.row, have.row), smaller(self.row, have.end)};
    BuiltRows above = {larger(self.end, have.row), smaller(need.end, have.end)};
    if (below.row < below.end && message(x, from, to, boundary, below) != 0) return -1;
    return above.row < above.end && message(x, from, to, boundary, above) != 0 ? -1 : 0;
}

/* The next stage's input to its devices, so that its teacher can begin. */
static int relay(SplitBuild *x, int from, int s)
{
    if (s + 1 == x->plan->stage_count) return 0;
    const Stage *next = &x->plan->stages[s + 1];

    for (int i = 0; i < next->width; i++)
        if (supply(x, from, next->devices[i], next->first) != 0) return -1;
    return 0;
}

/* Everything else that the stage makes. */
static int supply_tasks(SplitBuild *x, int from, int s)
{
    const Stage *stage = &x->plan->stages[s];

    for (int b = s ? stage->first + 1 : 0; b <= stage->last + 1; b++)
        for (int d = 0; d < x->plan->device_count; d++) {
            bool relayed = b == stage->last + 1 && x->stage_of[d] == s + 1;
            if (!relayed && supply(x, from, d, b) != 0) return -1;
        }
    return 0;
}

/* ---- a step --------------------------------------------------------------------------- */

static int teach(SplitBuild *x, int s)
{
    const Stage *stage = &x->plan->stages[s];

    for (int i = 0; i < stage->width; i++) {
        int d = stage->devices[i];
        if (s == 0 && emit(x, d, OP_LOAD, 0, -1, x->makes[d], 0) != 0) return -1;
        for (int b = stage->first; b <= stage->last; b++)
            if (emit(x, d, OP_TEACHER, b, -1, x->makes[d], 0) != 0) return -1;
        if (relay(x, d, s) != 0 || supply_tasks(x, d, s) != 0) return -1;
    }
    return 0;
}

/* The group of exactly these devices; tasks on the same ones share it, and its lane. */
static int group_of(SplitBuild *x, const Stage *task)
{
    for (int g = x->program->group_count - 1; g >= 0; g--) {
        const Group *group = &x->program->groups[g];
        int          same = 0;
        while (same < group->count && same < task->width
               && group->devices[same] == task->devices[same])
            same++;
        if (same == group->count && same == task->width) return g;
    }
    return program_group(x->program, task->devices, task->width, x->err);
}

static int train(SplitBuild *x, const Stage *task)
{
    int64_t row = 0;
    int     group = task->width > 1 ? group_of(x, task) : -1, b = task->first;

    if (task->width > 1 && group < 0) return -1;
    for (int i = 0; i < task->width; row += task->rows[i++]) {
        BuiltRows rows = {row, row + task->rows[i]};
        int  d = task->devices[i];
        if (emit(x, d, OP_FORWARD, b, -1, rows, task->student) != 0) return -1;
        if (emit(x, d, OP_BACKWARD, b, -1, rows, task->student) != 0) return -1;
        if (group >= 0 && emit(x, d, OP_ALLREDUCE, b, group, rows, task->student) != 0) return -1;
    }
    return 0;
}

static int update(SplitBuild *x, const Stage *task)
{
    int64_t row = 0;

    for (int i = 0; i < task->width; row += task->rows[i++])
        if (emit(x, task->devices[i], OP_UPDATE, task->first, -1,
                 (BuiltRows){row, row + task->rows[i]}, task->student)
            != 0)
            return -1;
    return 0;
}

static bool works(const SplitBuild *x, int device)
{
    bool any = x->stage_of[device] >= 0;

    for (int b = 0; b <= x->plan->block_count && !any; b++) any = needs(x, device, b)->end > 0;
    return any;
}

static int build_step(SplitBuild *x)
{
    const Plan *plan = x->plan;
    int         task = 0;

    for (int d = 0; d < plan->device_count; d++)
        if (works(x, d)
            && program_begin_phase(&x->program->devices[d], x->program->steps, x->err) != 0)
            return -1;
    for (int s = 0; s < plan->stage_count; s++) {
        if (teach(x, s) != 0) return -1;
        for (; task < plan->task_count && plan->tasks[task].first <= plan->stages[s].last; task++)
            if (train(x, &plan->tasks[task]) != 0) return -1;
    }
    for (task = 0; task < plan->task_count; task++)
        if (update(x, &plan->tasks[task]) != 0) return -1;
    return 0;
}

int build_split(Program *program, const Plan *plan, Error *err)
{
    size_t devices = (size_t)plan->device_count, boundaries = (size_t)plan->block_count + 1;
    SplitBuild  x = {.program = program, .plan = plan, .err = err};
    int    rc = -1;

    x.needs = calloc(devices * boundaries, sizeof *x.needs);
    x.makes = calloc(devices, sizeof *x.makes);
    x.stage_of = calloc(devices, sizeof *x.stage_of);
    if (!x.needs || !x.makes || !x.stage_of) { error_no_memory(err); goto done; }
    find_needs(&x);
    rc = build_step(&x);
done:
    free(x.needs);
    free(x.makes);
    free(x.stage_of);
    return rc;
}
