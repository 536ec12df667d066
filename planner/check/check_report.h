/* What pipebd-plan --check prints: a plan stage by stage, as the checker prices it, its
 * epoch in the simulator, and how far it is from the planner's plans and from the bound. */
#ifndef PLANNER_CHECK_CHECK_REPORT_H
#define PLANNER_CHECK_CHECK_REPORT_H

#include "planner/check/check.h"
#include "planner/report/report.h"

typedef struct {
    const Plan        *plan;         /* as read: with what was predicted */
    const char        *name;         /* the file's */
    const CheckedPlan *checked;
    const Candidate   *priced;       /* the plan under the simulator */
    const Comparison  *comparison;   /* the planner's own; best -1: it finds none */
} CheckReport;

/* The plan was made for a trace of other bytes. */
bool check_other_trace(const Plan *plan, const Scenario *scenario);

/* Appends the report as a table, CSV or JSON ("pipebd-check"). */
void check_report(const CheckReport *report, const Scenario *scenario, ReportFormat format,
                  Text *out);

#endif
