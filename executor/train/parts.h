/* A program that stores boundaries, executed part by part (Execution.part):
 *
 *     store        | epoch 1, relayed, STORE             | epochs 2.., FETCH, each device its own
 *     blocks |
 *     sequential   | block 0, STORE 1 | block 0, FETCH 1 | block 1, STORE 2 | block 1, FETCH 2 |
 *     ...
 *
 * A part is phases of numbers that follow each other: as many as there are before one fetches what
 * another of them stores, or trains a block that another trains; those that store and those that do
 * not are apart. Between parts students are handed over as at the end of a run.
 *
 * Where rows are there already, of an earlier run or of this one before it was resumed, nobody
 * computes them again, and where they are missing they are made:
 *
 *   1. A part that stores is left out when all that it stores is whole, and its blocks train later
 *   too: they do so in the part that fetches it
 *      (its rest: the next part that trains the same blocks, stores nothing and fetches nothing
 *      else), from the step on at which they are.
 *   2. Else its rest goes ahead over the steps whose rows are all there, and the part itself goes
 *   on from there to the
 *      epoch's end, and from there to the next epoch's as long as anything is missing: a run that
 *      is resumed without the
 *      rows it had (memory is gone with a process) relays what is left of its epoch and one more.
 *   3. What a part fetches must be whole, and else cannot be made any more: refused. */
#ifndef EXECUTOR_TRAIN_PARTS_H
#define EXECUTOR_TRAIN_PARTS_H

#include "executor/train/execute.h"

typedef struct {
    int   first, last;       /* numbers */
    int   rest;              /* the part that does the rest of this one's steps; -1: none */
    bool *trains;            /* [blocks] */
    bool *stores, *fetches;  /* [blocks + 1] */
} ProgramPart;

typedef struct {
    ProgramPart *part;       /* [count] */
    int          count;
    bool        *flags;      /* owned, of all parts */
} ProgramParts;

/* *out is yours: program_parts_free() it, also after an error. */
int  program_parts_find(ProgramParts *out, const Program *program, Error *err);
void program_parts_free(ProgramParts *parts);

/* Boundaries that the program stores or fetches, [blocks + 1]. */
void program_stored_set(bool *out, const Program *program);

/* As execute(), with x->store of the program's stored set; x->part is set here. drop: a boundary is
 * removed when nothing fetches it any more, and made only when something stores it
 * (StoreOptions.later). */
int execute_parts(ExecutionResult *out, const Execution *x, bool drop, Error *err);

/* Every rank calls it: the students as rank 0 has them. */
int execution_share_student(const Execution *x, Error *err);

#endif
