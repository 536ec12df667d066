/* Operators that are a kernel each: activations on their own, pooling, flatten (channels first, as
 * PyTorch's). */
#include "kernels/cuda/cuda.h"

/* ---- activations ---- */

static int activation_forward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    (void)plan;
    return launch_failed(kernel_activation(cuda_type(op->device), call->x, call->y,
                                           call->rows * shape_count(op->spec.out),
                                           cuda_limit(op->spec.activation), stream_of(op)),
                         op->what, err);
}

static int activation_backward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    (void)plan;
    if (!call->dx) return 0;
    return launch_failed(kernel_activation_gradient(cuda_type(op->device), call->y, call->dy,
                                                    call->dx,
                                                    call->rows * shape_count(op->spec.out),
                                                    cuda_limit(op->spec.activation), stream_of(op)),
                         op->what, err);
}

/* ---- pooling ---- */

static KernelPool pool_of(const Operator *op, int64_t rows)
{
    const OperatorSpec *s = &op->spec;

    return (KernelPool){rows,          s->in.channels, s->in.height,         s->in.width,
                        s->out.height, s->out.width,   s->kernel_height,     s->kernel_width,
                        s->stride,     s->padding,     cuda_type(op->device)};
}

/* A place an output, as an int. */
static int64_t maxpool_kept(const OperatorSpec *spec) { return shape_count(spec->out); }

static int maxpool_forward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    KernelPool p = pool_of(op, call->rows);

    (void)plan;
    return launch_failed(
        kernel_maxpool(&p, call->x, call->y, (int *)(void *)call->kept, stream_of(op)), op->what,
        err);
}

static int maxpool_backward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    KernelPool p = pool_of(op, call->rows);

    (void)plan;
    if (!call->dx) return 0;
    return launch_failed(kernel_maxpool_gradient(&p, (const int *)(const void *)call->kept,
                                                 call->dy, call->dx, stream_of(op)),
                         op->what, err);
}

static int avgpool_forward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    KernelPool p = pool_of(op, call->rows);

    (void)plan;
    return launch_failed(kernel_avgpool(&p, call->x, call->y, stream_of(op)), op->what, err);
}

static int avgpool_backward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    KernelPool p = pool_of(op, call->rows);

    (void)plan;
    if (!call->dx) return 0;
    return launch_failed(kernel_avgpool_gradient(&p, call->dy, call->dx, stream_of(op)), op->what,
                         err);
}

/* ---- flatten ---- */

static int flatten_forward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    Shape in = op->spec.in;

    (void)plan;
    return launch_failed(kernel_transpose(cuda_type(op->device), call->x, call->y, call->rows,
                                          (int64_t)in.height * in.width, in.channels,
                                          stream_of(op)),
                         op->what, err);
}

static int flatten_backward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    Shape in = op->spec.in;

    (void)plan;
    if (!call->dx) return 0;
    return launch_failed(kernel_transpose(cuda_type(op->device), call->dy, call->dx, call->rows,
                                          in.channels, (int64_t)in.height * in.width,
                                          stream_of(op)),
                         op->what, err);
}

const CudaKind cuda_activation = {
    .layer = LAYER_RELU, .forward = activation_forward, .backward = activation_backward};
const CudaKind cuda_maxpool = {.layer = LAYER_MAXPOOL, .kept = maxpool_kept,
                               .forward = maxpool_forward, .backward = maxpool_backward};
const CudaKind cuda_avgpool = {
    .layer = LAYER_AVGPOOL, .forward = avgpool_forward, .backward = avgpool_backward};
const CudaKind cuda_flatten = {
    .layer = LAYER_FLATTEN, .forward = flatten_forward, .backward = flatten_backward};
