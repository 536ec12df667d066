/* What carries a world's messages: one implementation, MPI's (executor/net/mpi/link.c), where the
 * build has MPI. A link has a thread of its own, which calls back. */
#ifndef EXECUTOR_NET_WORLD_LINK_H
#define EXECUTOR_NET_WORLD_LINK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "executor/net/doorbell.h"
#include "executor/net/message.h"

typedef struct Link Link;

/* In the link's thread, in the order of each sender's messages: where a payload goes (NULL:
 * the link's memory until taken() returns), and that a message has come whole. A payload may
 * end after messages that came later. */
typedef struct {
    void *(*place)(void *context, const Message *message);
    void  (*taken)(void *context, const Message *message, const void *payload);
    void  (*failed)(void *context, const Error *err);        /* the link cannot go on */
    /* The link's thread had ns of a processor for a message that it sends, or that came; it reads
     * its time only while somebody asks. */
    void  (*spent)(void *context, const Message *message, int64_t ns);
    bool  (*asks)(void *context);
} LinkCalls;

typedef struct {
    int (*post)(Link *, int to, const Message *message, const void *payload,
                void (*release)(void *), void *context, Error *err);
    void (*hurry)(Link *, int more);
    void (*bind)(Link *, const void *cores, size_t bytes);
    /* Payloads of the port that are on their way into placed memory. From any thread. */
    int  (*in_flight)(Link *, Port port);
    /* What the link's thread waits on, open as long as the link is. */
    Doorbell *(*doorbell)(Link *);
    /* Sends what is left, then ends the thread. failed: does not wait for others. */
    void (*close)(Link *, bool failed);
} LinkOps;

struct Link {
    const LinkOps *ops;
    int            rank, size;
};

/* *out NULL: this process was not launched as a rank. Else it is yours: its close(). */
int mpi_link_open(Link **out, const LinkCalls *calls, void *context, Error *err);

/* Starts the thread: callbacks come from now on. */
int mpi_link_start(Link *link, Error *err);

/* Whether a launcher started this process as one of several ranks, by the environment that
 * Open MPI, PMIx and PMI (Slurm) set. */
bool launched_as_rank(void);

/* The first number of the version of Open MPI that this build has; 0: another MPI, or none. */
int open_mpi_major(void);

#endif
