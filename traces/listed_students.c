#include "traces/listed_students.h"

int trace_list_students(Trace *trace, TraceBlock *block, const WorkBlock *work, Error *err)
{
    block->students = NULL;
    block->student_count = 0;
    if (!work->students) return 0;
    block->students =
        arena_alloc(&trace->arena, (size_t)work->student_count, sizeof *block->students);
    if (!block->students) return error_no_memory(err);
    block->student_count = work->student_count;
    for (int j = 0; j < work->student_count; j++)
        block->students[j] = (TraceStudent){.name = work->students[j].name};
    return 0;
}
