/* Epochs that are estimates, as their runs are too long to simulate (SimResult.estimated). */
#ifndef PLANNER_REPORT_ESTIMATES_H
#define PLANNER_REPORT_ESTIMATES_H

#include "planner/compare_rows.h"

/* "estimate, between 1.200 and 1.300 s". */
void report_estimate(const SimResult *sim, Text *out);

/* The same with why, and an end of line. */
void report_estimate_line(const SimResult *sim, Text *out);

/* ", "estimate": true, "least_s": 1.200000000, "most_s": 1.300000000"; nothing where the epoch is
 * what was simulated. */
void report_estimate_json(const SimResult *sim, Text *out);

/* What is noted of a comparison beside its plan: a line for each schedule whose epoch is an
 * estimate, and those of Comparison.idle. */
void report_lines(const Comparison *comparison, Text *out);

#endif
