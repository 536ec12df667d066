/* Students made of their teachers: the same layers, some of them narrower, with weights that are the teacher's own.
 *
 *     ffn        of the two linear layers around an activation (or a gated product) in a residual, so many of the neurons
 *                between them are left: those whose weights in and out are largest (the product of their norms)
 *     kv_heads   attention has so many key-value heads: each the mean of those it stands for (Ainslie et al., GQA, 2023)
 */
#ifndef EXECUTOR_IMPORT_STUDENTS_H
#define EXECUTOR_IMPORT_STUDENTS_H

#include "executor/checkpoint/tensors.h"
#include "workloads/workload.h"

typedef struct {
    double ffn;              /* share of the teacher's neurons, above 0 and at most 1; 0: as they are */
    int    kv_heads;         /* 0: as they are */
} StudentOptions;

/* Replaces the students of workload (in its arena) and adds their weights to students. teacher: its tensors, "blocks.B.NAME".
 * *changed: layers that differ from the teacher's. Refuses heads that do not divide. */
int students_make(Workload *workload, const Tensors *teacher, Tensors *students, const StudentOptions *options, int *changed,
                  Error *err);

#endif
