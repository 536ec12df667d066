/* The memory of a device for what its phases hold: boundaries, outputs of students, and
 * gradients of those. Planned before anything runs, so that a step allocates nothing.
 *
 * A value lives, within a step, from the instruction that makes its first row to the last
 * that uses it; values that do not live at the same time share memory:
 *
 *     LOAD 0 | TEACHER 0 | TEACHER 1 | FORWARD 1 | BACKWARD 1 | UPDATE 1
 *     |----- 0 -----|
 *                 |------------ boundary 1 -----------|
 *                             |------- boundary 2 ----|
 *
 * Two kinds of values have no part in that: boundary 0 where one LOAD makes all of it is
 * read where the loader put it, and a boundary that is one message is exchanged for a
 * buffer of the channel's (executor/transport.h), so it has memory of its own.
 *
 * A device may hold more rows of a boundary than its teacher makes, some of them received:
 * a value is the least range that has all. */
#ifndef EXECUTOR_BUFFERS_H
#define EXECUTOR_BUFFERS_H

#include "kernels/device.h"
#include "schedule/program.h"
#include "workloads/workload.h"

typedef struct {
    int64_t row, rows;       /* of the global batch; rows 0: the phase has no such value */
    int64_t per_row;         /* floats */
    int     made, last;      /* instructions of the phase */
    bool    borrowed;        /* the loader's memory */
    int     channel;         /* exchanged with this channel's messages; -1 */
    int     slot;            /* -1 when borrowed */
} Value;

/* Values of a phase by number: boundaries, then outputs, then gradients of students' blocks. */
typedef struct { Value *values; } PhaseBuffers;

typedef struct {
    size_t count;            /* floats */
    int    channel;          /* -1: shared by values one after another */
    float *memory;
} Slot;

typedef struct {
    int           block_count;
    PhaseBuffers *phases;    /* those of the device, then those of the shared queue */
    int           phase_count;
    Slot         *slots;
    int           slot_count, slot_capacity;
} Buffers;

static inline int value_boundary(int boundary)                      { return boundary; }
static inline int value_output(const Buffers *b, int block)         { return b->block_count + 1 + block; }
static inline int value_gradient(const Buffers *b, int block)       { return 2 * b->block_count + 1 + block; }
static inline int value_count(const Buffers *b)                     { return 3 * b->block_count + 1; }

/* Plans for all phases that the device may run. message_count: [channels] floats. */
int  buffers_plan(Buffers *out, const Program *program, const Workload *workload, int device,
                  const size_t *message_count, Error *err);

/* The memory; *bytes: how much. buffers_free() gives it back (memory may be NULL before). */
int  buffers_open(Buffers *buffers, Device *memory, int64_t *bytes, Error *err);
void buffers_free(Buffers *buffers, Device *memory);

/* Floats of the largest message of each channel, [channels]. */
void buffers_messages(size_t *count, const Program *program, const Workload *workload);

/* Floats of a row of boundary. */
int64_t boundary_count(const Workload *workload, int boundary);

#endif
