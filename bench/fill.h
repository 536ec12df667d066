/* Memory of a device filled with normal numbers: a pattern of them repeated, as hundreds of
 * millions would take longer to draw than what is measured. */
#ifndef BENCH_FILL_H
#define BENCH_FILL_H

#include "base/rng.h"
#include "bench/bench.h"
#include "kernels/device.h"

enum { FILL_PATTERN = 1 << 20 };

/* [FILL_PATTERN], free() it. Another number: others. */
static inline float *fill_pattern(int number)
{
    float *pattern = bench_alloc(FILL_PATTERN, sizeof *pattern);

    for (int64_t i = 0; i < FILL_PATTERN; i++)
        pattern[i] = (float)rng_normal(1, 0, (uint64_t)number, (uint64_t)i);
    return pattern;
}

static inline void fill_repeat(Device *device, float *memory, int64_t count, const float *pattern)
{
    for (int64_t at = 0; at < count; at += FILL_PATTERN)
        device_put(device, memory + at, pattern,
                   count - at < FILL_PATTERN ? count - at : FILL_PATTERN);
}

#endif
