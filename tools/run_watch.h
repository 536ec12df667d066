/* What a training run tells while it runs: losses of every block, and on a terminal a line
 * with images a second and the time left. */
#ifndef TOOLS_RUN_WATCH_H
#define TOOLS_RUN_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "workloads/workload.h"

/* Of a block: sums of losses over the first epoch trained and over the last. */
typedef struct {
    double  first, last;
    int64_t first_steps, last_steps;
    int64_t steps, last_epoch;
} BlockLoss;

typedef struct {
    const Workload *workload;
    int64_t    batch, steps_per_epoch;
    int64_t    done, total;              /* updates of all blocks, those before this run left out */
    BlockLoss *blocks;                   /* [blocks] */
    int64_t    start_ns, shown_ns;
    bool       terminal;
    int        shown;                    /* characters on the line */
} Watch;

int  watch_open(Watch *watch, const Workload *workload, int64_t steps_per_epoch, Error *err);
void watch_start(Watch *watch, int64_t total);

/* Execution.progress. */
void watch_update(void *watch, int device, int block, int64_t step, double loss);

void watch_end(Watch *watch);                /* erases the line */

/* Images a second: an image counts once, when all blocks have seen it. */
double watch_rate(const Watch *watch, double seconds);

/* A row a block: steps, mean loss of the first epoch trained and of the last. */
void watch_table(const Watch *watch, Text *out);
void watch_free(Watch *watch);

#endif
