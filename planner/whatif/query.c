#include "planner/whatif/query.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/stats.h"
#include "schedule/program.h"

/* ---- jitter ---------------------------------------------------------------- */

static bool curve_spreads(const Curve *curve)
{
    for (int i = 0; i < curve->count; i++)
        if (curve->points[i].spread > 0) return true;
    return false;
}

static bool has_spread(const Trace *trace)
{
    if (trace_has_stalls(trace)) return true;
    for (int b = 0; b < trace->block_count; b++)
        for (int work = 0; work < WORK_COUNT; work++)
            for (int kind = 0; kind < trace->kind_count; kind++)
                for (int j = 0; j < trace_students(&trace->blocks[b]); j++)
                    if (curve_spreads(&trace_student(&trace->blocks[b], j).work[work][kind]))
                        return true;
    return false;
}

static int draw_epochs(double *seconds, const Plan *plan, const Scenario *s, const Query *q,
                       Error *err)
{
    Program *program = NULL;
    int      rc = -1;

    if (program_build_epochs(&program, plan, s->steps, err) != 0) goto done;
    for (int i = 0; i < q->jitter_runs; i++) {
        SimResult sim;
        if (sim_run(&sim, program, s, &(SimOptions){.jitter = true, .seed = q->seed + (uint64_t)i},
                    err)
            != 0)
            goto done;
        seconds[i] = (double)sim.epoch_ns * 1e-9 / (double)plan->epochs;
        sim_free(&sim);
    }
    rc = 0;
done:
    program_free(program);
    return rc;
}

static int add_jitter(Jitter *out, const Plan *plan, const Scenario *s, const Query *q, Error *err)
{
    size_t  n = (size_t)q->jitter_runs;
    double *seconds = calloc(n, sizeof *seconds);
    int     rc = seconds ? draw_epochs(seconds, plan, s, q, err) : error_no_memory(err);

    if (rc == 0) {
        stats_sort(seconds, n);
        *out = (Jitter){q->jitter_runs, stats_quantile(seconds, n, 0.5),
                        stats_quantile(seconds, n, 0.05), stats_quantile(seconds, n, 0.95)};
    }
    free(seconds);
    return rc;
}

/* ---- digest ----------------------------------------------------------------- */

static void mix(uint64_t *digest, const void *bytes, size_t length)
{
    *digest = hash_bytes(*digest, bytes, length);
}

static void mix_row(uint64_t *digest, const Candidate *row, const Jitter *jitter, int devices)
{
    mix(digest, row->why, strlen(row->why));
    if (!row->plan) return;
    mix(digest, &row->sim.epoch_ns, sizeof row->sim.epoch_ns);
    mix(digest, &row->sim.teacher_work, sizeof row->sim.teacher_work);
    mix(digest, &row->sim.loads, sizeof row->sim.loads);
    mix(digest, row->sim.shares, (size_t)devices * sizeof *row->sim.shares);
    mix(digest, row->memory, (size_t)devices * sizeof *row->memory);
    mix(digest, &jitter->median_s, sizeof jitter->median_s);
    mix(digest, &jitter->p5_s, sizeof jitter->p5_s);
    mix(digest, &jitter->p95_s, sizeof jitter->p95_s);
}

static uint64_t digest_of(const QueryResult *a)
{
    uint64_t digest = HASH_START;

    mix(&digest, &a->scenario.steps, sizeof a->scenario.steps);
    mix(&digest, &a->over_epoch_ns, sizeof a->over_epoch_ns);
    if (a->scenario.memory_bytes)
        mix(&digest, a->scenario.memory_bytes, (size_t)a->scenario.device_count * sizeof(int64_t));
    for (int i = 0; i < SCHEDULE_COUNT; i++)
        if (a->schedules & 1u << i)
            mix_row(&digest, &a->comparison.rows[i], &a->jitter[i], a->scenario.device_count);
    return digest;
}

/* ---- asking ------------------------------------------------------------------- */

/* Nothing asked for is possible, and this is why. */
static void impossible(QueryResult *a, const char *why)
{
    for (int i = 0; i < SCHEDULE_COUNT; i++)
        if (a->schedules & 1u << i)
            snprintf(a->comparison.rows[i].why, sizeof a->comparison.rows[i].why, "%.255s", why);
}

/* Where dp is not possible, sequential is looked for, though nobody asked. */
static int find_baseline(QueryResult *a, const CompareOptions *asked, Error *err)
{
    const Comparison *c = &a->comparison;
    CompareOptions    options = *asked;
    Comparison        sequential;

    a->over = comparison_baseline(c);
    if (a->over >= 0) a->over_epoch_ns = c->rows[a->over].sim.epoch_ns;
    options.schedules = 1u << SCHEDULE_SEQUENTIAL;
    if (c->rows[SCHEDULE_DP].plan || asked->schedules & options.schedules
        || a->scenario.trace->tier_count == 0)
        return 0;
    if (compare_rows(&sequential, &a->scenario, &options, err) != 0) return -1;
    if (sequential.rows[SCHEDULE_SEQUENTIAL].plan) {
        a->over = SCHEDULE_SEQUENTIAL;
        a->over_epoch_ns = sequential.rows[SCHEDULE_SEQUENTIAL].sim.epoch_ns;
    }
    comparison_free(&sequential);
    return 0;
}

static int search_plans(QueryResult *a, const Query *q, Error *err)
{
    CompareOptions options = q->search;

    options.schedules |= 1u << SCHEDULE_DP;
    if (compare_rows(&a->comparison, &a->scenario, &options, err) != 0) return -1;
    return find_baseline(a, &options, err);
}

/* False, with a why, when the plan is for another cluster or network. */
static bool plan_suits(const Plan *plan, const Scenario *s, const char *name, Error *why)
{
    if (plan->block_count != s->trace->block_count)
        error_set(why, "%s: a plan for %d blocks, expected %d as in the trace", name,
                  plan->block_count, s->trace->block_count);
    else if (plan->device_count != s->device_count)
        error_set(
            why,
            "%s: a plan for %d devices, but there are %d: without --plan the planner makes one",
            name, plan->device_count, s->device_count);
    else if (plan->batch != s->batch)
        error_set(why, "%s: a plan for batch %" PRId64 ", but it is %" PRId64
                  ": without --plan the planner makes one", name, plan->batch, s->batch);
    else return true;
    return false;
}

static int price_plan(QueryResult *a, Plan *plan, const Query *q, Error *err)
{
    Query  dp_only = *q;
    Candidate row = {0};
    Error     why = {""};

    a->other_trace = plan->trace_hash && plan->trace_hash != a->trace->hash;
    if (!plan_suits(plan, &a->scenario, q->plan_name, &why)) {
        impossible(a, why.text);
        plan_free(plan);
        return 0;
    }
    dp_only.search.schedules = 0;
    Schedule schedule = plan->schedule;
    if (candidate_price(&row, plan, &a->scenario, err) != 0) return -1;
    snprintf(row.method, sizeof row.method, "as given");
    if (search_plans(a, &dp_only, err) != 0) { candidate_free(&row); return -1; }
    candidate_free(&a->comparison.rows[schedule]);
    a->comparison.rows[schedule] = row;
    return 0;
}

/* best among what was asked for. */
static void choose(QueryResult *a)
{
    Comparison *c = &a->comparison;

    c->best = -1;
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        if (!(a->schedules & 1u << i) || !c->rows[i].plan) continue;
        if (c->best < 0 || c->rows[i].sim.epoch_ns < c->rows[c->best].sim.epoch_ns) c->best = i;
    }
}

/* The scenario has been edited; takes plan (or NULL) over. */
static int answer(QueryResult *a, const Query *q, const ScenarioOptions *options, Plan *plan,
                  Error *err)
{
    Error why = {""};

    if (scenario_build(&a->scenario, a->trace, options, &why) != 0) {
        impossible(a, why.text);
        plan_free(plan);
        return 0;
    }
    if ((plan ? price_plan(a, plan, q, err) : search_plans(a, q, err)) != 0) return -1;
    for (int i = 0; i < SCHEDULE_COUNT && q->jitter_runs; i++) {
        if (!(a->schedules & 1u << i) || !a->comparison.rows[i].plan) continue;
        if (add_jitter(&a->jitter[i], a->comparison.rows[i].plan, &a->scenario, q, err) != 0)
            return -1;
    }
    return 0;
}

int query_evaluate(QueryResult *out, const Query *q, const WhatIf *edits, int edit_count,
                   bool *changed, Error *err)
{
    ScenarioOptions options = q->scenario;
    Plan           *plan = NULL;

    *out = (QueryResult){.schedules = q->search.schedules,
                         .comparison = {.best = -1},
                         .over = -1,
                         .edits = edits,
                         .edit_count = edit_count};
    if (trace_parse(&out->trace, q->trace_name, q->trace_text, q->trace_length, err) != 0)
        goto fail;
    if (q->plan_text) {
        if (plan_parse(&plan, q->plan_name, q->plan_text, q->plan_length, err) != 0) goto fail;
        out->schedules = 1u << plan->schedule;
        if (!options.devices) options.devices = plan->device_count;
        if (!options.batch) options.batch = plan->batch;
    }
    if (whatif_apply_all(out->trace, &options, edits, edit_count, changed, err) != 0) goto fail;
    if (q->jitter_runs && !has_spread(out->trace)) {
        error_set(err,
                  "%s: no spread and no stalls in this trace, so --jitter would change nothing",
                  q->trace_name);
        goto fail;
    }
    Plan *given = plan;
    plan = NULL;
    if (answer(out, q, &options, given, err) != 0) goto fail;
    choose(out);
    out->digest = digest_of(out);
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        if (!(out->schedules & 1u << i)) continue;
        out->row_digests[i] = HASH_START;
        mix_row(&out->row_digests[i], &out->comparison.rows[i], &out->jitter[i],
                out->scenario.device_count);
    }
    return 0;
fail:
    plan_free(plan);
    query_result_free(out);
    return -1;
}

void query_result_free(QueryResult *a)
{
    comparison_free(&a->comparison);
    scenario_free(&a->scenario);
    trace_free(a->trace);
    a->trace = NULL;
}

/* ---- answers -------------------------------------------------------------------- */

double query_result_speedup(const QueryResult *a, Schedule schedule)
{
    const Candidate *row = &a->comparison.rows[schedule];

    if (!row->plan || !a->over_epoch_ns || !row->sim.epoch_ns) return 0;
    return (double)a->over_epoch_ns / (double)row->sim.epoch_ns;
}

int query_result_timeline(const QueryResult *a, Schedule schedule, int64_t steps, Text *out,
                          Error *err)
{
    Program    *program = NULL;
    const char **names = trace_block_names(a->scenario.trace);
    SimResult   sim = {0};
    int         rc = -1;

    if (!names) { error_no_memory(err); goto done; }
    if (program_build_short(&program, a->comparison.rows[schedule].plan, steps, err) != 0)
        goto done;
    if (sim_run(&sim, program, &a->scenario, &(SimOptions){.record = true}, err) != 0) goto done;
    timeline_text(&(Timeline){.kind = "predicted", .schedule = schedule_name(schedule),
                              .trace_name = a->scenario.trace->name,
                              .trace_hash = a->scenario.trace->hash, .block_names = names,
                              .program = program, .steps = sim.steps, .epoch_ns = sim.epoch_ns,
                              .spans = sim.spans, .span_count = sim.span_count},
                  out);
    rc = text_failed(out) ? error_no_memory(err) : 0;
done:
    sim_free(&sim);
    program_free(program);
    free(names);
    return rc;
}
