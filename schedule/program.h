/* The program: a plan spelled out as instructions, for every device. The simulator
 * gives each instruction a cost, the executor a kernel; neither knows schedules.
 *
 *     device 0:  phase 0 (176 steps): LOAD 0..255, TEACHER 0, SEND boundary 1 -> 1,
 *                                     FORWARD 0, BACKWARD 0, UPDATE 0
 *     device 1:  phase 0 (176 steps): RECV boundary 1 <- 0, TEACHER 1, ...
 *
 * A device runs its phases in order, each for its number of steps; then, while the
 * shared queue has phases left, it takes the next of them (work stealing). A step
 * ends when the messages it sent have left the device. */
#ifndef SCHEDULE_PROGRAM_H
#define SCHEDULE_PROGRAM_H

#include "schedule/plan.h"

typedef enum {
    OP_LOAD,         /* rows of boundary 0 from the host                              */
    OP_RECV,         /* rows of boundary block over channel link                      */
    OP_SEND,         /* the same, at the other end                                    */
    OP_TEACHER,      /* teacher block on rows: boundary block -> boundary block + 1   */
    OP_FORWARD,      /* student of the block on rows; needs boundary block            */
    OP_BACKWARD,     /* loss against boundary block + 1 included                      */
    OP_ALLREDUCE,    /* the student's gradients within group link                     */
    OP_UPDATE,       /* the student's weights                                         */
    OP_BARRIER,      /* all of group link arrive before any goes on                   */
    OP_COUNT
} Op;

typedef struct {
    Op      op;
    int     block;           /* or boundary, for LOAD, RECV, SEND; 0 for BARRIER */
    int     link;            /* channel, or group; -1 for the rest */
    int64_t row, rows;       /* rows row .. row + rows - 1 of the global batch */
    int     student;         /* of the block, for FORWARD to UPDATE; 0 for the rest */
} Instruction;

typedef struct {
    int     first, count;    /* of code[]; count >= 1 */
    int64_t steps;
} Phase;

typedef struct {
    Instruction *code;
    int          code_count, code_capacity;
    Phase       *phases;
    int          phase_count, phase_capacity;
} Code;

typedef struct { int from, to; } Channel;          /* a bounded queue of messages */
typedef struct { int *devices; int count; } Group; /* ascending as in the stage */

typedef struct {
    int      device_count, block_count;
    int64_t  batch, steps;   /* steps of an epoch */
    int     *first_student;  /* [block_count + 1] students of all blocks before: block b has
                              * first_student[b + 1] - first_student[b], most often 1 */
    Code    *devices;        /* [device_count] */
    Code     queue;          /* phases for whoever is free; loads and computes only */
    Channel *channels;
    int      channel_count, channel_capacity;
    Group   *groups;
    int      group_count, group_capacity;
    int64_t  instruction_count;
} Program;

#define PROGRAM_MAX_INSTRUCTIONS ((int64_t)64 << 20)

/* Spells plan out for an epoch of steps steps; the plan has passed plan_check().
 * *out is yours: program_free() it. Fails beyond PROGRAM_MAX_INSTRUCTIONS. */
int program_build(Program **out, const Plan *plan, int64_t steps, Error *err);

void program_free(Program *program);

const char *op_name(Op op);                        /* "TEACHER" */

/* Students of all blocks; the number of one among them. */
int program_student_count(const Program *program);
int program_student(const Program *program, int block, int student);

/* "SEND boundary 2, rows 0..63, to device 3" into buffer; returns buffer. */
const char *instruction_text(const Program *program, const Instruction *instruction, char *buffer,
                             size_t size);

/* ---- for the builders ---- */

Program *program_new(int device_count, int block_count, int64_t batch, int64_t steps);

/* Other numbers of students than one a block, [block_count]; NULL: one each. */
void program_set_students(Program *program, const int *students);

int program_begin_phase(Code *code, int64_t steps, Error *err);
int program_emit(Program *program, Code *code, Instruction instruction, Error *err);

/* Index of the channel, added when new; -1 without memory. */
int program_channel(Program *program, int from, int to, Error *err);
int program_group(Program *program, const int *devices, int count, Error *err);

/* One builder a schedule, in a file of its name. */
int build_dp(Program *program, const Plan *plan, Error *err);
int build_ls(Program *program, const Plan *plan, Error *err);
int build_tr(Program *program, const Plan *plan, Error *err);
int build_dpu(Program *program, const Plan *plan, Error *err);
int build_ir(Program *program, const Plan *plan, Error *err);
int build_ahd(Program *program, const Plan *plan, Error *err);
int build_split(Program *program, const Plan *plan, Error *err);

/* What tr, dpu, ahd and ir share: stages along the chain, all at once. */
int build_relay(Program *program, const Plan *plan, bool barrier, Error *err);

#endif
