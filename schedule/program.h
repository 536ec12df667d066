/* The program: a plan spelled out as instructions, for every device. The simulator
 * gives each instruction a cost, the executor a kernel; neither knows schedules.
 *
 *     device 0:  phase 0 (176 steps): LOAD 0..255, TEACHER 0, SEND boundary 1 -> 1,
 *                                     FORWARD 0, BACKWARD 0, UPDATE 0
 *     device 1:  phase 0 (176 steps): RECV boundary 1 <- 0, TEACHER 1, ...
 *
 * A device runs its phases in order, each for its number of steps; then, while the
 * shared queue has phases left, it takes the next of them (work stealing). A step
 * ends when the messages it sent have left the device.
 *
 * Boundaries may be stored. A phase does the steps first_step to first_step + steps - 1
 * of the program's, and a later one may fetch what an earlier one stored, in other rows:
 *
 *     device 0:  phase 0 (steps 0..99):    LOAD 0..63, TEACHER 0, STORE boundary 1, FORWARD 0, ...
 *                phase 1 (steps 100..999): LOAD 0..63, FETCH boundary 1, FORWARD 0, ...
 *
 * - STORE and FETCH are of the step's samples, wherever they lie in the store. A FETCH is asked
 *   for STORAGE_AHEAD steps before its own (from the phase's start on), and that many STOREs of an
 *   instruction are in flight at most.
 * - A boundary is whole when all STOREs of it are done. A phase that fetches it waits at its
 *   start until then. Who executes the program may have all devices meet before
 *   (schedule/program_parts.h).
 * - ONLOAD b brings what the phase uses of block b, and was not on the device in its phase
 *   before, from the tier where weights are kept: the teacher's weights where it has TEACHER b,
 *   student, optimizer state and the student's weights where it has FORWARD b. It is done once,
 *   before the phase's first step, beginning with the phase before, and not before every
 *   OFFLOAD b of phases that end earlier in the program's steps. OFFLOAD b takes the students
 *   of b and their states back, once, behind the last step, while the next phase runs. */
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
    OP_STORE,        /* rows of boundary block into its tier                          */
    OP_FETCH,        /* the same, back                                                */
    OP_ONLOAD,       /* weights of the block onto the device, once a phase            */
    OP_OFFLOAD,      /* its students and their states off it, once a phase            */
    OP_COUNT
} Op;

enum { STORAGE_AHEAD = 2 };

typedef struct {
    Op      op;
    int     block;           /* or boundary, for LOAD, RECV, SEND, STORE, FETCH; 0 for BARRIER */
    int     link;            /* channel, or group; -1 for the rest */
    int64_t row, rows;       /* rows row .. row + rows - 1 of the global batch */
    int     student;         /* of the block, for FORWARD to UPDATE; 0 for the rest */
} Instruction;

typedef struct {
    int     first, count;    /* of code[]; count >= 1 */
    int64_t steps;
    int64_t first_step;      /* of the program's */
    int     number;          /* ascending along a device; phases that are linked have the same */
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
    int64_t  batch, steps;   /* steps of all its epochs */
    int64_t  epochs;         /* 1, unless it stores: then steps / epochs of them are an epoch's */
    int     *tier;           /* [block_count + 1] where boundaries are stored, a tier of the trace;
                              * -1: not */
    int      home;           /* the tier that ONLOAD and OFFLOAD move weights from and to; -1:
                              * none */
    int     *first_student;  /* [block_count + 1] students of all blocks before: block b has
                              * first_student[b + 1] - first_student[b], most often 1 */
    Code    *devices;        /* [device_count] */
    Code     queue;          /* phases for whoever is free; loads and computes only */
    Channel *channels;
    int      channel_count, channel_capacity;
    Group   *groups;
    int      group_count, group_capacity;
    int64_t  instruction_count;
    const bool *built;       /* [device_count] while an excerpt is built; else NULL */
} Program;

#define PROGRAM_MAX_INSTRUCTIONS ((int64_t)64 << 20)

/* Spells plan out for steps steps, those of plan->epochs epochs together, as many in each; the plan
 * has passed plan_check().
 * *out is yours: program_free() it. Fails beyond PROGRAM_MAX_INSTRUCTIONS. */
int program_build(Program **out, const Plan *plan, int64_t steps, Error *err);

/* As program_build(), with so many steps in each of the plan's epochs. Refuses more than 2^62 in
 * all: a step takes a nanosecond at least, and simulated time ends there. */
int program_build_epochs(Program **out, const Plan *plan, int64_t epoch_steps, Error *err);

/* The instructions of a plan without those that depend on how stages meet: no program of it has
 * fewer. */
double program_least(const Plan *plan);

/* As program_build(), with so many steps an epoch, and two epochs where the plan is for more:
 * enough to show. */
int program_build_short(Program **out, const Plan *plan, int64_t steps, Error *err);

/* The first phase of dp, ir, or ls without stealing, for steps steps; only devices with built[d]
 * get instructions. Groups have all their members: the caller knows that each of those left out
 * does what another one does, and the simulator does not wait for them. */
int program_build_excerpt(Program **out, const Plan *plan, int64_t steps, const bool *built,
                          Error *err);

void program_free(Program *program);

const char *op_name(Op op);                        /* "TEACHER" */

/* Whether the instruction's block is the number of a boundary; whether it is work of the device
 * itself, TEACHER, FORWARD, BACKWARD or UPDATE; whether it trains a student; whether it is one of
 * the store's. */
bool op_has_boundary(Op op);
bool op_computes(Op op);
bool op_trains(Op op);
bool op_stores(Op op);

/* Whether both devices do the same, if of other rows: the same instructions on as many rows, of the
 * same links, in phases of as many steps. */
bool code_matches(const Code *a, const Code *b);

/* Whether any instruction is the store's. */
bool program_stores(const Program *program);

/* One more than the highest number of devices' phases. */
int program_numbers(const Program *program);

/* Students of all blocks; of one; the number of one student among all. */
int program_student_count(const Program *program);
int program_students(const Program *program, int block);
int program_student(const Program *program, int block, int student);

/* "SEND boundary 2, rows 0..63, to device 3" into buffer; returns buffer. */
const char *instruction_text(const Program *program, const Instruction *instruction, char *buffer,
                             size_t size);

/* ---- for the builders ---- */

/* No instructions yet, a student a block, nothing stored; NULL without memory. program_free()
 * it. */
Program *program_new(int device_count, int block_count, int64_t batch, int64_t steps);

/* Other numbers of students than one a block, [block_count]; NULL: one each. */
void program_set_students(Program *program, const int *students);

/* A phase of all steps, numbered in the order of the device's; an instruction at its end. */
int program_begin_phase(Code *code, int64_t steps, Error *err);
int program_emit(Program *program, Code *code, Instruction instruction, Error *err);

/* Room for so many instructions more, at once. */
int program_reserve(Code *code, int instructions, Error *err);

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
int build_sequential(Program *program, const Plan *plan, Error *err);
int build_store(Program *program, const Plan *plan, Error *err);

/* What tr, dpu, ahd and ir share: stages along the chain, all at once. */
int build_relay(Program *program, const Plan *plan, bool barrier, Error *err);

#endif
