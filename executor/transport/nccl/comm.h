/* Communicators of NCCL that never block a thread for good: every call comes back, and one that is
 * not done is waited for here, where a stop, an error of NCCL's or the time limit ends the wait.
 *
 * A communicator is of one channel (two devices) or one group; it is opened by all of its
 * devices' threads, each on its GPU. Aborting it, from any thread, ends its work on the
 * GPU: kernels that wait for a peer leave with whatever they have. */
#ifndef EXECUTOR_TRANSPORT_NCCL_COMM_H
#define EXECUTOR_TRANSPORT_NCCL_COMM_H

#include <nccl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/error.h"

typedef struct {
    atomic_bool *stopped;        /* of the transport */
    int64_t      limit_ms;       /* without any progress */
} CommRules;

typedef struct {
    const CommRules *rules;      /* borrowed */
    pthread_mutex_t  lock;       /* a thread uses it, another may abort it */
    ncclComm_t       comm;       /* NULL: not open, or aborted */
    cudaEvent_t      latest;     /* behind what was enqueued last */
    bool             pending;    /* and it has not passed, as far as is known */
    int64_t          since_ns;   /* when that last changed */
    const char      *what;       /* "device 0 sends to device 1 (rank 1, host b)"; borrowed */
} Comm;

/* One that is not open yet; comm_free() it. */
void comm_init(Comm *out, const CommRules *rules, const char *what);
void comm_free(Comm *comm);

/* Waits until all ranks have come. most_ctas: thread blocks that it may use; 0: as NCCL likes. */
int  comm_open(Comm *comm, const ncclUniqueId *id, int rank, int ranks, int most_ctas, Error *err);
void comm_close(Comm *comm);     /* in the thread that opened it; an aborted one too */
void comm_abort(Comm *comm);

/* The calls between the two are one; returns with its lock held, and an error where there is
 * nothing to call. */
int  comm_begin(Comm *comm, Error *err);
/* status: of those calls. Notes where the stream is. */
int  comm_end(Comm *comm, ncclResult_t status, cudaStream_t stream, Error *err);

/* Whether all is well: -1 with what is wrong, an error of NCCL's or nothing done for too long. */
int  comm_check(Comm *comm, Error *err);

#endif
