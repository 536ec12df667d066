/* Which of a teacher's numbers a student has, layer by layer: for executor/import/students.c, which
 * decides, and student_weights.c, which copies.
 *
 * While a student is made, a layer has the name that its teacher has; with a mark behind it where
 * it is
 *     '<' '>'   one of two factors of the teacher's layer, in their order
 *     '-' '+'   the way into a block's narrower channels ("-"), and out of them ("+")
 * student_weights() gives layers their own names. */
#ifndef EXECUTOR_IMPORT_STUDENT_CUTS_H
#define EXECUTOR_IMPORT_STUDENT_CUTS_H

#include "executor/checkpoint/tensors.h"
#include "executor/import/student_options.h"
#include "workloads/workload.h"

/* Of a layer's parameters. Row r of the student's (the first dimension: of weights, biases, norms)
 * is the mean of the teacher's rows row[r * count ..], those below 0 left out; column c of a matrix
 * is the teacher's column[c]. NULL: as they are. */
typedef struct {
    const char *name;
    int        *row;         /* [rows][count] */
    int         rows, count;
    int        *column;      /* [columns] */
    int         columns;
} LayerCut;

typedef struct {
    Workload             *workload;
    const Tensors        *teacher;
    Tensors              *students;
    const StudentOptions *options;
    int                   block;
    const char           *name;          /* of the student, where its block has several; else
                                          * NULL */
    LayerCut             *cut;           /* [cut_count] of the block */
    int                   cut_count, cut_room;
    int                  *kept;          /* [options->width]: the block's channels; NULL: all */
    float                *factor;        /* of the layer before, for the one behind it that ends in
                                          * '>' */
    int                   changed;
    Error                *err;
} Shrink;

/* Of the block's layer with this name; NULL: it has none, and stays whole. */
LayerCut *student_cut(const Shrink *s, const char *name);

/* NULL after an error. */
const Tensor *student_teacher(const Shrink *s, const char *layer, const char *what);

/* Names a student's layers, and adds its tensors. */
int student_weights(Shrink *s, Layers *student);

/* weight [out][in] is near q [out][rank] b [rank][in], q's columns orthonormal. Yours, both; -1
 * without memory. */
int low_rank(float **q, float **b, const float *weight, int64_t out, int64_t in, int64_t rank);

#endif
