/* Stalls in what was measured (traces/stalls.h). An instruction that took longer than its kind in
 * its run on its device mostly does, by more than five times the usual deviation (1.4826 times the
 * median absolute one), was stalled: by what it took more than the mean of those that were not.
 * Where a run has fewer than eight of a kind, those of all runs are one. */
#ifndef EXECUTOR_MEASURE_STALL_SAMPLES_H
#define EXECUTOR_MEASURE_STALL_SAMPLES_H

#include "executor/measure/op_samples.h"
#include "traces/stalls.h"

/* Finds the stalls of all work: sets stall_us, typical_us, stalls_found and stall_share of samples,
 * so that means of a kind are those of its undisturbed samples, and all of them together lose what
 * all were stalled: a rare stall counts for all alike, wherever it hit. Fails only without
 * memory. */
int samples_find_stalls(Samples *samples, Error *err);

/* Of the time of all work, what was stalled. */
double samples_stalled_share(const Samples *samples);

/* The stalls that were found, as a trace has them; count 0: there was none. They are common as far
 * as another device of the run was stalled at the same time more often than by chance. Fails only
 * without memory. */
int samples_stalls(TraceStalls *out, const Samples *samples, Error *err);

#endif
