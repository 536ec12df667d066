/* What goes over memory once: sums, activations, conversions, the update. A thread takes N floats at
 * a time, and those a grid further on. */
#include "kernels/cuda/launch.h"

#include <cuda_bf16.h>

#include <cmath>

/* Calls kernel<4> or kernel<1> on count floats at these pointers. */
#define LAUNCH_FLOATS(kernel, wide, count, stream, ...)                                                                \
    do {                                                                                                               \
        if ((count) < 1) return 0;                                                                                     \
        if (wide) LAUNCH((kernel<4>), blocks_for((count) / 4), 256, 0, stream, __VA_ARGS__);                           \
        else LAUNCH((kernel<1>), blocks_for(count), 256, 0, stream, __VA_ARGS__);                                      \
    } while (0)

template <int N> static __global__ void add(float *to, const float *from, int64_t count)
{
    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        Floats<N> a = load<N>(to + i), b = load<N>(from + i);

        for (int j = 0; j < N; j++) a.v[j] += b.v[j];
        store<N>(to + i, a);
    }
}

int kernel_add(float *to, const float *from, int64_t count, cudaStream_t stream)
{
    LAUNCH_FLOATS(add, count % 4 == 0 && aligned16(to, from), count, stream, to, from, count);
    return LAUNCHED;
}

/* ---- activations ---- */

template <int N> static __global__ void activation(const float *x, float *y, int64_t count, float limit)
{
    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        Floats<N> a = load<N>(x + i);

        for (int j = 0; j < N; j++) a.v[j] = cut(a.v[j], 0.0f, limit);
        store<N>(y + i, a);
    }
}

int kernel_activation(const float *x, float *y, int64_t count, float limit, cudaStream_t stream)
{
    LAUNCH_FLOATS(activation, count % 4 == 0 && aligned16(x, y), count, stream, x, y, count, limit);
    return LAUNCHED;
}

template <int N> static __global__ void activation_gradient(const float *y, const float *dy, float *dx, int64_t count, float limit)
{
    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        Floats<N> a = load<N>(y + i), d = load<N>(dy + i);

        for (int j = 0; j < N; j++)
            if (a.v[j] <= 0.0f || a.v[j] >= limit) d.v[j] = 0.0f;
        store<N>(dx + i, d);
    }
}

int kernel_activation_gradient(const float *y, const float *dy, float *dx, int64_t count, float limit, cudaStream_t stream)
{
    LAUNCH_FLOATS(activation_gradient, count % 4 == 0 && aligned16(y, dy, dx), count, stream, y, dy, dx, count, limit);
    return LAUNCHED;
}

template <int N> static __global__ void bias(float *y, const float *b, int64_t count, int channels, float floor, float limit)
{
    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        Floats<N> a = load<N>(y + i), add = b ? load<N>(b + i % channels) : all<N>(0.0f);

        for (int j = 0; j < N; j++) a.v[j] = cut(a.v[j] + add.v[j], floor, limit);
        store<N>(y + i, a);
    }
}

int kernel_bias(float *y, const float *b, int64_t pixels, int channels, float floor, float limit, cudaStream_t stream)
{
    int64_t count = pixels * channels;

    LAUNCH_FLOATS(bias, channels % 4 == 0 && aligned16(y, b), count, stream, y, b, count, channels, floor, limit);
    return LAUNCHED;
}

/* ---- bfloat16 ---- */

template <int N> struct alignas(2 * N) Halves { __nv_bfloat16 v[N]; };

template <int N> static __global__ void to_bf16(__nv_bfloat16 *to, const float *from, int64_t count)
{
    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        Floats<N> a = load<N>(from + i);
        Halves<N> h;

        for (int j = 0; j < N; j++) h.v[j] = __float2bfloat16(a.v[j]);
        *reinterpret_cast<Halves<N> *>(to + i) = h;
    }
}

int kernel_to_bf16(void *to, const float *from, int64_t count, cudaStream_t stream)
{
    LAUNCH_FLOATS(to_bf16, count % 4 == 0 && aligned16(to, from), count, stream, (__nv_bfloat16 *)to, from, count);
    return LAUNCHED;
}

template <int N> static __global__ void from_bf16(float *to, const __nv_bfloat16 *from, int64_t count)
{
    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        Halves<N> h = *reinterpret_cast<const Halves<N> *>(from + i);
        Floats<N> a;

        for (int j = 0; j < N; j++) a.v[j] = __bfloat162float(h.v[j]);
        store<N>(to + i, a);
    }
}

int kernel_from_bf16(float *to, const void *from, int64_t count, cudaStream_t stream)
{
    LAUNCH_FLOATS(from_bf16, count % 4 == 0 && aligned16(to, from), count, stream, to, (const __nv_bfloat16 *)from, count);
    return LAUNCHED;
}

/* ---- the update ---- */

/* One launch for all tensors: element i of all spans together lies in the first span whose end is
 * beyond it. Spans are few, and neighbours have the same, so the search is cheap. */
template <int N> static __global__ void sgd(float *weight, const float *gradient, float *state, const KernelSpans spans, const KernelSgd step)
{
    int64_t count = spans.end[spans.count - 1];

    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        int s = 0;

        while (i >= spans.end[s]) s++;
        int64_t   at = spans.first[s] + i - (s > 0 ? spans.end[s - 1] : 0);
        Floats<N> w = load<N>(weight + at), g = load<N>(gradient + at), m = load<N>(state + at);

        for (int j = 0; j < N; j++) {
            float d = g.v[j] + step.decay * w.v[j];

            m.v[j] = step.momentum * m.v[j] + d;
            w.v[j] -= step.rate * (step.of_gradient * d + step.of_state * m.v[j]);
        }
        store<N>(state + at, m);
        store<N>(weight + at, w);
    }
}

int kernel_sgd(float *weight, const float *gradient, float *state, const KernelSpans *spans, const KernelSgd *step,
               cudaStream_t stream)
{
    int64_t count = spans->count > 0 ? spans->end[spans->count - 1] : 0;
    bool    wide = aligned16(weight, gradient, state);

    for (int s = 0; s < spans->count; s++) wide = wide && spans->first[s] % 4 == 0 && spans->end[s] % 4 == 0;
    LAUNCH_FLOATS(sgd, wide, count, stream, weight, gradient, state, *spans, *step);
    return LAUNCHED;
}
