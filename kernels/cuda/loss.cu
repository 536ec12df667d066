/* Losses and their gradients. A block's sum goes to partial, in double; one small block adds those
 * in their order. MSE: 12 bytes an element. Truth: the loops in double of tests/slow_net.h's users;
 * a sum of float squares over a thread's few elements errs by 1e-7 of itself. */
#include "kernels/cuda/sequence/pass.h"

#include <cmath>

enum { THREADS = 256, ROW_THREADS = 128 };

template <int N>
static __global__ void mse(const float *student, const float *teacher, float *dy, int64_t count,
                           float scale, double *partial)
{
    SHARED(double, shared);
    float sum = 0.0f;

    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        Floats<N> s = load<N>(student + i), t = load<N>(teacher + i);

        for (int j = 0; j < N; j++) {
            float d = s.v[j] - t.v[j];

            s.v[j] = scale * d;
            sum += d * d;
        }
        store<N>(dy + i, s);
    }
    double total = over_block<double, false>((double)sum, shared);

    if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

static __global__ void total(const double *partial, int64_t count, double scale, double *loss)
{
    SHARED(double, shared);
    double sum = 0.0;

    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) sum += partial[i];
    sum = over_block<double, false>(sum, shared);
    if (threadIdx.x == 0) *loss = sum * scale;
}

int kernel_mse(const float *student, const float *teacher, float *dy, int64_t count, double scale,
               double *partial, double *loss, cudaStream_t stream)
{
    bool     wide = count % 4 == 0 && aligned16(student, teacher, dy);
    int64_t  blocks = ceil_div(count, 4 * THREADS);
    int64_t  most = KERNEL_LOSS_PARTIALS;
    unsigned used = (unsigned)(blocks < 1 ? 1 : blocks > most ? most : blocks);

    if (wide)
        LAUNCH(mse<4>, used, THREADS, THREADS * sizeof(double), stream, student, teacher, dy, count,
               (float)(2.0 * scale), partial);
    else
        LAUNCH(mse<1>, used, THREADS, THREADS * sizeof(double), stream, student, teacher, dy, count,
               (float)(2.0 * scale), partial);
    LAUNCH(total, 1, THREADS, THREADS * sizeof(double), stream, partial, (int64_t)used, scale,
           loss);
    return LAUNCHED;
}

/* log of the sum of exp of a row */
static __device__ inline float log_of_sum(const float *x, int64_t count, float *shared)
{
    float most = -INFINITY, sum = 0.0f;

    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) most = x[i] > most ? x[i] : most;
    most = over_block<float, true>(most, shared);
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) sum += expf(x[i] - most);
    return most + logf(over_block<float, false>(sum, shared));
}

/* A block a row. */
static __global__ void cross_entropy(const float *student, const float *teacher, float *dy,
                                     int64_t per_row, float scale, double *partial)
{
    SHARED(double, shared);
    const float *s = student + blockIdx.x * per_row, *t = teacher + blockIdx.x * per_row;
    float *d = dy + blockIdx.x * per_row, *floats = reinterpret_cast<float *>(shared), sum = 0.0f;
    float        log_s = log_of_sum(s, per_row, floats), log_t = log_of_sum(t, per_row, floats);

    for (int64_t i = threadIdx.x; i < per_row; i += blockDim.x) {
        float p = expf(t[i] - log_t), q = s[i] - log_s;

        sum -= p * q;
        d[i] = (expf(q) - p) * scale;
    }
    double row = over_block<double, false>((double)sum, shared);

    if (threadIdx.x == 0) partial[blockIdx.x] = row;
}

int kernel_cross_entropy(const float *student, const float *teacher, float *dy, int64_t rows,
                         int64_t per_row, double scale, double *partial, double *loss,
                         cudaStream_t stream)
{
    LAUNCH(cross_entropy, (unsigned)rows, ROW_THREADS, ROW_THREADS * sizeof(double), stream,
           student, teacher, dy, per_row, (float)scale, partial);
    LAUNCH(total, 1, THREADS, THREADS * sizeof(double), stream, partial, rows, scale, loss);
    return LAUNCHED;
}
