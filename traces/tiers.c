#include "traces/tiers.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Where the time of a point of the grid stands. */
static int64_t *ns_of(const TraceRequests *r, int row_bytes, int rows, int in_flight)
{
    return &r->ns[((size_t)row_bytes * (size_t)r->rows_count + (size_t)rows)
                      * (size_t)r->in_flight_count
                  + (size_t)in_flight];
}

/* ---- reading ------------------------------------------------------------------------ */

typedef struct { int64_t row_bytes, rows, in_flight, ns; } RequestPoint;

/* Puts value where it belongs in an ascending list without doubles. */
static void add_value(int64_t *values, int *count, int64_t value)
{
    int i = *count;

    while (i > 0 && values[i - 1] > value) i--;
    if (i > 0 && values[i - 1] == value) return;
    memmove(values + i + 1, values + i, (size_t)(*count - i) * sizeof *values);
    values[i] = value;
    ++*count;
}

static int place_of(const int64_t *values, int count, int64_t value)
{
    int i = 0;

    while (i < count && values[i] != value) i++;
    return i;
}

static int read_point(const JsonAt *at, RequestPoint *point, int64_t max_ns, Error *err)
{
    static const char *const keys[] = {"row_bytes", "rows", "in_flight", "us", NULL};
    JsonAt row_bytes = json_member(at, "row_bytes"), rows = json_member(at, "rows");
    JsonAt in_flight = json_member(at, "in_flight"), us = json_member(at, "us");

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (json_get_integer(&row_bytes, 1, JSON_MAX_INTEGER, &point->row_bytes, err) != 0
        || json_get_integer(&rows, 1, (int64_t)1 << 31, &point->rows, err) != 0
        || json_get_integer(&in_flight, 1, TRACE_MAX_IN_FLIGHT, &point->in_flight, err) != 0
        || json_get_us(&us, &point->ns, err) != 0) return -1;
    if (point->ns <= max_ns) return 0;
    return json_fail(&us, err, "%g us is beyond 2^47 ns (39 hours), expected microseconds",
                     (double)point->ns * 1e-3);
}

/* Room for the axes; points are at most TRACE_MAX_REQUESTS. */
static int make_axes(Arena *arena, TraceRequests *out, const RequestPoint *points, size_t count,
                     Error *err)
{
    out->row_bytes = arena_alloc(arena, count, sizeof *out->row_bytes);
    out->rows = arena_alloc(arena, count, sizeof *out->rows);
    out->in_flight = arena_alloc(arena, count, sizeof *out->in_flight);
    if (!out->row_bytes || !out->rows || !out->in_flight) return error_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        add_value(out->row_bytes, &out->row_bytes_count, points[i].row_bytes);
        add_value(out->rows, &out->rows_count, points[i].rows);
        add_value(out->in_flight, &out->in_flight_count, points[i].in_flight);
    }
    return 0;
}

/* The point of the grid that is not measured. */
static int refuse_hole(const JsonAt *at, const TraceRequests *r, size_t hole, Error *err)
{
    size_t in_flight = (size_t)r->in_flight_count, rows = (size_t)r->rows_count;

    return json_fail(at, err,
                     "no point for %" PRId64 " rows of %" PRId64 " bytes with %" PRId64
                     " in flight, expected every "
                     "combination of the row_bytes, rows and in_flight that are listed",
                     r->rows[hole / in_flight % rows], r->row_bytes[hole / in_flight / rows],
                     r->in_flight[hole % in_flight]);
}

/* The points as a full grid of row sizes, rows and numbers in flight; refuses a point that is there
 * twice, and a hole. */
static int fill_grid(Arena *arena, const JsonAt *at, TraceRequests *out, const RequestPoint *points,
                     size_t count, Error *err)
{
    size_t size =
        (size_t)out->row_bytes_count * (size_t)out->rows_count * (size_t)out->in_flight_count;

    if (size > TRACE_MAX_REQUESTS)           /* count is less, so some are missing */
        return json_fail(at, err,
                         "%d sizes of rows, %d of requests and %d numbers in flight make %zu "
                         "points, expected at most %d",
                         out->row_bytes_count, out->rows_count, out->in_flight_count, size,
                         TRACE_MAX_REQUESTS);
    out->ns = arena_alloc(arena, size, sizeof *out->ns);
    if (!out->ns) return error_no_memory(err);
    for (size_t i = 0; i < size; i++) out->ns[i] = -1;
    for (size_t i = 0; i < count; i++) {
        int64_t *ns =
            ns_of(out, place_of(out->row_bytes, out->row_bytes_count, points[i].row_bytes),
                  place_of(out->rows, out->rows_count, points[i].rows),
                  place_of(out->in_flight, out->in_flight_count, points[i].in_flight));
        JsonAt item = json_element(at, i);
        if (*ns >= 0)
            return json_fail(&item, err,
                             "duplicate point: %" PRId64 " rows of %" PRId64 " bytes with %" PRId64
                             " in flight are "
                             "measured twice, keep one",
                             points[i].rows, points[i].row_bytes, points[i].in_flight);
        *ns = points[i].ns;
    }
    for (size_t i = 0; i < size; i++)
        if (out->ns[i] < 0) return refuse_hole(at, out, i, err);
    return 0;
}

static int read_requests(Arena *arena, const JsonAt *tier, const char *key, TraceRequests *out,
                         int64_t max_ns, Error *err)
{
    JsonAt        at = json_member(tier, key);
    RequestPoint *points;
    int           rc = -1;

    if (json_get_array(&at, 1, err) != 0) return -1;
    size_t count = json_count(&at);
    if (count > TRACE_MAX_REQUESTS)
        return json_fail(&at, err, "%zu points, expected at most %d", count, TRACE_MAX_REQUESTS);
    points = malloc(count * sizeof *points);
    if (!points) return error_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        JsonAt item = json_element(&at, i);
        if (read_point(&item, &points[i], max_ns, err) != 0) goto done;
    }
    if (make_axes(arena, out, points, count, err) != 0) goto done;
    rc = fill_grid(arena, &at, out, points, count, err);
done:
    free(points);
    return rc;
}

/* *share keeps its value where the member is not there. */
static int read_share(const JsonAt *tier, const char *key, double *share, Error *err)
{
    JsonAt at = json_member(tier, key);

    if (!json_has(&at)) return 0;
    if (json_get_number(&at, 0, share, err) != 0) return -1;
    return *share <= 1 ? 0
                       : json_fail(&at, err, "%g, expected a share of a request's time, 0 to 1",
                                   *share);
}

/* What tier number count has that another one before it must not have. */
static int check_before(const TraceTier *tiers, int count, const JsonAt *at, Error *err)
{
    const TraceTier *tier = &tiers[count];
    JsonAt           name = json_member(at, "name"), kind = json_member(at, "kind"),
           shared = json_member(at, "shared");
    char             word[JSON_SHOWN_BYTES];

    for (int i = 0; i < count; i++) {
        if (strcmp(tiers[i].name, tier->name) == 0)
            return json_fail(&name, err,
                             "\"%s\" is the name of storage[%d] too, expected one a tier",
                             json_shown(word, tier->name), i);
        if (tiers[i].memory && tier->memory)
            return json_fail(&kind, err, "\"memory\" twice, expected one such tier a machine");
    }
    if (!tier->shared || !tier->memory) return 0;
    return json_fail(&shared, err, "memory that all machines share, expected a disk");
}

/* Reads one entry of "storage" but its place among the others: name and kind, size, both
 * directions' requests, and how much of a request occupies the device. max_ns: the longest time
 * allowed. */
static int read_tier(Arena *arena, const JsonAt *at, TraceTier *tier, int64_t max_ns, Error *err)
{
    static const char *const keys[] = {
        "name",  "kind", "shared", "size_bytes", "read_device_share", "write_device_share", "read",
        "write", NULL};
    static const char *const kinds[] = {"memory", "disk", NULL};
    JsonAt      name = json_member(at, "name"), kind = json_member(at, "kind"),
        shared = json_member(at, "shared");
    JsonAt      size = json_member(at, "size_bytes");
    const char *value = "";
    int         choice = 0;

    if (json_check_keys(at, keys, err) != 0 || json_get_line(&name, &value, err) != 0) return -1;
    tier->name = arena_strdup(arena, value);
    if (!tier->name) return error_no_memory(err);
    if (json_get_choice(&kind, kinds, &choice, err) != 0) return -1;
    tier->memory = choice == 0;
    if (json_has(&shared) && json_get_bool(&shared, &tier->shared, err) != 0) return -1;
    if (json_get_integer(&size, 1, JSON_MAX_INTEGER, &tier->size_bytes, err) != 0) return -1;
    if (read_requests(arena, at, "read", &tier->read, max_ns, err) != 0) return -1;
    if (read_requests(arena, at, "write", &tier->write, max_ns, err) != 0) return -1;
    if (read_share(at, "read_device_share", &tier->read.device_share, err) != 0) return -1;
    return read_share(at, "write_device_share", &tier->write.device_share, err);
}

int tiers_read(TraceTier **out, int *count, Arena *arena, const JsonAt *root, int64_t max_ns,
               Error *err)
{
    JsonAt at = json_member(root, "storage");

    *count = 0;
    if (!json_has(&at)) return 0;
    if (json_get_array(&at, 1, err) != 0) return -1;
    size_t listed = json_count(&at);
    if (listed > TRACE_MAX_TIERS)
        return json_fail(&at, err, "%zu tiers, expected at most %d", listed, TRACE_MAX_TIERS);
    *out = arena_alloc(arena, listed, sizeof **out);
    if (!*out) return error_no_memory(err);
    for (; *count < (int)listed; ++*count) {
        JsonAt item = json_element(&at, (size_t)*count);
        if (read_tier(arena, &item, &(*out)[*count], max_ns, err) != 0
            || check_before(*out, *count, &item, err) != 0)
            return -1;
    }
    return 0;
}

/* ---- writing ------------------------------------------------------------------------ */

static void write_requests(const char *key, const TraceRequests *r, Text *out)
{
    bool first = true;

    text_printf(out, ",\n      \"%s\": [", key);
    for (int b = 0; b < r->row_bytes_count; b++)
        for (int n = 0; n < r->rows_count; n++)
            for (int q = 0; q < r->in_flight_count; q++) {
                text_printf(out,
                            "%s\n        { \"row_bytes\": %" PRId64 ", \"rows\": %" PRId64
                            ", \"in_flight\": %" PRId64 ", \"us\": ",
                            first ? "" : ",", r->row_bytes[b], r->rows[n], r->in_flight[q]);
                text_us(out, *ns_of(r, b, n, q));
                text_append(out, " }");
                first = false;
            }
    text_append(out, "\n      ]");
}

static void write_share(const char *key, double share, Text *out)
{
    if (share > 0) text_printf(out, ", \"%s\": %.6g", key, share);
}

void tiers_write(const TraceTier *tiers, int count, Text *out)
{
    text_append(out, ",\n  \"storage\": [");
    for (int i = 0; i < count; i++) {
        const TraceTier *tier = &tiers[i];
        text_printf(out, "%s\n    {\n      \"name\": ", i ? "," : "");
        text_json_string(out, tier->name);
        text_printf(out, ", \"kind\": \"%s\"", tier->memory ? "memory" : "disk");
        if (tier->shared) text_append(out, ", \"shared\": true");
        text_printf(out, ", \"size_bytes\": %" PRId64, tier->size_bytes);
        write_share("read_device_share", tier->read.device_share, out);
        write_share("write_device_share", tier->write.device_share, out);
        write_requests("read", &tier->read, out);
        write_requests("write", &tier->write, out);
        text_append(out, "\n    }");
    }
    text_append(out, "\n  ]");
}

/* ---- what a request takes: linear between the points of the grid ----------------------- */

/* Where x lies on an axis: between points at and at + 1 at this fraction, which is beyond 0..1
 * outside of them. */
typedef struct { int at; double fraction; } AxisPlace;

/* False: outside, and that may not be continued. On an axis of one point times are in proportion to
 * x. */
static bool place_on(AxisPlace *out, const int64_t *axis, int count, int64_t x, bool extrapolate)
{
    int i = 0;

    if (!extrapolate && (x < axis[0] || x > axis[count - 1])) return false;
    while (i + 2 < count && axis[i + 1] < x) i++;
    if (count == 1) *out = (AxisPlace){0, (double)x / (double)axis[0] - 1};
    else            *out = (AxisPlace){i, (double)(x - axis[i]) / (double)(axis[i + 1] - axis[i])};
    return true;
}

/* The grid between rows and rows + 1 at a size of rows and a number in flight. */
static double along_rows(const TraceRequests *r, int row_bytes, AxisPlace rows, int in_flight)
{
    double low = (double)*ns_of(r, row_bytes, rows.at, in_flight);
    double high =
        r->rows_count == 1 ? 2 * low : (double)*ns_of(r, row_bytes, rows.at + 1, in_flight);

    return low + rows.fraction * (high - low);
}

static double at_point(const TraceRequests *r, AxisPlace row_bytes, AxisPlace rows, int in_flight)
{
    double low = along_rows(r, row_bytes.at, rows, in_flight);
    double high =
        r->row_bytes_count == 1 ? 2 * low : along_rows(r, row_bytes.at + 1, rows, in_flight);

    return low + row_bytes.fraction * (high - low);
}

bool tier_request(double *ns, const TraceRequests *r, int64_t row_bytes, int64_t rows,
                  bool extrapolate, const char **what, int64_t *value)
{
    AxisPlace of_bytes, of_rows;

    *what = "row_bytes";
    *value = row_bytes;
    if (!place_on(&of_bytes, r->row_bytes, r->row_bytes_count, row_bytes, extrapolate))
        return false;
    *what = "rows";
    *value = rows;
    if (!place_on(&of_rows, r->rows, r->rows_count, rows, extrapolate)) return false;
    for (int q = 0; q < r->in_flight_count; q++) ns[q] = at_point(r, of_bytes, of_rows, q);
    return true;
}

void tier_stream(double *ns, const TraceRequests *r, int64_t bytes)
{
    double most = (double)r->row_bytes[r->row_bytes_count - 1] * (double)r->rows[r->rows_count - 1];

    for (int q = 0; q < r->in_flight_count; q++)
        ns[q] = (double)*ns_of(r, r->row_bytes_count - 1, r->rows_count - 1, q)
                * ((double)bytes / most);
}
