/* What a run is given, and what comes of it. */
#ifndef EXECUTOR_TRAIN_EXECUTION_H
#define EXECUTOR_TRAIN_EXECUTION_H

#include <stdatomic.h>

#include "executor/data/data.h"
#include "executor/monitor/current_run.h"
#include "executor/checkpoint/tensors.h"
#include "executor/net/world.h"
#include "executor/store/store.h"
#include "executor/transport/core_times.h"
#include "kernels/device.h"
#include "schedule/program.h"
#include "schedule/timeline.h"
#include "workloads/workload.h"

/* Some phases of a program, over some of its steps. */
typedef struct {
    bool    given;                       /* false: all phases, each its own steps */
    int     first, last;                 /* numbers of phases, both included */
    int64_t until;                       /* the step they end before, whatever theirs are; 0:
                                          * theirs */
} ExecutionPart;

typedef struct {
    World            *world;             /* NULL: this process alone. Others: every rank executes
                                          * the same, but devices, data, files are its own; progress
                                          * and snapshot are called at rank 0 only */
    const Program    *program;           /* verified; its steps are those of the whole run */
    const Workload   *workload;
    const DeviceSpec *devices;           /* alone: as many as the program has. Else those of one or
                                          * more ranks of this host, of which this one's begin
                                          * at: */
    int               first_of_spec;
    Data             *data;
    Store            *store;             /* of what the program stores and fetches; NULL: it does
                                          * not */
    ExecutionPart     part;
    const Tensors    *teacher;           /* NULL: initialised from the seed */
    Tensors          *student;           /* in: where blocks start, as executor/checkpoint/state.h
                                          * names it (what is not there: from the seed, at step 0);
                                          * out: where they ended */
    uint64_t seed;
    int64_t  steps_per_epoch;            /* of the data; total steps are the program's */
    int      queue_depth;
    int      lanes, prefetch;            /* of the loader; prefetch 0: devices fetch stored rows
                                          * themselves, too */
    int64_t  micro_batches;              /* base/micro.h; below 2: none */
    bool     synchronise;                /* batch statistics over groups */
    int64_t  turns;                      /* in so many first steps of a phase paths are taken in
                                          * turn, not drawn: to warm up */
    int64_t  record_first, record_steps; /* steps of every phase whose spans are kept; 0 steps:
                                          * none */
    atomic_bool *stop;                   /* set from outside: finish the step, then return; or
                                          * NULL */
    StatusBoard *board;                  /* of as many devices as the program has: shows the status
                                          * of each; or NULL */
    CurrentRun *current_run;                    /* shows what runs; or NULL */
    /* After each UPDATE, one thread at a time; or NULL. student: its number among those of all
     * blocks (program_student()). loss: of the whole batch, before the update. */
    void   (*progress)(void *context, int device, int student, int64_t step, double loss);
    /* Every so many steps of a student, at its last and where the run stops, what
     * executor/checkpoint/state.h makes of it is handed over, one thread at a time; or
     * NULL. */
    int64_t  snapshot_every;
    int    (*snapshot)(void *context, int student, int64_t step, const Tensors *state, Error *err);
    /* Before a boundary is removed that blocks would need to go on from an older state: what was
     * handed over is kept for good now; at rank 0; or NULL. */
    int    (*keep)(void *context, Error *err);
    void    *context;
} Execution;

/* The sample of a row of a step's batch. */
static inline int64_t execution_sample(const Execution *x, int64_t step, int64_t row)
{
    return data_order(data_count(x->data), x->seed, step / x->steps_per_epoch,
                      step % x->steps_per_epoch * x->program->batch + row);
}

/* A phase as a device ran it. Times are relative to the result's start. Of an instruction
 * that waits (LOAD with prefetch, RECV, SEND, ALLREDUCE, BARRIER) work begins when the wait
 * is over; FORWARD and BACKWARD wait where batch statistics are synchronised. */
typedef struct {
    int      device, phase;              /* number among the device's, or the shared queue's */
    bool     stolen;                     /* from the shared queue */
    bool     overlapped;                 /* SEND and ALLREDUCE were overlapped with compute: their
                                          * wait_ns is what it waited for them, their work_ns is not
                                          * its time */
    int64_t  first, steps;               /* run: from step first on */
    int64_t  start_ns;
    int64_t *step_end_ns;                /* [steps] */
    int64_t  work_ns[OP_COUNT], wait_ns[OP_COUNT];
    int64_t  cpu_ns;                     /* what the worker's thread had of a processor: less than
                                          * its work where others used its core */
} PhaseTimes;

/* A device that had less of its core while it worked did not run alone. */
#define CORE_SHARE_BUSY 0.97

/* Of work_ns[op], what is time of the compute lane. */
static inline int64_t phase_work_ns(const PhaseTimes *t, Op op)
{
    return t->overlapped && (op == OP_SEND || op == OP_ALLREDUCE) ? 0 : t->work_ns[op];
}

typedef struct {
    int64_t     start_ns, end_ns;        /* CLOCK_MONOTONIC: all devices ready, all done */
    int64_t     besides_ns;              /* what execute() took before the one and after the
                                          * other */
    PhaseTimes *phases;                  /* by device, in the order they ran; of joined results part
                                          * after part */
    int         phase_count;
    Span       *spans;                   /* relative to start_ns, in the order of their ends; waits
                                          * are gaps. As the simulator's: a LOAD is on the loader's
                                          * lane, a SEND on the sender's compute (where it is
                                          * overlapped: copy-out) and the receiver's copy-in lane */
    int64_t     span_count;
    double     *loss;                    /* [students]: of the last step; NaN: none run */
    int64_t    *steps;                   /* [students]: where they stand */
    int64_t    *peak_bytes;              /* [devices]: the most that was allocated at a time: nets,
                                          * their work, boundaries, queues, the loader's batches */
    CoreTime   *core_times;              /* [core_time_count]: what transfers between processes
                                          * took of processors, without the first record_first of
                                          * each kind; none where no steps are recorded */
    int         core_time_count;
    bool        stopped;                 /* by *stop */
} ExecutionResult;

#endif
