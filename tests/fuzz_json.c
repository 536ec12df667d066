/* Fuzzer: any bytes as JSON. They are refused with a place, or every value is found again in the
 * text. */
#include <stdint.h>
#include <stdlib.h>

#include "tests/json_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    bool accepted;

    if (!walk_text((const char *)bytes, length, &accepted)) abort();
    return 0;
}
