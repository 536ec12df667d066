/* pipebd-run train --replan: at ends of epochs the monitor holds what devices worked against the
 * trace; when another plan is worth it, the run stops after a step, and goes on under that. Of
 * several processes rank 0 does so for all devices (executor/train/run_control.h tells it their
 * times). */
#ifndef TOOLS_RUN_REPLAN_H
#define TOOLS_RUN_REPLAN_H

#include <pthread.h>
#include <stdatomic.h>

#include "executor/train/replan.h"
#include "executor/net/world.h"
#include "tools/run/watch.h"

/* Steps between two checks: whole epochs, as many as it takes to measure devices to a few per
 * cent. */
int64_t run_replan_every(int64_t steps_per_epoch);

typedef struct {
    Replan            *replan;           /* NULL: nobody asked for it, or not rank 0 */
    const StatusBoard *board;            /* borrowed, as are the others */
    Watch             *watch;
    atomic_bool       *stop;             /* set when there is another plan */
    int                devices;
    int64_t            every, total_steps;
    pthread_mutex_t    lock;             /* for replan and what follows: the monitor's, and the
                                          * run's */
    Plan              *next;             /* waits to be taken */
    int                taken;            /* plans so far */
} RunReplan;

#define RUN_REPLAN_INITIALIZER {.lock = PTHREAD_MUTEX_INITIALIZER}

/* WatchFacts.check, with a RunReplan. */
void run_replan_monitor(void *context, int64_t step);

/* The plan that waits at rank 0, at every rank yours, and the one that is measured from here on;
 * NULL: none. Every rank calls it. -1: out of memory, or it cannot be priced. */
int  run_replan_take(RunReplan *r, World *world, Plan **out, Error *err);

void run_replan_free(RunReplan *r);

#endif
