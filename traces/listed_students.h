/* The students that a workload's block lists, in a trace that is made of the workload. */
#ifndef TRACES_LISTED_STUDENTS_H
#define TRACES_LISTED_STUDENTS_H

#include "traces/trace.h"
#include "workloads/workload.h"

/* Gives block a list of students with the names of work's, which it borrows, and nothing else, in
 * trace's arena; where work lists none, nothing. Its bytes, curves and trace_sum_students() are the
 * caller's. */
int trace_list_students(Trace *trace, TraceBlock *block, const WorkBlock *work, Error *err);

#endif
