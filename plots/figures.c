/* Bars: speedups, time, memory, epochs; and the plan. */
#include "plots/figures.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DEVICES_SHOWN = 32, MAX_CARDS = 64, BAR = 20 };

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
    double most = 0, slowest = 0;
    bool   over_dp = compared_row(file, SCHEDULE_DP) != NULL;
    char   text[64];

    for (int i = 0; i < file->row_count; i++)
        if (!file->rows[i].why) slowest = fmax(slowest, file->rows[i].epoch_s);
    for (int i = 0; i < file->row_count; i++)
        if (!file->rows[i].why) most = fmax(most, over_dp ? file->rows[i].speedup : slowest / file->rows[i].epoch_s);
    text_append(out, "<figure style=\"margin:1rem 0\">\n");
    for (int i = 0; i < file->row_count; i++) {
        const ComparedRow *row = &file->rows[i];
        double             value = row->why ? 0 : over_dp ? row->speedup : slowest / row->epoch_s;
        const char        *class = class_of_schedule(row->schedule);
        html_row(out, schedule_name(row->schedule));
        snprintf(text, sizeof text, row->why ? "not possible" : over_dp ? "%.2f times dp" : "%.2f times the slowest", value);
        svg_begin(out, BAR, text);
        if (row->why) svg_text(out, "axis", 0, 14, "start", "not possible");
        else          svg_box(out, class, 0, most > 0 ? 100 * value / most : 0, 0, BAR, NULL);
        svg_end(out);
        snprintf(text, sizeof text, row->why ? "" : "%.2f×", value);
        html_row_end(out, text);
    }
    if (!over_dp && most > 0)
        text_append(out, "<figcaption class=\"note\">Without dp: times as fast as the slowest of these.</figcaption>\n");
    text_append(out, "</figure>\n");
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
    if (run && stage->width > 2) text_printf(out, "%d to %d", stage->devices[0], stage->devices[stage->width - 1]);
    else for (int i = 0; i < stage->width; i++) text_printf(out, "%s%d", i ? ", " : "", stage->devices[i]);
    text_append(out, "</span><span>");
    if (even) { text_printf(out, "%lld rows%s", (long long)stage->rows[0], stage->width > 1 ? " each" : ""); return; }
    for (int i = 0; i < stage->width; i++) text_printf(out, "%s%lld", i ? ", " : "", (long long)stage->rows[i]);
    text_append(out, " rows");
}

static void stage_card(Text *out, const RunFacts *facts, const PlanShown *plan, int i, bool arrows)
{
    text_append(out, "<li>");
    if (arrows && i > 0) text_append(out, "<span class=\"arrow\" aria-hidden=\"true\">→</span>");
    text_append(out, "<div class=\"card\"><b>");
    blocks_text(facts, &plan->stages[i], out);
    text_append(out, "</b><span>");
    place_text(&plan->stages[i], out);
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

void figure_plan(Text *out, const RunFacts *facts, const PlanShown *plan)
{
    bool relay = plan->schedule != SCHEDULE_DP && plan->schedule != SCHEDULE_LS;
    int  devices = most_device(plan) + 1, count = plan->stage_count;

    text_append(out, "<ul class=\"stages\">\n");
    if (plan->schedule == SCHEDULE_LS && devices > 0) {
        for (int d = 0; d < devices && d < MAX_CARDS; d++) list_card(out, facts, plan, d);
        count = devices;
    } else {
        for (int i = 0; i < count && i < MAX_CARDS; i++) stage_card(out, facts, plan, i, relay);
    }
    text_append(out, "</ul>\n");
    if (count > MAX_CARDS) text_printf(out, "<p class=\"note\">The first %d of %d.</p>\n", MAX_CARDS, count);
    if (plan->task_count) tasks_table(out, facts, plan);
}

/* ---- stacks a device ----------------------------------------------------------------------- */

void figure_stack(Text *out, const BarPart *parts, int count, const char *unit, double per_cent, bool labelled, const char *label)
{
    double at = 0;
    char   text[96];

    svg_begin(out, BAR, label);
    for (int i = 0; i < count; i++) {
        double width = parts[i].value * per_cent;
        if (width < 0.02) continue;
        snprintf(text, sizeof text, "%s %.4g %s", parts[i].name, parts[i].value, unit);
        svg_box(out, parts[i].class, at, at + width, 0, BAR, text);
        if (labelled) {
            snprintf(text, sizeof text, unit[0] == '%' || parts[i].value >= 100 ? "%.0f" : "%.3g", parts[i].value);
            svg_box_label(out, parts[i].class, at, at + width, 14, 350, text);
        }
        at += width;
    }
    svg_end(out);
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
    if (shown < count) text_printf(out, "<p class=\"note\">Devices %d to %d are not shown.</p>\n", shown, count - 1);
}

void figure_breakdown(Text *out, const ComparedRow *row)
{
    double epoch_us = row->epoch_s * 1e6;
    int    rows = 0, d = 0;

    text_append(out, "<div class=\"plain\">\n");
    for (int end; d < row->device_count && rows < MAX_DEVICES_SHOWN; d = end, rows++) {
        BarPart parts[SHARE_COUNT];
        char name[48], label[200] = "";
        for (end = d + 1; end < row->device_count && same_shares(&row->devices[d], &row->devices[end], epoch_us);) end++;
        for (int i = 0, used = 0; i < SHARE_COUNT; i++) {
            parts[i] = (BarPart){class_of_share((TimeShare)i), share_name((TimeShare)i), 100 * row->devices[d].share_us[i] / epoch_us};
            if (parts[i].value >= 0.05 && used < 150)
                used += snprintf(label + used, sizeof label - (size_t)used, "%s%s %.1f %%", used ? ", " : "", parts[i].name, parts[i].value);
        }
        devices_name(name, sizeof name, d, end - 1);
        html_row(out, name);
        figure_stack(out, parts, SHARE_COUNT, "%", 1, true, label);
        html_row_end(out, "");
    }
    text_append(out, "</div>\n");
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
    int rows = 0, d = 0;

    for (int end; d < row->device_count && rows < MAX_DEVICES_SHOWN; d = end, rows++) {
        BarPart parts[MEMORY_COUNT];
        char name[48], total[24];
        for (end = d + 1; end < row->device_count && same_memory(&row->devices[d], &row->devices[end]);) end++;
        for (int i = 0; i < MEMORY_COUNT; i++)
            parts[i] = (BarPart){class_of_memory((MemoryPart)i), memory_part_name((MemoryPart)i), row->devices[d].part_bytes[i] / 1048576};
        devices_name(name, sizeof name, d, end - 1);
        bytes_shown(total, row->devices[d].total_bytes);
        html_row(out, name);
        figure_stack(out, parts, MEMORY_COUNT, "MiB", scale_bytes > 0 ? 100 * 1048576 / scale_bytes : 0, false, total);
        html_row_end(out, total);
    }
    left_out(out, d, row->device_count);
}

void figure_memory_keys(Text *out, const ComparedRow *rows, int count)
{
    html_keys(out);
    for (int i = 0; i < MEMORY_COUNT; i++) {
        bool seen = false;
        for (int r = 0; r < count; r++)
            for (int d = 0; d < rows[r].device_count; d++) seen |= !rows[r].why && rows[r].devices[d].part_bytes[i] > 0;
        if (seen) html_key(out, class_of_memory((MemoryPart)i), memory_part_name((MemoryPart)i));
    }
    html_keys_end(out);
}

/* ---- predicted and measured -------------------------------------------------------------------- */

void figure_validation(Text *out, const ValidationFile *file)
{
    double most = 0;
    char   text[96];

    for (int i = 0; i < file->row_count; i++) {
        const ValidatedRow *row = &file->rows[i];
        if (row->why) continue;
        most = fmax(most, fmax(row->predicted_s, fmax(row->measured_s, isnan(row->most_s) ? 0 : row->most_s)));
    }
    text_append(out, "<figure style=\"margin:1rem 0\">\n");
    for (int i = 0; i < file->row_count; i++) {
        const ValidatedRow *row = &file->rows[i];
        const char         *class = class_of_schedule(row->schedule);
        char                pale[32];
        html_row(out, schedule_name(row->schedule));
        snprintf(pale, sizeof pale, "pale %s", class);
        snprintf(text, sizeof text, row->why ? "not possible" : "predicted %.4g s, measured %.4g s", row->predicted_s, row->measured_s);
        svg_begin(out, 26, text);
        if (row->why) {
            svg_text(out, "axis", 0, 17, "start", "not possible");
        } else {
            svg_box(out, pale, 0, 100 * row->predicted_s / most, 1, 11, "predicted");
            svg_box(out, class, 0, 100 * row->measured_s / most, 13, 12, "measured");
            if (!isnan(row->least_s) && !isnan(row->most_s)) {
                text_printf(out, "<line class=\"whisker\" x1=\"%.3f%%\" x2=\"%.3f%%\" y1=\"19\" y2=\"19\"/>",
                            100 * row->least_s / most, 100 * row->most_s / most);
                svg_rule(out, "whisker", 100 * row->least_s / most, 16, 22);
                svg_rule(out, "whisker", 100 * row->most_s / most, 16, 22);
            }
        }
        svg_end(out);
        snprintf(text, sizeof text, row->why ? "" : "%+.1f %%", 100 * (row->measured_s / row->predicted_s - 1));
        html_row_end(out, text);
    }
    text_append(out, "<figcaption class=\"note\">Above, pale: predicted. Below: measured, the median of the runs, with "
                "their range. Right: measured over predicted.</figcaption>\n</figure>\n");
}
