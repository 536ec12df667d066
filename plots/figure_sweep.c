/* A sweep as lines. Lines are drawn in a square that is stretched to the panel, their ends and
 * the axes' texts beside it in per cent. */
#include <math.h>
#include <stdio.h>

#include "plots/figures.h"

enum { HEIGHT = 240, MAX_TICKS = 12 };

/* 0..1 along the axis of values. */
static double along(const SweepData *d, double x)
{
    double first = d->values[0], last = d->values[d->value_count - 1];

    if (!(last > first)) return 0.5;
    return sweep_is_wide(d) ? log(x / first) / log(last / first) : (x - first) / (last - first);
}

static double across(const SweepData *d, double x) { return 3 + 94 * along(d, x); }

static double down(double y, double top) { return 100 - 100 * y / top; }

static void line(Text *out, const SweepData *d, double panel, Schedule schedule, double top)
{
    bool open = false;

    for (int v = 0; v < d->value_count; v++) {
        const SweepPoint *p = sweep_point(d, schedule, panel, d->values[v]);
        if (!p || isnan(p->y)) {                                 /* a gap */
            if (open) text_append(out, "\"/>");
            open = false;
            continue;
        }
        if (!open) text_printf(out, "<polyline class=\"%s\" points=\"", class_of_schedule(schedule));
        text_printf(out, "%s%.3f,%.3f", open ? " " : "", across(d, p->x), down(p->y, top));
        open = true;
    }
    if (open) text_append(out, "\"/>");
}

static void band(Text *out, const SweepData *d, double panel, Schedule schedule, double top)
{
    text_printf(out, "<polygon class=\"%s\" points=\"", class_of_schedule(schedule));
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < d->value_count; i++) {
            int               v = pass ? d->value_count - 1 - i : i;
            const SweepPoint *p = sweep_point(d, schedule, panel, d->values[v]);
            if (p && !isnan(p->low)) text_printf(out, "%.3f,%.3f ", across(d, p->x), down(pass ? p->high : p->low, top));
        }
    text_append(out, "\"/>");
}

static void points(Text *out, const SweepData *d, double panel, Schedule schedule, const SweepMetric *metric, double top)
{
    for (int v = 0; v < d->value_count; v++) {
        const SweepPoint *p = sweep_point(d, schedule, panel, d->values[v]);
        if (!p || isnan(p->y)) continue;
        text_printf(out, "<circle class=\"%s\" cx=\"%.3f%%\" cy=\"%.3f%%\" r=\"3.5\"><title>%s at %g: %.4g ",
                    class_of_schedule(schedule), across(d, p->x), down(p->y, top), schedule_name(schedule), p->x, p->y);
        html_text(out, metric->label);
        text_append(out, "</title></circle>");
    }
}

static void value_ticks(Text *out, const SweepData *d)
{
    int  every = (d->value_count + MAX_TICKS - 1) / MAX_TICKS;
    char text[32];

    svg_begin(out, 22, "values");
    for (int v = 0; v < d->value_count; v += every) {
        snprintf(text, sizeof text, "%.6g", d->values[v]);
        svg_text(out, v / every % 2 && d->value_count > 6 ? "axis wide" : "axis", across(d, d->values[v]), 15, "middle", text);
    }
    svg_end(out);
}

void figure_sweep_panel(Text *out, const SweepData *d, double panel, Metric kind)
{
    const SweepMetric *metric = &sweep_metrics[kind];
    double step = axis_step(d->most), top = d->most * 1.06;
    char   text[200];

    snprintf(text, sizeof text, "%s by %.100s", metric->title, d->csv.rows[0][0]);
    text_append(out, "<div class=\"panel chart\">");
    svg_begin(out, HEIGHT, metric->label);
    for (int i = 0; i * step <= top; i++) {
        snprintf(text, sizeof text, "%g", i * step);
        svg_text(out, "axis", 100, HEIGHT * down(i * step, top) / 100 + 4, "end", text);
    }
    svg_end(out);
    snprintf(text, sizeof text, "%s by %.100s", metric->title, d->csv.rows[0][0]);
    svg_begin(out, HEIGHT, text);
    for (int i = 0; i * step <= top; i++)
        text_printf(out, "<line x1=\"0\" x2=\"100%%\" y1=\"%.3f%%\" y2=\"%.3f%%\"/>", down(i * step, top), down(i * step, top));
    text_append(out, "<svg width=\"100%\" height=\"100%\" viewBox=\"0 0 100 100\" preserveAspectRatio=\"none\">");
    for (int s = 0; s < SCHEDULE_COUNT; s++)
        if (d->has[s] && d->spread) band(out, d, panel, (Schedule)s, top);
    for (int s = 0; s < SCHEDULE_COUNT; s++)
        if (d->has[s]) line(out, d, panel, (Schedule)s, top);
    text_append(out, "</svg>");
    for (int s = 0; s < SCHEDULE_COUNT; s++)
        if (d->has[s]) points(out, d, panel, (Schedule)s, metric, top);
    svg_end(out);
    text_append(out, "<span></span>");
    value_ticks(out, d);
    text_append(out, "</div>\n");
}

void figure_sweep_keys(Text *out, const SweepData *d)
{
    html_keys(out);
    for (int s = 0; s < SCHEDULE_COUNT; s++)
        if (d->has[s]) html_key(out, class_of_schedule((Schedule)s), schedule_name((Schedule)s));
    html_keys_end(out);
}

void figure_sweep(Text *out, const SweepData *d, Metric metric)
{
    const SweepMetric *m = &sweep_metrics[metric];
    char               text[200];

    figure_sweep_keys(out, d);
    snprintf(text, sizeof text, "%s (%s) over %.100s", m->title, m->label, d->csv.rows[0][0]);
    if (d->axes == 1) {
        text_append(out, "<p class=\"over\">");
        html_text(out, text);
        text_append(out, "</p>\n");
        figure_sweep_panel(out, d, d->panels[0], metric);
        return;
    }
    text_append(out, "<div class=\"pairs\">\n");
    for (int p = 0; p < d->panel_count; p++) {
        char at[160];
        snprintf(at, sizeof at, ", %.100s = %g", d->csv.rows[0][1], d->panels[p]);
        text_append(out, "<div><p class=\"over\">");
        html_text(out, text);
        html_text(out, at);
        text_append(out, "</p>\n");
        figure_sweep_panel(out, d, d->panels[p], metric);
        text_append(out, "</div>\n");
    }
    text_append(out, "</div>\n");
}
