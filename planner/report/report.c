#include "planner/report/report.h"
#include "planner/report/store_report.h"

#include <math.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "planner/report/estimates.h"
#include "planner/report/notes.h"
#include "planner/report/sensitivity_report.h"
#include "schedule/registry.h"
#include "planner/split/split_cost.h"

double report_speedup(const Comparison *c, const Candidate *row)
{
    int over = comparison_baseline(c);

    return over >= 0 && row->sim.epoch_ns
               ? (double)c->rows[over].sim.epoch_ns / (double)row->sim.epoch_ns
               : 0;
}

/* The device that idles and waits least, and what most of its time goes to. */
static void limit_text(const Candidate *row, Text *out)
{
    int     busiest = 0, largest = 0;
    int64_t least = INT64_MAX;

    for (int d = 0; d < row->sim.device_count; d++) {
        int64_t lost = row->sim.shares[d][SHARE_WAIT] + row->sim.shares[d][SHARE_IDLE];
        if (lost < least) { least = lost; busiest = d; }
    }
    for (int i = 0; i < SHARE_WAIT; i++)         /* what it does, not what it waits for */
        if (row->sim.shares[busiest][i] > row->sim.shares[busiest][largest]) largest = i;
    if (row->sim.shares[busiest][SHARE_STORAGE] > row->sim.shares[busiest][largest])
        largest = SHARE_STORAGE;
    double epoch = (double)(row->sim.epoch_ns ? row->sim.epoch_ns : 1);
    text_printf(out, "device %d is the busiest: %.0f %% %s, %.0f %% waiting", busiest,
                100 * (double)row->sim.shares[busiest][largest] / epoch,
                share_name((TimeShare)largest), 100 * (double)least / epoch);
    if (row->sim.teacher_work > 1.001)
        text_printf(out, "; the teacher runs %.2f times over", row->sim.teacher_work);
    if (row->sim.loads > 1.001) text_printf(out, "; data is loaded %.2f times", row->sim.loads);
}

static double seconds(int64_t ns) { return (double)ns * 1e-9; }

static void speedup_text(const Comparison *c, int over, const Candidate *row, Text *out)
{
    if (over < 0 || row->sim.epoch_ns == 0) text_append(out, "       -");
    else text_printf(out, "%8.2f", (double)c->rows[over].sim.epoch_ns / (double)row->sim.epoch_ns);
}

/* The longest name of those shown, at least that of the column. */
static int name_width(const Comparison *c)
{
    size_t width = 6;

    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        size_t length = strlen(schedule_name((Schedule)i));
        if ((c->rows[i].plan || c->rows[i].why[0]) && length > width) width = length;
    }
    return (int)width;
}

/* The table of schedules; of one that is impossible why, and nothing of one that was not asked
 * for. */
static void table_rows(const Comparison *c, Text *out)
{
    int  over = comparison_baseline(c), wide = name_width(c), more;
    char name[24];

    snprintf(name, sizeof name, over == SCHEDULE_SPLIT ? "of %s" : "over %s",
             over < 0 ? "dp" : schedule_name((Schedule)over));
    more = (int)strlen(name) > 8 ? (int)strlen(name) - 8 : 0;
    text_printf(
        out,
        "schedule%*s     epoch  %*sspeedup        step   util    teacher       data     memory\n",
        wide - 6, "", more, "");
    text_printf(out,
                "%*s                 s %8s          ms      %% redundancy redundancy        MiB\n",
                wide - 6, "", name);
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        const Candidate *row = &c->rows[i];
        if (!row->plan) {
            if (row->why[0])
                text_printf(out, "%-*s not possible: %s\n", wide, schedule_name((Schedule)i),
                            row->why);
            continue;
        }
        text_printf(out, "%-*s %11.3f %*s", wide, schedule_name((Schedule)i),
                    seconds(row->sim.epoch_ns), more, "");
        speedup_text(c, over, row, out);
        text_printf(out, " %11.3f %6.1f %10.2f %10.2f %10.1f%s\n",
                    (double)row->plan->step_ns * 1e-6, 100 * row->sim.utilisation,
                    row->sim.teacher_work, row->sim.loads, (double)row->peak.total_bytes / 1048576,
                    i == c->best ? "  <- fastest" : "");
        if (row->sim.estimated) {
            text_printf(out, "%*s ", wide, "");
            report_estimate_line(&row->sim, out);
        }
    }
    if (over == SCHEDULE_SEQUENTIAL)
        text_append(out, "dp is not possible; sequential is how tools train what is larger than a "
                         "device, though theirs pass the data twice and "
                         "feed\nthe next block what the trained ones give, where these boundaries "
                         "are the teacher's\n");
}

static bool several_kinds(const Scenario *s)
{
    for (int d = 1; d < s->device_count; d++)
        if (s->kinds[d] != s->kinds[0]) return true;
    return false;
}

/* "0, 1 (RTX A6000) and 2 (RTX 2080 Ti)" */
static void devices_with_kinds(const int *devices, int count, const Scenario *s, Text *out)
{
    for (int i = 0, end; i < count; i = end) {
        for (end = i; end < count && s->kinds[devices[end]] == s->kinds[devices[i]]; end++)
            text_printf(out, "%s%d", end > i ? ", " : "", devices[end]);
        text_printf(out, " (%s)", s->trace->kinds[s->kinds[devices[i]]].name);
        if (end < count) text_append(out, " and ");
    }
}

static bool even_shares(const Stage *stage)
{
    for (int i = 1; i < stage->width; i++)
        if (stage->rows[i] > stage->rows[i - 1] || stage->rows[0] - stage->rows[i] > 1)
            return false;
    return true;
}

/* " on devices 0, 1 and their rows" */
static void report_place(const Stage *stage, const Scenario *s, Text *out)
{
    text_printf(out, " on device%s ", stage->width > 1 ? "s" : "");
    if (several_kinds(s)) devices_with_kinds(stage->devices, stage->width, s, out);
    else
        for (int d = 0; d < stage->width; d++)
            text_printf(out, "%s%d", d ? ", " : "", stage->devices[d]);
    if (even_shares(stage)) {
        text_printf(out, ", %" PRId64 " rows each step", stage->rows[0]);
        if (stage->width > 1)
            text_printf(out, " (last: %" PRId64 ")", stage->rows[stage->width - 1]);
        return;
    }
    text_append(out, ", rows ");
    for (int d = 0; d < stage->width; d++)
        text_printf(out, "%s%" PRId64, d ? ", " : "", stage->rows[d]);
}

static const char *plural(int64_t count) { return count == 1 ? "" : "s"; }

/* "what if: blocks[conv2].student.us times 1.5, device[2].slowdown = 2" */
void report_what_if(const WhatIf *edits, int count, Text *out)
{
    for (int i = 0; i < count; i++)
        text_printf(out, "%s%s %s %.10g", i ? ", " : "what if: ", edits[i].path,
                    edits[i].kind == EDIT_SET ? "=" : "times", edits[i].value);
    if (count) text_append(out, "\n");
}

void report_title(const Scenario *s, Text *out)
{
    text_printf(out,
                "%s: %d block%s, %d device%s, batch %" PRId64 ", %" PRId64
                " step%s an epoch (%s trace%s)\n",
                s->trace->name, s->trace->block_count, plural(s->trace->block_count),
                s->device_count, plural(s->device_count), s->batch, s->steps, plural(s->steps),
                s->trace->provenance_kind, s->trace->loader.present ? "" : ", no loader");
}

void report_devices(const Scenario *s, Text *out)
{
    if (!several_kinds(s)) return;
    text_append(out, "devices");
    for (int d = 0, end; d < s->device_count; d = end) {
        for (end = d; end < s->device_count && s->kinds[end] == s->kinds[d];) end++;
        text_printf(out, "%s %d", d ? "," : "", d);
        if (end - d > 1) text_printf(out, " to %d", end - 1);
        text_printf(out, ": %s", s->trace->kinds[s->kinds[d]].name);
    }
    text_append(out, "\n");
}

static bool same_place(const Stage *a, const Stage *b)
{
    for (int i = 0; i < a->width && i < b->width; i++)
        if (a->devices[i] != b->devices[i] || a->rows[i] != b->rows[i]) return false;
    return a->width == b->width;
}

static void task_name(const Plan *plan, const Stage *task, const Scenario *s, Text *out)
{
    text_append(out, s->trace->blocks[task->first].name);
    if (plan_students(plan, task->first) > 1) text_printf(out, "/%d", task->student);
}

/* The tasks of a split plan: a line for neighbours that are in the same place. */
static void report_tasks(const Plan *plan, const Scenario *s, Text *out)
{
    for (int i = 0, end; i < plan->task_count; i = end) {
        const Stage *task = &plan->tasks[i];
        for (end = i + 1; end < plan->task_count && same_place(task, &plan->tasks[end]);) end++;
        text_printf(out, "  student%s ", end - i > 1 ? "s" : "");
        task_name(plan, task, s, out);
        if (end - i > 1) {
            text_append(out, " to ");
            task_name(plan, &plan->tasks[end - 1], s, out);
        }
        report_place(task, s, out);
        text_append(out, "\n");
    }
}

static void machines_of(const Stage *stage, const Scenario *s, int *low, int *high)
{
    *low = *high = scenario_node(s, stage->devices[0]);
    for (int i = 1; i < stage->width; i++) {
        int node = scenario_node(s, stage->devices[i]);
        if (node < *low) *low = node;
        if (node > *high) *high = node;
    }
}

/* Where a stage of a chain stands, and whether what it gets crosses machines. */
static void machines_text(const Plan *plan, int i, const Scenario *s, Text *out)
{
    const Stage *stage = &plan->stages[i];
    int          low, high, before = -1;

    if (schedule_row(plan->schedule)->phases || scenario_node(s, s->device_count - 1) == 0) return;
    machines_of(stage, s, &low, &high);
    if (low == high) text_printf(out, "; on machine %d", low);
    else             text_printf(out, "; across machines %d to %d", low, high);
    if (i > 0) before = scenario_node(s, stage[-1].devices[stage[-1].width - 1]);
    if (i > 0 && before != scenario_node(s, stage->devices[0]))
        text_printf(out, ", relay from machine %d", before);
}

static bool works(const Plan *plan, int device)
{
    for (int i = 0; i < plan->stage_count + plan->task_count; i++) {
        const Stage *stage =
            i < plan->stage_count ? &plan->stages[i] : &plan->tasks[i - plan->stage_count];
        if (stage->width == 0) return true;      /* stolen: by anyone */
        for (int k = 0; k < stage->width; k++) if (stage->devices[k] == device) return true;
    }
    return false;
}

/* "  devices 3, 5 to 7 idle" */
static void report_idle(const Plan *plan, Text *out)
{
    int runs = 0, idle = 0;

    for (int d = 0; d < plan->device_count; d++) idle += !works(plan, d);
    if (idle) text_printf(out, "  device%s ", idle > 1 ? "s" : "");
    for (int d = 0, end; d < plan->device_count; d = end + 1) {
        for (end = d; end < plan->device_count && !works(plan, end);) end++;
        if (end == d) continue;
        text_printf(out, "%s%d", runs++ ? ", " : "", d);
        if (end - d > 1) text_printf(out, " to %d", end - 1);
    }
    if (idle) text_append(out, " idle\n");
}

/* Stages that take turns are shown up to so many: they repeat. */
enum { TURNS_SHOWN = 8 };

static void later_text(const Plan *plan, const Scenario *s, Text *out)
{
    if (plan->later_count) text_append(out, "  then, in later epochs:\n");
    for (int i = 0; i < plan->later_count; i++) {
        const Stage *stage = &plan->later[i];
        text_printf(out, "  block%s %s", stage->first == stage->last ? "" : "s",
                    s->trace->blocks[stage->first].name);
        if (stage->first != stage->last)
            text_printf(out, " to %s", s->trace->blocks[stage->last].name);
        report_place(stage, s, out);
        text_append(out, "\n");
    }
}

void report_stages(const Plan *plan, const Scenario *s, Text *out)
{
    for (int i = 0; i < plan->stage_count; i++) {
        const Stage *stage = &plan->stages[i];
        if (plan->turns && i == TURNS_SHOWN && plan->stage_count > TURNS_SHOWN + 1) {
            text_printf(out, "  ... and %d stages more, in turn\n",
                        plan->stage_count - TURNS_SHOWN);
            break;
        }
        text_printf(out, "  %sblock%s %s", plan->task_count ? "teacher " : "",
                    stage->first == stage->last ? "" : "s", s->trace->blocks[stage->first].name);
        if (stage->first != stage->last)
            text_printf(out, " to %s", s->trace->blocks[stage->last].name);
        if (stage->width == 0) { text_append(out, ": for the next free device\n"); continue; }
        report_place(stage, s, out);
        machines_text(plan, i, s, out);
        text_append(out, "\n");
    }
    report_tasks(plan, s, out);
    later_text(plan, s, out);
    if (!plan->later_count) report_idle(plan, out);
}

/* That split was not compared, where it could be much faster. */
static void split_text(const Comparison *c, const Scenario *s, Text *out)
{
    int64_t ns = c->rows[c->best].sim.epoch_ns, bound;

    if (c->rows[SCHEDULE_SPLIT].plan || c->rows[SCHEDULE_SPLIT].why[0]
        || !c->rows[SCHEDULE_AHD].plan)
        return;
    if (__builtin_mul_overflow(split_bound(s), s->steps, &bound) || bound <= 0
        || (double)bound > 0.9 * (double)ns)
        return;
    text_printf(out,
                "  note: split was not compared (--schedules ahd,split): students apart from their "
                "teacher could take from %.3f s on\n",
                seconds(bound));
}

static void runner_up_text(const Comparison *c, const Scenario *s, Text *out)
{
    int64_t     ns = 0;
    int         simulated;
    const Plan *next = comparison_runner_up(c, s, &ns, &simulated);
    int64_t     best_ns = c->rows[c->best].sim.epoch_ns;

    if (!next) { text_append(out, "  runner-up: none, no other plan was simulated\n"); return; }
    text_printf(out, "  runner-up: %s, ", schedule_name(next->schedule));
    if (!schedule_row(next->schedule)->phases)
        text_printf(out, "%d stage%s, ", next->stage_count, next->stage_count > 1 ? "s" : "");
    if (ns == best_ns)     text_append(out, "as fast");
    else if (ns < best_ns)
        text_printf(out, "%.2g %% faster, which counts as a tie",
                    100 * (1 - (double)ns / (double)best_ns));
    else
        text_printf(out, "%.2g %% slower", 100 * ((double)ns / (double)best_ns - 1));
    text_printf(out, "; the fastest other of %d plans simulated\n", simulated);
}

/* The own bound of tr, and of schedules that store, where it is known; a plan that relays nothing,
 * of dp or ls, may be below the other. */
static void bound_text(const Comparison *c, Text *out)
{
    const Candidate *best = &c->rows[c->best];
    const ScheduleRow *row = schedule_row((Schedule)c->best);
    bool             own = (row->barrier || row->stores) && best->bound_ns > 0;
    int64_t          ns = own ? best->bound_ns : c->bound_ns;
    double           above = 100 * ((double)best->sim.epoch_ns / (double)ns - 1);

    if (ns <= 0) return;
    text_printf(out, "  bound: no %s plan has %s epoch below %.3f s; this one",
                own ? schedule_name((Schedule)c->best) : "relaying",
                row->stores && own ? "a mean" : "an", seconds(ns));
    if (row->phases && !own) text_append(out, ", which does not relay,");
    text_printf(out, " is %.1f %% %s\n", fabs(above), above < 0 ? "below" : "above");
}

void report_split(const Candidate *row, Text *out)
{
    double epoch = (double)row->sim.epoch_ns;

    if (!row->plan) return;
    text_append(out, "\nsplit: ");
    if (!row->ahd_ns) text_append(out, "ahd has no plan to compare with");
    else if (row->sim.epoch_ns >= row->ahd_ns) text_append(out, "nothing gained over ahd");
    else
        text_printf(out, "%.1f %% off ahd's %.3f s", 100 * (1 - epoch / (double)row->ahd_ns),
                    seconds(row->ahd_ns));
    if (row->bound_ns)
        text_printf(out, "; no split plan has an epoch below %.3f s, this one is %.1f %% above",
                    seconds(row->bound_ns), 100 * (epoch / (double)row->bound_ns - 1));
    text_append(out, "\n");
}

void report_table(const Comparison *c, const Scenario *s, Text *out)
{
    const Candidate *best = &c->rows[c->best];
    int              wide = 4;

    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        int length = (int)strlen(schedule_name((Schedule)i));
        if (c->rows[i].plan && length > wide) wide = length;
    }
    report_title(s, out);
    report_what_if(c->edits, c->edit_count, out);
    report_devices(s, out);
    text_append(out, "\n");
    table_rows(c, out);
    text_append(out, "\nwhat limits each:\n");
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        if (!c->rows[i].plan) continue;
        text_printf(out, "  %-*s ", wide, schedule_name((Schedule)i));
        limit_text(&c->rows[i], out);
        text_append(out, "\n");
    }
    report_split(&c->rows[SCHEDULE_SPLIT], out);
    if (c->rows[SCHEDULE_LS].plan) text_printf(out, "\nls: %s\n", c->rows[SCHEDULE_LS].method);
    text_printf(out, "\nplan: %s, %s\n  found by: %s\n", schedule_name((Schedule)c->best),
                schedule_summary((Schedule)c->best), best->method);
    report_stages(best->plan, s, out);
    if (!schedule_row((Schedule)c->best)->apart) bound_text(c, out);
    runner_up_text(c, s, out);
    if (s->device_count > s->trace->block_count)
        text_printf(out, "  note: %d devices for %d blocks, so tr and dpu leave %d idle\n",
                    s->device_count, s->trace->block_count,
                    s->device_count - s->trace->block_count);
    if (best->sim.epoch_ns == 0)
        text_append(out, "  note: every time that counts here is 0 in the trace, so no schedule is "
                         "faster than another\n");
    split_text(c, s, out);
    report_notes(best->plan, s, c->idle, out);
}

void report_csv(const Comparison *c, Text *out)
{
    text_append(
        out, "schedule,epoch_s,speedup,step_us,utilisation,teacher_work,loads,peak_memory_bytes\n");
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        const Candidate *row = &c->rows[i];
        if (!row->plan) continue;
        text_printf(out, "%s,%.9f,", schedule_name((Schedule)i), seconds(row->sim.epoch_ns));
        if (report_speedup(c, row) > 0) text_printf(out, "%.6f", report_speedup(c, row));
        text_append(out, ",");
        text_us(out, row->plan->step_ns);
        text_printf(out, ",%.6f,%.6f,%.6f,%" PRId64 "\n", row->sim.utilisation,
                    row->sim.teacher_work, row->sim.loads, row->peak.total_bytes);
    }
}

void report_left_out(const Scenario *s, Text *out)
{
    Text missing = {0};

    scenario_missing(s, &missing);
    if (missing.length) text_printf(out, "\nleft out:\n%s", text_string(&missing));
    out->failed |= text_failed(&missing);
    text_free(&missing);
}

static int whole_table(const Comparison *c, const Scenario *s, Text *out, Error *err)
{
    report_table(c, s, out);
    if (store_report(c, s, out, err) != 0) return -1;
    sensitivity_table(c->margins, out);
    text_append(out, "\n");
    if (report_gantt(c->rows[c->best].plan, s, out, err) != 0) return -1;
    report_left_out(s, out);
    return 0;
}

/* The table of rows, and what is to be known of them. */
static void csv_with_notes(const Comparison *c, const Scenario *s, Text *out)
{
    Text lines = {0};

    report_csv(c, out);
    if (comparison_baseline(c) > 0)
        text_printf(out, "# note: speedup is over %s\n",
                    schedule_name((Schedule)comparison_baseline(c)));
    report_lines(c, &lines);
    report_notes_csv(c->rows[c->best].plan, s, text_string(&lines), out);
    out->failed |= text_failed(&lines);
    text_free(&lines);
}

int report(const Comparison *c, const Scenario *s, ReportFormat format, Text *out, Error *err)
{
    switch (format) {
    case REPORT_TABLE: if (whole_table(c, s, out, err) != 0) return -1; break;
    case REPORT_CSV:   csv_with_notes(c, s, out); break;
    case REPORT_JSON:  if (report_json(c, s, out, err) != 0) return -1; break;
    }
    return text_failed(out) ? error_no_memory(err) : 0;
}
