/* Drift: whether devices have become slower, or faster again, than the plan that runs takes them to
 * be, and whether that calls for another plan. Arithmetic only: no clock, no thread, no file.
 *
 * A check brings for every device what it worked over what the trace says (1: as the trace
 * says; 1.4: it takes 40 % longer). The plan that runs was made for factors, at first all 1.
 *
 *     ratio     1.0 1.1 0.9 1.5 1.0 1.4 1.5 1.4           threshold 0.15, patience 3
 *     streak     0   0   0   1   0   1   2   3  -> asks for a plan with factor 1.4
 *
 *   1. A device has drifted in a check when its ratio is more than the threshold above its factor,
 *      or as far below it; so a device that changed needs as much again to count once more.
 *   2. Asked for is a plan once some device has drifted in as many checks in a row as patience,
 *      always to the same side; its factor is then the median of these checks. Others keep theirs.
 *   3. The factors that were planned for are those that count from then on, whether the plan
 *      gained enough to be taken or not: the planner is not asked twice for the same factors.
 *   4. Each plan that is taken doubles the patience, so a device that comes and goes is followed
 *      a few times and then let be: n checks take at most log2(n / patience + 1) plans. */
#ifndef EXECUTOR_MONITOR_DRIFT_H
#define EXECUTOR_MONITOR_DRIFT_H

#include <stdbool.h>

#include "base/error.h"

typedef struct Drift Drift;

enum { DRIFT_MAX_PATIENCE = 64 };        /* at most; doubling ends there */

/* threshold > 0; patience 1..DRIFT_MAX_PATIENCE. */
int  drift_new(Drift **out, int devices, double threshold, int patience, Error *err);
void drift_free(Drift *drift);

/* ratio: [devices], NaN: not known, which neither adds to a streak nor ends it. True: a plan for
 * drift_factors() is asked for; the next call is drift_settle(). */
bool drift_check(Drift *drift, const double *ratio);

/* [devices]: what is asked for, or else what counts. Borrowed. */
const double *drift_factors(const Drift *drift);

/* What was asked for is planned for: taken or not. */
void drift_settle(Drift *drift, bool taken);

/* Checks in a row that it takes now. */
int  drift_patience(const Drift *drift);

/* Whether a plan that takes after_ns instead of before_ns gains something, and at least so much of
 * it: the plan that runs gains nothing. */
bool drift_worth(double before_ns, double after_ns, double least_gain);

#endif
