/* Convolutions by cuDNN, forward and both gradients: windows above 1x1 over all channels, or groups
 * of several. Channels last, weights [out][kernel][kernel][in].
 *
 * cuDNN measures its algorithms (cudnnFind...Ex); taken is the fastest that gives the same bits
 * each time and fits the workspace. fp32 keeps to float32 multiplication, tf32 allows the tensor
 * cores. */
#include <stdio.h>

#include "kernels/cuda/cuda.h"

enum { FOUND = 16 };

static cudnnDataType_t type_of(bool half) { return half ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT; }

static cudnnMathType_t math_of(const CudaDevice *device, bool half)
{
    return half                                  ? CUDNN_TENSOR_OP_MATH
           : device->precision == PRECISION_TF32 ? CUDNN_DEFAULT_MATH
                                                 : CUDNN_FMA_MATH;
}

static int describe_tensor(cudnnTensorDescriptor_t *out, int64_t rows, Shape s, bool half,
                           const char *what, Error *err)
{
    return cudnn_failed(cudnnCreateTensorDescriptor(out), what, err) != 0
                   || cudnn_failed(cudnnSetTensor4dDescriptor(*out, CUDNN_TENSOR_NHWC,
                                                              type_of(half), (int)rows, s.channels,
                                                              s.height, s.width),
                                   what, err)
                          != 0
               ? -1
               : 0;
}

/* One each for forward and the two gradients: the math type that an algorithm wants is in it. */
static int describe_convolution(cudnnConvolutionDescriptor_t *out, const CudaDevice *device,
                                const OperatorSpec *s, bool half, const char *what, Error *err)
{
    return cudnn_failed(cudnnCreateConvolutionDescriptor(out), what, err) != 0
                   || cudnn_failed(cudnnSetConvolution2dDescriptor(
                                       *out, s->padding, s->padding, s->stride, s->stride, 1, 1,
                                       CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
                                   what, err)
                          != 0
                   || cudnn_failed(cudnnSetConvolutionGroupCount(*out, s->groups), what, err) != 0
                   || cudnn_failed(cudnnSetConvolutionMathType(*out, math_of(device, half)), what,
                                   err)
                          != 0
               ? -1
               : 0;
}

/* ---- measuring ---- */

typedef struct {
    Spatial      *s;
    cudnnHandle_t handle;
    void         *x, *y, *w, *workspace;
} SpatialTrial;

typedef enum { FORWARD, DATA, WEIGHTS } SpatialDirection;

/* What the three kinds of results have in common. */
typedef struct {
    int    algorithm, math, status, determinism;
    bool   usable;
    double us;
    size_t workspace;
} Found;

#define COLLECT(results)                                                                  \
    for (int i = 0; i < *count; i++) out[i] = (Found)                                     \
        {                                                                                 \
            (int)(results)[i].algo, (int)(results)[i].mathType, (int)(results)[i].status, \
                (int)(results)[i].determinism,                                            \
                (results)[i].status == CUDNN_STATUS_SUCCESS                               \
                    && (results)[i].determinism == CUDNN_DETERMINISTIC,                   \
                1e3 * (double)(results)[i].time, (results)[i].memory                      \
        }

/* Lets cuDNN time its algorithms for a direction, the fastest first: *count of them in out. */
static cudnnStatus_t find(Found *out, int *count, const SpatialTrial *t, SpatialDirection direction)
{
    const Spatial *s = t->s;
    cudnnStatus_t  status;

    *count = 0;
    if (direction == FORWARD) {
        cudnnConvolutionFwdAlgoPerf_t results[FOUND];

        status = cudnnFindConvolutionForwardAlgorithmEx(
            t->handle, s->x, t->x, s->w, t->w, s->forward, s->y, t->y, FOUND, count, results,
            t->workspace, SPATIAL_WORKSPACE_BYTES);
        COLLECT(results);
    } else if (direction == DATA) {
        cudnnConvolutionBwdDataAlgoPerf_t results[FOUND];

        status = cudnnFindConvolutionBackwardDataAlgorithmEx(
            t->handle, s->w, t->w, s->y, t->y, s->data, s->x, t->x, FOUND, count, results,
            t->workspace, SPATIAL_WORKSPACE_BYTES);
        COLLECT(results);
    } else {
        cudnnConvolutionBwdFilterAlgoPerf_t results[FOUND];

        status = cudnnFindConvolutionBackwardFilterAlgorithmEx(
            t->handle, s->x, t->x, s->y, t->y, s->weights, s->w, t->w, FOUND, count, results,
            t->workspace, SPATIAL_WORKSPACE_BYTES);
        COLLECT(results);
    }
    return status;
}

/* Says what cuDNN had, as it is nowhere written what it has. */
static int none_found(const Found *found, int count, const char *what, Error *err)
{
    char   text[256] = "";
    size_t length = 0;

    for (int i = 0; i < count && length < sizeof text; i++)
        length += (size_t)snprintf(text + length, sizeof text - length,
                                   "%s%d (status %d, determinism %d, math %d, %zu KiB)",
                                   i ? ", " : "", found[i].algorithm, found[i].status,
                                   found[i].determinism, found[i].math, found[i].workspace >> 10);
    return error_set(
        err, "%s: cuDNN has no algorithm for it that gives the same bits each time; it has %s",
        what, count ? text : "none");
}

/* The first usable one: they come fastest first. fp32 passes over those that want tensor cores. */
static int choose(Choice *out, const SpatialTrial *t, const CudaDevice *device,
                  SpatialDirection direction, const char *what, Error *err)
{
    Found         found[FOUND];
    int           count;
    cudnnStatus_t status = find(found, &count, t, direction);

    for (int i = 0; i < count; i++) {
        if (!found[i].usable || found[i].workspace > SPATIAL_WORKSPACE_BYTES) continue;
        if (device->precision == PRECISION_FP32 && found[i].math != CUDNN_FMA_MATH
            && found[i].math != CUDNN_DEFAULT_MATH)
            continue;
        out->algorithm.cudnn[0] = found[i].algorithm;
        out->algorithm.cudnn[1] =
            device->precision == PRECISION_FP32 ? (int)CUDNN_FMA_MATH : found[i].math;
        out->workspace = found[i].workspace;
        out->us = found[i].us;
        snprintf(out->text, sizeof out->text, "cuDNN's algorithm %d, math %d", found[i].algorithm,
                 out->algorithm.cudnn[1]);
        return 0;
    }
    if (cudnn_failed(status, what, err) != 0) return -1;
    return none_found(found, count, what, err);
}

static Choice *choice_of(Spatial *s, SpatialDirection direction)
{
    return direction == FORWARD ? &s->forward_choice
           : direction == DATA  ? &s->data_choice
                                : &s->weights_choice;
}

static void set_key(Choice *out, const CudaDevice *device, const OperatorSpec *s, int64_t rows,
                    bool half, SpatialDirection direction)
{
    static const char *const names[] = {"forward", "data gradient", "weight gradient"};

    snprintf(out->key, sizeof out->key,
             "convolution %lldx%dx%dx%d to %d, %dx%d stride %d padding %d groups %d, %s, %s, %d "
             "multiprocessors of sm_%d",
             (long long)rows, s->in.channels, s->in.height, s->in.width, s->out.channels,
             s->kernel_height, s->kernel_width, s->stride, s->padding, s->groups, names[direction],
             half                                  ? "bf16"
             : device->precision == PRECISION_TF32 ? "tf32"
                                                   : "fp32",
             device->processors, device->capability);
}

/* Measures what is not in the table. Locked. */
static int choose_all(Spatial *s, CudaDevice *device, const OperatorSpec *spec, int64_t rows,
                      bool half, const char *what, Error *err)
{
    size_t each = half ? 2 : sizeof(float);
    SpatialTrial  t = {.s = s};
    int    rc = 0;

    for (int d = FORWARD; rc == 0 && d <= WEIGHTS; d++) {
        Choice *choice = choice_of(s, (SpatialDirection)d);

        if (d == DATA && !spec->data_gradient) continue;
        if (d == WEIGHTS && spec->frozen) continue;
        set_key(choice, device, spec, rows, half, (SpatialDirection)d);
        if (choice_find(choice, choice->key)) continue;
        if (!t.workspace) {
            rc = cuda_cudnn(device, &t.handle, err);
            t.x = choice_memory(device, (size_t)(rows * shape_count(spec->in)) * each, true);
            t.y = choice_memory(device, (size_t)(rows * shape_count(spec->out)) * each, true);
            t.w = choice_memory(device,
                                (size_t)(spec->out.channels * (spec->in.channels / spec->groups))
                                    * (size_t)(spec->kernel_height * spec->kernel_width) * each,
                                true);
            t.workspace = choice_memory(device, SPATIAL_WORKSPACE_BYTES, false);
            if (rc == 0 && (!t.x || !t.y || !t.w || !t.workspace))
                rc = error_set(err, "%s: the GPU's memory is full: no room to choose an algorithm",
                               what);
        }
        if (rc == 0) rc = choose(choice, &t, device, (SpatialDirection)d, what, err);
        if (rc == 0) rc = choice_add(choice, err);
    }
    cudaFree(t.x), cudaFree(t.y), cudaFree(t.w), cudaFree(t.workspace);
    return rc;
}

int spatial_make(Spatial *out, CudaDevice *device, const OperatorSpec *spec, int64_t rows,
                 bool half, const char *what, Error *err)
{
    cudnnConvolutionDescriptor_t *convolutions[] = {&out->forward, &out->data, &out->weights};
    int                           rc = 0, shape[4] = {0};

    *out = (Spatial){0};
    if (describe_tensor(&out->x, rows, spec->in, half, what, err) != 0
        || describe_tensor(&out->y, rows, spec->out, half, what, err) != 0
        || cudnn_failed(cudnnCreateFilterDescriptor(&out->w), what, err) != 0
        || cudnn_failed(cudnnSetFilter4dDescriptor(out->w, type_of(half), CUDNN_TENSOR_NHWC,
                                                   spec->out.channels,
                                                   spec->in.channels / spec->groups,
                                                   spec->kernel_height, spec->kernel_width),
                        what, err)
               != 0)
        rc = -1;
    for (int d = FORWARD; rc == 0 && d <= WEIGHTS; d++)
        rc = describe_convolution(convolutions[d], device, spec, half, what, err);
    if (rc == 0)
        rc = cudnn_failed(cudnnGetConvolution2dForwardOutputDim(out->forward, out->x, out->w,
                                                                &shape[0], &shape[1], &shape[2],
                                                                &shape[3]),
                          what, err);
    if (rc == 0
        && (shape[1] != spec->out.channels || shape[2] != spec->out.height
            || shape[3] != spec->out.width))
        rc = error_set(err, "%s: cuDNN refuses its shapes", what);
    if (rc == 0) {
        choices_lock();
        rc = choose_all(out, device, spec, rows, half, what, err);
        choices_unlock();
    }
    for (int d = FORWARD; rc == 0 && d <= WEIGHTS; d++)
        if (choice_of(out, (SpatialDirection)d)->key[0])
            rc = cudnn_failed(
                cudnnSetConvolutionMathType(
                    *convolutions[d],
                    (cudnnMathType_t)choice_of(out, (SpatialDirection)d)->algorithm.cudnn[1]),
                what, err);
    if (rc != 0) spatial_free(out);
    return rc;
}

void spatial_free(Spatial *s)
{
    if (s->x) cudnnDestroyTensorDescriptor(s->x);
    if (s->y) cudnnDestroyTensorDescriptor(s->y);
    if (s->w) cudnnDestroyFilterDescriptor(s->w);
    if (s->forward) cudnnDestroyConvolutionDescriptor(s->forward);
    if (s->data) cudnnDestroyConvolutionDescriptor(s->data);
    if (s->weights) cudnnDestroyConvolutionDescriptor(s->weights);
    *s = (Spatial){0};
}

size_t spatial_workspace(const Spatial *s)
{
    size_t most = s->forward_choice.workspace;

    if (s->data_choice.workspace > most) most = s->data_choice.workspace;
    return s->weights_choice.workspace > most ? s->weights_choice.workspace : most;
}

int spatial_forward(const Spatial *s, CudaDevice *device, const void *x, const void *w, void *y,
                    void *workspace, const char *what, Error *err)
{
    float         one = 1.0f, zero = 0.0f;
    cudnnHandle_t handle;

    if (cuda_cudnn(device, &handle, err) != 0) return -1;
    return cudnn_failed(
        cudnnConvolutionForward(handle, &one, s->x, x, s->w, w, s->forward,
                                (cudnnConvolutionFwdAlgo_t)s->forward_choice.algorithm.cudnn[0],
                                workspace, s->forward_choice.workspace, &zero, s->y, y),
        what, err);
}

int spatial_data(const Spatial *s, CudaDevice *device, const void *dy, const void *w, void *dx,
                 void *workspace, const char *what, Error *err)
{
    float         one = 1.0f, zero = 0.0f;
    cudnnHandle_t handle;

    if (cuda_cudnn(device, &handle, err) != 0) return -1;
    return cudnn_failed(cudnnConvolutionBackwardData(
                            handle, &one, s->w, w, s->y, dy, s->data,
                            (cudnnConvolutionBwdDataAlgo_t)s->data_choice.algorithm.cudnn[0],
                            workspace, s->data_choice.workspace, &zero, s->x, dx),
                        what, err);
}

int spatial_weights(const Spatial *s, CudaDevice *device, const void *x, const void *dy, void *dw,
                    void *workspace, const char *what, Error *err)
{
    float         one = 1.0f, zero = 0.0f;
    cudnnHandle_t handle;

    if (cuda_cudnn(device, &handle, err) != 0) return -1;
    return cudnn_failed(cudnnConvolutionBackwardFilter(
                            handle, &one, s->x, x, s->y, dy, s->weights,
                            (cudnnConvolutionBwdFilterAlgo_t)s->weights_choice.algorithm.cudnn[0],
                            workspace, s->weights_choice.workspace, &zero, s->w, dw),
                        what, err);
}
