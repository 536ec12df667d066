/* The parts of a program that stores boundaries, which are done one after another:
 *
 *     store       | epoch 1, relayed, STORE | epochs 2.., FETCH, each device its own blocks |
 *     sequential  | block 0, STORE 1 | block 0, FETCH 1 | block 1, STORE 2 | block 1, FETCH 2 | ..
 *
 * A part is phases of numbers that follow each other: as many as there are before one fetches what
 * another of them stores, or trains a block that another trains; those that store and those that do
 * not are apart. The executor has all devices meet between parts: a phase begins when those of
 * earlier parts have ended everywhere. So does the simulator where a trace has part_us. */
#ifndef SCHEDULE_PROGRAM_PARTS_H
#define SCHEDULE_PROGRAM_PARTS_H

#include "schedule/program.h"

typedef struct {
    int   first, last;       /* numbers */
    int   rest;              /* a later part that can do this one's steps once all that it stores is
                              * there: it trains the same blocks, stores nothing and fetches nothing
                              * else; -1: none */
    bool *trains;            /* [students] */
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

/* Whether any of count flags is set in a and in b; in a. */
bool flags_share(const bool *a, const bool *b, int count);
bool flags_any(const bool *flags, int count);

#endif
