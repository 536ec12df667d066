/* The comparison for people and programs: a table, CSV, or JSON. */
#ifndef PLANNER_REPORT_H
#define PLANNER_REPORT_H

#include "base/text.h"
#include "planner/compare.h"

/* Table, chosen plan in words, what limits each schedule, what the trace lacks. */
void report_table(const Comparison *comparison, const Scenario *scenario, Text *out);
void report_csv(const Comparison *comparison, Text *out);
void report_json(const Comparison *comparison, const Scenario *scenario, Text *out);

/* A plan in words, a line a stage. */
void report_stages(const Plan *plan, const Scenario *scenario, Text *out);

/* A text Gantt of one step of plan after the pipeline has filled. -1 when it cannot be
 * simulated. */
int report_gantt(const Plan *plan, const Scenario *scenario, Text *out, Error *err);

#endif
