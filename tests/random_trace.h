/* Random traces for tests of the planner: every batch is measured and links are straight
 * lines with whole numbers of nanoseconds, so that no cost is rounded. */
#ifndef TESTS_RANDOM_TRACE_H
#define TESTS_RANDOM_TRACE_H

#include "base/rng.h"
#include "traces/scenario.h"

typedef struct {
    int  blocks, devices, batch, samples;
    int  kinds;                  /* 1, or 2: the first has one device or more */
    int  per_node;               /* 0: one node */
    int  memory_bytes;           /* of a device of the first kind; 0: no limit. The second has half
                                  * more */
    bool loader, p2p, reduces, blocking;
    bool students;               /* some blocks list two or three */
    bool bytes;                  /* weights, gradients, state, activations are known */
} RandomTrace;

/* 2..max_blocks blocks on 1..max_devices devices, everything else by chance; no limit of memory. */
RandomTrace random_trace_shape(Rng *rng, int max_blocks, int max_devices);

/* trace_free() it. */
Trace *random_trace(Rng *rng, const RandomTrace *shape);

/* Stalls of 1 to longest_us each, which take up to a fifth of a device's time. */
TraceStalls random_stalls(Rng *rng, int longest_us);

/* Gives a trace whose transfers are overlapped what they take of devices' cores, up to most_us at
 * an end, and more the larger they are; of links that it has. */
void random_cores(Rng *rng, Trace *trace, int most_us);

/* random_trace() on its own devices; frees go in the other order. */
void random_scenario(Rng *rng, const RandomTrace *shape, int queue_depth, Trace **trace,
                     Scenario *scenario);

#endif
