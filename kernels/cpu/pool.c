/* Max pooling (padding loses against any value), mean pooling (padding counts as zeros, as in
 * PyTorch), and flatten, which puts channels first as PyTorch's does. */
#include "kernels/cpu/cpu.h"

/* oneDNN notes each maximum's place in a byte, in 4 where the window has more. */
static int64_t place_bytes(const OperatorSpec *spec)
{
    return (int64_t)spec->kernel_height * spec->kernel_width <= 256 ? 1 : 4;
}

static int64_t maxpool_kept(const OperatorSpec *spec)
{
    return (shape_count(spec->out) * place_bytes(spec) + 3) / 4;
}

typedef struct {
    Md         *x, *y;       /* owned */
    dnnl_dims_t stride, kernel, dilation, padding;
} Shapes;

static void shapes_free(Shapes *s)
{
    md_free(s->x);
    md_free(s->y);
}

/* Free it also after an error. */
static int shapes_make(Shapes *s, const OperatorSpec *spec, int64_t rows, Error *err)
{
    *s = (Shapes){.x = md_rows(rows, spec->in),
                  .y = md_rows(rows, spec->out),
                  .stride = {spec->stride, spec->stride},
                  .kernel = {spec->kernel_height, spec->kernel_width},
                  .padding = {spec->padding, spec->padding}};
    return s->x && s->y ? 0 : error_no_memory(err);
}

/* The places of maxima, kept from forward to backward. */
static int places_argument(Operator *op, Primitive *p, const Primitive *forward, Error *err)
{
    return primitive_argument(p, op->device, DNNL_ARG_WORKSPACE,
                              primitive_md(forward, dnnl_query_workspace_md), err);
}

static int plan_forward(Operator *op, OperatorPlan *plan, dnnl_alg_kind_t algorithm,
                        const Shapes *s, dnnl_primitive_attr_t attr, Error *err)
{
    Primitive *p = &plan->forward;

    if (primitive_make(p, op->device,
                       dnnl_pooling_forward_primitive_desc_create(
                           &p->desc, op->device->engine,
                           op->spec.frozen ? dnnl_forward_inference : dnnl_forward_training,
                           algorithm, s->x, s->y, s->stride, s->kernel, s->dilation, s->padding,
                           s->padding, attr),
                       op->what, err)
            != 0
        || primitive_argument(p, op->device, DNNL_ARG_SRC, s->x, err) != 0
        || primitive_argument(p, op->device, DNNL_ARG_DST, s->y, err) != 0)
        return -1;
    if (algorithm != dnnl_pooling_max || op->spec.frozen) return 0;
    if ((int64_t)dnnl_memory_desc_get_size(primitive_md(p, dnnl_query_workspace_md)) >
        plan->rows * maxpool_kept(&op->spec) * (int64_t)sizeof(float))
        return error_set(err, "%s: oneDNN wants more memory than a place an output", op->what);
    return places_argument(op, p, p, err);
}

static int plan_backward(Operator *op, OperatorPlan *plan, dnnl_alg_kind_t algorithm,
                         const Shapes *s, dnnl_primitive_attr_t attr, Error *err)
{
    Primitive *p = &plan->data;

    if (primitive_make(p, op->device,
                       dnnl_pooling_backward_primitive_desc_create(
                           &p->desc, op->device->engine, algorithm, s->x, s->y, s->stride,
                           s->kernel, s->dilation, s->padding, s->padding, plan->forward.desc,
                           attr),
                       op->what, err)
            != 0
        || primitive_argument(p, op->device, DNNL_ARG_DIFF_DST, s->y, err) != 0
        || primitive_argument(p, op->device, DNNL_ARG_DIFF_SRC, s->x, err) != 0)
        return -1;
    return algorithm == dnnl_pooling_max ? places_argument(op, p, &plan->forward, err) : 0;
}

static int plan_pool(Operator *op, OperatorPlan *plan, dnnl_alg_kind_t algorithm, Error *err)
{
    dnnl_primitive_attr_t attr = attr_new(ACTIVATION_NONE, err);
    Shapes                s;
    int                   rc;

    if (!attr) return -1;
    rc = shapes_make(&s, &op->spec, plan->rows, err);
    if (rc == 0) rc = plan_forward(op, plan, algorithm, &s, attr, err);
    if (rc == 0 && op->spec.data_gradient) rc = plan_backward(op, plan, algorithm, &s, attr, err);
    dnnl_primitive_attr_destroy(attr);
    shapes_free(&s);
    return rc;
}

static int plan_max(Operator *op, OperatorPlan *plan, Error *err)
{
    return plan_pool(op, plan, dnnl_pooling_max, err);
}

static int plan_mean(Operator *op, OperatorPlan *plan, Error *err)
{
    return plan_pool(op, plan, dnnl_pooling_avg_include_padding, err);
}

static int forward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    primitive_set(&plan->forward, DNNL_ARG_SRC, call->x);
    primitive_set(&plan->forward, DNNL_ARG_DST, call->y);
    primitive_set(&plan->forward, DNNL_ARG_WORKSPACE, call->kept);
    return primitive_run(&plan->forward, op->device, op->what, err);
}

static int backward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    if (!call->dx) return 0;
    primitive_set(&plan->data, DNNL_ARG_DIFF_DST, call->dy);
    primitive_set(&plan->data, DNNL_ARG_DIFF_SRC, call->dx);
    primitive_set(&plan->data, DNNL_ARG_WORKSPACE, call->kept);
    return primitive_run(&plan->data, op->device, op->what, err);
}

/* ---- flatten ---- */

/* from [rows][a][b] to [rows][b][a] */
static void transpose(const float *from, float *to, int64_t rows, int64_t a, int64_t b)
{
    for (int64_t r = 0; r < rows; r++, from += a * b, to += a * b)
        for (int64_t j = 0; j < b; j++)
            for (int64_t i = 0; i < a; i++) to[j * a + i] = from[i * b + j];
}

static int flatten_forward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    Shape in = op->spec.in;

    (void)plan, (void)err;
    transpose(call->x, call->y, call->rows, (int64_t)in.height * in.width, in.channels);
    return 0;
}

static int flatten_backward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    Shape in = op->spec.in;

    (void)plan, (void)err;
    if (call->dx)
        transpose(call->dy, call->dx, call->rows, in.channels, (int64_t)in.height * in.width);
    return 0;
}

const CpuKind cpu_maxpool = {.layer = LAYER_MAXPOOL, .kept = maxpool_kept, .plan = plan_max,
                             .forward = forward, .backward = backward};
const CpuKind cpu_avgpool = {
    .layer = LAYER_AVGPOOL, .plan = plan_mean, .forward = forward, .backward = backward};
const CpuKind cpu_flatten = {
    .layer = LAYER_FLATTEN, .forward = flatten_forward, .backward = flatten_backward};
