/* A file of lines that grows while others read it: logs.
 *
 * A line is written whole, its end included, in one call, so a reader sees whole lines. What a
 * killed or interrupted writer left of one, bytes behind the last end of a line, is cut off when
 * the file is opened again. One process at a time writes to it. */
#ifndef BASE_LINES_H
#define BASE_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

typedef struct Lines Lines;

/* Makes path, or opens it to add to what is there. A file with lines is refused unless append is
 * set; so is one that another process writes to. What is no regular file (a pipe, a device) is
 * written to and not looked at. lines_close() out. */
int lines_open(Lines **out, const char *path, bool append, Error *err);

/* The first line that was there when it was opened, without its end; NULL: none. Borrowed. At most
 * LINES_FIRST_MAX bytes of it. */
enum { LINES_FIRST_MAX = 1 << 20 };
const char *lines_first(const Lines *lines);

/* Bytes that were cut off. */
size_t lines_torn(const Lines *lines);

/* text holds no end of line. When it does not fit (a full disk) the file ends with the line
 * before, and err says so. */
int lines_add(Lines *lines, const char *text, size_t length, Error *err);

/* Waits until it is on the disk, and frees. NULL is nothing to close; err may be NULL. */
int lines_close(Lines *lines, Error *err);

#endif
