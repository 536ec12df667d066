#include "planner/whatif/sensitivity.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planner/whatif/whatif.h"

/* A trace as it is and a copy to be edited, which is set back by copying numbers. */
typedef struct {
    const SensitivityJob *job;
    Trace         *given, *edited;
} Lab;

/* ---- the copy --------------------------------------------------------------------- */

static void reset_curve(Curve *to, const Curve *from)
{
    if (to->count) memcpy(to->points, from->points, (size_t)to->count * sizeof *to->points);
}

static void reset_works(Curve *const *to, Curve *const *from, int kinds, int first)
{
    for (int work = first; work < WORK_COUNT; work++)
        for (int kind = 0; kind < kinds; kind++) reset_curve(&to[work][kind], &from[work][kind]);
}

static void reset_links(TraceLinks *to, const TraceLinks *from)
{
    reset_curve(&to->p2p, &from->p2p);
    for (int i = 0; i < to->reduce_count; i++)
        reset_curve(&to->reduces[i].curve, &from->reduces[i].curve);
}

/* Every number that margins scale. */
static void reset(Lab *lab)
{
    Trace *to = lab->edited;

    for (int b = 0; b < to->block_count; b++) {
        TraceBlock *block = &to->blocks[b], *given = &lab->given->blocks[b];
        reset_works(block->work, given->work, to->kind_count, 0);
        for (int j = 0; j < block->student_count; j++)
            reset_works(block->students[j].work, given->students[j].work, to->kind_count,
                        WORK_TEACHER + 1);
    }
    to->loader = lab->given->loader;
    to->step_ns = lab->given->step_ns;
    to->process_bytes = lab->given->process_bytes;
    reset_links(&to->links, &lab->given->links);
    reset_links(&to->node_links, &lab->given->node_links);
    for (int d = 0; to->slowdown && d < TRACE_MAX_DEVICES; d++) to->slowdown[d] = 1;
}

/* The job's trace with its edits; *out may be set where it fails. */
static int parse_edited(Trace **out, const SensitivityJob *job, Error *err)
{
    ScenarioOptions options = job->scenario;

    if (trace_parse(out, job->name, job->text, job->length, err) != 0) return -1;
    return whatif_apply_all(*out, &options, job->edits, job->edit_count, NULL, err);
}

static int lab_open(Lab *lab, const SensitivityJob *job, Error *err)
{
    *lab = (Lab){.job = job};
    if (parse_edited(&lab->given, job, err) != 0) return -1;
    return parse_edited(&lab->edited, job, err);
}

static void lab_close(Lab *lab)
{
    trace_free(lab->given);
    trace_free(lab->edited);
}

/* ---- a scale ------------------------------------------------------------------------ */

/* No ls plan has a shorter epoch: the work of all tasks, each where it is shortest, over
 * all devices. 0: not known. */
static int64_t lists_bound(const Scenario *s)
{
    Scenario alone = *s;
    int64_t  all = 0, bound;

    alone.load = 0;
    alone.single_block = true;
    for (int b = 0; b < s->trace->block_count; b++) {
        int64_t least = INT64_MAX;
        for (int d = 0; d < s->device_count; d++) {
            int64_t task = s->trace->step_ns;
            if (d > 0 && s->kinds[d] == s->kinds[d - 1] && !s->trace->slowdown) continue;
            for (int t = 0; t <= b; t++)
                for (int work = 0; work < WORK_COUNT; work++) {
                    Cost cost;
                    if (work != WORK_TEACHER && t < b) continue;
                    if (scenario_work(&alone, (Work)work, t, d, s->batch, &cost, NULL) != 0)
                        return 0;
                    task += cost.ns;
                }
            if (task < least) least = task;
        }
        all += least;
    }
    return __builtin_mul_overflow(all / s->device_count, s->steps, &bound) ? 0 : bound;
}

/* What the planner finds that is faster than the kept plan, which takes ns. */
static int find_winner(const Lab *lab, const Scenario *s, int64_t ns, bool *wins, Schedule *winner,
                       Error *err)
{
    CompareOptions options = lab->job->compare;
    Comparison     comparison;

    options.cutoff_ns = ns;
    if (options.schedules & 1u << SCHEDULE_LS && lists_bound(s) >= ns)
        options.schedules &= ~(1u << SCHEDULE_LS);
    if (compare_rows(&comparison, s, &options, err) != 0) return -1;
    int best = comparison.best;
    *wins = best >= 0 && comparison_fastest_ns(&comparison) < ns - ns / COMPARE_TIE;
    if (*wins) *winner = (Schedule)best;
    comparison_free(&comparison);
    return 0;
}

/* A plan that cannot be priced at this scale (a time beyond what a trace may hold) leaves
 * nothing to compare: none wins. */
static int attempt(Lab *lab, const Sensitivity *margin, int percent, bool *wins, bool *changed,
                   Schedule *winner, Error *err)
{
    const SensitivityJob  *job = lab->job;
    ScenarioOptions options = job->scenario;
    Candidate       kept = {0};
    Scenario        s = {0};
    Error           why = {""};
    Plan           *plan = NULL;
    bool            did, fits = true;
    int             rc = -1;

    *wins = *changed = false;
    reset(lab);
    for (int i = 0; i < 2 && margin->path[i][0] && fits; i++) {
        fits = whatif_apply(lab->edited, &options, EDIT_SCALE, margin->path[i], 1 + percent / 100.0,
                            &did, &why)
               == 0;
        *changed |= did;
    }
    if (!fits) return error_is_no_memory(&why) ? error_no_memory(err) : 0;
    if (!*changed) return 0;
    if (scenario_build(&s, lab->edited, &options, &why) != 0)
        return error_is_no_memory(&why) ? error_no_memory(err) : 0;
    if (plan_copy(&plan, job->plan, err) == 0 && candidate_price(&kept, plan, &s, err) == 0)
        rc = kept.plan ? find_winner(lab, &s, kept.sim.epoch_ns, wins, winner, err) : 0;
    candidate_free(&kept);
    scenario_free(&s);
    return rc;
}

int sensitivity_try(const SensitivityJob *job, const Sensitivity *margin, int percent, bool *wins,
                    Schedule *winner, Error *err)
{
    Lab  lab;
    bool changed;
    int  rc = lab_open(&lab, job, err);

    if (rc == 0) rc = attempt(&lab, margin, percent, wins, &changed, winner, err);
    lab_close(&lab);
    return rc;
}

/* The least per cent, of those tried, at which another plan wins; 0: none up to most. */
static int search(Lab *lab, Sensitivity *margin, int sign, int most, int *found, Schedule *winner,
                  Error *err)
{
    int  no = 0, yes = 0;
    bool wins, changed;

    for (int percent = 1; !yes; percent = 2 * percent < most ? 2 * percent : most) {
        if (attempt(lab, margin, sign * percent, &wins, &changed, winner, err) != 0) return -1;
        if (wins) yes = percent;
        else      no = percent;
        margin->inert = percent == most && !changed;
        if (percent == most) break;
    }
    while (yes - no > 1) {
        int      middle = no + (yes - no) / 2;
        Schedule other = *winner;
        if (attempt(lab, margin, sign * middle, &wins, &changed, &other, err) != 0) return -1;
        if (wins) { yes = middle; *winner = other; }
        else      no = middle;
    }
    *found = yes;
    return 0;
}

/* ---- all inputs, on several threads --------------------------------------------------- */

typedef struct {
    Sensitivities        *margins;
    const SensitivityJob *job;
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
    int   rc = lab_open(&lab, crew->job, &error);

    for (int i = rc == 0 ? take_input(crew) : -1; i >= 0 && rc == 0;
         i = rc == 0 ? take_input(crew) : -1) {
        Sensitivity *m = &crew->margins->margins[i];
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

int sensitivity_find(Sensitivities *margins, const SensitivityJob *job, Error *err)
{
    SensitivityCrew crew = {.margins = margins, .job = job};
    int extra = (job->jobs < margins->count ? job->jobs : margins->count) - 1, started = 0;
    pthread_t      *threads = calloc((size_t)(extra > 0 ? extra : 0) + 1, sizeof *threads);

    if (!threads) return error_no_memory(err);
    pthread_mutex_init(&crew.lock, NULL);
    while (started < extra && pthread_create(&threads[started], NULL, thread_main, &crew) == 0)
        started++;
    find_inputs(&crew);
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&crew.lock);
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
    if (parse_edited(&trace, job, err) != 0) { trace_free(trace); return -1; }
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
