/* Notices that a process of a run is gone: a failure detector by heartbeats.
 *
 * In every process a thread sends heartbeats to all others, several within the timeout, each with
 * the status of the process's devices. It computes nothing, so a step may take as long as it likes.
 * The faults that it tells apart:
 *
 *     crashed     a connection ended without a goodbye: killed, crashed, its machine rebooted
 *     timed out   no heartbeat came for the timeout: stopped, hung as a whole, or cut off
 *     link down   no heartbeat came, but another process still gets them: the network between the
 *                 two is down
 *     cut off     no heartbeat came from more than half of the run: this process is the one that
 *                 is cut off
 *
 * Where two halves of a run do not hear each other, neither can know which is cut off, and both say
 * so. A fault is sent to all who can be reached, so the run ends everywhere, and one process
 * reports it: the lowest rank of those that hear each other. A process that was stopped for long
 * learns when it goes on that the others have given it up. */
#ifndef EXECUTOR_NET_HEARTBEAT_H
#define EXECUTOR_NET_HEARTBEAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "executor/net/mesh.h"

enum { HEARTBEAT_TEXT = 512 };

typedef struct { char text[128]; } RankLabel;

typedef enum {
    FAULT_NONE,
    FAULT_CRASHED,
    FAULT_TIMED_OUT,
    FAULT_LINK_DOWN,
    FAULT_CUT_OFF,
    FAULT_KINDS
} FaultKind;

typedef struct {
    FaultKind kind;
    int       rank;          /* whose fault it is: of several the lowest */
    char      text[1024];    /* a line: which rank, its last device status, since when nothing is
                              * heard */
} Fault;

typedef struct {
    int          rank, count;
    int64_t      timeout_ns;
    int64_t      stuck_ns;   /* no progress anywhere for so long is worth a warning; 0: never */
    const RankLabel *label;  /* [count]: "b17, devices 4 to 5"; copied */
    /* The status of this process's devices, a line without its end; and a number that changes while
     * any of them makes progress. */
    void       (*device_status)(void *context, char *text, size_t size, uint64_t *progress);
    /* All in the detector's thread. A fault comes once; reports: this process is the one to report
     * it, and when the function has returned, the others are told that it was reported. Then
     * ended() is called, and nothing after it. */
    void       (*warn)(void *context, const char *line);
    void       (*fault)(void *context, const Fault *fault, bool reports);
    void       (*ended)(void *context);
    void        *context;
} HeartbeatOptions;

typedef struct Heartbeat Heartbeat;

/* Starts the thread. The mesh is connected; it may be freed afterwards. *out is yours:
 * heartbeat_stop() it. */
int heartbeat_start(Heartbeat **out, const Mesh *mesh, const HeartbeatOptions *options, Error *err);

/* An error here may follow from another process's end: waits for such a fault, wait_ns at most.
 * Returns true when there was one, after ended(). From any thread but the detector's. */
bool heartbeat_wait(Heartbeat *heartbeat, int64_t wait_ns);

/* Says goodbye, once all processes have done their part, and frees. NULL is nothing to stop. */
void heartbeat_stop(Heartbeat *heartbeat);

#endif
