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

#include "planner/compare.h"

enum { SENSITIVITY_MOST = 300, SENSITIVITY_LEAST = 75 };       /* per cent more, and less */

typedef struct {
    char     label[96];          /* "block conv1, student" */
    char     path[2][48];        /* what is scaled, as --scale takes it (planner/whatif/whatif.h);
                                  * the second "": one only */
    int      more, less;         /* per cent; 0: not within the range */
    Schedule more_wins, less_wins;       /* the schedule of the plan that wins there */
    bool     inert;              /* scaling changes no number: all of them are 0 */
} Sensitivity;

typedef struct Sensitivities {
    Sensitivity *margins;             /* [count] */
    int     count;
    bool    found;               /* sensitivity_find() has filled them in */
    double  work;                /* about how many instructions it simulates */
} Sensitivities;

typedef struct {
    const char     *name, *text;         /* the trace's file; name is for messages */
    size_t          length;
    ScenarioOptions scenario;
    CompareOptions  compare;
    const Plan     *plan;                /* kept; of this scenario */
    int64_t         simulated;           /* instructions that pricing it simulated */
    int64_t         longest;             /* the most that pricing any plan simulated */
    const WhatIf   *edits;               /* [edit_count] of the trace; scenario has those of the
                                          * cluster already */
    int             edit_count;
    int             jobs;                /* threads, at least 1; 0: 1 */
} SensitivityJob;

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
