/* Devices of several kinds, and orders that are asked for: plans for tr, dpu and ahd from
 * the search over counts or from orders one by one, and shares for dp and ir. */
#include <stdio.h>
#include <stdlib.h>

#include "planner/compare_schedule.h"
#include "planner/hetero/hetero.h"
#include "schedule/registry.h"

#define MAX_COUNTS 1e8           /* steps of a probe of the search over counts */
#define MAX_STAGES 4e5           /* stages that orders may look at together */
enum { MAX_ORDERS = 24 };

typedef struct {
    const Scenario       *s;
    const CompareOptions *options;
    Schedule              schedule;
    GroupCosts           *costs;
    Candidate            *row;
    int                   max_width, unit, tried;
    int64_t               limit_ns;      /* of bottlenecks of interest; 0: all are */
    int64_t               goal_ns;       /* within which there must be one, or none is */
    int64_t               least_ns;      /* no bottleneck of this search is less; 0: not known */
} HeteroJob;

/* ---- plans ----------------------------------------------------------------------------- */

/* Puts blocks first..last on devices with the best shares; before and after stand beside
 * them in the order, -1: none. */
static int place(Plan *plan, int stage, HeteroGroup group, const int *devices, int width,
                 int before, int after, GroupCosts *costs, Error *err)
{
    const Scenario *s = group_costs_scenario(costs);
    size_t   classes = (size_t)group_costs_classes(costs);
    int *counts = calloc(classes, sizeof *counts), *next = calloc(classes, sizeof *next), rc = -1;
    int64_t *by_class = calloc((size_t)width, sizeof *by_class),
            *rows = calloc((size_t)width, sizeof *rows);

    if (!counts || !next || !by_class || !rows) { error_no_memory(err); goto done; }
    for (int i = 0; i < width; i++) {
        counts[group_costs_class(costs, devices[i])]++;
        group.reduce_across |= scenario_node(s, devices[i]) != scenario_node(s, devices[0]);
    }
    group.in_across = before >= 0 && scenario_node(s, before) != scenario_node(s, devices[0]);
    group.out_across =
        after >= 0 && scenario_node(s, after) != scenario_node(s, devices[width - 1]);
    group.counts = counts;
    if (group_rows(by_class, costs, &group, err) != 0) goto done;
    for (size_t c = 1; c < classes; c++) next[c] = next[c - 1] + counts[c - 1];
    for (int i = 0; i < width; i++)
        rows[i] = by_class[next[group_costs_class(costs, devices[i])]++];
    plan->stages[stage].first = group.first;
    plan->stages[stage].last = group.last;
    rc = plan_place(plan, &plan->stages[stage], devices, rows, width, err);
done:
    free(counts);
    free(next);
    free(by_class);
    free(rows);
    return rc;
}

static HeteroGroup blocks_of(const Scenario *s, const int *first, int stages, int i)
{
    return (HeteroGroup){.first = first[i],
                         .last = (i + 1 < stages ? first[i + 1] : s->trace->block_count) - 1};
}

/* A plan with stages on devices in this order; width[] of them each. */
static int plan_in_order(Plan **out, const HeteroJob *job, const int *first, const int *width,
                         int stages, const int *order, Error *err)
{
    const Scenario *s = job->s;

    if (plan_new(out, job->schedule, s->trace->block_count, s->device_count, s->batch, stages, err)
        != 0)
        return -1;
    for (int i = 0, d = 0; i < stages; d += width[i++]) {
        int before = d > 0 ? order[d - 1] : -1, after = i + 1 < stages ? order[d + width[i]] : -1;
        if (place(*out, i, blocks_of(s, first, stages, i), order + d, width[i], before, after,
                  job->costs, err)
            == 0)
            continue;
        plan_free(*out);
        *out = NULL;
        return -1;
    }
    return 0;
}

/* How it was found, for people; what is not proven is said. */
static const char *method(const HeteroJob *job, char *buffer, size_t size, const char *how,
                          int64_t found_ns)
{
    char *end = buffer + snprintf(buffer, size, "%.100s, fastest of %d simulated", how, job->tried);

    if (group_costs_monotone(job->costs) || (found_ns > 0 && found_ns == job->least_ns))
        return buffer;
    if (job->least_ns > 0)
        snprintf(end, size - (size_t)(end - buffer),
                 "; some times fall as rows grow: at most %.2g %% above the best shares",
                 100 * ((double)found_ns / (double)job->least_ns - 1));
    else
        snprintf(end, size - (size_t)(end - buffer),
                 "; some times fall as rows grow: other shares may be faster");
    return buffer;
}

/* Where times fall as rows grow: the least bottleneck that shares of this search could
 * have; over all orders (order NULL), or in one. */
static int find_least(HeteroJob *job, const int *order, Error *err)
{
    GroupCosts     *optimistic;
    HeteroPartition *mixed = NULL;
    Partition      *parts = NULL;
    int             count = 0, rc;

    if (group_costs_monotone(job->costs)) return 0;
    if (group_costs_build(&optimistic, job->s, COST_SIM, true, err) != 0) return -1;
    if (order) rc = ordered_search(&parts, &count, optimistic, order, job->max_width, 1, err);
    else       rc = hetero_search(&mixed, &count, optimistic, job->max_width, job->unit, 1, 0, NULL,
                                      err);
    if (count > 0) job->least_ns = order ? parts[0].bottleneck_ns : mixed[0].bottleneck_ns;
    if (order) partitions_free(parts, count);
    else       hetero_free(mixed, count);
    group_costs_free(optimistic);
    return rc;
}

/* ---- one order -------------------------------------------------------------------------- */

/* Simulates up to wanted plans with the devices in this order, those with the least bottlenecks
 * first; the candidate keeps the fastest. how: what to call the search in its method. No plan in
 * this order is no error. */
static int try_order(HeteroJob *job, const int *order, int wanted, const char *how, Error *err)
{
    Partition *parts = NULL;
    char       words[192];
    int        count = 0, rc = -1;

    if (ordered_search(&parts, &count, job->costs, order, job->max_width, wanted, err) != 0)
        return -1;
    if (count > wanted) count = wanted;
    job->tried += count;
    if (count > 0) method(job, words, sizeof words, how, parts[0].bottleneck_ns);
    for (int i = 0; i < count; i++) {
        Plan *plan;
        if (plan_in_order(&plan, job, parts[i].first, parts[i].width, parts[i].stages, order, err)
            != 0)
            goto done;
        if (candidate_try(job->row, plan, words, job->s, err) != 0) goto done;
    }
    rc = 0;
done:
    partitions_free(parts, count);
    return rc;
}

static int try_fixed_order(HeteroJob *job, Error *err)
{
    const Order *fixed = &job->options->order;
    int         *order = calloc((size_t)job->s->device_count, sizeof *order);

    if (!order) return error_no_memory(err);
    for (int d = 0; d < job->s->device_count; d++)
        order[d] = fixed->kind == ORDER_LISTED ? fixed->devices[d] : d;
    int rc = find_least(job, order, err);
    if (rc == 0)
        rc = try_order(job, order, job->options->candidates, "exact partition in the order given",
                       err);
    free(order);
    return rc;
}

/* Tries the orders of the devices, as many as are worth their time, and says how many of how many
 * where one of them is the fastest. */
static int try_orders(HeteroJob *job, Error *err)
{
    Orders  orders;
    char    how[100], words[192];
    int    *order = calloc((size_t)job->s->device_count, sizeof *order), count = 0, rc = -1;
    double  most = MAX_STAGES / (ordered_work(job->costs, job->max_width) + 1);
    int64_t before = candidate_fastest_ns(job->row);

    if (!order) return error_no_memory(err);
    if (orders_build(&orders, job->costs, MAX_ORDERS, err) != 0) { free(order); return -1; }
    int wanted = orders.total > 4 && job->options->candidates > 4 ? 4 : job->options->candidates;
    for (bool more = most >= 1; more && count < MAX_ORDERS && count < most;
         more = orders_next(&orders)) {
        orders_get(&orders, order);
        count++;
        if (try_order(job, order, wanted, "orders of the devices", err) != 0) goto done;
    }
    snprintf(how, sizeof how,
             orders.total < 1e15 ? "%d of %.0f orders of the devices tried"
                                 : "%d of %.2g orders of the devices tried",
             count, orders.total);
    if (candidate_fastest_ns(job->row) < before)       /* one of these is the fastest */
        snprintf(job->row->method, sizeof job->row->method, "%s",
                 method(job, words, sizeof words, how, 0));
    rc = 0;
done:
    orders_free(&orders);
    free(order);
    return rc;
}

/* ---- all orders at once --------------------------------------------------------------------- */

/* Devices of the counts of each class in turn, the lowest numbers first. */
static int try_counts_of(HeteroJob *job, const HeteroPartition *part, const char *words, Error *err)
{
    int   g = job->s->device_count, classes = group_costs_classes(job->costs), placed = 0, rc = -1;
    int  *order = calloc((size_t)g, sizeof *order),
        *width = calloc((size_t)part->stages, sizeof *width);
    char *used = calloc((size_t)g, 1);
    Plan *plan;

    if (!order || !width || !used) { error_no_memory(err); goto done; }
    for (int i = 0; i < part->stages; i++)
        for (int c = 0; c < classes; c++)
            for (int d = 0, left = part->counts[i * classes + c]; left > 0; d++) {
                if (used[d] || group_costs_class(job->costs, d) != c) continue;
                used[d] = 1;
                order[placed++] = d;
                width[i]++;
                left--;
            }
    if (plan_in_order(&plan, job, part->first, width, part->stages, order, err) != 0) goto done;
    rc = candidate_try(job->row, plan, words, job->s, err);
done:
    free(order);
    free(width);
    free(used);
    return rc;
}

/* Simulates the plans of parts. */
static int try_parts(HeteroJob *job, const HeteroPartition *parts, int count, const char *words,
                     Error *err)
{
    for (int i = 0; i < count && !candidate_is_enough(job->row); i++)
        if (try_counts_of(job, &parts[i], words, err) != 0) return -1;
    return 0;
}

/* Simulates the plans of the search over counts, one for each partition that it finds, as the
 * orders of devices of a kind do not matter. None found within the limit is no error: the row then
 * says whether any plan could be faster. */
static int try_counts(HeteroJob *job, Error *err)
{
    const CompareOptions *options = job->options;
    HeteroPartition *parts = NULL, *others = NULL;
    char            how[100], words[192];
    int             count = 0, more = 0, rc = 0;
    bool            one = options->candidates == 1 || options->only_fastest;

    if (hetero_search(&parts, &count, job->costs, job->max_width, job->unit,
                      one ? 1 : options->candidates, one ? job->goal_ns : job->limit_ns,
                      options->memo, err)
        != 0)
        return -1;
    job->tried += count;
    if (count == 0 && job->limit_ns) {
        job->row->none_faster |= job->unit == 1;
        candidate_is_slower(job->row);
    }
    snprintf(how, sizeof how,
             job->unit == 1 ? "exact partition over all orders of the devices"
                            : "partition over orders of the devices, taken %d at a time",
             job->unit);
    if (count > 0 && !options->only_fastest) rc = find_least(job, NULL, err);
    if (count > 0) method(job, words, sizeof words, how, parts[0].bottleneck_ns);
    if (rc == 0) rc = try_parts(job, parts, count, words, err);
    if (rc == 0 && one && count > 0 && options->candidates > 1 && !candidate_is_enough(job->row)) {
        rc = hetero_others(&others, &more, job->costs, job->max_width, job->unit,
                           options->candidates,
                           group_costs_monotone(job->costs)
                               ? compare_others_limit(job->row, job->s, options, job->limit_ns)
                               : job->limit_ns,
                           &parts[0], options->memo, err);
        if (rc == 0) rc = try_parts(job, others, more, words, err);
    }
    hetero_free(parts, count);
    hetero_free(others, more);
    return rc;
}

/* How many devices to take at a time so that the search is short enough; 0: it never is. */
static int unit_for(const GroupCosts *costs, int max_width)
{
    int unit = 1;

    while (unit <= max_width && hetero_work(costs, max_width, unit) > MAX_COUNTS) unit *= 2;
    for (int c = 0; c < group_costs_classes(costs); c++)
        if (group_costs_counts(costs)[c] < 4 * unit && unit > 1) return 0;      /* too coarse */
    return unit <= max_width ? unit : 0;
}

static bool one_node(const Scenario *s)
{
    return scenario_node(s, s->device_count - 1) == 0;
}

int compare_hetero(Candidate *row, Schedule schedule, const Scenario *s,
                   const CompareOptions *options, Error *err)
{
    HeteroJob job = {.s = s, .options = options, .schedule = schedule, .row = row,
               .max_width = schedule_row(schedule)->groups ? s->device_count : 1};
    int rc;

    if (options->cost == COST_PAPER)
        return candidate_give_up(
            row,
            &(Error){"--cost paper is for equal devices in the trace's order: the original "
                     "knows no others"},
            err);
    if (group_costs_build(&job.costs, s, COST_SIM, false, err) != 0) return -1;
    if (group_costs_monotone(job.costs)) {
        job.limit_ns = stage_limit_ns(s, options->cutoff_ns);
        job.goal_ns = stage_limit_ns(s, compare_goal_ns(options));
    }
    if (options->order.kind != ORDER_SEARCHED)
        rc = try_fixed_order(&job, err);
    else if (one_node(s) && (job.unit = unit_for(job.costs, job.max_width)) > 0)
        rc = try_counts(&job, err);
    else
        rc = try_orders(&job, err);
    group_costs_free(job.costs);
    return rc;
}

int compare_mixed_bound(int64_t *bottleneck_ns, const Scenario *s, Error *err)
{
    HeteroPartition *parts = NULL;
    GroupCosts     *costs;
    int             count = 0, rc = 0;

    *bottleneck_ns = 0;
    if (group_costs_build(&costs, s, COST_BOUND, true, err) != 0) return -1;
    if (hetero_work(costs, s->device_count, 1) <= MAX_COUNTS)
        rc = hetero_search(&parts, &count, costs, s->device_count, 1, 1, 0, NULL, err);
    if (count > 0) *bottleneck_ns = parts[0].bottleneck_ns;
    hetero_free(parts, count);
    group_costs_free(costs);
    return rc;
}

/* ---- dp and ir ------------------------------------------------------------------------------- */

/* Whether all devices together can do the stage: shares exist. */
static bool has_shares(GroupCosts *costs, HeteroGroup group)
{
    const Scenario *s = group_costs_scenario(costs);

    group.counts = group_costs_counts(costs);
    group.reduce_across = !one_node(s);
    return group_cost(costs, &group) != STAGE_IMPOSSIBLE;
}

int compare_mixed_shares(Candidate *row, Schedule schedule, const Scenario *s, Error *err)
{
    int         n = s->trace->block_count, stages = schedule_row(schedule)->phases ? n : 1, rc = -1;
    int        *devices = calloc((size_t)s->device_count, sizeof *devices);
    GroupCosts *costs = NULL;
    Plan       *plan = NULL;

    if (!devices) return error_no_memory(err);
    if (group_costs_build(&costs, s, COST_SIM, false, err) != 0) goto done;
    if (plan_new(&plan, schedule, n, s->device_count, s->batch, stages, err) != 0) goto done;
    for (int d = 0; d < s->device_count; d++) devices[d] = d;
    for (int i = 0; i < stages; i++) {
        HeteroGroup group = {
            .first = i, .last = stages > 1 ? i : n - 1, .phase = schedule_row(schedule)->phases};
        if (!has_shares(costs, group)) {
            rc = group_costs_failed(costs) ? error_no_memory(err) : 0;
            goto done;
        }
        if (place(plan, i, group, devices, s->device_count, -1, -1, costs, err) != 0) goto done;
    }
    rc = candidate_try(row, plan,
                       schedule_row(schedule)->phases
                           ? "every block on all devices, shares by their speed"
                           : "one stage on all devices, shares by their speed",
                       s, err);
    plan = NULL;
done:
    plan_free(plan);
    group_costs_free(costs);
    free(devices);
    return rc;
}
