/* What backends are tried with: convolutions and pools of all kinds, whole nets, numbers and
 * weights. */
#ifndef TESTS_HAND_NETS_H
#define TESTS_HAND_NETS_H

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "kernels/net.h"
#include "tests/slow_net.h"

typedef struct {
    int     channels, side_y, side_x, out, kernel, stride, padding, groups;
    bool    bias;
    int64_t rows;
} ConvCase;

static const ConvCase conv_cases[] = {
    {1, 8, 8, 16, 3, 1, 1, 1, true, 5},    {3, 9, 7, 24, 3, 2, 1, 1, false, 3},
    {16, 8, 8, 32, 3, 1, 1, 1, true, 4},   {5, 6, 6, 7, 1, 1, 0, 1, true, 1},
    {24, 5, 5, 40, 1, 2, 0, 1, false, 7},  {12, 9, 9, 12, 3, 1, 1, 12, false, 3},
    {20, 11, 8, 20, 5, 2, 2, 20, true, 2}, {32, 7, 7, 32, 7, 1, 3, 32, false, 3},
    {8, 6, 6, 12, 3, 1, 1, 4, true, 3},    {32, 10, 10, 64, 5, 1, 2, 2, false, 2},
    {17, 13, 5, 33, 3, 2, 0, 1, true, 9},  {64, 4, 4, 64, 3, 1, 1, 64, false, 1},
    {6, 7, 7, 6, 3, 2, 1, 6, false, 16},   {3, 12, 12, 8, 7, 2, 3, 1, false, 2},
    {48, 3, 3, 16, 3, 1, 1, 1, false, 31}, {40, 2, 2, 40, 3, 1, 1, 40, false, 4},
    {24, 3, 2, 24, 7, 1, 3, 24, true, 3},  {18, 9, 6, 18, 5, 1, 2, 18, false, 2},
    {16, 8, 8, 16, 7, 2, 3, 16, false, 2}, {19, 7, 7, 19, 5, 1, 0, 19, false, 2},
    {3, 12, 12, 8, 1, 2, 0, 1, false, 10}, {6, 6, 6, 20, 1, 2, 0, 1, true, 10},
};

typedef struct {
    LayerKind kind;
    int       channels, height, width, kernel, stride, padding;
    int64_t   rows;
} PoolCase;

static const PoolCase pool_cases[] = {
    {LAYER_MAXPOOL, 16, 8, 8, 2, 2, 0, 3}, {LAYER_MAXPOOL, 5, 7, 9, 3, 2, 1, 2},
    {LAYER_MAXPOOL, 33, 5, 5, 2, 2, 0, 1}, {LAYER_AVGPOOL, 16, 8, 8, 2, 2, 0, 3},
    {LAYER_AVGPOOL, 7, 6, 5, 3, 2, 1, 5},  {LAYER_AVGPOOL, 40, 4, 3, 0, 1, 0, 3},
    {LAYER_AVGPOOL, 3, 2, 2, 0, 0, 0, 1},  {LAYER_MAXPOOL, 2, 20, 20, 17, 1, 0, 2},
};

/* Normal numbers; no two equal in a window, so that a maximum is one. */
float *draw(uint64_t seed, int64_t count);

/* Weights by PyTorch's rule; norms and statistics away from 1 and 0. */
void set_weights(Net *net, uint64_t seed);

/* After net_backward(): with rate and momentum 0 the optimizer's state becomes the gradient, and
 * stays UNREACHED in parameters of paths that were not taken. */
#define UNREACHED 7.0f
void gradients_to_state(Net *net);

/* conv, norm, relu6, residual of a residual, relu behind it, pool, flatten, linear */
Hand residual_net(Arena *arena, Shape in);

/* choices of mbconvs of two kernels or nothing, within a residual too; norm behind the last */
Hand choice_net(Arena *arena, Shape in);

/* As ResNets: residuals with a shortcut, one whose body's result is cut, one in another's shortcut,
 * one at the end. */
Hand shortcut_net(Arena *arena, Shape in);

/* Layers drawn at random: convolutions, norms, activations, pools, choices, residuals of all of
 * them with a shortcut or none. */
Hand random_net(Arena *arena, Shape in, uint64_t seed);

#endif
