/* What a block is made of, as tensors:
 *
 *     blocks.B.NAME                parameters and running statistics (kernels/net.h)
 *     momentum.blocks.B.NAME       the optimizer's state of a trained parameter; AdamW's mean
 *     squares.blocks.B.NAME        and AdamW's mean of squares
 *     note step.B                  steps trained so far
 *
 * A teacher or student file has the first only; a checkpoint has all. Of a student that its block
 * lists by a name, B.STUDENT stands for B: blocks.3.half.0.weight, step.3.half. (A layer's name
 * begins with a digit, a student's with a letter.) What is drawn for it from the seed depends on
 * block and name, not on the other students. */
#ifndef EXECUTOR_CHECKPOINT_STATE_H
#define EXECUTOR_CHECKPOINT_STATE_H

#include "executor/checkpoint/state_names.h"
#include "executor/checkpoint/tensors.h"
#include "kernels/net.h"
#include "workloads/workload.h"

/* The tensor of a name, borrowed from tensors: *out is NULL when there is none. One of a type that
 * is not read is refused. */
int state_find(Tensor **out, const Tensors *tensors, const char *name, Error *err);

/* The first tensor of the student with a number that is not finite, or a running variance below 0;
 * NULL: none. */
const Tensor *state_find_bad(const Tensors *tensors, StudentId id);

/* Refuses values that nothing can be computed with: no finite numbers, a running variance below 0.
 * Looks at what is named as above only. path: of the file, for the message. */
int state_check(const Tensors *tensors, const char *path, Error *err);

/* A teacher's block from tensors; all of them must be there with the right shapes. NULL:
 * from the seed. */
int state_load_teacher(Net *net, int block, const Tensors *teacher, uint64_t seed, Error *err);

/* A student: from tensors, with momentum (the net is trained) also the optimizer's
 * state where that is there; from the seed where tensors (may be NULL) have nothing of it. */
int state_load_student(Net *net, StudentId id, const Tensors *student, bool momentum, uint64_t seed,
                       Error *err);

#define STATE_NO_STEP ((int64_t)-1)      /* write no note */

/* The student's tensors (with momentum: the optimizer's state too) and step into out, added
 * where new. */
int state_store(const Net *net, StudentId id, int64_t step, bool momentum, Tensors *out,
                Error *err);

/* The step a student stands at; 0 without the note. */
int state_step(int64_t *step, const Tensors *tensors, StudentId id, Error *err);

#endif
