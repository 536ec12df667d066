/* Files, whole: read at once, written so that a reader never sees half a file. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>

#include "base/error.h"

/* Reads path ("-" is standard input) into *out, which is yours: free() it. A NUL
 * stands after the last byte and is not counted in *length. Refuses directories
 * and more than limit bytes (0: 1 GiB). */
int file_read(char **out, size_t *length, const char *path, size_t limit, Error *err);

/* Writes length bytes to path: a file without a name (which is gone should this process die; where
 * there is no such thing, one named path.XXXXXX), fsync, its name by link or rename, fsync of the
 * folder. On an error path is as it was and nothing is left. "-" is standard output; /dev/... (a
 * pipe, a terminal) is written directly. */
int file_write(const char *path, const char *bytes, size_t length, Error *err);

/* Whether path can be written, to be found out before long work and not after. Leaves path as
 * it is. */
int file_check_writable(const char *path, Error *err);

/* The same for a large file, whose bytes need not stand in one place. */
typedef struct {
    const void *bytes;
    size_t      length;
} FilePiece;

int file_write_pieces(const char *path, const FilePiece *pieces, size_t count, Error *err);

#endif
