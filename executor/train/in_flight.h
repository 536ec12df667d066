/* What was enqueued on a device (kernels/stream.h) and not yet seen to be done: at most IN_FLIGHT
 * steps, each with its instructions, the events that time them, and the losses that the device
 * will have written.
 *
 *     thread    enqueues step 4 | waits for step 3's end, retires it | enqueues step 5 | ...
 *     compute   ... step 3      |   step 4          |
 *
 * So the thread is never further ahead than that, and what a step was enqueued with is left as it
 * is until the step is over. Rows from the host have two buffers on an asynchronous device, used in
 * turn: the copy of a step's rows is overlapped with the step before. Rows that are to be stored
 * are copied to the host's memory, a place of each step in flight, and are there once it is
 * retired. Other devices use rows where they are, and their steps are over once they are enqueued.
 * All is made by in_flight_open(). */
#ifndef EXECUTOR_TRAIN_IN_FLIGHT_H
#define EXECUTOR_TRAIN_IN_FLIGHT_H

#include "kernels/stream.h"
#include "schedule/program.h"

enum { IN_FLIGHT = 2 };

typedef struct {
    const Instruction *in;
    bool    overlapped;      /* on the link's stream: the compute stream goes on */
    bool    waited;          /* ready was recorded: the wait that it begins with is over */
    bool    moved;           /* what it received or summed was transferred overlapped with the
                              * device's work */
    StreamEvent *begun, *ready, *end;    /* begun: when the thread came to it, of devices that are
                                          * not asynchronous */
    const StreamEvent *copying, *copied;         /* of a LOAD: its rows to the device; NULL: they
                                                  * stay where they are */
    int64_t start_ns, end_ns;            /* of a LOAD: when it was made in the host's memory; moved:
                                          * in flight */
    int64_t summed_ns;       /* waited for batch statistics of others within it, where the thread
                              * does that */
    /* found by in_flight_retire(); CLOCK_MONOTONIC */
    int64_t began_ns, ready_ns, done_ns;
    int64_t copy_ns;         /* of a LOAD: how long its rows took to the device */
} Enqueued;

typedef struct {
    int64_t step;
    Enqueued   *list;            /* [count] */
    int     count;
    StreamEvent   *end;             /* all of it, messages too */
    double *loss;            /* [students]: host_alloc()'s */
    float **stored;          /* [outputs]: host_alloc()'s */
    int64_t computed_ns, end_ns;         /* found: compute's last instruction; all */
} EnqueuedStep;

/* Rows of the LOAD, or FETCH, that is one of its number in a phase. */
typedef struct {
    float       *rows[2];
    StreamEvent *copying[2], *copied[2];
    int          turn;       /* of them */
} InFlightInput;

/* What steps have at most. */
typedef struct {
    int           instructions, students;
    int           inputs, outputs;       /* LOADs and FETCHes; STOREs */
    const size_t *input_floats;          /* [inputs] */
    const size_t *output_floats;         /* [outputs] */
} InFlightSizes;

typedef struct {
    Device           *device;
    const DeviceSpec *spec;
    EnqueuedStep    steps[IN_FLIGHT + 1];    /* a ring */
    int         next, count; /* where the next goes; in flight */
    int         capacity;    /* instructions of a step */
    StreamEvent       *begun;       /* of the phase */
    const StreamEvent *base;        /* the end of what was retired last */
    int64_t     base_ns;
    const StreamEvent *latest;      /* the end of what was enqueued on the compute stream last */
    bool        async;
    InFlightInput *input;    /* [inputs], of an asynchronous device */
    int         inputs, outputs;
    int64_t     bytes;       /* of the device's memory */
    EnqueuedStep *current;   /* that was begun last */
} InFlight;

/* sizes is borrowed for the call; close also what could not be opened. bytes: of the device's
 * memory. */
int     in_flight_open(InFlight *u, Device *device, const DeviceSpec *spec,
                       const InFlightSizes *sizes, Error *err);
void    in_flight_close(InFlight *u);
int64_t in_flight_bytes(const InFlight *u);

/* A phase begins: nothing is in flight. */
int  in_flight_start(InFlight *u, Error *err);
bool in_flight_is_full(const InFlight *u);

/* A step, then its instructions one by one, then its end. Not when full. */
EnqueuedStep *in_flight_begin(InFlight *u, int64_t step);
Enqueued *in_flight_enqueue(InFlight *u, EnqueuedStep *step, const Instruction *in, bool overlapped,
                            Error *err); /* NULL: an error */
/* When the thread came to it, CLOCK_MONOTONIC, of a device that is not asynchronous. */
int64_t   in_flight_begun_ns(const InFlight *u, const Enqueued *e);
int       in_flight_enqueued(InFlight *u, Enqueued *e, Error *err);
int       in_flight_end(InFlight *u, EnqueuedStep *step, Error *err);

/* Makes count floats that the host loaded the device's, as input number i; compute comes after it.
 * Before the next load into the same memory of the host: in_flight_loaded(). */
int in_flight_load(InFlight *u, Enqueued *e, int i, const float *host, size_t count,
                   const float **on_device, Error *err);
int in_flight_loaded(InFlight *u, int i, Error *err);

/* Of an asynchronous device: count floats to the host's memory, as output number i of the step that
 * was begun last: EnqueuedStep.stored, when it is retired. */
int in_flight_store(InFlight *u, int i, const float *rows, size_t count, Error *err);

/* Waits for the oldest step and finds its times; NULL: an error. It stays until two more are
 * begun. */
EnqueuedStep *in_flight_retire(InFlight *u, Error *err);

#endif
