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

static int plan_backward(Operator *op, Plan *plan, dnnl_alg_kind_t algorithm, const Md *x, const Md *y,
                         const dnnl_dim_t *stride, const dnnl_dim_t *kernel, const dnnl_dim_t *padding, Error *err)
{
    dnnl_pooling_desc_t   desc;
    dnnl_primitive_attr_t attr = attr_new(ACTIVATION_NONE, err);
    Primitive            *p = &plan->data;
    const Md             *places = primitive_md(&plan->forward, dnnl_query_workspace_md);
    int                   rc = -1;

    if (!attr) return -1;
    if (dnnl_failed(dnnl_pooling_backward_desc_init(&desc, algorithm, x, y, stride, kernel, padding, padding), op->what, err) == 0 &&
        primitive_make(p, op->device, &desc, attr, &plan->forward, NULL, op->what, err) == 0 &&
        primitive_argument(p, op->device, DNNL_ARG_DIFF_DST, y, err) == 0 &&
        primitive_argument(p, op->device, DNNL_ARG_DIFF_SRC, x, err) == 0 &&
        (algorithm != dnnl_pooling_max || primitive_argument(p, op->device, DNNL_ARG_WORKSPACE, places, err) == 0))
        rc = 0;
    dnnl_primitive_attr_destroy(attr);
    return rc;
}

static int plan_pool(Operator *op, Plan *plan, dnnl_alg_kind_t algorithm, Error *err)
{
    const OperatorSpec   *spec = &op->spec;
    Md                    x = md_rows(plan->rows, spec->in), y = md_rows(plan->rows, spec->out);
    dnnl_dims_t           stride = {spec->stride, spec->stride}, kernel = {spec->kernel_height, spec->kernel_width},
                          padding = {spec->padding, spec->padding};
    dnnl_pooling_desc_t   desc;
    dnnl_primitive_attr_t attr = attr_new(ACTIVATION_NONE, err);
    Primitive            *p = &plan->forward;
    int                   rc = -1;

    if (!attr) return -1;
    if (dnnl_failed(dnnl_pooling_forward_desc_init(&desc, spec->frozen ? dnnl_forward_inference : dnnl_forward_training,
                                                   algorithm, &x, &y, stride, kernel, padding, padding),
                    op->what, err) != 0 ||
        primitive_make(p, op->device, &desc, attr, NULL, NULL, op->what, err) != 0 ||
        primitive_argument(p, op->device, DNNL_ARG_SRC, &x, err) != 0 ||
        primitive_argument(p, op->device, DNNL_ARG_DST, &y, err) != 0)
        goto done;
    if (algorithm == dnnl_pooling_max && !spec->frozen) {
        const Md *places = primitive_md(p, dnnl_query_workspace_md);

        if ((int64_t)dnnl_memory_desc_get_size(places) > plan->rows * maxpool_kept(spec) * (int64_t)sizeof(float)) {
            error_set(err, "%s: oneDNN wants more memory than a place an output", op->what);
            goto done;
        }
        if (primitive_argument(p, op->device, DNNL_ARG_WORKSPACE, places, err) != 0) goto done;
    }
    if (spec->data_gradient && plan_backward(op, plan, algorithm, &x, &y, stride, kernel, padding, err) != 0) goto done;
    rc = 0;
done:
    dnnl_primitive_attr_destroy(attr);
    return rc;
}

static int plan_max(Operator *op, Plan *plan, Error *err) { return plan_pool(op, plan, dnnl_pooling_max, err); }

static int plan_mean(Operator *op, Plan *plan, Error *err)
{
    return plan_pool(op, plan, dnnl_pooling_avg_include_padding, err);
}

static int forward(Operator *op, Plan *plan, const OperatorCall *call, Error *err)
{
    primitive_set(&plan->forward, DNNL_ARG_SRC, call->x);
    primitive_set(&plan->forward, DNNL_ARG_DST, call->y);
    primitive_set(&plan->forward, DNNL_ARG_WORKSPACE, call->kept);
    return primitive_run(&plan->forward, op->device, op->what, err);
}

static int backward(Operator *op, Plan *plan, const OperatorCall *call, Error *err)
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

static int flatten_forward(Operator *op, Plan *plan, const OperatorCall *call, Error *err)
{
    Shape in = op->spec.in;

    (void)plan, (void)err;
    transpose(call->x, call->y, call->rows, (int64_t)in.height * in.width, in.channels);
    return 0;
}

static int flatten_backward(Operator *op, Plan *plan, const OperatorCall *call, Error *err)
{
    Shape in = op->spec.in;

    (void)plan, (void)err;
    if (call->dx) transpose(call->dy, call->dx, call->rows, in.channels, (int64_t)in.height * in.width);
    return 0;
}

const CpuKind cpu_maxpool = {.layer = LAYER_MAXPOOL, .kept = maxpool_kept, .plan = plan_max, .forward = forward, .backward = backward};
const CpuKind cpu_avgpool = {.layer = LAYER_AVGPOOL, .plan = plan_mean, .forward = forward, .backward = backward};
const CpuKind cpu_flatten = {.layer = LAYER_FLATTEN, .forward = flatten_forward, .backward = flatten_backward};
