/* Validation: how far is what the simulator says from what the executor does?
 *
 * Every schedule's best plan is predicted from the trace alone, then run with real kernels,
 * in turns; the same program, as many steps. Times are those of the runs scaled to an epoch:
 * run * (steps of an epoch / steps of the run).
 *
 * Schedules that store boundaries run a job of the scenario's epochs over fewer samples; an epoch
 * is their mean. */
#ifndef EXECUTOR_MEASURE_VALIDATE_H
#define EXECUTOR_MEASURE_VALIDATE_H

#include <stdatomic.h>

#include "executor/data/data.h"
#include "executor/monitor/current_run.h"
#include "executor/checkpoint/tensors.h"
#include "executor/net/world.h"
#include "kernels/device.h"
#include "planner/compare.h"
#include "workloads/workload.h"

typedef struct {
    World            *world;             /* NULL: this process alone; else every rank validates the
                                          * same */
    const Workload   *workload;
    const DeviceSpec *devices;           /* as Execution has them */
    int               first_of_spec;
    Data             *data;
    const Tensors    *teacher;           /* NULL: from the seed */
    const Scenario   *scenario;          /* of the trace that predicts */
    unsigned     schedules;              /* bits, as in CompareOptions */
    double       seconds;                /* of a run, about */
    int          rounds;                 /* runs of each schedule, in turns, at least */
    double       limit_s;                /* more follow for so long, until every error has a
                                          * standard error of VALIDATION_ERROR */
    bool         store_bf16;             /* rows are stored in bfloat16 */
    const char  *store;                  /* where schedules that store do so
                                          * (executor/store/store.h); NULL: none does */
    int          lanes, prefetch;
    uint64_t     seed;
    atomic_bool *stop;                   /* or NULL */
    CurrentRun     *current_run;                /* or NULL */
    void       (*progress)(void *context, int done, int total);      /* or NULL */
    void        *context;
} ValidateOptions;

/* Predictions this near each other are not told apart. */
#define VALIDATION_TIE 1.02

#define VALIDATION_ERROR 0.01

typedef struct { double predicted_us, measured_us; } OpTimes;    /* a step of an epoch, mean over
                                                                  * devices */

typedef struct {
    Schedule schedule;
    char     why[256];       /* not "": not possible, and the rest does not hold */
    char     method[96];
    Plan    *plan;           /* owned */
    int64_t  steps;          /* of every phase in a run that count; devices that record warm up
                              * before */
    double   predicted_s;    /* an epoch */
    double   measured_s, least_s, most_s;        /* mean and range over the rounds, as if the
                                                  * machine had been as fast as in the profile: what
                                                  * a run took, times the machine's speed then */
    double   speed;          /* over that in the profile (executor/measure/speed.h), the mean; 1
                              * where there are no readings */
    double   error;          /* measured_s / predicted_s - 1, ... */
    double   standard_error; /* ... and how well it is known: of the mean over the rounds */
    double   predicted_speedup, measured_speedup;        /* over dp; 0 when dp was not run */
    OpTimes  op[OP_COUNT];
    OpTimes  core;           /* processor time of transfers between processes; predicted: what they
                              * take of devices' cores */
    double   overhead;       /* share of the time of the device where it is largest that is neither
                              * an instruction's work nor its wait; of the last run */
    double   stalled;        /* share of its work that a device was stalled in the runs; where the
                              * trace has stalls */
    int64_t  predicted_bytes, measured_bytes;    /* of the device that needs most */
    Text     predicted_timeline, measured_timeline;      /* the start of a run in which
                                                          * the machine was about as fast as in the
                                                          * profile */
} ValidationRow;

typedef struct {
    ValidationRow rows[SCHEDULE_COUNT];          /* those asked for, in order */
    int     row_count;
    int     best;            /* row that the planner chose, fastest predicted; -1: none */
    double  median_error, worst_error;           /* of |error| */
    int     rounds;
    double  core_share;      /* the least, over schedules and devices, of what devices had of their
                              * cores while they worked; 1: nothing else ran there */
    double  quota;           /* processors that the control group grants, where they are fewer than
                              * cores; 0: no quota */
    bool    same_order;      /* none predicted faster than another by more than VALIDATION_TIE was
                              * slower by more than twice the standard errors of both */
    const char *command;     /* that asked, for reports; borrowed; NULL: none did */
    Text    trace;           /* corrected: block times scaled to what was measured */
} Validation;

/* Borrows options for the call; validation_free() out. At other ranks than 0 nothing is in it that
 * was measured. */
int  validate(Validation *out, const ValidateOptions *options, Error *err);
void validation_free(Validation *validation);

/* From the rows' times and errors: speedups over dp, the median and the worst error, and whether
 * the order is as predicted. validate() has done it. */
void validation_conclude(Validation *validation);

/* The table for people; JSON ("pipebd-validation", docs/formats.md); CSV. */
void validation_table(const Validation *validation, const Scenario *scenario, Text *out);
void validation_json(const Validation *validation, const Scenario *scenario, Text *out);
void validation_csv(const Validation *validation, Text *out);

#endif
