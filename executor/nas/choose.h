/* The best network of a trained supernet within a budget of multiply-accumulates.
 *
 * Blocks learn independently, so each block's paths are measured alone (executor/nas/path_score.h),
 * and one set of paths a block is selected so that the sum of losses is least
 * (executor/nas/knapsack.h). The chosen network is a workload of its own (workloads/subnet.h); its
 * weights are the supernet's, and its running statistics are made afresh on training batches,
 * as those of the supernet mix all paths. */
#ifndef EXECUTOR_NAS_CHOOSE_H
#define EXECUTOR_NAS_CHOOSE_H

#include <stdatomic.h>

#include "base/text.h"
#include "executor/data/data.h"
#include "executor/nas/knapsack.h"
#include "executor/checkpoint/tensors.h"
#include "kernels/device.h"
#include "workloads/workload.h"

typedef struct {
    const Workload    *workload;
    const DeviceSpec  *devices;          /* the first works */
    Data              *held_out, *training;
    const Tensors     *teacher;          /* NULL: from the seed, as in training */
    const Tensors     *student;          /* trained; all blocks */
    uint64_t           seed;
    int64_t            max_macs;         /* of the student, a sample; SELECT_ANY_MACS */
    int                paths;            /* measured a block at most: >= 2 */
    int                batches;          /* held out, >= 1: fewer where the data has fewer */
    int                refresh;          /* training batches for the running statistics; >= 0 */
    const char        *name;             /* of the chosen workload */
    const char        *teacher_weights, *data;   /* for its file; NULL: none */
    const atomic_bool *stop;             /* set from outside: give up, as an error; or NULL */
    void (*progress)(void *context, int block, int done, int count);    /* sets measured; or NULL */
    void  *context;
} ChooseOptions;

typedef struct {
    int64_t total;           /* different sets of paths (executor/nas/path_sets.h) */
    int     measured;
    double  scale;           /* the loss that counts as 1 */
    double  best_loss, worst_loss, loss;         /* of all measured, and of the chosen */
    int64_t least_macs, most_macs, macs;
    int    *choices;         /* [block.choices] */
} ChosenBlock;

typedef struct {
    ChosenBlock *block;      /* [block_count] */
    int          block_count;
    int64_t      held_out;   /* samples measured on */
    int64_t      macs;
    double       loss;       /* sums */
    Workload    *workload;   /* the chosen one, as its file reads back */
    Text         file;
    Tensors     *weights;    /* under its names */
} Chosen;

/* Measures, chooses, makes the running statistics anew. Fills *out, which is yours: chosen_free()
 * it; after an error there is nothing to free. Errors: weights that do not fit, students without
 * choices, a budget that no network keeps, *stop. */
int  choose(Chosen *out, const ChooseOptions *options, Error *err);
void chosen_free(Chosen *chosen);

/* What was measured and taken, a row a block. */
void chosen_report(const Chosen *chosen, const Workload *from, Text *out);

#endif
