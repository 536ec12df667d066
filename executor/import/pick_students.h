/* The weights of one student a block, out of those of a library. */
#ifndef EXECUTOR_IMPORT_PICK_STUDENTS_H
#define EXECUTOR_IMPORT_PICK_STUDENTS_H

#include "executor/checkpoint/tensors.h"
#include "workloads/workload.h"

/* Copies to out what weights have of the students of picked (workload_pick()), under the names of
 * blocks without a list: blocks.B.NAME.REST becomes blocks.B.REST. Refuses a student of which
 * weights have nothing. */
int students_pick(Tensors *out, const Tensors *weights, const Workload *picked, Error *err);

#endif
