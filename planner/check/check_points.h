/* Inside the checker: what the trace's points say about one piece of work, one message, one
 * all-reduce, one load. Times are added to *sum; -1 with an error that names the owner when
 * the trace does not say. */
#ifndef PLANNER_CHECK_CHECK_POINTS_H
#define PLANNER_CHECK_CHECK_POINTS_H

#include "planner/check/checked.h"
#include "schedule/plan.h"
#include "traces/scenario.h"

typedef struct {
    const Plan     *plan;
    const Scenario *scenario;
    const Trace    *trace;
    Error          *err;
    const char     *owner;       /* "stage", "task", "device", "phase": what owner numbers */
    bool            alone;       /* a step trains one block, as all do in dp and ls */
} Check;

/* Students of a block; the time of one piece of work with rows samples on device. */
int  check_students(const TraceBlock *block);
int  check_work(const Check *check, int owner, Work work, int block, int student, int device,
                int64_t rows, int64_t *sum);

/* One student's gradients within a group; 0 for a device alone. */
int check_reduce(const Check *check, int owner, const Stage *group, int block, int student,
                 int64_t *sum);

/* Rows of a boundary, *ns. */
int check_message(const Check *check, int owner, int boundary, int from, int to, int64_t rows,
                  int64_t *ns);

bool check_across(const Check *check, int a, int b);         /* on two machines */
bool check_spans(const Check *check, const Stage *stage);    /* its devices are */

/* What the loader takes for so many rows, ns; 0 when the trace has none. */
int64_t check_load(const Check *check, int64_t rows);

/* loads: [width] what loading is in a step of each of a stage's devices, which ask at the same
 * time; so many devices load. Loading for themselves, they take turns at the lanes, in order: until
 * each has its own.
 * With lanes that load ahead: a step's time of them, its own and an even part of all. */
int     check_loads(const Check *check, const Stage *stage, int devices, int64_t *loads);

/* Bytes at the peak of a step; phase: of dp or ls, the teacher from the input. */
int64_t check_memory(const Check *check, int first, int last, int64_t rows, bool phase);

/* Whether a stage's rows, at least 1 on each of its devices, are the batch together; kind: what
 * index numbers. seen: [devices], 0 before a kind's first call. */
int check_rows(const Check *check, const char *kind, int index, const Stage *stage, int *seen);

/* Takes device i's part of a stage or phase into *stage: the slowest, the nearest to its limit.
 * -1: it has too little memory. */
int check_add_part(const Check *check, CheckedStage *stage, int index, int i,
                   const CheckedPart *part);

/* check_plan() for tr, dpu, ir and ahd, once sizes and stages are checked: fills out->stages and
 * the bottleneck. */
int  check_chain(CheckedPlan *out, Check *check);

/* check_plan() for split, once sizes, stages and students are checked: fills out->devices
 * and the bottleneck. */
int  check_split(CheckedPlan *out, Check *check);

#endif
