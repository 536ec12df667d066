/* The steward: a thread that does for a run what its workers must not stop for: it answers
 * SIGUSR1, draws on the terminal, writes the log. */
#ifndef TOOLS_RUN_STEWARD_H
#define TOOLS_RUN_STEWARD_H

#include <stdbool.h>

#include "base/error.h"
#include "executor/lookout.h"

typedef struct Steward Steward;

/* work is called in the steward's thread: with asked after a SIGUSR1, without after
 * steward_wake(), every period_ms (0: not by the clock), and a last time at steward_end(). One
 * steward at a time. */
int  steward_start(Steward **out, int period_ms, void (*work)(void *context, bool asked), void *context, Error *err);

/* From any thread; does not wait. */
void steward_wake(Steward *steward);

/* Waits for the last call and frees; SIGUSR1 is then heard no more, and does no harm. NULL is
 * none. */
void steward_end(Steward *steward);

/* For a subcommand whose steward does nothing but answer SIGUSR1: where every device is, on
 * standard error. NULL: no such thread, which is said. */
Steward *steward_of_lookout(Lookout *lookout);

#endif
