#include "executor/store/stored_rows.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bfloat16.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/text.h"

enum { LENGTH_BYTES = 8, ALIGNMENT = 4096 };

struct StoredRows {
    char            *path;               /* in memory: what messages call it */
    bool             memory;
    char            *partial;            /* what the file is called now; NULL: it is whole, or in
                                          * memory */
    int              fd;
    const char      *mapped;             /* [mapped_bytes] of what is in memory, to be read; NULL:
                                          * it is read as a file */
    size_t           mapped_bytes;
    int64_t          samples, damaged;
    size_t           row_bytes, values;          /* of a row, in the file */
    bool             bf16;
    int64_t          sums_at, rows_at;   /* offsets */
    _Atomic uint64_t *sum;               /* [samples], as in the file */
};

const char *stored_name(const StoredRows *rows)
{
    return rows->partial ? rows->partial : rows->path;
}

/* ---- bytes ----------------------------------------------------------------------- */

static int failed(const char *name, const char *what, int why, Error *err)
{
    return error_set(err, "%s: cannot %s: %s", name, what, strerror(why));
}

static int write_at(const StoredRows *rows, const void *bytes, size_t count, int64_t at, Error *err)
{
    const char *from = bytes;

    while (count > 0) {
        ssize_t put = pwrite(rows->fd, from, count, (off_t)at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return failed(stored_name(rows), "write", errno, err);
        from += put;
        at += put;
        count -= (size_t)put;
    }
    return 0;
}

static int read_at(const StoredRows *rows, void *bytes, size_t count, int64_t at, Error *err)
{
    char *to = bytes;

    while (count > 0) {
        ssize_t got = pread(rows->fd, to, count, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return failed(stored_name(rows), "read", errno, err);
        if (got == 0) return error_set(err, "%s: is cut short", stored_name(rows));
        to += got;
        at += got;
        count -= (size_t)got;
    }
    return 0;
}

/* ---- the header -------------------------------------------------------------------- */

static int64_t row_bytes(const StoredSpec *spec)
{
    return shape_count(spec->row) * (int64_t)(spec->bf16 ? sizeof(uint16_t) : sizeof(float));
}

static const char *dtype_of(bool bf16) { return bf16 ? "BF16" : "F32"; }

/* Length and header, so long that the rows behind the checksums are aligned. */
static void write_header(Text *out, const StoredSpec *spec)
{
    int64_t sums = spec->samples * (int64_t)sizeof(uint64_t);

    text_append_bytes(out, (const char[LENGTH_BYTES]){0}, LENGTH_BYTES);
    text_append(out, "{\"__metadata__\":{\"format\":\"pipebd-boundary\"");
    for (int i = 0; i < spec->note_count; i++) {
        text_printf(out, ",\"%s\":", spec->notes[i].key);
        text_json_string(out, spec->notes[i].value);
    }
    text_printf(out,
                "},\"checksums\":{\"dtype\":\"I64\",\"shape\":[%" PRId64
                "],\"data_offsets\":[0,%" PRId64 "]},"
                "\"rows\":{\"dtype\":\"%s\",\"shape\":[%" PRId64
                ",%d,%d,%d],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}}",
                spec->samples, sums, dtype_of(spec->bf16), spec->samples, spec->row.height,
                spec->row.width, spec->row.channels, sums, sums + spec->samples * row_bytes(spec));
    while (((int64_t)out->length + sums) % ALIGNMENT != 0 && !text_failed(out))
        text_append(out, " ");
    if (text_failed(out)) return;
    uint64_t length = out->length - LENGTH_BYTES;
    memcpy(out->bytes, &length, sizeof length);
}

static int64_t size_behind(const StoredSpec *spec, size_t header)
{
    return (int64_t)header + spec->samples * ((int64_t)sizeof(uint64_t) + row_bytes(spec));
}

int64_t stored_size(const StoredSpec *spec)
{
    Text header = {0};

    write_header(&header, spec);
    int64_t size = size_behind(spec, header.length);
    text_free(&header);
    return size;
}

/* The precision of the rows, or else the first note of a header that is there and not as expected,
 * into why; false: none, so it differs elsewhere. */
static bool find_difference(const JsonAt *root, const StoredSpec *spec, const char *name,
                            Error *err)
{
    JsonAt      notes = json_member(root, "__metadata__");
    JsonAt      rows = json_member(root, "rows"), dtype = json_member(&rows, "dtype");
    const char *found;
    char        shown[JSON_SHOWN_BYTES];

    if (json_has(&dtype) && json_get_string(&dtype, &found, err) == 0
        && strcmp(found, dtype_of(spec->bf16)) != 0) {
        error_set(err,
                  "%s: has rows in %s, expected %s (--store-precision); give another folder, or "
                  "remove the file",
                  name, json_shown(shown, found), dtype_of(spec->bf16));
        return true;
    }
    for (int i = 0; i < spec->note_count; i++) {
        const StoreNote *note = &spec->notes[i];
        JsonAt           at = json_member(&notes, note->key);
        if (!json_has(&at) || json_get_string(&at, &found, err) != 0
            || strcmp(found, note->value) == 0)
            continue;
        error_set(err,
                  "%s: was made with %s: it says %s \"%s\", expected \"%s\"; give another folder, "
                  "or remove the file",
                  name, note->what, note->key, json_shown(shown, found), note->value);
        return true;
    }
    return false;
}

/* The header there is not the one expected: says why. */
static int refuse_header(const StoredRows *rows, const StoredSpec *spec, const char *header,
                         size_t length, Error *err)
{
    Json *doc = NULL;
    bool  told = false;

    if (length > LENGTH_BYTES && header[LENGTH_BYTES] == '{'
        && json_doc_parse(&doc, stored_name(rows), header + LENGTH_BYTES, length - LENGTH_BYTES,
                          err)
               == 0) {
        JsonAt      root = json_root(doc), notes = json_member(&root, "__metadata__"),
                    format = json_member(&notes, "format");
        const char *found;
        if (json_has(&format) && json_get_string(&format, &found, err) == 0
            && strcmp(found, "pipebd-boundary") == 0)
            told = find_difference(&root, spec, stored_name(rows), err);
    }
    json_doc_free(doc);
    return told ? -1
                : error_set(err,
                            "%s: is no stored boundary of this workload: its header is another "
                            "than expected; give "
                            "another folder, or remove the file",
                            stored_name(rows));
}

/* Compares what is there with the header expected. *begun false: the file was never begun, or holds
 * no row. */
static int check_header(const StoredRows *rows, const StoredSpec *spec, const Text *header,
                        bool *begun, Error *err)
{
    struct stat info;
    uint64_t    length = 0;
    char       *found;
    int         rc = -1;

    *begun = false;
    if (fstat(rows->fd, &info) != 0) return failed(stored_name(rows), "read", errno, err);
    if (info.st_size < (off_t)LENGTH_BYTES) return 0;
    if (read_at(rows, &length, sizeof length, 0, err) != 0) return -1;
    if (length == 0) return 0;
    *begun = true;
    uint64_t most = (uint64_t)info.st_size - LENGTH_BYTES;
    size_t   there = LENGTH_BYTES + (size_t)(length < most ? length : most);
    if (there > (size_t)1 << 24) there = (size_t)1 << 24;
    found = malloc(there);
    if (!found) return error_no_memory(err);
    if (read_at(rows, found, there, 0, err) != 0) goto done;
    if (there != header->length || memcmp(found, header->bytes, there) != 0) {
        refuse_header(rows, spec, found, there, err);
        goto done;
    }
    if (info.st_size != (off_t)size_behind(spec, header->length)) {
        error_set(err,
                  "%s: is cut short, or longer than its header says; remove the file, and it is "
                  "made again",
                  stored_name(rows));
        goto done;
    }
    rc = 0;
done:
    free(found);
    return rc;
}

/* ---- opening ------------------------------------------------------------------------ */

static StoredRows *rows_new(const StoredSpec *spec, Error *err)
{
    StoredRows *rows = calloc(1, sizeof *rows);

    if (!rows) { error_no_memory(err); return NULL; }
    rows->fd = -1;
    rows->samples = spec->samples;
    rows->row_bytes = (size_t)row_bytes(spec);
    rows->values = (size_t)shape_count(spec->row);
    rows->bf16 = spec->bf16;
    rows->sum = calloc((size_t)spec->samples, sizeof *rows->sum);
    rows->memory = !spec->path;
    rows->path = strdup(spec->path ? spec->path : spec->name);
    if (rows->sum && rows->path) return rows;
    error_no_memory(err);
    stored_close(rows);
    return NULL;
}

void stored_close(StoredRows *rows)
{
    if (!rows) return;
    if (rows->mapped) munmap((void *)(uintptr_t)rows->mapped, rows->mapped_bytes);
    if (rows->fd >= 0) close(rows->fd);
    free(rows->path);
    free(rows->partial);
    free(rows->sum);
    free(rows);
}

/* Takes the space, and writes the header last: one without was never begun. */
static int begin_file(StoredRows *rows, const StoredSpec *spec, const Text *header, Error *err)
{
    int64_t size = size_behind(spec, header->length);
    int why = ftruncate(rows->fd, 0) != 0 || (rows->memory && ftruncate(rows->fd, (off_t)size) != 0)
                  ? errno
                  : 0;

    if (why == 0 && !rows->memory) why = posix_fallocate(rows->fd, 0, (off_t)size);
    if (why != 0)
        return error_set(err, "%s: cannot take %.3g MiB for %" PRId64 " rows: %s",
                         stored_name(rows), (double)size / 0x1p20, spec->samples, strerror(why));
    return write_at(rows, header->bytes, header->length, 0, err);
}

int64_t stored_missing(const StoredRows *rows)
{
    int64_t missing = 0;

    for (int64_t i = 0; i < rows->samples; i++) missing += !stored_has(rows, i);
    return missing;
}

int stored_refresh(StoredRows *rows, Error *err)
{
    return read_at(rows, rows->sum, (size_t)rows->samples * sizeof *rows->sum, rows->sums_at, err);
}

/* Rows of a partial file that its checksums do not fit are missing. */
static int look_at_rows(StoredRows *rows, Error *err)
{
    static const uint64_t no_sum = 0;
    float                *row = malloc(rows->values * sizeof *row);
    int                   rc = row ? 0 : error_no_memory(err);

    for (int64_t i = 0; rc == 0 && i < rows->samples; i++) {
        if (!stored_has(rows, i) || stored_get(rows, i, row, NULL) == 0) continue;
        rows->damaged++;
        rows->sum[i] = 0;
        rc = write_at(rows, &no_sum, sizeof no_sum, rows->sums_at + i * (int64_t)sizeof(uint64_t),
                      err);
    }
    free(row);
    return rc;
}

static int whole_file(StoredRows *rows, const StoredSpec *spec, const Text *header, Error *err)
{
    bool begun;

    if (check_header(rows, spec, header, &begun, err) != 0) return -1;
    if (!begun)
        return error_set(err, "%s: is empty; remove the file, and it is made again",
                         stored_name(rows));
    if (stored_refresh(rows, err) != 0) return -1;
    if (stored_missing(rows) == 0) return 0;
    return error_set(
        err, "%s: has no checksum for %" PRId64 " rows; remove the file, and it is made again",
        stored_name(rows), stored_missing(rows));
}

static int partial_file(StoredRows *rows, const StoredSpec *spec, const Text *header, bool make,
                        Error *err)
{
    bool begun;

    if (check_header(rows, spec, header, &begun, err) != 0) return -1;
    if (!begun && !make) return error_set(err, "%s: is empty", stored_name(rows));
    if (!begun) {
        int rc = begin_file(rows, spec, header, err);
        if (rc != 0) unlink(rows->partial);              /* gives the space back */
        return rc;
    }
    if (stored_refresh(rows, err) != 0) return -1;
    return make ? look_at_rows(rows, err) : 0;
}

/* *there false: no such file, and it is not to be made. */
static int open_path(StoredRows *rows, const char *path, int flags, bool *there, Error *err)
{
    struct stat info;

    *there = true;
    /* a pipe is not waited for */
    rows->fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0666);
    if (rows->fd < 0 && errno == ENOENT) { *there = false; return 0; }
    if (rows->fd < 0) return failed(path, "open", errno, err);
    if (fstat(rows->fd, &info) == 0 && !S_ISREG(info.st_mode))
        return error_set(err, "%s: is no regular file", path);
    return 0;
}

/* *there false: STORED_READ, and there is no whole file. */
static int open_file(StoredRows *rows, const StoredSpec *spec, const Text *header, StoredMode mode,
                     bool *there, Error *err)
{
    if (open_path(rows, rows->path, O_RDONLY, there, err) != 0) return -1;
    if (*there) return whole_file(rows, spec, header, err);
    if (mode == STORED_READ) return 0;
    if (asprintf(&rows->partial, "%s.partial", rows->path) < 0) {
        rows->partial = NULL;
        return error_no_memory(err);
    }
    if (open_path(rows, rows->partial, mode == STORED_MAKE ? O_RDWR | O_CREAT : O_RDWR, there, err)
        != 0)
        return -1;
    if (!*there) return failed(stored_name(rows), "open", ENOENT, err);
    return partial_file(rows, spec, header, mode == STORED_MAKE, err);
}

/* Memory is read where it is: a call of the system a row would take longer than copying it. */
static void map_memory(StoredRows *rows, const StoredSpec *spec, const Text *header)
{
    size_t bytes = (size_t)size_behind(spec, header->length);
    void  *at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, rows->fd, 0);

    if (at == MAP_FAILED) return;
    rows->mapped = at;
    rows->mapped_bytes = bytes;
}

static int open_memory(StoredRows *rows, const StoredSpec *spec, const Text *header, Error *err)
{
    rows->fd = memfd_create("pipebd-boundary", MFD_CLOEXEC);
    if (rows->fd < 0) return failed(stored_name(rows), "make", errno, err);
    if (begin_file(rows, spec, header, err) != 0) return -1;
    map_memory(rows, spec, header);
    return 0;
}

/* A store of the spec that nothing is opened for, and the header that belongs to it. NULL: err says
 * why. */
static StoredRows *start(const StoredSpec *spec, Text *header, Error *err)
{
    StoredRows *rows = rows_new(spec, err);

    if (!rows) return NULL;
    write_header(header, spec);
    rows->sums_at = (int64_t)header->length;
    rows->rows_at = rows->sums_at + spec->samples * (int64_t)sizeof(uint64_t);
    if (!text_failed(header)) return rows;
    error_no_memory(err);
    stored_close(rows);
    return NULL;
}

/* Hands rows over where rc is 0 and they are there. */
static int end(StoredRows **out, StoredRows *rows, Text *header, bool there, int rc)
{
    text_free(header);
    *out = rc == 0 && there ? rows : NULL;
    if (!*out) stored_close(rows);
    return rc;
}

int stored_open(StoredRows **out, const StoredSpec *spec, StoredMode mode, Error *err)
{
    Text        header = {0};
    StoredRows *rows = start(spec, &header, err);
    bool        there = true;
    int         rc = -1;

    if (rows)
        rc = rows->memory ? open_memory(rows, spec, &header, err)
                          : open_file(rows, spec, &header, mode, &there, err);
    return end(out, rows, &header, there, rc);
}

/* What another process has in memory, by its descriptor. */
static int open_shared(StoredRows *rows, const StoredSpec *spec, const Text *header, int64_t pid,
                       int descriptor, Error *err)
{
    char path[64];
    bool begun;

    snprintf(path, sizeof path, "/proc/%" PRId64 "/fd/%d", pid, descriptor);
    rows->fd = open(path, O_RDWR | O_CLOEXEC);
    if (rows->fd < 0)
        return error_set(err, "%s: cannot open the memory of process %" PRId64 ": %s",
                         stored_name(rows), pid, strerror(errno));
    if (check_header(rows, spec, header, &begun, err) != 0 || stored_refresh(rows, err) != 0)
        return -1;
    map_memory(rows, spec, header);
    return 0;
}

int stored_join(StoredRows **out, const StoredSpec *spec, int64_t pid, int descriptor, Error *err)
{
    Text        header = {0};
    StoredRows *rows = start(spec, &header, err);

    return end(out, rows, &header, true,
               rows ? open_shared(rows, spec, &header, pid, descriptor, err) : -1);
}

/* ---- rows ----------------------------------------------------------------------------- */

int     stored_descriptor(const StoredRows *rows) { return rows->fd; }
int64_t stored_damaged(const StoredRows *rows) { return rows->damaged; }

bool stored_has(const StoredRows *rows, int64_t sample)
{
    return atomic_load_explicit(&rows->sum[sample], memory_order_acquire) != 0;
}

/* Never 0, which is no row. */
static uint64_t checksum(const StoredRows *rows, const void *row)
{
    uint64_t sum = hash_words(row, rows->row_bytes);

    return sum ? sum : 1;
}

/* Where a row in the file's precision lies in a row of floats: at its end, so that its values can
 * be widened in place, the first one first. */
static void *narrow_place(const StoredRows *rows, float *row)
{
    return (char *)row + (rows->values * sizeof *row - rows->row_bytes);
}

static void widen(const StoredRows *rows, float *row)
{
    const char *narrow = narrow_place(rows, row);

    for (size_t i = 0; rows->bf16 && i < rows->values; i++) {
        uint16_t half;
        memcpy(&half, narrow + i * sizeof half, sizeof half);
        row[i] = bfloat16_widen(half);
    }
}

/* Bytes as they are in the file, then their checksum. */
static int put_bytes(StoredRows *rows, int64_t sample, const void *bytes, Error *err)
{
    uint64_t sum = checksum(rows, bytes);

    if (write_at(rows, bytes, rows->row_bytes, rows->rows_at + sample * (int64_t)rows->row_bytes,
                 err)
            != 0
        || write_at(rows, &sum, sizeof sum, rows->sums_at + sample * (int64_t)sizeof sum, err) != 0)
        return -1;
    atomic_store_explicit(&rows->sum[sample], sum, memory_order_release);
    return 0;
}

int stored_put(StoredRows *rows, int64_t sample, const float *row, Error *err)
{
    if (stored_has(rows, sample)) return 0;
    if (!rows->bf16) return put_bytes(rows, sample, row, err);
    uint16_t *narrow = malloc(rows->row_bytes);
    if (!narrow) return error_no_memory(err);
    for (size_t i = 0; i < rows->values; i++) narrow[i] = bfloat16_round(row[i]);
    int rc = put_bytes(rows, sample, narrow, err);
    free(narrow);
    return rc;
}

int stored_get(const StoredRows *rows, int64_t sample, float *row, Error *err)
{
    int64_t at = rows->rows_at + sample * (int64_t)rows->row_bytes;
    void   *bytes = narrow_place(rows, row);

    if (rows->mapped) memcpy(bytes, rows->mapped + at, rows->row_bytes);
    else if (read_at(rows, bytes, rows->row_bytes, at, err) != 0) return -1;
    if (checksum(rows, bytes) == atomic_load_explicit(&rows->sum[sample], memory_order_acquire)) {
        widen(rows, row);
        return 0;
    }
    return error_set(
        err,
        "%s: row %" PRId64
        " is damaged, its checksum is not that of its bytes; remove the file, and it is made "
        "again",
        stored_name(rows), sample);
}

void stored_expect(const StoredRows *rows, int64_t sample)
{
    if (!rows->memory)
        posix_fadvise(rows->fd, (off_t)(rows->rows_at + sample * (int64_t)rows->row_bytes),
                      (off_t)rows->row_bytes, POSIX_FADV_WILLNEED);
}

int stored_forget(StoredRows *rows, Error *err)
{
    if (rows->memory) return 0;
    if (stored_sync(rows, err) != 0) return -1;
    posix_fadvise(rows->fd, 0, 0, POSIX_FADV_DONTNEED);
    return 0;
}

void stored_remove(StoredRows *rows)
{
    if (!rows->memory) unlink(stored_name(rows));
}

bool stored_is_partial(const StoredRows *rows) { return rows->partial != NULL; }

int stored_sync(const StoredRows *rows, Error *err)
{
    if (rows->memory || fsync(rows->fd) == 0) return 0;
    return failed(stored_name(rows), "write", errno, err);
}

int stored_take(StoredRows *rows, const StoredRows *from, Error *err)
{
    void *bytes = malloc(rows->row_bytes);
    int   rc = bytes ? 0 : error_no_memory(err);

    for (int64_t i = 0; rc == 0 && i < rows->samples; i++) {
        if (stored_has(rows, i) || !stored_has(from, i)) continue;
        rc = read_at(from, bytes, rows->row_bytes, from->rows_at + i * (int64_t)rows->row_bytes,
                     err);
        if (rc == 0 && checksum(rows, bytes) == atomic_load(&from->sum[i]))
            rc = put_bytes(rows, i, bytes, err);
    }
    free(bytes);
    return rc;
}

int stored_finish(StoredRows *rows, Error *err)
{
    if (!rows->partial) return 0;
    if (stored_sync(rows, err) != 0) return -1;
    if (rename(rows->partial, rows->path) != 0)
        return failed(stored_name(rows), "rename", errno, err);
    file_sync_folder(rows->path);
    free(rows->partial);
    rows->partial = NULL;
    return 0;
}
