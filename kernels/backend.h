/* What a kind of device must give, so that kernels/net.c can walk networks on it: a table
 * of functions. A backend is a folder (kernels/cpu) with one such table; nothing outside
 * the folder knows more of it.
 *
 * An operator is one layer, or several that are computed together (a convolution with
 * the frozen batch norm and the activation behind it). It borrows its parameters from the
 * net, in PyTorch's shapes and orders, and may keep copies in orders it likes better. */
#ifndef KERNELS_BACKEND_H
#define KERNELS_BACKEND_H

#include "kernels/net.h"
#include "kernels/stream.h"

typedef enum { ACTIVATION_NONE, ACTIVATION_RELU, ACTIVATION_RELU6 } Activation;

typedef struct {
    LayerKind   kind;        /* not LAYER_RESIDUAL, LAYER_CHOICE; LAYER_RELU stands for ReLU6 too */
    const char *name;        /* of the layer, for errors */
    Shape       in, out;
    int         kernel_height, kernel_width, stride, padding, groups;
    const Layer *layer;      /* the first one; borrowed from the net's layers */
    Activation  activation;  /* applied to the result */
    double      norm_eps, norm_momentum; /* of the batch norm in it */
    bool        frozen;      /* forward only; batch norm with running statistics */
    bool        data_gradient;           /* backward must give dx */
} OperatorSpec;

/* conv and linear: weight, bias (NULL: none) and, where a frozen batch norm follows, norm_*;
 * batch norm: norm_* with gradients in weight_gradient, bias_gradient. Layers of transformers: own
 * and own_gradient, in the order of layer_parameter_list(). */
typedef struct {
    const float *weight, *bias;
    const float *norm_weight, *norm_bias;
    float       *norm_mean, *norm_variance;
    float       *weight_gradient, *bias_gradient;
    const float *own[LAYER_PARAMETERS_MAX];
    float       *own_gradient[LAYER_PARAMETERS_MAX];
} OperatorParameters;

typedef struct Operator Operator;

/* Whether dx may be written over dy, whose shape it has. */
static inline bool operator_in_place(LayerKind kind)
{
    return kind == LAYER_BATCHNORM || kind == LAYER_RELU || kind == LAYER_GELU || kind == LAYER_SILU
           || kind == LAYER_TANH || kind == LAYER_LAYERNORM || kind == LAYER_RMSNORM;
}

/* Neighbours in an array. */
typedef struct { int64_t first, count; } ParameterSpan;

/* Sums over a group of devices; sum NULL: alone. Of an asynchronous device, the values that are
 * summed are in its memory, and the sum is enqueued like all else. */
typedef struct {
    NetSum *sum;
    void   *context;
} GroupSum;

/* One call. Forward reads x, writes y and kept; backward reads x, y, kept as forward left them,
 * may overwrite dy, and writes dx (NULL: not wanted) and the parameters' gradients. Of a device
 * whose half() is true, x (not an embedding's), y, dy and dx are bfloat16. */
typedef struct {
    int64_t      rows;       /* one that was prepared */
    const float *x;          /* [rows][in] */
    float       *y;          /* [rows][out] */
    float       *kept;       /* [rows][kept()] */
    float       *dy, *dx;    /* dx may be dy where operator_in_place() */
    const int   *lengths;    /* [rows] tokens of each sequence that count, in the device's memory;
                              * NULL: all */
    bool         add;        /* backward adds to the parameters' gradients: linear layers, where
                              * adds says so */
    GroupSum     group;
} OperatorCall;

typedef struct {
    int64_t weight;          /* copies of weights */
    int64_t scratch;         /* of the device, while the operator runs */
} OperatorBytes;

/* What kernels/stream.h declares, under the same names. Events begin with struct StreamEvent. */
typedef struct {
    void (*use)(Device *device, StreamNumber stream);
    int  (*finish)(Device *device, Error *err);
    void *(*native)(Device *device);
    int  (*event_new)(StreamEvent **out, Device *device, Error *err);
    void (*event_free)(StreamEvent *event);
    int  (*event_record)(Device *device, StreamEvent *event, Error *err);
    int  (*stream_wait_event)(Device *device, const StreamEvent *event, Error *err);
    int  (*event_synchronize)(const StreamEvent *event, Error *err);
    int64_t (*event_elapsed_ns)(const StreamEvent *from, const StreamEvent *event);
    void *(*host_alloc)(const DeviceSpec *spec, size_t bytes);
    void  (*host_release)(const DeviceSpec *spec, void *memory);
    int  (*load)(Device *device, float *to, const float *host, int64_t count, Error *err);
    int  (*store)(Device *device, float *host, const float *from, int64_t count, Error *err);
    int (*move)(Device *device, float *to, const Device *to_device, const float *from,
                const Device *from_device, int64_t count, Error *err);
    bool (*reaches)(Device *device, const DeviceSpec *spec, int index);
    int  (*sum)(Device *device, float *const *values, int members, int64_t count, Error *err);
    int (*sum_doubles)(Device *device, double *to, double *const *values, int members, int count,
                       Error *err);
    int  (*replay_begin)(Device *device, const ReplayKey *key, Error *err);
    int  (*replay_end)(Device *device, bool failed, Error *err);
    void (*replay_forget)(Device *device, const void *owner);
    ReplayCounts (*replay_counts)(const Device *device);
    void (*range_begin)(Device *device, const char *name);
    void (*range_end)(Device *device);
} StreamOps;

typedef struct Backend {
    const char      *name;   /* "cpu" of "cpu:2" */
    bool             async;  /* work is done after calls return */
    bool             adds;   /* OperatorCall.add */
    const StreamOps *streams;

    int  (*spec)(DeviceSpec *spec, Error *err);          /* it was read, cores are set; fills in the
                                                          * rest */
    int  (*facts)(const DeviceSpec *spec, Text *out, Error *err);        /* NULL: there are none */
    int  (*version)(const DeviceSpec *spec, Text *out, Error *err);      /* what decides the bits of
                                                                          * results; NULL: not
                                                                          * told */
    int  (*open)(Device **out, const DeviceSpec *spec, int index, Error *err);
    void (*close)(Device *device);

    float *(*alloc)(Device *device, size_t count);       /* 64-byte aligned, zeroed */
    void   (*release)(Device *device, float *memory);
    /* NULL: nothing to add */
    int    (*no_memory)(Device *device, size_t count, const char *what, Error *err);

    /* Memory that any call may use from its start to its end. reserve() keeps at
     * least count floats; work() moves when reserve() is called. */
    int    (*reserve)(Device *device, int64_t count, Error *err);
    float *(*work)(Device *device);
    int64_t (*reserved)(const Device *device);           /* bytes, and what operators share */

    void (*fetch)(Device *device, float *host, const float *memory, int64_t count);
    void (*put)(Device *device, float *memory, const float *host, int64_t count);
    void (*copy)(Device *device, float *to, const float *from, int64_t count);
    /* from: the host's, which is the caller's again on return; comes after what is enqueued.
     * NULL: the host's memory is the device's. */
    void (*put_ints)(Device *device, int *to, const int *from, int64_t count);

    /* Whether tensors inside nets are bfloat16: half as much memory. What goes into a net and out
     * of it is float32, narrowed and widened at its ends; an embedding reads its tokens' numbers as
     * they are. NULL, all three: it never is. */
    bool (*half)(const Device *device);
    void (*narrow)(Device *device, float *to, const float *from, int64_t count);
    void (*widen)(Device *device, float *to, const float *from, int64_t count);
    /* tensors inside nets: to += from */
    void (*add)(Device *device, float *to, const float *from, int64_t count);
    /* to += from, of what is float32 always. NULL: as add(). */
    void (*add_floats)(Device *device, float *to, const float *from, int64_t count);

    /* Of a backend that clips they do, by step->clip: gradients may be written over. */
    bool clips;
    void (*sgd)(Device *device, float *weight, float *gradient, float *state,
                const ParameterSpan *spans, int count,
                const UpdateStep *step); /* spans: [count], of each of the three */
    void (*adamw)(Device *device, float *weight, float *gradient, float *mean, float *square,
                  const ParameterSpan *spans, int count,
                  const UpdateStep *step); /* NULL: not by AdamW */
    /* The sum, for a clip by step->scale. NULL: the backend clips, or nothing does. */
    double (*squares)(Device *device, const float *gradient, const ParameterSpan *spans, int count);
    /* *flag becomes NaN when one of the values is not finite, else it stays; memory as of loss. */
    void (*check_finite)(Device *device, const float *values, int64_t count, double *flag);
    unsigned losses;         /* a bit for each LossKind that loss() knows */
    /* places and temperature are set. *loss: an asynchronous device writes it later, and it is then
     * host_alloc()'s. */
    void (*loss)(Device *device, const LossCall *call);
    /* Chooses what the file says, and adds to it. NULL: nothing is chosen. */
    int  (*keep_choices)(const DeviceSpec *spec, const char *path, Error *err);
    /* Appends a line for each algorithm that was chosen by measurement. NULL: none is. */
    int  (*choices)(Device *device, Text *out, Error *err);

    int64_t (*kept)(const OperatorSpec *spec);           /* floats a row from forward to backward */
    int  (*make)(Operator **out, Device *device, const OperatorSpec *spec,
                 const OperatorParameters *parameters, Error *err);
    void (*free)(Operator *op);
    int  (*prepare)(Operator *op, int64_t rows, Error *err);
    void (*changed)(Operator *op);                       /* parameters were written */
    int  (*forward)(Operator *op, const OperatorCall *call, Error *err);
    int  (*backward)(Operator *op, const OperatorCall *call, Error *err);
    OperatorBytes (*bytes)(const Operator *op, int64_t rows);

    /* Operators of a trained net, each of which alone reads what the one before writes, computed
     * together. chain_length: how many of the first of count are, 0: none. Of a chain every
     * operator is prepared by chain_prepare() alone. calls: [count], one for each operator; batch
     * norms have no dx and, but for the last, a y that is the chain's to use and nobody's to read;
     * no dy is written over. chain_scratch: bytes of the device while it runs. NULL, all
     * five: each operator by itself. */
    int (*chain_length)(const OperatorSpec *const *specs, int count);
    int (*chain_prepare)(Operator *const *ops, int count, int64_t rows, Error *err);
    int64_t (*chain_scratch)(Operator *const *ops, int count, int64_t rows);
    int (*chain_forward)(Operator *const *ops, const OperatorCall *calls, int count, Error *err);
    int (*chain_backward)(Operator *const *ops, const OperatorCall *calls, int count, Error *err);
} Backend;

/* What every backend's Device begins with, and every event. */
struct Device {
    const Backend *backend;
};
struct StreamEvent {
    const Backend *backend;
};

extern const Backend backend_cpu;        /* where there is oneDNN */
bool cpu_reset_environment(void);        /* device_reset_environment() */
extern const Backend backend_cuda;      /* in the plug-in (kernels/cuda_plugin.h) */

#endif
