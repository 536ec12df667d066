/* A trace corrected by runs: every block time that runs and their predictions both have is scaled
 * by measured over predicted, alone and contended alike; the times of a single block by the runs of
 * dp and ls, the others by the rest. */
#ifndef EXECUTOR_MEASURE_CALIBRATE_H
#define EXECUTOR_MEASURE_CALIBRATE_H

#include "executor/measure/op_samples.h"
#include "traces/trace.h"

/* Where trace has stalls, those of measured have been found (executor/measure/stall_samples.h).
 * predicted, measured: [count], pairs of the same program; single_block: [count] whether its steps
 * train one block alone. Writes the corrected trace as text. */
int correct_trace(Text *out, const Trace *trace, const Samples *predicted, const Samples *measured,
                  const bool *single_block, int count, Error *err);

#endif
