#include "executor/measure/storage_times.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/compare.h"
#include "base/file.h"
#include "base/minmax.h"
#include "base/rng.h"
#include "base/stats.h"
#include "executor/store/store.h"
#include "workloads/head.h"

enum { SIZES_MOST = 5, ROWS_MOST = 3, IN_FLIGHT_MOST = 4 };
enum { WARM_READINGS = 3 };  /* of the same rows: the median counts */

/* ---- what is measured -------------------------------------------------------------------- */

typedef struct {
    const StorageTimesOptions *o;
    int64_t row_bytes[SIZES_MOST], rows[ROWS_MOST], in_flight[IN_FLIGHT_MOST];
    int     row_bytes_count, rows_count, in_flight_count;
    char   *path;            /* of the file in a folder; NULL: memory */
} StorageGrid;

/* Of a value in a row that is stored. */
static int64_t value_bytes(const StorageTimesOptions *o)
{
    return (int64_t)(o->bf16 ? sizeof(uint16_t) : sizeof(float));
}

/* Of the boundaries' sizes the least, the largest, and those between evenly. */
static int find_sizes(StorageGrid *g, Error *err)
{
    int      all = g->o->workload->block_count + 1, distinct = 0;
    int64_t *size = calloc((size_t)all, sizeof *size);

    if (!size) return error_no_memory(err);
    for (int k = 0; k < all; k++)
        size[k] = workload_boundary_count(g->o->workload, k) * value_bytes(g->o);
    qsort(size, (size_t)all, sizeof *size, compare_int64);
    for (int k = 0; k < all; k++)
        if (k == 0 || size[k] != size[distinct - 1]) size[distinct++] = size[k];
    g->row_bytes_count = (int)smaller(distinct, SIZES_MOST);
    for (int i = 0; i < g->row_bytes_count; i++)
        g->row_bytes[i] =
            size[g->row_bytes_count > 1 ? i * (distinct - 1) / (g->row_bytes_count - 1) : 0];
    free(size);
    return 0;
}

static void add_once(int64_t *list, int *count, int64_t value)
{
    if (*count == 0 || list[*count - 1] < value) list[(*count)++] = value;
}

static int find_grid(StorageGrid *g, Error *err)
{
    add_once(g->rows, &g->rows_count, 1);
    add_once(g->rows, &g->rows_count, (g->o->batch + 1) / 2);
    add_once(g->rows, &g->rows_count, g->o->batch);
    for (int n = 1; n < 2 * g->o->devices && g->in_flight_count < IN_FLIGHT_MOST; n *= 2)
        add_once(g->in_flight, &g->in_flight_count, n);
    return find_sizes(g, err);
}

/* ---- requests ------------------------------------------------------------------------------ */

/* A thread's requests. */
typedef struct {
    StoredRows  *stored;
    bool         write, expects;
    int64_t      rows, first, samples;   /* the rows of request i: order[first + i * rows ..] of a
                                          * permutation */
    int          requests;
    const float *from;
    float       *to;
    size_t       floats;                 /* of a row */
    double      *ns;                     /* [requests], found */
    Error        err;
    int          rc;
} StorageAsker;

static int64_t sample_at(const StorageAsker *a, int64_t position)
{
    return data_order(a->samples, 7, 0, position);
}

static int ask_once(StorageAsker *a, int request)
{
    int rc = 0;

    for (int64_t r = 0; a->expects && r < a->rows; r++)
        stored_expect(a->stored, sample_at(a, a->first + request * a->rows + r));
    for (int64_t r = 0; rc == 0 && r < a->rows; r++) {
        int64_t sample = sample_at(a, a->first + request * a->rows + r);
        rc = a->write ? stored_put(a->stored, sample, a->from, &a->err)
                      : stored_get(a->stored, sample, a->to + (size_t)r * a->floats, &a->err);
    }
    return rc;
}

static void *ask_all(void *argument)
{
    StorageAsker *a = argument;

    for (int i = 0; a->rc == 0 && i < a->requests; i++) {
        int64_t began_ns = clock_ns();
        a->rc = ask_once(a, i);
        a->ns[i] = (double)(clock_ns() - began_ns);
    }
    return NULL;
}

/* Median time of requests while so many are in flight; of rows from position first on. */
static int time_requests(double *out, StorageAsker *model, int in_flight, int64_t *position,
                         Error *err)
{
    StorageAsker asker[1 << IN_FLIGHT_MOST];
    pthread_t    thread[1 << IN_FLIGHT_MOST];
    int          started = 0, rc = 0;
    double      *ns = calloc((size_t)(in_flight * model->requests), sizeof *ns);
    float       *to = calloc((size_t)in_flight * (size_t)model->rows * model->floats, sizeof *to);

    if (!ns || !to) { free(ns); free(to); return error_no_memory(err); }
    for (int n = 0; n < in_flight; n++) {
        asker[n] = *model;
        asker[n].first = *position;
        asker[n].ns = ns + n * model->requests;
        asker[n].to = to + (size_t)n * (size_t)model->rows * model->floats;
        *position += model->rows * model->requests;
    }
    for (; started < in_flight - 1; started++)
        if (pthread_create(&thread[started], NULL, ask_all, &asker[started]) != 0) break;
    if (started == in_flight - 1) ask_all(&asker[in_flight - 1]);
    else rc = error_set(err, "cannot start a thread that measures storage");
    for (int n = 0; n < started; n++) pthread_join(thread[n], NULL);
    for (int n = 0; rc == 0 && n < in_flight; n++)
        if (asker[n].rc != 0) rc = error_set(err, "%s", asker[n].err.text);
    if (rc == 0) *out = stats_median(ns, (size_t)(in_flight * model->requests));
    free(ns);
    free(to);
    return rc;
}

/* Rows of a request as measured: not more than LARGEST_REQUEST. */
static int64_t measured_rows(const StorageGrid *g, int size, int rows)
{
    return smaller(g->rows[rows], larger(1, LARGEST_REQUEST / g->row_bytes[size]));
}

/* Rows that all requests of a size take together, each row once. */
static int64_t rows_needed(const StorageGrid *g, int size)
{
    int64_t rows = 0;

    for (int r = 0; r < g->rows_count; r++)
        for (int n = 0; n < g->in_flight_count; n++)
            rows += measured_rows(g, size, r) * g->in_flight[n] * g->o->trials;
    return rows;
}

/* Times of a size, into ns[rows][in flight]; cold: the file is put out of the page cache before. */
static int time_size(int64_t *ns, const StorageGrid *g, int size, StorageAsker *model, bool cold,
                     Error *err)
{
    int64_t position = 0;

    for (int r = 0; r < g->rows_count; r++)
        for (int n = 0; n < g->in_flight_count; n++) {
            double took_ns;
            model->rows = measured_rows(g, size, r);
            if (g->o->stop && atomic_load(g->o->stop)) return error_set(err, "interrupted");
            if (cold && stored_forget(model->stored, err) != 0) return -1;
            if (time_requests(&took_ns, model, (int)g->in_flight[n], &position, err) != 0)
                return -1;
            took_ns *= (double)g->rows[r] / (double)model->rows;
            ns[r * g->in_flight_count + n] = (int64_t)took_ns + 1;
        }
    return 0;
}

/* Times of a size as epochs read the rows, each again and again: what the first reading takes
 * besides (memory is mapped page by page) is not in them. */
static int time_warm(int64_t *ns, const StorageGrid *g, int size, StorageAsker *model, Error *err)
{
    int    count = g->rows_count * g->in_flight_count;
    double took_ns[ROWS_MOST * IN_FLIGHT_MOST][WARM_READINGS];

    if (time_size(ns, g, size, model, false, err) != 0) return -1;
    for (int reading = 0; reading < WARM_READINGS; reading++) {
        if (time_size(ns, g, size, model, false, err) != 0) return -1;
        for (int i = 0; i < count; i++) took_ns[i][reading] = (double)ns[i];
    }
    for (int i = 0; i < count; i++) ns[i] = (int64_t)stats_median(took_ns[i], WARM_READINGS);
    return 0;
}

/* The kinds of times that a place has. */
typedef enum { TIMES_WRITE, TIMES_WARM, TIMES_COLD, TIMES_COUNT } TimesKind;

/* ns[kind][rows][in flight] of one size; a kind that is NULL is not measured. */
static int measure_size(int64_t *ns[TIMES_COUNT], const StorageGrid *g, int size, Error *err)
{
    int          floats = (int)(g->row_bytes[size] / value_bytes(g->o));
    StoredSpec   spec = {.path = g->path,
                         .name = "rows in memory",
                         .samples = rows_needed(g, size),
                         .row = {floats, 1, 1},
                         .bf16 = g->o->bf16};
    StorageAsker model = {
        .requests = g->o->trials, .samples = spec.samples, .floats = (size_t)floats};
    float       *row = calloc((size_t)floats, sizeof *row);
    int          rc = -1;

    if (!row) return error_no_memory(err);
    for (int i = 0; i < floats; i++) row[i] = (float)rng_uniform(5, (uint64_t)i, 0, 0);
    model.from = row;
    if (stored_open(&model.stored, &spec, STORED_MAKE, err) != 0) goto done;
    for (int kind = 0; kind < TIMES_COUNT; kind++) {
        model.write = kind == TIMES_WRITE;
        model.expects = kind != TIMES_WRITE && !g->o->ahead;
        if (!ns[kind]) continue;
        if ((kind == TIMES_WARM ? time_warm(ns[kind], g, size, &model, err)
                                : time_size(ns[kind], g, size, &model, kind == TIMES_COLD, err))
            != 0)
            goto done;
    }
    rc = 0;
done:
    if (model.stored) stored_remove(model.stored);
    stored_close(model.stored);
    free(row);
    return rc;
}

/* ---- tiers ----------------------------------------------------------------------------------- */

static int set_requests(TraceRequests *out, Arena *arena, const StorageGrid *g, Error *err)
{
    *out = (TraceRequests){
        .row_bytes = arena_alloc(arena, (size_t)g->row_bytes_count, sizeof(int64_t)),
        .rows = arena_alloc(arena, (size_t)g->rows_count, sizeof(int64_t)),
        .in_flight = arena_alloc(arena, (size_t)g->in_flight_count, sizeof(int64_t)),
        .row_bytes_count = g->row_bytes_count,
        .rows_count = g->rows_count,
        .in_flight_count = g->in_flight_count};
    out->ns = arena_alloc(arena, (size_t)(g->row_bytes_count * g->rows_count * g->in_flight_count),
                          sizeof *out->ns);
    if (!out->row_bytes || !out->rows || !out->in_flight || !out->ns) return error_no_memory(err);
    memcpy(out->row_bytes, g->row_bytes, (size_t)g->row_bytes_count * sizeof(int64_t));
    memcpy(out->rows, g->rows, (size_t)g->rows_count * sizeof(int64_t));
    memcpy(out->in_flight, g->in_flight, (size_t)g->in_flight_count * sizeof(int64_t));
    return 0;
}

/* The place of kind's times of a size; NULL: not wanted. */
static int64_t *times_at(TraceRequests *requests, int size)
{
    return requests ? requests->ns + size * requests->rows_count * requests->in_flight_count : NULL;
}

static int64_t free_bytes(const char *folder)
{
    struct statvfs info;

    return statvfs(folder, &info) == 0 ? (int64_t)info.f_bavail * (int64_t)info.f_frsize : 0;
}

/* Sizes of the tiers. */
static void set_sizes(TraceTier *tier, const char *folder)
{
    int64_t memory = larger(store_memory_available(), 1),
            disk = folder ? larger(free_bytes(folder), 1) : 0;

    tier[0].size_bytes = folder ? smaller(memory, disk) : memory;
    if (folder) tier[1].size_bytes = disk;
}

static double sum_of(const TraceRequests *r)
{
    double sum = 0;

    for (int i = 0; i < r->row_bytes_count * r->rows_count * r->in_flight_count; i++)
        sum += (double)r->ns[i];
    return sum;
}

static void set_shares(TraceTier *tier, bool folder, bool ahead, bool async)
{
    tier[0].write.device_share = async ? 0 : 1;
    tier[0].read.device_share = ahead ? 0 : 1;
    if (!folder || ahead) return;
    double share = sum_of(&tier[0].read) / sum_of(&tier[1].read);
    tier[1].read.device_share = share < 1 ? round(share * 1e4) * 1e-4 : 1;
}

static int open_grid(StorageGrid *g, Error *err)
{
    if (find_grid(g, err) != 0) return -1;
    if (strcmp(g->o->place, STORE_HOST) == 0) return 0;
    if (file_make_folder(g->o->place, err) != 0) return -1;
    if (asprintf(&g->path, "%s/measured", g->o->place) >= 0) return 0;
    g->path = NULL;
    return error_no_memory(err);
}

int storage_times_measure(TraceTier **out, int *count, Arena *arena,
                          const StorageTimesOptions *options, Error *err)
{
    StorageGrid g = {.o = options};
    TraceTier  *tier = arena_alloc(arena, 2, sizeof *tier);
    int         rc = tier ? open_grid(&g, err) : error_no_memory(err);
    bool        folder = g.path;

    if (rc == 0) rc = set_requests(&tier[0].read, arena, &g, err);
    if (rc == 0) rc = set_requests(&tier[0].write, arena, &g, err);
    if (rc == 0 && folder) rc = set_requests(&tier[1].read, arena, &g, err);
    for (int i = 0; rc == 0 && i < g.row_bytes_count; i++) {
        int64_t *ns[TIMES_COUNT] = {times_at(&tier[0].write, i), times_at(&tier[0].read, i),
                                    times_at(folder ? &tier[1].read : NULL, i)};
        rc = measure_size(ns, &g, i, err);
    }
    free(g.path);
    if (rc != 0) return -1;
    tier[0].name = folder ? "cached disk" : "host";
    tier[0].memory = !folder;
    set_shares(tier, folder, options->ahead, options->async);
    tier[1].name = "disk";
    tier[1].write = tier[0].write;
    set_sizes(tier, folder ? options->place : NULL);
    *out = tier;
    *count = folder ? 2 : 1;
    return 0;
}
