/* The rows of one boundary, of all samples, kept in a file or in memory:
 *
 *     PATH            a safetensors file, which PyTorch reads as it is (docs/formats.md)
 *     8 bytes         length of the header
 *     header          JSON, with notes that say what the rows were made from; blanks at its end
 *     checksums       I64 [samples]: of each row (hash_words()); 0: the row is not there yet
 *     rows            F32 or BF16 [samples][height][width][channels], at a multiple of 4 KiB
 *
 * Invariants:
 *   1. While rows are missing the file is called PATH.partial; it is renamed once, when all are
 *      there and on the disk. Between the two there is no other difference, so the checksums are
 *      the map of rows.
 *   2. A row's checksum is written after the row: a process that is killed leaves whole rows, and
 *      others that count as missing.
 *   3. Header and size follow from the spec alone: a file of another header was made from something
 *      else, and is refused.
 *   4. Its space is taken when it is made: a disk that is too small is an error before anything is
 *      computed.
 *
 * Who puts and gets rows has float32. BF16 rows are rounded to the nearest, ties to even, as they
 * are put; checksums are those of the bytes in the file.
 *
 * A machine that loses power may keep a checksum and lose its row: the rows of a partial file are
 * looked at before they are taken up. */
#ifndef EXECUTOR_STORE_STORED_ROWS_H
#define EXECUTOR_STORE_STORED_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "workloads/workload.h"

typedef struct StoredRows StoredRows;

/* What the rows were made from. */
enum { STORE_NOTE_BYTES = 128 };
typedef struct {
    const char *key;         /* in the file: "teacher" */
    const char *what;        /* in messages: "another teacher" */
    char        value[STORE_NOTE_BYTES];
} StoreNote;

typedef struct {
    const char      *path;   /* NULL: in memory, and name is what messages call it */
    const char      *name;
    int64_t          samples;
    Shape            row;
    bool             bf16;   /* rows are rounded to bfloat16; else they are float32 */
    const StoreNote *notes;
    int              note_count;
} StoredSpec;

/* Bytes of a file of this spec, its header included. */
int64_t stored_size(const StoredSpec *spec);

typedef enum {
    STORED_READ,             /* a whole file; *out is NULL, and that is no error, where there is
                              * none */
    STORED_MAKE,             /* a whole file; else a partial one is taken up, or made. Nobody else
                              * may have it open */
    STORED_JOIN              /* what another process has made, whole or partial */
} StoredMode;

/* *out is yours: stored_close() it. In memory: STORED_MAKE only; other processes join by
 * stored_join(). */
int  stored_open(StoredRows **out, const StoredSpec *spec, StoredMode mode, Error *err);
void stored_close(StoredRows *rows);

/* Memory of another process of this machine and user: pid and number as its stored_descriptor()
 * says. stored_close() *out. */
int  stored_join(StoredRows **out, const StoredSpec *spec, int64_t pid, int descriptor, Error *err);
int  stored_descriptor(const StoredRows *rows);

const char *stored_name(const StoredRows *rows);         /* in messages */
int64_t stored_missing(const StoredRows *rows);          /* rows; those that other processes have
                                                          * put meanwhile are missing here */
int64_t stored_damaged(const StoredRows *rows);          /* of a partial file that was taken up: are
                                                          * made again */
/* From any thread. */
bool    stored_has(const StoredRows *rows, int64_t sample);

/* A row; one that is there stays as it is. From any thread, also the same row. */
int  stored_put(StoredRows *rows, int64_t sample, const float *row, Error *err);

/* A row that is there, checked. From any thread. */
int  stored_get(const StoredRows *rows, int64_t sample, float *row, Error *err);

/* The row will be asked for soon: begins to read it where it is on a disk, and returns at once. */
void stored_expect(const StoredRows *rows, int64_t sample);

/* To measure: puts a file out of the page cache, where the file system lets it; removes it. */
int  stored_forget(StoredRows *rows, Error *err);
void stored_remove(StoredRows *rows);

/* Finds out which rows other processes have put. No other thread may use rows meanwhile. */
int  stored_refresh(StoredRows *rows, Error *err);

/* What was put is on the disk. Nothing in memory. */
int  stored_sync(const StoredRows *rows, Error *err);

/* Puts what another file of the same spec has and rows has not; what is damaged there is missing
 * here. */
int  stored_take(StoredRows *rows, const StoredRows *from, Error *err);

/* Whether it has the name of a partial file. */
bool stored_is_partial(const StoredRows *rows);

/* Makes a partial file whole on the disk, and renames it; all rows are there (stored_refresh()).
 * Nothing in memory, and of one that is whole. */
int  stored_finish(StoredRows *rows, Error *err);

#endif
