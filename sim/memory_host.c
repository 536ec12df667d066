/* Memory of a machine and of its disks: what is stored there, the weights of blocks that no device
 * holds, and buffers. */
#include <stdlib.h>

#include "sim/costs.h"
#include "sim/memory.h"

static int64_t known(int64_t bytes) { return bytes == TRACE_ABSENT ? 0 : bytes; }

/* What must be over before what begins, of phases by their numbers: those of a device in order, and
 * who fetches after who stores. */
typedef struct {
    const Program *program;
    int            numbers;
    size_t         words;        /* of a set of numbers */
    uint64_t      *before;       /* [numbers] sets: what is over when a phase of the number
                                  * begins */
    uint64_t      *stores, *fetches;     /* [blocks + 1] sets: who does, of a boundary */
} PhaseOrder;

/* Beyond so many numbers all boundaries count as kept at once. */
enum { MOST_NUMBERS = 1 << 14 };

static bool has(const uint64_t *set, int n) { return set[n / 64] >> n % 64 & 1; }
static void put(uint64_t *set, int n) { set[n / 64] |= (uint64_t)1 << n % 64; }

static bool within(const PhaseOrder *o, const uint64_t *set, const uint64_t *whole)
{
    for (size_t w = 0; w < o->words; w++)
        if (set[w] & ~whole[w]) return false;
    return true;
}

static bool is_empty(const PhaseOrder *o, const uint64_t *set)
{
    for (size_t w = 0; w < o->words; w++)
        if (set[w]) return false;
    return true;
}

/* What is over before earlier is over before later, and so is earlier. */
static void add_earlier(const PhaseOrder *o, int later, int earlier)
{
    const uint64_t *from = o->before + (size_t)earlier * o->words;
    uint64_t       *to = o->before + (size_t)later * o->words;

    for (size_t w = 0; w < o->words; w++) to[w] |= from[w];
    put(to, earlier);
}

static void note_boundaries(const PhaseOrder *o)
{
    for (int d = 0; d < o->program->device_count; d++) {
        const Code *code = &o->program->devices[d];
        for (int f = 0; f < code->phase_count; f++)
            for (int i = code->phases[f].first; i < code->phases[f].first + code->phases[f].count;
                 i++) {
                const Instruction *in = &code->code[i];
                if (in->op == OP_STORE)
                    put(o->stores + (size_t)in->block * o->words, code->phases[f].number);
                if (in->op == OP_FETCH)
                    put(o->fetches + (size_t)in->block * o->words, code->phases[f].number);
            }
    }
}

/* A number is over when all its phases are; one follows another where one of them does on every
 * device that has it. */
static void order_number(const PhaseOrder *o, int number)
{
    const Program *p = o->program;
    int            earlier = -1;
    bool           same = true;

    for (int d = 0; d < p->device_count; d++) {
        const Code *code = &p->devices[d];
        int         f = 0;
        while (f < code->phase_count && code->phases[f].number != number) f++;
        if (f == code->phase_count) continue;
        int own = f > 0 ? code->phases[f - 1].number : -1;
        same &= earlier == -1 || own == earlier;
        earlier = own;
    }
    if (earlier >= 0 && same) add_earlier(o, number, earlier);
    for (int k = 0; k <= p->block_count; k++)
        if (has(o->fetches + (size_t)k * o->words, number))
            for (int n = 0; n < number; n++)
                if (has(o->stores + (size_t)k * o->words, n)) add_earlier(o, number, n);
}

static int order_new(PhaseOrder *o, const Program *p, Error *err)
{
    size_t boundaries = (size_t)p->block_count + 1;

    *o = (PhaseOrder){.program = p, .numbers = 1};
    for (int d = 0; d < p->device_count; d++)
        for (int f = 0; f < p->devices[d].phase_count; f++)
            if (p->devices[d].phases[f].number >= o->numbers)
                o->numbers = p->devices[d].phases[f].number + 1;
    if (o->numbers > MOST_NUMBERS) return 0;
    o->words = ((size_t)o->numbers + 63) / 64;
    o->before = calloc((size_t)o->numbers * o->words, sizeof *o->before);
    o->stores = calloc(boundaries * o->words, sizeof *o->stores);
    o->fetches = calloc(boundaries * o->words, sizeof *o->fetches);
    if (!o->before || !o->stores || !o->fetches) return error_no_memory(err);
    note_boundaries(o);
    for (int n = 0; n < o->numbers; n++) order_number(o, n);
    return 0;
}

static void order_free(PhaseOrder *o)
{
    free(o->before);
    free(o->stores);
    free(o->fetches);
}

/* Whether boundary k may be kept while a phase of the number stores: who stores it need not come
 * later, and who fetches it need not be over. */
static bool may_be_kept(const PhaseOrder *o, int k, int number)
{
    const uint64_t *stores = o->stores + (size_t)k * o->words,
                   *fetches = o->fetches + (size_t)k * o->words;
    const uint64_t *over = o->before + (size_t)number * o->words;
    bool            begun = false;

    for (size_t w = 0; w < o->words && !begun; w++)
        for (uint64_t left = stores[w]; left && !begun; left &= left - 1) {
            size_t n = 64 * w + (size_t)__builtin_ctzll(left);
            begun = !has(o->before + n * o->words, number);
        }
    return begun && (is_empty(o, fetches) || !within(o, fetches, over));
}

/* Samples of an epoch: the last batch is filled up only where the trace has no number for it. */
static double samples_of(const Program *p, const Scenario *s)
{
    int64_t steps = p->steps / p->epochs;
    bool    whole = (s->trace->samples + s->batch - 1) / s->batch == steps;

    return whole ? (double)s->trace->samples : (double)steps * (double)s->batch;
}

static int64_t to_bytes(double bytes) { return bytes < 0x1p62 ? (int64_t)bytes : (int64_t)1 << 62; }

/* The most that may be kept at a time in each tier of each machine. */
static int find_peaks(HostMemory *out, const PhaseOrder *o, const Scenario *s, Error *err)
{
    const Program *p = o->program;
    int            machines = scenario_nodes(s);
    size_t         boundaries = (size_t)p->block_count + 1;
    double        *bytes = calloc(boundaries * (size_t)machines, sizeof *bytes);
    int64_t       *rows = calloc(boundaries * (size_t)machines, sizeof *rows);
    bool          *seen = calloc(boundaries, sizeof *seen);
    int            rc = -1;

    if (!bytes || !rows || !seen) { error_no_memory(err); goto done; }
    stored_rows(rows, p, s);
    for (int k = 0; k <= p->block_count; k++)
        for (int m = 0; m < machines; m++) {
            int64_t here = rows[k * machines + m];
            seen[k] |= here > 0;
            bytes[k * machines + m] = (double)known(trace_stored_bytes(s->trace, k))
                                      * samples_of(p, s) * ((double)here / (double)p->batch);
        }
    for (int number = 0; number < (o->before ? o->numbers : 1); number++) {
        double now[TRACE_MAX_TIERS];
        bool   stores = !o->before;
        for (int k = 0; k <= p->block_count && !stores; k++)
            stores = has(o->stores + (size_t)k * o->words, number);
        for (int m = 0; m < machines && stores; m++) {
            for (int t = 0; t < TRACE_MAX_TIERS; t++) now[t] = 0;
            for (int k = 0; k <= p->block_count; k++)
                if (seen[k] && (!o->before || may_be_kept(o, k, number)))
                    now[p->tier[k]] += bytes[k * machines + m];
            for (int t = 0; t < TRACE_MAX_TIERS; t++)
                if (to_bytes(now[t]) > out[m].stored_bytes[t])
                    out[m].stored_bytes[t] = to_bytes(now[t]);
        }
    }
    rc = 0;
done:
    free(bytes);
    free(rows);
    free(seen);
    return rc;
}

/* Teacher and students with their states of a block that a device of the machine gets or gives
 * back. */
static int64_t block_bytes(const Trace *trace, int block)
{
    int64_t bytes = known(trace->blocks[block].teacher_weight_bytes);

    for (int j = 0; j < trace_students(&trace->blocks[block]); j++) {
        TraceStudent student = trace_student(&trace->blocks[block], j);
        bytes += known(student.weight_bytes) + known(student.state_bytes);
    }
    return bytes;
}

/* Host buffers of a device: the phase that has most. */
static int64_t buffers_of(const Program *p, const Code *code, const Scenario *s)
{
    const TraceLoader *loader = &s->trace->loader;
    int64_t            most = 0, ahead = loader->present && loader->workers
                                             ? loader->prefetch - trace_loader_held(loader)
                                             : 0;

    for (int f = 0; f < code->phase_count; f++) {
        int64_t bytes = 0;
        for (int i = code->phases[f].first; i < code->phases[f].first + code->phases[f].count;
             i++) {
            const Instruction *in = &code->code[i];
            int64_t            rows = 0;
            if (op_has_boundary(in->op))
                rows = in->rows * known(trace_boundary_bytes(s->trace, in->block));
            if (in->op == OP_LOAD && ahead > 0) bytes += rows * ahead;
            if ((in->op == OP_STORE || in->op == OP_FETCH)
                && scenario_requests(s, p->tier[in->block], in->op == OP_STORE)->device_share < 1)
                bytes += rows * STORAGE_AHEAD;
        }
        if (bytes > most) most = bytes;
    }
    return most;
}

int memory_host(HostMemory *out, const Program *p, const Scenario *s, Error *err)
{
    int        machines = scenario_nodes(s), rc = -1;
    PhaseOrder order = {0};
    char      *moves = calloc((size_t)p->block_count, 1);

    for (int m = 0; m < machines; m++) out[m] = (HostMemory){0};
    if (!moves) { error_no_memory(err); goto done; }
    if (storage_check_tiers(p, s->trace, err) != 0) goto done;
    if (order_new(&order, p, err) != 0 || find_peaks(out, &order, s, err) != 0) goto done;
    for (int m = 0; m < machines; m++) {
        for (int b = 0; b < p->block_count; b++) moves[b] = 0;
        for (int d = 0; d < p->device_count; d++) {
            if (scenario_node(s, d) != m) continue;
            out[m].buffer_bytes += buffers_of(p, &p->devices[d], s);
            for (int i = 0; i < p->devices[d].code_count; i++) {
                Op op = p->devices[d].code[i].op;
                if (op == OP_ONLOAD || op == OP_OFFLOAD) moves[p->devices[d].code[i].block] = 1;
            }
        }
        for (int b = 0; b < p->block_count; b++)
            out[m].weight_bytes += moves[b] ? block_bytes(s->trace, b) : 0;
    }
    rc = 0;
done:
    order_free(&order);
    free(moves);
    return rc;
}

int64_t memory_in_tier(const HostMemory *host, const Program *p, const Trace *trace, int tier)
{
    return host->stored_bytes[tier] + (p->home == tier ? host->weight_bytes : 0)
           + (trace->tiers[tier].memory ? host->buffer_bytes : 0);
}

int memory_host_fits(const HostMemory *host, const Program *p, const Scenario *s, Error *err)
{
    for (int t = 0; t < s->trace->tier_count; t++) {
        const TraceTier *tier = &s->trace->tiers[t];
        int64_t          shared = 0;
        for (int m = 0; m < scenario_nodes(s); m++) {
            int64_t bytes = memory_in_tier(&host[m], p, s->trace, t);
            shared = tier->shared ? shared + bytes : bytes;
            if (shared <= tier->size_bytes) continue;
            return error_set(
                err, "too large for storage \"%.64s\" of machine %d: needs %.6g GiB of %.6g",
                tier->name, m, (double)shared * 0x1p-30, (double)tier->size_bytes * 0x1p-30);
        }
    }
    return 0;
}
