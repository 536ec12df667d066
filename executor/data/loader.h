/* The host loader: workers (threads; lanes in the simulator) that load batches ahead of the
 * devices.
 *
 * prefetch 0: no threads; loader_take() loads in the caller's thread. Otherwise the workers,
 * shared by all devices, serve requests first come, first served, and each device has at most
 * prefetch loads in flight or ready, as the simulator models it (sim/sim.h): loader_begin()
 * requests the first prefetch, each loader_take() one more.
 *
 * What a step's rows are is a pure function of (data, seed, step, row): neither the number of
 * workers nor the order of requests matters. Memory is bounded by prefetch + 1 batches a device. */
#ifndef EXECUTOR_DATA_LOADER_H
#define EXECUTOR_DATA_LOADER_H

#include "executor/data/data.h"

typedef struct Loader Loader;

/* A row that is wanted. */
typedef struct {
    int64_t sample, epoch, step;
    int64_t number;          /* among the device's rows of the step, from 0 */
} RowWanted;

/* Where rows are from, if not from data: load() makes one, from several threads at once; those of a
 * step one after another. */
typedef struct {
    int64_t (*elements)(const void *context, int device);        /* floats of a row */
    int (*load)(void *context, int device, const RowWanted *row, float *out, int *label,
                Error *err);
    void    *context;
    int64_t  samples;
} RowSource;

typedef struct {
    const RowSource *source;     /* NULL: data. Copied */
    int      lanes, prefetch, devices;
    int64_t  batch, steps_per_epoch;     /* of all rows together; row r of step s is position
                                          * (s % steps_per_epoch) * batch + r of epoch
                                          * s / steps_per_epoch (data_order()) */
    uint64_t seed;
    const int *cores;        /* [core_count] the workers may run on; NULL: anywhere */
    int      core_count;
    void  *(*alloc)(const void *context, size_t bytes);  /* zeroed memory for rows, and its release;
                                                          * NULL: calloc(), free() */
    void   (*release)(const void *context, void *memory);
    const void *context;
} LoaderOptions;

/* Borrows data (NULL with a source) until loader_free(); copies the options. lanes >= 1 where
 * prefetch > 0. */
int  loader_new(Loader **out, Data *data, const LoaderOptions *options, Error *err);

/* Stops the workers and waits for them; no call of another thread may be in progress. */
void loader_free(Loader *loader);

/* A device will take rows row..row+rows-1 of every step first..first+steps-1, in order. What
 * it asked for before and did not take is dropped. Each device's calls come from one thread
 * at a time; devices need not wait for each other. */
int loader_begin(Loader *loader, int device, int64_t row, int64_t rows, int64_t first,
                 int64_t steps, Error *err);

/* The next of them: x [rows][height][width][channels], borrowed until the device's next call;
 * labels [rows]. start_ns, end_ns (CLOCK_MONOTONIC): when a lane made it. A sample that cannot
 * be loaded is an error here, when its step comes. */
int loader_take(Loader *loader, int device, const float **x, const int **labels, int64_t *start_ns,
                int64_t *end_ns, Error *err);

/* Bytes that the device's batches take, those loaded ahead and the one that was taken last. */
int64_t loader_bytes(const Loader *loader, int device);

/* Wakes everybody; further calls fail. From any thread. */
void loader_stop(Loader *loader);

#endif
