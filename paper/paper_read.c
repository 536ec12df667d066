#include "paper/paper.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { RUNS = 4096 };

static const char *const index_columns[] = {"figure",  "workload",      "title",   "device",
                                            "devices", "batch",         "cores",   "file",
                                            "why",     "trace_command", "command", NULL};
static const char *const poster_columns[] = {"figure", "workload", "device", "who",  "part",
                                             "value",  "unit",     "source", "note", NULL};

const char *paper_figure_name(PaperFigure figure)
{
    static const char *const names[PAPER_FIGURES] = {"main",           "original", "ideal",
                                                     "ideal-original", "batch",    "cores",
                                                     "original-cores", "devices"};

    return names[figure];
}

/* ---- reading ------------------------------------------------------------------------- */

/* Reads a CSV with exactly these columns (a list ended by NULL) and 1 to RUNS rows below them.
 * After an error *out is empty or still to be freed: the caller's in both cases. */
static int read_table(Csv *out, const char *path, const char *const *columns, Error *err)
{
    char  *text = NULL;
    size_t length;
    int    rc = -1, count = 0;

    if (file_read(&text, &length, path, 0, err) != 0) return -1;
    if (csv_parse(out, path, text, length, err) != 0) goto done;
    for (; columns[count]; count++)
        if (count >= out->columns || strcmp(out->rows[0][count], columns[count]) != 0) {
            error_set(err, "%s:1:1: expected the column %s as number %d", path, columns[count],
                      count + 1);
            goto done;
        }
    rc = out->columns == count
             ? 0
             : error_set(err, "%s:1:1: %d columns, expected %d", path, out->columns, count);
    if (rc == 0 && out->row_count - 1 > RUNS)
        rc = error_set(err, "%s: too many rows, expected at most %d", path, RUNS);
    if (rc == 0 && out->row_count < 2) rc = error_set(err, "%s:1:1: no rows", path);
done:
    free(text);
    return rc;
}

static int number(const Csv *csv, const char *path, int row, int column, double *out, Error *err)
{
    const char *text = csv->rows[row][column];
    char       *end;

    *out = strtod(text, &end);
    if (end != text && !*end && isfinite(*out)) return 0;
    return error_set(err, "%s:%d:1: \"%.40s\" is not a number, at %s", path, csv->lines[row], text,
                     csv->rows[0][column]);
}

/* A row of the index: a run, with the comparison in the file that it names, which must have been
 * made by the row's command. */
static int read_run(PaperRun *run, const Csv *csv, const char *path, int row, Error *err)
{
    char **f = csv->rows[row];
    Json  *doc;
    int    figure = 0;

    while (figure < PAPER_FIGURES && strcmp(f[0], paper_figure_name((PaperFigure)figure)) != 0)
        figure++;
    if (figure == PAPER_FIGURES)
        return error_set(err,
                         "%s:%d:1: \"%.40s\" is not a figure, expected main, original, ideal, "
                         "ideal-original, batch, cores, original-cores or devices",
                         path, csv->lines[row], f[0]);
    run->figure = (PaperFigure)figure;
    run->workload = f[1];
    run->title = f[2];
    run->device = f[3];
    run->why = *f[7] ? "" : *f[8] ? f[8] : "not told";
    run->trace_command = f[9];
    run->command = f[10];
    if (number(csv, path, row, 4, &run->devices, err) != 0
        || number(csv, path, row, 5, &run->batch, err) != 0
        || number(csv, path, row, 6, &run->cores, err) != 0)
        return -1;
    if (*run->why) return 0;
    if (json_doc_read(&doc, f[7], err) != 0
        || comparison_read(&run->comparison, doc, f[7], err) != 0)
        return -1;
    const char *made_by = run->comparison.facts.command;
    if (made_by && strcmp(made_by, run->command) != 0)
        return error_set(err,
                         "%s:%d:1: the command is not the one that %.200s says made it, \"%.300s\"",
                         path, csv->lines[row], f[7], made_by);
    return 0;
}

static int read_runs(Paper *paper, const char *path, Error *err)
{
    if (read_table(&paper->index, path, index_columns, err) != 0) return -1;
    paper->runs = calloc((size_t)paper->index.row_count, sizeof *paper->runs);
    if (!paper->runs) return error_no_memory(err);
    for (int row = 1; row < paper->index.row_count; row++)
        if (read_run(&paper->runs[paper->run_count++], &paper->index, path, row, err) != 0)
            return -1;
    return 0;
}

static int read_poster(Paper *paper, const char *path, Error *err)
{
    if (read_table(&paper->figures, path, poster_columns, err) != 0) return -1;
    paper->poster = calloc((size_t)paper->figures.row_count, sizeof *paper->poster);
    if (!paper->poster) return error_no_memory(err);
    for (int row = 1; row < paper->figures.row_count; row++) {
        char        **f = paper->figures.rows[row];
        PosterFigure *p = &paper->poster[paper->poster_count++];
        *p = (PosterFigure){f[0], f[1], f[2], f[3], f[4], f[6], f[7], f[8], 0};
        if (number(&paper->figures, path, row, 5, &p->value, err) != 0) return -1;
        if (p->value == 0)
            return error_set(err, "%s:%d:1: 0, expected a value to compare with", path,
                             paper->figures.lines[row]);
    }
    return 0;
}

int paper_read(Paper *out, const char *index, const char *poster, Error *err)
{
    *out = (Paper){0};
    return read_runs(out, index, err) == 0 && read_poster(out, poster, err) == 0 ? 0 : -1;
}

void paper_free(Paper *paper)
{
    for (int i = 0; i < paper->run_count; i++) comparison_file_free(&paper->runs[i].comparison);
    free(paper->runs);
    free(paper->poster);
    csv_free(&paper->index);
    csv_free(&paper->figures);
    *paper = (Paper){0};
}

/* ---- what runs say ---------------------------------------------------------------------- */

const PaperRun *paper_run(const Paper *paper, PaperFigure figure, const char *workload,
                          const char *device)
{
    for (int i = 0; i < paper->run_count; i++) {
        const PaperRun *run = &paper->runs[i];
        if (run->figure == figure && strcmp(run->workload, workload) == 0
            && strcmp(run->device, device) == 0)
            return run;
    }
    return NULL;
}

const ComparedRow *paper_fastest(const PaperRun *run)
{
    const ComparedRow *best = NULL;

    for (int i = 0; i < run->comparison.row_count; i++) {
        const ComparedRow *row = &run->comparison.rows[i];
        if (!row->why && (!best || row->epoch_s < best->epoch_s)) best = row;
    }
    return best;
}

static PaperTimes times_of(const DeviceUse *use, double epoch_s, double over)
{
    const double *us = use->share_us, unit = 1e6 * over;

    return (PaperTimes){us[SHARE_LOAD] / unit,
                        us[SHARE_TEACHER] / unit,
                        us[SHARE_STUDENT] / unit,
                        us[SHARE_UPDATE] / unit,
                        (us[SHARE_ALLREDUCE] + us[SHARE_TRANSFER]) / unit,
                        (us[SHARE_WAIT] + us[SHARE_IDLE]) / unit,
                        epoch_s / over};
}

bool paper_times(const Paper *paper, const PaperRun *run, const char *who, PaperTimes *out)
{
    const ComparedRow *row;
    int                device = 0;
    double             over = 1;

    if (strcmp(who, "ideal") == 0) {
        PaperFigure     kind = run->figure == PAPER_ORIGINAL ? PAPER_IDEAL_ORIGINAL : PAPER_IDEAL;
        const PaperRun *one = paper_run(paper, kind, run->workload, run->device);
        row = one ? compared_row(&one->comparison, SCHEDULE_IR) : NULL;
        over = run->devices;
    } else if (strncmp(who, "relay", 5) == 0) {
        row = compared_row(&run->comparison, SCHEDULE_DPU);
        device = atoi(who + 5);
    } else {
        row = strcmp(who, "dp") == 0 ? compared_row(&run->comparison, SCHEDULE_DP) : NULL;
    }
    if (!row || device < 0 || device >= row->device_count) return false;
    *out = times_of(&row->devices[device], row->epoch_s, over);
    return true;
}

double paper_memory(const PaperRun *run, Schedule schedule)
{
    const ComparedRow *row = compared_row(&run->comparison, schedule),
                      *dp = compared_row(&run->comparison, SCHEDULE_DP);

    return row && dp && dp->peak_bytes > 0 ? row->peak_bytes / dp->peak_bytes : NAN;
}

/* Least or most over the runs of a kind of ahd's speedup, or of its memory over dp's in per
 * cent. */
static double extreme(const Paper *paper, PaperFigure kind, bool memory, bool most)
{
    double found = NAN;

    for (int i = 0; i < paper->run_count; i++) {
        const PaperRun    *run = &paper->runs[i];
        const ComparedRow *row =
            run->figure == kind ? compared_row(&run->comparison, SCHEDULE_AHD) : NULL;
        double             value = !row     ? NAN
                                   : memory ? 100 * (paper_memory(run, SCHEDULE_AHD) - 1)
                                            : row->speedup;
        found = most ? fmax(found, value) : fmin(found, value);
    }
    return found;
}

static double part_of(const PaperTimes *t, const char *part)
{
    if (strcmp(part, "load") == 0)    return t->load;
    if (strcmp(part, "teacher") == 0) return t->teacher;
    /* the charts know no updates */
    if (strcmp(part, "student") == 0) return t->student + t->update;
    if (strcmp(part, "idle") == 0)    return t->wait;
    return strcmp(part, "total") == 0 ? t->total : NAN;
}

double paper_ours(const Paper *paper, const PosterFigure *figure, PaperFigure kind)
{
    const PaperRun *run;
    Schedule        schedule;
    PaperTimes      times;

    if (strcmp(figure->figure, "range") == 0)
        return extreme(paper, kind, false, strcmp(figure->part, "most") == 0);
    if (strcmp(figure->figure, "memory") == 0)
        return extreme(paper, kind, true, strcmp(figure->part, "most") == 0);
    run = paper_run(paper, kind, figure->workload, figure->device);
    if (!run) return NAN;
    if (strcmp(figure->figure, "breakdown") == 0)
        return paper_times(paper, run, figure->who, &times) ? part_of(&times, figure->part) : NAN;
    if (strcmp(figure->figure, "speedup") != 0 || !schedule_find(figure->who, &schedule))
        return NAN;
    const ComparedRow *row = compared_row(&run->comparison, schedule);
    return row ? row->speedup : NAN;
}

void paper_plan(Text *out, const RunFacts *facts, const PlanShown *plan)
{
    char room[24];

    for (int i = 0; i < plan->stage_count; i++) {
        const Stage *stage = &plan->stages[i];
        text_append(out, i ? " | " : "");
        text_append(out, facts_block(facts, stage->first, room));
        if (stage->last > stage->first) {
            text_append(out, " to ");
            text_append(out, facts_block(facts, stage->last, room));
        }
        text_append(out, stage->width ? " on " : " on the next free device");
        for (int d = 0; d < stage->width; d++)
            text_printf(out, "%s%d", d ? ", " : "", stage->devices[d]);
    }
}
