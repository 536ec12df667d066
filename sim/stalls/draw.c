#include "sim/stalls/draw.h"

#include <math.h>

#include "base/rng.h"

static const double MANY_STALLS = 1000;  /* of one work: from here on their sum is drawn as a
                                          * whole */

enum {
    SLOTS = 16,              /* common stalls: one of so many slots of time has one, on average */
    LASTS = 128              /* steps that a device is as slow, where skew lasts */
};

static double uniform(Rng *rng) { return (double)(rng_next(rng) >> 11) * 0x1p-53; }

static double length_ns(const TraceStalls *stalls, double u)
{
    int i = 0;

    for (; i + 1 < stalls->count && u >= stalls_probability(stalls, i); i++)
        u -= stalls_probability(stalls, i);
    return (double)stalls->ns[i];
}

/* The device's own stalls in so much work: a Poisson process of it, by its gaps. */
static double own_ns(const TraceStalls *stalls, StallDraw draw, int64_t work_ns)
{
    double rate = stalls->per_ms * (1 - stalls->common) * 1e-6, sum = 0, square = 0;
    double expected = rate * (double)work_ns;
    Rng    rng = {rng_u64(draw.seed, draw.device, draw.at, draw.step), 1};

    if (expected > MANY_STALLS) {
        for (int i = 0; i < stalls->count; i++)
            square +=
                stalls_probability(stalls, i) * (double)stalls->ns[i] * (double)stalls->ns[i];
        return expected * stalls_mean_ns(stalls)
               + sqrt(expected * square) * rng_normal(rng.seed, 0, 0, 0);
    }
    for (double t = 0; rate > 0;) {
        t -= log(1 - uniform(&rng)) / rate;
        if (t >= (double)work_ns) break;
        sum += length_ns(stalls, uniform(&rng));
    }
    return sum;
}

/* Common stalls begin at points in time that are the same for all devices: in a slot in SLOTS,
 * somewhere in it. One that begins before the work is over delays its end. */
static double common_ns(const TraceStalls *stalls, StallDraw draw, double work_ns)
{
    double rate = stalls->per_ms * stalls->common * 1e-6, begin = (double)draw.start_ns;
    double end = begin + work_ns, slot_ns = 1 / (SLOTS * rate);

    if (!(rate > 0)) return 0;
    double share = rate * stalls_mean_ns(stalls);
    if (rate * work_ns > MANY_STALLS) return work_ns * share / (1 - share);
    for (double k = floor(begin / slot_ns); k * slot_ns < end; k++) {
        Rng rng = {rng_u64(draw.seed, UINT64_MAX, (uint64_t)k, 0), 1};
        if (uniform(&rng) >= 1.0 / SLOTS) continue;
        double at = (k + uniform(&rng)) * slot_ns;
        if (at >= begin && at < end) end += length_ns(stalls, uniform(&rng));
    }
    return end - begin - work_ns;
}

/* What work is multiplied by: its own part, one that all the device does in the step has, and one
 * that it has in many steps on end. */
static double factor_of(const TraceStalls *stalls, StallDraw draw, double spread)
{
    double factor = 1 + spread * rng_normal(draw.seed, draw.device, draw.at, draw.step);

    if (stalls->skew > stalls->lasting)
        factor += sqrt(stalls->skew * stalls->skew - stalls->lasting * stalls->lasting)
                  * rng_normal(draw.seed, draw.device, UINT64_MAX, draw.step);
    if (stalls->lasting > 0)
        factor += stalls->lasting
                  * rng_normal(draw.seed, draw.device, UINT64_MAX - 1, draw.step / LASTS);
    return factor > 0 ? factor : 0;
}

int64_t stall_draw_ns(const TraceStalls *stalls, StallDraw draw, int64_t mean_ns, double spread)
{
    double work = (double)mean_ns * factor_of(stalls, draw, spread), own = 0;

    if (stalls->count > 0) {
        own = own_ns(stalls, draw, mean_ns);
        work *= 1 - stalls_share(stalls);
        work += common_ns(stalls, draw, work + own);
    }
    return work + own > 0 ? llround(work + own) : 0;
}
