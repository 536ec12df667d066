/* The world: the processes of one run, and what they can do together.
 *
 *     rank 0                    rank 1                    a message is a header, and a payload
 *     devices 0 1               devices 2 3               or none; between two ranks, of one
 *     files, tables      <----  results                   port, they come in order
 *
 * NULL is the world of a process alone: rank 0 of 1, all devices here; what follows then costs
 * nothing. world_open() finds out whether the process was launched as a rank (by mpirun or
 * srun) and only then opens MPI. Everything is made of messages (world_post(), world_listen());
 * one thread of each process, the world's, sends, receives, and calls listeners.
 *
 * Waits watch for failure: when any rank calls world_fail(), every wait of every rank ends with
 * that error, and so does every later call. So a rank that fails need not know what
 * the others wait for, and all end with the same error. */
#ifndef EXECUTOR_NET_WORLD_H
#define EXECUTOR_NET_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/plugin.h"
#include "base/error.h"
#include "base/text.h"
#include "executor/net/mesh.h"
#include "executor/net/message.h"

typedef struct World World;

/* Joins the other ranks, or gives NULL when this process was not launched as one. world_close()
 * *out. An error when it was launched as a rank and this build has no MPI, or MPI lets no thread of
 * ours call it. */
int  world_open(World **out, Error *err);

/* Waits until all ranks have come (not after a failure), sends what is left, ends MPI. */
void world_close(World *world);

/* This process's rank, from 0, and how many ranks there are. */
FOR_PLUGINS int  world_rank(const World *world);
FOR_PLUGINS int  world_size(const World *world);

/* The name of rank's host; hosts are numbered in the order of ranks. */
FOR_PLUGINS const char *world_host(const World *world, int rank);
FOR_PLUGINS int         world_host_number(const World *world, int rank);

/* Whether all ranks run on one machine and see one network, so that loopback leads from each to
 * each. Every rank calls it. */
int world_shares_loopback(World *world, bool *out, Error *err);

/* ---- devices ---- */

/* Every rank calls it, with how many devices it has: rank 0's are numbered from 0, then rank
 * 1's, ... A world of one process has no need to. */
int  world_set_devices(World *world, int count, Error *err);
int  world_first_device(const World *world);             /* the first here */
FOR_PLUGINS int  world_devices(const World *world, int devices);     /* how many are here, of so
                                                                      * many in all */
int  world_all_devices(const World *world, int devices); /* of all ranks; devices in a world of
                                                          * one */
bool world_has_device(const World *world, int device);
FOR_PLUGINS int  world_rank_of(const World *world, int device);      /* 0 in a world of one */

/* ---- all together: every rank calls the same, in the same order, from one thread ---- */

/* rc of any rank that is not 0 becomes everybody's failure (world_fail()); *err says which. */
FOR_PLUGINS int world_agree(World *world, int rc, Error *err);
int world_barrier(World *world, Error *err);

/* A number that is the same to all, and another each time. */
int64_t world_number(World *world);

/* size bytes of rank 0 to all; the same of a text (of others: replaced). What is small enough
 * to be held twice: names, plans, traces, a library's unique id. */
FOR_PLUGINS int world_broadcast(World *world, void *bytes, size_t size, Error *err);
int world_broadcast_text(World *world, Text *text, Error *err);

/* size bytes of every rank to rank 0: out [ranks][size]; out may be NULL elsewhere. */
int world_gather(World *world, void *out, const void *bytes, size_t size, Error *err);
/* The same to all. */
FOR_PLUGINS int world_gather_all(World *world, void *out, const void *bytes, size_t size,
                                 Error *err);
/* Texts of any length to rank 0: out [ranks], where others' texts are appended. */
int world_gather_texts(World *world, Text *out, const Text *text, Error *err);

/* ---- failure ---- */

/* This rank has failed: tells all others. The first failure that a rank hears of stays. From
 * any thread. */
void world_fail(World *world, const Error *err);

/* Whether some rank has; *err (may be NULL) says what, with "rank N (host): " before what
 * another said. */
bool world_failed(World *world, Error *err);

/* The failure is told to this function, in the thread that hears of it first; NULL: no more. When
 * there was one already, at once. */
void world_on_failure(World *world, void (*function)(void *context, const Error *err),
                      void  *context);

/* ---- messages ---- */

/* In the world's thread; they do not wait. place: where the payload goes; NULL: memory of the
 * world's, for the time of arrived(). Without a payload only arrived() is called. place() comes in
 * the order of sending; arrived() of a long payload may come after that of a later message.
 * spent, or NULL: the world's thread had so much of a processor for a message of the port to or
 * from this rank; several times for each, also once it is gone. */
typedef struct {
    void *(*place)(void *context, const Message *message);
    void  (*arrived)(void *context, const Message *message, const void *payload);
    void  (*spent)(void *context, const Message *message, int64_t ns);
} Listener;

/* From now on messages to port that carry this number go to listener; others are dropped, so
 * ranks listen before a barrier and send after it. listener NULL: none; once it returns, the old
 * one is not called any more and no payload is on its way into memory that it placed. */
void world_listen(World *world, Port port, int64_t number, const Listener *listener, void *context);

/* Sends message, and message->bytes of payload, which the world may read until it calls release
 * (in its thread; NULL: the payload is copied first). Does not wait. From any thread. A failure
 * is without memory, or the world's. */
int  world_post(World *world, int to, const Message *message, const void *payload,
                void (*release)(void *context), void *context, Error *err);

/* Somebody waits for a message (+1), or no longer (-1), and leaves a core to the world's thread
 * meanwhile, which then looks for messages more often. */
void world_hurry(World *world, int more);

/* The world's thread runs on these cores only: a cpu_set_t of so many bytes. */
void world_bind(World *world, const void *cores, size_t bytes);

/* Every rank calls it, with a mesh of all: from now on messages are announced beside MPI, to the
 * address that the mesh found, so they are taken at once though nobody looks for them all the
 * time. */
int  world_connect_doorbells(World *world, const Mesh *mesh, Error *err);

/* When a message came from rank last (CLOCK_MONOTONIC). From any thread. */
int64_t world_heard_ns(const World *world, int rank);

/* What to add to rank's clock for rank 0's, as measured by world_open(); 0 on one host. */
int64_t world_clock_offset_ns(const World *world, int rank);

#endif
