/* The comparison as JSON (docs/formats.md). */
#include <inttypes.h>
#include <string.h>

#include "planner/report/estimates.h"
#include "planner/report/notes.h"
#include "planner/report/sensitivity_report.h"
#include "planner/report/report.h"
#include "planner/report/store_report.h"

static double seconds(int64_t ns) { return (double)ns * 1e-9; }

/* ---- pieces ------------------------------------------------------------------------ */

/* Stages, and tasks where there are some, after what stands before them. */
static void plan_json(const Plan *plan, const char *before, const char *indent, Text *out)
{
    text_printf(out, "%s\"stages\": ", before);
    plan_stages_text(plan, indent, out);
    if (plan->task_count) {
        text_append(out, ", \"tasks\": ");
        plan_tasks_text(plan, indent, out);
    }
    if (!plan->stored) return;
    text_append(out, ", ");
    plan_store_text(plan, indent, out);
}

static void device_json(const Candidate *row, const Scenario *s, int d, const char *indent,
                        Text *out)
{
    text_printf(out, "%s  {\"device\": %d, \"kind\": ", indent, d);
    text_json_string(out, s->trace->kinds[s->kinds[d]].name);
    for (int i = 0; i < shares_shown(&row->sim); i++) {
        text_printf(out, ", \"%s_us\": ", share_name((TimeShare)i));
        text_us(out, row->sim.shares[d][i]);
    }
    text_printf(out, ",\n%s   \"memory\": {\"limit_bytes\": ", indent);
    if (s->memory_bytes[d]) text_printf(out, "%" PRId64, s->memory_bytes[d]);
    else                    text_append(out, "null");
    text_printf(out, ", \"total_bytes\": %" PRId64, row->memory[d].total_bytes);
    for (int i = 0; i < MEMORY_COUNT; i++)
        text_printf(out, ", \"%s_bytes\": %" PRId64, memory_part_name((MemoryPart)i),
                    row->memory[d].parts[i]);
    text_append(out, "}}");
}

void report_devices_json(const Candidate *row, const Scenario *s, const char *indent, Text *out)
{
    text_append(out, "[\n");
    for (int d = 0; d < row->sim.device_count; d++) {
        device_json(row, s, d, indent, out);
        text_append(out, d + 1 < row->sim.device_count ? ",\n" : "\n");
    }
    text_printf(out, "%s]", indent);
}

/* ---- the parts ----------------------------------------------------------------------- */

static void algorithms_json(const Trace *t, Text *out)
{
    for (int i = 0; i < t->algorithm_count; i++) {
        text_append(out, i ? ", " : ", \"algorithms\": [");
        text_json_string(out, t->algorithms[i]);
    }
    if (t->algorithm_count) text_append(out, "]");
}

void report_origin_json(const Trace *t, const char *command, Text *out)
{
    const struct {
        const char *key, *value;
    } rest[] = {{"source", t->source}, {"date", t->date}, {"notes", t->notes}};

    if (command) {
        text_append(out, "  \"command\": ");
        text_json_string(out, command);
        text_append(out, ",\n");
    }
    text_append(out, "  \"provenance\": {\"kind\": ");
    text_json_string(out, t->provenance_kind);
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        if (!*rest[i].value) continue;
        text_printf(out, ", \"%s\": ", rest[i].key);
        text_json_string(out, rest[i].value);
    }
    algorithms_json(t, out);
    text_append(out, "},\n");
}

void report_blocks_json(const Scenario *s, Text *out)
{
    text_append(out, "  \"blocks\": [");
    for (int b = 0; b < s->trace->block_count; b++) {
        text_append(out, b ? ", " : "");
        text_json_string(out, s->trace->blocks[b].name);
    }
    text_append(out, "],\n");
}

static void devices_json(const Scenario *s, Text *out)
{
    text_append(out, "  \"devices\": [");
    for (int d = 0, end; d < s->device_count; d = end) {
        for (end = d; end < s->device_count && s->kinds[end] == s->kinds[d];) end++;
        text_append(out, d ? ", {\"kind\": " : "{\"kind\": ");
        text_json_string(out, s->trace->kinds[s->kinds[d]].name);
        text_printf(out, ", \"count\": %d}", end - d);
    }
    text_append(out, "],\n");
}

void report_what_if_json(const WhatIf *edits, int count, Text *out)
{
    text_append(out, "\"what_if\": [");
    for (int i = 0; i < count; i++) {
        text_append(out, i ? ", {\"path\": " : "{\"path\": ");
        text_json_string(out, edits[i].path);
        text_append(out, edits[i].kind == EDIT_SET ? ", \"set\": " : ", \"scale\": ");
        text_json_double(out, edits[i].value);
        text_append(out, "}");
    }
    text_append(out, "],\n");
}

static void head_json(const Comparison *c, const Scenario *s, Text *out)
{
    const Trace *t = s->trace;

    text_append(out, "{\n  \"format\": \"pipebd-comparison\",\n  \"version\": 1,\n  \"trace\": ");
    text_json_string(out, t->name);
    text_printf(out, ",\n  \"trace_hash\": \"%016" PRIx64 "\",\n", t->hash);
    if (c->edit_count) {
        text_append(out, "  ");
        report_what_if_json(c->edits, c->edit_count, out);
    }
    report_origin_json(t, c->command, out);
    text_append(out, "  \"workload\": ");
    text_json_string(out, t->workload);
    text_printf(out, ", \"batch\": %" PRId64 ", \"steps\": %" PRId64 ",\n", s->batch, s->steps);
    report_blocks_json(s, out);
    devices_json(s, out);
}

/* A schedule of the comparison; of one that is impossible only why. */
static void json_row(const Comparison *c, const Scenario *s, int i, Text *out)
{
    const Candidate *row = &c->rows[i];

    text_printf(out, "    {\"schedule\": \"%s\", ", schedule_name((Schedule)i));
    if (!row->plan) {
        text_append(out, "\"impossible\": ");
        text_json_string(out, row->why);
        text_append(out, "}");
        return;
    }
    text_printf(out, "\"epoch_s\": %.9f", (double)row->sim.epoch_ns * 1e-9);
    report_estimate_json(&row->sim, out);
    text_append(out, ", \"speedup\": ");
    if (comparison_baseline(c) >= 0) text_printf(out, "%.6f", report_speedup(c, row));
    else                             text_append(out, "null");
    text_append(out, ", \"step_us\": ");
    text_us(out, row->plan->step_ns);
    text_printf(out,
                ", \"utilisation\": %.6f, \"teacher_work\": %.6f, \"loads\": %.6f, "
                "\"peak_memory_bytes\": %" PRId64 ", \"method\": ",
                row->sim.utilisation, row->sim.teacher_work, row->sim.loads, row->peak.total_bytes);
    text_json_string(out, row->method);
    if (row->ahd_ns) text_printf(out, ", \"ahd_s\": %.9f", seconds(row->ahd_ns));
    if (row->bound_ns) text_printf(out, ", \"bound_s\": %.9f", seconds(row->bound_ns));
    plan_json(row->plan, ",\n     ", "     ", out);
    text_append(out, ",\n     \"devices\": ");
    report_devices_json(row, s, "     ", out);
    text_append(out, "}");
}

static void runner_up_json(const Comparison *c, const Scenario *s, Text *out)
{
    int64_t     ns = 0;
    const Plan *next = comparison_runner_up(c, s, &ns, NULL);

    if (!next) { text_append(out, "null"); return; }
    text_printf(out, "{\"schedule\": \"%s\", \"epoch_s\": %.9f", schedule_name(next->schedule),
                seconds(ns));
    plan_json(next, ", ", "  ", out);
    text_append(out, "}");
}

void report_chosen_json(const Plan *plan, Text *out)
{
    text_printf(out, "  \"plan\": {\"schedule\": \"%s\", \"bottleneck_us\": ",
                schedule_name(plan->schedule));
    if (plan->bottleneck_ns) text_us(out, plan->bottleneck_ns);
    else                     text_append(out, "null");
    plan_json(plan, ", ", "  ", out);
    text_append(out, "},\n");
}

int report_json(const Comparison *c, const Scenario *s, Text *out, Error *err)
{
    const Plan *plan = c->rows[c->best].plan;
    bool        first = true;
    Text        lines = {0};

    head_json(c, s, out);
    if (s->epochs > 1) text_printf(out, "  \"epochs\": %" PRId64 ",\n", s->epochs);
    text_append(out, "  \"speedup_over\": ");
    if (comparison_baseline(c) >= 0)
        text_printf(out, "\"%s\",\n", schedule_name((Schedule)comparison_baseline(c)));
    else                             text_append(out, "null,\n");
    text_append(out, "  \"schedules\": [\n");
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        if (!c->rows[i].plan && !c->rows[i].why[0]) continue;
        if (!first) text_append(out, ",\n");
        first = false;
        json_row(c, s, i, out);
    }
    text_append(out, "\n  ],\n  \"bound_s\": ");
    if (c->bound_ns > 0) text_printf(out, "%.9f", seconds(c->bound_ns));
    else                 text_append(out, "null");
    text_append(out, ",\n");
    report_chosen_json(plan, out);
    if (store_report_json(c, s, out, err) != 0) return -1;
    text_append(out, "  \"step\": ");
    if (report_step_json(plan, s, out, err) != 0) return -1;
    text_append(out, ",\n  \"runner_up\": ");
    runner_up_json(c, s, out);
    text_append(out, ",\n  \"sensitivity\": ");
    sensitivity_json(c->margins, out);
    text_append(out, ",\n");
    report_lines(c, &lines);
    report_notes_json(plan, s, text_string(&lines), out);
    out->failed |= text_failed(&lines);
    text_free(&lines);
    text_append(out, "\n}\n");
    return 0;
}
