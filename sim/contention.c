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

static int settle(double *load, const Program *program, const Scenario *scenario,
                  const SimOptions *options, Error *err)
{
    SimOptions plain = {.step_by_step = options->step_by_step, .way = options->way};

    for (int round = 0; round < MAX_ROUNDS; round++) {
        SimResult result;
        if (sim_play(&result, program, scenario, &plain, load, err) != 0) return -1;
        double moved = read_load(load, &result);
        sim_free(&result);
        if (moved < SETTLED) break;
    }
    return 0;
}

int sim_run(SimResult *out, const Program *program, const Scenario *scenario,
            const SimOptions *options, Error *err)
{
    int     n = program->device_count, rc = -1;
    double *load;

    *out = (SimResult){0};
    if (!scenario->trace->contended || n < 2)
        return sim_play(out, program, scenario, options, NULL, err);
    load = malloc((size_t)n * sizeof *load);
    if (!load) return error_no_memory(err);
    for (int d = 0; d < n; d++) load[d] = 1;
    if (settle(load, program, scenario, options, err) == 0)
        rc = sim_play(out, program, scenario, options, load, err);
    free(load);
    return rc;
}
