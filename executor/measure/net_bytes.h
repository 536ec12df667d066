/* The byte counts of a trace's blocks, as the kernels' own networks need them, and the algorithms
 * that were chosen for these. */
#ifndef EXECUTOR_MEASURE_NET_BYTES_H
#define EXECUTOR_MEASURE_NET_BYTES_H

#include "kernels/device.h"
#include "traces/trace.h"
#include "workloads/workload.h"

/* Fills weight, gradient, state and activation bytes of trace->blocks (a block of the workload
 * each; activations a sample, at trace->batch), and trace->algorithms: those chosen by this process
 * so far. Makes each network on a device of devices. */
int net_bytes_fill(Trace *trace, const Workload *workload, const DeviceSpec *devices, Error *err);

#endif
