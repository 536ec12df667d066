/* Planning and computing passes in bfloat16 (kernels/cpu/bf16.h).
 *
 * Scratch of a plan, in floats:
 *
 *     forward     [primitives' own][x of a part][y of a part, where it has fewest places]
 *     backward    [primitives' own][gradient][x of a part][dy of a part] */
#include "kernels/cpu/bf16.h"

#include <math.h>
#include <string.h>

#include "base/bfloat16.h"
#include "base/minmax.h"
#include "kernels/cpu/passes.h"

/* oneDNN (2.6, 3.7, 3.12) multiplies few rows, up to 3 or 16, by AVX512_BF16 instead of AMX, with
 * other bits. A teacher's row has the same bits whatever rows are computed with it
 * (tests/test_rows.c), so it never has so few. */
enum { PLACES_LEAST = 64 };

/* Bytes of bfloat16 that a part has for each thread at most, unless weights are more: an eighth of
 * a second-level cache of 2 MiB, which has the same numbers in float32, too. */
enum { PART_BYTES = 256 * 1024 };

/* Pairs of an input's and an output's place that a convolution unfolds for at most. */
enum { UNFOLDED_PAIRS = 16 };

enum { STEP = 4096 };        /* numbers: the least that a thread of the team takes */

/* ---- rounding ---- */

VECTORISED static void narrow(const float *restrict x, uint16_t *restrict to, int64_t count)
{
    for (int64_t i = 0; i < count; i++) to[i] = bfloat16_round(x[i]);
}

/* dy where y was not cut, else 0; as cut_backward() of kernels/cpu/elementwise.c. */
VECTORISED static void narrow_cut(const float *restrict dy, const float *restrict y,
                                  uint16_t *restrict to, int64_t count, float limit)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = bfloat16_round((y[i] <= 0.0f) | (y[i] >= limit) ? 0.0f : dy[i]);
}

typedef struct {
    const float *x, *y;      /* y NULL: nothing is cut */
    uint16_t    *to;
    float        limit;
} Narrowing;

static void narrow_part(void *context, int64_t begin, int64_t end, int thread)
{
    const Narrowing *n = context;

    (void)thread;
    if (n->y)
        narrow_cut(n->x + begin, n->y + begin, n->to + begin, end - begin, n->limit);
    else narrow(n->x + begin, n->to + begin, end - begin);
}

/* ---- shapes ---- */

static int64_t of_bf16(int64_t count) { return cpu_round((count + 1) / 2); }

static bool is_pointwise(const OperatorSpec *s)
{
    return s->kind == LAYER_LINEAR
           || (s->kernel_width == 1 && s->kernel_height == 1 && s->stride == 1 && s->padding == 0
               && s->groups == 1);
}

bool bf16_unfolds(const OperatorSpec *s)
{
    return s->kind == LAYER_CONV && s->frozen && s->groups == 1 && !is_pointwise(s)
           && (int64_t)s->in.height * s->in.width * s->out.height * s->out.width <= UNFOLDED_PAIRS;
}

static bool is_product(const OperatorSpec *s) { return is_pointwise(s) || bf16_unfolds(s); }

/* Of a product: numbers that a place has of x and y. */
static int64_t product_in(const OperatorSpec *s)
{
    return bf16_unfolds(s) ? shape_count(s->in) : s->in.channels;
}

static int64_t product_out(const OperatorSpec *s)
{
    return bf16_unfolds(s) ? shape_count(s->out) : s->out.channels;
}

/* Places that rows have, and that are computed. */
static int64_t places_there(const OperatorSpec *s, int64_t rows)
{
    return bf16_unfolds(s) ? rows : rows * s->in.height * s->in.width;
}

static int64_t places_of(const OperatorSpec *s, int64_t rows)
{
    int64_t places = places_there(s, rows);

    return s->frozen && places < PLACES_LEAST ? PLACES_LEAST : places;
}

static int64_t weights_count(const OperatorSpec *s)
{
    return bf16_unfolds(s) ? product_in(s) * product_out(s) : operator_weights(s);
}

/* The most rows of one call of a primitive that divide all and keep within bytes; all where that
 * leaves many small parts. */
static int64_t part_of(const Operator *op, int64_t rows, int64_t bytes_a_row)
{
    int64_t room = PART_BYTES, weights = weights_count(&op->spec) * 2, most, part;

    if (weights > room) room = weights;
    most = room * op->device->threads / bytes_a_row;
    if (most >= rows) return rows;
    if (most < 1) most = 1;
    part = most;
    while (rows % part) part--;
    return part * 4 < most ? rows : part;
}

static int64_t forward_part(const Operator *op, int64_t rows)
{
    int64_t part = part_of(op, rows, 2 * shape_count(op->spec.in));

    return is_product(&op->spec) && places_there(&op->spec, part) < PLACES_LEAST ? rows : part;
}

/* A gradient of weights that is not a product's has no sum over parts. */
static int64_t backward_part(const Operator *op, const OperatorPlan *plan)
{
    const OperatorSpec *s = &op->spec;

    return plan->bf16[PASS_WEIGHTS] && !is_product(s)
               ? plan->rows
               : part_of(op, plan->rows, 2 * (shape_count(s->in) + shape_count(s->out)));
}

/* Of weights in PyTorch's order of floats (plain), or in that or any order of another type. */
static Md *weights_md(const OperatorSpec *s, dnnl_data_type_t type, bool any)
{
    bool       grouped = s->groups > 1;
    dnnl_dim_t all[] = {s->groups, s->out.channels / s->groups, s->in.channels / s->groups,
                        s->kernel_height, s->kernel_width};
    dnnl_dim_t product[] = {product_out(s), product_in(s)};

    if (is_product(s)) return md_new_of(type, 2, product, any ? dnnl_format_tag_any : dnnl_ab);
    return md_new_of(type, grouped ? 5 : 4, grouped ? all : all + 1,
                     any       ? dnnl_format_tag_any
                     : grouped ? dnnl_goihw
                               : dnnl_oihw);
}

/* each: numbers of a place, where it is a product. */
static Md *rows_md(const OperatorSpec *s, dnnl_data_type_t type, int64_t rows, Shape shape,
                   int64_t each)
{
    dnnl_dim_t product[] = {places_of(s, rows), each},
               map[] = {rows, shape.channels, shape.height, shape.width};

    return is_product(s) ? md_new_of(type, 2, product, dnnl_ab)
                         : md_new_of(type, 4, map, dnnl_nhwc);
}

/* Of a pass over so many rows. A product's gradient is written in PyTorch's order. Free it also
 * after an error. */
static int shapes_make(PassShapes *s, const Operator *op, OperatorPass pass, int64_t rows,
                       Error *err)
{
    const OperatorSpec *spec = &op->spec;
    bool                bias = operator_has_bias(op), weights = pass == PASS_WEIGHTS;
    dnnl_dim_t          channels[] = {is_product(spec) ? product_out(spec) : spec->out.channels};

    *s = (PassShapes){
        .x = rows_md(spec, pass == PASS_DATA ? dnnl_f32 : dnnl_bf16, rows, spec->in,
                     product_in(spec)),
        .y = rows_md(spec, pass == PASS_FORWARD ? dnnl_f32 : dnnl_bf16, rows, spec->out,
                     product_out(spec)),
        .weights = weights_md(spec, weights ? dnnl_f32 : dnnl_bf16,
                              !weights || !is_product(spec)),
        .plain = weights_md(spec, dnnl_f32, false),
        .bias = bias ? md_new_of(dnnl_f32, 1, channels, dnnl_a) : NULL,
        .stride = {spec->stride, spec->stride}, .padding = {spec->padding, spec->padding},
        .product = is_product(spec)};
    return pass_shapes_check(s, bias, err);
}

/* ---- primitives ---- */

/* oneDNN wants a forward in the same types before a backward. */
static dnnl_status_t describe_backward(dnnl_primitive_desc_t *out, const Operator *op,
                                       const PassShapes *s, OperatorPass pass, int64_t rows,
                                       dnnl_primitive_attr_t attr)
{
    PassShapes            forward;
    dnnl_primitive_desc_t hint = NULL;
    dnnl_status_t         status = dnnl_out_of_memory;
    Error                 ignored = {""};

    if (shapes_make(&forward, op, PASS_FORWARD, rows, &ignored) == 0)
        status = pass_forward(&hint, op, &forward, attr);
    if (status == dnnl_success)
        status = pass == PASS_DATA ? pass_data(out, op, s, hint, attr)
                                   : pass_weights(out, op, s, hint, attr);
    if (hint) dnnl_primitive_desc_destroy(hint);
    pass_shapes_free(&forward);
    return status;
}

static int weights_arguments(Operator *op, OperatorPlan *plan, const PassShapes *s, Error *err)
{
    Primitive *p = &plan->weights;
    const Md  *gradient = primitive_md(p, dnnl_query_diff_weights_md);

    if (primitive_argument(p, op->device, DNNL_ARG_SRC, s->x, err) != 0
        || primitive_argument(p, op->device, DNNL_ARG_DIFF_DST, s->y, err) != 0
        || primitive_argument(p, op->device, DNNL_ARG_DIFF_WEIGHTS, gradient, err) != 0
        || (s->bias && primitive_argument(p, op->device, DNNL_ARG_DIFF_BIAS, s->bias, err) != 0))
        return -1;
    plan->gradient = md_count(gradient) + cpu_round(op->spec.out.channels);
    if (dnnl_memory_desc_equal(gradient, s->plain)) return 0;
    return primitive_make_reorder(&plan->unpack, op->device, gradient, s->plain, err);
}

static int make_pass(Operator *op, OperatorPlan *plan, OperatorPass pass, const PassShapes *s,
                     Error *err)
{
    bool                  forward = pass == PASS_FORWARD;
    dnnl_primitive_attr_t attr = attr_new(forward ? op->spec.activation : ACTIVATION_NONE, err);
    Primitive            *p = forward             ? &plan->forward
                              : pass == PASS_DATA ? &plan->data
                                                  : &plan->weights;
    dnnl_status_t         status;

    if (!attr) return -1;
    status = forward ? pass_forward(&p->desc, op, s, attr)
                     : describe_backward(&p->desc, op, s, pass, plan->backward_part, attr);
    dnnl_primitive_attr_destroy(attr);
    if (primitive_make(p, op->device, status, op->what, err) != 0) return -1;
    if (forward) return weights_forward(op, plan, s->x, s->y, s->plain, s->bias, err);
    return pass == PASS_DATA ? weights_data(op, plan, s->x, s->y, s->plain, err)
                             : weights_arguments(op, plan, s, err);
}

/* ---- scratch ---- */

/* Where a plan's own begins: behind that of any of its primitives. */
static int64_t own_scratch(const OperatorPlan *plan)
{
    return larger(larger(plan->forward.scratch, plan->unpack.scratch),
                   larger(plan->data.scratch, plan->weights.scratch));
}

static int64_t part_floats(const Operator *op, int64_t part, Shape shape, int64_t each)
{
    return of_bf16(is_product(&op->spec) ? places_of(&op->spec, part) * each
                                         : part * shape_count(shape));
}

static int64_t part_in(const Operator *op, int64_t part)
{
    return part_floats(op, part, op->spec.in, product_in(&op->spec));
}

static int64_t part_out(const Operator *op, int64_t part)
{
    return part_floats(op, part, op->spec.out, product_out(&op->spec));
}

/* y of a product with fewer places than are computed. */
static int64_t few_floats(const Operator *op, int64_t part)
{
    const OperatorSpec *s = &op->spec;

    return is_product(s) && places_of(s, part) > places_there(s, part)
               ? cpu_round(places_of(s, part) * product_out(s))
               : 0;
}

int64_t bf16_scratch(const Operator *op, const OperatorPlan *plan)
{
    int64_t forward = 0, backward = 0;

    if (plan->bf16[PASS_FORWARD])
        forward = part_in(op, plan->forward_part) + few_floats(op, plan->forward_part);
    if (plan->bf16[PASS_WEIGHTS] || plan->bf16[PASS_DATA])
        backward = plan->gradient + part_in(op, plan->backward_part)
                   + part_out(op, plan->backward_part);
    return forward + backward > 0 ? own_scratch(plan) + larger(forward, backward) : 0;
}

/* ---- planning ---- */

bool bf16_is_there(void)
{
    return cpu_has(dnnl_cpu_isa_avx512_core_bf16);
}

/* Depthwise ones go over memory once and multiply little: rounding x and dy takes longer than what
 * it saves (bench/results/bf16.md). */
static bool suits(const OperatorSpec *s) { return s->groups == 1 || s->groups < s->in.channels; }

static int plan_pass(Operator *op, OperatorPlan *plan, OperatorPass pass, Error *err)
{
    PassShapes s;
    int64_t    part;
    int        rc;

    if (pass == PASS_FORWARD) part = plan->forward_part = forward_part(op, plan->rows);
    else part = plan->backward_part = backward_part(op, plan);
    rc = shapes_make(&s, op, pass, part, err);
    if (rc == 0) rc = make_pass(op, plan, pass, &s, err);
    pass_shapes_free(&s);
    return rc;
}

static bool has_pass(const OperatorSpec *s, OperatorPass pass)
{
    if (pass == PASS_FORWARD) return true;
    return !s->frozen && (pass == PASS_WEIGHTS || s->data_gradient);
}

int bf16_plan(Operator *op, OperatorPlan *plan, Error *err)
{
    if (op->bf16 == BF16_NEVER || !suits(&op->spec)) return 0;
    for (int pass = 0; pass < PASS_COUNT; pass++)
        if (has_pass(&op->spec, (OperatorPass)pass)) {
            plan->bf16[pass] = op->bf16 == BF16_ALWAYS;
            if (op->bf16 == BF16_MEASURED
                && bf16_choose(&plan->bf16[pass], op, (OperatorPass)pass, err) != 0)
                return -1;
        }
    for (int pass = 0; pass < PASS_COUNT; pass++)
        if (plan->bf16[pass] && plan_pass(op, plan, (OperatorPass)pass, err) != 0) return -1;
    return 0;
}

/* ---- unfolding ---- */

/* Of one output's channel and place: its row of the product's matrix. */
static void unfold_row(const OperatorSpec *s, float *row, const float *window, int oy, int ox)
{
    int kernel = s->kernel_width;

    for (int iy = 0; iy < s->in.height; iy++)
        for (int ix = 0; ix < s->in.width; ix++) {
            int ky = iy - oy * s->stride + s->padding, kx = ix - ox * s->stride + s->padding;

            if (ky < 0 || ky >= s->kernel_height || kx < 0 || kx >= kernel) continue;
            for (int i = 0; i < s->in.channels; i++)
                row[(iy * s->in.width + ix) * s->in.channels + i] =
                    window[(i * s->kernel_height + ky) * kernel + kx];
        }
}

float *bf16_unfold(Operator *op, const float *weights, const float *bias)
{
    const OperatorSpec *s = &op->spec;
    int64_t             in = product_in(s), out = product_out(s),
            each = (int64_t)s->in.channels * s->kernel_height * s->kernel_width;
    float *matrix = cpu_alloc((size_t)(in * out));

    if (bias && !op->unfolded_bias) op->unfolded_bias = cpu_alloc((size_t)out);
    if (!matrix || (bias && !op->unfolded_bias)) { cpu_release(matrix); return NULL; }
    for (int64_t o = 0; o < out; o++) {
        int64_t c = o % s->out.channels, place = o / s->out.channels;

        unfold_row(s, matrix + o * in, weights + c * each, (int)(place / s->out.width),
                   (int)(place % s->out.width));
        if (bias) op->unfolded_bias[o] = bias[c];
    }
    return matrix;
}

/* ---- calls ---- */

/* count floats; cut: the result that says what passes its activation, NULL: all does. */
static void narrow_into(const Operator *op, uint16_t *to, const float *from, const float *cut,
                        int64_t count)
{
    Narrowing n = {from, cut, to, op->spec.activation == ACTIVATION_RELU6 ? 6.0f : INFINITY};

    cpu_parallel(op->device, count, STEP, narrow_part, &n);
}

/* Rows from..from + part - 1. */
static int forward_rows(Operator *op, OperatorPlan *plan, const OperatorCall *call, int64_t from,
                        Error *err)
{
    Primitive *p = &plan->forward;
    int64_t    part = plan->forward_part, nx = part * shape_count(op->spec.in),
            ny = part * shape_count(op->spec.out), few = few_floats(op, part),
            floats = part_in(op, part);
    float    *scratch = op->device->scratch + own_scratch(plan);
    uint16_t *x = (uint16_t *)(void *)scratch;
    float    *y = call->y + from * shape_count(op->spec.out);

    narrow_into(op, x, call->x + from * shape_count(op->spec.in), NULL, nx);
    if (few > 0) memset(x + nx, 0, (size_t)floats * sizeof(float) - (size_t)nx * sizeof *x);
    primitive_set(p, DNNL_ARG_SRC, x);
    primitive_set(p, DNNL_ARG_DST, few > 0 ? scratch + floats : y);
    if (primitive_run(p, op->device, op->what, err) != 0) return -1;
    if (few > 0) memcpy(y, scratch + floats, (size_t)ny * sizeof *y);
    return 0;
}

int bf16_forward(Operator *op, OperatorPlan *plan, const OperatorCall *call, const float *weights,
                 const float *bias, Error *err)
{
    primitive_set(&plan->forward, DNNL_ARG_WEIGHTS, weights);
    primitive_set(&plan->forward, DNNL_ARG_BIAS, bias);
    for (int64_t from = 0; from < call->rows; from += plan->forward_part)
        if (forward_rows(op, plan, call, from, err) != 0) return -1;
    return 0;
}

/* add: what is written goes to scratch, by way of op->sum where it is not in PyTorch's order, and
 * is added to the parameters' gradients. */
static int weights_rows(Operator *op, OperatorPlan *plan, const uint16_t *x, const uint16_t *dy,
                        bool add, Error *err)
{
    const OperatorParameters *to = &op->p;
    Primitive *p = &plan->weights;
    bool       unpacks = plan->unpack.primitive;
    float     *gradient = op->device->scratch + own_scratch(plan),
          *bias = gradient + plan->gradient - cpu_round(op->spec.out.channels),
          *plain = !add ? to->weight_gradient : unpacks ? op->sum : gradient;
    Device    *device = &op->device->base;

    primitive_set(p, DNNL_ARG_SRC, x);
    primitive_set(p, DNNL_ARG_DIFF_DST, dy);
    primitive_set(p, DNNL_ARG_DIFF_WEIGHTS, unpacks ? gradient : plain);
    primitive_set(p, DNNL_ARG_DIFF_BIAS, add ? bias : to->bias_gradient);
    if (primitive_run(p, op->device, op->what, err) != 0) return -1;
    if (unpacks) {
        primitive_set(&plan->unpack, DNNL_ARG_FROM, gradient);
        primitive_set(&plan->unpack, DNNL_ARG_TO, plain);
        if (primitive_run(&plan->unpack, op->device, op->what, err) != 0) return -1;
    }
    if (add) cpu_add(device, to->weight_gradient, plain, weights_count(&op->spec));
    if (add && to->bias_gradient) cpu_add(device, to->bias_gradient, bias, op->spec.out.channels);
    return 0;
}

/* Rows from..from + part - 1. */
static int backward_rows(Operator *op, OperatorPlan *plan, const OperatorCall *call, int64_t from,
                         bool weights, bool data, Error *err)
{
    const OperatorSpec *s = &op->spec;
    int64_t             part = plan->backward_part, nx = shape_count(s->in),
            ny = shape_count(s->out);
    float        *scratch = op->device->scratch + own_scratch(plan) + plan->gradient;
    uint16_t     *x = (uint16_t *)(void *)scratch,
             *dy = (uint16_t *)(void *)(scratch + part_in(op, part));
    const float *cut = s->activation != ACTIVATION_NONE ? call->y + from * ny : NULL;

    narrow_into(op, dy, call->dy + from * ny, cut, part * ny);
    if (weights) {
        narrow_into(op, x, call->x + from * nx, NULL, part * nx);
        if (weights_rows(op, plan, x, dy, call->add || from > 0, err) != 0) return -1;
    }
    if (!data) return 0;
    primitive_set(&plan->data, DNNL_ARG_DIFF_DST, dy);
    primitive_set(&plan->data, DNNL_ARG_DIFF_SRC, call->dx + from * nx);
    return primitive_run(&plan->data, op->device, op->what, err);
}

int bf16_backward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    bool data = call->dx && plan->bf16[PASS_DATA],
         weights = call->x && op->p.weight_gradient && plan->bf16[PASS_WEIGHTS];
    const float *packed = data ? packed_get(op, plan->data_packed, op->p.weight, err) : NULL;

    if (data && !packed) return -1;
    if (!data && !weights) return 0;
    if (data) primitive_set(&plan->data, DNNL_ARG_WEIGHTS, packed);
    for (int64_t from = 0; from < call->rows; from += plan->backward_part)
        if (backward_rows(op, plan, call, from, weights, data, err) != 0) return -1;
    return 0;
}
