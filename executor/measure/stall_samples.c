#include "executor/measure/stall_samples.h"

#include <math.h>
#include <stdlib.h>

#include "base/stats.h"

static const double USUAL = 5;           /* deviations that are no stall ... */
static const double CLOCK_US = 1;        /* ... nor is so little */

enum { FEW = 8 };            /* samples of a kind in a run that say nothing of it */

/* ---- finding them ---------------------------------------------------------------------- */

static int compare_int(int64_t a, int64_t b) { return (a > b) - (a < b); }

/* Those of one kind on one device together, ... */
static int compare_kind(const Sample *x, const Sample *y)
{
    int order = compare_int(x->op, y->op);

    if (!order) order = compare_int(x->block, y->block);
    if (!order) order = compare_int(x->student, y->student);
    if (!order) order = compare_int(x->rows, y->rows);
    return order ? order : compare_int(x->device, y->device);
}

/* ... and of one run, ... */
static int compare_run(const Sample *x, const Sample *y)
{
    int order = compare_kind(x, y);

    return order ? order : compare_int(x->run, y->run);
}

/* ... by time. */
static int by_kind(const void *a, const void *b)
{
    const Sample *x = *(Sample *const *)a, *y = *(Sample *const *)b;
    int           order = compare_kind(x, y);

    return order ? order : (x->us > y->us) - (x->us < y->us);
}

static int by_kind_and_run(const void *a, const void *b)
{
    const Sample *x = *(Sample *const *)a, *y = *(Sample *const *)b;
    int           order = compare_run(x, y);

    return order ? order : (x->us > y->us) - (x->us < y->us);
}

/* Of the list [count] of one kind, ascending; us [count] to work with. */
static void mark_kind(Sample **list, size_t count, double *us)
{
    size_t usual = 0;
    double mean = 0;

    for (size_t i = 0; i < count; i++) us[i] = list[i]->us;
    double median = stats_quantile(us, count, 0.5);
    double limit = median + fmax(USUAL * stats_deviation(us, count, median), CLOCK_US);
    for (; usual < count && list[usual]->us <= limit; usual++) mean += list[usual]->us;
    for (size_t i = 0; i < count; i++) list[i]->typical_us = median;
    for (size_t i = usual; i < count; i++) list[i]->stall_us = list[i]->us - mean / (double)usual;
}

/* All kinds of list [count], sorted; apart: those of each run. */
static void mark_kinds(Sample **list, size_t count, bool apart, double *us)
{
    int (*order)(const Sample *x, const Sample *y) = apart ? compare_run : compare_kind;

    qsort(list, count, sizeof *list, apart ? by_kind_and_run : by_kind);
    for (size_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && order(list[i], list[end]) == 0;) end++;
        mark_kind(list + i, end - i, us);
    }
}

/* The first kind of list [count], which is sorted by kind and run, has many samples in its first
 * run. */
static bool has_many(Sample *const *list, size_t count)
{
    size_t n = 0;

    while (n < count && compare_run(list[0], list[n]) == 0) n++;
    return n >= FEW;
}

int samples_find_stalls(Samples *samples, Error *err)
{
    size_t   n = 0;
    double   stalled = 0, all = 0;
    Sample **list = malloc(((size_t)samples->count + 1) * sizeof *list);
    double  *us = malloc(((size_t)samples->count + 1) * sizeof *us);

    if (!list || !us) { free(list); free(us); return error_no_memory(err); }
    for (int64_t i = 0; i < samples->count; i++)
        if (op_computes(samples->list[i].op)) list[n++] = &samples->list[i];
    qsort(list, n, sizeof *list, by_kind_and_run);
    mark_kinds(list, n, has_many(list, n), us);
    for (size_t i = 0; i < n; i++) { stalled += list[i]->stall_us; all += list[i]->us; }
    samples->stalls_found = true;
    samples->stall_share = all > stalled ? stalled / (all - stalled) : 0;
    free(list);
    free(us);
    return 0;
}

double samples_stalled_share(const Samples *samples)
{
    return samples->stall_share / (1 + samples->stall_share);
}

/* ---- their lengths ---------------------------------------------------------------------- */

/* The mean of the sorted values from a share of them to another, which may cut one. */
static double mean_between(const double *sorted, size_t count, double from, double to)
{
    double sum = 0, n = (double)count;

    for (size_t i = (size_t)(from * n); i < count && (double)i < to * n; i++)
        sum += sorted[i] * (fmin(to * n, (double)i + 1) - fmax(from * n, (double)i));
    return sum / ((to - from) * n);
}

/* As many classes as the longest one has a stall for. */
static void fill_lengths(TraceStalls *out, const double *sorted_us, size_t count)
{
    double from = 0;

    while (out->count < TRACE_STALL_CLASSES && (size_t)1 << out->count <= count) out->count++;
    for (int i = 0; i < out->count; i++) {
        double to = fmin(from + stalls_probability(out, i), 1);
        out->ns[i] = llround(1000 * mean_between(sorted_us, count, from, to));
        from = to;
    }
}

/* ---- how they go together ------------------------------------------------------------------ */

typedef struct {
    const Sample *list;      /* [count] stalled, of one run */
    size_t        count;
    double        length_us; /* of the run */
    int           devices;
} StalledRun;

static bool overlap(const Sample *a, const Sample *b)
{
    return a->start_us < b->start_us + b->us && b->start_us < a->start_us + a->us;
}

/* The chance that a stalled instruction of another device, somewhere in the run, overlaps. */
static double chance_of(const StalledRun *run, const Sample *mine)
{
    double covered = 0;

    for (size_t i = 0; i < run->count; i++)
        if (run->list[i].device != mine->device) covered += run->list[i].us + mine->us;
    return fmin(covered / (run->length_us * (run->devices - 1)), 1);
}

/* Adds what stalls of a run met: seen of those of others, and expected by chance; all: the most.
 * Long ones count for more, as they are waited for. */
static void add_meetings(const StalledRun *run, double *seen, double *expected, double *all)
{
    for (size_t i = 0; i < run->count; i++) {
        const Sample *mine = &run->list[i];
        int           met = 0, last = -1;
        for (size_t k = 0; k < run->count; k++)          /* sorted by device: each once */
            if (run->list[k].device != mine->device && run->list[k].device != last
                && overlap(mine, &run->list[k])) {
                last = run->list[k].device;
                met++;
            }
        *seen += mine->stall_us * met / (run->devices - 1);
        *expected += mine->stall_us * chance_of(run, mine);
        *all += mine->stall_us;
    }
}

static int by_run(const void *a, const void *b)
{
    const Sample *x = a, *y = b;
    int order = compare_int(x->run, y->run);

    if (!order) order = compare_int(x->device, y->device);
    return order ? order : (x->start_us > y->start_us) - (x->start_us < y->start_us);
}

/* Lengths and devices of a run among all its samples. */
static void measure_run(StalledRun *run, const Samples *samples, int number)
{
    double begin = INFINITY, end = 0;

    run->devices = 0;
    for (int64_t i = 0; i < samples->count; i++) {
        const Sample *s = &samples->list[i];
        if (s->run != number || !op_computes(s->op)) continue;
        begin = fmin(begin, s->start_us);
        end = fmax(end, s->start_us + s->us);
        if (s->device + 1 > run->devices) run->devices = s->device + 1;
    }
    run->length_us = end - begin;
}

/* The share of stalls beyond chance that another device had at the same time. stalled [count] are
 * sorted by run. */
static double common_share(const Samples *samples, const Sample *stalled, size_t count)
{
    double seen = 0, expected = 0, all = 0;

    for (size_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && stalled[end].run == stalled[i].run;) end++;
        StalledRun run = {stalled + i, end - i, 0, 0};
        measure_run(&run, samples, stalled[i].run);
        if (run.devices > 1) add_meetings(&run, &seen, &expected, &all);
    }
    return all > expected ? fmin(fmax((seen - expected) / (all - expected), 0), 1) : 0;
}

int samples_stalls(TraceStalls *out, const Samples *samples, Error *err)
{
    size_t  n = 0;
    double  all = 0;
    Sample *stalled = malloc(((size_t)samples->count + 1) * sizeof *stalled);
    double *us = malloc(((size_t)samples->count + 1) * sizeof *us);

    *out = (TraceStalls){0};
    if (!stalled || !us) { free(stalled); free(us); return error_no_memory(err); }
    for (int64_t i = 0; i < samples->count; i++) {
        if (!op_computes(samples->list[i].op)) continue;
        all += samples->list[i].us;
        if (samples->list[i].stall_us > 0) stalled[n++] = samples->list[i];
    }
    for (size_t i = 0; i < n; i++) us[i] = stalled[i].stall_us;
    if (n > 0) {
        stats_sort(us, n);
        fill_lengths(out, us, n);
        qsort(stalled, n, sizeof *stalled, by_run);
        out->per_ms = (double)n / (all * 1e-3);
        out->common = round(common_share(samples, stalled, n) * 1e3) * 1e-3;
    }
    free(stalled);
    free(us);
    return 0;
}
