/* tr, dpu and ahd: the partition search, and the best few of what it finds simulated. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "planner/compare_schedule.h"
#include "planner/memory_feasibility.h"
#include "planner/relay_search.h"
#include "planner/stages/barrier.h"
#include "planner/stages/partition.h"
#include "planner/stages/relay_cost.h"
#include "planner/stages/stage_table.h"
#include "schedule/registry.h"

/* Where the place matters each of so many stages is looked at several times. */
#define MAX_PLACED 1e8

static bool is_large(const PartitionProblem *p)
{
    return !p->uniform && (double)p->blocks * p->devices * p->max_width > MAX_PLACED;
}

/* One partition of stages of some widths only, each half again as large as the last. *some is
 * freed by the caller. */
static int take_some_widths(PartitionProblem *p, int **some, Error *err)
{
    *some = calloc((size_t)p->max_width + 1, sizeof **some);
    if (!*some) return error_no_memory(err);
    p->width_count = 0;
    for (int w = 1; w < p->max_width; w += (w + 1) / 2) (*some)[p->width_count++] = w;
    (*some)[p->width_count++] = p->max_width;
    p->widths = *some;
    p->wanted = 1;
    return 0;
}

/* Partitions by the table of their stages' costs. *all: the first of them is the best of all; else
 * of those with some widths. */
static int search(Partition **out, int *count, bool *all, StageTable *table, const Scenario *s,
                  int max_width, int wanted, int64_t limit_ns, Error *err)
{
    PartitionProblem problem = {.blocks = s->trace->block_count, .devices = s->device_count,
                                .max_width = max_width, .uniform = stage_table_uniform(table),
                                .cost = stage_table_cost, .floor = stage_table_floor,
                                .end = stage_table_end, .context = table, .wanted = wanted,
                                .limit_ns = limit_ns};
    problem.widths = stage_table_widths(table, &problem.width_count);
    int *some = NULL, rc = 0;
    *all = !is_large(&problem);
    if (!*all) rc = take_some_widths(&problem, &some, err);
    if (rc == 0) rc = partition_search(out, count, &problem, err);
    free(some);
    return rc;
}

/* Why no partition has a cost: memory, or the reason of the first block that has none. */
static int say_why(Candidate *row, const Scenario *s, CostKind kind, int max_width, Error *err)
{
    Error why = {"no partition has a cost"};
    bool  large;

    if (memory_feasibility_refused(&large, s, max_width, &why, err) != 0) return -1;
    for (int b = 0; b < s->trace->block_count && !large; b++)
        if (stage_cost(s, kind, b, b, b > 0 && s->device_count > 1, 1, &why) == STAGE_IMPOSSIBLE)
            break;
    return candidate_give_up(row, &why, err);
}

static int plan_of(Plan **out, const Partition *part, Schedule schedule, const Scenario *s,
                   Error *err)
{
    int n = s->trace->block_count;

    if (plan_new(out, schedule, n, s->device_count, s->batch, part->stages, err) != 0) return -1;
    for (int i = 0; i < part->stages; i++) {
        int last = i + 1 < part->stages ? part->first[i + 1] - 1 : n - 1;
        if (plan_set_stage(*out, i, part->first[i], last, part->device[i], part->width[i], err)
            == 0)
            continue;
        plan_free(*out);
        *out = NULL;
        return -1;
    }
    return 0;
}

/* Devices in the trace's order, equal shares. */
typedef struct {
    Candidate            *row;
    Schedule              schedule;
    const Scenario       *s;
    const CompareOptions *options;
    StageTable           *table;
    int                   max_width;
} EvenSearch;

/* The best so many partitions, *count of them. Stages beyond limit_ns are of no interest; 0: all
 * are. */
static int try_even(const EvenSearch *e, int *count, int wanted, int64_t limit_ns, Error *err)
{
    const Scenario *s = e->s;
    Candidate      *row = e->row;
    Partition      *parts = NULL;
    char            method[128];
    Error           why = {""};
    int             tried = 0, rc = -1;
    bool            all;

    *count = 0;
    if (search(&parts, count, &all, e->table, s, e->max_width, wanted, limit_ns, &why) != 0)
        return candidate_give_up(row, &why, err);
    if (*count == 0 && limit_ns) {
        row->none_faster |= all && !scenario_is_mixed(s);
        candidate_is_slower(row);
    }
    if (*count == 0 && limit_ns == 0 && say_why(row, s, e->options->cost, e->max_width, err) != 0)
        goto done;
    tried = *count < wanted ? *count : wanted;
    snprintf(method, sizeof method, "%s%s, fastest of %d simulated",
             all ? "exact partition" : "partition into stages of some widths",
             scenario_is_mixed(s) ? " in the trace's order with equal shares" : "", tried);
    for (int i = 0; i < tried; i++) {
        Plan *plan;
        if (plan_of(&plan, &parts[i], e->schedule, s, err) != 0) goto done;
        if (candidate_try(row, plan, method, s, err) != 0) goto done;
        if (candidate_is_enough(row)) break;
    }
    rc = 0;
done:
    partitions_free(parts, *count);
    return rc;
}

/* The longest stage that a plan which takes less than faster_ns can have; 0: not known. */
static int64_t even_limit_ns(const EvenSearch *e, int64_t faster_ns)
{
    return e->options->cost == COST_SIM ? stage_limit_ns(e->s, faster_ns) : 0;
}

/* Where one plan may be enough, the best partition alone first. */
static int try_all_even(const EvenSearch *e, Error *err)
{
    const CompareOptions *options = e->options;
    int64_t               limit_ns = even_limit_ns(e, options->cutoff_ns);
    int                   count = 0;

    if (e->row->enough_ns && options->candidates > 1) {
        if (try_even(e, &count, 1, even_limit_ns(e, compare_goal_ns(options)), err) != 0) return -1;
        if (e->row->none_faster || candidate_is_enough(e->row)) return 0;
        if (limit_ns) limit_ns = compare_others_limit(e->row, e->s, options, limit_ns);
    }
    return try_even(e, &count, options->candidates, limit_ns, err);
}

static int compare_even(Candidate *row, Schedule schedule, const Scenario *s,
                        const CompareOptions *options, Error *err)
{
    EvenSearch e = {.row = row, .schedule = schedule, .s = s, .options = options,
                    .max_width = schedule_row(schedule)->groups ? s->device_count : 1};
    int        rc;

    if (stage_table_build(&e.table, s, options->cost, e.max_width, err) != 0) return -1;
    rc = try_all_even(&e, err);
    stage_table_free(e.table);
    return rc;
}

int64_t compare_others_limit(const Candidate *row, const Scenario *s, const CompareOptions *options,
                             int64_t limit_ns)
{
    int64_t fastest = candidate_fastest_ns(row), limit;

    if (!options->only_fastest || fastest == INT64_MAX) return limit_ns;
    limit = stage_limit_ns(s, compare_tie(fastest) + 1);
    return limit > 0 && (!limit_ns || limit < limit_ns) ? limit : limit_ns;
}

/* ---- tr ------------------------------------------------------------------------------ */

static int plan_of_barrier(Plan **out, const BarrierPartition *part, const Scenario *s, Error *err)
{
    int n = s->trace->block_count;

    if (plan_new(out, SCHEDULE_TR, n, s->device_count, s->batch, part->stages, err) != 0) return -1;
    for (int i = 0; i < part->stages; i++) {
        int last = (i + 1 < part->stages ? part->first[i + 1] : n) - 1;
        if (plan_set_stage(*out, i, part->first[i], last, part->device[i], 1, err) == 0) continue;
        plan_free(*out);
        *out = NULL;
        return -1;
    }
    return 0;
}

/* No tr plan has a shorter epoch, part being the best over all orders of the devices: from barrier
 * to barrier each step takes part's at least, the updates before the first counting after the last.
 * Nothing is faster than with nobody else computing. */
static int barrier_bound(int64_t *out, const BarrierPartition *part, const Scenario *s, Error *err)
{
    Scenario         alone = *s;
    BarrierPartition bound = {0};
    int64_t          step = part->step_ns;

    alone.load = 0;
    if (s->trace->contended && s->load > 0) {
        if (barrier_search(&bound, &alone, NULL, 0, err) != 0) return -1;
        step = bound.step_ns;
        barrier_free(&bound);
    }
    if (__builtin_mul_overflow(step, s->steps, out)) *out = 0;
    return 0;
}

/* The longest step that a plan of tr with an epoch below cutoff_ns can have, as barrier_bound()
 * says;
 * 0: not known, or no cutoff. */
static int64_t barrier_limit_ns(const Scenario *s, int64_t cutoff_ns)
{
    bool alone = !s->trace->contended || s->load == 0;

    return cutoff_ns > 0 && alone ? larger((cutoff_ns - 1) / s->steps, 1) : 0;
}

/* The best partition that is of interest; no stages: there is none, or row says that none is. */
static int search_barrier(Candidate *row, BarrierPartition *part, const Scenario *s,
                          const int *order, const CompareOptions *options, Error *err)
{
    int64_t goal_ns = barrier_limit_ns(s, compare_goal_ns(options)),
            limit_ns = barrier_limit_ns(s, options->cutoff_ns);

    if (barrier_search(part, s, order, goal_ns, err) != 0) return -1;
    if (part->stages > 0 || !goal_ns) return 0;
    candidate_is_slower(row);
    row->none_faster = part->every_order;
    return row->none_faster || goal_ns == limit_ns ? 0
                                                   : barrier_search(part, s, order, limit_ns, err);
}

/* Where the order is searched for or given. */
static int compare_barrier(Candidate *row, const Scenario *s, const CompareOptions *options,
                           Error *err)
{
    BarrierPartition part;
    Plan            *plan;
    const Order     *fixed = &options->order;
    int             *order = calloc((size_t)s->device_count, sizeof *order), rc = -1;

    if (!order) return error_no_memory(err);
    for (int d = 0; d < s->device_count; d++)
        order[d] = fixed->kind == ORDER_LISTED ? fixed->devices[d] : d;
    if (search_barrier(row, &part, s, fixed->kind == ORDER_SEARCHED ? NULL : order, options, err)
        != 0)
        goto done;
    if (part.stages == 0 && options->cutoff_ns && row->why[0]) rc = 0;
    else if (part.stages == 0) rc = say_why(row, s, options->cost, 1, err);
    else if (plan_of_barrier(&plan, &part, s, err) == 0)
        rc = candidate_try(row, plan,
                           fixed->kind != ORDER_SEARCHED ? "exact partition in the order given"
                           : part.every_order            ? "exact partition"
                                                         : "exact partition in the trace's order",
                           s, err);
    if (rc == 0 && part.stages > 0 && part.every_order && !options->cutoff_ns)
        rc = barrier_bound(&row->bound_ns, &part, s, err);
    barrier_free(&part);
done:
    free(order);
    return rc;
}

static void say_pruned(Candidate *row)
{
    size_t used = strlen(row->method);

    if (row->plan && row->pruned > 0)
        snprintf(row->method + used, sizeof row->method - used, ", %d of them for %d steps only",
                 row->pruned, CANDIDATE_STEPS);
}

/* Beyond so many stages to look at, equal shares are tried only where nothing else is. */
#define MAX_EVEN 1e6

int compare_relay(Candidate *row, Schedule schedule, const Scenario *s,
                  const CompareOptions *options, Error *err)
{
    double n = s->trace->block_count, g = s->device_count,
           stages = n * n * g * (schedule_row(schedule)->groups ? g : 1);
    bool   mixed = scenario_is_mixed(s), fixed = options->order.kind != ORDER_SEARCHED,
           proves = mixed && !fixed && options->cutoff_ns && scenario_nodes(s) == 1;

    if (schedule_row(schedule)->barrier && options->cost != COST_PAPER)
        return compare_barrier(row, s, options, err);
    if (proves && compare_hetero(row, schedule, s, options, err) != 0) return -1;
    if (row->none_faster || candidate_is_enough(row)) return 0;
    if (!fixed && !(mixed && options->cost == COST_PAPER) && (!mixed || stages <= MAX_EVEN)
        && compare_even(row, schedule, s, options, err) != 0) return -1;
    if (candidate_is_enough(row)) return 0;
    if ((mixed || fixed) && !proves && compare_hetero(row, schedule, s, options, err) != 0)
        return -1;
    if (row->plan || row->why[0]) return 0;
    return fixed ? say_why(row, s, options->cost,
                           schedule_row(schedule)->groups ? s->device_count : 1, err)
                 : compare_even(row, schedule, s, options, err);
}

enum { RELAY_BUDGET = 3000000 };         /* instructions simulated to do better than the searches */

static int improve(Candidate *row, Schedule schedule, const Scenario *s, Error *err)
{
    const char *shares =
        schedule_row(schedule)->groups && scenario_is_mixed(s) ? ", shares even and by speed" : "";
    int64_t     before = candidate_fastest_ns(row);
    bool        all = false;

    if (relay_search(row, &all, schedule, s, RELAY_BUDGET, err) != 0) return -1;
    if (row->plan && all && row->pruned == 0)
        snprintf(row->method, sizeof row->method, "fastest of all plans%s, %d simulated", shares,
                 row->simulated);
    else if (candidate_fastest_ns(row) < before)
        snprintf(row->method, sizeof row->method,
                 "search under the simulator from an exact partition, %d simulated",
                 row->simulated);
    return 0;
}

int compare_relay_improve(Candidate *row, Schedule schedule, const Scenario *s,
                          const CompareOptions *options, Error *err)
{
    bool search = (row->plan || row->cutoff_ns) && !row->none_faster && options->candidates > 1
                  && options->order.kind == ORDER_SEARCHED && options->cost != COST_PAPER;

    if (search && improve(row, schedule, s, err) != 0) return -1;
    say_pruned(row);
    return 0;
}

int compare_relay_bound(int64_t *out, const Scenario *s, Error *err)
{
    Partition  *parts = NULL;
    Scenario    alone = *s;              /* nothing is faster than with nobody else computing */
    StageTable *table;
    Error       why = {""};
    int         count = 0, rc;
    bool        all;

    *out = 0;
    alone.load = 0;
    /* the order matters */
    if (scenario_is_mixed(s) || scenario_node(s, s->device_count - 1) > 0) {
        int64_t ns;
        if (compare_mixed_bound(&ns, &alone, err) != 0) return -1;
        if (__builtin_mul_overflow(ns, s->steps, out)) *out = 0;
        return 0;
    }
    if (stage_table_build(&table, &alone, COST_BOUND, s->device_count, err) != 0) return -1;
    rc = search(&parts, &count, &all, table, &alone, s->device_count, 1, 0, &why);
    stage_table_free(table);
    if (rc != 0) return error_is_no_memory(&why) ? error_no_memory(err) : 0;
    if (count == 0 || __builtin_mul_overflow(parts[0].bottleneck_ns, s->steps, out)) *out = 0;
    partitions_free(parts, count);
    return 0;
}
