/* The transport between whole GPUs by NCCL: of one process, or of the ranks of a world.
 *
 * A channel is a communicator of two, a group one of its devices, so that none waits for
 * another. Their work is enqueued (kernels/stream.h):
 *
 *     send:     a copy into a box of the sender's ring | the channel's stream: header, rows
 *     receive:  the channel's stream, ahead of computing: header, rows into a box | copy, or swap
 *     reduce:   losses of all | every member's slices to who sums them | sums in the order of the
 *               members, by the backend's own kernel | sums to all
 *
 * NCCL only moves: sums are those of the local transports, element by element in the order of
 * the devices, so their bits depend neither on timing nor on NCCL's rings. It moves as much
 * as a ring would, 2 (n-1)/n of the values. A header, one float, is there so that waiting
 * for a peer and moving are told apart.
 *
 * Waits end: a thread looks at all communicators, and what NCCL reports of a peer, a network or
 * itself, or nothing coming or going for limit_ms, becomes the run's failure, in words that
 * name the devices. TransportOps.stop aborts them all. */
#ifndef EXECUTOR_TRANSPORT_NCCL_NCCL_H
#define EXECUTOR_TRANSPORT_NCCL_NCCL_H

#include "executor/transport/transport.h"

typedef struct {
    TransportOptions  base;
    int               first_of_spec;     /* the spec's number of this process's first device */
    int64_t           limit_ms;          /* without any progress; at least 1 */
    void            (*failed)(void *context, const Error *err);      /* once, from a thread of the
                                                                      * transport's */
    void             *context;
} NcclOptions;

/* Every rank calls it. Refuses slices, and two devices on one GPU: NCCL does not serve them. */
typedef int NcclNew(Transport **out, const NcclOptions *options, Error *err);
NcclNew nccl_new;

#endif
