/* The parts of a report's page, each a section; one without anything to show writes nothing. */
#ifndef PLOTS_REPORT_PARTS_H
#define PLOTS_REPORT_PARTS_H

#include "plots/figures.h"
#include "base/text.h"

enum { REPORT_TIMELINES = 4, REPORT_SWEEPS = 8 };

typedef struct {
    const ComparisonFile *comparison;            /* or NULL; one of the two is there */
    const ValidationFile *validation;
    const Gantt          *timelines[REPORT_TIMELINES];
    const char           *timeline_paths[REPORT_TIMELINES];
    int                   timeline_count;
    const SweepData      *sweeps[REPORT_SWEEPS];
    Metric                metrics[REPORT_SWEEPS];
    const char           *sweep_paths[REPORT_SWEEPS];
    int                   sweep_count;
    const char           *command;
} ReportShown;

/* What the comparison says, or else the validation. */
const RunFacts *report_facts(const ReportShown *shown);

/* Each adds its section, as HTML, to out: the head has headline, numbers and contents. */
void report_head(Text *out, const ReportShown *shown);
void report_schedules(Text *out, const ReportShown *shown);
void report_plan(Text *out, const ReportShown *shown);
void report_step(Text *out, const ReportShown *shown);
void report_time(Text *out, const ReportShown *shown);
void report_memory(Text *out, const ReportShown *shown);
void report_margins(Text *out, const ReportShown *shown);
void report_sweeps(Text *out, const ReportShown *shown);
void report_validation(Text *out, const ReportShown *shown);
void report_missing(Text *out, const ReportShown *shown);
void report_commands(Text *out, const ReportShown *shown);

#endif
