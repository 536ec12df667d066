/* Whose a tensor is, by its name (executor/checkpoint/state.h): needs no backend. */
#ifndef EXECUTOR_CHECKPOINT_STATE_NAMES_H
#define EXECUTOR_CHECKPOINT_STATE_NAMES_H

#include "executor/checkpoint/tensors.h"
#include "workloads/workload.h"

/* Characters of a tensor's name before "blocks.": 0 of a parameter, more of the optimizer's
 * state. */
size_t state_prefix(const char *name);

/* The block a tensor belongs to, by its name; -1: none. */
int state_block(const char *name);

/* Whether a tensor is the student's, by its name. */
bool state_is_of(const char *name, StudentId id);

/* The number of the student (workload_student_number()) that a tensor belongs to; -1: none. */
int state_student(const Workload *workload, const char *name);

/* Refuses weights that have no tensor of a student of the workload; *err begins with their file. */
int state_check_students(const Tensors *weights, const Workload *workload, Error *err);

/* "step.3", "step.3.half" into out; returns out. */
enum { STATE_KEY_BYTES = 80 };
const char *state_step_key(char out[STATE_KEY_BYTES], StudentId id);

#endif
