#include "executor/measure/validate.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/minmax.h"
#include "base/stats.h"
#include "executor/measure/calibrate.h"
#include "executor/measure/cpu_quota.h"
#include "executor/train/execute.h"
#include "executor/measure/speed.h"
#include "executor/measure/stall_samples.h"
#include "executor/measure/validate_store.h"
#include "planner/predict.h"
#include "schedule/registry.h"

enum { LEAST_STEPS = 12, TIMELINE_SPANS = 20000 };

typedef struct {
    const ValidateOptions *options;
    Validation *out;
    Prediction  prediction[SCHEDULE_COUNT];
    Samples     predicted[SCHEDULE_COUNT], measured[SCHEDULE_COUNT];
    double     *run_s[SCHEDULE_COUNT];           /* [rounds][devices] as measured */
    double     *slowness[SCHEDULE_COUNT];        /* [rounds] the machine's, in each */
    int64_t     run_room[SCHEDULE_COUNT], slowness_room[SCHEDULE_COUNT];
    Execution   like;        /* what all runs are executed with */
    Speed       speed;
    double      reference_us;            /* of the speed's program, by the trace */
    int         rounds;      /* done */
    double     *cpu_ns, *work_ns;        /* [devices] in all runs */
    ExecutionResult shown[SCHEDULE_COUNT];       /* of each row the run in which the machine was */
    double      shown_slowness[SCHEDULE_COUNT];  /* nearest to the profile's speed */
    int         warm_up;     /* steps of every phase before those that count, on both sides */
    int         done;
    Error      *err;
} ValidateJob;

/* ---- before the run -------------------------------------------------------------- */

static int64_t steps_of_run(const ValidateJob *job, const Candidate *c)
{
    double  step_s = (double)c->sim.epoch_ns * 1e-9 / (double)job->options->scenario->steps;
    double  fit = step_s > 0 ? job->options->seconds / step_s : LEAST_STEPS;

    return fit < LEAST_STEPS ? LEAST_STEPS : fit > 100000 ? 100000 : (int64_t)fit;
}

static bool stores(const Plan *plan) { return schedule_row(plan->schedule)->stores; }

/* Of a plan that stores: as many in each of its epochs, which are not longer than the
 * scenario's. */
static int64_t steps_of_job(int64_t steps, const Plan *plan, int64_t epoch)
{
    int64_t each = (steps + plan->epochs - 1) / plan->epochs;

    return smaller(each < LEAST_STEPS ? LEAST_STEPS : each, epoch) * plan->epochs;
}

static int timeline_of(const ValidateJob *job, const char *kind, const Program *program,
                       const ValidationRow *row, const Span *spans, int64_t count, int64_t run_ns,
                       Text *out)
{
    const Trace *trace = job->options->scenario->trace;
    const char **names = trace_block_names(trace);

    if (!names) return error_no_memory(job->err);
    timeline_text(&(Timeline){.kind = kind, .schedule = schedule_name(row->schedule),
                              .trace_name = trace->name, .trace_hash = trace->hash,
                              .block_names = names, .program = program,
                              .steps = job->warm_up + row->steps, .epoch_ns = run_ns,
                              .spans = spans,
                              .span_count = count < TIMELINE_SPANS ? count : TIMELINE_SPANS},
                  out);
    free(names);
    return text_failed(out) ? error_no_memory(job->err) : 0;
}

static int warm_up_ns(const ValidateJob *job, const Plan *plan, int64_t *ns)
{
    Prediction p;

    *ns = 0;
    if (job->warm_up == 0) return 0;
    if (predict(&p, plan, job->options->scenario, job->warm_up, job->err) != 0) return -1;
    *ns = p.run_ns;
    prediction_free(&p);
    return 0;
}

/* What is to be predicted of schedule i before it runs: a copy of its plan, the steps that fit into
 * --seconds, epoch time in s from a simulation of exactly those, warm-up left out as in the
 * measurement, memory, the samples of each instruction and the timeline. */
static int predict_row(ValidateJob *job, int i, const Candidate *c)
{
    const Scenario *s = job->options->scenario;
    ValidationRow  *row = &job->out->rows[i];
    Prediction     *p = &job->prediction[i];
    int64_t         warm_ns;

    if (plan_copy(&row->plan, c->plan, job->err) != 0) return -1;
    snprintf(row->method, sizeof row->method, "%s", c->method);
    row->steps = steps_of_run(job, c);
    if (stores(c->plan)) row->steps = steps_of_job(row->steps, c->plan, s->steps);
    row->predicted_bytes = c->peak.total_bytes;
    if (predict(p, row->plan, s, job->warm_up + row->steps, job->err) != 0) return -1;
    if (warm_up_ns(job, row->plan, &warm_ns) != 0) return -1;
    row->core.predicted_us = (double)p->core_ns * 1e-3
                             / ((double)(job->warm_up + row->steps) * row->plan->device_count);
    row->predicted_s = (double)(p->run_ns - warm_ns) * 1e-9 * (double)s->steps / (double)row->steps;
    if (samples_add(&job->predicted[i], p->program, p->spans, p->span_count, job->warm_up, job->err)
        != 0)
        return -1;
    return timeline_of(job, "predicted", p->program, row, p->spans, p->span_count, p->run_ns,
                       &row->predicted_timeline);
}

/* Plans the schedules that are asked for: a row each, with its prediction, or why it is
 * impossible. */
static int plan_all(ValidateJob *job)
{
    const ValidateOptions *o = job->options;
    CompareOptions what = {.schedules = o->schedules, .cost = COST_SIM, .candidates = 8};
    Comparison     comparison;
    int            rc = -1;

    if (compare(&comparison, o->scenario, &what, job->err) != 0) return -1;
    job->out->best = -1;
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        const Candidate *c = &comparison.rows[i];
        if (!(o->schedules & 1u << i)) continue;
        int n = job->out->row_count++;
        job->out->rows[n].schedule = (Schedule)i;
        if (i == comparison.best) job->out->best = n;
        if (!c->plan) memcpy(job->out->rows[n].why, c->why, sizeof c->why);
        else if (predict_row(job, n, c) != 0) goto done;
    }
    rc = 0;
done:
    comparison_free(&comparison);
    return rc;
}

/* ---- the run ------------------------------------------------------------------------ */

static double quota_below_cores(void)
{
    cpu_set_t allowed;
    double    quota = cpu_quota("");

    return quota > 0 && sched_getaffinity(0, sizeof allowed, &allowed) == 0
                   && quota < CPU_COUNT(&allowed)
               ? quota
               : 0;
}

/* What devices had of their cores while they worked, in all runs. Waiting may take a core too, so
 * this can only be too high. Threads of asynchronous devices enqueue and wait: they are not
 * asked. */
static void add_core_time(ValidateJob *job, const ExecutionResult *result)
{
    for (int p = 0; p < result->phase_count; p++) {
        const PhaseTimes *t = &result->phases[p];
        if (t->overlapped) continue;
        job->cpu_ns[t->device] += (double)t->cpu_ns;
        for (int op = 0; op < OP_COUNT; op++) job->work_ns[t->device] += (double)t->work_ns[op];
    }
}

/* Where it is least. */
static double core_share_of(const ValidateJob *job)
{
    double least = 1;

    for (int d = 0; d < job->options->scenario->device_count; d++)
        if (job->work_ns[d] > 0) least = fmin(least, job->cpu_ns[d] / job->work_ns[d]);
    return least;
}

/* Of the device where it is largest. */
static double overhead_of(const ExecutionResult *result, int devices)
{
    double most = 0;

    for (int d = 0; d < devices; d++) {
        double all = 0, own = 0;
        for (int p = 0; p < result->phase_count; p++) {
            const PhaseTimes *t = &result->phases[p];
            if (t->device != d || t->steps == 0) continue;
            double phase = (double)(t->step_end_ns[t->steps - 1] - t->start_ns);
            all += phase;
            own += phase;
            for (int op = 0; op < OP_COUNT; op++)
                own -= (double)(phase_work_ns(t, (Op)op) + t->wait_ns[op]);
        }
        if (all > 0) most = fmax(most, own / all);
    }
    return most;
}

/* Time of device d in phases, from the warm_up-th step on. Between phases weights are loaded and
 * memory is made, which takes as long for ten steps as for an epoch: that is not scaled. */
static double phases_s(const ExecutionResult *result, int d, int warm_up)
{
    int64_t own = 0;

    for (int p = 0; p < result->phase_count; p++) {
        const PhaseTimes *t = &result->phases[p];
        if (t->device == d && t->steps > warm_up)
            own += t->step_end_ns[t->steps - 1]
                   - (warm_up > 0 ? t->step_end_ns[warm_up - 1] : t->start_ns);
    }
    return (double)own * 1e-9;
}

/* What a run counts for on each device, into run_s [devices]. Where devices take tasks as they are
 * free, and where a run is a job of several parts, all count for the longest, or for the whole. */
static void run_times(const ValidateJob *job, const Plan *plan, const ExecutionResult *result,
                      double *run_s)
{
    double most = 0;

    for (int d = 0; d < plan->device_count; d++) {
        run_s[d] = phases_s(result, d, job->warm_up);
        most = fmax(most, run_s[d]);
    }
    if (stores(plan)) most = (double)(result->end_ns - result->start_ns) * 1e-9;
    for (int d = 0; d < plan->device_count && (stores(plan) || plan->stealing); d++)
        run_s[d] = most;
}

/* Executes the plan of row i once; phases that count are recorded. */
static int execute_row(ValidateJob *job, int i, ExecutionResult *result)
{
    const ValidateOptions *o = job->options;
    const ValidationRow   *row = &job->out->rows[i];
    Execution e = job->like;

    if (tensors_new(&e.student, job->err) != 0) return -1;
    e.program = job->prediction[i].program;
    e.micro_batches = o->scenario->trace->micro_batches;
    e.record_first = 0;
    e.record_steps = job->warm_up + row->steps;
    int rc = stores(row->plan)
                 ? validate_store_run(
                       result, &e, &(ValidateStore){o->store, o->store_bf16, row->plan->turns},
                       job->err)
                 : execute(result, &e, job->err);
    tensors_free(e.student);
    if (rc != 0) error_prefix(job->err, "%s", schedule_name(row->schedule));
    return rc;
}

/* Of a run of row i: how long it took, how fast the machine was. */
static int keep_times(ValidateJob *job, int i, const ExecutionResult *result)
{
    const ValidationRow *row = &job->out->rows[i];
    int devices = row->plan->device_count;

    for (int d = 0; d < devices; d++)
        if (!array_has_room(job->run_s[i], job->rounds * devices + d, job->run_room[i]))
            return error_no_memory(job->err);
    if (!array_has_room(job->slowness[i], job->rounds, job->slowness_room[i]))
        return error_no_memory(job->err);
    run_times(job, row->plan, result, &job->run_s[i][job->rounds * devices]);
    if (speed_read(&job->speed, job->err) != 0) return -1;
    job->slowness[i][job->rounds] =
        speed_slowness(&job->speed, job->speed.count - 2, job->reference_us);
    return 0;
}

/* Of a run of row i: memory, what it had of cores, the samples of each instruction. */
static int keep_figures(ValidateJob *job, int i, const ExecutionResult *result)
{
    ValidationRow *row = &job->out->rows[i];
    int            devices = row->plan->device_count;

    row->overhead = overhead_of(result, devices);
    add_core_time(job, result);
    for (int d = 0; d < devices; d++)
        row->measured_bytes = larger(row->measured_bytes, result->peak_bytes[d]);
    for (int k = 0; k < result->core_time_count; k++)
        row->core.measured_us += (double)result->core_times[k].ns * 1e-3;    /* of all rounds */
    return samples_add(&job->measured[i], job->prediction[i].program, result->spans,
                       result->span_count, job->warm_up, job->err);
}

/* Takes the newest run of row i over, to be shown, or frees it. */
static void keep_shown(ValidateJob *job, int i, ExecutionResult *result)
{
    double slowness = job->slowness[i][job->rounds];

    if (job->rounds == 0 || fabs(log(slowness)) <= fabs(log(job->shown_slowness[i]))) {
        execution_free(&job->shown[i]);
        job->shown[i] = *result;
        job->shown_slowness[i] = slowness;
    } else {
        execution_free(result);
    }
}

/* Executes the plan of row i once more and adds what it measured. */
static int run_row(ValidateJob *job, int i)
{
    const ValidateOptions *o = job->options;
    ExecutionResult        result = {0};

    if (o->stop && atomic_load(o->stop)) return error_set(job->err, "stopped");
    if (execute_row(job, i, &result) != 0 || keep_times(job, i, &result) != 0
        || keep_figures(job, i, &result) != 0) {
        execution_free(&result);
        return -1;
    }
    keep_shown(job, i, &result);
    return 0;
}

static double run_of(const ValidateJob *job, int i, int round, int device)
{
    return job->run_s[i][round * job->out->rows[i].plan->device_count + device];
}

/* The device that works longest over all rounds. In one of them another may, as cores are slower
 * or faster for a while: in an epoch, which is longer than a run, that evens out. */
static int longest_device(const ValidateJob *job, int i)
{
    int    longest = 0;
    double most = 0;

    for (int d = 0; d < job->out->rows[i].plan->device_count; d++) {
        double sum = 0;
        for (int r = 0; r < job->rounds; r++) sum += run_of(job, i, r, d);
        if (sum > most) { most = sum; longest = d; }
    }
    return longest;
}

/* Of row i's error: the standard error of the mean over the rounds. */
static double standard_error(const ValidateJob *job, int i)
{
    double predicted_s = 0, measured_s = 0, sum = 0;
    int    n = job->rounds, device = longest_device(job, i);

    for (int r = 0; r < n; r++) {
        measured_s += run_of(job, i, r, device);
        predicted_s += job->slowness[i][r];
    }
    if (n < 2 || predicted_s <= 0) return 0;
    for (int r = 0; r < n; r++) {
        double off =
            run_of(job, i, r, device) - job->slowness[i][r] * measured_s / predicted_s;
        sum += off * off;
    }
    const ValidationRow *row = &job->out->rows[i];
    double run_s = row->predicted_s * (double)row->steps / (double)job->options->scenario->steps;
    return run_s > 0 ? sqrt(sum / (n - 1) / n) * n / predicted_s / run_s : 0;
}

/* Whether some error is not known well enough yet: the same at all ranks. */
static int wants_more(ValidateJob *job, int64_t start_ns, bool *more)
{
    double worst = 0;

    for (int i = 0; i < job->out->row_count; i++)
        if (!job->out->rows[i].why[0]) worst = fmax(worst, standard_error(job, i));
    *more = worst > VALIDATION_ERROR
            && (double)(clock_ns() - start_ns) * 1e-9 < job->options->limit_s;
    return world_broadcast(job->options->world, more, sizeof *more, job->err);
}

static int run_all(ValidateJob *job)
{
    const ValidateOptions *o = job->options;
    int64_t start_ns = clock_ns();
    bool    more = true;
    int     rows = 0;

    for (int i = 0; i < job->out->row_count; i++) rows += !job->out->rows[i].why[0];
    if (speed_read(&job->speed, job->err) != 0) return -1;
    while (more) {
        for (int i = 0; i < job->out->row_count; i++) {
            if (job->out->rows[i].why[0]) continue;
            if (run_row(job, i) != 0) return -1;
            int total = (job->rounds < o->rounds ? o->rounds : job->rounds + 1) * rows;
            if (o->progress) o->progress(o->context, ++job->done, total);
        }
        job->rounds++;
        more = job->rounds < o->rounds;
        if (!more && wants_more(job, start_ns, &more) != 0) return -1;
    }
    return 0;
}

/* ---- afterwards ------------------------------------------------------------------------ */

/* Time of each kind of instruction, a step, the mean over the devices. runs: that samples has. */
static void sum_ops(const Samples *samples, double runs, int64_t steps, int devices, bool measured,
                    OpTimes *op)
{
    for (int64_t i = 0; i < samples->count; i++) {
        double us = samples->list[i].us / (runs * (double)steps * devices);
        if (measured) op[samples->list[i].op].measured_us += us;
        else          op[samples->list[i].op].predicted_us += us;
    }
}

/* As if the machine had been as fast as in the profile. */
static int scale_samples(ValidateJob *job, int i)
{
    double *by = malloc((size_t)job->rounds * sizeof *by);

    if (!by) return error_no_memory(job->err);
    for (int r = 0; r < job->rounds; r++) by[r] = 1 / job->slowness[i][r];
    samples_scale(&job->measured[i], by);
    free(by);
    return 0;
}

/* Row i's times, error and instructions from all rounds; job->run_s[i] is then [rounds] at the
 * profile's speed, ascending. */
static int finish_row(ValidateJob *job, int i)
{
    ValidationRow *row = &job->out->rows[i];
    size_t         rounds = (size_t)job->rounds;
    double         scale = (double)job->options->scenario->steps / (double)row->steps;

    int device = longest_device(job, i);
    row->standard_error = standard_error(job, i);
    for (int r = 0; r < job->rounds; r++) job->run_s[i][r] = run_of(job, i, r, device);
    row->speed = 1 / stats_mean(job->slowness[i], rounds);
    row->measured_s = stats_mean(job->run_s[i], rounds) * row->speed * scale;
    row->error = row->measured_s / row->predicted_s - 1;
    for (size_t r = 0; r < rounds; r++) job->run_s[i][r] /= job->slowness[i][r];
    stats_sort(job->run_s[i], rounds);
    row->least_s = job->run_s[i][0] * scale;
    row->most_s = job->run_s[i][rounds - 1] * scale;
    const ExecutionResult *shown = &job->shown[i];
    if (timeline_of(job, "measured", job->prediction[i].program, row, shown->spans,
                    shown->span_count, shown->end_ns - shown->start_ns,
                    &row->measured_timeline)
        != 0)
        return -1;
    if (scale_samples(job, i) != 0) return -1;
    sum_ops(&job->predicted[i], 1, row->steps, row->plan->device_count, false, row->op);
    row->core.measured_us /=
        (double)job->rounds * (double)row->steps * row->plan->device_count;
    sum_ops(&job->measured[i], job->rounds, row->steps, row->plan->device_count, true, row->op);
    return 0;
}

static bool in_order(const Validation *v)
{
    for (int i = 0; i < v->row_count; i++)
        for (int j = 0; j < v->row_count; j++) {
            const ValidationRow *a = &v->rows[i], *b = &v->rows[j];
            if (a->why[0] || b->why[0] || a->predicted_s * VALIDATION_TIE >= b->predicted_s)
                continue;
            double slower = a->measured_s - b->measured_s;
            double known = hypot(a->standard_error * a->predicted_s,
                                 b->standard_error * b->predicted_s);
            if (slower > 2 * known) return false;
        }
    return true;
}

void validation_conclude(Validation *v)
{
    double errors[SCHEDULE_COUNT];
    size_t n = 0;
    const ValidationRow *dp = NULL;

    for (int i = 0; i < v->row_count; i++)
        if (!v->rows[i].why[0]) {
            if (v->rows[i].schedule == SCHEDULE_DP) dp = &v->rows[i];
            errors[n++] = fabs(v->rows[i].error);
        }
    for (int i = 0; i < v->row_count && dp; i++) {
        if (v->rows[i].why[0]) continue;
        v->rows[i].predicted_speedup = dp->predicted_s / v->rows[i].predicted_s;
        v->rows[i].measured_speedup = dp->measured_s / v->rows[i].measured_s;
    }
    v->same_order = in_order(v);
    if (n == 0) return;
    stats_sort(errors, n);
    v->median_error = stats_quantile(errors, n, 0.5);
    v->worst_error = errors[n - 1];
}

/* From all rounds each row's figures, then what follows from them. */
static int finish(ValidateJob *job)
{
    Validation *v = job->out;

    v->rounds = job->rounds;
    v->core_share = core_share_of(job);
    for (int i = 0; i < v->row_count; i++)
        if (!v->rows[i].why[0] && finish_row(job, i) != 0) return -1;
    validation_conclude(v);
    return 0;
}

/* What runs are executed with; readings of the machine's speed, where devices do not record. */
static int open_speed(ValidateJob *job)
{
    const ValidateOptions *o = job->options;
    const Scenario        *s = o->scenario;
    ProfileShape shape = {s->device_count, s->trace->block_count, s->batch, 0, NULL};
    int         *students = workload_student_counts(o->workload);

    if (!students) return error_no_memory(job->err);
    shape.students = students;
    job->like = (Execution){.world = o->world, .first_of_spec = o->first_of_spec,
                            .workload = o->workload, .devices = o->devices, .data = o->data,
                            .teacher = o->teacher, .seed = o->seed,
                            .steps_per_epoch = s->steps, .queue_depth = s->queue_depth,
                            .lanes = o->lanes, .prefetch = o->prefetch, .turns = job->warm_up,
                            .stop = o->stop, .current_run = o->current_run};
    job->reference_us = speed_of_trace(s->trace, speed_rows(s->batch, s->device_count));
    int rc = job->warm_up == 0 && job->reference_us > 0
                 ? speed_open(&job->speed, &job->like, &shape, job->err) : 0;
    free(students);
    return rc;
}

int validate(Validation *out, const ValidateOptions *options, Error *err)
{
    ValidateJob  job = {.options = options, .out = out, .err = err,
                        .warm_up = execution_warm_up(options->workload, options->devices)};
    bool single_block[SCHEDULE_COUNT];
    int  rc = -1;

    *out = (Validation){.best = -1, .core_share = 1, .quota = quota_below_cores()};
    job.cpu_ns = calloc((size_t)options->scenario->device_count, sizeof *job.cpu_ns);
    job.work_ns = calloc((size_t)options->scenario->device_count, sizeof *job.work_ns);
    if (!job.cpu_ns || !job.work_ns) { error_no_memory(err); goto done; }
    if (plan_all(&job) != 0 || open_speed(&job) != 0 || run_all(&job) != 0) goto done;
    if (world_rank(options->world) != 0) { rc = 0; goto done; }
    if (finish(&job) != 0) goto done;
    for (int i = 0; i < out->row_count; i++) {
        single_block[i] = schedule_row(out->rows[i].schedule)->phases;
        if (!trace_has_stalls(options->scenario->trace)) continue;
        if (samples_find_stalls(&job.measured[i], err) != 0) goto done;
        out->rows[i].stalled = samples_stalled_share(&job.measured[i]);
    }
    rc = correct_trace(&out->trace, options->scenario->trace, job.predicted, job.measured,
                       single_block, out->row_count, err);
done:
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        prediction_free(&job.prediction[i]);
        samples_free(&job.predicted[i]);
        samples_free(&job.measured[i]);
        free(job.run_s[i]);
        free(job.slowness[i]);
        execution_free(&job.shown[i]);
    }
    speed_free(&job.speed);
    free(job.cpu_ns);
    free(job.work_ns);
    if (rc != 0) validation_free(out);
    return rc;
}

void validation_free(Validation *validation)
{
    for (int i = 0; i < validation->row_count; i++) {
        plan_free(validation->rows[i].plan);
        text_free(&validation->rows[i].predicted_timeline);
        text_free(&validation->rows[i].measured_timeline);
    }
    text_free(&validation->trace);
    *validation = (Validation){.best = -1};
}
