/* A convolution's backward in parts, for what goes through memory a few rows at a time
 * (kernels/cpu/chain.c). */
#ifndef KERNELS_CPU_CONV_H
#define KERNELS_CPU_CONV_H

#include "kernels/cpu/cpu.h"

/* One of several calls that together are a backward: the parameters' gradients are there after the
 * last. */
typedef struct {
    bool first, last;
} ConvPart;

/* Convolutions without bias; x NULL: no gradient of weights, dx NULL: none of data. rows, rest: of
 * the parts and of the last (0: as the others), which are prepared; memory for their sum is kept
 * before there are several. */
int conv_keep_sum(Operator *op, int64_t rows, int64_t rest, Error *err);
int conv_backward_part(Operator *op, const OperatorCall *call, const ConvPart *part, Error *err);

#endif
