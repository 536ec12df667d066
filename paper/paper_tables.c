/* The tables of `make paper` as CSV. Every row has the two commands that give its numbers: one
 * makes the trace, one compares the schedules on it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "paper/paper.h"
#include "plots/picture.h"

static void field(Text *out, const char *string)
{
    csv_field(out, string ? string : "");
    text_append(out, ",");
}

/* Empty where there is no number. */
static void number(Text *out, int digits, double value)
{
    if (!isnan(value)) text_printf(out, "%.*f", digits, value);
    text_append(out, ",");
}

static void commands(Text *out, const PaperRun *run)
{
    field(out, run->trace_command);
    csv_field(out, run->command);
    text_append(out, "\n");
}

static void place(Text *out, const PaperRun *run)
{
    field(out, run->workload);
    field(out, run->device);
    number(out, 0, run->devices);
    number(out, 0, run->batch);
    number(out, 0, run->cores);
}

static void result_row(Text *out, const PaperRun *run, const ComparedRow *row)
{
    Text plan = {0};

    field(out, paper_figure_name(run->figure));
    place(out, run);
    field(out, schedule_name(row->schedule));
    number(out, 9, row->why ? NAN : row->epoch_s);
    number(out, 6, row->why ? NAN : row->speedup);
    number(out, 3, row->why ? NAN : row->step_us);
    number(out, 6, row->why ? NAN : row->utilisation);
    number(out, 6, row->why ? NAN : row->teacher_work);
    number(out, 6, row->why ? NAN : row->loads);
    number(out, 0, row->why ? NAN : row->peak_bytes);
    number(out, 6, row->why ? NAN : paper_memory(run, row->schedule));
    if (!row->why) paper_plan(&plan, &run->comparison.facts, &row->plan);
    field(out, text_string(&plan));
    field(out, row->why);
    commands(out, run);
    out->failed |= text_failed(&plan);
    text_free(&plan);
}

void paper_results(Text *out, const Paper *paper)
{
    text_append(out, "figure,workload,device,devices,batch,cores,schedule,epoch_s,speedup,step_us,"
                     "utilisation,teacher_work,loads,"
                     "peak_memory_bytes,memory_over_dp,plan,why,trace_command,command\n");
    for (int i = 0; i < paper->run_count; i++) {
        const PaperRun *run = &paper->runs[i];
        for (int r = 0; r < run->comparison.row_count; r++)
            result_row(out, run, &run->comparison.rows[r]);
        if (!*run->why) continue;
        field(out, paper_figure_name(run->figure));
        place(out, run);
        text_append(out, ",,,,,,,,,,");
        field(out, run->why);
        commands(out, run);
    }
}

static void breakdown_row(Text *out, const Paper *paper, const PaperRun *run, const char *who)
{
    PaperFigure kind = run->figure == PAPER_ORIGINAL ? PAPER_IDEAL_ORIGINAL : PAPER_IDEAL;
    PaperTimes  t;

    if (!paper_times(paper, run, who, &t)) return;
    field(out, paper_figure_name(run->figure));
    field(out, run->workload);
    field(out, run->device);
    field(out, who);
    number(out, 6, t.load);
    number(out, 6, t.teacher);
    number(out, 6, t.student);
    number(out, 6, t.update);
    number(out, 6, t.transfer);
    number(out, 6, t.wait);
    number(out, 6, t.total);
    commands(out,
             strcmp(who, "ideal") == 0 ? paper_run(paper, kind, run->workload, run->device) : run);
}

void paper_breakdown(Text *out, const Paper *paper)
{
    text_append(out, "figure,workload,device,who,load_s,teacher_s,student_s,update_s,transfer_s,"
                     "wait_s,total_s,trace_command,command\n");
    for (int i = 0; i < paper->run_count; i++) {
        const PaperRun *run = &paper->runs[i];
        char            who[32];
        if (run->figure != PAPER_MAIN && run->figure != PAPER_ORIGINAL) continue;
        breakdown_row(out, paper, run, "dp");
        for (int d = 0; d < (int)run->devices; d++) {
            snprintf(who, sizeof who, "relay%d", d);
            breakdown_row(out, paper, run, who);
        }
        breakdown_row(out, paper, run, "ideal");
    }
}

void paper_beside(Text *out, const Paper *paper)
{
    text_append(out, "figure,workload,device,who,part,unit,poster,ours,difference_percent,ours_"
                     "original,difference_original_percent,source,note\n");
    for (int i = 0; i < paper->poster_count; i++) {
        const PosterFigure *p = &paper->poster[i];
        double              ours = paper_ours(paper, p, PAPER_MAIN),
               original = paper_ours(paper, p, PAPER_ORIGINAL);
        field(out, p->figure);
        field(out, p->workload);
        field(out, p->device);
        field(out, p->who);
        field(out, p->part);
        field(out, p->unit);
        number(out, 2, p->value);
        number(out, 6, ours);
        number(out, 3, 100 * (ours / p->value - 1));
        number(out, 6, original);
        number(out, 3, 100 * (original / p->value - 1));
        field(out, p->source);
        csv_field(out, p->note);
        text_append(out, "\n");
    }
}

int paper_write(const char *folder, const Paper *paper, const char *command, Error *err)
{
    static void (*const tables[])(Text *, const Paper *) = {paper_results, paper_breakdown,
                                                            paper_beside};
    static const char *const names[] = {"results.csv", "breakdown.csv", "poster.csv", "index.html"};
    int rc = 0;

    for (int i = 0; i < 4 && rc == 0; i++) {
        Text text = {0}, path = {0};
        text_printf(&path, "%s/%s", folder, names[i]);
        if (i < 3) tables[i](&text, paper);
        else       paper_page(&text, paper, command);
        if (text_failed(&text) || text_failed(&path)) rc = error_no_memory(err);
        else rc = i < 3 ? 0 : pictures_draw(&text, err);
        if (rc == 0) rc = file_write(text_string(&path), text_string(&text), text.length, err);
        text_free(&text);
        text_free(&path);
    }
    return rc;
}
