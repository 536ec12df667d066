/* Durations by what was done: an instruction of a run, or of a prediction of it, is one
 * sample of (op, block, rows). */
#ifndef EXECUTOR_MEASURE_OP_SAMPLES_H
#define EXECUTOR_MEASURE_OP_SAMPLES_H

#include "schedule/timeline.h"

typedef struct {
    Op      op;
    int     block;
    int64_t rows;
    int     width;           /* of the group, for ALLREDUCE; 0 for the rest */
    int     device;
    double  us;
    int64_t step;
    int     student;         /* of the block */
    double  start_us;        /* in its run */
    int     run;             /* samples_add() that brought it */
    double  stall_us;        /* of us: 0 for most (executor/measure/stall_samples.h) */
    double  typical_us;      /* the median of its kind in its run, where stalls were looked for */
} Sample;

typedef struct {
    Sample *list;
    int64_t count, capacity;
    int     runs;
    bool    stalls_found;    /* in them, with stall_share: stalls over the work without them */
    double  stall_share;
} Samples;                   /* {0} is empty */

/* The spans of steps from first_step on that occupy a device (its compute lane, or its
 * loader); a message counts once, where it is sent. */
int  samples_add(Samples *samples, const Program *program, const Span *spans, int64_t count,
                 int64_t first_step, Error *err);
void samples_free(Samples *samples);

/* Multiplies the times of every run; by [samples->runs]. */
void samples_scale(Samples *samples, const double *by);

/* Which samples: fields that are -1 (or op OP_COUNT) match all; student: the block's first unless
 * given. */
typedef struct { Op op; int block; int64_t rows; int width; int device; int student; } SampleKey;

typedef struct {
    int64_t count;
    double  median, mean;    /* us. mean: without the tenth at each end; where stalls were found
                              * without them, and with the share of time that all work is stalled */
    double  spread;          /* 1.4826 * median absolute deviation / median: one preempted step
                              * does not pass for jitter. Where stalls were looked for a sample
                              * deviates from what is typical of its run on its device */
} SampleFigures;

/* Figures of the samples that match; count 0 when none does. -1 only without memory. */
int samples_figures(SampleFigures *out, const Samples *samples, SampleKey key, Error *err);

/* The same of what several devices do together, and of which the last counts: of every step's
 * samples that match the longest. All are of one run. */
int samples_slowest(SampleFigures *out, const Samples *samples, SampleKey key, Error *err);

#endif
