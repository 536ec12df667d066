#include "planner/candidate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schedule/verify.h"

void candidate_free(Candidate *row)
{
    plan_free(row->plan);
    sim_free(&row->sim);
    free(row->memory);
    row->plan = NULL;
    row->memory = NULL;
}

int candidate_give_up(Candidate *row, const Error *why, Error *err)
{
    candidate_free(row);
    snprintf(row->why, sizeof row->why, "%.255s", why->text);
    return error_is_no_memory(why) ? error_no_memory(err) : 0;
}

/* The device that needs most; false when one needs more than it has. */
static bool fits(Candidate *row, const Memory *memory, const Scenario *s, Error *why)
{
    bool ok = true;

    row->peak_device = 0;
    for (int d = 0; d < s->device_count; d++) {
        if (memory[d].total_bytes > memory[row->peak_device].total_bytes) row->peak_device = d;
        if (!ok || !s->memory_bytes[d] || memory[d].total_bytes <= s->memory_bytes[d]) continue;
        ok = false;
        error_set(why, "too large for device %d: needs %.6g MiB of %.6g", d,
                  (double)memory[d].total_bytes * 0x1p-20, (double)s->memory_bytes[d] * 0x1p-20);
    }
    row->peak = memory[row->peak_device];
    return ok;
}

static int note_prediction(Plan *plan, const SimResult *sim, const Scenario *s, Error *err)
{
    const char *name = arena_strdup(&plan->arena, s->trace->name);

    if (!name) return error_no_memory(err);
    plan->trace_name = name;
    plan->trace_hash = s->trace->hash;
    plan->epoch_ns = sim->epoch_ns;
    plan->step_ns = sim->epoch_ns / s->steps;
    return 0;
}

/* The plan trains the students that the trace has; one that does not say trains all. */
static int check_students(Plan *plan, const Trace *trace, Error *err)
{
    int *counts, rc = 0;

    if (plan->block_count != trace->block_count) return 0;       /* said elsewhere */
    if (!plan->students && plan->schedule != SCHEDULE_SPLIT && trace_has_many_students(trace)) {
        counts = calloc((size_t)trace->block_count, sizeof *counts);
        if (!counts) return error_no_memory(err);
        for (int b = 0; b < trace->block_count; b++) counts[b] = trace_students(&trace->blocks[b]);
        rc = plan_set_students(plan, counts, err);
        free(counts);
    }
    for (int b = 0; b < trace->block_count && rc == 0; b++)
        if (plan_students(plan, b) != trace_students(&trace->blocks[b]))
            rc = error_set(err, "a plan for %d students of block %d, expected %d as in the trace",
                           plan_students(plan, b), b, trace_students(&trace->blocks[b]));
    return rc;
}

int candidate_price(Candidate *row, Plan *plan, const Scenario *s, Error *err)
{
    Program *program = NULL;
    Memory  *memory = calloc((size_t)s->device_count, sizeof *memory);
    Error    why = {""};
    bool     good;
    int      rc = 0;

    row->plan = plan;
    row->memory = memory;
    if (!memory) { error_no_memory(&why); return candidate_give_up(row, &why, err); }
    good = check_students(plan, s->trace, &why) == 0 && plan_check(plan, &why) == 0 && program_build(&program, plan, s->steps, &why) == 0
           && program_verify(program, s->queue_depth, &why) == 0
           && memory_peak(memory, program, s, &why) == 0 && fits(row, memory, s, &why)
           && sim_run(&row->sim, program, s, &(SimOptions){0}, &why) == 0
           && note_prediction(plan, &row->sim, s, &why) == 0;
    if (!good) rc = candidate_give_up(row, &why, err);
    program_free(program);
    return rc;
}

static void keep_faster(Candidate *best, Candidate *next)
{
    bool better = next->plan && (!best->plan || next->sim.epoch_ns < best->sim.epoch_ns);
    Candidate *loser = better ? best : next;

    if (!next->plan && !best->plan && !best->why[0]) memcpy(best->why, next->why, sizeof best->why);
    candidate_free(loser);
    if (better) { next->ahd_ns = best->ahd_ns; *best = *next; }
}

int candidate_try(Candidate *row, Plan *plan, const char *method, const Scenario *s, Error *err)
{
    Candidate next = {0};

    if (candidate_price(&next, plan, s, err) != 0) return -1;
    snprintf(next.method, sizeof next.method, "%s", method);
    keep_faster(row, &next);
    return 0;
}
