#include "planner/candidate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "planner/candidate_phases.h"
#include "planner/stages/relay_cost.h"
#include "schedule/registry.h"
#include "schedule/verify.h"

enum { LONG_PROGRAM = 1000000 };         /* instructions */

/* All but what is known of how the plans were tried. */
static void release_plans(Candidate *row)
{
    plan_free(row->plan);
    plan_free(row->runner_up);
    sim_free(&row->sim);
    free(row->memory);
    for (size_t i = 0; i < row->faster_count; i++) candidate_free(&row->faster[i]);
    free(row->faster);
    free(row->host);
    row->host = NULL;
    row->plan = NULL;
    row->runner_up = NULL;
    row->memory = NULL;
    row->faster = NULL;
    row->faster_count = 0;
}

void candidate_free(Candidate *row)
{
    release_plans(row);
    for (int i = 0; i < row->unsure.count; i++) plan_free(row->unsure.plans[i]);
    free(row->unsure.plans);
    row->unsure = (UnsureSpent){0};
}

int candidate_give_up(Candidate *row, const Error *why, Error *err)
{
    release_plans(row);
    snprintf(row->why, sizeof row->why, "%.255s", why->text);
    return error_is_no_memory(why) ? error_no_memory(err) : 0;
}

/* The device that needs most. */
static void find_peak(Candidate *row, const Memory *memory, int device_count)
{
    row->peak_device = 0;
    for (int d = 1; d < device_count; d++)
        if (memory[d].total_bytes > memory[row->peak_device].total_bytes) row->peak_device = d;
    row->peak = memory[row->peak_device];
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

int candidate_check_students(Plan *plan, const Trace *trace, Error *err)
{
    int *counts, rc = 0;

    if (plan->block_count != trace->block_count) return 0;       /* said elsewhere */
    if (!plan->students && !schedule_row(plan->schedule)->apart && trace_has_many_students(trace)) {
        counts = calloc((size_t)trace->block_count, sizeof *counts);
        if (!counts) return error_no_memory(err);
        for (int b = 0; b < trace->block_count; b++) counts[b] = trace_students(&trace->blocks[b]);
        rc = plan_set_students(plan, counts, err);
        free(counts);
    }
    for (int b = 0; b < trace->block_count && rc == 0; b++)
        if (plan_students(plan, b) != trace_students(&trace->blocks[b]))
            rc = error_set(err, "a plan for %d students of block %d, expected %d as in the trace",
                           plan_students(plan, b), b, trace_students(&trace->blocks[b]));
    return rc;
}

/* Notes what the fullest device needs; -1: one has too little. */
static int check_fits(Candidate *row, const Scenario *s, Error *why)
{
    find_peak(row, row->memory, s->device_count);
    return memory_fits(row->memory, s, why);
}

/* What devices need, and what machines hold of a plan that stores; -1: one has too little. */
static int check_memory(Candidate *row, const Program *program, const Scenario *s, Error *why)
{
    if (memory_peak(row->memory, program, s, why) != 0) return -1;
    if (check_fits(row, s, why) != 0) return -1;
    if (!row->plan->stored) return 0;
    row->host = calloc((size_t)scenario_nodes(s), sizeof *row->host);
    if (!row->host) return error_no_memory(why);
    if (memory_host(row->host, program, s, why) != 0) return -1;
    return memory_host_fits(row->host, program, s, why);
}

/* A plan that stores was simulated for all epochs: its epoch is their mean. */
static void count_epochs(Candidate *row, const Scenario *s)
{
    SimResult *sim = &row->sim;

    row->total_ns = sim->epoch_ns;
    if (!row->plan->stored) {
        if (__builtin_mul_overflow(sim->epoch_ns, s->epochs, &row->total_ns))
            row->total_ns = INT64_MAX;
        return;
    }
    sim->epoch_ns /= s->epochs;
    sim->least_ns /= s->epochs;
    sim->most_ns = (sim->most_ns + s->epochs - 1) / s->epochs;
    sim->steps /= s->epochs;
    for (int d = 0; d < sim->device_count; d++) {
        int64_t sum = 0;
        for (int i = 0; i < SHARE_COUNT; i++) {
            sim->shares[d][i] /= s->epochs;
            sum += sim->shares[d][i];
        }
        sim->shares[d][SHARE_IDLE] += sim->epoch_ns - sum;       /* what rounding left */
    }
}

/* A plan that stores is for as many epochs as are asked for, and tiers are there. */
static int check_horizon(const Plan *plan, const Scenario *s, Error *err)
{
    if (!plan->stored) return 0;
    if (s->trace->tier_count == 0)
        return error_set(err, "the trace has no \"storage\" to keep boundaries in");
    if (plan->epochs == s->epochs) return 0;
    return error_set(err, "the plan is for %" PRId64 " epochs, expected %" PRId64 " (--epochs)",
                     plan->epochs, s->epochs);
}

static bool is_relay(const Plan *plan) { return schedule_relays(schedule_row(plan->schedule)); }

/* Times and memory of a plan that has passed plan_check(). */
static int price_program(Candidate *row, const Plan *plan, const Scenario *s, Error *why)
{
    bool       in_order = row->in_order && is_relay(plan) && plan->stage_count > 1;
    SimOptions options = {.way = in_order ? SIM_IN_ORDER : SIM_ANY_WAY};
    Program   *program = NULL;
    bool       good = program_build_epochs(&program, plan, s->steps, why) == 0
                && program_verify(program, s->queue_depth, why) == 0
                && check_memory(row, program, s, why) == 0
                && sim_run(&row->sim, program, s, &options, why) == 0;

    program_free(program);
    return good ? 0 : -1;
}

/* The same, phase by phase where the whole program is long and that is possible. */
static int price(Candidate *row, const Plan *plan, const Scenario *s, Error *why)
{
    bool done = false;

    if (program_least(plan) > LONG_PROGRAM) {
        if (phases_price(&row->sim, row->memory, &done, plan, s, why) != 0) return -1;
        if (done) return check_fits(row, s, why);
    }
    return price_program(row, plan, s, why);
}

int candidate_price(Candidate *row, Plan *plan, const Scenario *s, Error *err)
{
    Memory  *memory = calloc((size_t)s->device_count, sizeof *memory);
    Error    why = {""};
    bool     good;
    int      rc = 0;

    row->plan = plan;
    row->memory = memory;
    if (!memory) { error_no_memory(&why); return candidate_give_up(row, &why, err); }
    good = candidate_check_students(plan, s->trace, &why) == 0 && plan_check(plan, &why) == 0
           && check_horizon(plan, s, &why) == 0
           && price(row, plan, s, &why) == 0
           && (count_epochs(row, s), note_prediction(plan, &row->sim, s, &why)) == 0;
    if (!good) rc = candidate_give_up(row, &why, err);
    return rc;
}

/* ---- the same plan ----------------------------------------------------------------- */

static bool same_stages(const Stage *a, const Stage *b, int count)
{
    for (int i = 0; i < count; i++) {
        size_t n = (size_t)a[i].width;
        if (a[i].first != b[i].first || a[i].last != b[i].last || a[i].width != b[i].width)
            return false;
        if (n && (memcmp(a[i].devices, b[i].devices, n * sizeof *a[i].devices) != 0
                  || memcmp(a[i].rows, b[i].rows, n * sizeof *a[i].rows) != 0)) return false;
    }
    return true;
}

/* The device of block's task; lists may name their devices differently. */
static int task_device(const Plan *plan, int block)
{
    for (int i = 0; i < plan->stage_count; i++)
        if (plan->stages[i].first == block) return plan->stages[i].devices[0];
    return -1;
}

/* Blocks share a device in one exactly when they do in the other. */
static bool same_lists(const Plan *a, const Plan *b)
{
    int to[PLAN_MAX_DEVICES], from[PLAN_MAX_DEVICES];

    for (int d = 0; d < a->device_count; d++) to[d] = from[d] = -1;
    for (int block = 0; block < a->block_count; block++) {
        int x = task_device(a, block), y = task_device(b, block);
        if (to[x] < 0 && from[y] < 0) { to[x] = y; from[y] = x; }
        if (to[x] != y || from[y] != x) return false;
    }
    return true;
}

static bool alike(const Scenario *s)
{
    for (int d = 1; d < s->device_count; d++)
        if (!scenario_same_speed(s, 0, d)) return false;
    return true;
}

/* Relaying without a barrier, or with one that nobody waits at. */
static bool free_relay(const Plan *plan)
{
    const ScheduleRow *row = schedule_row(plan->schedule);

    return schedule_relays(row) && (!row->barrier || plan->stage_count == 1);
}

static bool same_store(const Plan *a, const Plan *b)
{
    return b->stored && a->home == b->home && a->turns == b->turns
           && a->later_count == b->later_count
           && memcmp(a->stored, b->stored, ((size_t)a->block_count + 1) * sizeof *a->stored) == 0
           && same_stages(a->later, b->later, a->later_count);
}

bool candidate_same_plan(const Plan *a, const Plan *b, const Scenario *s)
{
    if (a->schedule != b->schedule && !(free_relay(a) && free_relay(b))) return false;
    if (a->stage_count != b->stage_count || a->task_count != b->task_count
        || a->stealing != b->stealing)
        return false;
    if (schedule_row(a->schedule)->lists && !a->stealing && alike(s)) return same_lists(a, b);
    if (a->stored && !same_store(a, b)) return false;
    return same_stages(a->stages, b->stages, a->stage_count)
           && same_stages(a->tasks, b->tasks, a->task_count);
}

/* ---- a bound ------------------------------------------------------------------------- */

/* The compute of a task or phase on device with so many rows; -1: not known. */
static int64_t task_work(const Stage *stage, int device, int64_t rows, const Scenario *s)
{
    int64_t ns = 0;
    Cost    cost;

    for (int b = 0; b <= stage->last; b++)
        for (int work = 0; work < WORK_COUNT; work++) {
            if (work != WORK_TEACHER && b < stage->first) continue;
            if (scenario_work(s, (Work)work, b, device, rows, &cost, NULL) != 0) return -1;
            ns += cost.ns;
        }
    return ns;
}

/* Work on member i of a stage takes as long as on the one before. */
static bool like_the_last(const Stage *stage, int i, const Scenario *s)
{
    const int *d = &stage->devices[i];

    return i > 0 && stage->rows[i] == stage->rows[i - 1] && scenario_same_speed(s, d[0], d[-1]);
}

/* Adds the compute of a task or phase on each of its devices to busy[]; false: not known. */
static bool add_task(int64_t *busy, const Stage *stage, const Scenario *s)
{
    int64_t ns = 0;

    for (int i = 0; i < stage->width; i++) {
        if (!like_the_last(stage, i, s))
            ns = task_work(stage, stage->devices[i], stage->rows[i], s);
        if (ns < 0) return false;
        busy[stage->devices[i]] += ns;
    }
    return true;
}

/* ns of a step: the busiest device of all phases; 0: not known. */
static int64_t phases_bound(const Plan *plan, const Scenario *s)
{
    int64_t *busy = calloc((size_t)s->device_count, sizeof *busy), most = 0;
    bool     known = busy && !plan->stealing && plan->device_count == s->device_count;

    for (int i = 0; i < plan->stage_count && known; i++)
        known = add_task(busy, &plan->stages[i], s);
    for (int d = 0; d < s->device_count && known; d++) if (busy[d] > most) most = busy[d];
    free(busy);
    return most;
}

int64_t candidate_bound(const Plan *plan, const Scenario *scenario)
{
    Scenario  alone = *scenario;         /* nothing is faster than with nobody else computing */
    RelayCost cost;
    int64_t   ns;

    if (schedule_row(plan->schedule)->apart || schedule_row(plan->schedule)->stores) return 0;
    if (is_relay(plan))
        return relay_cost(&cost, plan, scenario, true, NULL) == 0 ? cost.epoch_ns : 0;
    alone.load = 0;
    alone.single_block = true;
    ns = phases_bound(plan, &alone);
    return __builtin_mul_overflow(ns, scenario->steps, &ns) ? 0 : ns;
}

/* ---- the fastest, and the next --------------------------------------------------------- */

Thrift candidate_thrift(const Candidate *row)
{
    return (Thrift){row->sim.loads, row->sim.teacher_work, row->peak.total_bytes};
}

int thrift_compare(const Thrift *a, const Thrift *b)
{
    if (a->loads != b->loads) return a->loads < b->loads ? -1 : 1;
    if (a->teacher_work != b->teacher_work) return a->teacher_work < b->teacher_work ? -1 : 1;
    return (a->peak_bytes > b->peak_bytes) - (a->peak_bytes < b->peak_bytes);
}

int64_t candidate_fastest_ns(const Candidate *row)
{
    return row->faster_count > 0 ? row->faster[0].sim.epoch_ns
           : row->plan           ? row->sim.epoch_ns
                                 : INT64_MAX;
}

bool candidate_is_enough(const Candidate *row)
{
    return row->enough_ns > 0 && candidate_fastest_ns(row) < row->enough_ns;
}

void candidate_is_slower(Candidate *row)
{
    snprintf(row->why, sizeof row->why, "no faster than what is there");
}

/* A plan of at least ns and this thrift is no better than kept. */
static bool beats(const Candidate *kept, int64_t ns, const Thrift *thrift)
{
    Thrift own = candidate_thrift(kept);

    return kept->sim.epoch_ns <= ns && thrift_compare(&own, thrift) <= 0;
}

bool candidate_could_win(const Candidate *row, int64_t bound_ns, const Thrift *thrift)
{
    if (!row->plan) return true;
    if (bound_ns > compare_tie(candidate_fastest_ns(row)) || beats(row, bound_ns, thrift))
        return false;
    for (size_t i = 0; i < row->faster_count; i++)
        if (beats(&row->faster[i], bound_ns, thrift)) return false;
    return true;
}

/* Takes plan over (or NULL): it was tried and is not row's plan. */
static void note_other(Candidate *row, Plan *plan, int64_t ns, const Scenario *s)
{
    bool kept = plan && row->plan && !candidate_same_plan(row->plan, plan, s)
                && (!row->runner_up || ns < row->runner_up_ns);

    if (!kept) { plan_free(plan); return; }
    plan_free(row->runner_up);
    row->runner_up = plan;
    row->runner_up_ns = ns;
}

/* The plan and what it was priced at, without what is known of the row. */
static void move_priced(Candidate *to, Candidate *from)
{
    to->plan = from->plan;
    to->sim = from->sim;
    to->memory = from->memory;
    to->host = from->host;
    to->total_ns = from->total_ns;
    to->peak = from->peak;
    to->peak_device = from->peak_device;
    memcpy(to->method, from->method, sizeof to->method);
    from->plan = NULL;
    from->memory = NULL;
    from->host = NULL;
    from->sim = (SimResult){0};
}

static void lose(Candidate *row, Candidate *loser, const Scenario *s)
{
    int64_t ns = loser->sim.epoch_ns;
    Plan   *plan = loser->plan;

    loser->plan = NULL;
    candidate_free(loser);
    note_other(row, plan, ns, s);
}

/* Puts next, which could win, among the plans kept, fastest first; those that it beats or that are
 * no longer as good as the fastest are lost. -1: without memory, next is as it was. */
static int insert(Candidate *row, Candidate *next, const Scenario *s)
{
    size_t     count = row->faster_count + (row->plan != NULL), kept = 0, lost = 0;
    Candidate *all = calloc(2 * count + 2, sizeof *all), *losers, *other = row->faster;
    Thrift     thrift = candidate_thrift(next);
    int64_t    ns = next->sim.epoch_ns, limit;
    Plan      *runner_up = row->runner_up;

    if (!all) return -1;
    losers = all + count + 1;
    limit = compare_tie(smaller(candidate_fastest_ns(row), ns));
    for (size_t i = 0; i < count; i++) {
        Candidate *old = i < row->faster_count ? &row->faster[i] : row;
        Thrift     own = candidate_thrift(old);
        bool       out = old->sim.epoch_ns > limit
                   || (old->sim.epoch_ns >= ns && thrift_compare(&own, &thrift) >= 0);
        if (next->plan && old->sim.epoch_ns >= ns) move_priced(&all[kept++], next);
        move_priced(out ? &losers[lost++] : &all[kept++], old);
    }
    if (next->plan) move_priced(&all[kept++], next);
    move_priced(row, &all[kept - 1]);
    free(other);
    row->faster = all;
    row->faster_count = kept - 1;
    row->why[0] = '\0';
    row->runner_up = NULL;
    note_other(row, runner_up, row->runner_up_ns, s);
    for (size_t i = 0; i < lost; i++) lose(row, &losers[i], s);
    return 0;
}

/* Takes next over. -1: without memory. */
static int keep(Candidate *row, Candidate *next, const Scenario *s)
{
    Thrift thrift = candidate_thrift(next);

    if (!next->plan) {
        if (!row->plan && !row->why[0]) memcpy(row->why, next->why, sizeof row->why);
        return 0;
    }
    if (!candidate_could_win(row, next->sim.epoch_ns, &thrift)) { lose(row, next, s); return 0; }
    if (insert(row, next, s) == 0) return 0;
    candidate_free(next);
    return -1;
}

/* *ns of so many steps; 0: they cannot be simulated. */
static int simulate_steps(int64_t *ns, const Plan *plan, int64_t steps, const Scenario *s,
                          Error *err)
{
    Program  *program = NULL;
    SimResult result = {0};
    Error     why = {""};

    *ns = 0;
    if (program_build(&program, plan, steps, &why) == 0
        && sim_run(&result, program, s, &(SimOptions){0}, &why) == 0)
        *ns = result.epoch_ns;
    program_free(program);
    sim_free(&result);
    return error_is_no_memory(&why) ? error_no_memory(err) : 0;
}

/* *slower: the plan need not be simulated to the end. */
static int prune(bool *slower, Candidate *row, Plan *plan, const Scenario *s, Error *err)
{
    int64_t all, half = 0, pace = plan->bottleneck_ns, ns,
                 long_run = row->long_run ? row->long_run : CANDIDATE_LONG;
    Error   why = {""};

    *slower = false;
    if (!row->plan || pace == 0 || s->steps <= CANDIDATE_STEPS) return 0;
    if (row->longest <= long_run && row->unsure.longest > long_run
        && candidate_settle_spent(row, s, err) != 0)
        return -1;
    if (row->longest <= long_run) return 0;
    if (candidate_check_students(plan, s->trace, &why) != 0 || plan_check(plan, &why) != 0)
        /* said when it is priced */
        return error_is_no_memory(&why) ? error_no_memory(err) : 0;
    if (simulate_steps(&all, plan, CANDIDATE_STEPS, s, err) != 0) return -1;
    for (int i = 0; i < 2 && all > 0; i++) {
        *slower = __builtin_mul_overflow(pace, s->steps - CANDIDATE_STEPS, &ns)
                  || ns >= candidate_fastest_ns(row) - all;
        if (!*slower || i > 0) break;
        if (simulate_steps(&half, plan, CANDIDATE_STEPS / 2, s, err) != 0) return -1;
        if ((all - half) / (CANDIDATE_STEPS / 2) < pace)
            pace = (all - half) / (CANDIDATE_STEPS / 2);
    }
    return 0;
}

/* Whether a plan that relays and takes at least bound is told apart from one that is enough without
 * being simulated. */
static bool is_clear(const Candidate *row, const Plan *plan, int64_t bound)
{
    return row->by_bound && row->enough_ns > 0 && bound > 0 && is_relay(plan)
           && (bound >= row->enough_ns || bound + bound / (2 * COMPARE_TIE) < row->enough_ns);
}

/* Keeps plan, taken over, at its bound if that is the shortest epoch so far. */
static int keep_unpriced(Candidate *row, Plan *plan, int64_t bound, const Scenario *s, Error *err)
{
    Candidate next = {.plan = plan, .sim = {.epoch_ns = bound}};

    plan->epoch_ns = bound;
    if (bound < candidate_fastest_ns(row)) return insert(row, &next, s) == 0 ? 0
                                                                            : error_no_memory(err);
    plan_free(plan);
    return 0;
}

int candidate_try(Candidate *row, Plan *plan, const char *method, const Scenario *s, Error *err)
{
    Candidate next = {.in_order = row->in_order && !s->trace->contended};
    RelayCost cost;
    Error     why = {""};
    bool      slower;

    bool    bounded = row->cutoff_ns || (row->only_fastest && row->plan);
    int64_t bound = bounded ? candidate_bound(plan, s) : 0;
    if (row->only_fastest && row->plan && bound > compare_tie(candidate_fastest_ns(row))) {
        plan_free(plan);
        return 0;
    }
    if (row->cutoff_ns && bound >= row->cutoff_ns) {
        plan_free(plan);
        candidate_is_slower(row);
        return 0;
    }
    if (is_clear(row, plan, bound)) return keep_unpriced(row, plan, bound, s, err);
    if (is_relay(plan) && relay_cost(&cost, plan, s, false, &why) == 0)
        plan->bottleneck_ns = cost.step_ns;
    if (error_is_no_memory(&why)) { plan_free(plan); return error_no_memory(err); }
    if (prune(&slower, row, plan, s, err) != 0) { plan_free(plan); return -1; }
    if (slower) { plan_free(plan); row->pruned++; return 0; }
    if (candidate_price(&next, plan, s, err) != 0) return -1;
    snprintf(next.method, sizeof next.method, "%s", method);
    if (candidate_note_spent(row, &next, s, err) != 0) { candidate_free(&next); return -1; }
    return keep(row, &next, s) == 0 ? 0 : error_no_memory(err);
}
