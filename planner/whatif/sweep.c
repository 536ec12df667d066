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
            out[count++] = (WhatIf){EDIT_SET, sweep->axes[a].path, sweep_value(sweep, a, point)};
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

static int keep_answer(SweepRow *rows, const QueryResult *a, Error *err)
{
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        const Candidate *c = &a->comparison.rows[i];
        if (!(a->schedules & 1u << i)) continue;
        *rows = (SweepRow){.schedule = (Schedule)i};
        if (c->plan) {
            rows->epoch_ns = c->sim.epoch_ns;
            rows->step_ns = c->plan->step_ns;
            rows->peak_bytes = c->peak.total_bytes;
            rows->speedup = query_result_speedup(a, (Schedule)i);
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
    QueryResult       answer;

    if (query_evaluate(&answer, sweep->query, edits, count, result->changed + point * count, err) != 0)
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
    while (started < extra && pthread_create(&threads[started], NULL, thread_main, crew) == 0) started++;
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
        return error_set(err, "a grid of more than %d points, expected fewer values", SWEEP_MAX_POINTS);
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
    for (int64_t i = 0; result->rows && i < result->points * result->schedules; i++) free(result->rows[i].why);
    free(result->rows);
    free(result->digests);
    free(result->changed);
    *result = (SweepResult){0};
}

/* ---- effects ----------------------------------------------------------------------- */

/* Two points that differ only in axis have different answers. */
static bool axis_matters(const Sweep *sweep, const SweepResult *result, int axis)
{
    int64_t stride = stride_of(sweep, axis);

    for (int64_t p = 0; p + stride < result->points; p++) {
        bool last = p / stride % sweep->axes[axis].count == sweep->axes[axis].count - 1;
        if (!last && result->digests[p] != result->digests[p + stride]) return true;
    }
    return false;
}

/* *matters: some point's answer is another without edit, or the edit changed no number. */
static int edit_matters(const Sweep *sweep, const SweepResult *result, int edit, WhatIf *edits, bool *matters,
                        Error *err)
{
    int  total = sweep->edit_count + sweep->axis_count;
    bool tried = false;

    *matters = false;
    for (int64_t p = 0; p < result->points && !*matters; p++) {
        QueryResult answer;
        if (!result->changed[p * total + edit]) continue;
        tried = true;
        int count = edits_at(sweep, p, edit, edits);
        if (query_evaluate(&answer, sweep->query, edits, count, NULL, err) != 0) return -1;
        *matters = answer.digest != result->digests[p];
        query_result_free(&answer);
    }
    *matters |= !tried;
    return 0;
}

static int no_effect(const Sweep *sweep, int edit, Error *err)
{
    int axis = edit - sweep->edit_count;

    if (axis >= 0)
        return error_set(err, "--vary %s: its values change nothing in the result, expected a number that does",
                         sweep->axes[axis].path);
    return error_set(err, "--%s %s=%g: changes nothing in the result, expected a number that does",
                     sweep->edits[edit].kind == EDIT_SET ? "set" : "scale", sweep->edits[edit].path,
                     sweep->edits[edit].value);
}

int sweep_check_effects(const Sweep *sweep, const SweepResult *result, Error *err)
{
    int     total = sweep->edit_count + sweep->axis_count, rc = 0;
    WhatIf *edits = calloc((size_t)total + 1, sizeof *edits);

    if (!edits) return error_no_memory(err);
    for (int e = 0; e < total && rc == 0; e++) {
        int  axis = e - sweep->edit_count;
        bool matters;
        if (axis >= 0 && sweep->axes[axis].count > 1) matters = axis_matters(sweep, result, axis);
        else rc = edit_matters(sweep, result, e, edits, &matters, err);
        if (rc == 0 && !matters) rc = no_effect(sweep, e, err);
    }
    free(edits);
    return rc;
}
