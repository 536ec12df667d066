/* What a step takes a device besides its instructions: the time between their spans. */
#ifndef EXECUTOR_MEASURE_OWN_TIME_H
#define EXECUTOR_MEASURE_OWN_TIME_H

#include "base/error.h"
#include "schedule/timeline.h"

/* Of device 0, microseconds a step, the mean from the first span of step first to the first span of
 * the last step (0 where there are no two such steps). Spans in any order; what they cover together
 * is work. */
int own_time_us(double *out, const Span *spans, int64_t count, int64_t first, Error *err);

#endif
