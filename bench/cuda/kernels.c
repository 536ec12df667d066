/* Our CUDA kernels and cuBLASLt's products in GB/s and TFLOP/s, beside what the GPU's memory and
 * its multipliers are seen to do in the same run: a copy of 1 GiB, and a product of 8192x8192x8192.
 *
 *     kernels [GPU] [small]        small: sizes for a machine without a GPU (the fake)
 *
 * Each row: one call to warm up, then RUNS calls between events; the median. Tensors are larger
 * than caches that GPUs have, and hold numbers drawn at random. Bytes are the least that must move:
 * each input once, each output once. */
#include "bench/cuda/rates.h"

/* The first three tensors become bfloat16, as many numbers. */
static void narrow(CudaBench *b)
{
    for (int i = 0; i < 3; i++) {
        require_call(kernel_to_bf16(b->memory[3], b->memory[i], b->floats, b->stream), "to bf16");
        cudaMemcpyAsync(b->memory[i], b->memory[3], (size_t)b->floats * 2, cudaMemcpyDeviceToDevice,
                        b->stream);
    }
}

/* ---- memory-bound kernels ---- */

static void run_add(CudaBench *b, void *context)
{
    (void)context;
    require_call(kernel_add(KERNEL_FLOAT, b->memory[0], b->memory[1], b->floats, b->stream), "add");
}

static void run_sgd(CudaBench *b, void *context)
{
    KernelSpans spans = {.count = 1, .end = {b->floats}};
    KernelSgd   step = {1e-3f, 0.9f, 1e-4f, 1.0f, 0.9f};

    (void)context;
    require_call(kernel_sgd(b->memory[0], b->memory[1], b->memory[2], &spans, &step, b->stream),
                 "sgd");
}

static void run_mse(CudaBench *b, void *context)
{
    double *memory = context;

    require_call(kernel_mse(b->memory[0], b->memory[1], b->memory[2], b->floats, 1.0, memory + 1,
                            memory, b->stream),
                 "mse");
}

static void run_to_bf16(CudaBench *b, void *context)
{
    (void)context;
    require_call(kernel_to_bf16(b->memory[0], b->memory[1], b->floats, b->stream), "to bf16");
}

static void run_statistics(CudaBench *b, void *context)
{
    require_call(kernel_norm_statistics(context, b->memory[0], 0, b->stream), "statistics");
}
static void run_apply(CudaBench *b, void *context)
{
    require_call(kernel_norm_apply(context, b->memory[0], b->memory[1], b->stream), "apply");
}
static void run_gradients(CudaBench *b, void *context)
{
    require_call(kernel_norm_gradients(context, b->memory[0], b->memory[1], 0, b->stream),
                 "gradients");
}

static void run_gradient_apply(CudaBench *b, void *context)
{
    require_call(
        kernel_norm_gradient_apply(context, b->memory[0], b->memory[1], b->memory[2], b->stream),
        "gradient apply");
}

static void elementwise(CudaBench *b)
{
    double  n = (double)b->floats;
    double *memory = (double *)(void *)b->device->scratch;
    char    shape[32];

    snprintf(shape, sizeof shape, "%lld", (long long)b->floats);
    row(b, "copy", shape, 8.0 * n, run_copy, NULL);
    row(b, "add", shape, 12.0 * n, run_add, NULL);
    row(b, "sgd", shape, 20.0 * n, run_sgd, NULL);
    row(b, "mse and gradient", shape, 12.0 * n, run_mse, memory);
    row(b, "to bfloat16", shape, 6.0 * n, run_to_bf16, NULL);
}

static void norms(CudaBench *b, int channels, KernelType type)
{
    int        stride = (channels + 15) / 16 * 16;
    int64_t    pixels = b->floats / channels;
    float     *p = cuda_alloc(b->device, (size_t)((NORM_ROWS + 6) * stride)),
          *partial = cuda_alloc(b->device, (size_t)kernel_channel_partials(pixels, channels));
    KernelNorm n = {.pixels = pixels, .channels = channels, .stride = stride, .floor = 0.0f,
                    .limit = 6.0f, .own = p, .partial = partial, .type = type};
    float    **place[] = {(float **)(uintptr_t)&n.weight,
                          (float **)(uintptr_t)&n.bias,
                          &n.mean,
                          &n.variance,
                          &n.weight_gradient,
                          &n.bias_gradient};
    double     bytes = size_of(type) * (double)(pixels * channels);
    Error      err = {"the GPU's memory is full"};
    char       shape[48];

    bench_require(p && partial ? 0 : -1, &err);
    for (int i = 0; i < 6; i++) *place[i] = p + (NORM_ROWS + i) * stride;
    snprintf(shape, sizeof shape, "%s%lld x %d", name_of(type), (long long)pixels, channels);
    row(b, "batch norm: statistics", shape, bytes, run_statistics, &n);
    row(b, "batch norm: apply, ReLU6", shape, 2.0 * bytes, run_apply, &n);
    row(b, "batch norm: gradients", shape, 2.0 * bytes, run_gradients, &n);
    row(b, "batch norm: gradient apply", shape, 3.0 * bytes, run_gradient_apply, &n);
    cuda_release(p), cuda_release(partial);
}

typedef struct { KernelDepthwise d; float *weight, *gradient, *partial; } Depthwise;

static void run_depthwise(CudaBench *b, void *context)
{
    Depthwise *w = context;

    require_call(
        kernel_depthwise(&w->d, b->memory[0], w->weight, NULL, b->memory[1], 0.0f, 6.0f, b->stream),
        "depthwise");
}

static void run_depthwise_data(CudaBench *b, void *context)
{
    Depthwise *w = context;

    require_call(kernel_depthwise_data(&w->d, b->memory[1], w->weight, b->memory[2], b->stream),
                 "depthwise data");
}

static void run_depthwise_weights(CudaBench *b, void *context)
{
    Depthwise *w = context;

    require_call(kernel_depthwise_weights(&w->d, b->memory[0], b->memory[1], w->partial,
                                          w->gradient, b->stream),
                 "depthwise weights");
}

static void depthwise(CudaBench *b, int channels, int side, int kernel, int stride, KernelType type)
{
    int64_t   each = (int64_t)side * side * channels;
    Depthwise w = {.d = {b->floats / each, channels, side, side, (side - 1) / stride + 1,
                         (side - 1) / stride + 1, kernel, stride, kernel / 2, type}};
    double    in = size_of(type) * (double)(w.d.rows * each), out = in / stride / stride;
    int64_t   count = (int64_t)channels * kernel * kernel;
    Error     err = {"the GPU's memory is full"};
    char      shape[64];

    if (w.d.rows < 1) return;
    w.weight = cuda_alloc(b->device, (size_t)count),
    w.gradient = cuda_alloc(b->device, (size_t)count);
    w.partial = cuda_alloc(b->device, (size_t)kernel_depthwise_partials(&w.d));
    bench_require(w.weight && w.gradient && w.partial ? 0 : -1, &err);
    snprintf(shape, sizeof shape, "%s%lld x %d x %dx%d, window %d, stride %d", name_of(type),
             (long long)w.d.rows, channels, side, side, kernel, stride);
    row(b, "depthwise", shape, in + out, run_depthwise, &w);
    row(b, "depthwise: data gradient", shape, in + out, run_depthwise_data, &w);
    row(b, "depthwise: weight gradient", shape, in + out, run_depthwise_weights, &w);
    cuda_release(w.weight), cuda_release(w.gradient), cuda_release(w.partial);
}

/* ---- products ---- */

static void run_product(CudaBench *b, void *context)
{
    Error err = {""};

    bench_require(gemm_run(context, b->device, b->memory[0], b->memory[1], b->memory[2], NULL,
                           b->memory[3], "a product", &err),
                  &err);
}

static void product(CudaBench *b, int64_t m, int64_t n, int64_t k, const char *what)
{
    GemmShape shape = {.m = m, .n = n, .k = k, .transpose_a = true, .half = cuda_half(b->device),
                       .half_out = cuda_half(b->device), .align = 16};
    double    seconds, rate, *peak = &b->product_rate[b->device->precision];
    Gemm      gemm;
    Error     err = {""};

    bench_require(gemm_make(&gemm, b->device, &shape, what, &err), &err);
    seconds = seconds_of(b, run_product, &gemm);
    rate = 2.0 * (double)m * (double)n * (double)k / seconds * 1e-12;
    if (*peak == 0.0) *peak = rate;
    printf("| %s | %s | %lld x %lld x %lld | %.1f | %.2f | %.0f%% | %s |\n", what,
           precision_name(b->device->precision), (long long)m, (long long)n, (long long)k,
           1e6 * seconds, rate, 100.0 * rate / *peak, gemm.choice.text);
    fflush(stdout);
    gemm_free(&gemm);
}

static void products(CudaBench *b, const char *gpu)
{
    printf("\n| product | precision | m x n x k | us | TFLOP/s | of the square one | algorithm "
           "|\n|---|---|---|--:|--:|--:|---|\n");
    for (int p = 0; p < PRECISION_COUNT; p++) {
        int64_t side = b->small ? 64 : 8192, pixels = b->small ? 128 : 262144;
        Error   err = {""};
        DeviceSpec spec = b->spec;

        spec.precision = (Precision)p;
        if (device_spec_ask(&spec, &err) != 0) {
            printf("\n%s: %s\n", precision_name((Precision)p), err.text);
            continue;
        }
        bench_open(b, gpu, (Precision)p);
        fill(b);
        product(b, side, side, side, "square");
        product(b, 96, pixels, 16, "expand, 16 to 96 channels");
        product(b, 24, pixels, 96, "project, 96 to 24 channels");
        bench_close(b);
    }
}

int main(int argc, char **argv)
{
    CudaBench       b = {.small = false};
    const char *gpu = argc > 1 && strcmp(argv[1], "small") != 0 ? argv[1] : "0";

    for (int i = 1; i < argc; i++) b.small = b.small || strcmp(argv[i], "small") == 0;
    bench_open(&b, gpu, PRECISION_FP32);
    rates_begin(&b, "bench/cuda/kernels.c");
    elementwise(&b);
    for (int half = 0; half < 2; half++) {
        KernelType type = half ? KERNEL_BF16 : KERNEL_FLOAT;

        if (half) narrow(&b);
        norms(&b, 32, type), norms(&b, 144, type), norms(&b, 576, type);
        for (int kernel = 3; kernel <= 7; kernel += 2)
            for (int stride = 1; stride <= 2; stride++)
                depthwise(&b, 144, b.small ? 8 : 32, kernel, stride, type);
        depthwise(&b, 576, b.small ? 4 : 8, 5, 1, type);
    }
    bench_close(&b);
    products(&b, gpu);
    return 0;
}
