/* Timelines as a Gantt chart: a row a device and lane. */
#include "plots/gantt.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plots/palette.h"
#include "plots/picture.h"

/* Pixels: of a plot's chart, of a page's picture, and of the names at its left. */
enum { CHART = 780, DESK = 900, PHONE = 400, NAMES = 80 };

/* ---- drawing ----------------------------------------------------------------------------- */

typedef struct {
    int    rows, first;
    double width_us, pixel_us;           /* pixel_us: about what a pixel stands for */
    bool   several, schedules;           /* timelines; of schedules that differ */
    bool   seen[OP_COUNT];
} Chart;

static void draw_boxes(const Gantt *g, Chart *chart, Scene *scene)
{
    for (int i = 0; i < g->box_count; i++) {
        const Box *b = &g->boxes[i];
        if (b->row < 0 || !gantt_within(g, b)) continue;
        double x0 = b->start_us > g->from_us ? b->start_us : g->from_us,
               x1 = b->end_us < g->to_us ? b->end_us : g->to_us;
        double y = chart->rows - chart->first - b->row - 0.5;
        char   text[16];
        x0 = (x0 - g->from_us) / 1000;
        x1 = (x1 - g->from_us) / 1000;
        scene_box(scene, x0, x1, y - 0.42, y + 0.42, colour_of_op(b->op));
        chart->seen[b->op == OP_RECV ? OP_SEND : b->op == OP_OFFLOAD ? OP_ONLOAD : b->op] = true;
        if (b->op == OP_BARRIER || (x1 - x0) * 1000 < (b->block < 10 ? 11 : 17) * chart->pixel_us)
            continue;
        snprintf(text, sizeof text, "%d", b->block);
        scene_label(scene, (x0 + x1) / 2, y, "center", 9, colour_of_text(colour_of_op(b->op)),
                    text);
    }
}

static void draw_keys(const Chart *chart, Scene *scene)
{
    static const char *const names[OP_COUNT] = {
        "load",   "relay",   "relay", "teacher", "forward", "backward", "all-reduce",
        "update", "barrier", "store", "fetch",   "weights", "weights"};

    for (int op = 0; op < OP_COUNT; op++)
        if (chart->seen[op]) scene_key(scene, colour_of_op((Op)op), names[op]);
}

static const char *kind_of(const Gantt *g) { return g->measured ? "measured" : "simulated"; }

/* What tells a timeline from the others. */
static const char *label_of(const Gantt *g, const Chart *chart)
{
    return chart->schedules ? g->schedule : kind_of(g);
}

/* A lane of the loader or the store belongs to the device in whose rows it stands, so that its
 * number must not read as another device's. */
static void name_lane(char *out, size_t size, const Gantt *g, const Track *t)
{
    int         lanes = 0, first = t->track >= TRACK_STORAGE ? TRACK_STORAGE : TRACK_LOADER;
    const char *name = first == TRACK_STORAGE ? "storage" : "loader";

    for (int i = 0; i < g->track_count; i++)
        lanes += g->tracks[i].device == t->device && g->tracks[i].track >= first
                 && (first == TRACK_STORAGE || g->tracks[i].track < TRACK_STORAGE);
    if (t->track < TRACK_LOADER) snprintf(out, size, "%s", t->name);
    else if (lanes == 1)         snprintf(out, size, "%s", name);
    else                         snprintf(out, size, "%s lane %d", name, t->track - first);
}

static void write_rows(const Gantt *g, const Chart *chart, Text *out)
{
    for (int i = 0; i < g->track_count; i++) {
        const Track *t = &g->tracks[i];
        char         name[64];
        if (t->row < 0) continue;
        if (t->track == 0)
            snprintf(name, sizeof name, "%s%sdevice %d", chart->several ? label_of(g, chart) : "",
                     chart->several ? ", " : "", t->device);
        else               name_lane(name, sizeof name, g, t);
        text_append(out, chart->first + t->row ? ", " : "");
        plot_tic(out, name);
        text_printf(out, " %.1f", chart->rows - chart->first - t->row - 0.5);
    }
}

/* Title and subtitle over all timelines, what is left out included, and the plot's size. */
static void write_titles(const Gantt *g, int count, Plot *out, int rows)
{
    int  all = 0;
    bool left_out = false;
    char title[160], subtitle[240];

    for (int n = 0; n < count; n++) {
        left_out |= g[n].left_out;
        for (int i = 0; i < g[n].track_count; i++) all += g[n].tracks[i].shown;
    }
    int length = snprintf(title, sizeof title, "%s: %s", g->trace, g->schedule);
    for (int n = 1; n < count && length < 140; n++)
        if (strcmp(g[n].schedule, g[n - 1].schedule) != 0)
            length +=
                snprintf(title + length, sizeof title - (size_t)length, ", %s", g[n].schedule);
    int used = snprintf(subtitle, sizeof subtitle, "%s, from %.3f ms on", kind_of(&g[0]),
                        g[0].from_us / 1000);
    for (int n = 1; n < count && used < 120; n++)
        used += snprintf(subtitle + used, sizeof subtitle - (size_t)used, "; %s, from %.3f ms on",
                         kind_of(&g[n]), g[n].from_us / 1000);
    used += snprintf(subtitle + used, sizeof subtitle - (size_t)used, "; numbers are blocks");
    if (left_out)
        used += snprintf(subtitle + used, sizeof subtitle - (size_t)used,
                         "; lanes busy below %.1f %% are left out", 100 * LEAST_BUSY);
    if (all > rows)
        snprintf(subtitle + used, sizeof subtitle - (size_t)used, "; the first %d of %d lanes",
                 rows, all);
    plot_begin(out, 980, 130 + 26 * rows, title, subtitle);
}

/* The rows of all, and the axes around them. */
static void draw_rows(const Gantt *g, int count, Chart *chart, Scene *scene, Plot *out)
{
    text_append(&out->script, "set ytics (");
    scene->thin_below = 3 * chart->pixel_us / 1000;
    for (int n = 0; n < count; n++) {
        write_rows(&g[n], chart, &out->script);
        draw_boxes(&g[n], chart, scene);
        chart->first += g[n].rows;
    }
    text_append(&out->script,
                ") scale 0\nset grid noytics xtics lc rgb '#dddddd' lt 1\nset border 1\n");
    text_printf(&out->script, "set xrange [0:%.9g]\nset yrange [0:%d]\nset xlabel 'ms'\n",
                chart->width_us / 1000, chart->rows);
}

static int draw(const Gantt *g, int count, Plot *out, Error *err)
{
    Scene scene = {0};
    Chart chart = {.several = count > 1};

    for (int n = 0; n < count; n++) {
        chart.rows += g[n].rows;
        chart.schedules = chart.schedules || strcmp(g[n].schedule, g->schedule) != 0;
        chart.width_us = fmax(chart.width_us, g[n].to_us - g[n].from_us);
    }
    write_titles(g, count, out, chart.rows);
    chart.pixel_us = chart.width_us / CHART;
    draw_rows(g, count, &chart, &scene, out);
    draw_keys(&chart, &scene);
    return scene_end(&scene, out, err);
}

void gantt_put(const Gantt *g, Text *page, const char *label)
{
    static const int widths[] = {DESK, PHONE};
    Plot             plots[2] = {{{0}, 0, 0}};
    Error            err = {""};

    for (int i = 0; i < 2; i++) {
        Scene scene = {0};
        Chart chart = {.rows = g->rows, .width_us = g->to_us - g->from_us};
        chart.pixel_us = chart.width_us / (widths[i] - NAMES);
        plot_axes(&plots[i], widths[i], 46 + (i ? 22 : 26) * g->rows);
        text_append(&plots[i].script, "set tmargin 0.5\nset rmargin 2\n");
        draw_rows(g, 1, &chart, &scene, &plots[i]);
        if (scene_end(&scene, &plots[i], &err) != 0) page->failed = true;
    }
    picture_put(page, &plots[0], &plots[1], label);
}

bool gantt_shows(const Gantt *g, Op op)
{
    for (int i = 0; i < g->box_count; i++) {
        const Box *b = &g->boxes[i];
        if (b->row >= 0 && gantt_within(g, b) && (b->op == OP_RECV ? OP_SEND : b->op) == op)
            return true;
    }
    return false;
}

int gantt_rows_left_out(const Gantt *g)
{
    int count = 0;

    for (int i = 0; i < g->track_count; i++) count += g->tracks[i].shown && g->tracks[i].row < 0;
    return count;
}

int plot_gantt(Plot *out, const char *const *paths, int count, double from_us, double to_us,
               Error *err)
{
    Gantt g[GANTT_MAX] = {{0}};
    int   rc = 0;

    if (count > GANTT_MAX)
        return error_set(err, "%d timelines, expected at most %d", count, GANTT_MAX);
    for (int n = 0; n < count && rc == 0; n++)
        rc = gantt_read(&g[n], paths[n], GANTT_STEPS, from_us, to_us, err);
    if (rc == 0) rc = draw(g, count, out, err);
    for (int n = 0; n < count; n++) gantt_free(&g[n]);
    return rc;
}
