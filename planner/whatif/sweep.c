#include "planner/whatif/sweep.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planner/ls/tasks.h"

/* ---- the grid ----------------------------------------------------------------- */

int64_t sweep_points(const Sweep *sweep)
{
    int64_t points = 1;

    for (int a = 0; a < sweep->axis_count; a++) {
        points *= sweep->axes[a].count;
        if (points > SWEEP_MAX_POINTS) return -1;
    }
    return points;
}

/* Points between one value of an axis and its next. */
static int64_t stride_of(const Sweep *sweep, int axis)
{
    int64_t stride = 1;

    for (int a = axis + 1; a < sweep->axis_count; a++) stride *= sweep->axes[a].count;
    return stride;
}

double sweep_value(const Sweep *sweep, int axis, int64_t point)
{
    return sweep->axes[axis].values[point / stride_of(sweep, axis) % sweep->axes[axis].count];
}

/* All edits of a point but number without (-1: all); returns how many. */
static int edits_at(const Sweep *sweep, int64_t point, int without, WhatIf *out)
{
    int count = 0;

    for (int i = 0; i < sweep->edit_count; i++)
        if (i != without) out[count++] = sweep->edits[i];
    for (int a = 0; a < sweep->axis_count; a++)
        if (sweep->edit_count + a != without)
            out[count++] =
                (WhatIf){sweep->axes[a].kind, sweep->axes[a].path, sweep_value(sweep, a, point)};
    return count;
}

/* ---- running -------------------------------------------------------------------- */

typedef struct {
    const Sweep    *sweep;
    SweepResult    *result;
    pthread_mutex_t lock;            /* of what follows, and of progress() */
    int64_t         next;            /* point */
    int64_t         failed;          /* first point that failed; -1: none */
    Error           error;
} Crew;

/* Copies what a sweep prints of one point to rows, one a schedule that was asked for; what is
 * impossible has its reason, which is a copy of rows' own. The rest of the result goes away with
 * it. */
static int keep_answer(SweepRow *rows, const QueryResult *a, Error *err)
{
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        const Candidate *c = &a->comparison.rows[i];
        if (!(a->schedules & 1u << i)) continue;
        *rows = (SweepRow){.schedule = (Schedule)i, .digest = a->row_digests[i]};
        if (c->plan) {
            rows->epoch_ns = c->sim.epoch_ns;
            rows->least_ns = c->sim.least_ns;
            rows->most_ns = c->sim.most_ns;
            rows->step_ns = c->plan->step_ns;
            rows->peak_bytes = c->peak.total_bytes;
            /* of one kind at all points */
            rows->speedup = a->over == SCHEDULE_DP ? query_result_speedup(a, (Schedule)i) : 0;
            rows->utilisation = c->sim.utilisation;
            rows->teacher_work = c->sim.teacher_work;
            rows->loads = c->sim.loads;
            rows->jitter = a->jitter[i];
        } else if (!(rows->why = strdup(c->why))) {
            return error_no_memory(err);
        }
        rows++;
    }
    return 0;
}

static int run_point(Crew *crew, int64_t point, WhatIf *edits, Error *err)
{
    const Sweep *sweep = crew->sweep;
    SweepResult *result = crew->result;
    int          count = edits_at(sweep, point, -1, edits);
    Query        query = *sweep->query;
    QueryResult  answer;

    query.search.only_fastest = true;        /* rows have no runner-up */
    if (query_evaluate(&answer, &query, edits, count, result->changed + point * count, err)
        != 0)
        return -1;
    result->digests[point] = answer.digest;
    int rc = keep_answer(result->rows + point * result->schedules, &answer, err);
    query_result_free(&answer);
    return rc;
}

/* The next point; -1: none. Points are handed out in order, so that those before the
 * first failure, or before a stop, are all answered. */
static int64_t take(Crew *crew)
{
    bool    stopped = crew->sweep->stop && atomic_load(crew->sweep->stop);
    int64_t point = -1;

    pthread_mutex_lock(&crew->lock);
    if (!stopped && crew->failed < 0 && crew->next < crew->result->points) point = crew->next++;
    pthread_mutex_unlock(&crew->lock);
    return point;
}

static void finish(Crew *crew, int64_t point, int rc, const Error *error)
{
    pthread_mutex_lock(&crew->lock);
    if (rc != 0 && (crew->failed < 0 || point < crew->failed)) {
        crew->failed = point;
        crew->error = *error;
    }
    if (rc == 0) crew->result->done++;
    if (crew->sweep->progress) crew->sweep->progress(crew->sweep->context, 1);
    pthread_mutex_unlock(&crew->lock);
}

static void work(Crew *crew)
{
    size_t  room = (size_t)(crew->sweep->edit_count + crew->sweep->axis_count) + 1;
    WhatIf *edits = calloc(room, sizeof *edits);

    for (int64_t point = take(crew); point >= 0; point = take(crew)) {
        Error error = {""};
        int   rc = edits ? run_point(crew, point, edits, &error) : error_no_memory(&error);
        finish(crew, point, rc, &error);
    }
    free(edits);
}

static void *thread_main(void *context)
{
    Crew            *crew = context;
    const MipSolver *mip = crew->sweep->query->search.mip;

    work(crew);
    if (mip) mip->thread_end();
    return NULL;
}

/* On jobs threads, this one included; with fewer when the system has no more. */
static int run_crew(Crew *crew, Error *err)
{
    int        extra = crew->sweep->jobs - 1, started = 0;
    pthread_t *threads = calloc((size_t)extra + 1, sizeof *threads);

    if (!threads) return error_no_memory(err);
    while (started < extra && pthread_create(&threads[started], NULL, thread_main, crew) == 0)
        started++;
    work(crew);
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    free(threads);
    if (crew->failed < 0) return 0;
    return error_set(err, "%s", crew->error.text);
}

/* Rows a point: a plan has one schedule, whatever it is. */
static int count_schedules(const Query *q)
{
    return q->plan_text ? 1 : __builtin_popcount(q->search.schedules);
}

int sweep_run(SweepResult *out, const Sweep *sweep, Error *err)
{
    Crew   crew = {.sweep = sweep, .result = out, .failed = -1};
    size_t n, edits = (size_t)(sweep->edit_count + sweep->axis_count);

    *out = (SweepResult){.points = sweep_points(sweep), .schedules = count_schedules(sweep->query)};
    if (out->points < 0)
        return error_set(err, "a grid of more than %d points, expected fewer values",
                         SWEEP_MAX_POINTS);
    n = (size_t)out->points;
    out->rows = calloc(n * (size_t)out->schedules, sizeof *out->rows);
    out->digests = calloc(n, sizeof *out->digests);
    out->changed = calloc(n * edits + 1, sizeof *out->changed);
    int rc = out->rows && out->digests && out->changed ? 0 : error_no_memory(err);
    if (rc == 0) {
        pthread_mutex_init(&crew.lock, NULL);
        rc = run_crew(&crew, err);
        pthread_mutex_destroy(&crew.lock);
    }
    if (rc != 0) sweep_free(out);
    return rc;
}

void sweep_free(SweepResult *result)
{
    for (int64_t i = 0; result->rows && i < result->points * result->schedules; i++)
        free(result->rows[i].why);
    free(result->rows);
    free(result->digests);
    free(result->changed);
    *result = (SweepResult){0};
}

/* ---- effects ----------------------------------------------------------------------- */

/* What an edit or axis does: to any answer, and to which schedules' own numbers (bits of rows of a
 * point). */
typedef struct {
    bool     matters;
    unsigned rows;
} EditEffect;

static unsigned all_rows(const SweepResult *result) { return (1u << result->schedules) - 1; }

/* Two points that differ only in axis have different answers. */
static EditEffect axis_effect(const Sweep *sweep, const SweepResult *result, int axis)
{
    int64_t stride = stride_of(sweep, axis);
    EditEffect effect = {false, 0};

    for (int64_t p = 0; p + stride < result->points; p++) {
        if (p / stride % sweep->axes[axis].count == sweep->axes[axis].count - 1) continue;
        effect.matters |= result->digests[p] != result->digests[p + stride];
        for (int i = 0; i < result->schedules; i++)
            if (result->rows[p * result->schedules + i].digest
                != result->rows[(p + stride) * result->schedules + i].digest)
                effect.rows |= 1u << i;
    }
    return effect;
}

/* Some point's answer is another without edit, or the edit changed no number. Not all points are
 * tried once that is known, unless they are few. */
static int edit_effect(const Sweep *sweep, const SweepResult *result, int edit, WhatIf *edits,
                       EditEffect *effect, Error *err)
{
    int  total = sweep->edit_count + sweep->axis_count;
    bool tried = false, few = result->points <= SWEEP_IDLE_POINTS;

    *effect = (EditEffect){false, 0};
    for (int64_t p = 0;
         p < result->points && (!effect->matters || (few && effect->rows != all_rows(result)));
         p++) {
        QueryResult answer;
        if (!result->changed[p * total + edit]) continue;
        tried = true;
        int count = edits_at(sweep, p, edit, edits);
        if (query_evaluate(&answer, sweep->query, edits, count, NULL, err) != 0) return -1;
        effect->matters |= answer.digest != result->digests[p];
        for (int i = 0; i < result->schedules; i++) {
            const SweepRow *row = &result->rows[p * result->schedules + i];
            if (row->digest != answer.row_digests[row->schedule]) effect->rows |= 1u << i;
        }
        query_result_free(&answer);
    }
    if (!tried) *effect = (EditEffect){true, all_rows(result)};
    if (!few) effect->rows = all_rows(result);
    return 0;
}

/* "--scale p2p.us=0.5", "--vary loader.lanes". */
static void edit_words(const Sweep *sweep, int edit, Text *out)
{
    int axis = edit - sweep->edit_count;

    if (axis >= 0)
        text_printf(out, "--%s %s", sweep->axes[axis].kind == EDIT_SCALE ? "scale" : "vary",
                    sweep->axes[axis].path);
    else
        text_printf(out, "--%s %s=%g", sweep->edits[edit].kind == EDIT_SET ? "set" : "scale",
                    sweep->edits[edit].path, sweep->edits[edit].value);
}

static int no_effect(const Sweep *sweep, int edit, Error *err)
{
    Text words = {0};

    edit_words(sweep, edit, &words);
    error_set(err, "%s: %s nothing in the result, expected a number that does", text_string(&words),
              edit >= sweep->edit_count ? "its values change" : "changes");
    if (text_failed(&words)) error_no_memory(err);
    text_free(&words);
    return -1;
}

/* A line where some schedules are as they were. */
static void say_idle(const Sweep *sweep, const SweepResult *result, int edit, unsigned rows,
                     Text *idle)
{
    const char *comma = "";

    if (rows == all_rows(result)) return;
    edit_words(sweep, edit, idle);
    text_append(idle,
                rows ? " changes nothing for " : " changes nothing but the speedup over dp, for ");
    for (int i = 0; i < result->schedules; i++) {
        if (rows & 1u << i) continue;
        text_printf(idle, "%s%s", comma, schedule_name(result->rows[i].schedule));
        comma = ", ";
    }
    text_append(idle, "\n");
}

int sweep_check_effects(const Sweep *sweep, const SweepResult *result, Text *idle, Error *err)
{
    int     total = sweep->edit_count + sweep->axis_count, rc = 0;
    WhatIf *edits = calloc((size_t)total + 1, sizeof *edits);

    if (!edits) return error_no_memory(err);
    for (int e = 0; e < total && rc == 0; e++) {
        int        axis = e - sweep->edit_count;
        EditEffect effect;
        if (axis >= 0 && sweep->axes[axis].count > 1) effect = axis_effect(sweep, result, axis);
        else rc = edit_effect(sweep, result, e, edits, &effect, err);
        if (rc != 0) break;
        if (!effect.matters) rc = no_effect(sweep, e, err);
        else                 say_idle(sweep, result, e, effect.rows, idle);
    }
    free(edits);
    return rc == 0 && text_failed(idle) ? error_no_memory(err) : rc;
}

int sweep_check_edits(const Query *query, const QueryResult *answer, bool *changed, Text *idle,
                      Error *err)
{
    SweepRow    rows[SCHEDULE_COUNT];
    uint64_t    digest = answer->digest;
    Sweep       sweep = {.query = query, .edits = answer->edits, .edit_count = answer->edit_count};
    SweepResult result = {
        .points = 1, .done = 1, .rows = rows, .digests = &digest, .changed = changed};

    for (int i = 0; i < SCHEDULE_COUNT; i++)
        if (answer->schedules & 1u << i)
            rows[result.schedules++] =
                (SweepRow){.schedule = (Schedule)i, .digest = answer->row_digests[i]};
    return sweep_check_effects(&sweep, &result, idle, err);
}
