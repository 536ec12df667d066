/* What a stored boundary is bound to, as the notes of its file (docs/formats.md):
 *
 *     version       of pipebd, which may change how things are computed
 *     boundary      its number
 *     data          source and hash (data_hash())
 *     transforms    hash of what makes a sample's numbers: input shape, normalisation
 *     cuts          hash of the teacher's layers below it, block by block
 *     teacher       hash of the teacher's tensors below it, or the seed they are drawn from
 *     precision, backend */
#ifndef EXECUTOR_STORE_STORE_NOTES_H
#define EXECUTOR_STORE_STORE_NOTES_H

#include "executor/checkpoint/tensors.h"
#include "executor/data/data.h"
#include "executor/net/world.h"
#include "executor/store/stored_rows.h"
#include "kernels/device.h"
#include "schedule/program.h"

typedef struct Store Store;

#define STORE_HOST "host"    /* instead of a folder: memory */

typedef struct {
    const char       *place;             /* STORE_HOST, or a folder, made if its parent is there */
    World            *world;             /* NULL: this process alone */
    const Workload   *workload;
    const Data       *data;
    const DeviceSpec *devices;
    const Tensors    *teacher;           /* NULL: drawn from the seed */
    uint64_t          seed;
    const bool       *boundaries;        /* [blocks + 1]: those to be stored */
    const Program    *program;           /* that puts the rows, over several machines; NULL: any
                                          * device may */
    bool              bf16;              /* rows are rounded to bfloat16 (stored_rows.h), but
                                          * numbers of tokens */
    bool              later;             /* none is made before store_make() */
} StoreOptions;

enum { STORE_NOTES = 8 };

/* The notes of all boundaries, [blocks + 1][STORE_NOTES], yours: free() them. NULL: err says
 * why. */
StoreNote (*store_notes(const StoreOptions *options, Error *err))[STORE_NOTES];

#endif
