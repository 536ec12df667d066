/* What a stage costs, per step: the figure that the partition search minimises the
 * maximum of. Three kinds:
 *
 *   COST_SIM    the step of the stage's slowest device as the simulator plays it, all
 *               else being ready: load, teacher, student, the part of the all-reduces
 *               that backward does not hide, update; at least teacher and message out,
 *               which has left before the next step, and the message in. A device's rows
 *               count as one message each way, as the widths beside it are not known here
 *               (planner/stages/relay_cost.h counts them all);
 *   COST_BOUND  the same without messages: no schedule of stages is faster;
 *   COST_PAPER  the original's (Jang et al., DATE 2023): teacher and student at the
 *               share, all-reduces, and the incoming boundary at the full batch.
 *
 * Transfer makes the first and last not monotone: a longer stage may be cheaper. */
#ifndef PLANNER_STAGES_STAGE_COST_H
#define PLANNER_STAGES_STAGE_COST_H

#include "traces/scenario.h"

typedef enum { COST_SIM, COST_PAPER, COST_BOUND } CostKind;

#define STAGE_IMPOSSIBLE INT64_MAX

/* Whether a cost of this kind has the block's all-reduces in it. Those of several students
 * count as one after the last backward, which is late: they are no part of a bound, unless
 * they occupy the compute lane anyway. */
bool stage_counts_reduce(const Scenario *scenario, CostKind kind, int block);

/* The longest stage, by COST_SIM, that a plan with an epoch below cutoff_ns can have; 0: not known,
 * or no cutoff. Known where a step of a plan cannot take less than COST_SIM says of a stage: where
 * messages do not get shorter by being cut (the links' times are concave), blocks have one student
 * each, devices do not slow each other down, and loads are asked for ahead and are no bottleneck,
 * or of even shares. */
int64_t stage_limit_ns(const Scenario *scenario, int64_t cutoff_ns);

/* Blocks first..last on devices device..device + width - 1. STAGE_IMPOSSIBLE, with the
 * reason in err, when a timing is missing or a device has too little memory. */
int64_t stage_cost(const Scenario *scenario, CostKind kind, int first, int last, int device,
                   int width, Error *err);

/* The same on any devices with any shares, rows[] at least 1 each; before and after are
 * the devices at the other ends of all messages, -1 for none. */
int64_t stage_cost_shares(const Scenario *scenario, CostKind kind, int first, int last,
                          const int *devices, const int64_t *rows, int width, int before, int after,
                          Error *err);

#endif
