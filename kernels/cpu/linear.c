/* Linear layers: oneDNN's inner product. Weights stay [out][in], as parameters are: oneDNN then
 * takes its general product of matrices, which for a hundred places or more is as fast as its
 * kernels for weights in blocks, and up to four times as fast where the places are no multiple of
 * what these take; and no copy has to follow an update (oneDNN 2.6, AVX-512). */
#include "kernels/cpu/bf16.h"

#include <string.h>

#include "base/minmax.h"
#include "kernels/cpu/passes.h"

/* oneDNN (2.6) multiplies fewer rows by other kernels, with other bits. A teacher's row has the
 * same bits whatever rows are computed with it (tests/test_rows.c), so it never has fewer. */
enum { PLACES_LEAST = 16 };

/* Without AVX-512 it multiplies what is left of sixes of rows by other kernels, too, and threads
 * share rows so that several have such rests. Parts of so many rows, the last filled up, have none
 * (oneDNN 2.6 and 3.7, one to eight threads). */
enum { PLACES_PART = 48 };

static bool in_parts(const Operator *op)
{
    return op->spec.frozen && !cpu_has(dnnl_cpu_isa_avx512_core);
}

static int64_t places_there(const Operator *op, int64_t rows) { return rows * op->spec.in.height; }

/* Places that are computed at a time; of a sequence each token is one. */
static int64_t places_of(const Operator *op, int64_t rows)
{
    int64_t places = places_there(op, rows);

    if (in_parts(op)) return PLACES_PART;
    return op->spec.frozen && places < PLACES_LEAST ? PLACES_LEAST : places;
}

/* Free it also after an error. */
static int shapes_make(PassShapes *s, const Operator *op, int64_t rows, Error *err)
{
    int        in = op->spec.in.channels, out = op->spec.out.channels;
    dnnl_dim_t places = places_of(op, rows);
    dnnl_dim_t x[] = {places, in}, y[] = {places, out}, weights[] = {out, in}, bias[] = {out};

    *s = (PassShapes){.x = md_new(2, x, dnnl_ab), .y = md_new(2, y, dnnl_ab),
                      .weights = md_new(2, weights, dnnl_ab), .plain = md_new(2, weights, dnnl_ab),
                      .bias = op->p.bias ? md_new(1, bias, dnnl_a) : NULL, .product = true};
    return pass_shapes_check(s, op->p.bias, err);
}

static int make(Operator *op, Error *err)
{
    const OperatorSpec *spec = &op->spec;

    if (spec->in.width != 1)
        return error_set(
            err,
            "%s: its input is neither a vector nor a sequence (%dx%dx%d); put a flatten before it",
            op->what, spec->in.channels, spec->in.height, spec->in.width);
    return 0;
}

static int plan_forward(Operator *op, OperatorPlan *plan, const PassShapes *s, Error *err)
{
    dnnl_primitive_attr_t attr = attr_new(op->spec.activation, err);
    Primitive            *p = &plan->forward;
    dnnl_status_t         status;

    if (!attr) return -1;
    status = pass_forward(&p->desc, op, s, attr);
    dnnl_primitive_attr_destroy(attr);
    if (primitive_make(p, op->device, status, op->what, err) != 0
        || primitive_argument(p, op->device, DNNL_ARG_SRC, s->x, err) != 0
        || primitive_argument(p, op->device, DNNL_ARG_DST, s->y, err) != 0
        || primitive_argument(p, op->device, DNNL_ARG_WEIGHTS, s->weights, err) != 0
        || (s->bias && primitive_argument(p, op->device, DNNL_ARG_BIAS, s->bias, err) != 0))
        return -1;
    return 0;
}

static int plan_data(Operator *op, OperatorPlan *plan, const PassShapes *s,
                     dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr, Error *err)
{
    Primitive *p = &plan->data;

    if (primitive_make(p, op->device, pass_data(&p->desc, op, s, hint, attr), op->what, err) != 0
        || primitive_argument(p, op->device, DNNL_ARG_DIFF_DST, s->y, err) != 0
        || primitive_argument(p, op->device, DNNL_ARG_DIFF_SRC, s->x, err) != 0
        || primitive_argument(p, op->device, DNNL_ARG_WEIGHTS, s->weights, err) != 0)
        return -1;
    return 0;
}

static int plan_weights(Operator *op, OperatorPlan *plan, const PassShapes *s,
                        dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr, Error *err)
{
    Primitive *p = &plan->weights;

    /* Straight into the gradients: their order is ours. */
    if (primitive_make(p, op->device, pass_weights(&p->desc, op, s, hint, attr), op->what, err)
            != 0
        || primitive_argument(p, op->device, DNNL_ARG_SRC, s->x, err) != 0
        || primitive_argument(p, op->device, DNNL_ARG_DIFF_DST, s->y, err) != 0
        || primitive_argument(p, op->device, DNNL_ARG_DIFF_WEIGHTS, s->weights, err) != 0
        || (s->bias && primitive_argument(p, op->device, DNNL_ARG_DIFF_BIAS, s->bias, err) != 0))
        return -1;
    return 0;
}

static int plan(Operator *op, OperatorPlan *plan, Error *err)
{
    PassShapes s;
    int64_t      places = places_of(op, plan->rows);
    int          rc = shapes_make(&s, op, plan->rows, err);

    products_make_ready();
    if (rc == 0) rc = bf16_plan(op, plan, err);
    if (rc == 0 && !plan->bf16[PASS_FORWARD]) {
        rc = plan_forward(op, plan, &s, err);
        if (places > places_there(op, plan->rows) || in_parts(op))   /* x and y, filled up */
            plan->scratch =
                plan->forward.scratch + places * (op->spec.in.channels + op->spec.out.channels);
    }
    if (rc == 0 && !op->spec.frozen)
        rc = passes_plan_backward(op, plan, &s, plan_weights, plan_data, err);
    pass_shapes_free(&s);
    return rc;
}

static int forward_all(Operator *op, Primitive *p, const float *x, float *y, Error *err)
{
    primitive_set(p, DNNL_ARG_SRC, x);
    primitive_set(p, DNNL_ARG_DST, y);
    return primitive_run(p, op->device, op->what, err);
}

/* The places there are, and more of zeros. from: [there][in], to: [there][out] */
static int forward_few(Operator *op, Primitive *p, const float *from, float *to, int64_t there,
                       int64_t places, Error *err)
{
    int64_t in = op->spec.in.channels, out = op->spec.out.channels;
    float  *x = op->device->scratch + p->scratch, *y = x + places * in;

    memcpy(x, from, (size_t)(there * in) * sizeof *x);
    memset(x + there * in, 0, (size_t)((places - there) * in) * sizeof *x);
    if (forward_all(op, p, x, y, err) != 0) return -1;
    memcpy(to, y, (size_t)(there * out) * sizeof *y);
    return 0;
}

static int forward_bf16(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    const float *weights = packed_get(op, plan->forward_packed, op->p.weight, err);

    return weights ? bf16_forward(op, plan, call, weights, op->p.bias, err) : -1;
}

static int forward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    Primitive *p = &plan->forward;

    if (plan->bf16[PASS_FORWARD]) return forward_bf16(op, plan, call, err);
    primitive_set(p, DNNL_ARG_WEIGHTS, op->p.weight);
    primitive_set(p, DNNL_ARG_BIAS, op->p.bias);
    int64_t there = places_there(op, call->rows), places = places_of(op, call->rows);
    for (int64_t i = 0; i < there; i += places) {
        const float *x = call->x + i * op->spec.in.channels;
        float       *y = call->y + i * op->spec.out.channels;
        int64_t      now = smaller(places, there - i);
        if ((now < places ? forward_few(op, p, x, y, now, places, err)
                          : forward_all(op, p, x, y, err))
            != 0)
            return -1;
    }
    return 0;
}

/* dW += dy' x, db += the sum of dy. */
static int add_gradients(Operator *op, const OperatorCall *call, Error *err)
{
    int64_t in = op->spec.in.channels, out = op->spec.out.channels,
            places = call->rows * op->spec.in.height;

    if (op->p.bias_gradient) cpu_sum_channels(call->dy, places, out, op->p.bias_gradient);
    return dnnl_failed(dnnl_sgemm('T', 'N', out, in, places, 1.0f, call->dy, out, call->x, in, 1.0f,
                                  op->p.weight_gradient, in),
                       op->what, err);
}

static int set_gradients(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    Primitive *w = &plan->weights;

    primitive_set(w, DNNL_ARG_SRC, call->x);
    primitive_set(w, DNNL_ARG_DIFF_DST, call->dy);
    primitive_set(w, DNNL_ARG_DIFF_WEIGHTS, op->p.weight_gradient);
    primitive_set(w, DNNL_ARG_DIFF_BIAS, op->p.bias_gradient);
    return primitive_run(w, op->device, op->what, err);
}

static int backward_data(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    Primitive *p = &plan->data;

    primitive_set(p, DNNL_ARG_DIFF_DST, call->dy);
    primitive_set(p, DNNL_ARG_DIFF_SRC, call->dx);
    primitive_set(p, DNNL_ARG_WEIGHTS, op->p.weight);
    return primitive_run(p, op->device, op->what, err);
}

static int backward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    bool weights = op->p.weight_gradient && !plan->bf16[PASS_WEIGHTS],
         data = call->dx && !plan->bf16[PASS_DATA];

    if (op->spec.activation != ACTIVATION_NONE && (weights || data))
        activation_backward(op->device, op->spec.activation, call->y, call->dy, call->dy,
                            call->rows * shape_count(op->spec.out));
    if (weights
        && (call->add ? add_gradients(op, call, err) : set_gradients(op, plan, call, err)) != 0)
        return -1;
    if (bf16_backward(op, plan, call, err) != 0) return -1;
    return data ? backward_data(op, plan, call, err) : 0;
}

const CpuKind cpu_linear = {
    .layer = LAYER_LINEAR, .make = make, .plan = plan, .forward = forward, .backward = backward};
