/* Convolutions and linear layers in bfloat16, by oneDNN, with float32 sums. What goes in and comes
 * out is float32: x and dy are rounded to bfloat16 (to nearest, ties to even) into scratch, a few
 * rows at a time, so that they are still in the cache when they are multiplied; weights into a copy
 * that follows the parameters. y, dx and the parameters' gradients are written in float32.
 *
 *     forward      y  = activation(bf16(x) bf16(w) + b)
 *     weights      dw = bf16(dy)' bf16(x)      db = the sum of bf16(dy)
 *     data         dx = bf16(dy) bf16(w)
 *
 * Linear layers, convolutions of 1x1 with stride 1, and frozen ones on maps of 2x2, are products of
 * matrices. */
#ifndef KERNELS_CPU_BF16_H
#define KERNELS_CPU_BF16_H

#include "kernels/cpu/cpu.h"

/* Whether oneDNN computes in bfloat16 by instructions of this machine (AVX512_BF16, AMX), within
 * the instruction set that oneDNN was limited to. */
bool bf16_is_there(void);

/* Chooses which of plan's passes compute in bfloat16, and makes their primitives: those of
 * op->bf16, of a pass that bf16_choose() measures where that says so. -1: an error. */
int bf16_plan(Operator *op, OperatorPlan *plan, Error *err);

/* Floats of scratch that the passes in bfloat16 take, those of all primitives of plan included. */
int64_t bf16_scratch(const Operator *op, const OperatorPlan *plan);

/* Whether forward of a frozen convolution is one product, of all numbers of a row: on maps as small
 * as 2x2, where oneDNN multiplies mostly padding. Its weights are then the matrix that
 * bf16_unfold() gives, of weights and bias in PyTorch's orders: cpu_release() it; NULL without
 * memory. The bias goes to op->unfolded_bias. */
bool   bf16_unfolds(const OperatorSpec *spec);
float *bf16_unfold(Operator *op, const float *weights, const float *bias);

/* weights: as packed, with what is folded into them; bias NULL: none. */
int bf16_forward(Operator *op, OperatorPlan *plan, const OperatorCall *call, const float *weights,
                 const float *bias, Error *err);

/* The passes of backward that plan has in bfloat16; dy is as the layer behind gave it, before the
 * derivative of the activation. dx only where call wants it. */
int bf16_backward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err);

/* Whether a pass of op is faster in bfloat16, both ways measured once for a shape and number of
 * threads, on rows that depend on the shape alone: so the same choice holds for any number of rows.
 * Choices are the process's, and of what other processes keep in the same file. */
int bf16_choose(bool *out, const Operator *op, OperatorPass pass, Error *err);

/* Backend.keep_choices, choices. */
int bf16_keep_choices(const DeviceSpec *spec, const char *path, Error *err);
int bf16_choices(Device *device, Text *out, Error *err);

#endif
