#include "executor/monitor/current_run.h"

void current_run_show(CurrentRun *current_run, const StatusBoard *board, const Program *program)
{
    pthread_mutex_lock(&current_run->lock);
    current_run->board = board;
    current_run->program = program;
    pthread_mutex_unlock(&current_run->lock);
}

void current_run_hide(CurrentRun *current_run) { current_run_show(current_run, NULL, NULL); }

bool current_run_text(CurrentRun *current_run, int64_t now_ns, Text *out)
{
    pthread_mutex_lock(&current_run->lock);
    bool runs = current_run->board != NULL;
    if (runs) status_board_text(current_run->board, current_run->program, now_ns, out);
    pthread_mutex_unlock(&current_run->lock);
    return runs;
}
