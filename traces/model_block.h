/* What a block of a workload costs: the sum over its operators. Of a choice, the mean over its
 * paths (a step takes each equally often, and they are drawn apart from each other), with the
 * variance that the draw gives. */
#ifndef TRACES_MODEL_BLOCK_H
#define TRACES_MODEL_BLOCK_H

#include "traces/model_operator.h"

typedef struct {
    double teacher_us;
    double student_us[PASS_COUNT];       /* means over the paths, loss and its gradient included */
    double variance_us2;     /* of the student's sum, over the draws of paths */
} BlockCost;

BlockCost model_block(const ModelDevice *device, const Workload *workload, int block, double rows);

/* One operator: share is the part of steps that run it (below 1 inside choices). */
typedef struct {
    int                 block;
    bool                teacher;
    const char         *layer;           /* the layer's name; "loss", "optimizer" */
    const char         *kind;            /* "conv", "depthwise", ... */
    double              share;
    const OperatorWork *work;
    OperatorCost        cost;
} OperatorEntry;

/* Calls visit for every operator of a block: the teacher's forward, the student's passes by pass, the
 * update. The sum of share * cost.us is what model_block() says. */
typedef void OperatorVisit(const OperatorEntry *entry, void *context);
void model_operators(const ModelDevice *device, const Workload *workload, int block, double rows,
                     OperatorVisit *visit, void *context);

#endif
