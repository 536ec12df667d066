/* What the table names and is no operator: sums, conversions, updates, losses. */
#include <assert.h>
#include <math.h>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/sequence/sequence.h"
#include "kernels/cuda/sequence/training.h"

void cuda_put_ints(Device *base, int *to, const int *from, int64_t count)
{
    CudaDevice *device = cuda_device(base);

    cuda_note(device, (cudaError_t)kernel_put_ints(to, from, count, device->stream), "lengths");
}

void cuda_add_floats(Device *base, float *to, const float *from, int64_t count)
{
    CudaDevice *device = cuda_device(base);

    cuda_note(device, (cudaError_t)kernel_add(KERNEL_FLOAT, to, from, count, device->stream),
              "a sum");
}

void cuda_add(Device *base, float *to, const float *from, int64_t count)
{
    CudaDevice *device = cuda_device(base);

    cuda_note(device, (cudaError_t)kernel_add(cuda_type(device), to, from, count, device->stream),
              "a sum");
}

bool cuda_is_half(const Device *device) { return cuda_half((const CudaDevice *)device); }

void cuda_narrow(Device *base, float *to, const float *from, int64_t count)
{
    CudaDevice *device = cuda_device(base);

    cuda_note(device, (cudaError_t)kernel_to_bf16(to, from, count, device->stream),
              "a copy in bfloat16");
}

void cuda_widen(Device *base, float *to, const float *from, int64_t count)
{
    CudaDevice *device = cuda_device(base);

    cuda_note(device, (cudaError_t)kernel_from_bf16(to, from, count, device->stream),
              "a copy of bfloat16");
}

/* Scratch for count doubles; NULL: there is no memory, which is noted. */
static double *scratch_doubles(CudaDevice *device, int64_t count)
{
    Error err = {""};

    if (cuda_reserve_scratch(device, 2 * count, &err) == 0)
        return (double *)(void *)device->scratch;
    if (!device->failure.text[0]) device->failure = err;
    return NULL;
}

/* ---- updates ---- */

/* The next spans of count that one launch takes, from *done on; false: there are none. */
static bool next_spans(KernelSpans *out, const ParameterSpan *spans, int count, int *done)
{
    int64_t end = 0;

    *out = (KernelSpans){0};
    while (out->count < KERNEL_SPANS && *done < count) {
        out->first[out->count] = spans[*done].first;
        out->end[out->count++] = end += spans[(*done)++].count;
    }
    return out->count > 0;
}

/* Gradients are made shorter so that the norm of all of them is at most clip; 0: they are left. */
static void clip_gradients(CudaDevice *device, float *gradient, const ParameterSpan *spans,
                           int count, float clip)
{
    double     *sum = clip > 0.0f ? scratch_doubles(device, KERNEL_SQUARE_PARTS + 1) : NULL;
    KernelSpans some;
    int         status = 0;

    if (!sum) return;
    for (int done = 0, add = 0; status == 0 && next_spans(&some, spans, count, &done); add = 1)
        status = kernel_squares(gradient, &some, sum + 1, sum, add, device->stream);
    for (int done = 0; status == 0 && next_spans(&some, spans, count, &done);)
        status = kernel_clip(gradient, &some, sum, clip, device->stream);
    cuda_note(device, (cudaError_t)status, "clipping");
}

void cuda_sgd(Device *base, float *weight, float *gradient, float *state,
              const ParameterSpan *spans, int count, const UpdateStep *step)
{
    CudaDevice *device = cuda_device(base);
    KernelSpans some;
    KernelSgd   sgd = {step->learning_rate, step->momentum, step->weight_decay,
                     step->nesterov ? 1.0f : 0.0f, step->nesterov ? step->momentum : 1.0f};

    clip_gradients(device, gradient, spans, count, step->clip);
    for (int done = 0; next_spans(&some, spans, count, &done);)
        cuda_note(device,
                  (cudaError_t)kernel_sgd(weight, gradient, state, &some, &sgd, device->stream),
                  "an update");
}

void cuda_adamw(Device *base, float *weight, float *gradient, float *mean, float *square,
                const ParameterSpan *spans, int count, const UpdateStep *s)
{
    CudaDevice *device = cuda_device(base);
    double      first = 1.0 - pow((double)s->beta1, (double)s->number),
           second = 1.0 - pow((double)s->beta2, (double)s->number);
    KernelAdamW adamw = {1.0f - s->learning_rate * s->weight_decay,
                         (float)((double)s->learning_rate / first), (float)(1.0 / sqrt(second)),
                         s->beta1, s->beta2, s->eps};
    KernelSpans some;

    clip_gradients(device, gradient, spans, count, s->clip);
    for (int done = 0; next_spans(&some, spans, count, &done);)
        cuda_note(device,
                  (cudaError_t)kernel_adamw(weight, gradient, mean, square, &some, &adamw,
                                            device->stream),
                  "an update");
}

void cuda_check_finite(Device *base, const float *values, int64_t count, double *flag)
{
    CudaDevice *device = cuda_device(base);

    if (count == 0) return;
    cuda_note(device, (cudaError_t)kernel_check_finite(values, count, flag, device->stream),
              "a look at weights");
}

/* ---- losses ---- */

static_assert((int)KERNEL_LOSS_MSE == (int)LOSS_MSE
                  && (int)KERNEL_LOSS_SOFT_CROSS_ENTROPY == (int)LOSS_SOFT_CROSS_ENTROPY
                  && (int)KERNEL_LOSS_NORMALISED_MSE == (int)LOSS_NORMALISED_MSE
                  && (int)KERNEL_LOSS_COSINE == (int)LOSS_COSINE
                  && (int)KERNEL_LOSS_KL == (int)LOSS_KL
                  && (int)KERNEL_LOSS_HARD_CROSS_ENTROPY == (int)LOSS_HARD_CROSS_ENTROPY
                  && (int)KERNEL_LOSS_LABEL_CROSS_ENTROPY == (int)LOSS_LABEL_CROSS_ENTROPY,
              "kernels number losses as workloads do");

/* MSE and soft cross-entropy where all places count: over memory as one line, or a row a block. */
static void plain_loss(CudaDevice *device, const LossCall *call)
{
    bool         mse = call->kind == LOSS_MSE;
    int64_t      rows = call->rows * call->places;
    double       scale = 1.0 / (double)call->global_rows / (double)call->places;
    double      *slot = scratch_doubles(
             device, 1 + (mse || rows < KERNEL_LOSS_PARTIALS ? KERNEL_LOSS_PARTIALS : rows));
    cudaStream_t stream = device->stream;
    int          status;

    if (!slot) return;
    status = mse ? kernel_mse(call->student, call->teacher, call->dy, rows * call->channels,
                              scale / (double)call->channels, slot + 1, slot, stream)
                 : kernel_cross_entropy(call->student, call->teacher, call->dy, rows,
                                        call->channels, scale, slot + 1, slot, stream);
    cuda_note(device, (cudaError_t)status, "a loss");
    cuda_note(device,
              cudaMemcpyAsync(call->loss, slot, sizeof *call->loss, cudaMemcpyDeviceToHost, stream),
              "a loss");
}

/* Scratch: what blocks summed, then lengths or labels. */
static void place_loss(CudaDevice *device, const LossCall *call)
{
    const int      *given = call->labels ? call->labels : call->lengths;
    int64_t         places = call->rows * call->places, doubles = places + call->rows,
            ints = call->labels ? places : call->lengths ? call->rows : 0;
    double         *partial = scratch_doubles(device, doubles + (ints + 1) / 2);
    KernelPlaceLoss l = {.kind = (KernelLossKind)call->kind, .student = call->student,
                         .teacher = call->teacher, .dy = call->dy, .rows = call->rows,
                         .places = call->places, .channels = call->channels,
                         .temperature = call->temperature,
                         .scale = 1.0 / (double)call->global_rows, .add = call->add,
                         .partial = partial, .loss = call->loss};

    if (!partial) return;
    if (call->kind != LOSS_NORMALISED_MSE)
        l.scale = given ? 1.0 / (double)call->global_places : l.scale / (double)call->places;
    if (given) {
        int *copy = (int *)(void *)(partial + doubles);

        cuda_put_ints(&device->base, copy, given, ints);
        *(call->labels ? &l.labels : &l.lengths) = copy;
    }
    cuda_note(device, (cudaError_t)kernel_place_loss(&l, device->stream), "a loss");
}

void cuda_loss(Device *base, const LossCall *call)
{
    bool plain = call->kind == LOSS_MSE || call->kind == LOSS_SOFT_CROSS_ENTROPY;

    if (plain && !call->lengths && !call->labels && !call->add) plain_loss(cuda_device(base), call);
    else place_loss(cuda_device(base), call);
}
