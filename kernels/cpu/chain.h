/* Backend's chains (kernels/backend.h). */
#ifndef KERNELS_CPU_CHAIN_H
#define KERNELS_CPU_CHAIN_H

#include "kernels/cpu/cpu.h"

int     chain_length(const OperatorSpec *const *specs, int count);
int     chain_prepare(Operator *const *ops, int count, int64_t rows, Error *err);
int64_t chain_scratch(Operator *const *ops, int count, int64_t rows);
int     chain_forward(Operator *const *ops, const OperatorCall *calls, int count, Error *err);
int     chain_backward(Operator *const *ops, const OperatorCall *calls, int count, Error *err);

#endif
