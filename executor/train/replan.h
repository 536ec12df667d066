/* Planning again during a run: devices' measured work is compared with the trace that the plan
 * came from (executor/monitor/drift.h). Where one has drifted the planner runs again, with the
 * trace's times of each device scaled to the measured ones. The new plan is taken when it gains
 * enough over the old one, both simulated with the scaled times. */
#ifndef EXECUTOR_TRAIN_REPLAN_H
#define EXECUTOR_TRAIN_REPLAN_H

#include "executor/monitor/device_status.h"

typedef struct Replan Replan;

typedef struct {
    const char *trace;           /* path; read once */
    int         devices, queue_depth;
    double      threshold;       /* of drift: 0.15 */
    int         patience;        /* checks */
    double      least_gain;      /* of the epoch: 0.05 */
} ReplanOptions;

/* Refuses a plan of another trace, and schedules whose devices train one block after another
 * (dp, ls), where there is nothing to move while a run goes on. Borrows nothing after the call. */
int  replan_open(Replan **out, const ReplanOptions *options, const Plan *plan, Error *err);
void replan_free(Replan *replan);

typedef struct {
    bool          asked;         /* a device has drifted, and the planner was asked */
    Plan         *plan;          /* yours: better by enough; NULL: what runs stays */
    const double *factors;       /* [devices] of the trace's times; borrowed until the next check */
    double        before_s, after_s;     /* an epoch as now expected: what runs, the best that was
                                          * found (0: none) */
    char          why[256];      /* none was found because ...; "" */
} ReplanResult;

/* Looks at what devices did since the last look, and asks the planner when that is called for: may
 * take as long as planning does. The schedule stays. -1 without memory. */
int  replan_check(Replan *replan, const StatusBoard *board, ReplanResult *out, Error *err);

/* From now on plan runs: the next check counts from here. */
int  replan_begin(Replan *replan, const Plan *plan, const StatusBoard *board, Error *err);

/* "device 1 works 1.42 times as long as the trace says": those that are not as it says. */
void replan_text(const ReplanResult *answer, int devices, Text *out);

#endif
