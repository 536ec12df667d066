/* What the workers of a run share in one process: where they meet, what each finds out, the first
 * error. */
#ifndef EXECUTOR_TRAIN_RUN_H
#define EXECUTOR_TRAIN_RUN_H

#include <pthread.h>
#include <stdatomic.h>

#include "executor/train/execution.h"
#include "executor/data/loader.h"
#include "executor/train/row_exchange.h"
#include "executor/train/run_control.h"
#include "executor/transport/transport.h"
#include "executor/monitor/device_status.h"

/* Where all workers meet, of all processes; those that fail come too. */
typedef struct {
    World          *world;
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    int             expected, arrived, number;
    int64_t         opened_ns;           /* when all had come last */
} StartBarrier;

typedef struct {
    const Execution *x;
    Transport       *transport;
    Loader          *loader;
    Loader          *fetcher;            /* of stored boundaries; NULL: nothing is fetched. Its
                                          * devices are run_fetch_queue()s */
    RowExchange     *exchange;           /* of rows that other machines have; NULL: none is
                                          * fetched */
    RunControl      *control;
    StatusBoard     *board;              /* the caller's, or the run's own */
    StartBarrier     start;
    const size_t    *message_count;      /* [channels] floats */
    int64_t         *from_step;          /* [students]: where each starts */
    bool             linked;             /* channels or groups: phases of a number start and stop
                                          * together */
    int64_t         *first;              /* linked: [program_numbers()] the step that phases of a
                                          * number start at */
    atomic_bool      failed;
    pthread_mutex_t  lock;               /* for what follows */
    Error            error;              /* the first */
    double          *loss;               /* [students] */
    int64_t         *ended;              /* [students]: where each one's training ended */
    int64_t         *peak_bytes;         /* [devices] */
    bool            *trained;            /* [students]: it was handed over here */
    pthread_mutex_t  report;             /* for the caller's student */
    CoreTimes        core_times;
} Run;

/* Whether the phase is of the part that is executed; the step it ends before. */
bool    run_has_phase(const Run *run, const Phase *phase);
/* The least step of the students that it trains; -1: it trains none. */
int64_t run_phase_first(const Run *run, const Code *code, const Phase *phase);
int64_t run_phase_end(const Run *run, const Phase *phase);
/* The step a device's phase starts at: the least of the students it trains, here or, where phases
 * are linked, on any device; the run's end where it trains none. */
int64_t run_first_step(const Run *run, const Code *code, const Phase *phase);

/* The fetcher's number of what a device fetches of a boundary. */
static inline int run_fetch_queue(const Run *run, int device, int boundary)
{
    return device * (run->x->program->block_count + 1) + boundary;
}

/* expected: in this process */
void start_barrier_open(StartBarrier *barrier, int expected, World *world);
void start_barrier_expect(StartBarrier *barrier, int expected);      /* fewer threads came to be */
void start_barrier_pass(StartBarrier *barrier);
void start_barrier_close(StartBarrier *barrier);

/* Keeps the run's first error and wakes everybody, in all processes. */
void run_fail(Run *run, const Error *err);

#endif
