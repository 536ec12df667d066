/* The learning rate: cosine from the workload's to 0 over the run (Loshchilov and Hutter 2017,
 * without restarts), after the steps of a warm-up in which it rises evenly. */
#ifndef EXECUTOR_TRAIN_RATE_H
#define EXECUTOR_TRAIN_RATE_H

#include "workloads/workload.h"

/* Of step 0 <= step < total. */
float rate_at(const Workload *workload, int64_t step, int64_t total);

#endif
