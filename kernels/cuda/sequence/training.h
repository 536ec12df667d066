/* Our CUDA kernels of losses over places, AdamW and clipping, as kernel.h's: each enqueues, and
 * returns a cudaError_t. */
#ifndef KERNELS_CUDA_TRAINING_H
#define KERNELS_CUDA_TRAINING_H

#include "kernels/cuda/kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- losses.cu: formulas at LossCall (kernels/net.h) ---- */

/* In the order of LossKind (workloads/workload.h). */
typedef enum {
    KERNEL_LOSS_MSE,
    KERNEL_LOSS_SOFT_CROSS_ENTROPY,
    KERNEL_LOSS_NORMALISED_MSE,
    KERNEL_LOSS_COSINE,
    KERNEL_LOSS_KL,
    KERNEL_LOSS_HARD_CROSS_ENTROPY,
    KERNEL_LOSS_LABEL_CROSS_ENTROPY
} KernelLossKind;

/* lengths [rows], labels [rows][places]: in the device's memory, NULL: none; with labels a place
 * counts where its label is not negative, else those before its row's length do. */
typedef struct {
    KernelLossKind kind;
    const float   *student, *teacher;    /* [rows][places][channels] */
    float         *dy;
    int64_t        rows, places, channels;
    const int     *lengths, *labels;
    double         temperature, scale;   /* scale: 1 / what counts in the whole batch */
    int            add;      /* to what *loss is */
    double        *partial;  /* [rows (places + 1)] to work in */
    double        *loss;     /* which the device reaches */
} KernelPlaceLoss;
/* Writes dy and *loss. */
int kernel_place_loss(const KernelPlaceLoss *l, cudaStream_t stream);

/* ---- update.cu ---- */

/* m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; w = keep w - rate m / (sqrt(v) root +
 * eps) over spans of arrays. */
typedef struct { float keep, rate, root, beta1, beta2, eps; } KernelAdamW;
int kernel_adamw(float *weight, const float *gradient, float *mean, float *square,
                 const KernelSpans *spans, const KernelAdamW *step, cudaStream_t stream);

/* *sum = (add: *sum +) the spans' squares; partial: [KERNEL_SQUARE_PARTS] */
enum { KERNEL_SQUARE_PARTS = 1024 };
int kernel_squares(const float *values, const KernelSpans *spans, double *partial, double *sum,
                   int add, cudaStream_t stream);
/* values become shorter by clip / (norm + 1e-6), where norm = sqrt(*sum) and that is below 1. */
int kernel_clip(float *values, const KernelSpans *spans, const double *sum, float clip,
                cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
