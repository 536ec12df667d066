/* The tensors of a model's folder, mapped into memory in the types that they have: one
 * model.safetensors, or the files that model.safetensors.index.json names. */
#ifndef EXECUTOR_IMPORT_SOURCES_H
#define EXECUTOR_IMPORT_SOURCES_H

#include <stdbool.h>
#include <stdint.h>

#include "executor/checkpoint/tensors.h"

typedef struct Sources Sources;

typedef struct {
    const char *name;        /* borrowed */
    const char *dtype;       /* "BF16" */
    int         element_bytes;           /* 0: not whole bytes */
    int         rank;
    int64_t     dim[TENSOR_MAX_RANK];
    int64_t     count;
    const void *bytes;       /* mapped */
    bool        used;        /* sources_find() gave it */
} SourceTensor;

/* Every file's header is checked as tensors_read() does. Names twice are refused. */
int  sources_open(Sources **out, const char *folder, Error *err);
int  sources_open_file(Sources **out, const char *path, Error *err);
void sources_free(Sources *sources);

/* NULL: there is none. Marks it as used. */
const SourceTensor *sources_find(Sources *sources, const char *name);

/* How many tensors there are, and one of them (i below that), without marking it. */
int                 sources_count(const Sources *sources);
const SourceTensor *sources_at(const Sources *sources, int i);

/* Whether path is one of the files. */
bool sources_are_in(const Sources *sources, const char *path);

#endif
