/* A sweep: epoch time, or another metric, over the values of one path or of two. */
#ifndef PLOTS_SWEEP_READ_H
#define PLOTS_SWEEP_READ_H

#include "plots/csv.h"
#include "plots/plot.h"
#include "schedule/plan.h"

enum { SWEEP_MAX_VALUES = 1000, SWEEP_MAX_PANELS = 6 };

typedef struct { const char *column, *title, *label; double unit; } SweepMetric;

extern const SweepMetric sweep_metrics[METRIC_COUNT];

typedef struct {
    double   x, panel, y, low, high;         /* y NaN: not possible, or lacking; low NaN: no
                                              * spread */
    Schedule schedule;
} SweepPoint;

typedef struct {
    Csv    csv;             /* owned */
    int    axes;             /* leading columns */
    SweepPoint *points;      /* [count], owned */
    int    count;
    double panels[SWEEP_MAX_PANELS];
    int    panel_count;
    double values[SWEEP_MAX_VALUES];               /* of x, ascending, each once */
    int    value_count;
    double most;
    bool   has[SCHEDULE_COUNT], spread;
    bool   lacking;          /* a point that is possible has no number for the metric: a speedup
                              * without dp */
} SweepData;

/* What pipebd-sim --vary --format csv printed. Fails where no row has a number for metric.
 * sweep_data_free() out whether it fails or not. */
int  sweep_read(SweepData **out, const char *path, Metric metric, Error *err);

/* The same of a text that was read already. */
int  sweep_parse(SweepData **out, const char *path, const char *text, size_t length, Metric metric,
                 Error *err);
void sweep_data_free(SweepData *data);

/* The point of a schedule; NULL: there is none. */
const SweepPoint *sweep_point(const SweepData *data, Schedule schedule, double panel, double x);

/* Whether every schedule has a point for all values; an interrupted sweep may not. */
bool sweep_is_whole(const SweepData *data);

/* Whether values grow at least eightfold, so that they stand on a logarithmic axis. */
bool sweep_is_wide(const SweepData *data);

/* One panel as a picture of a page (plots/sweep.c). */
void sweep_put(const SweepData *data, int panel, Metric metric, Text *page, const char *label);

#endif
