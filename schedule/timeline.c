#include "schedule/timeline.h"

#include <inttypes.h>
#include <stdlib.h>

enum { LANE_COUNT = LANE_STORAGE + 1 };

/* Requests of a device may overlap (prefetch): each goes to the first row of the
 * loader's, or the store's, that is free, so that boxes of a track never overlap. */
typedef struct { int64_t end_ns[MAX_TRACKS_OF_A_LANE]; int count; } RequestRows;

const char *lane_name(Lane lane)
{
    static const char *const names[LANE_COUNT] = {"compute",    "copy out", "copy in",
                                                  "all-reduce", "loader",   "storage"};

    return names[lane];
}

static int request_row(RequestRows *rows, const Span *span)
{
    int row = 0;

    while (row < rows->count && rows->end_ns[row] > span->start_ns) row++;
    if (row == MAX_TRACKS_OF_A_LANE) row--;
    if (row == rows->count) rows->count++;
    rows->end_ns[row] = span->end_ns;
    return row;
}

static void name_track(int device, int track, const char *kind, const char *name, int number,
                       Text *out)
{
    text_printf(
        out,
        "{\"ph\": \"M\", \"name\": \"%s\", \"pid\": %d, \"tid\": %d, \"args\": {\"name\": \"%s",
        kind, device, track, name);
    if (number >= 0) text_printf(out, " %d", number);
    text_append(out, "\"}},\n");
}

static void name_tracks(int devices, const RequestRows *loads, const RequestRows *stored, Text *out)
{
    for (int d = 0; d < devices; d++) {
        name_track(d, 0, "process_name", "device", d, out);
        for (int lane = 0; lane < LANE_LOADER; lane++)
            name_track(d, lane, "thread_name", lane_name((Lane)lane), -1, out);
        for (int row = 0; row < loads[d].count; row++)
            name_track(d, TRACK_LOADER + row, "thread_name", "loader", row, out);
        for (int row = 0; row < stored[d].count; row++)
            name_track(d, TRACK_STORAGE + row, "thread_name", "storage", row, out);
    }
}

/* A span as a complete event of Chrome's trace format: pid is the device, tid the track, ts and dur
 * microseconds; what a reader needs for a tooltip is under args. */
static void write_span(const Timeline *t, const Span *span, int track, Text *out)
{
    const Instruction *in = span->instruction;
    bool boundary = op_has_boundary(in->op);

    text_printf(out, "{\"ph\": \"X\", \"name\": \"%s", op_name(in->op));
    if (boundary) text_printf(out, " boundary %d", in->block);
    else if (in->op != OP_BARRIER) text_printf(out, " %d", in->block);
    text_printf(out, "\", \"pid\": %d, \"tid\": %d, \"ts\": ", span->device, track);
    text_us(out, span->start_ns);
    text_append(out, ", \"dur\": ");
    text_us(out, span->end_ns - span->start_ns);
    text_printf(out,
                ", \"args\": {\"op\": \"%s\", \"block\": %d, \"step\": %" PRId64
                ", \"rows\": %" PRId64,
                op_name(in->op), in->block, span->step, in->rows);
    if (!boundary && in->op != OP_BARRIER) {
        text_append(out, ", \"block_name\": ");
        text_json_string(out, t->block_names[in->block]);
    }
    if (in->op == OP_SEND) text_printf(out, ", \"to\": %d", t->program->channels[in->link].to);
    text_append(out, "}},\n");
}

/* An arrow from the sender's box to the receiver's: the two spans of a SEND follow each
 * other in the list. */
static void write_flow(const Span *span, int track, int64_t id, Text *out)
{
    bool start = track != LANE_COPY_IN;

    text_printf(out,
                "{\"ph\": \"%s\", \"name\": \"relay\", \"cat\": \"relay\", \"id\": %" PRId64
                ", \"pid\": %d, \"tid\": %d, \"ts\": ",
                start ? "s" : "f\", \"bp\": \"e", id, span->device, track);
    text_us(out, span->start_ns);
    text_append(out, "},\n");
}

void timeline_text(const Timeline *t, Text *out)
{
    int          devices = t->program->device_count;
    RequestRows *loads = calloc((size_t)devices, 2 * sizeof *loads),
                *stored = loads ? loads + devices : NULL;
    Text         events = {0};
    int64_t      messages = 0;

    if (!loads) { out->failed = true; return; }
    for (int64_t i = 0; i < t->span_count; i++) {
        const Span *span = &t->spans[i];
        int         track = (int)span->lane;
        if (span->lane == LANE_LOADER)
            track = TRACK_LOADER + request_row(&loads[span->device], span);
        if (span->lane == LANE_STORAGE)
            track = TRACK_STORAGE + request_row(&stored[span->device], span);
        write_span(t, span, track, &events);
        if (span->instruction->op == OP_SEND) write_flow(span, track, messages++ / 2, &events);
    }
    text_printf(out,
                "{\"displayTimeUnit\": \"ms\",\n\"pipebd\": {\"format\": \"pipebd-timeline\", "
                "\"version\": 1, "
                "\"kind\": \"%s\", \"schedule\": ",
                t->kind);
    text_json_string(out, t->schedule);
    text_append(out, ", \"trace\": ");
    text_json_string(out, t->trace_name);
    text_printf(out,
                ", \"trace_hash\": \"%016" PRIx64 "\", \"devices\": %d, \"batch\": %" PRId64
                ", \"steps\": %" PRId64 ", \"epoch_us\": ",
                t->trace_hash, devices, t->program->batch, t->steps);
    text_us(out, t->epoch_ns);
    text_append(out, "},\n\"traceEvents\": [\n");
    name_tracks(devices, loads, stored, out);
    text_append_bytes(out, text_string(&events), events.length);
    /* The last event has no comma: an instant that marks the end. */
    text_append(
        out, "{\"ph\": \"i\", \"s\": \"g\", \"name\": \"end\", \"pid\": 0, \"tid\": 0, \"ts\": ");
    text_us(out, t->epoch_ns);
    text_append(out, "}\n]}\n");
    if (text_failed(&events)) out->failed = true;
    text_free(&events);
    free(loads);
}
