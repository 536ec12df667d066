/* The text Gantt: one step in steady state, a line a device.
 *
 *     device 0 |LLTTTFFFFBBBBBBBBU   |
 *     device 1 |   TTTTFFFFFBBBBBBBBU|
 */
#include "planner/report.h"

#include <stdlib.h>
#include <string.h>

#include "schedule/program.h"

enum { COLUMNS = 64, STEPS = 24 };

static char letter_of(const Span *span)
{
    static const char letters[OP_COUNT] = {[OP_LOAD] = 'L', [OP_RECV] = 'R', [OP_SEND] = 'S',
                                           [OP_TEACHER] = 'T', [OP_FORWARD] = 'F', [OP_BACKWARD] = 'B',
                                           [OP_ALLREDUCE] = 'A', [OP_UPDATE] = 'U', [OP_BARRIER] = '|'};

    return letters[span->instruction->op];
}

/* When device begins step in its compute lane; -1 when it never does. */
static int64_t step_start(const SimResult *sim, int device, int64_t step)
{
    int64_t start = -1;

    for (int64_t i = 0; i < sim->span_count; i++) {
        const Span *span = &sim->spans[i];
        if (span->device != device || span->step != step || span->lane != LANE_COMPUTE) continue;
        if (start < 0 || span->start_ns < start) start = span->start_ns;
    }
    return start;
}

/* Each column shows what fills most of it. */
static void draw_device(const SimResult *sim, int device, int64_t from, int64_t to, Text *out)
{
    int64_t most[COLUMNS] = {0};
    char    line[COLUMNS + 1];

    memset(line, ' ', COLUMNS);
    line[COLUMNS] = '\0';
    for (int64_t i = 0; i < sim->span_count; i++) {
        const Span *span = &sim->spans[i];
        if (span->device != device || (span->lane != LANE_COMPUTE && span->lane != LANE_LOADER)) continue;
        for (int c = 0; c < COLUMNS; c++) {
            int64_t a = from + (to - from) * c / COLUMNS, b = from + (to - from) * (c + 1) / COLUMNS;
            int64_t low = span->start_ns > a ? span->start_ns : a, high = span->end_ns < b ? span->end_ns : b;
            if (high - low <= most[c] || (span->lane == LANE_LOADER && line[c] != ' ')) continue;
            most[c] = high - low;
            line[c] = letter_of(span);
        }
    }
    text_printf(out, "  device %-3d |%s|\n", device, line);
}

/* ---- the step --------------------------------------------------------------------- */

typedef struct {
    Program  *program;       /* of some steps of the plan */
    SimResult sim;           /* of it, recorded */
    int64_t   from, to;      /* ns, of the step in the middle; from >= to: it cannot be told */
} Steady;

static int steady_find(Steady *out, const Plan *plan, const Scenario *scenario, Error *err)
{
    int64_t steps = scenario->steps < STEPS ? scenario->steps : STEPS, middle = steps / 2;
    int     last = 0;

    *out = (Steady){0};
    if (program_build(&out->program, plan, steps, err) != 0) return -1;
    if (sim_run(&out->sim, out->program, scenario, &(SimOptions){.record = true}, err) != 0) return -1;
    for (int64_t i = 0; i < out->sim.span_count; i++) {
        const Span *span = &out->sim.spans[i];
        if (span->step == middle && span->lane == LANE_COMPUTE && span->device > last) last = span->device;
    }
    out->from = step_start(&out->sim, last, middle);
    out->to = step_start(&out->sim, last, middle + 1);
    if (out->from >= 0 && out->to <= out->from) out->to = out->sim.epoch_ns;
    if (out->from < 0) out->to = out->from;
    return 0;
}

static void steady_free(Steady *steady)
{
    program_free(steady->program);
    sim_free(&steady->sim);
}

/* ---- as text and as JSON -------------------------------------------------------------- */

int report_gantt(const Plan *plan, const Scenario *scenario, Text *out, Error *err)
{
    Steady steady;
    int    shown = plan->device_count < 16 ? plan->device_count : 16;
    int    rc = steady_find(&steady, plan, scenario, err);

    if (rc == 0 && steady.to > steady.from) {
        text_printf(out, "one step in steady state, %.3f ms across\n", (double)(steady.to - steady.from) * 1e-6);
        for (int d = 0; d < shown; d++) draw_device(&steady.sim, d, steady.from, steady.to, out);
        if (shown < plan->device_count) text_printf(out, "  ... and %d more devices\n", plan->device_count - shown);
        text_append(out, "  L load  T teacher  F forward  B backward  A all-reduce  U update  S send\n");
    }
    steady_free(&steady);
    return rc;
}

static void span_json(const Span *span, bool first, Text *out)
{
    text_printf(out, "%s    {\"device\": %d, \"lane\": \"%s\", \"op\": \"%s\", \"block\": %d, \"start_us\": ",
                first ? "\n" : ",\n", span->device, lane_name(span->lane), op_name(span->instruction->op),
                span->instruction->block);
    text_us(out, span->start_ns);
    text_append(out, ", \"end_us\": ");
    text_us(out, span->end_ns);
    text_append(out, "}");
}

int report_step_json(const Plan *plan, const Scenario *scenario, Text *out, Error *err)
{
    Steady steady;
    int    rc = steady_find(&steady, plan, scenario, err);
    bool   first = true;

    if (rc == 0 && steady.to > steady.from) {
        text_append(out, "{\"from_us\": ");
        text_us(out, steady.from);
        text_append(out, ", \"to_us\": ");
        text_us(out, steady.to);
        text_append(out, ", \"spans\": [");
        for (int64_t i = 0; i < steady.sim.span_count; i++) {
            const Span *span = &steady.sim.spans[i];
            if (span->end_ns <= steady.from || span->start_ns >= steady.to) continue;
            span_json(span, first, out);
            first = false;
        }
        text_append(out, "\n  ]}");
    } else {
        text_append(out, "null");
    }
    steady_free(&steady);
    return rc;
}
