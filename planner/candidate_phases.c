#include "planner/candidate_phases.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "schedule/verify.h"

typedef struct {
    const Plan     *plan;
    const Scenario *s;
    const double   *load;        /* [devices] as SimOptions has it */
    bool            played;      /* once: it is verified, and its memory is known */
    SimResult      *sum;
    Memory         *memory;      /* [devices] the most of the phases so far */
    Memory         *of_phase;    /* [devices] */
    int            *students;    /* [blocks] of the phase's program */
    int            *first;       /* [devices] of its class */
    int            *stands_for;  /* [devices] the first of a class: its members; others: 0 */
    bool           *built;       /* [devices] those that stand for any */
    int64_t        *end_ns;      /* [devices] of the phases so far */
    int64_t        *begin_ns;    /* [devices] the same, of the phase's program */
    double          teacher, loaded;     /* rows */
} PhaseSums;

/* ---- classes ------------------------------------------------------------------------- */

/* Whether devices d and e have as many rows in all phases; place[]: where a device stands in the
 * list of each phase, [phases][devices]. */
static bool same_rows(const Plan *plan, const int *place, int d, int e)
{
    for (int i = 0; i < plan->stage_count; i++) {
        const int *at = place + (size_t)i * (size_t)plan->device_count;
        if (plan->stages[i].rows[at[d]] != plan->stages[i].rows[at[e]]) return false;
    }
    return true;
}

/* Fills in first[], stands_for[] and built[]. */
static int find_classes(PhaseSums *x, Error *err)
{
    const Plan *plan = x->plan;
    int         g = plan->device_count, classes = 0;
    bool        folds = !x->s->trace->loader.present;
    int        *place = calloc((size_t)g * (size_t)plan->stage_count, sizeof *place);
    int        *class = calloc((size_t)g, sizeof *class);          /* the first of each */

    if (!place || !class) { free(place); free(class); return error_no_memory(err); }
    for (int i = 0; i < plan->stage_count; i++)
        for (int k = 0; k < g; k++) place[i * g + plan->stages[i].devices[k]] = k;
    for (int d = 0; d < g; d++) {
        int c = folds ? 0 : classes;
        while (c < classes
               && !(scenario_same_speed(x->s, class[c], d) && same_rows(plan, place, class[c], d)))
            c++;
        if (c == classes) class[classes++] = d;
        x->first[d] = class[c];
        x->stands_for[class[c]]++;
        x->built[class[c]] = true;
    }
    free(place);
    free(class);
    return 0;
}

/* ---- a phase ------------------------------------------------------------------------- */

/* Rows of a step of the phase. */
static void add_rows(PhaseSums *x, const Stage *stage)
{
    for (int i = 0; i < stage->width; i++) {
        x->teacher += (double)stage->rows[i] * (stage->last + 1);
        x->loaded += (double)stage->rows[i];
    }
}

/* The first of the classes' ends and begins in x, from a result that has those of its program,
 * whose time 0 is at base_ns. -1: time passes what the simulator takes. */
static int add_result(PhaseSums *x, const SimResult *phase, int64_t base_ns, Error *err)
{
    const int64_t most_ns = (int64_t)1 << 62;
    SimResult    *sum = x->sum;

    if (phase->estimated)        /* when the next one begins is not known */
        return error_set(err,
                         "its steps do not repeat, and are too many to simulate each: expected "
                         "fewer steps");
    if (phase->epoch_ns > most_ns - base_ns)
        return error_set(err, "simulated time passes 2^62 ns (146 years)");
    for (int d = 0; d < phase->device_count; d++) {
        int first = x->first[d];
        for (int k = 0; k < SHARE_COUNT; k++)
            if (k != SHARE_IDLE) sum->shares[d][k] += phase->shares[first][k];
        x->end_ns[d] = base_ns + phase->epoch_ns - phase->shares[first][SHARE_IDLE];
        if (x->of_phase[first].total_bytes > x->memory[d].total_bytes)
            x->memory[d] = x->of_phase[first];
    }
    sum->simulated += phase->simulated;
    sum->skipped += phase->skipped;
    return 0;
}

/* Whether the phase after has as many of these rules to keep: then its program has all instructions
 * of this one's but for the number of the block that is trained and which rows, which plan_check()
 * has looked at. */
static bool is_like_the_next(const Plan *plan, int number)
{
    const Stage *a = &plan->stages[number], *b = a + 1;

    return number + 1 < plan->stage_count && a->first <= b->first
           && memcmp(a->devices, b->devices, (size_t)a->width * sizeof *a->devices) == 0;
}

/* The whole program of the phase, whichever devices are simulated. */
static int verify(const PhaseSums *x, const Plan *phase, Error *err)
{
    Program *program = NULL;
    int      rc = -1;

    if (program_build(&program, phase, x->s->steps, err) == 0)
        rc = program_verify(program, x->s->queue_depth, err);
    program_free(program);
    return rc;
}

/* The phase from when its first device begins on, which is *base_ns. */
static int64_t set_begins(PhaseSums *x)
{
    int64_t base_ns = x->end_ns[0];

    for (int d = 1; d < x->plan->device_count; d++) base_ns = smaller(base_ns, x->end_ns[d]);
    for (int d = 0; d < x->plan->device_count; d++) x->begin_ns[d] = x->end_ns[d] - base_ns;
    return base_ns;
}

/* Simulates a phase, each device from when it ended those before on, and adds it to x. */
static int do_phase(PhaseSums *x, int number, Error *err)
{
    Plan       phase = *x->plan;     /* borrows what plan has */
    int        block = x->plan->stages[number].first, rc = -1;
    int64_t    base_ns = set_begins(x);
    Program   *program = NULL;
    SimResult  result = {0};
    SimOptions options = {
        .begin_ns = x->begin_ns, .stands_for = x->stands_for, .load = x->load};

    x->students[block] = plan_students(x->plan, block);
    phase.stages = x->plan->stages + number;
    phase.stage_count = 1;
    phase.students = x->students;
    if ((x->played || is_like_the_next(x->plan, number) || verify(x, &phase, err) == 0)
        && program_build_excerpt(&program, &phase, x->s->steps, x->built, err) == 0
        && (x->played || memory_peak(x->of_phase, program, x->s, err) == 0)
        && sim_run(&result, program, x->s, &options, err) == 0)
        rc = add_result(x, &result, base_ns, err);
    x->students[block] = 0;
    add_rows(x, &x->plan->stages[number]);
    sim_free(&result);
    program_free(program);
    return rc;
}

/* ---- all ----------------------------------------------------------------------------- */

static void finish(PhaseSums *x)
{
    const Plan *plan = x->plan;
    SimResult  *sum = x->sum;

    for (int d = 0; d < plan->device_count; d++)
        sum->epoch_ns = larger(sum->epoch_ns, x->end_ns[d]);
    for (int d = 0; d < plan->device_count; d++)
        sum->shares[d][SHARE_IDLE] = sum->epoch_ns - x->end_ns[d];
    sum->least_ns = sum->most_ns = sum->epoch_ns;
    sum->teacher_work = x->teacher / ((double)plan->batch * plan->block_count);
    sum->loads = x->loaded / (double)plan->batch;
    sum->utilisation = sim_utilisation(sum);
}

/* All phases, from the beginning. */
static int play(SimResult *out, const double *load, bool settling, void *context, Error *err)
{
    PhaseSums *x = context;
    size_t     g = (size_t)x->plan->device_count;
    int        rc = 0;

    (void)settling;
    *out = (SimResult){.device_count = x->plan->device_count, .steps = x->s->steps};
    out->shares = calloc(g, sizeof *out->shares);
    if (!out->shares) return error_no_memory(err);
    x->sum = out;
    x->load = load;
    x->teacher = x->loaded = 0;
    memset(x->end_ns, 0, g * sizeof *x->end_ns);
    for (int i = 0; i < x->plan->stage_count && rc == 0; i++) rc = do_phase(x, i, err);
    x->played = true;
    if (rc == 0) finish(x);
    else         sim_free(out);
    return rc;
}

static int phases_new(PhaseSums *x, Error *err)
{
    size_t g = (size_t)x->plan->device_count;

    x->of_phase = calloc(g, sizeof *x->of_phase);
    x->students = calloc((size_t)x->plan->block_count, sizeof *x->students);
    x->first = calloc(g, sizeof *x->first);
    x->stands_for = calloc(g, sizeof *x->stands_for);
    x->built = calloc(g, sizeof *x->built);
    x->end_ns = calloc(g, sizeof *x->end_ns);
    x->begin_ns = calloc(g, sizeof *x->begin_ns);
    if (!x->of_phase || !x->students || !x->first || !x->stands_for || !x->built || !x->end_ns
        || !x->begin_ns)
        return error_no_memory(err);
    memset(x->memory, 0, g * sizeof *x->memory);
    return find_classes(x, err);
}

static void phases_free(PhaseSums *x)
{
    free(x->of_phase);
    free(x->students);
    free(x->first);
    free(x->stands_for);
    free(x->built);
    free(x->end_ns);
    free(x->begin_ns);
}

int phases_price(SimResult *out, Memory *memory, bool *done, const Plan *plan, const Scenario *s,
                 Error *err)
{
    PhaseSums x = {.plan = plan, .s = s, .memory = memory};
    bool      contended = s->trace->contended && plan->device_count > 1;
    int       rc;

    *done = false;
    *out = (SimResult){0};
    if (plan->schedule != SCHEDULE_DP) return 0;
    rc = phases_new(&x, err);
    if (rc == 0)
        rc = contended ? sim_settle(out, plan->device_count, play, &x, err)
                       : play(out, NULL, false, &x, err);
    *done = rc == 0;
    phases_free(&x);
    return rc;
}
