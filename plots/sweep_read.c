#include "plots/sweep_read.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

const SweepMetric sweep_metrics[METRIC_COUNT] = {
    [METRIC_EPOCH]       = {"epoch_s", "Epoch time", "s", 1},
    [METRIC_SPEEDUP]     = {"speedup", "Speedup over DP", "times DP", 1},
    [METRIC_UTILISATION] = {"utilisation", "Utilisation", "% of the epoch", 0.01},
    [METRIC_MEMORY]      = {"peak_memory_bytes", "Peak memory of a device", "MiB", 1048576},
};

static int column_of(const Csv *csv, const char *name)
{
    for (int c = 0; c < csv->columns; c++)
        if (strcmp(csv->rows[0][c], name) == 0) return c;
    return -1;
}

static int number_at(const SweepData *d, const char *path, int row, int column, double *out,
                     Error *err)
{
    const char *text = d->csv.rows[row][column];
    char       *end;

    *out = strtod(text, &end);
    if (end != text && !*end && isfinite(*out)) return 0;
    return error_set(err, "%s:%d:1: \"%.40s\" is not a number, at %.80s", path, d->csv.lines[row],
                     text, d->csv.rows[0][column]);
}

/* A row of the sweep. y stays NAN where the point was not possible, or has no speedup. */
static int read_point(SweepData *d, const char *path, int row, Metric metric, Error *err)
{
    SweepPoint *p = &d->points[d->count++];
    char **fields = d->csv.rows[row];
    int    value = column_of(&d->csv, sweep_metrics[metric].column);
    int    low = column_of(&d->csv, "epoch_p5_s"), high = column_of(&d->csv, "epoch_p95_s");

    *p = (SweepPoint){.y = NAN, .low = NAN, .high = NAN};
    if (!schedule_find(fields[d->axes], &p->schedule))
        return error_set(err, "%s:%d:1: \"%.40s\" is not a schedule", path, d->csv.lines[row],
                         fields[d->axes]);
    if (number_at(d, path, row, 0, &p->x, err) != 0) return -1;
    if (d->axes == 2 && number_at(d, path, row, 1, &p->panel, err) != 0) return -1;
    d->has[p->schedule] = true;
    if (!*fields[value]) {
        d->lacking |= !*fields[column_of(&d->csv, "why")];
        return 0;
    }
    if (number_at(d, path, row, value, &p->y, err) != 0) return -1;
    p->y /= sweep_metrics[metric].unit;
    if (p->y > d->most) d->most = p->y;
    if (metric != METRIC_EPOCH || low < 0 || high < 0) return 0;
    d->spread = true;
    if (number_at(d, path, row, low, &p->low, err) != 0
        || number_at(d, path, row, high, &p->high, err) != 0)
        return -1;
    if (p->high > d->most) d->most = p->high;
    return 0;
}

/* Adds value to an ascending list unless it is there; false when there is no room. */
static bool insert(double *list, int *count, int room, double value)
{
    int at = 0;

    while (at < *count && list[at] < value) at++;
    if (at < *count && list[at] == value) return true;
    if (*count == room) return false;
    memmove(&list[at + 1], &list[at], (size_t)(*count - at) * sizeof *list);
    list[at] = value;
    (*count)++;
    return true;
}

/* Reads the points of a sweep's CSV: columns before "schedule" are what was varied, the first the x
 * axis, the second a panel for each of its values. A sweep in which no row has the metric is an
 * error. */
static int read_points(SweepData *d, const char *path, Metric metric, Error *err)
{
    d->axes = column_of(&d->csv, "schedule");
    if (d->axes < 0 || column_of(&d->csv, sweep_metrics[metric].column) < 0
        || column_of(&d->csv, "why") < 0)
        return error_set(
            err, "%s:1:1: not a sweep, expected what pipebd-sim --vary --format csv prints", path);
    if (d->axes < 1 || d->axes > 2)
        return error_set(err, "%s:1:1: %d varied paths, expected one or two", path, d->axes);
    d->points = calloc((size_t)d->csv.row_count, sizeof *d->points);
    if (!d->points) return error_no_memory(err);
    for (int row = 1; row < d->csv.row_count; row++) {
        if (read_point(d, path, row, metric, err) != 0) return -1;
        const SweepPoint *p = &d->points[d->count - 1];
        if (!insert(d->values, &d->value_count, SWEEP_MAX_VALUES, p->x))
            return error_set(err, "%s: more than %d values of %.80s", path, SWEEP_MAX_VALUES,
                             d->csv.rows[0][0]);
        if (!insert(d->panels, &d->panel_count, SWEEP_MAX_PANELS, p->panel))
            return error_set(err, "%s: more than %d values of %.80s, a panel each: vary it less",
                             path, SWEEP_MAX_PANELS, d->csv.rows[0][1]);
    }
    if (d->most > 0) return 0;
    return error_set(err, "%s: no row has a number for %s", path, sweep_metrics[metric].column);
}

const SweepPoint *sweep_point(const SweepData *d, Schedule schedule, double panel, double x)
{
    for (int i = 0; i < d->count; i++)
        if (d->points[i].schedule == schedule && d->points[i].panel == panel && d->points[i].x == x)
            return &d->points[i];
    return NULL;
}

bool sweep_is_whole(const SweepData *d)
{
    int schedules = 0;

    for (int s = 0; s < SCHEDULE_COUNT; s++) schedules += d->has[s];
    return d->count >= schedules * d->value_count * d->panel_count;
}

bool sweep_is_wide(const SweepData *d)
{
    double first = d->values[0], last = d->values[d->value_count - 1];

    return d->value_count > 2 && first > 0 && last / first >= 8;
}

int sweep_parse(SweepData **out, const char *path, const char *text, size_t length, Metric metric,
                Error *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out) return error_no_memory(err);
    if (csv_parse(&(*out)->csv, path, text, length, err) != 0) return -1;
    return read_points(*out, path, metric, err);
}

int sweep_read(SweepData **out, const char *path, Metric metric, Error *err)
{
    char  *text = NULL;
    size_t length;
    int    rc = -1;

    *out = NULL;
    if (file_read(&text, &length, path, 0, err) == 0)
        rc = sweep_parse(out, path, text, length, metric, err);
    free(text);
    return rc;
}

void sweep_data_free(SweepData *d)
{
    if (!d) return;
    csv_free(&d->csv);
    free(d->points);
    free(d);
}
