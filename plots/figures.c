/* Speedups, the plan, time, memory, epochs, timelines and sweeps of a page. */
#include "plots/figures.h"
#include "schedule/registry.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DEVICES_SHOWN = 32, MAX_CARDS = 64 };

#define MIB 1048576.0

/* ---- cells ---------------------------------------------------------------------------- */

static void cell(Text *out, const char *open, const char *format, va_list arguments)
{
    char text[512];

    vsnprintf(text, sizeof text, format, arguments);
    text_append(out, open);
    html_text(out, text);
    text_append(out, "</td>");
}

void html_cell(Text *out, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    cell(out, "<td>", format, arguments);
    va_end(arguments);
}

void html_cell_left(Text *out, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    cell(out, "<td class=\"l\">", format, arguments);
    va_end(arguments);
}

void html_cell_number(Text *out, int digits, double value)
{
    if (isnan(value)) html_cell(out, "-");
    else              html_cell(out, "%.*f", digits, value);
}

/* ---- speedups ------------------------------------------------------------------------- */

void figure_speedups(Text *out, const ComparisonFile *file)
{
    Rows rows = {0};
    char text[64];

    for (int i = 0; i < file->row_count; i++) {
        const ComparedRow *row = &file->rows[i];
        rows_add(&rows, schedule_name(row->schedule));
        if (row->why) { rows_note(&rows, "not possible"); continue; }
        double value = file->over_known ? row->speedup : 1;
        rows.most = fmax(rows.most, value);
        rows_box(&rows, 0, value, 0.1, 0.9, colour_of_schedule(row->schedule), "");
        snprintf(text, sizeof text, "%.2f×", value);
        rows_value(&rows, text);
    }
    snprintf(text, sizeof text, "Speedup of each schedule over %s", schedule_name(file->over));
    rows_put(&rows, out, text);
}

/* ---- the plan --------------------------------------------------------------------------- */

static void blocks_text(const RunFacts *facts, const Stage *stage, Text *out)
{
    char a[24], b[24];

    html_text(out, facts_block(facts, stage->first, a));
    if (stage->last == stage->first) return;
    text_append(out, stage->last == stage->first + 1 ? ", " : " to ");
    html_text(out, facts_block(facts, stage->last, b));
}

/* "devices 0 to 3, 64 rows each" */
static void place_text(const Stage *stage, Text *out)
{
    bool run = true, even = true;

    for (int i = 1; i < stage->width; i++) {
        run &= stage->devices[i] == stage->devices[i - 1] + 1;
        even &= stage->rows[i] == stage->rows[0];
    }
    if (stage->width == 0) { text_append(out, "for the next free device"); return; }
    text_append(out, stage->width > 1 ? "devices " : "device ");
    if (run && stage->width > 2)
        text_printf(out, "%d to %d", stage->devices[0], stage->devices[stage->width - 1]);
    else
        for (int i = 0; i < stage->width; i++)
            text_printf(out, "%s%d", i ? ", " : "", stage->devices[i]);
    text_append(out, "</span><span>");
    if (even) {
        text_printf(out, "%lld rows%s", (long long)stage->rows[0], stage->width > 1 ? " each" : "");
        return;
    }
    for (int i = 0; i < stage->width; i++)
        text_printf(out, "%s%lld", i ? ", " : "", (long long)stage->rows[i]);
    text_append(out, " rows");
}

static void stage_card(Text *out, const RunFacts *facts, const Stage *stage, bool arrow)
{
    text_append(out, "<li>");
    if (arrow) text_append(out, "<span class=\"arrow\" aria-hidden=\"true\">→</span>");
    text_append(out, "<div class=\"card\"><b>");
    blocks_text(facts, stage, out);
    text_append(out, "</b><span>");
    place_text(stage, out);
    text_append(out, "</span></div></li>\n");
}

/* The blocks that a device trains one after another, of an ls plan. */
static void list_card(Text *out, const RunFacts *facts, const PlanShown *plan, int device)
{
    bool first = true;

    text_printf(out, "<li><div class=\"card\"><b>device %d</b><span>", device);
    for (int i = 0; i < plan->stage_count; i++) {
        const Stage *stage = &plan->stages[i];
        if (stage->width == 0 || stage->devices[0] != device) continue;
        if (!first) text_append(out, ", then ");
        first = false;
        blocks_text(facts, stage, out);
    }
    text_append(out, "</span></div></li>\n");
}

static int most_device(const PlanShown *plan)
{
    int most = -1;

    for (int i = 0; i < plan->stage_count; i++)
        for (int d = 0; d < plan->stages[i].width; d++)
            if (plan->stages[i].devices[d] > most) most = plan->stages[i].devices[d];
    return most;
}

static void tasks_table(Text *out, const RunFacts *facts, const PlanShown *plan)
{
    static const char *const heads[] = {"<student", "<trained on", NULL};

    html_table(out, "The cards run the teacher. Students are trained apart from it:", heads);
    for (int i = 0; i < plan->task_count; i++) {
        text_append(out, "<tr><td>");
        blocks_text(facts, &plan->tasks[i], out);
        if (plan->tasks[i].student) text_printf(out, "/%d", plan->tasks[i].student);
        text_append(out, "</td><td class=\"l\"><span>");
        place_text(&plan->tasks[i], out);
        text_append(out, "</span></td></tr>\n");
    }
    html_table_end(out);
}

static void first_note(Text *out, int count)
{
    if (count > MAX_CARDS)
        text_printf(out, "<p class=\"note\">The first %d of %d.</p>\n", MAX_CARDS, count);
}

/* The stages of later epochs, which wait for no other. */
static void later_cards(Text *out, const RunFacts *facts, const PlanShown *plan)
{
    text_append(out,
                "<p>That is the first epoch, in which boundaries are stored. In later epochs, from "
                "stored boundaries, each device in this order:</p>\n<ul class=\"stages\">\n");
    for (int i = 0; i < plan->later_count && i < MAX_CARDS; i++)
        stage_card(out, facts, &plan->later[i], false);
    text_append(out, "</ul>\n");
    first_note(out, plan->later_count);
}

void figure_plan(Text *out, const RunFacts *facts, const PlanShown *plan)
{
    bool relay = !schedule_row(plan->schedule)->phases;
    int  devices = most_device(plan) + 1, count = plan->stage_count;

    text_append(out, "<ul class=\"stages\">\n");
    if (schedule_row(plan->schedule)->lists && devices > 0) {
        for (int d = 0; d < devices && d < MAX_CARDS; d++) list_card(out, facts, plan, d);
        count = devices;
    } else {
        for (int i = 0; i < count && i < MAX_CARDS; i++)
            stage_card(out, facts, &plan->stages[i], relay && i > 0);
    }
    text_append(out, "</ul>\n");
    first_note(out, count);
    if (plan->task_count) tasks_table(out, facts, plan);
    if (plan->later_count) later_cards(out, facts, plan);
}

/* ---- stacks a device ----------------------------------------------------------------------- */

void figure_stack(Rows *rows, const BarPart *parts, int count, const char *format)
{
    double at = 0;
    char   text[24] = "";

    for (int i = 0; i < count; i++) {
        if (format) snprintf(text, sizeof text, format, parts[i].value);
        rows_box(rows, at, at + parts[i].value, 0.1, 0.9, parts[i].colour, text);
        at += parts[i].value;
    }
}

/* "0 to 3": devices that show the same stand in one row. */
static void devices_name(char *out, size_t size, int first, int last)
{
    if (first == last)          snprintf(out, size, "device %d", first);
    else if (last == first + 1) snprintf(out, size, "%d, %d", first, last);
    else                        snprintf(out, size, "%d to %d", first, last);
}

static bool same_shares(const DeviceUse *a, const DeviceUse *b, double epoch_us)
{
    for (int i = 0; i < SHARE_COUNT; i++)
        if (fabs(a->share_us[i] - b->share_us[i]) > 0.0005 * epoch_us) return false;
    return true;
}

static void left_out(Text *out, int shown, int count)
{
    if (shown < count)
        text_printf(out, "<p class=\"note\">Devices %d to %d are not shown.</p>\n", shown,
                    count - 1);
}

void figure_breakdown(Text *out, const ComparedRow *row)
{
    double epoch_us = row->epoch_s * 1e6;
    Rows   rows = {.most = 100};
    int    d = 0;

    for (int end; d < row->device_count && rows.row_count < MAX_DEVICES_SHOWN && !rows.failed;
         d = end) {
        BarPart parts[SHARE_COUNT];
        char    name[48];
        for (end = d + 1; end < row->device_count
                          && same_shares(&row->devices[d], &row->devices[end], epoch_us);)
            end++;
        for (int i = 0; i < SHARE_COUNT; i++)
            parts[i] = (BarPart){colour_of_share((TimeShare)i),
                                 100 * row->devices[d].share_us[i] / epoch_us};
        devices_name(name, sizeof name, d, end - 1);
        rows_add(&rows, name);
        figure_stack(&rows, parts, SHARE_COUNT, "%.0f");
    }
    rows_put(&rows, out, "Where each device's time goes, per cent of the epoch");
    left_out(out, d, row->device_count);
}

void figure_breakdown_keys(Text *out, const ComparedRow *rows, int count)
{
    html_keys(out);
    for (int i = 0; i < SHARE_COUNT; i++) {
        bool seen = false;
        for (int r = 0; r < count; r++)
            for (int d = 0; d < rows[r].device_count; d++)
                seen |= !rows[r].why && rows[r].devices[d].share_us[i] > 0.0005e6 * rows[r].epoch_s;
        if (seen) html_key(out, class_of_share((TimeShare)i), share_name((TimeShare)i));
    }
    html_keys_end(out);
}

static bool same_memory(const DeviceUse *a, const DeviceUse *b)
{
    for (int i = 0; i < MEMORY_COUNT; i++)
        if (a->part_bytes[i] != b->part_bytes[i]) return false;
    return true;
}

void figure_memory(Text *out, const ComparedRow *row, double scale_bytes)
{
    Rows rows = {.most = scale_bytes / MIB};
    int  d = 0;

    for (int end; d < row->device_count && rows.row_count < MAX_DEVICES_SHOWN && !rows.failed;
         d = end) {
        BarPart parts[MEMORY_COUNT];
        char    name[48], total[24];
        for (end = d + 1;
             end < row->device_count && same_memory(&row->devices[d], &row->devices[end]);)
            end++;
        for (int i = 0; i < MEMORY_COUNT; i++)
            parts[i] =
                (BarPart){colour_of_memory((MemoryPart)i), row->devices[d].part_bytes[i] / MIB};
        devices_name(name, sizeof name, d, end - 1);
        rows_add(&rows, name);
        figure_stack(&rows, parts, MEMORY_COUNT, NULL);
        rows_value(&rows, bytes_shown(total, row->devices[d].total_bytes));
    }
    rows_put(&rows, out, "What each device holds at its peak");
    left_out(out, d, row->device_count);
}

void figure_memory_keys(Text *out, const ComparedRow *rows, int count)
{
    html_keys(out);
    for (int i = 0; i < MEMORY_COUNT; i++) {
        bool seen = false;
        for (int r = 0; r < count; r++)
            for (int d = 0; d < rows[r].device_count; d++)
                seen |= !rows[r].why && rows[r].devices[d].part_bytes[i] > 0;
        if (seen) html_key(out, class_of_memory((MemoryPart)i), memory_part_name((MemoryPart)i));
    }
    html_keys_end(out);
}

/* ---- predicted and measured ------------------------------------------------------------------ */

void figure_validation(Text *out, const ValidationFile *file)
{
    Rows rows = {0};
    char text[64];

    for (int i = 0; i < file->row_count; i++) {
        const ValidatedRow *row = &file->rows[i];
        int                 colour = colour_of_schedule(row->schedule);
        rows_add(&rows, schedule_name(row->schedule));
        if (row->why) { rows_note(&rows, "not possible"); continue; }
        rows.most =
            fmax(rows.most, fmax(row->predicted_s,
                                 fmax(row->measured_s, isnan(row->most_s) ? 0 : row->most_s)));
        rows_box(&rows, 0, row->predicted_s, 0.05, 0.48, colour_pale(colour), "");
        rows_box(&rows, 0, row->measured_s, 0.5, 0.93, colour, "");
        if (!isnan(row->least_s) && !isnan(row->most_s))
            rows_range(&rows, row->least_s, row->most_s);
        snprintf(text, sizeof text, "%+.1f %%", 100 * (row->measured_s / row->predicted_s - 1));
        rows_value(&rows, text);
    }
    rows_put(&rows, out, "Epochs of each schedule, predicted and measured");
    text_append(
        out,
        "<p class=\"note\">Above, pale: predicted. Below: measured, the mean of the runs at the "
        "profile’s speed, with their range. Right: measured over predicted.</p>\n");
}

/* ---- timelines and sweeps -------------------------------------------------------------------- */

void figure_gantt(Text *out, const Gantt *g)
{
    static const struct { Op op; const char *name;
    } all[] = {
        {OP_LOAD, "load"},         {OP_TEACHER, "teacher"},      {OP_FORWARD, "forward"},
        {OP_BACKWARD, "backward"}, {OP_ALLREDUCE, "all-reduce"}, {OP_UPDATE, "update"},
        {OP_SEND, "relay"},        {OP_BARRIER, "barrier"},      {OP_STORE, "store"},
        {OP_FETCH, "fetch"},       {OP_ONLOAD, "weights"},
    };

    html_keys(out);
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        if (gantt_shows(g, all[k].op)) html_key(out, class_of_op(all[k].op), all[k].name);
    html_keys_end(out);
    gantt_put(g, out, "What each device does, over time");
    if (gantt_rows_left_out(g))
        text_printf(out, "<p class=\"note\">%d more rows are not shown.</p>\n",
                    gantt_rows_left_out(g));
}

void figure_sweep_panel(Text *out, const SweepData *d, int panel, Metric metric)
{
    char label[200];

    snprintf(label, sizeof label, "%s by %.100s", sweep_metrics[metric].title, d->csv.rows[0][0]);
    sweep_put(d, panel, metric, out, label);
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
    text_append(out, "<div class=\"pairs\">\n");
    for (int p = 0; p < d->panel_count; p++) {
        char at[160] = "";
        if (d->axes == 2) snprintf(at, sizeof at, ", %.100s = %g", d->csv.rows[0][1], d->panels[p]);
        text_append(out, "<div><p class=\"over\">");
        html_text(out, text);
        html_text(out, at);
        text_append(out, "</p>\n");
        figure_sweep_panel(out, d, p, metric);
        text_append(out, "</div>\n");
    }
    text_append(out, "</div>\n");
}
