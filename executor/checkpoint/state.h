/* What a block is made of, as tensors:
 *
 *     blocks.B.NAME                parameters and running statistics (kernels/net.h)
 *     momentum.blocks.B.NAME       the optimizer's state of a trained parameter; AdamW's mean
 *     squares.blocks.B.NAME        and AdamW's mean of squares
 *     note step.B                  steps trained so far
 *
 * A teacher or student file has the first only; a checkpoint has all. */
#ifndef EXECUTOR_CHECKPOINT_STATE_H
#define EXECUTOR_CHECKPOINT_STATE_H

#include "executor/checkpoint/tensors.h"
#include "kernels/net.h"

/* The tensor of a name: *out is NULL when there is none. One of a type that is not read is
 * refused. */
int state_find(Tensor **out, const Tensors *tensors, const char *name, Error *err);

/* Characters of a tensor's name before "blocks.": 0 of a parameter, more of the optimizer's
 * state. */
size_t state_prefix(const char *name);

/* The block a tensor belongs to, by its name; -1: none. */
int state_block(const char *name);

/* The first tensor of the block with a number that is not finite, or a running variance below 0;
 * NULL: none. */
const Tensor *state_find_bad(const Tensors *tensors, int block);

/* Refuses values that nothing can be computed with: no finite numbers, a running variance below 0.
 * Looks at what is named as above only. path: of the file, for the message. */
int state_check(const Tensors *tensors, const char *path, Error *err);

/* A teacher's block from tensors; all of them must be there with the right shapes. NULL:
 * from the seed. */
int state_load_teacher(Net *net, int block, const Tensors *teacher, uint64_t seed, Error *err);

/* A student's block: from tensors, with momentum (the net is trained) also the optimizer's
 * state where that is there; from the seed where tensors (may be NULL) have nothing of it. */
int state_load_student(Net *net, int block, const Tensors *student, bool momentum, uint64_t seed,
                       Error *err);

#define STATE_NO_STEP ((int64_t)-1)      /* write no note */

/* The block's tensors (with momentum: the optimizer's state too) and step into out, added
 * where new. */
int state_store(const Net *net, int block, int64_t step, bool momentum, Tensors *out, Error *err);

/* The step a block stands at; 0 without the note. */
int state_step(int64_t *step, const Tensors *tensors, int block, Error *err);

#endif
