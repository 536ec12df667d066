/* How well a block's student does on each of its paths: its loss against the teacher on
 * held-out batches, as the share of what there is to explain that is left unexplained, so
 * that blocks can be added up:
 *
 *     mse                  mean (s - t)^2 / mean (t - m)^2,  m: the mean of t over the samples
 *     soft cross-entropy   mean KL(t || s) / mean KL(t || m), of softmax(t), softmax(s)
 *
 * 0 is the teacher, 1 is no better than always answering the mean. Batch norm uses the
 * statistics of the batch, as in training: the running ones mix all paths. */
#ifndef EXECUTOR_NAS_PATH_SCORE_H
#define EXECUTOR_NAS_PATH_SCORE_H

#include <stdatomic.h>

#include "executor/nas/path_sets.h"
#include "executor/checkpoint/tensors.h"
#include "kernels/net.h"

/* Batches of a boundary in a device's memory: [count] of [rows][per_row]. */
typedef struct {
    float **batch;
    int     count;
    int64_t rows, per_row;
} Batches;

/* Zeroed. batches_free() *out also after an error. */
int batches_new(Batches *out, Device *device, int count, int64_t rows, int64_t per_row, Error *err);
void batches_free(Batches *batches, Device *device);

typedef struct {
    const WorkBlock   *block;
    int                number;
    Device            *device;
    const Batches     *in, *teacher;     /* what the block takes, and what its teacher makes of
                                          * it */
    const Tensors     *student;          /* as executor/checkpoint/state.h names them */
    const PathSets    *sets;
    const atomic_bool *stop;             /* set from outside: give up, as an error; or NULL */
    void (*progress)(void *context, int block, int done, int count);    /* or NULL */
    void  *context;
} PathScoring;

/* losses: [sets->count], infinite where the student's output is no finite number. scale: what
 * loss 1 stands for, 1 where the teacher always answers the same. */
int path_scores(double *losses, double *scale, const PathScoring *ranking, Error *err);

#endif
