#include "tests/hand_nets.h"

float *draw(uint64_t seed, int64_t count)
{
    float *x = malloc((size_t)count * sizeof *x);

    for (int64_t i = 0; i < count; i++) x[i] = (float)rng_normal(seed, 0, 0, (uint64_t)i);
    return x;
}

void set_weights(Net *net, uint64_t seed)
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

static void add_mbconv(Hand *h, int expand, int kernel)
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

Hand residual_net(Arena *arena, Shape in)
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

Hand choice_net(Arena *arena, Shape in)
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
