/* The transport: what moves rows between devices, sums over groups, and lets devices meet.
 *
 * A table of functions, so that a worker does not know whether its peers are threads of
 * this process or run elsewhere. `local` is for threads: of devices whose work is done when a
 * call returns (executor/local.c), and of those that queue it (executor/local_queued.c).
 *
 * Transfers are blocking: they occupy the device that calls. Sums are made in the order of
 * the group's devices, element by element, so their bits do not depend on timing.
 *
 * Every call that may wait tells when its wait ended (ready_ns, CLOCK_MONOTONIC): what came
 * before was waiting, what came after was work. After transport_stop() every wait ends and
 * every call fails. */
#ifndef EXECUTOR_TRANSPORT_H
#define EXECUTOR_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kernels/device.h"
#include "kernels/net.h"
#include "kernels/stream.h"
#include "schedule/program.h"

typedef struct Transport Transport;

typedef struct {
    /* In the device's own thread, before its first transfer: memory for the messages that
     * come to it. *bytes: how much. */
    int  (*join)(Transport *, int device, Device *memory, int64_t *bytes, Error *err);
    /* In the same thread, once no device transfers any more. */
    void (*leave)(Transport *, int device);
    /* Copies count floats into the channel; waits while it is full. */
    int  (*send)(Transport *, int channel, const float *values, size_t count, int64_t *ready_ns, Error *err);
    /* The oldest message of the channel: copied to *values; or, with swap, in exchange for
     * *values, which has room for the channel's largest message. */
    int  (*receive)(Transport *, int channel, float **values, size_t count, bool swap, int64_t *ready_ns,
                    Error *err);
    /* Every member's runs, and *loss, become the sum over the members. */
    int  (*reduce)(Transport *, int group, int device, const GradientRun *runs, int run_count, double *loss,
                   int64_t *ready_ns, Error *err);
    /* The same of a few doubles. */
    int  (*sum)(Transport *, int group, int device, double *values, int count, Error *err);
    int  (*barrier)(Transport *, int group, int device, int64_t *ready_ns, Error *err);
    /* From any thread. */
    void (*stop)(Transport *);
    void (*free)(Transport *);
    /* For devices that queue (kernels/stream.h): their calls queue on the stream in use and return when the
     * others' threads have queued their parts. Waits for the others' work are in the stream; where those of
     * the next call end, it sets ready (*ready_ns is left alone). *loss of reduce() is host_alloc()'s, values of
     * sum() are the device's. NULL: the transport does not serve such devices. */
    void (*expect)(Transport *, int device, Mark *ready);
} TransportOps;

struct Transport { const TransportOps *ops; };       /* the head of each kind's own struct */

typedef struct {
    const Program *program;          /* borrowed */
    const size_t  *message_count;    /* [channels]: floats of the largest message; borrowed for the call */
    int            queue_depth;      /* messages that a channel holds */
    bool           spin;             /* a core for every device: wait briefly without sleeping */
    const DeviceSpec *devices;       /* of all; borrowed. Only for devices that queue */
} TransportOptions;

int local_new(Transport **out, const TransportOptions *options, Error *err);

/* The same for devices that queue. */
int local_queued_new(Transport **out, const TransportOptions *options, Error *err);

#endif
