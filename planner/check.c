#include "planner/check.h"

#include <inttypes.h>
#include <stdlib.h>

__extension__ typedef __int128 Wide;

typedef struct {
    const Plan     *plan;
    const Scenario *scenario;
    const Trace    *trace;
    Error          *err;
} Check;

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t some(int64_t bytes)        { return bytes > 0 ? bytes : 0; }

/* ---- the trace's points ---------------------------------------------------------- */

/* The line through (ax, a) and (bx, b) at x, nearest whole number, not below 0. */
static int64_t line(int64_t ax, int64_t a, int64_t bx, int64_t b, int64_t x)
{
    Wide den = (Wide)bx - ax, num = (Wide)a * den + ((Wide)b - a) * ((Wide)x - ax);

    return num <= 0 ? 0 : (int64_t)((2 * num + den) / (2 * den));
}

/* The point's time while the other devices compute as much as the scenario says; in dp and ls a
 * step trains one block alone. */
static int64_t point_ns(const Check *c, const CurvePoint *p, double load)
{
    bool    lone = c->plan->schedule == SCHEDULE_DP || c->plan->schedule == SCHEDULE_LS;
    int64_t ns = p->ns, busy = p->busy_ns;

    if (lone && p->lone_ns) {            /* slowed down in the same proportion */
        ns = p->lone_ns;
        busy = p->ns ? (int64_t)((double)ns * (double)p->busy_ns / (double)p->ns + 0.5) : ns;
    }
    return busy > ns ? ns + (int64_t)(load * (double)(busy - ns) + 0.5) : ns;
}

/* -1: not within the points. */
static int64_t read_curve(const Check *c, const Curve *curve, int64_t x, double load)
{
    const CurvePoint *p = curve->points;
    int               n = curve->count, at = 0;

    for (int i = 0; i < n; i++) if (p[i].x == x) return point_ns(c, &p[i], load);
    if (n == 0 || (!c->scenario->extrapolate && (x < p[0].x || x > p[n - 1].x))) return -1;
    if (n == 1) return p[0].x > 0 ? line(0, 0, p[0].x, point_ns(c, &p[0], load), x) : point_ns(c, &p[0], load);
    while (at < n - 2 && x > p[at + 1].x) at++;
    return line(p[at].x, point_ns(c, &p[at], load), p[at + 1].x, point_ns(c, &p[at + 1], load), x);
}

static int fail(const Check *c, int stage, const char *what, int block, const char *link, int64_t amount, const char *unit)
{
    return error_set(c->err, "stage %d: no %s%s for block \"%.60s\" at %" PRId64 " %s in the trace%s", stage, link, what,
                     c->trace->blocks[block].name, amount, unit, c->scenario->extrapolate ? "" : ", expected one, or --extrapolate");
}

static int student_count(const TraceBlock *block) { return block->students ? block->student_count : 1; }

/* Of all the block's students, one after another. */
static int add_work(const Check *c, int stage, Work work, int block, int device, int64_t rows, int64_t *sum)
{
    static const char *const names[WORK_COUNT] = {"teacher time", "forward time", "backward time", "update time"};
    const TraceBlock *b = &c->trace->blocks[block];
    int               count = work == WORK_TEACHER ? 1 : student_count(b);

    for (int j = 0; j < count; j++) {
        Curve *const *works = work != WORK_TEACHER && b->students ? b->students[j].work : b->work;
        int64_t       ns = read_curve(c, &works[work][c->scenario->kinds[device]], rows, c->scenario->load);
        if (ns < 0) return fail(c, stage, names[work], block, "", rows, "rows");
        if (c->trace->slowdown) ns = (int64_t)((double)ns * c->trace->slowdown[device] + 0.5);
        *sum += ns;
    }
    return 0;
}

static bool across(const Check *c, int a, int b)
{
    int per_node = c->trace->devices_per_node;

    return per_node > 0 && a / per_node != b / per_node;
}

static bool spans_nodes(const Check *c, const Stage *stage)
{
    for (int i = 1; i < stage->width; i++) if (across(c, stage->devices[0], stage->devices[i])) return true;
    return false;
}

static int message(const Check *c, int stage, int boundary, int from, int to, int64_t rows, int64_t *ns)
{
    bool              far = across(c, from, to);
    const TraceLinks *links = far ? &c->trace->node_links : &c->trace->links;
    int64_t           bytes = boundary ? c->trace->blocks[boundary - 1].output_bytes : c->trace->input_bytes;

    *ns = 0;
    if (links->p2p.count == 0 || bytes == TRACE_ABSENT) return 0;
    *ns = read_curve(c, &links->p2p, rows * bytes, 0);
    return *ns >= 0 ? 0 : fail(c, stage, "p2p", boundary - 1, far ? "nodes." : "", rows * bytes, "bytes");
}

/* One student's gradients; -1: not in the trace. */
static int64_t reduce_one(const Check *c, const TraceLinks *links, int width, int64_t bytes)
{
    int n = links->reduce_count, up = 0;

    while (up < n - 1 && links->reduces[up].devices < width) up++;
    const TraceReduce *high = &links->reduces[up], *low = up > 0 ? high - 1 : high;
    bool    beyond = width > high->devices || (up == 0 && width < high->devices);
    int64_t top = read_curve(c, &high->curve, bytes, 0), bottom;
    if (beyond && !c->scenario->extrapolate) return -1;
    if (beyond || high->devices == width) return top;
    bottom = read_curve(c, &low->curve, bytes, 0);
    return top < 0 || bottom < 0 ? -1 : line(low->devices, bottom, high->devices, top, width);
}

static int reduce(const Check *c, int index, const Stage *stage, int block, int64_t *ns)
{
    bool              far = spans_nodes(c, stage);
    const TraceLinks *links = far ? &c->trace->node_links : &c->trace->links;
    const TraceBlock *b = &c->trace->blocks[block];

    *ns = 0;
    for (int j = 0; stage->width > 1 && links->reduce_count > 0 && j < student_count(b); j++) {
        int64_t bytes = b->students ? b->students[j].gradient_bytes : b->gradient_bytes;
        int64_t one = bytes == TRACE_ABSENT ? 0 : reduce_one(c, links, stage->width, bytes);
        if (one < 0) return fail(c, index, "allreduce", block, far ? "nodes." : "", bytes, "bytes");
        *ns += one;
    }
    return 0;
}

static int64_t load_ns(const Check *c, int64_t rows)
{
    const TraceLoader *l = &c->trace->loader;

    return l->present ? l->batch_ns + (int64_t)(l->sample_ns * (double)rows + 0.5) : 0;
}

/* What loading adds up to for one of width devices that load at the same time; together no
 * more than with equal shares. */
static int64_t load_share(const Check *c, int64_t rows, int width)
{
    const TraceLoader *l = &c->trace->loader;
    int64_t            ns = load_ns(c, rows), even = load_ns(c, (c->plan->batch + width - 1) / width), turns = (width + l->lanes - 1) / (l->lanes > 0 ? l->lanes : 1);

    if (!l->present) return 0;
    if (l->prefetch == 0) return turns * ns;
    return most(ns / (l->prefetch < l->lanes ? l->prefetch : l->lanes), (ns < even ? ns : even) * width / l->lanes);
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
        if (reduce(c, index, stage, b, &ns) != 0) return -1;
        part->reduce_ns += ns;
    }
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
        *end = most(*end, part->teacher_ns + student + part->reduce_ns - before);
        if (reduce(c, index, stage, a, &ns) != 0) return -1;
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
    if (add_work(c, index, WORK_UPDATE, c->plan->stages[index].last, d, rows, &last) != 0) return -1;
    if (lane_end(c, index, i, part, &lane) != 0) return -1;
    *ns = most(compute, lane + last);
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

static int64_t weights(const TraceBlock *b)
{
    return some(b->student_weight_bytes) + some(b->gradient_bytes) + some(b->state_bytes);
}

/* A stage of a chain: going up, boundaries pile up; then block after block lets go of one.
 * A phase (from 0): the teacher keeps no boundary but the trained block's. */
static int64_t memory_of(const Check *c, int first, int last, int64_t rows, bool phase)
{
    const TraceBlock *blocks = c->trace->blocks;
    int64_t           peak = 0, fixed = 0, waiting = 0;

    for (int b = phase ? 0 : first; b <= last; b++) fixed += some(blocks[b].teacher_weight_bytes);
    for (int b = first; b <= last; b++) fixed += weights(&blocks[b]);
    for (int b = phase ? 0 : first; b <= last; b++)
        peak = most(peak, boundaries(c, phase ? b : first, b + 1) + some(blocks[b].teacher_activation_bytes));
    for (int b = first; b <= last; b++)
        peak = most(peak, boundaries(c, b, last + 1) + some(blocks[b].student_activation_bytes));
    if ((phase || first == 0) && c->trace->loader.present) waiting = c->trace->loader.prefetch * boundary_bytes(c, 0);
    if (!phase && first > 0) waiting = c->scenario->queue_depth * boundary_bytes(c, first);
    return fixed + rows * (peak + waiting);
}

/* ---- stages -------------------------------------------------------------------------------- */

static bool is_phase(const Plan *plan) { return plan->schedule == SCHEDULE_DP || plan->schedule == SCHEDULE_LS; }

static int add_messages(const Check *c, int index, int i, CheckedPart *part)
{
    const Stage *s = &c->plan->stages[index];

    if (index > 0
        && message(c, index, s->first, s[-1].devices[s[-1].width - 1], s->devices[0], s->rows[i], &part->in_ns) != 0) return -1;
    if (index + 1 < c->plan->stage_count
        && message(c, index, s->last + 1, s->devices[s->width - 1], s[1].devices[0], s->rows[i], &part->out_ns) != 0) return -1;
    return 0;
}

/* Device i of a stage; of a task that anyone may take, device i of all. */
static int price_part(const Check *c, int index, int i, CheckedPart *part)
{
    const Stage *stage = &c->plan->stages[index];
    int64_t      rows = stage->width ? stage->rows[i] : c->plan->batch;
    bool         phase = is_phase(c->plan), ahead = c->trace->loader.prefetch > 0;

    *part = (CheckedPart){0};
    if (add_compute(c, index, i, phase ? 0 : stage->first, part) != 0) return -1;
    if (busy_ns(c, index, i, part, &part->step_ns) != 0) return -1;
    if (c->plan->schedule == SCHEDULE_LS) part->load_ns = load_ns(c, rows);
    else if (phase || index == 0)         part->load_ns = load_share(c, rows, stage->width);
    part->step_ns = ahead && c->plan->schedule != SCHEDULE_LS ? most(part->step_ns, part->load_ns)
                                                              : part->step_ns + part->load_ns;
    part->memory_bytes = memory_of(c, stage->first, stage->last, rows, phase);
    if (phase) return 0;
    if (add_messages(c, index, i, part) != 0) return -1;
    part->step_ns = c->trace->blocking_transfers ? part->step_ns + part->out_ns
                                                 : most(part->step_ns, most(part->in_ns, part->out_ns));
    return 0;
}

/* The device nearest to its limit: by what is left, those without a limit last. */
static bool tighter(const Scenario *s, int64_t bytes, int device, const CheckedStage *now)
{
    int64_t limit = s->memory_bytes[device], other = s->memory_bytes[now->memory_device];

    if (now->memory_bytes < 0) return true;
    if (!limit || !other) return limit ? true : other ? false : bytes > now->memory_bytes;
    return limit - bytes < other - now->memory_bytes;
}

static int price_stage(const Check *c, int index, CheckedStage *out)
{
    const Stage *stage = &c->plan->stages[index];
    int          count = stage->width ? stage->width : c->plan->device_count;

    *out = (CheckedStage){.slowest = -1, .memory_bytes = -1};
    for (int i = 0; i < count; i++) {
        CheckedPart part;
        int         device = stage->width ? stage->devices[i] : i;
        int64_t     limit = c->scenario->memory_bytes[device];
        if (price_part(c, index, i, &part) != 0) return -1;
        if (limit && part.memory_bytes > limit)
            return error_set(c->err, "stage %d: device %d needs %.6g MiB, but has %.6g", index, device,
                             (double)part.memory_bytes * 0x1p-20, (double)limit * 0x1p-20);
        if (tighter(c->scenario, part.memory_bytes, device, out)) {
            out->memory_bytes = part.memory_bytes;
            out->memory_device = device;
        }
        if (out->slowest >= 0 && part.step_ns <= out->step_ns) continue;
        out->step_ns = part.step_ns;
        out->slowest = i;
        out->part = part;
    }
    out->group_across = spans_nodes(c, stage);
    out->in_across = !is_phase(c->plan) && index > 0 && across(c, stage[-1].devices[stage[-1].width - 1], stage->devices[0]);
    return 0;
}

/* ---- the plan as a whole ---------------------------------------------------------------------- */

static int check_sizes(const Check *c)
{
    const Plan *p = c->plan;

    if (p->schedule == SCHEDULE_SPLIT)
        return error_set(c->err, "a split plan is not checked: pipebd-sim --plan prices it");
    for (int b = 0; p->students && b < p->block_count && b < c->trace->block_count; b++)
        if (p->students[b] != student_count(&c->trace->blocks[b]))
            return error_set(c->err, "the plan is for %d students of block %d, expected %d as in the trace", p->students[b], b,
                             student_count(&c->trace->blocks[b]));
    if (p->block_count != c->trace->block_count)
        return error_set(c->err, "the plan is for %d blocks, expected %d as in the trace", p->block_count, c->trace->block_count);
    if (p->device_count != c->scenario->device_count)
        return error_set(c->err, "the plan is for %d devices, but there are %d", p->device_count, c->scenario->device_count);
    if (p->batch != c->scenario->batch)
        return error_set(c->err, "the plan is for batch %" PRId64 ", but it is %" PRId64, p->batch, c->scenario->batch);
    return 0;
}

/* used[device], times[block]: so far. */
static int cover(const Check *c, int index, int *used, int *times)
{
    const Stage *stage = &c->plan->stages[index];
    int64_t      rows = 0;

    for (int i = 0; i < stage->width; i++) {
        int d = stage->devices[i];
        if (d < 0 || d >= c->plan->device_count || stage->rows[i] < 1)
            return error_set(c->err, "stage %d: %" PRId64 " rows on device %d of %d", index, stage->rows[i], d,
                             c->plan->device_count);
        if (used[d] && !is_phase(c->plan)) return error_set(c->err, "stage %d: device %d is in stage %d too", index, d, used[d] - 1);
        used[d] = index + 1;
        rows += stage->rows[i];
    }
    if (stage->width ? rows != c->plan->batch : !c->plan->stealing)
        return error_set(c->err, "stage %d: its devices have %" PRId64 " rows together, expected the batch, %" PRId64, index,
                         rows, c->plan->batch);
    if (stage->first < 0 || stage->last < stage->first || stage->last >= c->plan->block_count)
        return error_set(c->err, "stage %d: blocks %d to %d of %d", index, stage->first, stage->last, c->plan->block_count);
    if (!is_phase(c->plan) && stage->first != (index ? stage[-1].last + 1 : 0))
        return error_set(c->err, "stage %d: starts with block %d, expected %d", index, stage->first,
                         index ? stage[-1].last + 1 : 0);
    for (int b = stage->first; b <= stage->last; b++)
        if (times[b]++) return error_set(c->err, "stage %d: block %d is in an earlier stage too", index, b);
    return 0;
}

static int check_cover(const Check *c, int *used, int *times)
{
    for (int i = 0; i < c->plan->stage_count; i++) if (cover(c, i, used, times) != 0) return -1;
    for (int b = 0; b < c->plan->block_count; b++)
        if (times[b] != 1) return error_set(c->err, "block %d is in no stage", b);
    return 0;
}

/* busy: [devices] zero. */
static void find_bottleneck(const Check *c, CheckedPlan *out, int64_t *busy)
{
    out->bottleneck = -1;
    if (c->plan->stealing) return;
    for (int i = 0; i < c->plan->stage_count; i++) {
        int64_t ns = out->stages[i].step_ns;
        if (c->plan->schedule == SCHEDULE_LS) ns = busy[c->plan->stages[i].devices[0]] += ns;
        if (c->plan->schedule == SCHEDULE_DP) ns += out->bottleneck_ns;
        if (out->bottleneck >= 0 && ns <= out->bottleneck_ns) continue;
        out->bottleneck_ns = ns;
        out->bottleneck = c->plan->schedule == SCHEDULE_LS ? c->plan->stages[i].devices[0] : i;
    }
    if (c->plan->schedule == SCHEDULE_DP) out->bottleneck = -1;      /* all of them in turn */
}

int check_plan(CheckedPlan *out, const Plan *plan, const Scenario *scenario, Error *err)
{
    Check    c = {plan, scenario, scenario->trace, err};
    size_t   g = (size_t)plan->device_count + 1;
    int     *used = calloc(g, sizeof *used), *times = calloc((size_t)plan->block_count + 1, sizeof *times);
    int64_t *busy = calloc(g, sizeof *busy);
    int      rc = -1;

    *out = (CheckedPlan){.stages = calloc((size_t)plan->stage_count + 1, sizeof *out->stages)};
    if (!used || !times || !busy || !out->stages) { error_no_memory(err); goto done; }
    if (check_sizes(&c) != 0 || check_cover(&c, used, times) != 0) goto done;
    for (int i = 0; i < plan->stage_count; i++)
        if (price_stage(&c, i, &out->stages[i]) != 0) goto done;
    find_bottleneck(&c, out, busy);
    rc = 0;
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
    checked->stages = NULL;
}
