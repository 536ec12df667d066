/* A progress line on stderr, only on a terminal; silent elsewhere. */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdint.h>

typedef struct {
    const char *label;       /* borrowed: "sweep" */
    int64_t     done, total;
    int         shown;       /* characters on the line, to erase */
    int         active;      /* stderr is a terminal */
    int64_t     last_ms;     /* redraws at most ten times a second */
} Progress;

/* Between start and end the line shows label and how many of total are done, "sweep 12/400". Of one
 * thread; add() may be called as often as one likes. */
void progress_start(Progress *progress, const char *label, int64_t total);
void progress_add(Progress *progress, int64_t done);
void progress_end(Progress *progress);       /* erases the line */

#endif
