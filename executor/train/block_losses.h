/* What each block of trained students loses on some data: given the teacher's boundary as in
 * training, but with running statistics, so that samples do not see each other. */
#ifndef EXECUTOR_TRAIN_BLOCK_LOSSES_H
#define EXECUTOR_TRAIN_BLOCK_LOSSES_H

#include "executor/train/evaluate.h"

/* loss: [workload_students()], each the mean over all samples by the block's formula
 * (kernels/net.h); students have no choices. e->weights: theirs; all of them are in memory at once,
 * as in training. teacher: NULL: from the seed. On the first of the devices, which is a CPU. */
int block_losses(double *loss, const Evaluation *e, const Tensors *teacher, Error *err);

#endif
