/* The profile: what every block costs on these devices, measured by running programs that
 * train nothing useful but whose instructions are those of real schedules.
 *
 *     alone         device 0:    LOAD | TEACHER all | FORWARD, BACKWARD, UPDATE of every block
 *     contended     all devices: the same at the same time, each beginning with another student
 *     single block  device 0:    for every block, LOAD | TEACHER up to it | FORWARD, BACKWARD,
 *                                UPDATE of it, so many times, before the next: as dp and ls do
 *     all-reduce    w devices:   the same on B/w rows each, with ALLREDUCE, for every w
 *     relay         device 0:    LOAD | TEACHER all | SEND every boundary; device 1 takes them
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

#include <stdatomic.h>

#include "executor/data/data.h"
#include "executor/monitor/current_run.h"
#include "executor/checkpoint/tensors.h"
#include "executor/net/world.h"
#include "kernels/device.h"
#include "traces/trace.h"
#include "workloads/workload.h"

typedef struct {
    World            *world;             /* NULL: this process alone; else every rank profiles the
                                          * same */
    const Workload   *workload;
    const DeviceSpec *devices;           /* as Execution has them; of one kind on all ranks */
    int               first_of_spec;
    Data             *data;
    const Tensors    *teacher;           /* NULL: from the seed */
    int64_t      batch;
    int          trials;                 /* steps timed, at least 3, in several turns (one, on
                                          * asynchronous devices) */
    double       limit_s;                /* so long more turns follow, until every program's work
                                          * has a standard error of PROFILE_ERROR of its mean */
    int          queue_depth, lanes, prefetch;
    uint64_t     seed;
    atomic_bool *stop;                   /* or NULL */
    CurrentRun     *current_run;                /* or NULL */
    void       (*progress)(void *context, int done, int total);      /* or NULL */
    void        *context;
    bool         store_bf16;             /* rows are stored in bfloat16 */
    const char  *store;                  /* where boundaries could be stored, whose tiers are
                                          * measured at rank 0; NULL: nowhere */
    const char  *date, *note;            /* "2026-11-24"; what else to say in the provenance, "" */
} ProfileOptions;

#define PROFILE_ERROR 0.01

/* The trace as text, ready for a file; it has passed trace_parse(). At other ranks than 0
 * nothing. */
int profile(Text *out, const ProfileOptions *options, Error *err);

#endif
