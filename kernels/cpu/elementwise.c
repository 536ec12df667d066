/* What goes over memory once: activations, sums, losses, the update. */
#include "kernels/cpu/cpu.h"

#include <math.h>

enum { STEP = 4096 };        /* floats: the least that a thread of the team takes */

typedef struct {
    const float *a, *b;
    float       *to, *state;
    Activation   activation;
    SgdStep      step;
} Elementwise;

static inline float limit_of(Activation activation) { return activation == ACTIVATION_RELU6 ? 6.0f : INFINITY; }

VECTORISED static void cut(const float *x, float *y, int64_t count, float limit)
{
    for (int64_t i = 0; i < count; i++) {
        float v = x[i] < 0.0f ? 0.0f : x[i];             /* so that NaN stays NaN */

        y[i] = v > limit ? limit : v;
    }
}

VECTORISED static void cut_backward(const float *y, const float *dy, float *dx, int64_t count, float limit)
{
    for (int64_t i = 0; i < count; i++) dx[i] = (y[i] <= 0.0f) | (y[i] >= limit) ? 0.0f : dy[i];
}

VECTORISED static void add(float *to, const float *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++) to[i] += from[i];
}

/* g = gradient + decay w; m = momentum m + g; w -= rate (nesterov: g + momentum m; else m) */
VECTORISED static void sgd(float *restrict w, const float *restrict gradient, float *restrict m, int64_t count,
                           float rate, float momentum, float decay, float of_gradient, float of_state)
{
    for (int64_t i = 0; i < count; i++) {
        float g = gradient[i] + decay * w[i];

        m[i] = momentum * m[i] + g;
        w[i] -= rate * (of_gradient * g + of_state * m[i]);
    }
}

VECTORISED static void sum_tile(const float *restrict x, int64_t pixels, int64_t channels, float *restrict sum)
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
            int64_t n = channels - c < CHANNELS ? channels - c : CHANNELS, tile = pixels - p < TILE ? pixels - p : TILE;

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
    sgd(e->to + begin, e->a + begin, e->state + begin, end - begin, (float)e->step.learning_rate, momentum,
        (float)e->step.weight_decay, e->step.nesterov ? 1.0f : 0.0f, e->step.nesterov ? momentum : 1.0f);
}

void activation_forward(const CpuDevice *device, Activation activation, const float *x, float *y, int64_t count)
{
    cpu_parallel(device, count, STEP, cut_part, &(Elementwise){.a = x, .to = y, .activation = activation});
}

void activation_backward(const CpuDevice *device, Activation activation, const float *y, const float *dy, float *dx,
                         int64_t count)
{
    cpu_parallel(device, count, STEP, cut_backward_part,
                 &(Elementwise){.a = y, .b = dy, .to = dx, .activation = activation});
}

void cpu_add(Device *device, float *to, const float *from, int64_t count)
{
    cpu_parallel(cpu_device(device), count, STEP, add_part, &(Elementwise){.a = from, .to = to});
}

void cpu_sgd(Device *device, float *weight, const float *gradient, float *state, const ParameterSpan *spans, int count,
             const SgdStep *step)
{
    for (int i = 0; i < count; i++)
        cpu_parallel(cpu_device(device), spans[i].count, STEP, sgd_part,
                     &(Elementwise){.a = gradient + spans[i].first, .to = weight + spans[i].first,
                                    .state = state + spans[i].first, .step = *step});
}

/* ---- activations on their own ---- */

static int forward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    (void)plan, (void)err;
    activation_forward(op->device, op->spec.activation, call->x, call->y, call->rows * shape_count(op->spec.out));
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

/* ---- losses ---- */

/* dy = 2 (s - t) scale; the sum of (s - t)^2, sixteen sums side by side so that it is the same
 * on every instruction set. */
VECTORISED static double squares(const float *s, const float *t, float *dy, int64_t count, float scale)
{
    float sum[16] = {0};
    int64_t i = 0;

    for (; i + 16 <= count; i += 16)
        for (int j = 0; j < 16; j++) {
            float d = s[i + j] - t[i + j];

            dy[i + j] = scale * d;
            sum[j] += d * d;
        }
    for (; i < count; i++) {
        float d = s[i] - t[i];

        dy[i] = scale * d;
        sum[i % 16] += d * d;
    }
    double total = 0.0;
    for (int j = 0; j < 16; j++) total += sum[j];
    return total;
}

/* In parts of STEP, so that sums of floats stay short. */
static double mse(const float *student, const float *teacher, float *dy, int64_t count, double scale)
{
    double sum = 0.0;

    for (int64_t i = 0; i < count; i += STEP) {
        int64_t n = count - i < STEP ? count - i : STEP;

        sum += squares(student + i, teacher + i, dy + i, n, (float)(2.0 * scale));
    }
    return sum * scale;
}

static double log_of_sum(const float *x, int64_t count)
{
    double most = x[0], sum = 0.0;

    for (int64_t i = 1; i < count; i++) most = x[i] > most ? x[i] : most;
    for (int64_t i = 0; i < count; i++) sum += exp(x[i] - most);
    return most + log(sum);
}

/* One row: -sum p(t) log p(s); dy = (p(s) - p(t)) scale. */
static double cross_entropy(const float *s, const float *t, float *dy, int64_t count, double scale)
{
    double log_s = log_of_sum(s, count), log_t = log_of_sum(t, count), sum = 0.0;

    for (int64_t i = 0; i < count; i++) {
        double p = exp(t[i] - log_t);

        sum -= p * (s[i] - log_s);
        dy[i] = (float)((exp(s[i] - log_s) - p) * scale);
    }
    return sum * scale;
}

void cpu_loss(Device *device, LossKind kind, const float *student, const float *teacher, float *dy, int64_t rows,
              int64_t per_row, int64_t global_rows, double *loss)
{
    double scale = 1.0 / (double)global_rows, sum = 0.0;

    (void)device;
    if (kind == LOSS_MSE) sum = mse(student, teacher, dy, rows * per_row, scale / (double)per_row);
    else
        for (int64_t r = 0; r < rows; r++)
            sum += cross_entropy(student + r * per_row, teacher + r * per_row, dy + r * per_row, per_row, scale);
    *loss = sum;
}
