#include "executor/train/buffers.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/micro.h"
#include "base/minmax.h"
#include "kernels/head.h"
#include "kernels/stream.h"
#include "workloads/head.h"

enum { ALIGN = 16 };         /* floats of a cache line */

static void count_messages(size_t *count, const Code *code, const Workload *workload)
{
    for (int i = 0; i < code->code_count; i++) {
        const Instruction *in = &code->code[i];
        if (in->op != OP_RECV) continue;
        size_t floats = (size_t)(in->rows * workload_boundary_count(workload, in->block));
        if (floats > count[in->link]) count[in->link] = floats;
    }
}

void buffers_messages(size_t *count, const Program *program, const Workload *workload)
{
    memset(count, 0, (size_t)program->channel_count * sizeof *count);
    for (int d = 0; d < program->device_count; d++)
        count_messages(count, &program->devices[d], workload);
}

/* ---- when values live ---------------------------------------------------------- */

static void makes(Value *value, const Instruction *in, int i)
{
    if (value->rows == 0) {
        *value = (Value){.row = in->row, .rows = in->rows, .per_row = value->per_row,
                         .tokens = value->tokens, .scores = value->scores, .made = i, .last = i,
                         .borrowed = in->op == OP_LOAD || in->op == OP_FETCH,
                         .channel = in->op == OP_RECV ? in->link : -1, .slot = -1, .place = -1};
        return;
    }
    int64_t end = value->row + value->rows, in_end = in->row + in->rows;
    if (in->row < value->row) value->row = in->row;
    if (in_end > end) end = in_end;
    value->rows = end - value->row;
    value->borrowed = false;             /* several parts are put together */
    value->channel = -1;
    value->last = i;
}

static void uses(Value *value, int i) { if (i > value->last) value->last = i; }

/* Notes at which instructions of the phase each value is made and used. What is sent while the
 * device computes is used to the end. */
static void find_values(const Buffers *b, Value *values, const Code *code, const Phase *phase)
{
    for (int i = 0; i < phase->count; i++) {
        const Instruction *in = &code->code[phase->first + i];
        Instruction        part = *in;
        part.rows = micro_rows(b->micro_batches, in->rows);
        switch (in->op) {
        case OP_LOAD:
        case OP_FETCH:
        case OP_RECV:
            makes(&values[value_boundary(in->block)], in, i);
            break;
        case OP_SEND:
            uses(&values[value_boundary(in->block)], b->overlapped ? phase->count - 1 : i);
            break;
        case OP_STORE:
            uses(&values[value_boundary(in->block)], i);
            break;
        case OP_TEACHER:
            uses(&values[value_boundary(in->block)], i);
            makes(&values[value_at(b, VALUE_TEACHER_WORK, in)], in, i);
            makes(&values[value_boundary(in->block + 1)], in, i);
            break;
        case OP_FORWARD:
            uses(&values[value_boundary(in->block)], i);
            makes(&values[value_at(b, VALUE_KEPT, in)], &part, i);
            makes(&values[value_at(b, VALUE_OUTPUT, in)], &part, i);
            break;
        case OP_BACKWARD:
            uses(&values[value_boundary(in->block)], i);
            uses(&values[value_boundary(in->block + 1)], i);
            uses(&values[value_at(b, VALUE_KEPT, in)], i);
            uses(&values[value_at(b, VALUE_OUTPUT, in)], i);
            makes(&values[value_at(b, VALUE_STUDENT_WORK, in)], &part, i);
            makes(&values[value_at(b, VALUE_GRADIENT, in)], &part, i);
            break;
        default:
            break;
        }
    }
}

/* ---- where they live ------------------------------------------------------------ */

static int64_t floats_of(const Value *value)
{
    int64_t count = (value->rows * value->per_row + ALIGN - 1) / ALIGN * ALIGN;

    return value->scores > 0 ? larger(count, head_work(value->rows * value->tokens, value->scores))
                             : count;
}

static bool together(const Value *a, const Value *b)
{
    return a->made <= b->last && b->made <= a->last;
}

static int new_slot(Buffers *b, size_t count, int channel)
{
    if (!array_has_room(b->slots, b->slot_count, b->slot_capacity)) return -1;
    b->slots[b->slot_count] = (Slot){count, channel, NULL};
    return b->slot_count++;
}

/* Whether one of the phase's boundaries that have a slot lives there when value does. */
static bool taken(const Buffers *b, const Value *values, int slot, const Value *value)
{
    for (int k = 0; k <= b->block_count; k++) {
        const Value *other = &values[value_boundary(k)];
        if (other != value && other->rows > 0 && other->slot == slot && together(other, value))
            return true;
    }
    return false;
}

static int slot_of_channel(Buffers *b, const Value *values, const Value *value, size_t count)
{
    for (int s = 0; s < b->slot_count; s++)
        if (b->slots[s].channel == value->channel && !taken(b, values, s, value)) return s;
    return new_slot(b, count, value->channel);
}

/* What is exchanged must have room for the channel's largest message: a smaller one is copied. */
static int give_slots(Buffers *b, Value *values, const size_t *message_count)
{
    for (int k = 0; k <= b->block_count; k++) {
        Value *value = &values[value_boundary(k)];
        if (value->rows == 0 || value->channel < 0) continue;
        size_t most = message_count[value->channel];
        if ((size_t)(value->rows * value->per_row) < most) { value->channel = -1; continue; }
        value->slot = slot_of_channel(b, values, value, most);
        if (value->slot < 0) return -1;
    }
    return 0;
}

/* Largest first; of the same size, those that live earlier. */
static int by_size(const void *a, const void *b)
{
    const Value *x = *(Value *const *)a, *y = *(Value *const *)b;
    int64_t      m = floats_of(x), n = floats_of(y);

    if (m != n) return m > n ? -1 : 1;
    if (x->made != y->made) return x->made < y->made ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* Gives value the first place that is free for as long as it lives. placed: [count] in the order of
 * their places; value is put among them. */
static void give_place(Value *value, Value **placed, int count)
{
    int64_t at = 0, need = floats_of(value);
    int     i, n = count;

    for (i = 0; i < count; i++) {
        if (!together(placed[i], value)) continue;
        if (placed[i]->place >= at + need) break;
        int64_t end = placed[i]->place + floats_of(placed[i]);
        if (end > at) at = end;
    }
    value->place = at;
    for (; n > 0 && placed[n - 1]->place > at; n--) placed[n] = placed[n - 1];
    placed[n] = value;
}

/* Those that live long first; of the same, the larger. */
static int by_life(const void *a, const void *b)
{
    const Value *x = *(Value *const *)a, *y = *(Value *const *)b;
    int          m = x->last - x->made, n = y->last - y->made;

    return m != n ? (m > n ? -1 : 1) : by_size(a, b);
}

static int by_start(const void *a, const void *b)
{
    const Value *x = *(Value *const *)a, *y = *(Value *const *)b;

    return x->made != y->made ? (x->made < y->made ? -1 : 1) : by_size(a, b);
}

/* Gives places in an order; returns the floats that they take. */
static int64_t place_all(Value **order, Value **placed, int count,
                         int (*compare)(const void *, const void *))
{
    int64_t most = 0;

    qsort(order, (size_t)count, sizeof *order, compare);
    for (int i = 0; i < count; i++) {
        give_place(order[i], placed, i);
        int64_t end = order[i]->place + floats_of(order[i]);
        if (end > most) most = end;
    }
    return most;
}

/* By the best of several orders: none is best for all programs. */
static int give_places(const Buffers *b, PhaseBuffers *phase)
{
    int (*const orders[])(const void *, const void *) = {by_size, by_life, by_start};
    int     count = 0, best = 0;
    Value **order = calloc(2 * (size_t)value_count(b), sizeof *order);

    if (!order) return -1;
    Value **placed = order + value_count(b);
    for (int v = 0; v < value_count(b); v++) {
        Value *value = &phase->values[v];
        if (value->rows > 0 && value->channel < 0 && !value->borrowed) order[count++] = value;
    }
    for (int i = 0; i < (int)(sizeof orders / sizeof *orders); i++) {
        int64_t floats = place_all(order, placed, count, orders[i]);
        if (i == 0 || floats < phase->count) { phase->count = floats; best = i; }
    }
    place_all(order, placed, count, orders[best]);
    free(order);
    return 0;
}

/* Floats a row that a student, and the teacher of its block, want. */
typedef struct { int64_t per_row[VALUE_KINDS]; } StudentNeeds;

static void set_sizes(const Buffers *b, Value *values, const Workload *workload,
                      const StudentNeeds *needs)
{
    for (int k = 0; k <= b->block_count; k++)
        values[value_boundary(k)].per_row = workload_boundary_count(workload, k);
    for (int kind = 0; kind < VALUE_KINDS; kind++)
        for (int k = 0; k < b->student_count; k++)
            values[value_of(b, (ValueKind)kind, k)].per_row = needs[k].per_row[kind];
    int last = b->block_count - 1;
    for (int k = program_student(b->program, last, 0);
         k < b->student_count && workload_has_head(workload, last); k++) {
        Shape  scores = workload->block[last].out;
        Value *work = &values[value_of(b, VALUE_STUDENT_WORK, k)];
        work->tokens = (int64_t)scores.height * scores.width;
        work->scores = scores.channels;
    }
    for (int v = 0; v < value_count(b); v++) values[v].channel = values[v].slot = -1;
}

static int plan_phases(Buffers *b, const Workload *workload, const StudentNeeds *needs,
                       const Code *code, const size_t *message_count)
{
    for (int p = 0; p < code->phase_count; p++) {
        PhaseBuffers *phase = &b->phases[b->phase_count];
        phase->values = calloc((size_t)value_count(b), sizeof *phase->values);
        if (!phase->values) return -1;
        b->phase_count++;
        set_sizes(b, phase->values, workload, needs);
        find_values(b, phase->values, code, &code->phases[p]);
        if (give_slots(b, phase->values, message_count) != 0 || give_places(b, phase) != 0)
            return -1;
    }
    return 0;
}

/* needs: [students] */
static int find_needs(StudentNeeds *needs, const Workload *workload, const Device *memory,
                      Error *err)
{
    for (int k = 0; k < workload_students(workload); k++) {
        StudentId id = workload_student(workload, k);
        WorkBlock block = block_with_student(&workload->block[id.block], id.student);
        NetNeeds  teacher, student;
        bool      head = workload_has_head(workload, id.block);
        Layers    body = layers_body(&block.teacher, head);
        int64_t   output = workload_output_count(workload, id.block, id.student);
        if (net_needs(&teacher, memory, &body, NET_FROZEN, err) != 0
            || net_needs(&student, memory, &block.student, head ? NET_HEADLESS : NET_TRAINED, err)
                   != 0)
            return -1;
        needs[k] = (StudentNeeds){{[VALUE_OUTPUT] = output, [VALUE_GRADIENT] = output,
                                   [VALUE_KEPT] = student.kept, [VALUE_TEACHER_WORK] = teacher.work,
                                   [VALUE_STUDENT_WORK] = student.work}};
    }
    return 0;
}

int buffers_plan(Buffers *out, const Program *program, const Workload *workload,
                 int64_t micro_batches, int device, const Device *memory,
                 const size_t *message_count, Error *err)
{
    const Code   *code = &program->devices[device];
    StudentNeeds *needs = calloc((size_t)program_student_count(program), sizeof *needs);
    int           rc = -1;

    *out = (Buffers){.program = program, .block_count = program->block_count,
                     .student_count = program_student_count(program),
                     .micro_batches = micro_batches, .overlapped = device_is_async(memory)};
    out->phases =
        calloc((size_t)(code->phase_count + program->queue.phase_count) + 1, sizeof *out->phases);
    if (!needs || !out->phases) { error_no_memory(err); goto done; }
    if (find_needs(needs, workload, memory, err) != 0) goto done;
    if (plan_phases(out, workload, needs, code, message_count) != 0
        || plan_phases(out, workload, needs, &program->queue, message_count) != 0) {
        error_no_memory(err);
        goto done;
    }
    rc = 0;
done:
    free(needs);
    if (rc != 0) buffers_free(out, NULL);
    return rc;
}

int buffers_open(Buffers *buffers, Device *memory, Error *err)
{
    for (int s = 0; s < buffers->slot_count; s++) {
        Slot *slot = &buffers->slots[s];
        slot->memory = device_alloc(memory, slot->count);
        if (!slot->memory) return device_no_memory(memory, slot->count, "boundaries", err);
    }
    return 0;
}

int buffers_begin(Buffers *buffers, Device *memory, int phase, Error *err)
{
    int64_t count = buffers->phases[phase].count;

    if (count == buffers->count) return 0;
    /* both never stand side by side */
    if (buffers->memory) device_release(memory, buffers->memory);
    buffers->count = 0;
    buffers->memory = count > 0 ? device_alloc(memory, (size_t)count) : NULL;
    if (count > 0 && !buffers->memory)
        return device_no_memory(memory, (size_t)count, "boundaries and activations", err);
    buffers->count = count;
    return 0;
}

int64_t buffers_bytes(const Buffers *buffers)
{
    int64_t count = buffers->count;

    for (int s = 0; s < buffers->slot_count; s++) count += (int64_t)buffers->slots[s].count;
    return count * (int64_t)sizeof(float);
}

float *buffers_at(const Buffers *buffers, const Value *value)
{
    return value->slot >= 0 ? buffers->slots[value->slot].memory : buffers->memory + value->place;
}

void buffers_free(Buffers *buffers, Device *memory)
{
    for (int s = 0; s < buffers->slot_count; s++)
        if (buffers->slots[s].memory) device_release(memory, buffers->slots[s].memory);
    if (buffers->memory) device_release(memory, buffers->memory);
    for (int p = 0; p < buffers->phase_count; p++) free(buffers->phases[p].values);
    free(buffers->phases);
    free(buffers->slots);
    *buffers = (Buffers){0};
}
