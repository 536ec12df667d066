/* The comparison for people and programs: a table, CSV, or JSON. */
#ifndef PLANNER_REPORT_REPORT_H
#define PLANNER_REPORT_REPORT_H

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
int  report_json(const Comparison *comparison, const Scenario *scenario, Text *out, Error *err);

/* Epoch of comparison_baseline() over that of row; 0 without one. */
double report_speedup(const Comparison *comparison, const Candidate *row);

/* Pieces of JSON that several formats share (docs/formats.md): a row's devices[]; and, on lines of
 * their own with a comma at the end, what a page about the run tells: the command (NULL: none) and
 * where the trace is from; the names of the blocks; the chosen plan. */
void report_devices_json(const Candidate *row, const Scenario *scenario, const char *indent,
                         Text *out);
void report_origin_json(const Trace *trace, const char *command, Text *out);
void report_blocks_json(const Scenario *scenario, Text *out);
void report_chosen_json(const Plan *plan, Text *out);

/* "what if: blocks[conv2].student.us times 1.5, device[2].slowdown = 2", a line; nothing without
 * edits. And as "what_if": [...],\n. */
void report_what_if(const WhatIf *edits, int count, Text *out);
void report_what_if_json(const WhatIf *edits, int count, Text *out);

/* "vgg-cpu: 13 blocks, 4 devices, batch 256, 196 steps an epoch (measured trace)" */
void report_title(const Scenario *scenario, Text *out);

/* Which device is of which kind, where there are several. */
void report_devices(const Scenario *scenario, Text *out);

/* What the trace does not have, under a heading; nothing where it has all. */
void report_left_out(const Scenario *scenario, Text *out);

/* What split gained over ahd, and its bound; nothing without a plan. */
void report_split(const Candidate *split, Text *out);

/* A plan in words, a line a stage. */
void report_stages(const Plan *plan, const Scenario *scenario, Text *out);

/* A text Gantt of one step of plan, or a few that take turns, after the pipeline has filled; in
 * words why there is none. -1 only without memory. */
int report_gantt(const Plan *plan, const Scenario *scenario, Text *out, Error *err);

/* Their spans as JSON; null where no step could be told apart or simulated. -1 only without
 * memory. */
int report_step_json(const Plan *plan, const Scenario *scenario, Text *out, Error *err);

#endif
