#include "tools/run_common.h"

#include <signal.h>

static atomic_bool stop, interrupted;    /* what a handler can reach */

static void interrupt(int signal)
{
    (void)signal;
    atomic_store(&interrupted, true);
    atomic_store(&stop, true);
}

atomic_bool *run_catch_interrupt(void)
{
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESTART | (int)SA_RESETHAND};

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);           /* what batch systems send first */
    sigaction(SIGUSR2, &action, NULL);
    return &stop;
}

bool run_interrupted(void) { return atomic_load(&interrupted); }

int run_devices(DeviceSpec *out, const char *devices, const char *precision, bool ask, Error *err)
{
    if (device_spec_read(out, devices, err) != 0) return -1;
    if (precision && device_spec_set_precision(out, precision, err) != 0) return -1;
    return ask ? device_spec_ask(out, err) : 0;
}

void run_choose_lanes(const DeviceSpec *devices, int64_t lanes, int64_t prefetch, int *out_lanes, int *out_prefetch)
{
    int each = devices->cores / devices->count, spare = each > 0 ? devices->cores - each * devices->count : 0;

    /* Cards leave the cores alone, but for a thread each that tells them what to do. */
    if (devices->type == DEVICE_CUDA) spare = devices->cores > devices->count ? devices->cores - devices->count : 1;

    *out_prefetch = prefetch >= 0 ? (int)prefetch : spare > 0 || lanes > 0 ? 2 : 0;
    *out_lanes = lanes > 0 ? (int)lanes : spare > 0 ? spare : 1;
}
