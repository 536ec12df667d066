/* The requests of STORE, FETCH, ONLOAD and OFFLOAD, with what they take.
 *
 * A row is stored on the machine whose device made it. Each epoch asks for rows in another order,
 * so of those that a FETCH wants each machine has its share of what is stored: it is a request
 * there, and what is not on the device's own machine takes the way over the link besides, as a
 * relay would. */
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "sim/costs.h"

static int64_t known(int64_t bytes) { return bytes == TRACE_ABSENT ? 0 : bytes; }

/* Whether a device's phase runs the block's teacher, or trains this student of it. */
static bool phase_has(const Code *code, int phase, Op op, int block, int student)
{
    if (phase < 0) return false;
    for (int i = 0; i < code->phases[phase].count; i++) {
        const Instruction *in = &code->code[code->phases[phase].first + i];
        if (in->op == op && in->block == block && in->student == student) return true;
    }
    return false;
}

static BlockBytes student_bytes(const Trace *trace, const Code *code, int phase, int before,
                                int block)
{
    BlockBytes bytes = {0};

    for (int j = 0; j < trace_students(&trace->blocks[block]); j++) {
        if (!phase_has(code, phase, OP_FORWARD, block, j)
            || phase_has(code, before, OP_FORWARD, block, j))
            continue;
        TraceStudent student = trace_student(&trace->blocks[block], j);
        bytes.weights += known(student.weight_bytes);
        bytes.state += known(student.state_bytes);
    }
    return bytes;
}

BlockBytes onload_bytes(const Trace *trace, const Code *code, int phase, int block)
{
    BlockBytes bytes = student_bytes(trace, code, phase, phase - 1, block);

    if (phase_has(code, phase, OP_TEACHER, block, 0)
        && !phase_has(code, phase - 1, OP_TEACHER, block, 0))
        bytes.weights += known(trace->blocks[block].teacher_weight_bytes);
    return bytes;
}

BlockBytes offload_bytes(const Trace *trace, const Code *code, int phase, int block)
{
    return student_bytes(trace, code, phase, -1, block);
}

int storage_check_tiers(const Program *p, const Trace *trace, Error *err)
{
    int most = p->home;

    for (int k = 0; k <= p->block_count; k++)
        if (p->tier[k] > most) most = p->tier[k];
    if (most < trace->tier_count) return 0;
    return error_set(err, "the plan stores in tier %d, the trace has %d in \"storage\"", most,
                     trace->tier_count);
}

void stored_rows(int64_t *rows, const Program *p, const Scenario *s)
{
    int machines = scenario_nodes(s);

    memset(rows, 0, ((size_t)p->block_count + 1) * (size_t)machines * sizeof *rows);
    for (int d = 0; d < p->device_count; d++)
        for (int i = 0; i < p->devices[d].code_count; i++) {
            const Instruction *in = &p->devices[d].code[i];
            if (in->op != OP_STORE) continue;
            int machine = s->trace->tiers[p->tier[in->block]].shared ? 0 : scenario_node(s, d);
            rows[in->block * machines + machine] += in->rows;
        }
}

/* ---- building ----------------------------------------------------------------------- */

typedef struct {
    StorageCosts   *out;
    const Program  *program;
    const Scenario *s;
    int64_t        *stored;      /* as of stored_rows() */
    int             axis_most;   /* points of the longest axis of numbers in flight */
    Error          *err;
} CostBuild;

static StorageRequest *add(CostBuild *b, int tier, int machine, bool write)
{
    StorageCosts *out = b->out;

    if (!array_has_room(out->requests, out->count, out->capacity)) {
        error_no_memory(b->err);
        return NULL;
    }
    int64_t *ns = malloc((size_t)b->axis_most * sizeof *ns);
    if (!ns) { error_no_memory(b->err); return NULL; }
    int at = b->s->trace->tiers[tier].shared ? 0 : machine;
    out->requests[out->count] =
        (StorageRequest){.station = tier * out->machines + at, .write = write, .ns = ns};
    return &out->requests[out->count++];
}

/* A request of rows of a boundary; NULL: error. */
static StorageRequest *add_rows(CostBuild *b, int tier, int machine, bool write,
                                const Instruction *in, int64_t rows)
{
    double          share = scenario_requests(b->s, tier, write)->device_share;
    StorageRequest *request = add(b, tier, machine, write);

    if (!request
        || scenario_request(b->s, tier, write, in->block, rows, request->ns, b->err) != 0)
        return NULL;
    request->direct = share >= 1;
    if (!request->direct) request->own_ns = (int64_t)(share * (double)request->ns[0]);
    return request;
}

static int add_store(CostBuild *b, const Instruction *in, int device)
{
    int tier = b->program->tier[in->block];

    return add_rows(b, tier, scenario_node(b->s, device), true, in, in->rows) ? 0 : -1;
}

/* Rows of the machines, which sum to rows: each has its share, rounded so that no sum of the first
 * is off by one. */
static int add_fetch(CostBuild *b, const Instruction *in, int device)
{
    const Program *p = b->program;
    int tier = p->tier[in->block], own = scenario_node(b->s, device), machines = b->out->machines;
    const int64_t *stored = b->stored + (size_t)in->block * (size_t)machines;
    int64_t        before = 0, asked = 0;

    for (int m = 0; m < machines; m++) {
        before += stored[m];
        int64_t up_to = in->rows * before / p->batch, rows = up_to - asked;
        asked = up_to;
        if (rows == 0) continue;
        StorageRequest *request = add_rows(b, tier, m, false, in, rows);
        if (!request) return -1;
        if (m == own || b->s->trace->tiers[tier].shared) continue;
        int there = m * b->s->trace->devices_per_node;
        if (scenario_p2p(b->s, there, device, in->block, rows, &request->link_ns, b->err) != 0)
            return -1;
    }
    return 0;
}

static int add_moved(CostBuild *b, const Code *code, int phase, const Instruction *in, int device)
{
    bool            write = in->op == OP_OFFLOAD;
    int             home = b->program->home;
    StorageRequest *request = add(b, home, scenario_node(b->s, device), write);
    BlockBytes      bytes = write ? offload_bytes(b->s->trace, code, phase, in->block)
                                  : onload_bytes(b->s->trace, code, phase, in->block);

    return request ? scenario_stream(b->s, home, write, bytes.weights + bytes.state, request->ns,
                                     b->err)
                   : -1;
}

static int add_instruction(CostBuild *b, const Code *code, int phase, const Instruction *in,
                           int device)
{
    switch (in->op) {
    case OP_STORE:   return add_store(b, in, device);
    case OP_FETCH:   return add_fetch(b, in, device);
    case OP_ONLOAD:
    case OP_OFFLOAD: return add_moved(b, code, phase, in, device);
    default:         return 0;
    }
}

static int fill_device(CostBuild *b, int device)
{
    const Code *code = &b->program->devices[device];
    int        *first = malloc(((size_t)code->code_count + 1) * sizeof *first);

    b->out->first[device] = first;
    if (!first) return error_no_memory(b->err);
    for (int p = 0; p < code->phase_count; p++)
        for (int i = code->phases[p].first; i < code->phases[p].first + code->phases[p].count;
             i++) {
            first[i] = b->out->count;
            if (add_instruction(b, code, p, &code->code[i], device) != 0) return -1;
        }
    first[code->code_count] = b->out->count;
    return 0;
}

int storage_costs_build(StorageCosts *out, const Program *program, const Scenario *s, Error *err)
{
    CostBuild b = {.out = out, .program = program, .s = s, .axis_most = 1, .err = err};
    int       rc = -1;

    *out = (StorageCosts){0};
    if (!program_stores(program)) return 0;
    if (storage_check_tiers(program, s->trace, err) != 0) return -1;
    out->machines = scenario_nodes(s);
    out->stations = s->trace->tier_count * out->machines;
    for (int t = 0; t < s->trace->tier_count; t++)
        for (int write = 0; write < 2; write++) {
            int count = scenario_requests(s, t, write)->in_flight_count;
            if (count > b.axis_most) b.axis_most = count;
        }
    b.stored =
        malloc(((size_t)program->block_count + 1) * (size_t)out->machines * sizeof *b.stored);
    out->first = calloc((size_t)program->device_count, sizeof *out->first);
    if (!b.stored || !out->first) { error_no_memory(err); goto done; }
    stored_rows(b.stored, program, s);
    for (int d = 0; d < program->device_count; d++)
        if (fill_device(&b, d) != 0) goto done;
    rc = 0;
done:
    free(b.stored);
    if (rc != 0) storage_costs_free(out, program->device_count);
    return rc;
}

void storage_costs_free(StorageCosts *costs, int device_count)
{
    for (int i = 0; i < costs->count; i++) free(costs->requests[i].ns);
    for (int d = 0; costs->first && d < device_count; d++) free(costs->first[d]);
    free(costs->requests);
    free(costs->first);
    *costs = (StorageCosts){0};
}
