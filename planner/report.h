/* The comparison for people and programs: a table, CSV, or JSON. */
#ifndef PLANNER_REPORT_H
#define PLANNER_REPORT_H

#include "base/text.h"
#include "planner/compare.h"

typedef enum { REPORT_TABLE, REPORT_CSV, REPORT_JSON } ReportFormat;

/* The whole report: for REPORT_TABLE the table, the Gantt of the chosen plan and what
 * the trace does not contain. -1 when the plan cannot be simulated or memory is out. */
int report(const Comparison *comparison, const Scenario *scenario, ReportFormat format, Text *out,
           Error *err);

/* Table, chosen plan in words, what limits each schedule. */
void report_table(const Comparison *comparison, const Scenario *scenario, Text *out);
void report_csv(const Comparison *comparison, Text *out);
void report_json(const Comparison *comparison, const Scenario *scenario, Text *out);

/* Which device is of which kind, where there are several. */
void report_devices(const Scenario *scenario, Text *out);

/* What split gained over ahd, and its bound; nothing without a plan. */
void report_split(const Candidate *split, Text *out);

/* A plan in words, a line a stage. */
void report_stages(const Plan *plan, const Scenario *scenario, Text *out);

/* A text Gantt of one step of plan after the pipeline has filled. -1 when it cannot be
 * simulated. */
int report_gantt(const Plan *plan, const Scenario *scenario, Text *out, Error *err);

#endif
