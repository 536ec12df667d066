/* Peak memory of every device, from a walk over its program: what is always there
 * (weights, gradients, optimizer state, queues, loader buffers) and the largest sum
 * of boundaries and activations that live at the same time.
 *
 * A boundary's rows live from LOAD, RECV or TEACHER to their last use in the step;
 * student activations from FORWARD to BACKWARD; a teacher's only during TEACHER. Byte
 * counts that the trace lacks count as 0 (scenario_missing() says so). */
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
    MEMORY_LOADER,           /* batches loaded ahead */
    MEMORY_PROCESS,          /* what the device's process takes besides */
    MEMORY_COUNT
} MemoryPart;

typedef struct {
    int64_t total_bytes;             /* at the peak */
    int64_t parts[MEMORY_COUNT];     /* what it is made of then */
} Memory;

const char *memory_part_name(MemoryPart part);

/* out: [device_count]. With a shared queue every device must fit every task in it. */
int memory_peak(Memory *out, const Program *program, const Scenario *scenario, Error *err);

#endif
