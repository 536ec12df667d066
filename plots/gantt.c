/* Timelines as a Gantt chart: a row a device and lane. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "plots/palette.h"
#include "plots/plot.h"

enum { MAX_ROWS = 64, MAX_TRACKS = 1 << 12, STEPS = 3 };

#define LEAST_BUSY 0.005     /* of the window: what other lanes are shown from */

typedef struct {
    int     device, track, row;              /* row -1: not shown */
    Op      op;
    int     block;
    int64_t step;
    double  start_us, end_us;
} Box;

typedef struct {
    int  device, track;
    char name[32];           /* of the lane */
    double busy;             /* part of the window */
    bool used, shown;
    int  row;
} Track;

typedef struct {
    Box     *boxes;
    int      box_count;
    Track   *tracks;
    int      track_count, rows;
    char     trace[128], schedule[16];
    bool     measured, left_out;
    double   from_us, to_us;
} Gantt;

/* ---- reading ---------------------------------------------------------------------- */

static int find_op(const JsonAt *at, Op *out, Error *err)
{
    const char *name;

    if (json_get_string(at, &name, err) != 0) return -1;
    for (int op = 0; op < OP_COUNT; op++)
        if (strcmp(op_name((Op)op), name) == 0) { *out = (Op)op; return 0; }
    return json_fail(at, err, "not an instruction, expected TEACHER, FORWARD, ...");
}

static Track *track_of(Gantt *g, int device, int track)
{
    for (int i = 0; i < g->track_count; i++)
        if (g->tracks[i].device == device && g->tracks[i].track == track) return &g->tracks[i];
    if (g->track_count == MAX_TRACKS) return NULL;
    g->tracks[g->track_count] = (Track){.device = device, .track = track};
    snprintf(g->tracks[g->track_count].name, sizeof g->tracks->name, "lane %d", track);
    return &g->tracks[g->track_count++];
}

static int read_place(const JsonAt *event, int64_t *device, int64_t *track, Error *err)
{
    JsonAt pid = json_member(event, "pid"), tid = json_member(event, "tid");

    return json_get_integer(&pid, 0, 1 << 20, device, err) == 0 && json_get_integer(&tid, 0, 1 << 20, track, err) == 0 ? 0 : -1;
}

/* A name of a lane. */
static int read_meta(Gantt *g, const JsonAt *event, Error *err)
{
    JsonAt      kind_at = json_member(event, "name"), args = json_member(event, "args"), name_at = json_member(&args, "name");
    const char *kind, *name;
    int64_t     device, track;

    if (json_get_string(&kind_at, &kind, err) != 0 || read_place(event, &device, &track, err) != 0) return -1;
    if (strcmp(kind, "thread_name") != 0) return 0;
    if (json_get_string(&name_at, &name, err) != 0) return -1;
    Track *t = track_of(g, (int)device, (int)track);
    if (!t) return json_fail(event, err, "too many lanes, expected at most %d", MAX_TRACKS);
    snprintf(t->name, sizeof t->name, "%.31s", name);
    return 0;
}

static int read_box(Gantt *g, const JsonAt *event, Error *err)
{
    JsonAt  args = json_member(event, "args"), op = json_member(&args, "op"), block = json_member(&args, "block");
    JsonAt  step = json_member(&args, "step"), ts = json_member(event, "ts"), dur = json_member(event, "dur");
    Box    *b = &g->boxes[g->box_count];
    int64_t device, track, number;

    if (read_place(event, &device, &track, err) != 0 || json_get_object(&args, err) != 0 || find_op(&op, &b->op, err) != 0
        || json_get_integer(&block, 0, 1 << 20, &number, err) != 0
        || json_get_integer(&step, 0, JSON_MAX_INTEGER, &b->step, err) != 0
        || json_get_number(&ts, 0, &b->start_us, err) != 0 || json_get_number(&dur, 0, &b->end_us, err) != 0) return -1;
    if (!track_of(g, (int)device, (int)track))
        return json_fail(event, err, "too many lanes, expected at most %d", MAX_TRACKS);
    b->device = (int)device;
    b->track = (int)track;
    b->block = (int)number;
    b->end_us += b->start_us;
    g->box_count++;
    return 0;
}

static int read_head(Gantt *g, const Json *doc, Error *err)
{
    JsonAt      root = json_root(doc), head = json_member(&root, "pipebd"), format = json_member(&head, "format");
    JsonAt      trace = json_member(&head, "trace"), schedule = json_member(&head, "schedule"), kind = json_member(&head, "kind");
    const char *text;

    if (json_get_object(&head, err) != 0 || json_get_string(&format, &text, err) != 0) return -1;
    if (strcmp(text, "pipebd-timeline") != 0) return json_fail(&format, err, "expected \"pipebd-timeline\"");
    if (json_get_string(&trace, &text, err) != 0) return -1;
    snprintf(g->trace, sizeof g->trace, "%.100s", text);
    if (json_get_string(&schedule, &text, err) != 0) return -1;
    snprintf(g->schedule, sizeof g->schedule, "%.15s", text);
    if (json_get_string(&kind, &text, err) != 0) return -1;
    g->measured = strcmp(text, "measured") == 0;
    return 0;
}

static int read_events(Gantt *g, const Json *doc, Error *err)
{
    JsonAt root = json_root(doc), events = json_member(&root, "traceEvents");

    if (read_head(g, doc, err) != 0 || json_get_array(&events, 1, err) != 0) return -1;
    g->boxes = calloc(json_count(&events), sizeof *g->boxes);
    g->tracks = calloc(MAX_TRACKS, sizeof *g->tracks);
    if (!g->boxes || !g->tracks) return error_no_memory(err);
    for (size_t i = 0; i < json_count(&events); i++) {
        JsonAt      event = json_element(&events, i), ph = json_member(&event, "ph");
        const char *kind;
        if (json_get_object(&event, err) != 0 || json_get_string(&ph, &kind, err) != 0) return -1;
        if (strcmp(kind, "M") == 0 && read_meta(g, &event, err) != 0) return -1;
        if (strcmp(kind, "X") == 0 && read_box(g, &event, err) != 0) return -1;
    }
    return g->box_count ? 0 : json_fail(&events, err, "no complete events (\"ph\": \"X\"), so nothing to draw");
}

/* ---- choosing ------------------------------------------------------------------------- */

/* When device begins step; -1: never. */
static double begin_of(const Gantt *g, int device, int64_t step)
{
    double begin = -1;

    for (int i = 0; i < g->box_count; i++) {
        const Box *b = &g->boxes[i];
        if (b->device != device || b->step != step || b->track != 0) continue;
        if (begin < 0 || b->start_us < begin) begin = b->start_us;
    }
    return begin;
}

/* Three steps of the last device, from the middle: the pipeline is full there. */
static void choose_window(Gantt *g, double from_us, double to_us)
{
    int64_t last = 0;
    int     device = 0;
    double  end = 0;

    for (int i = 0; i < g->box_count; i++) {
        if (g->boxes[i].step > last) last = g->boxes[i].step;
        if (g->boxes[i].track == 0 && g->boxes[i].device > device) device = g->boxes[i].device;
        if (g->boxes[i].end_us > end) end = g->boxes[i].end_us;
    }
    int64_t middle = last / 2;
    double  begin = begin_of(g, device, middle), stop = begin_of(g, device, middle + STEPS);
    if (last < 2 * STEPS || begin < 0 || stop <= begin) { begin = 0; stop = end; }
    g->from_us = from_us >= 0 ? from_us : begin;
    g->to_us = to_us >= 0 ? to_us : from_us >= 0 ? end : stop;
}

static bool within(const Gantt *g, const Box *b)
{
    return b->end_us > g->from_us && b->start_us < g->to_us;
}

static int by_place(const void *a, const void *b)
{
    const Track *x = a, *y = b;

    return x->device != y->device ? x->device - y->device : x->track - y->track;
}

static double seen_part(const Gantt *g, const Box *b)
{
    double x0 = b->start_us > g->from_us ? b->start_us : g->from_us, x1 = b->end_us < g->to_us ? b->end_us : g->to_us;

    return (x1 - x0) / (g->to_us - g->from_us);
}

/* Rows for devices that compute in the window, and for other lanes that are busy for
 * long enough to be seen. */
static void choose_rows(Gantt *g)
{
    for (int i = 0; i < g->box_count; i++) {
        if (!within(g, &g->boxes[i])) continue;
        Track *t = track_of(g, g->boxes[i].device, g->boxes[i].track);
        t->busy += seen_part(g, &g->boxes[i]);
        t->used = true;
    }
    for (int i = 0; i < g->track_count; i++) {
        Track *t = &g->tracks[i];
        t->shown = t->used && (t->track == 0 || t->busy >= LEAST_BUSY);
        g->left_out |= t->used && !t->shown;
    }
    qsort(g->tracks, (size_t)g->track_count, sizeof *g->tracks, by_place);
    for (int i = 0; i < g->track_count; i++)
        g->tracks[i].row = g->tracks[i].shown && g->rows < MAX_ROWS ? g->rows++ : -1;
    for (int i = 0; i < g->box_count; i++) g->boxes[i].row = track_of(g, g->boxes[i].device, g->boxes[i].track)->row;
}

/* ---- drawing ----------------------------------------------------------------------------- */

typedef struct { int rows, first; double width_us; bool several; bool seen[OP_COUNT]; } Chart;

static void draw_boxes(const Gantt *g, Chart *chart, Scene *scene)
{
    double width = chart->width_us;

    for (int i = 0; i < g->box_count; i++) {
        const Box *b = &g->boxes[i];
        if (b->row < 0 || !within(g, b)) continue;
        double x0 = b->start_us > g->from_us ? b->start_us : g->from_us, x1 = b->end_us < g->to_us ? b->end_us : g->to_us;
        double y = chart->rows - chart->first - b->row - 0.5;
        char   text[16];
        x0 = (x0 - g->from_us) / 1000;
        x1 = (x1 - g->from_us) / 1000;
        scene_box(scene, x0, x1, y - 0.42, y + 0.42, colour_of_op(b->op));
        chart->seen[b->op == OP_RECV ? OP_SEND : b->op] = true;
        if (b->op == OP_BARRIER || (x1 - x0) * 1000 < width * (b->block < 10 ? 0.014 : 0.022)) continue;
        snprintf(text, sizeof text, "%d", b->block);
        scene_label(scene, (x0 + x1) / 2, y, "center", 9, colour_of_text(colour_of_op(b->op)), text);
    }
}

static void draw_keys(const Chart *chart, Scene *scene)
{
    static const char *const names[OP_COUNT] = {"load", "relay", "relay", "teacher", "forward", "backward", "all-reduce",
                                                "update", "barrier"};

    for (int op = 0; op < OP_COUNT; op++)
        if (chart->seen[op]) scene_key(scene, colour_of_op((Op)op), names[op]);
}

static const char *kind_of(const Gantt *g) { return g->measured ? "measured" : "simulated"; }

static void write_rows(const Gantt *g, const Chart *chart, Text *out)
{
    for (int i = 0; i < g->track_count; i++) {
        const Track *t = &g->tracks[i];
        char         name[64];
        if (t->row < 0) continue;
        if (t->track == 0) snprintf(name, sizeof name, "%s%sdevice %d", chart->several ? kind_of(g) : "",
                                    chart->several ? ", " : "", t->device);
        else               snprintf(name, sizeof name, "%s", t->name);
        text_append(out, chart->first + t->row ? ", " : "");
        plot_string(out, name);
        text_printf(out, " %.1f", chart->rows - chart->first - t->row - 0.5);
    }
}

static void write_titles(const Gantt *g, int count, Plot *out, int rows)
{
    int  all = 0;
    bool left_out = false;
    char title[160], subtitle[240];

    for (int n = 0; n < count; n++) {
        left_out |= g[n].left_out;
        for (int i = 0; i < g[n].track_count; i++) all += g[n].tracks[i].shown;
    }
    snprintf(title, sizeof title, "%s: %s", g->trace, g->schedule);
    int used = snprintf(subtitle, sizeof subtitle, "%s, from %.3f ms on", kind_of(&g[0]), g[0].from_us / 1000);
    for (int n = 1; n < count && used < 120; n++)
        used += snprintf(subtitle + used, sizeof subtitle - (size_t)used, "; %s, from %.3f ms on", kind_of(&g[n]),
                         g[n].from_us / 1000);
    used += snprintf(subtitle + used, sizeof subtitle - (size_t)used, "; numbers are blocks");
    if (left_out)
        used += snprintf(subtitle + used, sizeof subtitle - (size_t)used, "; lanes busy below %.1f %% are left out", 100 * LEAST_BUSY);
    if (all > rows) snprintf(subtitle + used, sizeof subtitle - (size_t)used, "; the first %d of %d lanes", rows, all);
    plot_begin(out, 980, 130 + 26 * rows, title, subtitle);
}

static int draw(const Gantt *g, int count, Plot *out, Error *err)
{
    Scene scene = {0};
    Chart chart = {.several = count > 1};

    for (int n = 0; n < count; n++) {
        chart.rows += g[n].rows;
        chart.width_us = fmax(chart.width_us, g[n].to_us - g[n].from_us);
    }
    write_titles(g, count, out, chart.rows);
    text_append(&out->script, "set ytics (");
    scene.thin_below = chart.width_us / 1000 / 250;
    for (int n = 0; n < count; n++) {
        write_rows(&g[n], &chart, &out->script);
        draw_boxes(&g[n], &chart, &scene);
        chart.first += g[n].rows;
    }
    draw_keys(&chart, &scene);
    text_append(&out->script, ") scale 0\nset grid noytics xtics lc rgb '#dddddd' lt 1\nset border 1\n");
    text_printf(&out->script, "set xrange [0:%.9g]\nset yrange [0:%d]\nset xlabel 'ms'\n", chart.width_us / 1000, chart.rows);
    return scene_end(&scene, out, err);
}

static int read_gantt(Gantt *g, const char *path, double from_us, double to_us, Error *err)
{
    Json *doc = NULL;
    int   rc = -1;

    if (json_doc_read(&doc, path, err) != 0) goto done;
    if (read_events(g, doc, err) != 0) goto done;
    choose_window(g, from_us, to_us);
    choose_rows(g);
    rc = g->rows ? 0 : error_set(err, "%s: nothing happens from %g to %g us", path, g->from_us, g->to_us);
done:
    json_doc_free(doc);
    return rc;
}

int plot_gantt(Plot *out, const char *const *paths, int count, double from_us, double to_us, Error *err)
{
    Gantt g[GANTT_MAX] = {{0}};
    int   rc = 0;

    if (count > GANTT_MAX) return error_set(err, "%d timelines, expected at most %d", count, GANTT_MAX);
    for (int n = 0; n < count && rc == 0; n++) rc = read_gantt(&g[n], paths[n], from_us, to_us, err);
    if (rc == 0) rc = draw(g, count, out, err);
    for (int n = 0; n < count; n++) {
        free(g[n].boxes);
        free(g[n].tracks);
    }
    return rc;
}
