#include "executor/transport/barrier.h"

void eventcount_open(EventCount *eventcount)
{
    pthread_mutex_init(&eventcount->lock, NULL);
    pthread_cond_init(&eventcount->changed, NULL);
    atomic_init(&eventcount->number, 0);
}

void eventcount_close(EventCount *eventcount)
{
    pthread_mutex_destroy(&eventcount->lock);
    pthread_cond_destroy(&eventcount->changed);
}

void eventcount_add(EventCount *eventcount, int n)
{
    pthread_mutex_lock(&eventcount->lock);
    atomic_fetch_add(&eventcount->number, n);
    pthread_cond_broadcast(&eventcount->changed);
    pthread_mutex_unlock(&eventcount->lock);
}

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static void eventcount_spin(const WaitPolicy *rules, EventCount *eventcount, int value)
{
    for (int i = 0; i < rules->spins && atomic_load(&eventcount->number) == value; i++)
        pause_briefly();
}

int eventcount_wait(WaitPolicy *rules, EventCount *eventcount, int value, Error *err)
{
    eventcount_spin(rules, eventcount, value);
    if (atomic_load(&eventcount->number) == value) {
        pthread_mutex_lock(&eventcount->lock);
        while (atomic_load(&eventcount->number) == value && !atomic_load(&rules->stopped))
            pthread_cond_wait(&eventcount->changed, &eventcount->lock);
        pthread_mutex_unlock(&eventcount->lock);
    }
    return atomic_load(&rules->stopped) ? error_set(err, "stopped") : 0;
}

int barrier_wait(WaitPolicy *rules, Barrier *barrier, bool finish, Error *err)
{
    EventCount *eventcount = &barrier->eventcount;
    int    number, rc = 0;

    pthread_mutex_lock(&eventcount->lock);
    number = atomic_load(&eventcount->number);
    if (!finish && atomic_load(&rules->stopped)) {
        rc = -1;
    } else if (++barrier->arrived == barrier->expected) {
        barrier->arrived = 0;
        atomic_fetch_add(&eventcount->number, 1);
        pthread_cond_broadcast(&eventcount->changed);
    } else {
        pthread_mutex_unlock(&eventcount->lock);
        eventcount_spin(rules, eventcount, number);
        pthread_mutex_lock(&eventcount->lock);
        while (atomic_load(&eventcount->number) == number
               && (finish || !atomic_load(&rules->stopped)))
            pthread_cond_wait(&eventcount->changed, &eventcount->lock);
        if (atomic_load(&eventcount->number) == number) {     /* stopped: as if it had not come */
            barrier->arrived--;
            rc = -1;
        }
    }
    pthread_mutex_unlock(&eventcount->lock);
    return rc ? error_set(err, "stopped") : 0;
}
