#include "planner/predict.h"

#include <stdlib.h>

#include "schedule/verify.h"
#include "sim/sim.h"

int predict(Prediction *out, const Plan *plan, const Scenario *scenario, int64_t steps, Error *err)
{
    SimResult result = {0};

    *out = (Prediction){0};
    if (plan_check(plan, err) != 0 || program_build(&out->program, plan, steps, err) != 0
        || program_verify(out->program, scenario->queue_depth, err) != 0
        || sim_run(&result, out->program, scenario, &(SimOptions){.record = true}, err) != 0) {
        prediction_free(out);
        return -1;
    }
    out->run_ns = result.epoch_ns;
    for (int d = 0; d < result.device_count && !scenario->trace->blocking_transfers; d++)
        out->core_ns += result.shares[d][SHARE_TRANSFER];
    out->spans = result.spans;
    out->span_count = result.span_count;
    result.spans = NULL;
    sim_free(&result);
    return 0;
}

void prediction_free(Prediction *prediction)
{
    program_free(prediction->program);
    free(prediction->spans);
    *prediction = (Prediction){0};
}
