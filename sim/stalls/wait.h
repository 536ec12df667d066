/* The expected wait for the slowest: what stalls (traces/stalls.h) cost where devices meet.
 *
 *     device 0  | work | stall | work |      |        times in a trace are means, so each device
 *     device 1  | work |   work       | wait |        arrives in time on average; but they go on
 *                                     ^      ^        when the last of them is there
 *                                  its mean  both go on
 *
 * Of w devices that have worked for T_d since they last met, and would arrive at a_d, device d
 * arrives at
 *
 *     X_d = a_d - E[S_d] + S_d + V_d,    S_d: the sum of N lengths, N Poisson of mean r T_d,
 *                                        V_d: a sum of twelve uniforms around 0, as rng_normal()
 *
 * r = per_ms (1 - common): stalls that all have at once make nobody wait. All are independent. They
 * go on at E[max X_d] in the mean, which is
 *
 *     E[max X] = b + integral from b to infinity of (1 - product of P(X_d <= x)) dx,
 *
 * b the largest of the least X_d. It is never less than max a_d (Jensen). P(S <= x) is computed on
 * a lattice by Panjer's recursion (ASTIN Bulletin 12, 1981), exactly but for rounding lengths to
 * the lattice, which keeps their mean; where many stalls are expected it is
 * the normal distribution's. docs/model.md derives it and says what it leaves out. */
#ifndef SIM_STALLS_WAIT_H
#define SIM_STALLS_WAIT_H

#include "traces/trace.h"

/* Devices of a kind that arrive at the same time after as much work since they last met others,
 * which varies by a standard deviation of spread_ns beside stalls. */
typedef struct {
    int64_t at_ns, work_ns, spread_ns;
    int     kind, count;
} StallArrival;

/* Keeps what it has computed: the same arrivals give the same wait, whatever was asked before. */
typedef struct StallWaits StallWaits;

/* Borrows trace. NULL without memory. stall_waits_free() it. */
StallWaits *stall_waits_new(const Trace *trace);
void        stall_waits_free(StallWaits *waits);

/* By how many ns the last arrival is later in the mean than the latest at_ns: at least 0. -1
 * without memory. Sorts list [count]. */
int64_t stall_wait_ns(StallWaits *waits, StallArrival *list, int count);

#endif
