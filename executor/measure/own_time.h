/* What instructions and steps take a device besides their spans: the time between these. */
#ifndef EXECUTOR_MEASURE_OWN_TIME_H
#define EXECUTOR_MEASURE_OWN_TIME_H

#include "base/error.h"
#include "schedule/timeline.h"

typedef struct {
    double step_us;          /* from a step's last span to the next one's first */
    double instruction_us;   /* from a span of a step to its next */
} OwnTime;

/* Of device 0, from the first span of step first to the first of the last step; medians, so that
 * one preempted step does not count; 0 where there is none such. Spans in any order; what they
 * cover together is work, and one that begins within others has no time before it. */
int own_time_find(OwnTime *out, const Span *spans, int64_t count, int64_t first, Error *err);

#endif
