#include "planner/stages/stage_memory.h"

#include <stdlib.h>

#include "base/micro.h"
#include "base/minmax.h"

struct StageMemory {
    const Scenario *scenario;
    int      blocks;
    int64_t *fixed;              /* [blocks + 1] weights, gradients, state of the blocks before */
    int64_t *boundaries;         /* [blocks + 2] P: bytes of the boundaries before, a row */
    int64_t *teacher;            /* [levels][blocks] greatest P[b+2] + teacher b of 2^level
                                  * blocks */
    int64_t *student;            /* [levels][blocks] greatest student b - P[b] */
};

static int64_t known(int64_t bytes)           { return bytes == TRACE_ABSENT ? 0 : bytes; }

static int64_t fixed_bytes(const Trace *t, const TraceBlock *b)
{
    return known(b->teacher_weight_bytes) + known(b->student_weight_bytes)
           + known(micro_gradients(t->micro_batches, b->gradient_bytes)) + known(b->state_bytes);
}

/* What waits where the stage begins, a row. */
static int64_t waiting(const Scenario *s, int first)
{
    const TraceLoader *loader = &s->trace->loader;
    int64_t            copies = first > 0 ? s->queue_depth : trace_loader_held(loader);

    return copies * known(trace_boundary_bytes(s->trace, first));
}

/* ---- tables ------------------------------------------------------------------------ */

static int level_of(int count) { return 31 - __builtin_clz((unsigned)count); }

/* Level 0 is filled; the rest are maxima of two of the level below. */
static void fill_levels(int64_t *table, int blocks)
{
    for (int level = 1; level <= level_of(blocks); level++) {
        const int64_t *below = table + (size_t)(level - 1) * (size_t)blocks;
        int64_t       *here = table + (size_t)level * (size_t)blocks;
        for (int b = 0; b + (1 << level) <= blocks; b++)
            here[b] = larger(below[b], below[b + (1 << (level - 1))]);
    }
}

static int64_t greatest(const StageMemory *m, const int64_t *table, int first, int last)
{
    int            level = level_of(last - first + 1);
    const int64_t *here = table + (size_t)level * (size_t)m->blocks;

    return larger(here[first], here[last + 1 - (1 << level)]);
}

static void fill(StageMemory *m)
{
    const Trace *trace = m->scenario->trace;

    for (int b = 0; b < m->blocks; b++)
        m->fixed[b + 1] = m->fixed[b] + fixed_bytes(trace, &trace->blocks[b]);
    for (int k = 0; k <= m->blocks; k++)
        m->boundaries[k + 1] = m->boundaries[k] + known(trace_boundary_bytes(trace, k));
    for (int b = 0; b < m->blocks; b++) {
        m->teacher[b] = m->boundaries[b + 2] + known(trace->blocks[b].teacher_activation_bytes);
        m->student[b] =
            known(micro_bytes(trace->micro_batches, trace->blocks[b].student_activation_bytes))
            - m->boundaries[b];
    }
    fill_levels(m->teacher, m->blocks);
    fill_levels(m->student, m->blocks);
}

int stage_memory_build(StageMemory **out, const Scenario *scenario, Error *err)
{
    StageMemory *m = calloc(1, sizeof *m);
    size_t       n = (size_t)scenario->trace->block_count, levels = (size_t)level_of((int)n) + 1;

    *out = NULL;
    if (!m) return error_no_memory(err);
    m->scenario = scenario;
    m->blocks = (int)n;
    m->fixed = calloc(n + 1, sizeof *m->fixed);
    m->boundaries = calloc(n + 2, sizeof *m->boundaries);
    m->teacher = calloc(levels * n, sizeof *m->teacher);
    m->student = calloc(levels * n, sizeof *m->student);
    if (!m->fixed || !m->boundaries || !m->teacher || !m->student) {
        stage_memory_free(m);
        return error_no_memory(err);
    }
    fill(m);
    *out = m;
    return 0;
}

void stage_memory_free(StageMemory *m)
{
    if (!m) return;
    free(m->fixed);
    free(m->boundaries);
    free(m->teacher);
    free(m->student);
    free(m);
}

/* ---- looking up ---------------------------------------------------------------------- */

/* Of boundaries and activations, a row. */
static int64_t alive(const StageMemory *m, int first, int last)
{
    return larger(greatest(m, m->teacher, first, last) - m->boundaries[first],
                  m->boundaries[last + 2] + greatest(m, m->student, first, last));
}

int64_t stage_memory_floor(const StageMemory *m, int first, int last, int64_t rows)
{
    return m->scenario->trace->process_bytes + m->fixed[last + 1] - m->fixed[first]
           + rows * alive(m, first, last);
}

int64_t stage_memory_bytes(const StageMemory *m, int first, int last, int64_t rows)
{
    return stage_memory_floor(m, first, last, rows) + rows * waiting(m->scenario, first);
}

int64_t stage_memory_most_rows(const StageMemory *m, int first, int last, int64_t limit_bytes)
{
    int64_t left =
        limit_bytes - m->scenario->trace->process_bytes - (m->fixed[last + 1] - m->fixed[first]);
    int64_t row = alive(m, first, last) + waiting(m->scenario, first), batch = m->scenario->batch;

    if (left < 0) return 0;
    return row == 0 || left / row > batch ? batch : left / row;
}

int64_t stage_memory_plain(const Scenario *s, int first, int last, int64_t rows)
{
    const Trace *trace = s->trace;
    int64_t      fixed = trace->process_bytes, peak = 0,
            kept = known(trace_boundary_bytes(trace, first));

    for (int b = first; b <= last; b++) {
        const TraceBlock *block = &trace->blocks[b];
        fixed += fixed_bytes(trace, block);
        kept += known(block->output_bytes);
        peak = larger(peak, kept + known(block->teacher_activation_bytes));
    }
    for (int b = first; b <= last; b++) {
        peak = larger(peak, kept
                                + known(micro_bytes(trace->micro_batches,
                                                    trace->blocks[b].student_activation_bytes)));
        kept -= known(trace_boundary_bytes(trace, b));
    }
    return fixed + rows * (peak + waiting(s, first));
}

void stage_memory_tasks(int64_t *bytes, const Scenario *s)
{
    const Trace *trace = s->trace;
    int64_t      teacher = trace->process_bytes, peak = 0;

    for (int b = 0; b < trace->block_count; b++) {
        const TraceBlock *block = &trace->blocks[b];
        int64_t around = known(trace_boundary_bytes(trace, b)) + known(block->output_bytes);
        peak = larger(peak, around + known(block->teacher_activation_bytes));
        bytes[b] = teacher + fixed_bytes(trace, block)
                   + s->batch
                         * (larger(peak, around
                                             + known(micro_bytes(trace->micro_batches,
                                                                 block->student_activation_bytes)))
                            + waiting(s, 0));
        teacher += known(block->teacher_weight_bytes);
    }
}

bool stage_memory_limited(const Scenario *s)
{
    for (int d = 0; d < s->device_count; d++) if (s->memory_bytes[d]) return true;
    return false;
}
