/* Collects the students' states from worker threads and writes checkpoints of them, in a thread
 * of its own, so that devices do not wait for the disk.
 *
 * A checkpoint is any set of latest states, one a student. One is due when a state arrives and
 *     (1) every student that is not at its last step delivered since the last was begun, or
 *     (2) every student that is known to train now did: those that delivered between the two
 *         checkpoints before, and are not at their last step, or
 *     (3) the student delivered already since the last was begun, or
 *     (4) the student is at its last step.
 * So schedules that train all blocks at once write a checkpoint each time round, and those
 * that train one after another write one for every state but a student's first. What falls due
 * while one is being written is written together, when that is done: memory is bounded by
 * three states a student.
 *
 * A checkpoint that cannot be written (a full disk) fails the next delivery and the close;
 * older ones stay. Two complete ones are kept. */
#ifndef EXECUTOR_CHECKPOINT_CHECKPOINT_WRITER_H
#define EXECUTOR_CHECKPOINT_CHECKPOINT_WRITER_H

#include "executor/checkpoint/checkpoint.h"

typedef struct CheckpointWriter CheckpointWriter;

/* Makes the folder if it is not there (its parent is), and claims it: another run that writes to it
 * is refused. resumed: the checkpoint this run goes on from, number sequence of the folder, or
 * NULL: then the folder must hold none. Copies what it needs. checkpoint_writer_close() *out. */
int checkpoint_writer_open(CheckpointWriter **out, const char *folder, const CheckpointFacts *facts,
                           const Tensors *resumed, int64_t sequence, Error *err);

/* The state of a student (its number among those of all blocks) after a step (its note step.B says
 * the same); copied. Refuses one that state_check() would refuse when it is read, so that none
 * replaces a readable one. From any thread. */
int checkpoint_writer_put(CheckpointWriter *writer, int student, int64_t step, const Tensors *state,
                          Error *err);

/* The number of the newest complete checkpoint; 0: none yet. From any thread. */
int64_t checkpoint_writer_written(CheckpointWriter *writer);

/* Writes what has arrived since the last checkpoint, and waits for it, timeout_ns at most: for a
 * process that is about to end whatever becomes of it. From any thread. Fails when that could not
 * be written in time. */
int checkpoint_writer_flush(CheckpointWriter *writer, int64_t timeout_ns, Error *err);

/* The same without a limit, and frees. NULL is nothing to close. */
int checkpoint_writer_close(CheckpointWriter *writer, Error *err);

#endif
