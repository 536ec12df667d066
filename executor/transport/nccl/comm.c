#include "executor/transport/nccl/comm.h"

#include <cuda_runtime_api.h>
#include <time.h>

#include "base/clock.h"

enum { LOOK_NS = 50000 };        /* between two looks at what is not done */

static int failed(const Comm *comm, ncclResult_t status, ncclComm_t handle, Error *err)
{
    const char *more = ncclGetLastError(handle);

    return error_set(err, "nccl: %s: %s%s%s", comm->what, ncclGetErrorString(status),
                     more && *more ? ": " : "", more ? more : "");
}

static int stopped(const Comm *comm, Error *err)
{
    return error_set(err, "nccl: %s: stopped", comm->what);
}

static int too_long(const Comm *comm, Error *err)
{
    return error_set(err, "nccl: %s: nothing has come or gone for %g s", comm->what,
                     (double)comm->rules->limit_ms * 1e-3);
}

void comm_init(Comm *out, const CommRules *rules, const char *what)
{
    *out = (Comm){.rules = rules, .what = what};
    pthread_mutex_init(&out->lock, NULL);
}

void comm_free(Comm *comm)
{
    comm_abort(comm);            /* where a device joined and never left */
    pthread_mutex_destroy(&comm->lock);
}

/* Until the call in progress is done. Locked, and unlocked between two looks. */
static int settle(Comm *comm, ncclResult_t status, Error *err)
{
    int64_t began_ns = clock_ns();

    while (status == ncclInProgress) {
        pthread_mutex_unlock(&comm->lock);
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
        pthread_mutex_lock(&comm->lock);
        if (!comm->comm || atomic_load(comm->rules->stopped)) return stopped(comm, err);
        if (clock_ns() - began_ns > comm->rules->limit_ms * 1000000) return too_long(comm, err);
        ncclResult_t asked = ncclCommGetAsyncError(comm->comm, &status);
        if (asked != ncclSuccess) status = asked;
    }
    return status == ncclSuccess ? 0 : failed(comm, status, comm->comm, err);
}

int comm_open(Comm *comm, const ncclUniqueId *id, int rank, int ranks, int most_ctas, Error *err)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;

    config.blocking = 0;
    if (most_ctas > 0) config.maxCTAs = most_ctas;
    if (atomic_load(comm->rules->stopped)) return stopped(comm, err);
    if (cudaEventCreateWithFlags(&comm->latest, cudaEventDisableTiming) != cudaSuccess)
        return error_set(err, "nccl: %s: no event of CUDA's", comm->what);
    pthread_mutex_lock(&comm->lock);
    ncclResult_t status = ncclCommInitRankConfig(&comm->comm, ranks, *id, rank, &config);
    int rc = comm->comm || status == ncclSuccess ? settle(comm, status, err)
                                                 : failed(comm, status, NULL, err);
    pthread_mutex_unlock(&comm->lock);
    return rc;
}

void comm_abort(Comm *comm)
{
    pthread_mutex_lock(&comm->lock);
    if (comm->comm) ncclCommAbort(comm->comm);
    comm->comm = NULL;
    comm->pending = false;
    pthread_mutex_unlock(&comm->lock);
}

void comm_close(Comm *comm)
{
    pthread_mutex_lock(&comm->lock);
    if (comm->comm) {
        int rc = settle(comm, ncclCommFinalize(comm->comm), NULL);
        if (comm->comm) rc == 0 ? ncclCommDestroy(comm->comm) : ncclCommAbort(comm->comm);
    }
    comm->comm = NULL;
    comm->pending = false;
    pthread_mutex_unlock(&comm->lock);
    if (comm->latest) cudaEventDestroy(comm->latest);
    comm->latest = NULL;
}

int comm_begin(Comm *comm, Error *err)
{
    pthread_mutex_lock(&comm->lock);
    if (comm->comm && !atomic_load(comm->rules->stopped)) {
        ncclResult_t status = ncclGroupStart();
        if (status == ncclSuccess) return 0;
        failed(comm, status, comm->comm, err);
    } else {
        stopped(comm, err);
    }
    pthread_mutex_unlock(&comm->lock);
    return -1;
}

int comm_end(Comm *comm, ncclResult_t status, cudaStream_t stream, Error *err)
{
    ncclResult_t ended = ncclGroupEnd();
    int          rc = status == ncclSuccess || status == ncclInProgress
                          ? settle(comm, ended, err)
                          : failed(comm, status, comm->comm, err);

    if (rc == 0 && cudaEventRecord(comm->latest, stream) != cudaSuccess)
        rc = error_set(err, "nccl: %s: CUDA takes no event", comm->what);
    comm->pending = rc == 0;
    comm->since_ns = clock_ns();
    pthread_mutex_unlock(&comm->lock);
    return rc;
}

int comm_check(Comm *comm, Error *err)
{
    ncclResult_t status = ncclSuccess;
    int          rc = 0;

    pthread_mutex_lock(&comm->lock);
    if (comm->comm) {
        if (ncclCommGetAsyncError(comm->comm, &status) != ncclSuccess) status = ncclInternalError;
        if (status != ncclSuccess && status != ncclInProgress)
            rc = failed(comm, status, comm->comm, err);
        if (comm->pending && cudaEventQuery(comm->latest) == cudaSuccess) comm->pending = false;
        if (rc == 0 && comm->pending
            && clock_ns() - comm->since_ns > comm->rules->limit_ms * 1000000)
            rc = too_long(comm, err);
    }
    pthread_mutex_unlock(&comm->lock);
    return rc;
}
