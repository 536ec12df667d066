/* Functions of single numbers that compilers turn into vectors (in functions marked VECTORISED),
 * which libm's are not, and sums of sixteen parts side by side, the same bits on every instruction
 * set. */
#ifndef KERNELS_CPU_VECTOR_H
#define KERNELS_CPU_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define VECTOR_INLINE static inline __attribute__((always_inline))

/* exp(x) of x up to 88.37, 2e-7 relative: 2^n times a polynomial in what is left, |r| <= ln(2) / 2,
 * whose own error is 3e-9 (1 + r + r^2 times the least largest error of four powers). 0 below
 * -87.3, where floats lose their digits. NaN stays NaN. */
VECTOR_INLINE float vector_exp_below(float x)
{
    /* 1.5 2^23: what is added to it is rounded to a whole number in the last bits */
    const float round = 12582912.0f;
    float    shifted = x * 1.44269504f + round, n = shifted - round, r, p, scale;
    uint32_t bits;

    r = (x - n * 0.693359375f) + n * 2.12194440e-4f;     /* ln(2) in two parts */
    p = 0.008368780836f + r * 0.001381446607f;
    p = 0.041668392718f + r * p;
    p = 0.166665196419f + r * p;
    p = 0.499999940395f + r * p;
    p = 1.0f + r + r * r * p;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + 0x3f800000u;
    memcpy(&scale, &bits, sizeof scale);
    return x < -87.3f ? 0.0f : p * scale;
}

/* exp(x): infinity above 88.37, seven tenths of the largest number. */
VECTOR_INLINE float vector_exp(float x)
{
    float y = vector_exp_below(x);

    return x > 88.37f ? INFINITY : y;
}

/* A function's value and its derivative at x. */
typedef struct { float value, slope; } FunctionCurve;

/* max(x, 0); below tanh(x) and x sigmoid(x), as accurate as vector_exp(). */
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
 * Stegun, Handbook of Mathematical Functions (1.5e-7 absolute), whose numbers are halved here: tail
 * is 1 - P(|x|). */
VECTOR_INLINE FunctionCurve curve_gelu(float x)
{
    float size = fabsf(x), bell = vector_exp_below(-0.5f * x * x);
    float t = 1.0f / (1.0f + 0.231641888f * size), tail;

    tail = -0.7265760135f + t * 0.5307027145f;
    tail = 0.7107068705f + t * tail;
    tail = -0.142248368f + t * tail;
    tail = 0.127414796f + t * tail;
    tail = t * tail * bell;
    return (FunctionCurve){(x > 0.0f ? x : 0.0f) - size * tail,
                           (x < 0.0f ? tail : 1.0f - tail) + x * 0.398942280f * bell};
}

/* x (1 + tanh(u)) / 2 = x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3) */
VECTOR_INLINE FunctionCurve curve_gelu_tanh(float x)
{
    float square = x * x,
          s = 1.0f / (1.0f + vector_exp(x * (-1.595769122f - 0.0713548163f * square)));

    return (FunctionCurve){x * s, s + x * s * (1.0f - s) * (1.595769122f + 0.214064449f * square)};
}

enum { VECTOR_LANES = 16 };

/* The lanes of a sum in a fixed order: halves on halves. */
VECTOR_INLINE float vector_total(const float lane[VECTOR_LANES])
{
    float half[VECTOR_LANES / 2], quarter[VECTOR_LANES / 4];

    for (int j = 0; j < VECTOR_LANES / 2; j++) half[j] = lane[j] + lane[j + VECTOR_LANES / 2];
    for (int j = 0; j < VECTOR_LANES / 4; j++) quarter[j] = half[j] + half[j + VECTOR_LANES / 4];
    return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
}

/* The sum of count numbers, below that of products and the largest: number i goes to lane i mod 16,
 * then lanes are put together. */
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

/* The largest of lanes. */
VECTOR_INLINE float vector_largest(const float lane[VECTOR_LANES])
{
    float half[VECTOR_LANES / 2], quarter[VECTOR_LANES / 4], a, b;

    for (int j = 0; j < VECTOR_LANES / 2; j++) {
        float other = lane[j + VECTOR_LANES / 2];
        half[j] = lane[j] > other ? lane[j] : other;
    }
    for (int j = 0; j < VECTOR_LANES / 4; j++) {
        float other = half[j + VECTOR_LANES / 4];
        quarter[j] = half[j] > other ? half[j] : other;
    }
    a = quarter[0] > quarter[2] ? quarter[0] : quarter[2];
    b = quarter[1] > quarter[3] ? quarter[1] : quarter[3];
    return a > b ? a : b;
}

VECTOR_INLINE float vector_most(const float *x, int64_t count)
{
    float   lane[VECTOR_LANES];
    int64_t i = 0;

    for (int j = 0; j < VECTOR_LANES; j++) lane[j] = -INFINITY;
    for (; i + VECTOR_LANES <= count; i += VECTOR_LANES)
        for (int j = 0; j < VECTOR_LANES; j++) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
    for (; i < count; i++)
        lane[i % VECTOR_LANES] = x[i] > lane[i % VECTOR_LANES] ? x[i] : lane[i % VECTOR_LANES];
    return vector_largest(lane);
}

#endif
