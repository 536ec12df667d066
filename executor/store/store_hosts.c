/* A folder that several machines see.
 *
 *     DIR/boundary-3.safetensors.partial          rank 0's
 *     DIR/boundary-3.safetensors.host1.partial    what machine 1 makes of it, of the same format
 *
 * File systems of several machines keep what two of them write into one file apart at best by the
 * page. So a file is written by one machine: a boundary that devices of one machine make, by that
 * one; else each but rank 0's has a file of its own, and rank 0 takes its rows when no device puts
 * any (store_settle()). Readers open files anew after that, as those file systems promise to show
 * what was written before a file is opened only.
 *
 * The files of machines are removed before a boundary gets its name, so a whole one has none. */
#include "executor/store/store.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/store/store_state.h"

/* ---- who is where ---------------------------------------------------------------------- */

/* Rows of boundaries that devices of this process put in a step; without a program all may. */
static void find_puts(const Store *store, const Program *program, int64_t *out)
{
    for (int k = 0; k < store->count; k++) out[k] = !program;
    for (int d = 0; program && d < program->device_count; d++)
        for (int i = 0; world_has_device(store->world, d) && i < program->devices[d].code_count;
             i++) {
            const Instruction *in = &program->devices[d].code[i];
            if (in->op == OP_STORE) out[in->block] += in->rows;
        }
}

static void count_hosts(Store *store)
{
    store->host = world_host_number(store->world, world_rank(store->world));
    store->leader = -1;
    for (int r = 0; r < world_size(store->world); r++) {
        int host = world_host_number(store->world, r);
        if (host >= store->hosts) store->hosts = host + 1;
        if (host == store->host && store->leader < 0) store->leader = r;
    }
}

/* Whether devices of a machine put rows of a boundary. */
static bool host_puts(const Store *store, int host, int k)
{
    return store->puts[host * store->count + k] > 0;
}

/* of_ranks: [ranks][count]. */
static void sum_puts(Store *store, const int64_t *of_ranks)
{
    for (int r = 0; r < world_size(store->world); r++)
        for (int k = 0; k < store->count; k++)
            store->puts[world_host_number(store->world, r) * store->count + k] +=
                of_ranks[r * store->count + k];
    for (int h = 0; h < store->hosts; h++)
        for (int k = 0; k < store->count; k++) store->makers[k] += host_puts(store, h, k);
}

/* Yours. */
static char *host_path(const Store *store, int host, int k, Error *err)
{
    char *path = NULL;

    if (asprintf(&path, "%s.host%d", store->path[k], host) >= 0) return path;
    error_no_memory(err);
    return NULL;
}

static int name_own_files(Store *store, Error *err)
{
    for (int k = 0; !store->memory && k < store->count; k++)
        if (!(store->own_path[k] = host_path(store, store->host, k, err))) return -1;
    return 0;
}

int store_hosts_find(Store *store, const Program *program, Error *err)
{
    size_t count = (size_t)store->count, ranks = (size_t)world_size(store->world);
    int64_t *all = calloc(ranks * count, sizeof *all), *mine = calloc(count, sizeof *mine);

    count_hosts(store);
    store->makers = calloc(count, sizeof *store->makers);
    store->puts = calloc((size_t)store->hosts * count, sizeof *store->puts);
    store->where = calloc(count, sizeof(int16_t *));
    store->own = calloc(count, sizeof(StoredRows *));
    store->own_path = calloc(count, sizeof(char *));
    int rc = all && mine && store->makers && store->puts && store->where && store->own
                     && store->own_path
                 ? name_own_files(store, err)
                 : error_no_memory(err);
    rc = world_agree(store->world, rc, err);
    if (rc == 0) find_puts(store, program, mine);
    if (rc == 0) rc = world_gather_all(store->world, all, mine, count * sizeof *mine, err);
    if (rc == 0) sum_puts(store, all);
    free(all);
    free(mine);
    return rc;
}

/* ---- files of this machine ------------------------------------------------------------- */

int store_hosts_join(const Store *store, const StoredSpec *spec, StoredMode mode, StoredRows **out,
                     Error *err)
{
    int rc = stored_open(out, spec, mode, err);

    for (int i = 1; rc != 0 && store->hosts > 1 && folder_look_again(i); i++)
        rc = stored_open(out, spec, mode, err);
    return rc;
}

static bool is_leader(const Store *store) { return world_rank(store->world) == store->leader; }

/* Whether the machine's devices put a boundary's rows into a file of their own. */
static bool has_own(const Store *store, int k)
{
    return store->host != 0 && host_puts(store, store->host, k) && store->makers[k] > 1
           && store->rows[k]
           && stored_is_partial(store->rows[k]);
}

static int open_own(Store *store, StoredMode mode, Error *err)
{
    for (int k = 0; k < store->count; k++) {
        StoredSpec spec = store->spec[k];
        spec.path = spec.name = store->own_path[k];
        if (has_own(store, k) && !store->own[k]
            && stored_open(&store->own[k], &spec, mode, err) != 0)
            return -1;
    }
    return 0;
}

int store_hosts_open(Store *store, Error *err)
{
    if (store->memory || store->hosts < 2) return 0;
    int rc = is_leader(store) ? open_own(store, STORED_MAKE, err) : 0;
    rc = world_agree(store->world, rc, err);
    if (rc == 0) rc = open_own(store, STORED_JOIN, err);
    return world_agree(store->world, rc, err);
}

/* ---- coming together --------------------------------------------------------------------- */

static int take_file(const Store *store, int k, const char *path, StoredMode mode, Error *err)
{
    StoredSpec  spec = store->spec[k];
    StoredRows *theirs;

    spec.path = spec.name = path;
    if (store_hosts_join(store, &spec, mode, &theirs, err) != 0) return -1;
    int rc = stored_take(store->rows[k], theirs, err);
    stored_close(theirs);
    return rc == 0 ? stored_sync(store->rows[k], err) : rc;
}

/* Of a machine that a run left; rows may be damaged, or the file never begun. */
static int take_left(const Store *store, int k, const char *path, Error *err)
{
    if (take_file(store, k, path, STORED_MAKE, err) != 0) return -1;
    return store_remove_partial(path, err);
}

int store_hosts_take_left(const Store *store, int k, Error *err)
{
    if (!stored_is_partial(store->rows[k])) return 0;
    const char *name = strrchr(store->path[k], '/') + 1;
    size_t      length = strlen(name);
    DIR        *folder = opendir(store->place);
    int         rc = 0;

    if (!folder) return error_set(err, "%s: cannot read: %s", store->place, strerror(errno));
    for (struct dirent *e; rc == 0 && (e = readdir(folder));) {
        int   end = 0;
        char *path;
        if (strncmp(e->d_name, name, length) != 0
            || sscanf(e->d_name + length, ".host%*d.partial%n", &end) < 0 || end == 0
            || e->d_name[length + (size_t)end])
            continue;
        if (asprintf(&path, "%s/%.*s", store->place, (int)(strlen(e->d_name) - strlen(".partial")),
                     e->d_name)
            < 0) {
            rc = error_no_memory(err);
            break;
        }
        rc = take_left(store, k, path, err);
        free(path);
    }
    closedir(folder);
    return rc;
}

static int reopen(Store *store, int k, Error *err)
{
    stored_close(store->rows[k]);
    store->rows[k] = NULL;
    return store_hosts_join(store, &store->spec[k], STORED_JOIN, &store->rows[k], err);
}

/* A boundary whose rows this process may not know all of. */
static bool is_open(const Store *store, int k)
{
    return store->rows[k] && stored_is_partial(store->rows[k]);
}

static int sync_put(const Store *store, Error *err)
{
    for (int k = 0; k < store->count; k++)
        if (is_open(store, k) && host_puts(store, store->host, k)
            && stored_sync(store->own[k] ? store->own[k] : store->rows[k], err) != 0)
            return -1;
    return 0;
}

static int take_hosts(const Store *store, int k, Error *err)
{
    int rc = 0;

    for (int h = 1; rc == 0 && h < store->hosts && store->makers[k] > 1; h++) {
        if (!host_puts(store, h, k)) continue;
        char *path = host_path(store, h, k, err);
        rc = path ? take_file(store, k, path, STORED_JOIN, err) : -1;
        free(path);
    }
    return rc;
}

/* Rank 0. */
static int bring_together(Store *store, Error *err)
{
    for (int k = 0; k < store->count; k++)
        if (is_open(store, k)
            && (reopen(store, k, err) != 0 || take_hosts(store, k, err) != 0))
            return -1;
    return 0;
}

static int remove_own(Store *store, int k, Error *err)
{
    if (!store->own[k]) return 0;
    stored_close(store->own[k]);
    store->own[k] = NULL;
    return is_leader(store) ? store_remove_partial(store->own_path[k], err) : 0;
}

/* missing: [count], as rank 0 knows it now. */
static int remove_whole(Store *store, const int64_t *missing, Error *err)
{
    for (int k = 0; k < store->count; k++)
        if (missing[k] == 0 && remove_own(store, k, err) != 0) return -1;
    return 0;
}

/* Rank 0: what is whole gets its name. */
static int finish_whole(Store *store, Error *err)
{
    for (int k = 0; k < store->count; k++)
        if (is_open(store, k) && stored_missing(store->rows[k]) == 0
            && stored_finish(store->rows[k], err) != 0)
            return -1;
    return 0;
}

static int reopen_all(Store *store, Error *err)
{
    for (int k = 0; k < store->count; k++)
        if (is_open(store, k) && reopen(store, k, err) != 0) return -1;
    return 0;
}

int store_hosts_settle(Store *store, Error *err)
{
    bool     first = world_rank(store->world) == 0;
    int64_t *missing = calloc((size_t)store->count, sizeof *missing);
    int      rc = missing ? sync_put(store, err) : error_no_memory(err);

    rc = world_agree(store->world, rc, err);
    if (rc == 0) rc = world_agree(store->world, first ? bring_together(store, err) : 0, err);
    for (int k = 0; rc == 0 && k < store->count; k++) missing[k] = store_missing(store, k);
    if (rc == 0)
        rc = world_broadcast(store->world, missing, (size_t)store->count * sizeof *missing, err);
    if (rc == 0) rc = world_agree(store->world, remove_whole(store, missing, err), err);
    if (rc == 0) rc = world_agree(store->world, first ? finish_whole(store, err) : 0, err);
    if (rc == 0) rc = world_agree(store->world, first ? 0 : reopen_all(store, err), err);
    free(missing);
    return rc;
}

int store_hosts_drop(Store *store, int boundary, Error *err)
{
    if (store->memory || store->hosts < 2) return 0;
    return world_agree(store->world, remove_own(store, boundary, err), err);
}
