#include "planner/check/check.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/micro.h"
#include "base/minmax.h"
#include "planner/check/check_points.h"
#include "planner/check/check_store.h"
#include "schedule/registry.h"

static int64_t some(int64_t bytes)          { return bytes > 0 ? bytes : 0; }

/* Of all the block's students, one after another. */
static int add_work(const Check *c, int stage, Work work, int block, int device, int64_t rows,
                    int64_t *sum)
{
    int count = work == WORK_TEACHER ? 1 : check_students(&c->trace->blocks[block]);

    for (int j = 0; j < count; j++)
        if (check_work(c, stage, work, block, j, device, rows, sum) != 0) return -1;
    return 0;
}

static int add_reduces(const Check *c, int index, const Stage *stage, int block, int64_t *ns)
{
    *ns = 0;
    for (int j = 0; j < check_students(&c->trace->blocks[block]); j++)
        if (check_reduce(c, index, stage, block, j, ns) != 0) return -1;
    return 0;
}

/* ---- a device in a stage ------------------------------------------------------------- */

/* Teacher blocks from..last, students first..last: a stage of a chain when from is first,
 * a phase when it is 0. fits the definition at the head of check.h. */
static int add_compute(const Check *c, int index, int i, int from, CheckedPart *part)
{
    const Stage *stage = &c->plan->stages[index];
    int          d = stage->width ? stage->devices[i] : i;
    int64_t      rows = stage->width ? stage->rows[i] : c->plan->batch, ns;

    for (int b = from; b <= stage->last; b++)
        if (add_work(c, index, WORK_TEACHER, b, d, rows, &part->teacher_ns) != 0) return -1;
    for (int b = stage->first; b <= stage->last; b++) {
        if (add_work(c, index, WORK_FORWARD, b, d, rows, &part->student_ns) != 0) return -1;
        if (add_work(c, index, WORK_BACKWARD, b, d, rows, &part->student_ns) != 0) return -1;
        if (add_work(c, index, WORK_UPDATE, b, d, rows, &part->update_ns) != 0) return -1;
        if (add_reduces(c, index, stage, b, &ns) != 0) return -1;
        part->reduce_ns += ns;
    }
    part->update_ns += c->trace->step_ns;
    return 0;
}

/* T + max over a of (S(first..a) + R(a..last)). */
static int lane_end(const Check *c, int index, int i, const CheckedPart *part, int64_t *end)
{
    const Stage *stage = &c->plan->stages[index];
    int          d = stage->width ? stage->devices[i] : i;
    int64_t      rows = stage->width ? stage->rows[i] : c->plan->batch, student = 0, before = 0, ns;

    *end = 0;
    for (int a = stage->first; a <= stage->last; a++) {
        if (add_work(c, index, WORK_FORWARD, a, d, rows, &student) != 0) return -1;
        if (add_work(c, index, WORK_BACKWARD, a, d, rows, &student) != 0) return -1;
        *end = larger(*end, part->teacher_ns + student + part->reduce_ns - before);
        if (add_reduces(c, index, stage, a, &ns) != 0) return -1;
        before += ns;
    }
    return 0;
}

/* Compute with its all-reduces. */
static int busy_ns(const Check *c, int index, int i, const CheckedPart *part, int64_t *ns)
{
    int64_t lane, last = 0, compute = part->teacher_ns + part->student_ns + part->update_ns;
    int     d = c->plan->stages[index].width ? c->plan->stages[index].devices[i] : i;
    int64_t rows = c->plan->stages[index].width ? c->plan->stages[index].rows[i] : c->plan->batch;

    *ns = compute + part->reduce_ns;
    if (c->trace->blocking_transfers || part->reduce_ns == 0) return 0;
    if (add_work(c, index, WORK_UPDATE, c->plan->stages[index].last, d, rows, &last) != 0)
        return -1;
    if (lane_end(c, index, i, part, &lane) != 0) return -1;
    *ns = larger(compute, lane + last + c->trace->step_ns);
    return 0;
}

/* ---- memory ------------------------------------------------------------------------------ */

static int64_t boundary_bytes(const Check *c, int k)
{
    return some(k ? c->trace->blocks[k - 1].output_bytes : c->trace->input_bytes);
}

/* Boundaries low..high, a row. */
static int64_t boundaries(const Check *c, int low, int high)
{
    int64_t sum = 0;

    for (int k = low; k <= high; k++) sum += boundary_bytes(c, k);
    return sum;
}

static int64_t weights(const Check *c, const TraceBlock *b)
{
    return some(b->student_weight_bytes)
           + some(micro_gradients(c->trace->micro_batches, b->gradient_bytes))
           + some(b->state_bytes);
}

/* A stage of a chain: going up, boundaries pile up; then block after block lets go of one.
 * A phase (from 0): the teacher keeps no boundary but the trained block's. */
int64_t check_memory(const Check *c, int first, int last, int64_t rows, bool phase)
{
    const TraceBlock *blocks = c->trace->blocks;
    int64_t           peak = 0, fixed = c->trace->process_bytes, waiting = 0;

    for (int b = phase ? 0 : first; b <= last; b++) fixed += some(blocks[b].teacher_weight_bytes);
    for (int b = first; b <= last; b++) fixed += weights(c, &blocks[b]);
    for (int b = phase ? 0 : first; b <= last; b++)
        peak = larger(peak, boundaries(c, phase ? b : first, b + 1)
                                + some(blocks[b].teacher_activation_bytes));
    for (int b = first; b <= last; b++)
        peak = larger(peak, boundaries(c, b, last + 1)
                                + some(micro_bytes(c->trace->micro_batches,
                                                   blocks[b].student_activation_bytes)));
    if ((phase || first == 0) && c->trace->loader.present)
        waiting = trace_loader_held(&c->trace->loader) * boundary_bytes(c, 0);
    if (!phase && first > 0) waiting = c->scenario->queue_depth * boundary_bytes(c, first);
    return fixed + rows * (peak + waiting);
}

/* ---- phases and tasks ------------------------------------------------------------------------ */

static bool is_phase(const Plan *plan) { return schedule_row(plan->schedule)->phases; }

/* Device i of a phase; of a task that anyone may take, device i of all. */
static int price_part(const Check *c, int index, int i, int64_t load_ns, CheckedPart *part)
{
    const Stage *stage = &c->plan->stages[index];
    int64_t      rows = stage->width ? stage->rows[i] : c->plan->batch;
    bool         ahead = c->trace->loader.prefetch > 0;

    *part = (CheckedPart){.load_ns = load_ns};
    if (add_compute(c, index, i, 0, part) != 0) return -1;
    if (busy_ns(c, index, i, part, &part->step_ns) != 0) return -1;
    part->step_ns = ahead ? larger(part->step_ns, part->load_ns) : part->step_ns + part->load_ns;
    part->memory_bytes = check_memory(c, stage->first, stage->last, rows, true);
    return 0;
}

/* The device nearest to its limit: by what is left, those without a limit last. */
static bool tighter(const Scenario *s, int64_t bytes, int device, const CheckedStage *now)
{
    int64_t limit = s->memory_bytes[device], other = s->memory_bytes[now->memory_device];

    if (now->slowest < 0) return true;
    if (!limit || !other) return limit ? true : other ? false : bytes > now->memory_bytes;
    return limit - bytes < other - now->memory_bytes;
}

int check_add_part(const Check *c, CheckedStage *out, int index, int i, const CheckedPart *part)
{
    const Stage *stage = &c->plan->stages[index];
    int          device = stage->width ? stage->devices[i] : i;
    int64_t      limit = c->scenario->memory_bytes[device];

    if (i == 0) *out = (CheckedStage){.slowest = -1};
    if (limit && part->memory_bytes > limit)
        return error_set(c->err, "stage %d: device %d needs %.6g MiB, but has %.6g", index, device,
                         (double)part->memory_bytes * 0x1p-20, (double)limit * 0x1p-20);
    if (tighter(c->scenario, part->memory_bytes, device, out)) {
        out->memory_bytes = part->memory_bytes;
        out->memory_device = device;
    }
    if (out->slowest >= 0 && part->step_ns <= out->step_ns) return 0;
    out->step_ns = part->step_ns;
    out->slowest = i;
    out->part = *part;
    return 0;
}

/* Those that load in ls, as the search counts. */
static int check_ls_devices(const Check *c)
{
    return c->plan->block_count < c->plan->device_count ? c->plan->block_count
                                                        : c->plan->device_count;
}

static int price_stage(const Check *c, int index, CheckedStage *out)
{
    const Stage *stage = &c->plan->stages[index];
    int          count = stage->width ? stage->width : c->plan->device_count, rc = -1;
    int64_t      batch = c->plan->batch, *loads = calloc((size_t)count, sizeof *loads);
    Stage        alone = {.width = 1, .rows = &batch};
    CheckedPart  part;

    if (!loads) return error_no_memory(c->err);
    int devices = schedule_row(c->plan->schedule)->lists ? check_ls_devices(c) : stage->width;
    if (check_loads(c, schedule_row(c->plan->schedule)->lists ? &alone : stage, devices, loads)
        != 0)
        goto done;
    for (int i = 0; i < count; i++)
        if (price_part(c, index, i, loads[stage->width ? i : 0], &part) != 0
            || check_add_part(c, out, index, i, &part) != 0) goto done;
    out->group_across = check_spans(c, stage);
    rc = 0;
done:
    free(loads);
    return rc;
}

/* ---- the plan as a whole --------------------------------------------------------------------- */

static int check_sizes(const Check *c)
{
    const Plan *p = c->plan;

    for (int b = 0; p->students && b < p->block_count && b < c->trace->block_count; b++)
        if (p->students[b] != check_students(&c->trace->blocks[b]))
            return error_set(c->err,
                             "the plan is for %d students of block %d, expected %d as in the trace",
                             p->students[b], b, check_students(&c->trace->blocks[b]));
    if (p->block_count != c->trace->block_count)
        return error_set(c->err, "the plan is for %d blocks, expected %d as in the trace",
                         p->block_count, c->trace->block_count);
    if (p->device_count != c->scenario->device_count)
        return error_set(c->err, "the plan is for %d devices, but there are %d", p->device_count,
                         c->scenario->device_count);
    if (p->batch != c->scenario->batch)
        return error_set(c->err, "the plan is for batch %" PRId64 ", but it is %" PRId64, p->batch,
                         c->scenario->batch);
    return 0;
}

int check_rows(const Check *c, const char *kind, int index, const Stage *stage, int *seen)
{
    int64_t rows = 0;

    for (int i = 0; i < stage->width; i++) {
        int d = stage->devices[i];
        if (d < 0 || d >= c->plan->device_count || stage->rows[i] < 1)
            return error_set(c->err, "%s %d: %" PRId64 " rows on device %d of %d", kind, index,
                             stage->rows[i], d, c->plan->device_count);
        if (seen[d] == index + 1)
            return error_set(c->err, "%s %d: device %d is in it twice", kind, index, d);
        seen[d] = index + 1;
        rows += stage->rows[i];
    }
    if (rows == c->plan->batch) return 0;
    return error_set(c->err,
                     "%s %d: its devices have %" PRId64
                     " rows together, expected the batch, %" PRId64,
                     kind, index, rows, c->plan->batch);
}

/* used[device], seen[device], times[block]: so far. */
static int cover(const Check *c, int index, int *used, int *seen, int *times)
{
    const Stage *stage = &c->plan->stages[index];
    bool         anyone = c->plan->stealing && stage->width == 0;

    if (!anyone && check_rows(c, "stage", index, stage, seen) != 0) return -1;
    for (int i = 0; i < stage->width; i++) {
        int d = stage->devices[i];
        if (used[d] && !is_phase(c->plan))
            return error_set(c->err, "stage %d: device %d is in stage %d too", index, d,
                             used[d] - 1);
        used[d] = index + 1;
    }
    if (stage->first < 0 || stage->last < stage->first || stage->last >= c->plan->block_count)
        return error_set(c->err, "stage %d: blocks %d to %d of %d", index, stage->first,
                         stage->last, c->plan->block_count);
    if (!is_phase(c->plan) && stage->first != (index ? stage[-1].last + 1 : 0))
        return error_set(c->err, "stage %d: starts with block %d, expected %d", index, stage->first,
                         index ? stage[-1].last + 1 : 0);
    for (int b = stage->first; b <= stage->last; b++)
        if (times[b]++)
            return error_set(c->err, "stage %d: block %d is in an earlier stage too", index, b);
    return 0;
}

/* used, seen: [devices] zero, times: [blocks] zero. */
static int check_cover(const Check *c, int *used, int *seen, int *times)
{
    for (int i = 0; i < c->plan->stage_count; i++)
        if (cover(c, i, used, seen, times) != 0) return -1;
    for (int b = 0; b < c->plan->block_count; b++)
        if (times[b] != 1) return error_set(c->err, "block %d is in no stage", b);
    return 0;
}

/* busy: [devices] zero. */
static void find_bottleneck(const Check *c, CheckedPlan *out, int64_t *busy)
{
    const ScheduleRow *row = schedule_row(c->plan->schedule);
    bool               in_turn = row->phases && row->whole;

    out->bottleneck = -1;
    if (c->plan->stealing) return;
    for (int i = 0; i < c->plan->stage_count; i++) {
        int64_t ns = out->stages[i].step_ns;
        if (row->lists) ns = busy[c->plan->stages[i].devices[0]] += ns;
        if (in_turn) ns += out->bottleneck_ns;
        if (out->bottleneck >= 0 && ns <= out->bottleneck_ns) continue;
        out->bottleneck_ns = ns;
        out->bottleneck = row->lists ? c->plan->stages[i].devices[0] : i;
    }
    if (in_turn) out->bottleneck = -1;      /* all of them in turn */
}

static int price_plan(Check *c, CheckedPlan *out, int64_t *busy)
{
    if (schedule_row(c->plan->schedule)->apart) return check_split(out, c);
    if (!is_phase(c->plan)) return check_chain(out, c);
    for (int i = 0; i < c->plan->stage_count; i++)
        if (price_stage(c, i, &out->stages[i]) != 0) return -1;
    find_bottleneck(c, out, busy);
    return 0;
}

int check_plan(CheckedPlan *out, const Plan *plan, const Scenario *scenario, Error *err)
{
    Check    c = {plan, scenario, scenario->trace, err, "stage", false};
    size_t   g = (size_t)plan->device_count + 1;
    int     *used = calloc(2 * g, sizeof *used),
        *times = calloc((size_t)plan->block_count + 1, sizeof *times);
    int64_t *busy = calloc(g, sizeof *busy);
    bool     split = schedule_row(plan->schedule)->apart, stores = plan->stored != NULL;
    int      rc = -1;

    *out = (CheckedPlan){0};
    if (split)        out->devices = calloc(g, sizeof *out->devices);
    else if (!stores) out->stages = calloc((size_t)plan->stage_count + 1, sizeof *out->stages);
    if (!used || !times || !busy
        || !(stores || (split ? (void *)out->devices : (void *)out->stages))) {
        error_no_memory(err);
        goto done;
    }
    if (check_sizes(&c) != 0) goto done;
    if (stores) rc = check_store(out, &c);
    else if (check_cover(&c, used, used + g, times) == 0) rc = price_plan(&c, out, busy);
done:
    if (rc != 0) check_free(out);
    free(used);
    free(times);
    free(busy);
    return rc;
}

void check_free(CheckedPlan *checked)
{
    free(checked->stages);
    free(checked->devices);
    free(checked->phases);
    *checked = (CheckedPlan){0};
}
