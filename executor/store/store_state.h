/* A store's own state, which the files that make it up share: executor/store/store.c, and of
 * several machines executor/store/store_hosts.c (a folder) and executor/store/store_where.c
 * (memory). */
#ifndef EXECUTOR_STORE_STORE_STATE_H
#define EXECUTOR_STORE_STORE_STATE_H

#include "executor/store/shared_folder.h"
#include "executor/store/store_notes.h"

struct Store {
    World       *world;
    char        *place;
    bool         memory;
    FolderLock   lock;               /* of a folder, at rank 0 */
    int          count;              /* boundaries of the workload */
    bool        *wanted;             /* [count] */
    StoredRows **rows;               /* [count]; NULL: not stored */
    StoredSpec  *spec;               /* [count] */
    char       **path;               /* [count]: of a folder, also the name in memory */
    StoreNote  (*notes)[STORE_NOTES];
    /* machines */
    int          hosts, host;        /* how many; this one's number */
    int          leader;             /* the first rank of this one */
    int         *makers;             /* [count]: machines whose devices put rows */
    int64_t     *puts;               /* [hosts][count]: rows a step of a machine's */
    int16_t    **where;              /* [count][samples], of memory of several machines: the first
                                      * that has the row, as all know; -1: none has. NULL: it is
                                      * not made */
    char       **own_path;           /* [count], of a folder: */
    StoredRows **own;                /* [count]: where this machine's devices put rows; NULL: into
                                      * rows */
};

/* Removes what a boundary's file of the path is called until it is whole, if it is there. */
int store_remove_partial(const char *path, Error *err);

/* ---- executor/store/store_where.c: memory of several machines ---- */

/* Every rank calls it: who has which rows, of all boundaries that are made. */
int store_where_settle(Store *store, Error *err);

/* ---- executor/store/store_hosts.c: a folder of several machines ---- */

/* Every rank calls it: who is where, and who puts what. */
int store_hosts_find(Store *store, const Program *program, Error *err);

/* stored_open() of a file that another machine may have made or renamed a moment ago. */
int store_hosts_join(const Store *store, const StoredSpec *spec, StoredMode mode, StoredRows **out,
                     Error *err);

/* At the rank that has made a boundary, or opened it to write: into its partial file, if it is one,
 * takes what machines of a run left that did not end, and removes it. */
int store_hosts_take_left(const Store *store, int boundary, Error *err);

/* Every rank calls them: files of the machines' own, for boundaries that are partial; what was put
 * comes together at rank 0, and what is whole is finished; what there is of a boundary is
 * removed. */
int store_hosts_open(Store *store, Error *err);
int store_hosts_settle(Store *store, Error *err);
int store_hosts_drop(Store *store, int boundary, Error *err);

#endif
