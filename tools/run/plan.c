#include "tools/run/plan.h"

#include <inttypes.h>
#include <stdlib.h>

#include "planner/report/report.h"
#include "schedule/registry.h"

/* ---- without a trace --------------------------------------------------------- */

/* A step's work on a block, of any unit: a backward is taken for two forwards. */
static double work_of(const WorkBlock *block, bool teacher)
{
    double students = 0;

    for (int j = 0; j < block_students(block); j++) {
        WorkBlock one = block_with_student(block, j);
        students += 3 * (double)layers_cost(&one.student).macs_mean;
    }
    return teacher ? (double)layers_cost(&block->teacher).macs_mean + students : students;
}

/* Contiguous stages whose largest sum of work, of teachers too or of students alone, is least.
 * least[s][b]: of blocks 0..b-1 in s stages; first[s][b]: the first block of the last of them. */
static int even_stages(int *first, const Workload *workload, int stages, bool teacher, Error *err)
{
    int     n = workload->block_count;
    size_t  row = (size_t)n + 1;
    double *least = calloc(((size_t)stages + 1) * row, sizeof *least),
           *sum = calloc(row, sizeof *sum);
    int    *cut = calloc(((size_t)stages + 1) * row, sizeof *cut);

    if (!least || !sum || !cut) { free(least); free(sum); free(cut); return error_no_memory(err); }
    for (int b = 0; b < n; b++) sum[b + 1] = sum[b] + work_of(&workload->block[b], teacher);
    for (int b = 1; b <= n; b++) least[row + (size_t)b] = sum[b];
    for (int s = 2; s <= stages; s++)
        for (int b = s; b <= n; b++) {
            double *best = &least[(size_t)s * row + (size_t)b];
            for (int c = s - 1; c < b; c++) {
                double before = least[(size_t)(s - 1) * row + (size_t)c], last = sum[b] - sum[c];
                double most = before > last ? before : last;
                if (c == s - 1 || most < *best) {
                    *best = most;
                    cut[(size_t)s * row + (size_t)b] = c;
                }
            }
        }
    for (int s = stages, b = n; s >= 1; s--) b = first[s - 1] = cut[(size_t)s * row + (size_t)b];
    free(least);
    free(sum);
    free(cut);
    return 0;
}

/* A relaying plan without a trace: a stage a device, cut so that stages have about the same work
 * (even_stages()). Fewer blocks than devices is an error. */
static int plan_pipeline(Plan **out, const Workload *workload, int devices, Schedule schedule,
                         Error *err)
{
    int  n = workload->block_count;
    int *first = calloc((size_t)devices, sizeof *first);
    int  rc = -1;

    *out = NULL;
    if (!first) return error_no_memory(err);
    if (devices > n) {
        error_set(err,
                  "%s gives every device a stage, and %d blocks cannot make %d stages: use dp, ir, "
                  "or ahd with --trace",
                  schedule_name(schedule), n, devices);
        goto done;
    }
    if (even_stages(first, workload, devices, true, err) != 0) goto done;
    if (plan_new(out, schedule, n, devices, workload->batch, devices, err) != 0) goto done;
    for (int s = 0; s < devices; s++)
        if (plan_set_stage(*out, s, first[s], s + 1 < devices ? first[s + 1] - 1 : n - 1, s, 1, err)
            != 0)
            goto done;
    rc = 0;
done:
    free(first);
    return rc;
}

/* All boundaries but the input are stored, in what --store gives. Of store, a stage a device after
 * the first epoch too. */
static int plan_stores(Plan *plan, const Workload *workload, int64_t epochs, Error *err)
{
    bool turns = schedule_row(plan->schedule)->phases;
    int  n = plan->block_count, stages = turns || epochs == 1 ? 0 : plan->device_count;
    int *first = calloc((size_t)stages + 1, sizeof *first), rc = -1;

    if (!first) return error_no_memory(err);
    if (plan_set_store(plan, epochs, turns, stages, err) != 0) goto done;
    plan->home = 0;
    for (int k = 1; k <= n; k++) plan->stored[k] = 0;
    if (stages > 0 && even_stages(first, workload, stages, false, err) != 0) goto done;
    for (int s = 0; s < stages; s++) {
        plan->later[s].first = first[s];
        plan->later[s].last = s + 1 < stages ? first[s + 1] - 1 : n - 1;
        if (plan_place(plan, &plan->later[s], &s, &plan->batch, 1, err) != 0) goto done;
    }
    rc = 0;
done:
    free(first);
    return rc;
}

/* dp: a stage a block on all devices; ir: one stage of all. */
static int plan_data_parallel(Plan **out, const Workload *workload, int devices, Schedule schedule,
                              Error *err)
{
    int n = workload->block_count, stages = schedule_row(schedule)->phases ? n : 1;

    *out = NULL;
    if (devices > workload->batch)
        return error_set(err, "a batch of %" PRId64 " cannot be split over %d devices",
                         workload->batch, devices);
    if (plan_new(out, schedule, n, devices, workload->batch, stages, err) != 0) return -1;
    for (int s = 0; s < stages; s++)
        if (plan_set_stage(*out, s, stages > 1 ? s : 0, stages > 1 ? s : n - 1, 0, devices, err)
            != 0)
            return -1;
    return 0;
}

/* ---- with one ------------------------------------------------------------------ */

/* The planner's plan of a schedule for a trace whose blocks are the workload's. *out is yours; how:
 * what to print of it. */
static int plan_from_trace(Plan **out, const Workload *workload, int devices, Schedule schedule,
                           int64_t epochs, const char *path, Text *how, Error *err)
{
    Trace          *trace = NULL;
    Scenario        scenario = {0};
    Comparison      comparison = {.best = -1};
    ScenarioOptions wanted = {
        .devices = devices, .batch = workload->batch, .epochs = epochs, .queue_depth = 2};
    CompareOptions  options = {.schedules = 1u << schedule, .candidates = 8};
    int             rc = -1;

    if (trace_read(&trace, path, err) != 0) goto done;
    if (trace->block_count != workload->block_count) {
        error_set(err, "%s has %d blocks, workload %s has %d", path, trace->block_count,
                  workload->name, workload->block_count);
        goto done;
    }
    if (scenario_build(&scenario, trace, &wanted, err) != 0) goto done;
    if (compare(&comparison, &scenario, &options, err) != 0) goto done;
    rc = plan_copy(out, comparison.rows[comparison.best].plan, err);
    if (rc != 0) goto done;
    plan_sort_devices(*out);
    text_printf(how, "from %s\n", path);
    report_stages(*out, &scenario, how);
done:
    comparison_free(&comparison);
    scenario_free(&scenario);
    trace_free(trace);
    return rc;
}

int run_plan_schedule(Schedule *out, const char *name, bool traced, Error *err)
{
    if (!schedule_find(name, out)) return error_set(err, "unknown schedule \"%s\"", name);
    const ScheduleRow *row = schedule_row(*out);
    if (traced || row->stores || !(row->lists || row->groups)) return 0;
    return error_set(err, "--schedule %s needs --trace, the times of the blocks", name);
}

/* A plan that was made without a trace trains all students of the workload. */
static int give_students(Plan *plan, const Workload *workload, Error *err)
{
    if (!workload_has_candidates(workload)) return 0;
    int *counts = workload_student_counts(workload);
    int  rc = counts ? plan_set_students(plan, counts, err) : error_no_memory(err);
    free(counts);
    return rc;
}

int run_plan(Plan **out, const Workload *workload, int devices, Schedule schedule, int64_t epochs,
             const char *trace_path, Text *how, Error *err)
{
    int rc;

    *out = NULL;
    if (trace_path) {
        rc = plan_from_trace(out, workload, devices, schedule, epochs, trace_path, how, err);
    } else if (schedule_row(schedule)->whole) {
        text_append(how, "rows are split evenly\n");
        rc = plan_data_parallel(out, workload, devices, schedule, err);
    } else {
        text_append(how, "no trace: stages are even by multiply-accumulates, not by time\n");
        rc = plan_pipeline(out, workload, devices, schedule, err);
    }
    if (rc == 0 && !trace_path && schedule_row(schedule)->stores) {
        text_append(how, "all boundaries but the input are stored\n");
        rc = plan_stores(*out, workload, epochs, err);
    }
    if (rc == 0 && !trace_path) rc = give_students(*out, workload, err);
    if (rc == 0 && text_failed(how)) rc = error_no_memory(err);
    if (rc != 0) { plan_free(*out); *out = NULL; }
    return rc;
}

int run_plan_check(const Plan *plan, const Workload *workload, int devices, Error *err)
{
    if (plan->block_count != workload->block_count)
        return error_set(err, "the plan has %d blocks, workload %s has %d", plan->block_count,
                         workload->name, workload->block_count);
    for (int b = 0; b < plan->block_count; b++)
        if (plan_students(plan, b) != block_students(&workload->block[b]))
            return error_set(err,
                             "the plan trains %d students of block \"%s\", workload %s has %d",
                             plan_students(plan, b), workload->block[b].name, workload->name,
                             block_students(&workload->block[b]));
    if (plan->device_count != devices)
        return error_set(err, "the plan is for %d devices, --devices gives %d", plan->device_count,
                         devices);
    if (plan->batch != workload->batch)
        return error_set(err,
                         "the plan is for a batch of %" PRId64 ", the workload's is %" PRId64
                         ": see --batch",
                         plan->batch, workload->batch);
    return 0;
}
