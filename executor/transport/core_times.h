/* What transfers take of processors: the time that threads of a rank had of a core for messages and
 * sums, at either end, by how large they were. The times are the threads' own
 * (CLOCK_THREAD_CPUTIME_ID: user's and system's), so that other programs on the machine do not
 * change them much, and threads that sleep add nothing. Of the device's thread counts what copies,
 * adds and posts; of the thread that calls MPI what executor/net/mpi/link.c says. What the kernel
 * does in interrupts, for a network card, is nobody's and does not count.
 *
 * Any thread may add. */
#ifndef EXECUTOR_TRANSPORT_CORE_TIMES_H
#define EXECUTOR_TRANSPORT_CORE_TIMES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "schedule/program.h"

/* Which transfers. */
typedef struct {
    Op      op;              /* SEND: at its sender; RECV: at its receiver; ALLREDUCE: at a
                              * member */
    int     devices;         /* of the group of a sum; 0 */
    int64_t bytes;           /* of the message, or of what each member brings */
} TransferKind;

typedef struct {
    TransferKind kind;
    int64_t      begun;      /* transfers, of a sum its members here */
    int64_t      count, ns;  /* those that count, and what they took together */
} CoreTime;

typedef struct {
    pthread_mutex_t lock;    /* for what follows */
    CoreTime *list;
    int       count, capacity;
    int64_t   skip;          /* of every kind so many first ones do not count */
    bool      failed;        /* no memory: some are missing */
} CoreTimes;

/* Nothing noted yet; core_times_close() it. */
void core_times_open(CoreTimes *times, int64_t skip);

/* Frees the list. */
void core_times_close(CoreTimes *times);

/* One more of the kind begins; and the latest of it took so much more. times NULL: nobody asks. */
void core_times_begin(CoreTimes *times, TransferKind kind);
void core_times_add(CoreTimes *times, TransferKind kind, int64_t ns);

/* Adds what others noted [count], each with counts of its own. */
void core_times_merge(CoreTimes *times, const CoreTime *others, int count);

/* Of one transfer of the kind, in list [count]; -1: none counted. */
double core_time_mean_ns(const CoreTime *list, int count, TransferKind kind);

#endif
