/* What goes over memory once: activations, sums, updates. */
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <string.h>

#include "kernels/cpu/vector.h"

enum { STEP = 4096 };        /* floats: the least that a thread of the team takes */

typedef struct {
    const float *a, *b;
    float       *to, *state, *square;
    double      *partial;
    int64_t      count;
    Activation   activation;
    UpdateStep      step;
} Elementwise;

static inline float limit_of(Activation activation)
{
    return activation == ACTIVATION_RELU6 ? 6.0f : INFINITY;
}

VECTORISED static void cut(const float *x, float *y, int64_t count, float limit)
{
    for (int64_t i = 0; i < count; i++) {
        float v = x[i] < 0.0f ? 0.0f : x[i];             /* so that NaN stays NaN */

        y[i] = v > limit ? limit : v;
    }
}

VECTORISED static void cut_backward(const float *y, const float *dy, float *dx, int64_t count,
                                    float limit)
{
    for (int64_t i = 0; i < count; i++) dx[i] = (y[i] <= 0.0f) | (y[i] >= limit) ? 0.0f : dy[i];
}

VECTORISED static void add(float *to, const float *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++) to[i] += from[i];
}

/* g = scale gradient + decay w; m = momentum m + g; w -= rate (nesterov: g + momentum m; else m) */
VECTORISED static void sgd(float *restrict w, const float *restrict gradient, float *restrict m,
                           int64_t count, float scale, float rate, float momentum, float decay,
                           float of_gradient, float of_state)
{
    for (int64_t i = 0; i < count; i++) {
        float g = scale * gradient[i] + decay * w[i];

        m[i] = momentum * m[i] + g;
        w[i] -= rate * (of_gradient * g + of_state * m[i]);
    }
}

/* g = scale gradient; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
 * w = keep w - rate m / (sqrt(v) root + eps): keep is 1 - learning rate x decay, rate and root hold
 * the corrections. */
VECTORISED static void adamw(float *restrict w, const float *restrict gradient, float *restrict m,
                             float *restrict v, int64_t count, float scale, float keep, float rate,
                             float root, float beta1, float beta2, float eps)
{
    for (int64_t i = 0; i < count; i++) {
        float g = scale * gradient[i];

        m[i] = beta1 * m[i] + (1.0f - beta1) * g;
        v[i] = beta2 * v[i] + (1.0f - beta2) * g * g;
        w[i] = keep * w[i] - rate * m[i] / (sqrtf(v[i]) * root + eps);
    }
}

VECTORISED static double sum_of_squares(const float *x, int64_t count)
{
    return (double)vector_dot(x, x, count);
}

VECTORISED static void sum_tile(const float *restrict x, int64_t pixels, int64_t channels,
                                float *restrict sum)
{
    for (int64_t p = 0; p < pixels; p++, x += channels)
        for (int64_t c = 0; c < channels; c++) sum[c] += x[c];
}

void cpu_sum_channels(const float *x, int64_t pixels, int64_t channels, float *out)
{
    enum { TILE = 64, CHANNELS = 256 };
    float sum[CHANNELS];

    for (int64_t p = 0; p < pixels; p += TILE)
        for (int64_t c = 0; c < channels; c += CHANNELS) {
            int64_t n = channels - c < CHANNELS ? channels - c : CHANNELS,
                    tile = pixels - p < TILE ? pixels - p : TILE;

            for (int64_t i = 0; i < n; i++) sum[i] = 0.0f;
            for (int64_t k = 0; k < tile; k++) sum_tile(x + (p + k) * channels + c, 1, n, sum);
            for (int64_t i = 0; i < n; i++) out[c + i] += sum[i];
        }
}

static void cut_part(void *context, int64_t begin, int64_t end, int thread)
{
    Elementwise *e = context;

    (void)thread;
    cut(e->a + begin, e->to + begin, end - begin, limit_of(e->activation));
}

static void cut_backward_part(void *context, int64_t begin, int64_t end, int thread)
{
    Elementwise *e = context;

    (void)thread;
    cut_backward(e->a + begin, e->b + begin, e->to + begin, end - begin, limit_of(e->activation));
}

static void add_part(void *context, int64_t begin, int64_t end, int thread)
{
    Elementwise *e = context;

    (void)thread;
    add(e->to + begin, e->a + begin, end - begin);
}

static void sgd_part(void *context, int64_t begin, int64_t end, int thread)
{
    Elementwise *e = context;
    float        momentum = (float)e->step.momentum;

    (void)thread;
    sgd(e->to + begin, e->a + begin, e->state + begin, end - begin, e->step.scale,
        (float)e->step.learning_rate, momentum, (float)e->step.weight_decay,
        e->step.nesterov ? 1.0f : 0.0f, e->step.nesterov ? momentum : 1.0f);
}

void activation_forward(const CpuDevice *device, Activation activation, const float *x, float *y,
                        int64_t count)
{
    cpu_parallel(device, count, STEP, cut_part,
                 &(Elementwise){.a = x, .to = y, .activation = activation});
}

void activation_backward(const CpuDevice *device, Activation activation, const float *y,
                         const float *dy, float *dx, int64_t count)
{
    cpu_parallel(device, count, STEP, cut_backward_part,
                 &(Elementwise){.a = y, .b = dy, .to = dx, .activation = activation});
}

void cpu_add(Device *device, float *to, const float *from, int64_t count)
{
    cpu_parallel(cpu_device(device), count, STEP, add_part, &(Elementwise){.a = from, .to = to});
}

void cpu_sgd(Device *device, float *weight, float *gradient, float *state,
             const ParameterSpan *spans, int count, const UpdateStep *step)
{
    for (int i = 0; i < count; i++)
        cpu_parallel(cpu_device(device), spans[i].count, STEP, sgd_part,
                     &(Elementwise){.a = gradient + spans[i].first, .to = weight + spans[i].first,
                                    .state = state + spans[i].first, .step = *step});
}

static void adamw_part(void *context, int64_t begin, int64_t end, int thread)
{
    Elementwise         *e = context;
    const UpdateStep *s = &e->step;
    double            first = 1.0 - pow((double)s->beta1, (double)s->number),
        second = 1.0 - pow((double)s->beta2, (double)s->number);

    (void)thread;
    adamw(e->to + begin, e->a + begin, e->state + begin, e->square + begin, end - begin, s->scale,
          1.0f - s->learning_rate * s->weight_decay, (float)((double)s->learning_rate / first),
          (float)(1.0 / sqrt(second)), s->beta1, s->beta2, s->eps);
}

void cpu_adamw(Device *device, float *weight, float *gradient, float *mean, float *square,
               const ParameterSpan *spans, int count, const UpdateStep *step)
{
    for (int i = 0; i < count; i++)
        cpu_parallel(cpu_device(device), spans[i].count, STEP, adamw_part,
                     &(Elementwise){.a = gradient + spans[i].first, .to = weight + spans[i].first,
                                    .state = mean + spans[i].first,
                                    .square = square + spans[i].first, .step = *step});
}

enum { SQUARE_PARTS = 64 };

/* begin, end: of SQUARE_PARTS parts of whole steps, so that the sum does not depend on the team. */
static void squares_part(void *context, int64_t begin, int64_t end, int thread)
{
    Elementwise *e = context;
    int64_t      steps = (e->count + STEP - 1) / STEP;

    (void)thread;
    for (int64_t p = begin; p < end; p++) {
        e->partial[p] = 0.0;
        for (int64_t s = steps * p / SQUARE_PARTS; s < steps * (p + 1) / SQUARE_PARTS; s++)
            e->partial[p] += sum_of_squares(
                e->a + s * STEP, e->count - s * STEP < STEP ? e->count - s * STEP : STEP);
    }
}

double cpu_squares(Device *device, const float *gradient, const ParameterSpan *spans, int count)
{
    double partial[SQUARE_PARTS], sum = 0.0;

    for (int i = 0; i < count; i++) {
        cpu_parallel(cpu_device(device), SQUARE_PARTS, 1, squares_part,
                     &(Elementwise){.a = gradient + spans[i].first,
                                    .partial = partial,
                                    .count = spans[i].count});
        for (int p = 0; p < SQUARE_PARTS; p++) sum += partial[p];
    }
    return sum;
}

/* The largest of the numbers' magnitudes, as bits: those of infinities and NaN are above all
 * others. */
VECTORISED static uint32_t largest_bits(const float *x, int64_t count)
{
    uint32_t largest = 0;

    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;

        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

typedef struct {
    const float *values;
    double      *flag;
} FiniteCheck;

static void check_part(void *context, int64_t begin, int64_t end, int thread)
{
    const FiniteCheck *c = context;
    double             none = NAN;

    (void)thread;
    if (largest_bits(c->values + begin, end - begin) >= 0x7f800000)
        __atomic_store(c->flag, &none, __ATOMIC_RELAXED);
}

void cpu_check_finite(Device *device, const float *values, int64_t count, double *flag)
{
    cpu_parallel(cpu_device(device), count, STEP, check_part, &(FiniteCheck){values, flag});
}

/* ---- activations on their own ---- */

static int forward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    (void)plan, (void)err;
    activation_forward(op->device, op->spec.activation, call->x, call->y,
                       call->rows * shape_count(op->spec.out));
    return 0;
}

static int backward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    (void)plan, (void)err;
    if (call->dx)
        activation_backward(op->device, op->spec.activation, call->y, call->dy, call->dx,
                            call->rows * shape_count(op->spec.out));
    return 0;
}

const CpuKind cpu_activation = {.layer = LAYER_RELU, .forward = forward, .backward = backward};
