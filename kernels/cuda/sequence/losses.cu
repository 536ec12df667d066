/* Losses of places, a block each, and their gradients: what counts is asked of lengths or labels,
 * dy of all else is 0. A place's loss goes to partial, in double, and one small block adds those in
 * their order.
 *
 * Passes over a place's channels, which stay in the cache: 4 of scores (largest and sum of exp of
 * student and teacher, then dy), 2 of all else. Truth: the loops in double of
 * tests/cuda/test_cuda_training.c; float exp, 1e-6 of the largest. */
#include "kernels/cuda/sequence/pass.h"
#include "kernels/cuda/sequence/training.h"

#include <cmath>

enum { PLACE_THREADS = 128, TOTAL_THREADS = 256 };

static __device__ inline bool counts(const KernelPlaceLoss &l, int64_t at)
{
    if (l.labels) return l.labels[at] >= 0;
    return !l.lengths || at % l.places < l.lengths[at / l.places];
}

/* A place, and memory that the block shares: PLACE_THREADS doubles. */
struct LossPlace {
    const float *s, *t;
    float       *dy;
    int64_t      n, at;
    double      *shared;
};

static __device__ inline double sum_over(const LossPlace &p, double mine)
{
    return over_block<double, false>(mine, p.shared);
}

/* ---- scores ---- */

/* softmax(x / T) is exp((x - most) / T) / sum */
struct LossSoftmax { float most, sum; };

static __device__ inline LossSoftmax softmax(const LossPlace &p, const float *x, float inverse)
{
    float      *shared = reinterpret_cast<float *>(p.shared);
    LossSoftmax out = {-INFINITY, 0.0f};

    for (int64_t i = threadIdx.x; i < p.n; i += blockDim.x)
        out.most = x[i] > out.most ? x[i] : out.most;
    out.most = over_block<float, true>(out.most, shared);
    for (int64_t i = threadIdx.x; i < p.n; i += blockDim.x)
        out.sum += expf((x[i] - out.most) * inverse);
    out.sum = over_block<float, false>(out.sum, shared);
    return out;
}

/* sum p_t (log p_t - log p_s), without the first where entropy is not asked for; dy = (p_s - p_t)
 * scale. */
static __device__ inline double divergence(const LossPlace &p, float inverse, bool entropy,
                                           float scale)
{
    LossSoftmax of_s = softmax(p, p.s, inverse), of_t = softmax(p, p.t, inverse);
    float       sum = 0.0f;

    for (int64_t i = threadIdx.x; i < p.n; i += blockDim.x) {
        float u = (p.t[i] - of_t.most) * inverse, v = (p.s[i] - of_s.most) * inverse,
              q = expf(u) / of_t.sum;

        sum += q * ((entropy ? u : 0.0f) - v);
        p.dy[i] = (expf(v) / of_s.sum - q) * scale;
    }
    return sum_over(p, (double)sum) + log((double)of_s.sum)
           - (entropy ? log((double)of_t.sum) : 0.0);
}

/* The first of the teacher's largest: the least number among those that are. */
static __device__ inline int64_t largest_of(const LossPlace &p)
{
    LossSoftmax of_t = softmax(p, p.t, 1.0f);
    double      first = -(double)p.n;

    for (int64_t i = threadIdx.x; i < p.n; i += blockDim.x)
        if (p.t[i] == of_t.most && -(double)i > first) first = -(double)i;
    return (int64_t)-over_block<double, true>(first, p.shared);
}

static __device__ inline double hard(const LossPlace &p, int64_t best, float scale)
{
    LossSoftmax of_s = softmax(p, p.s, 1.0f);
    float       chosen = best < p.n ? p.s[best] : NAN;

    for (int64_t i = threadIdx.x; i < p.n; i += blockDim.x)
        p.dy[i] = (expf(p.s[i] - of_s.most) / of_s.sum - (i == best ? 1.0f : 0.0f)) * scale;
    return log((double)of_s.sum) - (double)(chosen - of_s.most);
}

/* ---- numbers ---- */

/* d (1 - s t / (|s| |t|)) / d s = s cos / |s|^2 - t / (|s| |t|). Of a vector of zeros the cosine is
 * 0, and has no slope. */
static __device__ inline double cosine(const LossPlace &p, double scale)
{
    double ss = 0.0, tt = 0.0, st = 0.0;

    for (int64_t i = threadIdx.x; i < p.n; i += blockDim.x) {
        ss += (double)p.s[i] * (double)p.s[i];
        tt += (double)p.t[i] * (double)p.t[i];
        st += (double)p.s[i] * (double)p.t[i];
    }
    ss = sum_over(p, ss), tt = sum_over(p, tt), st = sum_over(p, st);
    double both = sqrt(ss * tt), value = both > 0.0 ? st / both : 0.0;
    float  of_t = both > 0.0 ? (float)(scale / both) : 0.0f,
          of_s = both > 0.0 ? (float)(scale * value / ss) : 0.0f;

    for (int64_t i = threadIdx.x; i < p.n; i += blockDim.x)
        p.dy[i] = of_s * p.s[i] - of_t * p.t[i];
    return 1.0 - value;
}

static __device__ inline double squares(const LossPlace &p, float scale)
{
    float sum = 0.0f;

    for (int64_t i = threadIdx.x; i < p.n; i += blockDim.x) {
        float d = p.s[i] - p.t[i];

        p.dy[i] = scale * d;
        sum += d * d;
    }
    return sum_over(p, (double)sum);
}

/* ---- places ---- */

static __device__ inline double loss_of(const KernelPlaceLoss &l, const LossPlace &p)
{
    float scale = (float)l.scale;
    double n = (double)p.n, size;

    switch (l.kind) {
    case KERNEL_LOSS_SOFT_CROSS_ENTROPY: return divergence(p, 1.0f, false, scale);
    case KERNEL_LOSS_KL:
        return l.temperature * l.temperature
               * divergence(p, (float)(1.0 / l.temperature), true,
                            (float)(l.temperature * l.scale));
    case KERNEL_LOSS_HARD_CROSS_ENTROPY: return hard(p, largest_of(p), scale);
    case KERNEL_LOSS_LABEL_CROSS_ENTROPY: return hard(p, l.labels[p.at], scale);
    case KERNEL_LOSS_COSINE: return cosine(p, l.scale);
    case KERNEL_LOSS_NORMALISED_MSE:                     /* sizes of rows stand behind places */
        size = l.partial[l.rows * l.places + p.at / l.places];
        return squares(p, (float)(2.0 * l.scale / size)) / size;
    default: return squares(p, (float)(2.0 * l.scale / n)) / n;
    }
}

static __global__ void places(const KernelPlaceLoss l)
{
    SHARED(double, shared);
    int64_t   at = blockIdx.x, first = at * l.channels;
    LossPlace p = {l.student + first, l.teacher ? l.teacher + first : nullptr, l.dy + first,
                   l.channels, at, shared};
    double    loss = 0.0;

    if (counts(l, at)) loss = loss_of(l, p);
    else for (int64_t i = threadIdx.x; i < p.n; i += blockDim.x) p.dy[i] = 0.0f;
    if (threadIdx.x == 0) l.partial[at] = loss;
}

/* sum t^2 of each place; then of each row's places that count, 1e-30 at least. */
static __global__ void place_sizes(const KernelPlaceLoss l)
{
    SHARED(double, shared);
    const float *t = l.teacher + blockIdx.x * l.channels;
    float        sum = 0.0f;

    for (int64_t i = threadIdx.x; i < l.channels; i += blockDim.x) sum += t[i] * t[i];
    double all = over_block<double, false>((double)sum, shared);

    if (threadIdx.x == 0) l.partial[blockIdx.x] = counts(l, blockIdx.x) ? all : 0.0;
}

static __global__ void row_sizes(const KernelPlaceLoss l)
{
    SHARED(double, shared);
    double sum = 0.0;

    for (int64_t i = threadIdx.x; i < l.places; i += blockDim.x)
        sum += l.partial[blockIdx.x * l.places + i];
    sum = over_block<double, false>(sum, shared);
    if (threadIdx.x == 0) l.partial[l.rows * l.places + blockIdx.x] = sum > 1e-30 ? sum : 1e-30;
}

static __global__ void total(const KernelPlaceLoss l)
{
    SHARED(double, shared);
    double sum = 0.0;

    for (int64_t i = threadIdx.x; i < l.rows * l.places; i += blockDim.x) sum += l.partial[i];
    sum = over_block<double, false>(sum, shared);
    if (threadIdx.x == 0) *l.loss = (l.add ? *l.loss : 0.0) + sum * l.scale;
}

int kernel_place_loss(const KernelPlaceLoss *l, cudaStream_t stream)
{
    unsigned all = (unsigned)(l->rows * l->places);
    size_t   bytes = PLACE_THREADS * sizeof(double);

    if (l->kind == KERNEL_LOSS_NORMALISED_MSE) {
        LAUNCH(place_sizes, all, PLACE_THREADS, bytes, stream, *l);
        LAUNCH(row_sizes, (unsigned)l->rows, PLACE_THREADS, bytes, stream, *l);
    }
    LAUNCH(places, all, PLACE_THREADS, bytes, stream, *l);
    LAUNCH(total, 1, TOTAL_THREADS, TOTAL_THREADS * sizeof(double), stream, *l);
    return LAUNCHED;
}
