#include "executor/measure/own_time.h"

#include <stdlib.h>

static int by_start(const void *a, const void *b)
{
    const Span *x = a, *y = b;

    return (x->start_ns > y->start_ns) - (x->start_ns < y->start_ns);
}

int own_time_us(double *out, const Span *spans, int64_t count, int64_t first, Error *err)
{
    Span   *mine = malloc(((size_t)count + 1) * sizeof *mine);
    int64_t kept = 0, last = first, gaps = 0, end = 0;

    *out = 0;
    if (!mine) return error_no_memory(err);
    for (int64_t i = 0; i < count; i++) {
        if (spans[i].device != 0 || spans[i].step < first) continue;
        mine[kept++] = spans[i];
        if (spans[i].step > last) last = spans[i].step;
    }
    qsort(mine, (size_t)kept, sizeof *mine, by_start);
    for (int64_t i = 0; i < kept; i++) {
        if (i > 0 && mine[i].start_ns > end) gaps += mine[i].start_ns - end;
        if (mine[i].step == last) break;
        if (mine[i].end_ns > end) end = mine[i].end_ns;
    }
    if (last > first) *out = (double)gaps * 1e-3 / (double)(last - first);
    free(mine);
    return 0;
}
