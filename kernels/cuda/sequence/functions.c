/* gelu, silu, tanh, gated products, LayerNorm and RMSNorm as operators: a kernel or two each
 * (functions.cu, layernorm.cu). */
#include <assert.h>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/sequence/sequence.h"

static_assert((int)KERNEL_RELU == (int)FUNCTION_RELU && (int)KERNEL_GELU == (int)FUNCTION_GELU
                  && (int)KERNEL_GELU_TANH == (int)FUNCTION_GELU_TANH
                  && (int)KERNEL_SILU == (int)FUNCTION_SILU
                  && (int)KERNEL_TANH == (int)FUNCTION_TANH,
              "kernels number functions as workloads do");

static int64_t places_of(const Operator *op, const OperatorCall *call)
{
    return call->rows * op->spec.out.height * op->spec.out.width;
}

static KernelFunction function_of(const Operator *op)
{
    return (KernelFunction)op->spec.layer->function;
}

/* ---- one number in, one out ---- */

static int forward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    (void)plan;
    return launch_failed(kernel_function(cuda_type(op->device), function_of(op), call->x, call->y,
                                         call->rows * shape_count(op->spec.out), stream_of(op)),
                         op->what, err);
}

static int backward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    (void)plan;
    if (!call->dx) return 0;
    return launch_failed(kernel_function_gradient(cuda_type(op->device), function_of(op), call->x,
                                                  call->dy, call->dx,
                                                  call->rows * shape_count(op->spec.out),
                                                  stream_of(op)),
                         op->what, err);
}

/* ---- gated ---- */

static int gated_forward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    (void)plan;
    return launch_failed(kernel_gated(cuda_type(op->device), function_of(op), call->x, call->y,
                                      places_of(op, call), op->spec.out.channels, stream_of(op)),
                         op->what, err);
}

static int gated_backward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    (void)plan;
    if (!call->dx) return 0;
    return launch_failed(kernel_gated_gradient(cuda_type(op->device), function_of(op), call->x,
                                               call->dy, call->dx, places_of(op, call),
                                               op->spec.out.channels, stream_of(op)),
                         op->what, err);
}

/* ---- norms ---- */

/* Mean and 1 / deviation of a place. */
static int64_t norm_kept(const OperatorSpec *spec)
{
    return 2 * (int64_t)spec->out.height * spec->out.width;
}

static int norm_plan(Operator *op, CudaPlan *plan, Error *err)
{
    (void)err;
    if (!op->spec.frozen)
        plan->scratch = kernel_layernorm_partials(
            plan->rows * op->spec.out.height * op->spec.out.width, op->spec.out.channels);
    return 0;
}

static KernelLayerNorm norm_of(const Operator *op, const OperatorCall *call)
{
    const Layer *layer = op->spec.layer;

    return (KernelLayerNorm){.places = places_of(op, call), .channels = op->spec.out.channels,
                             .centred = layer->kind == LAYER_LAYERNORM,
                             .type = cuda_type(op->device), .eps = (float)layer->eps,
                             .weight = op->p.own[0], .bias = layer->bias ? op->p.own[1] : NULL,
                             .kept = call->kept};
}

static int norm_forward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    KernelLayerNorm n = norm_of(op, call);

    (void)plan;
    return launch_failed(kernel_layernorm(&n, call->x, call->y, stream_of(op)), op->what, err);
}

static int norm_backward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    KernelLayerNorm n = norm_of(op, call);

    (void)plan;
    if (launch_failed(kernel_layernorm_weights(&n, call->x, call->dy, op->device->scratch,
                                               op->p.own_gradient[0],
                                               n.bias ? op->p.own_gradient[1] : NULL,
                                               stream_of(op)),
                      op->what, err)
        != 0)
        return -1;
    if (!call->dx) return 0;
    return launch_failed(kernel_layernorm_data(&n, call->x, call->dy, call->dx, stream_of(op)),
                         op->what, err);
}

const CudaKind cuda_gelu = {.layer = LAYER_GELU, .forward = forward, .backward = backward};
const CudaKind cuda_silu = {.layer = LAYER_SILU, .forward = forward, .backward = backward};
const CudaKind cuda_tanh = {.layer = LAYER_TANH, .forward = forward, .backward = backward};
const CudaKind cuda_gated = {
    .layer = LAYER_GATED, .forward = gated_forward, .backward = gated_backward};
const CudaKind cuda_layernorm = {.layer = LAYER_LAYERNORM, .kept = norm_kept, .plan = norm_plan,
                                 .forward = norm_forward, .backward = norm_backward};
const CudaKind cuda_rmsnorm = {.layer = LAYER_RMSNORM, .kept = norm_kept, .plan = norm_plan,
                               .forward = norm_forward, .backward = norm_backward};
