/* Writing files, as base/file.h promises.
 *
 *     resolve the links of path -> a temporary in the target's folder -> write, fsync -> rename ->
 *     fsync of the folder
 *
 * The temporary has no name (O_TMPFILE) where the file system knows such files, and needs one only
 * for the moment of a rename over a file that is there. Where it knows none it is named from the
 * start. While it has a name, base/unfinished.h removes it on signals. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/unfinished.h"

enum { MAX_LINKS = 40, MAX_TRIES = 1000, MAX_LINK_TEXT = 4096, UNNAMED = -2 };

/* ---- what path means ----------------------------------------------------------- */

/* A pipe, a terminal, /dev/null: nothing to rename over. Nor are the names of open files, even when
 * a regular file is behind them: renaming would replace the link /dev/stdout itself. */
static bool is_special(const char *path)
{
    struct stat info;

    if (strncmp(path, "/dev/fd/", 8) == 0 || strncmp(path, "/proc/", 6) == 0) return true;
    return stat(path, &info) == 0 && !S_ISREG(info.st_mode);
}

/* text, read at the link path: beside it, unless it begins at the root. NULL: out of memory. */
static char *follow(const char *path, const char *text)
{
    const char *slash = strrchr(path, '/');
    size_t      folder = slash && text[0] != '/' ? (size_t)(slash - path) + 1 : 0;
    char       *out = malloc(folder + strlen(text) + 1);

    if (!out) return NULL;
    memcpy(out, path, folder);
    strcpy(out + folder, text);
    return out;
}

/* Where path leads to through links, whether there is something or not; yours. NULL: err says
 * why. */
static char *resolve(const char *path, Error *err)
{
    char *at = strdup(path), text[MAX_LINK_TEXT];

    for (int i = 0; at && i < MAX_LINKS; i++) {
        ssize_t length = readlink(at, text, sizeof text - 1);
        if (length < 0) return at;
        text[length] = '\0';
        char *next = follow(at, text);
        free(at);
        at = next;
    }
    if (!at) error_no_memory(err);
    else     error_set(err, "%s: cannot be written: %s", path, strerror(ELOOP));
    free(at);
    return NULL;
}

/* A file that is write-protected is not replaced, although its folder would allow it. */
static int check_target(const char *path, const char *target, Error *err)
{
    struct stat info;

    if (stat(target, &info) != 0) return 0;
    if (S_ISDIR(info.st_mode))
        return error_set(err, "%s: is a directory, expected a file name", path);
    if (access(target, W_OK) != 0)
        return error_set(err, "%s: cannot be written: %s", path, strerror(errno));
    return 0;
}

/* ---- the temporary --------------------------------------------------------------- */

typedef struct {
    char *target;            /* what path leads to */
    char *name;              /* target.NNNNNN */
    int   fd, slot;          /* slot: of base/unfinished.h; UNNAMED: never had a name */
    bool  named;             /* there is a file of that name, to be removed */
} Temporary;

/* The n-th name to try: different in other processes, so that the first is mostly free. */
static void set_name(Temporary *t, int n)
{
    char digits[16];

    snprintf(digits, sizeof digits, "%06u",
             ((unsigned)getpid() * (unsigned)MAX_TRIES + (unsigned)n) % 1000000);
    memcpy(t->name + strlen(t->target) + 1, digits, 6);
}

/* Makes a file of the name: by linking fd (>= 0), or a new one, of this mode, into fd. Signals
 * wait, so that there is no moment at which it is there and not known to be removed. */
static int make_name(Temporary *t, mode_t mode)
{
    sigset_t all, before;
    char     link[32];
    int      rc = -1;

    snprintf(link, sizeof link, "/proc/self/fd/%d", t->fd);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 0; i < MAX_TRIES && rc != 0 && (i == 0 || errno == EEXIST); i++) {
        set_name(t, i);
        if (t->fd >= 0) rc = linkat(AT_FDCWD, link, AT_FDCWD, t->name, AT_SYMLINK_FOLLOW);
        else
            rc = (t->fd = open(t->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode)) >= 0 ? 0 : -1;
    }
    int why = errno;
    t->named = rc == 0;
    if (t->named) t->slot = unfinished_add(t->name);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = why;
    return rc;
}

/* The folder of path, which is cut and given back its text. */
static int open_folder(char *path, int flags, mode_t mode)
{
    char *slash = strrchr(path, '/');
    char  kept = slash ? slash[1] : '\0';

    if (slash) slash[1] = '\0';
    int fd = open(slash ? path : ".", flags | O_CLOEXEC, mode);
    if (slash) slash[1] = kept;
    return fd;
}

/* As private as the file that is replaced; a new one is as the umask has it. */
static int temporary_open(Temporary *t, const char *path, Error *err)
{
    struct stat info;
    bool        replaces = stat(t->target, &info) == 0;
    mode_t      mode = replaces ? 0600 : 0666;

    t->fd =
        access("/proc/self/fd", X_OK) == 0 ? open_folder(t->target, O_TMPFILE | O_RDWR, mode) : -1;
    if (t->fd < 0 && make_name(t, mode) != 0)
        return error_set(err, "%s: cannot create: %s", path, strerror(errno));
    /* private is safe, if not usual */
    if (replaces && fchmod(t->fd, info.st_mode & 0777) != 0) return 0;
    return 0;
}

/* Over what is there by rename, which takes a name. */
static int temporary_keep(Temporary *t)
{
    char link[32];

    snprintf(link, sizeof link, "/proc/self/fd/%d", t->fd);
    if (!t->named && linkat(AT_FDCWD, link, AT_FDCWD, t->target, AT_SYMLINK_FOLLOW) == 0) return 0;
    if (!t->named && (errno != EEXIST || make_name(t, 0) != 0)) return -1;
    if (rename(t->name, t->target) != 0) return -1;
    t->named = false;
    return 0;
}

static void temporary_close(Temporary *t)
{
    if (t->fd >= 0) close(t->fd);
    if (t->named) unlink(t->name);
    if (t->slot == UNNAMED || unfinished_drop(t->slot)) free(t->name);
    free(t->target);
}

/* path resolved and checked, with a temporary beside it that is open. temporary_close() it either
 * way. */
static int temporary_start(Temporary *t, const char *path, Error *err)
{
    *t = (Temporary){.fd = -1, .slot = UNNAMED};
    t->target = resolve(path, err);
    if (!t->target || check_target(path, t->target, err) != 0) return -1;
    t->name = malloc(strlen(t->target) + sizeof ".XXXXXX");
    if (!t->name) return error_no_memory(err);
    sprintf(t->name, "%s.XXXXXX", t->target);
    return temporary_open(t, path, err);
}

/* ---- writing ------------------------------------------------------------------------ */

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

static int write_direct(int fd, const char *path, const FilePiece *pieces, size_t count, Error *err)
{
    if (fd < 0) return error_set(err, "%s: cannot open: %s", path, strerror(errno));
    return write_all(fd, path, pieces, count, err);
}

static int write_renamed(const char *path, const FilePiece *pieces, size_t count, Error *err)
{
    Temporary t;
    int       rc = -1;

    if (temporary_start(&t, path, err) != 0) goto done;
    if (write_all(t.fd, path, pieces, count, err) != 0) goto done;
    if (fsync(t.fd) != 0 || temporary_keep(&t) != 0) {
        error_set(err, "%s: cannot write: %s", path, strerror(errno));
        goto done;
    }
    file_sync_folder(t.target);
    rc = 0;
done:
    temporary_close(&t);
    return rc;
}

int file_write_pieces(const char *path, const FilePiece *pieces, size_t count, Error *err)
{
    struct stat info;

    if (strcmp(path, "-") == 0 || strcmp(path, "/dev/stdout") == 0)
        return write_direct(STDOUT_FILENO, "<stdout>", pieces, count, err);
    if (strcmp(path, "/dev/stderr") == 0)
        return write_direct(STDERR_FILENO, "<stderr>", pieces, count, err);
    if (!is_special(path) || (stat(path, &info) == 0 && S_ISDIR(info.st_mode)))
        return write_renamed(path, pieces, count, err);

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
    struct stat info;
    Temporary   t;

    if (strcmp(path, "-") == 0 || strcmp(path, "/dev/stdout") == 0
        || strcmp(path, "/dev/stderr") == 0)
        return 0;
    if (is_special(path) && !(stat(path, &info) == 0 && S_ISDIR(info.st_mode)))
        return access(path, W_OK) == 0
                   ? 0
                   : error_set(err, "%s: cannot be written: %s", path, strerror(errno));
    int rc = temporary_start(&t, path, err);
    temporary_close(&t);
    return rc;
}

void file_sync_folder(char *path)
{
    int fd = open_folder(path, O_RDONLY | O_DIRECTORY, 0);

    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

int file_make_folder(const char *path, Error *err)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return 0;
    return error_set(err, "%s: cannot make the folder: %s", path, strerror(errno));
}

void file_limits_are_errors(void)
{
    signal(SIGXFSZ, SIG_IGN);
}
