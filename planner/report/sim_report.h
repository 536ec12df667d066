/* Answers of the simulator for people and programs (docs/formats.md). */
#ifndef PLANNER_REPORT_SIM_REPORT_H
#define PLANNER_REPORT_SIM_REPORT_H

#include "planner/whatif/sweep.h"

/* For each schedule asked for: epoch, then where each device's time and memory go. */
void sim_report_table(const QueryResult *answer, Text *out);
void sim_report_csv(const QueryResult *answer, Text *out);        /* a device a row */

/* "format": "pipebd-simulation", of the one possible schedule that was asked for. */
void sim_report_json(const QueryResult *answer, Text *out);

/* The rows of the points that are done. JSON: "format": "pipebd-sweep". */
void sweep_report_table(const Sweep *sweep, const SweepResult *result, Text *out);
void sweep_report_csv(const Sweep *sweep, const SweepResult *result, Text *out);
void sweep_report_json(const Sweep *sweep, const SweepResult *result, Text *out);

#endif
