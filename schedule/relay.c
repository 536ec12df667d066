/* What the relaying schedules share. A step of a device in a stage:
 *
 *     LOAD rows, or RECV rows from each device of the stage before that holds some
 *     TEACHER first..last
 *     SEND rows to each device of the stage after that needs some
 *     STORE what the stage made, where the plan stores it
 *     for each student of each block: FORWARD, BACKWARD, ALLREDUCE within the stage
 *     [BARRIER over all devices]
 *     UPDATE of the same
 *
 * Rows of the batch are split the same way in every stage's list of devices, so
 * between stages of widths w1 and w2 there are at most w1 + w2 - 1 messages:
 *
 *     stage 0   |0 . . . 127|128 . . 255|        w1 = 2
 *     stage 1   |0 . .85|86 . 170|171 255|       w2 = 3: four messages */
#include <stdlib.h>

#include "base/compare.h"
#include "base/minmax.h"
#include "schedule/program.h"

typedef struct {
    Program     *program;
    const Plan  *plan;
    const Stage *before, *stage, *after;     /* before, after: NULL at the ends */
    int          group;                      /* of the stage; -1 when alone */
    int          everyone;                   /* of the barrier; -1 without one */
} Relay;

/* A message for each device of the other stage that shares rows row..end-1. */
static int emit_messages(const Relay *relay, Op op, const Stage *other, int self, int boundary,
                         int64_t row, int64_t end, Error *err)
{
    Code   *code = &relay->program->devices[self];
    int64_t start = 0;

    for (int i = 0; i < other->width; start += other->rows[i++]) {
        int64_t low = larger(row, start), high = smaller(end, start + other->rows[i]);
        if (low >= high) continue;
        int channel = op == OP_SEND ? program_channel(relay->program, self, other->devices[i], err)
                                    : program_channel(relay->program, other->devices[i], self, err);
        if (channel < 0) return -1;
        Instruction message = {op, boundary, channel, low, high - low, 0};
        if (program_emit(relay->program, code, message, err) != 0) return -1;
    }
    return 0;
}

/* The step of the stage's device i, whose rows begin at row: input, teacher, messages, rows to
 * store, students, updates. */
static int build_device(const Relay *relay, int i, int64_t row, Error *err)
{
    Program     *program = relay->program;
    const Stage *stage = relay->stage;
    int          self = stage->devices[i];
    int64_t      rows = stage->rows[i];
    Code        *code = &program->devices[self];

#define EMIT(op, block, link, student)                                                             \
    if (program_emit(program, code, (Instruction){op, block, link, row, rows, student}, err) != 0) \
    return -1
    if (program_begin_phase(code, program->steps / program->epochs, err) != 0) return -1;
    if (!relay->before) EMIT(OP_LOAD, 0, -1, 0);
    if (relay->before
        && emit_messages(relay, OP_RECV, relay->before, self, stage->first, row, row + rows, err)
               != 0)
        return -1;
    for (int b = stage->first; b <= stage->last; b++) EMIT(OP_TEACHER, b, -1, 0);
    if (relay->after
        && emit_messages(relay, OP_SEND, relay->after, self, stage->last + 1, row, row + rows, err)
               != 0)
        return -1;
    for (int k = relay->before ? stage->first + 1 : 0; relay->plan->stored && k <= stage->last + 1;
         k++)
        if ((k == 0 || k > stage->first) && relay->plan->stored[k] >= 0) EMIT(OP_STORE, k, -1, 0);
    for (int b = stage->first; b <= stage->last; b++)
        for (int j = 0; j < plan_students(relay->plan, b); j++) {
            EMIT(OP_FORWARD, b, -1, j);
            EMIT(OP_BACKWARD, b, -1, j);
            if (relay->group >= 0) EMIT(OP_ALLREDUCE, b, relay->group, j);
        }
    if (relay->everyone >= 0) EMIT(OP_BARRIER, 0, relay->everyone, 0);
    for (int b = stage->first; b <= stage->last; b++)
        for (int j = 0; j < plan_students(relay->plan, b); j++) EMIT(OP_UPDATE, b, -1, j);
#undef EMIT
    return 0;
}

/* All devices of all stages, for the barrier: ascending, whatever the order of the stages, as
 * processes that meet expect. */
static int group_of_everyone(Program *program, const Plan *plan, Error *err)
{
    int devices[PLAN_MAX_DEVICES], count = 0;

    for (int s = 0; s < plan->stage_count; s++)
        for (int i = 0; i < plan->stages[s].width; i++)
            devices[count++] = plan->stages[s].devices[i];
    if (count > 0) qsort(devices, (size_t)count, sizeof *devices, compare_ints);
    return program_group(program, devices, count, err);
}

int build_relay(Program *program, const Plan *plan, bool barrier, Error *err)
{
    Relay relay = {.program = program, .plan = plan, .everyone = -1};

    if (barrier && plan->stage_count > 1) {
        relay.everyone = group_of_everyone(program, plan, err);
        if (relay.everyone < 0) return -1;
    }
    for (int s = 0; s < plan->stage_count; s++) {
        int64_t row = 0;
        relay.stage = &plan->stages[s];
        relay.before = s > 0 ? relay.stage - 1 : NULL;
        relay.after = s + 1 < plan->stage_count ? relay.stage + 1 : NULL;
        relay.group = -1;
        if (relay.stage->width > 1) {
            relay.group = program_group(program, relay.stage->devices, relay.stage->width, err);
            if (relay.group < 0) return -1;
        }
        for (int i = 0; i < relay.stage->width; i++) {
            bool built = !program->built || program->built[relay.stage->devices[i]];
            if (built && build_device(&relay, i, row, err) != 0) return -1;
            row += relay.stage->rows[i];
        }
    }
    return 0;
}
