/* Files, whole: read at once, written so that a reader never sees half a file. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Reads path ("-" is standard input) into *out, which is yours: free() it. A NUL
 * stands after the last byte and is not counted in *length. Refuses directories
 * and more than limit bytes (0: 1 GiB). */
int file_read(char **out, size_t *length, const char *path, size_t limit, Error *err);

/* Writes length bytes to path, so that it has all of them or is as it was:
 *   - symbolic links are followed, also one to a file that is not there yet, and stay;
 *   - the bytes go to a temporary in the same folder: one without a name, or path.NNNNNN;
 *   - it has the mode of the file that it replaces; a new one has what the umask leaves;
 *   - fsync, rename, fsync of the folder;
 *   - on an error, and on a signal that ends the process, the temporary is gone.
 * A file that is write-protected, a full disk and a limit on sizes (file_limits_are_errors()) are
 * errors. Other hard links to the file keep the old bytes. "-" is standard output; /dev/... (a
 * pipe, a terminal) is written directly. */
int file_write(const char *path, const char *bytes, size_t length, Error *err);

/* Whether path could be written now, to be found out before long work and not after. Leaves path
 * and its folder as they are. */
int file_check_writable(const char *path, Error *err);

/* Makes a folder, unless it is there; its parent is. */
int file_make_folder(const char *path, Error *err);

/* Whether two paths name the same file or folder, which need not be there yet. Devices, such as
 * /dev/null, never are the same. */
bool file_same(const char *a, const char *b);

/* So that a file that was made or renamed to path still has that name after a loss of power. Some
 * file systems cannot do this: a failure is no error. path is cut meanwhile, and given back its
 * text. */
void file_sync_folder(char *path);

/* Bytes of the folder that a path names, its slash included: 0 of a bare name. */
size_t file_folder_length(const char *path);

/* Past a limit on the size of files (ulimit -f) a write is an error from now on, and no
 * signal that ends the process. Every tool calls it first. */
void file_limits_are_errors(void);

/* A part of a large file, whose bytes need not stand in one place. */
typedef struct {
    const void *bytes;
    size_t      length;
} FilePiece;

/* file_write() of the pieces, one behind another. They are borrowed for the call. */
int file_write_pieces(const char *path, const FilePiece *pieces, size_t count, Error *err);

#endif
