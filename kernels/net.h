/* A network on a device: the layers of one block with their weights; forward, backward,
 * loss and update. Knows nothing of schedules.
 *
 * Memory and the kernels' plans for a number of rows are made by net_prepare(); the calls of a
 * step allocate nothing (but for a moment where net_write() came between). The result for given
 * rows is the same bits whatever ran before. Gradients are sums over the rows of a call; losses and
 * gradients are scaled by the global batch, so that replicas that split it add up to the whole. */
#ifndef KERNELS_NET_H
#define KERNELS_NET_H

#include "kernels/device.h"
#include "workloads/workload.h"

typedef struct Net Net;

typedef enum {
    NET_FROZEN,              /* teacher: running statistics, no gradients */
    NET_TRAINED,             /* student: batch statistics, gradients, optimizer state */
    NET_HEADLESS             /* the same, and the last layer, a linear one, is left to
                              * kernels/head.h: out is what goes into it */
} NetMode;

/* Borrows layers for as long as out lives. Weights are all zero until set. */
int  net_new(Net **out, Device *device, const Layers *layers, Shape in, NetMode mode, Error *err);
void net_free(Net *net);

/* Makes ready for calls with this many rows; may be called for several numbers. */
int  net_prepare(Net *net, int64_t rows, Error *err);

/* Memory that a net needs beside its weights, floats a row, as its layers alone say: multiples of
 * a cache line. kept: from forward to backward; work: within a call (forward of a frozen net,
 * backward of a trained one). */
typedef struct { int64_t kept, work; } NetNeeds;
int  net_needs(NetNeeds *out, const Device *device, const Layers *layers, NetMode mode, Error *err);

/* The net uses the caller's memory instead of its own: kept is the net's alone from net_forward()
 * to net_backward(), work within each of them. Before the first net_prepare(), and again
 * between steps. Both have room for the rows of the largest call, aligned as device_alloc()
 * does. */
void net_lend(Net *net, float *kept, float *work);

/* ---- parameters, in PyTorch's shapes and orders (conv: [out][in / groups][kernel][kernel])
 * ---- */

typedef struct {
    char    name[96];        /* "3.1.0.weight" */
    int     rank;
    int64_t dim[4];
    int64_t count;
    bool    trained;         /* false: running statistics */
} NetParameter;

/* Parameters of all layers, of paths that are not taken too, in the order of the layers; i is less
 * than their count. Reading and writing copies between the host's memory and the device's. */
int                 net_parameter_count(const Net *net);
const NetParameter *net_parameter(const Net *net, int i);
void net_read(const Net *net, int i, float *out);        /* out: [count] */
void net_write(Net *net, int i, const float *values);
void net_read_state(const Net *net, int i, float *out);  /* the optimizer's momentum, AdamW's mean;
                                                          * trained ones only */
void net_write_state(Net *net, int i, const float *values);

/* AdamW keeps a mean of squares too: room for it, zeros, for a trained net. Before updates by
 * AdamW; again does nothing. */
int  net_keep_squares(Net *net, Error *err);
bool net_keeps_squares(const Net *net);
void net_read_squares(const Net *net, int i, float *out);
void net_write_squares(Net *net, int i, const float *values);

/* PyTorch's default initialisation (Kaiming uniform, a = sqrt 5; norms 1 and 0), embeddings and
 * class tokens normal with a deviation of 0.02, as GPT-2 and BERT start; drawn by
 * counter from (seed, stream): the same on every device. */
void net_initialise(Net *net, uint64_t seed, uint64_t stream);

/* The numbers that parameters have when they are drawn begin with first, not 0: of a net that is
 * the end of another. */
void net_number_from(Net *net, int first);

/* Of a NET_HEADLESS net, for kernels/head.h: the operator of the layer that it leaves, whose rows
 * are places. wants_dx: something before it trains. */
struct Operator *net_head(const Net *net, bool *wants_dx);

/* ---- a step ---- */

/* Tokens that count of each sequence of the next net_forward() and its net_backward(), 1 to the
 * sequence's length: attention looks at no others, a mean leaves them out, and what is computed at
 * their places means nothing. [rows], borrowed; NULL, as at first: all. */
void net_set_lengths(Net *net, const int *lengths);

/* y = net(x). x: [rows][in] and y: [rows][out], both borrowed, and to be left as they are, until
 * net_backward() or the next forward; float32 whatever the device computes in.
 * choices: [choices of the layers], NULL when there are none. NET_TRAINED updates running
 * statistics (momentum 0.1, unbiased variance, as PyTorch). */
int net_forward(Net *net, const float *x, float *y, int64_t rows, const int *choices, Error *err);

/* Gradients of all weights on the taken paths from dy = d loss / d y: [rows][out], which may be
 * overwritten. Follows the net_forward() of the same rows. Replaces the gradients. */
int net_backward(Net *net, float *dy, int64_t rows, Error *err);

/* Gradients of several calls add up: after each net_backward() of a step. The first and the last
 * may be the same. Room for the sums, of a trained net; again does nothing. */
int  net_keep_sums(Net *net, Error *err);
void net_add_up(Net *net, bool first, bool last);

/* The gradients of the taken paths, as runs of one array: what an all-reduce sums. */
typedef struct { float *values; int64_t count; } GradientRun;
/* returns how many there are */
int net_gradients(const Net *net, GradientRun *runs, int capacity);

/* One step of all trained parameters of the taken paths, norms and biases included, by PyTorch's
 * formulas: SGD with Nesterov momentum and weight decay; AdamW (Loshchilov and Hutter, Decoupled
 * Weight Decay Regularization, 2019), whose decay is taken off the weights and whose moments are
 * corrected for having started at 0. clip: gradients are scaled so that the norm of all of them is
 * at most that, 0: never. */
typedef struct {
    OptimizerKind optimizer;
    float   learning_rate, momentum, weight_decay;
    bool    nesterov;
    float   beta1, beta2, eps, clip;
    int64_t number;          /* AdamW: steps taken, this one included */
    float   scale;           /* of gradients; net_update() sets it */
} UpdateStep;
void net_update(Net *net, const UpdateStep *step);

/* Looks at all that a trained net has learned: *flag becomes NaN where a weight, a running
 * statistic or the optimizer's state is not finite, else it stays. As a loss it is written later by
 * an asynchronous device. Reads each number once: a third of an update's traffic. */
void net_check_finite(Net *net, double *flag);

/* Batch statistics over a group: sum adds values over the group's devices, in place, in a
 * fixed order; counts of rows are summed with it. Asynchronous devices have the values in their
 * memory, and the sum is enqueued. NULL: local statistics. */
typedef int NetSum(void *context, double *values, int count, Error *err);
void net_synchronise(Net *net, NetSum *sum, void *context);

/* The loss of some rows, and its gradient dy = d loss / d student. student, teacher, dy:
 * [rows][places][channels]. A place's loss, summed and divided by the places that count in the
 * whole batch, so that replicas that split it add up:
 *   mse                  mean of squares over the channels
 *   soft_cross_entropy   -sum softmax(t) log softmax(s)
 *   kl                   T^2 KL(softmax(t / T) || softmax(s / T)) (Hinton et al. 2015)
 *   hard_cross_entropy   -log softmax(s) at the teacher's largest
 *   label_cross_entropy  -log softmax(s) at the label
 *   cosine               1 - cos(s, t)
 * and of a row, divided by global_rows:
 *   normalised_mse       sum (s - t)^2 / sum t^2 over its places that count (Puzzle, Bercovich et
 *                        al. 2024, takes the ratio over the whole batch; a row's does not depend
 *                        on how a batch is split) */
typedef struct {
    LossKind     kind;
    double       temperature;            /* kl; 0 is 1 */
    const float *student, *teacher;
    float       *dy;
    int64_t      rows, places, channels; /* places: 0 is 1 */
    int64_t      global_rows;
    const int   *lengths;    /* [rows] places that count; NULL: all, and then global_places is not
                              * looked at */
    int64_t      global_places;
    const int   *labels;     /* [rows][places], label_cross_entropy: of channels, -1 where a place
                              * does not count; then places that count in the whole batch are
                              * global_places, whatever lengths say, and teacher may be NULL */
    double      *loss;       /* an asynchronous device writes it later: host_alloc()'s */
    bool         add;        /* to what *loss is: of a part of the rows */
} LossCall;

/* Writes dy, of all rows, and the loss. Memory of the device's is read and written; the call is
 * borrowed, what it points to until the work is done. */
void loss_backward(Device *device, const LossCall *call);

/* Whether such devices compute the workload's losses and its optimizer; else says what they do
 * not. */
int device_trains(const DeviceSpec *spec, const Workload *workload, Error *err);

/* Bytes for a number of rows. activation: what lives from forward to backward; work: only
 * within a call. The same whether memory is lent or not. */
typedef struct { int64_t weight, gradient, state, activation, work, sums; } NetBytes;
NetBytes net_bytes(const Net *net, int64_t rows);

#endif
