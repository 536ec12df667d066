/* The trace of what a profile measured. */
#ifndef EXECUTOR_MEASURE_PROFILE_TRACE_H
#define EXECUTOR_MEASURE_PROFILE_TRACE_H

#include "executor/measure/profile_state.h"
#include "traces/trace.h"

/* Fills in trace, which is empty, from all that was measured, whose samples are scaled to one speed
 * of the machine; tiers of storage are measured now. Fails without memory, and as
 * storage_times_measure() does. */
int profile_fill_trace(Profiling *p, Trace *trace);

#endif
