/* What threads of one process wait with: a number that changes, and barriers of a group.
 *
 * Waits look at an atomic for a moment where each device has a core of its own (spins), then
 * sleep. */
#ifndef EXECUTOR_TRANSPORT_BARRIER_H
#define EXECUTOR_TRANSPORT_BARRIER_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/error.h"

/* Who may wait how, and whether all must leave. */
typedef struct {
    int         spins;
    atomic_bool stopped;
} WaitPolicy;

/* What threads sleep on until a number changes. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    atomic_int      number;
} EventCount;

/* The number is 0 at first. add() changes it and wakes who waits. */
void eventcount_open(EventCount *eventcount);
void eventcount_close(EventCount *eventcount);
void eventcount_add(EventCount *eventcount, int n);             /* 0: only wakes */

/* Until the number is another than value; an error when stopped. */
int  eventcount_wait(WaitPolicy *rules, EventCount *eventcount, int value, Error *err);

typedef struct {
    EventCount eventcount;             /* its number: barriers held */
    int   arrived;           /* under the eventcount's lock */
    int   expected;
} Barrier;

/* Returns when all have come: what a member wrote before, all may read afterwards. With
 * finish, a stop is not heard: members that use each other's memory part together. As
 * every one of them came through the barrier before, they all come to this one. */
int  barrier_wait(WaitPolicy *rules, Barrier *barrier, bool finish, Error *err);

#endif
