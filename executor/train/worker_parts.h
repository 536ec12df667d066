/* A worker's own state, which the files that make it up share: executor/train/worker.c, and
 * executor/train/worker_async.c for devices that do their work later than they are told. */
#ifndef EXECUTOR_TRAIN_WORKER_PARTS_H
#define EXECUTOR_TRAIN_WORKER_PARTS_H

#include "executor/train/in_flight.h"
#include "executor/train/worker.h"

typedef struct Worker Worker;

/* Of a worker whose device queues. */
typedef struct {
    InFlight told;
    char   (*names)[32];     /* of the phase's instructions, for profilers */
} AsyncPart;

/* A student's block that a phase trains here. */
typedef struct {
    Worker  *worker;
    Net     *net;            /* NULL: not in this phase */
    int64_t  from;           /* the step it starts at: skipped before */
    int64_t  handed;         /* the step of the latest snapshot */
    int      group;          /* that sums its gradients; -1: alone */
    bool     reports;        /* the first of the group */
    double   loss;           /* of the latest step */
    double  *loss_at;        /* where backward leaves it: there, or memory that the device writes later */
    const StreamEvent *summed;      /* of a device that queues: when its gradients are; NULL: they are its own */
    int     *choices;        /* [block.choices] */
    Tensors *state;          /* for snapshots */
} Student;

struct Worker {
    Run      *run;
    int       device;
    Recorder *recorder;
    Device   *memory;
    Buffers   buffers;
    AsyncPart *queued;      /* NULL: the device's work is done when a call returns */
    bool      joined;        /* the transport */
    int64_t   queue_bytes;
    Net     **teacher;       /* [blocks], NULL where there is none */
    Student  *students;      /* [blocks] */
    GradientRun *runs;       /* [run_capacity] */
    int          run_capacity;
    /* the phase */
    const Code  *code;
    const Phase *phase;
    const Value *values;
    int          number;     /* of the phase, in code */
    int          planned;    /* of the phase, in buffers */
    int64_t      first, step;
    bool         stopping;
    /* sequences of lengths of their own */
    int         *lengths;    /* [batch] of lengths_step; NULL: samples have none */
    int64_t      lengths_step, lengths_sum;
    /* the instruction */
    const float *loaded;     /* where the rows of boundary 0 are */
    int64_t      ready_ns;   /* when its wait ended; 0: it had none */
    int64_t      summed_ns;  /* waited for batch statistics of others */
    Error        err;
};

/* ---- executor/train/worker.c ---- */

/* What each instruction does, where it is done on return. */
extern int (*const worker_perform[OP_COUNT])(Worker *, const Instruction *);
/* An UPDATE without its report. */
int    worker_update(Worker *w, const Instruction *in);
float *worker_own_rows(const Worker *w, int number, int64_t row);

bool worker_skips(const Worker *w, const Instruction *in);       /* its block's step has not come */
void worker_tell(Worker *w, int instruction, int64_t now_ns);    /* the device_status; instruction: of the code */

/* After a block's UPDATE in step: its loss is looked at and told, its state handed over when that is due. */
int  worker_report(Worker *w, int block, int64_t step);
bool worker_hands_over(const Worker *w, int block, int64_t step);

/* Puts where it happened before the error; returns -1. */
int  worker_fail_at(Worker *w, const Instruction *in, int64_t step);

/* ---- executor/train/worker_async.c ---- */

int     async_open(Worker *w);
void    async_close(Worker *w);
int64_t async_bytes(const Worker *w);

int async_begin(Worker *w);                     /* a phase */
int async_step(Worker *w);
int async_end(Worker *w);                       /* all that was told is done and recorded */

/* Of any worker that leaves, also of one that failed: nothing is left to do on its device. */
int async_rest(Worker *w);

#endif
