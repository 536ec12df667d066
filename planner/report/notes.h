/* What a reader of results must know beside them, in every format: what in the trace is likely to
 * be a mistake of measuring (traces/plausibility.h), and which costs of the plan lie beyond the
 * measured points (--extrapolate). */
#ifndef PLANNER_REPORT_NOTES_H
#define PLANNER_REPORT_NOTES_H

#include "schedule/plan.h"
#include "traces/scenario.h"

/* All of them take plan NULL: what is known of the trace alone; and idle NULL, or further lines: of
 * report_lines(), or on what-if edits that change nothing for some schedules (Comparison.idle). */

/* "  note: ..." a line each; nothing where there are none. */
void report_notes(const Plan *plan, const Scenario *scenario, const char *idle, Text *out);

/* "  "notes": [...],\n" and "  "missing": [...]", without an end of line behind it. */
void report_notes_json(const Plan *plan, const Scenario *scenario, const char *idle, Text *out);

/* "# note: ..." and "# left out: ..." a line each, behind the rows of a CSV. */
void report_notes_csv(const Plan *plan, const Scenario *scenario, const char *idle, Text *out);

#endif
