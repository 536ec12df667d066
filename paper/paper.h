/* The page and the tables of `make paper` (scripts/paper.sh): comparisons of the paper's workloads
 * on modelled devices, beside what its poster says.
 *
 * The index is a CSV file, a row a run: figure (main, original, ideal, ideal-original, batch,
 * cores, original-cores, devices), workload,
 * title, device, devices, batch, cores, file (of the comparison; empty: no schedule is possible),
 * why (then), trace_command (that made the trace), command (that compared; the file says the same).
 * The poster's figures are another: figure (speedup, breakdown, range, memory), workload, device,
 * who (a schedule, relay0.., ideal), part, value, unit, source, note. */
#ifndef PAPER_PAPER_H
#define PAPER_PAPER_H

#include "plots/csv.h"
#include "plots/report_read.h"

/* PAPER_ORIGINAL: the main runs with what the original's program does: its workers and decoder, a
 * teacher in training mode, and a transfer occupies its sender. PAPER_ORIGINAL_CORES: the same with
 * other numbers of cores that load. */
typedef enum {
    PAPER_MAIN,
    PAPER_ORIGINAL,
    PAPER_IDEAL,
    PAPER_IDEAL_ORIGINAL,
    PAPER_BATCH,
    PAPER_CORES,
    PAPER_ORIGINAL_CORES,
    PAPER_DEVICES,
    PAPER_FIGURES
} PaperFigure;

typedef struct {
    PaperFigure    figure;
    const char    *workload, *title, *device, *trace_command, *command;
    const char    *why;      /* not "": no schedule is possible, and comparison has no rows */
    double         devices, batch, cores;
    ComparisonFile comparison;
} PaperRun;

typedef struct {
    const char *figure, *workload, *device, *who, *part, *unit, *source, *note;
    double      value;
} PosterFigure;

typedef struct {
    Csv           index, figures;            /* own the strings */
    PaperRun     *runs;                      /* owned */
    int           run_count;
    PosterFigure *poster;                    /* owned */
    int           poster_count;
} Paper;

/* Reads the index, all that it names, and the poster's figures. Errors carry path:line:column.
 * paper_free() out whether it fails or not. */
int  paper_read(Paper *out, const char *index, const char *poster, Error *err);
void paper_free(Paper *paper);

/* The run of that figure; NULL: there is none. */
const PaperRun *paper_run(const Paper *paper, PaperFigure figure, const char *workload,
                          const char *device);

/* The word of the index's column "figure": "main". */
const char *paper_figure_name(PaperFigure figure);

/* ---- what runs say ------------------------------------------------------------------ */

/* Where the time of an epoch goes, seconds. */
typedef struct { double load, teacher, student, update, transfer, wait, total; } PaperTimes;

/* Of dp (who "dp"), of a device of the relay, that is dpu ("relay2"), and of the ideal: one device
 * that does everything on the whole batch, over the number of devices. False: not known. */
bool paper_times(const Paper *paper, const PaperRun *run, const char *who, PaperTimes *out);

/* Peak memory of a schedule over dp's; NAN: not known. */
double paper_memory(const PaperRun *run, Schedule schedule);

/* What runs of a kind, PAPER_MAIN or PAPER_ORIGINAL, say where the poster says that; NAN:
 * nothing. */
double paper_ours(const Paper *paper, const PosterFigure *figure, PaperFigure kind);

/* The fastest of a run; NULL: none is possible. */
const ComparedRow *paper_fastest(const PaperRun *run);

/* The stages of a plan in a line: "b0 to b2 on 0, 1 | b3 on 2". */
void paper_plan(Text *out, const RunFacts *facts, const PlanShown *plan);

/* ---- what is written ------------------------------------------------------------------ */

/* The page, and the tables as CSV: every schedule of every run; times of devices; the poster's
 * figures and ours. */
void paper_page(Text *out, const Paper *paper, const char *command);
void paper_results(Text *out, const Paper *paper);
void paper_breakdown(Text *out, const Paper *paper);
void paper_beside(Text *out, const Paper *paper);

/* All four into folder: index.html, results.csv, breakdown.csv, poster.csv. */
int paper_write(const char *folder, const Paper *paper, const char *command, Error *err);

#endif
