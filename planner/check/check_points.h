/* Inside the checker: what the trace's points say about one piece of work, one message, one
 * all-reduce, one load. Times are added to *sum; -1 with an error that names the owner when
 * the trace does not say. */
#ifndef PLANNER_CHECK_CHECK_POINTS_H
#define PLANNER_CHECK_CHECK_POINTS_H

#include "planner/check/check.h"

typedef struct {
    const Plan     *plan;
    const Scenario *scenario;
    const Trace    *trace;
    Error          *err;
    const char     *owner;       /* "stage", "task", "device": what owner numbers */
} Check;

int  check_students(const TraceBlock *block);
int  check_work(const Check *check, int owner, Work work, int block, int student, int device, int64_t rows, int64_t *sum);

/* One student's gradients within a group; 0 for a device alone. */
int  check_reduce(const Check *check, int owner, const Stage *group, int block, int student, int64_t *sum);

/* Rows of a boundary, *ns. */
int  check_message(const Check *check, int owner, int boundary, int from, int to, int64_t rows, int64_t *ns);

bool check_across(const Check *check, int a, int b);         /* on two machines */
bool check_spans(const Check *check, const Stage *stage);    /* its devices are */

int64_t check_load(const Check *check, int64_t rows);

/* What loading adds up to for one of width devices that load at the same time; together no
 * more than with equal shares. */
int64_t check_load_share(const Check *check, int64_t rows, int width);

/* check_plan() for split, once sizes, stages and students are checked: fills out->devices
 * and the bottleneck. */
int  check_split(CheckedPlan *out, Check *check);

#endif
