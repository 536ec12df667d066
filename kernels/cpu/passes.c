#include "kernels/cpu/passes.h"

#include <pthread.h>

/* One thread of the process describes at a time. While oneDNN (2.6, 3.0) describes a convolution
 * ("brgconv") it keeps in one variable of the process how many channels of a type lie side by side.
 * If another thread describes one of another type meanwhile, a convolution of an odd number of
 * channels in bfloat16 steps through its weights as in float32, and computes something else without
 * an error (findings/onednn-two-threads-describe.sh). */
static pthread_mutex_t describing = PTHREAD_MUTEX_INITIALIZER;

int pass_shapes_check(const PassShapes *s, bool bias, Error *err)
{
    return s->x && s->y && s->weights && s->plain && (s->bias || !bias) ? 0 : error_no_memory(err);
}

void pass_shapes_free(PassShapes *s)
{
    md_free(s->x);
    md_free(s->y);
    md_free(s->weights);
    md_free(s->plain);
    md_free(s->bias);
}

dnnl_status_t pass_forward(dnnl_primitive_desc_t *out, const Operator *op, const PassShapes *s,
                           dnnl_primitive_attr_t attr)
{
    dnnl_prop_kind_t kind = op->spec.frozen ? dnnl_forward_inference : dnnl_forward_training;
    dnnl_status_t    status;

    pthread_mutex_lock(&describing);
    status = s->product ? dnnl_inner_product_forward_primitive_desc_create(
                              out, op->device->engine, kind, s->x, s->weights, s->bias, s->y, attr)
                        : dnnl_convolution_forward_primitive_desc_create(
                              out, op->device->engine, kind, dnnl_convolution_direct, s->x,
                              s->weights, s->bias, s->y, s->stride, NULL, s->padding, s->padding,
                              attr);
    pthread_mutex_unlock(&describing);
    return status;
}

dnnl_status_t pass_data(dnnl_primitive_desc_t *out, const Operator *op, const PassShapes *s,
                        dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr)
{
    dnnl_status_t status;

    pthread_mutex_lock(&describing);
    status = s->product ? dnnl_inner_product_backward_data_primitive_desc_create(
                              out, op->device->engine, s->x, s->weights, s->y, hint, attr)
                        : dnnl_convolution_backward_data_primitive_desc_create(
                              out, op->device->engine, dnnl_convolution_direct, s->x, s->weights,
                              s->y, s->stride, NULL, s->padding, s->padding, hint, attr);
    pthread_mutex_unlock(&describing);
    return status;
}

dnnl_status_t pass_weights(dnnl_primitive_desc_t *out, const Operator *op, const PassShapes *s,
                           dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr)
{
    dnnl_status_t status;

    pthread_mutex_lock(&describing);
    status = s->product ? dnnl_inner_product_backward_weights_primitive_desc_create(
                              out, op->device->engine, s->x, s->weights, s->bias, s->y, hint, attr)
                        : dnnl_convolution_backward_weights_primitive_desc_create(
                              out, op->device->engine, dnnl_convolution_direct, s->x, s->weights,
                              s->bias, s->y, s->stride, NULL, s->padding, s->padding, hint, attr);
    pthread_mutex_unlock(&describing);
    return status;
}

dnnl_status_t pass_next(dnnl_primitive_desc_t *at)
{
    dnnl_status_t status;

    pthread_mutex_lock(&describing);
    status = onednn_next(at);
    pthread_mutex_unlock(&describing);
    return status;
}

/* hint: of a forward in float32. */
static int plan_float(Operator *op, OperatorPlan *plan, const PassShapes *s, PassPlan *weights,
                      PassPlan *data, dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr,
                      Error *err)
{
    int rc = 0;

    if (!plan->bf16[PASS_WEIGHTS]) rc = weights(op, plan, s, hint, attr, err);
    if (rc == 0 && op->spec.data_gradient && !plan->bf16[PASS_DATA])
        rc = data(op, plan, s, hint, attr, err);
    return rc;
}

int passes_plan_backward(Operator *op, OperatorPlan *plan, const PassShapes *s, PassPlan *weights,
                         PassPlan *data, Error *err)
{
    dnnl_primitive_attr_t attr = attr_new(ACTIVATION_NONE, err);
    dnnl_primitive_desc_t made = NULL;               /* plan's own is of bfloat16 */
    int                   rc = 0;

    if (!attr) return -1;
    if (plan->bf16[PASS_FORWARD])
        rc = dnnl_failed(pass_forward(&made, op, s, attr), op->what, err);
    if (rc == 0)
        rc = plan_float(op, plan, s, weights, data, made ? made : plan->forward.desc, attr, err);
    if (made) dnnl_primitive_desc_destroy(made);
    dnnl_primitive_attr_destroy(attr);
    return rc;
}
