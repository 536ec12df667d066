/* LS: every block is a task for one device, with the whole batch and no messages.
 *
 *     task b:  LOAD B | TEACHER 0..b | FORWARD b | BACKWARD b | UPDATE b
 *
 * A device runs its tasks one after another, a phase each; with stealing the tasks
 * wait in the shared queue. */
#include "schedule/program.h"

static int build_task(Program *program, Code *code, int b, Error *err)
{
    int64_t rows = program->batch;

#define EMIT(op, block) \
    if (program_emit(program, code, (Instruction){op, block, -1, 0, rows}, err) != 0) return -1
    if (program_begin_phase(code, program->steps, err) != 0) return -1;
    EMIT(OP_LOAD, 0);
    for (int t = 0; t <= b; t++) EMIT(OP_TEACHER, t);
    EMIT(OP_FORWARD, b);
    EMIT(OP_BACKWARD, b);
    EMIT(OP_UPDATE, b);
#undef EMIT
    return 0;
}

int build_ls(Program *program, const Plan *plan, Error *err)
{
    for (int s = 0; s < plan->stage_count; s++) {
        const Stage *stage = &plan->stages[s];
        Code        *code = plan->stealing ? &program->queue : &program->devices[stage->devices[0]];
        if (build_task(program, code, stage->first, err) != 0) return -1;
    }
    return 0;
}
