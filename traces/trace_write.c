/* A trace as text, in the order of docs/traces.md and with a line a timing, so that two of
 * them diff by row. */
#include <inttypes.h>

#include "base/text.h"
#include "traces/trace.h"

static void open_member(const char *key, bool *first, Text *out)
{
    if (!*first) text_append(out, ", ");
    *first = false;
    text_printf(out, "\"%s\": ", key);
}

static void bytes_member(const char *key, int64_t bytes, bool *first, Text *out)
{
    if (bytes == TRACE_ABSENT) return;
    open_member(key, first, out);
    text_printf(out, "%" PRId64, bytes);
}

static void us_member(const char *key, int64_t ns, bool *first, Text *out)
{
    open_member(key, first, out);
    text_us(out, ns);
}

static void string_member(const char *key, const char *value, Text *out)
{
    text_printf(out, "    \"%s\": ", key);
    text_json_string(out, value);
}

static bool has_core(const TraceLinks *links)
{
    bool has = links->sender_core.count > 0 || links->receiver_core.count > 0;

    for (int r = 0; r < links->reduce_count; r++) has |= links->reduces[r].core.count > 0;
    return has;
}

/* The first version that has every key in use, so that older readers take what they can. */
static int version_of(const Trace *t)
{
    return t->stored_share > 0 || t->step_ns > 0 || t->network_ns > 0 || t->part_ns > 0
                   || t->process_bytes > 0 || t->loader.workers > 0 || t->tier_count > 0
                   || t->epochs > 1 || t->micro_batches > 1 || trace_has_stalls(t)
                   || t->transfers_on_device || has_core(&t->links) || has_core(&t->node_links)
               ? 2
               : 1;
}

/* All that stands before the blocks. */
static void write_head(const Trace *t, Text *out)
{
    text_printf(
        out, "{\n  \"format\": \"pipebd-trace\",\n  \"version\": %d,\n  \"name\": ", version_of(t));
    text_json_string(out, t->name);
    text_append(out, ",\n  \"provenance\": {\n");
    string_member("kind", t->provenance_kind, out);
    text_append(out, ",\n");
    string_member("source", t->source, out);
    if (t->date[0]) { text_append(out, ",\n"); string_member("date", t->date, out); }
    if (t->notes[0]) { text_append(out, ",\n"); string_member("notes", t->notes, out); }
    for (int i = 0; i < t->algorithm_count; i++) {
        text_append(out, i == 0 ? ",\n    \"algorithms\": [\n      " : ",\n      ");
        text_json_string(out, t->algorithms[i]);
    }
    if (t->algorithm_count) text_append(out, "\n    ]");
    text_append(out, "\n  },\n  \"workload\": { \"name\": ");
    text_json_string(out, t->workload);
    text_printf(out, ", \"batch\": %" PRId64 ", \"samples\": %" PRId64, t->batch, t->samples);
    if (t->epochs > 1) text_printf(out, ", \"epochs\": %" PRId64, t->epochs);
    if (t->micro_batches > 1) text_printf(out, ", \"micro_batches\": %" PRId64, t->micro_batches);
    text_append(out, " },\n  \"devices\": [\n");
    for (int k = 0; k < t->kind_count; k++) {
        text_append(out, "    { \"kind\": ");
        text_json_string(out, t->kinds[k].name);
        text_printf(out, ", \"count\": %d", t->kinds[k].count);
        if (t->kinds[k].memory_bytes != TRACE_ABSENT)
            text_printf(out, ", \"memory_bytes\": %" PRId64, t->kinds[k].memory_bytes);
        if (stalls_known(&t->kinds[k].stalls)) {
            text_append(out, ",\n      \"stalls\": ");
            stalls_write(&t->kinds[k].stalls, out);
        }
        text_printf(out, " }%s\n", k + 1 < t->kind_count ? "," : "");
    }
    text_append(out, "  ],\n");
    if (t->input_bytes != TRACE_ABSENT)
        text_printf(out, "  \"input_bytes\": %" PRId64 ",\n", t->input_bytes);
}

static const char *const work_keys[WORK_COUNT] = {"teacher_us", "forward_us", "backward_us",
                                                  "update_us"};

/* The curves of a list of timings. */
typedef struct {
    Curve *const *work;      /* [WORK_COUNT] */
    Work          first, last;
    const char   *indent;
} WrittenPoint;

static int64_t contended_of(const CurvePoint *point) { return point->contended_ns; }
static int64_t single_block_of(const CurvePoint *point)
{
    return point->single_block_ns ? point->single_block_ns : point->ns;
}
static int64_t single_block_contended_of(const CurvePoint *point)
{
    return point->single_block_contended_ns ? point->single_block_contended_ns
                                            : single_block_of(point);
}

/* The same work elsewhere: an object with a time for each; who calls it closes it. */
static void write_variant(const char         *key, int64_t (*of)(const CurvePoint *),
                          const WrittenPoint *timed, int kind, int i, Text *out)
{
    bool first = true;

    text_printf(out, ", \"%s\": { ", key);
    for (int w = timed->first; w <= (int)timed->last; w++)
        us_member(work_keys[w], of(&timed->work[w][kind].points[i]), &first, out);
}

/* Point i of a kind. Invariant 1: the curves have the same points. */
static void write_timing(const Trace *t, const WrittenPoint *timed, int kind, int i, Text *out)
{
    const CurvePoint *head = &timed->work[timed->first][kind].points[i];
    bool first = true, contended = false, single_block = false, both = false;

    text_printf(out, "%s  { ", timed->indent);
    if (t->kind_count > 1) {
        open_member("device", &first, out);
        text_json_string(out, t->kinds[kind].name);
    }
    bytes_member("batch", head->x, &first, out);
    for (int w = timed->first; w <= (int)timed->last; w++) {
        const CurvePoint *point = &timed->work[w][kind].points[i];
        us_member(work_keys[w], point->ns, &first, out);
        contended |= point->contended_ns > point->ns;
        single_block |= point->single_block_ns > 0;
        both |= point->single_block_contended_ns > 0;
    }
    if (head->spread > 0) {
        open_member("spread", &first, out);
        text_json_double(out, head->spread);
    }
    if (contended) {
        write_variant("contended", contended_of, timed, kind, i, out);
        text_append(out, " }");
    }
    if (single_block) {
        write_variant("single_block", single_block_of, timed, kind, i, out);
        if (both) write_variant("contended", single_block_contended_of, timed, kind, i, out);
        text_append(out, both ? " } }" : " }");
    }
    text_append(out, " }");
}

static void write_timings(const Trace *t, const WrittenPoint *timed, Text *out)
{
    bool first = true;

    text_printf(out, "%s\"timings\": [\n", timed->indent);
    for (int kind = 0; kind < t->kind_count; kind++)
        for (int i = 0; i < timed->work[timed->first][kind].count; i++) {
            if (!first) text_append(out, ",\n");
            first = false;
            write_timing(t, timed, kind, i, out);
        }
    text_printf(out, "\n%s]", timed->indent);
}

static void write_student_bytes(const TraceStudent *student, Text *out)
{
    bool first = true;

    bytes_member("weight_bytes", student->weight_bytes, &first, out);
    bytes_member("gradient_bytes", student->gradient_bytes, &first, out);
    bytes_member("state_bytes", student->state_bytes, &first, out);
    bytes_member("activation_bytes", student->activation_bytes, &first, out);
}

static bool has_bytes(const TraceStudent *s)
{
    return s->weight_bytes != TRACE_ABSENT || s->gradient_bytes != TRACE_ABSENT
           || s->state_bytes != TRACE_ABSENT || s->activation_bytes != TRACE_ABSENT;
}

static void write_students(const Trace *t, const TraceBlock *block, Text *out)
{
    text_append(out, ",\n      \"students\": [\n");
    for (int j = 0; j < block->student_count; j++) {
        const TraceStudent *student = &block->students[j];
        text_append(out, "        { \"name\": ");
        text_json_string(out, student->name);
        if (has_bytes(student)) text_append(out, ", ");
        write_student_bytes(student, out);
        text_append(out, ",\n");
        write_timings(t, &(WrittenPoint){student->work, WORK_FORWARD, WORK_UPDATE, "          "},
                      out);
        text_append(out, j + 1 < block->student_count ? " },\n" : " }\n");
    }
    text_append(out, "      ]");
}

/* A block: bytes that it has, timings, students. */
static void write_block(const Trace *t, const TraceBlock *block, bool last, Text *out)
{
    bool first = true;

    text_append(out, "    {\n      \"name\": ");
    text_json_string(out, block->name);
    text_append(out, ",\n");
    if (block->output_bytes != TRACE_ABSENT)
        text_printf(out, "      \"output_bytes\": %" PRId64 ",\n", block->output_bytes);
    if (block->teacher_weight_bytes != TRACE_ABSENT
        || block->teacher_activation_bytes != TRACE_ABSENT) {
        text_append(out, "      \"teacher\": { ");
        bytes_member("weight_bytes", block->teacher_weight_bytes, &first, out);
        bytes_member("activation_bytes", block->teacher_activation_bytes, &first, out);
        text_append(out, " },\n");
    }
    TraceStudent only = trace_student(block, 0);
    if (!block->students && has_bytes(&only)) {
        text_append(out, "      \"student\": { ");
        write_student_bytes(&only, out);
        text_append(out, " },\n");
    }
    write_timings(t,
                  &(WrittenPoint){block->work, WORK_TEACHER,
                                  block->students ? WORK_TEACHER : WORK_UPDATE, "      "},
                  out);
    if (block->students) write_students(t, block, out);
    text_append(out, last ? "\n    }\n" : "\n    },\n");
}

/* The processor time of a link's i-th point, where there is one. */
static void write_core(const char *key, const Curve *core, int i, Text *out)
{
    if (core->count == 0) return;
    text_printf(out, ", \"%s\": ", key);
    text_us(out, core->points[i].ns);
}

/* p2p and allreduce of links, as members that follow others. */
static void write_points(const char *indent, const TraceLinks *links, Text *out)
{
    if (links->p2p.count) {
        text_printf(out, ",\n%s\"p2p\": [", indent);
        for (int i = 0; i < links->p2p.count; i++) {
            const CurvePoint *p = &links->p2p.points[i];
            text_printf(out, "%s\n%s  { \"bytes\": %" PRId64 ", \"us\": ", i ? "," : "", indent,
                        p->x);
            text_us(out, p->ns);
            write_core("sender_core_us", &links->sender_core, i, out);
            write_core("receiver_core_us", &links->receiver_core, i, out);
            text_append(out, " }");
        }
        text_printf(out, "\n%s]", indent);
    }
    if (!links->reduce_count) return;
    text_printf(out, ",\n%s\"allreduce\": [", indent);
    for (int r = 0; r < links->reduce_count; r++)
        for (int i = 0; i < links->reduces[r].curve.count; i++) {
            const CurvePoint *p = &links->reduces[r].curve.points[i];
            text_printf(out, "%s\n%s  { \"devices\": %d, \"bytes\": %" PRId64 ", \"us\": ",
                        r || i ? "," : "", indent, links->reduces[r].devices, p->x);
            text_us(out, p->ns);
            write_core("core_us", &links->reduces[r].core, i, out);
            text_append(out, " }");
        }
    text_printf(out, "\n%s]", indent);
}

/* A time that most traces do not have. */
static void write_besides(const char *key, int64_t ns, Text *out)
{
    if (ns == 0) return;
    text_printf(out, ",\n  \"%s\": ", key);
    text_us(out, ns);
}

void trace_text(const Trace *t, Text *out)
{
    write_head(t, out);
    text_append(out, "  \"blocks\": [\n");
    for (int b = 0; b < t->block_count; b++)
        write_block(t, &t->blocks[b], b + 1 == t->block_count, out);
    text_append(out, "  ]");
    if (t->loader.present) {
        text_append(out, ",\n  \"loader\": { \"batch_us\": ");
        text_us(out, t->loader.batch_ns);
        text_append(out, ", \"sample_us\": ");
        text_json_double(out, t->loader.sample_ns / 1000);
        if (!t->loader.workers) text_printf(out, ", \"lanes\": %d", t->loader.lanes);
        else
            text_printf(out, ", \"workers\": %d, \"cores\": %d", t->loader.workers,
                        t->loader.cores);
        text_printf(out, ", \"prefetch\": %d }", t->loader.prefetch);
    }
    write_besides("step_us", t->step_ns, out);
    if (t->process_bytes > 0)
        text_printf(out, ",\n  \"process_bytes\": %" PRId64, t->process_bytes);
    write_besides("network_us", t->network_ns, out);
    write_besides("part_us", t->part_ns, out);
    if (t->stored_share > 0) {
        text_append(out, ",\n  \"stored_share\": ");
        text_json_double(out, t->stored_share);
    }
    if (t->tier_count) tiers_write(t->tiers, t->tier_count, out);
    if (t->blocking_transfers) text_append(out, ",\n  \"transfers\": \"blocking\"");
    if (t->transfers_on_device) text_append(out, ",\n  \"transfer_core\": \"device\"");
    write_points("  ", &t->links, out);
    if (t->devices_per_node) {
        text_printf(out, ",\n  \"nodes\": {\n    \"devices_per_node\": %d", t->devices_per_node);
        write_points("    ", &t->node_links, out);
        text_append(out, "\n  }");
    }
    text_append(out, "\n}\n");
}
