#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_CHUNK = 64 * 1024 };

/* Everything fd gives, up to limit bytes. */
static int read_all(char **out, size_t *length, int fd, const char *path, size_t limit, Error *err)
{
    size_t used = 0, capacity = READ_CHUNK;
    char  *bytes = malloc(capacity + 1);

    if (!bytes) return error_no_memory(err);
    for (;;) {
        if (used == capacity) {
            char *bigger = realloc(bytes, capacity * 2 + 1);
            if (!bigger) { free(bytes); return error_no_memory(err); }
            bytes = bigger;
            capacity *= 2;
        }
        ssize_t got = read(fd, bytes + used, capacity - used);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            error_set(err, "%s: cannot read: %s", path, strerror(errno));
            free(bytes);
            return -1;
        }
        if (got == 0) break;
        used += (size_t)got;
        if (used > limit) {
            free(bytes);
            return error_set(err, "%s: larger than the limit of %zu bytes", path, limit);
        }
    }
    bytes[used] = '\0';
    *out = bytes;
    *length = used;
    return 0;
}

int file_read(char **out, size_t *length, const char *path, size_t limit, Error *err)
{
    struct stat info;

    *out = NULL;
    *length = 0;
    if (limit == 0) limit = (size_t)1 << 30;
    if (strcmp(path, "-") == 0) return read_all(out, length, STDIN_FILENO, "<stdin>", limit, err);

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return error_set(err, "%s: cannot open: %s", path, strerror(errno));
    int rc = -1;
    if (fstat(fd, &info) != 0)
        error_set(err, "%s: cannot read: %s", path, strerror(errno));
    else if (S_ISDIR(info.st_mode))
        error_set(err, "%s: is a directory, expected a file", path);
    else
        rc = read_all(out, length, fd, path, limit, err);
    close(fd);
    return rc;
}

static int write_piece(int fd, const char *path, const FilePiece *piece, Error *err)
{
    const char *bytes = piece->bytes;
    size_t      length = piece->length;

    while (length > 0) {
        ssize_t put = write(fd, bytes, length);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return error_set(err, "%s: cannot write: %s", path, strerror(errno));
        bytes += put;
        length -= (size_t)put;
    }
    return 0;
}

static int write_all(int fd, const char *path, const FilePiece *pieces, size_t count, Error *err)
{
    for (size_t i = 0; i < count; i++)
        if (write_piece(fd, path, &pieces[i], err) != 0) return -1;
    return 0;
}

/* A pipe, a terminal, /dev/null: nothing to rename over. Nor are the names of open
 * files, even when a regular file is behind them: renaming would replace the link
 * /dev/stdout itself. */
static bool is_special(const char *path)
{
    struct stat info;

    if (strncmp(path, "/dev/fd/", 8) == 0 || strncmp(path, "/proc/", 6) == 0) return true;
    return stat(path, &info) == 0 && !S_ISREG(info.st_mode);
}

static int write_direct(int fd, const char *path, const FilePiece *pieces, size_t count, Error *err)
{
    if (fd < 0) return error_set(err, "%s: cannot open: %s", path, strerror(errno));
    return write_all(fd, path, pieces, count, err);
}

/* mkstemp makes files private; people expect the usual permissions. */
static void usual_mode(int fd, const char *path)
{
    struct stat info;
    mode_t      mask = umask(0);

    umask(mask);
    mode_t mode = stat(path, &info) == 0 ? info.st_mode & 0777 : 0666 & ~mask;
    if (fchmod(fd, mode) != 0) return;      /* private is safe, if not usual */
}

/* Where path leads to, so that a link stays a link to the new file; path itself when
 * there is nothing yet. NULL: out of memory. */
static char *rename_target(const char *path)
{
    char *target = realpath(path, NULL);

    return target || errno == ENOMEM ? target : strdup(path);
}

/* So that the new name is still there after a loss of power. The file is complete
 * already, and some file systems cannot do this: a failure is no error. */
static void sync_folder(char *path)
{
    char *slash = strrchr(path, '/');
    char  kept = slash ? slash[1] : '\0';

    if (slash) slash[1] = '\0';
    int fd = open(slash ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (slash) slash[1] = kept;
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

/* A file beside target that has no name yet, and so is gone if this process dies; where the file
 * system knows no such thing, one with a temporary name, that target with .XXXXXX. */
static int open_unfinished(char *temporary, bool *named)
{
    char *slash = strrchr(temporary, '/');
    char  kept = slash ? slash[1] : '\0';

    if (slash) slash[1] = '\0';
    int fd = access("/proc/self/fd", X_OK) == 0 ? open(slash ? temporary : ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
    if (slash) slash[1] = kept;
    if (fd >= 0) return fd;
    *named = true;
    return mkstemp(temporary);
}

/* Gives a file its name. If there is one of that name it must be by rename, from a temporary name. */
static int give_name(int fd, char *temporary, bool *named, const char *target)
{
    char  link[32], digits[16];
    char *suffix = temporary + strlen(temporary) - strlen("XXXXXX");
    int   rc = -1;

    if (*named) return rename(temporary, target);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (linkat(AT_FDCWD, link, AT_FDCWD, target, AT_SYMLINK_FOLLOW) == 0) return 0;
    for (int i = 0; i < 1000 && rc != 0 && errno == EEXIST; i++) {
        snprintf(digits, sizeof digits, "%06u", ((unsigned)getpid() * 1000 + (unsigned)i) % 1000000);
        memcpy(suffix, digits, strlen("XXXXXX"));
        rc = linkat(AT_FDCWD, link, AT_FDCWD, temporary, AT_SYMLINK_FOLLOW);
    }
    *named = rc == 0;
    return rc == 0 ? rename(temporary, target) : -1;
}

static int write_renamed(const char *path, const FilePiece *pieces, size_t count, Error *err)
{
    int   rc = -1, fd = -1;
    bool  named = false;                 /* the temporary file, so that it must be removed */
    char *target = rename_target(path);
    char *temporary = target ? malloc(strlen(target) + sizeof ".XXXXXX") : NULL;

    if (!temporary) { error_no_memory(err); goto done; }
    sprintf(temporary, "%s.XXXXXX", target);
    fd = open_unfinished(temporary, &named);
    if (fd < 0) {
        error_set(err, "%s: cannot create: %s", path, strerror(errno));
        goto done;
    }
    usual_mode(fd, path);
    if (write_all(fd, path, pieces, count, err) != 0) goto done;
    if (fsync(fd) != 0 || give_name(fd, temporary, &named, target) != 0) {
        error_set(err, "%s: cannot write: %s", path, strerror(errno));
        goto done;
    }
    sync_folder(target);
    rc = 0;
done:
    if (fd >= 0) close(fd);
    if (fd >= 0 && named && rc != 0) unlink(temporary);
    free(temporary);
    free(target);
    return rc;
}

int file_write_pieces(const char *path, const FilePiece *pieces, size_t count, Error *err)
{
    struct stat info;

    if (strcmp(path, "-") == 0 || strcmp(path, "/dev/stdout") == 0)
        return write_direct(STDOUT_FILENO, "<stdout>", pieces, count, err);
    if (strcmp(path, "/dev/stderr") == 0)
        return write_direct(STDERR_FILENO, "<stderr>", pieces, count, err);
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return error_set(err, "%s: is a directory, expected a file name", path);
    if (!is_special(path)) return write_renamed(path, pieces, count, err);

    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    int rc = write_direct(fd, path, pieces, count, err);
    if (fd >= 0) close(fd);
    return rc;
}

int file_write(const char *path, const char *bytes, size_t length, Error *err)
{
    return file_write_pieces(path, &(FilePiece){bytes, length}, 1, err);
}

int file_check_writable(const char *path, Error *err)
{
    bool there = access(path, F_OK) == 0;
    int  fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);

    if (fd < 0) return error_set(err, "%s: cannot be written: %s", path, strerror(errno));
    close(fd);
    if (!there) unlink(path);
    return 0;
}
