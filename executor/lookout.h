/* The lookout: what runs at this moment, for whoever asks from another thread. execute() puts its
 * program up while its workers live. */
#ifndef EXECUTOR_LOOKOUT_H
#define EXECUTOR_LOOKOUT_H

#include <pthread.h>

#include "executor/whereabouts.h"

typedef struct Lookout {
    pthread_mutex_t    lock;
    const Whereabouts *where;            /* NULL: nothing runs */
    const Program     *program;
} Lookout;

#define LOOKOUT_INITIALIZER {.lock = PTHREAD_MUTEX_INITIALIZER}

/* Both borrowed until lookout_hide(). */
void lookout_show(Lookout *lookout, const Whereabouts *where, const Program *program);
void lookout_hide(Lookout *lookout);

/* A line for every device (whereabouts_text()); false when nothing runs. */
bool lookout_text(Lookout *lookout, int64_t now_ns, Text *out);

#endif
