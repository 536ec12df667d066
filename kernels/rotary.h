/* Angles of rotary positions, for every backend's table. */
#ifndef KERNELS_ROTARY_H
#define KERNELS_ROTARY_H

#include <math.h>

#include "workloads/workload.h"

/* Radians a token of pair i. Llama 3 (Dubey et al., The Llama 3 Herd of Models, 2024; its reference
 * code): pairs whose wave is longer than original / low turn factor times as slowly, those shorter
 * than original / high as ever, those between them by a share of both. */
static inline double rotary_frequency(const Rotary *rotary, int64_t i)
{
    double f = pow(rotary->theta, -2.0 * (double)i / rotary->dim), waves, share;

    if (!(rotary->factor > 1.0)) return f;
    waves = rotary->original * f / (2.0 * 3.14159265358979323846);
    share = (waves - rotary->low) / (rotary->high - rotary->low);
    share = share < 0.0 ? 0.0 : share > 1.0 ? 1.0 : share;
    return (1.0 - share) * f / rotary->factor + share * f;
}

/* Numbers of an attention layer's table: cosines [tokens][dim / 2], then sines. */
static inline int64_t rotary_table_count(const Layer *layer)
{
    return (int64_t)layer->in.height * layer->attention.rotary.dim;
}

static inline void rotary_table(const Layer *layer, float *table)
{
    int64_t tokens = layer->in.height, half = layer->attention.rotary.dim / 2;

    for (int64_t i = 0; i < half; i++) {
        double f = rotary_frequency(&layer->attention.rotary, i);

        for (int64_t t = 0; t < tokens; t++) {
            table[t * half + i] = (float)cos((double)t * f);
            table[(tokens + t) * half + i] = (float)sin((double)t * f);
        }
    }
}

#endif
