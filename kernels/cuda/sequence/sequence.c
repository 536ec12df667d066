/* What makes sequences and ends them as operators: embeddings, tokens of an image's places, one
 * vector of a sequence (sequence.cu). Lengths are in the device's memory. */
#include "kernels/cuda/sequence/sequence.h"

#include "kernels/cuda/cuda.h"

/* Parameters that a kernel of a frozen net only reads, and one of gradients writes. */
static float *own_of(const float *parameter) { return (float *)(uintptr_t)parameter; }

/* ---- embedding ---- */

static KernelEmbedding embedding_of(const Operator *op, int64_t rows, const int *lengths,
                                    const float *const *own)
{
    const Layer    *layer = op->spec.layer;
    int             next = 1;
    KernelEmbedding e = {.rows = rows, .tokens = layer->out.height, .channels = layer->out.channels,
                         .each = layer->in.channels, .vocabulary = layer->vocabulary,
                         .types = layer->types, .type = cuda_type(op->device),
                         .number = own_of(own[0]), .lengths = lengths};

    if (layer->positions) e.place = own_of(own[next++]);
    if (layer->types > 0) e.kind = own_of(own[next]);
    return e;
}

static int embedding_plan(Operator *op, CudaPlan *plan, Error *err)
{
    KernelEmbedding e = embedding_of(op, plan->rows, NULL, op->p.own);

    (void)err;
    if (!op->spec.frozen) plan->scratch = kernel_embedding_scratch(&e);
    return 0;
}

static int embedding_forward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    KernelEmbedding e = embedding_of(op, call->rows, call->lengths, op->p.own);

    (void)plan;
    return launch_failed(kernel_embedding(&e, call->x, call->y, stream_of(op)), op->what, err);
}

static int embedding_backward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    KernelEmbedding e = embedding_of(op, call->rows, call->lengths,
                                     (const float *const *)op->p.own_gradient);

    (void)plan;
    return launch_failed(kernel_embedding_gradient(&e, call->x, call->dy, op->device->scratch,
                                                   stream_of(op)),
                         op->what, err);
}

/* ---- tokens of places ---- */

static KernelTokens tokens_of(const Operator *op, int64_t rows, const float *const *own)
{
    const Layer *layer = op->spec.layer;

    return (KernelTokens){.rows = rows, .tokens = layer->out.height,
                          .channels = layer->out.channels, .type = cuda_type(op->device),
                          .token = layer->class_token ? own_of(own[0]) : NULL,
                          .positions = layer->positions ? own_of(own[layer->class_token]) : NULL};
}

static int tokens_forward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    KernelTokens t = tokens_of(op, call->rows, op->p.own);

    (void)plan;
    return launch_failed(kernel_tokens(&t, call->x, call->y, stream_of(op)), op->what, err);
}

static int tokens_backward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    KernelTokens t = tokens_of(op, call->rows, (const float *const *)op->p.own_gradient);

    (void)plan;
    return launch_failed(kernel_tokens_gradient(&t, call->dy, call->dx, stream_of(op)), op->what,
                         err);
}

/* ---- one vector of a sequence ---- */

static KernelSequencePool pool_of(const Operator *op, const OperatorCall *call)
{
    const Layer *layer = op->spec.layer;

    return (KernelSequencePool){.rows = call->rows, .tokens = layer->in.height,
                                .channels = layer->in.channels,
                                .first = layer->pooling == POOLING_FIRST,
                                .type = cuda_type(op->device), .lengths = call->lengths};
}

static int pool_forward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    KernelSequencePool p = pool_of(op, call);

    (void)plan;
    return launch_failed(kernel_sequence_pool(&p, call->x, call->y, stream_of(op)), op->what, err);
}

static int pool_backward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    KernelSequencePool p = pool_of(op, call);

    (void)plan;
    if (!call->dx) return 0;
    return launch_failed(kernel_sequence_pool_gradient(&p, call->dy, call->dx, stream_of(op)),
                         op->what, err);
}

const CudaKind cuda_embedding = {.layer = LAYER_EMBEDDING, .plan = embedding_plan,
                                 .forward = embedding_forward, .backward = embedding_backward};
const CudaKind cuda_tokens = {
    .layer = LAYER_TOKENS, .forward = tokens_forward, .backward = tokens_backward};
const CudaKind cuda_pool = {
    .layer = LAYER_POOL, .forward = pool_forward, .backward = pool_backward};
