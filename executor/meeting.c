#include "executor/meeting.h"

void tally_open(Tally *tally)
{
    pthread_mutex_init(&tally->lock, NULL);
    pthread_cond_init(&tally->changed, NULL);
    atomic_init(&tally->number, 0);
}

void tally_close(Tally *tally)
{
    pthread_mutex_destroy(&tally->lock);
    pthread_cond_destroy(&tally->changed);
}

void tally_add(Tally *tally, int n)
{
    pthread_mutex_lock(&tally->lock);
    atomic_fetch_add(&tally->number, n);
    pthread_cond_broadcast(&tally->changed);
    pthread_mutex_unlock(&tally->lock);
}

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static void tally_spin(const WaitRules *rules, Tally *tally, int value)
{
    for (int i = 0; i < rules->spins && atomic_load(&tally->number) == value; i++) pause_briefly();
}

int tally_wait(WaitRules *rules, Tally *tally, int value, Error *err)
{
    tally_spin(rules, tally, value);
    if (atomic_load(&tally->number) == value) {
        pthread_mutex_lock(&tally->lock);
        while (atomic_load(&tally->number) == value && !atomic_load(&rules->stopped))
            pthread_cond_wait(&tally->changed, &tally->lock);
        pthread_mutex_unlock(&tally->lock);
    }
    return atomic_load(&rules->stopped) ? error_set(err, "stopped") : 0;
}

int meet(WaitRules *rules, Meeting *meeting, bool finish, Error *err)
{
    Tally *tally = &meeting->tally;
    int    number, rc = 0;

    pthread_mutex_lock(&tally->lock);
    number = atomic_load(&tally->number);
    if (!finish && atomic_load(&rules->stopped)) {
        rc = -1;
    } else if (++meeting->arrived == meeting->expected) {
        meeting->arrived = 0;
        atomic_fetch_add(&tally->number, 1);
        pthread_cond_broadcast(&tally->changed);
    } else {
        pthread_mutex_unlock(&tally->lock);
        tally_spin(rules, tally, number);
        pthread_mutex_lock(&tally->lock);
        while (atomic_load(&tally->number) == number && (finish || !atomic_load(&rules->stopped)))
            pthread_cond_wait(&tally->changed, &tally->lock);
        if (atomic_load(&tally->number) == number) {     /* stopped: as if it had not come */
            meeting->arrived--;
            rc = -1;
        }
    }
    pthread_mutex_unlock(&tally->lock);
    return rc ? error_set(err, "stopped") : 0;
}
