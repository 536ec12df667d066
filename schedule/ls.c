/* LS: every block is a task for one device, with the whole batch and no messages.
 *
 *     task b:  LOAD B | TEACHER 0..b | FORWARD b | BACKWARD b | UPDATE b
 *
 * A device runs its tasks one after another, a phase each; with stealing the tasks
 * wait in the shared queue. A block's students are one task: they share its teacher
 * pass. */
#include "schedule/program.h"

static int build_task(Program *program, Code *code, int b, int students, Error *err)
{
    int64_t rows = program->batch;

#define EMIT(op, block, student)                                                               \
    if (program_emit(program, code, (Instruction){op, block, -1, 0, rows, student}, err) != 0) \
    return -1
    if (program_begin_phase(code, program->steps, err) != 0) return -1;
    EMIT(OP_LOAD, 0, 0);
    for (int t = 0; t <= b; t++) EMIT(OP_TEACHER, t, 0);
    for (int j = 0; j < students; j++) {
        EMIT(OP_FORWARD, b, j);
        EMIT(OP_BACKWARD, b, j);
    }
    for (int j = 0; j < students; j++) EMIT(OP_UPDATE, b, j);
#undef EMIT
    return 0;
}

int build_ls(Program *program, const Plan *plan, Error *err)
{
    for (int s = 0; s < plan->stage_count; s++) {
        const Stage *stage = &plan->stages[s];
        Code        *code = plan->stealing ? &program->queue : &program->devices[stage->devices[0]];
        if (build_task(program, code, stage->first, plan_students(plan, stage->first), err) != 0)
            return -1;
    }
    return 0;
}
