/* Backend's chains (kernels/backend.h). */
#ifndef KERNELS_CPU_CHAIN_H
#define KERNELS_CPU_CHAIN_H

#include "kernels/cpu/cpu.h"

/* Pairs of a trained convolution without a bias and the batch norm behind it. */
int     chain_length(const OperatorSpec *const *specs, int count);
/* Prepares the convolutions for the rows of its parts. */
int     chain_prepare(Operator *const *ops, int count, int64_t rows, Error *err);
/* Bytes; 0 of rows that are not prepared. */
int64_t chain_scratch(Operator *const *ops, int count, int64_t rows);
/* All rows, part by part. */
int     chain_forward(Operator *const *ops, const OperatorCall *calls, int count, Error *err);
int     chain_backward(Operator *const *ops, const OperatorCall *calls, int count, Error *err);

#endif
