/* What in a trace is likely to be a mistake of measuring, though nothing forbids it. */
#ifndef TRACES_PLAUSIBILITY_H
#define TRACES_PLAUSIBILITY_H

#include "base/text.h"
#include "traces/trace.h"

/* Adds to out a line "  note: ..." where a time is PLAUSIBILITY_FALL times that of more rows, of
 * the same work on the same kind of device: the worst such time, and how many there are. Some are
 * real (a library has other kernels for other sizes), so they are used as they stand. Times below
 * PLAUSIBILITY_LEAST_NS are not looked at. Adds nothing where all is well. */
#define PLAUSIBILITY_FALL 1.5
enum { PLAUSIBILITY_LEAST_NS = 20000 };
void trace_plausibility(const Trace *trace, Text *out);

#endif
