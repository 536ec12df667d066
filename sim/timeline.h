/* A recorded run as Chrome trace events, which Perfetto and chrome://tracing open as
 * they are: a process a device, a thread a lane, complete events ("ph": "X"), flow
 * arrows for relays, and the facts of the run under "pipebd". Times in microseconds. */
#ifndef SIM_TIMELINE_H
#define SIM_TIMELINE_H

#include "base/text.h"
#include "sim/sim.h"

/* result has spans (SimOptions.record). */
void timeline_text(const SimResult *result, const Program *program, const Scenario *scenario,
                   const char *schedule, Text *out);

#endif
