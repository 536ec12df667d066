/* What each block of trained students loses on some data: given the teacher's boundary as in
 * training, but with running statistics, so that samples do not see each other. */
#ifndef EXECUTOR_TRAIN_BLOCK_LOSSES_H
#define EXECUTOR_TRAIN_BLOCK_LOSSES_H

#include "executor/train/evaluate.h"

/* loss: [blocks], each the mean over all samples by the block's formula (kernels/net.h).
 * e->weights: the students'; teacher: NULL, from the seed. Students without choices, one a block
 * (workload_pick()). On the first
 * of the devices, which is a CPU. */
int block_losses(double *loss, const Evaluation *e, const Tensors *teacher, Error *err);

#endif
