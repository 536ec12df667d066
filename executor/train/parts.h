/* A program that stores boundaries, executed part by part (schedule/program_parts.h,
 * Execution.part). Between parts students are handed over as at the end of a run.
 *
 * Where rows are there already, of an earlier run or of this one before it was resumed, nobody
 * computes them again, and where they are missing they are made:
 *
 *   1. A part that stores is left out when all that it stores is whole, and its blocks train later
 *      too: they do so in the part that fetches it (its rest: the next part that trains the same
 *      blocks, stores nothing and fetches nothing else), from the step on at which they are.
 *   2. Else its rest goes ahead over the steps whose rows are all there, and the part itself goes
 *      on from there to the epoch's end, and from there to the next epoch's as long as anything is
 *      missing: a run that is resumed without the rows it had (memory is gone with a process)
 *      relays what is left of its epoch and one more.
 *   3. What a part fetches must be whole, and else cannot be made any more: refused. */
#ifndef EXECUTOR_TRAIN_PARTS_H
#define EXECUTOR_TRAIN_PARTS_H

#include "executor/train/execute.h"
#include "schedule/program_parts.h"

/* As execute(), with x->store of the program's stored set; x->part is set here. drop: a boundary is
 * removed when nothing fetches it any more, and made only when something stores it
 * (StoreOptions.later). */
int execute_parts(ExecutionResult *out, const Execution *x, bool drop, Error *err);

/* Every rank calls it: the students as rank 0 has them. */
int execution_share_student(const Execution *x, Error *err);

#endif
