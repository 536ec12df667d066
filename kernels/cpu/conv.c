/* Convolution: plain, grouped, depthwise, pointwise. In a frozen net the batch norm behind it
 * is folded into weights and bias:
 *
 *     w' = w g / sqrt(v + e)      b' = beta + (b - mean) g / sqrt(v + e) */
#include "kernels/cpu/bf16.h"

#include <math.h>
#include <string.h>

#include "base/minmax.h"
#include "kernels/cpu/conv.h"
#include "kernels/cpu/depthwise.h"
#include "kernels/cpu/passes.h"

/* Weights in PyTorch's order or in any; a dimension more where there are groups. */
static Md *weights_md(const OperatorSpec *spec, bool any)
{
    int        groups = spec->groups;
    dnnl_dim_t grouped[] = {groups, spec->out.channels / groups, spec->in.channels / groups,
                            spec->kernel_height, spec->kernel_width};
    dnnl_dim_t plain[] = {spec->out.channels, spec->in.channels, spec->kernel_height,
                          spec->kernel_width};

    return groups > 1 ? md_new(5, grouped, any ? dnnl_format_tag_any : dnnl_goihw)
                      : md_new(4, plain, any ? dnnl_format_tag_any : dnnl_oihw);
}

/* A trained depthwise convolution all of whose passes are our own loops: above 3x3, on maps that
 * are wide enough, they take two thirds of the time of oneDNN's kernels (bench/results/nas.md). */
static bool is_own(const Operator *op)
{
    const OperatorSpec *spec = &op->spec;

    return !spec->frozen && spec->activation == ACTIVATION_NONE && !operator_has_bias(op)
           && depthwise_fits(spec) && spec->kernel_width > 3 && spec->out.width >= 8;
}

static int make(Operator *op, Error *err)
{
    if (is_own(op)) return depthwise_make(op, err);
    if (!op->p.norm_weight) return 0;
    op->own = cpu_alloc((size_t)op->spec.out.channels);
    return op->own ? 0 : error_no_memory(err);
}

/* ---- weights ---- */

/* Weights with the norm in them, cpu_release() them; the bias goes to op->own. */
static float *fold(Operator *op)
{
    const OperatorSpec       *spec = &op->spec;
    const OperatorParameters *p = &op->p;
    int64_t each = operator_weights(spec) / spec->out.channels;
    float  *folded = cpu_alloc((size_t)operator_weights(spec));

    for (int c = 0; folded && c < spec->out.channels; c++) {
        float scale = p->norm_weight[c] / sqrtf(p->norm_variance[c] + (float)spec->norm_eps);

        op->own[c] = p->norm_bias[c] + ((p->bias ? p->bias[c] : 0.0f) - p->norm_mean[c]) * scale;
        for (int64_t i = 0; i < each; i++) folded[c * each + i] = p->weight[c * each + i] * scale;
    }
    return folded;
}

static bool unfolds(const Operator *op, const OperatorPlan *plan)
{
    return plan->bf16[PASS_FORWARD] && bf16_unfolds(&op->spec);
}

static const float *forward_bias(const Operator *op, const OperatorPlan *plan)
{
    if (unfolds(op, plan)) return op->unfolded_bias;
    return op->p.norm_weight ? op->own : op->p.bias;
}

/* A matrix of weights with the norm in them, cpu_release() it. */
static float *unfold(Operator *op)
{
    float *folded = op->p.norm_weight ? fold(op) : NULL, *matrix;

    if (op->p.norm_weight && !folded) return NULL;
    matrix = bf16_unfold(op, folded ? folded : op->p.weight, folded ? op->own : op->p.bias);
    cpu_release(folded);
    return matrix;
}

/* The weights of forward as packed; a norm is folded into a copy, which is gone afterwards. */
static const float *forward_weights(Operator *op, const OperatorPlan *plan, Error *err)
{
    const float *weights;
    float       *changed;

    if ((!op->p.norm_weight && !unfolds(op, plan)) || !op->packed[plan->forward_packed].stale)
        return packed_get(op, plan->forward_packed, op->p.weight, err);
    changed = unfolds(op, plan) ? unfold(op) : fold(op);
    if (!changed) { error_no_memory(err); return NULL; }
    weights = packed_get(op, plan->forward_packed, changed, err);
    cpu_release(changed);
    return weights;
}

/* ---- plans ---- */

/* From so many weights on, plain products take less time than oneDNN's convolutions with what those
 * need besides: weights copied into an order of their own after each update, a gradient copied back
 * out of it, and parts of it that are added (bench/results/nas.md). */
enum { PRODUCT_LEAST = 1 << 14 };

/* Whether dw = dy' x and dx = dy w of a trained convolution are plain products of matrices. */
static bool is_product(const Operator *op)
{
    const OperatorSpec *spec = &op->spec;

    return !spec->frozen && spec->groups == 1 && spec->kernel_width == 1 && spec->kernel_height == 1
           && spec->stride == 1 && spec->padding == 0 && !operator_has_bias(op)
           && operator_weights(spec) >= PRODUCT_LEAST;
}

/* Free it also after an error. */
static int shapes_make(PassShapes *s, const Operator *op, int64_t rows, Error *err)
{
    const OperatorSpec *spec = &op->spec;
    dnnl_dim_t          bias[] = {spec->out.channels};

    *s = (PassShapes){.x = md_rows(rows, spec->in), .y = md_rows(rows, spec->out),
                      .weights = weights_md(spec, true), .plain = weights_md(spec, false),
                      .bias = operator_has_bias(op) ? md_new(1, bias, dnnl_a) : NULL,
                      .stride = {spec->stride, spec->stride},
                      .padding = {spec->padding, spec->padding}};
    return pass_shapes_check(s, operator_has_bias(op), err);
}

/* On maps of 4x4 and less with many channels oneDNN's first choice ("brgconv", in 3.x
 * "brg_conv_fwd") takes 1.2 to 3 times as long as its second (bench/results/onednn.md). */
static const char *avoided(const OperatorSpec *spec)
{
    bool many = spec->in.channels >= 256 || spec->out.channels >= 256;

    return spec->kernel_width > 1 && spec->groups == 1 && spec->out.width <= 4 && many ? "brg"
                                                                                       : NULL;
}

static bool begins_with(const_dnnl_primitive_desc_t desc, const char *prefix)
{
    const char *name = "";

    dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name);
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* The next implementation in oneDNN's order instead of one called avoid, if that is compiled to
 * machine code ("jit") too, or `any` will do. */
static dnnl_status_t pass_over(dnnl_primitive_desc_t *desc, const char *avoid, bool any)
{
    dnnl_primitive_desc_t first;
    dnnl_status_t         status;

    if (!begins_with(*desc, avoid)) return dnnl_success;
    if ((status = dnnl_primitive_desc_clone(&first, *desc)) != dnnl_success) return status;
    if (pass_next(desc) == dnnl_success && (any || begins_with(*desc, "jit")))
        return dnnl_primitive_desc_destroy(first);
    dnnl_primitive_desc_destroy(*desc);
    *desc = first;
    return dnnl_success;
}

static int plan_forward(Operator *op, OperatorPlan *plan, const PassShapes *s, Error *err)
{
    dnnl_primitive_attr_t attr = attr_new(op->spec.activation, err);
    Primitive            *p = &plan->forward;
    const char           *avoid = avoided(&op->spec);
    dnnl_status_t         status;

    if (!attr) return -1;
    status = pass_forward(&p->desc, op, s, attr);
    dnnl_primitive_attr_destroy(attr);
    if (status == dnnl_success && avoid) status = pass_over(&p->desc, avoid, false);
    if (primitive_make(p, op->device, status, op->what, err) != 0) return -1;
    return weights_forward(op, plan, s->x, s->y, s->plain, s->bias, err);
}

/* A depthwise convolution's dx, of stride 1, is a forward over dy with each window turned by half a
 * circle. oneDNN has a kernel for forward alone ("brdgmm") that takes half the time of the one for
 * dx (bench/results/onednn.md). False: it has not here. */
static bool describe_turned(dnnl_primitive_desc_t *out, const Operator *op, const PassShapes *s,
                            dnnl_primitive_attr_t attr)
{
    const OperatorSpec *spec = &op->spec;
    int                 around = spec->kernel_width - 1 - spec->padding;
    PassShapes          turned = {.x = s->y, .y = s->x, .weights = s->weights, .stride = {1, 1},
                                  .padding = {around, around}};

    if (spec->groups != spec->in.channels || spec->groups != spec->out.channels || spec->stride != 1
        || spec->groups == 1 || around < 0 || spec->kernel_width != spec->kernel_height
        || pass_forward(out, op, &turned, attr) != dnnl_success)
        return false;
    if (begins_with(*out, "brdgmm")) return true;
    dnnl_primitive_desc_destroy(*out);
    *out = NULL;
    return false;
}

static int plan_data(Operator *op, OperatorPlan *plan, const PassShapes *s,
                     dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr, Error *err)
{
    Primitive    *p = &plan->data;
    dnnl_status_t status = dnnl_success;

    if (is_product(op)) return 0;
    plan->turned = describe_turned(&p->desc, op, s, attr);
    if (!plan->turned) status = pass_data(&p->desc, op, s, hint, attr);
    if (primitive_make(p, op->device, status, op->what, err) != 0) return -1;
    return weights_data(op, plan, s->x, s->y, s->plain, err);
}

/* Of a pointwise convolution with a stride and fewer than eight input channels oneDNN's kernel for
 * AVX2 (2.6 to 3.12 at least) writes past what it has for each thread: with several, sums are
 * wrong. */
static bool is_wrong_on_avx2(const OperatorSpec *spec)
{
    return spec->kernel_width == 1 && spec->kernel_height == 1 && spec->stride > 1
           && spec->in.channels / spec->groups < 8;
}

/* By oneDNN, or by our own loops where it has none for depthwise convolutions. */
static int plan_weights(Operator *op, OperatorPlan *plan, const PassShapes *s,
                        dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr, Error *err)
{
    Primitive    *p = &plan->weights;
    const Md     *gradient;
    dnnl_status_t status;

    if (is_product(op)) return 0;
    status = pass_weights(&p->desc, op, s, hint, attr);
    if (status == dnnl_success && is_wrong_on_avx2(&op->spec))
        status = pass_over(&p->desc, "jit_1x1:avx2", true);
    plan->depthwise =
        depthwise_fits(&op->spec) && (status != dnnl_success || !begins_with(p->desc, "jit_dw"));
    if (plan->depthwise) {
        primitive_free(p);
        plan->scratch = depthwise_scratch(op);
        return 0;
    }
    if (primitive_make(p, op->device, status, op->what, err) != 0) return -1;
    gradient = primitive_md(p, dnnl_query_diff_weights_md);
    if (primitive_argument(p, op->device, DNNL_ARG_SRC, s->x, err) != 0 ||
        primitive_argument(p, op->device, DNNL_ARG_DIFF_DST, s->y, err) != 0 ||
        primitive_argument(p, op->device, DNNL_ARG_DIFF_WEIGHTS, gradient, err) != 0 ||
        (s->bias && primitive_argument(p, op->device, DNNL_ARG_DIFF_BIAS, s->bias, err) != 0))
        return -1;
    if (dnnl_memory_desc_equal(gradient, s->plain)) return 0;
    plan->gradient = md_count(gradient);
    return primitive_make_reorder(&plan->unpack, op->device, gradient, s->plain, err);
}

static int plan(Operator *op, OperatorPlan *plan, Error *err)
{
    PassShapes s;
    int        rc;

    if (is_own(op)) {
        plan->depthwise = true;
        plan->scratch = depthwise_scratch(op);
        return 0;
    }
    rc = shapes_make(&s, op, plan->rows, err);
    if (is_product(op)) products_make_ready();
    if (rc == 0) rc = bf16_plan(op, plan, err);
    if (rc == 0 && !plan->bf16[PASS_FORWARD]) rc = plan_forward(op, plan, &s, err);
    /* not in a step, if they are there */
    if (rc == 0 && op->spec.frozen) rc = forward_weights(op, plan, err) ? 0 : -1;
    else if (rc == 0) rc = passes_plan_backward(op, plan, &s, plan_weights, plan_data, err);
    pass_shapes_free(&s);
    return rc;
}

/* ---- calls ---- */

static int forward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    Primitive   *p = &plan->forward;
    const float *weights, *bias = forward_bias(op, plan);

    if (is_own(op)) { depthwise_forward(op, call); return 0; }
    weights = forward_weights(op, plan, err);
    if (!weights) return -1;
    if (plan->bf16[PASS_FORWARD]) return bf16_forward(op, plan, call, weights, bias, err);
    primitive_set(p, DNNL_ARG_SRC, call->x);
    primitive_set(p, DNNL_ARG_DST, call->y);
    primitive_set(p, DNNL_ARG_WEIGHTS, weights);
    primitive_set(p, DNNL_ARG_BIAS, bias);
    return primitive_run(p, op->device, op->what, err);
}

static int unpack(Operator *op, OperatorPlan *plan, const float *from, float *to, Error *err)
{
    primitive_set(&plan->unpack, DNNL_ARG_FROM, from);
    primitive_set(&plan->unpack, DNNL_ARG_TO, to);
    return primitive_run(&plan->unpack, op->device, op->what, err);
}

/* Adds parts up where the sum is. */
static int product_weights(const Operator *op, const OperatorCall *call, bool first, Error *err)
{
    int64_t in = op->spec.in.channels, out = op->spec.out.channels,
            pixels = call->rows * shape_count(op->spec.in) / in;

    return dnnl_failed(dnnl_sgemm('T', 'N', out, in, pixels, 1.0f, call->dy, out, call->x, in,
                                  first ? 0.0f : 1.0f, op->p.weight_gradient, in),
                       op->what, err);
}

static int product_data(const Operator *op, const OperatorCall *call, Error *err)
{
    int64_t in = op->spec.in.channels, out = op->spec.out.channels,
            pixels = call->rows * shape_count(op->spec.in) / in;

    return dnnl_failed(dnnl_sgemm('N', 'N', pixels, in, out, 1.0f, call->dy, out, op->p.weight, in,
                                  0.0f, call->dx, in),
                       op->what, err);
}

/* Of parts, the first's gradient goes where the sum will be, and those behind it are added. In
 * oneDNN's order, if all parts have the same, it is summed, and put in PyTorch's once. */
static int backward_weights(Operator *op, OperatorPlan *plan, const OperatorCall *call,
                            const ConvPart *part, Error *err)
{
    Primitive *p = &plan->weights;
    bool       parts = !part->first || !part->last, packed = plan->gradient > 0,
         late = packed && parts && !op->sum_plain;       /* in PyTorch's order after the last */
    float *scratch = op->device->scratch + larger(p->scratch, plan->unpack.scratch),
          *gradient = op->p.weight_gradient, *sum = late ? op->sum : gradient,
          *plain = part->first ? gradient : op->sum,
          *to = late ? (part->first ? sum : scratch) : packed ? scratch : plain;

    if (is_product(op)) return product_weights(op, call, part->first, err);
    primitive_set(p, DNNL_ARG_SRC, call->x);
    primitive_set(p, DNNL_ARG_DIFF_DST, call->dy);
    primitive_set(p, DNNL_ARG_DIFF_WEIGHTS, to);
    primitive_set(p, DNNL_ARG_DIFF_BIAS, op->p.bias_gradient);
    if (primitive_run(p, op->device, op->what, err) != 0) return -1;
    if (packed && !late && unpack(op, plan, to, plain, err) != 0) return -1;
    if (!part->first)
        cpu_add(&op->device->base, sum, late ? to : plain,
                late ? plan->gradient : operator_weights(&op->spec));
    return late && part->last ? unpack(op, plan, sum, gradient, err) : 0;
}

static int backward_data(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    Primitive   *p = &plan->data;
    const float *weights;

    if (is_product(op)) return product_data(op, call, err);
    if (is_own(op)) { depthwise_data(op, call); return 0; }
    weights = packed_get(op, plan->data_packed, op->p.weight, err);
    if (!weights) return -1;
    primitive_set(p, plan->turned ? DNNL_ARG_SRC : DNNL_ARG_DIFF_DST, call->dy);
    primitive_set(p, plan->turned ? DNNL_ARG_DST : DNNL_ARG_DIFF_SRC, call->dx);
    primitive_set(p, DNNL_ARG_WEIGHTS, weights);
    return primitive_run(p, op->device, op->what, err);
}

static int backward_part(Operator *op, OperatorPlan *plan, const OperatorCall *call,
                         const ConvPart *part, Error *err)
{
    bool weights = op->p.weight_gradient && call->x && !plan->bf16[PASS_WEIGHTS],
         data = call->dx && !plan->bf16[PASS_DATA];

    if (op->spec.activation != ACTIVATION_NONE && (weights || data))
        activation_backward(op->device, op->spec.activation, call->y, call->dy, call->dy,
                            call->rows * shape_count(op->spec.out));
    if (weights && plan->depthwise)
        depthwise_weights(op, call, part->first && part->last ? op->device->scratch : op->sum,
                          part->first, part->last);
    else if (weights && backward_weights(op, plan, call, part, err) != 0) return -1;
    if (bf16_backward(op, plan, call, err) != 0) return -1;
    return data ? backward_data(op, plan, call, err) : 0;
}

static int backward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    return backward_part(op, plan, call, &(ConvPart){.first = true, .last = true}, err);
}

/* Whether the gradients of two numbers of rows come in the same order. */
static bool same_order(const OperatorPlan *a, const OperatorPlan *b)
{
    if (!a || !b || !a->weights.desc || !b->weights.desc) return true;
    return dnnl_memory_desc_equal(primitive_md(&a->weights, dnnl_query_diff_weights_md),
                                  primitive_md(&b->weights, dnnl_query_diff_weights_md));
}

int conv_keep_sum(Operator *op, int64_t rows, int64_t rest, Error *err)
{
    const OperatorPlan *plan = operator_plan(op, rows);
    int64_t             count = plan->depthwise
                                    ? depthwise_scratch(op)
                                    : larger(plan->gradient,
                                             cpu_round(operator_weights(&op->spec)));
    float *more;

    if (is_product(op)) return 0;
    if (!same_order(plan, operator_plan(op, rest))) op->sum_plain = true;
    if (count <= op->sum_count) return 0;
    more = cpu_alloc((size_t)count);
    if (!more) return error_no_memory(err);
    cpu_release(op->sum);
    op->sum = more;
    op->sum_count = count;
    return 0;
}

int conv_backward_part(Operator *op, const OperatorCall *call, const ConvPart *part, Error *err)
{
    OperatorCall adding = *call;

    adding.add = !part->first;           /* of a pass in bfloat16 */
    return backward_part(op, operator_plan(op, call->rows), &adding, part, err);
}

const CpuKind cpu_conv = {
    .layer = LAYER_CONV, .make = make, .plan = plan, .forward = forward, .backward = backward};
