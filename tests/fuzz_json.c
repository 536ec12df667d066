/* Fuzzer: any bytes as JSON. Our own reader and jansson accept the same, with the same
 * values, and refuse the same in the same words; without jansson, ours reads to an end. */
#include "tests/json_differ.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
#ifdef HAVE_JANSSON
    if (!readers_agree((const char *)bytes, length, NULL)) abort();
#else
    JsonTree  tree;
    JsonFault fault = {0};
    char     *copy = calloc(length + 1, 1);

    if (!copy) return 0;
    memcpy(copy, bytes, length);
    if (json_read_own(&tree, copy, length, &fault) != 0 && !fault.text[0]) abort();
    json_tree_free(&tree);
    free(copy);
#endif
    return 0;
}
