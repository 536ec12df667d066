/* What if: any number of a trace or cluster, set, scaled or varied from the command line.
 *
 *     devices  batch  micro_batches  steps  epochs  queue_depth  memory_bytes
 *     step_us  network_us  part_us  process_bytes
 *     storage[0].read.us  storage[host].write.us  storage[0].size_bytes      by number or name
 *     loader.batch_us  loader.sample_us  loader.lanes  loader.prefetch
 *     p2p.us  allreduce.us  nodes.p2p.us  nodes.allreduce.us    (all points of the curve)
 *     blocks.WORK  blocks[3].WORK  blocks[conv2].WORK           by number or name
 *         WORK: teacher.us  student.us  forward.us  backward.us  update.us
 *               output_bytes  gradient_bytes  students[N or NAME].KEY, of one student of a
 *               list: us (scaled only)  forward.us  backward.us  update.us  gradient_bytes
 *     device[2].slowdown                                        1.1: ten per cent slower
 *
 * A path that does not exist is an error; so is one that has no effect on the result,
 * which the caller finds by comparing results. */
#ifndef PLANNER_WHATIF_WHATIF_H
#define PLANNER_WHATIF_WHATIF_H

#include "traces/scenario.h"

typedef enum { EDIT_SET, EDIT_SCALE } EditKind;

typedef struct {
    EditKind    kind;
    const char *path;
    double      value;
} WhatIf;

/* Applies one edit to trace (its numbers are changed in place) or to options. *changed:
 * whether a number is not what it was. */
int whatif_apply(Trace *trace, ScenarioOptions *options, EditKind kind, const char *path,
                 double value, bool *changed, Error *err);

/* All of them, in their order; changed[i] (NULL: not wanted) is edit i's. */
int whatif_apply_all(Trace *trace, ScenarioOptions *options, const WhatIf *edits, int count,
                     bool *changed, Error *err);

/* Splits "PATH=REST"; *path is yours: free() it. rest is borrowed. */
int whatif_split(char **path, const char **rest, const char *argument, const char *option,
                 Error *err);

/* A finite number that is all of text up to end. */
int whatif_number(double *out, const char *text, size_t length, const char *option, Error *err);

#endif
