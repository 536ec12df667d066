/* Reading what a Gantt chart shows. */
#include "plots/gantt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 64, MAX_TRACKS = 1 << 12 };

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

    return json_get_integer(&pid, 0, 1 << 20, device, err) == 0
                   && json_get_integer(&tid, 0, 1 << 20, track, err) == 0
               ? 0
               : -1;
}

/* A name of a lane. */
static int read_meta(Gantt *g, const JsonAt *event, Error *err)
{
    JsonAt      kind_at = json_member(event, "name"), args = json_member(event, "args"),
                name_at = json_member(&args, "name");
    const char *kind, *name;
    int64_t     device, track;

    if (json_get_string(&kind_at, &kind, err) != 0 || read_place(event, &device, &track, err) != 0)
        return -1;
    if (strcmp(kind, "thread_name") != 0) return 0;
    if (json_get_string(&name_at, &name, err) != 0) return -1;
    Track *t = track_of(g, (int)device, (int)track);
    if (!t) return json_fail(event, err, "too many lanes, expected at most %d", MAX_TRACKS);
    snprintf(t->name, sizeof t->name, "%.31s", name);
    return 0;
}

/* Appends an event of Chrome's trace format ("ph": "X") as a box, in microseconds. The caller made
 * room for it. */
static int read_box(Gantt *g, const JsonAt *event, Error *err)
{
    JsonAt  args = json_member(event, "args"), op = json_member(&args, "op"),
            block = json_member(&args, "block");
    JsonAt  step = json_member(&args, "step"), ts = json_member(event, "ts"),
            dur = json_member(event, "dur");
    Box    *b = &g->boxes[g->box_count];
    int64_t device, track, number;

    if (read_place(event, &device, &track, err) != 0 || json_get_object(&args, err) != 0
        || find_op(&op, &b->op, err) != 0 || json_get_integer(&block, 0, 1 << 20, &number, err) != 0
        || json_get_integer(&step, 0, JSON_MAX_INTEGER, &b->step, err) != 0
        || json_get_number(&ts, 0, &b->start_us, err) != 0
        || json_get_number(&dur, 0, &b->end_us, err) != 0)
        return -1;
    if (!track_of(g, (int)device, (int)track))
        return json_fail(event, err, "too many lanes, expected at most %d", MAX_TRACKS);
    b->device = (int)device;
    b->track = (int)track;
    b->block = (int)number;
    b->end_us += b->start_us;
    g->box_count++;
    return 0;
}

/* What stands there instead: another format, or what another program wrote. */
static int no_timeline(const JsonAt *root, Error *err)
{
    JsonAt format = json_member(root, "format");

    if (json_has(&format)) return json_check_format(root->doc, "pipebd-timeline", 1, err);
    return json_fail(root, err,
                     "no timeline, expected what pipebd-sim --timeline or pipebd-run writes");
}

static int read_head(Gantt *g, const Json *doc, Error *err)
{
    JsonAt      root = json_root(doc), head = json_member(&root, "pipebd"),
                format = json_member(&head, "format");
    JsonAt      trace = json_member(&head, "trace"), hash = json_member(&head, "trace_hash");
    JsonAt      schedule = json_member(&head, "schedule"), kind = json_member(&head, "kind");
    const char *text;

    if (!json_has(&head)) return no_timeline(&root, err);
    if (json_get_object(&head, err) != 0 || json_get_string(&format, &text, err) != 0) return -1;
    if (strcmp(text, "pipebd-timeline") != 0)
        return json_fail(&format, err, "expected \"pipebd-timeline\"");
    if (json_get_string(&trace, &text, err) != 0) return -1;
    snprintf(g->trace, sizeof g->trace, "%.100s", text);
    if (json_has(&hash) && json_get_string(&hash, &text, err) != 0) return -1;
    snprintf(g->hash, sizeof g->hash, "%.31s", json_has(&hash) ? text : "");
    if (json_get_string(&schedule, &text, err) != 0) return -1;
    snprintf(g->schedule, sizeof g->schedule, "%.15s", text);
    if (json_get_string(&kind, &text, err) != 0) return -1;
    g->measured = strcmp(text, "measured") == 0;
    return 0;
}

static int make_room(Gantt *g, size_t boxes, Error *err)
{
    g->boxes = calloc(boxes, sizeof *g->boxes);
    g->tracks = calloc(MAX_TRACKS, sizeof *g->tracks);
    return g->boxes && g->tracks ? 0 : error_no_memory(err);
}

static int read_events(Gantt *g, const Json *doc, Error *err)
{
    JsonAt root = json_root(doc), events = json_member(&root, "traceEvents");

    if (read_head(g, doc, err) != 0 || json_get_array(&events, 1, err) != 0) return -1;
    if (make_room(g, json_count(&events), err) != 0) return -1;
    for (size_t i = 0; i < json_count(&events); i++) {
        JsonAt      event = json_element(&events, i), ph = json_member(&event, "ph");
        const char *kind;
        if (json_get_object(&event, err) != 0 || json_get_string(&ph, &kind, err) != 0) return -1;
        if (strcmp(kind, "M") == 0 && read_meta(g, &event, err) != 0) return -1;
        if (strcmp(kind, "X") == 0 && read_box(g, &event, err) != 0) return -1;
    }
    return g->box_count
               ? 0
               : json_fail(&events, err, "no complete events (\"ph\": \"X\"), so nothing to draw");
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

/* Some steps of the last device, from the middle: the pipeline is full there. */
static void choose_window(Gantt *g, int steps, double from_us, double to_us)
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
    double  begin = begin_of(g, device, middle), stop = begin_of(g, device, middle + steps);
    if (last < 2 * steps || begin < 0 || stop <= begin) { begin = 0; stop = end; }
    g->from_us = from_us >= 0 ? from_us : begin;
    g->to_us = to_us >= 0 ? to_us : from_us >= 0 ? end : stop;
}

bool gantt_within(const Gantt *g, const Box *b)
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
    double x0 = b->start_us > g->from_us ? b->start_us : g->from_us,
           x1 = b->end_us < g->to_us ? b->end_us : g->to_us;

    return (x1 - x0) / (g->to_us - g->from_us);
}

/* Rows for devices that compute in the window, and for other lanes that are busy for
 * long enough to be seen. */
static void choose_rows(Gantt *g)
{
    for (int i = 0; i < g->box_count; i++) {
        if (!gantt_within(g, &g->boxes[i])) continue;
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
    for (int i = 0; i < g->box_count; i++)
        g->boxes[i].row = track_of(g, g->boxes[i].device, g->boxes[i].track)->row;
}

/* ---- the whole ------------------------------------------------------------------------- */

int gantt_parse(Gantt *g, const Json *doc, const char *path, int steps, double from_us,
                double to_us, Error *err)
{
    *g = (Gantt){0};
    if (read_events(g, doc, err) != 0) return -1;
    choose_window(g, steps, from_us, to_us);
    choose_rows(g);
    return g->rows
               ? 0
               : error_set(err, "%s: nothing happens from %g to %g us", path, g->from_us, g->to_us);
}

int gantt_read(Gantt *g, const char *path, int steps, double from_us, double to_us, Error *err)
{
    Json *doc = NULL;
    int   rc = -1;

    *g = (Gantt){0};
    if (json_doc_read(&doc, path, err) == 0)
        rc = gantt_parse(g, doc, path, steps, from_us, to_us, err);
    json_doc_free(doc);
    return rc;
}

/* Appends a span of a comparison's "step" as a box, in microseconds, on the track of its lane. The
 * caller made room for it. */
static int read_span(Gantt *g, const JsonAt *span, Error *err)
{
    JsonAt      op = json_member(span, "op"), lane = json_member(span, "lane"),
                device = json_member(span, "device");
    JsonAt      block = json_member(span, "block"), start = json_member(span, "start_us"),
                end = json_member(span, "end_us");
    Box        *b = &g->boxes[g->box_count];
    const char *lanes[LANE_STORAGE + 2] = {NULL};
    int64_t     number, of_block;

    for (int i = 0; i <= LANE_STORAGE; i++) lanes[i] = lane_name((Lane)i);
    if (json_get_object(span, err) != 0 || find_op(&op, &b->op, err) != 0
        || json_get_choice(&lane, lanes, &b->track, err) != 0
        || json_get_integer(&device, 0, 1 << 20, &number, err) != 0
        || json_get_integer(&block, 0, 1 << 20, &of_block, err) != 0
        || json_get_number(&start, 0, &b->start_us, err) != 0
        || json_get_number(&end, 0, &b->end_us, err) != 0)
        return -1;
    b->device = (int)number;
    b->block = (int)of_block;
    if (b->end_us < b->start_us) return json_fail(&end, err, "before start_us");
    if (b->track == LANE_STORAGE) b->track = TRACK_STORAGE;
    Track *t = track_of(g, b->device, b->track);
    if (!t) return json_fail(span, err, "too many lanes, expected at most %d", MAX_TRACKS);
    snprintf(t->name, sizeof t->name, "%s",
             lanes[b->track == TRACK_STORAGE ? LANE_STORAGE : b->track]);
    g->box_count++;
    return 0;
}

int gantt_step(Gantt *g, const JsonAt *step, Error *err)
{
    JsonAt from = json_member(step, "from_us"), to = json_member(step, "to_us"),
           spans = json_member(step, "spans");
    JsonAt steps = json_member(step, "steps");

    *g = (Gantt){.steps = 1};
    if (json_get_object(step, err) != 0 || json_get_number(&from, 0, &g->from_us, err) != 0
        || json_get_number(&to, 0, &g->to_us, err) != 0 || json_get_array(&spans, 1, err) != 0)
        return -1;
    if (g->to_us <= g->from_us) return json_fail(&to, err, "not after from_us");
    if (json_has(&steps) && json_get_integer(&steps, 1, 1000, &g->steps, err) != 0) return -1;
    if (make_room(g, json_count(&spans), err) != 0) return -1;
    for (size_t i = 0; i < json_count(&spans); i++) {
        JsonAt span = json_element(&spans, i);
        if (read_span(g, &span, err) != 0) return -1;
    }
    choose_rows(g);
    return g->rows ? 0 : json_fail(&spans, err, "nothing happens from from_us to to_us");
}

void gantt_free(Gantt *g)
{
    free(g->boxes);
    free(g->tracks);
    *g = (Gantt){0};
}
