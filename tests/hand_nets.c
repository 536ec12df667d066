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

            x[k] = strstr(p->name, "weight") || strstr(p->name, "var") ? (float)(0.5 + u)
                                                                       : (float)(u - 0.5);
        }
        net_write(net, i, x);
        free(x);
    }
}

void gradients_to_state(Net *net)
{
    for (int i = 0; i < net_parameter_count(net); i++) {
        const NetParameter *p = net_parameter(net, i);
        float              *g = malloc((size_t)p->count * sizeof *g);

        for (int64_t k = 0; k < p->count; k++) g[k] = UNREACHED;
        if (p->trained) net_write_state(net, i, g);
        free(g);
    }
    net_update(net, &(UpdateStep){0});
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
    hand_same(&inner, LAYER_RELU);           /* its cut result is looked at again: not summed
                                              * into */
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

/* body and shortcut to half the sides and so many channels */
static void add_block(Hand *h, int out, bool cut)
{
    Hand paths[2] = {hand_path(h, -1), hand_path(h, -2)};

    hand_conv(&paths[0], out, 3, 2, 1, 1, false);
    hand_same(&paths[0], LAYER_BATCHNORM);
    hand_same(&paths[0], LAYER_RELU);
    hand_conv(&paths[0], out, 3, 1, 1, 1, false);
    if (cut) hand_same(&paths[0], LAYER_RELU6);
    else hand_same(&paths[0], LAYER_BATCHNORM);
    hand_conv(&paths[1], out, 1, 2, 0, 1, false);
    hand_same(&paths[1], LAYER_BATCHNORM);
    hand_paths(h, LAYER_RESIDUAL, paths, 2);
}

Hand shortcut_net(Arena *arena, Shape in)
{
    Hand h = hand(arena, "", in), paths[2];

    hand_conv(&h, 6, 3, 1, 1, 1, true);
    hand_same(&h, LAYER_RELU);
    add_block(&h, 10, false);
    hand_same(&h, LAYER_RELU);
    for (int p = 0; p < 2; p++) paths[p] = hand_path(&h, -1 - p);
    hand_conv(&paths[0], 12, 1, 2, 0, 1, true);
    hand_same(&paths[0], LAYER_RELU);
    add_block(&paths[1], 12, true);
    hand_paths(&h, LAYER_RESIDUAL, paths, 2);
    add_block(&h, 5, true);
    return h;
}

static void draw_layers(Hand *h, Rng *rng, int depth);

/* The paths of a choice: two lists of which the second may be empty. */
static void draw_choice(Hand *h, Rng *rng, int depth)
{
    Hand paths[2] = {hand_path(h, 0), hand_path(h, 1)};

    draw_layers(&paths[0], rng, depth);
    if (rng_range(rng, 0, 1)) draw_layers(&paths[1], rng, depth);
    hand_paths(h, LAYER_CHOICE, paths, 2);
}

/* What a norm makes of a constant is nothing, of a norm itself: a gradient that is 0 but for
 * rounding says nothing. */
static bool may_be_normed(const Hand *h)
{
    const Layer *last = h->layers.count > 0 ? &h->layers.layer[h->layers.count - 1] : NULL;

    return last && last->kind == LAYER_CONV && !last->bias;
}

/* same: of its input's shape. */
static void draw_residual(Hand *h, Rng *rng, int depth, bool same)
{
    Hand paths[2] = {hand_path(h, -1), hand_path(h, -2)};
    bool shortcut = rng_range(rng, 0, 2) > 0;
    int  stride = shortcut && !same ? (int)rng_range(rng, 1, 2) : 1,
        out = shortcut && !same ? (int)rng_range(rng, 3, 9) : h->at.channels;

    /* a body that may be nothing */
    if (shortcut && same && rng_range(rng, 0, 1)) draw_choice(&paths[0], rng, depth);
    else draw_layers(&paths[0], rng, depth);
    if (shortcut && same) {
        hand_conv(&paths[1], out, 3, 1, 1, 1, false);
        if (rng_range(rng, 0, 1))
            hand_same(&paths[1], rng_range(rng, 0, 1) ? LAYER_BATCHNORM : LAYER_RELU);
    } else if (shortcut) {
        hand_conv(&paths[0], out, 3, stride, 1, 1, rng_range(rng, 0, 1));
        if (rng_range(rng, 0, 1))
            hand_same(&paths[0], may_be_normed(&paths[0]) ? LAYER_BATCHNORM : LAYER_RELU);
        if (rng_range(rng, 0, 1)) draw_layers(&paths[1], rng, depth);
        hand_conv(&paths[1], out, 1, stride, 0, 1, rng_range(rng, 0, 1));
        if (rng_range(rng, 0, 1)) draw_layers(&paths[1], rng, depth);
    }
    hand_paths(h, LAYER_RESIDUAL, paths, shortcut ? 2 : 1);
}

/* One to three layers that keep the shape. */
static void draw_layers(Hand *h, Rng *rng, int depth)
{
    for (int left = (int)rng_range(rng, 1, 3); left > 0; left--)
        switch (rng_range(rng, 0, depth > 0 ? 7 : 4)) {
        case 0: hand_conv(h, h->at.channels, 3, 1, 1, 1, false); break;
        case 1: hand_conv(h, h->at.channels, 1, 1, 0, 1, false); break;
        case 2: hand_same(h, may_be_normed(h) ? LAYER_BATCHNORM : LAYER_RELU); break;
        case 3: hand_same(h, rng_range(rng, 0, 1) ? LAYER_RELU : LAYER_RELU6); break;
        case 4: hand_pool(h, LAYER_MAXPOOL, 3, 1, 1); break;
        case 5: draw_choice(h, rng, depth - 1); break;
        default:
            if (rng_range(rng, 0, 1))
                draw_residual(h, rng, depth - 1, true);
            else
                hand_conv(h, h->at.channels, 3, 1, 1, 1, false);
        }
}

Hand random_net(Arena *arena, Shape in, uint64_t seed)
{
    Rng  rng = {.seed = seed};
    Hand h = hand(arena, "", in);

    if (rng_range(&rng, 0, 2)) {         /* else gradients of the first residual's input are not
                                          * asked for */
        hand_conv(&h, (int)rng_range(&rng, 3, 8), 3, 1, 1, 1, true);
        draw_layers(&h, &rng, 2);
    }
    draw_residual(&h, &rng, 2, false);
    if (rng_range(&rng, 0, 1)) draw_layers(&h, &rng, 1);
    return h;
}
