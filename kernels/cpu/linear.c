/* Linear layers: oneDNN's inner product, weights [out][in]. */
#include "kernels/cpu/cpu.h"

typedef struct { Md x, y, weights, plain, bias; } Shapes;

static Shapes shapes_of(const OperatorSpec *spec, int64_t rows)
{
    Shapes      s;
    dnnl_dims_t x = {rows, spec->in.channels}, y = {rows, spec->out.channels},
                weights = {spec->out.channels, spec->in.channels}, bias = {spec->out.channels};

    dnnl_memory_desc_init_by_tag(&s.x, 2, x, dnnl_f32, dnnl_ab);
    dnnl_memory_desc_init_by_tag(&s.y, 2, y, dnnl_f32, dnnl_ab);
    dnnl_memory_desc_init_by_tag(&s.plain, 2, weights, dnnl_f32, dnnl_ab);
    dnnl_memory_desc_init_by_tag(&s.bias, 1, bias, dnnl_f32, dnnl_a);
    s.weights = md_any(&s.plain);
    return s;
}

static int make(Operator *op, Error *err)
{
    const OperatorSpec *spec = &op->spec;

    if (spec->in.height != 1 || spec->in.width != 1)
        return error_set(err, "%s: its input is not a vector (%dx%dx%d); put a flatten before it", op->what,
                         spec->in.channels, spec->in.height, spec->in.width);
    return 0;
}

static int plan_forward(Operator *op, Plan *plan, const Shapes *s, Error *err)
{
    dnnl_inner_product_desc_t desc;
    dnnl_primitive_attr_t     attr = attr_new(op->spec.activation, err);
    Primitive                *p = &plan->forward;
    int                       rc = -1;

    if (!attr) return -1;
    if (dnnl_failed(dnnl_inner_product_forward_desc_init(&desc, op->spec.frozen ? dnnl_forward_inference : dnnl_forward_training,
                                                         &s->x, &s->weights, op->p.bias ? &s->bias : NULL, &s->y),
                    op->what, err) != 0 ||
        primitive_make(p, op->device, &desc, attr, NULL, NULL, op->what, err) != 0)
        goto done;
    rc = weights_forward(op, plan, &s->x, &s->y, &s->plain, op->p.bias ? &s->bias : NULL, err);
done:
    dnnl_primitive_attr_destroy(attr);
    return rc;
}

static int plan_data(Operator *op, Plan *plan, const Shapes *s, dnnl_primitive_attr_t attr, Error *err)
{
    dnnl_inner_product_desc_t desc;
    Primitive                *p = &plan->data;

    if (dnnl_failed(dnnl_inner_product_backward_data_desc_init(&desc, &s->x, &s->weights, &s->y), op->what, err) != 0 ||
        primitive_make(p, op->device, &desc, attr, &plan->forward, NULL, op->what, err) != 0)
        return -1;
    return weights_data(op, plan, &s->x, &s->y, &s->plain, err);
}

static int plan_weights(Operator *op, Plan *plan, const Shapes *s, dnnl_primitive_attr_t attr, Error *err)
{
    dnnl_inner_product_desc_t desc;
    Primitive                *p = &plan->weights;

    /* Straight into the gradients: their order is ours. */
    if (dnnl_failed(dnnl_inner_product_backward_weights_desc_init(&desc, &s->x, &s->plain, op->p.bias ? &s->bias : NULL, &s->y),
                    op->what, err) != 0 ||
        primitive_make(p, op->device, &desc, attr, &plan->forward, NULL, op->what, err) != 0 ||
        primitive_argument(p, op->device, DNNL_ARG_SRC, &s->x, err) != 0 ||
        primitive_argument(p, op->device, DNNL_ARG_DIFF_DST, &s->y, err) != 0 ||
        primitive_argument(p, op->device, DNNL_ARG_DIFF_WEIGHTS, &s->plain, err) != 0 ||
        (op->p.bias && primitive_argument(p, op->device, DNNL_ARG_DIFF_BIAS, &s->bias, err) != 0))
        return -1;
    return 0;
}

static int plan(Operator *op, Plan *plan, Error *err)
{
    Shapes                s = shapes_of(&op->spec, plan->rows);
    dnnl_primitive_attr_t attr;
    int                   rc;

    if (plan_forward(op, plan, &s, err) != 0) return -1;
    if (op->spec.frozen) return 0;
    if (!(attr = attr_new(ACTIVATION_NONE, err))) return -1;
    rc = plan_weights(op, plan, &s, attr, err);
    if (rc == 0 && op->spec.data_gradient) rc = plan_data(op, plan, &s, attr, err);
    dnnl_primitive_attr_destroy(attr);
    return rc;
}

static int forward(Operator *op, Plan *plan, const OperatorCall *call, Error *err)
{
    Primitive   *p = &plan->forward;
    const float *weights = packed_get(op, plan->forward_packed, op->p.weight, err);

    if (!weights) return -1;
    primitive_set(p, DNNL_ARG_SRC, call->x);
    primitive_set(p, DNNL_ARG_DST, call->y);
    primitive_set(p, DNNL_ARG_WEIGHTS, weights);
    primitive_set(p, DNNL_ARG_BIAS, op->p.bias);
    return primitive_run(p, op->device, op->what, err);
}

static int backward(Operator *op, Plan *plan, const OperatorCall *call, Error *err)
{
    Primitive   *w = &plan->weights, *p = &plan->data;
    const float *weights;

    if (op->spec.activation != ACTIVATION_NONE)
        activation_backward(op->device, op->spec.activation, call->y, call->dy, call->dy,
                            call->rows * shape_count(op->spec.out));
    primitive_set(w, DNNL_ARG_SRC, call->x);
    primitive_set(w, DNNL_ARG_DIFF_DST, call->dy);
    primitive_set(w, DNNL_ARG_DIFF_WEIGHTS, op->p.weight_gradient);
    primitive_set(w, DNNL_ARG_DIFF_BIAS, op->p.bias_gradient);
    if (primitive_run(w, op->device, op->what, err) != 0) return -1;
    if (!call->dx) return 0;
    weights = packed_get(op, plan->data_packed, op->p.weight, err);
    if (!weights) return -1;
    primitive_set(p, DNNL_ARG_DIFF_DST, call->dy);
    primitive_set(p, DNNL_ARG_DIFF_SRC, call->dx);
    primitive_set(p, DNNL_ARG_WEIGHTS, weights);
    return primitive_run(p, op->device, op->what, err);
}

const CpuKind cpu_linear = {.layer = LAYER_LINEAR, .make = make, .plan = plan, .forward = forward, .backward = backward};
