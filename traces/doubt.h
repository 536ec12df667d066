/* What in a trace is likely to be a mistake of measuring, though nothing forbids it. */
#ifndef TRACES_DOUBT_H
#define TRACES_DOUBT_H

#include "base/text.h"
#include "traces/trace.h"

/* "  note: ..." where a time is DOUBT_FALL times that of more rows, of the same work on the same kind of device:
 * the worst, and how many there are. Some are real (a library has other kernels for other sizes), so
 * they are used as they stand. Times below DOUBT_LEAST_NS are not looked at. Nothing is written where all is well. */
#define DOUBT_FALL 1.5
enum { DOUBT_LEAST_NS = 20000 };

void trace_doubt(const Trace *trace, Text *out);

#endif
