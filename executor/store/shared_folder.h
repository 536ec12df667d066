/* The folder of a store: whom it belongs to, and whether all machines see the same one. */
#ifndef EXECUTOR_STORE_SHARED_FOLDER_H
#define EXECUTOR_STORE_SHARED_FOLDER_H

#include <stdbool.h>

#include "base/error.h"
#include "executor/net/world.h"

typedef struct {
    char *folder;
    char *path;              /* of the lock's file */
    int   fd;                /* -1: none */
} FolderLock;

/* Makes the folder, if its parent is there, and opens its lock, which is held by nobody yet:
 * folder_lock_close() it. The lock is a file, DIR/.pipebd-lock, whoever made it: file systems of
 * several machines lock files, but folders of one machine only. Where there is none and none may be
 * made (the folder can only be read) the folder itself is locked. */
int  folder_lock_open(FolderLock *out, const char *folder, Error *err);

/* Together with others that read, or alone. Does not wait: an error says "DIR: who" where somebody
 * else has it. */
int  folder_lock(FolderLock *lock, bool alone, const char *who, Error *err);

/* Lets go; the last removes the file. */
void folder_lock_close(FolderLock *lock);

/* Every rank calls it: an error, of all of them, unless all machines see the folder in which rank 0
 * writes a file. On one machine nothing is done. */
int folder_seen_by_all(const char *folder, World *world, Error *err);

/* Other machines may see a new file a moment later: pauses, before one looks again after so many
 * looks that found nothing; false: they are enough. */
bool folder_look_again(int looks);

#endif
