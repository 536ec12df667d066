/* A worker: the thread of one device, which interprets the device's program.
 *
 *     open the device, memory, the first phase's nets
 *     ---- all meet: the run starts ----
 *     each phase: nets | each step: each instruction | students handed over
 *     ---- all meet: nobody uses another's memory any more ----
 *     close
 *
 * What the workers of a run share in one process stands in a Run (executor/train/run.h); what
 * devices of all processes share, in its RunControl. */
#ifndef EXECUTOR_TRAIN_WORKER_H
#define EXECUTOR_TRAIN_WORKER_H

#include "executor/train/record.h"
#include "executor/train/run.h"

typedef struct {
    Run      *run;
    int       device;
    Recorder *recorder;
} WorkerArgument;

/* The thread's function; argument is a WorkerArgument. Errors go to the run. */
void *worker_run(void *argument);

/* In the error of a run whose block diverged, of this rank or another. */
#define EXECUTION_DIVERGED " has diverged by step "

#endif
