/* The store of a run: boundaries of the teacher, a file each in a folder, or in this machine's
 * memory.
 *
 *     DIR/boundary-2.safetensors           whole: all samples
 *     DIR/boundary-3.safetensors.partial   being written, or left by a run that ended before
 *
 * (executor/store/stored_rows.h). A boundary is bound to all that its rows depend on: data and its
 * transforms, the teacher's weights below it, its layers and where blocks are cut, precision,
 * backend and version. So any run that these are the same for takes it up: another student, another
 * learning rate, another plan.
 *
 * A run that must write locks the folder alone; runs that only read share it. Of several processes
 * rank 0 makes the files, and the others open them; over several machines the folder is one that
 * all see, which is checked, and rows that they make come together in store_settle()
 * (executor/store/store_hosts.c). In memory each machine keeps the rows that its devices make.
 * Memory ends with the run. */
#ifndef EXECUTOR_STORE_STORE_H
#define EXECUTOR_STORE_STORE_H

#include "executor/store/store_notes.h"

/* Every rank calls it. Takes up what is there and makes the rest, without rows, unless options say
 * later.
 * *out is yours: store_close() it. */
int  store_open(Store **out, const StoreOptions *options, Error *err);
void store_close(Store *store);

/* Why boundaries of this data cannot be stored, if they cannot. */
int store_check_data(const Data *data, Error *err);

/* NULL: it is not stored, or not made yet. Until store_settle() the rows that other machines put
 * meanwhile are missing. */
StoredRows *store_boundary(const Store *store, int boundary);

/* A row of a boundary that is made; one that is there stays as it is. From any thread. */
int store_put(Store *store, int boundary, int64_t sample, const float *row, Error *err);

/* Every rank calls it: a boundary of the options' is there from now on, without rows if it was
 * not. */
int store_make(Store *store, int boundary, Error *err);

/* Every rank calls it, when no device puts rows: all learn which rows there are, and what is whole
 * is finished. */
int store_settle(Store *store, Error *err);

/* Rows of a boundary that are not there, as all saw it at store_settle(); whether one is. */
int64_t store_missing(const Store *store, int boundary);
bool    store_has(const Store *store, int boundary, int64_t sample);

/* Memory of several machines: each has some of the rows. Number of the machine that has one, as all
 * saw it at store_settle(); this one's where it is in reach: of a folder, of one machine, or where
 * none has it. */
bool store_is_apart(const Store *store);
int  store_machine(const Store *store, int boundary, int64_t sample);

/* Every rank calls it: removes a boundary, whole or not. */
int store_drop(Store *store, int boundary, Error *err);

/* Bytes of this machine's memory that are free, or can be freed; -1: not known. */
int64_t store_memory_available(void);

/* Bytes of all boundaries. */
int64_t store_bytes(const Store *store);

#endif
