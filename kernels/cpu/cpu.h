/* The CPU backend, inside: a device, oneDNN's primitives with their arguments, operators.
 *
 * oneDNN (kernels/cpu/onednn.h) convolves, multiplies matrices and pools. Ours are batch norm (its
 * sums go over a group of devices, and its activation is free in the same pass),
 * activations that nothing takes along, losses and the update. */
#ifndef KERNELS_CPU_CPU_H
#define KERNELS_CPU_CPU_H

#include <sched.h>

#include "kernels/backend.h"
#include "kernels/cpu/onednn.h"

/* Loops over memory are compiled for several instruction sets and chosen at start. Without
 * fused multiply-add (-ffp-contract=off) and with a sum a channel they give the same bits. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) \
    && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define VECTORISED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VECTORISED
#endif

enum { CPU_ALIGN = 16 };     /* floats of a cache line */

/* Whether convolutions and linear layers compute in bfloat16 (kernels/cpu/bf16.h): not at all, each
 * pass where that was measured to be faster, or all that can. */
typedef enum { BF16_NEVER, BF16_MEASURED, BF16_ALWAYS } Bf16Use;

typedef struct {
    Device        base;
    int           threads;   /* of the team */
    Bf16Use       bf16;      /* of operators that are made on it */
    cpu_set_t     before;    /* the thread's cores, to restore */
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    float        *work, *scratch;        /* scratch: of operators, work: of nets */
    int64_t       work_count, scratch_count;
} CpuDevice;

/* A device of this backend as its own type. */
static inline CpuDevice *cpu_device(Device *device) { return (CpuDevice *)device; }
static inline int64_t    cpu_round(int64_t count)
{
    return (count + CPU_ALIGN - 1) / CPU_ALIGN * CPU_ALIGN;
}

/* Backend.alloc and release. reserve_scratch: at least count floats at device->scratch, which may
 * move and is then zeroed. */
float *cpu_alloc(size_t count);
void   cpu_release(float *memory);
int    cpu_reserve_scratch(CpuDevice *device, int64_t count, Error *err);

/* "AMD EPYC 7B13 64-Core Processor" from /proc/cpuinfo, "CPU" where there is none. */
void cpu_processor_name(char *out, size_t size);

/* Makes the calling thread's team, with so many threads; refuses a smaller one. */
int  cpu_open_team(int threads, Error *err);

/* Calls body for parts of 0..total, split in whole steps, at most one for each of the device's
 * threads; thread: the part's number. Parts are the same for the same total and device, whatever
 * team comes. */
typedef void CpuBody(void *context, int64_t begin, int64_t end, int thread);
void         cpu_parallel(const CpuDevice *device, int64_t total, int64_t step, CpuBody *body,
                          void *context);

/* ---- oneDNN ---- */

enum { PRIMITIVE_MAX_ARGUMENTS = 8 };

/* A primitive with the memory objects of its arguments. {0} is none. */
typedef struct {
    dnnl_primitive_t      primitive;
    dnnl_primitive_desc_t desc;
    dnnl_exec_arg_t       argument[PRIMITIVE_MAX_ARGUMENTS];
    int                   argument_count;
    int64_t               scratch;       /* floats, of whole cache lines */
} Primitive;

/* The primitive of out->desc, and its scratch; created: what oneDNN said when it made out->desc.
 * what names it in errors ("conv 3.1.0"). The owner frees out also after an error. */
int  primitive_make(Primitive *out, CpuDevice *device, dnnl_status_t created, const char *what,
                    Error *err);
int  primitive_make_reorder(Primitive *out, CpuDevice *device, const Md *from, const Md *to,
                            Error *err);
void primitive_free(Primitive *primitive);

/* The order that oneDNN chose, and memory of that order as an argument. */
const Md *primitive_md(const Primitive *primitive, dnnl_query_t query);
int       primitive_argument(Primitive *primitive, CpuDevice *device, int argument, const Md *md,
                             Error *err);
void primitive_set(Primitive *primitive, int argument, const void *memory);

/* Runs with scratch of the device. Arguments must be set. */
int  primitive_run(Primitive *primitive, CpuDevice *device, const char *what, Error *err);

/* Before what computes by oneDNN's own matrix products: its first call of one generates all of
 * their kernels, some 50 ms once in a process, not when a primitive is made. */
void products_make_ready(void);

/* Whether oneDNN may use all of these instructions of x86-64. */
bool cpu_has(dnnl_cpu_isa_t instructions);
int  dnnl_failed(dnnl_status_t status, const char *what, Error *err);      /* 0, or -1 with why */
int64_t md_count(const Md *md);                          /* floats, padding included */

/* Memory of floats, or of a type, in an order; dnnl_format_tag_any: up to oneDNN. Yours: md_free();
 * NULL without memory. */
Md  *md_new_of(dnnl_data_type_t type, int ndims, const dnnl_dim_t *dims, dnnl_format_tag_t order);
Md  *md_new(int ndims, const dnnl_dim_t *dims, dnnl_format_tag_t order);
Md  *md_rows(int64_t rows, Shape shape);                 /* channels last */
void md_free(Md *md);
dnnl_primitive_attr_t attr_new(Activation activation, Error *err);       /* NULL without memory */

/* ---- operators ---- */

/* Weights in an order that a primitive wants; data NULL: the parameters serve as they are. */
typedef struct {
    Md       *md;            /* owned */
    float    *data;          /* owned */
    Primitive reorder;
    bool      stale;
    bool      turned;        /* each window by half a circle */
} Packed;

enum { PACKED_MAX = 6 };

/* What a convolution or linear layer computes: y; the parameters' gradients; dx. */
typedef enum { PASS_FORWARD, PASS_WEIGHTS, PASS_DATA, PASS_COUNT } OperatorPass;

/* What is made ready for a number of rows. */
typedef struct {
    int64_t   rows;
    Primitive forward, data, weights, unpack;            /* unpack: gradients to PyTorch's order */
    int       forward_packed, data_packed;
    int64_t   gradient;      /* floats of the packed gradient, 0: none */
    int64_t   scratch;       /* floats that a call takes, forward's own among them */
    bool      turned;        /* data is a forward over dy, by turned weights */
    bool      depthwise;     /* depthwise_weights() instead of weights, unpack */
    bool      bf16[PASS_COUNT];          /* that pass is bf16_plan()'s, */
    int64_t   forward_part, backward_part;       /* rows at a time */
} OperatorPlan;

typedef struct CpuKind CpuKind;

struct Operator {
    const CpuKind     *kind;
    CpuDevice         *device;
    OperatorSpec       spec;
    OperatorParameters p;
    char               what[128];        /* "conv 3.1.0" */
    Packed             packed[PACKED_MAX];
    int                packed_count;
    OperatorPlan              *plan; /* [plan_count] */
    int                plan_count;
    int64_t            own_count;        /* floats of own that operator_bytes() counts */
    float             *own;  /* the kind's, owned: bias with the norm folded in; statistics */
    float             *unfolded_bias;    /* bf16_unfold()'s, owned */
    double            *sums; /* the kind's, owned */
    float             *sum;  /* [sum_count], owned: of a gradient that comes in parts */
    int64_t            sum_count;
    bool               sum_plain;        /* parts have several orders: it is of PyTorch's */
    bool               stale;
    Bf16Use            bf16;
};

/* What computes a kind of layer. NULL: nothing to do. */
struct CpuKind {
    LayerKind layer;
    int64_t (*kept)(const OperatorSpec *spec);
    int     (*make)(Operator *op, Error *err);
    int     (*plan)(Operator *op, OperatorPlan *plan, Error *err);
    int     (*forward)(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err);
    int     (*backward)(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err);
};

extern const CpuKind cpu_conv, cpu_linear, cpu_batchnorm, cpu_activation, cpu_maxpool, cpu_avgpool,
    cpu_flatten, cpu_embedding, cpu_tokens, cpu_pool, cpu_layernorm, cpu_rmsnorm, cpu_gelu,
    cpu_silu, cpu_tanh, cpu_gated, cpu_attention;

/* The packed weights and the arguments of plan's forward and data primitives, which have been made;
 * bias NULL: none. plain: the parameters' order. Of a turned data primitive dy is what it reads and
 * dx what it writes. */
int weights_forward(Operator *op, OperatorPlan *plan, const Md *x, const Md *y, const Md *plain,
                    const Md *bias, Error *err);
int weights_data(Operator *op, OperatorPlan *plan, const Md *x, const Md *y, const Md *plain,
                 Error *err);

/* The plan for so many rows; NULL: it was not prepared. */
OperatorPlan *operator_plan(const Operator *op, int64_t rows);

/* Numbers of a convolution's or linear layer's weights; whether it adds a bias, which may be that
 * of a norm that is folded into it. */
int64_t operator_weights(const OperatorSpec *spec);
bool    operator_has_bias(const Operator *op);

/* Weights as packed, made anew where parameters changed. plain: the parameters, or what they are
 * folded into. */
const float *packed_get(Operator *op, int number, const float *plain, Error *err);

/* out[c] += x[pixel][c], over tiles of pixels first. */
void cpu_sum_channels(const float *x, int64_t pixels, int64_t channels, float *out);

/* y = activation(x), in place where they are the same; dx = dy where y was not cut, else 0. */
void activation_forward(const CpuDevice *device, Activation activation, const float *x, float *y,
                        int64_t count);
void activation_backward(const CpuDevice *device, Activation activation, const float *y,
                         const float *dy, float *dx, int64_t count);

/* ---- what the table names ---- */

/* Contracts as of the entry of the same name in Backend (kernels/backend.h); formulas in
 * kernels/net.h. */
void   cpu_add(Device *device, float *to, const float *from, int64_t count);
void   cpu_sgd(Device *device, float *weight, float *gradient, float *state,
               const ParameterSpan *spans, int count, const UpdateStep *step);
void   cpu_adamw(Device *device, float *weight, float *gradient, float *mean, float *square,
                 const ParameterSpan *spans, int count, const UpdateStep *step);
double cpu_squares(Device *device, const float *gradient, const ParameterSpan *spans, int count);
void   cpu_check_finite(Device *device, const float *values, int64_t count, double *flag);
void   cpu_loss(Device *device, const LossCall *call);

/* The life of an operator: Backend again, kept to bytes. */
int64_t operator_kept(const OperatorSpec *spec);
int           operator_make(Operator **out, Device *device, const OperatorSpec *spec,
                            const OperatorParameters *parameters, Error *err);
void    operator_free(Operator *op);
int     operator_prepare(Operator *op, int64_t rows, Error *err);
void    operator_changed(Operator *op);
int     operator_forward(Operator *op, const OperatorCall *call, Error *err);
int     operator_backward(Operator *op, const OperatorCall *call, Error *err);
OperatorBytes operator_bytes(const Operator *op, int64_t rows);

#endif
