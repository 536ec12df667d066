/* IR: internal relaying. One stage of all blocks on every device: the teacher runs
 * once, nothing is sent, gradients are summed over all devices. */
#include "schedule/program.h"

int build_ir(Program *program, const Plan *plan, Error *err)
{
    return build_relay(program, plan, false, err);
}
