/* The transport: what moves rows between devices, sums over groups, and lets devices meet.
 *
 * A table of functions, so that a worker does not know whether its peers are threads of
 * this process or run elsewhere. `local` (executor/transport/local.c) is for threads. `remote`
 * (executor/transport/remote.c) is for processes, over the world's messages, with `local` inside it
 * for what has both ends in one of them. `nccl` (executor/transport/nccl/) is for GPUs. All serve
 * devices whose work is done when a call returns and asynchronous ones (kernels/stream.h), but
 * nccl, which has only these.
 *
 * Calls enqueue on the stream in use and return when the others' threads have enqueued their parts;
 * waits for the others' work are in the stream. Transfers of `local` occupy the stream. Those of
 * `remote` are overlapped with the device's work (overlaps()): send() hands the rows over and
 * returns, reduce() only begins a sum, which finish() waits for. Sums are made in the order of the
 * group's devices, element by element, so their bits depend neither on timing nor on where devices
 * are.
 *
 * Where the wait of a call ends, it records the event that expect() named: what came before was
 * waiting, what comes after is work. After TransportOps.stop every wait ends and every call
 * fails. */
#ifndef EXECUTOR_TRANSPORT_TRANSPORT_H
#define EXECUTOR_TRANSPORT_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/plugin.h"
#include "base/error.h"
#include "executor/net/world.h"
#include "executor/transport/core_times.h"
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
    /* The next call records ready where its wait ends; NULL: nobody asks. */
    void (*expect)(Transport *, int device, StreamEvent *ready);
    /* Copies count floats into the channel; waits while it is full. */
    int  (*send)(Transport *, int channel, const float *values, size_t count, Error *err);
    /* The oldest message of the channel: copied to *values; or, with swap, in exchange for
     * *values, which has room for the channel's largest message. */
    int  (*receive)(Transport *, int channel, float **values, size_t count, bool swap, Error *err);
    /* Every member's runs, and *loss, become the sum over the members. *loss is host_alloc()'s
     * where the device is asynchronous, which writes it later. */
    int (*reduce)(Transport *, int group, int device, const GradientRun *runs, int run_count,
                  double *loss, Error *err);
    /* The same of a few doubles, of an asynchronous device in its own memory. */
    int  (*sum)(Transport *, int group, int device, double *values, int count, Error *err);
    int  (*barrier)(Transport *, int group, int device, Error *err);
    /* Whether the transfer of an instruction on this link is overlapped with the device's work. */
    bool (*overlaps)(const Transport *, Op op, int link);
    /* Of groups whose sums overlap: waits for the oldest of the sums that the device began with
     * reduce() and did not finish; *loss is then the sum. */
    int  (*finish)(Transport *, int group, int device, double *loss, Error *err);
    /* Of links that overlap: when the last message that was received from the channel (OP_RECV), or
     * the last sum of the group that the device finished (OP_ALLREDUCE), was in flight; this
     * process's clock. */
    void (*in_flight)(const Transport *, Op op, int link, int device, int64_t *start_ns,
                      int64_t *end_ns);
    /* From any thread. */
    void (*stop)(Transport *);
    void (*free)(Transport *);
} TransportOps;

struct Transport { const TransportOps *ops; };       /* the head of each kind's own struct */

/* ---- what the kinds share ---- */

/* The place of a device among those of its group. */
FOR_PLUGINS int  transport_member(const int *devices, int device);

/* Whether two members of a group have the same to sum. */
bool transport_runs_match(const GradientRun *a, int a_count, const GradientRun *b, int b_count);

/* For transports none of whose links overlap. */
FOR_PLUGINS bool transport_overlaps_nothing(const Transport *transport, Op op, int link);
FOR_PLUGINS int  transport_finish_nothing(Transport *transport, int group, int device, double *loss,
                                          Error *err); /* an error */
FOR_PLUGINS void transport_nothing_in_flight(const Transport *transport, Op op, int link,
                                             int device, int64_t *start_ns, int64_t *end_ns);

typedef struct {
    const Program *program;          /* borrowed */
    const size_t  *message_count;    /* [channels]: floats of the largest message; borrowed for the
                                      * call */
    int            queue_depth;      /* messages that a channel holds */
    bool           spin;             /* a core for every device: wait briefly without sleeping */
    const DeviceSpec *devices;       /* of all; borrowed */
    World         *world;            /* local: for the channels and groups that are all here */
    int64_t        number;           /* remote: the run's (world_number()) */
    CoreTimes     *core_times;       /* remote: notes them; borrowed. NULL: nobody asks */
} TransportOptions;

/* Between the threads of this process: a ring of queue_depth messages a channel, sums in the order
 * of a group's devices. *out is yours: its free(). */
int local_new(Transport **out, const TransportOptions *options, Error *err);

/* Between processes: every rank makes one, before a barrier. *out is yours: its free(). */
int remote_new(Transport **out, const TransportOptions *options, Error *err);

#endif
