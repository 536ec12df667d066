/* The log of a run: a file of lines, a JSON object each (docs/formats.md, "pipebd-log"), for
 * programs that watch or draw.
 *
 *     {"format": "pipebd-log", "version": 1, "event": "start", ...}      what runs
 *     {"event": "progress", ...}                                          every so many steps
 *     {"event": "replan", ...}                                            another plan, or none
 *     {"event": "end", ...}                                               unless it was killed
 *
 * A resumed run adds to the file, with a start of its own. Not for workers: it waits for the
 * disk. */
#ifndef EXECUTOR_MONITOR_RUN_LOG_H
#define EXECUTOR_MONITOR_RUN_LOG_H

#include "schedule/program.h"
#include "workloads/workload.h"

typedef struct RunLog RunLog;

typedef struct {
    const Workload *workload;            /* its batch is the run's */
    const Plan     *plan;
    const char     *device_kind;
    uint64_t        seed;
    int64_t         samples, steps_per_epoch, total_steps;
    int64_t         every;               /* steps between progress lines */
    const int64_t  *block_step;          /* [students]: where each starts */
    bool            resumed;
} LogFacts;

/* Shares are of the time since the line before. */
typedef struct {
    bool    known;                       /* false: nothing new was heard of the device */
    double  work, wait, own;             /* own: within steps, neither work nor waiting */
    double  wait_by[OP_COUNT];
    int64_t bytes;                       /* the most allocated so far */
} LogDevice;

typedef struct {
    double           time_s;             /* since the run began */
    int64_t          step, steps;        /* mean over the blocks; since the line before */
    double           images_per_s;       /* since the line before */
    const double    *loss;               /* [students] mean since the line before; NaN: not
                                          * trained */
    const int64_t   *block_step;         /* [students]: where each stands */
    const LogDevice *devices;            /* [device_count] */
    int64_t          resident_bytes;     /* of the process; 0: not known */
} LogProgress;

/* The planner was asked again (executor/train/replan.h). */
typedef struct {
    double        time_s;
    int64_t       step;
    const Plan   *plan;                  /* that runs from here on; NULL: the one that ran */
    const double *factors;               /* [device_count] of the trace's times */
    double        before_s, after_s;     /* an epoch, as expected: of the plan that ran, of the best
                                          * found */
} LogReplan;

typedef struct {
    const char   *why;                   /* "done", "stopped", "failed" */
    const char   *error;                 /* "" */
    double        time_s;
    int64_t       step;
    double        images_per_s;          /* of the whole run */
    const double *loss;                  /* [students] mean of the last epoch; NaN: not trained */
    double        teacher_accuracy, before_accuracy, after_accuracy;     /* 0..1; NaN: not asked */
} LogEnd;

/* Opens path and writes the start. What is there must be, with facts->resumed, the log of the same
 * workload, and otherwise nothing. Borrows facts for the call; run_log_close() *out. *torn: bytes
 * of an unfinished line that were cut off. */
int run_log_open(RunLog **out, const char *path, const LogFacts *facts, size_t *torn, Error *err);
int run_log_progress(RunLog *log, const LogProgress *progress, Error *err);
int run_log_replan(RunLog *log, const LogReplan *replan, Error *err);
int run_log_end(RunLog *log, const LogEnd *end, Error *err);

/* NULL is nothing to close. */
int run_log_close(RunLog *log, Error *err);

#endif
