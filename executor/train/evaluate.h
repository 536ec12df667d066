/* Accuracy, and perplexity of language models: the blocks of a teacher, or of a student, put
 * together predict the class of each held-out sample, or at each of its tokens the next one.
 * Running statistics are used, so samples do not see each other and the result does not depend on
 * the number of devices. */
#ifndef EXECUTOR_TRAIN_EVALUATE_H
#define EXECUTOR_TRAIN_EVALUATE_H

#include <stdatomic.h>

#include "executor/data/data.h"
#include "executor/checkpoint/tensors.h"
#include "kernels/device.h"
#include "workloads/workload.h"

typedef struct {
    const Workload    *workload;
    const DeviceSpec  *devices;          /* all of them work */
    Data              *data;
    bool               student;          /* else the teacher */
    const Tensors     *weights;          /* as executor/checkpoint/state.h names them; NULL: from
                                          * the seed */
    const int *const  *choices;          /* [blocks] of a student with choices, else NULL */
    uint64_t           seed;
    float             *outputs;          /* [samples][out of the last block], channels last; NULL:
                                          * not asked for */
    const atomic_bool *stop;             /* set from outside: give up, as an error; or NULL */
} Evaluation;

/* asked: samples that have a label, or tokens that have a next one. loss: of these the sum of -log
 * of the probability that the right one was given. */
typedef struct { int64_t right, asked; double loss; } Accuracy;

/* Of the last results of a teacher and a student, each its blocks put together: the cosine between
 * them, a token of a sequence (a pixel of an image, or the vector) at a time, and the mean over
 * those that count. For models that neither classify nor predict. */
typedef struct { double sum; int64_t count; } Agreement;

/* Of a workload that is neither a classifier nor workload_predicts_tokens() nothing is asked. */
int evaluate(Accuracy *out, const Evaluation *evaluation, Error *err);

/* evaluation->student is set; teacher: its weights. On the first of the devices. */
int evaluate_agreement(Agreement *out, const Evaluation *evaluation, const Tensors *teacher,
                       Error *err);

#endif
