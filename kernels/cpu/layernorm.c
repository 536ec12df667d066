/* LayerNorm and RMSNorm, a place at a time: mean and deviation are found again in backward, where x
 * is in cache anyway. Gradients of weights are summed in a fixed number of parts, so that they do
 * not depend on the team. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"

enum { PARTS = 32 };

typedef struct {
    const OperatorCall *call;
    const float        *weight, *bias;   /* bias NULL: none */
    float              *gradient[2];     /* weight, bias */
    float              *partial;         /* [parts][2][channels] */
    int64_t             channels, places, parts;
    float               eps;
    bool                centred;         /* LayerNorm */
} NormTask;

typedef struct { float mean, inverse; } Moments;

/* inverse: 1 / deviation, of LayerNorm around the mean, of RMSNorm around 0. */
VECTOR_INLINE Moments moments(const float *x, int64_t n, float eps, bool centred)
{
    float   mean = centred ? vector_sum(x, n) / (float)n : 0.0f, lane[VECTOR_LANES] = {0};
    int64_t i = 0;

    for (; i + VECTOR_LANES <= n; i += VECTOR_LANES)
        for (int j = 0; j < VECTOR_LANES; j++) lane[j] += (x[i + j] - mean) * (x[i + j] - mean);
    for (; i < n; i++) lane[i % VECTOR_LANES] += (x[i] - mean) * (x[i] - mean);
    return (Moments){mean, 1.0f / sqrtf(vector_total(lane) / (float)n + eps)};
}

VECTORISED static void norm_place(const float *x, float *y, int64_t n, const float *weight,
                                  const float *bias, float eps, bool centred)
{
    Moments m = moments(x, n, eps, centred);

    if (bias)
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - m.mean) * m.inverse * weight[i] + bias[i];
    else
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - m.mean) * m.inverse * weight[i];
}

/* dweight, dbias += ...; dx = inverse (g - mean(g) - h mean(g h)), g = dy weight, h = (x - mean)
 * inverse; without mean(g) where x is not centred. dx NULL: not wanted; may be dy. */
VECTORISED static void norm_place_backward(const float *x, const float *dy, float *dx, int64_t n,
                                           const float *weight, float *restrict dweight,
                                           float *restrict dbias, float eps, bool centred)
{
    Moments m = moments(x, n, eps, centred);
    float   sum[VECTOR_LANES] = {0}, dot[VECTOR_LANES] = {0};
    int64_t i = 0;

    for (; i + VECTOR_LANES <= n; i += VECTOR_LANES)
        for (int j = 0; j < VECTOR_LANES; j++) {
            float h = (x[i + j] - m.mean) * m.inverse, g = dy[i + j] * weight[i + j];

            sum[j] += g;
            dot[j] += g * h;
            dweight[i + j] += dy[i + j] * h;
            dbias[i + j] += dy[i + j];
        }
    for (; i < n; i++) {
        float h = (x[i] - m.mean) * m.inverse, g = dy[i] * weight[i];

        sum[i % VECTOR_LANES] += g;
        dot[i % VECTOR_LANES] += g * h;
        dweight[i] += dy[i] * h;
        dbias[i] += dy[i];
    }
    if (!dx) return;
    float mean = centred ? vector_total(sum) / (float)n : 0.0f,
          slope = vector_total(dot) / (float)n;
    for (i = 0; i < n; i++)
        dx[i] = m.inverse * (dy[i] * weight[i] - mean - (x[i] - m.mean) * m.inverse * slope);
}

static void forward_part(void *context, int64_t begin, int64_t end, int thread)
{
    const NormTask *t = context;
    int64_t     n = t->channels;

    (void)thread;
    for (int64_t p = begin; p < end; p++)
        norm_place(t->call->x + p * n, t->call->y + p * n, n, t->weight, t->bias, t->eps,
                   t->centred);
}

/* begin, end: parts of the places. */
static void backward_part(void *context, int64_t begin, int64_t end, int thread)
{
    const NormTask *t = context;
    int64_t     n = t->channels;

    (void)thread;
    for (int64_t part = begin; part < end; part++) {
        float *partial = t->partial + part * 2 * n;

        memset(partial, 0, (size_t)(2 * n) * sizeof *partial);
        for (int64_t p = t->places * part / t->parts; p < t->places * (part + 1) / t->parts; p++)
            norm_place_backward(t->call->x + p * n, t->call->dy + p * n,
                                t->call->dx ? t->call->dx + p * n : NULL, n, t->weight, partial,
                                partial + n, t->eps, t->centred);
    }
}

static void sum_part(void *context, int64_t begin, int64_t end, int thread)
{
    const NormTask *t = context;

    (void)thread;
    for (int which = 0; which < 2; which++)
        for (int64_t c = begin; t->gradient[which] && c < end; c++) {
            float sum = 0.0f;

            for (int64_t part = 0; part < t->parts; part++)
                sum += t->partial[(2 * part + which) * t->channels + c];
            t->gradient[which][c] = sum;
        }
}

static NormTask task_of(const Operator *op, const OperatorCall *call)
{
    const Layer *layer = op->spec.layer;
    NormTask t = {.call = call, .weight = op->p.own[0], .bias = layer->bias ? op->p.own[1] : NULL,
                  .channels = layer->in.channels,
                  .places = call->rows * layer->in.height * layer->in.width,
                  .eps = (float)layer->eps, .centred = layer->kind == LAYER_LAYERNORM,
                  .partial = op->device->scratch};

    t.gradient[0] = op->p.own_gradient[0];
    t.gradient[1] = layer->bias ? op->p.own_gradient[1] : NULL;
    t.parts = t.places < PARTS ? t.places : PARTS;
    return t;
}

static int plan(Operator *op, OperatorPlan *plan, Error *err)
{
    (void)err;
    if (!op->spec.frozen) plan->scratch = PARTS * 2 * (int64_t)op->spec.in.channels;
    return 0;
}

static int forward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    NormTask task = task_of(op, call);

    (void)plan, (void)err;
    cpu_parallel(op->device, task.places, 1 + 4096 / task.channels, forward_part, &task);
    return 0;
}

static int backward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    NormTask task = task_of(op, call);

    (void)plan, (void)err;
    cpu_parallel(op->device, task.parts, 1, backward_part, &task);
    cpu_parallel(op->device, task.channels, CPU_ALIGN, sum_part, &task);
    return 0;
}

const CpuKind cpu_layernorm = {
    .layer = LAYER_LAYERNORM, .plan = plan, .forward = forward, .backward = backward};
const CpuKind cpu_rmsnorm = {
    .layer = LAYER_RMSNORM, .plan = plan, .forward = forward, .backward = backward};
