#include "base/rng.h"

static uint64_t mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

uint64_t rng_u64(uint64_t seed, uint64_t a, uint64_t b, uint64_t c)
{
    return mix(c ^ mix(b ^ mix(a ^ mix(seed))));
}

static double unit(uint64_t word)
{
    return (double)(word >> 11) * 0x1p-53;
}

double rng_uniform(uint64_t seed, uint64_t a, uint64_t b, uint64_t c)
{
    return unit(rng_u64(seed, a, b, c));
}

double rng_normal(uint64_t seed, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t word = rng_u64(seed, a, b, c);
    double   sum = -6.0;

    for (int i = 0; i < 12; i++) {
        word = mix(word);
        sum += unit(word);
    }
    return sum;
}

uint64_t rng_next(Rng *rng)
{
    return rng_u64(rng->seed, 0, 0, rng->count++);
}

int64_t rng_range(Rng *rng, int64_t low, int64_t high)
{
    uint64_t span = (uint64_t)high - (uint64_t)low + 1;
    uint64_t word;

    if (span == 0) return (int64_t)rng_next(rng);          /* every 64-bit value */
    uint64_t unfair = (UINT64_MAX - span + 1) % span;      /* 2^64 mod span */
    do word = rng_next(rng); while (word < unfair);
    return (int64_t)((uint64_t)low + word % span);
}
