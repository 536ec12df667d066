/* A workload whose students have no choices left: one path of each taken, its layers put in
 * the choice's place. */
#ifndef WORKLOADS_SUBNET_H
#define WORKLOADS_SUBNET_H

#include "workloads/workload.h"

/* Where a layer of the new student comes from: both are names as in Layer. */
typedef struct {
    const char *name, *origin;           /* "4", "1.2.0" */
} LayerOrigin;

typedef struct {
    LayerOrigin *layer;                  /* [count], depth first */
    int          count;
} LayerOrigins;

/* Whether a student may be reduced to these paths: something to train is left, and no
 * residual is left without a body or shortcut that it had. choices: [layers_choices(student)]. */
bool layers_subnet_possible(const Layers *student, const int *choices);

/* Multiply-accumulates of a sample on these paths. */
int64_t layers_macs(const Layers *layers, const int *choices);

/* The next set of paths after choices (all 0 is the first), in which choices that are not
 * met on the paths taken stay 0: every network that differs comes once. False after the
 * last. */
bool layers_next_choices(const Layers *layers, int *choices);

/* How many such sets there are, at most limit. */
int64_t layers_choice_count(const Layers *layers, int64_t limit);

/* Writes to text the file of such a workload (with this name and these teacher_weights, NULL:
 * none) and reads it: *out is what a reader of the file gets, yours: workload_free() it.
 * choices: [blocks], each [block.choices], NULL where there are none; layers_subnet_possible().
 * origins: [blocks], owned by *out. */
int workload_subnet(Workload **out, LayerOrigins **origins, Text *text, const Workload *workload,
                    const int *const *choices, const char *name, const char *teacher_weights,
                    const char *data, Error *err);

#endif
