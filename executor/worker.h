/* A worker: the thread of one device, which interprets the device's program.
 *
 *     open the device, memory, the first phase's nets
 *     ---- all meet: the run starts ----
 *     each phase: nets | each step: each instruction | students handed over
 *     ---- all meet: nobody uses another's memory any more ----
 *     close
 *
 * What the workers of a run share stands in a Run. */
#ifndef EXECUTOR_WORKER_H
#define EXECUTOR_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "executor/buffers.h"
#include "executor/execute.h"
#include "executor/loader.h"
#include "executor/record.h"
#include "executor/transport.h"
#include "executor/whereabouts.h"

/* Where all workers meet; those that fail come too. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    int             expected, arrived, number;
    int64_t         opened_ns;           /* when all had come last */
} Gate;

typedef struct {
    const Execution *x;
    Transport       *transport;
    Loader          *loader;
    Whereabouts     *where;              /* the caller's, or the run's own */
    Gate             gate;
    const size_t    *message_count;      /* [channels] floats */
    int64_t         *block_step;         /* [blocks]: where each student's block starts */
    bool             linked;             /* channels or groups: phases of a number start and stop together */
    int64_t         *first;              /* linked: [phases] the step a phase starts at */
    atomic_int       next_task;          /* of the shared queue */
    atomic_bool      failed;
    pthread_mutex_t  lock;               /* for what follows */
    Error            error;              /* the first */
    int64_t         *started;            /* [devices] linked: the latest step started, as a place in the run */
    int64_t          stop_at;            /* linked: no step from this place on is started */
    bool             stopped;
    double          *loss;               /* [blocks] */
    int64_t         *ended;              /* [blocks]: where each block's training ended */
    int64_t         *peak_bytes;         /* [devices] */
    pthread_mutex_t  report;             /* for the caller's student and progress */
    pthread_mutex_t  hand_over;          /* for the caller's snapshot, which may take long */
} Run;

typedef struct {
    Run      *run;
    int       device;
    Recorder *recorder;
} WorkerArgument;

/* The thread's function; argument is a WorkerArgument. Errors go to the run. */
void *worker_run(void *argument);

void gate_open(Gate *gate, int expected);
void gate_expect(Gate *gate, int expected);      /* fewer threads came to be */
void gate_pass(Gate *gate);
void gate_close(Gate *gate);

/* Keeps the run's first error and wakes everybody. */
void run_fail(Run *run, const Error *err);

#endif
