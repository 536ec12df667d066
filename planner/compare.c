#include "planner/compare.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planner/partition.h"
#include "planner/stage_table.h"
#include "planner/tasks.h"
#include "schedule/verify.h"

/* ---- pricing one plan ------------------------------------------------------ */

void candidate_free(Candidate *row)
{
    plan_free(row->plan);
    sim_free(&row->sim);
    free(row->memory);
    row->plan = NULL;
    row->memory = NULL;
}

/* No plan, and why. Running out of our own memory says nothing about plans: -1. */
static int give_up(Candidate *row, const Error *why, Error *err)
{
    candidate_free(row);
    snprintf(row->why, sizeof row->why, "%.255s", why->text);
    return error_is_no_memory(why) ? error_no_memory(err) : 0;
}

/* The device that needs most; false when one needs more than it has. */
static bool fits(Candidate *row, const Memory *memory, const Scenario *s, Error *why)
{
    bool ok = true;

    row->peak_device = 0;
    for (int d = 0; d < s->device_count; d++) {
        if (memory[d].total_bytes > memory[row->peak_device].total_bytes) row->peak_device = d;
        if (!ok || !s->memory_bytes[d] || memory[d].total_bytes <= s->memory_bytes[d]) continue;
        ok = false;
        error_set(why, "too large for device %d: needs %.6g MiB of %.6g", d,
                  (double)memory[d].total_bytes * 0x1p-20, (double)s->memory_bytes[d] * 0x1p-20);
    }
    row->peak = memory[row->peak_device];
    return ok;
}

static int note_prediction(Plan *plan, const SimResult *sim, const Scenario *s, Error *err)
{
    const char *name = arena_strdup(&plan->arena, s->trace->name);

    if (!name) return error_no_memory(err);
    plan->trace_name = name;
    plan->trace_hash = s->trace->hash;
    plan->epoch_ns = sim->epoch_ns;
    plan->step_ns = sim->epoch_ns / s->steps;
    return 0;
}

int candidate_price(Candidate *row, Plan *plan, const Scenario *s, Error *err)
{
    Program *program = NULL;
    Memory  *memory = calloc((size_t)s->device_count, sizeof *memory);
    Error    why = {""};
    bool     good;
    int      rc = 0;

    row->plan = plan;
    row->memory = memory;
    if (!memory) { error_no_memory(&why); return give_up(row, &why, err); }
    good = plan_check(plan, &why) == 0 && program_build(&program, plan, s->steps, &why) == 0
           && program_verify(program, s->queue_depth, &why) == 0
           && memory_peak(memory, program, s, &why) == 0 && fits(row, memory, s, &why)
           && sim_run(&row->sim, program, s, &(SimOptions){0}, &why) == 0
           && note_prediction(plan, &row->sim, s, &why) == 0;
    if (!good) rc = give_up(row, &why, err);
    program_free(program);
    return rc;
}

static void keep_faster(Candidate *best, Candidate *next)
{
    bool better = next->plan && (!best->plan || next->sim.epoch_ns < best->sim.epoch_ns);
    Candidate *loser = better ? best : next;

    if (!next->plan && !best->plan && !best->why[0]) memcpy(best->why, next->why, sizeof best->why);
    candidate_free(loser);
    if (better) *best = *next;
}

/* Prices plan and keeps it in row when it is faster than what is there. */
static int try_plan(Candidate *row, Plan *plan, const char *method, const Scenario *s, Error *err)
{
    Candidate next = {0};

    if (candidate_price(&next, plan, s, err) != 0) return -1;
    snprintf(next.method, sizeof next.method, "%s", method);
    keep_faster(row, &next);
    return 0;
}

/* ---- relaying schedules ------------------------------------------------------ */

/* Partitions for schedules with stages of at most max_width, by the table of their costs. */
static int search(Partition **out, int *count, const Scenario *s, CostKind kind, int max_width, int wanted,
                  Error *err)
{
    StageTable *table;

    if (stage_table_build(&table, s, kind, max_width, err) != 0) return -1;
    PartitionProblem problem = {.blocks = s->trace->block_count, .devices = s->device_count,
                                .max_width = max_width, .uniform = stage_table_uniform(table),
                                .cost = stage_table_cost, .floor = stage_table_floor, .end = stage_table_end,
                                .context = table, .wanted = wanted};
    problem.widths = stage_table_widths(table, &problem.width_count);
    int rc = partition_search(out, count, &problem, err);
    stage_table_free(table);
    return rc;
}

/* Why no partition has a cost: the reason of the first block that has none. */
static int say_why(Candidate *row, const Scenario *s, CostKind kind, Error *err)
{
    Error why = {"no partition has a cost"};

    for (int b = 0; b < s->trace->block_count; b++)
        if (stage_cost(s, kind, b, b, b > 0 && s->device_count > 1, 1, &why) == STAGE_IMPOSSIBLE) break;
    return give_up(row, &why, err);
}

static int plan_of(Plan **out, const Partition *part, Schedule schedule, const Scenario *s, Error *err)
{
    int n = s->trace->block_count;

    if (plan_new(out, schedule, n, s->device_count, s->batch, part->stages, err) != 0) return -1;
    (*out)->bottleneck_ns = part->bottleneck_ns;
    for (int i = 0; i < part->stages; i++) {
        int last = i + 1 < part->stages ? part->first[i + 1] - 1 : n - 1;
        if (plan_set_stage(*out, i, part->first[i], last, part->device[i], part->width[i], err) == 0) continue;
        plan_free(*out);
        *out = NULL;
        return -1;
    }
    return 0;
}

static int compare_relay(Candidate *row, Schedule schedule, const Scenario *s, const CompareOptions *options,
                         Error *err)
{
    Partition  *parts = NULL;
    char        method[96];
    Error       why = {""};
    int         count = 0, tried = 0, rc = -1;
    int         max_width = schedule == SCHEDULE_AHD ? s->device_count : 1;

    if (search(&parts, &count, s, options->cost, max_width, options->candidates, &why) != 0)
        return give_up(row, &why, err);
    if (count == 0 && say_why(row, s, options->cost, err) != 0) goto done;
    tried = count < options->candidates ? count : options->candidates;
    snprintf(method, sizeof method, "exact partition, fastest of %d simulated", tried);
    for (int i = 0; i < tried; i++) {
        Plan *plan;
        if (plan_of(&plan, &parts[i], schedule, s, err) != 0) goto done;
        if (try_plan(row, plan, method, s, err) != 0) goto done;
    }
    rc = 0;
done:
    partitions_free(parts, count);
    return rc;
}

/* The bottleneck that no partition beats, over all steps; 0: not known. */
static int relay_bound(int64_t *out, const Scenario *s, Error *err)
{
    Partition *parts = NULL;
    Error      why = {""};
    int        count = 0;

    *out = 0;
    if (search(&parts, &count, s, COST_BOUND, s->device_count, 1, &why) != 0)
        return error_is_no_memory(&why) ? error_no_memory(err) : 0;
    if (count == 0 || __builtin_mul_overflow(parts[0].bottleneck_ns, s->steps, out)) *out = 0;
    partitions_free(parts, count);
    return 0;
}

/* ---- dp, ir ---------------------------------------------------------------------- */

static int compare_dp(Candidate *row, const Scenario *s, Error *err)
{
    int   n = s->trace->block_count;
    Plan *plan;

    if (s->device_count > s->batch) {
        snprintf(row->why, sizeof row->why, "%d devices for a batch of %" PRId64, s->device_count, s->batch);
        return 0;
    }
    if (plan_new(&plan, SCHEDULE_DP, n, s->device_count, s->batch, n, err) != 0) return -1;
    for (int b = 0; b < n; b++)
        if (plan_set_stage(plan, b, b, b, 0, s->device_count, err) != 0) { plan_free(plan); return -1; }
    return try_plan(row, plan, "every block on all devices", s, err);
}

static int compare_ir(Candidate *row, const Scenario *s, Error *err)
{
    Plan *plan;

    if (s->device_count > s->batch) {
        snprintf(row->why, sizeof row->why, "%d devices for a batch of %" PRId64, s->device_count, s->batch);
        return 0;
    }
    if (plan_new(&plan, SCHEDULE_IR, s->trace->block_count, s->device_count, s->batch, 1, err) != 0) return -1;
    if (plan_set_stage(plan, 0, 0, s->trace->block_count - 1, 0, s->device_count, err) != 0) {
        plan_free(plan);
        return -1;
    }
    return try_plan(row, plan, "one stage on all devices", s, err);
}

/* ---- ls ---------------------------------------------------------------------------- */

/* ns[task][device]: a step of the task of each block. */
static int task_times(int64_t *ns, const Scenario *s, Error *err)
{
    int n = s->trace->block_count, g = s->device_count;

    for (int d = 0; d < g; d++) {
        int64_t teacher = scenario_load_ns(s, s->batch);
        for (int b = 0; b < n; b++) {
            Cost t, f, k, u;
            if (scenario_work(s, WORK_TEACHER, b, d, s->batch, &t, err) != 0
                || scenario_work(s, WORK_FORWARD, b, d, s->batch, &f, err) != 0
                || scenario_work(s, WORK_BACKWARD, b, d, s->batch, &k, err) != 0
                || scenario_work(s, WORK_UPDATE, b, d, s->batch, &u, err) != 0) return -1;
            teacher += t.ns;
            ns[(size_t)b * (size_t)g + (size_t)d] = teacher + f.ns + k.ns + u.ns;
        }
    }
    return 0;
}

/* Lists as a plan; device NULL: all tasks in the shared queue, longest first. */
static int plan_of_lists(Plan **out, const Scenario *s, const int *device, int64_t makespan, Error *err)
{
    int n = s->trace->block_count;

    if (plan_new(out, SCHEDULE_LS, n, s->device_count, s->batch, n, err) != 0) return -1;
    (*out)->stealing = device == NULL;
    (*out)->bottleneck_ns = makespan;
    for (int i = 0; i < n; i++) {
        int b = device ? i : n - 1 - i;          /* later blocks run more of the teacher */
        if (plan_set_stage(*out, i, b, b, device ? device[b] : 0, device ? 1 : 0, err) == 0) continue;
        plan_free(*out);
        *out = NULL;
        return -1;
    }
    return 0;
}

static int try_lists(Candidate *row, const Scenario *s, const TaskLists *lists, const char *method, Error *err)
{
    Plan *plan;

    if (plan_of_lists(&plan, s, lists ? lists->device : NULL, lists ? lists->makespan_ns : 0, err) != 0)
        return -1;
    return try_plan(row, plan, method, s, err);
}

/* GLPK's lists where it may know better than LPT: the variables are not too many for it. */
static int try_glpk(Candidate *row, const Scenario *s, const TaskProblem *problem, int limit_ms, Error *err)
{
    TaskLists lists = {0};
    Error     why = {""};

    if ((int64_t)problem->tasks * problem->devices > 4096) return 0;
    if (tasks_glpk(&lists, problem, limit_ms, &why) != 0)
        return error_is_no_memory(&why) ? error_no_memory(err) : 0;
    int rc = try_lists(row, s, &lists, lists.optimal ? "lists by GLPK, least makespan"
                                                     : "lists by GLPK, stopped by its time limit", err);
    free(lists.device);
    return rc;
}

static int compare_ls(Candidate *row, const Scenario *s, const CompareOptions *options, Error *err)
{
    TaskProblem problem = {s->trace->block_count, s->device_count, NULL};
    TaskLists   lpt = {0};
    int64_t    *ns = calloc((size_t)problem.tasks * (size_t)problem.devices, sizeof *ns);
    Error       why = {""};
    int         rc = -1;

    if (!ns) { error_no_memory(err); goto done; }
    problem.ns = ns;
    if (task_times(ns, s, &why) != 0) { rc = give_up(row, &why, err); goto done; }
    if (tasks_lpt(&lpt, &problem, err) != 0) goto done;
    if (try_lists(row, s, &lpt, lpt.optimal ? "lists by LPT, least makespan" : "lists by LPT", err) != 0)
        goto done;
    if (!lpt.optimal && try_glpk(row, s, &problem, options->glpk_ms, err) != 0) goto done;
    rc = try_lists(row, s, NULL, "work stealing, last block first", err);
done:
    free(ns);
    free(lpt.device);
    return rc;
}

/* ---- all ---------------------------------------------------------------------------- */

static int compare_one(Candidate *row, Schedule schedule, const Scenario *s, const CompareOptions *options,
                       Error *err)
{
    switch (schedule) {
    case SCHEDULE_DP: return compare_dp(row, s, err);
    case SCHEDULE_IR: return compare_ir(row, s, err);
    case SCHEDULE_LS: return compare_ls(row, s, options, err);
    default:          return compare_relay(row, schedule, s, options, err);
    }
}

int compare_rows(Comparison *out, const Scenario *scenario, const CompareOptions *options, Error *err)
{
    *out = (Comparison){.best = -1};
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        Candidate *row = &out->rows[i];
        if (!(options->schedules & 1u << i)) continue;
        if (compare_one(row, (Schedule)i, scenario, options, err) != 0) {
            comparison_free(out);
            return -1;
        }
        if (row->plan && (out->best < 0 || row->sim.epoch_ns < out->rows[out->best].sim.epoch_ns)) out->best = i;
    }
    return 0;
}

int compare(Comparison *out, const Scenario *scenario, const CompareOptions *options, Error *err)
{
    const char *why = "none was asked for";

    if (compare_rows(out, scenario, options, err) != 0) return -1;
    if (out->best >= 0) {
        if (relay_bound(&out->bound_ns, scenario, err) == 0) return 0;
        comparison_free(out);
        return -1;
    }
    for (int i = SCHEDULE_COUNT - 1; i >= 0; i--)
        if (out->rows[i].why[0]) why = out->rows[i].why;
    return error_set(err, "no schedule is possible: %s", why);
}

void comparison_free(Comparison *comparison)
{
    for (int i = 0; i < SCHEDULE_COUNT; i++) candidate_free(&comparison->rows[i]);
}
