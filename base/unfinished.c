#include "base/unfinished.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

enum { SLOTS = 16 };

/* What a handler can reach. */
static _Atomic(const char *) slots[SLOTS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int             count;            /* files added and not dropped; under lock */

static const int deadly[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGPIPE,   SIGALRM, SIGTERM,
                             SIGUSR1, SIGUSR2, SIGXCPU, SIGVTALRM, SIGPROF};

enum { DEADLY = sizeof deadly / sizeof *deadly };

/* SA_RESETHAND: the signal raised here waits until the handler returns, and then has its usual
 * effect. */
static void remove_all(int signal)
{
    for (int i = 0; i < SLOTS; i++) {
        const char *path = atomic_exchange(&slots[i], NULL);
        if (path) unlink(path);
    }
    raise(signal);
}

static void set_handlers(void (*from)(int), void (*to)(int))
{
    struct sigaction old,
        new = {.sa_handler = to, .sa_flags = to == SIG_DFL ? 0 : (int)SA_RESETHAND};

    sigfillset(&new.sa_mask);
    for (int i = 0; i < DEADLY; i++)
        if (sigaction(deadly[i], NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO)
            && old.sa_handler == from)
            sigaction(deadly[i], &new, NULL);
}

int unfinished_add(const char *path)
{
    pthread_mutex_lock(&lock);
    if (count++ == 0) set_handlers(SIG_DFL, remove_all);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < SLOTS; i++) {
        const char *none = NULL;
        if (atomic_compare_exchange_strong(&slots[i], &none, path)) return i;
    }
    return -1;
}

bool unfinished_drop(int slot)
{
    bool mine = slot < 0 || atomic_exchange(&slots[slot], NULL);

    pthread_mutex_lock(&lock);
    if (--count == 0) set_handlers(remove_all, SIG_DFL);
    pthread_mutex_unlock(&lock);
    return mine;
}
