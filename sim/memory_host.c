/* Memory of a machine and of its disks: what is stored there, the weights of blocks that no device holds, and
 * buffers. */
#include <limits.h>
#include <stdlib.h>

#include "sim/costs.h"
#include "sim/memory.h"

static int64_t known(int64_t bytes) { return bytes == TRACE_ABSENT ? 0 : bytes; }

/* The phases, by number, that store a boundary first and fetch it last. */
typedef struct { int from, to; } KeptSpan;

static int last_number(const Program *p)
{
    int last = 0;

    for (int d = 0; d < p->device_count; d++) {
        const Code *code = &p->devices[d];
        if (code->phase_count && code->phases[code->phase_count - 1].number > last)
            last = code->phases[code->phase_count - 1].number;
    }
    return last;
}

static void find_kept(KeptSpan *kept, const Program *p, int last)
{
    for (int k = 0; k <= p->block_count; k++) kept[k] = (KeptSpan){INT_MAX, -1};
    for (int d = 0; d < p->device_count; d++)
        for (int f = 0; f < p->devices[d].phase_count; f++) {
            const Phase *phase = &p->devices[d].phases[f];
            for (int i = phase->first; i < phase->first + phase->count; i++) {
                const Instruction *in = &p->devices[d].code[i];
                if (in->op == OP_STORE && phase->number < kept[in->block].from) kept[in->block].from = phase->number;
                if (in->op == OP_FETCH && phase->number > kept[in->block].to) kept[in->block].to = phase->number;
            }
        }
    for (int k = 0; k <= p->block_count; k++)
        if (kept[k].to < 0) kept[k].to = last;       /* nobody drops it */
}

/* Samples of an epoch: the last batch is filled up only where the trace has no number for it. */
static double samples_of(const Program *p, const Scenario *s)
{
    int64_t steps = p->steps / p->epochs;
    bool    whole = (s->trace->samples + s->batch - 1) / s->batch == steps;

    return whole ? (double)s->trace->samples : (double)steps * (double)s->batch;
}

static int64_t to_bytes(double bytes) { return bytes < 0x1p62 ? (int64_t)bytes : (int64_t)1 << 62; }

/* The most that is kept at a time in each tier of each machine. by_number: [last + 2], changes of what is kept. */
static void find_peaks(HostMemory *out, const Program *p, const Scenario *s, const KeptSpan *kept, double *by_number, int64_t *rows, int last)
{
    for (int t = 0; t < s->trace->tier_count; t++)
        for (int m = 0; m < scenario_nodes(s); m++) {
            double now = 0, most = 0;
            for (int n = 0; n <= last + 1; n++) by_number[n] = 0;
            for (int k = 0; k <= p->block_count; k++) {
                if (p->tier[k] != t || kept[k].from == INT_MAX) continue;
                stored_rows(rows, p, s, k);
                double bytes = (double)known(trace_boundary_bytes(s->trace, k)) * samples_of(p, s) * ((double)rows[m] / (double)p->batch);
                by_number[kept[k].from] += bytes;
                by_number[kept[k].to + 1] -= bytes;
            }
            for (int n = 0; n <= last; n++) {
                now += by_number[n];
                if (now > most) most = now;
            }
            out[m].stored_bytes[t] = to_bytes(most);
        }
}

/* Teacher and students with their states of a block that a device of the machine gets or gives back. */
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
static int64_t buffers_of(const Code *code, const Scenario *s)
{
    const TraceLoader *loader = &s->trace->loader;
    int64_t            most = 0, ahead = loader->present && loader->workers ? loader->prefetch - trace_loader_held(loader) : 0;

    for (int f = 0; f < code->phase_count; f++) {
        int64_t bytes = 0;
        for (int i = code->phases[f].first; i < code->phases[f].first + code->phases[f].count; i++) {
            const Instruction *in = &code->code[i];
            int64_t            rows = op_has_boundary(in->op) ? in->rows * known(trace_boundary_bytes(s->trace, in->block)) : 0;
            if (in->op == OP_LOAD && ahead > 0) bytes += rows * ahead;
            if (in->op == OP_STORE || in->op == OP_FETCH) bytes += rows * STORAGE_AHEAD;
        }
        if (bytes > most) most = bytes;
    }
    return most;
}

int memory_host(HostMemory *out, const Program *p, const Scenario *s, Error *err)
{
    int      machines = scenario_nodes(s), last = last_number(p), rc = -1;
    KeptSpan *kept = calloc((size_t)p->block_count + 1, sizeof *kept);
    double  *by_number = calloc((size_t)last + 2, sizeof *by_number);
    int64_t *rows = calloc((size_t)machines, sizeof *rows);
    char    *moves = calloc((size_t)p->block_count, 1);

    for (int m = 0; m < machines; m++) out[m] = (HostMemory){0};
    if (!kept || !by_number || !rows || !moves) { error_no_memory(err); goto done; }
    find_kept(kept, p, last);
    find_peaks(out, p, s, kept, by_number, rows, last);
    for (int m = 0; m < machines; m++) {
        for (int b = 0; b < p->block_count; b++) moves[b] = 0;
        for (int d = 0; d < p->device_count; d++) {
            if (scenario_node(s, d) != m) continue;
            out[m].buffer_bytes += buffers_of(&p->devices[d], s);
            for (int i = 0; i < p->devices[d].code_count; i++) {
                Op op = p->devices[d].code[i].op;
                if (op == OP_ONLOAD || op == OP_OFFLOAD) moves[p->devices[d].code[i].block] = 1;
            }
        }
        for (int b = 0; b < p->block_count; b++) out[m].weight_bytes += moves[b] ? block_bytes(s->trace, b) : 0;
    }
    rc = 0;
done:
    free(kept);
    free(by_number);
    free(rows);
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
            return error_set(err, "too large for storage \"%.64s\" of machine %d: needs %.6g GiB of %.6g", tier->name, m,
                             (double)shared * 0x1p-30, (double)tier->size_bytes * 0x1p-30);
        }
    }
    return 0;
}
