/* For benchmarks of kernels on a GPU: tensors that are larger than caches that GPUs have, timing by
 * events, and rows of tables beside a copy. Included by one .c file a program. */
#ifndef BENCH_CUDA_RATES_H
#define BENCH_CUDA_RATES_H

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "bench/bench.h"
#include "bench/fill.h"
#include "kernels/cuda/cuda.h"

enum { RUNS = 21 };

typedef struct {
    DeviceSpec  spec;
    CudaDevice *device;
    cudaStream_t stream;
    bool        small;
    float      *memory[4];   /* [floats] */
    int64_t     floats;
    double      copy_rate, product_rate[PRECISION_COUNT];  /* GB/s, TFLOP/s */
} CudaBench;

static inline void require_call(int status, const char *what)
{
    Error err = {""};

    bench_require(launch_failed(status, what, &err), &err);
}

typedef void BenchCall(CudaBench *b, void *context);

static inline double seconds_of(CudaBench *b, BenchCall *call, void *context)
{
    cudaEvent_t  event[2];
    BenchSamples samples = {.count = 0};
    float        ms;

    for (int i = 0; i < 2; i++) require_call((int)cudaEventCreate(&event[i]), "an event");
    for (int i = 0; i <= RUNS; i++) {
        cudaEventRecord(event[0], b->stream);
        call(b, context);
        cudaEventRecord(event[1], b->stream);
        require_call((int)cudaEventSynchronize(event[1]), "a run");
        require_call((int)cudaEventElapsedTime(&ms, event[0], event[1]), "a run");
        if (i > 0) bench_add(&samples, 1e-3 * (double)ms);
    }
    for (int i = 0; i < 2; i++) cudaEventDestroy(event[i]);
    return bench_quantile(&samples, 0.5);
}

static inline void bench_open(CudaBench *b, const char *gpu, Precision precision)
{
    Device *device;
    Error   err = {""};
    char    text[32];

    snprintf(text, sizeof text, "cuda:%s", gpu);
    bench_require(device_spec_parse(&b->spec, text, &err), &err);
    b->spec.precision = precision;
    bench_require(device_open(&device, &b->spec, 0, &err), &err);
    b->device = cuda_device(device);
    b->stream = b->device->streams[STREAM_COMPUTE];
}

static inline void bench_close(CudaBench *b)
{
    for (int i = 0; i < 4; i++) {
        cuda_release(b->memory[i]);
        b->memory[i] = NULL;
    }
    device_close(&b->device->base);
}

/* Four tensors of 256 MiB of normal numbers. */
static inline void fill(CudaBench *b)
{
    float *pattern = fill_pattern(0);
    Error  err = {"the GPU's memory is full"};

    b->floats = b->small ? 1 << 16 : 1 << 26;
    for (int i = 0; i < 4; i++) {
        b->memory[i] = cuda_alloc(b->device, (size_t)b->floats);
        bench_require(b->memory[i] ? 0 : -1, &err);
        fill_repeat(&b->device->base, b->memory[i], b->floats, pattern);
    }
    free(pattern);
}

/* ---- memory-bound kernels ---- */

static inline void row(CudaBench *b, const char *name, const char *shape, double bytes,
                       BenchCall *call, void *context)
{
    double seconds = seconds_of(b, call, context), rate = bytes / seconds * 1e-9;

    printf("| %s | %s | %.1f | %.0f | %.0f%% |\n", name, shape, 1e6 * seconds, rate,
           100.0 * rate / b->copy_rate);
    fflush(stdout);
}

static inline void run_copy(CudaBench *b, void *context)
{
    (void)context;
    cudaMemcpyAsync(b->memory[0], b->memory[1], (size_t)b->floats * sizeof(float),
                    cudaMemcpyDeviceToDevice, b->stream);
}

/* What memory is seen to do, and the head of a table. */
static inline void rates_begin(CudaBench *b, const char *of)
{
    Text  facts = {0};
    Error err = {""};

    bench_require(device_spec_facts(&b->spec, &facts, &err), &err);
    printf("# %s\n\n%s\n\n", of, text_string(&facts));
    text_free(&facts);
    fill(b);
    b->copy_rate = 8.0 * (double)b->floats / seconds_of(b, run_copy, NULL) * 1e-9;
    printf("| kernel | shape | us | GB/s | of a copy |\n|---|---|--:|--:|--:|\n");
}

static inline double size_of(KernelType type) { return type == KERNEL_BF16 ? 2.0 : 4.0; }
static inline const char *name_of(KernelType type) { return type == KERNEL_BF16 ? "bf16, " : ""; }

#endif
