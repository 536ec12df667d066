#include "executor/buffers.h"

#include <stdlib.h>
#include <string.h>

int64_t boundary_count(const Workload *workload, int boundary)
{
    return boundary == 0 ? shape_count(workload->block[0].in) : shape_count(workload->block[boundary - 1].out);
}

static void count_messages(size_t *count, const Code *code, const Workload *workload)
{
    for (int i = 0; i < code->code_count; i++) {
        const Instruction *in = &code->code[i];
        if (in->op != OP_RECV) continue;
        size_t floats = (size_t)(in->rows * boundary_count(workload, in->block));
        if (floats > count[in->link]) count[in->link] = floats;
    }
}

void buffers_messages(size_t *count, const Program *program, const Workload *workload)
{
    memset(count, 0, (size_t)program->channel_count * sizeof *count);
    for (int d = 0; d < program->device_count; d++) count_messages(count, &program->devices[d], workload);
}

/* ---- when values live ---------------------------------------------------------- */

static void makes(Value *value, const Instruction *in, int i)
{
    if (value->rows == 0) {
        *value = (Value){in->row, in->rows, value->per_row, i, i, in->op == OP_LOAD,
                         in->op == OP_RECV ? in->link : -1, -1};
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

static void find_values(const Buffers *b, Value *values, const Code *code, const Phase *phase)
{
    for (int i = 0; i < phase->count; i++) {
        const Instruction *in = &code->code[phase->first + i];
        switch (in->op) {
        case OP_LOAD:
        case OP_RECV:
            makes(&values[value_boundary(in->block)], in, i);
            break;
        case OP_SEND:
            uses(&values[value_boundary(in->block)], i);
            break;
        case OP_TEACHER:
            uses(&values[value_boundary(in->block)], i);
            makes(&values[value_boundary(in->block + 1)], in, i);
            break;
        case OP_FORWARD:
            uses(&values[value_boundary(in->block)], i);
            makes(&values[value_output(b, in->block)], in, i);
            break;
        case OP_BACKWARD:
            uses(&values[value_boundary(in->block)], i);
            uses(&values[value_boundary(in->block + 1)], i);
            uses(&values[value_output(b, in->block)], i);
            makes(&values[value_gradient(b, in->block)], in, i);
            break;
        default:
            break;
        }
    }
}

/* ---- where they live ------------------------------------------------------------ */

static size_t floats_of(const Value *value) { return (size_t)(value->rows * value->per_row); }

static int new_slot(Buffers *b, size_t count, int channel)
{
    if (b->slot_count == b->slot_capacity) {
        int   bigger = b->slot_capacity ? 2 * b->slot_capacity : 8;
        Slot *moved = realloc(b->slots, (size_t)bigger * sizeof *moved);
        if (!moved) return -1;
        b->slots = moved;
        b->slot_capacity = bigger;
    }
    b->slots[b->slot_count] = (Slot){count, channel, NULL};
    return b->slot_count++;
}

/* Whether one of the phase's values that have a place lives there when value does. */
static bool taken(const Buffers *b, const Value *values, int slot, const Value *value)
{
    for (int v = 0; v < value_count(b); v++) {
        const Value *other = &values[v];
        if (other == value || other->rows == 0 || other->slot != slot) continue;
        if (other->made <= value->last && value->made <= other->last) return true;
    }
    return false;
}

static int slot_of_channel(Buffers *b, const Value *values, const Value *value, size_t count)
{
    for (int s = 0; s < b->slot_count; s++)
        if (b->slots[s].channel == value->channel && !taken(b, values, s, value)) return s;
    return new_slot(b, count, value->channel);
}

/* The free slot that has to grow least, and of those the smallest. */
static int shared_slot(Buffers *b, const Value *values, const Value *value)
{
    size_t need = floats_of(value);
    int    best = -1;

    for (int s = 0; s < b->slot_count; s++) {
        if (b->slots[s].channel >= 0 || taken(b, values, s, value)) continue;
        size_t size = b->slots[s].count, best_size = best >= 0 ? b->slots[best].count : 0;
        bool   better = size >= need ? best_size < need || size < best_size : size > best_size && best_size < need;
        if (best < 0 || better) best = s;
    }
    if (best < 0) return new_slot(b, need, -1);
    if (b->slots[best].count < need) b->slots[best].count = need;
    return best;
}

/* Values get their places largest first, so that few slots grow. */
static int place_values(Buffers *b, Value *values, const size_t *message_count)
{
    for (;;) {
        Value *next = NULL;
        for (int v = 0; v < value_count(b); v++) {
            Value *value = &values[v];
            if (value->rows == 0 || value->slot >= 0 || value->borrowed) continue;
            if (!next || floats_of(value) > floats_of(next)) next = value;
        }
        if (!next) return 0;
        next->slot = next->channel >= 0 ? slot_of_channel(b, values, next, message_count[next->channel])
                                        : shared_slot(b, values, next);
        if (next->slot < 0) return -1;
    }
}

static int plan_phases(Buffers *b, const Workload *workload, const Code *code, const size_t *message_count)
{
    for (int p = 0; p < code->phase_count; p++) {
        Value *values = calloc((size_t)value_count(b), sizeof *values);
        if (!values) return -1;
        b->phases[b->phase_count++].values = values;
        for (int k = 0; k <= b->block_count; k++) values[value_boundary(k)].per_row = boundary_count(workload, k);
        for (int k = 0; k < b->block_count; k++) {
            values[value_output(b, k)].per_row = boundary_count(workload, k + 1);
            values[value_gradient(b, k)].per_row = boundary_count(workload, k + 1);
        }
        for (int v = 0; v < value_count(b); v++) values[v].slot = values[v].channel = -1;
        find_values(b, values, code, &code->phases[p]);
        if (place_values(b, values, message_count) != 0) return -1;
    }
    return 0;
}

int buffers_plan(Buffers *out, const Program *program, const Workload *workload, int device,
                 const size_t *message_count, Error *err)
{
    const Code *code = &program->devices[device];

    *out = (Buffers){.block_count = program->block_count};
    out->phases = calloc((size_t)(code->phase_count + program->queue.phase_count) + 1, sizeof *out->phases);
    if (!out->phases || plan_phases(out, workload, code, message_count) != 0
        || plan_phases(out, workload, &program->queue, message_count) != 0) {
        buffers_free(out, NULL);
        return error_no_memory(err);
    }
    return 0;
}

int buffers_open(Buffers *buffers, Device *memory, int64_t *bytes, Error *err)
{
    *bytes = 0;
    for (int s = 0; s < buffers->slot_count; s++) {
        Slot *slot = &buffers->slots[s];
        slot->memory = device_alloc(memory, slot->count);
        if (!slot->memory)
            return error_set(err, "no memory for boundaries: %zu bytes", slot->count * sizeof(float));
        *bytes += (int64_t)(slot->count * sizeof(float));
    }
    return 0;
}

void buffers_free(Buffers *buffers, Device *memory)
{
    for (int s = 0; s < buffers->slot_count; s++)
        if (buffers->slots[s].memory) device_release(memory, buffers->slots[s].memory);
    for (int p = 0; p < buffers->phase_count; p++) free(buffers->phases[p].values);
    free(buffers->phases);
    free(buffers->slots);
    *buffers = (Buffers){0};
}
