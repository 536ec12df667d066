/* Whether a file of weights has every tensor of a workload's teachers, in its shape. Values are not
 * looked at. */
#ifndef EXECUTOR_IMPORT_FIT_H
#define EXECUTOR_IMPORT_FIT_H

#include "base/error.h"
#include "workloads/workload.h"

/* *tensors: how many they are. */
int weights_fit(const Workload *workload, const char *path, int *tensors, Error *err);

#endif
