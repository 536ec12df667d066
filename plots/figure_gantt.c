/* A window of a timeline: a row a device, what is beside its computing in a strip below. */
#include <math.h>
#include <stdio.h>

#include "plots/figures.h"

enum { MAX_DEVICES_SHOWN = 32, BOX = 24, STRIP = 6, GAP = 3 };

static double at(const Gantt *g, double us)
{
    double x = 100 * (us - g->from_us) / (g->to_us - g->from_us);

    return x < 0 ? 0 : x > 100 ? 100 : x;
}

static void box(Text *out, const RunFacts *facts, const Gantt *g, const Box *b, bool strip)
{
    double      x0 = at(g, b->start_us), x1 = at(g, b->end_us);
    const char *class = class_of_op(b->op);
    char        thin[32], text[160], room[24];

    snprintf(thin, sizeof thin, "thin %s", class);
    if (b->op == OP_LOAD || b->op == OP_RECV || b->op == OP_SEND)
        snprintf(text, sizeof text, "%s boundary %d, %.3f ms", op_name(b->op), b->block, (b->end_us - b->start_us) / 1000);
    else
        snprintf(text, sizeof text, "%s %.80s, %.3f ms", op_name(b->op), facts_block(facts, b->block, room), (b->end_us - b->start_us) / 1000);
    svg_box(out, strip || x1 - x0 < 0.4 ? thin : class, x0, x1, strip ? BOX + GAP : 0, strip ? STRIP : BOX, text);
    if (strip || b->op == OP_BARRIER) return;
    snprintf(text, sizeof text, "%d", b->block);
    svg_box_label(out, class, x0, x1, 16, 700, text);
}

static bool has_strip(const Gantt *g, int device)
{
    for (int i = 0; i < g->track_count; i++)
        if (g->tracks[i].device == device && g->tracks[i].track != 0 && g->tracks[i].shown) return true;
    return false;
}

static bool shown(const Gantt *g, const Box *b, bool strip)
{
    if (!gantt_within(g, b) || (b->track != 0) != strip) return false;
    for (int i = 0; i < g->track_count; i++)
        if (g->tracks[i].device == b->device && g->tracks[i].track == b->track) return g->tracks[i].shown;
    return false;
}

static void device_row(Text *out, const RunFacts *facts, const Gantt *g, int device)
{
    char name[32];
    bool strip = has_strip(g, device);
    int  height = strip ? BOX + GAP + STRIP : BOX;

    snprintf(name, sizeof name, "device %d", device);
    html_row(out, name);
    svg_begin(out, height, name);
    svg_box(out, "back", 0, 100, 0, BOX, NULL);
    for (int pass = 0; pass <= strip; pass++)
        for (int i = 0; i < g->box_count; i++)
            if (g->boxes[i].device == device && shown(g, &g->boxes[i], pass == 1)) box(out, facts, g, &g->boxes[i], pass == 1);
    svg_end(out);
    html_row_end(out, "");
}

static void axis_row(Text *out, const Gantt *g)
{
    double ms = (g->to_us - g->from_us) / 1000, step = axis_step(ms);
    char   text[32];

    text_append(out, "<div class=\"row axis\"><span class=\"name\"></span>");
    snprintf(text, sizeof text, "%.4g ms across", ms);
    svg_begin(out, 18, text);
    for (int i = 0; i * step <= ms * 1.0001; i++) {
        double x = 100 * i * step / ms;
        snprintf(text, sizeof text, i ? "%g" : "%g ms", i * step);
        svg_rule(out, "", x, 0, 4);
        svg_text(out, i % 2 ? "axis wide" : "axis", x, 15, i == 0 ? "start" : x > 97 ? "end" : "middle", text);
    }
    svg_end(out);
    html_row_end(out, "");
}

static void keys(Text *out, const Gantt *g)
{
    static const struct { Op op; const char *name; } all[] = {
        {OP_LOAD, "load"}, {OP_TEACHER, "teacher"}, {OP_FORWARD, "forward"}, {OP_BACKWARD, "backward"},
        {OP_ALLREDUCE, "all-reduce"}, {OP_UPDATE, "update"}, {OP_SEND, "relay"}, {OP_BARRIER, "barrier"},
    };

    html_keys(out);
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        bool seen = false;
        for (int i = 0; i < g->box_count; i++) {
            const Box *b = &g->boxes[i];
            Op         op = b->op == OP_RECV ? OP_SEND : b->op;
            seen |= op == all[k].op && (shown(g, b, false) || shown(g, b, true));
        }
        if (seen) html_key(out, class_of_op(all[k].op), all[k].name);
    }
    html_keys_end(out);
}

void figure_gantt(Text *out, const RunFacts *facts, const Gantt *g)
{
    int rows = 0, more = 0;

    keys(out, g);
    text_append(out, "<figure class=\"panel plain\">\n");
    for (int i = 0; i < g->track_count; i++) {
        if (g->tracks[i].track != 0 || !g->tracks[i].used) continue;
        if (rows++ < MAX_DEVICES_SHOWN) device_row(out, facts, g, g->tracks[i].device);
        else                            more++;
    }
    axis_row(out, g);
    text_append(out, "</figure>\n");
    if (more) text_printf(out, "<p class=\"note\">%d more devices are not shown.</p>\n", more);
}
