/* The CUDA backend, inside: a device with its streams and libraries, errors, operators.
 *
 * Work is enqueued on the stream that is used (CudaDevice.stream) and done later. What the
 * device reads from the host's memory is left as it is until then. Calls that can fail say so at
 * once where the enqueuing failed; those of the table that return nothing note it (cuda_note()),
 * and the next call that returns something reports it. */
#ifndef KERNELS_CUDA_CUDA_H
#define KERNELS_CUDA_CUDA_H

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include "base/text.h"
#include "kernels/backend.h"
#include "kernels/cuda/kernel.h"

typedef struct Slice Slice;
typedef struct Replay Replay;

typedef struct {
    Device           base;
    int gpu;               /* CUDA's number of it */
    int              capability;         /* 90: sm_90 */
    int              processors;         /* multiprocessors that it may use */
    Precision        precision;
    cudaStream_t     streams[STREAM_COUNT];
    cudaStream_t     stream;             /* of these, the one that is used; nets are computed on
                                          * STREAM_COMPUTE */
    cublasLtHandle_t blas;
    cudnnHandle_t    cudnn;              /* NULL until cuda_cudnn() */
    float           *work, *scratch;     /* scratch: of operators, work: of nets */
    int64_t          work_count, scratch_count;
    Slice           *slice;              /* NULL: the whole GPU */
    Replay          *replay;             /* NULL: nothing was recorded */
    Error            failure;            /* "" none: the first of a call that returns nothing */
} CudaDevice;

/* A device of this backend as its own type. */
static inline CudaDevice *cuda_device(Device *device) { return (CudaDevice *)device; }

/* ---- errors ---- */

/* 0, or -1 with "what: why". cuda_note() keeps the first failure for cuda_noted(). */
int  cuda_failed(cudaError_t status, const char *what, Error *err);
int  cudnn_failed(cudnnStatus_t status, const char *what, Error *err);
int  blas_failed(cublasStatus_t status, const char *what, Error *err);
void cuda_note(CudaDevice *device, cudaError_t status, const char *what);
int  cuda_noted(CudaDevice *device, Error *err);         /* reports what was noted, once */

/* What the entry points of kernel.h return, and why; for calls that can fail. */
static inline int launch_failed(int status, const char *what, Error *err)
{
    return cuda_failed((cudaError_t)status, what, err);
}

/* ---- before GPUs are opened (gpu.c) ---- */

/* Backend.spec and facts: what the driver says of the GPUs that spec names. */
int cuda_spec(DeviceSpec *spec, Error *err);
int cuda_facts(const DeviceSpec *spec, Text *out, Error *err);

/* ---- slices of a GPU (slices.c) ---- */

/* Multiprocessors of each slice, and of the GPU. */
int  slices_count(int *each, int *all, int gpu, int slices, Error *err);

/* The slice's context becomes the thread's, whose device is the GPU; slice_leave() *out.
 * *processors: its multiprocessors. */
int  slice_enter(Slice **out, int *processors, int gpu, int slices, int slice, Error *err);
void slice_leave(Slice *slice, int gpu);                /* NULL is nothing */

/* ---- streams (stream.c), replay (replay.c): kernels/stream.h ---- */

extern const StreamOps cuda_streams;

/* Contracts: replay_begin() and so on in kernels/stream.h. free: at the device's end. */
int  cuda_replay_begin(Device *device, const ReplayKey *key, Error *err);
int  cuda_replay_end(Device *device, bool failed, Error *err);
void cuda_replay_forget(Device *device, const void *owner);
ReplayCounts cuda_replay_counts(const Device *device);
void cuda_replay_free(CudaDevice *device);

/* Of the numbers of tensors inside nets. */
static inline bool cuda_half(const CudaDevice *device)
{
    return device->precision == PRECISION_BF16;
}
static inline KernelType cuda_type(const CudaDevice *device)
{
    return cuda_half(device) ? KERNEL_BF16 : KERNEL_FLOAT;
}

/* ---- memory, libraries ---- */

/* Backend.alloc, no_memory and release. cuda_reserve_scratch(): at least count floats at
 * device->scratch, which may move; graphs that were recorded are then forgotten. */
float *cuda_alloc(CudaDevice *device, size_t count);     /* zeroed, NULL without memory */
int    cuda_no_memory(Device *device, size_t count, const char *what, Error *err);
void   cuda_release(float *memory);
int    cuda_reserve_scratch(CudaDevice *device, int64_t count, Error *err);

/* The handle, made at the first call, on STREAM_COMPUTE. */
int    cuda_cudnn(CudaDevice *device, cudnnHandle_t *out, Error *err);

/* ---- algorithms, chosen by measurement ---- */

/* What was chosen for a product or a convolution. All devices of the process share one table, so
 * that they compute the same bits. */
typedef struct {
    char   key[192];         /* what it is for: operation, sizes, precision, GPU */
    char   text[64];         /* "algorithm 3 of 8" */
    /* cudnn: algorithm, math type */
    union { cublasLtMatmulAlgo_t blas; int cudnn[2]; } algorithm;
    size_t workspace;        /* bytes */
    double us;               /* measured; 0: was not */
} Choice;

/* Others wait from choices_lock() on, so that nothing is measured twice or beside each other. */
void choices_lock(void);
void choices_unlock(void);
bool choice_find(Choice *out, const char *key);          /* locked */
int  choice_add(const Choice *choice, Error *err);       /* locked; in the file, too */
int  choice_enter(const Choice *choice, Error *err);     /* locked; in the table */
/* What choices are made for, and with: the GPU and the libraries. */
int  choices_version(const DeviceSpec *spec, Text *out, Error *err);
void choices_file_add(const Choice *choice);             /* locked */
int  choices_keep(const DeviceSpec *spec, const char *path, Error *err);
int  cuda_choices(Device *device, Text *out, Error *err);        /* a line each, of this device's
                                                                  * kind */

/* Measures: the median of a few runs, in microseconds; negative when it fails. */
typedef int MeasuredRun(void *context);
double choice_measure(CudaDevice *device, MeasuredRun *run, void *context);
/* Memory to measure with, cudaFree() it; filled: with a number that is not zero, which some GPUs
 * multiply faster. NULL without memory. */
void *choice_memory(CudaDevice *device, size_t bytes, bool filled);

/* ---- products: column-major c [m][n] = op(a) op(b) + bias, as cuBLASLt has them ---- */

typedef struct {
    int64_t m, n, k;
    bool    transpose_a, transpose_b;
    bool    half;            /* a and b are bfloat16 */
    bool    half_out;        /* c and bias too */
    bool    bias, relu;      /* bias: [m], added; relu: with it only */
    int     align;           /* bytes that a, b and c are aligned to */
} GemmShape;

typedef struct {
    cublasLtMatmulDesc_t   desc;
    cublasLtMatrixLayout_t a, b, c;
    Choice                 choice;
} Gemm;

/* Descriptors, and the algorithm for this shape: from the table, or measured now. what names the
 * layer in errors, which leave nothing to free; {0} is none. */
int  gemm_make(Gemm *out, CudaDevice *device, const GemmShape *shape, const char *what, Error *err);
void gemm_free(Gemm *gemm);
/* workspace: of choice.workspace bytes */
int gemm_run(const Gemm *gemm, CudaDevice *device, const void *a, const void *b, void *c,
             const void *bias, void *workspace, const char *what, Error *err);
/* c += the product, of one without bias */
int gemm_add(const Gemm *gemm, CudaDevice *device, const void *a, const void *b, void *c,
             void *workspace, const char *what, Error *err);

/* ---- convolutions by cuDNN: channels last, weights [out][kernel][kernel][in] ---- */

typedef struct {
    cudnnTensorDescriptor_t      x, y;
    cudnnFilterDescriptor_t      w;
    cudnnConvolutionDescriptor_t forward, data, weights;
    Choice                       forward_choice, data_choice, weights_choice;
} Spatial;

/* Who computes a convolution or a linear layer (conv.c). */
typedef enum { POINTWISE, DEPTHWISE, SPATIAL } ConvMethod;

enum { DEPTHWISE_WINDOW = 32 };          /* the widest of our kernels */

/* By the layer alone: one product where the window is a pixel, our kernels where each channel has a
 * window of its own, else cuDNN. */
static inline ConvMethod conv_method(const OperatorSpec *s)
{
    if (s->kind == LAYER_LINEAR) return POINTWISE;
    if (s->groups == 1 && s->kernel_height == 1 && s->kernel_width == 1 && s->stride == 1
        && s->padding == 0)
        return POINTWISE;
    if (s->groups == s->in.channels && s->groups == s->out.channels
        && s->kernel_height == s->kernel_width && s->kernel_height <= DEPTHWISE_WINDOW)
        return DEPTHWISE;
    return SPATIAL;
}

/* The most that cuDNN's algorithm for a convolution may have, and the measuring of algorithms
 * has. */
#define SPATIAL_WORKSPACE_BYTES ((size_t)256 << 20)

/* A convolution of so many rows: x [rows][in_height][in_width][in], y, dy
 * [rows][out_height][out_width][out]; half: bfloat16. workspace has spatial_workspace() bytes. dw
 * replaces what was there. An error of spatial_make() leaves nothing to free; {0} is none. */
int    spatial_make(Spatial *out, CudaDevice *device, const OperatorSpec *spec, int64_t rows,
                    bool half, const char *what, Error *err);
void spatial_free(Spatial *spatial);
size_t spatial_workspace(const Spatial *spatial);
int    spatial_forward(const Spatial *s, CudaDevice *device, const void *x, const void *w, void *y,
                       void *workspace, const char *what, Error *err);
int    spatial_data(const Spatial *s, CudaDevice *device, const void *dy, const void *w, void *dx,
                    void *workspace, const char *what, Error *err);
int spatial_weights(const Spatial *s, CudaDevice *device, const void *x, const void *dy, void *dw,
                    void *workspace, const char *what, Error *err);

/* ---- operators ---- */

/* What is made ready for a number of rows. Scratch begins with the libraries' workspace. */
typedef struct {
    int64_t rows;
    Gemm    forward, data, weights;
    Spatial spatial;
    int64_t workspace;       /* floats */
    int64_t scratch;         /* floats, workspace included */
} CudaPlan;

typedef struct CudaKind CudaKind;

struct Operator {
    const CudaKind    *kind;
    CudaDevice        *device;
    OperatorSpec       spec;
    OperatorParameters p;
    char               what[128];        /* "conv 3.1.0" */
    CudaPlan              *plan; /* [plan_count] */
    int                plan_count;
    float             *own;  /* the kind's, owned: weights in other orders; statistics */
    int64_t            own_count;
    double            *sums; /* batch norm's, owned: a group's */
    bool               stale;
};

/* Where operators enqueue their work. */
static inline cudaStream_t stream_of(const Operator *op)
{
    return op->device->streams[STREAM_COMPUTE];
}

/* What computes a kind of layer. NULL: nothing to do. */
struct CudaKind {
    LayerKind layer;
    int64_t (*kept)(const OperatorSpec *spec);
    int     (*make)(Operator *op, Error *err);
    int     (*plan)(Operator *op, CudaPlan *plan, Error *err);
    int     (*forward)(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err);
    int     (*backward)(Operator *op, CudaPlan *plan, const OperatorCall *call, Error *err);
};

extern const CudaKind cuda_conv, cuda_linear, cuda_batchnorm, cuda_activation, cuda_maxpool,
    cuda_avgpool, cuda_flatten, cuda_embedding, cuda_tokens, cuda_pool, cuda_layernorm,
    cuda_rmsnorm, cuda_gelu, cuda_silu, cuda_tanh, cuda_gated, cuda_attention;

/* What an activation cuts to. */
float cuda_floor(Activation activation);
float cuda_limit(Activation activation);

/* ---- what the table names ---- */

/* Contracts as of the entries of the same names in Backend (kernels/backend.h). */
void cuda_put_ints(Device *device, int *to, const int *from, int64_t count);
/* of tensors inside nets */
void cuda_add(Device *device, float *to, const float *from, int64_t count);
bool cuda_is_half(const Device *device);
void cuda_narrow(Device *device, float *to, const float *from, int64_t count);
void cuda_widen(Device *device, float *to, const float *from, int64_t count);
void cuda_add_floats(Device *device, float *to, const float *from, int64_t count);
void cuda_sgd(Device *device, float *weight, float *gradient, float *state,
              const ParameterSpan *spans, int count, const UpdateStep *step);
void cuda_adamw(Device *device, float *weight, float *gradient, float *mean, float *square,
                const ParameterSpan *spans, int count, const UpdateStep *step);
void cuda_check_finite(Device *device, const float *values, int64_t count, double *flag);
void cuda_loss(Device *device, const LossCall *call);

/* The life of an operator: contracts as of the entries of Backend (kernels/backend.h), kept to
 * bytes. */
int64_t cuda_operator_kept(const OperatorSpec *spec);
int           cuda_operator_make(Operator **out, Device *device, const OperatorSpec *spec,
                                 const OperatorParameters *parameters, Error *err);
void    cuda_operator_free(Operator *op);
int     cuda_operator_prepare(Operator *op, int64_t rows, Error *err);
void    cuda_operator_changed(Operator *op);
int     cuda_operator_forward(Operator *op, const OperatorCall *call, Error *err);
int     cuda_operator_backward(Operator *op, const OperatorCall *call, Error *err);
OperatorBytes cuda_operator_bytes(const Operator *op, int64_t rows);

#endif
