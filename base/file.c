#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
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

size_t file_folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* ---- the same file ---------------------------------------------------------------------- */

static bool same_inode(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The folder that a path names a file in. */
static int stat_folder(struct stat *out, const char *path)
{
    size_t length = file_folder_length(path);
    char  *folder = length > 0 ? strndup(path, length) : strdup(".");
    int    rc = folder ? stat(folder, out) : -1;

    free(folder);
    return rc;
}

bool file_same(const char *a, const char *b)
{
    struct stat of_a, of_b;
    bool        a_is = stat(a, &of_a) == 0, b_is = stat(b, &of_b) == 0;

    if (a_is && b_is)
        return same_inode(&of_a, &of_b) && (S_ISREG(of_a.st_mode) || S_ISDIR(of_a.st_mode));
    if (a_is != b_is) return false;
    if (strcmp(a, b) == 0) return true;
    return strcmp(a + file_folder_length(a), b + file_folder_length(b)) == 0
           && stat_folder(&of_a, a) == 0 && stat_folder(&of_b, b) == 0 && same_inode(&of_a, &of_b);
}
