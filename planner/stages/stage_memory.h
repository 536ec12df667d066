/* Peak memory of a device in a stage of a relaying schedule, or in a task of ls, in constant time:
 * what sim/memory.h finds by walking over its program, to the byte (tests hold it to that).
 *
 * In a step the teacher goes up through the blocks, keeping all boundaries, then the
 * students go through them in the same order, letting go of boundary b after block b:
 *
 *     TEACHER b    boundaries first..b+1,    the teacher's activations of b
 *     FORWARD b    boundaries b..last+1,     the student's activations of b
 *
 * all of them per row, so that with P[k] the bytes of boundaries 0..k-1
 *
 *     rows * max( max over b of (P[b+2] + teacher b) - P[first],
 *                 P[last+2] + max over b of (student b - P[b]) )
 *
 * Always there: weights, gradients and optimizer state of the blocks; where the stage
 * begins, queue_depth messages, or the batches loaded ahead. All but these last grow
 * with the stage: the floor. */
#ifndef PLANNER_STAGES_STAGE_MEMORY_H
#define PLANNER_STAGES_STAGE_MEMORY_H

#include "traces/scenario.h"

typedef struct StageMemory StageMemory;

/* Borrows scenario for as long as out lives. stage_memory_free() it. */
int  stage_memory_build(StageMemory **out, const Scenario *scenario, Error *err);
void stage_memory_free(StageMemory *memory);

/* Bytes of blocks first..last with so many rows. */
int64_t stage_memory_bytes(const StageMemory *memory, int first, int last, int64_t rows);

/* At most that, and never less for a stage that contains this one. */
int64_t stage_memory_floor(const StageMemory *memory, int first, int last, int64_t rows);

/* The most rows that fit in limit_bytes, up to the batch; 0: not even one. */
int64_t stage_memory_most_rows(const StageMemory *memory, int first, int last, int64_t limit_bytes);

/* stage_memory_bytes() without a table, by going through the blocks. */
int64_t stage_memory_plain(const Scenario *scenario, int first, int last, int64_t rows);

/* bytes: [blocks]. What the tasks of ls need, by block: the whole batch, the teacher from the
 * input, which keeps no boundary but the trained block's. */
void    stage_memory_tasks(int64_t *bytes, const Scenario *scenario);

/* Whether some device has a limit. */
bool    stage_memory_limited(const Scenario *scenario);

#endif
