/* How far each input may move, alone, before the decision flips: before another plan wins.
 *
 * An input (a block's teacher times, its student's, the loader, a kind of link, a device's
 * speed) is scaled; the kept plan is simulated with the changed costs, and the planner
 * plans anew. Another plan wins when one that the planner finds is faster in the
 * simulator. Scales are whole per cents: 1, 2, 4, 8, ... more, up to four times, and as
 * much less, down to a quarter. From the first of these at which another plan wins the
 * flip is narrowed by bisection: at the per cent found another plan wins, at one per cent
 * less none does. What flips and flips back between two scales tried is not seen. */
#ifndef PLANNER_WHATIF_SENSITIVITY_H
#define PLANNER_WHATIF_SENSITIVITY_H

#include "planner/whatif/sensitivity_job.h"

enum { SENSITIVITY_MOST = 300, SENSITIVITY_LEAST = 75 };       /* per cent more, and less */

typedef struct Sensitivities {
    Sensitivity *margins;             /* [count] */
    int     count;
    bool    found;               /* sensitivity_find() has filled them in */
    double  work;                /* about how many instructions it simulates */
} Sensitivities;

/* Lists the inputs that job's trace has, all margins 0, and estimates the work. */
int  sensitivity_list(Sensitivities *out, const SensitivityJob *job, Error *err);

/* Fills them in, on job->jobs threads: the same on any number of them. */
int  sensitivity_find(Sensitivities *margins, const SensitivityJob *job, Error *err);

/* One query: whether another plan wins when margin's input takes percent more (less:
 * negative), and the schedule of the fastest that does. */
int sensitivity_try(const SensitivityJob *job, const Sensitivity *margin, int percent, bool *wins,
                    Schedule *winner, Error *err);

void sensitivity_free(Sensitivities *margins);

/* Up to this much work, margins are found without being asked for: under a second. */
#define SENSITIVITY_WORK 1e6

#endif
