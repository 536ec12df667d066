/* The clock of measured times. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

static inline int64_t clock_ns(void)         /* CLOCK_MONOTONIC */
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The moment so long from now, for pthread_cond_timedwait() with a condition of
 * clock_init_condition(). */
static inline struct timespec clock_in(int64_t wait_ns)
{
    int64_t at_ns = clock_ns() + wait_ns;

    return (struct timespec){.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000};
}

/* A condition whose timed waits are by this clock, not by the wall's, which may be set
 * meanwhile. */
static inline void clock_init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* What the calling thread has had of a processor. */
static inline int64_t clock_thread_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#endif
