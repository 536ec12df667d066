/* The executor: runs a program on devices, a worker thread each, with real data and real
 * arithmetic. It interprets instructions (schedule/program.h) and knows nothing of schedules.
 *
 * Every phase runs from the least step of the student blocks that it trains to the program's
 * last; a block that is further on waits until its step comes. So a run can start from
 * blocks that stand at different steps, as a checkpoint of another schedule leaves them.
 *
 * What one phase stores and another fetches is whole only when the first is over, and so are
 * students that another device goes on with. So such phases are executed in parts (Execution.part),
 * one execute() after another; ONLOAD and OFFLOAD are what happens at the beginning and the end of
 * every phase: nets are made, and students handed over. */
#ifndef EXECUTOR_TRAIN_EXECUTE_H
#define EXECUTOR_TRAIN_EXECUTE_H

#include "executor/train/execution.h"

/* Fails with the first error of any device; all others stop at once. In a world of several the
 * result, and what comes back in student, are whole at rank 0; other ranks have their own part. */
int  execute(ExecutionResult *out, const Execution *execution, Error *err);

/* Steps of a phase until devices that record what comes again (kernels/stream.h) have recorded
 * almost all of it, where so many are Execution.turns; 0: these do not record. */
int  execution_warm_up(const Workload *workload, const DeviceSpec *devices);

/* The result of a run that was stopped and went on, on the same devices: more's times and where it
 * left off come behind out's, and so do its spans, which borrow from its program. more is then
 * empty. */
int execution_join(ExecutionResult *out, ExecutionResult *more, int blocks, int devices,
                   Error *err);
/* Whether that is why a run failed: a block's numbers are no longer finite. Going on would come to
 * the same. */
bool execution_diverged(const Error *err);

void execution_free(ExecutionResult *result);

#endif
