/* What threads of one process wait with: a number that changes, and meetings of a group.
 *
 * Waits look at an atomic for a moment where each device has a core of its own (spins), then sleep. */
#ifndef EXECUTOR_MEETING_H
#define EXECUTOR_MEETING_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/error.h"

/* Who may wait how, and whether all must leave. */
typedef struct {
    int         spins;
    atomic_bool stopped;
} WaitRules;

/* What threads sleep on until a number changes. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    atomic_int      number;
} Tally;

void tally_open(Tally *tally);
void tally_close(Tally *tally);
void tally_add(Tally *tally, int n);             /* 0: only wakes */

/* Until the number is another than value; an error when stopped. */
int  tally_wait(WaitRules *rules, Tally *tally, int value, Error *err);

typedef struct {
    Tally tally;             /* its number: meetings held */
    int   arrived;           /* under the tally's lock */
    int   expected;
} Meeting;

/* Returns when all have come: what a member wrote before, all may read afterwards. With
 * finish, a stop is not heard: members that use each other's memory part together. As
 * every one of them came through the meeting before, they all come to this one. */
int  meet(WaitRules *rules, Meeting *meeting, bool finish, Error *err);

#endif
