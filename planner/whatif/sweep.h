/* A sweep: one query at every point of a grid of what-if values, on many threads.
 * Rows stand in the order of the grid, the last axis fastest, whatever thread found
 * them, so the result is the same on any number of cores. */
#ifndef PLANNER_WHATIF_SWEEP_H
#define PLANNER_WHATIF_SWEEP_H

#include <stdatomic.h>

#include "planner/whatif/query.h"

enum { SWEEP_MAX_POINTS = 100000 };

typedef struct {
    const char *path;
    double     *values;
    int         count;
    EditKind    kind;            /* EDIT_SCALE: values are factors */
} Axis;

typedef struct {
    const Query *query;
    const WhatIf   *edits;           /* made at every point, before the axes' */
    int             edit_count;
    const Axis     *axes;
    int             axis_count;
    int             jobs;            /* threads, at least 1 */
    atomic_bool    *stop;            /* set from outside: finish the points begun; or NULL */
    void          (*progress)(void *context, int64_t points);    /* one thread at a time; or NULL */
    void           *context;
} Sweep;

typedef struct {
    Schedule schedule;
    char    *why;                    /* owned; NULL: possible, and the rest holds */
    int64_t  epoch_ns, step_ns, peak_bytes;
    int64_t  least_ns, most_ns;      /* of an epoch that is an estimate; else the epoch */
    double   speedup;                /* 0: DP is not possible */
    double   utilisation, teacher_work, loads;
    Jitter   jitter;
    uint64_t digest;                 /* of the row's numbers */
} SweepRow;

typedef struct {
    int64_t   points, done;          /* of the grid; the first done are answered */
    int       schedules;             /* rows a point */
    SweepRow *rows;                  /* [points * schedules] */
    uint64_t *digests;               /* [points] of the answers */
    bool     *changed;               /* [points * (edit_count + axis_count)] */
    const char *idle;                /* what sweep_check_effects() found, for reports; borrowed;
                                      * NULL: nothing */
} SweepResult;

/* Points of the grid; -1 when beyond SWEEP_MAX_POINTS. */
int64_t sweep_points(const Sweep *sweep);

/* Value of an axis at a point. */
double sweep_value(const Sweep *sweep, int axis, int64_t point);

/* Fails as query_evaluate() does, with the error of the first point that fails.
 * sweep_free() out. */
int  sweep_run(SweepResult *out, const Sweep *sweep, Error *err);
void sweep_free(SweepResult *result);

/* -1, with the edit or axis named, when one of them leaves every answer as it was.
 * Setting a number to the value that it has is no fault. One that matters to some of several
 * schedules is taken for all: idle gets a line that names the others (of edits, in sweeps of at
 * most SWEEP_IDLE_POINTS points). */
enum { SWEEP_IDLE_POINTS = 64 };
int sweep_check_effects(const Sweep *sweep, const SweepResult *result, Text *idle, Error *err);

/* The same of the edits of one answer; changed as query_evaluate() gave it. */
int sweep_check_edits(const Query *query, const QueryResult *answer, bool *changed, Text *idle,
                      Error *err);

#endif
