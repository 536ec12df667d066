/* Fuzzer: any bytes as a workload. What is read has its costs in range, writes itself so
 * that it reads back, and describes itself, or it is refused in words. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "workloads/workload.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check_costs(const Layers *layers)
{
    LayersCost cost = layers_cost(layers);

    if (cost.macs_least < 0 || cost.macs_least > cost.macs_mean || cost.macs_mean > cost.macs_most)
        abort();
    if (cost.parameters < 0 || cost.statistics < 0 || cost.activation_bytes < 0) abort();
}

static void write_and_read(const Workload *workload)
{
    Text      once = {0}, twice = {0};
    Workload *again;
    Error     err = {""};

    workload_write(workload, NULL, workload->data, &once);
    if (workload_parse(&again, "again", text_string(&once), once.length, &err) != 0) abort();
    workload_write(again, NULL, again->data, &twice);
    if (strcmp(text_string(&once), text_string(&twice)) != 0) abort();
    workload_free(again);
    text_free(&once);
    text_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    Workload *workload;
    Text      text = {0};
    Error     err = {""};

    if (workload_parse(&workload, "fuzz", (const char *)bytes, length, &err) != 0) {
        if (workload || !err.text[0]) abort();
        return 0;
    }
    for (int b = 0; b < workload->block_count; b++) {
        check_costs(&workload->block[b].teacher);
        check_costs(&workload->block[b].student);
    }
    workload_describe(workload, &text);
    workload_describe_json(workload, &text);
    write_and_read(workload);
    text_free(&text);
    workload_free(workload);
    return 0;
}
