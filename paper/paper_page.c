/* The page of `make paper`. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compare.h"
#include "plots/figures.h"
#include "paper/paper.h"

/* As the tools name them; ahd is the paper's TR+DPU+AHD. */
static const Schedule shown[] = {SCHEDULE_LS, SCHEDULE_TR,  SCHEDULE_DPU,
                                 SCHEDULE_IR, SCHEDULE_AHD, SCHEDULE_SPLIT};

enum { SHOWN = sizeof shown / sizeof *shown };

/* ---- pieces -------------------------------------------------------------------------- */

static bool is_main(const PaperRun *run) { return run->figure == PAPER_MAIN; }

/* "NAS, CIFAR-10" on "4 × RTX A6000" */
static void devices_text(Text *out, const PaperRun *run)
{
    text_printf(out, "%.0f × ", run->devices);
    html_text(out,
              run->comparison.facts.kind_count ? run->comparison.facts.kinds[0].kind : run->device);
}

static void heading(Text *out, const PaperRun *run)
{
    text_append(out, "<h3>");
    html_text(out, run->title);
    text_append(out, " <small>");
    devices_text(out, run);
    text_append(out, "</small></h3>\n");
}

static void name_cell(Text *out, const PaperRun *run)
{
    text_append(out, "<td>");
    html_text(out, run->title);
    text_append(out, "<br><small class=\"off\">");
    devices_text(out, run);
    text_append(out, "</small></td>");
}

static bool any_of(const Paper *paper, PaperFigure figure)
{
    for (int i = 0; i < paper->run_count; i++)
        if (paper->runs[i].figure == figure) return true;
    return false;
}

/* The commands behind a section: of these figures, each once. Paper has them once, at the end. */
static void commands_as(Text *out, const Paper *paper, unsigned figures, const char *class)
{
    int count = 0;

    for (int i = 0; i < paper->run_count; i++)
        count += (figures >> paper->runs[i].figure & 1u) != 0;
    text_printf(
        out,
        "<details class=\"%s\"><summary>The commands behind these numbers (%d runs)</summary><pre>",
        class, count);
    for (int i = 0; i < paper->run_count; i++) {
        const PaperRun *run = &paper->runs[i];
        if (!(figures >> run->figure & 1u)) continue;
        html_text(out, run->trace_command);
        text_append(out, "\n");
        html_text(out, run->command);
        text_append(out, "\n");
    }
    text_append(out, "</pre></details>\n");
}

static void commands(Text *out, const Paper *paper, unsigned figures)
{
    commands_as(out, paper, figures, "twice");
}

static const PosterFigure *poster_of(const Paper *paper, const char *figure, const PaperRun *run,
                                     const char *who, const char *part)
{
    for (int i = 0; i < paper->poster_count; i++) {
        const PosterFigure *p = &paper->poster[i];
        if (strcmp(p->figure, figure) == 0 && strcmp(p->workload, run->workload) == 0
            && strcmp(p->device, run->device) == 0 && strcmp(p->who, who) == 0
            && strcmp(p->part, part) == 0)
            return p;
    }
    return NULL;
}

/* ---- head ------------------------------------------------------------------------------- */

static void tile(Text *out, const char *name, const char *value, const char *below)
{
    text_printf(out, "<div><dt>%s</dt><dd>%s</dd><p>%s</p></div>\n", name, value, below);
}

/* The median of |ours / the poster's - 1| over its figures for figure; NAN: none. */
static double median_difference(Text *out, const Paper *paper, const char *figure, PaperFigure kind,
                                int *count)
{
    double *found = calloc((size_t)paper->poster_count + 1, sizeof *found), median = NAN;

    *count = 0;
    if (!found) out->failed = true;
    for (int i = 0; found && i < paper->poster_count; i++) {
        double ours = paper_ours(paper, &paper->poster[i], kind);
        if (strcmp(paper->poster[i].figure, figure) == 0 && !isnan(ours))
            found[(*count)++] = fabs(ours / paper->poster[i].value - 1);
    }
    if (*count) {
        qsort(found, (size_t)*count, sizeof *found, compare_double);
        median = (found[(*count - 1) / 2] + found[*count / 2]) / 2;
    }
    free(found);
    return median;
}

static void range_tile(Text *out, const Paper *paper)
{
    const PosterFigure range = {"range", "", "", "", "least", "", "", "", 1},
                       most = {"range", "", "", "", "most", "", "", "", 1};
    char               value[64], below[120] = "over dp";
    double             low = NAN, high = NAN;

    for (int i = 0; i < paper->poster_count; i++) {
        const PosterFigure *p = &paper->poster[i];
        if (strcmp(p->figure, "range") != 0) continue;
        if (strcmp(p->part, "least") == 0) low = p->value;
        if (strcmp(p->part, "most") == 0)  high = p->value;
    }
    snprintf(value, sizeof value, "%.2f× to %.2f×", paper_ours(paper, &range, PAPER_MAIN),
             paper_ours(paper, &most, PAPER_MAIN));
    if (!isnan(low) && !isnan(high))
        snprintf(below, sizeof below, "over dp; the poster: %.2f× to %.2f× over its baselines", low,
                 high);
    tile(out, "Speedup of ahd", value, below);
}

/* The page's head: what it is, in figures, and where its sections are. */
static void head(Text *out, const Paper *paper)
{
    static const struct {
        const char *figure, *name;
    } differences[] = {{"speedup", "Speedups beside the poster’s"},
                       {"breakdown", "Seconds beside the poster’s"}};
    char value[64], below[160];

    text_append(out, "<header>\n<p class=\"soft\" style=\"margin:0\">Pipe-BD in C</p>\n<h1>The "
                     "paper’s workloads, on GPUs that were not "
                     "there</h1>\n<p>Pipe-BD (Jang et al., DATE 2023, arXiv 2301.12443) was "
                     "measured with two applications on two data "
                     "sets, on four RTX 2080 Ti and on four RTX A6000. On this page the time of "
                     "every block comes from a model "
                     "(docs/model.md), and schedules are planned and simulated. <b>Nothing here "
                     "was measured.</b></p>\n<p class=\"lead\">"
                     "The model’s constants were fitted to block times of one of the cases, NAS on "
                     "CIFAR-10 on RTX A6000, so its block "
                     "times there agree by construction; speedups, plans and all other cases are "
                     "predictions.</p>\n"
                     "<dl class=\"tiles\">\n");
    range_tile(out, paper);
    for (int i = 0; i < 2; i++) {
        int    count;
        double original =
            median_difference(out, paper, differences[i].figure, PAPER_ORIGINAL, &count);
        double median = median_difference(out, paper, differences[i].figure, PAPER_MAIN, &count);
        if (isnan(median)) continue;
        snprintf(value, sizeof value, "%.0f %%", 100 * median);
        if (isnan(original))
            snprintf(below, sizeof below, "difference, median of %d figures", count);
        else
            snprintf(below, sizeof below,
                     "difference, median of %d; as the original’s program runs: %.0f %%", count,
                     100 * original);
        tile(out, differences[i].name, value, below);
    }
    snprintf(value, sizeof value, "%d", paper->run_count);
    tile(out, "Comparisons", value, "each planned and simulated for this page");
    text_append(out,
                "</dl>\n<ul class=\"toc\"><li><a href=\"#speedups\">Speedups</a></li><li><a "
                "href=\"#most\">The most</a></li>"
                "<li><a href=\"#poster\">Beside the poster</a></li>"
                "<li><a href=\"#plans\">Plans</a></li><li><a href=\"#times\">Time</a></li><li><a "
                "href=\"#memory\">Memory</a></li>"
                "<li><a href=\"#batch\">Batch</a></li><li><a href=\"#cores\">Loader</a></li><li><a "
                "href=\"#devices\">Devices</a></li></ul>\n"
                "</header>\n");
}

/* ---- speedups ------------------------------------------------------------------------------- */

static void speedup_cells(Text *out, const PaperRun *run)
{
    const ComparedRow *best = paper_fastest(run), *dp = compared_row(&run->comparison, SCHEDULE_DP);

    html_cell_number(out, dp ? digits_for(dp->epoch_s) : 0, dp ? dp->epoch_s : NAN);
    for (int s = 0; s < SHOWN; s++) {
        const ComparedRow *row = compared_row(&run->comparison, shown[s]);
        if (!row)             text_append(out, "<td class=\"off\">no room</td>");
        else if (row == best) text_printf(out, "<td><b>%.2f</b></td>", row->speedup);
        else                  html_cell_number(out, 2, row->speedup);
    }
}

/* The poster's speedups of a run, with our difference from them. */
static void poster_row(Text *out, const Paper *paper, const PaperRun *run)
{
    bool any = false;

    for (int s = 0; s < SHOWN; s++)
        any |= poster_of(paper, "speedup", run, schedule_name(shown[s]), "") != NULL;
    if (!any) return;
    text_append(out, "<tr><td class=\"off\">the poster; ours against it</td><td></td>");
    for (int s = 0; s < SHOWN; s++) {
        const PosterFigure *p = poster_of(paper, "speedup", run, schedule_name(shown[s]), "");
        if (!p) { text_append(out, "<td></td>"); continue; }
        text_printf(out, "<td class=\"off\">%.2f<br><small>%+.0f %%</small></td>", p->value,
                    100 * (paper_ours(paper, p, run->figure) / p->value - 1));
    }
    text_append(out, "</tr>\n");
}

static void impossible(Text *out, const Paper *paper)
{
    bool any = false;

    for (int i = 0; i < paper->run_count; i++) {
        const PaperRun *run = &paper->runs[i];
        for (int r = 0; is_main(run) && r < run->comparison.row_count; r++) {
            if (!run->comparison.rows[r].why) continue;
            text_append(out,
                        any ? "" : "<p class=\"note\"><b>no room</b>:</p><ul class=\"note\">\n");
            any = true;
            text_append(out, "<li>");
            html_text(out, run->title);
            text_append(out, ", ");
            devices_text(out, run);
            text_printf(out, ", %s: ", schedule_name(run->comparison.rows[r].schedule));
            html_text(out, run->comparison.rows[r].why);
            text_append(out, "</li>\n");
        }
    }
    if (any) text_append(out, "</ul>\n");
}

static void speedup_table(Text *out, const Paper *paper, PaperFigure kind, const char *caption)
{
    static const char *const heads[] = {"<workload", "dp|s an epoch", "ls|× dp",
                                        "tr|× dp",   "dpu|× dp",      "ir|× dp",
                                        "ahd|× dp",  "split|× dp",    NULL};

    html_table(out, caption, heads);
    for (int i = 0; i < paper->run_count; i++) {
        const PaperRun *run = &paper->runs[i];
        if (run->figure != kind) continue;
        text_append(out, "<tr>");
        name_cell(out, run);
        speedup_cells(out, run);
        text_append(out, "</tr>\n");
        poster_row(out, paper, run);
    }
    html_table_end(out);
}

/* Of all main runs and of the poster, so that panels have one scale. */
static double most_speedup(const Paper *paper)
{
    double most = 1;

    for (int i = 0; i < paper->run_count; i++)
        for (int r = 0; is_main(&paper->runs[i]) && r < paper->runs[i].comparison.row_count; r++)
            if (!paper->runs[i].comparison.rows[r].why)
                most = fmax(most, paper->runs[i].comparison.rows[r].speedup);
    for (int i = 0; i < paper->poster_count; i++)
        if (strcmp(paper->poster[i].figure, "speedup") == 0)
            most = fmax(most, paper->poster[i].value);
    return most;
}

static void speedup_bar(Rows *rows, const char *name, Schedule schedule, double speedup)
{
    char text[64];

    rows_add(rows, name);
    rows_box(rows, 0, speedup, 0.1, 0.9, colour_of_schedule(schedule), "");
    snprintf(text, sizeof text, "%.2f×", speedup);
    rows_value(rows, text);
}

/* A bar a schedule, and below it the poster's where it has one. */
static void speedup_bars(Text *out, const Paper *paper, const PaperRun *run, double most)
{
    Rows rows = {.most = most};

    for (int i = 0; i < run->comparison.row_count; i++) {
        const ComparedRow  *row = &run->comparison.rows[i];
        const PosterFigure *p = poster_of(paper, "speedup", run, schedule_name(row->schedule), "");
        if (!row->why)
            speedup_bar(&rows, schedule_name(row->schedule), row->schedule, row->speedup);
        else { rows_add(&rows, schedule_name(row->schedule)); rows_note(&rows, "no room"); }
        if (p) speedup_bar(&rows, "· poster", row->schedule, p->value);
    }
    rows_put(&rows, out, "Speedup of each schedule over dp, and the poster's");
}

/* The section on speedups: tables against the poster's, under our defaults and as the original's
 * program ran, and bars on one scale, so that runs can be compared by eye. */
static void speedups(Text *out, const Paper *paper)
{
    html_section(
        out, "speedups", "Speedups",
        "Over dp on the same devices; the fastest is bold. dpu is the paper’s TR+DPU, ahd its "
        "TR+DPU+AHD, ir all blocks on every device with the teacher run once; split, which the "
        "paper does not have, "
        "places students apart from the teacher.");
    speedup_table(out, paper, PAPER_MAIN,
                  "Batches are loaded ahead, and transfers overlap with computing:");
    impossible(out, paper);
    text_append(out, "<div class=\"pairs\">\n");
    double most = most_speedup(paper);
    for (int i = 0; i < paper->run_count; i++) {
        if (!is_main(&paper->runs[i])) continue;
        text_append(out, "<div>");
        heading(out, &paper->runs[i]);
        speedup_bars(out, paper, &paper->runs[i], most);
        text_append(out, "</div>\n");
    }
    text_append(out, "</div>\n");
    if (any_of(paper, PAPER_ORIGINAL))
        speedup_table(out, paper, PAPER_ORIGINAL,
                      "As the original’s program does: 32 loader workers, photographs by Pillow, a "
                      "teacher in training mode, and a transfer occupies its sender:");
    commands(out, paper, 1u << PAPER_MAIN | 1u << PAPER_ORIGINAL);
    html_section_end(out);
}

/* ---- beside the poster ----------------------------------------------------------------------- */

/* Number of a note among those that differ, from 1; 0: none. */
static int note_number(const Paper *paper, int figure)
{
    int number = 0;

    if (!*paper->poster[figure].note) return 0;
    for (int i = 0; i < paper->poster_count; i++) {
        bool first = *paper->poster[i].note != '\0';
        for (int k = 0; k < i; k++)
            first &= strcmp(paper->poster[k].note, paper->poster[i].note) != 0;
        number += first;
        if (strcmp(paper->poster[i].note, paper->poster[figure].note) == 0) return number;
    }
    return 0;
}

static void ours_cells(Text *out, double ours, const PosterFigure *p)
{
    if (isnan(ours)) { html_cell(out, "-"); html_cell(out, "-"); return; }
    html_cell(out, "%.2f", ours);
    html_cell(out, "%+.0f", 100 * (ours / p->value - 1));
}

static void beside_row(Text *out, const Paper *paper, int i)
{
    const PosterFigure *p = &paper->poster[i];

    text_append(out, "<tr><td>");
    html_text(out, p->figure);
    text_append(out, *p->who ? " " : "");
    html_text(out, p->who);
    text_append(out, *p->part ? " " : "");
    html_text(out, p->part);
    text_append(out, "</td>");
    html_cell_left(out, "%s%s%s", p->workload, *p->device ? ", " : "", p->device);
    html_cell_left(out, "%s", p->unit);
    html_cell(out, "%g", p->value);
    ours_cells(out, paper_ours(paper, p, PAPER_MAIN), p);
    if (any_of(paper, PAPER_ORIGINAL)) ours_cells(out, paper_ours(paper, p, PAPER_ORIGINAL), p);
    if (note_number(paper, i)) html_cell(out, "%d", note_number(paper, i));
    else                       html_cell(out, "%s", "");
    text_append(out, "</tr>\n");
}

/* The table of the poster's figures and ours, the notes that its rows refer to, and the figures'
 * sources. */
static void beside(Text *out, const Paper *paper)
{
    static const char *const heads[] = {
        "<figure", "<of",      "<unit", "poster", "ours", "diff.|%", "ours, as the|original",
        "diff.|%", "why|note", NULL};
    static const char *const fewer[] = {"<figure", "<of",     "<unit",    "poster",
                                        "ours",    "diff.|%", "why|note", NULL};

    html_section(
        out, "poster", "Beside the poster",
        "Every figure of the poster’s text, and those read off its charts by eye (to about two "
        "digits), "
        "beside what this page has. Below the table: why they differ, as far as is known.");
    html_table(out, NULL, any_of(paper, PAPER_ORIGINAL) ? heads : fewer);
    for (int i = 0; i < paper->poster_count; i++) beside_row(out, paper, i);
    html_table_end(out);
    text_append(out, "<ol class=\"note\">\n");
    for (int i = 0, last = 0; i < paper->poster_count; i++) {
        if (note_number(paper, i) != last + 1) continue;
        last++;
        text_append(out, "<li>");
        html_text(out, paper->poster[i].note);
        text_append(out, "</li>\n");
    }
    text_append(out, "</ol>\n<details><summary>Sources of the poster’s figures</summary><ul>\n");
    for (int i = 0; i < paper->poster_count; i++) {
        bool first = true;
        for (int k = 0; k < i; k++)
            first &= strcmp(paper->poster[k].source, paper->poster[i].source) != 0;
        if (!first) continue;
        text_append(out, "<li>");
        html_text(out, paper->poster[i].source);
        text_append(out, "</li>\n");
    }
    text_append(out, "</ul></details>\n");
    commands(out, paper,
             1u << PAPER_MAIN | 1u << PAPER_ORIGINAL | 1u << PAPER_IDEAL
                 | 1u << PAPER_IDEAL_ORIGINAL);
    html_section_end(out);
}

/* ---- plans ----------------------------------------------------------------------------------- */

/* The table of AHD's plan for each main run, with its distance from the bound. */
static void plans(Text *out, const Paper *paper)
{
    static const char *const heads[] = {"<workload", "<ahd’s stages: blocks on devices", "epoch|s",
                                        "above bound|%", NULL};

    html_section(out, "plans", "Schedules that ahd chooses",
                 "Stages work at the same time; a stage on several devices splits the batch. "
                 "The bound: no relaying plan has a shorter epoch.");
    html_table(out, NULL, heads);
    for (int i = 0; i < paper->run_count; i++) {
        const PaperRun    *run = &paper->runs[i];
        const ComparedRow *row = is_main(run) ? compared_row(&run->comparison, SCHEDULE_AHD) : NULL;
        Text               plan = {0};
        if (!row) continue;
        paper_plan(&plan, &run->comparison.facts, &row->plan);
        text_append(out, "<tr>");
        name_cell(out, run);
        text_append(out, "<td class=\"wrap\">");
        html_text(out, text_string(&plan));
        text_append(out, "</td>");
        html_cell_number(out, digits_for(row->epoch_s), row->epoch_s);
        html_cell_number(out, 1, 100 * (row->epoch_s / run->comparison.bound_s - 1));
        text_append(out, "</tr>\n");
        out->failed |= text_failed(&plan);
        text_free(&plan);
    }
    html_table_end(out);
    commands(out, paper, 1u << PAPER_MAIN);
    html_section_end(out);
}

/* ---- times ----------------------------------------------------------------------------------- */

enum { PARTS = 6 };

static const struct { TimeShare share; const char *name;
} parts[PARTS] = {
    {SHARE_LOAD, "load"},
    {SHARE_TEACHER, "teacher"},
    {SHARE_STUDENT, "student"},
    {SHARE_UPDATE, "update"},
    {SHARE_TRANSFER, "all-reduce, transfer"},
    {SHARE_WAIT, "wait"},
};

static void times_row(Rows *rows, const char *name, const PaperTimes *t)
{
    const double values[PARTS] = {t->load, t->teacher, t->student, t->update, t->transfer, t->wait};
    BarPart      stack[PARTS];
    char         text[64];

    for (int i = 0; i < PARTS; i++)
        stack[i] = (BarPart){colour_of_share(parts[i].share), values[i]};
    rows_add(rows, name);
    figure_stack(rows, stack, PARTS, "%.3g");
    snprintf(text, sizeof text, "%.*f s", digits_for(t->total), t->total);
    rows_value(rows, text);
    rows->most = fmax(rows->most, t->total);
}

static bool poster_times(const Paper *paper, const PaperRun *run, const char *who, PaperTimes *out)
{
    const PosterFigure *load = poster_of(paper, "breakdown", run, who, "load"),
                       *teacher = poster_of(paper, "breakdown", run, who, "teacher");
    const PosterFigure *student = poster_of(paper, "breakdown", run, who, "student"),
                       *idle = poster_of(paper, "breakdown", run, who, "idle");

    if (!teacher || !student) return false;
    *out = (PaperTimes){
        load ? load->value : 0, teacher->value, student->value, 0, 0, idle ? idle->value : 0, 0};
    out->total = out->load + out->teacher + out->student + out->wait;
    return true;
}

/* Each who, ours and the poster's. */
static void times_rows(Rows *rows, const Paper *paper, const PaperRun *run)
{
    PaperTimes t;

    for (int i = -1; i <= (int)run->devices; i++) {
        char who[32], name[48];
        if (i < 0) {
            snprintf(who, sizeof who, "dp");
            snprintf(name, sizeof name, "dp");
        } else if (i == (int)run->devices) {
            snprintf(who, sizeof who, "ideal");
            snprintf(name, sizeof name, "ideal");
        } else {
            snprintf(who, sizeof who, "relay%d", i);
            snprintf(name, sizeof name, "relay %d", i);
        }
        for (int poster = 0; poster < 2; poster++) {
            if (!(poster ? poster_times(paper, run, who, &t) : paper_times(paper, run, who, &t)))
                continue;
            if (poster) snprintf(name, sizeof name, "· poster");
            times_row(rows, name, &t);
        }
    }
}

/* Of all runs of a workload, so that its panels have one scale. */
static double longest_time(const Paper *paper, const PaperRun *like)
{
    double longest = 0;

    for (int i = 0; i < paper->run_count; i++) {
        const PaperRun *run = &paper->runs[i];
        Rows            rows = {0};
        if ((is_main(run) || run->figure == PAPER_ORIGINAL)
            && strcmp(run->workload, like->workload) == 0)
            times_rows(&rows, paper, run);
        longest = fmax(longest, rows.most);
        rows_free(&rows);
    }
    return longest;
}

/* A chart a main run, and where the poster has them, of runs as the original's: seconds of DP, the
 * relay's devices, the ideal. */
static void times(Text *out, const Paper *paper)
{
    html_section(out, "times", "Where the time goes",
                 "Seconds an epoch: of a device under dp; of each device of the relay (dpu’s "
                 "plan); and of the "
                 "ideal, one device that runs everything on the whole batch, over the number of "
                 "devices. The poster’s charts tell "
                 "no updates apart: theirs are in student, and all-reduces are not shown.");
    html_keys(out);
    for (int i = 0; i < PARTS; i++) html_key(out, class_of_share(parts[i].share), parts[i].name);
    html_keys_end(out);
    text_append(out, "<div class=\"pairs\">\n");
    for (int i = 0; i < paper->run_count; i++) {
        const PaperRun *run = &paper->runs[i];
        if (!is_main(run)
            && !(run->figure == PAPER_ORIGINAL
                 && poster_of(paper, "breakdown", run, "dp", "student")))
            continue;
        Rows rows = {0};
        times_rows(&rows, paper, run);
        rows.most = longest_time(paper, run);
        text_append(out, "<div>");
        heading(out, run);
        if (!is_main(run))
            text_append(out, "<p class=\"over\">As the original’s program: its workers and "
                             "decoder, a teacher in training mode, transfers that block:</p>\n");
        rows_put(&rows, out,
                 "Seconds an epoch of dp, of each device of the relay, and of the ideal, by what "
                 "they are spent on");
        if (!compared_row(&run->comparison, SCHEDULE_DPU))
            text_append(out, "<p class=\"note\">The relay has no room here.</p>\n");
        text_append(out, "</div>\n");
    }
    text_append(out, "</div>\n");
    commands(out, paper,
             1u << PAPER_MAIN | 1u << PAPER_ORIGINAL | 1u << PAPER_IDEAL
                 | 1u << PAPER_IDEAL_ORIGINAL);
    html_section_end(out);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* The table of peak memory by schedule, for each main run. */
static void memory(Text *out, const Paper *paper)
{
    static const char *const heads[] = {"<workload",     "dp|MiB", "ls|MiB",  "tr|MiB",
                                        "dpu|MiB",       "ir|MiB", "ahd|MiB", "split|MiB",
                                        "ahd over dp|%", NULL};

    html_section(out, "memory", "Memory",
                 "Of the device that needs most, at its peak: weights, gradients, optimizer state, "
                 "boundaries, activations, "
                 "queues, loader, and what a framework’s process takes (docs/model.md).");
    html_table(out, NULL, heads);
    for (int i = 0; i < paper->run_count; i++) {
        const PaperRun *run = &paper->runs[i];
        if (!is_main(run)) continue;
        text_append(out, "<tr>");
        name_cell(out, run);
        for (int s = -1; s < SHOWN; s++) {
            const ComparedRow *row = compared_row(&run->comparison, s < 0 ? SCHEDULE_DP : shown[s]);
            html_cell_number(out, 0, row ? row->peak_bytes / 1048576 : NAN);
        }
        html_cell_number(out, 0, 100 * (paper_memory(run, SCHEDULE_AHD) - 1));
        text_append(out, "</tr>\n");
    }
    html_table_end(out);
    commands(out, paper, 1u << PAPER_MAIN);
    html_section_end(out);
}

/* ---- sensitivity ----------------------------------------------------------------------------- */

static double axis_of(const PaperRun *run, PaperFigure figure)
{
    return figure == PAPER_BATCH ? run->batch : figure == PAPER_CORES ? run->cores : run->devices;
}

static void add_value(SweepData *d, double value)
{
    int at = 0;

    while (at < d->value_count && d->values[at] < value) at++;
    if ((at < d->value_count && d->values[at] == value) || d->value_count == SWEEP_MAX_VALUES)
        return;
    memmove(&d->values[at + 1], &d->values[at],
            (size_t)(d->value_count++ - at) * sizeof *d->values);
    d->values[at] = value;
}

/* The runs of a figure beside a main run, and that run itself, as a sweep of speedups.
 * sweep_data_free() it; NULL without memory. */
static SweepData *sweep_of(const Paper *paper, const PaperRun *main, PaperFigure figure)
{
    SweepData *d = calloc(1, sizeof *d);
    char      *text = NULL;
    size_t     points = 0;

    for (int i = 0; i < paper->run_count; i++)
        points += (size_t)paper->runs[i].comparison.row_count;
    if (d) d->points = calloc(points + 1, sizeof *d->points);
    if (!d || !d->points
        || csv_parse(&d->csv, "axis", paper_figure_name(figure), strlen(paper_figure_name(figure)),
                     NULL)
               != 0) {
        sweep_data_free(d);
        free(text);
        return NULL;
    }
    d->axes = d->panel_count = 1;
    for (int i = 0; i < paper->run_count; i++) {
        const PaperRun *run = &paper->runs[i];
        if (run != main
            && (run->figure != figure || strcmp(run->workload, main->workload) != 0
                || strcmp(run->device, main->device) != 0))
            continue;
        add_value(d, axis_of(run, figure));
        for (int r = 0; r < run->comparison.row_count; r++) {
            const ComparedRow *row = &run->comparison.rows[r];
            d->has[row->schedule] = true;
            if (row->why || isnan(row->speedup)) continue;
            d->points[d->count++] = (SweepPoint){.x = axis_of(run, figure), .y = row->speedup,
                                                 .low = NAN, .high = NAN,
                                                 .schedule = row->schedule};
            d->most = fmax(d->most, row->speedup);
        }
    }
    return d;
}

/* Speedups of ahd and split by value, a row a main run. */
static void sweep_rows(Text *out, const Paper *paper, PaperFigure figure, const SweepData *values)
{
    const char *heads[SWEEP_MAX_PANELS * 4 + 3] = {"<workload", "<"};
    char        names[SWEEP_MAX_PANELS * 4][16];
    int         columns =
        values->value_count < SWEEP_MAX_PANELS * 4 ? values->value_count : SWEEP_MAX_PANELS * 4;

    for (int v = 0; v < columns; v++) {
        snprintf(names[v], sizeof *names, "%.6g", values->values[v]);
        heads[v + 2] = names[v];
    }
    html_table(out, NULL, heads);
    for (int i = 0; i < paper->run_count; i++) {
        if (!is_main(&paper->runs[i])) continue;
        SweepData *d = sweep_of(paper, &paper->runs[i], figure);
        if (!d) { out->failed = true; return; }
        for (int s = 0; s < SHOWN; s++) {
            if (shown[s] != SCHEDULE_AHD && shown[s] != SCHEDULE_SPLIT) continue;
            text_append(out, "<tr>");
            if (shown[s] == SCHEDULE_AHD) name_cell(out, &paper->runs[i]);
            else                          text_append(out, "<td></td>");
            html_cell_left(out, "%s", schedule_name(shown[s]));
            for (int v = 0; v < columns; v++) {
                const SweepPoint *p = sweep_point(d, shown[s], 0, values->values[v]);
                html_cell_number(out, 2, p ? p->y : NAN);
            }
            text_append(out, "</tr>\n");
        }
        sweep_data_free(d);
    }
    html_table_end(out);
}

/* A section of speedups by batch, cores or devices: a panel a main run, all on one scale, and the
 * table of AHD and split. Nothing where no run is of the figure. */
static void sensitivity(Text *out, const Paper *paper, PaperFigure figure, const char *heading_text,
                        const char *lead)
{
    SweepData *first = NULL;
    double     most = 0;

    if (!any_of(paper, figure)) return;
    for (int i = 0; i < paper->run_count; i++)           /* one scale */
        for (int r = 0; (is_main(&paper->runs[i]) || paper->runs[i].figure == figure)
                        && r < paper->runs[i].comparison.row_count;
             r++)
            if (!paper->runs[i].comparison.rows[r].why)
                most = fmax(most, paper->runs[i].comparison.rows[r].speedup);
    html_section(out, paper_figure_name(figure), heading_text, lead);
    for (int i = 0; i < paper->run_count; i++) {
        const PaperRun *run = &paper->runs[i];
        SweepData      *d = is_main(run) ? sweep_of(paper, run, figure) : NULL;
        if (!is_main(run)) continue;
        if (!d) { out->failed = true; break; }
        if (d->most > 0) d->most = most;
        if (!first) { figure_sweep_keys(out, d); text_append(out, "<div class=\"pairs\">\n"); }
        text_append(out, "<div>");
        heading(out, run);
        if (d->most > 0) figure_sweep_panel(out, d, 0, METRIC_SPEEDUP);
        text_append(out, "</div>\n");
        if (first) sweep_data_free(d);
        else       first = d;
    }
    text_append(out, first ? "</div>\n" : "");
    if (first) {
        text_append(out, "<p class=\"over\">Speedup over dp at the same ");
        text_append(out, figure == PAPER_BATCH   ? "batch"
                         : figure == PAPER_CORES ? "number of cores"
                                                 : "number of devices");
        text_append(out, "; the table has it for ahd and split:</p>\n");
        sweep_rows(out, paper, figure, first);
    }
    sweep_data_free(first);
    commands(out, paper, 1u << PAPER_MAIN | 1u << figure);
    html_section_end(out);
}

/* ---- where the most is ----------------------------------------------------------------------- */

static const PosterFigure *most_of_poster(const Paper *paper)
{
    for (int i = 0; i < paper->poster_count; i++)
        if (strcmp(paper->poster[i].figure, "range") == 0
            && strcmp(paper->poster[i].part, "most") == 0)
            return &paper->poster[i];
    return NULL;
}

/* Whether a run is of the figures with the original's loading, and of the workload and device. */
static bool loads_as_original(const PaperRun *run, const PaperRun *like)
{
    return (run->figure == PAPER_ORIGINAL || run->figure == PAPER_ORIGINAL_CORES)
           && strcmp(run->workload, like->workload) == 0 && strcmp(run->device, like->device) == 0;
}

static void most_row(Text *out, const Paper *paper, const PaperRun *main, const SweepData *values,
                     double bold)
{
    text_append(out, "<tr>");
    name_cell(out, main);
    for (int v = 0; v < values->value_count; v++) {
        double speedup = NAN;
        for (int i = 0; i < paper->run_count; i++) {
            const PaperRun    *run = &paper->runs[i];
            const ComparedRow *row = loads_as_original(run, main) && run->cores == values->values[v]
                                         ? compared_row(&run->comparison, SCHEDULE_AHD) : NULL;
            if (row) speedup = row->speedup;
        }
        if (speedup >= bold) text_printf(out, "<td><b>%.2f</b></td>", speedup);
        else                 html_cell_number(out, 2, speedup);
    }
    html_cell(out, "%d", main->comparison.facts.block_count);
    text_append(out, "</tr>\n");
}

/* Speedups of ahd by the cores that load, as the original's program loads. */
static void where_the_most_is(Text *out, const Paper *paper)
{
    const PosterFigure *most = most_of_poster(paper);
    const char         *heads[SWEEP_MAX_VALUES + 3] = {"<workload"};
    char                names[SWEEP_MAX_VALUES][32], title[64];
    SweepData           values = {0};

    if (!any_of(paper, PAPER_ORIGINAL_CORES) || !most) return;
    for (int i = 0; i < paper->run_count; i++)
        if (loads_as_original(&paper->runs[i], &paper->runs[i]))
            add_value(&values, paper->runs[i].cores);
    for (int v = 0; v < values.value_count; v++) {
        snprintf(names[v], sizeof *names, "%.6g cores|× dp", values.values[v]);
        heads[v + 1] = names[v];
    }
    heads[values.value_count + 1] = "blocks";
    snprintf(title, sizeof title, "Where is %.3g×?", floor(most->value));
    html_section(
        out, "most", title,
        "Which case the poster’s largest speedup is of, it does not say. Two things can make one: "
        "small students, of which dp’s many "
        "short steps are mostly the framework’s and the host’s time, so one separable convolution "
        "for each of the teacher’s rather than two; and "
        "loading. dp loads every sample once a block, a relay once: where loading is all that "
        "counts, the speedup is the number of blocks. "
        "The host of the paper is not named. Speedups of ahd over dp with the original’s 32 "
        "workers, its decoder and its "
        "transfers, by the cores that the workers share; those of as many times are bold:");
    html_table(out, NULL, heads);
    for (int i = 0; i < paper->run_count; i++)
        if (is_main(&paper->runs[i]))
            most_row(out, paper, &paper->runs[i], &values, floor(most->value));
    html_table_end(out);
    commands(out, paper, 1u << PAPER_ORIGINAL | 1u << PAPER_ORIGINAL_CORES);
    html_section_end(out);
}

void paper_page(Text *out, const Paper *paper, const char *command)
{
    html_begin(out, "Pipe-BD: the paper's workloads, modelled");
    head(out, paper);
    speedups(out, paper);
    where_the_most_is(out, paper);
    beside(out, paper);
    plans(out, paper);
    times(out, paper);
    memory(out, paper);
    sensitivity(out, paper, PAPER_BATCH, "Batch size",
                "Speedup over dp, by the global batch, on four devices.");
    sensitivity(out, paper, PAPER_CORES, "Loader workers",
                "Speedup over dp, by the cores of the host that load, on four devices. Where "
                "loading limits "
                "dp, which loads every sample once a block, relaying gains most.");
    sensitivity(out, paper, PAPER_DEVICES, "More devices",
                "Speedup over dp on as many devices, from 2 to 16; the paper has 4. Where devices "
                "outnumber "
                "blocks, tr and dpu leave some idle.");
    html_section(
        out, "made", "How this page was made",
        "scripts/paper.sh ran the commands above, each section’s under its heading “The commands”; "
        "results.csv, breakdown.csv and poster.csv beside this page hold all numbers, with the "
        "commands of each row.");
    if (command) html_command(out, command);
    commands_as(out, paper, (1u << PAPER_FIGURES) - 1, "once");
    html_section_end(out);
    html_end(out);
}
