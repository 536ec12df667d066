/* A sweep as lines: one a schedule, over the values of a path. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plots/palette.h"
#include "plots/picture.h"
#include "plots/sweep_read.h"

/* ---- drawing ---------------------------------------------------------------------------- */

static void write_line(const SweepData *d, int panel, Schedule schedule, Text *out)
{
    text_printf(out, "$p%d_%s << END\n", panel, schedule_name(schedule));
    for (int v = 0; v < d->value_count; v++) {
        const SweepPoint *p = sweep_point(d, schedule, d->panels[panel], d->values[v]);
        if (!p || isnan(p->y)) text_append(out, "\n");           /* a gap in the line */
        else
            text_printf(out, "%.10g %.10g %.10g %.10g\n", p->x, p->y, isnan(p->low) ? p->y : p->low,
                        isnan(p->high) ? p->y : p->high);
    }
    text_append(out, "END\n");
}

typedef struct { double y; Schedule schedule; char name[64]; } LineEnd;

static int by_height(const void *a, const void *b)
{
    double x = ((const LineEnd *)a)->y, y = ((const LineEnd *)b)->y;

    return (x > y) - (x < y);
}

/* Names at the right ends of the lines: those that meet share a label, those that are
 * near are moved apart. */
static void write_names(const SweepData *d, int panel, double top, Text *out)
{
    LineEnd    ends[SCHEDULE_COUNT];
    int    count = 0;
    double gap = top * 0.05, last = -gap;

    for (int s = 0; s < SCHEDULE_COUNT; s++)
        for (int v = d->value_count - 1; d->has[s] && v >= 0; v--) {
            const SweepPoint *p = sweep_point(d, (Schedule)s, d->panels[panel], d->values[v]);
            if (!p || isnan(p->y)) continue;
            ends[count] = (LineEnd){p->y, (Schedule)s, ""};
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
                    (unsigned)colour_of_schedule(ends[i].schedule));
    }
}

static void write_tics(const SweepData *d, bool logs, Text *out)
{
    double first = d->values[0], last = d->values[d->value_count - 1];
    double margin = logs ? pow(last / first, 0.03) : (last - first) * 0.03;

    if (logs) text_append(out, "set logscale x 2\n");
    if (d->value_count <= 12) {
        text_append(out, "set xtics (");
        for (int v = 0; v < d->value_count; v++)
            text_printf(out, "%s'%.6g' %.10g", v ? ", " : "", d->values[v], d->values[v]);
        text_append(out, ")\n");
    }
    if (d->value_count > 1)
        text_printf(out, "set xrange [%.10g:%.10g]\n", logs ? first / margin : first - margin,
                    logs ? last * margin : last + margin);
}

/* One panel as a gnuplot script: a line a schedule over the varied value, named at its right end,
 * and behind it the range of what jitter makes of it, if the sweep has one. top: of the y axis. */
static void write_panel(const SweepData *d, int panel, double top, Text *out)
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
            text_printf(out,
                        "%s$p%d_%s using 1:3:4 with filledcurves fs transparent solid 0.25 "
                        "noborder fc rgb '#%06x'",
                        comma, panel, schedule_name((Schedule)s), colour);
        if (d->spread) comma = ", \\\n    ";
        text_printf(out, "%s$p%d_%s using 1:2 with linespoints lw 2 pt 7 ps 0.6 lc rgb '#%06x'",
                    comma, panel, schedule_name((Schedule)s), colour);
        comma = ", \\\n    ";
    }
    text_append(out, "\n");
}

/* Characters that the left margin needs: the axis's numbers, its name, and a gap. */
static int left_margin(double top)
{
    static const double steps[] = {1, 2, 5};
    int                 most = 0;
    char                text[32];

    for (int i = 0; i < 3; i++) {
        double step = steps[i] * pow(10, floor(log10(top > 0 ? top / 4 : 1)));
        for (int k = 1; k * step <= top && k < 50; k++) {
            int length = snprintf(text, sizeof text, "%g", k * step);
            if (length > most) most = length;
        }
    }
    return most + 5;
}

void sweep_put(const SweepData *d, int panel, Metric metric, Text *page, const char *label)
{
    Plot plot = {0};
    Text *script = &plot.script;

    plot_axes(&plot, 400, 250);
    text_printf(script,
                "set tmargin 1\nset lmargin %d\nset rmargin 7\nset yrange [0:%.10g]\nset ylabel "
                "'%s'\nset xlabel ",
                left_margin(d->most * 1.1), d->most * 1.1, sweep_metrics[metric].label);
    plot_string(script, d->csv.rows[0][0]);
    text_append(script, "\n");
    write_tics(d, sweep_is_wide(d), script);
    write_panel(d, panel, d->most * 1.1, script);
    picture_put(page, &plot, NULL, label);
}

/* The sweep as a plot: one panel, or with two axes one a value of the second, all on one scale. */
static void draw(const SweepData *d, Metric metric, Plot *out)
{
    double top = d->most * 1.1;
    char   title[160], subtitle[200];
    Text  *script = &out->script;
    int    used = snprintf(title, sizeof title, "%s", sweep_metrics[metric].title);

    snprintf(title + used, sizeof title - (size_t)used, " by %.100s", d->csv.rows[0][0]);
    snprintf(subtitle, sizeof subtitle, "simulated%s%s",
             d->spread ? "; the band is 5 % to 95 % of the epochs with jitter" : "",
             d->lacking ? "; where dp is not possible there is no speedup" : "");
    plot_begin(out, d->axes == 2 ? 120 + 300 * d->panel_count : 620, d->axes == 2 ? 420 : 400,
               title, subtitle);
    text_printf(script, "set rmargin 7\nset yrange [0:%.10g]\nset ylabel '%s'\nset xlabel ", top,
                sweep_metrics[metric].label);
    plot_string(script, d->csv.rows[0][0]);
    text_append(script, "\n");
    write_tics(d, sweep_is_wide(d), script);
    if (d->axes == 1) { write_panel(d, 0, top, script); return; }
    /* room for the panels' names */
    text_append(script, "set label 1 offset 0,3.4\nset label 2 offset 0,2.1\n");
    text_printf(
        script,
        "set multiplot layout 1,%d margins char %d,char 7,char 4,char 6.2 spacing char 8,char 1\n",
        d->panel_count, left_margin(top));
    for (int p = 0; p < d->panel_count; p++) {
        char name[160];
        snprintf(name, sizeof name, "%.100s = %g", d->csv.rows[0][1], d->panels[p]);
        if (p == 1) text_append(script, "set ylabel ''\nset format y ''\n");
        if (p > 0) text_append(script, "unset label\n");
        text_append(script, "set label ");
        plot_string(script, name);
        text_append(script, " at graph 0, graph 1 left offset 0,0.6 tc rgb '#444444'\n");
        write_panel(d, p, top, script);
    }
    text_append(script, "unset multiplot\n");
}

int plot_sweep(Plot *out, const char *path, Metric metric, Error *err)
{
    SweepData *d;
    int        rc = sweep_read(&d, path, metric, err);

    if (rc == 0) {
        draw(d, metric, out);
        if (text_failed(&out->script)) rc = error_no_memory(err);
    }
    sweep_data_free(d);
    return rc;
}

/* ---- the horizon -------------------------------------------------------------------------- */

/* The total of a schedule at x, between two values in a straight line; NaN: not possible there. */
static double total_at(const SweepData *d, Schedule schedule, double x)
{
    for (int v = 0; v + 1 < d->value_count; v++) {
        const SweepPoint *a = sweep_point(d, schedule, d->panels[0], d->values[v]);
        const SweepPoint *b = sweep_point(d, schedule, d->panels[0], d->values[v + 1]);
        if (!a || !b || x < a->x || x > b->x) continue;
        return a->y + (b->y - a->y) * (x - a->x) / (b->x - a->x);
    }
    return NAN;
}

static bool is_fastest(const SweepData *d, double x, double y)
{
    for (int s = 0; s < SCHEDULE_COUNT; s++)
        if (d->has[s] && total_at(d, (Schedule)s, x) < y - 1e-9 * fabs(y)) return false;
    return true;
}

/* Where lines a and b cross between two values of x, if nothing is faster there: a ring, and the
 * number of epochs. */
static void mark_crossing(const SweepData *d, Schedule a, Schedule b, double left, double right,
                          Text *out)
{
    double before = total_at(d, a, left) - total_at(d, b, left),
           behind = total_at(d, a, right) - total_at(d, b, right);

    if (isnan(before) || isnan(behind) || before * behind >= 0) return;
    double x = left + (right - left) * before / (before - behind), y = total_at(d, a, x);
    if (!is_fastest(d, x, y)) return;
    text_printf(out,
                "set label '%.3g' at %.10g,%.10g point pt 6 ps 1.6 lw 1.5 center offset 0,1.1 "
                "front tc rgb '#222222'\n",
                x, x, y);
}

/* Totals in place of epochs, in the unit that suits them. */
static const char *make_totals(SweepData *d)
{
    double unit, most = 0;

    for (int i = 0; i < d->count; i++)
        if (!isnan(d->points[i].y)) most = fmax(most, d->points[i].y * d->points[i].x);
    unit = most > 3 * 86400 ? 86400 : most > 7200 ? 3600 : most > 300 ? 60 : 1;
    for (int i = 0; i < d->count; i++) {
        d->points[i].y *= d->points[i].x / unit;
        d->points[i].low = d->points[i].high = NAN;
    }
    d->spread = false;
    d->most = most / unit;
    return unit == 86400 ? "days" : unit == 3600 ? "h" : unit == 60 ? "min" : "s";
}

static void draw_horizon(SweepData *d, Plot *out)
{
    const char *unit = make_totals(d);
    double      top = d->most * 1.1;
    Text       *script = &out->script;

    plot_begin(out, 620, 400, "Total time by epochs",
               "simulated; rings: from so many epochs on another schedule is the fastest");
    text_printf(
        script,
        "set rmargin 11\nset yrange [0:%.10g]\nset ylabel 'all epochs, %s'\nset xlabel 'epochs'\n",
        top, unit);
    write_tics(d, false, script);
    for (int a = 0; a < SCHEDULE_COUNT; a++)
        for (int b = a + 1; b < SCHEDULE_COUNT; b++)
            for (int v = 0; d->has[a] && d->has[b] && v + 1 < d->value_count; v++)
                mark_crossing(d, (Schedule)a, (Schedule)b, d->values[v], d->values[v + 1], script);
    write_panel(d, 0, top, script);
}

int plot_horizon(Plot *out, const char *path, Error *err)
{
    SweepData *d;
    int        rc = sweep_read(&d, path, METRIC_EPOCH, err);

    if (rc == 0 && (d->axes != 1 || strcmp(d->csv.rows[0][0], "epochs") != 0))
        rc = error_set(err,
                       "%s:1:1: a sweep of %.80s, expected one of epochs (pipebd-sim --vary "
                       "epochs=1,2,5,10 --format csv)",
                       path, d->csv.rows[0][0]);
    if (rc == 0) {
        draw_horizon(d, out);
        if (text_failed(&out->script)) rc = error_no_memory(err);
    }
    sweep_data_free(d);
    return rc;
}
