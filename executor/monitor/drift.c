#include "executor/monitor/drift.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"

typedef struct {
    double factor;                           /* what the plan that runs takes it for */
    int    streak;                           /* checks it has drifted in: > 0 slower, < 0 faster */
    double recent[DRIFT_MAX_PATIENCE];       /* ratios of the streak, by its number, as a ring */
} DriftDevice;

struct Drift {
    DriftDevice *device;     /* [devices] */
    double      *asked;      /* [devices] */
    int          devices, patience;
    double       threshold;
};

int drift_new(Drift **out, int devices, double threshold, int patience, Error *err)
{
    Drift *drift = calloc(1, sizeof *drift);

    *out = NULL;
    if (!drift) return error_no_memory(err);
    drift->device = calloc((size_t)devices, sizeof *drift->device);
    drift->asked = calloc((size_t)devices, sizeof *drift->asked);
    if (!drift->device || !drift->asked) { drift_free(drift); return error_no_memory(err); }
    for (int d = 0; d < devices; d++) drift->device[d].factor = drift->asked[d] = 1;
    drift->devices = devices;
    drift->threshold = threshold;
    drift->patience = patience;
    *out = drift;
    return 0;
}

void drift_free(Drift *drift)
{
    if (!drift) return;
    free(drift->device);
    free(drift->asked);
    free(drift);
}

/* 1: slower than it is taken for, -1: faster, 0: neither. */
static int side_of(const DriftDevice *device, double ratio, double threshold)
{
    if (ratio > device->factor * (1 + threshold)) return 1;
    return ratio * (1 + threshold) < device->factor ? -1 : 0;
}

static void look(DriftDevice *device, double ratio, double threshold)
{
    int side = side_of(device, ratio, threshold);

    if (side == 0 || side * device->streak < 0) device->streak = 0;      /* broken off */
    if (side == 0) return;
    device->recent[abs(device->streak) % DRIFT_MAX_PATIENCE] = ratio;
    device->streak += side;
}

/* The median of the latest count ratios of the streak. */
static double recent_median(const DriftDevice *device, int count)
{
    double values[DRIFT_MAX_PATIENCE];
    int    length = abs(device->streak);

    for (int i = 0; i < count; i++)
        values[i] = device->recent[(length - count + i) % DRIFT_MAX_PATIENCE];
    return stats_median(values, (size_t)count);
}

bool drift_check(Drift *drift, const double *ratio)
{
    bool asks = false;

    for (int d = 0; d < drift->devices; d++) {
        DriftDevice *device = &drift->device[d];
        if (isfinite(ratio[d]) && ratio[d] > 0) look(device, ratio[d], drift->threshold);
        drift->asked[d] = device->factor;
        if (abs(device->streak) < drift->patience) continue;
        drift->asked[d] = recent_median(device, drift->patience);
        asks = true;
    }
    return asks;
}

const double *drift_factors(const Drift *drift) { return drift->asked; }

void drift_settle(Drift *drift, bool taken)
{
    for (int d = 0; d < drift->devices; d++) {
        DriftDevice *device = &drift->device[d];
        if (device->factor == drift->asked[d]) continue;
        device->factor = drift->asked[d];
        device->streak = 0;
    }
    if (taken)
        drift->patience =
            2 * drift->patience < DRIFT_MAX_PATIENCE ? 2 * drift->patience : DRIFT_MAX_PATIENCE;
}

int drift_patience(const Drift *drift) { return drift->patience; }

bool drift_worth(double before_ns, double after_ns, double least_gain)
{
    return after_ns > 0 && after_ns < before_ns && after_ns <= before_ns * (1 - least_gain);
}
