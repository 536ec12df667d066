/* TR: teacher relaying. Stages of one device each; a barrier over all devices stands
 * before every update, so that a step lasts as long as the slowest device and the
 * relay that leads to it. */
#include "schedule/program.h"

int build_tr(Program *program, const Plan *plan, Error *err)
{
    return build_relay(program, plan, true, err);
}
