/* Tiers of a trace, measured: what requests to a place take where boundaries could be stored, by
 * the store's own code (executor/store/stored_rows.h), checksums included.
 *
 *     host      "host"          memory, as large as what is free now
 *     a folder  "cached disk"   rows that the page cache holds; as large as the memory or the disk
 *                               that is free
 *               "disk"          rows that it does not hold: the file is put out of it before they
 *                               are read
 *
 * A request is so many rows anywhere in a file, of a thread of its own; so many threads at a time
 * make so many in flight. Files take at most some 100 MiB. Requests of more than LARGEST_REQUEST
 * bytes are measured with as many rows as that, and taken in proportion.
 *
 * Devices of the CPU store themselves, so their share of a write is all of it; of asynchronous ones
 * a thread of the host does, and it is none. Of a read it is none where
 * threads fetch ahead of them; else all where rows are in memory, and of a cold read what a warm
 * one takes: the disk reads ahead, and the device copies and checks (stored_expect()). */
#ifndef EXECUTOR_MEASURE_STORAGE_TIMES_H
#define EXECUTOR_MEASURE_STORAGE_TIMES_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/arena.h"
#include "traces/tiers.h"
#include "workloads/workload.h"

enum { LARGEST_REQUEST = 4 << 20 };

typedef struct {
    const char     *place;       /* STORE_HOST, or a folder, made if it is not there */
    const Workload *workload;    /* its boundaries are the rows */
    int64_t         batch;       /* requests of 1 to so many rows */
    int             devices;     /* that ask at a time */
    int             trials;      /* requests of each kind, at least 1 */
    bool            bf16;        /* rows are stored in bfloat16: half the bytes */
    bool            ahead;       /* threads fetch ahead of the devices; else these do themselves */
    bool            async;       /* the devices do their work later (kernels/stream.h) */
    atomic_bool    *stop;        /* or NULL: gives up, an error */
} StorageTimesOptions;

/* *out: [*count] tiers, in arena. What was written is removed. */
int storage_times_measure(TraceTier **out, int *count, Arena *arena,
                          const StorageTimesOptions *options, Error *err);

#endif
