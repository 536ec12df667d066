#include "kernels/cpu/heads.h"

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"

/* ---- one token ---- */

VECTOR_INLINE float inverse_of(const float *x, int64_t n, float eps)
{
    return 1.0f / sqrtf(vector_dot(x, x, n) / (float)n + eps);
}

/* Number i with number i + half: (a, b) -> (a c - b s, b c + a s). */
VECTORISED static void load_token(const Heads *h, float *restrict to, const float *restrict x,
                                  const float *cosine, const float *sine)
{
    float   inverse = h->weight ? inverse_of(x, h->dim, h->eps) : 1.0f;
    int64_t n = h->dim, half = h->half;

    if (h->weight) for (int64_t i = 0; i < n; i++) to[i] = x[i] * inverse * h->weight[i];
    else           for (int64_t i = 0; i < n; i++) to[i] = x[i];
    for (int64_t i = 0; i < half; i++) {
        float a = to[i], b = to[half + i];

        to[i] = a * cosine[i] - b * sine[i];
        to[half + i] = b * cosine[i] + a * sine[i];
    }
    for (int64_t i = 0; i < n; i++) to[i] *= h->scale;
}

VECTORISED static void backward_token(const Heads *h, float *restrict d, const float *restrict x,
                                      const float *cosine, const float *sine,
                                      float *restrict dweight)
{
    int64_t n = h->dim, half = h->half;
    float   inverse, slope, lane[VECTOR_LANES] = {0};

    for (int64_t i = 0; i < n; i++) d[i] *= h->scale;
    for (int64_t i = 0; i < half; i++) {                 /* the turn back */
        float a = d[i], b = d[half + i];

        d[i] = a * cosine[i] + b * sine[i];
        d[half + i] = b * cosine[i] - a * sine[i];
    }
    if (!h->weight) return;
    inverse = inverse_of(x, n, h->eps);
    for (int64_t i = 0; i < n; i++) {
        dweight[i] += d[i] * x[i] * inverse;
        d[i] *= h->weight[i];
        lane[i % VECTOR_LANES] += d[i] * x[i] * inverse;
    }
    slope = vector_total(lane) / (float)n;
    for (int64_t i = 0; i < n; i++) d[i] = inverse * (d[i] - x[i] * inverse * slope);
}

/* ---- many ---- */

void heads_load(const Heads *h, float *to, const float *x, int64_t stride, int64_t first,
                int64_t count)
{
    for (int64_t t = 0; t < count; t++)
        load_token(h, to + t * h->dim, x + t * stride, h->table + (first + t) * h->half,
                   h->table + (h->tokens + first + t) * h->half);
}

void heads_backward(const Heads *h, float *d, int64_t d_stride, const float *x, int64_t stride,
                    int64_t first, int64_t count, float *dweight)
{
    for (int64_t t = 0; t < count; t++)
        backward_token(h, d + t * d_stride, x + t * stride, h->table + (first + t) * h->half,
                       h->table + (h->tokens + first + t) * h->half, dweight);
}
