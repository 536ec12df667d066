/* Streams and events of devices, as CUDA has them.
 *
 * The CPU's work is done when a call returns. An asynchronous device (device_is_async()) has
 * streams; the calls of kernels/net.h and those below enqueue work on one of them and return. One
 * stream's work runs in the order of the calls; streams run concurrently, and are ordered by
 * events:
 *
 *     compute   | TEACHER 0 | FORWARD 0 ...                 event: a point in a stream
 *                           v event                          wait: what is enqueued from here on
 *     link                  | SEND |                              comes after the event
 *
 * A wait for an event that was not set yet waits for nothing: whoever waits for another device's
 * event must know that its thread has set it. Calls are those of the device's own thread.
 *
 * What goes wrong on the device comes out of a later call: event_synchronize() and device_finish()
 * report everything before them.
 *
 * All of it only where device_is_async(), but host_alloc() and host_release(). */
#ifndef KERNELS_STREAM_H
#define KERNELS_STREAM_H

#include "base/plugin.h"
#include "kernels/device.h"

typedef enum {
    STREAM_COMPUTE,          /* where a device begins */
    STREAM_COPY,             /* rows from the host */
    STREAM_LINK,             /* messages and sums */
    STREAM_COUNT
} StreamNumber;

/* Whether calls return before their work is done. */
bool device_is_async(const Device *device);

/* Calls that follow enqueue their work there. */
void stream_use(Device *device, StreamNumber stream);

/* ---- events ---- */

typedef struct StreamEvent StreamEvent;

/* A point in a stream, which event_record() may set again and again; not set yet. *out is yours:
 * event_free() it. */
int  event_new(StreamEvent **out, Device *device, Error *err);
void event_free(StreamEvent *event);                              /* NULL is nothing */

/* Here, in the stream that is used; where it was before is forgotten. */
int  event_record(Device *device, StreamEvent *event, Error *err);
/* *event, where there is one, and forgets it */
FOR_PLUGINS int  event_record_once(Device *device, StreamEvent **event, Error *err);

/* The stream that is used waits. The event may be another device's. */
int  stream_wait_event(Device *device, const StreamEvent *event, Error *err);

/* The calling thread waits. */
int  event_synchronize(const StreamEvent *event, Error *err);

/* From one event of a device to a later one, in ns; both were finished. */
int64_t event_elapsed_ns(const StreamEvent *from, const StreamEvent *event);

/* The calling thread waits for all streams; reports any error before. */
int  device_finish(Device *device, Error *err);

/* The stream that is used, as the libraries of the backend name it: a cudaStream_t. For what moves
 * between devices by such a library (executor/transport/nccl). */
FOR_PLUGINS void *stream_native(Device *device);

/* ---- memory of the host ---- */

/* Memory that copies to and from any device of the spec can use while the program goes on; zeroed,
 * NULL without memory. Kernels of asynchronous devices can read and write it. For the CPU it is
 * calloc()'s. */
void *host_alloc(const DeviceSpec *spec, size_t bytes);
void  host_release(const DeviceSpec *spec, void *memory);

/* ---- work ---- */

/* count floats from host memory, which is left as it is until an event behind this is passed. */
int stream_load(Device *device, float *to, const float *host, int64_t count, Error *err);
/* The same to memory of the host, which is there once an event behind this is passed. */
int stream_store(Device *device, float *host, const float *from, int64_t count, Error *err);

/* From memory of any device of the run to that of any other. */
int stream_move(Device *device, float *to, const Device *to_device, const float *from,
                const Device *from_device, int64_t count, Error *err);

/* Whether kernels of the device can use memory of device number index of the spec. */
bool stream_reaches(Device *device, const DeviceSpec *spec, int index);

/* Each of members arrays becomes the sum of all, element by element in their order: the bits do not
 * depend on who adds. values: [members], of devices within reach. */
FOR_PLUGINS int stream_sum(Device *device, float *const *values, int members, int64_t count,
                           Error *err);
/* to[i] = the sum of values[m][i]; memory of devices within reach, or host_alloc()'s. */
FOR_PLUGINS int stream_sum_doubles(Device *device, double *to, double *const *values, int members,
                                   int count, Error *err);

/* ---- replay ---- */

/* What is enqueued twice in the same way is recorded as a graph and replayed. The key says all that
 * it depends on: what comes again with the same key does the same to the same memory. owner NULL is
 * never kept. */
typedef struct {
    const void *owner;       /* whose work */
    int         part;        /* of it */
    int64_t     rows, path;
    const void *x, *y, *more;            /* memory it was given */
} ReplayKey;

/* replay_begin() comes before the work. It returns 1: the work was replayed, and is not to be
 * enqueued; 0: enqueue it, then call replay_end(), also when enqueuing failed. replay_end() returns
 * 0, or 1 where the work cannot be recorded, which may be why it failed. None of it was done then:
 * the caller tells its operators (Backend.changed) and enqueues it once more. Between the two
 * nothing may wait for the device or for other threads. -1: an error. */
int  replay_begin(Device *device, const ReplayKey *key, Error *err);
int  replay_end(Device *device, bool failed, Error *err);
/* Forgets what an owner recorded; NULL: everything, as memory that all use may move. */
void replay_forget(Device *device, const void *owner);
/* Graphs that are kept; replays and recordings so far. */
typedef struct { int64_t kept, replayed, recorded; } ReplayCounts;
ReplayCounts replay_counts(const Device *device);

/* ---- names for profilers (NVTX) ---- */

/* What the thread enqueues until range_end() has this name. */
void range_begin(Device *device, const char *name);
void range_end(Device *device);

#endif
