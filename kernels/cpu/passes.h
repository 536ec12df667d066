/* Passes of a convolution or linear layer as oneDNN describes them: as a convolution, or as a
 * product of matrices, its inner product. */
#ifndef KERNELS_CPU_PASSES_H
#define KERNELS_CPU_PASSES_H

#include "kernels/cpu/cpu.h"

/* Memory of a pass over a number of rows, and how a convolution goes over it. */
typedef struct {
    Md         *x, *y, *weights, *plain, *bias;          /* owned; plain: the parameters' order;
                                                          * bias NULL: none */
    dnnl_dims_t stride, padding;
    bool        product;     /* neither stride nor padding count */
} PassShapes;

/* Without memory for one of s, with bias or without, -1; pass_shapes_free() s in any case. */
int  pass_shapes_check(const PassShapes *s, bool bias, Error *err);
void pass_shapes_free(PassShapes *s);

/* oneDNN's descriptions of op's passes in the types and orders of s; *out is the caller's. hint: of
 * a forward in the same types, which oneDNN wants before a backward. Of a process's threads one at
 * a time describes: all convolutions and inner products go through here. */
dnnl_status_t pass_forward(dnnl_primitive_desc_t *out, const Operator *op, const PassShapes *s,
                           dnnl_primitive_attr_t attr);
dnnl_status_t pass_data(dnnl_primitive_desc_t *out, const Operator *op, const PassShapes *s,
                        dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr);
dnnl_status_t pass_weights(dnnl_primitive_desc_t *out, const Operator *op, const PassShapes *s,
                           dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr);

/* What comes after *at in oneDNN's list (onednn_next()). */
dnnl_status_t pass_next(dnnl_primitive_desc_t *at);

/* Makes a pass in float32 ready. */
typedef int PassPlan(Operator *op, OperatorPlan *plan, const PassShapes *s,
                     dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr, Error *err);

/* The passes of backward that bf16_plan() left to float32, weights first. */
int passes_plan_backward(Operator *op, OperatorPlan *plan, const PassShapes *s, PassPlan *weights,
                         PassPlan *data, Error *err);

#endif
