#include "planner/compare_rows.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/minmax.h"
#include "planner/compare_schedule.h"

/* ---- dp, ir ---------------------------------------------------------------------- */

bool compare_has_rows(Candidate *row, const Scenario *s)
{
    if (s->device_count <= s->batch) return true;
    snprintf(row->why, sizeof row->why, "%d devices for a batch of %" PRId64, s->device_count,
             s->batch);
    return false;
}

static int compare_dp(Candidate *row, const Scenario *s, Error *err)
{
    int   n = s->trace->block_count;
    Plan *plan;

    if (!compare_has_rows(row, s)) return 0;
    if (plan_new(&plan, SCHEDULE_DP, n, s->device_count, s->batch, n, err) != 0) return -1;
    for (int b = 0; b < n; b++)
        if (plan_set_stage(plan, b, b, b, 0, s->device_count, err) != 0) {
            plan_free(plan);
            return -1;
        }
    if (candidate_try(row, plan, "every block on all devices", s, err) != 0) return -1;
    return scenario_is_mixed(s) ? compare_mixed_shares(row, SCHEDULE_DP, s, err) : 0;
}

static int compare_ir(Candidate *row, const Scenario *s, Error *err)
{
    Plan *plan;

    if (!compare_has_rows(row, s)) return 0;
    if (plan_new(&plan, SCHEDULE_IR, s->trace->block_count, s->device_count, s->batch, 1, err) != 0)
        return -1;
    if (plan_set_stage(plan, 0, 0, s->trace->block_count - 1, 0, s->device_count, err) != 0) {
        plan_free(plan);
        return -1;
    }
    if (candidate_try(row, plan, "one stage on all devices", s, err) != 0) return -1;
    return scenario_is_mixed(s) ? compare_mixed_shares(row, SCHEDULE_IR, s, err) : 0;
}

/* ---- ahd ----------------------------------------------------------------------- */

/* The best plans of dpu or ir, which are plans of ahd too. */
static int try_as_ahd(Candidate *row, const Candidate *other, const char *method, const Scenario *s,
                      Error *err)
{
    for (size_t i = 0; i <= other->faster_count && other->plan; i++) {
        const Candidate *kept = i < other->faster_count ? &other->faster[i] : other;
        Thrift           thrift = candidate_thrift(kept);
        Plan            *plan;
        if (!candidate_could_win(row, kept->sim.epoch_ns, &thrift)) continue;
        if (plan_copy(&plan, kept->plan, err) != 0) return -1;
        plan->schedule = SCHEDULE_AHD;
        if (candidate_try(row, plan, method, s, err) != 0) return -1;
    }
    return 0;
}

/* Never slower than dpu and ir; those that are not compared are looked for here. */
static int compare_ahd(Comparison *out, const Scenario *s, const CompareOptions *options,
                       Error *err)
{
    Candidate *row = &out->rows[SCHEDULE_AHD],
              dpu = {.cutoff_ns = row->cutoff_ns, .only_fastest = row->only_fastest,
                     .by_bound = row->by_bound, .in_order = row->in_order,
                     .enough_ns = row->enough_ns, .long_run = row->long_run},
              ir;
    bool       has_dpu = options->schedules & 1u << SCHEDULE_DPU,
               has_ir = options->schedules & 1u << SCHEDULE_IR;
    int        rc = -1;

    if (compare_relay(row, SCHEDULE_AHD, s, options, err) != 0) return -1;
    if (candidate_is_enough(row) || row->none_faster) return 0;
    if (options->cost == COST_PAPER) return 0;           /* the original's plans, whatever they
                                                          * take */
    if (row->plan && (!dpu.cutoff_ns || candidate_fastest_ns(row) < dpu.cutoff_ns))
        dpu.cutoff_ns = candidate_fastest_ns(row);
    ir = dpu;
    if (!has_ir && compare_ir(&ir, s, err) != 0) goto done;
    if (!has_dpu && options->candidates > 1
        && compare_relay(&dpu, SCHEDULE_DPU, s, options, err) != 0)
        goto done;
    if (try_as_ahd(row, has_ir ? &out->rows[SCHEDULE_IR] : &ir, "the plan of ir", s, err) != 0)
        goto done;
    if (try_as_ahd(row, has_dpu ? &out->rows[SCHEDULE_DPU] : &dpu, "the best plan of dpu", s, err)
        != 0)
        goto done;
    rc = compare_relay_improve(row, SCHEDULE_AHD, s, options, err);
done:
    candidate_free(&dpu);
    candidate_free(&ir);
    return rc;
}

/* ---- all ---------------------------------------------------------------------------- */

/* The search of each schedule, into out->rows[schedule]. */
typedef int ScheduleSearch(Comparison *out, Schedule schedule, const Scenario *s,
                           const CompareOptions *options, Error *err);

static int search_dp(Comparison *out, Schedule schedule, const Scenario *s,
                     const CompareOptions *options, Error *err)
{
    (void)options;
    return compare_dp(&out->rows[schedule], s, err);
}

static int search_ir(Comparison *out, Schedule schedule, const Scenario *s,
                     const CompareOptions *options, Error *err)
{
    (void)options;
    return compare_ir(&out->rows[schedule], s, err);
}

static int search_ls(Comparison *out, Schedule schedule, const Scenario *s,
                     const CompareOptions *options, Error *err)
{
    return compare_ls(&out->rows[schedule], s, options, err);
}

static int search_relay(Comparison *out, Schedule schedule, const Scenario *s,
                        const CompareOptions *options, Error *err)
{
    if (compare_relay(&out->rows[schedule], schedule, s, options, err) != 0) return -1;
    return compare_relay_improve(&out->rows[schedule], schedule, s, options, err);
}

static int search_ahd(Comparison *out, Schedule schedule, const Scenario *s,
                      const CompareOptions *options, Error *err)
{
    (void)schedule;
    return compare_ahd(out, s, options, err);
}

static int search_split(Comparison *out, Schedule schedule, const Scenario *s,
                        const CompareOptions *options, Error *err)
{
    bool ahd = options->schedules & 1u << SCHEDULE_AHD;

    return compare_split(&out->rows[schedule], ahd ? &out->rows[SCHEDULE_AHD] : NULL, s, options,
                         err);
}

static int search_sequential(Comparison *out, Schedule schedule, const Scenario *s,
                             const CompareOptions *options, Error *err)
{
    (void)options;
    return compare_sequential(&out->rows[schedule], s, err);
}

/* From ahd's best plan, which is looked for where it is not compared. */
static int search_store(Comparison *out, Schedule schedule, const Scenario *s,
                        const CompareOptions *options, Error *err)
{
    CompareOptions ahd_only = *options;
    Comparison     other = {.best = -1};
    Candidate     *ahd = &out->rows[SCHEDULE_AHD];
    int            rc = 0;

    ahd_only.schedules = 1u << SCHEDULE_AHD;
    ahd_only.cutoff_ns = 0;
    if (s->trace->tier_count > 0 && !ahd->plan && !ahd->why[0]) {
        rc = compare_ahd(&other, s, &ahd_only, err);
        ahd = &other.rows[SCHEDULE_AHD];
    }
    if (rc == 0) rc = compare_store(&out->rows[schedule], ahd, s, err);
    comparison_free(&other);
    return rc;
}

static ScheduleSearch *const searches[SCHEDULE_COUNT] = {
    [SCHEDULE_DP] = search_dp,       [SCHEDULE_LS] = search_ls,
    [SCHEDULE_TR] = search_relay,    [SCHEDULE_DPU] = search_relay,
    [SCHEDULE_IR] = search_ir,       [SCHEDULE_AHD] = search_ahd,
    [SCHEDULE_SPLIT] = search_split, [SCHEDULE_SEQUENTIAL] = search_sequential,
    [SCHEDULE_STORE] = search_store,
};

/* a over b, both being as good as the fastest: what loads or recomputes less, then what needs
 * noticeably less memory, then what is faster. */
static bool preferred(const Candidate *a, const Candidate *b)
{
    int64_t more =
        a->peak.total_bytes > b->peak.total_bytes ? a->peak.total_bytes : b->peak.total_bytes;
    int64_t apart = a->peak.total_bytes - b->peak.total_bytes;
    bool    same = a->sim.loads == b->sim.loads && a->sim.teacher_work == b->sim.teacher_work;

    Thrift  own = candidate_thrift(a), other = candidate_thrift(b);

    if (!same || apart > more / 100 || apart < -more / 100) return thrift_compare(&own, &other) < 0;
    return a->sim.epoch_ns != b->sim.epoch_ns ? a->sim.epoch_ns < b->sim.epoch_ns : apart < 0;
}

/* The row of the fastest plan; of those that take at most 0.01 % longer, the thriftiest. */
static int choose(const Comparison *c)
{
    int64_t least = comparison_fastest_ns(c);
    int     best = -1;

    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        const Candidate *row = &c->rows[i];
        if (!row->plan || row->sim.epoch_ns > compare_tie(least)) continue;
        if (best < 0 || preferred(row, &c->rows[best])) best = i;
    }
    return best;
}

int compare_rows(Comparison *out, const Scenario *scenario, const CompareOptions *options,
                 Error *err)
{
    unsigned wanted = options->schedules;

    *out = (Comparison){.best = -1};
    if (options->tiers_too && scenario->trace->tier_count > 0)
        wanted |= 1u << SCHEDULE_SEQUENTIAL | 1u << SCHEDULE_STORE;
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        if (!(wanted & 1u << i)) continue;
        out->rows[i].cutoff_ns = options->cutoff_ns;
        out->rows[i].only_fastest = options->only_fastest;
        out->rows[i].by_bound = options->by_bound;
        out->rows[i].in_order = options->in_order;
        out->rows[i].enough_ns = options->enough_ns;
        out->rows[i].long_run = options->long_run;
        if (searches[i](out, (Schedule)i, scenario, options, err) != 0) {
            comparison_free(out);
            return -1;
        }
        if (candidate_is_enough(&out->rows[i])) break;
    }
    out->best = choose(out);
    return 0;
}

/* The fastest of row's plans that is not best; *ns: NULL for none yet. */
static void pass_by(const Plan **next, int64_t *ns, const Candidate *row, const Plan *best,
                    const Scenario *scenario)
{
    for (size_t i = 0; i <= row->faster_count + 1; i++) {
        bool        last = i == row->faster_count + 1, own = i == row->faster_count;
        const Plan *plan = last ? row->runner_up : own ? row->plan : row->faster[i].plan;
        int64_t     epoch = last  ? row->runner_up_ns
                            : own ? row->sim.epoch_ns
                                  : row->faster[i].sim.epoch_ns;
        if (!plan || (*next && epoch >= *ns) || candidate_same_plan(plan, best, scenario)) continue;
        *next = plan;
        *ns = epoch;
    }
}

const Plan *comparison_runner_up(const Comparison *c, const Scenario *scenario, int64_t *ns,
                                 int *simulated)
{
    const Plan *next = NULL;
    int         count = 0;

    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        count += c->rows[i].simulated;
        pass_by(&next, ns, &c->rows[i], c->rows[c->best].plan, scenario);
    }
    if (simulated) *simulated = count;
    return next;
}

int64_t comparison_fastest_ns(const Comparison *c)
{
    int64_t least = INT64_MAX;

    for (int i = 0; i < SCHEDULE_COUNT; i++)
        least = smaller(least, candidate_fastest_ns(&c->rows[i]));
    return least;
}

int comparison_baseline(const Comparison *c)
{
    int slowest = -1, count = 0;

    if (c->rows[SCHEDULE_DP].plan) return SCHEDULE_DP;
    if (c->rows[SCHEDULE_SEQUENTIAL].plan) return SCHEDULE_SEQUENTIAL;
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        if (!c->rows[i].plan) continue;
        count++;
        if (slowest < 0 || c->rows[i].sim.epoch_ns > c->rows[slowest].sim.epoch_ns) slowest = i;
    }
    return count > 1 ? slowest : -1;
}

int compare_bound(int64_t *bound_ns, const Scenario *scenario, Error *err)
{
    return compare_relay_bound(bound_ns, scenario, err);
}

void comparison_free(Comparison *comparison)
{
    for (int i = 0; i < SCHEDULE_COUNT; i++) candidate_free(&comparison->rows[i]);
}
