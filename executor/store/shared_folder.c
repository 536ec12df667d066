#include "executor/store/shared_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

/* ---- the lock ---------------------------------------------------------------------- */

/* The lock's file, also one that only its maker may write, or else the folder. */
static int open_lock(FolderLock *lock, Error *err)
{
    lock->fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock->fd < 0 && (errno == EACCES || errno == EROFS))
        lock->fd = open(lock->path, O_RDONLY | O_CLOEXEC);
    if (lock->fd < 0 && errno == ENOENT)
        lock->fd = open(lock->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock->fd >= 0) return 0;
    return error_set(err, "%s: cannot open: %s", lock->path, strerror(errno));
}

int folder_lock_open(FolderLock *out, const char *folder, Error *err)
{
    struct stat info;

    *out = (FolderLock){.fd = -1};
    if (file_make_folder(folder, err) != 0) return -1;
    if (stat(folder, &info) == 0 && !S_ISDIR(info.st_mode))
        return error_set(err, "%s: cannot open the folder: %s", folder, strerror(ENOTDIR));
    out->folder = strdup(folder);
    if (asprintf(&out->path, "%s/.pipebd-lock", folder) < 0) out->path = NULL;
    if (!out->folder || !out->path) return error_no_memory(err);
    return open_lock(out, err);
}

/* Whether the file that is locked was removed by its last holder meanwhile. */
static bool is_gone(const FolderLock *lock)
{
    struct stat info;

    return fstat(lock->fd, &info) != 0 || info.st_nlink == 0;
}

int folder_lock(FolderLock *lock, bool alone, const char *who, Error *err)
{
    for (;;) {
        if (flock(lock->fd, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0)
            return error_set(err, "%s: %s", errno == EWOULDBLOCK ? lock->folder : lock->path,
                             errno == EWOULDBLOCK ? who : strerror(errno));
        if (!is_gone(lock)) return 0;
        close(lock->fd);
        if (open_lock(lock, err) != 0) return -1;
    }
}

void folder_lock_close(FolderLock *lock)
{
    if (lock->fd >= 0) {
        if (flock(lock->fd, LOCK_EX | LOCK_NB) == 0 && !is_gone(lock)) unlink(lock->path);
        close(lock->fd);
    }
    free(lock->path);
    free(lock->folder);
    *lock = (FolderLock){.fd = -1};
}

/* ---- one folder that all see --------------------------------------------------------- */

/* What rank 0 writes: a name that no file has, and what stands in it. */
typedef struct { uint64_t name, content; } FolderToken;

enum { LOOK_MS = 50, LOOKS = 60 };

bool folder_look_again(int looks)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000};

    if (looks >= LOOKS) return false;
    nanosleep(&pause, NULL);
    return true;
}

static char *token_path(const char *folder, const FolderToken *token, Error *err)
{
    char *path = NULL;

    if (asprintf(&path, "%s/.pipebd-token-%016" PRIx64, folder, token->name) >= 0) return path;
    error_no_memory(err);
    return NULL;
}

static int write_token(const char *folder, FolderToken *token, Error *err)
{
    if (file_make_folder(folder, err) != 0) return -1;
    if (getrandom(token, sizeof *token, 0) != (ssize_t)sizeof *token)
        return error_set(err, "no random numbers: %s", strerror(errno));
    char *path = token_path(folder, token, err);
    int   rc = path ? file_write(path, (const char *)token, sizeof *token, err) : -1;
    free(path);
    return rc;
}

static bool is_token(const char *path, const FolderToken *token)
{
    char  *bytes;
    size_t length;

    if (file_read(&bytes, &length, path, sizeof *token, NULL) != 0) return false;
    bool same = length == sizeof *token && memcmp(bytes, token, length) == 0;
    free(bytes);
    return same;
}

static int find_token(bool *found, const char *folder, const FolderToken *token, Error *err)
{
    char *path = token_path(folder, token, err);

    *found = false;
    if (!path) return -1;
    *found = is_token(path, token);
    for (int i = 1; !*found && folder_look_again(i); i++) *found = is_token(path, token);
    free(path);
    return 0;
}

static void remove_token(const char *folder, const FolderToken *token)
{
    char *path = token_path(folder, token, NULL);

    if (path) unlink(path);
    free(path);
}

/* found: of all ranks. */
static int check_found(const char *folder, World *world, const bool *found, Error *err)
{
    for (int r = 0; r < world_size(world); r++)
        if (!found[r])
            return error_set(err,
                             "%s: rank %d (%s) does not see a file that rank 0 (%s) has written "
                             "there, expected one folder that all machines see",
                             folder, r, world_host(world, r), world_host(world, 0));
    return 0;
}

static bool has_several_hosts(const World *world)
{
    for (int r = 1; r < world_size(world); r++)
        if (world_host_number(world, r) != 0) return true;
    return false;
}

int folder_seen_by_all(const char *folder, World *world, Error *err)
{
    bool  first = world_rank(world) == 0, mine, *found;
    FolderToken token = {0};

    if (!has_several_hosts(world)) return 0;
    found = calloc((size_t)world_size(world), sizeof *found);
    int rc = found ? 0 : error_no_memory(err);
    if (rc == 0 && first) rc = write_token(folder, &token, err);
    rc = world_agree(world, rc, err);
    if (rc == 0) rc = world_broadcast(world, &token, sizeof token, err);
    if (rc == 0) rc = world_agree(world, find_token(&mine, folder, &token, err), err);
    if (rc == 0) rc = world_gather_all(world, found, &mine, sizeof mine, err);
    if (first) remove_token(folder, &token);
    if (rc == 0) rc = world_agree(world, first ? check_found(folder, world, found, err) : 0, err);
    free(found);
    return rc;
}
