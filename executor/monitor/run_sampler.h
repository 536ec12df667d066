/* Samples of a run for its log: workers add up, one other thread takes what is due and writes it.
 *
 *     workers:  sampler_update()  losses are added up; every so many steps a sample is made:
 *                                 losses, where blocks stand, where devices' time has gone
 *     writer:   sampler_take()    the sample as a line's figures, since the one before
 *
 * A worker never waits for the writer: while a sample has not been taken the next is put off, and
 * then stands for more steps. So nothing is lost, and memory is that of one sample. */
#ifndef EXECUTOR_MONITOR_RUN_SAMPLER_H
#define EXECUTOR_MONITOR_RUN_SAMPLER_H

#include "executor/monitor/run_log.h"
#include "executor/monitor/device_status.h"

typedef struct RunSampler RunSampler;

/* blocks: those that learn, one after the other of a block with several students. block_step:
 * [blocks], where each starts. board is borrowed. every >= 1. */
int  sampler_new(RunSampler **out, int blocks, const int64_t *block_step, int64_t batch,
                 int64_t every, const StatusBoard *board, Error *err);
void sampler_free(RunSampler *sampler);

/* The run begins. */
void sampler_start(RunSampler *sampler, int64_t now_ns);

/* Block b was updated with step, the first being 0. True: a sample waits to be taken, and did
 * not before. From any thread. */
bool sampler_update(RunSampler *sampler, int b, int64_t step, double loss, int64_t now_ns);

/* The run has ended: what came since the last sample becomes one. The writer calls it, when no
 * sample waits. */
void sampler_finish(RunSampler *sampler, int64_t now_ns);

/* The sample that waits; NULL: none. Borrowed until sampler_done(), which the next one waits
 * for. */
const LogProgress *sampler_take(RunSampler *sampler);
void sampler_done(RunSampler *sampler);

#endif
