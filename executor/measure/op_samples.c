#include "executor/measure/op_samples.h"

#include <stdlib.h>

#include "base/array.h"
#include "base/stats.h"

static int append(Samples *samples, Sample sample, Error *err)
{
    if (!array_has_room(samples->list, samples->count, samples->capacity))
        return error_no_memory(err);
    samples->list[samples->count++] = sample;
    return 0;
}

int samples_add(Samples *samples, const Program *program, const Span *spans, int64_t count,
                int64_t first_step, Error *err)
{
    for (int64_t i = 0; i < count; i++) {
        const Instruction *in = spans[i].instruction;
        bool counts = spans[i].lane == LANE_COMPUTE || spans[i].lane == LANE_LOADER
            || spans[i].lane == LANE_REDUCE || spans[i].lane == LANE_STORAGE
            || (spans[i].lane == LANE_COPY_OUT && in->op == OP_SEND);
        if (!counts || spans[i].step < first_step) continue;
        Sample sample = {
            in->op,          in->block,
            in->rows,        in->op == OP_ALLREDUCE ? program->groups[in->link].count : 0,
            spans[i].device, (double)(spans[i].end_ns - spans[i].start_ns) * 1e-3,
            spans[i].step,   in->student, (double)spans[i].start_ns * 1e-3, samples->runs, 0, 0};
        if (append(samples, sample, err) != 0) return -1;
    }
    samples->runs++;
    return 0;
}

void samples_free(Samples *samples)
{
    free(samples->list);
    *samples = (Samples){0};
}

void samples_scale(Samples *samples, const double *by)
{
    for (int64_t i = 0; i < samples->count; i++) {
        Sample *s = &samples->list[i];
        s->us *= by[s->run];
        s->start_us *= by[s->run];
    }
}

static bool matches(const Sample *s, SampleKey key)
{
    return (key.op == OP_COUNT || s->op == key.op) && (key.block < 0 || s->block == key.block)
           && (key.rows < 0 || s->rows == key.rows) && (key.width < 0 || s->width == key.width)
           && (key.device < 0 || s->device == key.device)
           && (key.student < 0 || s->student == key.student);
}

static double trimmed_mean(const double *sorted, size_t count)
{
    size_t cut = count / 10;

    return stats_mean(sorted + cut, count - 2 * cut);
}

/* Of us [n], n > 0, which is changed. */
static SampleFigures figures_of(double *us, size_t n)
{
    stats_sort(us, n);
    SampleFigures f = {(int64_t)n, stats_quantile(us, n, 0.5), trimmed_mean(us, n), 0};
    if (f.median > 0) f.spread = stats_deviation(us, n, f.median) / f.median;
    return f;
}

static int compare_steps(const void *a, const void *b)
{
    const Sample *x = a, *y = b;

    return (x->step > y->step) - (x->step < y->step);
}

/* Those that match, malloc'ed. */
static Sample *find(const Samples *samples, SampleKey key, size_t *count)
{
    Sample *list = malloc(((size_t)samples->count + 1) * sizeof *list);

    *count = 0;
    for (int64_t i = 0; list && i < samples->count; i++)
        if (matches(&samples->list[i], key)) list[(*count)++] = samples->list[i];
    return list;
}

/* Mean and spread of list [out->count] by its stalls; us to work with. */
static void figures_with_stalls(SampleFigures *out, const Samples *samples, const Sample *list,
                                double *us)
{
    size_t n = (size_t)out->count;
    double even = 0;

    for (size_t i = 0; i < n; i++) {
        even += list[i].us - list[i].stall_us;
        us[i] = list[i].us - list[i].typical_us;
    }
    out->mean = even / (double)n * (1 + samples->stall_share);
    if (out->median > 0) out->spread = stats_deviation(us, n, 0) / out->median;
}

/* Of the samples that match; slowest: of each step's the longest. */
static int figures(SampleFigures *out, const Samples *samples, SampleKey key, bool slowest,
                   Error *err)
{
    size_t  n, kept = 0;
    Sample *list = find(samples, key, &n);
    double *us = malloc((size_t)(samples->count + 1) * sizeof *us);

    *out = (SampleFigures){0};
    if (!list || !us) { free(list); free(us); return error_no_memory(err); }
    if (slowest) qsort(list, n, sizeof *list, compare_steps);
    for (size_t i = 0; i < n; i++) {
        bool more = slowest && i > 0 && list[i].step == list[i - 1].step;
        if (!more)                            us[kept++] = list[i].us;
        else if (list[i].us > us[kept - 1]) us[kept - 1] = list[i].us;
    }
    if (kept > 0) *out = figures_of(us, kept);
    if (kept > 0 && samples->stalls_found && !slowest)
        figures_with_stalls(out, samples, list, us);
    free(list);
    free(us);
    return 0;
}

int samples_figures(SampleFigures *out, const Samples *samples, SampleKey key, Error *err)
{
    return figures(out, samples, key, false, err);
}

int samples_slowest(SampleFigures *out, const Samples *samples, SampleKey key, Error *err)
{
    return figures(out, samples, key, true, err);
}
