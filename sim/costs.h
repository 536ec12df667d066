/* The cost of every instruction of a program, looked up once before the run. */
#ifndef SIM_COSTS_H
#define SIM_COSTS_H

#include "schedule/program.h"
#include "traces/scenario.h"

typedef struct {
    Cost **device;           /* [device_count][code_count] */
    Cost **queue;            /* [device_count][queue.code_count]; NULL without a queue */
    int    device_count;
} Costs;

/* load: [device_count] share of the time that the other devices of each compute, or NULL:
 * the scenario's for all. */
int  costs_build(Costs *out, const Program *program, const Scenario *scenario, const double *load, Error *err);
void costs_free(Costs *costs);

#endif
