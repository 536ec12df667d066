/* A fake NCCL between threads of one process, on a fake CUDA (tests/cuda/fake.h, or that of
 * tests/test_nccl.c): messages go through the host's memory, in streams. As NCCL's communicators
 * that do not block: a call that waits for a peer, here until it has queued its part, returns
 * ncclInProgress, and ncclCommGetAsyncError() goes on with it. It watches how it is used: sizes
 * that do not match, messages that nobody took, calls outside a group or without a communicator end
 * the program. */
#ifndef TESTS_NCCL_FAKE_H
#define TESTS_NCCL_FAKE_H

#include <nccl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cuda/fake.h"

enum { FAKE_RANKS = 8, FAKE_CLIQUES = 64, FAKE_OPS = 64 };

typedef struct FakeMessage {
    struct FakeMessage *next;
    cudaEvent_t sent;
    size_t bytes;
    unsigned char values[];
} FakeMessage;

typedef struct {
    char id[NCCL_UNIQUE_ID_BYTES];
    int  ranks, joined, left;
    FakeMessage *box[FAKE_RANKS][FAKE_RANKS];      /* [from][to], the oldest first */
} FakeClique;

typedef struct {
    bool         sends;
    const void  *from;
    void        *to;
    size_t       bytes;
    int          peer;
    ncclComm_t   comm;
    cudaStream_t stream;
} FakeOp;

struct ncclComm {
    FakeClique *clique;
    int           rank;
    ncclResult_t  error;
    FakeOp      waits[FAKE_OPS];
    int           wait_count;
    bool          finalizing;
};

/* What a test sets and asks. */
typedef struct {
    pthread_mutex_t lock;
    FakeClique    cliques[FAKE_CLIQUES];
    int  clique_count, ids;
    int  comms;                          /* alive */
    long sent;                           /* messages so far */
    long lose;                           /* the n-th message is lost; 0: none */
    long fail;                           /* at the n-th message the sender's communicator fails */
} NcclFake;

extern NcclFake nccl_fake;

/* For the next run; what a run that failed left behind is dropped. */
void fake_reset(void);

#endif
