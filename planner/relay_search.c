#include "planner/relay_search.h"

#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "planner/hetero/group_cost.h"
#include "planner/stages/relay_cost.h"
#include "planner/stages/stage_memory.h"
#include "schedule/registry.h"

enum { MOST_ROWS = 1024 };               /* looked at for a floor */

/* Stages one after another; the devices of stage i are devices[start[i]..start[i + 1] - 1], and
 * those from start[stages] on are idle. */
typedef struct {
    int  stages;
    int *first;                  /* [devices] first block of each stage */
    int *start;                  /* [devices + 1] */
    int *devices;                /* [devices] all of them */
} RelayLayout;

typedef struct {
    Candidate            *row;
    Schedule              schedule;
    const Scenario       *s;
    StageMemory          *memory;
    int64_t             **floors;        /* [types][most_width + 1] of sum_work() by type of the
                                          * device and width; NULL: not yet */
    GroupCosts           *costs;         /* devices differ: shares by speed; else NULL */
    int                   blocks, devices, types, most_width;
    int                  *type_of;       /* [devices] alike, and on the same machine */
    int                  *counts;        /* [classes] of a group */
    Plan                 *scratch;       /* of a layout, its stages' devices and rows in ... */
    int                  *devices_of;    /* ... here */
    int64_t              *rows_of;
    RelayLayout           now, next;     /* the best so far; a move away from it */
    int                   plans, most_plans;     /* looked at */
    int64_t               budget;        /* instructions, and about as much work of other kinds */
    bool                  better;        /* something was kept */
    Error                 err;
} RelaySearch;

/* ---- a floor ----------------------------------------------------------------------- */

/* Teacher, student and update of a block on rows of the batch, nobody else computing; -1: not
 * known. */
static int64_t block_work(const Scenario *alone, int block, int device, int64_t rows)
{
    int64_t ns = 0;
    Cost    cost;

    for (int work = 0; work < WORK_COUNT; work++) {
        if (scenario_work(alone, (Work)work, block, device, rows, &cost, NULL) != 0) return -1;
        ns += cost.ns;
    }
    return ns;
}

/* The work of blocks 0..b-1 in sums[b]: of some member of a group, device being of its type, that
 * has its share of rows at least; exactly so many where shares are even. What is not known counts
 * as 0. */
static int64_t *sum_work(const RelaySearch *r, int device, int width)
{
    Scenario alone = *r->s;
    int64_t *sums = calloc((size_t)r->blocks + 1, sizeof *sums),
            rows = scenario_share(r->s->batch, width, 0);
    int64_t  most = r->costs && width > 1 ? r->s->batch : rows;

    if (most - rows > MOST_ROWS) return sums;
    alone.load = 0;
    for (int b = 0; sums && b < r->blocks; b++) {
        int64_t least = INT64_MAX;
        for (int64_t k = rows; k <= most; k++) {
            int64_t ns = block_work(&alone, b, device, k);
            if (ns >= 0) least = smaller(least, ns);
        }
        sums[b + 1] = sums[b] + (least < INT64_MAX ? least : 0);
    }
    return sums;
}

/* No step of blocks first..last takes a member of stage i of l less, all else for nothing: of one
 * that has the mean of the rows or more, as some member does. */
static int64_t stage_floor(RelaySearch *r, const RelayLayout *l, int i, int last)
{
    int     first = l->first[i], width = l->start[i + 1] - l->start[i];
    int64_t least = INT64_MAX;

    for (int k = 0; k < (r->costs ? width : 1); k++) {
        int       device = l->devices[l->start[i] + k];
        int64_t **sums =
            &r->floors[(size_t)r->type_of[device] * ((size_t)r->most_width + 1) + (size_t)width];
        if (!*sums) *sums = sum_work(r, device, width);
        if (!*sums) return 0;
        least = smaller(least, (*sums)[last + 1] - (*sums)[first]);
    }
    return least;
}

/* Whether stage i of l cannot end with block last, nor any later: it alone is too slow. */
static bool is_too_long(RelaySearch *r, const RelayLayout *l, int i, int last)
{
    int64_t ns;

    if (l->start[i + 1] - l->start[i] > r->s->batch
        || __builtin_mul_overflow(stage_floor(r, l, i, last), r->s->steps, &ns))
        return false;
    return (r->row->cutoff_ns && ns >= r->row->cutoff_ns)
           || (r->row->plan && ns > compare_tie(candidate_fastest_ns(r->row)));
}

/* ---- one layout ------------------------------------------------------------------- */

static int width_of(const RelayLayout *l, int i) { return l->start[i + 1] - l->start[i]; }

static int last_of(const RelaySearch *r, const RelayLayout *l, int i)
{
    return (i + 1 < l->stages ? l->first[i + 1] : r->blocks) - 1;
}

static bool has_kinds(const RelaySearch *r, const int *devices, int width)
{
    for (int k = 1; k < width; k++)
        if (group_costs_class(r->costs, devices[k]) != group_costs_class(r->costs, devices[0]))
            return true;
    return false;
}

/* Shares by speed; false: none. */
static bool share_by_speed(const RelaySearch *r, Stage *stage, Error *err)
{
    const Scenario *s = r->s;
    int             classes = group_costs_classes(r->costs), *counts = r->counts;
    int64_t        *by_class = malloc((size_t)stage->width * sizeof *by_class);
    HeteroGroup     group = {.first = stage->first, .last = stage->last, .counts = counts};
    bool            found = false;

    if (!by_class) { error_no_memory(err); return false; }
    memset(counts, 0, (size_t)classes * sizeof *counts);
    for (int k = 0; k < stage->width; k++) {
        counts[group_costs_class(r->costs, stage->devices[k])]++;
        group.reduce_across |=
            scenario_node(s, stage->devices[k]) != scenario_node(s, stage->devices[0]);
    }
    if (group_cost(r->costs, &group) != STAGE_IMPOSSIBLE
        && group_rows(by_class, r->costs, &group, err) == 0) {
        found = true;
        for (int c = 0, at = 0; c < classes; c++)
            for (int k = 0; k < stage->width; k++)
                if (group_costs_class(r->costs, stage->devices[k]) == c)
                    stage->rows[k] = by_class[at++];
    }
    free(by_class);
    return found;
}

/* The layout as scratch; *mixed: some group has devices of several classes. False: no plan. */
static bool spell_out(RelaySearch *r, const RelayLayout *l, bool by_speed, bool *mixed)
{
    Plan *plan = r->scratch;

    *mixed = false;
    plan->stage_count = l->stages;
    for (int i = 0; i < l->stages; i++) {
        Stage *stage = &plan->stages[i];
        *stage = (Stage){l->first[i],
                         last_of(r, l, i),
                         width_of(l, i),
                         r->devices_of + l->start[i],
                         r->rows_of + l->start[i],
                         0};
        if (stage->width > r->s->batch) return false;
        memcpy(stage->devices, l->devices + l->start[i],
               (size_t)stage->width * sizeof *stage->devices);
        for (int k = 0; k < stage->width; k++)
            stage->rows[k] = scenario_share(r->s->batch, stage->width, k);
        if (!r->costs || !has_kinds(r, stage->devices, stage->width)) continue;
        *mixed = true;
        if (by_speed && !share_by_speed(r, stage, &r->err)) return false;
    }
    return true;
}

/* Scratch, with an epoch of at least bound_ns, may be faster than what is there, or as fast and
 * thriftier: it relays, so it loads and teaches each row once. */
static bool worth_a_run(const RelaySearch *r, int64_t bound_ns)
{
    Thrift      thrift = {1, 1, 0};
    const Plan *plan = r->scratch;

    if (r->row->cutoff_ns && bound_ns >= r->row->cutoff_ns) return false;
    if (bound_ns < candidate_fastest_ns(r->row)) return true;
    if (bound_ns > compare_tie(candidate_fastest_ns(r->row))) return false;
    for (int i = 0; i < plan->stage_count; i++)
        for (int k = 0; k < plan->stages[i].width; k++)
            thrift.peak_bytes =
                larger(thrift.peak_bytes,
                       stage_memory_bytes(r->memory, plan->stages[i].first, plan->stages[i].last,
                                          plan->stages[i].rows[k]));
    return candidate_could_win(r->row, bound_ns, &thrift);
}

static int64_t work_of(const RelaySearch *r) { return 2 * (r->blocks + r->devices); }

/* Simulates scratch, unless it cannot be faster. */
static int try_scratch(RelaySearch *r)
{
    RelayCost cost;
    Error     why = {""};
    Plan     *plan;
    int64_t   before = r->row->spent, fastest = candidate_fastest_ns(r->row);

    r->budget -= work_of(r);
    if (relay_cost(&cost, r->scratch, r->s, true, &why) != 0)
        return error_is_no_memory(&why) ? error_no_memory(&r->err) : 0;
    if (!worth_a_run(r, cost.epoch_ns)) return 0;
    if (plan_copy(&plan, r->scratch, &r->err) != 0) return -1;
    if (candidate_try(r->row, plan, "search under the simulator", r->s, &r->err) != 0) return -1;
    r->budget -= r->row->spent - before + 400 * work_of(r);
    r->better |= candidate_fastest_ns(r->row) < fastest;
    return 0;
}

/* Some stage alone is too slow, whatever the shares. */
static bool is_hopeless(RelaySearch *r, const RelayLayout *l)
{
    for (int i = 0; i < l->stages; i++)
        if (is_too_long(r, l, i, last_of(r, l, i))) return true;
    return false;
}

/* With even shares, and by speed. */
static int try_layout(RelaySearch *r, const RelayLayout *l)
{
    bool mixed = false;

    r->plans++;
    if (is_hopeless(r, l)) {
        for (int i = 0; i < l->stages && r->costs && !mixed; i++)
            mixed = has_kinds(r, l->devices + l->start[i], width_of(l, i));
        r->budget -= (mixed ? 2 : 1) * work_of(r);       /* as try_scratch() would */
        return 0;
    }
    if (spell_out(r, l, false, &mixed) && try_scratch(r) != 0) return -1;
    if (mixed && spell_out(r, l, true, &mixed) && try_scratch(r) != 0) return -1;
    return error_is_no_memory(&r->err) ? -1 : 0;
}

/* Where what plans may have taken decides, what they took is found. */
static bool is_spent(RelaySearch *r)
{
    int64_t before = r->row->spent;

    if (r->budget <= 0 || r->budget > r->row->unsure.most) return r->budget <= 0;
    if (candidate_settle_spent(r->row, r->s, &r->err) != 0) return true;
    r->budget -= r->row->spent - before;
    return r->budget <= 0;
}

static bool is_over(RelaySearch *r)
{
    return r->plans > r->most_plans || candidate_is_enough(r->row) || is_spent(r);
}

/* ---- all plans ----------------------------------------------------------------------- */

static void put(RelayLayout *l, int i, int at)
{
    int *end = &l->start[i + 1], moved = l->devices[*end];

    l->devices[*end] = l->devices[at];
    l->devices[at] = moved;
    ++*end;
}

static void take_back(RelayLayout *l, int i, int at)
{
    int *end = &l->start[i + 1], moved;

    --*end;
    moved = l->devices[*end];
    l->devices[*end] = l->devices[at];
    l->devices[at] = moved;
}

static int every_stage(RelaySearch *r, int first);

/* Adds devices to the stage that is last in next, in order of type. */
static int every_group(RelaySearch *r, int least_type)
{
    RelayLayout *l = &r->next;
    int          i = l->stages - 1;

    if (is_over(r)) return 0;
    if (width_of(l, i) > 0) {
        if (!is_too_long(r, l, i, r->blocks - 1) && try_layout(r, l) != 0) return -1;
        for (int first = l->first[i] + 1;
             first < r->blocks && l->start[i + 1] < r->devices && !is_too_long(r, l, i, first - 1);
             first++)
            if (every_stage(r, first) != 0) return -1;
    }
    if (width_of(l, i) == r->most_width) return 0;
    for (int type = least_type; type < r->types; type++)
        for (int at = l->start[i + 1]; at < r->devices; at++) {
            if (r->type_of[l->devices[at]] != type) continue;
            put(l, i, at);
            if (every_group(r, type) != 0) return -1;
            take_back(l, i, at);
            break;                       /* the others of the type are no other plan */
        }
    return 0;
}

static int every_stage(RelaySearch *r, int first)
{
    RelayLayout *l = &r->next;

    l->first[l->stages] = first;
    l->start[l->stages + 1] = l->start[l->stages];
    l->stages++;
    int rc = every_group(r, 0);
    l->stages--;
    return rc;
}

/* How many plans there are, or some number above most. */
static double count_plans(const RelaySearch *r, double most)
{
    double n = 0, cuts = 1, widths = 1;

    /* Of equal devices: C(blocks - 1, k - 1) cuts times C(devices, k) sums of widths (idle ones
     * included), or 1 sum of ones; of several types, many times more. */
    for (int k = 1; k <= r->blocks && k <= r->devices && n <= most; k++) {
        if (k > 1) cuts = cuts * (r->blocks - k + 1) / (k - 1);
        widths = widths * (r->devices - k + 1) / k;
        n += cuts * (r->most_width > 1 ? widths : 1);
    }
    return n;
}

/* ---- moves --------------------------------------------------------------------------------- */

static void copy_layout(RelayLayout *to, const RelayLayout *from, int devices)
{
    to->stages = from->stages;
    memcpy(to->first, from->first, (size_t)devices * sizeof *to->first);
    memcpy(to->start, from->start, ((size_t)devices + 1) * sizeof *to->start);
    memcpy(to->devices, from->devices, (size_t)devices * sizeof *to->devices);
}

/* Moves the device at place at of devices[] to place to, those in between by one. */
static void shift(RelayLayout *l, int at, int to)
{
    int device = l->devices[at];

    if (at < to)
        memmove(l->devices + at, l->devices + at + 1, (size_t)(to - at) * sizeof *l->devices);
    else
        memmove(l->devices + to + 1, l->devices + to, (size_t)(at - to) * sizeof *l->devices);
    l->devices[to] = device;
}

/* The device at place at of stage i (stages: idle) to the end of stage k. */
static void move_device(RelayLayout *l, int at, int i, int k)
{
    if (i < k) {
        int to = (k < l->stages ? l->start[k + 1] : l->start[l->stages]) - 1;
        shift(l, at, to);
        for (int j = i + 1; j <= k; j++) l->start[j]--;
    } else {
        shift(l, at, l->start[k + 1]);
        for (int j = k + 1; j <= i; j++) l->start[j]++;
    }
}

static int try_move(RelaySearch *r)
{
    int rc = try_layout(r, &r->next);

    copy_layout(&r->next, &r->now, r->devices);
    return rc;
}

/* Blocks across the end of stage i. */
static int move_blocks(RelaySearch *r)
{
    for (int i = 1; i < r->now.stages; i++)
        for (int by = 1; by <= r->blocks / 2; by *= 2)
            for (int sign = -1; sign <= 1; sign += 2) {
                int first = r->now.first[i] + sign * by, high = last_of(r, &r->now, i);
                if (first <= r->now.first[i - 1] || first > high) continue;
                r->next.first[i] = first;
                if (try_move(r) != 0) return -1;
                if (r->better || is_over(r)) return 0;
            }
    return 0;
}

/* Of the devices of a stage one of each type; to each other stage, or to none. */
static int move_devices(RelaySearch *r)
{
    const RelayLayout *now = &r->now;

    for (int i = 0; i <= now->stages; i++) {
        int end = i < now->stages ? now->start[i + 1] : r->devices;
        for (int at = now->start[i]; at < end; at++) {
            bool seen = false;
            for (int k = now->start[i]; k < at; k++)
                seen |= r->type_of[now->devices[k]] == r->type_of[now->devices[at]];
            for (int k = 0; k <= now->stages && !seen; k++) {
                if (k == i || (i < now->stages && width_of(now, i) == 1)) continue;
                if (k < now->stages && width_of(now, k) == r->most_width) continue;
                move_device(&r->next, at, i, k);
                if (try_move(r) != 0) return -1;
                if (r->better || is_over(r)) return 0;
            }
        }
    }
    return 0;
}

/* Stages i and i + 1 become one, on the devices of both, or of either. */
static int merge_stages(RelaySearch *r)
{
    for (int i = 0; i + 1 < r->now.stages; i++)
        for (int which = 0; which < 3; which++) {
            RelayLayout *l = &r->next;
            int          own = width_of(l, i), other = width_of(l, i + 1);
            if (which == 0 && own + other > r->most_width) continue;
            for (int k = 0; which == 1 && k < other; k++)
                move_device(l, l->start[i + 1], i + 1, l->stages);
            for (int k = 0; which == 2 && k < own; k++) move_device(l, l->start[i], i, l->stages);
            for (int k = i + 1; k + 1 < l->stages; k++) l->first[k] = l->first[k + 1];
            for (int k = i + 1; k < l->stages; k++) l->start[k] = l->start[k + 1];
            l->stages--;
            if (try_move(r) != 0) return -1;
            if (r->better || is_over(r)) return 0;
        }
    return 0;
}

/* Puts a cut before block into stage i, whose first `own` devices keep the blocks before it. */
static void cut(RelayLayout *l, int i, int block, int own)
{
    for (int k = l->stages; k > i + 1; k--) l->first[k] = l->first[k - 1];
    for (int k = l->stages + 1; k > i + 1; k--) l->start[k] = l->start[k - 1];
    l->first[i + 1] = block;
    l->start[i + 1] = l->start[i] + own;
    l->stages++;
}

/* Stage i becomes two: with its devices, or with an idle one for either part. */
static int split_stages(RelaySearch *r)
{
    for (int i = 0; i < r->now.stages; i++)
        for (int block = r->now.first[i] + 1; block <= last_of(r, &r->now, i); block++) {
            int width = width_of(&r->now, i), idle = r->devices - r->now.start[r->now.stages];
            for (int own = 1; own < width; own = own < 4 || own + 1 == width ? own + 1
                                                 : 2 * own < width           ? 2 * own
                                                                             : width - 1) {
                cut(&r->next, i, block, own);
                if (try_move(r) != 0) return -1;
                if (r->better || is_over(r)) return 0;
            }
            for (int d = 0; d < idle; d++) {
                int at = r->now.start[r->now.stages] + d, seen = 0;
                for (int k = 0; k < d; k++)
                    seen |=
                        r->type_of[r->now.devices[at - d + k]] == r->type_of[r->now.devices[at]];
                for (int before = 0; before < 2 && !seen; before++) {
                    move_device(&r->next, at, r->next.stages, i);
                    if (before) shift(&r->next, r->next.start[i + 1] - 1, r->next.start[i]);
                    cut(&r->next, i, block, before ? 1 : width);
                    if (try_move(r) != 0) return -1;
                    if (r->better || is_over(r)) return 0;
                }
            }
        }
    return 0;
}

/* Two devices of different types, in different stages, idle, or in one stage. */
static int exchange_devices(RelaySearch *r)
{
    for (int a = 0; a < r->now.start[r->now.stages] && r->types > 1; a++)
        for (int b = a + 1; b < r->devices; b++) {
            int device = r->now.devices[a];
            if (r->type_of[device] == r->type_of[r->now.devices[b]]) continue;
            r->next.devices[a] = r->now.devices[b];
            r->next.devices[b] = device;
            if (try_move(r) != 0) return -1;
            if (r->better || is_over(r)) return 0;
        }
    return 0;
}

static void read_layout(RelaySearch *r, const Plan *plan)
{
    int  count = 0;
    bool idle;

    r->now.stages = plan->stage_count;
    r->now.start[0] = 0;
    for (int i = 0; i < plan->stage_count; i++) {
        r->now.first[i] = plan->stages[i].first;
        for (int k = 0; k < plan->stages[i].width; k++)
            r->now.devices[count++] = plan->stages[i].devices[k];
        r->now.start[i + 1] = count;
    }
    for (int d = 0, used = count; d < r->devices; d++) {
        idle = true;
        for (int k = 0; k < used && idle; k++) idle = r->now.devices[k] != d;
        if (idle) r->now.devices[count++] = d;
    }
}

static int climb(RelaySearch *r)
{
    static int (*const moves[])(RelaySearch *) = {move_blocks, move_devices, merge_stages,
                                                  split_stages, exchange_devices};
    const int kinds = sizeof moves / sizeof *moves;

    for (int tried = 0, kind = 0; tried < kinds && r->row->plan && !is_over(r);
         kind = (kind + 1) % kinds) {
        r->better = false;
        read_layout(r, r->row->faster_count > 0 ? r->row->faster[0].plan : r->row->plan);
        copy_layout(&r->next, &r->now, r->devices);
        if (moves[kind](r) != 0) return -1;
        tried = r->better ? 0 : tried + 1;
        if (r->better) kind--;
    }
    return 0;
}

/* ---- making and freeing ---------------------------------------------------------------------- */

static void number_types(RelaySearch *r)
{
    for (int d = 0; d < r->devices; d++) {
        int e = 0;
        while (!scenario_same_type(r->s, e, d)) e++;
        r->type_of[d] = e == d ? r->types++ : r->type_of[e];
    }
}

static int prepare(RelaySearch *r, int *numbers)
{
    size_t g = (size_t)r->devices;

    r->type_of = numbers;
    r->devices_of = numbers + g;
    r->now = (RelayLayout){0, numbers + 2 * g, numbers + 3 * g, numbers + 4 * g + 1};
    r->next = (RelayLayout){0, numbers + 5 * g + 1, numbers + 6 * g + 1, numbers + 7 * g + 2};
    r->counts = numbers + 8 * g + 2;
    number_types(r);
    r->floors = calloc((size_t)r->types * ((size_t)r->most_width + 1), sizeof *r->floors);
    if (!r->floors) return error_no_memory(&r->err);
    if (stage_memory_build(&r->memory, r->s, &r->err) != 0) return -1;
    if (scenario_is_mixed(r->s)
        && group_costs_build(&r->costs, r->s, COST_SIM, false, &r->err) != 0)
        return -1;
    return plan_new(&r->scratch, r->schedule, r->blocks, r->devices, r->s->batch,
                    r->blocks < r->devices ? r->blocks : r->devices, &r->err);
}

static int search(RelaySearch *r, bool *all)
{
    if (count_plans(r, RELAY_PLANS) <= RELAY_PLANS) {
        r->most_plans = RELAY_PLANS;
        for (int d = 0; d < r->devices; d++) r->next.devices[d] = d;
        if (every_stage(r, 0) != 0) return -1;
        *all = !is_over(r);
    }
    if (*all || is_spent(r)) return 0;
    r->most_plans = INT32_MAX;
    return climb(r);
}

int relay_search(Candidate *row, bool *all, Schedule schedule, const Scenario *s, int64_t budget,
                 Error *err)
{
    RelaySearch r = {.row = row, .schedule = schedule, .s = s, .blocks = s->trace->block_count,
                     .devices = s->device_count,
                     .most_width = schedule_row(schedule)->groups ? s->device_count : 1,
                     .budget = budget};
    size_t      g = (size_t)s->device_count;
    int        *numbers = calloc(9 * g + 2, sizeof *numbers), rc = -1;

    *all = false;
    candidate_begin_budget(row);
    r.rows_of = calloc(g, sizeof *r.rows_of);
    if (!numbers || !r.rows_of) error_no_memory(&r.err);
    else if (prepare(&r, numbers) == 0) rc = search(&r, all);
    if (error_is_no_memory(&r.err)) rc = -1;
    if (r.scratch) r.scratch->stage_count = 0;
    plan_free(r.scratch);
    group_costs_free(r.costs);
    stage_memory_free(r.memory);
    for (size_t i = 0; r.floors && i < (size_t)r.types * ((size_t)r.most_width + 1); i++)
        free(r.floors[i]);
    free(r.floors);
    free(numbers);
    free(r.rows_of);
    return rc == 0 ? 0 : error_no_memory(err);
}
