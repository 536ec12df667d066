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

typedef enum { ACTIVATION_NONE, ACTIVATION_RELU, ACTIVATION_RELU6 } Activation;

typedef struct {
    LayerKind   kind;        /* not LAYER_RESIDUAL, LAYER_CHOICE; LAYER_RELU stands for ReLU6 too */
    const char *name;        /* of the layer, for errors */
    Shape       in, out;
    int         kernel_height, kernel_width, stride, padding, groups;
    Activation  activation;  /* applied to the result */
    bool        frozen;      /* forward only; batch norm with running statistics */
    bool        data_gradient;           /* backward must give dx */
} OperatorSpec;

/* conv and linear: weight, bias (NULL: none) and, where a frozen batch norm follows, norm_*;
 * batch norm: norm_* with gradients in weight_gradient, bias_gradient. */
typedef struct {
    const float *weight, *bias;
    const float *norm_weight, *norm_bias;
    float       *norm_mean, *norm_variance;
    float       *weight_gradient, *bias_gradient;
} OperatorParameters;

typedef struct Operator Operator;

/* Sums over a group of devices; sum NULL: alone. */
typedef struct {
    NetSum *sum;
    void   *context;
} GroupSum;

/* One call. Forward reads x, writes y and kept; backward reads x, y, kept as forward left them,
 * may overwrite dy, and writes dx (NULL: not wanted) and the parameters' gradients. */
typedef struct {
    int64_t      rows;       /* one that was prepared */
    const float *x;          /* [rows][in] */
    float       *y;          /* [rows][out] */
    float       *kept;       /* [rows][kept()] */
    float       *dy, *dx;    /* dx may be dy for batch norm and activations */
    GroupSum     group;
} OperatorCall;

typedef struct {
    int64_t weight;          /* copies of weights */
    int64_t scratch;         /* of the device, while the operator runs */
} OperatorBytes;

typedef struct {
    const char *name;        /* "cpu" of "cpu:2" */

    int  (*spec)(DeviceSpec *out, Error *err);           /* count is set; fills in the rest */
    int  (*open)(Device **out, const DeviceSpec *spec, int index, Error *err);
    void (*close)(Device *device);

    float *(*alloc)(Device *device, size_t count);       /* 64-byte aligned, zeroed */
    void   (*release)(Device *device, float *memory);

    /* Memory that any call may use from its start to its end. reserve() keeps at
     * least count floats; work() moves when reserve() is called. */
    int    (*reserve)(Device *device, int64_t count, Error *err);
    float *(*work)(Device *device);
    int64_t (*reserved)(const Device *device);           /* bytes, and what operators share */

    void (*fetch)(Device *device, float *host, const float *memory, int64_t count);
    void (*put)(Device *device, float *memory, const float *host, int64_t count);
    void (*copy)(Device *device, float *to, const float *from, int64_t count);
    void (*add)(Device *device, float *to, const float *from, int64_t count);    /* to += from */
    void (*sgd)(Device *device, float *weight, const float *gradient, float *state, int64_t count,
                const SgdStep *step);
    double (*loss)(Device *device, LossKind kind, const float *student, const float *teacher, float *dy,
                   int64_t rows, int64_t per_row, int64_t global_rows);

    int64_t (*kept)(const OperatorSpec *spec);           /* floats a row from forward to backward */
    int  (*make)(Operator **out, Device *device, const OperatorSpec *spec,
                 const OperatorParameters *parameters, Error *err);
    void (*free)(Operator *op);
    int  (*prepare)(Operator *op, int64_t rows, Error *err);
    void (*changed)(Operator *op);                       /* parameters were written */
    int  (*forward)(Operator *op, const OperatorCall *call, Error *err);
    int  (*backward)(Operator *op, const OperatorCall *call, Error *err);
    OperatorBytes (*bytes)(const Operator *op, int64_t rows);
} Backend;

/* What every backend's Device begins with. */
struct Device {
    const Backend *backend;
};

extern const Backend backend_cpu;

#endif
