/* DPU: teacher relaying with decoupled parameter updates. TR without the barrier: a
 * device updates and goes on as soon as its own backward is done. */
#include "schedule/program.h"

int build_dpu(Program *program, const Plan *plan, Error *err)
{
    return build_relay(program, plan, false, err);
}
