/* Fuzzer: any bytes as Sailor's profile, sizes and links alike.
 * What is read is a whole trace, or is refused in words. */
#include <stdlib.h>
#include <string.h>

#include "traces/import/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void import_as(const ImportFile *profile, ImportOptions options)
{
    Trace *trace;
    Error  err = {""};

    options.name = "t";
    options.batch = 4;
    options.samples = 1000;
    options.devices = (OptionIntegers){{4}, 1};
    options.device = (OptionList){{"A"}, 1};
    if (import_trace(&trace, import_format(1), profile, 1, &options, &err) != 0) {
        if (trace || !err.text[0]) abort();
        return;
    }
    if (trace->block_count < 1 || strcmp(trace->provenance_kind, "imported") != 0
        || !trace->notes[0])
        abort();
    trace_free(trace);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const char one[] =
        "{\"1\": {\"1\": {\"0\": [0.001, 0.002, 0]}}, \"4\": {\"1\": {\"0\": [0.004, 0.008, 0]}}}";
    ImportFile file = {"fuzz", (const char *)bytes, length}, profile = {"one", one, sizeof one - 1};

    import_as(&file, (ImportOptions){0});
    import_as(&profile, (ImportOptions){.model_info = file, .model = "NET"});
    import_as(&profile, (ImportOptions){.network = file, .machine_devices = 2});
    return 0;
}
