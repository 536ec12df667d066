/* The current run: what runs at this moment, for whoever asks from another thread. execute() shows
 * its program while its workers live. */
#ifndef EXECUTOR_MONITOR_CURRENT_RUN_H
#define EXECUTOR_MONITOR_CURRENT_RUN_H

#include <pthread.h>

#include "executor/monitor/device_status.h"

typedef struct CurrentRun {
    pthread_mutex_t    lock;
    const StatusBoard *board;            /* NULL: nothing runs */
    const Program     *program;
} CurrentRun;

#define CURRENT_RUN_INITIALIZER {.lock = PTHREAD_MUTEX_INITIALIZER}

/* Both borrowed until current_run_hide(). */
void current_run_show(CurrentRun *current_run, const StatusBoard *board, const Program *program);
void current_run_hide(CurrentRun *current_run);

/* A line for every device (status_board_text()); false when nothing runs. */
bool current_run_text(CurrentRun *current_run, int64_t now_ns, Text *out);

#endif
