/* Operators: the table of kinds, plans for numbers of rows, weights in oneDNN's orders. */
#include "kernels/cpu/bf16.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/minmax.h"

static const CpuKind *const kinds[] = {
    &cpu_conv,    &cpu_linear,    &cpu_batchnorm, &cpu_activation, &cpu_maxpool,   &cpu_avgpool,
    &cpu_flatten, &cpu_embedding, &cpu_tokens,    &cpu_pool,       &cpu_layernorm, &cpu_rmsnorm,
    &cpu_gelu,    &cpu_silu,      &cpu_tanh,      &cpu_gated,      &cpu_attention};

enum { KIND_COUNT = sizeof kinds / sizeof *kinds };

static const CpuKind *kind_of(LayerKind layer)
{
    for (int i = 0; i < KIND_COUNT; i++)
        if (kinds[i]->layer == layer) return kinds[i];
    return NULL;
}

int64_t operator_kept(const OperatorSpec *spec)
{
    const CpuKind *kind = kind_of(spec->kind);

    return kind && kind->kept && !spec->frozen ? kind->kept(spec) : 0;
}

int operator_make(Operator **out, Device *device, const OperatorSpec *spec,
                  const OperatorParameters *parameters, Error *err)
{
    const CpuKind *kind = kind_of(spec->kind);
    Operator      *op;

    *out = NULL;
    if (!kind) return error_set(err, "layer %s: of a kind that is not computed here", spec->name);
    op = calloc(1, sizeof *op);
    if (!op) return error_no_memory(err);
    op->kind = kind;
    op->device = cpu_device(device);
    op->spec = *spec;
    op->p = *parameters;
    op->stale = true;
    op->bf16 = op->device->bf16;
    snprintf(op->what, sizeof op->what, "%s %s", layer_kind_name(spec->kind), spec->name);
    if (kind->make && kind->make(op, err) != 0) { operator_free(op); return -1; }
    *out = op;
    return 0;
}

static void plan_release(OperatorPlan *plan)
{
    primitive_free(&plan->forward);
    primitive_free(&plan->data);
    primitive_free(&plan->weights);
    primitive_free(&plan->unpack);
}

static void packed_release(Packed *packed)
{
    cpu_release(packed->data);
    primitive_free(&packed->reorder);
    md_free(packed->md);
}

void operator_free(Operator *op)
{
    if (!op) return;
    for (int i = 0; i < op->plan_count; i++) plan_release(&op->plan[i]);
    for (int i = 0; i < op->packed_count; i++) packed_release(&op->packed[i]);
    free(op->plan);
    free(op->sums);
    cpu_release(op->own);
    cpu_release(op->unfolded_bias);
    cpu_release(op->sum);
    free(op);
}

OperatorPlan *operator_plan(const Operator *op, int64_t rows)
{
    for (int i = 0; i < op->plan_count; i++)
        if (op->plan[i].rows == rows) return &op->plan[i];
    return NULL;
}

/* Floats of scratch: what primitives want, and behind it the packed gradient. */
static int64_t plan_scratch(const Operator *op, const OperatorPlan *plan)
{
    int64_t backward = larger(plan->data.scratch, plan->gradient + larger(plan->weights.scratch,
                                                                          plan->unpack.scratch)),
            forward = larger(plan->forward.scratch, plan->scratch);

    return larger(bf16_scratch(op, plan), larger(forward, backward));
}

int operator_prepare(Operator *op, int64_t rows, Error *err)
{
    OperatorPlan plan = {.rows = rows, .forward_packed = -1, .data_packed = -1};
    OperatorPlan *more;

    if (!op->kind->plan || operator_plan(op, rows)) return 0;
    more = realloc(op->plan, (size_t)(op->plan_count + 1) * sizeof *more);
    if (!more) return error_no_memory(err);
    op->plan = more;
    if (op->kind->plan(op, &plan, err) != 0
        || cpu_reserve_scratch(op->device, plan_scratch(op, &plan), err) != 0) {
        plan_release(&plan);
        return -1;
    }
    op->plan[op->plan_count++] = plan;
    return 0;
}

void operator_changed(Operator *op)
{
    op->stale = true;
    for (int i = 0; i < op->packed_count; i++) op->packed[i].stale = true;
}

int operator_forward(Operator *op, const OperatorCall *call, Error *err)
{
    OperatorPlan *plan = operator_plan(op, call->rows);

    if (op->kind->plan && !plan)
        return error_set(err, "%s: not prepared for %lld rows", op->what, (long long)call->rows);
    return op->kind->forward(op, plan, call, err);
}

int operator_backward(Operator *op, const OperatorCall *call, Error *err)
{
    OperatorPlan *plan = operator_plan(op, call->rows);

    if (op->kind->plan && !plan)
        return error_set(err, "%s: not prepared for %lld rows", op->what, (long long)call->rows);
    return op->kind->backward(op, plan, call, err);
}

OperatorBytes operator_bytes(const Operator *op, int64_t rows)
{
    const OperatorPlan   *plan = operator_plan(op, rows);
    OperatorBytes bytes = {.scratch = plan ? plan_scratch(op, plan) * (int64_t)sizeof(float) : 0};

    bytes.weight = (op->sum_count + op->own_count) * (int64_t)sizeof(float);
    for (int i = 0; i < op->packed_count; i++)
        if (op->packed[i].data) bytes.weight += md_count(op->packed[i].md) * (int64_t)sizeof(float);
    return bytes;
}

/* Memory of the order md, and the way there from plain; neither where the parameters serve as they
 * are. */
static int packed_make(Packed *packed, Operator *op, const Md *plain, const Md *md, bool turned,
                       Error *err)
{
    *packed = (Packed){.stale = true, .turned = turned};
    if (dnnl_memory_desc_clone(&packed->md, md) != dnnl_success) return error_no_memory(err);
    if (dnnl_memory_desc_equal(plain, md) && !op->p.norm_weight && !turned) return 0;
    packed->data = cpu_alloc((size_t)md_count(md));
    if (!packed->data) return error_no_memory(err);
    if (primitive_make_reorder(&packed->reorder, op->device, plain, md, err) != 0) return -1;
    return cpu_reserve_scratch(op->device, packed->reorder.scratch, err);
}

/* The number in op->packed of weights in the order md; -1 with why. */
static int packed_find(Operator *op, const Md *plain, const Md *md, bool turned, Error *err)
{
    for (int i = 0; i < op->packed_count; i++)
        if (dnnl_memory_desc_equal(op->packed[i].md, md) && op->packed[i].turned == turned)
            return i;
    if (op->packed_count == PACKED_MAX)
        return error_set(err, "%s: its weights are wanted in too many orders", op->what);
    if (packed_make(&op->packed[op->packed_count], op, plain, md, turned, err) != 0) {
        packed_release(&op->packed[op->packed_count]);
        return -1;
    }
    return op->packed_count++;
}

int64_t operator_weights(const OperatorSpec *spec)
{
    int64_t window =
        spec->kind == LAYER_LINEAR ? 1 : (int64_t)spec->kernel_height * spec->kernel_width;

    return (int64_t)spec->out.channels * (spec->in.channels / spec->groups) * window;
}

bool operator_has_bias(const Operator *op) { return op->p.bias || op->p.norm_weight; }

int weights_forward(Operator *op, OperatorPlan *plan, const Md *x, const Md *y, const Md *plain,
                    const Md *bias, Error *err)
{
    Primitive *p = &plan->forward;
    const Md  *weights = primitive_md(p, dnnl_query_weights_md);

    plan->forward_packed = packed_find(op, plain, weights, false, err);
    if (plan->forward_packed < 0 || primitive_argument(p, op->device, DNNL_ARG_SRC, x, err) != 0
        || primitive_argument(p, op->device, DNNL_ARG_DST, y, err) != 0
        || primitive_argument(p, op->device, DNNL_ARG_WEIGHTS, weights, err) != 0) return -1;
    return bias ? primitive_argument(p, op->device, DNNL_ARG_BIAS, bias, err) : 0;
}

int weights_data(Operator *op, OperatorPlan *plan, const Md *x, const Md *y, const Md *plain,
                 Error *err)
{
    Primitive *p = &plan->data;
    const Md  *weights = primitive_md(p, dnnl_query_weights_md);

    plan->data_packed = packed_find(op, plain, weights, plan->turned, err);
    if (plan->data_packed < 0
        || primitive_argument(p, op->device, plan->turned ? DNNL_ARG_SRC : DNNL_ARG_DIFF_DST, y,
                              err)
               != 0
        || primitive_argument(p, op->device, plan->turned ? DNNL_ARG_DST : DNNL_ARG_DIFF_SRC, x,
                              err)
               != 0)
        return -1;
    return primitive_argument(p, op->device, DNNL_ARG_WEIGHTS, weights, err);
}

/* The weights with each window turned by half a circle, cpu_release() them. */
static float *turn(const Operator *op, const float *weights)
{
    int64_t count = operator_weights(&op->spec),
            places = (int64_t)op->spec.kernel_height * op->spec.kernel_width;
    float  *turned = cpu_alloc((size_t)count);

    for (int64_t i = 0; turned && i < count; i++)
        turned[i] = weights[i - i % places + places - 1 - i % places];
    return turned;
}

static int repack(Operator *op, Packed *packed, const float *plain, Error *err)
{
    float *turned = packed->turned ? turn(op, plain) : NULL;
    int    rc;

    if (packed->turned && !turned) return error_no_memory(err);
    primitive_set(&packed->reorder, DNNL_ARG_FROM, turned ? turned : plain);
    primitive_set(&packed->reorder, DNNL_ARG_TO, packed->data);
    rc = primitive_run(&packed->reorder, op->device, op->what, err);
    cpu_release(turned);
    packed->stale = rc != 0;
    return rc;
}

const float *packed_get(Operator *op, int number, const float *plain, Error *err)
{
    Packed *packed = &op->packed[number];

    if (!packed->data) return plain;
    return packed->stale && repack(op, packed, plain, err) != 0 ? NULL : packed->data;
}
