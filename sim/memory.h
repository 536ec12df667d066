/* Peak memory of every device, from a walk over its program: what is always there
 * (weights, gradients, optimizer state, queues, loader buffers) and the largest sum
 * of boundaries and activations that live at the same time.
 *
 * A boundary's rows live from LOAD, RECV, FETCH or TEACHER to their last use in the step;
 * student activations from FORWARD to BACKWARD; a teacher's only during TEACHER. Weights that
 * ONLOAD brings are there from the phase before on, those that OFFLOAD takes during the phase
 * behind. Byte counts that the trace lacks count as 0 (scenario_missing() says so). */
#ifndef SIM_MEMORY_H
#define SIM_MEMORY_H

#include "schedule/program.h"
#include "traces/scenario.h"

typedef enum {
    MEMORY_WEIGHTS,          /* teacher and student */
    MEMORY_GRADIENTS,
    MEMORY_STATE,            /* of the optimizer */
    MEMORY_BOUNDARIES,
    MEMORY_ACTIVATIONS,
    MEMORY_QUEUES,           /* messages that wait: queue depth times the largest of a channel */
    MEMORY_LOADER,           /* batches loaded, or fetched, ahead */
    MEMORY_PROCESS,          /* what the device's process takes besides */
    MEMORY_COUNT
} MemoryPart;

typedef struct {
    int64_t total_bytes;             /* at the peak */
    int64_t parts[MEMORY_COUNT];     /* what it is made of then */
} Memory;

/* The word of reports: "activations", whose JSON key is activations_bytes. */
const char *memory_part_name(MemoryPart part);

/* A machine's. What its devices have in a tier, and host memory has besides. */
typedef struct {
    int64_t stored_bytes[TRACE_MAX_TIERS];       /* boundaries, at the peak; a shared tier's are
                                                  * machine 0's */
    int64_t weight_bytes;                        /* of blocks that come and go, with optimizer
                                                  * state: in program->home */
    int64_t buffer_bytes;                        /* batches the loader has ready, rows on their way
                                                  * to and from tiers */
} HostMemory;

/* out: [scenario_nodes()]. A boundary is kept until the last phase that fetches it has ended; of
 * phases that may run at the same time, all are taken to do so. */
int memory_host(HostMemory *out, const Program *program, const Scenario *scenario, Error *err);

/* What a tier holds of it: host memory has the buffers too. */
int64_t memory_in_tier(const HostMemory *host, const Program *program, const Trace *trace,
                       int tier);

/* 0, or -1 with the tier that is too small. */
int memory_host_fits(const HostMemory *host, const Program *program, const Scenario *scenario,
                     Error *err);

/* 0, or -1 with the first device that needs more than it has. memory: [device_count] */
int memory_fits(const Memory *memory, const Scenario *scenario, Error *err);

/* out: [device_count]. With a shared queue every device must fit every task in it. */
int memory_peak(Memory *out, const Program *program, const Scenario *scenario, Error *err);

#endif
