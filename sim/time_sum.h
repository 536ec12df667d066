/* Sums of times that end at TIME_LIMIT_NS, where the simulator's do: beyond, they stay there. */
#ifndef SIM_TIME_SUM_H
#define SIM_TIME_SUM_H

#include "sim/engine.h"

static inline int64_t time_plus(int64_t a_ns, int64_t b_ns)
{
    return a_ns > TIME_LIMIT_NS - b_ns ? TIME_LIMIT_NS : a_ns + b_ns;
}

static inline int64_t time_times(int64_t count, int64_t ns)
{
    int64_t all;

    return __builtin_mul_overflow(count, ns, &all) || all > TIME_LIMIT_NS ? TIME_LIMIT_NS : all;
}

#endif
