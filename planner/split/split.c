#include "planner/split/split.h"

#include <stdlib.h>
#include <string.h>

#include "planner/split/split_moves.h"
#include "planner/split/split_starts.h"
#include "sim/memory.h"
#include "sim/sim.h"

enum {
    KEPT = 12,                   /* starts that are improved */
    LOOKED_AT = 4,               /* devices whose work is moved, the busiest */
    PLAY_BUDGET = 16000000,      /* instructions simulated while searching */
    PLAY_SHORT = 16, PLAY_LONG = 40     /* steps; their difference is taken, without the start */
};

/* A layout and the time of PLAY_LONG - PLAY_SHORT steps of it under way. */
typedef struct {
    Layout  layout;
    int64_t ns;
} Kept;

typedef struct {
    const Scenario *s;
    SplitTasks      tasks;
    SplitCost      *cost;
    Kept            kept[KEPT + 1];      /* starts, fastest first; then ahd's plan, too */
    int             kept_count;
    Layout          trial, best;
    int64_t        *busy, *trial_busy;   /* [devices] */
    int64_t         plays_left;
    Memory         *memory;
    SplitResult    *result;
    Error          *err;
} SplitSearch;

/* ---- playing -------------------------------------------------------------------------- */

static bool fits(const SplitSearch *x)
{
    for (int d = 0; d < x->s->device_count; d++)
        if (x->s->memory_bytes[d] && x->memory[d].total_bytes > x->s->memory_bytes[d]) return false;
    return true;
}

static int play_steps(SplitSearch *x, const Plan *plan, int64_t steps, int64_t *epoch_ns,
                      int64_t *busy, bool *good)
{
    Program  *program = NULL;
    SimResult result = {0};
    Error     why = {""};

    *good = program_build(&program, plan, steps, &why) == 0
            && memory_peak(x->memory, program, x->s, &why) == 0 && fits(x)
            && sim_run(&result, program, x->s, &(SimOptions){0}, &why) == 0;
    if (*good) {
        *epoch_ns = result.epoch_ns;
        x->plays_left -= result.simulated;
        for (int d = 0; d < x->s->device_count; d++)
            busy[d] = result.epoch_ns - result.shares[d][SHARE_WAIT] - result.shares[d][SHARE_IDLE];
    }
    program_free(program);
    sim_free(&result);
    return error_is_no_memory(&why) ? error_no_memory(x->err) : 0;
}

/* Time of PLAY_LONG - PLAY_SHORT steps under way; -1: does not fit, or a cost is missing. */
static int play(SplitSearch *x, const Layout *layout, int64_t *ns, int64_t *busy)
{
    Plan   *plan;
    int64_t begun, all;
    bool    good;

    *ns = -1;
    if (layout_plan(&plan, layout, x->err) != 0) return -1;
    x->result->simulated++;
    int rc = play_steps(x, plan, PLAY_SHORT, &begun, busy, &good);
    if (rc == 0 && good) rc = play_steps(x, plan, PLAY_LONG, &all, busy, &good);
    if (rc == 0 && good) *ns = all - begun;
    plan_free(plan);
    return rc;
}

/* Keeps best what is simulated to be faster; in result->plans a copy of each that was best, the
 * last in front. */
static int note_best(SplitSearch *x)
{
    Plan *plan;

    if (layout_plan(&plan, &x->best, x->err) != 0) return -1;
    SplitResult *r = x->result;
    if (r->count == SPLIT_RESULTS) plan_free(r->plans[--r->count]);
    memmove(&r->plans[1], &r->plans[0], (size_t)r->count * sizeof *r->plans);
    r->plans[0] = plan;
    r->count++;
    return 0;
}

/* What is counted in trial_busy is hardly ever more than what is simulated: no need to simulate
 * what already counts as longer than ns. */
static bool is_slower(const SplitSearch *x, int64_t ns)
{
    int64_t most = 0;

    for (int d = 0; d < x->s->device_count; d++)
        if (x->trial_busy[d] > most) most = x->trial_busy[d];
    return most > ns / (PLAY_LONG - PLAY_SHORT);
}

/* The busiest device after those in done. */
static int next_busiest(const SplitSearch *x, const int *done, int count)
{
    int best = -1;

    for (int d = 0; d < x->s->device_count; d++) {
        bool seen = false;
        for (int i = 0; i < count; i++) seen |= done[i] == d;
        if (!seen && (best < 0 || x->busy[d] > x->busy[best])) best = d;
    }
    return best;
}

/* Plays the changes of one device until one is faster: that is x->best then. */
static int improve_device(SplitSearch *x, int device, int64_t enough, int64_t *best_ns,
                          bool *better)
{
    Move moves[MOVES_MAX];
    int  n = moves_list(moves, x->cost, &x->best, x->busy, device);

    *better = false;
    for (int i = 0; i < n && !*better && x->plays_left > enough; i++) {
        int64_t ns;
        layout_copy(&x->trial, &x->best);
        if (!move_make(&x->trial, &moves[i])) continue;
        if (!split_cost_busy(x->cost, &x->trial, x->trial_busy) || is_slower(x, *best_ns)) continue;
        if (play(x, &x->trial, &ns, x->trial_busy) != 0) return -1;
        if (ns < 0 || ns >= *best_ns) continue;
        layout_copy(&x->best, &x->trial);
        memcpy(x->busy, x->trial_busy, (size_t)x->s->device_count * sizeof *x->busy);
        *best_ns = ns;
        *better = true;
    }
    return 0;
}

/* Plays x->best and improves it, from the busiest devices on; *ns is -1 when it does not
 * fit. */
static int improve_played(SplitSearch *x, int64_t budget, int64_t *best_ns)
{
    int64_t enough = x->plays_left - budget;
    int     done[LOOKED_AT], count = 0;

    if (play(x, &x->best, best_ns, x->busy) != 0) return -1;
    while (*best_ns >= 0 && count < LOOKED_AT && count < x->s->device_count
           && x->plays_left > enough) {
        bool better;
        done[count] = next_busiest(x, done, count);
        if (improve_device(x, done[count++], enough, best_ns, &better) != 0) return -1;
        if (better) count = 0;
    }
    return 0;
}

/* ---- starts -------------------------------------------------------------------------- */

/* Keeps the layout among the fastest few. */
static void keep(SplitSearch *x, const Layout *layout, int64_t ns)
{
    int at = x->kept_count;

    while (at > 0 && x->kept[at - 1].ns > ns) at--;
    /* as fast: most likely the same */
    if (at == KEPT || (at > 0 && x->kept[at - 1].ns == ns)) return;
    Kept last = x->kept[x->kept_count < KEPT ? x->kept_count++ : KEPT - 1];
    memmove(&x->kept[at + 1], &x->kept[at], (size_t)(x->kept_count - at - 1) * sizeof *x->kept);
    x->kept[at] = last;
    layout_copy(&x->kept[at].layout, layout);
    x->kept[at].ns = ns;
}

static int try_start(SplitSearch *x, int stages, int width, StartAssignment assignment)
{
    bool    found;
    int64_t ns;

    if (start_make(&x->trial, &found, x->cost, x->s, stages, width, assignment, x->err) != 0)
        return -1;
    if (!found || !split_cost_busy(x->cost, &x->trial, x->trial_busy)) return 0;
    x->result->starts++;
    if (x->kept_count == KEPT && is_slower(x, x->kept[KEPT - 1].ns)) return 0;
    if (play(x, &x->trial, &ns, x->trial_busy) != 0) return -1;
    if (ns >= 0) keep(x, &x->trial, ns);
    return 0;
}

/* Numbers of stages and widths, the powers of two first, then what lies between, while half
 * of the budget lasts. */
static int make_starts(SplitSearch *x)
{
    int blocks = x->s->trace->block_count, devices = x->s->device_count;

    for (int odd = 0; odd < 2; odd++)
        for (int width = 1; width <= devices && width <= x->s->batch; width *= 2)
            for (int stages = 1; stages <= blocks && stages * width <= devices;
                 stages += stages < 16 ? 1 : stages / 8)
                for (int assignment = ASSIGN_BLOCKS; assignment <= ASSIGN_LONGEST; assignment++)
                    if (odd == !!(stages & (stages - 1)) && x->plays_left > PLAY_BUDGET / 2
                        && try_start(x, stages, width, (StartAssignment)assignment) != 0) return -1;
    return 0;
}

/* ---- all -------------------------------------------------------------------------------- */

static int play_kept(SplitSearch *x)
{
    int64_t least = -1, ns;

    for (int i = 0; i < x->kept_count; i++) {
        layout_copy(&x->best, &x->kept[i].layout);
        if (improve_played(x, x->plays_left / (x->kept_count - i), &ns) != 0) return -1;
        if (ns < 0 || (least >= 0 && ns >= least)) continue;
        least = ns;
        if (note_best(x) != 0) return -1;
    }
    return 0;
}

static int new_search(SplitSearch *x)
{
    size_t devices = (size_t)x->s->device_count;
    int    rc = split_tasks(&x->tasks, x->s, x->err);

    for (int i = 0; i < KEPT + 1 && rc == 0; i++)
        rc = layout_new(&x->kept[i].layout, x->s, &x->tasks, x->err);
    if (rc == 0) rc = layout_new(&x->trial, x->s, &x->tasks, x->err);
    if (rc == 0) rc = layout_new(&x->best, x->s, &x->tasks, x->err);
    if (rc == 0) rc = split_cost_new(&x->cost, x->s, &x->tasks, x->err);
    if (rc != 0) return -1;
    x->busy = calloc(devices, sizeof *x->busy);
    x->trial_busy = calloc(devices, sizeof *x->trial_busy);
    x->memory = calloc(devices, sizeof *x->memory);
    if (!x->busy || !x->trial_busy || !x->memory) return error_no_memory(x->err);
    x->plays_left = PLAY_BUDGET;
    return 0;
}

static void free_search(SplitSearch *x)
{
    for (int i = 0; i < KEPT + 1; i++) layout_free(&x->kept[i].layout);
    layout_free(&x->trial);
    layout_free(&x->best);
    split_cost_free(x->cost);
    split_tasks_free(&x->tasks);
    free(x->busy);
    free(x->trial_busy);
    free(x->memory);
}

static int run_search(SplitSearch *x, const Plan *ahd)
{
    if (make_starts(x) != 0) return -1;
    if (ahd) {                                           /* as it is, and first */
        Kept last = x->kept[x->kept_count++];
        memmove(&x->kept[1], &x->kept[0], (size_t)(x->kept_count - 1) * sizeof *x->kept);
        x->kept[0] = last;
        layout_read(&x->kept[0].layout, ahd);
    }
    return play_kept(x);
}

int split_search(SplitResult *out, const Plan *ahd, const Scenario *s, Error *err)
{
    SplitSearch x = {.s = s, .result = out, .err = err};

    *out = (SplitResult){0};
    int rc = new_search(&x) == 0 ? run_search(&x, ahd) : -1;
    free_search(&x);
    if (rc != 0) split_result_free(out);
    return rc;
}

void split_result_free(SplitResult *result)
{
    for (int i = 0; i < result->count; i++) plan_free(result->plans[i]);
    *result = (SplitResult){0};
}
