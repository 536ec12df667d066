/* Fuzzer: any bytes as a safetensors file. What is read must be written again and read
 * the same, or be refused in words. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "executor/checkpoint/tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    Tensors *tensors;
    Error    err = {""};

    if (tensors_parse(&tensors, "fuzz", bytes, length, &err) != 0) {
        if (tensors || !err.text[0]) abort();
        return 0;
    }
    for (int i = 0; i < tensors_count(tensors); i++) {
        const Tensor *tensor = tensors_at(tensors, i);
        if (tensors_find(tensors, tensor->name) != tensor) abort();
        if (tensor->count < 0 || (uint64_t)tensor->count > length) abort();
    }
    if (tensors_write(tensors, "/dev/null", &err) != 0) abort();
    tensors_free(tensors);
    return 0;
}
