/* Fuzzer: any bytes as a log of the original Pipe-BD.
 * What is read is a whole trace, or is refused in words. */
#include <stdlib.h>
#include <string.h>

#include "traces/import/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    ImportFile    file = {"fuzz", (const char *)bytes, length};
    ImportOptions options = {
        .name = "t", .device = {{"d"}, 1}, .batch = 32, .samples = 1000, .boundary_bytes = "64,32"};
    Trace        *trace;
    Error         err = {""};

    if (import_trace(&trace, import_format(3), &file, 1, &options, &err) != 0) {
        if (trace || !err.text[0]) abort();
        return 0;
    }
    if (trace->block_count < 1 || strcmp(trace->provenance_kind, "imported") != 0
        || !trace->notes[0])
        abort();
    trace_free(trace);
    return 0;
}
