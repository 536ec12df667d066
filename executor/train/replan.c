#include "executor/train/replan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/monitor/drift.h"
#include "planner/compare.h"
#include "planner/predict.h"
#include "planner/whatif/whatif.h"
#include "schedule/registry.h"

enum {
    PREDICTED_STEPS = 64,             /* steps of a prediction */
    LEAST_STEPS = 5          /* between two looks at a device, or it was not measured */
};

struct Replan {
    ReplanOptions options;
    Trace     *trace, *scaled;       /* as read; with factors */
    ScenarioOptions cluster;
    Scenario   says, expects;        /* of the one, of the other */
    Plan      *plan;                 /* that runs */
    Drift     *drift;
    double    *predicted_ns;         /* [devices] work of a step under plan, as the trace says */
    DeviceTimes *seen;                /* [devices] at the last look */
    double    *ratio;                /* [devices] */
};

/* ---- what the trace says ------------------------------------------------------------ */

static int predict_work(Replan *r, Error *err)
{
    Prediction p;

    if (predict(&p, r->plan, &r->says, PREDICTED_STEPS, err) != 0) return -1;
    memset(r->predicted_ns, 0, (size_t)r->options.devices * sizeof *r->predicted_ns);
    for (int64_t i = 0; i < p.span_count; i++) {
        const Span *span = &p.spans[i];
        if (op_computes(span->instruction->op) && span->lane == LANE_COMPUTE)
            r->predicted_ns[span->device] +=
                (double)(span->end_ns - span->start_ns) / PREDICTED_STEPS;
    }
    prediction_free(&p);
    return 0;
}

static int check_plan(const Plan *plan, const Trace *trace, const ReplanOptions *o, Error *err)
{
    if (schedule_row(plan->schedule)->phases)
        return error_set(
            err, "%s trains one block after another: there is nothing to move while it runs",
            schedule_name(plan->schedule));
    if (plan->trace_hash && plan->trace_hash != trace->hash)
        return error_set(err, "%s: not the trace that the plan came from, which is %s", o->trace,
                         plan->trace_name[0] ? plan->trace_name : "another");
    if (trace->block_count != plan->block_count)
        return error_set(err, "%s has %d blocks, the plan has %d", o->trace, trace->block_count,
                         plan->block_count);
    for (int b = 0; b < plan->block_count; b++)
        if (trace_students(&trace->blocks[b]) != plan_students(plan, b))
            return error_set(err, "%s has %d students of block \"%s\", the plan trains %d",
                             o->trace, trace_students(&trace->blocks[b]), trace->blocks[b].name,
                             plan_students(plan, b));
    return 0;
}

int replan_open(Replan **out, const ReplanOptions *o, const Plan *plan, Error *err)
{
    Replan         *r = calloc(1, sizeof *r);
    size_t          devices = (size_t)o->devices;

    *out = NULL;
    if (!r) return error_no_memory(err);
    r->options = *o;
    r->cluster = (ScenarioOptions){
        .devices = o->devices, .batch = plan->batch, .queue_depth = o->queue_depth};
    r->predicted_ns = calloc(devices, sizeof *r->predicted_ns);
    r->seen = calloc(devices, sizeof *r->seen);
    r->ratio = calloc(devices, sizeof *r->ratio);
    if (!r->predicted_ns || !r->seen || !r->ratio) { error_no_memory(err); goto fail; }
    if (trace_read(&r->trace, o->trace, err) != 0 || trace_read(&r->scaled, o->trace, err) != 0)
        goto fail;
    if (check_plan(plan, r->trace, o, err) != 0) goto fail;
    if (scenario_build(&r->says, r->trace, &r->cluster, err) != 0
        || scenario_build(&r->expects, r->scaled, &r->cluster, err) != 0) goto fail;
    if (drift_new(&r->drift, o->devices, o->threshold, o->patience, err) != 0) goto fail;
    if (plan_copy(&r->plan, plan, err) != 0 || predict_work(r, err) != 0) goto fail;
    r->options.trace = NULL;
    *out = r;
    return 0;
fail:
    replan_free(r);
    return -1;
}

void replan_free(Replan *r)
{
    if (!r) return;
    scenario_free(&r->says);
    scenario_free(&r->expects);
    trace_free(r->trace);
    trace_free(r->scaled);
    plan_free(r->plan);
    drift_free(r->drift);
    free(r->predicted_ns);
    free(r->seen);
    free(r->ratio);
    free(r);
}

int replan_begin(Replan *r, const Plan *plan, const StatusBoard *board, Error *err)
{
    Plan *copy;

    if (plan_copy(&copy, plan, err) != 0) return -1;
    plan_free(r->plan);
    r->plan = copy;
    for (int d = 0; d < r->options.devices; d++) r->seen[d] = status_board_times(board, d, 0);
    return predict_work(r, err);
}

/* ---- what was measured ---------------------------------------------------------------- */

static double work_between(const DeviceTimes *before, const DeviceTimes *now)
{
    double ns = 0;

    for (int op = 0; op < OP_COUNT; op++)
        if (op_computes((Op)op)) ns += (double)(now->work_ns[op] - before->work_ns[op]);
    return ns;
}

static void measure(Replan *r, const StatusBoard *board)
{
    for (int d = 0; d < r->options.devices; d++) {
        DeviceTimes now = status_board_times(board, d, 0);
        int64_t    steps = now.steps - r->seen[d].steps;
        r->ratio[d] = NAN;
        if (steps < LEAST_STEPS) continue;       /* its time goes on to the next look */
        if (r->predicted_ns[d] > 0)
            r->ratio[d] = work_between(&r->seen[d], &now) / (double)steps / r->predicted_ns[d];
        r->seen[d] = now;
    }
}

/* ---- asking the planner ------------------------------------------------------------------ */

static int scale(Replan *r, const double *factors, Error *err)
{
    for (int d = 0; d < r->options.devices; d++) {
        char path[48];
        bool changed;
        snprintf(path, sizeof path, "device[%d].slowdown", d);
        if (whatif_apply(r->scaled, &r->cluster, EDIT_SET, path, factors[d], &changed, err) != 0)
            return -1;
    }
    return 0;
}

/* An epoch under the scaled times. */
static int epoch_of(double *out, const Replan *r, const Plan *plan, Error *err)
{
    Prediction p;

    if (predict(&p, plan, &r->expects, PREDICTED_STEPS, err) != 0) return -1;
    *out = (double)p.run_ns * 1e-9 * (double)r->expects.steps / PREDICTED_STEPS;
    prediction_free(&p);
    return 0;
}

/* The planner's plan into *out, yours, when it is worth it. */
static int ask(Replan *r, ReplanResult *answer, Error *err)
{
    Comparison     comparison = {.best = -1};
    CompareOptions options = {.schedules = 1u << r->plan->schedule, .candidates = 8};
    int            rc = -1;

    if (scale(r, answer->factors, err) != 0 || epoch_of(&answer->before_s, r, r->plan, err) != 0)
        return -1;
    if (compare(&comparison, &r->expects, &options, err) != 0) return -1;
    const Plan *found = comparison.rows[comparison.best].plan;
    if (epoch_of(&answer->after_s, r, found, err) != 0) goto done;
    if (drift_worth(answer->before_s, answer->after_s, r->options.least_gain)
        && plan_copy(&answer->plan, found, err) != 0) goto done;
    rc = 0;
done:
    comparison_free(&comparison);
    return rc;
}

int replan_check(Replan *r, const StatusBoard *board, ReplanResult *out, Error *err)
{
    Error why = {""};

    *out = (ReplanResult){0};
    measure(r, board);
    out->asked = drift_check(r->drift, r->ratio);
    out->factors = drift_factors(r->drift);
    if (!out->asked) return 0;
    if (ask(r, out, &why) != 0) {
        if (error_is_no_memory(&why)) { if (err) *err = why; return -1; }
        snprintf(out->why, sizeof out->why, "%.255s", why.text);
    }
    drift_settle(r->drift, out->plan != NULL);
    return 0;
}

void replan_text(const ReplanResult *answer, int devices, Text *out)
{
    const char *comma = "";

    for (int d = 0; d < devices; d++) {
        if (fabs(answer->factors[d] - 1) < 0.005) continue;
        text_printf(out, "%sdevice %d works %.2f times as long as the trace says", comma, d,
                    answer->factors[d]);
        comma = ", ";
    }
    if (!*comma) text_append(out, "devices work as long as the trace says");
}
