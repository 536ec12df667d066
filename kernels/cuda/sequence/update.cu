/* AdamW and clipping, over spans of arrays: one launch for all tensors. AdamW: 28 bytes an element;
 * squares: 4, and what is clipped is read and written once more. */
#include "kernels/cuda/sequence/pass.h"
#include "kernels/cuda/sequence/training.h"

#include <cmath>

enum { THREADS = 256 };

/* Where element i of all spans together lies: in the first span whose end is beyond it. Spans are
 * few, and neighbours have the same, so the search is cheap. */
static __device__ inline int64_t in_span(const KernelSpans &spans, int64_t i)
{
    int s = 0;

    while (i >= spans.end[s]) s++;
    return spans.first[s] + i - (s > 0 ? spans.end[s - 1] : 0);
}

static int64_t count_of(const KernelSpans *spans)
{
    return spans->count > 0 ? spans->end[spans->count - 1] : 0;
}

static bool are_wide(const KernelSpans *spans)
{
    bool wide = true;

    for (int s = 0; s < spans->count; s++)
        wide = wide && spans->first[s] % 4 == 0 && spans->end[s] % 4 == 0;
    return wide;
}

template <int N>
static __global__ void adamw(float *weight, const float *gradient, float *mean, float *square,
                             const KernelSpans spans, const KernelAdamW step)
{
    int64_t count = spans.end[spans.count - 1];

    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        int64_t   at = in_span(spans, i);
        Floats<N> w = load<N>(weight + at), g = load<N>(gradient + at), m = load<N>(mean + at),
                  v = load<N>(square + at);

        for (int j = 0; j < N; j++) {
            m.v[j] = step.beta1 * m.v[j] + (1.0f - step.beta1) * g.v[j];
            v.v[j] = step.beta2 * v.v[j] + (1.0f - step.beta2) * g.v[j] * g.v[j];
            w.v[j] = step.keep * w.v[j]
                     - step.rate * m.v[j] / (sqrtf(v.v[j]) * step.root + step.eps);
        }
        store<N>(mean + at, m);
        store<N>(square + at, v);
        store<N>(weight + at, w);
    }
}

int kernel_adamw(float *weight, const float *gradient, float *mean, float *square,
                 const KernelSpans *spans, const KernelAdamW *step, cudaStream_t stream)
{
    int64_t count = count_of(spans);
    bool    wide = are_wide(spans) && aligned16(weight, gradient) && aligned16(mean, square);

    LAUNCH_NUMBERS((adamw<N>), wide, count, stream, weight, gradient, mean, square, *spans, *step);
    return LAUNCHED;
}

/* ---- clipping ---- */

/* A block's sum: of each thread's elements in float, then in double. */
static __global__ void squares(const float *values, const KernelSpans spans, double *partial)
{
    SHARED(double, shared);
    int64_t count = spans.end[spans.count - 1];
    double  sum = 0.0;

    for (int64_t i = first_element(); i < count; i += next_element()) {
        float v = values[in_span(spans, i)];
        sum += (double)(v * v);
    }
    sum = over_block<double, false>(sum, shared);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

static __global__ void add_squares(const double *partial, int count, double *sum, int add)
{
    SHARED(double, shared);
    double mine = 0.0;

    for (int i = (int)threadIdx.x; i < count; i += (int)blockDim.x) mine += partial[i];
    mine = over_block<double, false>(mine, shared);
    if (threadIdx.x == 0) *sum = (add ? *sum : 0.0) + mine;
}

int kernel_squares(const float *values, const KernelSpans *spans, double *partial, double *sum,
                   int add, cudaStream_t stream)
{
    int64_t blocks = ceil_div(count_of(spans), THREADS);

    if (blocks < 1) return 0;
    if (blocks > KERNEL_SQUARE_PARTS) blocks = KERNEL_SQUARE_PARTS;
    LAUNCH(squares, (unsigned)blocks, THREADS, THREADS * sizeof(double), stream, values, *spans,
           partial);
    LAUNCH(add_squares, 1, THREADS, THREADS * sizeof(double), stream, (const double *)partial,
           (int)blocks, sum, add);
    return LAUNCHED;
}

static __global__ void shorten(float *values, const KernelSpans spans, const double *sum,
                               float clip)
{
    int64_t count = spans.end[spans.count - 1];
    double  norm = sqrt(*sum) + 1e-6;
    float   scale = (float)((double)clip / norm);

    if (!(norm > (double)clip)) return;
    for (int64_t i = first_element(); i < count; i += next_element())
        values[in_span(spans, i)] *= scale;
}

int kernel_clip(float *values, const KernelSpans *spans, const double *sum, float clip,
                cudaStream_t stream)
{
    if (count_of(spans) < 1) return 0;
    LAUNCH(shorten, blocks_for(count_of(spans)), 256, 0, stream, values, *spans, sum, clip);
    return LAUNCHED;
}
