/* gelu, silu, tanh, and gated products, over memory once. Which function it is, is asked a number:
 * all threads answer alike, and the memory is what takes the time. Forward 2 numbers an element,
 * backward 3; gated 3 and 5 a gate. Truth: tests/slow_sequence.c; float erf, exp and tanh. */
#include "kernels/cuda/sequence/pass.h"
#include "kernels/cuda/sequence/sequence.h"

#include <cmath>

/* A function's value and its derivative at x. */
struct FunctionPoint { float value, slope; };

static __device__ inline FunctionPoint gelu(float x)
{
    float p = 0.5f * (1.0f + erff(x * 0.707106781f)),
          bell = 0.398942280f * expf(-0.5f * x * x);

    return {x * p, p + x * bell};
}

/* x (1 + tanh(u)) / 2, u = sqrt(2 / pi) (x + 0.044715 x^3) */
static __device__ inline FunctionPoint gelu_tanh(float x)
{
    float t = tanhf(0.797884561f * (x + 0.044715f * x * x * x)),
          du = 0.797884561f * (1.0f + 0.134145f * x * x);

    return {0.5f * x * (1.0f + t), 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * du};
}

static __device__ inline FunctionPoint silu(float x)
{
    float s = 1.0f / (1.0f + expf(-x));

    return {x * s, s + x * s * (1.0f - s)};
}

static __device__ inline FunctionPoint curve(KernelFunction f, float x)
{
    float t;

    switch (f) {
    case KERNEL_GELU: return gelu(x);
    case KERNEL_GELU_TANH: return gelu_tanh(x);
    case KERNEL_SILU: return silu(x);
    case KERNEL_TANH: t = tanhf(x); return {t, 1.0f - t * t};
    default: return {x < 0.0f ? 0.0f : x, x > 0.0f ? 1.0f : 0.0f};
    }
}

template <int N, class T>
static __global__ void forward(KernelFunction f, const T *x, T *y, int64_t count)
{
    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        Floats<N> a = load<N>(x + i);

        for (int j = 0; j < N; j++) a.v[j] = curve(f, a.v[j]).value;
        store<N>(y + i, a);
    }
}

template <int N, class T>
static __global__ void backward(KernelFunction f, const T *x, const T *dy, T *dx, int64_t count)
{
    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        Floats<N> a = load<N>(x + i), d = load<N>(dy + i);

        for (int j = 0; j < N; j++) d.v[j] *= curve(f, a.v[j]).slope;
        store<N>(dx + i, d);
    }
}

/* count: of all gates */
template <int N, class T>
static __global__ void gated(KernelFunction f, const T *x, T *y, int64_t count, int gates)
{
    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        const T  *gate = x + i / gates * gates + i;      /* 2 gates a place */
        Floats<N> g = load<N>(gate), v = load<N>(gate + gates);

        for (int j = 0; j < N; j++) v.v[j] *= curve(f, g.v[j]).value;
        store<N>(y + i, v);
    }
}

template <int N, class T>
static __global__ void gated_gradient(KernelFunction f, const T *x, const T *dy, T *dx,
                                      int64_t count, int gates)
{
    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        int64_t   at = i / gates * gates + i;
        Floats<N> g = load<N>(x + at), v = load<N>(x + at + gates), d = load<N>(dy + i);

        for (int j = 0; j < N; j++) {
            FunctionPoint c = curve(f, g.v[j]);

            g.v[j] = d.v[j] * v.v[j] * c.slope;
            v.v[j] = d.v[j] * c.value;
        }
        store<N>(dx + at, g);
        store<N>(dx + at + gates, v);
    }
}

int kernel_function(KernelType type, KernelFunction f, const void *x, void *y, int64_t count,
                    cudaStream_t stream)
{
    OF_TYPE(type, LAUNCH_NUMBERS((forward<N, T>), count % 4 == 0 && aligned16(x, y), count, stream,
                                 f, (const T *)x, (T *)y, count));
    return LAUNCHED;
}

int kernel_function_gradient(KernelType type, KernelFunction f, const void *x, const void *dy,
                             void *dx, int64_t count, cudaStream_t stream)
{
    OF_TYPE(type, LAUNCH_NUMBERS((backward<N, T>), count % 4 == 0 && aligned16(x, dy, dx), count,
                                 stream, f, (const T *)x, (const T *)dy, (T *)dx, count));
    return LAUNCHED;
}

int kernel_gated(KernelType type, KernelFunction f, const void *x, void *y, int64_t places,
                 int gates, cudaStream_t stream)
{
    int64_t count = places * gates;

    OF_TYPE(type, LAUNCH_NUMBERS((gated<N, T>), gates % 4 == 0 && aligned16(x, y), count, stream, f,
                                 (const T *)x, (T *)y, count, gates));
    return LAUNCHED;
}

int kernel_gated_gradient(KernelType type, KernelFunction f, const void *x, const void *dy,
                          void *dx, int64_t places, int gates, cudaStream_t stream)
{
    int64_t count = places * gates;

    OF_TYPE(type,
            LAUNCH_NUMBERS((gated_gradient<N, T>), gates % 4 == 0 && aligned16(x, dy, dx), count,
                           stream, f, (const T *)x, (const T *)dy, (T *)dx, count, gates));
    return LAUNCHED;
}
