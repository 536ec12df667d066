/* bfloat16: the upper half of a float32. */
#ifndef BASE_BFLOAT16_H
#define BASE_BFLOAT16_H

#include <stdint.h>
#include <string.h>

/* To the nearest, ties to even; what is no number stays none. */
static inline uint16_t bfloat16_round(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7fffffffu) > 0x7f800000u
               ? (uint16_t)(bits >> 16 | 0x40u)
               : (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static inline float bfloat16_widen(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float    value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

#endif
