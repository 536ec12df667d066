#include "schedule/verify.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

typedef struct { int64_t row, rows; } RowRange;

/* One use of a student: who trains which rows of it, in which group. */
typedef struct {
    int     student;         /* among those of all blocks */
    int     block, device, group;
    int64_t row, rows;
    int64_t first_step, steps;
} Use;

typedef struct {
    const Program *program;
    RowRange *held;             /* [blocks + 1]: rows of each boundary on this device */
    RowRange *forward, *trained;/* [students]: rows of FORWARD, of BACKWARD, this phase */
    char  *reduced, *updated;/* [students] */
    char  *stored, *fetched; /* [blocks + 1] this phase */
    char  *onloaded, *offloaded;                     /* [blocks] this phase */
    char  *runs, *ran, *trains, *trained_before;     /* [blocks]: TEACHER, and FORWARD, of this
                                                      * phase and the one before */
    int   *first_fetch;      /* [blocks + 1] the least number of a phase that fetches the boundary;
                              * INT_MAX: none */
    Use   *stores;           /* one a STORE; student is its boundary */
    int    store_count, store_capacity;
    const Phase *phase;      /* this one */
    bool   moves;            /* its device moves weights */
    Use   *uses;             /* one a device, phase and student */
    int    use_count, use_capacity;
    Error *err;
} Verifier;

/* Where an instruction stands, for messages. device -1: the shared queue. */
typedef struct {
    int device, phase, index;
    const Instruction *in;
} ProgramPlace;

static int refuse(const Verifier *v, const ProgramPlace *at, const char *why)
{
    char text[160], who[32];

    if (at->device < 0) snprintf(who, sizeof who, "shared queue");
    else                snprintf(who, sizeof who, "device %d", at->device);
    return error_set(v->err, "%s, phase %d, instruction %d (%s): %s", who, at->phase, at->index,
                     instruction_text(v->program, at->in, text, sizeof text), why);
}

static bool covers(RowRange have, RowRange need)
{
    return have.rows > 0 && have.row <= need.row && need.row + need.rows <= have.row + have.rows;
}

/* ---- rules 1 and 2: one device's phase ----------------------------------- */

static bool in_group(const Group *group, int device)
{
    for (int i = 0; i < group->count; i++)
        if (group->devices[i] == device) return true;
    return false;
}

/* Refuses what names a block, student, group, channel or rows that are not there, or an end of a
 * channel that is not the device's. */
static int check_links(const Verifier *v, const ProgramPlace *at)
{
    const Program     *p = v->program;
    const Instruction *in = at->in;
    bool boundary, trains;

    if ((unsigned)in->op >= OP_COUNT)
        return error_set(v->err, "device %d: unknown instruction", at->device);
    boundary = op_has_boundary(in->op);
    trains = op_trains(in->op);
    if (in->block < 0 || in->block >= p->block_count + boundary)
        return refuse(v, at, "no such block");
    if (in->student < 0 || in->student >= (trains ? program_students(p, in->block) : 1))
        return refuse(v, at, "no such student");
    if (in->op == OP_BARRIER || in->op == OP_ALLREDUCE) {
        if (in->link < 0 || in->link >= p->group_count) return refuse(v, at, "no such group");
        if (!in_group(&p->groups[in->link], at->device))
            return refuse(v, at, "the device is not in the group");
    }
    if (in->op == OP_BARRIER || in->op == OP_ONLOAD || in->op == OP_OFFLOAD) return 0;
    if (in->row < 0 || in->rows < 1 || in->rows > p->batch - in->row)
        return refuse(v, at, "rows outside the batch");
    if (in->op != OP_RECV && in->op != OP_SEND) return 0;
    if (in->link < 0 || in->link >= p->channel_count) return refuse(v, at, "no such channel");
    const Channel *c = &p->channels[in->link];
    if ((in->op == OP_SEND ? c->from : c->to) != at->device || c->from == c->to)
        return refuse(v, at, "the device is not at this end of the channel");
    return 0;
}

/* Adds rows of a boundary to what the device holds. */
static int gain(const Verifier *v, const ProgramPlace *at, int boundary, RowRange got)
{
    RowRange *have = &v->held[boundary];

    if (have->rows == 0) { *have = got; return 0; }
    if (got.row != have->row + have->rows)
        return refuse(v, at, "rows of this boundary do not follow those the device holds");
    have->rows += got.rows;
    return 0;
}

static int add_use(Verifier *v, const ProgramPlace *at, RowRange rows)
{
    if (!array_has_room(v->uses, v->use_count, v->use_capacity)) return error_no_memory(v->err);
    v->uses[v->use_count++] = (Use){program_student(v->program, at->in->block, at->in->student),
                                    at->in->block,
                                    at->device,
                                    -1,
                                    rows.row,
                                    rows.rows,
                                    v->phase->first_step,
                                    v->phase->steps};
    return 0;
}

/* FORWARD, BACKWARD, ALLREDUCE and UPDATE of a student come once each, in this order, on rows that
 * are on the device. */
static int check_student(Verifier *v, const ProgramPlace *at)
{
    const Instruction *in = at->in;
    RowRange need = {in->row, in->rows};
    int   b = in->block, k = program_student(v->program, b, in->student);

    switch (in->op) {
    case OP_FORWARD:
        if (v->forward[k].rows) return refuse(v, at, "a second FORWARD of the block in one step");
        if (!covers(v->held[b], need)) return refuse(v, at, "its input rows are not on the device");
        v->forward[k] = need;
        return 0;
    case OP_BACKWARD:
        if (memcmp(&v->forward[k], &need, sizeof need) != 0)
            return refuse(v, at, "no FORWARD of these rows before it");
        if (v->trained[k].rows) return refuse(v, at, "a second BACKWARD of the block in one step");
        if (!covers(v->held[b + 1], need))
            return refuse(v, at, "the teacher's output rows are not on the device");
        v->trained[k] = need;
        return add_use(v, at, need);
    case OP_ALLREDUCE:
        if (!v->trained[k].rows || v->reduced[k])
            return refuse(v, at, "no BACKWARD of the block before it");
        if (v->updated[k]) return refuse(v, at, "the block's UPDATE is before it");
        v->reduced[k] = 1;
        for (int i = v->use_count - 1; i >= 0; i--)
            if (v->uses[i].student == k && v->uses[i].device == at->device) {
                v->uses[i].group = in->link;
                break;
            }
        return 0;
    default:
        if (!v->trained[k].rows) return refuse(v, at, "no BACKWARD of the block before it");
        if (v->updated[k]) return refuse(v, at, "a second UPDATE of the block in one step");
        v->updated[k] = 1;
        return 0;
    }
}

/* ---- rules 7 and 8: the store ------------------------------------------------ */

/* Whether the phase does the steps of the first epoch, or those after it. */
static bool is_first_epoch(const Program *p, const Phase *phase)
{
    return phase->first_step == 0 && phase->steps == p->steps / p->epochs;
}

/* STORE and FETCH: each boundary once a step, only with a tier, and STORE in the first epoch alone,
 * of rows that are here. Every STORE is kept, so that all of them together can be compared with the
 * batch later; a FETCH puts its rows on the device. */
static int check_stored(Verifier *v, const ProgramPlace *at)
{
    const Instruction *in = at->in;
    RowRange rows = {in->row, in->rows};
    char    *seen = in->op == OP_STORE ? v->stored : v->fetched;

    if (v->program->tier[in->block] < 0) return refuse(v, at, "the boundary has no tier");
    if (seen[in->block]++) return refuse(v, at, "a second one of the boundary in one step");
    if (in->op == OP_FETCH) {
        if (v->phase->number < v->first_fetch[in->block])
            v->first_fetch[in->block] = v->phase->number;
        return gain(v, at, in->block, rows);
    }
    if (!covers(v->held[in->block], rows)) return refuse(v, at, "these rows are not on the device");
    if (!is_first_epoch(v->program, v->phase))
        return refuse(v, at, "the phase does other steps than the first epoch's");
    if (!array_has_room(v->stores, v->store_count, v->store_capacity))
        return error_no_memory(v->err);
    v->stores[v->store_count++] = (Use){.student = in->block, .device = at->device,
                                        .group = v->phase->number, .row = in->row,
                                        .rows = in->rows};
    return 0;
}

static int check_moved(Verifier *v, const ProgramPlace *at)
{
    int b = at->in->block;

    if (v->program->home < 0) return refuse(v, at, "no tier keeps the weights of blocks");
    if (at->in->op == OP_ONLOAD) {
        if (at->index > 0 && at->in[-1].op != OP_ONLOAD)
            return refuse(v, at, "expected it before all else in its phase");
        if (v->onloaded[b]++) return refuse(v, at, "a second one of the block in its phase");
        return 0;
    }
    if (v->offloaded[b]++) return refuse(v, at, "a second one of the block in its phase");
    return v->trains[b] ? 0 : refuse(v, at, "no student of the block is trained in its phase");
}

static bool phase_trains(const Code *code, int phase, int block)
{
    for (int i = 0; i < code->phases[phase].count; i++) {
        const Instruction *in = &code->code[code->phases[phase].first + i];
        if (in->op == OP_FORWARD && in->block == block) return true;
    }
    return false;
}

/* A phase of a device that moves weights: what it uses is there, and what leaves was taken back. */
static int check_weights(const Verifier *v, const Code *code, int device, int phase)
{
    bool placed = phase == 0 && v->phase->first_step == 0;      /* before the run */

    for (int b = 0; b < v->program->block_count; b++) {
        bool lacks =
            !placed && ((v->runs[b] && !v->ran[b]) || (v->trains[b] && !v->trained_before[b]));
        if (lacks && !v->onloaded[b])
            return error_set(
                v->err, "device %d, phase %d: block %d is not on the device, expected an ONLOAD",
                device, phase, b);
        if (v->onloaded[b] && !lacks && !(placed && (v->runs[b] || v->trains[b])))
            return error_set(
                v->err,
                "device %d, phase %d: ONLOAD of block %d brings nothing that the phase lacks",
                device, phase, b);
        if (!v->trains[b] || phase + 1 == code->phase_count) continue;
        bool again = phase_trains(code, phase + 1, b);
        if (again == (v->offloaded[b] != 0))
            return error_set(
                v->err, "device %d, phase %d: block %d is %s, expected %s OFFLOAD", device, phase,
                b, again ? "trained in the next phase too" : "not trained in the next phase",
                again ? "no" : "an");
    }
    return 0;
}

static bool moves_weights(const Code *code)
{
    for (int i = 0; i < code->code_count; i++)
        if (code->code[i].op == OP_ONLOAD || code->code[i].op == OP_OFFLOAD) return true;
    return false;
}

/* Refuses an instruction that the device cannot do at this place of its step, and notes what it
 * changes. */
static int check_instruction(Verifier *v, const ProgramPlace *at)
{
    const Instruction *in = at->in;
    RowRange rows = {in->row, in->rows};

    if (check_links(v, at) != 0) return -1;
    if (in->op == OP_TEACHER) v->runs[in->block] = 1;
    if (in->op == OP_FORWARD) v->trains[in->block] = 1;
    switch (in->op) {
    case OP_LOAD:
        if (in->block != 0) return refuse(v, at, "only boundary 0 can be loaded");
        return gain(v, at, 0, rows);
    case OP_RECV:
        return gain(v, at, in->block, rows);
    case OP_SEND:
        return covers(v->held[in->block], rows) ? 0
                                                : refuse(v, at, "these rows are not on the device");
    case OP_TEACHER:
        if (!covers(v->held[in->block], rows))
            return refuse(v, at, "its input rows are not on the device");
        return gain(v, at, in->block + 1, rows);
    case OP_BARRIER:
        return 0;
    case OP_STORE:
    case OP_FETCH:
        return check_stored(v, at);
    case OP_ONLOAD:
    case OP_OFFLOAD:
        return check_moved(v, at);
    default:
        if (v->offloaded[in->block]) return refuse(v, at, "the block's OFFLOAD is before it");
        return check_student(v, at);
    }
}

/* "block 3", or "student 1 of block 3" where blocks have several; returns name. */
static const char *student_name(const Program *p, int k, char name[64])
{
    int b = 0;

    while (p->first_student[b + 1] <= k) b++;
    if (program_student_count(p) == p->block_count) snprintf(name, 64, "block %d", b);
    else snprintf(name, 64, "student %d of block %d", k - p->first_student[b], b);
    return name;
}

/* Steps of the whole run; or, where it has epochs apart, of the first or of the others. */
static int check_steps(const Verifier *v, const Code *code, int device, int phase)
{
    const Program *p = v->program;
    const Phase   *at = &code->phases[phase];
    int64_t        epoch = p->steps / p->epochs;
    bool           whole = at->first_step == 0 && at->steps == p->steps;
    bool           rest = p->epochs > 1 && at->first_step == epoch && at->steps == p->steps - epoch;

    if (phase > 0 && at->number <= code->phases[phase - 1].number)
        return error_set(v->err,
                         "device %d, phase %d: number %d, expected more than the one before",
                         device, phase, at->number);
    if (whole || rest || is_first_epoch(p, at)) return 0;
    if (p->epochs == 1)
        return error_set(v->err,
                         "device %d, phase %d: %" PRId64 " steps, expected the program's %" PRId64,
                         device, phase, at->steps, p->steps);
    return error_set(v->err,
                     "device %d, phase %d: %" PRId64 " steps from step %" PRId64
                     " on, expected all %" PRId64 ", the first epoch's %" PRId64
                     ", or those after them",
                     device, phase, at->steps, at->first_step, p->steps, epoch);
}

/* Forgets the phase before; what it ran stays known. */
static void begin_phase(Verifier *v, const Phase *phase, bool first)
{
    size_t blocks = (size_t)v->program->block_count,
           students = (size_t)program_student_count(v->program);

    v->phase = phase;
    memset(v->held, 0, (blocks + 1) * sizeof *v->held);
    memset(v->forward, 0, students * sizeof *v->forward);
    memset(v->trained, 0, students * sizeof *v->trained);
    memset(v->reduced, 0, students);
    memset(v->updated, 0, students);
    memset(v->stored, 0, blocks + 1);
    memset(v->fetched, 0, blocks + 1);
    memset(v->onloaded, 0, blocks);
    memset(v->offloaded, 0, blocks);
    if (!first) { memcpy(v->ran, v->runs, blocks); memcpy(v->trained_before, v->trains, blocks); }
    else        { memset(v->ran, 0, blocks); memset(v->trained_before, 0, blocks); }
    memset(v->runs, 0, blocks);
    memset(v->trains, 0, blocks);
}

/* A phase of a device, or of the shared queue (device -1): its instructions one after another, at
 * most one LOAD, every student that is trained updated. */
static int check_phase(Verifier *v, const Code *code, int device, int phase)
{
    const Phase *p = &code->phases[phase];
    size_t       students = (size_t)program_student_count(v->program);
    int          loads = 0;
    char         name[64];

    if (p->count < 1 || p->first < 0 || p->first + p->count > code->code_count)
        return error_set(v->err, "device %d, phase %d: no instructions", device, phase);
    if (check_steps(v, code, device, phase) != 0) return -1;
    begin_phase(v, p, phase == 0);
    for (int i = 0; i < p->count; i++) {
        ProgramPlace at = {device, phase, i, &code->code[p->first + i]};
        bool  linked = at.in->link >= 0;
        if (device < 0 && linked)
            return refuse(v, &at, "a phase in the shared queue cannot use links");
        if (device < 0 && op_stores(at.in->op))
            return refuse(v, &at, "a phase in the shared queue cannot use the store");
        if (check_instruction(v, &at) != 0) return -1;
        loads += at.in->op == OP_LOAD;
        if (loads > 1) return refuse(v, &at, "a second LOAD in one step");
    }
    for (size_t k = 0; k < students; k++)
        if ((v->forward[k].rows || v->trained[k].rows) && !v->updated[k])
            return error_set(v->err, "device %d, phase %d: %s is trained but not updated", device,
                             phase, student_name(v->program, (int)k, name));
    return v->moves ? check_weights(v, code, device, phase) : 0;
}

/* ---- rules 3 and 5: students over all devices ------------------------------ */

static int by_student_and_row(const void *a, const void *b)
{
    const Use *x = a, *y = b;

    if (x->student != y->student) return x->student < y->student ? -1 : 1;
    if (x->first_step != y->first_step) return x->first_step < y->first_step ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* The uses of one student in the same steps: they tile the batch, and all-reduce among
 * themselves. */
static int check_uses(const Verifier *v, const Use *uses, int count)
{
    int64_t     next = 0;
    char        buffer[64];
    const char *name = student_name(v->program, uses[0].student, buffer);

    for (int i = 0; i < count; i++) {
        if (uses[i].row != next)
            return error_set(v->err,
                             "%s, device %d: trains from row %" PRId64 ", expected %" PRId64
                             ": every row exactly once a step",
                             name, uses[i].device, uses[i].row, next);
        next += uses[i].rows;
        if (count == 1 && uses[i].group < 0) continue;
        if (uses[i].group < 0)
            return error_set(v->err,
                             "%s, device %d: no ALLREDUCE with the block's %d other replicas", name,
                             uses[i].device, count - 1);
        const Group *group = &v->program->groups[uses[i].group];
        if (uses[i].group != uses[0].group || group->count != count)
            return error_set(v->err,
                             "%s, device %d: ALLREDUCE in a group of %d, but %d devices train it",
                             name, uses[i].device, group->count, count);
    }
    if (next != v->program->batch)
        return error_set(v->err, "%s: %" PRId64 " of %" PRId64 " rows are trained a step", name,
                         next, v->program->batch);
    return 0;
}

/* The uses of one student: their steps follow one another and are all of the program's. */
static int check_student_steps(const Verifier *v, const Use *uses, int count)
{
    int64_t next = 0;
    char    name[64];

    for (int i = 0, end; i < count; i = end) {
        for (end = i; end < count && uses[end].first_step == uses[i].first_step;) end++;
        for (int j = i; j < end; j++)
            if (uses[i].first_step != next || uses[j].steps != uses[i].steps)
                return error_set(v->err,
                                 "%s, device %d: trained from step %" PRId64 " on for %" PRId64
                                 " steps, expected from step %" PRId64
                                 " on, as long on all its devices",
                                 student_name(v->program, uses[j].student, name), uses[j].device,
                                 uses[j].first_step, uses[j].steps, next);
        if (check_uses(v, uses + i, end - i) != 0) return -1;
        next += uses[i].steps;
    }
    if (next == v->program->steps) return 0;
    return error_set(v->err, "%s is trained for %" PRId64 " of %" PRId64 " steps",
                     student_name(v->program, uses[0].student, name), next, v->program->steps);
}

/* What is fetched was stored, every row once, in phases of lower numbers. */
static int check_stores(Verifier *v)
{
    int64_t next = 0;
    int     i = 0;

    if (v->store_count > 0)
        qsort(v->stores, (size_t)v->store_count, sizeof *v->stores, by_student_and_row);
    for (int k = 0; k <= v->program->block_count; k++, next = 0) {
        for (; i < v->store_count && v->stores[i].student == k; next += v->stores[i++].rows) {
            if (v->stores[i].row != next)
                return error_set(v->err,
                                 "boundary %d, device %d: stored from row %" PRId64
                                 ", expected %" PRId64 ": every row exactly once a step",
                                 k, v->stores[i].device, v->stores[i].row, next);
            if (v->stores[i].group >= v->first_fetch[k])
                return error_set(v->err,
                                 "boundary %d, device %d: stored in phase number %d, fetched in "
                                 "number %d, expected later",
                                 k, v->stores[i].device, v->stores[i].group, v->first_fetch[k]);
        }
        if (next != v->program->batch && (next > 0 || v->first_fetch[k] != INT_MAX))
            return error_set(
                v->err, "boundary %d%s: %" PRId64 " of %" PRId64 " rows are stored a step", k,
                v->first_fetch[k] != INT_MAX ? " is fetched" : "", next, v->program->batch);
    }
    return 0;
}

static int check_students(Verifier *v)
{
    int  student = 0;
    char name[64];

    if (v->use_count > 0) qsort(v->uses, (size_t)v->use_count, sizeof *v->uses, by_student_and_row);
    for (int i = 0; i < v->use_count; student++) {
        int end = i;
        if (v->uses[i].student != student) break;
        while (end < v->use_count && v->uses[end].student == student) end++;
        if (check_student_steps(v, v->uses + i, end - i) != 0) return -1;
        i = end;
    }
    if (student == program_student_count(v->program)) return 0;
    return error_set(v->err, "%s is trained by no device", student_name(v->program, student, name));
}

/* ---- rules 4 to 6: one step of every phase, in any order -------------------- */

typedef struct { const Phase *phase; int block; int64_t row, rows; } SentMessage;

typedef struct {
    SentMessage *ring;           /* [depth] */
    int      head, count;
} MessageQueue;

typedef struct {
    const Instruction *first;    /* what the first to arrive asked for */
    const Phase       *phase;    /* and in which of its phases */
    int                arrived;
    int64_t            round;    /* rounds completed */
} BarrierState;

typedef struct {
    int     phase, index;
    int64_t waiting;             /* the round it waits for, or -1 */
} Cursor;

typedef struct {
    const Verifier *v;
    int      depth;
    MessageQueue   *queues;
    SentMessage *messages;
    BarrierState *meetings;
    Cursor  *cursors;
    int     *stores_left;        /* [blocks + 1] STOREs of a boundary that are not done */
    int     *offloads_left;      /* [blocks] of the first epoch */
} Dry;

/* Phases that may be linked: they do the same steps. */
static bool run_together(const Phase *a, const Phase *b)
{
    return a->number == b->number && a->first_step == b->first_step && a->steps == b->steps;
}

static int dry_meet(Dry *dry, Cursor *cursor, const ProgramPlace *at, bool *blocked)
{
    BarrierState     *meeting = &dry->meetings[at->in->link];
    const Group *group = &dry->v->program->groups[at->in->link];

    if (cursor->waiting < 0) {
        const Phase *phase = &dry->v->program->devices[at->device].phases[at->phase];
        if (meeting->arrived == 0) { meeting->first = at->in; meeting->phase = phase; }
        if (!run_together(meeting->phase, phase))
            return refuse(dry->v, at,
                          "another member of the group meets in a phase of another number");
        if (meeting->first->op != at->in->op || meeting->first->block != at->in->block
            || meeting->first->student != at->in->student)
            return refuse(dry->v, at, "the members of the group disagree on what comes next");
        cursor->waiting = meeting->round + 1;
        if (++meeting->arrived == group->count) { meeting->arrived = 0; meeting->round++; }
    }
    *blocked = meeting->round < cursor->waiting;
    if (!*blocked) cursor->waiting = -1;
    return 0;
}

/* SEND and RECV on the queue of their channel. *blocked: the queue is full, or empty, so the device
 * waits here. What is received has to be what RECV names, block, rows and phase. */
static int dry_message(Dry *dry, const ProgramPlace *at, bool *blocked)
{
    MessageQueue  *queue = &dry->queues[at->in->link];
    SentMessage message = {&dry->v->program->devices[at->device].phases[at->phase], at->in->block,
                           at->in->row, at->in->rows};

    if (at->in->op == OP_SEND) {
        *blocked = queue->count == dry->depth;
        if (!*blocked) queue->ring[(queue->head + queue->count++) % dry->depth] = message;
        return 0;
    }
    *blocked = queue->count == 0;
    if (*blocked) return 0;
    const SentMessage *got = &queue->ring[queue->head];
    if (!run_together(got->phase, message.phase))
        return refuse(dry->v, at,
                      "the next message in its queue is from a phase of another number");
    if (got->block != message.block || got->row != message.row || got->rows != message.rows)
        return refuse(dry->v, at, "the next message in its queue is another one");
    queue->head = (queue->head + 1) % dry->depth;
    queue->count--;
    return 0;
}

/* Whether what a phase fetches is whole, and what it brings was taken back where it was. */
static bool dry_can_begin(const Dry *dry, const Code *code, const Phase *phase)
{
    for (int i = 0; i < phase->count; i++) {
        const Instruction *in = &code->code[phase->first + i];
        if (in->op == OP_FETCH && dry->stores_left[in->block]) return false;
        if (in->op == OP_ONLOAD && phase->first_step > 0 && dry->offloads_left[in->block])
            return false;
    }
    return true;
}

static void dry_end_phase(Dry *dry, const Code *code, const Phase *phase)
{
    for (int i = 0; i < phase->count; i++) {
        const Instruction *in = &code->code[phase->first + i];
        if (in->op == OP_STORE) dry->stores_left[in->block]--;
        if (in->op == OP_OFFLOAD && phase->first_step == 0) dry->offloads_left[in->block]--;
    }
}

static void dry_count(Dry *dry)
{
    const Program *p = dry->v->program;

    for (int d = 0; d < p->device_count; d++)
        for (int f = 0; f < p->devices[d].phase_count; f++) {
            const Phase *phase = &p->devices[d].phases[f];
            for (int i = 0; i < phase->count; i++) {
                const Instruction *in = &p->devices[d].code[phase->first + i];
                if (in->op == OP_STORE) dry->stores_left[in->block]++;
                if (in->op == OP_OFFLOAD && phase->first_step == 0) dry->offloads_left[in->block]++;
            }
        }
}

/* Runs device as far as it gets; moved says whether it got anywhere. */
static int dry_advance(Dry *dry, int device, bool *moved)
{
    const Code *code = &dry->v->program->devices[device];
    Cursor     *cursor = &dry->cursors[device];

    while (cursor->phase < code->phase_count) {
        const Phase *phase = &code->phases[cursor->phase];
        ProgramPlace at = {device, cursor->phase, cursor->index,
                           &code->code[phase->first + cursor->index]};
        bool  blocked = false;
        if (cursor->index == 0 && !dry_can_begin(dry, code, phase)) return 0;
        bool  meets = at.in->op == OP_BARRIER || at.in->op == OP_ALLREDUCE;
        if (meets && dry_meet(dry, cursor, &at, &blocked) != 0) return -1;
        if ((at.in->op == OP_SEND || at.in->op == OP_RECV) && dry_message(dry, &at, &blocked) != 0)
            return -1;
        if (blocked) return 0;
        *moved = true;
        if (++cursor->index < phase->count) continue;
        dry_end_phase(dry, code, phase);
        cursor->index = 0;
        cursor->phase++;
    }
    return 0;
}

static int dry_finish(const Dry *dry)
{
    const Program *p = dry->v->program;

    for (int d = 0; d < p->device_count; d++) {
        const Cursor *c = &dry->cursors[d];
        if (c->phase == p->devices[d].phase_count) continue;
        ProgramPlace at = {d, c->phase, c->index,
                    &p->devices[d].code[p->devices[d].phases[c->phase].first + c->index]};
        return refuse(dry->v, &at, "deadlock: this waits forever");
    }
    for (int c = 0; c < p->channel_count; c++)
        if (dry->queues[c].count)
            return error_set(dry->v->err,
                             "device %d sends %d messages a step that device %d never receives",
                             p->channels[c].from, dry->queues[c].count, p->channels[c].to);
    return 0;
}

/* Runs all programs together without computing, queues depth deep: refuses a deadlock, and ends of
 * a channel or group that disagree. */
static int check_links_together(Verifier *v, int depth)
{
    const Program *p = v->program;
    Dry  dry = {.v = v, .depth = depth};
    int  rc = -1;
    bool moved = true;

    dry.queues = calloc((size_t)p->channel_count + 1, sizeof *dry.queues);
    dry.messages = calloc((size_t)p->channel_count * (size_t)depth + 1, sizeof *dry.messages);
    dry.meetings = calloc((size_t)p->group_count + 1, sizeof *dry.meetings);
    dry.cursors = calloc((size_t)p->device_count, sizeof *dry.cursors);
    dry.stores_left = calloc((size_t)p->block_count + 1, sizeof *dry.stores_left);
    dry.offloads_left = calloc((size_t)p->block_count, sizeof *dry.offloads_left);
    if (!dry.queues || !dry.messages || !dry.meetings || !dry.cursors || !dry.stores_left
        || !dry.offloads_left) {
        error_no_memory(v->err);
        goto done;
    }
    for (int c = 0; c < p->channel_count; c++)
        dry.queues[c].ring = dry.messages + (size_t)c * (size_t)depth;
    for (int d = 0; d < p->device_count; d++) dry.cursors[d].waiting = -1;
    dry_count(&dry);
    while (moved) {
        moved = false;
        for (int d = 0; d < p->device_count; d++)
            if (dry_advance(&dry, d, &moved) != 0) goto done;
    }
    rc = dry_finish(&dry);
done:
    free(dry.queues);
    free(dry.messages);
    free(dry.meetings);
    free(dry.cursors);
    free(dry.stores_left);
    free(dry.offloads_left);
    return rc;
}

/* Allocates what the walk over a device's program notes down. The flags a block and a student are
 * one piece of memory, v->reduced, so that one free() ends them all. */
static int verifier_new(Verifier *v)
{
    size_t blocks = (size_t)v->program->block_count + 1,
           students = (size_t)program_student_count(v->program);

    v->held = calloc(blocks, sizeof *v->held);
    v->forward = calloc(students, sizeof *v->forward);
    v->trained = calloc(students, sizeof *v->trained);
    v->reduced = calloc(2 * students + 8 * blocks, 1);
    v->first_fetch = malloc(blocks * sizeof *v->first_fetch);
    if (!v->held || !v->forward || !v->trained || !v->reduced || !v->first_fetch)
        return error_no_memory(v->err);
    for (size_t k = 0; k < blocks; k++) v->first_fetch[k] = INT_MAX;
    v->updated = v->reduced + students;
    v->stored = v->updated + students;
    v->fetched = v->stored + blocks;
    v->onloaded = v->fetched + blocks;
    v->offloaded = v->onloaded + blocks;
    v->runs = v->offloaded + blocks;
    v->ran = v->runs + blocks;
    v->trains = v->ran + blocks;
    v->trained_before = v->trains + blocks;
    return 0;
}

int program_verify(const Program *program, int queue_depth, Error *err)
{
    Verifier v = {.program = program, .err = err};
    int      rc = -1;

    if (verifier_new(&v) != 0) goto done;
    for (int d = 0; d < program->device_count; d++) {
        v.moves = moves_weights(&program->devices[d]);
        for (int p = 0; p < program->devices[d].phase_count; p++)
            if (check_phase(&v, &program->devices[d], d, p) != 0) goto done;
    }
    v.moves = false;             /* the shared queue may not */
    for (int p = 0; p < program->queue.phase_count; p++)
        if (check_phase(&v, &program->queue, -1, p) != 0) goto done;
    if (check_students(&v) != 0 || check_stores(&v) != 0) goto done;
    rc = check_links_together(&v, queue_depth);
done:
    free(v.held);
    free(v.forward);
    free(v.trained);
    free(v.reduced);
    free(v.first_fetch);
    free(v.uses);
    free(v.stores);
    return rc;
}
