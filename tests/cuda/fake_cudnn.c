/* cuDNN's convolutions as loops, channels last. Algorithm 0 is the fastest that is found, and said
 * not to give the same bits each time; algorithm 1 wants workspace. */
#include <cudnn.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cuda/fake.h"

enum { WORKSPACE = 8192 };

struct cudnnContext { cudaStream_t stream; };
struct cudnnTensorStruct { cudnnDataType_t type; int n, c, h, w; };
struct cudnnFilterStruct { cudnnDataType_t type; int k, c, h, w; };
struct cudnnConvolutionStruct { int padding, stride, groups; cudnnMathType_t math; };

const char *cudnnGetErrorString(cudnnStatus_t status)
{
    return status == CUDNN_STATUS_SUCCESS ? "success" : "the fake refuses it";
}
size_t cudnnGetVersion(void) { return CUDNN_VERSION; }

static cudnnStatus_t made(void *memory)
{
    return memory ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_ALLOC_FAILED;
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *out) { return made(*out = calloc(1, sizeof **out)); }
cudnnStatus_t cudnnDestroy(cudnnHandle_t h) { free(h); return CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnSetStream(cudnnHandle_t h, cudaStream_t s)
{
    h->stream = s;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *out)
{
    return made(*out = calloc(1, sizeof **out));
}
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t t)
{
    free(t);
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t *out)
{
    return made(*out = calloc(1, sizeof **out));
}
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t f)
{
    free(f);
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t *out)
{
    return made(*out = calloc(1, sizeof **out));
}
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t c)
{
    free(c);
    return CUDNN_STATUS_SUCCESS;
}

static bool known(cudnnTensorFormat_t format, cudnnDataType_t type)
{
    return format == CUDNN_TENSOR_NHWC && (type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_BFLOAT16);
}

cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t t, cudnnTensorFormat_t format,
                                         cudnnDataType_t type, int n, int c, int h, int w)
{
    if (!known(format, type) || n < 1 || c < 1 || h < 1 || w < 1) return CUDNN_STATUS_BAD_PARAM;
    *t = (struct cudnnTensorStruct){type, n, c, h, w};
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t f, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w)
{
    if (!known(format, type)) return CUDNN_STATUS_BAD_PARAM;
    *f = (struct cudnnFilterStruct){type, k, c, h, w};
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t d, int pad_h, int pad_w,
                                              int u, int v, int dilation_h, int dilation_w,
                                              cudnnConvolutionMode_t mode, cudnnDataType_t type)
{
    if (pad_h != pad_w || u != v || dilation_h != 1 || dilation_w != 1
        || mode != CUDNN_CROSS_CORRELATION || type != CUDNN_DATA_FLOAT)
        return CUDNN_STATUS_NOT_SUPPORTED;
    *d = (struct cudnnConvolutionStruct){pad_h, u, 1, CUDNN_DEFAULT_MATH};
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t d, int groups)
{
    d->groups = groups;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t d, cudnnMathType_t math)
{
    d->math = math;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolution2dForwardOutputDim(const cudnnConvolutionDescriptor_t d,
                                                    const cudnnTensorDescriptor_t      x,
                                                    const cudnnFilterDescriptor_t w, int *n, int *c,
                                                    int *h, int *width)
{
    if (x->c != w->c * d->groups) return CUDNN_STATUS_BAD_PARAM;
    *n = x->n, *c = w->k;
    *h = (x->h + 2 * d->padding - w->h) / d->stride + 1;
    *width = (x->w + 2 * d->padding - w->w) / d->stride + 1;
    return CUDNN_STATUS_SUCCESS;
}

/* ---- choosing ---- */

#define FIND(results, found, wanted, math_type)                                                \
    do {                                                                                       \
        *(found) = 0;                                                                          \
        for (int i = 0; i < 2 && i < (wanted); i++) {                                          \
            memset(&(results)[i], 0, sizeof *(results));                                       \
            (results)[i].algo = i;                                                             \
            (results)[i].status = CUDNN_STATUS_SUCCESS;                                        \
            (results)[i].time = (float)(i + 1);                                                \
            (results)[i].memory = i == 1 ? WORKSPACE : 0;                                      \
            (results)[i].determinism = i == 0 ? CUDNN_NON_DETERMINISTIC : CUDNN_DETERMINISTIC; \
            (results)[i].mathType = (math_type);                                               \
            ++*(found);                                                                        \
        }                                                                                      \
    } while (0)

cudnnStatus_t cudnnFindConvolutionForwardAlgorithmEx(
    cudnnHandle_t h, const cudnnTensorDescriptor_t xd, const void *x,
    const cudnnFilterDescriptor_t wd, const void *w, const cudnnConvolutionDescriptor_t d,
    const cudnnTensorDescriptor_t yd, void *y, const int wanted, int *found,
    cudnnConvolutionFwdAlgoPerf_t *results, void *workspace, size_t bytes)
{
    (void)h, (void)xd, (void)wd, (void)yd, (void)workspace, (void)bytes;
    if (!fake_is_device(x) || !fake_is_device(w) || !fake_is_device(y))
        return CUDNN_STATUS_BAD_PARAM;
    FIND(results, found, wanted, d->math);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnFindConvolutionBackwardDataAlgorithmEx(
    cudnnHandle_t h, const cudnnFilterDescriptor_t wd, const void *w,
    const cudnnTensorDescriptor_t yd, const void *dy, const cudnnConvolutionDescriptor_t d,
    const cudnnTensorDescriptor_t xd, void *dx, const int wanted, int *found,
    cudnnConvolutionBwdDataAlgoPerf_t *results, void *workspace, size_t bytes)
{
    (void)h, (void)xd, (void)wd, (void)yd, (void)workspace, (void)bytes;
    if (!fake_is_device(dx) || !fake_is_device(w) || !fake_is_device(dy))
        return CUDNN_STATUS_BAD_PARAM;
    FIND(results, found, wanted, d->math);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnFindConvolutionBackwardFilterAlgorithmEx(
    cudnnHandle_t h, const cudnnTensorDescriptor_t xd, const void *x,
    const cudnnTensorDescriptor_t yd, const void *dy, const cudnnConvolutionDescriptor_t d,
    const cudnnFilterDescriptor_t wd, void *dw, const int wanted, int *found,
    cudnnConvolutionBwdFilterAlgoPerf_t *results, void *workspace, size_t bytes)
{
    (void)h, (void)xd, (void)wd, (void)yd, (void)workspace, (void)bytes;
    if (!fake_is_device(x) || !fake_is_device(dw) || !fake_is_device(dy))
        return CUDNN_STATUS_BAD_PARAM;
    FIND(results, found, wanted, d->math);
    return CUDNN_STATUS_SUCCESS;
}

/* ---- the loops ---- */

static float get(const void *memory, cudnnDataType_t type, int64_t i)
{
    uint32_t bits;
    float    value;

    if (type == CUDNN_DATA_FLOAT) return ((const float *)memory)[i];
    bits = (uint32_t)((const uint16_t *)memory)[i] << 16;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float *floats(const void *memory, cudnnDataType_t type, int64_t count)
{
    float *out = calloc((size_t)count, sizeof *out);

    if (!out) abort();
    for (int64_t i = 0; memory && i < count; i++) out[i] = get(memory, type, i);
    return out;
}

static void put_all(void *memory, cudnnDataType_t type, const float *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;

        if (type == CUDNN_DATA_FLOAT) { ((float *)memory)[i] = from[i]; continue; }
        memcpy(&bits, &from[i], sizeof bits);
        ((uint16_t *)memory)[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
}

typedef enum { FORWARD, DATA, WEIGHTS } FakeDirection;

typedef struct {
    struct cudnnTensorStruct      x, y;
    struct cudnnFilterStruct      w;
    struct cudnnConvolutionStruct d;
    FakeDirection                     direction;
    const void                   *in_x, *in_y, *in_w;
    void                         *out, *workspace;
} Convolution;

static void run(void *closure)
{
    const Convolution *c = closure;
    int64_t nx = (int64_t)c->x.n * c->x.h * c->x.w * c->x.c,
        ny = (int64_t)c->y.n * c->y.h * c->y.w * c->y.c,
        nw = (int64_t)c->w.k * c->w.h * c->w.w * c->w.c;
    float *x = floats(c->in_x, c->x.type, nx), *y = floats(c->in_y, c->y.type, ny),
          *w = floats(c->in_w, c->w.type, nw);
    int    outs = c->w.k / c->d.groups;

    for (int n = 0; n < c->y.n; n++)
        for (int oy = 0; oy < c->y.h; oy++)
            for (int ox = 0; ox < c->y.w; ox++)
                for (int ky = 0; ky < c->w.h; ky++)
                    for (int kx = 0; kx < c->w.w; kx++) {
                        int iy = oy * c->d.stride - c->d.padding + ky,
                            ix = ox * c->d.stride - c->d.padding + kx;

                        if (iy < 0 || ix < 0 || iy >= c->x.h || ix >= c->x.w) continue;
                        float *in = x + (((int64_t)n * c->x.h + iy) * c->x.w + ix) * c->x.c,
                              *out = y + (((int64_t)n * c->y.h + oy) * c->y.w + ox) * c->y.c;

                        for (int o = 0; o < c->w.k; o++) {
                            float *from = in + o / outs * c->w.c,
                                  *weight = w + (((int64_t)o * c->w.h + ky) * c->w.w + kx) * c->w.c;

                            for (int i = 0; i < c->w.c; i++) {
                                if (c->direction == FORWARD) out[o] += from[i] * weight[i];
                                else if (c->direction == DATA) from[i] += out[o] * weight[i];
                                else weight[i] += out[o] * from[i];
                            }
                        }
                    }
    if (c->direction == FORWARD) put_all(c->out, c->y.type, y, ny);
    else if (c->direction == DATA) put_all(c->out, c->x.type, x, nx);
    else put_all(c->out, c->w.type, w, nw);
    if (c->workspace) memset(c->workspace, 0x5a, WORKSPACE);
    free(x), free(y), free(w);
}

static cudnnStatus_t queue(cudnnHandle_t h, const void *alpha, const void *beta, Convolution with,
                           int algorithm, void *workspace, size_t bytes)
{
    Convolution *c = malloc(sizeof *c);

    if (!c) return CUDNN_STATUS_ALLOC_FAILED;
    *c = with;
    if (*(const float *)alpha != 1.0f || *(const float *)beta != 0.0f || algorithm != 1
        || bytes < WORKSPACE || !fake_is_device(workspace)
        || (c->direction != DATA && !fake_is_device(c->in_x))
        || (c->direction != FORWARD && !fake_is_device(c->in_y))
        || (c->direction != WEIGHTS && !fake_is_device(c->in_w)) || !fake_is_device(c->out)) {
        fprintf(stderr, "fake CUDA: a convolution of what does not fit\n");
        free(c);
        return CUDNN_STATUS_BAD_PARAM;
    }
    c->workspace = workspace;
    return fake_queue(h->stream, run, c, free) == cudaSuccess ? CUDNN_STATUS_SUCCESS
                                                              : CUDNN_STATUS_EXECUTION_FAILED;
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t h, const void *alpha,
                                      const cudnnTensorDescriptor_t xd, const void *x,
                                      const cudnnFilterDescriptor_t wd, const void *w,
                                      const cudnnConvolutionDescriptor_t d,
                                      cudnnConvolutionFwdAlgo_t algorithm, void *workspace,
                                      size_t bytes, const void *beta,
                                      const cudnnTensorDescriptor_t yd, void *y)
{
    return queue(h, alpha, beta, (Convolution){*xd, *yd, *wd, *d, FORWARD, x, NULL, w, y, NULL},
                 (int)algorithm, workspace, bytes);
}

cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t h, const void *alpha,
                                           const cudnnFilterDescriptor_t wd, const void *w,
                                           const cudnnTensorDescriptor_t yd, const void *dy,
                                           const cudnnConvolutionDescriptor_t d,
                                           cudnnConvolutionBwdDataAlgo_t algorithm, void *workspace,
                                           size_t bytes, const void *beta,
                                           const cudnnTensorDescriptor_t xd, void *dx)
{
    return queue(h, alpha, beta, (Convolution){*xd, *yd, *wd, *d, DATA, NULL, dy, w, dx, NULL},
                 (int)algorithm, workspace, bytes);
}

cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t h, const void *alpha,
                                             const cudnnTensorDescriptor_t xd, const void *x,
                                             const cudnnTensorDescriptor_t yd, const void *dy,
                                             const cudnnConvolutionDescriptor_t d,
                                             cudnnConvolutionBwdFilterAlgo_t    algorithm,
                                             void *workspace, size_t bytes, const void *beta,
                                             const cudnnFilterDescriptor_t wd, void *dw)
{
    return queue(h, alpha, beta, (Convolution){*xd, *yd, *wd, *d, WEIGHTS, x, dy, NULL, dw, NULL},
                 (int)algorithm, workspace, bytes);
}
