/* Fuzzer: any bytes as a device's file. What is read must be good for a model: a trace of the
 * digits is made of it, and reads. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "traces/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static Workload *workload;           /* read once */
    Hardware        *hardware;
    Trace           *trace;
    Error            err = {""};

    if (!workload && workload_read(&workload, "digits", &err) != 0) abort();
    if (hardware_parse(&hardware, "fuzz", (const char *)bytes, length, &err) != 0) {
        if (hardware || !err.text[0]) abort();
        return 0;
    }
    ModelOptions options = {.workload = workload, .hardware = hardware, .devices = 2,
                            .precision = model_precision(hardware)};
    if (model_trace(&trace, &options, &err) != 0 && !err.text[0]) abort();
    trace_free(trace);
    hardware_free(hardware);
    return 0;
}
