/* The rows of a comparison: for each schedule that was asked for its best plan, or why there is
 * none. */
#ifndef PLANNER_COMPARE_ROWS_H
#define PLANNER_COMPARE_ROWS_H

#include "planner/candidate.h"
#include "planner/compare_options.h"
#include "planner/whatif/whatif.h"

typedef struct {
    Candidate rows[SCHEDULE_COUNT];
    int       best;          /* row of the fastest, of ties the one that loads and recomputes least,
                              * then that needs less memory; -1: none */
    int64_t   bound_ns;      /* no relaying schedule's epoch is shorter; 0: not known */
    const struct Sensitivities *margins;       /* of the best plan (planner/whatif/sensitivity.h),
                                                * for reports; borrowed; NULL: nobody asked */
    const char *command;     /* that asked, for reports; borrowed; NULL: none did */
    const WhatIf *edits;     /* [edit_count] that the trace was changed by, for reports; borrowed */
    int       edit_count;
    const char *idle;        /* lines on edits that change nothing for some schedules; borrowed;
                              * NULL: none */
} Comparison;

/* compare() without the bound (planner/compare.h), and with best -1 and no error when nothing is
 * possible. */
int  compare_rows(Comparison *out, const Scenario *scenario, const CompareOptions *options,
                  Error *err);
void comparison_free(Comparison *comparison);

/* The shortest epoch of all plans that were simulated; INT64_MAX: there is none. */
int64_t comparison_fastest_ns(const Comparison *comparison);

/* The fastest plan that was simulated and is not the best one, NULL: none; *ns its epoch,
 * *simulated (NULL: not wanted) how many were. Borrowed from comparison. */
const Plan *comparison_runner_up(const Comparison *comparison, const Scenario *scenario,
                                 int64_t *ns, int *simulated);

/* What speedups are over: dp, which people use where it is possible; else sequential, how today's
 * tools train what is larger than a device; else the slowest of several that are possible; -1:
 * nothing. */
int comparison_baseline(const Comparison *comparison);

/* What compare() puts in bound_ns. */
int  compare_bound(int64_t *bound_ns, const Scenario *scenario, Error *err);

#endif
