/* AHD: automatic hybrid distribution. DPU between groups of one or more devices that
 * split the batch and sum their gradients. */
#include "schedule/program.h"

int build_ahd(Program *program, const Plan *plan, Error *err)
{
    return build_relay(program, plan, false, err);
}
