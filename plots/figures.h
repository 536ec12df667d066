/* Figures of a page (plots/html.h): what was read from the tools' files, drawn. */
#ifndef PLOTS_FIGURES_H
#define PLOTS_FIGURES_H

#include "plots/html.h"
#include "plots/report_read.h"
#include "plots/rows.h"
#include "plots/sweep_read.h"

/* Table cells: text as printf() makes it, escaped. The second is aligned left, the third shows a
 * number that may be absent as "-". */
void html_cell(Text *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
void html_cell_left(Text *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
void html_cell_number(Text *out, int digits, double value);

/* Where each schedule stands: a bar each, of its speedup, or of its pace where dp is missing. */
void figure_speedups(Text *out, const ComparisonFile *file);

/* Who trains what: a card a stage, for ls a card a device, then the tasks of split. */
void figure_plan(Text *out, const RunFacts *facts, const PlanShown *plan);

/* A window of a timeline: a row a device. */
void figure_gantt(Text *out, const Gantt *gantt);

/* Where the time of each device goes, in per cent of the epoch; and the legend of such figures. */
void figure_breakdown(Text *out, const ComparedRow *row);
void figure_breakdown_keys(Text *out, const ComparedRow *rows, int count);

/* Parts one after another, in a row of rows; format: of their values in their boxes, or NULL. */
typedef struct { int colour; double value; } BarPart;
void figure_stack(Rows *rows, const BarPart *parts, int count, const char *format);

/* What each device holds at its peak; scale_bytes is the full width. */
void figure_memory(Text *out, const ComparedRow *row, double scale_bytes);
void figure_memory_keys(Text *out, const ComparedRow *rows, int count);

/* Epochs, predicted above measured, with the range of the runs. */
void figure_validation(Text *out, const ValidationFile *file);

/* The lines of one panel, and the legend of such. */
void figure_sweep_panel(Text *out, const SweepData *sweep, int panel, Metric metric);
void figure_sweep_keys(Text *out, const SweepData *sweep);

/* Lines over a path, a panel for each value of the second path. */
void figure_sweep(Text *out, const SweepData *sweep, Metric metric);

#endif
