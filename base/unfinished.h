/* Temporary files that a signal is to remove.
 *
 * Between unfinished_add() and unfinished_drop() signals that would end the process (SIGINT,
 * SIGTERM, SIGHUP and the like) first remove the file, then end it as they would have. Signals that
 * have a handler, or are ignored, stay as they are; with the last file dropped all are. */
#ifndef BASE_UNFINISHED_H
#define BASE_UNFINISHED_H

#include <stdbool.h>

/* path is borrowed until unfinished_drop(). Returns its slot; negative: too many at a time, it is
 * not removed. */
int unfinished_add(const char *path);

/* Whether path is the caller's again. false: a signal's handler has it, and the process is about to
 * end; path must not be freed. */
bool unfinished_drop(int slot);

#endif
