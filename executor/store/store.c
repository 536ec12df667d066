#include "executor/store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "executor/store/store_state.h"
#include "workloads/head.h"

int store_check_data(const Data *data, Error *err)
{
    if (!data_augments(data)) return 0;
    return error_set(err, "boundaries cannot be stored: samples are augmented, so they differ from "
                          "epoch to epoch; \"augment\": false "
                          "in the workload turns that off");
}

/* ---- memory of the machine ------------------------------------------------------------ */

int64_t store_memory_available(void)
{
    FILE     *f = fopen("/proc/meminfo", "r");
    char      line[128];
    long long kib = -1;

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lld kB", &kib) == 1) break;
    if (f) fclose(f);
    return kib < 0 ? -1 : (int64_t)kib * 1024;
}

/* What this machine keeps of a boundary: all, or the rows that its devices make. Rows of less than
 * a page are among others' in theirs. */
static int64_t memory_of(const Store *store, int k)
{
    enum { PAGE = 4096 };
    int64_t mine = store->puts[store->host * store->count + k], all = 0,
            bytes = stored_size(&store->spec[k]);

    for (int h = 0; h < store->hosts; h++) all += store->puts[h * store->count + k];
    if (all == 0 || (mine > 0 && bytes / store->spec[k].samples < 2 * PAGE)) return bytes;
    return (int64_t)((double)bytes * (double)mine / (double)all);
}

static int check_memory(int64_t need, Error *err)
{
    int64_t have = store_memory_available();

    if (have < 0 || need <= have) return 0;
    return error_set(
        err,
        "--store host: boundaries take %.3g GiB, and %.3g GiB of memory are free; give a folder",
        (double)need / 0x1p30, (double)have / 0x1p30);
}

/* ---- the folder ------------------------------------------------------------------------ */

/* Opens what the mode finds of boundaries that are not open; *missing: some are still not. */
static int open_rows(Store *store, StoredMode mode, bool *missing, Error *err)
{
    *missing = false;
    for (int k = 0; k < store->count; k++) {
        if (!store->wanted[k] || store->rows[k]) continue;
        if (stored_open(&store->rows[k], &store->spec[k], mode, err) != 0) return -1;
        if (mode == STORED_MAKE && store_hosts_take_left(store, k, err) != 0) return -1;
        *missing = *missing || !store->rows[k];
    }
    return 0;
}

/* Whole boundaries are read together with other runs; who makes one is alone. */
static int open_files(Store *store, bool later, Error *err)
{
    bool missing;

    if (folder_lock_open(&store->lock, store->place, err) != 0
        || folder_lock(&store->lock, false, "another run writes boundaries here", err) != 0
        || open_rows(store, STORED_READ, &missing, err) != 0)
        return -1;
    if (!missing) return 0;
    if (folder_lock(&store->lock, true, "another run uses the boundaries here", err) != 0)
        return -1;
    return later ? 0 : open_rows(store, STORED_MAKE, &missing, err);
}

static int open_first(Store *store, bool later, Error *err)
{
    int64_t bytes = 0;
    bool    missing;

    if (!store->memory) return open_files(store, later, err);
    if (later) return 0;
    for (int k = 0; k < store->count; k++)
        if (store->wanted[k]) bytes += memory_of(store, k);
    return check_memory(bytes, err) == 0 ? open_rows(store, STORED_MAKE, &missing, err) : -1;
}

/* ---- several processes ------------------------------------------------------------------- */

/* The rank whose files or memory others here open. */
static int opener(const Store *store) { return store->memory ? store->leader : 0; }

static bool opens(const Store *store) { return world_rank(store->world) == opener(store); }

/* What the opener has of a boundary, of whichever mode. */
static int join_boundary(Store *store, int k, int64_t pid, int64_t descriptor, Error *err)
{
    if (descriptor < 0 || store->rows[k]) return 0;
    if (store->memory)
        return stored_join(&store->rows[k], &store->spec[k], pid, (int)descriptor, err);
    return store_hosts_join(store, &store->spec[k], STORED_JOIN, &store->rows[k], err);
}

/* After the openers have opened boundaries; their rc comes in. Each says its process, and
 * descriptors of boundaries. */
static int join(Store *store, int rc, Error *err)
{
    size_t   each = (size_t)store->count + 1;
    int64_t *mine = calloc(each, sizeof *mine),
            *all = calloc(each * (size_t)world_size(store->world), sizeof *all);

    if (rc == 0 && (!mine || !all)) rc = error_no_memory(err);
    rc = world_agree(store->world, rc, err);
    if (rc != 0) goto done;
    mine[0] = getpid();
    for (int k = 0; k < store->count; k++)
        mine[k + 1] = store->rows[k] ? stored_descriptor(store->rows[k]) : -1;
    rc = world_gather_all(store->world, all, mine, each * sizeof *mine, err);
    const int64_t *theirs = all + each * (size_t)opener(store);
    for (int k = 0; rc == 0 && !opens(store) && k < store->count; k++)
        rc = join_boundary(store, k, theirs[0], theirs[k + 1], err);
    rc = world_agree(store->world, rc, err);
    if (rc == 0) rc = store_hosts_open(store, err);
done:
    free(mine);
    free(all);
    return rc;
}

/* ---- opening and closing ------------------------------------------------------------------ */

static int set_specs(Store *store, const StoreOptions *o, Error *err)
{
    for (int k = 0; k < store->count; k++) {
        const Workload *w = o->workload;
        int length = store->memory
                         ? asprintf(&store->path[k], "boundary %d in memory", k)
                         : asprintf(&store->path[k], "%s/boundary-%d.safetensors", store->place, k);
        if (length < 0) { store->path[k] = NULL; return error_no_memory(err); }
        store->spec[k] = (StoredSpec){.path = store->memory ? NULL : store->path[k],
                                      .name = store->path[k], .samples = data_count(o->data),
                                      .row = workload_boundary(w, k),
                                      .bf16 = o->bf16 && !(k == 0 && w->vocabulary > 0),
                                      .notes = store->notes[k], .note_count = STORE_NOTES};
    }
    return 0;
}

/* An empty store for the boundaries that are wanted. NULL on errors; store_close() it. */
static Store *store_new(const StoreOptions *o, Error *err)
{
    Store *store = calloc(1, sizeof *store);
    size_t count = (size_t)o->workload->block_count + 1;

    if (!store) { error_no_memory(err); return NULL; }
    store->world = o->world;
    store->lock.fd = -1;
    store->count = (int)count;
    store->memory = strcmp(o->place, STORE_HOST) == 0;
    store->place = strdup(o->place);
    store->wanted = calloc(count, sizeof *store->wanted);
    store->rows = calloc(count, sizeof *store->rows);
    store->spec = calloc(count, sizeof *store->spec);
    store->path = calloc(count, sizeof *store->path);
    if (!store->place || !store->wanted || !store->rows || !store->spec || !store->path) {
        error_no_memory(err);
        goto fail;
    }
    memcpy(store->wanted, o->boundaries, count * sizeof *store->wanted);
    store->notes = store_notes(o, err);
    if (store->notes && set_specs(store, o, err) == 0) return store;
fail:
    store_close(store);
    return NULL;
}

void store_close(Store *store)
{
    if (!store) return;
    for (int k = 0; k < store->count; k++) {
        if (store->rows) stored_close(store->rows[k]);
        if (store->own) stored_close(store->own[k]);
        if (store->path) free(store->path[k]);
        if (store->own_path) free(store->own_path[k]);
        if (store->where) free(store->where[k]);
    }
    folder_lock_close(&store->lock);
    free(store->makers);
    free(store->puts);
    free(store->where);
    free(store->own);
    free(store->own_path);
    free(store->place);
    free(store->wanted);
    free(store->rows);
    free(store->spec);
    free(store->path);
    free(store->notes);
    free(store);
}

int store_open(Store **out, const StoreOptions *o, Error *err)
{
    Store *store = NULL;
    int    rc = store_check_data(o->data, err);          /* before the data is hashed */

    *out = NULL;
    if (rc == 0) rc = (store = store_new(o, err)) ? 0 : -1;
    if (world_agree(o->world, rc, err) != 0) goto fail;
    if (store_hosts_find(store, o->program, err) != 0) goto fail;
    if (!store->memory && folder_seen_by_all(store->place, o->world, err) != 0) goto fail;
    if (opens(store)) rc = open_first(store, o->later, err);
    if (join(store, rc, err) != 0) goto fail;
    *out = store;
    return 0;
fail:
    store_close(store);
    return -1;
}

static int make_first(Store *store, int boundary, Error *err)
{
    if (store->rows[boundary]) return 0;
    if (store->memory && check_memory(memory_of(store, boundary), err) != 0) return -1;
    if (stored_open(&store->rows[boundary], &store->spec[boundary], STORED_MAKE, err) != 0)
        return -1;
    return store_hosts_take_left(store, boundary, err);
}

int store_make(Store *store, int boundary, Error *err)
{
    return join(store, opens(store) ? make_first(store, boundary, err) : 0, err);
}

/* ---- use ------------------------------------------------------------------------------------ */

StoredRows *store_boundary(const Store *store, int boundary) { return store->rows[boundary]; }

int store_put(Store *store, int boundary, int64_t sample, const float *row, Error *err)
{
    if (store_has(store, boundary, sample)) return 0;
    return stored_put(store->own[boundary] ? store->own[boundary] : store->rows[boundary], sample,
                      row, err);
}

int64_t store_bytes(const Store *store)
{
    int64_t bytes = 0;

    for (int k = 0; k < store->count; k++)
        if (store->wanted[k]) bytes += stored_size(&store->spec[k]);
    return bytes;
}

/* Rank 0 sees what all have put. */
static int finish_whole(Store *store, Error *err)
{
    for (int k = 0; k < store->count; k++)
        if (store->rows[k] && stored_missing(store->rows[k]) == 0
            && stored_finish(store->rows[k], err) != 0)
            return -1;
    return 0;
}

static int refresh(Store *store, Error *err)
{
    for (int k = 0; k < store->count; k++)
        if (store->rows[k] && stored_missing(store->rows[k]) > 0
            && stored_refresh(store->rows[k], err) != 0)
            return -1;
    return 0;
}

int store_settle(Store *store, Error *err)
{
    int rc = world_barrier(store->world, err);           /* all rows are put */

    if (rc == 0 && store->hosts > 1 && !store->memory) return store_hosts_settle(store, err);
    if (rc == 0) rc = refresh(store, err);
    if (rc == 0 && world_rank(store->world) == 0) rc = finish_whole(store, err);
    rc = world_agree(store->world, rc, err);
    return rc == 0 && store_is_apart(store) ? store_where_settle(store, err) : rc;
}

bool store_is_apart(const Store *store) { return store->memory && store->hosts > 1; }

bool store_has(const Store *store, int boundary, int64_t sample)
{
    const int16_t *where = store->where[boundary];

    return where ? where[sample] >= 0 : stored_has(store->rows[boundary], sample);
}

int store_machine(const Store *store, int boundary, int64_t sample)
{
    const int16_t *where = store->where[boundary];

    return where && where[sample] >= 0 ? where[sample] : store->host;
}

int64_t store_missing(const Store *store, int boundary)
{
    int64_t missing = 0;

    if (store->where[boundary]) {
        for (int64_t i = 0; i < store->spec[boundary].samples; i++)
            missing += !store_has(store, boundary, i);
        return missing;
    }
    return store->rows[boundary] ? stored_missing(store->rows[boundary])
                                 : store->spec[boundary].samples;
}

static int remove_file(const char *path, Error *err)
{
    if (unlink(path) == 0 || errno == ENOENT) return 0;
    return error_set(err, "%s: cannot remove: %s", path, strerror(errno));
}

int store_remove_partial(const char *path, Error *err)
{
    char *partial = NULL;

    if (asprintf(&partial, "%s.partial", path) < 0) return error_no_memory(err);
    int rc = remove_file(partial, err);
    free(partial);
    return rc;
}

static int remove_files(const char *path, Error *err)
{
    return remove_file(path, err) == 0 ? store_remove_partial(path, err) : -1;
}

int store_drop(Store *store, int boundary, Error *err)
{
    int rc = world_barrier(store->world, err);           /* nobody reads it any more */

    if (rc == 0) rc = store_hosts_drop(store, boundary, err);
    stored_close(store->rows[boundary]);
    store->rows[boundary] = NULL;
    free(store->where[boundary]);
    store->where[boundary] = NULL;
    if (rc == 0 && !store->memory && world_rank(store->world) == 0)
        rc = remove_files(store->path[boundary], err);
    return world_agree(store->world, rc, err);
}
