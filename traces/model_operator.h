/* What one operator of a network costs, after the roofline idea: on the device the larger of
 * arithmetic over the rate that its shape can reach and bytes over the bandwidth, and the least
 * time of a kernel; on the host the framework's own time. The host queues kernels ahead, so a pass
 * over a block takes the larger of the two sums (traces/model_block.h).
 *
 *     device = max(arithmetic, bytes) + launches * gap_us
 *     host   = kernels * kernel_us + visits * update_us
 *
 * docs/model.md has all formulas. */
#ifndef TRACES_MODEL_OPERATOR_H
#define TRACES_MODEL_OPERATOR_H

#include "traces/hardware.h"
#include "traces/model_constants.h"
#include "workloads/workload.h"

typedef enum { PASS_FORWARD, PASS_DATA, PASS_WEIGHT, PASS_UPDATE, PASS_COUNT } Pass;

/* "forward", "data gradient", "weight gradient", "update" */
const char *pass_name(Pass pass);

/* How a framework runs layers.
 *     nchw            eager, channels first: tensors are converted around every convolution on
 *                     tensor cores
 *     channels-last   eager, channels last: around every one in float32
 *     fused           channels last, compiled: a bias, an activation or a frozen batch norm goes
 *                     with the layer before */
typedef enum { LAYOUT_NCHW, LAYOUT_CHANNELS_LAST, LAYOUT_FUSED, LAYOUT_COUNT } TensorLayout;

/* "nchw", "channels-last", "fused". NULL-terminated. */
extern const char *const layout_names[LAYOUT_COUNT + 1];

/* Where an operator computes. */
typedef enum {
    RATE_NONE,               /* memory-bound by construction: no arithmetic is priced */
    RATE_MATRIX,             /* a matrix product [m][k] x [k][n], count times, at the rate of
                              * numbers */
    RATE_DEPTHWISE,          /* m outputs of k multiply-accumulates each, at a rate a multiprocessor
                              * and cycle */
    RATE_DEPTHWISE_WEIGHT,   /* the same of weight gradients */
    RATE_POOL                /* m elements looked up, of max pooling, at a rate a multiprocessor and
                              * cycle */
} RateKind;

typedef struct {
    const char *what;        /* of the layer it is not all: "layout", "bias"; NULL: the layer's
                              * own */
    Pass     pass;
    RateKind rate;
    Numbers  numbers;        /* of a matrix product */
    double   m, n, k, count;
    bool     split;          /* the depth k may be summed in parts (weight gradients) */
    bool     gathers;        /* a convolution's weight gradient: bound by fetching its operands
                              * too */
    double   read_bytes, written_bytes;
    double   launches;       /* kernels on the device */
    double   kernels;        /* calls of the framework on the host */
    double   visits;         /* parameter tensors, of an update in a loop over them */
} OperatorWork;

typedef enum { BOUND_ARITHMETIC, BOUND_MEMORY, BOUND_LAUNCH } Bound;

typedef struct {
    double arithmetic_us, memory_us;
    double us;               /* on the device: the larger of the two, and the gaps */
    double launch_us;        /* on the host */
    Bound  bound;            /* the largest of the three */
} OperatorCost;

/* The device as the model sees it: borrows both for as long as it lives. */
typedef struct {
    const Hardware       *hardware;
    const ModelConstants *constants;
    Numbers precision;       /* one that the hardware has */
    TensorLayout  layout;
    bool    batch_statistics;            /* the teacher's batch norms compute them, as in training
                                          * mode */
    bool    half_weights;    /* fp16, bf16: weights have two bytes too, as they do without mixed
                              * precision; nothing is cast */
    bool    eager_attention; /* scores of attention are written and read again, as before frameworks
                              * fused it */
    bool    foreach;         /* the optimizer steps all tensors in a few kernels, not in a loop over
                              * them */
} ModelDevice;

/* Bytes of an element of an activation, of a boundary too: 2 in fp16 and bf16. */
int model_element_bytes(Numbers precision);

/* A convolution that sees each channel alone. */
bool operator_is_depthwise(const Layer *layer);

/* What a layer does in a pass over rows. frozen: a teacher's. Of a residual:
 * adding its input or what its shortcut gives; of a choice and a flatten: nothing. Fills out:
 * [OPERATOR_MOST]; returns how many operators there are. PASS_WEIGHT of a batch norm is nothing
 * where its data gradient is computed, which gives both: needs_dx says whether it is. */
enum { OPERATOR_MOST = 4 };
int operator_list(OperatorWork out[OPERATOR_MOST], const ModelDevice *device, const Layer *layer,
                  Pass pass, double rows, bool frozen, bool needs_dx);

/* The loss of rows of a block's output, and its gradient (PASS_DATA). */
OperatorWork operator_loss(const ModelDevice *device, LossKind loss, Shape out, Pass pass,
                           double rows);

/* The optimizer over so many parameters in so many tensors. */
OperatorWork operator_update(const ModelDevice *device, const Workload *workload,
                             const WorkBlock *block, double parameters, double tensors);

/* What work takes on the device and of its host: the formulas of docs/model.md. */
OperatorCost operator_cost(const ModelDevice *device, const OperatorWork *work);

#endif
