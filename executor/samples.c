#include "executor/samples.h"

#include <math.h>
#include <stdlib.h>

#include "base/stats.h"

static int append(Samples *samples, Sample sample, Error *err)
{
    if (samples->count == samples->capacity) {
        int64_t bigger = samples->capacity ? samples->capacity * 2 : 256;
        Sample *moved = realloc(samples->list, (size_t)bigger * sizeof *moved);
        if (!moved) return error_no_memory(err);
        samples->list = moved;
        samples->capacity = bigger;
    }
    samples->list[samples->count++] = sample;
    return 0;
}

int samples_add(Samples *samples, const Program *program, const Span *spans, int64_t count, int64_t first_step,
                Error *err)
{
    for (int64_t i = 0; i < count; i++) {
        const Instruction *in = spans[i].instruction;
        bool counts = spans[i].lane == LANE_COMPUTE || spans[i].lane == LANE_LOADER || spans[i].lane == LANE_REDUCE
                      || (spans[i].lane == LANE_COPY_OUT && in->op == OP_SEND);
        if (!counts || spans[i].step < first_step) continue;
        Sample sample = {in->op, in->block, in->rows, in->op == OP_ALLREDUCE ? program->groups[in->link].count : 0,
                         spans[i].device, (double)(spans[i].end_ns - spans[i].start_ns) * 1e-3, spans[i].step};
        if (append(samples, sample, err) != 0) return -1;
    }
    return 0;
}

void samples_free(Samples *samples)
{
    free(samples->list);
    *samples = (Samples){0};
}

static bool matches(const Sample *s, SampleKey key)
{
    return (key.op == OP_COUNT || s->op == key.op) && (key.block < 0 || s->block == key.block)
           && (key.rows < 0 || s->rows == key.rows) && (key.width < 0 || s->width == key.width)
           && (key.device < 0 || s->device == key.device);
}

static double trimmed_mean(const double *sorted, size_t count)
{
    size_t cut = count / 10;

    return stats_mean(sorted + cut, count - 2 * cut);
}

int samples_figures(SampleFigures *out, const Samples *samples, SampleKey key, Error *err)
{
    double *us = malloc(((size_t)samples->count + 1) * sizeof *us);
    size_t  n = 0;

    *out = (SampleFigures){0};
    if (!us) return error_no_memory(err);
    for (int64_t i = 0; i < samples->count; i++)
        if (matches(&samples->list[i], key)) us[n++] = samples->list[i].us;
    if (n > 0) {
        stats_sort(us, n);
        *out = (SampleFigures){(int64_t)n, stats_quantile(us, n, 0.5), trimmed_mean(us, n), 0};
        for (size_t i = 0; i < n; i++) us[i] = fabs(us[i] - out->median);
        stats_sort(us, n);
        if (out->median > 0) out->spread = 1.4826 * stats_quantile(us, n, 0.5) / out->median;
    }
    free(us);
    return 0;
}
