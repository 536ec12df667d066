/* Batch norm with its activation (kernels/cuda/channels.cu). A group's sums pass through its
 * NetSum, which takes them in the device's memory and enqueues its work. */
#include "kernels/cuda/cuda.h"

static int64_t stride_of(const Operator *op) { return (op->spec.out.channels + 15) / 16 * 16; }

static int64_t pixels_of(const Operator *op, int64_t rows)
{
    return rows * op->spec.out.height * op->spec.out.width;
}

static int sums_count(const Operator *op) { return 2 * op->spec.out.channels + 1; }

static int make(Operator *op, Error *err)
{
    op->own_count = NORM_ROWS * stride_of(op);
    op->own = cuda_alloc(op->device, (size_t)op->own_count);
    if (!op->own) return error_set(err, "%s: the GPU's memory is full", op->what);
    if (op->spec.frozen) return 0;
    return cuda_failed(cudaMalloc((void **)&op->sums, (size_t)sums_count(op) * sizeof(double)),
                       op->what, err);
}

static int plan(Operator *op, CudaPlan *plan, Error *err)
{
    (void)err;
    plan->scratch = op->spec.frozen
                        ? 0
                        : kernel_channel_partials(pixels_of(op, plan->rows), op->spec.out.channels);
    return 0;
}

static KernelNorm norm_of(const Operator *op, int64_t rows)
{
    return (KernelNorm){.pixels = pixels_of(op, rows), .channels = op->spec.out.channels,
                        .stride = (int)stride_of(op), .floor = cuda_floor(op->spec.activation),
                        .limit = cuda_limit(op->spec.activation), .own = op->own,
                        .weight = op->p.norm_weight, .bias = op->p.norm_bias,
                        .mean = op->p.norm_mean, .variance = op->p.norm_variance,
                        .weight_gradient = op->p.weight_gradient,
                        .bias_gradient = op->p.bias_gradient, .partial = op->device->scratch,
                        .sums = op->sums, .type = cuda_type(op->device), .eps = op->spec.norm_eps,
                        .momentum = op->spec.norm_momentum};
}

/* op->sums of this device become those of the group. */
static int sum_over_group(Operator *op, const GroupSum *group, Error *err)
{
    return group->sum(group->context, op->sums, sums_count(op), err);
}

static int forward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    KernelNorm   n = norm_of(op, call->rows);
    cudaStream_t stream = stream_of(op);
    int          group = call->group.sum != NULL;

    (void)plan;
    if (op->spec.frozen) {
        if (op->stale && launch_failed(kernel_norm_frozen(&n, stream), op->what, err) != 0)
            return -1;
        op->stale = false;
    } else {
        if (launch_failed(kernel_norm_statistics(&n, call->x, group, stream), op->what, err) != 0)
            return -1;
        if (group
            && (sum_over_group(op, &call->group, err) != 0
                || launch_failed(kernel_norm_set(&n, stream), op->what, err) != 0))
            return -1;
    }
    return launch_failed(kernel_norm_apply(&n, call->x, call->y, stream), op->what, err);
}

/* The weights' gradients are of these rows: a group sums gradients later. */
static int backward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    KernelNorm   n = norm_of(op, call->rows);
    cudaStream_t stream = stream_of(op);
    int          group = call->group.sum != NULL && call->dx != NULL;

    (void)plan;
    if (launch_failed(kernel_norm_gradients(&n, call->x, call->dy, group, stream), op->what, err)
        != 0)
        return -1;
    if (!call->dx) return 0;
    if (group
        && (sum_over_group(op, &call->group, err) != 0
            || launch_failed(kernel_norm_gradient_set(&n, stream), op->what, err) != 0))
        return -1;
    return launch_failed(kernel_norm_gradient_apply(&n, call->x, call->dy, call->dx, stream),
                         op->what, err);
}

const CudaKind cuda_batchnorm = {
    .layer = LAYER_BATCHNORM, .make = make, .plan = plan, .forward = forward, .backward = backward};
