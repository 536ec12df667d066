/* Bounds of a run's time that need not be simulated. */
#ifndef SIM_BOUNDS_H
#define SIM_BOUNDS_H

#include "sim/engine.h"

/* What sim_new() made takes at least *least_ns and at most *most_ns, whatever loads its devices
 * have. -1: without memory. */
int     bounds_find(Sim *sim, int64_t *least_ns, int64_t *most_ns);

/* A phase of code on a device takes at least so long at these costs. */
int64_t bounds_phase_least(const Sim *sim, const Code *code, const Phase *phase, const Cost *cost);

#endif
