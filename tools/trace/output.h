/* Writing a trace that a subcommand of pipebd-trace made. */
#ifndef TOOLS_TRACE_OUTPUT_H
#define TOOLS_TRACE_OUTPUT_H

#include "traces/trace.h"

/* To path; where that is not standard output, says there what was made ("imported") and the
 * trace's notes. */
int trace_output(const Trace *trace, const char *path, const char *made, Error *err);

#endif
