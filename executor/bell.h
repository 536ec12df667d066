/* A bell: how a process tells the thread of another that there is something to look for. The
 * library that moves messages cannot be waited on, so without it a thread would have to look all
 * the time, or late.
 *
 *     bell_ring(bell, 1)  ---- datagram of 8 bytes ---->  bell_wait() of rank 1 ends
 *     bell_wake(bell)     from a thread of this process
 *
 * A ring can be lost, or come early: who waits looks by himself now and then, and again. Where
 * datagrams are not let through, all that is left is that. */
#ifndef EXECUTOR_BELL_H
#define EXECUTOR_BELL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"

typedef struct Bell Bell;

/* Where it is rung. Plain bytes, to be copied to other processes. */
typedef struct {
    uint64_t token;          /* what does not carry it is no ring */
    uint32_t port;           /* 0: cannot be rung from outside */
    uint32_t unused;
} BellAddress;

/* For count ranks; as yet none can be rung. Without a socket of its own it still can be woken. */
int         bell_open(Bell **out, int count, Error *err);
BellAddress bell_address(const Bell *bell);

/* The bell of a rank, whose host has the address peer (its port does not count): from now on it can be
 * rung, also by a thread that does so meanwhile. Once a rank. */
void bell_connect(Bell *bell, int rank, const struct sockaddr_storage *peer, BellAddress address);

/* Does not wait; nothing happens where rank has no bell. From any thread. */
void bell_ring(Bell *bell, int rank);

/* Ends the wait that is going on, or the next: after bell_prepare() of it nothing is missed. From
 * any thread of this process; costs nothing while nobody waits. */
void bell_wake(Bell *bell);

/* One thread waits: it prepares, looks whether there is something to do, and waits if not, for
 * most_ns; true: it was rung or woken. */
void bell_prepare(Bell *bell);
bool bell_wait(Bell *bell, int64_t most_ns);

/* Whether another process has rung it, ever. */
bool bell_is_rung(const Bell *bell);

/* NULL is nothing to close. */
void bell_free(Bell *bell);

#endif
