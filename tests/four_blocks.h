/* A workload of four small blocks, the ways to train it, and what came of it. */
#ifndef TESTS_FOUR_BLOCKS_H
#define TESTS_FOUR_BLOCKS_H

#include "tests/support.h"

#include <inttypes.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/train/execute.h"
#include "executor/checkpoint/state.h"
#include "schedule/verify.h"

enum { BLOCKS = 4, BATCH = 10, SAMPLES = 35, STEPS_AN_EPOCH = 4, STEPS = 9, LOADER_AHEAD = 2 };

/* ---- running a plan ------------------------------------------------------------- */

typedef struct {
    Workload *workload;
    Data     *data;
} Fixture;

int open_fixture(void **state);

int close_fixture(void **state);

Program *spell_out(const Plan *plan);

Tensors *no_tensors(void);

/* An execution of plan as most tests want it. Frees nothing. */
Execution execution_of(const Fixture *f, const Program *program, DeviceSpec *spec, Tensors *student,
                       uint64_t seed);

/* Trains under plan, which it frees, from student on (NULL: from the seed). Yours. */
Tensors *train(const Fixture *f, Plan *plan, Tensors *student, uint64_t seed, int prefetch);

/* ---- plans ------------------------------------------------------------------------ */

/* Stages along the chain: first blocks and widths, on devices in order. */
Plan *relay(Schedule schedule, int stages, const int *first, const int *width);

Plan *data_parallel(int devices);

/* Block b on device b % devices, the last first; or to be stolen. */
Plan *lists(int devices, bool stealing);

Plan *pipeline(Schedule schedule);

Plan *pipeline_of_four(Schedule schedule);

/* Two teacher stages; students elsewhere, some on several devices with uneven rows. */
Plan *split_of_three(void);

/* ---- comparing students -------------------------------------------------------------- */

/* The largest difference of any element, over the largest element of its tensor. The floor is
 * for tensors of nothing but rounding, such as the momentum of a bias before a batch norm. */
double difference(const Tensors *a, const Tensors *b);

void assert_same_bits(const Tensors *a, const Tensors *b);

#endif
