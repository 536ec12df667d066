#include "base/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024 };

struct Lines {
    char  *path;
    int    fd;
    bool   regular;
    char  *first;            /* NULL: none */
    char  *line;             /* [capacity] of the one that is written */
    size_t capacity, torn;
};

/* ---- what is there ----------------------------------------------------------- */

/* The bytes up to and with the last end of line, of size. */
static int whole_lines(off_t *out, const Lines *lines, off_t size, Error *err)
{
    char  chunk[CHUNK];
    off_t end = size;

    while (end > 0) {
        off_t   start = end > CHUNK ? end - CHUNK : 0;
        ssize_t got = pread(lines->fd, chunk, (size_t)(end - start), start);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return error_set(err, "%s: cannot read: %s", lines->path,
                             strerror(got < 0 ? errno : EIO));
        for (ssize_t i = got; i > 0; i--)
            if (chunk[i - 1] == '\n') { *out = start + i; return 0; }
        end = start;
    }
    *out = 0;
    return 0;
}

static int read_first(Lines *lines, off_t size, Error *err)
{
    size_t  room = size < LINES_FIRST_MAX ? (size_t)size : LINES_FIRST_MAX;
    ssize_t got;

    if (room == 0) return 0;
    lines->first = malloc(room + 1);
    if (!lines->first) return error_no_memory(err);
    do got = pread(lines->fd, lines->first, room, 0); while (got < 0 && errno == EINTR);
    if (got < 0) return error_set(err, "%s: cannot read: %s", lines->path, strerror(errno));
    lines->first[got] = '\0';
    lines->first[strcspn(lines->first, "\n")] = '\0';
    return 0;
}

static int look(Lines *lines, bool append, Error *err)
{
    struct stat info;
    off_t       whole = 0;

    if (fstat(lines->fd, &info) != 0) return error_set(err, "%s: %s", lines->path, strerror(errno));
    lines->regular = S_ISREG(info.st_mode);
    if (!lines->regular) return 0;
    if (flock(lines->fd, LOCK_EX | LOCK_NB) != 0)
        return error_set(err, "%s: %s", lines->path,
                         errno == EWOULDBLOCK ? "another process writes to it" : strerror(errno));
    if (info.st_size > 0 && !append)
        return error_set(err, "%s: is there already, and would be added to", lines->path);
    if (whole_lines(&whole, lines, info.st_size, err) != 0) return -1;
    lines->torn = (size_t)(info.st_size - whole);
    if (lines->torn && ftruncate(lines->fd, whole) != 0)
        return error_set(err, "%s: cannot cut off an unfinished line: %s", lines->path,
                         strerror(errno));
    return read_first(lines, whole, err);
}

/* ---- opening and closing -------------------------------------------------------- */

int lines_open(Lines **out, const char *path, bool append, Error *err)
{
    Lines *lines = calloc(1, sizeof *lines);

    *out = NULL;
    if (!lines) return error_no_memory(err);
    lines->fd = -1;
    lines->path = strdup(path);
    if (!lines->path) { error_no_memory(err); goto fail; }
    lines->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    /* a pipe's end */
    if (lines->fd < 0) lines->fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (lines->fd < 0) {
        error_set(err, "%s: cannot be written: %s", path, strerror(errno));
        goto fail;
    }
    if (look(lines, append, err) != 0) goto fail;
    *out = lines;
    return 0;
fail:
    lines_close(lines, NULL);
    return -1;
}

const char *lines_first(const Lines *lines) { return lines->first; }
size_t lines_torn(const Lines *lines) { return lines->torn; }

int lines_close(Lines *lines, Error *err)
{
    int rc = 0;

    if (!lines) return 0;
    if (lines->fd >= 0 && lines->regular && fsync(lines->fd) != 0)
        rc = error_set(err, "%s: cannot be written: %s", lines->path, strerror(errno));
    if (lines->fd >= 0) close(lines->fd);
    free(lines->path);
    free(lines->first);
    free(lines->line);
    free(lines);
    return rc;
}

/* ---- writing --------------------------------------------------------------------- */

static int make_room(Lines *lines, size_t length, Error *err)
{
    if (length <= lines->capacity) return 0;
    char *moved = realloc(lines->line, 2 * length);
    if (!moved) return error_no_memory(err);
    lines->line = moved;
    lines->capacity = 2 * length;
    return 0;
}

int lines_add(Lines *lines, const char *text, size_t length, Error *err)
{
    size_t done = 0;

    if (make_room(lines, length + 1, err) != 0) return -1;
    memcpy(lines->line, text, length);
    lines->line[length] = '\n';
    while (done <= length) {
        ssize_t put = write(lines->fd, lines->line + done, length + 1 - done);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) {
            int         why = put < 0 ? errno : ENOSPC;
            struct stat info;
            if (done && lines->regular && fstat(lines->fd, &info) == 0
                && ftruncate(lines->fd, info.st_size - (off_t)done) != 0)
                return error_set(err, "%s: cannot be written, and ends within a line: %s",
                                 lines->path, strerror(why));
            return error_set(err, "%s: cannot be written: %s", lines->path, strerror(why));
        }
        done += (size_t)put;
    }
    return 0;
}
