/* kernels/stream.h for the CPU: work is done when a call returns, so streams are one, an event is
 * the moment at which it was recorded, and a wait for an event that was recorded has nothing to
 * wait for. Whoever needs another device's event has met its thread before. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kernels/cpu/stream.h"

typedef struct {
    struct StreamEvent base;
    int64_t            at_ns;            /* CLOCK_MONOTONIC, when it was recorded last */
} CpuEvent;

static void  use(Device *device, StreamNumber stream) { (void)device; (void)stream; }
static int   finish(Device *device, Error *err) { (void)device; (void)err; return 0; }
static void *native(Device *device) { (void)device; return NULL; }

/* ---- events ---- */

static int new_event(StreamEvent **out, Device *device, Error *err)
{
    CpuEvent *event = calloc(1, sizeof *event);

    *out = NULL;
    if (!event) return error_no_memory(err);
    event->base.backend = device->backend;
    *out = &event->base;
    return 0;
}

static void free_event(StreamEvent *event) { free(event); }

static int record(Device *device, StreamEvent *event, Error *err)
{
    (void)device; (void)err;
    ((CpuEvent *)event)->at_ns = clock_ns();
    return 0;
}

static int wait_event(Device *device, const StreamEvent *event, Error *err)
{
    (void)device; (void)event; (void)err;
    return 0;
}

static int synchronize(const StreamEvent *event, Error *err) { (void)event; (void)err; return 0; }

static int64_t elapsed_ns(const StreamEvent *from, const StreamEvent *event)
{
    return ((const CpuEvent *)event)->at_ns - ((const CpuEvent *)from)->at_ns;
}

/* ---- memory and work ---- */

static void *alloc_host(const DeviceSpec *spec, size_t bytes)
{
    (void)spec;
    return calloc(1, bytes);
}
static void  release_host(const DeviceSpec *spec, void *memory) { (void)spec; free(memory); }

static int load(Device *device, float *to, const float *host, int64_t count, Error *err)
{
    (void)device; (void)err;
    if (count > 0) memcpy(to, host, (size_t)count * sizeof *to);
    return 0;
}

static int move(Device *device, float *to, const Device *to_device, const float *from,
                const Device *from_device, int64_t count, Error *err)
{
    (void)to_device; (void)from_device;
    return load(device, to, from, count, err);
}

static bool reaches(Device *device, const DeviceSpec *spec, int index)
{
    (void)device; (void)spec; (void)index;
    return true;
}

enum { CHUNK = 256 };        /* floats that are summed in a cache line's reach */

static void sum_chunk(float *const *values, int members, int64_t at, int64_t count)
{
    float sum[CHUNK];

    memcpy(sum, values[0] + at, (size_t)count * sizeof *sum);
    for (int m = 1; m < members; m++) {
        const float *more = values[m] + at;
        if (count == CHUNK) for (int i = 0; i < CHUNK; i++) sum[i] += more[i];
        else                for (int64_t i = 0; i < count; i++) sum[i] += more[i];
    }
    for (int m = 0; m < members; m++) memcpy(values[m] + at, sum, (size_t)count * sizeof *sum);
}

static int sum(Device *device, float *const *values, int members, int64_t count, Error *err)
{
    (void)device; (void)err;
    for (int64_t at = 0; at < count; at += CHUNK)
        sum_chunk(values, members, at, count - at < CHUNK ? count - at : CHUNK);
    return 0;
}

static int sum_doubles(Device *device, double *to, double *const *values, int members, int count,
                       Error *err)
{
    (void)device; (void)err;
    for (int i = 0; i < count; i++) {
        double total = values[0][i];
        for (int m = 1; m < members; m++) total += values[m][i];
        to[i] = total;
    }
    return 0;
}

/* ---- nothing is recorded, and profilers see threads ---- */

static int begin_replay(Device *device, const ReplayKey *key, Error *err)
{
    (void)device;
    (void)key;
    (void)err;
    return 0;
}
static int end_replay(Device *device, bool failed, Error *err)
{
    (void)device;
    (void)failed;
    (void)err;
    return 0;
}
static void forget(Device *device, const void *owner) { (void)device; (void)owner; }
static ReplayCounts counts(const Device *device) { (void)device; return (ReplayCounts){0}; }
static void begin_range(Device *device, const char *name) { (void)device; (void)name; }
static void end_range(Device *device) { (void)device; }

const StreamOps cpu_streams = {
    .use = use,
    .finish = finish,
    .native = native,
    .event_new = new_event,
    .event_free = free_event,
    .event_record = record,
    .stream_wait_event = wait_event,
    .event_synchronize = synchronize,
    .event_elapsed_ns = elapsed_ns,
    .host_alloc = alloc_host,
    .host_release = release_host,
    .load = load,
    .store = load,
    .move = move,
    .reaches = reaches,
    .sum = sum,
    .sum_doubles = sum_doubles,
    .replay_begin = begin_replay,
    .replay_end = end_replay,
    .replay_forget = forget,
    .replay_counts = counts,
    .range_begin = begin_range,
    .range_end = end_range,
};
