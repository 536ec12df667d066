/* The transport: what moves rows between devices, sums over groups, and lets devices meet.
 *
 * A table of functions, so that a worker does not know whether its peers are threads of
 * this process or run elsewhere. `local` is for threads: of devices whose work is done when a
 * call returns (executor/transport/local.c), and of those that queue it (executor/transport/local_async.c). `remote`
 * (executor/transport/remote.c) is for processes, over the world's messages, with `local` inside it for
 * what has both ends in one of them. `nccl` (executor/nccl/) is for cards.
 *
 * Transfers of `local` are blocking: they occupy the device that calls. Those of `remote` run
 * beside its work: send() copies and returns, reduce() only begins a sum, which finish() waits
 * for. Sums are made in the order of the group's devices, element by element, so their bits
 * depend neither on timing nor on where devices are.
 *
 * Every call that may wait tells when its wait ended (ready_ns, CLOCK_MONOTONIC): what came
 * before was waiting, what came after was work. After TransportOps.stop every wait ends and
 * every call fails. */
#ifndef EXECUTOR_TRANSPORT_TRANSPORT_H
#define EXECUTOR_TRANSPORT_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "executor/net/world.h"
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
    void (*expect)(Transport *, int device, StreamEvent *ready);
    /* Whether transfers of an instruction's link run beside the device's work; NULL: none do. */
    bool (*beside)(const Transport *, Op op, int link);
    /* Waits for the oldest of the sums that the device began with reduce() and did not finish,
     * where they run beside; *loss is then the sum. */
    int  (*finish)(Transport *, int group, int device, double *loss, int64_t *ready_ns, Error *err);
    /* When the last message that was received from the channel (OP_RECV), or the last sum of
     * the group that the device finished (OP_ALLREDUCE), was under way; this process's clock. */
    void (*in_flight)(const Transport *, Op op, int link, int device, int64_t *start_ns, int64_t *end_ns);
} TransportOps;

struct Transport { const TransportOps *ops; };       /* the head of each kind's own struct */

/* ---- what the kinds share ---- */

/* The place of a device among those of its group. */
int  transport_member(const int *devices, int device);

/* Whether two members of a group have the same to sum. */
bool transport_runs_match(const GradientRun *a, int a_count, const GradientRun *b, int b_count);

typedef struct {
    const Program *program;          /* borrowed */
    const size_t  *message_count;    /* [channels]: floats of the largest message; borrowed for the call */
    int            queue_depth;      /* messages that a channel holds */
    bool           spin;             /* a core for every device: wait briefly without sleeping */
    const DeviceSpec *devices;       /* of all; borrowed. Only for devices that queue */
    World         *world;            /* local: for the channels and groups that are all here */
    int64_t        number;           /* remote: the run's (world_number()) */
} TransportOptions;

int local_new(Transport **out, const TransportOptions *options, Error *err);

/* The same for devices that queue. */
int local_queued_new(Transport **out, const TransportOptions *options, Error *err);
/* Every rank makes one, before a barrier. */
int remote_new(Transport **out, const TransportOptions *options, Error *err);

#endif
