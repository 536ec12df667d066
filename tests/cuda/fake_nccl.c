/* NCCL: see tests/nccl_fake.h, on the fake's streams. */
#include "tests/nccl_fake.h"

cudaError_t cudaDeviceGetPCIBusId(char *out, int size, int gpu)
{
    snprintf(out, (size_t)size, "0000:%02x:00.0", gpu);
    return cudaSuccess;
}
