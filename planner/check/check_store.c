#include "planner/check/check_store.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/minmax.h"

/* ---- which phases there are ------------------------------------------------------------- */

/* The nearest stored boundary at or below block; the input where there is none. */
static int start_below(const Plan *plan, int block)
{
    while (block > 0 && plan->stored[block] < 0) block--;
    return block;
}

/* In the order in which devices come to them: with turns a stage's first epoch and its others, one
 * stage after another. */
static void list_phases(CheckedPlan *out, const Plan *plan)
{
    for (int i = 0; i < plan->stage_count; i++) {
        const Stage *stage = &plan->stages[i];
        int          from = plan->turns ? start_below(plan, stage->first) : stage->first;
        out->phases[out->phase_count++] = (CheckedPhase){
            .stage = stage, .epochs = 1, .from = from, .relays = !plan->turns};
        if (plan->turns && plan->epochs > 1)
            out->phases[out->phase_count++] = (CheckedPhase){
                .stage = stage, .epochs = plan->epochs - 1, .from = from, .later = true};
    }
    for (int i = 0; i < plan->later_count; i++)
        out->phases[out->phase_count++] =
            (CheckedPhase){.stage = &plan->later[i], .epochs = plan->epochs - 1, .later = true,
                           .from = start_below(plan, plan->later[i].first)};
}

/* Whether the phase fetches a boundary that it needs: somebody stored it before. */
static bool fetches(const Plan *plan, const CheckedPhase *phase, int k)
{
    if (phase->relays || plan->stored[k] < 0) return false;
    return phase->later || (k > 0 && k <= phase->stage->first);
}

/* ---- who trains what -------------------------------------------------------------------- */

/* times: [blocks] zero, seen: [devices] zero. */
static int check_blocks(const Check *c, const char *kind, const Stage *stages, int count,
                        int *times, int *seen)
{
    for (int i = 0; i < count; i++) {
        const Stage *stage = &stages[i];
        if (stage->first < 0 || stage->last < stage->first || stage->last >= c->plan->block_count)
            return error_set(c->err, "%s %d: blocks %d to %d of %d", kind, i, stage->first,
                             stage->last, c->plan->block_count);
        if (check_rows(c, kind, i, stage, seen) != 0) return -1;
        for (int b = stage->first; b <= stage->last; b++)
            if (times[b]++)
                return error_set(c->err, "%s %d: block %d is in an earlier %s too", kind, i, b,
                                 kind);
    }
    for (int b = 0; b < c->plan->block_count && count > 0; b++)
        if (times[b] == 0) return error_set(c->err, "block %d is in no %s", b, kind);
    return 0;
}

static int check_all_blocks(const Check *c)
{
    const Plan *plan = c->plan;
    size_t      n = (size_t)plan->block_count, g = (size_t)plan->device_count;
    int        *times = calloc(2 * (n + g) + 1, sizeof *times), rc = -1;

    if (!times) return error_no_memory(c->err);
    int *seen = times + 2 * n;
    if (check_blocks(c, "stage", plan->stages, plan->stage_count, times, seen) == 0)
        rc = check_blocks(c, "later stage", plan->later, plan->later_count, times + n,
                          seen + g);
    free(times);
    return rc;
}

/* ---- what it costs ---------------------------------------------------------------------- */

/* The students of the stage's blocks on its i-th device, one after another. */
static int add_students(const Check *c, const CheckedPhase *phase, int index, int i,
                        CheckedPart *part)
{
    const Stage *stage = phase->stage;

    for (int b = stage->first; b <= stage->last; b++)
        for (int j = 0; j < check_students(&c->trace->blocks[b]); j++)
            if (check_work(c, index, WORK_FORWARD, b, j, stage->devices[i], stage->rows[i],
                           &part->student_ns)
                    != 0
                || check_work(c, index, WORK_BACKWARD, b, j, stage->devices[i], stage->rows[i],
                              &part->student_ns)
                       != 0
                || check_work(c, index, WORK_UPDATE, b, j, stage->devices[i], stage->rows[i],
                              &part->update_ns)
                       != 0
                || check_reduce(c, index, stage, b, j, &part->reduce_ns) != 0)
                return -1;
    return 0;
}

/* A step of the phase's i-th device. */
static int price_device(const Check *c, const CheckedPhase *phase, int index, int i,
                        CheckedPart *part)
{
    const Stage *stage = phase->stage;

    *part = (CheckedPart){0};
    if (phase->from == 0 && !fetches(c->plan, phase, 0))
        part->load_ns = check_load(c, stage->rows[i]);
    for (int b = phase->from; b <= stage->last; b++)
        if (!fetches(c->plan, phase, b + 1)
            && check_work(c, index, WORK_TEACHER, b, 0, stage->devices[i], stage->rows[i],
                          &part->teacher_ns)
                   != 0)
            return -1;
    if (add_students(c, phase, index, i, part) != 0) return -1;
    part->update_ns += c->trace->step_ns;
    int64_t work = part->teacher_ns + part->student_ns + part->update_ns;
    part->step_ns = c->trace->blocking_transfers ? work + part->reduce_ns
                                                 : larger(work, part->reduce_ns);
    return 0;
}

/* Of a row as it is stored. */
static int64_t row_bytes(const Check *c, int k)
{
    int64_t bytes = k ? c->trace->blocks[k - 1].output_bytes : c->trace->input_bytes;

    return bytes > 0 ? (int64_t)ceil((double)bytes * trace_stored_share(c->trace)) : 0;
}

static void count_bytes(const Check *c, CheckedPhase *phase)
{
    const Stage *stage = phase->stage;

    for (int k = phase->from; k <= stage->last + 1; k++)
        if (fetches(c->plan, phase, k)) phase->fetched_bytes += c->plan->batch * row_bytes(c, k);
    for (int k = stage->first ? stage->first + 1 : 0; k <= stage->last + 1 && !phase->later; k++)
        if (c->plan->stored[k] >= 0) phase->stored_bytes += c->plan->batch * row_bytes(c, k);
}

/* Adds steps of step_ns, those of so many epochs, to a device's work. */
static int add_epochs(const Check *c, int64_t epochs, int64_t step_ns, int64_t *busy_ns)
{
    int64_t steps, ns;

    if (!__builtin_mul_overflow(epochs, c->scenario->steps, &steps)
        && !__builtin_mul_overflow(steps, step_ns, &ns)
        && !__builtin_add_overflow(*busy_ns, ns, busy_ns))
        return 0;
    return error_set(c->err, "the work of all epochs passes 2^63 ns (292 years)");
}

/* Adds the phase's work to that of its devices, busy[]. */
static int price_phase(Check *c, CheckedPhase *phase, int index, int64_t *busy)
{
    const Stage *stage = phase->stage;
    CheckedPart  part;

    c->alone = stage->first == stage->last && !(phase->relays && c->plan->stage_count > 1);
    for (int i = 0; i < stage->width; i++) {
        if (price_device(c, phase, index, i, &part) != 0) return -1;
        if (add_epochs(c, phase->epochs, part.step_ns, &busy[stage->devices[i]]) != 0) return -1;
        if (i == 0 || part.step_ns > phase->part.step_ns) phase->part = part;
    }
    c->alone = false;
    count_bytes(c, phase);
    return 0;
}

int check_store(CheckedPlan *out, Check *c)
{
    const Plan *plan = c->plan;
    size_t      most = 2 * (size_t)plan->stage_count + (size_t)plan->later_count + 1;
    int64_t    *busy = calloc((size_t)plan->device_count + 1, sizeof *busy);
    int         rc = -1;

    out->phases = calloc(most, sizeof *out->phases);
    c->owner = "phase";
    if (!out->phases || !busy) { error_no_memory(c->err); goto done; }
    if (check_all_blocks(c) != 0) goto done;
    list_phases(out, plan);
    for (int i = 0; i < out->phase_count; i++)
        if (price_phase(c, &out->phases[i], i, busy) != 0) goto done;
    for (int d = 0; d < plan->device_count; d++) {
        if (busy[d] <= out->busy_ns) continue;
        out->busy_ns = busy[d];
        out->bottleneck = d;
    }
    out->bottleneck_ns = out->busy_ns / plan->epochs / c->scenario->steps;
    rc = 0;
done:
    free(busy);
    return rc;
}
