/* The partition search for tr: stages of one device each, and a barrier before every update.
 *
 *     stage 0 | U | T | S ......... |        a step, from barrier to barrier, takes the longest
 *     stage 1 | U |   m | T | S ... |        way: an update, then teachers and messages down
 *     stage 2 | U |         m | T | S        the chain to some stage, then its students
 *
 * Not the slowest stage but the slowest way is to be short: with P the time at which the
 * teacher of a stage ends,
 *
 *     P = max(P of the stage before + message, U) + T,    step = max over stages of P + S
 *
 * (where transfers block, the message out stands between T and S). For a limit on the step
 * the least P counts, by block and by what devices are used: P only ever delays what comes
 * later. The limit is bisected, as in partition_bisect.c: exact. */
#ifndef PLANNER_STAGES_BARRIER_H
#define PLANNER_STAGES_BARRIER_H

#include "traces/scenario.h"

typedef struct {
    int     stages;
    int    *first, *device;      /* [stages] */
    int64_t step_ns;
    bool    every_order;         /* the best over all orders of the devices, or there is none;
                                  * otherwise in one */
} BarrierPartition;

/* order: [devices] stages stand on its first devices, in order; NULL: on any, in any order,
 * where that is not too large a search, else in the trace's order. limit_ns: a partition with a
 * longer step need not be found; 0: any is. *out is yours: barrier_free() it; no stages: no
 * partition has a cost, or none within the limit. Fails only without memory. */
int  barrier_search(BarrierPartition *out, const Scenario *scenario, const int *order,
                    int64_t limit_ns, Error *err);
void barrier_free(BarrierPartition *partition);

#endif
