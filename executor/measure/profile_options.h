/* What a profile is given. */
#ifndef EXECUTOR_MEASURE_PROFILE_OPTIONS_H
#define EXECUTOR_MEASURE_PROFILE_OPTIONS_H

#include <stdatomic.h>

#include "executor/data/data.h"
#include "executor/monitor/current_run.h"
#include "executor/checkpoint/tensors.h"
#include "executor/net/world.h"
#include "kernels/device.h"
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

#endif
