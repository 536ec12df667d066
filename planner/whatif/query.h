/* A query to the simulator: a trace on a cluster, with what-if edits, under
 * schedules that the planner searches anew or under one given plan. */
#ifndef PLANNER_WHATIF_QUERY_H
#define PLANNER_WHATIF_QUERY_H

#include "planner/compare.h"
#include "planner/whatif/whatif.h"

typedef struct {
    const char     *trace_name, *trace_text;     /* a trace's file; the name is for messages */
    size_t          trace_length;
    const char     *plan_name, *plan_text;       /* a plan's file; NULL: search */
    size_t          plan_length;
    CompareOptions  search;                      /* and the schedules asked for */
    ScenarioOptions scenario;
    int             jitter_runs;                 /* 0: none */
    uint64_t        seed;
} Query;

/* Epochs with durations drawn from the trace's spread. */
typedef struct {
    int    runs;
    double median_s, p5_s, p95_s;
} Jitter;

typedef struct {
    Trace     *trace;
    Scenario   scenario;
    Comparison comparison;   /* rows of the schedules asked for; best is among them */
    unsigned   schedules;    /* bits: asked for */
    Jitter     jitter[SCHEDULE_COUNT];
    int        over;         /* what speedups are over: dp on the same costs; where it is not
                              * possible sequential; where that is not the slowest of several; -1:
                              * nothing */
    int64_t    over_epoch_ns;            /* of it; 0: nothing */
    bool       other_trace;  /* the plan was made for another */
    const WhatIf *edits;     /* [edit_count], borrowed: what was asked to be otherwise */
    int        edit_count;
    uint64_t   digest;       /* of all numbers: equal for answers that are the same */
    uint64_t   row_digests[SCHEDULE_COUNT];      /* of a schedule's own numbers; 0: not asked for */
} QueryResult;

/* Applies edits in their order. changed[i] (NULL: not wanted): edit i gave a number
 * another value. What cannot be scheduled becomes a row with a why; -1 is for a
 * malformed trace or plan, an edit that cannot be made, or no memory. query_result_free(). */
int  query_evaluate(QueryResult *out, const Query *query, const WhatIf *edits, int edit_count,
                  bool *changed, Error *err);
void query_result_free(QueryResult *answer);

/* Over a->over; 0 when there is no such number. */
double query_result_speedup(const QueryResult *answer, Schedule schedule);

/* The first steps steps of an epoch (two, where it stores for several) of a possible schedule's row
 * as a timeline (schedule/timeline.h). */
int query_result_timeline(const QueryResult *answer, Schedule schedule, int64_t steps, Text *out,
                          Error *err);

#endif
