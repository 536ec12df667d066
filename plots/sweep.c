/* A sweep as lines: one a schedule, over the values of a path. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "plots/csv.h"
#include "plots/palette.h"
#include "plots/plot.h"

enum { MAX_VALUES = 1000, MAX_PANELS = 6, INK = 0x222222 };

static const struct { const char *column, *title, *label; double unit; } metrics[METRIC_COUNT] = {
    [METRIC_EPOCH]       = {"epoch_s", "Epoch time", "s", 1},
    [METRIC_SPEEDUP]     = {"speedup", "Speedup over DP", "times DP", 1},
    [METRIC_UTILISATION] = {"utilisation", "Utilisation", "% of the epoch", 0.01},
    [METRIC_MEMORY]      = {"peak_memory_bytes", "Peak memory of a device", "MiB", 1048576},
};

typedef struct {
    double   x, panel, y, low, high;         /* y NaN: not possible; low NaN: no spread */
    Schedule schedule;
} Point;

typedef struct {
    Csv    csv;
    int    axes;             /* leading columns */
    Point *points;
    int    count;
    double panels[MAX_PANELS];
    int    panel_count;
    double values[MAX_VALUES];               /* of x, ascending, each once */
    int    value_count;
    double most;
    bool   has[SCHEDULE_COUNT], spread;
} Data;

/* ---- reading ------------------------------------------------------------------------ */

static int column_of(const Csv *csv, const char *name)
{
    for (int c = 0; c < csv->columns; c++)
        if (strcmp(csv->rows[0][c], name) == 0) return c;
    return -1;
}

static int number_at(const Data *d, const char *path, int row, int column, double *out, Error *err)
{
    const char *text = d->csv.rows[row][column];
    char       *end;

    *out = strtod(text, &end);
    if (end != text && !*end && isfinite(*out)) return 0;
    return error_set(err, "%s:%d:1: \"%.40s\" is not a number, at %.80s", path, d->csv.lines[row], text,
                     d->csv.rows[0][column]);
}

static int read_point(Data *d, const char *path, int row, Metric metric, Error *err)
{
    Point *p = &d->points[d->count++];
    char **fields = d->csv.rows[row];
    int    value = column_of(&d->csv, metrics[metric].column);
    int    low = column_of(&d->csv, "epoch_p5_s"), high = column_of(&d->csv, "epoch_p95_s");

    *p = (Point){.y = NAN, .low = NAN, .high = NAN};
    if (!schedule_find(fields[d->axes], &p->schedule))
        return error_set(err, "%s:%d:1: \"%.40s\" is not a schedule", path, d->csv.lines[row], fields[d->axes]);
    if (number_at(d, path, row, 0, &p->x, err) != 0) return -1;
    if (d->axes == 2 && number_at(d, path, row, 1, &p->panel, err) != 0) return -1;
    d->has[p->schedule] = true;
    if (!*fields[value]) return 0;
    if (number_at(d, path, row, value, &p->y, err) != 0) return -1;
    p->y /= metrics[metric].unit;
    if (p->y > d->most) d->most = p->y;
    if (metric != METRIC_EPOCH || low < 0 || high < 0) return 0;
    d->spread = true;
    if (number_at(d, path, row, low, &p->low, err) != 0 || number_at(d, path, row, high, &p->high, err) != 0) return -1;
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

static int read_points(Data *d, const char *path, Metric metric, Error *err)
{
    d->axes = column_of(&d->csv, "schedule");
    if (d->axes < 0 || column_of(&d->csv, metrics[metric].column) < 0 || column_of(&d->csv, "why") < 0)
        return error_set(err, "%s:1:1: not a sweep, expected what pipebd-sim --vary --format csv prints", path);
    if (d->axes < 1 || d->axes > 2)
        return error_set(err, "%s:1:1: %d varied paths, expected one or two", path, d->axes);
    d->points = calloc((size_t)d->csv.row_count, sizeof *d->points);
    if (!d->points) return error_no_memory(err);
    for (int row = 1; row < d->csv.row_count; row++) {
        if (read_point(d, path, row, metric, err) != 0) return -1;
        const Point *p = &d->points[d->count - 1];
        if (!insert(d->values, &d->value_count, MAX_VALUES, p->x))
            return error_set(err, "%s: more than %d values of %.80s", path, MAX_VALUES, d->csv.rows[0][0]);
        if (!insert(d->panels, &d->panel_count, MAX_PANELS, p->panel))
            return error_set(err, "%s: more than %d values of %.80s, a panel each: vary it less", path, MAX_PANELS,
                             d->csv.rows[0][1]);
    }
    if (d->most > 0) return 0;
    return error_set(err, "%s: no row has a number for %s", path, metrics[metric].column);
}

/* ---- drawing ---------------------------------------------------------------------------- */

static const Point *point_at(const Data *d, Schedule schedule, double panel, double x)
{
    for (int i = 0; i < d->count; i++)
        if (d->points[i].schedule == schedule && d->points[i].panel == panel && d->points[i].x == x) return &d->points[i];
    return NULL;
}

static void write_line(const Data *d, int panel, Schedule schedule, Text *out)
{
    text_printf(out, "$p%d_%s << END\n", panel, schedule_name(schedule));
    for (int v = 0; v < d->value_count; v++) {
        const Point *p = point_at(d, schedule, d->panels[panel], d->values[v]);
        if (!p || isnan(p->y)) text_append(out, "\n");           /* a gap in the line */
        else text_printf(out, "%.10g %.10g %.10g %.10g\n", p->x, p->y, isnan(p->low) ? p->y : p->low,
                         isnan(p->high) ? p->y : p->high);
    }
    text_append(out, "END\n");
}

typedef struct { double y; Schedule schedule; char name[64]; } End;

static int by_height(const void *a, const void *b)
{
    double x = ((const End *)a)->y, y = ((const End *)b)->y;

    return (x > y) - (x < y);
}

/* Names at the right ends of the lines: those that meet share a label, those that are
 * near are moved apart. */
static void write_names(const Data *d, int panel, double top, Text *out)
{
    End    ends[SCHEDULE_COUNT];
    int    count = 0;
    double gap = top * 0.05, last = -gap;

    for (int s = 0; s < SCHEDULE_COUNT; s++)
        for (int v = d->value_count - 1; d->has[s] && v >= 0; v--) {
            const Point *p = point_at(d, (Schedule)s, d->panels[panel], d->values[v]);
            if (!p || isnan(p->y)) continue;
            ends[count] = (End){p->y, (Schedule)s, ""};
            snprintf(ends[count++].name, sizeof ends->name, "%s", schedule_name((Schedule)s));
            break;
        }
    qsort(ends, (size_t)count, sizeof *ends, by_height);
    for (int i = 0; i < count; i++) {
        double y = ends[i].y < last + gap ? last + gap : ends[i].y;
        last = y;
        text_append(out, "set label ");
        plot_string(out, ends[i].name);
        text_printf(out, " at graph 1.02, first %.10g left tc rgb '#%06x'\n", y,
                    (unsigned)(colour_of_schedule(ends[i].schedule) == 0xF0E442 ? INK : colour_of_schedule(ends[i].schedule)));
    }
}

static void write_tics(const Data *d, Text *out)
{
    double first = d->values[0], last = d->values[d->value_count - 1];

    if (d->value_count > 2 && first > 0 && last / first >= 8) text_append(out, "set logscale x 2\n");
    if (d->value_count <= 12) {
        text_append(out, "set xtics (");
        for (int v = 0; v < d->value_count; v++)
            text_printf(out, "%s'%.6g' %.10g", v ? ", " : "", d->values[v], d->values[v]);
        text_append(out, ")\n");
    }
    if (d->value_count > 1) text_printf(out, "set xrange [%.10g:%.10g]\n", first, last);
    text_append(out, "set offsets graph 0.04, graph 0.04, 0, 0\n");
}

static void write_panel(const Data *d, int panel, double top, Text *out)
{
    const char *comma = "";

    write_names(d, panel, top, out);
    for (int s = 0; s < SCHEDULE_COUNT; s++)
        if (d->has[s]) write_line(d, panel, (Schedule)s, out);
    text_append(out, "plot ");
    for (int s = 0; s < SCHEDULE_COUNT; s++) {
        if (!d->has[s]) continue;
        unsigned colour = (unsigned)colour_of_schedule((Schedule)s);
        if (d->spread)
            text_printf(out, "%s$p%d_%s using 1:3:4 with filledcurves fs transparent solid 0.25 noborder fc rgb '#%06x'",
                        comma, panel, schedule_name((Schedule)s), colour);
        if (d->spread) comma = ", \\\n    ";
        text_printf(out, "%s$p%d_%s using 1:2 with linespoints lw 2 pt 7 ps 0.6 lc rgb '#%06x'", comma, panel,
                    schedule_name((Schedule)s), colour);
        comma = ", \\\n    ";
    }
    text_append(out, "\n");
}

static void draw(const Data *d, Metric metric, Plot *out)
{
    double top = d->most * 1.1;
    char   title[160], subtitle[200];
    Text  *script = &out->script;
    int    used = snprintf(title, sizeof title, "%s", metrics[metric].title);

    snprintf(title + used, sizeof title - (size_t)used, " by %.100s", d->csv.rows[0][0]);
    snprintf(subtitle, sizeof subtitle, "simulated%s", d->spread ? "; the band is 5 % to 95 % of the epochs with jitter" : "");
    plot_begin(out, d->axes == 2 ? 120 + 300 * d->panel_count : 620, 400, title, subtitle);
    text_printf(script, "set rmargin 7\nset yrange [0:%.10g]\nset ylabel '%s'\nset xlabel ", top, metrics[metric].label);
    plot_string(script, d->csv.rows[0][0]);
    text_append(script, "\n");
    write_tics(d, script);
    if (d->axes == 1) { write_panel(d, 0, top, script); return; }
    text_printf(script, "set multiplot layout 1,%d margins char 9,char 7,char 4,char 5 spacing char 8,char 1\n", d->panel_count);
    for (int p = 0; p < d->panel_count; p++) {
        char name[160];
        snprintf(name, sizeof name, "%.100s = %g", d->csv.rows[0][1], d->panels[p]);
        if (p == 1) text_append(script, "set ylabel ''\nset format y ''\n");
        if (p > 0) text_append(script, "unset label\n");
        text_append(script, "set label ");
        plot_string(script, name);
        text_append(script, " at graph 0, graph 0.96 left offset 0.5,0 tc rgb '#444444'\n");
        write_panel(d, p, top, script);
    }
    text_append(script, "unset multiplot\n");
}

int plot_sweep(Plot *out, const char *path, Metric metric, Error *err)
{
    Data  *d = calloc(1, sizeof *d);
    char  *text = NULL;
    size_t length;
    int    rc = -1;

    if (!d) return error_no_memory(err);
    if (file_read(&text, &length, path, 0, err) != 0) goto done;
    if (csv_parse(&d->csv, path, text, length, err) != 0) goto done;
    if (read_points(d, path, metric, err) != 0) goto done;
    draw(d, metric, out);
    rc = text_failed(&out->script) ? error_no_memory(err) : 0;
done:
    csv_free(&d->csv);
    free(d->points);
    free(d);
    free(text);
    return rc;
}
