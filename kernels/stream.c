/* Passes what kernels/stream.h declares on to the device's backend. */
#include "kernels/backend.h"

bool device_is_async(const Device *device) { return device->backend->async; }

void stream_use(Device *device, StreamNumber stream)
{
    device->backend->streams->use(device, stream);
}

int device_finish(Device *device, Error *err)
{
    return device->backend->streams->finish(device, err);
}

/* ---- events ---- */

int event_new(StreamEvent **out, Device *device, Error *err)
{
    return device->backend->streams->event_new(out, device, err);
}

void event_free(StreamEvent *event)
{
    if (event) event->backend->streams->event_free(event);
}

int event_record(Device *device, StreamEvent *event, Error *err)
{
    return device->backend->streams->event_record(device, event, err);
}

int stream_wait_event(Device *device, const StreamEvent *event, Error *err)
{
    return device->backend->streams->stream_wait_event(device, event, err);
}

int event_record_once(Device *device, StreamEvent **event, Error *err)
{
    StreamEvent *set = *event;

    *event = NULL;
    return set ? event_record(device, set, err) : 0;
}

int event_synchronize(const StreamEvent *event, Error *err)
{
    return event->backend->streams->event_synchronize(event, err);
}

int64_t event_elapsed_ns(const StreamEvent *from, const StreamEvent *event)
{
    return event->backend->streams->event_elapsed_ns(from, event);
}

void *stream_native(Device *device) { return device->backend->streams->native(device); }

/* ---- work ---- */

int stream_load(Device *device, float *to, const float *host, int64_t count, Error *err)
{
    return device->backend->streams->load(device, to, host, count, err);
}

int stream_store(Device *device, float *host, const float *from, int64_t count, Error *err)
{
    return device->backend->streams->store(device, host, from, count, err);
}

int stream_move(Device *device, float *to, const Device *to_device, const float *from,
                const Device *from_device, int64_t count, Error *err)
{
    return device->backend->streams->move(device, to, to_device, from, from_device, count, err);
}

bool stream_reaches(Device *device, const DeviceSpec *spec, int index)
{
    return device->backend->streams->reaches(device, spec, index);
}

int stream_sum(Device *device, float *const *values, int members, int64_t count, Error *err)
{
    return device->backend->streams->sum(device, values, members, count, err);
}

int stream_sum_doubles(Device *device, double *to, double *const *values, int members, int count,
                       Error *err)
{
    return device->backend->streams->sum_doubles(device, to, values, members, count, err);
}

/* ---- replay ---- */

int replay_begin(Device *device, const ReplayKey *key, Error *err)
{
    return device->backend->streams->replay_begin(device, key, err);
}

int replay_end(Device *device, bool failed, Error *err)
{
    return device->backend->streams->replay_end(device, failed, err);
}

void replay_forget(Device *device, const void *owner)
{
    device->backend->streams->replay_forget(device, owner);
}

ReplayCounts replay_counts(const Device *device)
{
    return device->backend->streams->replay_counts(device);
}

/* ---- names ---- */

void range_begin(Device *device, const char *name)
{
    device->backend->streams->range_begin(device, name);
}

void range_end(Device *device) { device->backend->streams->range_end(device); }
