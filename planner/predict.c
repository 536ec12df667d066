#include "planner/predict.h"

#include <stdlib.h>

#include "schedule/verify.h"
#include "sim/costs.h"
#include "sim/sim.h"

static int add_core_ns(Prediction *out, const Scenario *scenario, Error *err)
{
    for (int d = 0; d < out->program->device_count; d++) {
        const Code *code = &out->program->devices[d];
        for (int f = 0; f < code->phase_count; f++)
            for (int i = 0; i < code->phases[f].count; i++) {
                const Instruction *in = &code->code[code->phases[f].first + i];
                int64_t            ns;
                if (transfer_core_ns(out->program, scenario, in, &ns, err) != 0) return -1;
                out->core_ns += ns * code->phases[f].steps;
            }
    }
    return 0;
}

int predict(Prediction *out, const Plan *plan, const Scenario *scenario, int64_t steps, Error *err)
{
    SimResult result = {0};

    *out = (Prediction){0};
    if (plan_check(plan, err) != 0 || program_build(&out->program, plan, steps, err) != 0
        || program_verify(out->program, scenario->queue_depth, err) != 0
        || sim_run(&result, out->program, scenario, &(SimOptions){.record = true}, err) != 0
        || add_core_ns(out, scenario, err) != 0) {
        sim_free(&result);
        prediction_free(out);
        return -1;
    }
    out->run_ns = result.epoch_ns;
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
