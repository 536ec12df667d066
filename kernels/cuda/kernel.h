/* Our CUDA kernels, as functions that enqueue them: what the backend, in C, and the .cu files, in
 * C++, share. Memory is the device's. Each returns a cudaError_t (0: enqueued).
 *
 * No kernel adds with atomics: sums have a fixed order, so the same call gives the same
 * bits. Sizes are any; rows of channels that are a multiple of 4 and memory aligned to 16 bytes are
 * read four numbers at a time.
 *
 * Tensors, the void pointers, are of numbers of one type, KernelType; computed is in float32, sums
 * of channels in double at the end. Weights, their gradients and statistics are float32 always. */
#ifndef KERNELS_CUDA_KERNEL_H
#define KERNELS_CUDA_KERNEL_H

#include <stdint.h>

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { KERNEL_FLOAT, KERNEL_BF16 } KernelType;

/* ---- elementwise.cu: what goes over memory once ---- */

/* to += from */
int kernel_add(KernelType type, void *to, const void *from, int64_t count, cudaStream_t stream);

/* y = x cut to 0..limit (INFINITY: no limit); dx = dy where y lies between, else 0. In place or
 * not. */
int kernel_activation(KernelType type, const void *x, void *y, int64_t count, float limit,
                      cudaStream_t stream);
int kernel_activation_gradient(KernelType type, const void *y, const void *dy, void *dx,
                               int64_t count, float limit, cudaStream_t stream);

/* y[pixel][c] = y + bias[c] (NULL: none), cut to floor..limit */
int kernel_bias(KernelType type, void *y, const float *bias, int64_t pixels, int channels,
                float floor, float limit, cudaStream_t stream);

/* bfloat16, rounded to nearest even, and back. */
int kernel_to_bf16(void *to, const float *from, int64_t count, cudaStream_t stream);
int kernel_from_bf16(float *to, const void *from, int64_t count, cudaStream_t stream);

/* g = gradient + decay w; m = momentum m + g; w -= rate (of_gradient g + of_state m) over spans of
 * arrays. */
enum { KERNEL_SPANS = 64 };
typedef struct {
    int     count;
    int64_t first[KERNEL_SPANS], end[KERNEL_SPANS];      /* end: elements of this span and those
                                                          * before */
} KernelSpans;
typedef struct { float rate, momentum, decay, of_gradient, of_state; } KernelSgd;
int kernel_sgd(float *weight, const float *gradient, float *state, const KernelSpans *spans,
               const KernelSgd *step, cudaStream_t stream);

/* *flag, which the device reaches, becomes NaN when one of the numbers is not finite. 4 bytes an
 * element. */
int kernel_check_finite(const float *values, int64_t count, double *flag, cudaStream_t stream);

/* ---- channels.cu: sums a channel over pixels, in two stages; batch norm ---- */

/* Floats that the first stage leaves for the second, for any of the sums below. */
int64_t kernel_channel_partials(int64_t pixels, int channels);

/* out[c] = sum x[pixel][c] */
int kernel_channel_sums(KernelType type, const void *x, int64_t pixels, int channels,
                        float *partial, float *out, cudaStream_t stream);

/* Batch norm of [pixels][channels] with an activation, y = x scale + shift cut to floor..limit.
 * own: NORM_ROWS rows of stride floats, one a channel. */
enum { NORM_SCALE, NORM_SHIFT, NORM_MEAN, NORM_INVERSE, NORM_SUM, NORM_DOT, NORM_ROWS };
typedef struct {
    int64_t      pixels;
    int          channels, stride;
    float        floor, limit;
    float       *own;
    const float *weight, *bias;
    float       *mean, *variance;        /* running */
    float       *weight_gradient, *bias_gradient;
    float       *partial;
    double      *sums;                   /* [2 channels + 1]: a group's */
    KernelType   type;
    double       eps, momentum;          /* momentum: of the running statistics */
} KernelNorm;

/* Sums of x and x^2 become statistics (own, running ones); group: they become sums, to be added to
 * those of others, and kernel_norm_set() takes sums with the pixels of all. */
int kernel_norm_statistics(const KernelNorm *n, const void *x, int group, cudaStream_t stream);
int kernel_norm_set(const KernelNorm *n, cudaStream_t stream);
/* own from running statistics */
int kernel_norm_frozen(const KernelNorm *n, cudaStream_t stream);
int kernel_norm_apply(const KernelNorm *n, const void *x, void *y, cudaStream_t stream);
/* d = dy where y was not cut; gradients of weight and bias, and the means that apply needs or, for
 * a group, sums for kernel_norm_gradient_set(). */
int kernel_norm_gradients(const KernelNorm *n, const void *x, const void *dy, int group,
                          cudaStream_t stream);
int kernel_norm_gradient_set(const KernelNorm *n, cudaStream_t stream);
int kernel_norm_gradient_apply(const KernelNorm *n, const void *x, const void *dy, void *dx,
                               cudaStream_t stream);

/* ---- depthwise.cu: x [rows][in_height][in_width][channels], weights [channels][kernel][kernel]
 * ---- */

typedef struct {
    int64_t rows;
    int     channels, in_height, in_width, out_height, out_width, kernel, stride, padding;
    KernelType type;
} KernelDepthwise;

/* y = conv(x) + bias (NULL: none), cut to floor..limit */
int kernel_depthwise(const KernelDepthwise *d, const void *x, const float *weight,
                     const float *bias, void *y, float floor, float limit, cudaStream_t stream);
int kernel_depthwise_data(const KernelDepthwise *d, const void *dy, const float *weight, void *dx,
                          cudaStream_t stream);
int64_t kernel_depthwise_partials(const KernelDepthwise *d);             /* floats */
int     kernel_depthwise_weights(const KernelDepthwise *d, const void *x, const void *dy,
                                 float *partial, float *gradient, cudaStream_t stream);

/* ---- loss.cu: dy and the loss in one pass, and a small one over what blocks summed ---- */

enum { KERNEL_LOSS_PARTIALS = 1024 };    /* doubles; of soft cross-entropy, one a row */

/* dy = 2 scale (s - t); *loss = scale sum (s - t)^2 */
int kernel_mse(const float *student, const float *teacher, float *dy, int64_t count, double scale,
               double *partial, double *loss, cudaStream_t stream);
/* a row: -sum p(t) log p(s); dy = scale (p(s) - p(t)) */
int kernel_cross_entropy(const float *student, const float *teacher, float *dy, int64_t rows,
                         int64_t per_row, double scale, double *partial, double *loss,
                         cudaStream_t stream);

/* ---- layout.cu ---- */

/* [rows][a][b] to [rows][b][a] */
int kernel_transpose(KernelType type, const void *from, void *to, int64_t rows, int64_t a,
                     int64_t b, cudaStream_t stream);

/* A frozen batch norm goes into weights [outputs][each] and bias: w g / sqrt(v + e); beta + (bias -
 * mean) g / sqrt(v + e) */
int kernel_fold(const KernelNorm *n, const float *weight, const float *bias, int64_t each,
                float *folded, float *folded_bias, cudaStream_t stream);

/* ---- pool.cu ---- */

typedef struct {
    int64_t rows;
    int channels, in_height, in_width, out_height, out_width, kernel_height, kernel_width, stride,
        padding;
    KernelType type;
} KernelPool;

/* place (NULL: not wanted): [rows][out], the pixel of x each maximum came from; the first of
 * equals */
int kernel_maxpool(const KernelPool *p, const void *x, void *y, int *place, cudaStream_t stream);
int kernel_maxpool_gradient(const KernelPool *p, const int *place, const void *dy, void *dx,
                            cudaStream_t stream);
/* padding counts, as zeros */
int kernel_avgpool(const KernelPool *p, const void *x, void *y, cudaStream_t stream);
int kernel_avgpool_gradient(const KernelPool *p, const void *dy, void *dx, cudaStream_t stream);

/* ---- group.cu: 8 bytes an element and member ---- */

/* Arrays of members, which the kernel's device reaches. */
enum { KERNEL_MEMBERS = 64 };
typedef struct {
    int   count;
    void *values[KERNEL_MEMBERS];
} KernelMembers;

/* Each becomes the sum of all, in their order. Floats. */
int kernel_sum_members(const KernelMembers *members, int64_t count, cudaStream_t stream);
/* to may be one of them. */
int kernel_sum_doubles(double *to, const KernelMembers *members, int64_t count,
                       cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
