/* A doorbell: how a process tells the thread of another that there is something to look for. The
 * library that moves messages cannot be waited on, so without it a thread would have to look all
 * the time, or late.
 *
 *     doorbell_ring(doorbell, 1)  ---- datagram of 8 bytes ---->  doorbell_wait() of rank 1 ends
 *     doorbell_wake(doorbell)     from a thread of this process
 *
 * A ring can be lost, or come early: who waits looks by himself now and then, and again. Where
 * datagrams are not let through, all that is left is that. */
#ifndef EXECUTOR_NET_DOORBELL_H
#define EXECUTOR_NET_DOORBELL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"

typedef struct Doorbell Doorbell;

/* Where it is rung. Plain bytes, to be copied to other processes. */
typedef struct {
    uint64_t token;          /* what does not carry it is no ring */
    uint32_t port;           /* 0: cannot be rung from outside */
    uint32_t unused;
} DoorbellAddress;

/* For count ranks; as yet it can only be woken, and none be rung. doorbell_free() *out. */
int         doorbell_open(Doorbell **out, int count, Error *err);

/* From now on it can be rung too: at any port of this address (its own port does not count), or of
 * all addresses (NULL). Where there is no such socket to be had it still can be woken. Once; also
 * while a thread waits, whose next wait hears it. */
void        doorbell_listen(Doorbell *doorbell, const struct sockaddr_storage *address);
DoorbellAddress doorbell_address(const Doorbell *doorbell);

/* The doorbell of a rank, whose host has the address peer (its port does not count): from now on it
 * can be rung, also by a thread that does so meanwhile. Once a rank. */
void doorbell_connect(Doorbell *doorbell, int rank, const struct sockaddr_storage *peer,
                      DoorbellAddress address);

/* Does not wait; nothing happens where rank has no doorbell. From any thread. */
void doorbell_ring(Doorbell *doorbell, int rank);

/* Ends the wait that is going on, or the next: after doorbell_prepare() of it nothing is missed.
 * From any thread of this process; costs nothing while nobody waits. */
void doorbell_wake(Doorbell *doorbell);

/* One thread waits: it prepares, looks whether there is something to do, and waits if not, for
 * most_ns; true: it was rung or woken. */
void doorbell_prepare(Doorbell *doorbell);
bool doorbell_wait(Doorbell *doorbell, int64_t most_ns);

/* Whether another process has rung it, ever. */
bool doorbell_is_rung(const Doorbell *doorbell);

/* NULL is nothing to close. */
void doorbell_free(Doorbell *doorbell);

#endif
