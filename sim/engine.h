/* Inside the simulator: the state that the engine (engine.c) moves and that the
 * detector of periods (steady.c) compares and shifts. */
#ifndef SIM_ENGINE_H
#define SIM_ENGINE_H

#include "sim/costs.h"
#include "sim/sim.h"

typedef enum {
    STATE_READY,             /* in the heap */
    STATE_RECV,              /* waits for a message on its channel */
    STATE_SLOT,              /* blocking SEND: waits for a queue slot, or for the receiver */
    STATE_SENDING,           /* blocking SEND: in flight */
    STATE_MEET,              /* waits for the rest of its group */
    STATE_REDUCE,            /* waits for an all-reduce that not all have reached */
    STATE_DRAIN,             /* end of step: waits for its messages to leave */
    STATE_DONE
} State;

typedef struct {
    const Code *code;        /* its own, or the shared queue */
    const Cost *cost;        /* of code */
    int         phase, index;
    int64_t     step;
    State       state;
    int64_t     since_ns;    /* when it blocked, or the wake time while ready */
    bool        out_busy, in_busy;
    int64_t     out_end_ns;  /* of the transfer in flight */
    int        *out;         /* posted SENDs: indices into code[], oldest first */
    int64_t    *out_posted_ns;
    int         out_count, out_capacity;
    int64_t    *ready_ns;    /* [sim's prefetch] requests to the loader, by load number */
    int64_t     share_ns[SHARE_COUNT];
    int64_t     executed;
} SimDevice;

typedef struct { int used, arrived; } Slots;          /* of a channel's queue */

typedef struct {          /* of a group */
    int     arrived;
    int64_t lane_free_ns;
} Meet;

typedef struct {
    int     arrived;
    int64_t end_ns;          /* -1: not all have arrived */
} Reduce;

typedef struct { int64_t time_ns; int id; } SimEvent;    /* id: 2d transfer end, 2d+1 wake */

typedef struct Steady Steady;

#define TIME_LIMIT_NS ((int64_t)1 << 62)

typedef struct {
    const Program    *program;
    const Scenario   *scenario;
    const SimOptions *options;
    Error            *err;
    const double     *load;  /* for costs_build() */
    Costs     costs;
    int       depth, lane_count;
    int       prefetch;      /* steps that a device asks the loader ahead */
    bool      blocking;
    int64_t   now_ns;
    SimDevice   *devices;       /* [device_count] */
    Slots    *slots;         /* [channel_count] */
    Meet     *meets;         /* [group_count] */
    int     **reduce_slot;   /* [device][code index]: of ALLREDUCE and of the UPDATE that
                              * waits for it; -1 for the rest */
    Reduce  (*reduces)[2];   /* [reduce slot][step parity]: no member gets two steps ahead */
    int       reduce_slot_count;
    int64_t  *lane_free_ns;  /* [lane_count] of the loader */
    int      *in_channels;   /* channels by receiver ... */
    int      *in_first;      /* ... [device_count + 1] */
    int       next_queued;   /* phase of the shared queue */
    SimEvent    *heap;
    int       heap_count;
    int       live;          /* devices not done */
    int       reference;     /* whose step ends steady.c looks at; -1: nobody's */
    Steady   *steady;
    int64_t   skipped, played;           /* instructions of whole steps */
    int64_t   all;           /* instructions of the run */
    Span     *spans;
    int64_t   span_count, span_capacity;
} Sim;

/* One run with given loads (NULL: the scenario's), what sim_run() consists of. */
int  sim_play(SimResult *out, const Program *program, const Scenario *scenario, const SimOptions *options,
              const double *load, Error *err);

/* Looks at the state at the end of a step of the reference device; when it has seen
 * it before, shifts time and steps by as many whole periods as fit. */
int  steady_new(Sim *sim);
void steady_free(Sim *sim);
int  steady_step_end(Sim *sim);      /* -1: time passes TIME_LIMIT_NS */

/* So many steps of these phases were looked at that a repetition is not to be expected soon. */
bool steady_never(const Sim *sim);

#endif
