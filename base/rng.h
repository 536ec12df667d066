/* Random numbers by counter: a value is a pure function of (seed, a, b, c), so it
 * does not depend on who asks first, and any draw can be made again. Mixing is
 * SplitMix64's finalizer (Steele, Lea, Flood, OOPSLA 2014) over the four words. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

/* 64 bits, uniform: the draw that (seed, a, b, c) names. */
uint64_t rng_u64(uint64_t seed, uint64_t a, uint64_t b, uint64_t c);

/* 0 <= x < 1, 53 bits. */
double rng_uniform(uint64_t seed, uint64_t a, uint64_t b, uint64_t c);

/* Mean 0, standard deviation 1, within -6..6: the sum of twelve uniforms less six
 * (Irwin-Hall). Only additions, so every machine gives the same bits. */
double rng_normal(uint64_t seed, uint64_t a, uint64_t b, uint64_t c);

/* A stream for tests and searches: the n-th call gives rng_u64(seed, 0, 0, n). */
typedef struct {
    uint64_t seed, count;
} Rng;

/* The stream's next draw: its 64 bits, or a whole number. */
uint64_t rng_next(Rng *rng);
int64_t  rng_range(Rng *rng, int64_t low, int64_t high);     /* low..high, unbiased */

#endif
