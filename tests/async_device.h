/* Asynchronous devices, made of the CPU's kernels: what is queued is done as late as can be, when
 * somebody waits for an event or gives memory back, or, on eager streams, at once, without what
 * others have not been asked for: so a wait that is missing is seen as old or new values. The
 * arithmetic is the CPU's, so results are the CPU's, bit for bit.
 *
 *     compute  | forward | set 3 | ...        event_synchronize(3): everything up to there, and
 *     link     | wait 3 | move | set 4        what its waits ask of other streams; no more
 *
 * One lock for all; one thread at a time works. */
#ifndef TESTS_ASYNC_DEVICE_H
#define TESTS_ASYNC_DEVICE_H

#include <pthread.h>

#include "kernels/backend.h"

/* What a test sets and asks. */
typedef struct {
    pthread_mutex_t lock;
    bool  far;               /* no device reaches another's memory */
    unsigned eager[2];       /* bits: streams of even and of odd devices that do their work at
                              * once */
    int   forget;            /* the n-th stream_wait_event() is left out; 0: none */
    int   waits;             /* stream_wait_event() calls that wait for something */
    int   allocations;
    int   fail;              /* the n-th allocation of a device gives nothing; 0: none */
    int   events;             /* alive */
    int   names;             /* ranges begun */
    int   cannot;            /* every n-th operator fails while it is recorded, as a library may; 0:
                              * none */
    int   recorded;          /* operators */
    int   refusals;
    int64_t replayed;
} AsyncWorld;

extern AsyncWorld async_world;

/* Asynchronous devices, on the CPU's cores: cpu as "cpu:2". async_world begins anew. */
int async_devices(DeviceSpec *out, const char *cpu, Error *err);

#endif
