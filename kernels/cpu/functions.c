/* gelu, silu, tanh, and gated products: y = f(gate) value, where a token holds its gates first,
 * then its values. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"

enum { STEP = 4096 };        /* numbers: the least that a thread of the team takes */

/* The loops of one function; dx may be dy. of: gates and values that a token has. */
#define LOOPS(name)                                                                                \
    VECTORISED static void name##_forward(const float *x, float *y, int64_t count)                 \
    {                                                                                              \
        for (int64_t i = 0; i < count; i++) y[i] = curve_##name(x[i]).value;                       \
    }                                                                                              \
    VECTORISED static void name##_backward(const float *x, const float *dy, float *dx,             \
                                           int64_t count)                                          \
    {                                                                                              \
        for (int64_t i = 0; i < count; i++) dx[i] = dy[i] * curve_##name(x[i]).slope;              \
    }                                                                                              \
    VECTORISED static void name##_gate(const float *restrict x, float *restrict y, int64_t of)     \
    {                                                                                              \
        for (int64_t i = 0; i < of; i++) y[i] = curve_##name(x[i]).value * x[of + i];              \
    }                                                                                              \
    VECTORISED static void name##_gate_backward(const float *restrict x, const float *restrict dy, \
                                                float *restrict dx, int64_t of)                    \
    {                                                                                              \
        for (int64_t i = 0; i < of; i++) {                                                         \
            FunctionCurve c = curve_##name(x[i]);                                                  \
                                                                                                   \
            dx[i] = dy[i] * x[of + i] * c.slope;                                                   \
            dx[of + i] = dy[i] * c.value;                                                          \
        }                                                                                          \
    }

LOOPS(relu)
LOOPS(gelu)
LOOPS(gelu_tanh)
LOOPS(silu)
LOOPS(tanh)

typedef struct {
    void (*forward)(const float *x, float *y, int64_t count);
    void (*backward)(const float *x, const float *dy, float *dx, int64_t count);
    void (*gate)(const float *x, float *y, int64_t of);
    void (*gate_backward)(const float *x, const float *dy, float *dx, int64_t of);
} FunctionLoops;

/* In the order of Function. */
static const FunctionLoops loops[] = {
    {relu_forward, relu_backward, relu_gate, relu_gate_backward},
    {gelu_forward, gelu_backward, gelu_gate, gelu_gate_backward},
    {gelu_tanh_forward, gelu_tanh_backward, gelu_tanh_gate, gelu_tanh_gate_backward},
    {silu_forward, silu_backward, silu_gate, silu_gate_backward},
    {tanh_forward, tanh_backward, tanh_gate, tanh_gate_backward},
};

typedef struct {
    const FunctionLoops        *loops;
    const OperatorCall *call;
    int64_t             of;              /* gates of a token */
} FunctionTask;

static FunctionTask task_of(const Operator *op, const OperatorCall *call)
{
    return (FunctionTask){&loops[op->spec.layer->function], call, op->spec.out.channels};
}

/* ---- one number in, one out ---- */

static void forward_part(void *context, int64_t begin, int64_t end, int thread)
{
    const FunctionTask *t = context;

    (void)thread;
    t->loops->forward(t->call->x + begin, t->call->y + begin, end - begin);
}

static void backward_part(void *context, int64_t begin, int64_t end, int thread)
{
    const FunctionTask *t = context;

    (void)thread;
    t->loops->backward(t->call->x + begin, t->call->dy + begin, t->call->dx + begin, end - begin);
}

static int forward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    FunctionTask task = task_of(op, call);

    (void)plan, (void)err;
    cpu_parallel(op->device, call->rows * shape_count(op->spec.out), STEP, forward_part, &task);
    return 0;
}

static int backward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    FunctionTask task = task_of(op, call);

    (void)plan, (void)err;
    if (call->dx)
        cpu_parallel(op->device, call->rows * shape_count(op->spec.out), STEP, backward_part,
                     &task);
    return 0;
}

/* ---- gated ---- */

static void gate_part(void *context, int64_t begin, int64_t end, int thread)
{
    const FunctionTask *t = context;

    (void)thread;
    for (int64_t i = begin; i < end; i++)
        t->loops->gate(t->call->x + 2 * i * t->of, t->call->y + i * t->of, t->of);
}

static void gate_backward_part(void *context, int64_t begin, int64_t end, int thread)
{
    const FunctionTask *t = context;

    (void)thread;
    for (int64_t i = begin; i < end; i++)
        t->loops->gate_backward(t->call->x + 2 * i * t->of, t->call->dy + i * t->of,
                                t->call->dx + 2 * i * t->of, t->of);
}

static int64_t places_of(const Operator *op, const OperatorCall *call)
{
    return call->rows * op->spec.out.height * op->spec.out.width;
}

static int64_t places_a_step(const Operator *op) { return 1 + STEP / op->spec.out.channels; }

static int gated_forward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    FunctionTask task = task_of(op, call);

    (void)plan, (void)err;
    cpu_parallel(op->device, places_of(op, call), places_a_step(op), gate_part, &task);
    return 0;
}

static int gated_backward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    FunctionTask task = task_of(op, call);

    (void)plan, (void)err;
    if (call->dx)
        cpu_parallel(op->device, places_of(op, call), places_a_step(op), gate_backward_part, &task);
    return 0;
}

const CpuKind cpu_gelu = {.layer = LAYER_GELU, .forward = forward, .backward = backward};
const CpuKind cpu_silu = {.layer = LAYER_SILU, .forward = forward, .backward = backward};
const CpuKind cpu_tanh = {.layer = LAYER_TANH, .forward = forward, .backward = backward};
const CpuKind cpu_gated = {
    .layer = LAYER_GATED, .forward = gated_forward, .backward = gated_backward};
