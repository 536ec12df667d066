/* DP: block after block, each on all devices, the teacher from the input every time.
 *
 *     phase b, every device of w:  LOAD B/w | TEACHER 0..b | FORWARD b | BACKWARD b |
 *                                  ALLREDUCE b | UPDATE b
 *
 * A block's students share its phase: one teacher pass for all, then FORWARD, BACKWARD and
 * ALLREDUCE of one after another, then their UPDATEs. */
#include "schedule/program.h"

/* The phase of the stage's block on its i-th device, which has rows row, row + 1, ... */
static int build_device(Program *program, const Stage *stage, int students, int group, int i,
                        int64_t row, Error *err)
{
    Code   *code = &program->devices[stage->devices[i]];
    int     b = stage->first;
    int64_t rows = stage->rows[i];

#define EMIT(op, block, link, student)                                                             \
    if (program_emit(program, code, (Instruction){op, block, link, row, rows, student}, err) != 0) \
    return -1
    if (program_begin_phase(code, program->steps, err) != 0
        || (code->code_count == 0 && program_reserve(code, 2 + b + 4 * students, err) != 0))
        return -1;
    EMIT(OP_LOAD, 0, -1, 0);
    for (int t = 0; t <= b; t++) EMIT(OP_TEACHER, t, -1, 0);
    for (int j = 0; j < students; j++) {
        EMIT(OP_FORWARD, b, -1, j);
        EMIT(OP_BACKWARD, b, -1, j);
        if (stage->width > 1) EMIT(OP_ALLREDUCE, b, group, j);
    }
    for (int j = 0; j < students; j++) EMIT(OP_UPDATE, b, -1, j);
#undef EMIT
    return 0;
}

int build_dp(Program *program, const Plan *plan, Error *err)
{
    int group = program_group(program, plan->stages[0].devices, plan->stages[0].width, err);

    if (group < 0) return -1;
    for (int s = 0; s < plan->stage_count; s++) {
        int64_t row = 0;
        for (int i = 0; i < plan->stages[s].width; i++) {
            const Stage *stage = &plan->stages[s];
            bool         built = !program->built || program->built[stage->devices[i]];
            if (built
                && build_device(program, stage, plan_students(plan, stage->first), group, i, row,
                                err)
                       != 0)
                return -1;
            row += stage->rows[i];
        }
    }
    return 0;
}
