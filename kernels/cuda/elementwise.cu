/* What goes over memory once: sums, activations, conversions, the update. A thread takes N floats
 * at a time, and those a grid further on. */
#include "kernels/cuda/sequence/pass.h"

#include <cmath>

template <int N, class T> static __global__ void add(T *to, const T *from, int64_t count)
{
    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        Floats<N> a = load<N>(to + i), b = load<N>(from + i);

        for (int j = 0; j < N; j++) a.v[j] += b.v[j];
        store<N>(to + i, a);
    }
}

int kernel_add(KernelType type, void *to, const void *from, int64_t count, cudaStream_t stream)
{
    OF_TYPE(type, LAUNCH_NUMBERS((add<N, T>), count % 4 == 0 && aligned16(to, from), count, stream,
                                 (T *)to, (const T *)from, count));
    return LAUNCHED;
}

/* ---- activations ---- */

template <int N, class T>
static __global__ void activation(const T *x, T *y, int64_t count, float limit)
{
    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        Floats<N> a = load<N>(x + i);

        for (int j = 0; j < N; j++) a.v[j] = cut(a.v[j], 0.0f, limit);
        store<N>(y + i, a);
    }
}

int kernel_activation(KernelType type, const void *x, void *y, int64_t count, float limit,
                      cudaStream_t stream)
{
    OF_TYPE(type, LAUNCH_NUMBERS((activation<N, T>), count % 4 == 0 && aligned16(x, y), count,
                                 stream, (const T *)x, (T *)y, count, limit));
    return LAUNCHED;
}

template <int N, class T>
static __global__ void activation_gradient(const T *y, const T *dy, T *dx, int64_t count,
                                           float limit)
{
    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        Floats<N> a = load<N>(y + i), d = load<N>(dy + i);

        for (int j = 0; j < N; j++)
            if (a.v[j] <= 0.0f || a.v[j] >= limit) d.v[j] = 0.0f;
        store<N>(dx + i, d);
    }
}

int kernel_activation_gradient(KernelType type, const void *y, const void *dy, void *dx,
                               int64_t count, float limit, cudaStream_t stream)
{
    OF_TYPE(type,
            LAUNCH_NUMBERS((activation_gradient<N, T>), count % 4 == 0 && aligned16(y, dy, dx),
                           count, stream, (const T *)y, (const T *)dy, (T *)dx, count, limit));
    return LAUNCHED;
}

template <int N, class T>
static __global__ void bias(T *y, const float *b, int64_t count, int channels, float floor,
                            float limit)
{
    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        Floats<N> a = load<N>(y + i), add = b ? load<N>(b + i % channels) : all<N>(0.0f);

        for (int j = 0; j < N; j++) a.v[j] = cut(a.v[j] + add.v[j], floor, limit);
        store<N>(y + i, a);
    }
}

int kernel_bias(KernelType type, void *y, const float *b, int64_t pixels, int channels, float floor,
                float limit, cudaStream_t stream)
{
    int64_t count = pixels * channels;

    OF_TYPE(type, LAUNCH_NUMBERS((bias<N, T>), channels % 4 == 0 && aligned16(y, b), count, stream,
                                 (T *)y, b, count, channels, floor, limit));
    return LAUNCHED;
}

/* ---- bfloat16 ---- */

template <int N, class To, class From>
static __global__ void convert(To *to, const From *from, int64_t count)
{
    for (int64_t i = first_element() * N; i < count; i += next_element() * N)
        store<N>(to + i, load<N>(from + i));
}

template <class To, class From>
static int launch_convert(To *to, const From *from, int64_t count, cudaStream_t stream)
{
    LAUNCH_NUMBERS((convert<N, To, From>), count % 4 == 0 && aligned16(to, from), count, stream, to,
                   from, count);
    return LAUNCHED;
}

int kernel_to_bf16(void *to, const float *from, int64_t count, cudaStream_t stream)
{
    return launch_convert((__nv_bfloat16 *)to, from, count, stream);
}

int kernel_from_bf16(float *to, const void *from, int64_t count, cudaStream_t stream)
{
    return launch_convert(to, (const __nv_bfloat16 *)from, count, stream);
}

/* ---- the update ---- */

/* One launch for all tensors: element i of all spans together lies in the first span whose end is
 * beyond it. Spans are few, and neighbours have the same, so the search is cheap. */
template <int N>
static __global__ void sgd(float *weight, const float *gradient, float *state,
                           const KernelSpans spans, const KernelSgd step)
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

int kernel_sgd(float *weight, const float *gradient, float *state, const KernelSpans *spans,
               const KernelSgd *step, cudaStream_t stream)
{
    int64_t count = spans->count > 0 ? spans->end[spans->count - 1] : 0;
    bool    wide = aligned16(weight, gradient, state);

    for (int s = 0; s < spans->count; s++)
        wide = wide && spans->first[s] % 4 == 0 && spans->end[s] % 4 == 0;
    LAUNCH_NUMBERS((sgd<N>), wide, count, stream, weight, gradient, state, *spans, *step);
    return LAUNCHED;
}

/* ---- numbers that are none ---- */

template <int N>
static __global__ void check_finite(const float *values, int64_t count, double *flag)
{
    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        Floats<N> v = load<N>(values + i);

        for (int j = 0; j < N; j++)
            if (v.v[j] - v.v[j] != 0.0f) *flag = NAN;        /* of what is finite it is 0; whoever
                                                              * writes, it is the same */
    }
}

int kernel_check_finite(const float *values, int64_t count, double *flag, cudaStream_t stream)
{
    LAUNCH_NUMBERS((check_finite<N>), count % 4 == 0 && aligned16(values), count, stream, values,
                   count, flag);
    return LAUNCHED;
}
