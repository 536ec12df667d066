#include "plots/report_parts.h"
#include "schedule/registry.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const RunFacts *report_facts(const ReportShown *shown)
{
    return shown->comparison ? &shown->comparison->facts : &shown->validation->facts;
}

/* The fastest row of the comparison; NULL: none. */
static const ComparedRow *fastest(const ReportShown *shown)
{
    const ComparisonFile *file = shown->comparison;
    const ComparedRow    *best = NULL;

    if (!file) return NULL;
    if (file->facts.plan.known) best = compared_row(file, file->facts.plan.schedule);
    for (int i = 0; !best && i < file->row_count; i++)
        if (!file->rows[i].why) best = &file->rows[i];
    for (int i = 0; i < file->row_count && !file->facts.plan.known; i++)
        if (!file->rows[i].why && file->rows[i].epoch_s < best->epoch_s) best = &file->rows[i];
    return best;
}

static const ValidatedRow *chosen(const ReportShown *shown)
{
    for (int i = 0; shown->validation && i < shown->validation->row_count; i++)
        if (!shown->validation->rows[i].why && shown->validation->rows[i].chosen)
            return &shown->validation->rows[i];
    return NULL;
}

static bool has_devices(const ReportShown *shown)
{
    const ComparedRow *best = fastest(shown);

    return best && best->device_count > 0;
}

/* ---- the head ------------------------------------------------------------------------ */

/* The page's title: the fastest schedule and its speedup if a comparison is shown, else how well a
 * validation's predictions hold. */
static void headline(Text *out, const ReportShown *shown)
{
    const ComparedRow *best = fastest(shown);
    const ValidationFile *v = shown->validation;

    text_append(out, "<p class=\"soft\" style=\"margin:0\">Pipe-BD report: ");
    html_text(out, report_facts(shown)->trace);
    text_append(out, "</p>\n<h1>");
    if (best && shown->comparison->over_known && best->schedule == shown->comparison->over)
        text_printf(out, "%s is as fast as any schedule here", schedule_name(best->schedule));
    else if (best && best->speedup > 0)
        text_printf(out, "%s trains an epoch %.2f times as fast as %s",
                    schedule_name(best->schedule), best->speedup,
                    schedule_name(shown->comparison->over));
    else if (best)
        text_printf(out, "%s is fastest: %.*f s an epoch", schedule_name(best->schedule),
                    digits_for(best->epoch_s), best->epoch_s);
    else if (v && !isnan(v->worst_error))
        text_printf(out,
                    v->worst_error < 0.15 ? "Epochs take what was predicted, to within %.1f %%"
                                          : "Epochs are up to %.0f %% off what was predicted",
                    100 * v->worst_error);
    else
        text_append(out, "Epochs, predicted and measured");
    text_append(out, "</h1>\n");
}

/* "nas-cifar10: 6 blocks on 4 × RTX A6000, batch 256, 176 steps an epoch." */
static void facts_line(Text *out, const RunFacts *f)
{
    text_append(out, "<p>");
    html_text(out, f->workload ? f->workload : f->trace);
    if (f->block_count) text_printf(out, ": %d blocks", f->block_count);
    for (int i = 0; i < f->kind_count; i++) {
        text_printf(out, "%s %lld × ", i ? " and" : " on", (long long)f->kinds[i].count);
        html_text(out, f->kinds[i].kind);
    }
    if (!isnan(f->batch)) text_printf(out, ", batch %.0f", f->batch);
    if (!isnan(f->steps)) text_printf(out, ", %.0f steps an epoch", f->steps);
    text_append(out, ".");
    if (f->provenance) {
        text_append(out, " The trace is <b>");
        html_text(out, f->provenance);
        text_append(out, "</b>");
        if (f->date) { text_append(out, ", "); html_text(out, f->date); }
        if (f->source) { text_append(out, ": "); html_text(out, f->source); }
        text_append(out, ".");
    }
    text_append(out, "</p>\n");
    if (!f->notes) return;
    text_append(out, "<details><summary>Notes of the trace</summary><p>");
    html_text(out, f->notes);
    text_append(out, "</p></details>\n");
}

/* A number with what it is above and what it means below; both from us, not from files. */
static void tile(Text *out, const char *name, const char *value, const char *unit,
                 const char *below)
{
    text_printf(out, "<div><dt>%s</dt><dd>%s<small>%s%s</small></dd><p>%s</p></div>\n", name, value,
                *unit ? " " : "", unit, below);
}

static void bound_tile(Text *out, const ReportShown *shown, const ComparedRow *best)
{
    bool   split = schedule_row(best->schedule)->apart;
    double bound = split ? best->bound_s : shown->comparison->bound_s;
    char   value[32], below[80];

    if (!(bound > 0) || schedule_row(best->schedule)->phases) return;
    snprintf(value, sizeof value, "%.*f", digits_for(bound), bound);
    snprintf(below, sizeof below, "no %s plan is faster; this one is %.1f %% above",
             split ? "split" : "relaying", 100 * (best->epoch_s / bound - 1));
    tile(out, "Bound", value, "s", below);
}

/* The figures at the top of a comparison: of the fastest plan its epoch, speedup, bound, runner-up
 * and memory. */
static void comparison_tiles(Text *out, const ReportShown *shown, const ComparedRow *best)
{
    const ComparedRow *over = shown->comparison->over_known
                                  ? compared_row(shown->comparison, shown->comparison->over)
                                  : NULL;
    char               value[32], below[80] = "", title[48];

    snprintf(value, sizeof value, "%.*f", digits_for(best->epoch_s), best->epoch_s);
    if (over)
        snprintf(below, sizeof below, "%s: %.*f s", schedule_name(over->schedule),
                 digits_for(over->epoch_s), over->epoch_s);
    tile(out, "Epoch", value, "s", below);
    if (best->speedup > 0) {
        snprintf(value, sizeof value, "%.2f×", best->speedup);
        snprintf(title, sizeof title, "Speedup over %s", schedule_name(shown->comparison->over));
        tile(out, title, value, "", "on the same devices");
    }
    bound_tile(out, shown, best);
    if (shown->comparison->runner_up) {
        double slower = 100 * (shown->comparison->runner_up_s / best->epoch_s - 1);
        snprintf(below, sizeof below,
                 slower < 0.05 ? "as fast"
                 : slower < 10 ? "%.1f %% slower"
                               : "%.0f %% slower",
                 slower);
        tile(out, "Runner-up", shown->comparison->runner_up, "", below);
    }
    if (best->peak_bytes > 0) {
        double limit = NAN;
        char   of[24];
        for (int d = 0; d < best->device_count; d++)
            limit = fmin(limit, best->devices[d].limit_bytes);
        if (!isnan(limit))
            snprintf(below, sizeof below, "of %s on the smallest device", bytes_shown(of, limit));
        tile(out, "Peak memory", bytes_shown(value, best->peak_bytes), "",
             isnan(limit) ? "of the device that needs most" : below);
    }
}

/* What was measured on a busy machine says so in its tile too. */
static void validation_tiles(Text *out, const ReportShown *shown)
{
    const ValidationFile *v = shown->validation;
    const ValidatedRow   *row = chosen(shown);
    const char           *mark = v->warning ? "<a href=\"#validation\">uncertain: see why</a>" : "",
               *then = v->warning ? "; " : "";
    char                  value[32], below[160];

    if (!isnan(v->median_error)) {
        snprintf(value, sizeof value, "%.1f", 100 * v->median_error);
        snprintf(below, sizeof below, "of the epoch, median; worst %.1f %%%s%s",
                 100 * v->worst_error, then, mark);
        tile(out, "Prediction error", value, "%", below);
    }
    if (row && row->measured_speedup > 0) {
        snprintf(value, sizeof value, "%.2f×", row->measured_speedup);
        snprintf(below, sizeof below, "%s; predicted %.2f×%s%s", schedule_name(row->schedule),
                 row->predicted_speedup, then, mark);
        tile(out, "Measured speedup", value, "", below);
    }
    if (v->order_known)
        tile(out, "Order of schedules", v->same_order ? "as predicted" : "not as predicted", "",
             mark);
}

/* Links to the sections that this page has, in its order; the ids are those of html_section(). */
static void contents(Text *out, const ReportShown *shown)
{
    const RunFacts *f = report_facts(shown);
    const struct { bool there; const char *id, *name;
    } all[] = {
        {shown->comparison, "schedules", "Schedules"},
        {shown->validation, "validation", "Predicted and measured"},
        {f->plan.known, "plan", "Plan"},
        {(shown->comparison && shown->comparison->step.rows) || shown->timeline_count, "step",
         "One step"},
        {has_devices(shown), "time", "Time"},
        {has_devices(shown), "memory", "Memory"},
        {shown->comparison && shown->comparison->sensitivity_known, "margins", "How sure"},
        {shown->sweep_count, "sweeps", "What if"},
        {true, "missing", "Left out"},
        {true, "commands", "Commands"},
    };

    text_append(out, "<ul class=\"toc\">");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].there)
            text_printf(out, "<li><a href=\"#%s\">%s</a></li>", all[i].id, all[i].name);
    text_append(out, "</ul>\n");
}

void report_head(Text *out, const ReportShown *shown)
{
    const ComparedRow *best = fastest(shown);

    text_append(out, "<header>\n");
    headline(out, shown);
    facts_line(out, report_facts(shown));
    text_append(out, "<dl class=\"tiles\">\n");
    if (best) comparison_tiles(out, shown, best);
    if (shown->validation) validation_tiles(out, shown);
    text_append(out, "</dl>\n");
    contents(out, shown);
    text_append(out, "</header>\n");
}

/* ---- schedules ------------------------------------------------------------------------- */

/* The table of all schedules, those that are impossible with the reason. */
static void schedules_table(Text *out, const ReportShown *shown)
{
    char                  speedup[48];
    const char           *heads[] = {"<schedule",          "epoch|s",         speedup,
                                     "step|ms",            "utilisation|%",   "teacher|redundancy",
                                     "data|redundancy",    "memory|MiB",      NULL};
    const ComparisonFile *f = shown->comparison;
    const ComparedRow    *best = fastest(shown);
    double                most = 0, step = 0;

    for (int i = 0; i < f->row_count; i++) {
        if (f->rows[i].why) continue;
        most = fmax(most, f->rows[i].epoch_s);
        step = fmax(step, f->rows[i].step_us / 1000);
    }
    snprintf(speedup, sizeof speedup, "speedup|over %s", schedule_name(f->over));
    html_table(out, NULL, heads);
    for (int i = 0; i < f->row_count; i++) {
        const ComparedRow *row = &f->rows[i];
        text_printf(out, "<tr%s><td><i class=\"%s\"></i>%s</td>",
                    row == best ? " class=\"best\"" : "", class_of_schedule(row->schedule),
                    schedule_name(row->schedule));
        if (row->why) {
            text_append(out, "<td class=\"wrap\" colspan=\"7\">not possible: ");
            html_text(out, row->why);
            text_append(out, "</td></tr>\n");
            continue;
        }
        html_cell_number(out, digits_for(most), row->epoch_s);
        html_cell_number(out, 2, row->speedup);
        html_cell_number(out, digits_for(step), row->step_us / 1000);
        html_cell_number(out, 1, 100 * row->utilisation);
        html_cell_number(out, 2, row->teacher_work);
        html_cell_number(out, 2, row->loads);
        html_cell_number(out, 1, row->peak_bytes / 1048576);
        text_append(out, "</tr>\n");
    }
    html_table_end(out);
}

/* What speedups are over, and why. */
static void about_speedup(const ComparisonFile *f, char *out, size_t size)
{
    bool dp = false;

    for (int i = 0; i < f->row_count; i++) dp |= f->rows[i].schedule == SCHEDULE_DP;
    if (f->over_known && f->over == SCHEDULE_DP)
        snprintf(out, size, "Speedup is over dp on the same devices.");
    else if (!f->over_known)
        snprintf(out, size,
                 dp ? "dp is not possible here, so there is no speedup over it."
                    : "dp was not compared, so there is no speedup over it.");
    else
        snprintf(out, size, "dp %s: speedup is over %s%s.",
                 dp ? "is not possible here" : "was not compared", schedule_name(f->over),
                 f->over == SCHEDULE_SEQUENTIAL ? ", how tools train what is larger than a device"
                                                : ", the slowest of these");
}

/* Store, recompute or relay: the totals of all epochs. */
static void about_store(Text *out, const ComparisonFile *f)
{
    const struct { const char *name; double seconds;
    } totals[] = {{"store", f->store_s},
                  {"relaying", f->relay_s},
                  {"computing all again", f->recompute_s},
                  {"sequential", f->sequential_s}};
    bool first = true;

    if (!f->stores) return;
    text_printf(out,
                "<p class=\"note\"><b>store</b>, all %.0f epochs: ", f->epochs > 1 ? f->epochs : 1);
    for (size_t i = 0; i < sizeof totals / sizeof *totals; i++) {
        if (totals[i].seconds <= 0) continue;
        text_printf(out, "%s%s %.*f s", first ? "" : ", ", totals[i].name,
                    digits_for(totals[i].seconds), totals[i].seconds);
        first = false;
    }
    if (f->pays_from > 0) text_printf(out, ". Storing pays from epoch %.0f on", f->pays_from);
    if (f->relaying_below > 0)
        text_printf(out, ", and not below %.2g GB/s", f->relaying_below * 1e-9);
    text_append(out, ".</p>\n");
}

void report_schedules(Text *out, const ReportShown *shown)
{
    const ComparisonFile *f = shown->comparison;
    char                  lead[400], about[200], epochs[120] = "";

    if (!f) return;
    about_speedup(f, about, sizeof about);
    if (f->epochs > 1)
        snprintf(epochs, sizeof epochs,
                 " Of sequential and store it is the mean of the job's %.0f.", f->epochs);
    snprintf(lead, sizeof lead,
             "An epoch is the time in which every student block sees every sample once.%s %s",
             epochs, about);
    html_section(out, "schedules", "Schedules", lead);
    figure_speedups(out, f);
    schedules_table(out, shown);
    text_append(
        out,
        "<p class=\"note\"><b>utilisation</b>: teacher, student and update time over devices times "
        "epoch. <b>teacher redundancy</b>, <b>data redundancy</b>: how often teacher blocks run, "
        "and data is loaded; 1 is once a sample. "
        "<b>memory</b>: of the device that needs most, at its peak.</p>\n"
        "<details><summary>How each plan was found</summary><ul>\n");
    for (int i = 0; i < f->row_count; i++) {
        if (f->rows[i].why || !f->rows[i].method) continue;
        text_printf(out, "<li>%s: ", schedule_name(f->rows[i].schedule));
        html_text(out, f->rows[i].method);
        text_append(out, "</li>\n");
    }
    text_append(out, "</ul></details>\n");
    about_store(out, f);
    html_section_end(out);
}

/* ---- plan, step ------------------------------------------------------------------------- */

void report_plan(Text *out, const ReportShown *shown)
{
    const RunFacts *f = report_facts(shown);
    char            lead[200];

    if (!f->plan.known) return;
    snprintf(lead, sizeof lead, "%s: %s.", schedule_name(f->plan.schedule),
             schedule_summary(f->plan.schedule));
    html_section(out, "plan", "The chosen plan", lead);
    figure_plan(out, f, &f->plan);
    if (f->plan.bottleneck_us > 0)
        text_printf(out,
                    "<p class=\"note\">The slowest stage takes %.3f ms a step by itself.</p>\n",
                    f->plan.bottleneck_us / 1000);
    html_section_end(out);
}

static void one_timeline(Text *out, const Gantt *g, const char *path)
{
    text_append(out, "<h3>");
    text_append(out, g->measured ? "Measured" : "Simulated");
    text_append(out, " <small>");
    html_text(out, g->schedule);
    text_printf(out, ", from %.3f ms on; ", g->from_us / 1000);
    html_text(out, path);
    text_append(out, "</small></h3>\n");
    figure_gantt(out, g);
}

void report_step(Text *out, const ReportShown *shown)
{
    const RunFacts *f = report_facts(shown);
    bool            step = shown->comparison && shown->comparison->step.rows;

    if (!step && shown->timeline_count == 0) return;
    html_section(out, "step", "One step",
                 "What each device does once the pipeline is full. Numbers are blocks; rows below "
                 "a device are "
                 "loading, relays and all-reduces beside its computing.");
    if (step) {
        const Gantt *g = &shown->comparison->step;
        text_printf(out, "<h3>Simulated <small>%s, ", schedule_name(f->plan.schedule));
        if (g->steps > 1)
            text_printf(out, "%d steps, which take turns, of %.3f ms together", (int)g->steps,
                        (g->to_us - g->from_us) / 1000);
        else              text_printf(out, "one step of %.3f ms", (g->to_us - g->from_us) / 1000);
        text_append(out, "</small></h3>\n");
        figure_gantt(out, g);
    }
    for (int i = 0; i < shown->timeline_count; i++)
        one_timeline(out, shown->timelines[i], shown->timeline_paths[i]);
    html_section_end(out);
}

/* ---- time, memory ------------------------------------------------------------------------ */

static void row_heading(Text *out, const ComparedRow *row, const char *of)
{
    text_printf(out, "<div><h3>%s <small>", schedule_name(row->schedule));
    html_text(out, of);
    text_append(out, "</small></h3>\n");
}

void report_time(Text *out, const ReportShown *shown)
{
    const ComparisonFile *f = shown->comparison;
    char                  text[64];

    if (!has_devices(shown)) return;
    html_section(out, "time", "Where the time goes",
                 "Per cent of each device’s epoch. Teacher time beyond once a sample is "
                 "redundant; waiting on one device means that another stage is slower.");
    figure_breakdown_keys(out, f->rows, f->row_count);
    text_append(out, "<div class=\"pairs\">\n");
    for (int i = 0; i < f->row_count; i++) {
        const ComparedRow *row = &f->rows[i];
        if (row->why || !row->device_count) continue;
        snprintf(text, sizeof text, "%.*f s an epoch", digits_for(row->epoch_s), row->epoch_s);
        row_heading(out, row, text);
        figure_breakdown(out, row);
        text_append(out, "</div>\n");
    }
    text_append(out, "</div>\n");
    html_section_end(out);
}

void report_memory(Text *out, const ReportShown *shown)
{
    const ComparisonFile *f = shown->comparison;
    double                most = 0, limit = NAN;
    char                  text[64], lead[160], shown_limit[24];

    if (!has_devices(shown)) return;
    for (int i = 0; i < f->row_count; i++)
        for (int d = 0; !f->rows[i].why && d < f->rows[i].device_count; d++) {
            most = fmax(most, f->rows[i].devices[d].total_bytes);
            limit = fmin(limit, f->rows[i].devices[d].limit_bytes);
        }
    snprintf(lead, sizeof lead,
             "What each device holds at its peak, all schedules to one scale. %s%s%s",
             isnan(limit) ? "No limit is known" : "The limit is ",
             isnan(limit) ? "" : bytes_shown(shown_limit, limit), ".");
    html_section(out, "memory", "Memory", lead);
    figure_memory_keys(out, f->rows, f->row_count);
    text_append(out, "<div class=\"pairs\">\n");
    for (int i = 0; i < f->row_count; i++) {
        const ComparedRow *row = &f->rows[i];
        if (row->why || !row->device_count) continue;
        snprintf(text, sizeof text, "at most %s", bytes_shown(shown_limit, row->peak_bytes));
        row_heading(out, row, isnan(row->peak_bytes) ? "" : text);
        figure_memory(out, row, most);
        text_append(out, "</div>\n");
    }
    text_append(out, "</div>\n");
    html_section_end(out);
}

/* ---- how sure ------------------------------------------------------------------------------- */

static double nearest_flip(const MarginRow *m)
{
    return fmin(isnan(m->slower_percent) ? INFINITY : m->slower_percent,
                isnan(m->faster_percent) ? INFINITY : m->faster_percent);
}

static int by_flip(const void *a, const void *b)
{
    const MarginRow *const *x = a, *const *y = b;
    double               p = nearest_flip(*x), q = nearest_flip(*y);

    if (p != q) return p < q ? -1 : 1;
    return (*x > *y) - (*x < *y);                /* as in the file */
}

static void flip(Text *out, double percent, const char *schedule)
{
    if (isnan(percent)) { html_cell(out, "-"); html_cell_left(out, "%s", ""); return; }
    html_cell(out, "%.0f %%", percent);
    html_cell_left(out, "%s", schedule ? schedule : "");
}

void report_margins(Text *out, const ReportShown *shown)
{
    static const char *const    heads[] = {"<input",    "slower|by",   "<then best|",
                                           "faster|by", "<then best|", NULL};
    const ComparisonFile    *f = shown->comparison;
    const MarginRow           **order;
    int                      steady = 0;

    if (!f || !f->sensitivity_known) return;
    order = calloc((size_t)f->margin_count + 1, sizeof *order);
    if (!order) { out->failed = true; return; }
    for (int i = 0; i < f->margin_count; i++) order[i] = &f->margins[i];
    qsort(order, (size_t)f->margin_count, sizeof *order, by_flip);
    html_section(out, "margins", "How sure is the choice?",
                 "How far each input may move, alone, before another plan wins, and of which "
                 "schedule that is.");
    html_table(out, NULL, heads);
    for (int i = 0; i < f->margin_count; i++) {
        if (isinf(nearest_flip(order[i]))) { steady++; continue; }
        text_append(out, "<tr><td>");
        html_text(out, order[i]->input);
        text_append(out, "</td>");
        flip(out, order[i]->slower_percent, order[i]->slower_schedule);
        flip(out, order[i]->faster_percent, order[i]->faster_schedule);
        text_append(out, "</tr>\n");
    }
    html_table_end(out);
    if (steady)
        text_printf(
            out,
            "<p class=\"note\">%d input%s: the plan stays, from 75 %% less to 300 %% more.</p>\n",
            steady, steady > 1 ? "s" : "");
    html_section_end(out);
    free(order);
}

/* ---- sweeps ---------------------------------------------------------------------------------- */

/* The sweep, of one value of its second axis, as a table: a row a value, a column a schedule. */
static void sweep_table(Text *out, const SweepData *d, double panel, Metric metric)
{
    const char *heads[SCHEDULE_COUNT + 2] = {d->csv.rows[0][0]};
    char        name[80];
    int         columns = 1;

    snprintf(name, sizeof name, "<%.60s", d->csv.rows[0][0]);
    heads[0] = name;
    for (int s = 0; s < SCHEDULE_COUNT; s++)
        if (d->has[s]) heads[columns++] = schedule_name((Schedule)s);
    html_table(out, NULL, heads);
    for (int v = 0; v < d->value_count; v++) {
        text_append(out, "<tr>");
        html_cell(out, "%.6g", d->values[v]);
        for (int s = 0; s < SCHEDULE_COUNT; s++) {
            if (!d->has[s]) continue;
            const SweepPoint *p = sweep_point(d, (Schedule)s, panel, d->values[v]);
            html_cell_number(out, metric == METRIC_SPEEDUP ? 2 : digits_for(d->most),
                             p ? p->y : NAN);
        }
        text_append(out, "</tr>\n");
    }
    html_table_end(out);
}

void report_sweeps(Text *out, const ReportShown *shown)
{
    bool whole = true;
    char lead[240];

    if (!shown->sweep_count) return;
    for (int i = 0; i < shown->sweep_count; i++) whole &= sweep_is_whole(shown->sweeps[i]);
    snprintf(lead, sizeof lead,
             "Every point is planned and simulated anew. A gap, and -, is a point that is not "
             "possible%s. "
             "%s",
             whole ? "" : " or not in the file",
             shown->sweep_count > 1 ? "The files do not say of which trace they are."
                                    : "The file does not say of which trace it is.");
    html_section(out, "sweeps", "What if", lead);
    for (int i = 0; i < shown->sweep_count; i++) {
        const SweepData *d = shown->sweeps[i];
        text_append(out, "<h3>");
        html_text(out, d->csv.rows[0][0]);
        text_append(out, " <small>");
        html_text(out, shown->sweep_paths[i]);
        text_append(out, "</small></h3>\n");
        figure_sweep(out, d, shown->metrics[i]);
        if (d->axes == 1) sweep_table(out, d, d->panels[0], shown->metrics[i]);
    }
    html_section_end(out);
}

/* ---- what was left out, and how it was made -------------------------------------------------- */

static void list_of(Text *out, const char *const *lines, int count)
{
    text_append(out, "<ul>\n");
    for (int i = 0; i < count; i++) {
        text_append(out, "<li>");
        html_text(out, lines[i]);
        text_append(out, "</li>\n");
    }
    text_append(out, "</ul>\n");
}

void report_missing(Text *out, const ReportShown *shown)
{
    const RunFacts *f = report_facts(shown);

    html_section(out, "missing", "What was left out", NULL);
    if (f->warning_count) {
        text_append(out, "<p>Plausibility warnings:</p>\n");
        list_of(out, f->warnings, f->warning_count);
    }
    if (!f->missing_known) {
        text_append(out, "<p>The file does not say what its trace lacks.</p>\n");
    } else if (f->missing_count == 0) {
        text_append(out, "<p>Nothing: the trace has every cost that the simulator knows.</p>\n");
    } else {
        if (f->warning_count) text_append(out, "<p>Not in the trace:</p>\n");
        list_of(out, f->missing, f->missing_count);
    }
    if (shown->comparison && !has_devices(shown))
        text_append(
            out,
            "<p>The comparison does not say where the time and memory of each device go.</p>\n");
    html_section_end(out);
}

void report_commands(Text *out, const ReportShown *shown)
{
    html_section(out, "commands", "How this page was made", NULL);
    if (shown->comparison && shown->comparison->facts.command)
        html_command(out, shown->comparison->facts.command);
    if (shown->validation && shown->validation->facts.command)
        html_command(out, shown->validation->facts.command);
    if (shown->command) html_command(out, shown->command);
    html_section_end(out);
}
