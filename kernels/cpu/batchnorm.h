/* Batch norm in parts, for what goes through memory a few rows at a time (kernels/cpu/chain.c).
 * part: a call of some of the rows, with rows, x, y, dy and dx as they need. */
#ifndef KERNELS_CPU_BATCHNORM_H
#define KERNELS_CPU_BATCHNORM_H

#include "kernels/cpu/cpu.h"

/* Statistics: norm_begin(), norm_add() of every part, norm_statistics() of the whole call, whose
 * first pixel was origin; then y of any part. */
void norm_begin(Operator *op);
void norm_add(Operator *op, const OperatorCall *part, const float *origin);
int  norm_statistics(Operator *op, const OperatorCall *call, Error *err);
void norm_apply(Operator *op, const OperatorCall *part);

/* Backward: norm_begin(), the sums of every part's dy (with y, which is not NULL, written once
 * more), those of the whole call, which gives the parameters' gradients; then dx of any part, if
 * data. */
void norm_gradient_add(Operator *op, const OperatorCall *part);
int  norm_gradient_sums(Operator *op, const OperatorCall *call, bool data, Error *err);
void norm_gradient_apply(Operator *op, const OperatorCall *part);

#endif
