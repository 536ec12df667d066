/* Inside the simulator: the state that the engine (engine.c) moves and that the
 * detector of periods (steady.c) compares and shifts. */
#ifndef SIM_ENGINE_H
#define SIM_ENGINE_H

#include "sim/costs.h"
#include "sim/sim.h"
#include "sim/stalls/wait.h"

typedef enum {
    STATE_READY,             /* in the heap */
    STATE_RECV,              /* waits for a message on its channel */
    STATE_SLOT,              /* blocking SEND: waits for a queue slot, or for the receiver */
    STATE_SENDING,           /* blocking SEND: in flight */
    STATE_MEET,              /* waits for the rest of its group */
    STATE_REDUCE,            /* waits for an all-reduce that not all have reached */
    STATE_DRAIN,             /* end of step: waits for its messages to leave */
    STATE_STORE,             /* start of phase: waits until what it fetches is whole, or what it
                              * brings was taken back */
    STATE_DONE
} State;

/* Computations one after another that nobody else has part in (sim/runs.c). */
typedef struct {
    int     first, count;    /* of code[] */
    int64_t ns, teacher_ns, student_ns, update_ns, wait_ns;      /* ns: the sum of the others */
} ComputeRun;

typedef struct {
    ComputeRun *runs;        /* in the order of code[], then one whose first is INT_MAX; NULL: walk
                              * each instruction */
    int        *of_phase;    /* [phases] the first run of each that is not before it */
    bool        shared;      /* both are another device's */
} ComputeRuns;

typedef struct {
    const Code *code;        /* its own, or the shared queue */
    const Cost *cost;        /* of code */
    const ComputeRuns *runs; /* of code; NULL: there are none */
    int         run;         /* the next of the phase */
    int         phase, index;
    bool        later;       /* it has ended a phase */
    int64_t     step;
    State       state;
    int64_t     since_ns;    /* when it blocked, or the wake time while ready */
    int64_t     awaited_ns;  /* how long the RECV that it was woken for waited, where that takes
                              * some of its core */
    bool        out_busy, in_busy;
    int64_t     out_end_ns;  /* of the transfer in flight */
    int        *out;         /* posted SENDs: indices into code[], oldest first */
    int64_t    *out_posted_ns;
    int         out_count, out_capacity;
    int64_t    *ready_ns;    /* [sim's prefetch] requests to the loader, by load number */
    int64_t     share_ns[SHARE_COUNT];
    int64_t     executed;
    int64_t     mark_step, mark_ns;      /* of its phase, the latest that is a power of two */
    int64_t     half_step, half_ns;      /* the one before */
    bool        begun;       /* the phase; its ONLOADs are asked for, its first loads and fetches
                              * too */
    bool        onloads_asked, ahead_asked;
    bool        next_asked;  /* the ONLOADs of the phase behind it */
    int64_t     onloaded_ns, next_onloaded_ns;
    int64_t     offloaded_ns;                /* of the phase before */
    int64_t     stored_ns;   /* when all its STOREs are done */
    int64_t    *storage_ns;  /* [slots][STORAGE_AHEAD] when requests end, by step number */
} SimDevice;

/* Of what computes (op_computes()). */
static inline TimeShare compute_share(Op op)
{
    return op == OP_TEACHER ? SHARE_TEACHER : op == OP_UPDATE ? SHARE_UPDATE : SHARE_STUDENT;
}

/* Of a device that is in one: it may be done, or have no code. */
static inline const Phase *phase_of(const SimDevice *dev) { return &dev->code->phases[dev->phase]; }

typedef struct { int used, arrived; } Slots;          /* of a channel's queue */

typedef struct {          /* of a group */
    int     arrived;
    int64_t lane_free_ns;
} Meet;

typedef struct {
    int     arrived;
    int64_t end_ns;          /* -1: not all have arrived */
} Reduce;

/* Members that have arrived at an all-reduce. */
typedef struct {
    StallArrival *list;
    int           count, capacity;
} StallsLate;

/* What a device did since it last met others, and the standard deviation of that beside stalls. */
typedef struct { int64_t work_ns, spread_ns; } StallSince;

/* Expected waits where devices meet (sim/stalls/meetings.c). */
typedef struct {
    StallWaits   *waits;     /* NULL: the trace has no stalls, or they are drawn; nothing here */
    StallSince  **since;     /* [device][code index] of ALLREDUCE and BARRIER */
    StallsLate   *late;      /* [reduce slot][step parity] */
    StallArrival *list;      /* [device_count] to work with */
} StallMeetings;

typedef struct { int64_t time_ns; int id; } SimEvent;    /* id: 2d transfer end, 2d+1 wake */

typedef struct Steady Steady;
typedef struct Islands Islands;

#define TIME_LIMIT_NS ((int64_t)1 << 62)

/* A tier of a machine: requests in flight end at these times. */
typedef struct {
    int64_t *free_ns;        /* [lanes] */
    int      lanes;
} Station;

typedef struct {
    bool     used;           /* the program stores; else there is nothing else here */
    Station *stations;       /* [costs.storage.stations] */
    int    **slot;           /* [device][code index] number of a STORE or FETCH in its phase */
    int     *slots;          /* [device] the most in a phase */
    int     *stores_left;    /* [blocks + 1] STOREs of a boundary that have steps to come */
    int64_t *whole_ns;       /* [blocks + 1] when those so far are done */
    int     *offloads_left;  /* [blocks] of the first epoch */
    int64_t  left;           /* the sum of stores_left and offloads_left */
    int64_t *back_ns;        /* [blocks] when those so far are done */
    int64_t  asked_ns;       /* what is asked for before then was asked for (sim/islands.c) */
    int     *part;           /* [numbers] of phases */
    int     *phases_left;    /* [parts] that have not ended */
    int64_t *part_end_ns;    /* [parts] when those did that have */
    int64_t **setup_ns;      /* [device][phase] to make networks, before it begins */
} Storage;

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
    Storage   storage;
    StallMeetings stalls;
    int      *twin;          /* [device_count] the device that is simulated for it: itself, or one
                              * that it cannot differ from (sim/fold.c) */
    int      *twins;         /* [device_count] how many it stands for, itself among them */
    Group    *groups;        /* [group_count] of the program, those members that are simulated */
    ComputeRuns *runs;       /* [device_count] of the devices, then of the queue; or NULL */
    int       live;          /* devices not done */
    int       first_left;    /* devices that have not ended a phase */
    int       reference;     /* whose step ends steady.c looks at; -1: nobody's */
    Steady   *steady;
    Islands  *islands;       /* NULL: none are looked for */
    int64_t   skipped, simulated;           /* instructions of whole steps */
    int64_t   walked;        /* instructions, and runs of them, that were gone through */
    bool      stopped;       /* it is too long: bounded and estimated (sim/estimate.c) */
    int64_t   least_ns, most_ns;
    int64_t   all;           /* instructions of the run; without channels what there is to walk */
    Span     *spans;
    int64_t   span_count, span_capacity;
} Sim;

/* One run with given loads (NULL: the scenario's), what sim_run() consists of. */
int sim_play(SimResult *out, const Program *program, const Scenario *scenario,
             const SimOptions *options, const double *load, Error *err);

/* ---- parts of the engine for each other ---- */

/* The device waits as state says, from t on. */
void sim_block(SimDevice *dev, State state, int64_t t);

/* Ends a wait at time t (not before now) and books it. */
void sim_wake(Sim *sim, int d, int64_t t, TimeShare share);
int  sim_record(Sim *sim, int d, Lane lane, const Instruction *in, int64_t step, int64_t start,
                int64_t end);

/* The error of time beyond TIME_LIMIT_NS; returns -1. */
int  sim_too_long(const Sim *sim);

/* ---- devices that cannot differ (sim/fold.c) ---- */

/* Fills in twin, twins and groups; costs are there. sim's owner calls fold_free(), whatever this
 * returns. */
int  fold_new(Sim *sim);
void fold_free(Sim *sim);

/* ---- runs of computations (sim/runs.c) ---- */

/* costs, reduce slots and twins are there. sim's owner calls runs_free(), whatever this returns. */
int  runs_new(Sim *sim);

/* What there is to walk of all steps of the devices that are simulated: instructions that are in no
 * run, and runs; INT64_MAX: more. */
int64_t runs_length(const Sim *sim);

void runs_free(Sim *sim);

/* ---- stalls (sim/stalls/meetings.c) ---- */

/* costs, reduce slots and twins are there. sim's owner calls stalls_free(), whatever this
 * returns. */
int  stalls_new(Sim *sim);
void stalls_free(Sim *sim);

/* Of the instruction at code[at], what the device does itself. */
int64_t stalls_own_ns(const Sim *sim, int d, int at);

/* Adds to costs what devices that relay wait for each other in every step (sim/stalls/relays.c). */
int  stalls_add_relays(Sim *sim);

/* All members stand behind where they meet, each since its since_ns: by how much they go on later
 * than the latest of these, at least 0. -1: no memory. */
int64_t stalls_meet(Sim *sim, const Group *group);

/* Device d arrives at an ALLREDUCE that is overlapped; behind the last one's arrival, by how much
 * it begins later. -1: no memory. */
int     stalls_arrive(Sim *sim, int d, int at, int64_t t);
int64_t stalls_reduce(Sim *sim, int d, int at);

/* The most that a device works in the phase between two places where it meets others. And by how
 * much members of a group that have worked so much, since[device], go on later than they arrive at
 * most: when all arrive at once. -1: no memory. */
StallSince stalls_longest(const Sim *sim, int d, const Phase *phase);
int64_t    stalls_most(const Sim *sim, const Group *group, const StallSince *since);

/* ---- runs in which every device is alone (sim/alone.c) ---- */

/* Runs what sim_new() made to the end, all times as the engine would find them. *done: it was such
 * a run; else all is as it was. -1: time passes TIME_LIMIT_NS. */
int alone_run(Sim *sim, bool *done);

/* ---- runs in which nobody competes (sim/flow.c) ---- */

/* Runs what sim_new() made to the end, as the engine would by all its events, none of which it
 * could have skipped. False: not this one, and all is as it was. */
bool flow_run(Sim *sim);

/* Puts the heap in order after times in it have changed. */
void sim_order_heap(Sim *sim);

/* ---- islands of devices (sim/islands.c) ---- */

/* costs and storage are there. sim's owner calls islands_free(), whatever this returns. */
int  islands_new(Sim *sim);
void islands_free(Sim *sim);

/* A phase begins, ends, or may begin: what is known of islands no longer holds. */
void islands_change(Sim *sim);

/* Whether the end of a step of device d is to be shown to islands_step_end(); whether there are
 * islands, so that nobody else need look whether the run repeats. */
bool islands_look_at(const Sim *sim, int d);
bool islands_have(const Sim *sim);
int  islands_step_end(Sim *sim, int d);  /* -1: time passes TIME_LIMIT_NS */

/* Device d does what others can see, now, in its place in the heap, id; it asks for a request of
 * instruction at at t. -1: without memory. */
void islands_note(Sim *sim, int d, int id);
int  islands_asked(Sim *sim, int d, int at, int request, int64_t t);

/* Device d waits for a FETCH, or for a STORE before. */
void islands_waited(Sim *sim, int d);

/* ---- runs that are too long (sim/estimate.c) ---- */

/* Puts a device's pace down at the end of a step, at t. */
void estimate_mark(SimDevice *dev, int64_t t);

/* Of a run that was stopped: least_ns, most_ns, and what each device has at its estimated end. -1:
 * time passes TIME_LIMIT_NS, or no memory. */
int  estimate_run(Sim *sim);

/* ---- the store (sim/storage.c) ---- */

/* What tiers keep while a program runs. storage_free() also after an error. */
int  storage_new(Sim *sim);
void storage_free(Sim *sim);

/* Start of a phase, once what it waits for is there: 1: its ONLOADs are done at t; 0: it waits; -1:
 * error. ahead asks for the first loads and is called once. */
int  storage_begin_phase(Sim *sim, int d, int64_t t, int (*ahead)(Sim *sim, int d, int64_t t));

/* End of a phase: 1: its OFFLOADs are in flight; 0: it waits for those of the phase before. */
int  storage_end_phase(Sim *sim, int d, int64_t t);

/* FETCH and STORE at *t: 1: the device goes on at *t; 0: it waits for them; -1: error. */
int  storage_fetch(Sim *sim, int d, int at, int64_t *t);
int  storage_store(Sim *sim, int d, int at, int64_t *t);

/* Gives a request the lane of its station that is free first, at t: when it is done, but for a
 * link. Whether a lane is free at t. The longest that a request takes once it has a lane; whether
 * it takes no less the more are in flight. */
int64_t storage_ask(const Sim *sim, Station *stations, int request, int64_t t);
bool    storage_has_lane(const Station *station, int64_t t);
int64_t storage_most_ns(const Sim *sim, const StorageRequest *request);
bool    storage_is_rising(const Sim *sim, const StorageRequest *request);

/* Its parts (sim/storage_parts.c). Whether those before the phase's have ended; then *ready is not
 * before it may begin. A phase ends at t: whether it was the last of its part. */
int  storage_parts_new(Sim *sim);
void storage_parts_free(Sim *sim);
bool storage_part_begins(const Sim *sim, const Phase *phase, int64_t *ready);
bool storage_part_ends(Sim *sim, const Phase *phase, int64_t t);

/* Looks at the state at the end of a step of the reference device; when it has seen
 * it before, shifts time and steps by as many whole periods as fit. */
int  steady_new(Sim *sim);
void steady_free(Sim *sim);
int  steady_step_end(Sim *sim);      /* -1: time passes TIME_LIMIT_NS */

/* The state kept is no longer one of before. */
void steady_forget(Sim *sim);

/* So many steps of these phases were looked at that a repetition is not to be expected soon. */
bool steady_never(const Sim *sim);

#endif
