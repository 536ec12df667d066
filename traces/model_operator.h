/* What one operator of a network costs on a device, after the roofline idea: the larger of
 * arithmetic over the rate that its shape can reach and bytes over the bandwidth, and its
 * launch.
 *
 *     time = max(arithmetic, bytes) + kernels * kernel_us
 *
 * Layers are priced as an eager framework runs them: a layer a kernel, nothing fused, every
 * tensor written and read again. docs/model.md has all formulas. */
#ifndef TRACES_MODEL_OPERATOR_H
#define TRACES_MODEL_OPERATOR_H

#include "traces/hardware.h"
#include "traces/model_constants.h"
#include "workloads/workload.h"

typedef enum { PASS_FORWARD, PASS_DATA, PASS_WEIGHT, PASS_UPDATE, PASS_COUNT } Pass;

/* "forward", "data gradient", "weight gradient", "update" */
const char *pass_name(Pass pass);

/* Where an operator computes. */
typedef enum {
    RATE_NONE,               /* memory-bound by construction: no arithmetic is priced */
    RATE_MATRIX,             /* a matrix product [m][k] x [k][n], count times, at the precision's rate */
    RATE_DEPTHWISE,          /* m outputs of k multiply-accumulates each, at the fp32 rate */
    RATE_DEPTHWISE_WEIGHT    /* the same of weight gradients */
} RateKind;

typedef struct {
    Pass     pass;
    RateKind rate;
    double   m, n, k, count;
    bool     split;          /* the depth k may be summed in parts (weight gradients) */
    double   read_bytes, written_bytes;
    double   kernels;        /* launches */
    double   visits;         /* parameter tensors, of an update */
} OperatorWork;

typedef enum { BOUND_ARITHMETIC, BOUND_MEMORY, BOUND_LAUNCH } Bound;

typedef struct {
    double arithmetic_us, memory_us, launch_us;
    double us;               /* the larger of the first two, and the third */
    Bound  bound;            /* the largest of the three */
} OperatorCost;

/* The device as the model sees it: borrows both for as long as it lives. */
typedef struct {
    const Hardware       *hardware;
    const ModelConstants *constants;
    Numbers             precision;     /* one that the hardware has */
} ModelDevice;

/* Bytes of an element of an activation, of a boundary too: 2 in fp16 and bf16. */
int model_element_bytes(Numbers precision);

/* A convolution that sees each channel alone. */
bool operator_is_depthwise(const Layer *layer);

/* What a layer does in a pass over rows. frozen: a teacher's, by running statistics. Of a residual:
 * adding its input; of a choice and a flatten: nothing. Fills out: [OPERATOR_MOST]; returns how many
 * operators there are. PASS_WEIGHT of a batch norm is nothing where its data gradient is computed,
 * which gives both: needs_dx says whether it is. */
enum { OPERATOR_MOST = 2 };
int operator_list(OperatorWork out[OPERATOR_MOST], const ModelDevice *device, const Layer *layer, Pass pass,
                  double rows, bool frozen, bool needs_dx);

/* The loss of rows of a block's output, and its gradient (PASS_DATA). */
OperatorWork operator_loss(const ModelDevice *device, LossKind loss, Shape out, Pass pass, double rows);

/* The optimizer over so many parameters in so many tensors. */
OperatorWork operator_update(const Workload *workload, double parameters, double tensors);

OperatorCost operator_cost(const ModelDevice *device, const OperatorWork *work);

#endif
