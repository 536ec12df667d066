/* The scenario: a trace on a chosen cluster with a chosen batch; every cost that
 * the planner and the simulator use is looked up here.
 *
 * Between measured points costs are linear in rows (or bytes), rounded to the
 * nearest nanosecond. Outside the measured range a lookup fails and names the
 * missing point, unless extrapolate is set: then the line through the two nearest
 * points is continued (through one point: proportional), never below 0. */
#ifndef TRACES_SCENARIO_H
#define TRACES_SCENARIO_H

#include "base/text.h"
#include "traces/trace.h"
#include "traces/work_cache.h"

typedef struct {
    int64_t devices;         /* 0: as the trace says */
    int64_t batch;           /* 0: as the trace says */
    int64_t memory_bytes;    /* a device's limit; 0: as the trace says */
    int64_t steps;           /* of an epoch; 0: samples / batch, rounded up */
    int64_t epochs;          /* of the job; 0: as the trace says */
    int64_t queue_depth;     /* messages that a relay queue holds, at least 1 */
    bool    extrapolate;
} ScenarioOptions;

typedef struct {
    const Trace *trace;      /* borrowed */
    int          device_count;
    int         *kinds;      /* [device_count], owned */
    int64_t     *memory_bytes;                /* [device_count], 0: no limit; owned */
    int64_t      batch, steps;                /* steps of an epoch */
    int64_t      epochs;
    int          queue_depth;
    bool         extrapolate;
    double       load;       /* share of the time that the other devices compute, 0..1: work takes
                              * alone + load * (contended - alone). scenario_build() sets 1, or 0
                              * for one device */
    WorkCache   *works;      /* borrowed, of this trace; NULL: none. scenario_build() sets NULL */
    bool         single_block;       /* work is that of steps that train one block alone, as the
                                      * trace has it: dp, ls. scenario_build() sets false */
} Scenario;

/* A cost with its coefficient of variation. */
typedef struct {
    int64_t ns;
    double  spread;
    int64_t core_ns;         /* of an instruction that transfers: what it takes of its device's
                              * core while the transfer is under way (sim/sim.h) */
    int64_t wait_ns;         /* of ns: no work, but what devices that relay wait for each other
                              * (sim/stalls/relays.c) */
} Cost;

/* Borrows trace for as long as out lives. --devices takes the first of the trace's
 * devices, or more of the last kind than it lists. scenario_free() it. */
int  scenario_build(Scenario *out, const Trace *trace, const ScenarioOptions *options, Error *err);
void scenario_free(Scenario *scenario);

/* Work on rows of a block by a device; of all its students together, one after another. */
int scenario_work(const Scenario *scenario, Work work, int block, int device, int64_t rows,
                  Cost *out, Error *err);

/* The same of one of its students. */
int scenario_student_work(const Scenario *scenario, Work work, int block, int student, int device,
                          int64_t rows, Cost *out, Error *err);

/* One request of rows to the loader: batch_us + rows * sample_us. 0 without loader. */
int64_t scenario_load_ns(const Scenario *scenario, int64_t rows);

/* A message of rows at a boundary between two devices; 0 when the trace has no p2p,
 * or no byte count for the boundary. */
int scenario_p2p(const Scenario *scenario, int from, int to, int boundary, int64_t rows,
                 int64_t *ns, Error *err);

/* What such a message takes of the core of the device that sends it, and of the one that receives
 * it; 0 where other cores do that. Fails where scenario_p2p() does. */
typedef enum { SENDER_CORE, RECEIVER_CORE } MessageEnd;
int scenario_p2p_core(const Scenario *scenario, MessageEnd end, int from, int to, int boundary,
                      int64_t rows, int64_t *ns, Error *err);

/* All-reduce of a block's gradients among count devices; 0 when the trace has none.
 * Linear in bytes, and between measured device counts linear in the count. Of all its
 * students, one after another; and of one. */
int scenario_allreduce(const Scenario *scenario, const int *devices, int count, int block,
                       int64_t *ns, Error *err);
int scenario_student_allreduce(const Scenario *scenario, const int *devices, int count, int block,
                               int student, int64_t *ns, Error *err);

/* What it takes of each member's core; 0 where other cores do that. */
int scenario_student_allreduce_core(const Scenario *scenario, const int *devices, int count,
                                    int block, int student, int64_t *ns, Error *err);

/* The node that a device is on, counted from 0; and how many nodes there are. */
int scenario_node(const Scenario *scenario, int device);
int scenario_nodes(const Scenario *scenario);

/* Whether all work takes two devices equally long. And whether they can stand for each other: they
 * have as much memory and are on one node too. */
bool scenario_same_speed(const Scenario *scenario, int a, int b);
bool scenario_same_type(const Scenario *scenario, int a, int b);

/* ns[i], for each number in flight that the tier's grid lists: a request of rows of a boundary.
 * Rows or bytes outside of the grid are an error that names the missing point, unless extrapolate
 * is set. TRACE_ABSENT bytes: 0. */
int scenario_request(const Scenario *scenario, int tier, bool write, int boundary, int64_t rows,
                     int64_t *ns, Error *err);

/* The same of so many bytes of weights and state, which move in requests of the largest size that
 * was measured. */
int scenario_stream(const Scenario *scenario, int tier, bool write, int64_t bytes, int64_t *ns,
                    Error *err);

/* The tier's measured requests of that direction; borrowed. */
static inline const TraceRequests *scenario_requests(const Scenario *scenario, int tier, bool write)
{
    return write ? &scenario->trace->tiers[tier].write : &scenario->trace->tiers[tier].read;
}

/* Rows of replica i of width: batch / width, the first batch % width one more. */
int64_t scenario_share(int64_t batch, int width, int i);

/* One line for each part that the trace does not contain and what is assumed for it
 * ("no loader cost in this trace: loading takes no time"). */
void scenario_missing(const Scenario *scenario, Text *out);

#endif
