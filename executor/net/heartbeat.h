/* Notices that a process of a run is gone: a failure detector by heartbeats.
 *
 * A thread of its own in every process tells all others several times within the timeout that
 * the process lives, and what its devices are doing. It computes nothing, so a step may take as
 * long as it likes. What is noticed, and what is said of it:
 *
 *     died      a connection ended without a goodbye: killed, crashed, its machine rebooted
 *     silent    nothing was heard for the timeout: stopped, hung as a whole, or cut off
 *     parted    nothing was heard, but another process hears it still: the network between the
 *               two is cut
 *     cut off   nothing was heard of more than half of the run: it is this process that is cut off
 *
 * Two halves that do not hear each other say so; neither can know. A fault is told to all who
 * can be reached, so the run ends everywhere, and one process says it: the lowest rank of those
 * that hear each other. A process that was stopped for long learns when it goes on that the others
 * have given it up. */
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
    FAULT_DIED,
    FAULT_SILENT,
    FAULT_PARTED,
    FAULT_CUT_OFF,
    FAULT_KINDS
} FaultKind;

typedef struct {
    FaultKind kind;
    int       rank;          /* whose fault it is: of several the lowest */
    char      text[1024];    /* a line: which rank, what it was doing last, since when nothing is
                              * heard */
} Fault;

typedef struct {
    int          rank, count;
    int64_t      timeout_ns;
    int64_t      stuck_ns;   /* no progress anywhere for so long is worth a warning; 0: never */
    const RankLabel *label;  /* [count]: "b17, devices 4 to 5"; copied */
    /* What this process's devices are doing, a line without its end; and a number that moves while
     * any of them gets on. */
    void       (*device_status)(void *context, char *text, size_t size, uint64_t *progress);
    /* All in the detector's thread. A fault comes once; says: this process is the one to say it,
     * and when the function has returned, the others are told that it was said. Then ended() is
     * called, and nothing after it. */
    void       (*warn)(void *context, const char *line);
    void       (*fault)(void *context, const Fault *fault, bool says);
    void       (*ended)(void *context);
    void        *context;
} HeartbeatOptions;

typedef struct Heartbeat Heartbeat;

/* The mesh is connected; it may be freed afterwards. */
int heartbeat_start(Heartbeat **out, const Mesh *mesh, const HeartbeatOptions *options, Error *err);

/* An error may be the echo of another process's end: waits for such a fault, wait_ns at most.
 * Returns true when there was one, after ended(). From any thread but the detector's. */
bool heartbeat_wait(Heartbeat *heartbeat, int64_t wait_ns);

/* Says goodbye, once all processes have done their part. NULL is nothing to stop. */
void heartbeat_stop(Heartbeat *heartbeat);

#endif
