#include "planner/report/sim_report.h"

#include <inttypes.h>
#include <string.h>

#include "planner/report/estimates.h"
#include "planner/report/notes.h"
#include "planner/report/report.h"
#include "schedule/registry.h"

/* RFC 4180: quoted, quotes doubled. */
static void csv_string(const char *string, Text *out)
{
    text_append(out, "\"");
    for (const char *c = string; *c; c++)
        text_append_bytes(out, *c == '"' ? "\"\"" : c, *c == '"' ? 2 : 1);
    text_append(out, "\"");
}

static double seconds(int64_t ns) { return (double)ns * 1e-9; }
static double mib(int64_t bytes)  { return (double)bytes / 1048576; }

/* ---- one simulation: the table --------------------------------------------------- */

/* The lines above the table: the epoch, how it was found, drawn epochs. */
static void table_head(const QueryResult *a, const Candidate *row, Schedule schedule, Text *out)
{
    double speedup = query_result_speedup(a, schedule);

    text_printf(out, "%s: %s\n", schedule_name(schedule), schedule_summary(schedule));
    text_printf(out, "  epoch %.3f s", seconds(row->sim.epoch_ns));
    if (row->sim.estimated) {
        text_append(out, " (");
        report_estimate(&row->sim, out);
        text_append(out, ")");
    }
    if (speedup > 0)
        text_printf(out, ", %.2f times as fast as %s", speedup, schedule_name((Schedule)a->over));
    text_printf(out, "; step %.3f ms; utilisation %.1f %%; redundancy: teacher %.2f, data %.2f\n",
                (double)row->plan->step_ns * 1e-6, 100 * row->sim.utilisation,
                row->sim.teacher_work, row->sim.loads);
    text_printf(out, "  found by: %s\n", row->method);
    const Jitter *j = &a->jitter[schedule];
    if (j->runs)
        text_printf(
            out,
            "  with the spread as measured, %d runs: median %.3f s, 5 %% below %.3f s, 95 %% below "
            "%.3f s\n  (%s)\n",
            j->runs, j->median_s, j->p5_s, j->p95_s,
            trace_has_stalls(a->trace)
                ? "above, stalls have their mean, and where devices meet or relay the mean wait"
                : "above, every step takes its median; with spread, devices wait for whoever is "
                  "late");
}

static void table_times(const Candidate *row, Text *out)
{
    double epoch = (double)(row->sim.epoch_ns ? row->sim.epoch_ns : 1);

    text_append(out, "\n  time, %     ");
    for (int i = 0; i < shares_shown(&row->sim); i++)
        text_printf(out, " %9s", share_name((TimeShare)i));
    text_append(out, "\n");
    for (int d = 0; d < row->sim.device_count; d++) {
        text_printf(out, "  device %-5d", d);
        for (int i = 0; i < shares_shown(&row->sim); i++)
            text_printf(out, " %9.1f", 100 * (double)row->sim.shares[d][i] / epoch);
        text_append(out, "\n");
    }
}

static void table_memory(const QueryResult *a, const Candidate *row, Text *out)
{
    text_append(out, "\n  memory, MiB    total");
    for (int i = 0; i < MEMORY_COUNT; i++)
        text_printf(out, " %11s", memory_part_name((MemoryPart)i));
    text_append(out, "       limit\n");
    for (int d = 0; d < row->sim.device_count; d++) {
        text_printf(out, "  device %-5d %7.1f", d, mib(row->memory[d].total_bytes));
        for (int i = 0; i < MEMORY_COUNT; i++)
            text_printf(out, " %11.1f", mib(row->memory[d].parts[i]));
        if (a->scenario.memory_bytes[d])
            text_printf(out, " %11.1f\n", mib(a->scenario.memory_bytes[d]));
        else                             text_append(out, "        none\n");
    }
}

void sim_report_table(const QueryResult *a, Text *out)
{
    report_title(&a->scenario, out);
    report_what_if(a->edits, a->edit_count, out);
    report_devices(&a->scenario, out);
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        const Candidate *row = &a->comparison.rows[i];
        if (!(a->schedules & 1u << i)) continue;
        text_append(out, "\n");
        if (!row->plan) {
            text_printf(out, "%s: not possible: %s\n", schedule_name((Schedule)i), row->why);
            continue;
        }
        table_head(a, row, (Schedule)i, out);
        report_stages(row->plan, &a->scenario, out);
        if (schedule_row((Schedule)i)->apart && (row->ahd_ns || row->bound_ns))
            report_split(row, out);
        table_times(row, out);
        table_memory(a, row, out);
    }
    report_notes(a->comparison.rows[a->comparison.best].plan, &a->scenario, a->comparison.idle,
                 out);
    report_left_out(&a->scenario, out);
}

/* ---- one simulation: CSV and JSON ---------------------------------------------------- */

void sim_report_csv(const QueryResult *a, Text *out)
{
    int shares = SHARE_STORAGE;

    for (int s = 0; s < SCHEDULE_COUNT; s++)
        if ((a->schedules & 1u << s) && a->comparison.rows[s].sim.stores) shares = SHARE_COUNT;
    text_append(out, "schedule,device,kind,epoch_s");
    for (int i = 0; i < shares; i++) text_printf(out, ",%s_us", share_name((TimeShare)i));
    text_append(out, ",limit_bytes,total_bytes");
    for (int i = 0; i < MEMORY_COUNT; i++)
        text_printf(out, ",%s_bytes", memory_part_name((MemoryPart)i));
    text_append(out, "\n");
    for (int s = 0; s < SCHEDULE_COUNT; s++) {
        const Candidate *row = &a->comparison.rows[s];
        for (int d = 0; (a->schedules & 1u << s) && row->plan && d < row->sim.device_count; d++) {
            text_printf(out, "%s,%d,", schedule_name((Schedule)s), d);
            csv_string(a->trace->kinds[a->scenario.kinds[d]].name, out);
            text_printf(out, ",%.9f", seconds(row->sim.epoch_ns));
            for (int i = 0; i < shares; i++) {
                text_append(out, ",");
                text_us(out, row->sim.shares[d][i]);
            }
            text_append(out, ",");
            if (a->scenario.memory_bytes[d])
                text_printf(out, "%" PRId64, a->scenario.memory_bytes[d]);
            text_printf(out, ",%" PRId64, row->memory[d].total_bytes);
            for (int i = 0; i < MEMORY_COUNT; i++)
                text_printf(out, ",%" PRId64, row->memory[d].parts[i]);
            text_append(out, "\n");
        }
    }
    Text lines = {0};
    report_lines(&a->comparison, &lines);
    report_notes_csv(a->comparison.rows[a->comparison.best].plan, &a->scenario,
                     text_string(&lines), out);
    out->failed |= text_failed(&lines);
    text_free(&lines);
}

static void json_speedup(double speedup, Text *out)
{
    text_append(out, ", \"speedup\": ");
    if (speedup > 0) text_printf(out, "%.6f", speedup);
    else             text_append(out, "null");
}

void sim_report_json(const QueryResult *a, Text *out)
{
    Schedule         schedule = (Schedule)a->comparison.best;
    const Candidate *row = &a->comparison.rows[schedule];
    const Jitter    *j = &a->jitter[schedule];
    Text             lines = {0};

    text_append(out, "{\n  \"format\": \"pipebd-simulation\",\n  \"version\": 1,\n  \"trace\": ");
    text_json_string(out, a->trace->name);
    text_printf(out, ",\n  \"trace_hash\": \"%016" PRIx64 "\",\n  ", a->trace->hash);
    report_what_if_json(a->edits, a->edit_count, out);
    text_printf(out,
                "  \"schedule\": \"%s\", \"batch\": %" PRId64 ", \"steps\": %" PRId64 ",\n"
                "  \"epoch_s\": %.9f",
                schedule_name(schedule), a->scenario.batch, a->scenario.steps,
                seconds(row->sim.epoch_ns));
    report_estimate_json(&row->sim, out);
    json_speedup(query_result_speedup(a, schedule), out);
    if (a->over > 0)
        text_printf(out, ", \"speedup_over\": \"%s\"", schedule_name((Schedule)a->over));
    text_append(out, ", \"step_us\": ");
    text_us(out, row->plan->step_ns);
    text_printf(out,
                ", \"utilisation\": %.6f, \"teacher_work\": %.6f, \"loads\": %.6f, "
                "\"peak_memory_bytes\": %" PRId64 ",\n",
                row->sim.utilisation, row->sim.teacher_work, row->sim.loads, row->peak.total_bytes);
    if (j->runs)
        text_printf(
            out,
            "  \"jitter\": {\"runs\": %d, \"median_s\": %.9f, \"p5_s\": %.9f, \"p95_s\": %.9f},\n",
            j->runs, j->median_s, j->p5_s, j->p95_s);
    text_append(out, "  \"devices\": ");
    report_devices_json(row, &a->scenario, "  ", out);
    text_append(out, ",\n");
    report_lines(&a->comparison, &lines);
    report_notes_json(row->plan, &a->scenario, text_string(&lines), out);
    out->failed |= text_failed(&lines);
    text_free(&lines);
    text_append(out, "\n}\n");
}

/* ---- what stands beside a sweep ----------------------------------------------------------

 * Of the trace as it is without edits, on the cluster asked for; nothing where that is none. */
typedef void WriteNotes(const Plan *plan, const Scenario *scenario, const char *idle, Text *out);

static void sweep_notes(const Sweep *sweep, const SweepResult *result, WriteNotes *write,
                        const char *otherwise, Text *out)
{
    const Query *q = sweep->query;
    Trace       *trace;
    Scenario     scenario = {0};
    Error        err = {""};

    if (trace_parse(&trace, q->trace_name, q->trace_text, q->trace_length, &err) == 0
        && scenario_build(&scenario, trace, &q->scenario, &err) == 0)
        write(NULL, &scenario, result->idle, out);
    else text_append(out, otherwise);
    out->failed |= error_is_no_memory(&err);
    scenario_free(&scenario);
    trace_free(trace);
}

/* ---- sweeps ---------------------------------------------------------------------------- */

/* "p2p.us", and of factors "p2p.us factor". */
static void axis_name(const Axis *axis, Text *out)
{
    text_printf(out, "%s%s", axis->path, axis->kind == EDIT_SCALE ? " factor" : "");
}

static int column_width(const Axis *axis)
{
    int width = (int)strlen(axis->path) + (axis->kind == EDIT_SCALE ? (int)strlen(" factor") : 0);

    return width > 10 ? width : 10;
}

/* What is known of a row's epoch. */
static SimResult sweep_epoch(const SweepRow *row)
{
    return (SimResult){.estimated = row->most_ns > row->least_ns, .epoch_ns = row->epoch_ns,
                       .least_ns = row->least_ns, .most_ns = row->most_ns};
}

void sweep_report_table(const Sweep *sweep, const SweepResult *result, Text *out)
{
    report_what_if(sweep->edits, sweep->edit_count, out);
    for (int a = 0; a < sweep->axis_count; a++)
        text_printf(out, "%*s%s  ",
                    column_width(&sweep->axes[a]) - (sweep->axes[a].kind == EDIT_SCALE ? 7 : 0),
                    sweep->axes[a].path, sweep->axes[a].kind == EDIT_SCALE ? " factor" : "");
    text_printf(out, "schedule     epoch s%s  speedup      step ms  util %%  memory MiB\n",
                sweep->query->jitter_runs ? "       5 %       95 %" : "");
    for (int64_t i = 0; i < result->done * result->schedules; i++) {
        const SweepRow *row = &result->rows[i];
        for (int a = 0; a < sweep->axis_count; a++)
            text_printf(out, "%*.10g  ", column_width(&sweep->axes[a]),
                        sweep_value(sweep, a, i / result->schedules));
        text_printf(out, "%-8s ", schedule_name(row->schedule));
        if (row->why) { text_printf(out, "not possible: %s\n", row->why); continue; }
        text_printf(out, "%11.3f", seconds(row->epoch_ns));
        if (sweep->query->jitter_runs)
            text_printf(out, " %10.3f %10.3f", row->jitter.p5_s, row->jitter.p95_s);
        if (row->speedup > 0) text_printf(out, " %8.2f", row->speedup);
        else                  text_append(out, "        -");
        text_printf(out, " %12.3f %7.1f %11.1f%s\n", (double)row->step_ns * 1e-6,
                    100 * row->utilisation, mib(row->peak_bytes),
                    sweep_epoch(row).estimated ? "  estimate" : "");
    }
    if (result->done < result->points)
        text_printf(out, "interrupted: the first %" PRId64 " of %" PRId64 " points\n", result->done,
                    result->points);
    sweep_notes(sweep, result, report_notes, "", out);
}

static void csv_numbers(const SweepRow *row, bool jitter, Text *out)
{
    text_printf(out, "%.9f,", seconds(row->epoch_ns));
    if (jitter) text_printf(out, "%.9f,%.9f,", row->jitter.p5_s, row->jitter.p95_s);
    if (row->speedup > 0) text_printf(out, "%.6f", row->speedup);
    text_append(out, ",");
    text_us(out, row->step_ns);
    text_printf(out, ",%.6f,%.6f,%.6f,%" PRId64 ",\n", row->utilisation, row->teacher_work,
                row->loads, row->peak_bytes);
}

/* "# note: steps 1000, ls: the epoch is an estimate ...", a line each. */
static void csv_estimates(const Sweep *sweep, const SweepResult *result, Text *out)
{
    for (int64_t i = 0; i < result->done * result->schedules; i++) {
        SimResult epoch = sweep_epoch(&result->rows[i]);
        if (!epoch.estimated) continue;
        text_append(out, "# note: ");
        for (int a = 0; a < sweep->axis_count; a++) {
            axis_name(&sweep->axes[a], out);
            text_printf(out, " %.10g, ", sweep_value(sweep, a, i / result->schedules));
        }
        text_printf(out, "%s: the epoch is an ", schedule_name(result->rows[i].schedule));
        report_estimate_line(&epoch, out);
    }
}

void sweep_report_csv(const Sweep *sweep, const SweepResult *result, Text *out)
{
    bool jitter = sweep->query->jitter_runs > 0;

    for (int a = 0; a < sweep->axis_count; a++) {
        Text name = {0};
        axis_name(&sweep->axes[a], &name);
        if (strpbrk(text_string(&name), ",\"")) csv_string(text_string(&name), out);
        else                                    text_append(out, text_string(&name));
        text_append(out, ",");
        out->failed |= text_failed(&name);
        text_free(&name);
    }
    text_printf(
        out,
        "schedule,epoch_s,%sspeedup,step_us,utilisation,teacher_work,loads,peak_memory_bytes,why\n",
        jitter ? "epoch_p5_s,epoch_p95_s," : "");
    for (int64_t i = 0; i < result->done * result->schedules; i++) {
        const SweepRow *row = &result->rows[i];
        for (int a = 0; a < sweep->axis_count; a++) {
            text_json_double(out, sweep_value(sweep, a, i / result->schedules));
            text_append(out, ",");
        }
        text_printf(out, "%s,", schedule_name(row->schedule));
        if (!row->why) { csv_numbers(row, jitter, out); continue; }
        text_append(out, jitter ? ",,,,,,,,," : ",,,,,,,");
        csv_string(row->why, out);
        text_append(out, "\n");
    }
    csv_estimates(sweep, result, out);
    sweep_notes(sweep, result, report_notes_csv, "", out);
}

/* A row without its values along the axes; of a schedule that is impossible only why. */
static void json_row(const SweepRow *row, bool jitter, Text *out)
{
    text_printf(out, "\"schedule\": \"%s\", ", schedule_name(row->schedule));
    if (row->why) {
        text_append(out, "\"impossible\": ");
        text_json_string(out, row->why);
        return;
    }
    text_printf(out, "\"epoch_s\": %.9f", seconds(row->epoch_ns));
    SimResult epoch = sweep_epoch(row);
    report_estimate_json(&epoch, out);
    if (jitter)
        text_printf(out, ", \"epoch_p5_s\": %.9f, \"epoch_p95_s\": %.9f", row->jitter.p5_s,
                    row->jitter.p95_s);
    json_speedup(row->speedup, out);
    text_append(out, ", \"step_us\": ");
    text_us(out, row->step_ns);
    text_printf(out,
                ", \"utilisation\": %.6f, \"teacher_work\": %.6f, \"loads\": %.6f, "
                "\"peak_memory_bytes\": %" PRId64,
                row->utilisation, row->teacher_work, row->loads, row->peak_bytes);
}

void sweep_report_json(const Sweep *sweep, const SweepResult *result, Text *out)
{
    int64_t rows = result->done * result->schedules;

    text_append(out, "{\n  \"format\": \"pipebd-sweep\",\n  \"version\": 1,\n  \"axes\": [");
    for (int a = 0; a < sweep->axis_count; a++) {
        if (a) text_append(out, ", ");
        Text name = {0};
        axis_name(&sweep->axes[a], &name);
        text_json_string(out, text_string(&name));
        out->failed |= text_failed(&name);
        text_free(&name);
    }
    text_append(out, "],\n  ");
    report_what_if_json(sweep->edits, sweep->edit_count, out);
    if (result->done < result->points)
        text_printf(out, "  \"partial\": {\"points\": %" PRId64 ", \"done\": %" PRId64 "},\n",
                    result->points, result->done);
    text_append(out, "  \"rows\": [\n");
    for (int64_t i = 0; i < rows; i++) {
        text_append(out, "    {\"at\": [");
        for (int a = 0; a < sweep->axis_count; a++) {
            if (a) text_append(out, ", ");
            text_json_double(out, sweep_value(sweep, a, i / result->schedules));
        }
        text_append(out, "], ");
        json_row(&result->rows[i], sweep->query->jitter_runs > 0, out);
        text_append(out, i + 1 < rows ? "},\n" : "}\n");
    }
    text_append(out, "  ],\n");
    sweep_notes(sweep, result, report_notes_json, "  \"notes\": [],\n  \"missing\": []", out);
    text_append(out, "\n}\n");
}
