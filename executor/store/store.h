/* The store of a run: boundaries of the teacher, a file each in a folder, or in this machine's memory.
 *
 *     DIR/boundary-2.safetensors           whole: all samples
 *     DIR/boundary-3.safetensors.partial   being written, or left by a run that ended before
 *
 * (executor/store/stored_rows.h). A boundary is bound to all that its rows depend on: data and its transforms, the
 * teacher's weights below it, its layers and where blocks are cut, precision, backend and version. So any run that these
 * are the same for takes it up: another student, another learning rate, another plan.
 *
 * A run that must write locks the folder alone; runs that only read share it. Of several processes rank 0 makes the
 * files, and the others open them. Memory ends with the run. */
#ifndef EXECUTOR_STORE_STORE_H
#define EXECUTOR_STORE_STORE_H

#include "executor/store/store_notes.h"

typedef struct Store Store;

/* Every rank calls it. Takes up what is there and makes the rest, without rows. *out is yours: store_close() it. */
int  store_open(Store **out, const StoreOptions *options, Error *err);
void store_close(Store *store);

/* Why boundaries of this data cannot be stored, if they cannot. */
int store_check_data(const Data *data, Error *err);

/* NULL: it is not stored. */
StoredRows *store_boundary(const Store *store, int boundary);

/* Every rank calls it, when no device puts rows: what is whole by now is finished at rank 0, and *missing is how many rows of
 * all boundaries are not there. */
int store_settle(Store *store, int64_t *missing, Error *err);

/* Removes a boundary, whole or not. At rank 0 only; later calls see no such boundary there. */
int store_drop(Store *store, int boundary, Error *err);

/* Bytes of all boundaries. */
int64_t store_bytes(const Store *store);

#endif
