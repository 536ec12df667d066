/* Draws of what sim/stalls/wait.h has the mean of: work with stalls that begin at random. */
#ifndef SIM_STALLS_DRAW_H
#define SIM_STALLS_DRAW_H

#include "traces/stalls.h"

typedef struct {
    uint64_t seed, device, at, step;     /* the draw's name: at is the instruction */
    int64_t  start_ns;                   /* of the work: common stalls come at points in time */
} StallDraw;

/* Work that takes mean_ns in the mean, drawn: what remains of it without stalls, varied by spread
 * (a coefficient of variation) and by the skew of the step, and the stalls that come meanwhile,
 * whole. At least 0. */
int64_t stall_draw_ns(const TraceStalls *stalls, StallDraw draw, int64_t mean_ns, double spread);

#endif
