#include "planner/candidate_phases.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "schedule/verify.h"

typedef struct {
    SimResult  *sum;
    Memory     *memory;          /* [devices] the most of the phases so far */
    Memory     *of_phase;        /* [devices] */
    int        *students;        /* [blocks] of the phase's program */
    double      teacher, loaded; /* rows */
    bool        apart;           /* devices ended a phase at different times */
} PhaseSums;

/* Rows are whole, whatever they were divided by. */
static void add_rows(PhaseSums *x, const SimResult *phase, const Plan *plan)
{
    double batch = (double)plan->batch;

    x->teacher += nearbyint(phase->teacher_work * batch * plan->block_count);
    x->loaded += nearbyint(phase->loads * batch);
}

/* -1: time passes what the simulator takes. */
static int add_result(PhaseSums *x, const SimResult *phase, const Plan *plan, Error *err)
{
    const int64_t most_ns = (int64_t)1 << 62;
    SimResult    *sum = x->sum;

    for (int d = 0; d < phase->device_count; d++) {
        x->apart |= phase->shares[d][SHARE_IDLE] > 0;
        for (int k = 0; k < SHARE_COUNT; k++) sum->shares[d][k] += phase->shares[d][k];
        if (x->of_phase[d].total_bytes > x->memory[d].total_bytes) x->memory[d] = x->of_phase[d];
    }
    if (phase->epoch_ns > most_ns - sum->epoch_ns)
        return error_set(err, "simulated time passes 2^62 ns (146 years)");
    sum->epoch_ns += phase->epoch_ns;
    sum->simulated += phase->simulated;
    sum->skipped += phase->skipped;
    add_rows(x, phase, plan);
    return 0;
}

/* Whether the phase after has the same devices and rows. Then its program has all instructions of
 * this one's but for the number of the block that is trained, and needs the more of each rule. */
static bool is_like_the_next(const Plan *plan, int number)
{
    const Stage *a = &plan->stages[number], *b = a + 1;

    return number + 1 < plan->stage_count && a->width == b->width && a->first <= b->first
           && memcmp(a->devices, b->devices, (size_t)a->width * sizeof *a->devices) == 0
           && memcmp(a->rows, b->rows, (size_t)a->width * sizeof *a->rows) == 0;
}

static int do_phase(PhaseSums *x, const Plan *plan, int number, const Scenario *s, Error *err)
{
    Plan      phase = *plan;     /* borrows what plan has */
    int       block = plan->stages[number].first, rc = -1;
    Program  *program = NULL;
    SimResult result = {0};

    x->students[block] = plan_students(plan, block);
    phase.stages = plan->stages + number;
    phase.stage_count = 1;
    phase.students = x->students;
    if (program_build(&program, &phase, s->steps, err) == 0
        && (is_like_the_next(plan, number) || program_verify(program, s->queue_depth, err) == 0)
        && memory_peak(x->of_phase, program, s, err) == 0
        && sim_run(&result, program, s, &(SimOptions){0}, err) == 0)
        rc = add_result(x, &result, plan, err);
    x->students[block] = 0;
    sim_free(&result);
    program_free(program);
    return rc;
}

static void finish(PhaseSums *x, const Plan *plan)
{
    SimResult *sum = x->sum;

    sum->teacher_work = x->teacher / ((double)plan->batch * plan->block_count);
    sum->loads = x->loaded / (double)plan->batch;
    sum->utilisation = sim_utilisation(sum);
}

int phases_price(SimResult *out, Memory *memory, bool *done, const Plan *plan, const Scenario *s,
                 Error *err)
{
    size_t    g = (size_t)plan->device_count;
    PhaseSums x = {.sum = out, .memory = memory};
    int       rc = -1;

    *done = false;
    *out = (SimResult){.device_count = plan->device_count, .steps = s->steps};
    if (plan->schedule != SCHEDULE_DP || s->trace->contended) return 0;
    x.of_phase = calloc(g, sizeof *x.of_phase);
    x.students = calloc((size_t)plan->block_count, sizeof *x.students);
    out->shares = calloc(g, sizeof *out->shares);
    if (!x.of_phase || !x.students || !out->shares) { error_no_memory(err); goto end; }
    memset(memory, 0, g * sizeof *memory);
    rc = 0;
    for (int i = 0; i < plan->stage_count && rc == 0 && !x.apart; i++)
        rc = do_phase(&x, plan, i, s, err);
    *done = rc == 0 && !x.apart;
    if (*done) finish(&x, plan);
end:
    free(x.of_phase);
    free(x.students);
    if (!*done) sim_free(out);
    return rc;
}
