/* What the benchmarks share: a clock, and the median and spread of repetitions.
 *
 * Programs print Markdown on standard output; bench/run.sh puts the device, the
 * compiler, the date and the command above it and keeps it in bench/results/. What a
 * table compares runs in turns in one process (A B A B ...), so that a machine that
 * slows down for a while slows down all rows. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/error.h"
#include "base/stats.h"

enum { BENCH_MAX_REPEATS = 64 };

typedef struct {
    double values[BENCH_MAX_REPEATS];
    size_t count;
} BenchSamples;

/* Seconds of processor time of this thread: other users of a shared machine take wall
 * time, but no processor time. Everything measured here is one thread that never waits. */
static inline double bench_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void bench_add(BenchSamples *samples, double value)
{
    if (samples->count < BENCH_MAX_REPEATS) samples->values[samples->count++] = value;
}

/* Quantile 0 is the least, 0.5 the median, 1 the greatest. Sorts the samples. */
static inline double bench_quantile(BenchSamples *samples, double q)
{
    stats_sort(samples->values, samples->count);
    return stats_quantile(samples->values, samples->count, q);
}

/* A benchmark has nothing to clean up when it cannot go on. */
static inline void bench_require(int rc, const Error *err)
{
    if (rc == 0) return;
    fprintf(stderr, "bench: %s\n", err->text);
    exit(1);
}

static inline void *bench_alloc(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (!memory) { fprintf(stderr, "bench: out of memory\n"); exit(1); }
    return memory;
}

#endif
