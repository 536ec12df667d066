/* What a device that queues (kernels/stream.h) was told to do and was not yet seen to have done:
 * at most UNDER_WAY steps, each with its instructions, the marks that time them, and the
 * losses that the device will have written.
 *
 *     thread    tells step 4 | waits for step 3's end, takes its times | tells step 5 | ...
 *     compute   ... step 3 |   step 4          |
 *
 * So the thread is never further ahead than that, and what a step was told with is left as it is
 * until the step is over. Rows from the host have two buffers on the device, used in turn: the
 * copy of a step's rows runs beside the step before. All is made by under_way_open(). */
#ifndef EXECUTOR_UNDER_WAY_H
#define EXECUTOR_UNDER_WAY_H

#include "kernels/stream.h"
#include "schedule/program.h"

enum { UNDER_WAY = 2 };

typedef struct {
    const Instruction *in;
    bool    beside;          /* on the link's stream: the compute stream goes on */
    bool    waited;          /* ready was set: the wait that it begins with is over */
    Mark   *ready, *end;
    int     input;           /* of a LOAD: which of the buffers */
    int64_t start_ns, end_ns;            /* of a LOAD: when it was made in the host's memory */
    /* found by under_way_take(); CLOCK_MONOTONIC */
    int64_t began_ns, ready_ns, done_ns;
    int64_t copy_ns;         /* of a LOAD: how long its rows took to the device */
} Told;

typedef struct {
    int64_t step;
    Told   *list;            /* [count] */
    int     count;
    Mark   *end;             /* all of it, messages too */
    double *loss;            /* [blocks]: host_alloc()'s */
    int64_t computed_ns, end_ns;         /* found: compute's last instruction; all */
} ToldStep;

typedef struct {
    Device           *device;
    const DeviceSpec *spec;
    ToldStep    steps[UNDER_WAY + 1];    /* a ring */
    int         next, count; /* where the next goes; under way */
    int         capacity;    /* instructions of a step */
    Mark       *begun;       /* of the phase */
    const Mark *base;        /* the end of what was taken last */
    int64_t     base_ns;
    const Mark *latest;      /* the end of what the compute stream was told last */
    float      *input[2];
    size_t      input_count; /* floats of each */
    Mark       *copying[2], *copied[2];
    int         turn;        /* of the inputs */
} UnderWay;

/* For steps of at most instructions instructions that load at most input_count floats. */
int     under_way_open(UnderWay *u, Device *device, const DeviceSpec *spec, int instructions, int blocks, size_t input_count,
                       Error *err);
void    under_way_close(UnderWay *u);
int64_t under_way_bytes(const UnderWay *u);

/* A phase begins: nothing is under way. */
int  under_way_start(UnderWay *u, Error *err);
bool under_way_is_full(const UnderWay *u);

/* A step, then its instructions one by one, then its end. Not when full. */
ToldStep *under_way_begin(UnderWay *u, int64_t step);
Told     *under_way_tell(UnderWay *u, ToldStep *step, const Instruction *in, bool beside);
int       under_way_told(UnderWay *u, Told *told, Error *err);
int       under_way_end(UnderWay *u, ToldStep *step, Error *err);

/* Copies count floats that the host loaded to the device; compute comes after it. Before the next load
 * into the same memory of the host: under_way_loaded(). */
int under_way_load(UnderWay *u, Told *told, const float *host, size_t count, const float **on_device, Error *err);
int under_way_loaded(UnderWay *u, Error *err);

/* Waits for the oldest step and finds its times; NULL: an error. It stays until two more are begun. */
ToldStep *under_way_take(UnderWay *u, Error *err);

#endif
