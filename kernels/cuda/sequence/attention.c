/* Attention as an operator (heads.cu, attention_forward.cu, attention_gradient.cu). own: the table
 * of turns. Scratch: what is loaded of x, as floats, and in backward its gradients. */
#include "kernels/cuda/sequence/attention.h"

#include <stdlib.h>

#include "kernels/cuda/cuda.h"
#include "kernels/rotary.h"

enum { ALIGN = 16 };         /* floats that parts of scratch are aligned to */

static int64_t aligned(int64_t floats) { return (floats + ALIGN - 1) / ALIGN * ALIGN; }

static int put_table(Operator *op, Error *err)
{
    int64_t count = rotary_table_count(op->spec.layer);
    float  *table = malloc((size_t)count * sizeof *table);

    if (!table) return error_no_memory(err);
    op->own = cuda_alloc(op->device, (size_t)count);
    if (!op->own) {
        free(table);
        return cuda_no_memory(&op->device->base, (size_t)count, "rotary positions", err);
    }
    op->own_count = count;
    rotary_table(op->spec.layer, table);
    backend_cuda.put(&op->device->base, op->own, table, count);
    free(table);
    return cuda_noted(op->device, err);
}

static int make(Operator *op, Error *err)
{
    int dim = op->spec.layer->attention.head_dim;

    if (dim > KERNEL_HEAD_DIM_MAX)
        return error_set(err, "%s: heads of %d numbers: cuda devices compute at most %d", op->what,
                         dim, KERNEL_HEAD_DIM_MAX);
    return rotary_table_count(op->spec.layer) > 0 ? put_table(op, err) : 0;
}

static int64_t kept_row(const OperatorSpec *spec)
{
    return aligned((int64_t)spec->layer->attention.heads * spec->in.height);
}

/* Places in scratch; end: of all. What only backward needs comes last. */
typedef struct {
    int64_t query, key, query_inverse, key_inverse, dquery, dkey, delta, partial, end;
} AttentionScratch;

static KernelHeads queries_of(const Operator *op, int64_t rows)
{
    const Layer     *layer = op->spec.layer;
    const Attention *a = &layer->attention;

    return (KernelHeads){.rows = rows, .stride = layer->in.channels, .tokens = layer->in.height,
                         .heads = a->heads, .dim = a->head_dim, .half = a->rotary.dim / 2,
                         .type = cuda_type(op->device), .table = op->own,
                         .weight = a->norm ? op->p.own[0] : NULL, .eps = (float)layer->eps,
                         .scale = (float)(1.0 / sqrt((double)a->head_dim))};
}

static KernelHeads keys_of(const Operator *op, int64_t rows)
{
    const Attention *a = &op->spec.layer->attention;
    KernelHeads      keys = queries_of(op, rows);

    keys.first = a->heads * a->head_dim;
    keys.heads = a->kv_heads;
    keys.weight = a->norm ? op->p.own[1] : NULL;
    keys.scale = 1.0f;
    return keys;
}

/* Where things lie in the device's scratch, in floats from its start, each aligned: heads turned
 * and normed of queries and keys; of a net that trains also their inverse norms, gradients, delta
 * ([rows][heads][tokens]) and partial sums of the norms' weights. end: floats in all. */
static AttentionScratch scratch_of(const Operator *op, int64_t rows)
{
    const Attention *a = &op->spec.layer->attention;
    KernelHeads      queries = queries_of(op, rows), keys = keys_of(op, rows);
    int64_t places = rows * op->spec.in.height,
        of_queries = aligned(places * a->heads * a->head_dim),
        of_keys = aligned(places * a->kv_heads * a->head_dim),
        query_heads = aligned(places * a->heads), key_heads = aligned(places * a->kv_heads),
        of_query_parts = kernel_heads_partials(&queries),
        of_key_parts = kernel_heads_partials(&keys);
    AttentionScratch s = {.query = 0, .key = of_queries};

    s.query_inverse = s.end = s.key + of_keys;
    if (op->spec.frozen) return s;
    s.key_inverse = s.query_inverse + (a->norm ? query_heads : 0);
    s.dquery = s.key_inverse + (a->norm ? key_heads : 0);
    s.dkey = s.dquery + of_queries;
    s.delta = s.dkey + of_keys;
    s.partial = s.delta + query_heads;
    s.end =
        s.partial
        + (a->norm ? aligned(of_query_parts > of_key_parts ? of_query_parts : of_key_parts) : 0);
    return s;
}

static int plan(Operator *op, CudaPlan *plan, Error *err)
{
    (void)err;
    plan->scratch = scratch_of(op, plan->rows).end;
    return 0;
}

static KernelAttention attention_of(const Operator *op, const OperatorCall *call,
                                    const AttentionScratch *at)
{
    const Layer     *layer = op->spec.layer;
    const Attention *a = &layer->attention;

    return (KernelAttention){.rows = call->rows, .stride = layer->in.channels,
                             .tokens = layer->in.height, .heads = a->heads,
                             .kv_heads = a->kv_heads, .dim = a->head_dim, .causal = a->causal,
                             .window = a->window, .type = cuda_type(op->device),
                             .lengths = call->lengths, .query = op->device->scratch + at->query,
                             .key = op->device->scratch + at->key, .kept = call->kept,
                             .kept_row = kept_row(&op->spec)};
}

/* Queries and keys to scratch; with a norm also 1 / deviation, where backward wants it. */
static int load(const Operator *op, KernelHeads *queries, KernelHeads *keys,
                const AttentionScratch *at, const float *x, bool backward, Error *err)
{
    float *scratch = op->device->scratch;

    if (backward && queries->weight) {
        queries->inverse = scratch + at->query_inverse;
        keys->inverse = scratch + at->key_inverse;
    }
    if (launch_failed(kernel_heads(queries, x, scratch + at->query, stream_of(op)), op->what, err)
        != 0)
        return -1;
    return launch_failed(kernel_heads(keys, x, scratch + at->key, stream_of(op)), op->what, err);
}

static int forward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    AttentionScratch at = scratch_of(op, call->rows);
    KernelHeads      queries = queries_of(op, call->rows), keys = keys_of(op, call->rows);
    KernelAttention  a = attention_of(op, call, &at);

    (void)plan;
    if (load(op, &queries, &keys, &at, call->x, false, err) != 0) return -1;
    return launch_failed(kernel_attention(&a, call->x, call->y, stream_of(op)), op->what, err);
}

/* d, gradients of what was loaded, go to dx and to the norm's weight. */
static int heads_backward(const Operator *op, const KernelHeads *h, const OperatorCall *call,
                          const float *d, float *partial, float *dweight, Error *err)
{
    if (h->weight
        && launch_failed(kernel_heads_weights(h, call->x, d, partial, dweight, stream_of(op)),
                         op->what, err)
               != 0)
        return -1;
    if (!call->dx) return 0;
    return launch_failed(kernel_heads_gradient(h, call->x, d, call->dx, stream_of(op)), op->what,
                         err);
}

/* Turns and norms heads again, then gradients of heads, and from these of x and the norms' weights;
 * values' go to dx at once. Nothing to do where neither x nor a norm learns. */
static int backward(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err)
{
    AttentionScratch at = scratch_of(op, call->rows);
    KernelHeads      queries = queries_of(op, call->rows), keys = keys_of(op, call->rows);
    KernelAttention  a = attention_of(op, call, &at);
    float           *scratch = op->device->scratch, *dquery = scratch + at.dquery,
          *dkey = scratch + at.dkey, *partial = scratch + at.partial;

    (void)plan;
    if (!call->dx && !queries.weight) return 0;
    if (load(op, &queries, &keys, &at, call->x, true, err) != 0
        || launch_failed(kernel_attention_gradient(&a, call->x, call->y, call->dy,
                                                   scratch + at.delta, dquery, dkey, call->dx,
                                                   stream_of(op)),
                         op->what, err)
               != 0)
        return -1;
    if (heads_backward(op, &queries, call, dquery, partial, op->p.own_gradient[0], err) != 0)
        return -1;
    return heads_backward(op, &keys, call, dkey, partial, op->p.own_gradient[1], err);
}

const CudaKind cuda_attention = {.layer = LAYER_ATTENTION, .kept = kept_row, .make = make,
                                 .plan = plan, .forward = forward, .backward = backward};
