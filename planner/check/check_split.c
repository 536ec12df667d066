/* The checker for split plans: what each device does a step, from who needs which rows of
 * which boundary.
 *
 *     stage 0 on device 0, stage 1 on device 1     who       makes     trains    needs
 *     blocks   | a | b |  ...                      0         0 1       a         0 1
 *     boundary 0   1   2                           1         2         b         1 2
 *
 * A message goes from each device that makes a boundary to each other that needs rows of
 * it which that one makes. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/minmax.h"
#include "base/micro.h"
#include "planner/check/check_points.h"

static int64_t some(int64_t bytes)           { return bytes > 0 ? bytes : 0; }

typedef struct { int64_t row, end; } CheckedRows;

/* What a device does, in order: rows of a boundary come in or are made, and work takes memory
 * while it lasts. */
typedef struct {
    int     boundary;
    int64_t bytes, working;
} Moment;

typedef struct {
    Check       *c;
    const Plan  *plan;
    CheckedPart *parts;          /* [devices] */
    CheckedRows        *needs;          /* [device][boundary] */
    CheckedRows        *makes;          /* [device]: in its stage */
    int         *stage_of;       /* [device]; -1: none */
    int         *group;          /* [tasks] the first task on the same devices in the same order */
    int64_t     *fixed;          /* [devices] bytes, the whole step */
    /* One device at a time: */
    Moment      *moments;
    int          moment_count;
    int         *used;           /* [boundaries] the last moment that uses it; -1 */
    int64_t     *largest;        /* [devices] bytes of the largest message from each */
    int64_t     *lane, *end;     /* [tasks], of a group: when its all-reduces end; with updates */
} CheckedSplit;

static int64_t boundary_bytes(const CheckedSplit *x, int k)
{
    const Trace *trace = x->c->trace;

    return some(k ? trace->blocks[k - 1].output_bytes : trace->input_bytes);
}

static CheckedRows *need(const CheckedSplit *x, int device, int boundary)
{
    return &x->needs[(size_t)device * (size_t)(x->plan->block_count + 1) + (size_t)boundary];
}

static void widen(CheckedRows *rows, CheckedRows more)
{
    if (rows->end == 0) *rows = more;
    rows->row = smaller(rows->row, more.row);
    rows->end = larger(rows->end, more.end);
}

/* CheckedRows of boundary that go from one device, of a stage, to another; 0: none. */
static int64_t sent(const CheckedSplit *x, int from, int to, int boundary)
{
    const Stage *maker = &x->plan->stages[x->stage_of[from]];
    CheckedRows         wanted = *need(x, to, boundary), made = x->makes[from];

    if (from == to || boundary > maker->last + 1
        || (boundary <= maker->first && (boundary > 0 || maker->first > 0)))
        return 0;
    return larger(smaller(wanted.end, made.end) - larger(wanted.row, made.row), 0);
}

/* ---- students ------------------------------------------------------------------------ */

/* Tasks stand by block, then student: each student once. */
static int check_order(const CheckedSplit *x)
{
    const Plan *plan = x->plan;
    int         t = 0;

    for (int b = 0; b < plan->block_count; b++)
        for (int j = 0; j < check_students(&x->c->trace->blocks[b]); j++, t++) {
            if (t == plan->task_count)
                return error_set(x->c->err, "student %d of block %d is in no task", j, b);
            const Stage *task = &plan->tasks[t];
            if (task->first != b || task->last != b || task->student != j)
                return error_set(
                    x->c->err,
                    "task %d: trains student %d of block %d, expected student %d of block %d", t,
                    task->student, task->first, j, b);
        }
    if (t < plan->task_count)
        return error_set(x->c->err, "task %d: all students are in earlier tasks", t);
    return 0;
}

/* ---- work ---------------------------------------------------------------------------- */

static int teach_loads(CheckedSplit *x, const Stage *stage)
{
    int64_t *loads = calloc((size_t)stage->width, sizeof *loads);

    if (!loads) return error_no_memory(x->c->err);
    int rc = check_loads(x->c, stage, stage->width, loads);
    for (int i = 0; i < stage->width && rc == 0; i++)
        x->parts[stage->devices[i]].load_ns = loads[i];
    free(loads);
    return rc;
}

static int teach(CheckedSplit *x, int s)
{
    const Stage *stage = &x->plan->stages[s];
    int64_t      row = 0;

    if (s == 0 && teach_loads(x, stage) != 0) return -1;
    for (int i = 0; i < stage->width; row += stage->rows[i++]) {
        int  d = stage->devices[i];
        CheckedRows rows = {row, row + stage->rows[i]};
        x->stage_of[d] = s;
        x->makes[d] = rows;
        for (int b = stage->first; b <= stage->last; b++) {
            if (check_work(x->c, s, WORK_TEACHER, b, 0, d, stage->rows[i], &x->parts[d].teacher_ns)
                != 0)
                return -1;
            x->fixed[d] += some(x->c->trace->blocks[b].teacher_weight_bytes);
            widen(need(x, d, b), rows);
        }
        widen(need(x, d, stage->last + 1), rows);
    }
    return 0;
}

static int64_t weights(const Trace *t, const TraceBlock *b, int student)
{
    if (b->students)
        return some(b->students[student].weight_bytes)
               + some(micro_gradients(t->micro_batches, b->students[student].gradient_bytes))
               + some(b->students[student].state_bytes);
    return some(b->student_weight_bytes)
           + some(micro_gradients(t->micro_batches, b->gradient_bytes)) + some(b->state_bytes);
}

static int student_ns(const CheckedSplit *x, int t, int i, int64_t *ns)
{
    const Stage *task = &x->plan->tasks[t];

    *ns = 0;
    if (check_work(x->c, t, WORK_FORWARD, task->first, task->student, task->devices[i],
                   task->rows[i], ns)
        != 0)
        return -1;
    return check_work(x->c, t, WORK_BACKWARD, task->first, task->student, task->devices[i],
                      task->rows[i], ns);
}

static int train(CheckedSplit *x, int t)
{
    const Stage *task = &x->plan->tasks[t];
    int64_t      row = 0, ns;

    for (int i = 0; i < task->width; row += task->rows[i++]) {
        int          d = task->devices[i];
        CheckedPart *part = &x->parts[d];
        CheckedRows         rows = {row, row + task->rows[i]};
        if (student_ns(x, t, i, &ns) != 0) return -1;
        part->student_ns += ns;
        if (check_work(x->c, t, WORK_UPDATE, task->first, task->student, d, task->rows[i],
                       &part->update_ns)
                != 0
            || check_reduce(x->c, t, task, task->first, task->student, &part->reduce_ns) != 0)
            return -1;
        x->fixed[d] += weights(x->c->trace, &x->c->trace->blocks[task->first], task->student);
        widen(need(x, d, task->first), rows);
        widen(need(x, d, task->first + 1), rows);
    }
    return 0;
}

static bool trains(const CheckedSplit *x, int d)
{
    for (int t = 0; t < x->plan->task_count; t++)
        for (int i = 0; i < x->plan->tasks[t].width; i++)
            if (x->plan->tasks[t].devices[i] == d) return true;
    return false;
}

/* A step's own time goes with the last work of a device: its updates, or where it only teaches the
 * teacher. */
static void add_own(CheckedSplit *x)
{
    for (int d = 0; d < x->plan->device_count; d++) {
        if (trains(x, d))             x->parts[d].update_ns += x->c->trace->step_ns;
        else if (x->stage_of[d] >= 0) x->parts[d].teacher_ns += x->c->trace->step_ns;
    }
}

static bool same_devices(const Stage *a, const Stage *b)
{
    if (a->width != b->width) return false;
    for (int i = 0; i < a->width; i++) if (a->devices[i] != b->devices[i]) return false;
    return true;
}

static void find_groups(CheckedSplit *x)
{
    for (int t = 0; t < x->plan->task_count; t++)
        for (x->group[t] = 0; !same_devices(&x->plan->tasks[t], &x->plan->tasks[x->group[t]]);)
            x->group[t]++;
}

static int position(const Stage *stage, int device)
{
    for (int i = 0; i < stage->width; i++) if (stage->devices[i] == device) return i;
    return -1;
}

/* The task on device d as its i-th: its student from *now on, its all-reduce after those of
 * its group; *updates: its own and those to come. */
static int run_task(CheckedSplit *x, int t, int i, int64_t *now, int64_t *updates)
{
    const Stage *task = &x->plan->tasks[t];
    int64_t     *lane = &x->lane[x->group[t]], ns = 0, reduce = 0, update = 0;

    if (student_ns(x, t, i, &ns) != 0) return -1;
    if (check_reduce(x->c, t, task, task->first, task->student, &reduce) != 0) return -1;
    if (check_work(x->c, t, WORK_UPDATE, task->first, task->student, task->devices[i],
                   task->rows[i], &update)
        != 0)
        return -1;
    *now += ns;
    if (task->width > 1) {
        *lane = larger(*lane, *now) + reduce;
        x->end[x->group[t]] = *lane + *updates;
    }
    *updates -= update;
    return 0;
}

/* When the last all-reduce of each group of device d has ended, and the updates from that
 * task's on are done; the latest of all groups. An all-reduce begins when its student has
 * ended and the group's one before has. */
static int lanes_end(CheckedSplit *x, int d, int64_t *end)
{
    const Plan *plan = x->plan;
    int64_t     now = 0, updates = x->parts[d].update_ns;

    for (int t = 0; t < plan->task_count; t++) x->lane[t] = x->end[t] = 0;
    for (int s = 0, t = 0; s < plan->stage_count; s++) {
        if (x->stage_of[d] == s) now += x->parts[d].teacher_ns;
        for (; t < plan->task_count && plan->tasks[t].first <= plan->stages[s].last; t++) {
            int i = position(&plan->tasks[t], d);
            if (i >= 0 && run_task(x, t, i, &now, &updates) != 0) return -1;
        }
    }
    *end = 0;
    for (int t = 0; t < plan->task_count; t++) *end = larger(*end, x->end[t]);
    return 0;
}

/* ---- memory -------------------------------------------------------------------------- */

/* rows 0: nothing comes. */
static void add_moment(CheckedSplit *x, int boundary, int64_t rows, int64_t working)
{
    x->moments[x->moment_count++] = (Moment){boundary, rows * boundary_bytes(x, boundary), working};
}

/* By what comes next. */
static void use(CheckedSplit *x, int boundary) { x->used[boundary] = x->moment_count; }

/* What device d receives of stage s, and does as a member of it. */
static void stage_moments(CheckedSplit *x, int d, int s)
{
    const Stage *stage = &x->plan->stages[s];

    for (int i = 0; i < stage->width; i++) {
        int     m = stage->devices[i];
        int64_t rows = stage->rows[i];
        for (int k = s ? stage->first + 1 : 0; m != d && k <= stage->last + 1; k++) {
            int64_t got = sent(x, m, d, k);
            if (got == 0) continue;
            add_moment(x, k, got, 0);
            x->largest[m] = larger(x->largest[m], got * boundary_bytes(x, k));
        }
        if (m != d) continue;
        if (s == 0) add_moment(x, 0, rows, 0);
        for (int b = stage->first; b <= stage->last; b++) {
            use(x, b);
            add_moment(x, b + 1, rows,
                       rows * some(x->c->trace->blocks[b].teacher_activation_bytes));
        }
        for (int k = s ? stage->first + 1 : 0; k <= stage->last + 1; k++)
            for (int to = 0; to < x->plan->device_count; to++)
                if (sent(x, d, to, k) > 0) use(x, k);
        add_moment(x, 0, 0, 0);                                  /* sends */
    }
}

/* Fills moments, used and largest for device d. */
static void list_moments(CheckedSplit *x, int d)
{
    const Plan *plan = x->plan;

    x->moment_count = 0;
    for (int k = 0; k <= plan->block_count; k++) x->used[k] = -1;
    for (int m = 0; m < plan->device_count; m++) x->largest[m] = 0;
    for (int s = 0, t = 0; s < plan->stage_count; s++) {
        stage_moments(x, d, s);
        for (; t < plan->task_count && plan->tasks[t].first <= plan->stages[s].last; t++) {
            const Stage      *task = &plan->tasks[t];
            const TraceBlock *b = &x->c->trace->blocks[task->first];
            int               i = position(task, d);
            if (i < 0) continue;
            use(x, task->first);
            use(x, task->first + 1);
            int64_t bytes = b->students ? b->students[task->student].activation_bytes
                                        : b->student_activation_bytes;
            add_moment(x, 0, 0,
                       task->rows[i] * some(micro_bytes(x->c->trace->micro_batches, bytes)));
        }
    }
}

/* At the peak of the step: from each boundary's coming to its last use it is held, through
 * that moment. What nobody uses is held while it is made. */
static int64_t peak_bytes(CheckedSplit *x, int d)
{
    const TraceLoader *loader = &x->c->trace->loader;
    int64_t            peak = 0, waiting = 0;

    list_moments(x, d);
    for (int at = 0; at < x->moment_count; at++) {
        int64_t held = x->moments[at].bytes;
        for (int before = 0; before < at; before++)
            if (x->used[x->moments[before].boundary] >= at) held += x->moments[before].bytes;
        peak = larger(peak, held + x->moments[at].working);
    }
    for (int m = 0; m < x->plan->device_count; m++)
        waiting += x->c->scenario->queue_depth * x->largest[m];
    if (x->stage_of[d] == 0 && loader->present)
        waiting +=
            trace_loader_held(loader) * (x->makes[d].end - x->makes[d].row) * boundary_bytes(x, 0);
    bool takes_part = x->stage_of[d] >= 0 || trains(x, d);

    return (takes_part ? x->c->trace->process_bytes : 0) + x->fixed[d] + waiting + peak;
}

/* ---- all ------------------------------------------------------------------------------- */

/* Messages of all stages to all devices. */
static int add_messages(CheckedSplit *x)
{
    for (int from = 0; from < x->plan->device_count; from++) {
        if (x->stage_of[from] < 0) continue;
        const Stage *maker = &x->plan->stages[x->stage_of[from]];
        for (int to = 0; to < x->plan->device_count; to++)
            for (int k = maker->first ? maker->first + 1 : 0; k <= maker->last + 1; k++) {
                int64_t rows = sent(x, from, to, k), ns;
                if (rows == 0) continue;
                if (check_message(x->c, from, k, from, to, rows, &ns) != 0) return -1;
                x->parts[from].out_ns += ns;
                x->parts[to].in_ns += ns;
            }
    }
    return 0;
}

static int add_up(CheckedSplit *x, int d)
{
    const Trace *trace = x->c->trace;
    CheckedPart *part = &x->parts[d];
    int64_t      lanes = 0, compute = part->teacher_ns + part->student_ns + part->update_ns;

    if (trace->blocking_transfers) compute += part->reduce_ns;
    else if (part->reduce_ns > 0 && lanes_end(x, d, &lanes) != 0) return -1;
    part->step_ns = larger(compute, lanes);
    part->step_ns = trace->loader.prefetch > 0 ? larger(part->step_ns, part->load_ns)
                                               : part->step_ns + part->load_ns;
    part->step_ns = trace->blocking_transfers
                        ? part->step_ns + part->out_ns
                        : larger(part->step_ns, larger(part->in_ns, part->out_ns));
    return 0;
}

static int price_devices(CheckedSplit *x, CheckedPlan *out)
{
    for (int d = 0; d < x->plan->device_count; d++) {
        int64_t limit = x->c->scenario->memory_bytes[d];
        x->c->owner = "task";
        if (add_up(x, d) != 0) return -1;
        x->parts[d].memory_bytes = peak_bytes(x, d);
        if (limit && x->parts[d].memory_bytes > limit)
            return error_set(x->c->err, "device %d needs %.6g MiB, but has %.6g", d,
                             (double)x->parts[d].memory_bytes * 0x1p-20, (double)limit * 0x1p-20);
        if (x->parts[d].step_ns <= out->bottleneck_ns) continue;
        out->bottleneck_ns = x->parts[d].step_ns;
        out->bottleneck = d;
    }
    return 0;
}

static int price(CheckedSplit *x, CheckedPlan *out, int *seen)
{
    for (int d = 0; d < x->plan->device_count; d++) x->stage_of[d] = -1;
    if (check_order(x) != 0) return -1;
    for (int t = 0; t < x->plan->task_count; t++)
        if (check_rows(x->c, "task", t, &x->plan->tasks[t], seen) != 0) return -1;
    find_groups(x);
    for (int s = 0; s < x->plan->stage_count; s++) if (teach(x, s) != 0) return -1;
    x->c->owner = "task";
    for (int t = 0; t < x->plan->task_count; t++) if (train(x, t) != 0) return -1;
    add_own(x);
    x->c->owner = "device";
    if (add_messages(x) != 0) return -1;
    return price_devices(x, out);
}

int check_split(CheckedPlan *out, Check *c)
{
    const Plan *plan = c->plan;
    size_t      g = (size_t)plan->device_count, tasks = (size_t)plan->task_count + 1,
           boundaries = (size_t)plan->block_count + 1;
    size_t      moments = boundaries * (g + 3) + tasks;  /* received from all, made, sent,
                                                          * trained */
    CheckedSplit       x = {.c = c, .plan = plan, .parts = out->devices};
    int         rc = -1;

    out->bottleneck = -1;
    int *seen = calloc(g, sizeof *seen);
    x.moments = calloc(moments, sizeof *x.moments);
    x.needs = calloc(g * boundaries, sizeof *x.needs);
    x.makes = calloc(g, sizeof *x.makes);
    x.stage_of = calloc(g, sizeof *x.stage_of);
    x.group = calloc(tasks, sizeof *x.group);
    x.fixed = calloc(g, sizeof *x.fixed);
    x.used = calloc(boundaries, sizeof *x.used);
    x.largest = calloc(g, sizeof *x.largest);
    x.lane = calloc(tasks, sizeof *x.lane);
    x.end = calloc(tasks, sizeof *x.end);
    if (!seen || !x.moments || !x.needs || !x.makes || !x.stage_of || !x.group || !x.fixed
        || !x.used || !x.largest || !x.lane || !x.end)
        error_no_memory(c->err);
    else rc = price(&x, out, seen);
    free(seen);
    free(x.moments);
    free(x.needs);
    free(x.makes);
    free(x.stage_of);
    free(x.group);
    free(x.fixed);
    free(x.used);
    free(x.largest);
    free(x.lane);
    free(x.end);
    return rc;
}
