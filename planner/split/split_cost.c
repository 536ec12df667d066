#include "planner/split/split_cost.h"

#include <stdlib.h>
#include <string.h>

#include "base/micro.h"
#include "base/minmax.h"

typedef struct { int64_t row, end; } LayoutRows;

struct SplitCost {
    Scenario          alone;     /* the scenario as if nobody slowed anyone down */
    const Scenario   *scenario;  /* that */
    const SplitTasks *tasks;
    int64_t *whole;              /* [task][kind]: a task on the whole batch; -1 not known, -2 not
                                  * looked up */
    LayoutRows    *need;               /* [device][boundary] */
    int     *touched;            /* those of need that are not empty, as device and boundary */
    int      touched_count;
    int     *stage_of;           /* [device]; -1 */
    LayoutRows    *makes;              /* [device] */
    int64_t *compute, *in, *out, *load;          /* [device] */
    int64_t *fixed, *activation;                 /* [device] bytes */
    int     *group;              /* [devices] */
};

static int64_t known(int64_t bytes)          { return bytes == TRACE_ABSENT ? 0 : bytes; }

int split_cost_new(SplitCost **out, const Scenario *s, const SplitTasks *tasks, Error *err)
{
    size_t     devices = (size_t)s->device_count, boundaries = (size_t)s->trace->block_count + 1;
    size_t     whole = (size_t)tasks->count * (size_t)s->trace->kind_count;
    SplitCost *c = calloc(1, sizeof *c);

    *out = NULL;
    if (!c) return error_no_memory(err);
    c->alone = *s;
    c->alone.load = 0;
    c->scenario = &c->alone;
    c->tasks = tasks;
    c->whole = calloc(whole, sizeof *c->whole);
    c->need = calloc(devices * boundaries, sizeof *c->need);
    c->touched = calloc(devices * boundaries, sizeof *c->touched);
    c->stage_of = calloc(devices, sizeof *c->stage_of);
    c->makes = calloc(devices, sizeof *c->makes);
    c->group = calloc(devices, sizeof *c->group);
    c->compute = calloc(6 * devices, sizeof *c->compute);
    if (!c->whole || !c->need || !c->touched || !c->stage_of || !c->makes || !c->group
        || !c->compute) {
        split_cost_free(c);
        return error_no_memory(err);
    }
    c->in = c->compute + devices;
    c->out = c->in + devices;
    c->load = c->out + devices;
    c->fixed = c->load + devices;
    c->activation = c->fixed + devices;
    for (size_t i = 0; i < whole; i++) c->whole[i] = -2;
    *out = c;
    return 0;
}

void split_cost_free(SplitCost *c)
{
    if (!c) return;
    free(c->whole);
    free(c->need);
    free(c->touched);
    free(c->stage_of);
    free(c->makes);
    free(c->group);
    free(c->compute);
    free(c);
}

/* ---- work -------------------------------------------------------------------------- */

static int64_t look_up_task(const SplitCost *c, int task, int device, int64_t rows)
{
    int64_t sum = 0;
    Cost    cost;

    for (int work = WORK_FORWARD; work < WORK_COUNT; work++) {
        if (scenario_student_work(c->scenario, (Work)work, c->tasks->block[task],
                                  c->tasks->student[task], device, rows, &cost, NULL)
            != 0)
            return -1;
        sum += cost.ns;
    }
    return sum;
}

int64_t split_cost_task(SplitCost *c, int task, int device, int64_t rows)
{
    const Scenario *s = c->scenario;

    if (rows != s->batch || s->trace->slowdown) return look_up_task(c, task, device, rows);
    int64_t *whole =
        &c->whole[(size_t)task * (size_t)s->trace->kind_count + (size_t)s->kinds[device]];
    if (*whole == -2) *whole = look_up_task(c, task, device, rows);
    return *whole;
}

int64_t split_cost_teacher(SplitCost *c, int block, int device, int64_t rows)
{
    Cost cost;

    return scenario_work(c->scenario, WORK_TEACHER, block, device, rows, &cost, NULL) == 0 ? cost.ns
                                                                                           : -1;
}

static void touch(SplitCost *c, int device, int boundary, LayoutRows rows)
{
    size_t at = (size_t)device * (size_t)(c->scenario->trace->block_count + 1) + (size_t)boundary;
    LayoutRows  *need = &c->need[at];

    if (need->end == 0) { *need = rows; c->touched[c->touched_count++] = (int)at; return; }
    need->row = smaller(need->row, rows.row);
    need->end = larger(need->end, rows.end);
}

/* Adds what the teacher's stages take of their devices: loading, time, weights and boundaries.
 * false: a time that the trace does not have. */
static bool add_stages(SplitCost *c, const Layout *l)
{
    const Trace *trace = c->scenario->trace;

    for (int s = 0; s < l->stages; s++) {
        int64_t row = 0;
        for (int i = l->at[s]; i < l->at[s + 1]; row += l->rows[i++]) {
            int  d = l->device[i];
            LayoutRows rows = {row, row + l->rows[i]};
            c->stage_of[d] = s;
            c->makes[d] = rows;
            if (s == 0) c->load[d] = scenario_load_ns(c->scenario, l->rows[i]);
            for (int b = l->first[s]; b < l->first[s + 1]; b++) {
                int64_t ns = split_cost_teacher(c, b, d, l->rows[i]);
                if (ns < 0) return false;
                c->compute[d] += ns;
                c->fixed[d] += known(trace->blocks[b].teacher_weight_bytes);
                touch(c, d, b, rows);
            }
            touch(c, d, l->first[s + 1], rows);
        }
    }
    return true;
}

/* Parts first..end-1, of one task. */
static bool add_task(SplitCost *c, const Layout *l, int first, int end)
{
    int          task = l->part[first].task, block = c->tasks->block[task];
    TraceStudent student =
        trace_student(&c->scenario->trace->blocks[block], c->tasks->student[task]);
    int64_t      reduce = 0;

    for (int i = first; i < end; i++) c->group[i - first] = l->part[i].device;
    if (end - first > 1
        && scenario_student_allreduce(c->scenario, c->group, end - first, block,
                                      c->tasks->student[task], &reduce, NULL)
               != 0)
        return false;
    for (int i = first; i < end; i++) {
        const SplitPart *part = &l->part[i];
        int64_t     ns = split_cost_task(c, task, part->device, part->rows);
        if (ns < 0) return false;
        c->compute[part->device] += ns + (c->scenario->trace->blocking_transfers ? reduce : 0);
        c->fixed[part->device] +=
            known(student.weight_bytes)
            + known(micro_gradients(c->scenario->trace->micro_batches, student.gradient_bytes))
            + known(student.state_bytes);
        c->activation[part->device] = larger(
            c->activation[part->device],
            part->rows
                * known(micro_bytes(c->scenario->trace->micro_batches, student.activation_bytes)));
        touch(c, part->device, block, (LayoutRows){part->row, part->row + part->rows});
        touch(c, part->device, block + 1, (LayoutRows){part->row, part->row + part->rows});
    }
    return true;
}

/* ---- messages ------------------------------------------------------------------------ */

static bool add_message(SplitCost *c, int from, int to, int boundary, LayoutRows rows)
{
    int64_t ns;

    if (rows.row >= rows.end) return true;
    if (scenario_p2p(c->scenario, from, to, boundary, rows.end - rows.row, &ns, NULL) != 0)
        return false;
    c->out[from] += ns;
    c->in[to] += ns;
    return true;
}

/* As schedule/split.c sends them: what a device needs and does not make, from the owners. */
static bool add_messages(SplitCost *c, const Layout *l)
{
    int boundaries = l->blocks + 1;

    for (int t = 0; t < c->touched_count; t++) {
        int  to = c->touched[t] / boundaries, k = c->touched[t] % boundaries, own = c->stage_of[to];
        LayoutRows need = c->need[c->touched[t]], self = {need.end, need.end};
        int  owner = k ? layout_stage_of(l, k - 1) : 0;
        if (own == owner) self = c->makes[to];
        for (int i = l->at[owner]; i < l->at[owner + 1]; i++) {
            LayoutRows have = c->makes[l->device[i]];
            if (l->device[i] == to) continue;
            if (!add_message(c, l->device[i], to, k,
                             (LayoutRows){larger(need.row, have.row), smaller(self.row, have.end)})
                || !add_message(
                    c, l->device[i], to, k,
                    (LayoutRows){larger(self.end, have.row), smaller(need.end, have.end)}))
                return false;
        }
    }
    return true;
}

static int64_t busy_of(const SplitCost *c, const Layout *l, int d)
{
    const TraceLoader *loader = &c->scenario->trace->loader;
    int64_t            ns = c->compute[d] + c->scenario->trace->step_ns, load = c->load[d];
    int                width = l->at[1], ahead = trace_loader_ahead(loader, width);

    if (loader->present && loader->prefetch == 0)
        ns += load * ((width + loader->lanes - 1) / loader->lanes);
    if (loader->present && loader->prefetch > 0)
        ns = larger(ns, larger(load * width / loader->lanes, load / smaller(ahead, loader->lanes)));
    if (c->scenario->trace->blocking_transfers) return ns + c->out[d];
    return larger(ns, larger(c->in[d], c->out[d]));
}

bool split_cost_busy(SplitCost *c, const Layout *l, int64_t *busy_ns)
{
    size_t devices = (size_t)l->devices;
    bool   good;

    for (int t = 0; t < c->touched_count; t++) c->need[c->touched[t]] = (LayoutRows){0, 0};
    c->touched_count = 0;
    memset(c->compute, 0, 6 * devices * sizeof *c->compute);
    for (int d = 0; d < l->devices; d++) c->stage_of[d] = -1;
    good = add_stages(c, l);
    for (int i = 0, end; good && i < l->parts; i = end) {
        for (end = i + 1; end < l->parts && l->part[end].task == l->part[i].task;) end++;
        good = add_task(c, l, i, end);
    }
    good = good && add_messages(c, l);
    for (int d = 0; good && d < l->devices; d++) {
        int64_t limit = c->scenario->memory_bytes[d];
        busy_ns[d] = busy_of(c, l, d);
        good =
            !limit || c->fixed[d] + c->activation[d] + c->scenario->trace->process_bytes <= limit;
    }
    return good;
}
