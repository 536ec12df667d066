/* Inside the evaluation of a run stage by stage (sim/flow.c): its devices and messages, and whether
 * and how its steps repeat (sim/flow_repeat.c). */
#ifndef SIM_FLOW_H
#define SIM_FLOW_H

#include "base/arena.h"
#include "sim/engine.h"

typedef struct {
    int     to, channel;
    int     place;               /* among the RECVs of the receiver */
    int64_t ns;
} FlowMessage;

typedef struct { int64_t ns; int slot; } FlowUpdate;     /* slot: the all-reduce it waits for; -1 */

/* A device's step: load, receive, compute, send, compute and sum gradients, update. */
typedef struct {
    int          device;
    int64_t      load_ns, before_ns;             /* before: until it sends */
    int          receive_count, send_count, reduce_count, update_count;
    int         *receives;                       /* channels */
    FlowMessage *sends;
    int         *slots;                          /* of all-reduces */
    int64_t     *sums_ns;                        /* [reduce_count] what they take */
    int64_t     *parts;                          /* [reduce_count + 1] compute before each, and
                                                  * after the last */
    FlowUpdate  *updates;
    int64_t      share_ns[SHARE_COUNT];          /* of a step, without waits */
    int64_t      end_ns;                         /* of the step before */
    int64_t      posted_ns, sent_ns, ready_ns;   /* sends asked for; gone; students done */
    int          next_send;
    int64_t     *ends;                           /* [steps] of every step; NULL: not looked at */
} FlowDevice;

/* Devices that sum gradients, or one alone. */
typedef struct {
    int     *members, count;     /* of devices[] */
    int      group;              /* -1: alone */
    int      next, before;       /* unit; -1: none */
    bool     merges;             /* some device of the next unit receives from several */
    int64_t  last_start_ns;      /* of the messages of the step before */
} FlowUnit;

typedef struct {
    Sim        *sim;
    Arena       arena;           /* has all that follows */
    int         count, unit_count, steps;
    FlowDevice *devices;         /* [count] those that do something, ascending */
    int        *index;           /* [device_count] of devices[]; -1 */
    FlowUnit   *units;           /* first to last of each chain */
    int        *members;         /* of all units */
    int64_t    *arrival_ns;      /* [channel] of this step's message */
    int64_t    *taken_ns;        /* [channel][depth] when it was received */
    int64_t    *in_free_ns;      /* [device_count] */
    int64_t    *reduce_ns;       /* [reduce slot] the last arrival, then the end */
    int         hint;            /* a device that told two steps apart */
    int         skipped;         /* steps that were not evaluated */
} Flow;

/* When the step's message of a channel was received; until it is, the one depth steps before. */
static inline int64_t *flow_taken(Flow *f, int channel, int step)
{
    return &f->taken_ns[(size_t)channel * (size_t)f->sim->depth
                        + (size_t)step % (size_t)f->sim->depth];
}

/* All take as long for the last few of done steps as for those before: likely it does from here
 * on. */
bool flow_has_settled(const Flow *f, int done);

/* The engine might have seen a state that it had kept: it compares those at the ends of the last
 * device's steps, with the one kept after 1, 3, 7, ... of them. When that device is done the others
 * have too few steps left for two such. */
bool flow_may_repeat(Flow *f);

/* All that the steps after one depend on, in ns, and what devices had waited until then. */
typedef struct {
    int64_t *now, *kept;         /* [words] */
    int64_t (*shares)[SHARE_COUNT];      /* [count] at kept */
    int      words, step;        /* step: after which kept was; -1: none yet */
    int      power;              /* steps that it is kept for */
} FlowState;

/* What f's arena has room for; false: without memory. */
bool flow_state_new(FlowState *state, Flow *f);

/* After a step: if all is as it was after another one, but later by the same time, puts the run
 * ahead by as many of the steps between as fit. *step: the last that is then done. False: time
 * passes the limit. */
bool flow_skip(FlowState *state, Flow *f, int *step);

#endif
