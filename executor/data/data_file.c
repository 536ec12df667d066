/* Files of a folder that are mapped into memory, for the sources that read them as they lie. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "executor/data/data_source.h"

static int map(DataFile *file, int fd, Error *err)
{
    struct stat info;
    void       *bytes;

    if (fstat(fd, &info) != 0)
        return error_set(err, "%s: cannot read: %s", file->path, strerror(errno));
    if (!S_ISREG(info.st_mode)) return error_set(err, "%s: is no regular file", file->path);
    if (info.st_size == 0) return error_set(err, "%s: is empty", file->path);
    bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return error_set(err, "%s: cannot map: %s", file->path, strerror(errno));
    file->bytes = bytes;
    file->size = (size_t)info.st_size;
    return 0;
}

int data_map(DataFile *file, const char *folder, DataPart part, const char *ending, bool optional,
             Error *err)
{
    int fd, rc;

    if (asprintf(&file->path, "%s/%s.%s", folder, part == DATA_TRAIN ? "train" : "val", ending)
        < 0) {
        file->path = NULL;
        return error_no_memory(err);
    }
    /* a pipe is not waited for */
    fd = open(file->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && optional && errno == ENOENT) return 0;
    if (fd < 0) return error_set(err, "%s: cannot open: %s", file->path, strerror(errno));
    rc = map(file, fd, err);
    close(fd);
    return rc;
}

void data_unmap(DataFile *file)
{
    if (file->bytes) munmap((void *)(uintptr_t)file->bytes, file->size);
    free(file->path);
    *file = (DataFile){0};
}
