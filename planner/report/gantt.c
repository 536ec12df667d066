/* The text Gantt: one step in steady state, or a few where they take turns, a line a device.
 *
 *     device 0 |LLTTTFFFFBBBBBBBBU   |
 *     device 1 |   TTTTFFFFFBBBBBBBBU|
 */
#include "planner/report/report.h"

#include <stdlib.h>
#include <string.h>

#include "schedule/program.h"
#include "schedule/registry.h"

/* PERIOD: steps that take turns are shown together up to so many. */
enum { COLUMNS = 64, STEPS = 24, PERIOD = 6 };

static char letter_of(const Span *span)
{
    static const char letters[OP_COUNT] = {
        [OP_LOAD] = 'L',    [OP_RECV] = 'R',     [OP_SEND] = 'S',      [OP_TEACHER] = 'T',
        [OP_FORWARD] = 'F', [OP_BACKWARD] = 'B', [OP_ALLREDUCE] = 'A', [OP_UPDATE] = 'U',
        [OP_BARRIER] = '|', [OP_STORE] = 'W',    [OP_FETCH] = 'G',     [OP_ONLOAD] = 'I',
        [OP_OFFLOAD] = 'O'};

    return letters[span->instruction->op];
}

/* When device begins each step in its compute lane; -1 when it never does. start: [steps] */
static void step_starts(const SimResult *sim, int device, int64_t *start, int64_t steps)
{
    for (int64_t s = 0; s < steps; s++) start[s] = -1;
    for (int64_t i = 0; i < sim->span_count; i++) {
        const Span *span = &sim->spans[i];
        if (span->device != device || span->lane != LANE_COMPUTE || span->step >= steps) continue;
        if (start[span->step] < 0 || span->start_ns < start[span->step])
            start[span->step] = span->start_ns;
    }
}

/* The first column that has something of what begins at ns, or one before it. */
static int column_of(int64_t ns, int64_t from, int64_t to)
{
    if (ns <= from) return 0;            /* by however much */
    int c = (int)((double)(ns - from) / (double)(to - from) * COLUMNS) - 1;

    return c > 0 ? c : 0;
}

/* Each column shows what fills most of it, of a lane. line: [COLUMNS], what is there already
 * stays. */
static void draw_lane(char *line, const SimResult *sim, int device, Lane lane, int64_t from,
                      int64_t to)
{
    int64_t most[COLUMNS];

    for (int c = 0; c < COLUMNS; c++) most[c] = line[c] == ' ' ? 0 : INT64_MAX;
    for (int64_t i = 0; i < sim->span_count; i++) {
        const Span *span = &sim->spans[i];
        if (span->device != device || span->lane != lane) continue;
        for (int c = column_of(span->start_ns, from, to);
             c < COLUMNS && from + (to - from) * c / COLUMNS < span->end_ns; c++) {
            int64_t a = from + (to - from) * c / COLUMNS,
                    b = from + (to - from) * (c + 1) / COLUMNS;
            int64_t low = span->start_ns > a ? span->start_ns : a,
                    high = span->end_ns < b ? span->end_ns : b;
            if (high - low <= most[c]) continue;
            most[c] = high - low;
            line[c] = letter_of(span);
        }
    }
}

/* Loading shows where nothing is computed. simulated: the device that was for this one. */
static void draw_device(const SimResult *sim, int device, int simulated, int64_t from, int64_t to,
                        Text *out)
{
    char line[COLUMNS + 1];

    memset(line, ' ', COLUMNS);
    line[COLUMNS] = '\0';
    draw_lane(line, sim, simulated, LANE_COMPUTE, from, to);
    draw_lane(line, sim, simulated, LANE_LOADER, from, to);
    draw_lane(line, sim, simulated, LANE_STORAGE, from, to);
    text_printf(out, "  device %-3d |%s|\n", device, line);
}

/* ---- the step --------------------------------------------------------------------- */

typedef struct {
    Program  *program;       /* of some steps of the plan */
    SimResult sim;           /* of it, recorded */
    int64_t   from, to;      /* ns, from the step in the middle on; from >= to: it cannot be told */
    int       steps;         /* from..to: after so many it begins anew; 0: they differ, it is one of
                              * them */
    int      *twin;          /* [device_count] who was simulated for each; NULL: each itself */
} SteadyStep;

/* After how many steps each takes as long as before, from first on; 0: that is not seen. start:
 * [count] */
static int period_of(const int64_t *start, int64_t count, int64_t first)
{
    for (int period = 1; period <= PERIOD; period++) {
        bool same = true;

        for (int64_t s = first; same && s + period + 1 < count; s++) {
            int64_t one = start[s + 1] - start[s],
                    other = start[s + period + 1] - start[s + period];
            same = llabs(one - other) <= (one > other ? one : other) / 1000;
        }
        if (same) return period;
    }
    return 0;
}

/* The first phase of a device's later epochs; NULL: it has none. */
static const Phase *later_phase(const Code *code)
{
    for (int p = 0; p < code->phase_count; p++)
        if (code->phases[p].first_step > 0) return &code->phases[p];
    return NULL;
}

/* Of a plan that stores for several epochs only what each device does in its first phase of later
 * epochs. */
static void keep_later(SteadyStep *out)
{
    int64_t kept = 0;

    for (int64_t i = 0; i < out->sim.span_count; i++) {
        const Span  *span = &out->sim.spans[i];
        const Code  *code = &out->program->devices[span->device];
        const Phase *phase = later_phase(code);
        int64_t      at = span->instruction - code->code;
        if (phase && at >= phase->first && at < phase->first + phase->count)
            out->sim.spans[kept++] = *span;
    }
    out->sim.span_count = kept;
}

/* Only what is seen between from and to. */
static void keep_window(SteadyStep *out)
{
    int64_t kept = 0;

    for (int64_t i = 0; i < out->sim.span_count; i++) {
        const Span *span = &out->sim.spans[i];
        if (span->end_ns > out->from && span->start_ns < out->to)
            out->sim.spans[kept++] = *span;
    }
    out->sim.span_count = kept;
}

static bool computes(const Code *code)
{
    for (int i = 0; i < code->code_count; i++)
        if (code->code[i].op == OP_TEACHER || code->code[i].op == OP_FORWARD) return true;
    return false;
}

/* The last device that computes in step, of those with spans; -1: none does. */
static int last_device(const SimResult *sim, int64_t step)
{
    int last = -1;

    for (int64_t i = 0; i < sim->span_count; i++) {
        const Span *span = &sim->spans[i];
        if (span->step == step && span->lane == LANE_COMPUTE && span->device > last)
            last = span->device;
    }
    return last;
}

/* Runs the program as far as a step can be told by: of many phases the first, which is all that a
 * picture shows. Spans are those of the first shown devices (-1: of all) and of the last that
 * computes, whose steps are looked at. */
static int run_recorded(SteadyStep *out, const Scenario *s, int64_t steps, int shown, Error *err)
{
    const Program *p = out->program;
    bool          *recorded = calloc((size_t)p->device_count, sizeof *recorded);
    SimOptions     options = {
            .record = true, .recorded = recorded, .first_phase = steps == STEPS && p->epochs == 1};
    int            last = p->device_count - 1, rc;

    if (!recorded) return error_no_memory(err);
    while (last >= 0 && !computes(&p->devices[last])) last--;
    for (int d = 0; d < p->device_count; d++) recorded[d] = shown < 0 || d < shown || d == last;
    if (p->queue.phase_count > 0) options.recorded = NULL;           /* who takes what is not known
                                                                      * before */
    rc = sim_run(&out->sim, p, s, &options, err);
    /* takes no time */
    if (rc == 0 && options.recorded && last_device(&out->sim, steps / 2) != last) {
        sim_free(&out->sim);
        options.recorded = NULL;
        rc = sim_run(&out->sim, p, s, &options, err);
    }
    free(recorded);
    return rc;
}

/* ---- an excerpt --------------------------------------------------------------------- */

/* In the first phase of dp, and in ir, devices with as many rows do the same at the same time, and
 * in ls each goes its own way, where they share nothing but their group. */
static bool is_plain(const Plan *plan, const Scenario *s)
{
    const ScheduleRow *row = schedule_row(plan->schedule);

    return (row->phases || plan->stage_count == 1) && !row->apart && !row->stores && !plan->stealing
           && s->steps >= STEPS && !s->trace->loader.present && !s->trace->contended
           && !trace_has_stalls(s->trace);
}

static bool same_work(const Scenario *s, const Stage *stage, int i, int k)
{
    return stage->rows[i] == stage->rows[k]
           && scenario_same_speed(s, stage->devices[i], stage->devices[k]);
}

/* built[] of the first device of each sort in a stage, which is the others' twin. */
static void pick_twins(const SteadyStep *out, const Stage *stage, const Scenario *s, bool *built)
{
    for (int i = 0, k; i < stage->width; i++) {
        for (k = 0; k < i; k++)
            if (built[stage->devices[k]] && same_work(s, stage, i, k)) break;
        out->twin[stage->devices[i]] = stage->devices[k];
        built[stage->devices[k]] = true;
    }
}

/* The program of those who stand for the first shown devices and for the last one, with the first
 * phase at least; *last is who does for that. */
static int build_excerpt(SteadyStep *out, const Plan *plan, const Scenario *s, int shown, int *last,
                         Error *err)
{
    bool *built = calloc((size_t)plan->device_count, sizeof *built);
    int   rc = -1;

    out->twin = calloc((size_t)plan->device_count, sizeof *out->twin);
    if (!built || !out->twin) { free(built); return error_no_memory(err); }
    for (int d = 0; d < plan->device_count; d++) out->twin[d] = d;
    for (int i = 0; i < plan->stage_count; i++)
        for (int k = 0; k < plan->stages[i].width; k++)
            if (plan->stages[i].devices[k] > *last) *last = plan->stages[i].devices[k];
    if (schedule_row(plan->schedule)->lists)
        for (int d = 0; d < plan->device_count; d++) built[d] = d < shown || d == *last;
    else
        pick_twins(out, &plan->stages[0], s, built);
    *last = out->twin[*last];
    rc = program_build_excerpt(&out->program, plan, STEPS, built, err);
    free(built);
    return rc;
}

/* The program with all its devices; of one that is too long, of dp, its first phase, which is all
 * that a picture shows. */
static int build_all(SteadyStep *out, const Plan *plan, int64_t steps, Error *err)
{
    bool *built;
    int   rc;

    if (plan->schedule != SCHEDULE_DP || program_least(plan) <= (double)PROGRAM_MAX_INSTRUCTIONS)
        return program_build_short(&out->program, plan, steps, err);
    built = malloc((size_t)plan->device_count * sizeof *built);
    if (!built) return error_no_memory(err);
    memset(built, true, (size_t)plan->device_count * sizeof *built);
    rc = program_build_excerpt(&out->program, plan, steps, built, err);
    free(built);
    return rc;
}

/* Finds the step or steps to show, and their spans, of the first shown devices; -1: of all, each
 * its own. */
static int steady_find(SteadyStep *out, const Plan *plan, const Scenario *scenario, int shown,
                       Error *err)
{
    int64_t steps = scenario->steps < STEPS ? scenario->steps : STEPS, middle = steps / 2,
            start[STEPS], end;
    int     last = -1;

    *out = (SteadyStep){0};
    if (shown >= 0 && is_plain(plan, scenario)) {
        if (build_excerpt(out, plan, scenario, shown, &last, err) != 0) return -1;
        SimOptions options = {.record = true, .first_phase = true};
        if (sim_run(&out->sim, out->program, scenario, &options, err) != 0) return -1;
    } else {
        if (build_all(out, plan, steps, err) != 0) return -1;
        if (run_recorded(out, scenario, steps, shown, err) != 0) return -1;
        if (out->program->epochs > 1) keep_later(out);
        last = last_device(&out->sim, middle);
    }
    if (last < 0) last = 0;
    step_starts(&out->sim, last, start, steps);
    out->from = out->to = start[middle];
    if (out->from < 0) return 0;
    out->steps = period_of(start, steps, middle);
    end = middle + (out->steps > 1 ? out->steps : 1);
    out->to = end < steps ? start[end] : -1;
    if (out->to <= out->from) out->to = out->sim.epoch_ns;
    keep_window(out);
    return 0;
}

static void steady_free(SteadyStep *steady)
{
    program_free(steady->program);
    sim_free(&steady->sim);
    free(steady->twin);
}

/* ---- as text and as JSON -------------------------------------------------------------- */

int report_gantt(const Plan *plan, const Scenario *scenario, Text *out, Error *err)
{
    SteadyStep steady;
    int    shown = plan->device_count < 16 ? plan->device_count : 16;
    Error  why = {""};
    int    rc = steady_find(&steady, plan, scenario, shown, &why);

    if (rc != 0 && !error_is_no_memory(&why))
        text_printf(out, "no picture of a step: %s\n", why.text);
    if (rc == 0 && steady.to > steady.from) {
        double ms = (double)(steady.to - steady.from) * 1e-6;

        if (steady.steps == 0)
            text_printf(
                out, "one step in the middle, %.3f ms across; others take longer or shorter\n", ms);
        else if (steady.steps > 1)
            text_printf(
                out, "%d steps in steady state, which take turns, %.3f ms across, %.3f ms a step\n",
                steady.steps, ms, ms / steady.steps);
        else
            text_printf(out, "one step in steady state, %.3f ms across\n", ms);
        for (int d = 0; d < shown; d++)
            draw_device(&steady.sim, d, steady.twin ? steady.twin[d] : d, steady.from, steady.to,
                        out);
        if (shown < plan->device_count)
            text_printf(out, "  ... and %d more devices\n", plan->device_count - shown);
        text_append(out,
                    "  L load  T teacher  F forward  B backward  A all-reduce  U update  S send\n");
        if (schedule_row(plan->schedule)->stores)
            text_append(out, "  W store  G fetch  I onload  O offload\n");
    }
    steady_free(&steady);
    return error_is_no_memory(&why) ? error_no_memory(err) : 0;
}

static void span_json(const Span *span, bool first, Text *out)
{
    text_printf(
        out,
        "%s    {\"device\": %d, \"lane\": \"%s\", \"op\": \"%s\", \"block\": %d, \"start_us\": ",
        first ? "\n" : ",\n", span->device, lane_name(span->lane), op_name(span->instruction->op),
        span->instruction->block);
    text_us(out, span->start_ns);
    text_append(out, ", \"end_us\": ");
    text_us(out, span->end_ns);
    text_append(out, "}");
}

int report_step_json(const Plan *plan, const Scenario *scenario, Text *out, Error *err)
{
    SteadyStep steady;
    Error  why = {""};
    int    rc = steady_find(&steady, plan, scenario, -1, &why);
    bool   first = true;

    if (rc == 0 && steady.to > steady.from) {
        text_append(out, "{\"from_us\": ");
        text_us(out, steady.from);
        text_append(out, ", \"to_us\": ");
        text_us(out, steady.to);
        text_printf(out, ", \"steps\": %d", steady.steps > 1 ? steady.steps : 1);
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
    return error_is_no_memory(&why) ? error_no_memory(err) : 0;
}
