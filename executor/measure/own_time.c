#include "executor/measure/own_time.h"

#include <stdlib.h>

#include "base/minmax.h"
#include "base/stats.h"

static int by_start(const void *a, const void *b)
{
    const Span *x = a, *y = b;

    return (x->start_ns > y->start_ns) - (x->start_ns < y->start_ns);
}

static double median_us(double *ns, size_t count)
{
    return count > 0 ? stats_median(ns, count) * 1e-3 : 0;
}

/* mine: [count] of one device, by start. gaps: room for so many. */
static void find(OwnTime *out, const Span *mine, int64_t count, double *gaps)
{
    double *between = gaps + count;          /* filled from the end */
    size_t  within = 0, steps = 0;
    int64_t last = 0, step = 0, end_ns = 0;

    for (int64_t i = 0; i < count; i++) last = larger(last, mine[i].step);
    for (int64_t i = 0; i < count; i++) {
        double gap = i > 0 ? (double)larger(mine[i].start_ns - end_ns, 0) : 0;
        if (i > 0 && mine[i].step > step) { *--between = gap; steps++; }
        else if (i > 0) gaps[within++] = gap;
        if (mine[i].step == last) break;
        step = larger(step, mine[i].step);
        end_ns = larger(end_ns, mine[i].end_ns);
    }
    *out = (OwnTime){.step_us = median_us(between, steps),
                     .instruction_us = median_us(gaps, within)};
}

int own_time_find(OwnTime *out, const Span *spans, int64_t count, int64_t first, Error *err)
{
    Span   *mine = malloc(((size_t)count + 1) * sizeof *mine);
    double *gaps = malloc(((size_t)count + 1) * sizeof *gaps);
    int64_t kept = 0;

    *out = (OwnTime){0};
    if (!mine || !gaps) { free(mine); free(gaps); return error_no_memory(err); }
    for (int64_t i = 0; i < count; i++)
        if (spans[i].device == 0 && spans[i].step >= first) mine[kept++] = spans[i];
    qsort(mine, (size_t)kept, sizeof *mine, by_start);
    find(out, mine, kept, gaps);
    free(mine);
    free(gaps);
    return 0;
}
