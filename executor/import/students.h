/* Students made of their teachers: the same layers, some of them narrower, with weights that are
 * the teacher's own.
 *
 *     ffn        of the two linear layers around an activation (or a gated product) in a residual,
 *                so many of the neurons between them are left: those whose weights in and out are
 *                largest (the product of their norms)
 *     heads      attention has so many query heads: of each key-value head's queries those whose
 *                values and way out are largest (the product of their norms); where each query head
 *                has keys of its own, these go with it
 *     kv_heads   attention has so many key-value heads, of those that are left: each the mean of
 *                those it stands for (Ainslie et al., GQA, 2023)
 *     width      a block works on so many channels: those that its linear layers weigh most; a
 *                linear layer in front takes them out of the boundary, one behind puts them back,
 *                the others are 0 until it has learned them
 *     rank       a linear layer in a residual becomes two of that rank, where they have fewer
 *                weights: the best approximation by subspace iteration (Halko, Martinsson and
 *                Tropp, 2011), orthonormal columns behind, after all that is above
 */
#ifndef EXECUTOR_IMPORT_STUDENTS_H
#define EXECUTOR_IMPORT_STUDENTS_H

#include "executor/checkpoint/tensors.h"
#include "executor/import/student_options.h"
#include "workloads/workload.h"

/* Replaces the students of workload (in its arena) and adds their weights to students. teacher: its
 * tensors, "blocks.B.NAME". options [count]: a student of each block by each of them; where several
 * come to the same layers, the first of them stands for all, and a block that is left with one
 * student does not list it. The names are different and good ones (workloads/workload.h), borrowed.
 * *changed: layers that differ from the teacher's. Refuses heads that do not divide. */
int students_make(Workload *workload, const Tensors *teacher, Tensors *students,
                  const StudentOptions *options, int count, int *changed, Error *err);

#endif
