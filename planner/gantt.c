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

int report_gantt(const Plan *plan, const Scenario *scenario, Text *out, Error *err)
{
    Program  *program = NULL;
    SimResult sim = {0};
    int64_t   steps = scenario->steps < STEPS ? scenario->steps : STEPS, middle = steps / 2;
    int       rc = -1, last = 0, shown = plan->device_count < 16 ? plan->device_count : 16;

    if (program_build(&program, plan, steps, err) != 0) goto done;
    if (sim_run(&sim, program, scenario, &(SimOptions){.record = true}, err) != 0) goto done;
    for (int64_t i = 0; i < sim.span_count; i++)
        if (sim.spans[i].step == middle && sim.spans[i].lane == LANE_COMPUTE && sim.spans[i].device > last)
            last = sim.spans[i].device;
    int64_t from = step_start(&sim, last, middle), to = step_start(&sim, last, middle + 1);
    if (from >= 0 && to <= from) to = sim.epoch_ns;
    if (from >= 0 && to > from) {
        text_printf(out, "one step in steady state, %.3f ms across\n", (double)(to - from) * 1e-6);
        for (int d = 0; d < shown; d++) draw_device(&sim, d, from, to, out);
        if (shown < plan->device_count) text_printf(out, "  ... and %d more devices\n", plan->device_count - shown);
        text_append(out, "  L load  T teacher  F forward  B backward  A all-reduce  U update  S send\n");
    }
    rc = 0;
done:
    program_free(program);
    sim_free(&sim);
    return rc;
}
