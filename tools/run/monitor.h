/* The monitor: a thread that does for a run what its workers must not stop for: it answers
 * SIGUSR1, draws on the terminal, writes the log. */
#ifndef TOOLS_RUN_MONITOR_H
#define TOOLS_RUN_MONITOR_H

#include <stdbool.h>

#include "base/error.h"
#include "executor/monitor/current_run.h"

typedef struct Monitor Monitor;

/* work is called in the monitor's thread: with asked after a SIGUSR1, without after monitor_wake(),
 * every period_ms (0: not by the clock), and a last time at monitor_end(). One monitor at a time;
 * monitor_end() *out. */
int monitor_start(Monitor **out, int period_ms, void (*work)(void *context, bool asked),
                  void *context, Error *err);

/* From any thread; does not wait. */
void monitor_wake(Monitor *monitor);

/* Waits for the last call and frees; SIGUSR1 is then heard no more, and does no harm. NULL is
 * none. */
void monitor_end(Monitor *monitor);

/* For a subcommand whose monitor does nothing but answer SIGUSR1: where every device is, on
 * standard error. NULL: no such thread, which is said. */
Monitor *monitor_of_run(CurrentRun *current_run);

#endif
