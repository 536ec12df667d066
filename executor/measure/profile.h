/* The profile: what every block costs on these devices, measured by running programs that
 * train nothing useful but whose instructions are those of real schedules.
 *
 *     alone         device 0:    LOAD | TEACHER all | FORWARD, BACKWARD, UPDATE of every block
 *     contended     all devices: the same at the same time; of the CPU those that share a batch
 *                                meet before each UPDATE, all others begin with another student
 *     single block  device 0:    for every block, LOAD | TEACHER up to it | FORWARD, BACKWARD,
 *                                UPDATE of it, so many times, before the next: as dp and ls do
 *     the same      all devices of the CPU: at the same time, and meeting as above
 *     all-reduce    w devices:   the same on B/w rows each, with ALLREDUCE, for every w
 *     relay         device 0:    LOAD | TEACHER all | SEND every boundary; device 1 takes them. Of
 *                                several processes: TEACHER, SEND of each block, one at a time
 *     busy sums     w devices:   as all-reduce, but UPDATE of all at the end: what sums take of
 *                                cores
 *     busy relay    device 0:    LOAD | TEACHER, SEND of each block; device 1 takes them and trains
 *                                in between: what messages take of cores, where these compute
 *
 * for every share of the batch that a group can have. Where a block has several students, each is
 * measured, after one pass of their teacher. So the caches are in the state that a
 * real step leaves them in (of steps of a single block, more is in them), the input is real data,
 * and what devices do to each other is in the contended times (sim/contention.c).
 *
 * Of several processes on one host, messages between two of them are timed, not those within one.
 * Between hosts, relays and all-reduces are timed once more, across the border of the first two. */
#ifndef EXECUTOR_MEASURE_PROFILE_H
#define EXECUTOR_MEASURE_PROFILE_H

#include "base/text.h"
#include "executor/measure/profile_options.h"

/* The trace as text, ready for a file; it has passed trace_parse(). At other ranks than 0
 * nothing. */
int profile(Text *out, const ProfileOptions *options, Error *err);

#endif
