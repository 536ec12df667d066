#include "executor/transport/core_times.h"

#include <stdlib.h>

#include "base/array.h"

void core_times_open(CoreTimes *times, int64_t skip)
{
    *times = (CoreTimes){.skip = skip};
    pthread_mutex_init(&times->lock, NULL);
}

void core_times_close(CoreTimes *times)
{
    pthread_mutex_destroy(&times->lock);
    free(times->list);
    times->list = NULL;
    times->count = times->capacity = 0;
}

static bool same(TransferKind a, TransferKind b)
{
    return a.op == b.op && a.devices == b.devices && a.bytes == b.bytes;
}

/* With the lock; NULL: no memory. */
static CoreTime *find(CoreTimes *times, TransferKind kind)
{
    for (int i = 0; i < times->count; i++)
        if (same(times->list[i].kind, kind)) return &times->list[i];
    if (!array_has_room(times->list, times->count, times->capacity)) {
        times->failed = true;
        return NULL;
    }
    times->list[times->count] = (CoreTime){.kind = kind};
    return &times->list[times->count++];
}

void core_times_begin(CoreTimes *times, TransferKind kind)
{
    if (!times) return;
    pthread_mutex_lock(&times->lock);
    CoreTime *time = find(times, kind);
    if (time && ++time->begun > times->skip) time->count++;
    pthread_mutex_unlock(&times->lock);
}

void core_times_add(CoreTimes *times, TransferKind kind, int64_t ns)
{
    if (!times) return;
    pthread_mutex_lock(&times->lock);
    CoreTime *time = find(times, kind);
    if (time && time->count > 0) time->ns += ns;
    pthread_mutex_unlock(&times->lock);
}

void core_times_merge(CoreTimes *times, const CoreTime *others, int count)
{
    pthread_mutex_lock(&times->lock);
    for (int i = 0; i < count; i++) {
        CoreTime *time = find(times, others[i].kind);
        if (!time) break;
        time->begun += others[i].begun;
        time->count += others[i].count;
        time->ns += others[i].ns;
    }
    pthread_mutex_unlock(&times->lock);
}

double core_time_mean_ns(const CoreTime *list, int count, TransferKind kind)
{
    for (int i = 0; i < count; i++)
        if (same(list[i].kind, kind) && list[i].count > 0)
            return (double)list[i].ns / (double)list[i].count;
    return -1;
}
