#include "planner/whatif/sensitivity.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "planner/ls/lists_bound.h"
#include "planner/whatif/sensitivity_lab.h"
#include "schedule/registry.h"

/* ---- another plan at a scale --------------------------------------------------------- */

/* What the planner finds of these schedules that takes no longer than most_ns, as the plan may from
 * which a search under the simulator begins. options: what else is asked. */
static int plan_anew(Comparison *out, const Lab *lab, const Scenario *s, unsigned schedules,
                     int64_t most_ns, int64_t enough_ns, Error *err)
{
    const int64_t cutoff_ns = most_ns + 1;
    CompareOptions options = lab->job->compare;

    options.schedules = schedules;
    options.cutoff_ns = cutoff_ns;
    options.only_fastest = true;
    options.enough_ns = enough_ns;
    options.in_order = true;
    options.memo = lab->memo;
    options.by_bound = lab->by_bound;
    if (options.schedules & 1u << SCHEDULE_LS && lists_bound(s) >= cutoff_ns)
        options.schedules &= ~(1u << SCHEDULE_LS);
    return compare_rows(out, s, &options, err);
}

/* The epoch of the fastest plan of plan_anew(); INT64_MAX: there is none. */
static int fastest_anew(int64_t *ns, const Lab *lab, const Scenario *s, unsigned schedules,
                        int64_t most_ns, int64_t enough_ns, Error *err)
{
    Comparison found;

    if (plan_anew(&found, lab, s, schedules, most_ns, enough_ns, err) != 0) return -1;
    *ns = comparison_fastest_ns(&found);
    comparison_free(&found);
    return 0;
}

/* The epoch of a good plan of the general schedule, the best partition's if that is faster than
 * goal_ns, else any that is; INT64_MAX: there is none. */
static int find_general(const Lab *lab, const Scenario *s, unsigned general, int64_t kept_ns,
                        int64_t goal_ns, int64_t *ns, Error *err)
{
    Lab            one = *lab;
    SensitivityJob job = *lab->job;

    job.compare.candidates = 1;
    one.job = &job;
    if (fastest_anew(ns, &one, s, general, kept_ns, 0, err) != 0) return -1;
    return *ns < goal_ns ? 0 : fastest_anew(ns, lab, s, general, kept_ns, goal_ns, err);
}

/* Whether the general schedule has a plan faster than goal_ns, and no other schedule one as good:
 * then its best is the fastest of all, which need not be found. Where the first that is found is
 * not so much better than the others, another may be. */
static int only_general_wins(const Lab *lab, const Scenario *s, int64_t kept_ns, int64_t goal_ns,
                             bool *only, Schedule *winner, Error *err)
{
    const unsigned all = lab->job->compare.schedules, general = all & schedules_general();
    int64_t        ns, others_ns, better_ns;

    *only = false;
    if (!general || all & schedules_derived()) return 0;
    if (find_general(lab, s, general, kept_ns, goal_ns, &ns, err) != 0) return -1;
    if (ns >= goal_ns) return 0;
    if (fastest_anew(&others_ns, lab, s, all & ~general, compare_tie(ns), 0, err) != 0)
        return -1;
    *winner = (Schedule)__builtin_ctz(general);
    *only = others_ns > compare_tie(ns);
    if (*only) return 0;
    better_ns = others_ns - others_ns / COMPARE_TIE - 1;
    if (fastest_anew(&ns, lab, s, general, kept_ns, better_ns, err) != 0) return -1;
    *only = ns < better_ns;
    return 0;
}

/* The fastest of all plans found, if it takes less than goal_ns; the kept one takes kept_ns. */
static int find_winner(const Lab *lab, const Scenario *s, int64_t kept_ns, int64_t goal_ns,
                       bool *wins, Schedule *winner, Error *err)
{
    Comparison comparison;

    if (only_general_wins(lab, s, kept_ns, goal_ns, wins, winner, err) != 0) return -1;
    if (*wins) return 0;
    if (plan_anew(&comparison, lab, s, lab->job->compare.schedules, kept_ns, 0, err) != 0)
        return -1;
    *wins = comparison.best >= 0 && comparison_fastest_ns(&comparison) < goal_ns;
    if (*wins) *winner = (Schedule)comparison.best;
    comparison_free(&comparison);
    return 0;
}

/* Who takes less wins against a plan that takes ns. */
static int64_t goal_of(int64_t ns) { return ns - ns / COMPARE_TIE; }

/* The kept plan's epoch; 0: it has none at this scale. *most_ns, unless NULL: what it is at most,
 * where it is an estimate. */
static int price_kept(const Lab *lab, const Scenario *s, int64_t *ns, int64_t *most_ns, Error *err)
{
    Candidate kept = {.in_order = true};         /* only its times matter */
    Plan     *plan;

    *ns = 0;
    if (most_ns) *most_ns = 0;
    if (plan_copy(&plan, lab->job->plan, err) != 0 || candidate_price(&kept, plan, s, err) != 0)
        return -1;
    if (kept.plan) *ns = kept.sim.epoch_ns;
    if (kept.plan && most_ns) *most_ns = kept.sim.most_ns;
    candidate_free(&kept);
    return 0;
}

/* What the kept plan takes at least; 0: not known, or far from what it takes. */
static int64_t bound_kept(const Lab *lab, const Scenario *s)
{
    return lab->base && lab->base->tight ? candidate_bound(lab->job->plan, s) : 0;
}

/* What it then presumably takes: the bound is as far off as at first. */
static int64_t guess_kept(const Lab *lab, int64_t bound)
{
    return bound + (lab->base->ns - lab->base->bound_ns);
}

/* A plan that cannot be priced at this scale leaves nothing to compare: none wins. One that takes
 * less than the kept plan's bound allows wins, whatever the kept plan takes. */
static int attempt(Lab *lab, const Sensitivity *margin, int percent, bool *wins, bool *changed,
                   Schedule *winner, Error *err)
{
    Scenario s;
    int64_t  ns = 0, bound;
    bool     known;
    int      rc = lab_scale(lab, margin, percent, &s, &known, changed, err);

    *wins = false;
    if (rc != 0 || !known || !*changed) goto done;
    bound = bound_kept(lab, &s);
    if (bound > 0)
        rc = find_winner(lab, &s, guess_kept(lab, bound), goal_of(bound), wins, winner, err);
    if (rc != 0 || *wins) goto done;
    rc = price_kept(lab, &s, &ns, NULL, err);
    if (rc == 0 && ns > 0) rc = find_winner(lab, &s, ns, goal_of(ns), wins, winner, err);
done:
    scenario_free(&s);
    return rc;
}

int sensitivity_try(const SensitivityJob *job, const Sensitivity *margin, int percent, bool *wins,
                    Schedule *winner, Error *err)
{
    Lab  lab;
    bool changed;
    int  rc = lab_open(&lab, job, NULL, err);

    if (rc == 0) rc = attempt(&lab, margin, percent, wins, &changed, winner, err);
    lab_close(&lab);
    return rc;
}

/* ---- deciding, winner or not ---------------------------------------------------------------- */

enum { RIVALS = 8 };

/* Plans that won at some scale of this input and side: at another scale they most often win too,
 * which their bound tells without a search. */
typedef struct {
    Plan *plans[RIVALS];
    int   count;
} Rivals;

static void forget_rivals(Rivals *rivals)
{
    for (int i = 0; i < rivals->count; i++) plan_free(rivals->plans[i]);
    rivals->count = 0;
}

/* Some plan that won elsewhere takes so much less, by its bound, that the start and end of a run
 * do not matter. */
static bool has_rival(const Rivals *rivals, const Scenario *s, int64_t kept_bound)
{
    int64_t goal = goal_of(kept_bound);

    for (int i = 0; i < rivals->count; i++) {
        int64_t ns = candidate_bound(rivals->plans[i], s);
        if (ns > 0 && ns + ns / (2 * COMPARE_TIE) < goal) return true;
    }
    return false;
}

static bool is_device(const Sensitivity *margin)
{
    return strncmp(margin->path[0], "device[", 7) == 0;
}

/* Bounds know too little of links and of the loader. */
static bool has_bounds(const Sensitivity *margin)
{
    return strncmp(margin->path[0], "blocks[", 7) == 0 || is_device(margin);
}

/* With an input that is slower no plan takes less than before. So while the kept plan takes no
 * longer than any did that was found before, none wins. */
static bool is_unharmed(const Lab *lab, const Sensitivity *margin, int percent, int64_t kept_bound)
{
    const SensitivityBase *base = lab->base;
    int64_t                ns;

    if (percent < 0 || !base->tight || kept_bound < base->bound_ns || !has_bounds(margin))
        return false;
    ns = base->ns + (kept_bound - base->bound_ns) / 8 * 9 + 1;
    return base->fastest_ns >= goal_of(ns);
}

/* Any plan of these schedules that is faster than ns: a copy in *found, else NULL. *none: bits of
 * the schedules that are proven to have none. */
static int find_faster(const Lab *lab, const Scenario *s, unsigned schedules, int64_t ns,
                       Plan **found, unsigned *none, Error *err)
{
    const int64_t goal = goal_of(ns);
    Comparison    comparison;
    int           rc = 0;

    *found = NULL;
    *none = 0;
    if (plan_anew(&comparison, lab, s, schedules, ns, goal, err) != 0) return -1;
    for (int i = 0; i < SCHEDULE_COUNT && rc == 0 && !*found; i++) {
        const Candidate *row = &comparison.rows[i];
        if (row->none_faster) *none |= 1u << i;
        if (candidate_fastest_ns(row) >= goal) continue;
        rc = plan_copy(found, row->faster_count > 0 ? row->faster[0].plan : row->plan, err);
    }
    comparison_free(&comparison);
    return rc;
}

/* First of the general schedule, which has most plans, then of the others. */
static int find_any(const Lab *lab, const Scenario *s, int64_t ns, Plan **found, Error *err)
{
    const unsigned all = lab->job->compare.schedules, general = all & schedules_general();
    unsigned       rest = all & ~general, none = 0;
    int            rc = 0;

    *found = NULL;
    if (general) rc = find_faster(lab, s, general, ns, found, &none, err);
    if (none & general) rest &= ~schedules_relaying();
    if (rc == 0 && !*found && rest) rc = find_faster(lab, s, rest, ns, found, &none, err);
    return rc;
}

/* The same with nothing taken for granted. Where the kept plan takes at least bound and presumably
 * little more, it is simulated only if no plan that is found beats the bound: then it must take no
 * more than that, or the search is done again. bound 0: not known. */
static int find_exactly(const Lab *lab, const Scenario *s, int64_t bound, Plan **found, Error *err)
{
    int64_t guess = bound > 0 ? guess_kept(lab, bound) : 0, ns = 0;

    *found = NULL;
    if (bound > 0 && find_any(lab, s, guess, found, err) != 0) return -1;
    if (*found && (*found)->epoch_ns < goal_of(bound)) return 0;
    if (price_kept(lab, s, &ns, NULL, err) != 0) {
        plan_free(*found);
        *found = NULL;
        return -1;
    }
    if (*found && ns > 0 && (*found)->epoch_ns < goal_of(ns)) return 0;
    if (bound > 0 && !*found && ns <= guess) return 0;
    plan_free(*found);
    *found = NULL;
    return ns > 0 ? find_any(lab, s, ns, found, err) : 0;
}

/* What is taken for granted where bounds are as good as epochs. GRANT_ALL: the kept plan takes
 * what its bound and the start and end of a run come to, a plan that won elsewhere wins here by its
 * bound, and if no input harms the kept plan none wins. GRANT_WINS: that a plan wins by its bound,
 * but not that none does. */
typedef enum { GRANT_ALL, GRANT_WINS, GRANT_NOTHING } Granted;

/* Whether bounds may stand for epochs in the searches for another plan: no schedule's search begins
 * with what another's simulation found. */
static bool has_plain_schedules(const Lab *lab)
{
    const CompareOptions *options = &lab->job->compare;

    return !(options->schedules & schedules_derived())
           && !(options->tiers_too && lab->given->tier_count > 0);
}

/* As attempt(), but for the winner. */
static int decide(Lab *lab, const Sensitivity *margin, int percent, Granted granted,
                  Rivals *rivals, bool *wins, bool *changed, Error *err)
{
    Scenario s;
    int64_t  bound;
    bool     known, exact = granted != GRANT_ALL;
    Plan    *found = NULL;
    int      rc = lab_scale(lab, margin, percent, &s, &known, changed, err);

    *wins = false;
    if (rc != 0 || !known || !*changed) goto done;
    bound = bound_kept(lab, &s);
    exact |= bound == 0;
    if (!exact && is_unharmed(lab, margin, percent, bound)) goto done;
    *wins = !exact && has_rival(rivals, &s, bound);
    if (*wins) goto done;
    lab->by_bound = granted != GRANT_NOTHING && bound > 0
                    && has_plain_schedules(lab);
    if (!exact) rc = find_any(lab, &s, guess_kept(lab, bound), &found, err);
    else        rc = find_exactly(lab, &s, bound, &found, err);
    lab->by_bound = false;
    *wins = found;
    if (found && rivals->count < RIVALS) rivals->plans[rivals->count++] = found;
    else                                 plan_free(found);
done:
    scenario_free(&s);
    return rc;
}

/* ---- a side of an input ---------------------------------------------------------------------- */

/* The least per cent, of those tried with nothing spared, at which another plan wins; 0: none up to
 * most. */
static int narrow(Lab *lab, Sensitivity *margin, int sign, int most, Rivals *rivals, int *found,
                  Error *err)
{
    int  no = 0, yes = 0;
    bool wins, changed;

    for (int percent = 1; !yes; percent = 2 * percent < most ? 2 * percent : most) {
        if (decide(lab, margin, sign * percent, GRANT_NOTHING, rivals, &wins, &changed, err) != 0)
            return -1;
        if (wins) yes = percent;
        else      no = percent;
        margin->inert = percent == most && !changed;
        if (percent == most) break;
    }
    while (yes - no > 1) {
        int middle = no + (yes - no) / 2;
        if (decide(lab, margin, sign * middle, GRANT_NOTHING, rivals, &wins, &changed, err) != 0)
            return -1;
        if (wins) yes = middle;
        else      no = middle;
    }
    *found = yes;
    return 0;
}

enum { ROUNDS = 12 };

/* The kept plan's bound at this scale; 0: not known. */
static int bound_at(Lab *lab, const Sensitivity *margin, int percent, int64_t *ns, Error *err)
{
    Scenario s;
    bool     known, changed;

    *ns = 0;
    if (lab_scale(lab, margin, percent, &s, &known, &changed, err) != 0) return -1;
    if (known && changed) *ns = candidate_bound(lab->job->plan, &s);
    scenario_free(&s);
    return 0;
}

/* Tries 1, 2, 4, ... per cent by bounds: *yes the first at which a plan wins, 0 for none up to
 * most, *no the one before. Where an input is so much faster that the kept plan's bound falls no
 * more, where some plan wins it wins from there on; so if none does at most, none does: *sure. */
static int first_win(Lab *lab, Sensitivity *margin, int sign, int most, Rivals *rivals, int *no,
                     int *yes, bool *sure, Error *err)
{
    int64_t far = 0, ns = 0;
    bool    wins, changed;

    if (sign < 0 && has_bounds(margin) && bound_at(lab, margin, sign * most, &far, err) != 0)
        return -1;
    for (int percent = 1; !*yes; percent = 2 * percent < most ? 2 * percent : most) {
        if (far > 0 && bound_at(lab, margin, sign * percent, &ns, err) != 0) return -1;
        bool flat = percent == most || (far > 0 && ns == far);
        if (flat) percent = most;
        if (decide(lab, margin, sign * percent, flat ? GRANT_WINS : GRANT_ALL, rivals, &wins,
                   &changed, err)
            != 0)
            return -1;
        margin->inert = flat && !changed;
        if (wins) *yes = percent;
        else if (!flat) *no = percent;
        *sure = flat && !wins;
        if (flat) break;
    }
    return 0;
}

/* The least per cent above no at which a rival wins by its bound, given that one wins at *yes. */
static int step_back(Lab *lab, const Sensitivity *margin, int sign, const Rivals *rivals, int no,
                     int *yes, Error *err)
{
    while (*yes - no > 1) {
        int      middle = no + (*yes - no) / 2;
        Scenario s;
        bool     known, changed, wins;
        if (lab_scale(lab, margin, sign * middle, &s, &known, &changed, err) != 0) return -1;
        wins = known && changed
               && has_rival(rivals, &s, candidate_bound(lab->job->plan, &s));
        if (wins) *yes = middle;
        else      no = middle;
        scenario_free(&s);
    }
    return 0;
}

/* From the first win back, from one winner's least per cent, which its bound tells, to the next
 * one's, until with nothing spared none wins at a per cent less: *sure. */
static int settle(Lab *lab, Sensitivity *margin, int sign, int most, Rivals *rivals, int *found,
                  bool *sure, Error *err)
{
    int  no = 0, yes = 0;
    bool wins, changed;

    *sure = false;
    if (first_win(lab, margin, sign, most, rivals, &no, &yes, sure, err) != 0) return -1;
    for (int round = 0; yes > 0 && round < ROUNDS && !*sure; round++) {
        if (step_back(lab, margin, sign, rivals, no, &yes, err) != 0) return -1;
        if (yes == 1) { *sure = true; break; }
        if (decide(lab, margin, sign * (yes - 1), GRANT_WINS, rivals, &wins, &changed, err) != 0)
            return -1;
        *sure = !wins;
        if (wins && --yes == no) no /= 2;        /* bounds had told otherwise */
    }
    *found = yes;
    return 0;
}

/* Where rounds do not settle it, or the winner does not win, each scale is tried with nothing
 * spared. */
static int search(Lab *lab, Sensitivity *margin, int sign, int most, int *found, Schedule *winner,
                  Error *err)
{
    Rivals rivals = {0};
    bool   sure = false, wins = false, changed;
    int    rc = 0;

    if (lab->base->tight) rc = settle(lab, margin, sign, most, &rivals, found, &sure, err);
    if (rc == 0 && sure && *found > 0)
        rc = attempt(lab, margin, sign * *found, &wins, &changed, winner, err);
    if (rc == 0 && (!sure || (*found > 0 && !wins))) {
        rc = narrow(lab, margin, sign, most, &rivals, found, err);
        if (rc == 0 && *found > 0)
            rc = attempt(lab, margin, sign * *found, &wins, &changed, winner, err);
    }
    forget_rivals(&rivals);
    return rc;
}

/* ---- all inputs, on several threads --------------------------------------------------- */

typedef struct {
    Sensitivities        *margins;
    const SensitivityJob *job;
    const SensitivityBase *base;
    HeteroMemo           *memo;
    pthread_mutex_t       lock;
    int                   next;      /* input that nobody has begun */
    bool                  failed;
    Error                 error;     /* of the first failure */
} SensitivityCrew;

static int take_input(SensitivityCrew *crew)
{
    pthread_mutex_lock(&crew->lock);
    int i = !crew->failed && crew->next < crew->margins->count ? crew->next++ : -1;
    pthread_mutex_unlock(&crew->lock);
    return i;
}

static void fail(SensitivityCrew *crew, const Error *error)
{
    pthread_mutex_lock(&crew->lock);
    if (!crew->failed) crew->error = *error;
    crew->failed = true;
    pthread_mutex_unlock(&crew->lock);
}

/* An input does not depend on the others, so who finds it changes nothing. */
static void find_inputs(SensitivityCrew *crew)
{
    Error error = {""};
    Lab   lab;
    int   rc = lab_open(&lab, crew->job, crew->base, &error);

    for (int i = rc == 0 ? take_input(crew) : -1; i >= 0 && rc == 0;
         i = rc == 0 ? take_input(crew) : -1) {
        Sensitivity *m = &crew->margins->margins[i];
        lab.memo = is_device(m) ? crew->memo : NULL;
        rc = search(&lab, m, 1, SENSITIVITY_MOST, &m->more, &m->more_wins, &error);
        if (rc == 0 && !m->inert)
            rc = search(&lab, m, -1, SENSITIVITY_LEAST, &m->less, &m->less_wins, &error);
    }
    lab_close(&lab);
    if (rc != 0) fail(crew, &error);
}

static void *thread_main(void *context)
{
    SensitivityCrew *crew = context;

    find_inputs(crew);
    if (crew->job->compare.mip) crew->job->compare.mip->thread_end();
    return NULL;
}

/* The base, of a trace that nothing is scaled in. */
static int find_base(SensitivityBase *base, const SensitivityJob *job, Error *err)
{
    CompareOptions options = job->compare;
    Comparison     comparison;
    Scenario       s = {0};
    Lab            lab;
    int64_t        most_ns;
    int            rc = lab_open(&lab, job, NULL, err);

    *base = (SensitivityBase){0};
    if (rc == 0) rc = scenario_build(&s, lab.given, &job->scenario, err);
    if (rc == 0) rc = price_kept(&lab, &s, &base->ns, &most_ns, err);
    if (rc == 0 && base->ns > 0) {
        options.cutoff_ns = base->ns;
        options.only_fastest = true;
        rc = compare_rows(&comparison, &s, &options, err);
        base->bound_ns = candidate_bound(job->plan, &s);
        base->fastest_ns = base->ns;
        if (rc == 0) {
            base->fastest_ns = smaller(base->ns, comparison_fastest_ns(&comparison));
            comparison_free(&comparison);
        }
        base->tight = base->bound_ns > 0 && most_ns - base->bound_ns < base->ns / 20000;
    }
    scenario_free(&s);
    lab_close(&lab);
    return rc;
}

int sensitivity_find(Sensitivities *margins, const SensitivityJob *job, Error *err)
{
    SensitivityBase base;
    SensitivityCrew crew = {.margins = margins, .job = job, .base = &base};
    int extra = (job->jobs < margins->count ? job->jobs : margins->count) - 1, started = 0;
    pthread_t      *threads = calloc((size_t)(extra > 0 ? extra : 0) + 1, sizeof *threads);

    if (!threads) return error_no_memory(err);
    if (find_base(&base, job, err) != 0 || hetero_memo_new(&crew.memo, err) != 0) {
        free(threads);
        return -1;
    }
    pthread_mutex_init(&crew.lock, NULL);
    while (started < extra && pthread_create(&threads[started], NULL, thread_main, &crew) == 0)
        started++;
    find_inputs(&crew);
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&crew.lock);
    hetero_memo_free(crew.memo);
    free(threads);
    margins->found = !crew.failed;
    return crew.failed ? error_set(err, "%s", crew.error.text) : 0;
}

/* ---- the list -------------------------------------------------------------------------- */

static void add(Sensitivities *m, const char *label, const char *path, const char *second)
{
    Sensitivity *margin = &m->margins[m->count++];

    *margin = (Sensitivity){0};
    snprintf(margin->label, sizeof margin->label, "%s", label);
    snprintf(margin->path[0], sizeof margin->path[0], "%s", path);
    snprintf(margin->path[1], sizeof margin->path[1], "%s", second);
}

static void add_links(Sensitivities *m, const TraceLinks *links, const char *prefix,
                      const char *words)
{
    char label[64], path[48];

    snprintf(label, sizeof label, "relays%s", words);
    snprintf(path, sizeof path, "%sp2p.us", prefix);
    if (links->p2p.count) add(m, label, path, "");
    snprintf(label, sizeof label, "all-reduces%s", words);
    snprintf(path, sizeof path, "%sallreduce.us", prefix);
    if (links->reduce_count) add(m, label, path, "");
}

static void list(Sensitivities *m, const Trace *trace, int devices)
{
    bool nodes = trace->devices_per_node && devices > trace->devices_per_node;
    char label[96], path[48];

    for (int b = 0; b < trace->block_count; b++)
        for (int student = 0; student < 2; student++) {
            snprintf(label, sizeof label, "block %.60s, %s", trace->blocks[b].name,
                     student ? "student" : "teacher");
            snprintf(path, sizeof path, "blocks[%d].%s.us", b, student ? "student" : "teacher");
            add(m, label, path, "");
        }
    if (trace->loader.present) add(m, "loader", "loader.batch_us", "loader.sample_us");
    if (trace->step_ns) add(m, "a step's own time", "step_us", "");
    add_links(m, &trace->links, "", nodes ? " within a machine" : "");
    if (nodes) add_links(m, &trace->node_links, "nodes.", " between machines");
    for (int d = 0; d < devices; d++) {
        snprintf(label, sizeof label, "device %d, all its work", d);
        snprintf(path, sizeof path, "device[%d].slowdown", d);
        add(m, label, path, "");
    }
}

int sensitivity_list(Sensitivities *out, const SensitivityJob *job, Error *err)
{
    Trace *trace;
    int    devices = job->plan->device_count;

    *out = (Sensitivities){0};
    if (lab_parse(&trace, job, err) != 0) { trace_free(trace); return -1; }
    out->margins =
        calloc(2 * (size_t)trace->block_count + (size_t)devices + 6, sizeof *out->margins);
    if (out->margins) list(out, trace, devices);
    double n = trace->block_count, g = devices;
    /* A scale simulates the kept plan and perhaps one more, and searches three times; with
     * several kinds of devices, in many orders. */
    out->work = 18.0 * out->count * (2.0 * (double)job->simulated + n * g * g + 100 * n)
                * (trace->kind_count > 1 ? 10 : 1);
    /* even if it is seldom needed */
    if (job->longest > SENSITIVITY_WORK) out->work += 18.0 * out->count * (double)job->longest;
    trace_free(trace);
    return out->margins ? 0 : error_no_memory(err);
}

void sensitivity_free(Sensitivities *margins)
{
    free(margins->margins);
    *margins = (Sensitivities){0};
}
