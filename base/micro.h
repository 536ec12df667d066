/* Micro-batches: a student's FORWARD and BACKWARD of a share of the batch go part after part, so
 * that no more than a part's activations are alive; gradients add up, and one UPDATE follows:
 *
 *     FORWARD                 forward of part 0
 *     BACKWARD                backward of part 0, then forward and backward of each other part
 *
 * A share of rows has as many parts as there are micro-batches, and no more than it has rows; parts
 * differ by at most one row, the larger ones first. Loads, relays and the teacher go by whole
 * shares. */
#ifndef BASE_MICRO_H
#define BASE_MICRO_H

#include <stdint.h>

enum { MICRO_BATCHES_MAX = 1024 };

/* How many parts a share of rows goes in; 0 and 1 micro-batches are one part. */
static inline int64_t micro_parts(int64_t micro_batches, int64_t rows)
{
    return micro_batches < 2 ? 1 : micro_batches < rows ? micro_batches : rows;
}

/* Rows of part 0, the largest. */
static inline int64_t micro_rows(int64_t micro_batches, int64_t rows)
{
    int64_t parts = micro_parts(micro_batches, rows);

    return (rows + parts - 1) / parts;
}

/* Bytes a row of the share that a student's activations take: a part's, spread over the share. */
static inline int64_t micro_bytes(int64_t micro_batches, int64_t bytes)
{
    return micro_batches < 2 || bytes < 0 ? bytes : (bytes + micro_batches - 1) / micro_batches;
}

/* Bytes of gradients: those of a part, and their sum. */
static inline int64_t micro_gradients(int64_t micro_batches, int64_t bytes)
{
    return micro_batches < 2 || bytes < 0 ? bytes : 2 * bytes;
}

#endif
