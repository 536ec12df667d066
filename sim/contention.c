/* Devices that slow each other down: shared memory bandwidth, shared caches.
 *
 * A trace may give every work twice: alone, and while all other devices compute. A device
 * d whose others compute for a share l of the time works at
 *
 *     alone + l * (busy - alone),    l = mean over the others of (their computing time / epoch)
 *
 * and l follows from the run itself, so the run is repeated until no l moves by more than
 * SETTLED (a mean-field fixed point: which work meets which is not followed). l begins at 1
 * and each repetition sets it anew; a slower device makes the others wait more and compute
 * for less of the time, so steps alternate around the fixed point and shrink by the ratio
 * of busy to alone, which is small. */
#include <math.h>
#include <stdlib.h>

#include "sim/engine.h"

enum { MAX_ROUNDS = 12 };

static const double SETTLED = 1e-4;

/* load[d] from what a run did; returns the largest change. */
static double read_load(double *load, const SimResult *result)
{
    double all = 0, moved = 0;
    int    n = result->device_count;

    if (result->epoch_ns == 0) return 0;
    for (int pass = 0; pass < 2; pass++)
        for (int d = 0; d < n; d++) {
            double own = (double)share_busy_ns(result->shares[d]) / (double)result->epoch_ns;
            double others = (all - own) / (n - 1);
            if (pass == 0) { all += own; continue; }
            others = fmin(fmax(others, 0), 1);
            moved = fmax(moved, fabs(others - load[d]));
            load[d] = others;
        }
    return moved;
}

int sim_settle(SimResult *out, int devices, SimPlay *play, void *context, Error *err)
{
    double *load = malloc((size_t)devices * sizeof *load), moved = 1;
    int     rc = 0;

    *out = (SimResult){0};
    if (!load) return error_no_memory(err);
    for (int d = 0; d < devices; d++) load[d] = 1;
    for (int round = 0; round < MAX_ROUNDS && moved >= SETTLED && rc == 0; round++) {
        SimResult result;
        rc = play(&result, load, true, context, err);
        if (rc != 0) break;
        moved = read_load(load, &result);
        sim_free(&result);
    }
    if (rc == 0) rc = play(out, load, false, context, err);
    free(load);
    return rc;
}

typedef struct {
    const Program    *program;
    const Scenario   *scenario;
    const SimOptions *options;
} SettledRun;

static int play_run(SimResult *out, const double *load, bool settling, void *context, Error *err)
{
    const SettledRun *run = context;
    SimOptions plain = {.step_by_step = run->options->step_by_step, .way = run->options->way};

    return sim_play(out, run->program, run->scenario, settling ? &plain : run->options, load, err);
}

int sim_run(SimResult *out, const Program *program, const Scenario *scenario,
            const SimOptions *options, Error *err)
{
    SettledRun run = {program, scenario, options};

    if (!scenario->trace->contended || program->device_count < 2 || options->load)
        return sim_play(out, program, scenario, options, options->load, err);
    return sim_settle(out, program->device_count, play_run, &run, err);
}
