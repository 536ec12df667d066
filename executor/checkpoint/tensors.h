/* Named float32 tensors in memory, and as a safetensors file: what teachers' weights,
 * students and checkpoints are made of.
 *
 * A collection may be read by several threads at once; while one adds, nobody else may
 * touch it. */
#ifndef EXECUTOR_CHECKPOINT_TENSORS_H
#define EXECUTOR_CHECKPOINT_TENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

typedef struct Tensors Tensors;

enum { TENSOR_MAX_RANK = 8 };

typedef struct {
    const char *name;        /* "blocks.3.2.weight", PyTorch's state_dict of nested Sequential */
    int         rank;
    int64_t     dim[TENSOR_MAX_RANK];
    int64_t     count;
    float      *values;      /* [count], owned by the Tensors */
} Tensor;

/* An empty collection; *out is yours: tensors_free() it, and its tensors with it. */
int  tensors_new(Tensors **out, Error *err);
void tensors_free(Tensors *tensors);

/* Adds a tensor, zeroed; refuses a name twice. *out is borrowed, stays where it is; it may
 * be NULL. Rank 0 is one number; a dimension of 0 is no numbers. */
int tensors_add(Tensors *tensors, const char *name, int rank, const int64_t *dim, Tensor **out,
                Error *err);

/* Copies a tensor, or all tensors and notes of another collection: added where new, replaced
 * where there is one of the name, which must have the same shape. */
int tensors_put_one(Tensors *tensors, const Tensor *tensor, Error *err);
int tensors_put(Tensors *tensors, const Tensors *from, Error *err);

/* NULL when there is none. */
Tensor *tensors_find(const Tensors *tensors, const char *name);
int     tensors_count(const Tensors *tensors);
Tensor *tensors_at(const Tensors *tensors, int i);       /* in the order of adding, or of the
                                                          * file */

/* The file that they were read from, for errors; NULL: none. Copying tensors does not copy it. */
const char *tensors_path(const Tensors *tensors);
int         tensors_set_path(Tensors *tensors, const char *path, Error *err);

/* A tensor of a type that is not read: only its name and type are kept, for who asks for it. It is
 * not among the others, nor copied or written. dtype is borrowed. */
int         tensors_pass_over(Tensors *tensors, const char *name, const char *dtype, Error *err);
/* its type; NULL: none of that name */
const char *tensors_passed_over(const Tensors *tensors, const char *name);

/* Metadata: strings by key ("__metadata__" of the format). Setting a key again replaces
 * its value, and invalidates what tensors_note() gave for it. */
int         tensors_set_note(Tensors *tensors, const char *key, const char *value, Error *err);
const char *tensors_note(const Tensors *tensors, const char *key);       /* NULL: none */
int         tensors_note_count(const Tensors *tensors);
/* in the order of setting */
const char *tensors_note_key(const Tensors *tensors, int i);

/* safetensors (8 bytes length, JSON header, data, little endian). Reads F32, F16 and BF16
 * (widened), passes over the format's other types; names the tensor when an unknown type, a hole,
 * an overlap, or a truncated file is met. Values may be anything, infinities and NaN too. Writes
 * F32, atomically (base/file.h), the data at a multiple of 8 bytes.
 *
 * What is read is yours: tensors_free() it. Positions in errors are those of the header's text:
 * "path:1:57: ...". */
int tensors_read(Tensors **out, const char *path, Error *err);
int tensors_write(const Tensors *tensors, const char *path, Error *err);

/* The same with a checksum, FNV-1a (64 bit) over the whole file, as its first note "checksum":
 * 16 hexadecimal digits, taken as zeros for it. Reading refuses a damaged byte anywhere. (A
 * note of that name is the file's own, and is not written as one of the tensors'.) */
int tensors_read_sealed(Tensors **out, const char *path, Error *err);
int tensors_write_sealed(const Tensors *tensors, const char *path, Error *err);

/* The same as tensors_read() from memory; name stands for the path. And what is read so. */
int tensors_parse(Tensors **out, const char *name, const void *bytes, size_t length, Error *err);
int tensors_bytes(const Tensors *tensors, Text *out, Error *err);

/* A tensor of a file that lies in memory, of any of the format's types. */
typedef struct {
    const char *name, *dtype;            /* "BF16"; both borrowed for the call, dtype for ever */
    int         bits;        /* of an element */
    int         rank;
    int64_t     dim[TENSOR_MAX_RANK];
    const void *bytes;       /* in the file's memory */
} TensorPlace;

/* The header alone: calls visit for every tensor, in the order of the data. What visit returns
 * other than 0 ends it, and is returned. name stands for the path in messages. */
typedef int TensorVisit(void *context, const TensorPlace *place, Error *err);
int         tensors_places(const char *name, const void *bytes, size_t length, TensorVisit *visit,
                           void *context, Error *err);

#endif
