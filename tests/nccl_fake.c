#include "tests/nccl_fake.h"

NcclFake nccl_fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local struct { int depth, count; FakeOp ops[FAKE_OPS]; } fake_group;

void fake_reset(void)
{
    pthread_mutex_t lock = nccl_fake.lock;

    for (int c = 0; c < nccl_fake.clique_count; c++)
        for (int i = 0; i < FAKE_RANKS * FAKE_RANKS; i++)
            for (FakeMessage *m = nccl_fake.cliques[c].box[i / FAKE_RANKS][i % FAKE_RANKS], *next;
                 m; m = next) {
                next = m->next;
                cudaEventDestroy(m->sent);
                free(m);
            }
    memset(&nccl_fake, 0, sizeof nccl_fake);
    nccl_fake.lock = lock;
}

static void fake_wrong(const char *what)
{
    fprintf(stderr, "fake NCCL: %s\n", what);
    abort();
}

/* ---- messages ---- */

typedef struct { void *to; const void *from; size_t bytes; FakeMessage *done; } FakeCopy;

static void fake_copy(void *closure)
{
    const FakeCopy *copy = closure;

    memcpy(copy->to, copy->from, copy->bytes);
}

static void fake_copied(void *closure)
{
    FakeCopy *copy = closure;

    if (copy->done) cudaEventDestroy(copy->done->sent);
    free(copy->done);
    free(copy);
}

/* done: the message is not needed behind it. */
static void fake_queue_copy(cudaStream_t stream, void *to, const void *from, size_t bytes,
                            FakeMessage *done)
{
    FakeCopy *copy = malloc(sizeof *copy);

    if (!copy) abort();
    *copy = (FakeCopy){to, from, bytes, done};
    fake_queue(stream, fake_copy, copy, fake_copied);
}

static void fake_post(const FakeOp *op)
{
    FakeMessage *message = malloc(sizeof *message + op->bytes),
                **end = &op->comm->clique->box[op->comm->rank][op->peer];

    if (!message) abort();
    *message = (FakeMessage){.bytes = op->bytes};
    nccl_fake.sent++;
    if (nccl_fake.sent == nccl_fake.fail) op->comm->error = ncclRemoteError;
    if (nccl_fake.sent == nccl_fake.lose) { free(message); return; }
    fake_queue_copy(op->stream, message->values, op->from, op->bytes, NULL);
    cudaEventCreateWithFlags(&message->sent, cudaEventDisableTiming);
    cudaEventRecord(message->sent, op->stream);
    while (*end) end = &(*end)->next;
    *end = message;
}

static bool fake_take(const FakeOp *op)
{
    FakeMessage **box = &op->comm->clique->box[op->peer][op->comm->rank], *message = *box;

    if (!message) return false;
    if (message->bytes != op->bytes) fake_wrong("a message is of another size than its receiver's");
    *box = message->next;
    cudaStreamWaitEvent(op->stream, message->sent, 0);
    fake_queue_copy(op->stream, op->to, message->values, op->bytes, message);
    return true;
}

static ncclResult_t fake_go_on(ncclComm_t comm)
{
    if (comm->error != ncclSuccess) return comm->error;
    for (int i = 0; i < comm->wait_count; i++) {
        if (!fake_take(&comm->waits[i])) return ncclInProgress;
        memmove(&comm->waits[i], &comm->waits[i + 1],
                (size_t)(--comm->wait_count - i) * sizeof *comm->waits);
        i--;
    }
    if (comm->finalizing)
        return comm->clique->left == comm->clique->ranks ? ncclSuccess : ncclInProgress;
    return comm->clique->joined == comm->clique->ranks ? ncclSuccess : ncclInProgress;
}

static ncclResult_t fake_add(FakeOp op)
{
    if (fake_group.depth == 0) fake_wrong("a call outside a group");
    if (!op.comm || fake_group.count == FAKE_OPS) fake_wrong("no communicator, or too many calls");
    fake_group.ops[fake_group.count++] = op;
    return ncclSuccess;
}

static size_t fake_bytes(ncclDataType_t type)
{
    if (type != ncclFloat32 && type != ncclFloat64) fake_wrong("another type");
    return type == ncclFloat32 ? 4 : 8;
}

/* ---- NCCL's ---- */

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    pthread_mutex_lock(&nccl_fake.lock);
    memset(id, 0, sizeof *id);
    snprintf(id->internal, sizeof id->internal, "clique %d", nccl_fake.ids++);
    pthread_mutex_unlock(&nccl_fake.lock);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *out, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    FakeClique *clique = NULL;
    ncclComm_t    comm = calloc(1, sizeof *comm);

    if (!comm || ranks > FAKE_RANKS) abort();
    if (config->blocking != 0) fake_wrong("a communicator that blocks");
    pthread_mutex_lock(&nccl_fake.lock);
    for (int i = 0; i < nccl_fake.clique_count && !clique; i++)
        if (memcmp(nccl_fake.cliques[i].id, id.internal, sizeof id.internal) == 0)
            clique = &nccl_fake.cliques[i];
    if (!clique) {
        if (nccl_fake.clique_count == FAKE_CLIQUES) abort();
        clique = &nccl_fake.cliques[nccl_fake.clique_count++];
        clique->ranks = ranks;
        memcpy(clique->id, id.internal, sizeof id.internal);
    }
    clique->joined++;
    nccl_fake.comms++;
    comm->clique = clique;
    comm->rank = rank;
    *out = comm;
    ncclResult_t status = fake_go_on(comm);
    pthread_mutex_unlock(&nccl_fake.lock);
    return status;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *status)
{
    pthread_mutex_lock(&nccl_fake.lock);
    *status = fake_go_on(comm);
    pthread_mutex_unlock(&nccl_fake.lock);
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    pthread_mutex_lock(&nccl_fake.lock);
    nccl_fake.comms--;
    pthread_mutex_unlock(&nccl_fake.lock);
    free(comm);
    return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    pthread_mutex_lock(&nccl_fake.lock);
    comm->finalizing = true;
    comm->clique->left++;
    ncclResult_t status = fake_go_on(comm);
    pthread_mutex_unlock(&nccl_fake.lock);
    return status;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    for (int r = 0; r < comm->clique->ranks; r++)
        if (comm->clique->box[r][comm->rank]) fake_wrong("a message that nobody took");
    return ncclCommAbort(comm);
}

ncclResult_t ncclGroupStart(void);
ncclResult_t ncclGroupEnd(void);

ncclResult_t ncclGroupStart(void)
{
    fake_group.depth++;
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void)
{
    ncclResult_t status = ncclSuccess;
    ncclComm_t   comm = fake_group.count ? fake_group.ops[0].comm : NULL;

    if (--fake_group.depth != 0) fake_wrong("groups in groups");
    pthread_mutex_lock(&nccl_fake.lock);
    for (int i = 0; i < fake_group.count; i++) {
        if (fake_group.ops[i].comm != comm) fake_wrong("several communicators in a group");
        if (fake_group.ops[i].sends) fake_post(&fake_group.ops[i]);
        else                           comm->waits[comm->wait_count++] = fake_group.ops[i];
    }
    fake_group.count = 0;
    if (comm) status = fake_go_on(comm);
    pthread_mutex_unlock(&nccl_fake.lock);
    return status;
}

ncclResult_t ncclSend(const void *from, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream)
{
    return fake_add((FakeOp){true, from, NULL, count * fake_bytes(type), peer, comm, stream});
}

ncclResult_t ncclRecv(void *to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream)
{
    return fake_add((FakeOp){false, NULL, to, count * fake_bytes(type), peer, comm, stream});
}

ncclResult_t ncclAllGather(const void *from, void *to, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream)
{
    size_t bytes = count * fake_bytes(type);

    fake_queue_copy(stream, (char *)to + (size_t)comm->rank * bytes, from, bytes, NULL);
    for (int r = 0; r < comm->clique->ranks; r++) {
        if (r == comm->rank) continue;
        fake_add((FakeOp){true, from, NULL, bytes, r, comm, stream});
        fake_add((FakeOp){false, NULL, (char *)to + (size_t)r * bytes, bytes, r, comm, stream});
    }
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t status)
{
    return status == ncclRemoteError ? "remote process exited" : "an error";
}
const char *ncclGetLastError(ncclComm_t comm) { return comm ? "of the fake" : ""; }
