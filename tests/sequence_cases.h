/* Cases of layers of transformers that every backend is held against the slow model by
 * (tests/slow_sequence.h). */
#ifndef TESTS_SEQUENCE_CASES_H
#define TESTS_SEQUENCE_CASES_H

#include "workloads/workload.h"

/* input and layers: as a workload's text has them. */
typedef struct {
    const char *name, *input, *layers;
    int64_t     rows;
} SequenceCase;

enum { SEQUENCE_CASES = 34, SEQUENCE_ROWS = 8 };

extern const SequenceCase sequence_cases[SEQUENCE_CASES];

/* A workload whose only block has the layers as teacher and as student. */
int sequence_workload(Workload **out, const SequenceCase *c, Error *err);

/* Tokens and types of an input of tokens, else normal numbers. Yours: free() it. */
float *sequence_input(const Workload *w, int64_t rows);

/* Lengths within each sequence: the whole, one token, and about half. */
int sequence_lengths(const SequenceCase *c, int lengths[SEQUENCE_ROWS], Error *err);

#endif
