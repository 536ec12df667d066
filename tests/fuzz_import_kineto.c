/* Fuzzer: any bytes as a profile of PyTorch, with blocks of ranges and of modules, as a student
 * too. What is read is a whole trace, or is refused in words. */
#include <stdlib.h>
#include <string.h>

#include "traces/import/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void import_as(const ImportFile *file, ImportOptions options)
{
    Trace *trace;
    Error  err = {""};

    options.name = "t";
    options.batch = 8;
    options.samples = 1000;
    if (import_trace(&trace, import_format(0), file, 1, &options, &err) != 0) {
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
    ImportFile file = {"fuzz", (const char *)bytes, length};

    import_as(&file, (ImportOptions){0});
    import_as(&file, (ImportOptions){.depth = 2, .student = file});
    import_as(&file, (ImportOptions){.blocks = "block:conv,Linear_0,Net_0"});
    return 0;
}
