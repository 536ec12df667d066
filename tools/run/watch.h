/* What a training run tells while it runs: losses of every block, a line on a terminal, lines of
 * the log, and an answer to SIGUSR1. Workers only add up; the monitor draws and writes. */
#ifndef TOOLS_RUN_WATCH_H
#define TOOLS_RUN_WATCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "executor/monitor/run_sampler.h"
#include "tools/run/monitor.h"

/* Of a student: sums of losses over the first epoch trained and over the last. */
typedef struct {
    double  first, last;
    int64_t first_steps, last_steps;
    int64_t steps, last_epoch;
} StudentLoss;

typedef struct {
    const Workload *workload;            /* borrowed, as are the others */
    const char     *schedule;
    int64_t         steps_per_epoch, total_steps;
    const int64_t  *block_step;          /* [students]: where each starts; for the call only */
    const StatusBoard *board;
    CurrentRun        *current_run;             /* what runs, for an answer */
    atomic_bool    *stop;                /* set when the log cannot be written */
    const char     *log;                 /* path; NULL: none */
    LogFacts        log_facts;           /* for the call only */
    int64_t         monitor_every;          /* steps of the run between two calls of the next, by
                                             * the monitor; 0: none */
    void          (*check)(void *context, int64_t step);
    void           *context;
} WatchFacts;

typedef struct {
    const Workload *workload;
    const char     *schedule;
    int        students;                 /* of all blocks */
    int64_t    steps_per_epoch, total_steps, total;      /* total: updates of all students in this
                                                          * run */
    const StatusBoard *board;
    atomic_bool *stop;
    pthread_mutex_t lock;                /* for what follows, up to the monitor's */
    const char *doing;                   /* while no program runs */
    int64_t    done;                     /* updates of all students */
    int64_t    step_sum;                 /* of the students' steps */
    StudentLoss *losses;                 /* [students] */
    int64_t    start_ns;                 /* 0: not begun */
    int64_t    monitor_every, monitor_next;    /* a step */
    bool       monitor_due;
    Text       notes;                    /* lines to write */
    /* the monitor's */
    Monitor   *monitor;
    CurrentRun   *current_run;                  /* borrowed */
    RunSampler *sampler;                 /* NULL: no log */
    RunLog    *log;
    Error      failure;                  /* of the log: "" none */
    atomic_bool failed;                  /* it is there */
    void     (*check)(void *context, int64_t step);
    void      *context;
    DeviceTimes *seen;                    /* [devices] at seen_ns */
    int64_t    seen_ns;
    int        busiest;                  /* the device that works most; -1: not known */
    double     busiest_share;
    bool       terminal;
    int        shown;                    /* characters on the line */
} Watch;

/* Starts the monitor, and the log. watch_free() whatever happens. */
int  watch_open(Watch *watch, const WatchFacts *facts, Error *err);

/* What to answer while no program runs. */
void watch_doing(Watch *watch, const char *doing);
void watch_start(Watch *watch);

/* After each update of a student, by its number among those of all blocks, from any thread. */
void watch_update(Watch *watch, int student, int64_t step, double loss);

/* A line for standard error, from any thread: the monitor writes it. */
void watch_note(Watch *watch, const char *line);

/* By check(): a line on standard error, and in the log. */
void watch_tell(Watch *watch, const char *line, LogReplan *replan);

/* Whether the log could not be written. From any thread. */
bool watch_failed(const Watch *watch);

/* The run is over: erases the line. Fails when the log could not be written. */
int  watch_end(Watch *watch, Error *err);

/* The log's last line, when there is a log. accuracies: of teacher, student before, after; NaN:
 * not asked. error: NULL: none. */
int watch_close(Watch *watch, const char *why, const char *error, const double accuracies[3],
                Error *err);

/* Images or sequences a second: one counts once, when all students have seen it. The text has the
 * unit: "8123 images/s", "7.98 sequences/s". */
double watch_rate(const Watch *watch, double seconds);
void watch_rate_text(const Watch *watch, double seconds, Text *out);

/* Of each block the student whose mean loss of the last epoch is least (of equal ones the first),
 * picked [blocks]. */
void watch_pick(const Watch *watch, int *picked);

/* A row a student: steps, mean loss of the first epoch trained and of the last. */
void watch_table(const Watch *watch, Text *out);
void watch_free(Watch *watch);

#endif
