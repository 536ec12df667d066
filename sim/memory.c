#include "sim/memory.h"
#include "base/micro.h"
#include "sim/costs.h"

#include <stdlib.h>
#include <string.h>

static int64_t known(int64_t bytes) { return bytes == TRACE_ABSENT ? 0 : bytes; }

typedef struct {
    const Program  *program;
    const Scenario *scenario;
    int            *last_use;    /* [blocks + 1]: of each boundary, as an index */
    int64_t        *rows;        /* [blocks + 1]: held now */
    int64_t        *messages;    /* [channels]: bytes of the largest received in a step */
} MemoryWalk;

/* The boundaries an instruction reads: none, one, or two. */
static int reads(const Instruction *in, int boundary[2])
{
    switch (in->op) {
    case OP_SEND:
    case OP_STORE:
    case OP_TEACHER:
    case OP_FORWARD:  boundary[0] = in->block; return 1;
    case OP_BACKWARD: boundary[0] = in->block; boundary[1] = in->block + 1; return 2;
    default:          return 0;
    }
}

/* Whether the next step's rows of a boundary are there while a step's are used. */
static bool fetches_ahead(const MemoryWalk *walk, int boundary)
{
    return scenario_requests(walk->scenario, walk->program->tier[boundary], false)->device_share
           < 1;
}

/* Weights, gradients and state of the blocks that the phase touches. */
static void add_fixed(const MemoryWalk *walk, const Code *code, const Phase *phase, Memory *memory)
{
    const Trace *trace = walk->scenario->trace;
    int64_t      waiting = 0;

    memset(walk->messages, 0, (size_t)walk->program->channel_count * sizeof *walk->messages);
    for (int i = 0; i < phase->count; i++) {
        const Instruction *in = &code->code[phase->first + i];
        const TraceBlock *block = in->block < trace->block_count ? &trace->blocks[in->block] : NULL;
        if (in->op == OP_TEACHER)
            memory->parts[MEMORY_WEIGHTS] += known(block->teacher_weight_bytes);
        if (in->op == OP_FORWARD) {
            TraceStudent student = trace_student(block, in->student);
            memory->parts[MEMORY_WEIGHTS] += known(student.weight_bytes);
            memory->parts[MEMORY_GRADIENTS] +=
                known(micro_gradients(trace->micro_batches, student.gradient_bytes));
            memory->parts[MEMORY_STATE] += known(student.state_bytes);
        }
        int64_t bytes = in->rows * known(trace_boundary_bytes(trace, in->block));
        if (in->op == OP_RECV && bytes > walk->messages[in->link]) {
            waiting += bytes - walk->messages[in->link];
            walk->messages[in->link] = bytes;
        }
        if (in->op == OP_LOAD && trace->loader.present)
            memory->parts[MEMORY_LOADER] += bytes * trace_loader_held(&trace->loader);
        if (in->op == OP_FETCH && fetches_ahead(walk, in->block))
            memory->parts[MEMORY_LOADER] += bytes;       /* the next step's */
    }
    memory->parts[MEMORY_PROCESS] = trace->process_bytes;
    memory->parts[MEMORY_QUEUES] = waiting * walk->scenario->queue_depth;
}

static void add_moved(Memory *memory, BlockBytes bytes)
{
    memory->parts[MEMORY_WEIGHTS] += bytes.weights;
    memory->parts[MEMORY_STATE] += bytes.state;
}

/* Weights that come for the phase behind, and those that leave of the one before, while this one
 * runs. */
static void add_coming_and_going(const MemoryWalk *walk, const Code *code, int phase,
                                 Memory *memory)
{
    const Trace *trace = walk->scenario->trace;

    for (int p = phase - 1; p <= phase + 1; p += 2) {
        if (p < 0 || p >= code->phase_count) continue;
        for (int i = code->phases[p].first; i < code->phases[p].first + code->phases[p].count;
             i++) {
            const Instruction *in = &code->code[i];
            if (p < phase && in->op == OP_OFFLOAD)
                add_moved(memory, offload_bytes(trace, code, p, in->block));
            if (p > phase && in->op == OP_ONLOAD)
                add_moved(memory, onload_bytes(trace, code, p, in->block));
        }
    }
}

static int64_t sum_parts(const Memory *memory)
{
    int64_t sum = 0;

    for (int i = 0; i < MEMORY_COUNT; i++) sum += memory->parts[i];
    return sum;
}

/* Keeps the state of an instruction when it is the largest so far. */
static void consider(Memory *peak, Memory *now, int64_t boundaries, int64_t activations)
{
    now->parts[MEMORY_BOUNDARIES] = boundaries;
    now->parts[MEMORY_ACTIVATIONS] = activations;
    now->total_bytes = sum_parts(now);
    if (now->total_bytes > peak->total_bytes) *peak = *now;
}

/* Of FORWARD and BACKWARD, a row. */
static int64_t activation(const Trace *trace, const Instruction *in)
{
    return known(
        micro_bytes(trace->micro_batches,
                    trace_student(&trace->blocks[in->block], in->student).activation_bytes));
}

/* The boundary that an instruction makes or brings: block b's input is boundary b. -1: none. */
static int made_by(const Instruction *in)
{
    if (in->op == OP_TEACHER) return in->block + 1;
    return in->op == OP_LOAD || in->op == OP_RECV || in->op == OP_FETCH ? in->block : -1;
}

/* The most memory that the phase holds at any instruction: what is fixed, boundaries until they are
 * used for the last time, results from FORWARD to BACKWARD. Puts it into peak where it is more. */
static void walk_phase(MemoryWalk *walk, const Code *code, int number, Memory *peak)
{
    const Trace *trace = walk->scenario->trace;
    const Phase *phase = &code->phases[number];
    Memory       now = {0};
    int64_t      boundaries = 0, held = 0;
    int          used[2];

    for (int b = 0; b <= walk->program->block_count; b++) {
        walk->last_use[b] = -1;
        walk->rows[b] = 0;
    }
    for (int i = 0; i < phase->count; i++)
        for (int n = reads(&code->code[phase->first + i], used); n > 0; n--)
            walk->last_use[used[n - 1]] = i;
    add_fixed(walk, code, phase, &now);
    add_coming_and_going(walk, code, number, &now);
    for (int i = 0; i < phase->count; i++) {
        const Instruction *in = &code->code[phase->first + i];
        int64_t            working = 0;
        int                made = made_by(in);
        if (made >= 0) {
            boundaries += in->rows * known(trace_boundary_bytes(trace, made));
            walk->rows[made] += in->rows;
        }
        if (in->op == OP_TEACHER)
            working = in->rows * known(trace->blocks[in->block].teacher_activation_bytes);
        if (in->op == OP_FORWARD) held += in->rows * activation(trace, in);
        consider(peak, &now, boundaries, held + working);
        if (in->op == OP_BACKWARD) held -= in->rows * activation(trace, in);
        if (made >= 0 && walk->last_use[made] < i) {          /* nobody needs it */
            boundaries -= walk->rows[made] * known(trace_boundary_bytes(trace, made));
            walk->rows[made] = 0;
        }
        for (int n = reads(in, used); n > 0; n--) {
            int b = used[n - 1];
            if (walk->last_use[b] != i) continue;
            boundaries -= walk->rows[b] * known(trace_boundary_bytes(trace, b));
            walk->rows[b] = 0;
        }
    }
}

const char *memory_part_name(MemoryPart part)
{
    static const char *const names[MEMORY_COUNT] = {"weights", "gradients", "state", "boundaries",
                                                    "activations", "queues", "loader",
                                                    "process"};

    return names[part];
}

int memory_peak(Memory *out, const Program *program, const Scenario *scenario, Error *err)
{
    MemoryWalk   walk = {.program = program, .scenario = scenario};
    size_t boundaries = (size_t)program->block_count + 1;
    int    rc = -1;

    walk.last_use = calloc(boundaries, sizeof *walk.last_use);
    walk.rows = calloc(boundaries, sizeof *walk.rows);
    walk.messages = calloc((size_t)program->channel_count + 1, sizeof *walk.messages);
    if (!walk.last_use || !walk.rows || !walk.messages) { error_no_memory(err); goto done; }
    for (int d = 0; d < program->device_count; d++) {
        if (d > 0 && code_matches(&program->devices[d], &program->devices[d - 1])) {
            out[d] = out[d - 1];
            continue;
        }
        memset(&out[d], 0, sizeof out[d]);
        for (int p = 0; p < program->devices[d].phase_count; p++)
            walk_phase(&walk, &program->devices[d], p, &out[d]);
        for (int p = 0; p < program->queue.phase_count; p++)
            walk_phase(&walk, &program->queue, p, &out[d]);
    }
    rc = 0;
done:
    free(walk.last_use);
    free(walk.rows);
    free(walk.messages);
    return rc;
}

int memory_fits(const Memory *memory, const Scenario *s, Error *err)
{
    for (int d = 0; d < s->device_count; d++)
        if (s->memory_bytes[d] && memory[d].total_bytes > s->memory_bytes[d])
            return error_set(err, "too large for device %d: needs %.6g MiB of %.6g", d,
                             (double)memory[d].total_bytes * 0x1p-20,
                             (double)s->memory_bytes[d] * 0x1p-20);
    return 0;
}
