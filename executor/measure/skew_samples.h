/* Skew in what was measured (traces/stalls.h): how much longer, or shorter, than all devices take
 * for a step in the mean one of them takes, in steps that all work at the same time. */
#ifndef EXECUTOR_MEASURE_SKEW_SAMPLES_H
#define EXECUTOR_MEASURE_SKEW_SAMPLES_H

#include "executor/measure/op_samples.h"

/* Standard deviations over the mean. */
typedef struct {
    double all;              /* of steps */
    double lasting;          /* the part of it that all steps of a run have, by their variance
                              * within runs and between them: at most all */
} Skew;

/* Of all work in samples without its stalls, which have been looked for; 0 of one device. In each
 * step of a run all devices do the same work. Fails only without memory. */
int samples_skew(Skew *out, const Samples *samples, Error *err);

#endif
