/* After a run, what ranks found out and trained goes to rank 0: times and spans of their
 * devices, memory, losses, students. */
#ifndef EXECUTOR_TRAIN_GATHER_H
#define EXECUTOR_TRAIN_GATHER_H

#include "executor/train/record.h"
#include "executor/train/run.h"

/* Every rank calls it, after the workers have ended. At rank 0 recorders [devices], the run's
 * arrays and its students then are as if all devices had been here; times are on rank 0's clock.
 * Elsewhere nothing changes, but that *stopped is rank 0's. */
int gather_results(Run *run, Recorder *recorders, bool *stopped, Error *err);

#endif
