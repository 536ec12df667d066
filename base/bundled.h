/* Files that come with the program: beside its sources, or installed. */
#ifndef BASE_BUNDLED_H
#define BASE_BUNDLED_H

#include <stdbool.h>

#include "base/error.h"

/* What has a slash or ends in .json, or is "-", is a path and not the name of a bundled file. */
bool bundled_is_path(const char *text);

/* Where NAME of FOLDER ("workloads", "digits.json") lies: the first that exists of
 *     PREFIX/share/pipebd/FOLDER/NAME    for a program PREFIX/bin/pipebd-run
 *     SOURCES/FOLDER/NAME                for a program SOURCES/build/bin/pipebd-run, or one
 *                                        folder deeper
 * *out is yours: free() it. Refuses a name that is in neither, with what is there that ends
 * in suffix (shown without it), and a near one first. */
int bundled_find(char **out, const char *folder, const char *name, const char *suffix, Error *err);

#endif
