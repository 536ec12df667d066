/* CIFAR-10's binary files: samples of 1 + 3072 bytes, a label and an image of three planes
 * (red, green, blue) of 32 rows of 32. Training images are moved by up to 4 pixels each way,
 * black coming in at the edges, and mirrored or not: what the field does with CIFAR-10. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "executor/data/data_source.h"

enum {
    SIDE = 32,
    PLANE = SIDE * SIDE,
    CHANNELS = 3,
    SAMPLE_BYTES = 1 + CHANNELS * PLANE,
    CLASSES = 10,
    FILES = 5,
    PAD = 4
};

/* Draws of an augmentation. */
enum { DRAW_MIRROR, DRAW_X, DRAW_Y };

typedef struct {
    char   *path;
    int     fd;
    int64_t first, count;        /* samples; the last may be cut short */
} File;

typedef struct {
    DataWants wants;
    File      file[FILES];
    int       files;
    int64_t   count;
} Cifar;

static void cifar_free(void *state)
{
    Cifar *cifar = state;

    for (int i = 0; i < cifar->files; i++) {
        if (cifar->file[i].fd >= 0) close(cifar->file[i].fd);
        free(cifar->file[i].path);
    }
    free(cifar);
}

static int cut_short(const File *file, int64_t sample, int64_t bytes, Error *err)
{
    return error_set(err, "%s: sample %" PRId64 " is cut short: it has %" PRId64 " of %d bytes",
                     file->path, sample, bytes, SAMPLE_BYTES);
}

/* Adds FOLDER/NAME. A last sample that is cut short is refused now, unless it may be skipped. */
static int add_file(Cifar *cifar, const char *folder, const char *name, Error *err)
{
    File       *file = &cifar->file[cifar->files];
    struct stat info;

    if (asprintf(&file->path, "%s/%s", folder, name) < 0) {
        file->path = NULL;
        return error_no_memory(err);
    }
    cifar->files++;
    /* a pipe is not waited for */
    file->fd = open(file->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (file->fd < 0) return error_set(err, "%s: cannot open: %s", file->path, strerror(errno));
    if (fstat(file->fd, &info) != 0)
        return error_set(err, "%s: cannot read: %s", file->path, strerror(errno));
    if (!S_ISREG(info.st_mode)) return error_set(err, "%s: is no regular file", file->path);
    if (info.st_size == 0) return error_set(err, "%s: is empty", file->path);
    file->first = cifar->count;
    file->count = (info.st_size + SAMPLE_BYTES - 1) / SAMPLE_BYTES;
    cifar->count += file->count;
    if (info.st_size % SAMPLE_BYTES != 0 && !cifar->wants.lenient)
        return cut_short(file, file->count - 1, info.st_size % SAMPLE_BYTES, err);
    return 0;
}

static int cifar_open(void **out, int64_t *count, const char *folder, const DataWants *wants,
                      Error *err)
{
    static const char *const train[] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                        "data_batch_4.bin", "data_batch_5.bin", NULL};
    static const char *const validation[] = {"test_batch.bin", NULL};
    const char *const *names = wants->part == DATA_TRAIN ? train : validation;

    if (data_expect(wants, "cifar10", (Shape){CHANNELS, SIDE, SIDE}, CLASSES, err) != 0) return -1;
    Cifar *cifar = calloc(1, sizeof *cifar);
    if (!cifar) return error_no_memory(err);
    *out = cifar;
    cifar->wants = *wants;
    for (; *names; names++)
        if (add_file(cifar, folder, *names, err) != 0) return -1;
    *count = cifar->count;
    return 0;
}

static int read_sample(const File *file, int64_t sample, unsigned char bytes[SAMPLE_BYTES],
                       bool *damaged, Error *err)
{
    int got = 0;

    while (got < SAMPLE_BYTES) {
        ssize_t more = pread(file->fd, bytes + got, (size_t)(SAMPLE_BYTES - got),
                             (off_t)(sample * SAMPLE_BYTES + got));
        if (more < 0 && errno == EINTR) continue;
        if (more < 0)
            return error_set(err, "%s: cannot read sample %" PRId64 ": %s", file->path, sample,
                             strerror(errno));
        if (more == 0) break;
        got += (int)more;
    }
    *damaged = got < SAMPLE_BYTES || bytes[0] >= CLASSES;
    if (got < SAMPLE_BYTES) return cut_short(file, sample, got, err);
    if (bytes[0] >= CLASSES)
        return error_set(err, "%s: sample %" PRId64 " has the label %d, expected 0 to %d",
                         file->path, sample, bytes[0], CLASSES - 1);
    return 0;
}

/* The image moved by (dx, dy) and mirrored, channels last, normalised. */
static void place(const DataWants *wants, const unsigned char *planes, int dx, int dy, bool mirror,
                  float *out)
{
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            for (int c = 0; c < CHANNELS; c++, out++) {
                int  from_x = (mirror ? SIDE - 1 - x : x) + dx, from_y = y + dy;
                bool inside = from_x >= 0 && from_x < SIDE && from_y >= 0 && from_y < SIDE;
                int  value = inside ? planes[c * PLANE + from_y * SIDE + from_x] : 0;
                *out = data_normal(wants, c, (float)value / 255);
            }
}

static int cifar_load(void *state, int64_t i, uint64_t seed, int64_t epoch, float *out, int *label,
                      bool *damaged, Error *err)
{
    const Cifar  *cifar = state;
    const File   *file = cifar->file;
    unsigned char bytes[SAMPLE_BYTES];
    int           dx = 0, dy = 0;
    bool          mirror = false;

    while (i >= file->first + file->count) file++;
    if (read_sample(file, i - file->first, bytes, damaged, err) != 0) return -1;
    if (cifar->wants.augment) {
        mirror = data_draw(seed, epoch, i, DRAW_MIRROR) < 0.5;
        dx = (int)(data_draw(seed, epoch, i, DRAW_X) * (2 * PAD + 1)) - PAD;
        dy = (int)(data_draw(seed, epoch, i, DRAW_Y) * (2 * PAD + 1)) - PAD;
    }
    place(&cifar->wants, bytes + 1, dx, dy, mirror, out);
    *label = bytes[0];
    return 0;
}

static int cifar_hash(void *state, uint64_t *hash, Error *err)
{
    const Cifar *cifar = state;

    for (int i = 0; i < cifar->files; i++)
        if (data_hash_file(hash, cifar->file[i].fd, cifar->file[i].path, 0, INT64_MAX, err) != 0)
            return -1;
    return 0;
}

/* -1: it cannot be read, which loading says. */
static int cifar10_label(const void *state, int64_t i)
{
    const Cifar  *cifar = state;
    const File   *file = cifar->file;
    unsigned char bytes[SAMPLE_BYTES];
    bool          damaged;
    Error         ignored;

    while (i >= file->first + file->count) file++;
    return read_sample(file, i - file->first, bytes, &damaged, &ignored) == 0 ? bytes[0] : -1;
}

const DataSource DATA_CIFAR10 = {"cifar10", true, cifar_open, cifar_free, cifar_load,
                                 NULL,      NULL, true,       cifar_hash, cifar10_label};
