/* Operators: the table of kinds, plans for numbers of rows. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/cuda/cuda.h"

static const CudaKind *const kinds[] = {
    &cuda_conv,      &cuda_linear,   &cuda_batchnorm, &cuda_activation, &cuda_maxpool,
    &cuda_avgpool,   &cuda_flatten,  &cuda_embedding, &cuda_tokens,     &cuda_pool,
    &cuda_layernorm, &cuda_rmsnorm,  &cuda_gelu,      &cuda_silu,       &cuda_tanh,
    &cuda_gated,     &cuda_attention};

enum { KIND_COUNT = sizeof kinds / sizeof *kinds };

static const CudaKind *kind_of(LayerKind layer)
{
    for (int i = 0; i < KIND_COUNT; i++)
        if (kinds[i]->layer == layer) return kinds[i];
    return NULL;
}

float cuda_floor(Activation activation) { return activation == ACTIVATION_NONE ? -INFINITY : 0.0f; }
float cuda_limit(Activation activation) { return activation == ACTIVATION_RELU6 ? 6.0f : INFINITY; }

int64_t cuda_operator_kept(const OperatorSpec *spec)
{
    const CudaKind *kind = kind_of(spec->kind);

    return kind && kind->kept && !spec->frozen ? kind->kept(spec) : 0;
}

int cuda_operator_make(Operator **out, Device *device, const OperatorSpec *spec,
                       const OperatorParameters *parameters, Error *err)
{
    const CudaKind *kind = kind_of(spec->kind);
    Operator       *op;

    *out = NULL;
    if (!kind) return error_set(err, "layer %s: of a kind that is not computed here", spec->name);
    op = calloc(1, sizeof *op);
    if (!op) return error_no_memory(err);
    op->kind = kind;
    op->device = cuda_device(device);
    op->spec = *spec;
    op->p = *parameters;
    op->stale = true;
    snprintf(op->what, sizeof op->what, "%s %s", layer_kind_name(spec->kind), spec->name);
    if (kind->make && kind->make(op, err) != 0) { cuda_operator_free(op); return -1; }
    *out = op;
    return 0;
}

static void plan_release(CudaPlan *plan)
{
    gemm_free(&plan->forward);
    gemm_free(&plan->data);
    gemm_free(&plan->weights);
    spatial_free(&plan->spatial);
}

/* Work that is enqueued may still use what is freed: cudaFree() waits for it. */
void cuda_operator_free(Operator *op)
{
    if (!op) return;
    for (int i = 0; i < op->plan_count; i++) plan_release(&op->plan[i]);
    free(op->plan);
    if (op->sums) cudaFree(op->sums);
    cuda_release(op->own);
    free(op);
}

static CudaPlan *plan_find(const Operator *op, int64_t rows)
{
    for (int i = 0; i < op->plan_count; i++)
        if (op->plan[i].rows == rows) return &op->plan[i];
    return NULL;
}

int cuda_operator_prepare(Operator *op, int64_t rows, Error *err)
{
    CudaPlan  plan = {.rows = rows};
    CudaPlan *more;

    if (!op->kind->plan || plan_find(op, rows)) return 0;
    more = realloc(op->plan, (size_t)(op->plan_count + 1) * sizeof *more);
    if (!more) return error_no_memory(err);
    op->plan = more;
    if (op->kind->plan(op, &plan, err) != 0
        || cuda_reserve_scratch(op->device, plan.scratch, err) != 0) {
        plan_release(&plan);
        return -1;
    }
    op->plan[op->plan_count++] = plan;
    return 0;
}

void cuda_operator_changed(Operator *op)
{
    op->stale = true;
}

static int find_plan(CudaPlan **out, Operator *op, const OperatorCall *call, Error *err)
{
    *out = plan_find(op, call->rows);
    if (op->kind->plan && !*out)
        return error_set(err, "%s: not prepared for %lld rows", op->what, (long long)call->rows);
    return cuda_noted(op->device, err);
}

int cuda_operator_forward(Operator *op, const OperatorCall *call, Error *err)
{
    CudaPlan *plan;

    return find_plan(&plan, op, call, err) != 0 ? -1 : op->kind->forward(op, plan, call, err);
}

int cuda_operator_backward(Operator *op, const OperatorCall *call, Error *err)
{
    CudaPlan *plan;

    return find_plan(&plan, op, call, err) != 0 ? -1 : op->kind->backward(op, plan, call, err);
}

OperatorBytes cuda_operator_bytes(const Operator *op, int64_t rows)
{
    const CudaPlan *plan = plan_find(op, rows);

    return (OperatorBytes){
        .weight = op->spec.kind == LAYER_BATCHNORM ? 0 : op->own_count * (int64_t)sizeof(float),
        .scratch = plan ? plan->scratch * (int64_t)sizeof(float) : 0};
}
