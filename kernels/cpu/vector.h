/* Functions of single numbers that compilers turn into vectors (in functions marked VECTORISED),
 * which libm's are not, and sums of sixteen parts side by side, the same bits on every instruction
 * set. */
#ifndef KERNELS_CPU_VECTOR_H
#define KERNELS_CPU_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define VECTOR_INLINE static inline __attribute__((always_inline))

/* exp(x), 2e-7 relative: 2^n times the Taylor series of what is left, |r| <= ln(2) / 2. Below -87.3
 * as at -87.3, which is 1e-38; above 88.7 as there. NaN stays NaN. */
VECTOR_INLINE float vector_exp(float x)
{
    const float round = 12582912.0f;     /* 1.5 2^23: what is added to it is rounded to a whole
                                          * number in the last bits */
    float       shifted, n, r, p, scale;
    uint32_t    bits;

    x = x < -87.3f ? -87.3f : x;
    x = x > 88.7f ? 88.7f : x;
    shifted = x * 1.44269504f + round;
    n = shifted - round;
    r = (x - n * 0.693359375f) + n * 2.12194440e-4f;     /* ln(2) in two parts */
    p = 1.0f / 720.0f + r * (1.0f / 5040.0f);
    p = 1.0f / 120.0f + r * p;
    p = 1.0f / 24.0f + r * p;
    p = 1.0f / 6.0f + r * p;
    p = 0.5f + r * p;
    p = 1.0f + r + r * r * p;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + 0x3f800000u;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

/* A function's value and its derivative at x. */
typedef struct { float value, slope; } FunctionCurve;

VECTOR_INLINE FunctionCurve curve_relu(float x)
{
    return (FunctionCurve){x < 0.0f ? 0.0f : x, x > 0.0f ? 1.0f : 0.0f};
}

VECTOR_INLINE FunctionCurve curve_tanh(float x)
{
    float t = 1.0f - 2.0f / (vector_exp(2.0f * x) + 1.0f);

    return (FunctionCurve){t, 1.0f - t * t};
}

VECTOR_INLINE FunctionCurve curve_silu(float x)
{
    float s = 1.0f / (1.0f + vector_exp(-x));

    return (FunctionCurve){x * s, s + x * s * (1.0f - s)};
}

/* x P(x), P the normal distribution's. The error function by formula 7.1.26 of Abramowitz and
 * Stegun, Handbook of Mathematical Functions: 1.5e-7 absolute. */
VECTOR_INLINE FunctionCurve curve_gelu(float x)
{
    float size = fabsf(x) * 0.707106781f, bell = vector_exp(-0.5f * x * x),
          t = 1.0f / (1.0f + 0.3275911f * size);
    float tail =
        t
        * (0.254829592f
           + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))))
        * bell;
    float p = x < 0.0f ? 0.5f * tail : 1.0f - 0.5f * tail;

    return (FunctionCurve){x * p, p + x * 0.398942280f * bell};
}

/* x (1 + tanh(u)) / 2, u = sqrt(2 / pi) (x + 0.044715 x^3) */
VECTOR_INLINE FunctionCurve curve_gelu_tanh(float x)
{
    float u = 0.797884561f * (x + 0.044715f * x * x * x),
          du = 0.797884561f * (1.0f + 0.134145f * x * x);
    FunctionCurve t = curve_tanh(u);

    return (FunctionCurve){0.5f * x * (1.0f + t.value),
                           0.5f * (1.0f + t.value) + 0.5f * x * t.slope * du};
}

enum { VECTOR_LANES = 16 };

/* The lanes of a sum in a fixed order. */
VECTOR_INLINE float vector_total(const float lane[VECTOR_LANES])
{
    float sum = 0.0f;

    for (int j = 0; j < VECTOR_LANES; j++) sum += lane[j];
    return sum;
}

VECTOR_INLINE float vector_sum(const float *x, int64_t count)
{
    float   lane[VECTOR_LANES] = {0};
    int64_t i = 0;

    for (; i + VECTOR_LANES <= count; i += VECTOR_LANES)
        for (int j = 0; j < VECTOR_LANES; j++) lane[j] += x[i + j];
    for (; i < count; i++) lane[i % VECTOR_LANES] += x[i];
    return vector_total(lane);
}

VECTOR_INLINE float vector_dot(const float *x, const float *y, int64_t count)
{
    float   lane[VECTOR_LANES] = {0};
    int64_t i = 0;

    for (; i + VECTOR_LANES <= count; i += VECTOR_LANES)
        for (int j = 0; j < VECTOR_LANES; j++) lane[j] += x[i + j] * y[i + j];
    for (; i < count; i++) lane[i % VECTOR_LANES] += x[i] * y[i];
    return vector_total(lane);
}

VECTOR_INLINE float vector_most(const float *x, int64_t count)
{
    float   lane[VECTOR_LANES], most = -INFINITY;
    int64_t i = 0;

    for (int j = 0; j < VECTOR_LANES; j++) lane[j] = -INFINITY;
    for (; i + VECTOR_LANES <= count; i += VECTOR_LANES)
        for (int j = 0; j < VECTOR_LANES; j++) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
    for (; i < count; i++) most = x[i] > most ? x[i] : most;
    for (int j = 0; j < VECTOR_LANES; j++) most = lane[j] > most ? lane[j] : most;
    return most;
}

#endif
