/* The CPU's streams and events, which need no library of kernels. */
#ifndef KERNELS_CPU_STREAM_H
#define KERNELS_CPU_STREAM_H

#include "kernels/backend.h"

extern const StreamOps cpu_streams;

#endif
