/* What a block of a workload costs: the sums over its operators, of the device and of the host that
 * queues them; a pass takes the larger. Of a choice, the mean over its paths (a step takes each
 * equally often, and they are drawn apart from each other), with the variance that the draw
 * gives. */
#ifndef TRACES_MODEL_BLOCK_H
#define TRACES_MODEL_BLOCK_H

#include "traces/model_operator.h"
#include "traces/trace.h"

typedef struct { double device_us, host_us; } PassCost;

typedef struct {
    PassCost teacher;
    PassCost student[PASS_COUNT];        /* means over the paths, loss and its gradient included */
    PassCost variance_us2;   /* of the student's sums, over the draws of paths */
} BlockCost;

/* Of a timing: the larger of device and host, summed over the passes that it consists of. */
double model_work_us(const BlockCost *cost, Work work);

/* Coefficient of variation of the student's and the teacher's time together. */
double model_spread(const BlockCost *cost);

/* What a block with one of its students takes on so many rows. */
BlockCost model_block(const ModelDevice *device, const Workload *workload, int block, int student,
                      double rows);

/* One operator: share is the part of steps that run it (below 1 inside choices). */
typedef struct {
    int                 block;
    bool                teacher;
    int                 student;         /* of the block's, where it is not the teacher's */
    const char         *layer;           /* the layer's name; "loss", "optimizer" */
    const char         *kind;            /* "conv", "depthwise", ... */
    double              share;
    const OperatorWork *work;
    OperatorCost        cost;
} OperatorEntry;

/* Calls visit for every operator of a block: the teacher's forward, and of each student the passes
 * by pass, the update. The sums of share * cost.us (device) and share * cost.launch_us (host) are
 * what model_block() says; what heads do forward (workloads/head.h) it has in the student's
 * PASS_DATA. */
typedef void OperatorVisit(const OperatorEntry *entry, void *context);
void model_operators(const ModelDevice *device, const Workload *workload, int block, double rows,
                     OperatorVisit *visit, void *context);

#endif
