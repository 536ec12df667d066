/* Databases that Nsight Systems exports (nsys export --type sqlite): NVTX ranges are ranges, those
 * of torch.autograd.profiler.emit_nvtx operators, whose names end with ", seq = N, op_id = M".
 *
 *     NVTX_EVENTS                    start, end, eventType 59 (push and pop) or 60, text or textId,
 *                                    globalTid
 *     CUPTI_ACTIVITY_KIND_RUNTIME    start, end, globalTid, correlationId
 *     CUPTI_ACTIVITY_KIND_KERNEL     start, end, deviceId, globalPid, correlationId, shortName
 *     CUPTI_ACTIVITY_KIND_MEMCPY     ... copyKind: 8 is within a device;   _MEMSET
 *     TARGET_INFO_GPU                id, name, totalMemory (where it is there)
 *
 * Times are nanoseconds. A thread without ranges of its own (PyTorch's, of the backward) runs the
 * backward of the block whose range is open on another one. */
#include <stdlib.h>
#include <string.h>

#include "traces/import/import_read.h"
#include "traces/import/kineto.h"

#ifdef HAVE_SQLITE

#include <sqlite3.h>

typedef struct {
    sqlite3    *db;
    KinetoFile *file;
    const char *path;
    Error      *err;
} NsysReader;

typedef int NsysRow(NsysReader *r, sqlite3_stmt *row);

static bool has_table(const NsysReader *r, const char *name)
{
    sqlite3_stmt *query = NULL;
    bool          there = false;

    if (sqlite3_prepare_v2(r->db, "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?",
                           -1, &query, NULL)
        == SQLITE_OK) {
        sqlite3_bind_text(query, 1, name, -1, SQLITE_STATIC);
        there = sqlite3_step(query) == SQLITE_ROW;
    }
    sqlite3_finalize(query);
    return there;
}

static int database_error(const NsysReader *r)
{
    if (sqlite3_errcode(r->db) == SQLITE_NOMEM) return error_no_memory(r->err);
    return error_set(r->err, "%s: %s, expected a database of nsys export --type sqlite", r->path,
                     sqlite3_errmsg(r->db));
}

static int each_row(NsysReader *r, const char *sql, NsysRow *visit)
{
    sqlite3_stmt *query = NULL;
    int           rc = 0, step = SQLITE_DONE;

    if (sqlite3_prepare_v2(r->db, sql, -1, &query, NULL) != SQLITE_OK) rc = database_error(r);
    while (rc == 0 && (step = sqlite3_step(query)) == SQLITE_ROW) rc = visit(r, query);
    if (rc == 0 && step != SQLITE_DONE) rc = database_error(r);
    sqlite3_finalize(query);
    return rc;
}

/* Columns 0 and 1 of a row. */
static int read_times(NsysReader *r, sqlite3_stmt *row, int64_t *start, int64_t *end)
{
    *start = sqlite3_column_int64(row, 0);
    *end = sqlite3_column_int64(row, 1);
    if (*start >= 0 && *end >= *start && *end - *start <= TRACE_MAX_NS) return 0;
    return error_set(r->err, "%s: an event from %lld to %lld ns, expected one of 0 to 39 hours",
                     r->path, (long long)*start, (long long)*end);
}

/* Correlations are a process's own; both identifiers hold its number in these bits. */
static int64_t correlation_of(int64_t identifier, int64_t correlation)
{
    return (identifier >> 24 & 0xFFFFFF) << 32 | (correlation & 0xFFFFFFFF);
}

static int thread_of(NsysReader *r, int64_t identifier)
{
    char name[32];
    int  length = snprintf(name, sizeof name, "%lld", (long long)identifier),
        thread = intern(&r->file->threads, name, (size_t)length);

    return thread >= 0 ? thread : error_no_memory(r->err);
}

/* start, end, text, globalTid */
static int keep_range(NsysReader *r, sqlite3_stmt *row)
{
    const char *text = (const char *)sqlite3_column_text(row, 2);
    KinetoSpan  span = {.number = -1, .tensor_bytes = -1};

    if (!text || !*text) return 0;
    if (read_times(r, row, &span.start_ns, &span.end_ns) != 0) return -1;
    const char *operator = strstr(text, ", op_id = "), *sequence = strstr(text, ", seq = ");
    const char *end = sequence ? sequence : operator;
    span.type = kineto_span_type(text, !end);
    if (sequence && span.type != SPAN_STEP)
        span.number = strtoll(sequence + strlen(", seq = "), NULL, 10);
    span.name = intern(&r->file->names, text, end ? (size_t)(end - text) : strlen(text));
    span.thread = thread_of(r, sqlite3_column_int64(row, 3));
    if (span.name < 0) return error_no_memory(r->err);
    return span.thread < 0 ? -1 : kineto_add_span(r->file, span, r->err);
}

/* start, end, globalTid, correlationId */
static int keep_launch(NsysReader *r, sqlite3_stmt *row)
{
    KinetoSpan span = {.type = SPAN_LAUNCH,
                       .tensor_bytes = -1,
                       .thread = thread_of(r, sqlite3_column_int64(row, 2))};

    if (span.thread < 0 || read_times(r, row, &span.start_ns, &span.end_ns) != 0) return -1;
    span.number = correlation_of(sqlite3_column_int64(row, 2), sqlite3_column_int64(row, 3));
    return kineto_add_span(r->file, span, r->err);
}

/* start, end, deviceId, globalPid, correlationId, name or copyKind */
static int keep_work(NsysReader *r, sqlite3_stmt *row, KinetoWorkType type)
{
    KinetoWork work = {.type = type};
    int64_t    start, end, device = sqlite3_column_int64(row, 2);

    if (read_times(r, row, &start, &end) != 0) return -1;
    work.ns = end - start;
    work.device = device >= 0 && device < KINETO_MAX_DEVICES ? (int32_t)device : 0;
    work.correlation = correlation_of(sqlite3_column_int64(row, 3), sqlite3_column_int64(row, 4));
    return kineto_add_work(r->file, work, r->err);
}

static int keep_kernel(NsysReader *r, sqlite3_stmt *row)
{
    const char *name = (const char *)sqlite3_column_text(row, 5);

    return keep_work(r, row,
                     name && kineto_is_collective(name) ? DEVICE_COLLECTIVE : DEVICE_KERNEL);
}

static int keep_copy(NsysReader *r, sqlite3_stmt *row)
{
    enum { WITHIN_DEVICE = 8 };

    return keep_work(r, row,
                     sqlite3_column_int(row, 5) == WITHIN_DEVICE ? DEVICE_KERNEL : DEVICE_COPY);
}

static int keep_memset(NsysReader *r, sqlite3_stmt *row)
{
    return keep_work(r, row, DEVICE_KERNEL);
}

/* id, name, totalMemory */
static int keep_device(NsysReader *r, sqlite3_stmt *row)
{
    int64_t     id = sqlite3_column_int64(row, 0), memory = sqlite3_column_int64(row, 2);
    const char *name = (const char *)sqlite3_column_text(row, 1);

    if (id < 0 || id >= KINETO_MAX_DEVICES || !name) return 0;
    size_t length = strnlen(name, sizeof r->file->device_names[id] - 1);
    memcpy(r->file->device_names[id], name, length);
    r->file->device_names[id][length] = '\0';
    r->file->device_memory[id] = memory > 0 ? memory : 0;
    return 0;
}

/* ---- threads without ranges ------------------------------------------------------------------ */

static bool is_block(const KinetoFile *f, const KinetoSpan *span)
{
    const char *name = f->names.strings[span->name];

    return span->type == SPAN_RANGE
           && (strncmp(name, "block:", 6) == 0 || strncmp(name, "student:", 8) == 0);
}

/* Puts an echo of every block's range on each thread that launches and has no ranges. */
static int add_echoes(NsysReader *r)
{
    KinetoFile *f = r->file;
    size_t      count = f->span_count;
    char       *has = calloc((size_t)f->threads.count + 1, 1);       /* 1: launches, 2: ranges */

    if (!has) return error_no_memory(r->err);
    for (size_t i = 0; i < count; i++)
        has[f->spans[i].thread] |= f->spans[i].type == SPAN_LAUNCH ? 1 : 2;
    int rc = 0;
    for (int thread = 0; thread < f->threads.count && rc == 0; thread++)
        for (size_t i = 0; i < count && rc == 0 && has[thread] == 1; i++) {
            KinetoSpan span = f->spans[i];
            if (!is_block(f, &span)) continue;
            span.thread = thread;
            span.type = SPAN_ECHO;
            rc = kineto_add_span(f, span, r->err);
        }
    free(has);
    return rc;
}

/* ---- the database ---------------------------------------------------------------------------- */

/* Reads the tables of the database: ranges, calls and kernels must be there, copies and the GPU's
 * description may be. */
static int read_tables(NsysReader *r)
{
    static const struct { const char *table, *sql; NsysRow *visit;
    } all[] = {
        {"NVTX_EVENTS",
         "SELECT n.start, n.end, COALESCE(n.text, s.value), n.globalTid FROM NVTX_EVENTS n LEFT "
         "JOIN StringIds s "
         "ON s.id = n.textId WHERE n.end IS NOT NULL AND n.eventType IN (59, 60)",
         keep_range},
        {"CUPTI_ACTIVITY_KIND_RUNTIME",
         "SELECT start, end, globalTid, correlationId FROM CUPTI_ACTIVITY_KIND_RUNTIME",
         keep_launch},
        {"CUPTI_ACTIVITY_KIND_KERNEL",
         "SELECT k.start, k.end, k.deviceId, k.globalPid, k.correlationId, s.value FROM "
         "CUPTI_ACTIVITY_KIND_KERNEL k LEFT JOIN StringIds s ON s.id = k.shortName",
         keep_kernel},
        {"CUPTI_ACTIVITY_KIND_MEMCPY",
         "SELECT start, end, deviceId, globalPid, correlationId, copyKind FROM "
         "CUPTI_ACTIVITY_KIND_MEMCPY",
         keep_copy},
        {"CUPTI_ACTIVITY_KIND_MEMSET",
         "SELECT start, end, deviceId, globalPid, correlationId FROM CUPTI_ACTIVITY_KIND_MEMSET",
         keep_memset},
        {"TARGET_INFO_GPU", "SELECT id, name, totalMemory FROM TARGET_INFO_GPU", keep_device}};

    if (sqlite3_exec(r->db, "PRAGMA schema_version", NULL, NULL, NULL) != SQLITE_OK)
        return database_error(r);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (has_table(r, all[i].table)) {
            if (each_row(r, all[i].sql, all[i].visit) != 0) return -1;
        } else if (i < 3)
            return error_set(r->err,
                             "%s: no table %s, expected a database of nsys export --type sqlite of "
                             "a run traced with cuda,nvtx",
                             r->path, all[i].table);
    }
    return add_echoes(r);
}

static int read_database(KinetoFile **out, const ImportFile *file, ImportProgress *progress,
                         void *context, Error *err)
{
    NsysReader r = {.path = file->name, .err = err};
    int        rc = -1;

    (void)progress;
    (void)context;
    *out = r.file = calloc(1, sizeof **out);
    if (!r.file) return error_no_memory(err);
    r.file->fractions = true;
    if (sqlite3_open_v2(file->name, &r.db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
        error_set(err, "%s: cannot open: %s", file->name,
                  r.db ? sqlite3_errmsg(r.db) : "no memory");
    else rc = read_tables(&r);
    sqlite3_close(r.db);
    if (rc == 0) kineto_sort(r.file);
    return rc;
}

#else

static int read_database(KinetoFile **out, const ImportFile *file, ImportProgress *progress,
                         void *context, Error *err)
{
    (void)progress;
    (void)context;
    *out = NULL;
    return error_set(err, "%s: this build cannot read databases, as it has no SQLite", file->name);
}

#endif

static int read_nsys(Trace *trace, Text *notes, const ImportFile *files, int count,
                     const ImportOptions *options, Error *err)
{
    return import_profiles(trace, notes, files, count, options, "Nsight Systems", read_database,
                           err);
}

const ImportFormat import_nsys = {"nsys", "student blocks rows", OPTIONS_MAX_OPERANDS - 1, true,
                                  read_nsys};
