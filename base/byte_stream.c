#include "base/byte_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef HAVE_ZLIB
#include <zlib.h>
#endif

enum { UNPACK_BUFFER = 256 * 1024 };

struct ByteStream {
    const char *name;            /* borrowed */
    const char *memory;          /* with fd -1: what remains of it */
    size_t      remaining;
    int         fd;
    int64_t     offset, size;
#ifdef HAVE_ZLIB
    gzFile      gz;              /* reads plain files as they are */
    bool        cut_off;         /* a read said so: zlib 1.3.2 does not say it again, nor when it
                                  * closes */
#endif
};

static int start(ByteStream **out, const char *name, Error *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out) return error_no_memory(err);
    (*out)->name = name;
    (*out)->fd = -1;
    return 0;
}

int byte_stream_of_memory(ByteStream **out, const char *name, const char *bytes, size_t length,
                          Error *err)
{
    if (start(out, name, err) != 0) return -1;
    (*out)->memory = bytes;
    (*out)->remaining = length;
    (*out)->size = (int64_t)length;
    return 0;
}

/* Takes over fd, which byte_stream_close() closes whatever happens here. */
static int attach(ByteStream *s, Error *err)
{
#ifdef HAVE_ZLIB
    s->gz = gzdopen(s->fd, "rb");
    if (!s->gz || gzbuffer(s->gz, UNPACK_BUFFER) != 0) return error_no_memory(err);
#else
    (void)s;
    (void)err;
#endif
    return 0;
}

int byte_stream_open(ByteStream **out, const char *path, Error *err)
{
    bool        standard = strcmp(path, "-") == 0;
    struct stat info;

    if (start(out, standard ? "<stdin>" : path, err) != 0) return -1;
    ByteStream *s = *out;
    s->fd = standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0) error_set(err, "%s: cannot open: %s", s->name, strerror(errno));
    else if (fstat(s->fd, &info) != 0)
        error_set(err, "%s: cannot read: %s", s->name, strerror(errno));
    else if (S_ISDIR(info.st_mode)) error_set(err, "%s: is a directory, expected a file", s->name);
    else {
        s->size = S_ISREG(info.st_mode) ? (int64_t)info.st_size : 0;
        if (attach(s, err) == 0) return 0;
    }
    byte_stream_close(s);
    *out = NULL;
    return -1;
}

static size_t read_memory(ByteStream *s, char *bytes, size_t room)
{
    size_t got = s->remaining < room ? s->remaining : room;

    memcpy(bytes, s->memory, got);
    s->memory += got;
    s->remaining -= got;
    s->offset += (int64_t)got;
    return got;
}

#ifdef HAVE_ZLIB

static int read_file(ByteStream *s, char *bytes, size_t room, size_t *got, Error *err)
{
    int count = gzread(s->gz, bytes, room < (1u << 30) ? (unsigned)room : 1u << 30), code = Z_OK;

    if (count >= 0) {
        gzerror(s->gz, &code);
        if (code != Z_OK && code != Z_STREAM_END) s->cut_off = true;
        if (count == 0 && s->cut_off)
            return error_set(err, "%s: its gzip data are cut off, expected a whole file", s->name);
        *got = (size_t)count;
        s->offset = (int64_t)gzoffset(s->gz);
        return 0;
    }
    const char *why = gzerror(s->gz, &code);
    if (code == Z_ERRNO) return error_set(err, "%s: cannot read: %s", s->name, strerror(errno));
    return error_set(err, "%s: its gzip data are damaged: %s", s->name, why);
}

#else

static int read_file(ByteStream *s, char *bytes, size_t room, size_t *got, Error *err)
{
    bool    first = s->offset == 0;
    ssize_t count;

    do count = read(s->fd, bytes, room); while (count < 0 && errno == EINTR);
    if (count < 0) return error_set(err, "%s: cannot read: %s", s->name, strerror(errno));
    s->offset += count;
    *got = (size_t)count;
    if (first && count >= 2 && (unsigned char)bytes[0] == 0x1F && (unsigned char)bytes[1] == 0x8B)
        return error_set(err,
                         "%s: is gzip, which this build cannot read as it has no zlib: expected it "
                         "unpacked (gunzip)",
                         s->name);
    return 0;
}

#endif

int byte_stream_read(ByteStream *s, char *bytes, size_t room, size_t *got, Error *err)
{
    *got = 0;
    if (s->fd >= 0) return read_file(s, bytes, room, got, err);
    *got = read_memory(s, bytes, room);
    return 0;
}

const char *byte_stream_name(const ByteStream *s) { return s->name; }
int64_t     byte_stream_offset(const ByteStream *s) { return s->offset; }
int64_t     byte_stream_size(const ByteStream *s) { return s->size; }

void byte_stream_close(ByteStream *s)
{
    if (!s) return;
#ifdef HAVE_ZLIB
    if (s->gz) {
        gzclose(s->gz);
        s->fd = -1;
    }
#endif
    if (s->fd >= 0) close(s->fd);
    free(s);
}
