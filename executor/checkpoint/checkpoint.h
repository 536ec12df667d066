/* A checkpoint: what a run needs to go on, one file
 *
 *     FOLDER/checkpoint-SEQUENCE-STEPS.safetensors      checkpoint-000012-3400.safetensors
 *
 * with every student's tensors as executor/checkpoint/state.h names them (blocks.B.NAME,
 * momentum.blocks.B.NAME, note step.B), the facts of the run as notes, and a checksum over all
 * of it (tensors_write_sealed()). STEPS is the sum of the students' steps, for people; students may
 * stand at different steps. SEQUENCE orders the files: one more than the largest there is.
 *
 * A file appears whole, by rename, and the one before it is removed only when two newer ones
 * are complete. So whenever a run is killed, its last complete checkpoint can be read. */
#ifndef EXECUTOR_CHECKPOINT_CHECKPOINT_H
#define EXECUTOR_CHECKPOINT_CHECKPOINT_H

#include <stdint.h>

#include "base/text.h"
#include "executor/checkpoint/tensors.h"
#include "workloads/workload.h"

typedef struct {
    uint64_t workload;       /* Workload.hash */
    uint64_t seed;
    int64_t  batch, steps_per_epoch, total_steps;
    int      blocks;
    const Workload *workload_of;         /* borrowed: whose students they are; NULL: of no
                                          * particular one, with a student a block */
    uint64_t teacher;        /* hash of its weights; 0: not known (files of before have none of
                              * these four) */
    uint64_t student;        /* hash of the weights that the students began with */
    int64_t  samples;        /* of the data; 0: not known */
    char     data[32];       /* the kind of its source, "images"; "": not known */
} CheckpointFacts;

/* Students of the run, and one of them by its number. */
int       checkpoint_students(const CheckpointFacts *facts);
StudentId checkpoint_student(const CheckpointFacts *facts, int number);

/* A checkpoint of students' states, written as number sequence of the folder (which is there).
 * student [checkpoint_students()]: NULL where one has not started. */
int checkpoint_write(const char *folder, int64_t sequence, const CheckpointFacts *facts,
                     const Tensors *const *student, Error *err);

/* One file; *out is yours: tensors_free() it. Refuses a damaged byte anywhere, and values that
 * state_check() refuses. */
int checkpoint_read(Tensors **out, CheckpointFacts *facts, const char *path, Error *err);

/* The newest that is complete, yours: tensors_free() it; damaged ones are skipped, with a line each
 * to warnings. *sequence: its number. *out is NULL, and that is no error, when there is no
 * checkpoint in the folder or no such folder; an error when all that are there are damaged. */
int checkpoint_latest(Tensors **out, CheckpointFacts *facts, int64_t *sequence, const char *folder,
                      Text *warnings, Error *err);

/* Fails with what differs unless a run with these facts may go on from the checkpoint. */
int checkpoint_fits(const CheckpointFacts *checkpoint, const CheckpointFacts *run, Error *err);

/* Step of a student in a checkpoint or state: note step.B; 0 without it, -1 when it is no
 * number. */
int64_t checkpoint_step(const Tensors *tensors, StudentId id);

/* The numbers of the checkpoints in a folder, ascending, damaged or not: *out is yours, free()
 * it, *count may be 0. Fails when the folder cannot be read. */
int checkpoint_list(int64_t **out, int *count, const char *folder, Error *err);

/* Removes the checkpoint with a number, if it is there; and the temporary files of writers that
 * were killed, which no other run may be writing. */
int checkpoint_remove(const char *folder, int64_t sequence, Error *err);
int checkpoint_remove_unfinished(const char *folder, Error *err);

#endif
