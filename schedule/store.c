/* sequential and store: boundaries are stored in the first epoch and fetched in those after it.
 *
 *     turns (sequential: a stage a block):
 *         stage 0, first epoch | LOAD, TEACHER 0, STORE 1, train 0
 *         stage 0, the others  | LOAD, FETCH 1, train 0
 *         stage 1, first epoch | FETCH 1, TEACHER 1, STORE 2, train 1
 *         stage 1, the others  | FETCH 1, FETCH 2, train 1
 *         ...
 *     without: the relaying program (schedule/relay.c) with STOREs, and then on each device its
 *     stages of later, as "the others" above.
 *
 * A phase needs boundaries first to last + 1 of its stage. Those that are not there it computes
 * from the nearest stored boundary at or below first, or from the input:
 *
 *     stored: 2, 5; blocks 3 to 5: FETCH 2, FETCH 5, TEACHER 2 (makes 3), 3 (makes 4), 5 (makes 6)
 *
 * Weights come with the phase that uses them and go with the last that trains them (ONLOAD,
 * OFFLOAD), but for those of the relaying epoch, which are there before the run. */
#include <stdlib.h>

#include "schedule/program.h"

/* A phase to be, of one device. */
typedef struct {
    const Stage *stage;
    int          place;          /* of the device in the stage */
    int          number, group;
    bool         first_epoch;
    bool         relays;         /* built by build_relay() */
    int          from;           /* the boundary it starts with */
} StorePhase;

typedef struct {
    Program    *program;
    const Plan *plan;
    StorePhase *phases;          /* of the device that is built */
    int         count;
} StoreBuild;

static bool is_stored(const StoreBuild *b, int boundary) { return b->plan->stored[boundary] >= 0; }

/* The nearest stored boundary at or below block; the input where there is none. */
static int start_of(const StoreBuild *b, int block)
{
    while (block > 0 && !is_stored(b, block)) block--;
    return block;
}

/* Whether the phase fetches a boundary that it needs: it was stored by an earlier phase. */
static bool fetches(const StoreBuild *b, const StorePhase *p, int boundary)
{
    if (p->relays || boundary < p->from || boundary > p->stage->last + 1 || !is_stored(b, boundary))
        return false;
    if (!p->first_epoch) return true;
    return boundary <= p->stage->first && !(boundary == 0 && p->stage->first == 0);
}

static bool runs_teacher(const StoreBuild *b, const StorePhase *p, int block)
{
    return block >= p->from && block <= p->stage->last && !fetches(b, p, block + 1);
}

static bool trains(const StorePhase *p, int block)
{
    return block >= p->stage->first && block <= p->stage->last;
}

/* ---- a phase ------------------------------------------------------------------------ */

static int emit_weights(const StoreBuild *b, Code *code, int at, Op op, Error *err)
{
    const StorePhase *p = &b->phases[at], *before = at > 0 ? p - 1 : NULL,
                     *after = at + 1 < b->count ? p + 1 : NULL;

    for (int block = op == OP_ONLOAD ? p->from : p->stage->first; block <= p->stage->last;
         block++) {
        bool moves;
        if (op == OP_ONLOAD)
            moves = (runs_teacher(b, p, block) && !(before && runs_teacher(b, before, block)))
                    || (trains(p, block) && !(before && trains(before, block)));
        else
            moves = after ? !trains(after, block)
                          : !(b->phases[0].relays && trains(&b->phases[0], block));
        if (moves
            && program_emit(b->program, code, (Instruction){op, block, -1, 0, 0, 0}, err) != 0)
            return -1;
    }
    return 0;
}

#define EMIT(op, block, link, student)                                                          \
    if (program_emit(b->program, code, (Instruction){op, block, link, row, rows, student}, err) \
        != 0)                                                                                   \
    return -1

static int emit_students(const StoreBuild *b, const StorePhase *p, Code *code, int64_t row,
                         Error *err)
{
    int64_t rows = p->stage->rows[p->place];

    for (int block = p->stage->first; block <= p->stage->last; block++)
        for (int j = 0; j < plan_students(b->plan, block); j++) {
            EMIT(OP_FORWARD, block, -1, j);
            EMIT(OP_BACKWARD, block, -1, j);
            if (p->group >= 0) EMIT(OP_ALLREDUCE, block, p->group, j);
        }
    for (int block = p->stage->first; block <= p->stage->last; block++)
        for (int j = 0; j < plan_students(b->plan, block); j++) EMIT(OP_UPDATE, block, -1, j);
    return 0;
}

static int emit_step(const StoreBuild *b, const StorePhase *p, Code *code, Error *err)
{
    int64_t row = 0, rows = p->stage->rows[p->place];
    int     end = p->stage->last + 1;

    for (int i = 0; i < p->place; i++) row += p->stage->rows[i];
    if (p->from == 0 && !fetches(b, p, 0)) EMIT(OP_LOAD, 0, -1, 0);
    for (int k = p->from; k <= end; k++)
        if (fetches(b, p, k)) EMIT(OP_FETCH, k, -1, 0);
    for (int block = p->from; block < end; block++)
        if (runs_teacher(b, p, block)) EMIT(OP_TEACHER, block, -1, 0);
    for (int k = p->from; p->first_epoch && k <= end; k++)
        if (is_stored(b, k) && !fetches(b, p, k)) EMIT(OP_STORE, k, -1, 0);
    return emit_students(b, p, code, row, err);
}

#undef EMIT

static int build_phase(const StoreBuild *b, Code *code, int at, Error *err)
{
    const StorePhase *p = &b->phases[at];
    int64_t           epoch = b->program->steps / b->program->epochs;

    /* behind what build_relay() made */
    if (p->relays) return emit_weights(b, code, at, OP_OFFLOAD, err);
    if (program_begin_phase(code, p->first_epoch ? epoch : b->program->steps - epoch, err) != 0)
        return -1;
    Phase *phase = &code->phases[code->phase_count - 1];
    phase->first_step = p->first_epoch ? 0 : epoch;
    phase->number = p->number;
    if (emit_weights(b, code, at, OP_ONLOAD, err) != 0 || emit_step(b, p, code, err) != 0)
        return -1;
    return emit_weights(b, code, at, OP_OFFLOAD, err);
}

/* ---- all ---------------------------------------------------------------------------- */

static int place_of(const Stage *stage, int device)
{
    for (int i = 0; i < stage->width; i++)
        if (stage->devices[i] == device) return i;
    return -1;
}

/* Adds a phase of the device in a stage; nothing where it has no part. */
static void add(StoreBuild *b, const Stage *stage, int device, int number, int group,
                bool first_epoch, bool relays)
{
    int place = place_of(stage, device);

    if (place < 0) return;
    b->phases[b->count++] = (StorePhase){stage, place, number, group, first_epoch, relays,
                                         relays ? stage->first : start_of(b, stage->first)};
}

static int build_device(StoreBuild *b, int device, const int *stage_groups, const int *later_groups,
                        Error *err)
{
    const Plan *plan = b->plan;

    b->count = 0;
    for (int s = 0; s < plan->stage_count; s++) {
        add(b, &plan->stages[s], device, 2 * s, stage_groups[s], true, !plan->turns);
        if (plan->turns && plan->epochs > 1)
            add(b, &plan->stages[s], device, 2 * s + 1, stage_groups[s], false, false);
    }
    for (int i = 0; i < plan->later_count; i++)
        add(b, &plan->later[i], device, 1 + i, later_groups[i], false, false);
    for (int i = 0; i < b->count; i++)
        if (build_phase(b, &b->program->devices[device], i, err) != 0) return -1;
    return 0;
}

/* A group for each stage of several devices; -1 else. groups: [count] */
static int make_groups(int *groups, Program *program, const Stage *stages, int count, Error *err)
{
    for (int i = 0; i < count; i++) {
        groups[i] = -1;
        if (stages[i].width < 2) continue;
        groups[i] = program_group(program, stages[i].devices, stages[i].width, err);
        if (groups[i] < 0) return -1;
    }
    return 0;
}

int build_store(Program *program, const Plan *plan, Error *err)
{
    StoreBuild b = {.program = program, .plan = plan};
    int        most = 2 * plan->stage_count + plan->later_count + 1, rc = -1;
    int       *groups = calloc((size_t)(plan->stage_count + plan->later_count) + 1, sizeof *groups);

    b.phases = calloc((size_t)most, sizeof *b.phases);
    if (!groups || !b.phases) { error_no_memory(err); goto done; }
    if (!plan->turns && build_relay(program, plan, false, err) != 0) goto done;
    if (plan->turns && make_groups(groups, program, plan->stages, plan->stage_count, err) != 0)
        goto done;
    if (make_groups(groups + plan->stage_count, program, plan->later, plan->later_count, err) != 0)
        goto done;
    for (int d = 0; d < plan->device_count; d++)
        if (build_device(&b, d, groups, groups + plan->stage_count, err) != 0) goto done;
    rc = 0;
done:
    free(groups);
    free(b.phases);
    return rc;
}

int build_sequential(Program *program, const Plan *plan, Error *err)
{
    return build_store(program, plan, err);
}
