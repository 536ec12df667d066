/* A GPU for tests of nets, with numbers there and back, and a net's gradients beside the slow
 * model's. */
#ifndef TESTS_CUDA_GPU_H
#define TESTS_CUDA_GPU_H

#include "kernels/stream.h"
#include "tests/cuda/tap.h"
#include "tests/hand_nets.h"

/* Of the largest element. fp32: sums of n products of floats near 1 err by about sqrt(n) 6e-8. tf32
 * reads 10 bits of factors and bf16 7, 5e-4 and 4e-3 of each product, which random signs average;
 * nets of several layers, and gradients that cancel, add up a few times that. */
static const double tolerance[PRECISION_COUNT] = {4e-5, 1e-2, 6e-2};

static const char *gpu_choices;          /* the file of choices; NULL: none is kept */

typedef struct {
    DeviceSpec spec;
    Device    *device;
    double    *loss;         /* host_alloc()'s */
} TestGpu;

static inline void require(int rc, const Error *err)
{
    if (rc == 0) return;
    printf("Bail out! %s\n", err->text);
    exit(1);
}

static inline TestGpu gpu_open(Precision precision)
{
    TestGpu gpu = {.device = NULL};
    Error   err = {""};

    require(device_spec_parse(&gpu.spec, "cuda:0", &err), &err);
    gpu.spec.precision = precision;
    if (gpu_choices) require(device_keep_choices(&gpu.spec, gpu_choices, &err), &err);
    require(device_open(&gpu.device, &gpu.spec, 0, &err), &err);
    gpu.loss = host_alloc(&gpu.spec, sizeof *gpu.loss);
    return gpu;
}

static inline void gpu_close(TestGpu *gpu)
{
    host_release(&gpu->spec, gpu->loss);
    device_close(gpu->device);
}

/* ---- tensors on the GPU, from numbers drawn here ---- */

static inline float *placed(const TestGpu *gpu, const float *host, int64_t count)
{
    float *x = device_alloc(gpu->device, (size_t)count);

    if (!x) { printf("Bail out! no memory\n"); exit(1); }
    if (host) device_put(gpu->device, x, host, count);
    return x;
}

static inline float *fetched(const TestGpu *gpu, const float *x, int64_t count)
{
    float *host = malloc((size_t)count * sizeof *host);

    device_fetch(gpu->device, host, x, count);
    return host;
}

/* ---- a net against the truth ---- */

/* After net_backward(). */
static inline void compare_gradients(Net *net, const Slow *slow, const char *what, double within)
{
    gradients_to_state(net);
    for (int i = 0; i < net_parameter_count(net); i++) {
        const NetParameter *p = net_parameter(net, i);
        float              *g = malloc((size_t)p->count * sizeof *g);
        char                name[256];

        snprintf(name, sizeof name, "%s: gradient of %s", what, p->name);
        if (p->trained) net_read_state(net, i, g);
        if (p->trained && slow->gradient[i])
            tap_close(name, g, slow->gradient[i], p->count, within);
        for (int64_t k = 0; p->trained && !slow->gradient[i] && k < p->count; k++)
            if (g[k] != UNREACHED) tap_fail("%s of a path not taken", name);
        free(g);
    }
}

#endif
