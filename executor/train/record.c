#include "executor/train/record.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"

enum { MOST_SPANS = 3 };     /* of an instruction: a RECV its own, and one at each end of the
                              * link */
enum { LANES = LANE_STORAGE + 1 };

static int make_room_for_spans(Recorder *r, int64_t more)
{
    if (r->span_count + more <= r->span_capacity) return 0;
    int64_t bigger = r->span_count + more;
    Span   *moved = realloc(r->spans, (size_t)bigger * sizeof *moved);
    if (!moved) return -1;
    r->spans = moved;
    r->span_capacity = bigger;
    return 0;
}

int record_phase(Recorder *r, const PhaseTimes *phase, int code_count, int64_t start_ns, Error *err)
{
    int64_t run = phase->steps;

    if (!array_has_room(r->phases, r->phase_count, r->phase_capacity)) return error_no_memory(err);
    int64_t kept = r->steps < run ? r->steps : run;
    if (make_room_for_spans(r, kept * code_count * MOST_SPANS) != 0) return error_no_memory(err);
    PhaseTimes *times = &r->phases[r->phase_count];
    *times = *phase;
    times->start_ns = start_ns;
    times->steps = 0;
    times->step_end_ns = calloc((size_t)run + 1, sizeof *times->step_end_ns);
    if (!times->step_end_ns) return error_no_memory(err);
    r->phase_count++;
    return 0;
}

void record_times(Recorder *r, const Instruction *in, int64_t began_ns, int64_t ready_ns,
                  int64_t end_ns)
{
    PhaseTimes *times = &r->phases[r->phase_count - 1];

    times->wait_ns[in->op] += ready_ns - began_ns;
    times->work_ns[in->op] += end_ns - ready_ns;
}

void record_wait(Recorder *r, Op op, int64_t ns)
{
    r->phases[r->phase_count - 1].wait_ns[op] += ns;
}

void record_span(Recorder *r, int device, Lane lane, const Instruction *in, int64_t step,
                 int64_t start_ns, int64_t end_ns)
{
    if (step < r->first || step - r->first >= r->steps || start_ns >= end_ns) return;
    if (r->span_count < r->span_capacity)
        r->spans[r->span_count++] = (Span){device, lane, in, step, start_ns, end_ns};
}

void record_step(Recorder *r, int64_t end_ns)
{
    PhaseTimes *times = &r->phases[r->phase_count - 1];

    times->step_end_ns[times->steps++] = end_ns;
}

void record_cpu(Recorder *r, int64_t cpu_ns)
{
    r->phases[r->phase_count - 1].cpu_ns = cpu_ns;
}

/* ---- collecting ------------------------------------------------------------------- */

typedef struct { Span span; int recorder; int64_t index; } Ordered;

/* The two spans of a SEND end together and stand side by side in their recorder: they stay so. */
static int by_end(const void *a, const void *b)
{
    const Ordered *x = a, *y = b;

    if (x->span.end_ns != y->span.end_ns) return x->span.end_ns < y->span.end_ns ? -1 : 1;
    if (x->recorder != y->recorder) return x->recorder < y->recorder ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static bool is_shared(Lane lane)
{
    return lane == LANE_COPY_IN || lane == LANE_COPY_OUT || lane == LANE_REDUCE;
}

/* Two peers may copy to a device at once, or two sums be under way; on the one lane for it the
 * later box begins where the earlier ends. */
static void part_copies(Span *spans, int64_t count, int64_t *lane_end_ns)
{
    for (int64_t i = 0; i < count; i++) {
        Span *span = &spans[i];
        if (!is_shared(span->lane)) continue;
        int64_t *end_ns = &lane_end_ns[span->device * LANES + (int)span->lane];
        if (span->start_ns < *end_ns) span->start_ns = *end_ns;
        *end_ns = span->end_ns;
    }
}

/* Puts the devices' spans into one array, ordered by their ends and counted from the run's start.
 * -1: no memory. */
static int collect_spans(ExecutionResult *out, const Recorder *recorders, size_t count)
{
    int64_t  total = 0, n = 0;
    int64_t *lane_end_ns = calloc(count * LANES, sizeof *lane_end_ns);
    Ordered *all;

    for (size_t d = 0; d < count; d++) total += recorders[d].span_count;
    all = calloc((size_t)total + 1, sizeof *all);
    out->spans = calloc((size_t)total + 1, sizeof *out->spans);
    if (!all || !out->spans || !lane_end_ns) { free(all); free(lane_end_ns); return -1; }
    for (size_t d = 0; d < count; d++)
        for (int64_t i = 0; i < recorders[d].span_count; i++)
            all[n++] = (Ordered){recorders[d].spans[i], (int)d, i};
    qsort(all, (size_t)total, sizeof *all, by_end);
    for (int64_t i = 0; i < total; i++) {
        out->spans[i] = all[i].span;
        out->spans[i].start_ns -= out->start_ns;
        out->spans[i].end_ns -= out->start_ns;
        /* loaded before all were ready */
        if (out->spans[i].start_ns < 0) out->spans[i].start_ns = 0;
        if (out->spans[i].end_ns < 0) out->spans[i].end_ns = 0;
    }
    out->span_count = total;
    part_copies(out->spans, total, lane_end_ns);
    free(all);
    free(lane_end_ns);
    return 0;
}

static int collect_phases(ExecutionResult *out, Recorder *recorders, size_t count)
{
    int total = 0;

    for (size_t d = 0; d < count; d++) total += recorders[d].phase_count;
    out->phases = calloc((size_t)total + 1, sizeof *out->phases);
    if (!out->phases) return -1;
    for (size_t d = 0; d < count; d++) {
        for (int p = 0; p < recorders[d].phase_count; p++) {
            PhaseTimes *times = &out->phases[out->phase_count++];
            *times = recorders[d].phases[p];
            times->start_ns -= out->start_ns;
            for (int64_t s = 0; s < times->steps; s++) times->step_end_ns[s] -= out->start_ns;
        }
        recorders[d].phase_count = 0;
    }
    return 0;
}

int record_collect(ExecutionResult *out, Recorder *recorders, size_t count, Error *err)
{
    if (collect_phases(out, recorders, count) != 0 || collect_spans(out, recorders, count) != 0)
        return error_no_memory(err);
    return 0;
}

void record_free(Recorder *r)
{
    for (int p = 0; p < r->phase_count; p++) free(r->phases[p].step_end_ns);
    free(r->phases);
    free(r->spans);
}
