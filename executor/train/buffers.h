/* The memory of a device for what its phases hold: boundaries, outputs of students and gradients
 * of those, and what nets borrow: what a student keeps from forward to backward, and work
 * memory. Planned before anything runs, made when a phase begins: a step allocates nothing.
 *
 * A value lives, within a step, from the instruction that makes its first row to the last
 * that uses it. Each has a place in one piece of memory, where others may lie that do not
 * live when it does:
 *
 *     LOAD 0 | TEACHER 0 | TEACHER 1 | FORWARD 1 | BACKWARD 1 | UPDATE 1
 *     |----- 0 -----|                 |------- kept ---------|
 *                 |------------ boundary 1 -----------|
 *                 |work|      |------- boundary 2 ----|
 *
 * Two kinds of values have no part in that: a boundary where one LOAD or FETCH makes all of it is
 * read where the loader put it, and a boundary that is one message, as large as any of its channel,
 * is exchanged for a buffer of the channel's (executor/transport/transport.h), so it has memory of
 * its own.
 *
 * A device may hold more rows of a boundary than its teacher makes, some of them received:
 * a value is the least range that has all. */
#ifndef EXECUTOR_TRAIN_BUFFERS_H
#define EXECUTOR_TRAIN_BUFFERS_H

#include "kernels/device.h"
#include "schedule/program.h"
#include "workloads/workload.h"

typedef struct {
    int64_t row, rows;       /* of the global batch; rows 0: the phase has no such value */
    int64_t per_row;         /* floats */
    int64_t tokens, scores;  /* of a row and a token, of VALUE_STUDENT_WORK that a head works in too
                              * (kernels/head.h); 0: none */
    int     made, last;      /* instructions of the phase */
    bool    borrowed;        /* the loader's memory */
    int     channel;         /* exchanged with this channel's messages; -1 */
    int     slot;            /* of a channel's value; else -1 */
    int64_t place;           /* of others: floats from the beginning; -1 when borrowed */
} Value;

/* What there is of a student, or a block's teacher, without boundaries. */
typedef enum {
    VALUE_OUTPUT,            /* of the student */
    VALUE_GRADIENT,          /* of the loss at it */
    VALUE_KEPT,              /* by the student, from forward to backward */
    VALUE_TEACHER_WORK, VALUE_STUDENT_WORK,
    VALUE_KINDS
} ValueKind;

typedef struct {
    Value  *values;          /* by number: boundaries, then VALUE_OUTPUT of all students, ... */
    int64_t count;           /* floats that they take */
} PhaseBuffers;

typedef struct {             /* a boundary that is exchanged with a channel's messages */
    size_t count;            /* floats */
    int    channel;
    float *memory;
} Slot;

typedef struct {
    const Program *program;
    int           block_count, student_count;
    int64_t       micro_batches;
    bool          overlapped;    /* messages are sent while the device computes, until the step's
                                  * end */
    PhaseBuffers *phases;    /* those of the device, then those of the shared queue */
    int           phase_count;
    Slot         *slots;
    int           slot_count, slot_capacity;
    float        *memory;    /* of the phase that runs */
    int64_t       count;     /* floats of it */
} Buffers;

/* Numbers of values in PhaseBuffers.values, which has value_count() of them. */
static inline int value_boundary(int boundary) { return boundary; }
/* number: of a student among all; of a VALUE_TEACHER_WORK a block's first. */
static inline int value_of(const Buffers *b, ValueKind kind, int number)
{
    return b->block_count + 1 + (int)kind * b->student_count + number;
}
/* Of what an instruction works on. */
static inline int value_at(const Buffers *b, ValueKind kind, const Instruction *in)
{
    return value_of(b, kind, program_student(b->program, in->block, in->student));
}
static inline int value_count(const Buffers *b) { return value_of(b, VALUE_KINDS, 0); }

/* Plans for all phases that the device may run; what students make has room for a part of so many
 * micro-batches (base/micro.h). memory: of its kind; message_count: [channels] floats. Borrows
 * program. */
int buffers_plan(Buffers *out, const Program *program, const Workload *workload,
                 int64_t micro_batches, int device, const Device *memory,
                 const size_t *message_count, Error *err);

/* Makes the memory that is exchanged, for all phases; the rest is there after buffers_begin(). */
int  buffers_open(Buffers *buffers, Device *memory, Error *err);
int  buffers_begin(Buffers *buffers, Device *memory, int phase, Error *err);
int64_t buffers_bytes(const Buffers *buffers);

/* Gives the memory back (memory may be NULL before buffers_open()). */
void buffers_free(Buffers *buffers, Device *memory);

/* Where the value's first row lies; not for borrowed ones. */
float *buffers_at(const Buffers *buffers, const Value *value);

/* Floats of the largest message of each channel, [channels]. */
void buffers_messages(size_t *count, const Program *program, const Workload *workload);

#endif
