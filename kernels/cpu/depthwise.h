/* Passes of depthwise convolutions by our own loops. */
#ifndef KERNELS_CPU_DEPTHWISE_H
#define KERNELS_CPU_DEPTHWISE_H

#include "kernels/cpu/cpu.h"

/* Windows of 3x3, 5x5 and 7x7 by strides of 1 and 2, a channel in and one out. */
bool depthwise_fits(const OperatorSpec *s);

/* Memory for weights in lanes, of an operator whose forward and dx are those below: op->own. */
int depthwise_make(Operator *op, Error *err);

/* Floats of the device's scratch that a call takes. */
int64_t depthwise_scratch(const Operator *op);

/* y, and dx. Rows have the same bits whatever others are computed with them. */
void depthwise_forward(Operator *op, const OperatorCall *call);
void depthwise_data(Operator *op, const OperatorCall *call);

/* Gradients of weights and bias, which may come in parts: the first begins and the last writes that
 * of weights. scratch: of the device, depthwise_scratch(), which stays between the parts. */
void depthwise_weights(Operator *op, const OperatorCall *call, float *scratch, bool first,
                       bool last);

#endif
