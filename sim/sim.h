/* The simulator: a program and the costs of a scenario give times.
 *
 * Integer nanoseconds; at equal times transfers end before devices wake, and lower
 * device numbers come first; the same input gives the same result on every machine.
 *
 * Resources of a device: a compute lane (serial), a copy-out and a copy-in lane (one
 * message at a time each), an all-reduce lane a group. Shared by all: the loader's
 * lanes (first come, first served) and the bounded queue of each channel. A message
 * holds its queue slot from the start of its transfer until RECV takes it.
 *
 * Transfers are overlapped (SEND returns at once, UPDATE waits for the block's
 * all-reduce) or, when the trace says so, blocking: SEND and ALLREDUCE then occupy the
 * compute lane. A step ends when what it sent has left the device.
 *
 * Of overlapped transfers the trace may have the processor time that they take, and that it is of
 * the cores that devices compute on. The compute lane is then occupied for so long by SEND, once
 * the message is posted, by ALLREDUCE, once the device has arrived, and by RECV, from when the
 * device comes to it: in that time the message may arrive, and if it takes longer, only the rest of
 * the wait remains.
 *
 * Each tier of each machine takes requests of all its devices, first come, first served: as many at
 * a time as its grid has numbers in flight, and a request takes what the grid says for those that
 * are in flight when it begins, itself included. FETCH and ONLOAD are asked for ahead, STORE and
 * OFFLOAD go on while the device does (schedule/program.h), but for a tier's share of them that
 * occupies the device (TraceRequests.device_share).
 *
 * Where the trace has contended times, devices slow each other down (sim/contention.c). */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "base/error.h"
#include "schedule/program.h"
#include "schedule/timeline.h"
#include "traces/scenario.h"

/* Where a device's time goes. They sum to the epoch. */
typedef enum {
    SHARE_LOAD,              /* waiting for the loader */
    SHARE_TEACHER,
    SHARE_STUDENT,           /* forward and backward */
    SHARE_ALLREDUCE,         /* occupied by, or waiting for, gradients */
    SHARE_UPDATE,
    SHARE_TRANSFER,          /* sending, where transfers are blocking; else what they take of the
                              * device's core */
    SHARE_WAIT,              /* for a message, a queue slot, or a barrier */
    SHARE_IDLE,              /* nothing left to do */
    SHARE_STORAGE,           /* waiting for the store, or for weights that come and go, or occupied
                              * by requests to it */
    SHARE_COUNT
} TimeShare;

/* By whichever is faster; by events, each in the order of time, the witness of the other way; or in
 * the order of the stages (sim/flow.c) wherever that is possible, with periods of its own skipped.
 * Times are the same. */
typedef enum { SIM_ANY_WAY, SIM_BY_EVENTS, SIM_IN_ORDER } SimWay;

typedef struct {
    bool     step_by_step;   /* simulate every step: the witness of the fast way */
    SimWay   way;
    bool     record;         /* keep spans; implies step_by_step */
    const bool *recorded;    /* [device_count] of these devices only; NULL: of all */
    bool     first_phase;    /* end when every device is past its first phase: there are spans until
                              * then, and no times */
    const int64_t *begin_ns; /* [device_count] when each begins its first phase, at least 0; what is
                              * before is in none of its shares. NULL: all at 0 */
    const int *stands_for;   /* [device_count] of an excerpt (program_build_excerpt()): devices that
                              * do what this one does, itself among them. NULL: 1 */
    bool     jitter;         /* draw durations from spread; implies step_by_step */
    uint64_t seed;
    int64_t  simulated_most; /* instructions of a run that are simulated one by one, about; 0: 2^27,
                              * some ten seconds. A longer run of which nothing repeats is
                              * estimated, or with record, step_by_step, jitter or first_phase
                              * refused */
    const double *load;      /* [device_count] share of the time that the other devices of each
                              * compute; NULL: where times are contended it is found */
} SimOptions;

typedef struct {
    int      device_count;
    int64_t  epoch_ns;       /* estimated: between least_ns and most_ns, which bound it; the shares
                              * are estimates too, but for what computes */
    bool     estimated;      /* the run is too long to simulate, and nothing in it repeats */
    int64_t  least_ns, most_ns;      /* not estimated: the epoch */
    int64_t  steps;
    double   utilisation;    /* teacher, student and update time / (devices * epoch) */
    double   teacher_work;   /* teacher rows / (blocks * batch): 1 is once a sample */
    double   loads;          /* rows loaded / batch, a step */
    int64_t (*shares)[SHARE_COUNT];      /* [device_count] ns */
    bool     stores;         /* the program does */
    int64_t  simulated;      /* instructions, one by one; of a run that fails too. With SIM_IN_ORDER
                              * others than by events */
    int64_t  skipped;        /* instructions of periods that were skipped */
    bool     in_order;       /* stage by stage, without a clock (sim/flow.c) */
    Span    *spans;          /* when recorded: in the order of their ends */
    int64_t  span_count;
} SimResult;

/* Of a device's shares: what it computes. And utilisation as SimResult has it, from shares and
 * epoch. */
int64_t share_busy_ns(const int64_t shares[SHARE_COUNT]);
double  sim_utilisation(const SimResult *result);

/* The word of reports: "teacher", whose JSON key is teacher_us. */
const char *share_name(TimeShare share);

/* Shares that reports show, the first so many: of a program that stores nothing not
 * SHARE_STORAGE. */
static inline int shares_shown(const SimResult *result)
{
    return result->stores ? SHARE_COUNT : SHARE_STORAGE;
}

/* program has passed program_verify(). sim_free() the result. Fails when a cost is
 * missing, time would pass 2^62 ns, or on a deadlock (who waits for what). A run that is too long
 * to simulate has bounds and an estimate (docs/model.md). */
int  sim_run(SimResult *out, const Program *program, const Scenario *scenario,
             const SimOptions *options, Error *err);
void sim_free(SimResult *result);

/* A run of all devices with their loads, [device_count]; settling: only its epoch and shares
 * matter. sim_free() *out. */
typedef int SimPlay(SimResult *out, const double *load, bool settling, void *context, Error *err);

/* For those who put a run together of several: plays it until the loads that follow from it are
 * those that it was played with, and then once more into *out. At least 2 devices. */
int  sim_settle(SimResult *out, int devices, SimPlay *play, void *context, Error *err);

#endif
