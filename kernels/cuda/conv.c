/* Convolution and linear layers, three ways:
 *
 *     depthwise    our kernels (depthwise.cu), bias and activation in the same pass
 *     pointwise    1x1 and linear: a product of matrices by cuBLASLt, since channels come last,
 *                  [pixels][out] = [pixels][in] [out][in]^T
 *     spatial      all else: cuDNN, with weights as [out][kernel][kernel][in]
 *
 * In a frozen net the batch norm behind it is folded into weights and bias. With bf16, pointwise
 * and spatial read copies of the weights in bfloat16; sums are float32, and so are weight gradients
 * of products; those of cuDNN are bfloat16 on their way.
 *
 * own: weights as they are used, [folded][turned][half], the folded bias and its copy in bfloat16,
 * each where it is needed. */
#include "kernels/cuda/cuda.h"

enum { ALIGN = 64 };         /* floats that parts of memory are aligned to */

static int64_t aligned(int64_t floats) { return (floats + ALIGN - 1) / ALIGN * ALIGN; }
/* floats that count bfloat16 fill */
static int64_t halves(int64_t count) { return aligned((count + 1) / 2); }

/* Our kernels read float32 weights, whatever tensors are of. */
static bool uses_half(const Operator *op)
{
    return cuda_half(op->device) && conv_method(&op->spec) != DEPTHWISE;
}

static int64_t window_of(const OperatorSpec *s)
{
    return s->kind == LAYER_LINEAR ? 1 : (int64_t)s->kernel_height * s->kernel_width;
}

static int64_t weights_count(const OperatorSpec *s)
{
    return (int64_t)s->out.channels * (s->in.channels / s->groups) * window_of(s);
}

/* ---- weights ---- */

/* Places in own; -1: not needed. */
typedef struct { int64_t folded, turned, half, bias, half_bias, count; } Places;

static bool has_bias(const Operator *op) { return op->p.bias || op->p.norm_weight; }

static Places places_of(const Operator *op)
{
    int64_t count = aligned(weights_count(&op->spec));
    Places  p = {-1, -1, -1, -1, -1, 0};

    if (op->p.norm_weight) { p.folded = p.count; p.count += count; }
    if (conv_method(&op->spec) == SPATIAL) { p.turned = p.count; p.count += count; }
    if (uses_half(op)) { p.half = p.count; p.count += halves(weights_count(&op->spec)); }
    if (op->p.norm_weight) { p.bias = p.count; p.count += aligned(op->spec.out.channels); }
    if (uses_half(op) && has_bias(op) && conv_method(&op->spec) == POINTWISE) {
        p.half_bias = p.count;
        p.count += halves(op->spec.out.channels);
    }
    return p;
}

static int make(Operator *op, Error *err)
{
    const OperatorSpec *s = &op->spec;

    if (s->kind == LAYER_LINEAR && s->in.width != 1)
        return error_set(
            err,
            "%s: its input is neither a vector nor a sequence (%dx%dx%d); put a flatten before it",
            op->what, s->in.channels, s->in.height, s->in.width);
    op->own_count = places_of(op).count;
    if (op->own_count == 0) return 0;
    op->own = cuda_alloc(op->device, (size_t)op->own_count);
    return op->own ? 0 : error_set(err, "%s: the GPU's memory is full", op->what);
}

static const float *bias_of(const Operator *op)
{
    return op->p.norm_weight ? op->own + places_of(op).bias : op->p.bias;
}

/* A graph that is recorded will run after updates that nobody tells it of. */
static bool is_recorded(const Operator *op)
{
    enum cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;

    return cudaStreamIsCapturing(stream_of(op), &status) == cudaSuccess
           && status != cudaStreamCaptureStatusNone;
}

/* The weights as kernels and libraries read them, made anew where parameters changed. NULL:
 * failed. */
static const void *weights_of(Operator *op, Error *err)
{
    const OperatorSpec *s = &op->spec;
    Places              at = places_of(op);
    const float        *w = op->p.weight;
    cudaStream_t        stream = stream_of(op);
    int64_t             each = weights_count(s) / s->out.channels;
    KernelNorm          n = {.channels = s->out.channels, .weight = op->p.norm_weight,
                             .bias = op->p.norm_bias, .mean = op->p.norm_mean,
                             .variance = op->p.norm_variance, .eps = s->norm_eps};
    int                 rc = 0;

    if (at.folded >= 0) {
        if (op->stale)
            rc = launch_failed(kernel_fold(&n, w, op->p.bias, each, op->own + at.folded,
                                           op->own + at.bias, stream),
                               op->what, err);
        w = op->own + at.folded;
    }
    if (at.turned >= 0) {
        if (op->stale && rc == 0)
            rc = launch_failed(kernel_transpose(KERNEL_FLOAT, w, op->own + at.turned,
                                                s->out.channels, s->in.channels / s->groups,
                                                window_of(s), stream),
                               op->what, err);
        w = op->own + at.turned;
    }
    if (at.half >= 0) {
        if (op->stale && rc == 0)
            rc = launch_failed(kernel_to_bf16(op->own + at.half, w, weights_count(s), stream),
                               op->what, err);
        w = op->own + at.half;
    }
    if (at.half_bias >= 0 && op->stale && rc == 0)
        rc = launch_failed(
            kernel_to_bf16(op->own + at.half_bias, bias_of(op), s->out.channels, stream), op->what,
            err);
    if (rc != 0) return NULL;
    op->stale = false;
    return w;
}

/* ---- plans ---- */

static int64_t out_count(const Operator *op, int64_t rows)
{
    return rows * shape_count(op->spec.out);
}
static int64_t pixels_of(const Operator *op, int64_t rows)
{
    return rows * op->spec.out.height * op->spec.out.width;
}

/* cuBLASLt adds the bias, and cuts for ReLU; a cut at 6 needs a pass of ours. */
static int plan_pointwise(Operator *op, CudaPlan *plan, Error *err)
{
    const OperatorSpec *s = &op->spec;
    int64_t in = s->in.channels, out = s->out.channels, pixels = pixels_of(op, plan->rows);
    bool                half = uses_half(op);
    /* bfloat16 is never the caller's */
    int                 align = half || (in % 4 == 0 && out % 4 == 0) ? 16 : 4;
    GemmShape           forward = {.m = out, .n = pixels, .k = in, .transpose_a = true,
                                   .half = half, .half_out = half, .bias = has_bias(op),
                                   .relu = has_bias(op) && s->activation == ACTIVATION_RELU,
                                   .align = align};
    GemmShape           data = {
                  .m = in, .n = pixels, .k = out, .half = half, .half_out = half, .align = align};
    GemmShape weights = {
        .m = in, .n = out, .k = pixels, .transpose_b = true, .half = half, .align = align};

    if (gemm_make(&plan->forward, op->device, &forward, op->what, err) != 0) return -1;
    if (s->frozen) return 0;
    if (gemm_make(&plan->weights, op->device, &weights, op->what, err) != 0) return -1;
    return s->data_gradient ? gemm_make(&plan->data, op->device, &data, op->what, err) : 0;
}

static size_t most_workspace(const CudaPlan *plan)
{
    size_t most = spatial_workspace(&plan->spatial);

    if (plan->forward.choice.workspace > most) most = plan->forward.choice.workspace;
    if (plan->data.choice.workspace > most) most = plan->data.choice.workspace;
    return plan->weights.choice.workspace > most ? plan->weights.choice.workspace : most;
}

static KernelDepthwise depthwise_of(const Operator *op, int64_t rows)
{
    const OperatorSpec *s = &op->spec;

    return (KernelDepthwise){rows,          s->in.channels,       s->in.height,     s->in.width,
                             s->out.height, s->out.width,         s->kernel_height, s->stride,
                             s->padding,    cuda_type(op->device)};
}

/* Where cuDNN's weight gradient stands in scratch, floats, in float32 and before in bfloat16;
 * behind the workspace. */
typedef struct { int64_t weights, half_weights, end; } Scratch;

static Scratch scratch_of(const Operator *op, const CudaPlan *plan)
{
    Scratch s = {.weights = plan->workspace};
    bool    spatial = conv_method(&op->spec) == SPATIAL && !op->spec.frozen;

    s.half_weights = s.weights + (spatial ? aligned(weights_count(&op->spec)) : 0);
    s.end = s.half_weights + (spatial && uses_half(op) ? halves(weights_count(&op->spec)) : 0);
    return s;
}

/* Floats of the bias' partial sums; behind them is room for a gradient that is added. */
static int64_t bias_partials(const Operator *op, int64_t rows)
{
    return aligned(kernel_channel_partials(pixels_of(op, rows), op->spec.out.channels));
}

/* Sums of channels and of windows use what the libraries have as workspace. */
static int plan(Operator *op, CudaPlan *plan, Error *err)
{
    ConvMethod          method = conv_method(&op->spec);
    KernelDepthwise d = depthwise_of(op, plan->rows);
    int64_t         sums = 0;

    if (method == POINTWISE && plan_pointwise(op, plan, err) != 0) return -1;
    if (method == SPATIAL
        && spatial_make(&plan->spatial, op->device, &op->spec, plan->rows, uses_half(op), op->what,
                        err)
               != 0)
        return -1;
    if (op->p.bias_gradient)
        sums = bias_partials(op, plan->rows) + aligned(op->spec.out.channels);
    if (method == DEPTHWISE && !op->spec.frozen && kernel_depthwise_partials(&d) > sums)
        sums = kernel_depthwise_partials(&d);
    plan->workspace =
        aligned((int64_t)((most_workspace(plan) + sizeof(float) - 1) / sizeof(float)));
    if (aligned(sums) > plan->workspace) plan->workspace = aligned(sums);
    plan->scratch = scratch_of(op, plan).end;
    /* not in a step, if they are there */
    return op->spec.frozen && !weights_of(op, err) ? -1 : 0;
}

/* ---- calls ---- */

static int forward_depthwise(Operator *op, const OperatorCall *call, const float *w, Error *err)
{
    KernelDepthwise d = depthwise_of(op, call->rows);

    return launch_failed(
        kernel_depthwise(&d, call->x, w, bias_of(op), call->y, cuda_floor(op->spec.activation),
                         cuda_limit(op->spec.activation), stream_of(op)),
        op->what, err);
}

/* y, with bias and activation, by the method that suits the convolution: depthwise, a matrix
 * product, or cuDNN. */
static int forward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    const OperatorSpec *s = &op->spec;
    Places              at = places_of(op);
    float              *scratch = op->device->scratch;
    const void         *w, *bias = at.half_bias >= 0 ? op->own + at.half_bias : bias_of(op);
    cudaStream_t        stream = stream_of(op);
    KernelType          type = cuda_type(op->device);
    bool                cuts = s->activation != ACTIVATION_NONE;

    if (!s->frozen && is_recorded(op)) op->stale = true;
    if (!(w = weights_of(op, err))) return -1;
    if (conv_method(s) == DEPTHWISE) return forward_depthwise(op, call, w, err);
    if (conv_method(s) == POINTWISE) {
        if (gemm_run(&plan->forward, op->device, w, call->x, call->y, bias, scratch, op->what, err)
            != 0)
            return -1;
        if (!cuts || (has_bias(op) && s->activation == ACTIVATION_RELU)) return 0;
        return launch_failed(kernel_activation(type, call->y, call->y, out_count(op, call->rows),
                                               cuda_limit(s->activation), stream),
                             op->what, err);
    }
    if (spatial_forward(&plan->spatial, op->device, call->x, w, call->y, scratch, op->what, err)
        != 0)
        return -1;
    if (!has_bias(op) && !cuts) return 0;
    return launch_failed(kernel_bias(type, call->y, bias_of(op), pixels_of(op, call->rows),
                                     s->out.channels, cuda_floor(s->activation),
                                     cuda_limit(s->activation), stream),
                         op->what, err);
}

/* cuDNN's gradient, turned back to PyTorch's order. */
static int spatial_gradient(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    const OperatorSpec *s = &op->spec;
    Scratch             at = scratch_of(op, plan);
    float              *scratch = op->device->scratch, *turned = scratch + at.weights;
    void               *half = scratch + at.half_weights;
    cudaStream_t        stream = stream_of(op);

    if (spatial_weights(&plan->spatial, op->device, call->x, call->dy,
                        uses_half(op) ? half : turned, scratch, op->what, err)
        != 0)
        return -1;
    if (uses_half(op)
        && launch_failed(kernel_from_bf16(turned, half, weights_count(s), stream), op->what, err)
               != 0)
        return -1;
    return launch_failed(kernel_transpose(KERNEL_FLOAT, turned, op->p.weight_gradient,
                                          s->out.channels, window_of(s), s->in.channels / s->groups,
                                          stream),
                         op->what, err);
}

static int bias_gradient(Operator *op, const OperatorCall *call, Error *err)
{
    int          channels = op->spec.out.channels;
    float       *partial = op->device->scratch, *more = partial + bias_partials(op, call->rows);
    cudaStream_t stream = stream_of(op);

    if (launch_failed(kernel_channel_sums(cuda_type(op->device), call->dy,
                                          pixels_of(op, call->rows), channels, partial,
                                          call->add ? more : op->p.bias_gradient, stream),
                      op->what, err)
        != 0)
        return -1;
    if (!call->add) return 0;
    return launch_failed(kernel_add(KERNEL_FLOAT, op->p.bias_gradient, more, channels, stream),
                         op->what, err);
}

static int weight_gradient(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    KernelDepthwise d = depthwise_of(op, call->rows);
    float          *scratch = op->device->scratch;

    if (conv_method(&op->spec) == DEPTHWISE)
        return launch_failed(kernel_depthwise_weights(&d, call->x, call->dy, scratch,
                                                      op->p.weight_gradient,
                                                      stream_of(op)),
                             op->what, err);
    if (conv_method(&op->spec) == SPATIAL) return spatial_gradient(op, plan, call, err);
    if (call->add)
        return gemm_add(&plan->weights, op->device, call->x, call->dy, op->p.weight_gradient,
                        scratch, op->what, err);
    return gemm_run(&plan->weights, op->device, call->x, call->dy, op->p.weight_gradient, NULL,
                    scratch, op->what, err);
}

static int data_gradient(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    KernelDepthwise d = depthwise_of(op, call->rows);
    float          *scratch = op->device->scratch;
    const void     *w = weights_of(op, err);
    cudaStream_t    stream = stream_of(op);

    if (!w) return -1;
    if (conv_method(&op->spec) == DEPTHWISE)
        return launch_failed(kernel_depthwise_data(&d, call->dy, w, call->dx, stream), op->what,
                             err);
    if (conv_method(&op->spec) == POINTWISE)
        return gemm_run(&plan->data, op->device, w, call->dy, call->dx, NULL, scratch, op->what,
                        err);
    return spatial_data(&plan->spatial, op->device, call->dy, w, call->dx, scratch, op->what, err);
}

/* dy becomes the gradient before the activation in place; then the gradients of bias and weights,
 * and dx unless it is NULL. All on the compute stream, with the device's scratch. */
static int backward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    const OperatorSpec *s = &op->spec;
    cudaStream_t        stream = stream_of(op);
    KernelType          type = cuda_type(op->device);

    if (s->activation != ACTIVATION_NONE
        && launch_failed(kernel_activation_gradient(type, call->y, call->dy, call->dy,
                                                    out_count(op, call->rows),
                                                    cuda_limit(s->activation), stream),
                         op->what, err)
               != 0)
        return -1;
    if (op->p.bias_gradient && bias_gradient(op, call, err) != 0) return -1;
    if (weight_gradient(op, plan, call, err) != 0) return -1;
    return call->dx ? data_gradient(op, plan, call, err) : 0;
}

const CudaKind cuda_conv = {
    .layer = LAYER_CONV, .make = make, .plan = plan, .forward = forward, .backward = backward};
const CudaKind cuda_linear = {
    .layer = LAYER_LINEAR, .make = make, .plan = plan, .forward = forward, .backward = backward};
