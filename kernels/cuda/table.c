/* What the table names and is no operator: sums, conversions, the update, losses. */
#include "kernels/cuda/cuda.h"

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

void cuda_sgd(Device *base, float *weight, const float *gradient, float *state,
              const ParameterSpan *spans, int count, const UpdateStep *step)
{
    CudaDevice *device = cuda_device(base);
    KernelSgd   sgd = {step->learning_rate, step->momentum, step->weight_decay,
                     step->nesterov ? 1.0f : 0.0f, step->nesterov ? step->momentum : 1.0f};

    for (int done = 0; done < count;) {
        KernelSpans some = {0};
        int64_t     end = 0;

        while (some.count < KERNEL_SPANS && done < count) {
            some.first[some.count] = spans[done].first;
            some.end[some.count++] = end += spans[done++].count;
        }
        cuda_note(device,
                  (cudaError_t)kernel_sgd(weight, gradient, state, &some, &sgd, device->stream),
                  "an update");
    }
}

void cuda_check_finite(Device *base, const float *values, int64_t count, double *flag)
{
    CudaDevice *device = cuda_device(base);

    if (count == 0) return;
    cuda_note(device, (cudaError_t)kernel_check_finite(values, count, flag, device->stream),
              "a look at weights");
}

/* Scratch: the loss, and what blocks summed. It must hold KERNEL_LOSS_PARTIALS or rows doubles
 * more. */
static double *loss_memory(CudaDevice *device, int64_t partials)
{
    Error err = {""};

    if (cuda_reserve_scratch(device, 2 * (partials + 1), &err) == 0)
        return (double *)(void *)device->scratch;
    if (!device->failure.text[0]) device->failure = err;
    return NULL;
}

void cuda_loss(Device *base, const LossCall *call)
{
    CudaDevice  *device = cuda_device(base);
    bool         mse = call->kind == LOSS_MSE;
    int64_t      rows = call->rows * call->places;
    double       scale = 1.0 / (double)call->global_rows / (double)call->places;
    double      *slot =
        loss_memory(device, mse || rows < KERNEL_LOSS_PARTIALS ? KERNEL_LOSS_PARTIALS : rows);
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
