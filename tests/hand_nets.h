/* What backends are tried with: convolutions and pools of all kinds, whole nets, numbers and weights. */
#ifndef TESTS_HAND_NETS_H
#define TESTS_HAND_NETS_H

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "kernels/net.h"
#include "tests/slow_net.h"

typedef struct { int channels, side_y, side_x, out, kernel, stride, padding, groups; bool bias; int64_t rows; } ConvCase;

static const ConvCase conv_cases[] = {
    {1, 8, 8, 16, 3, 1, 1, 1, true, 5},       {3, 9, 7, 24, 3, 2, 1, 1, false, 3},     {16, 8, 8, 32, 3, 1, 1, 1, true, 4},
    {5, 6, 6, 7, 1, 1, 0, 1, true, 1},        {24, 5, 5, 40, 1, 2, 0, 1, false, 7},    {12, 9, 9, 12, 3, 1, 1, 12, false, 3},
    {20, 11, 8, 20, 5, 2, 2, 20, true, 2},    {32, 7, 7, 32, 7, 1, 3, 32, false, 3},   {8, 6, 6, 12, 3, 1, 1, 4, true, 3},
    {32, 10, 10, 64, 5, 1, 2, 2, false, 2},   {17, 13, 5, 33, 3, 2, 0, 1, true, 9},    {64, 4, 4, 64, 3, 1, 1, 64, false, 1},
    {6, 7, 7, 6, 3, 2, 1, 6, false, 16},      {3, 12, 12, 8, 7, 2, 3, 1, false, 2},    {48, 3, 3, 16, 3, 1, 1, 1, false, 31},
};

typedef struct { LayerKind kind; int channels, height, width, kernel, stride, padding; int64_t rows; } PoolCase;

static const PoolCase pool_cases[] = {
    {LAYER_MAXPOOL, 16, 8, 8, 2, 2, 0, 3}, {LAYER_MAXPOOL, 5, 7, 9, 3, 2, 1, 2}, {LAYER_MAXPOOL, 33, 5, 5, 2, 2, 0, 1},
    {LAYER_AVGPOOL, 16, 8, 8, 2, 2, 0, 3}, {LAYER_AVGPOOL, 7, 6, 5, 3, 2, 1, 5}, {LAYER_AVGPOOL, 40, 4, 3, 0, 1, 0, 3},
    {LAYER_AVGPOOL, 3, 2, 2, 0, 0, 0, 1},  {LAYER_MAXPOOL, 2, 20, 20, 17, 1, 0, 2},
};

/* Normal numbers; no two equal in a window, so that a maximum is one. */
static inline float *draw(uint64_t seed, int64_t count)
{
    float *x = malloc((size_t)count * sizeof *x);

    for (int64_t i = 0; i < count; i++) x[i] = (float)rng_normal(seed, 0, 0, (uint64_t)i);
    return x;
}

/* Weights by PyTorch's rule; norms and statistics away from 1 and 0. */
static inline void set_weights(Net *net, uint64_t seed)
{
    net_initialise(net, seed, 1);
    for (int i = 0; i < net_parameter_count(net); i++) {
        const NetParameter *p = net_parameter(net, i);
        float              *x = malloc((size_t)p->count * sizeof *x);

        net_read(net, i, x);
        for (int64_t k = 0; p->rank == 1 && k < p->count; k++) {
            double u = rng_uniform(seed, 2, (uint64_t)i, (uint64_t)k);

            x[k] = strstr(p->name, "weight") || strstr(p->name, "var") ? (float)(0.5 + u) : (float)(u - 0.5);
        }
        net_write(net, i, x);
        free(x);
    }
}

static inline void add_mbconv(Hand *h, int expand, int kernel)
{
    int channels = h->at.channels;

    hand_conv(h, channels * expand, 1, 1, 0, 1, false);
    hand_same(h, LAYER_BATCHNORM);
    hand_same(h, LAYER_RELU6);
    hand_conv(h, channels * expand, kernel, 1, kernel / 2, channels * expand, false);
    hand_same(h, LAYER_BATCHNORM);
    hand_same(h, LAYER_RELU6);
    hand_conv(h, channels, 1, 1, 0, 1, false);
    hand_same(h, LAYER_BATCHNORM);
}

/* conv, norm, relu6, residual of a residual, relu behind it, pool, flatten, linear */
static inline Hand residual_net(Arena *arena, Shape in)
{
    Hand h = hand(arena, "", in), body, inner;

    hand_conv(&h, 8, 3, 1, 1, 1, false);
    hand_same(&h, LAYER_BATCHNORM);
    hand_same(&h, LAYER_RELU6);
    body = hand_path(&h, -1);
    add_mbconv(&body, 3, 3);
    inner = hand_path(&body, -1);
    hand_conv(&inner, 8, 3, 1, 1, 1, true);
    hand_same(&inner, LAYER_RELU);           /* its cut result is looked at again: not summed into */
    hand_paths(&body, LAYER_RESIDUAL, &inner, 1);
    hand_paths(&h, LAYER_RESIDUAL, &body, 1);
    hand_same(&h, LAYER_RELU);
    hand_pool(&h, LAYER_MAXPOOL, 2, 2, 0);
    hand_flatten(&h);
    hand_linear(&h, 10, true);
    return h;
}

/* choices of mbconvs of two kernels or nothing, within a residual too; norm behind the last */
static inline Hand choice_net(Arena *arena, Shape in)
{
    Hand h = hand(arena, "", in), paths[3], body, inner[2];

    hand_conv(&h, 8, 1, 1, 0, 1, false);
    for (int p = 0; p < 3; p++) paths[p] = hand_path(&h, p);
    add_mbconv(&paths[0], 2, 3);
    add_mbconv(&paths[1], 3, 5);
    hand_paths(&h, LAYER_CHOICE, paths, 3);
    hand_same(&h, LAYER_RELU);
    body = hand_path(&h, -1);
    for (int p = 0; p < 2; p++) inner[p] = hand_path(&body, p);
    add_mbconv(&inner[1], 2, 3);
    hand_paths(&body, LAYER_CHOICE, inner, 2);
    hand_paths(&h, LAYER_RESIDUAL, &body, 1);
    for (int p = 0; p < 2; p++) paths[p] = hand_path(&h, p);
    hand_conv(&paths[1], 8, 3, 1, 1, 1, true);
    hand_paths(&h, LAYER_CHOICE, paths, 2);
    return h;
}

#endif
