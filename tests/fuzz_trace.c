/* Fuzzer: any bytes as a trace. What is read must build a scenario and say what it
 * lacks, or be refused in words. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "traces/scenario.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void look_up_all(const Scenario *scenario)
{
    Error err = {""};

    for (int b = 0; b < scenario->trace->block_count; b++) {
        int64_t ns;
        Cost    cost;
        for (int work = 0; work < WORK_COUNT; work++)
            if (scenario_work(scenario, (Work)work, b, 0, scenario->batch, &cost, &err) == 0
                && (cost.ns < 0 || cost.ns > TRACE_MAX_NS)) abort();
        for (int j = 0; j < trace_students(&scenario->trace->blocks[b]); j++)
            for (int work = 0; work < WORK_COUNT; work++)
                if (scenario_student_work(scenario, (Work)work, b, j, 0, scenario->batch, &cost,
                                          &err)
                        == 0
                    && (cost.ns < 0 || cost.ns > TRACE_MAX_NS))
                    abort();
        if (scenario_p2p(scenario, 0, scenario->device_count - 1, b, scenario->batch, &ns, &err)
                == 0
            && (ns < 0 || ns > TRACE_MAX_NS))
            abort();
        if (scenario_allreduce(scenario, (int[]){0, scenario->device_count - 1}, 2, b, &ns, &err)
                == 0
            && (ns < 0 || ns > TRACE_MAX_NS))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    Trace   *trace;
    Scenario scenario;
    Text     missing = {0};
    Error    err = {""};

    if (trace_parse(&trace, "fuzz", (const char *)bytes, length, &err) != 0) {
        if (trace || !err.text[0]) abort();
        return 0;
    }
    for (int more = 0; more < 2; more++) {
        ScenarioOptions options = {.queue_depth = 2, .extrapolate = more, .devices = more ? 5 : 0,
                                   .batch = more ? 2 * trace->batch : 0};
        if (scenario_build(&scenario, trace, &options, &err) != 0) continue;
        scenario_missing(&scenario, &missing);
        look_up_all(&scenario);
        scenario_free(&scenario);
    }
    text_free(&missing);
    trace_free(trace);
    return 0;
}
