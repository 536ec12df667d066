/* A worker's own state, which the files that make it up share: executor/train/worker.c
 * (instructions, nets, phases) and executor/train/worker_step.c (steps). */
#ifndef EXECUTOR_TRAIN_WORKER_PARTS_H
#define EXECUTOR_TRAIN_WORKER_PARTS_H

#include "executor/train/in_flight.h"
#include "executor/train/buffers.h"
#include "executor/train/record.h"
#include "executor/train/run.h"
#include "kernels/head.h"

typedef struct Worker Worker;

/* A student that a phase trains here. */
typedef struct {
    Worker   *worker;
    StudentId id;
    WorkBlock block;         /* its block, with this student alone */
    Net      *net;           /* NULL: not in this phase */
    ScoreHead *head;         /* of a block that has one (workloads/head.h) */
    int64_t  from;           /* the step it starts at: skipped before */
    int64_t  handed;         /* the step of the latest snapshot */
    int      group;          /* that sums its gradients; -1: alone */
    bool     reports;        /* the first of the group */
    double   loss;           /* of the latest step */
    double  *loss_at;        /* where backward leaves it: the step's, which an asynchronous device
                              * writes later */
    const StreamEvent *summed;      /* of an asynchronous device: when its gradients are; NULL: they
                                     * are its own */
    int     *choices;        /* [block.choices] */
    Tensors *state;          /* for snapshots */
} Student;

struct Worker {
    Run      *run;
    int       device;
    Recorder *recorder;
    Device   *memory;
    Buffers   buffers;
    bool      async;         /* its work is done after calls return */
    InFlight  steps;
    char    (*names)[32];    /* of the phase's instructions, for profilers */
    bool      joined;        /* the transport */
    int64_t   queue_bytes;
    Net     **teacher;       /* [blocks], NULL where there is none */
    Student  *students;      /* [student_count], of all blocks */
    int       student_count;
    GradientRun *runs;       /* [run_capacity] */
    int          run_capacity;
    /* the phase */
    const Code  *code;
    const Phase *phase;
    const Value *values;
    int          number;     /* of the phase, in code */
    int          planned;    /* of the phase, in buffers */
    int64_t      first, step, end;       /* it runs steps first .. end - 1 */
    bool         stopping;
    /* sequences of lengths of their own */
    int         *lengths;    /* [batch] of lengths_step; NULL: samples have none */
    int64_t      lengths_step, lengths_sum;
    int         *labels;     /* of an instruction's rows, where a block learns from labels: as
                              * LossCall has them; NULL: none does */
    int64_t      labels_a_row;
    /* the instruction */
    const float **loaded;    /* [blocks + 1] where the rows of a boundary are that was loaded or
                              * fetched */
    int64_t      summed_ns;  /* waited for batch statistics of others */
    Error        err;
};

/* ---- executor/train/worker.c ---- */

/* What each instruction does, but LOAD, FETCH, and those that are a phase's. */
extern int (*const worker_perform[OP_COUNT])(Worker *, const Instruction *);
bool   worker_overlaps(const Worker *w, Op op, int link);        /* its transfer is overlapped with
                                                                  * the device's work */
float *worker_own_rows(const Worker *w, int number, int64_t row);

bool worker_skips(const Worker *w, const Instruction *in);       /* its block's step has not come */
/* A step whose rows a FETCH will ask for: announced to the store where the device fetches
 * itself. */
void worker_expect(const Worker *w, const Instruction *in, int64_t step);
/* Puts the device's status on the board. instruction: of the code. */
void worker_tell(Worker *w, int instruction, int64_t now_ns);

/* The student that an instruction of FORWARD to UPDATE is of. */
static inline Student *student_of(const Worker *w, const Instruction *in)
{
    return &w->students[program_student(w->run->x->program, in->block, in->student)];
}

/* After a student's UPDATE in step: its loss is looked at and told, its state handed over when that
 * is due. */
int  worker_report(Student *student, int64_t step);
bool worker_hands_over(const Student *student, int64_t step);

/* Puts the instruction's rows of a step, in the host's memory, into the store. Of an asynchronous
 * device that is when the step is retired: worker_store_later() (executor/train/worker_step.c)
 * enqueues their copy. */
int worker_store(Worker *w, const Instruction *in, int64_t step, const float *rows);
int worker_store_later(Worker *w, const Instruction *in, const float *rows);

/* Puts where it happened before the error; returns -1. */
int  worker_fail_at(Worker *w, const Instruction *in, int64_t step);

/* ---- executor/train/worker_step.c ---- */

/* What steps need beyond a phase: streams' events and pinned memory of asynchronous devices. Bytes:
 * of it. */
int     steps_open(Worker *w);
void    steps_close(Worker *w);
int64_t steps_bytes(const Worker *w);

int steps_begin(Worker *w);                     /* a phase */
int steps_run(Worker *w);                       /* a step */
int steps_end(Worker *w);                       /* all that was enqueued is done and recorded */

/* Of any worker that leaves, also of one that failed: nothing is left to do on its device. */
int steps_rest(Worker *w);

#endif
