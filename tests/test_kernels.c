/* kernels/ against plain loops in double (tests/slow_net.h), which are themselves held against
 * finite differences. */
#include "tests/slow_net.h"
#include "tests/support.h"

#include <pthread.h>

/* Sums of n products of floats near 1 err by about sqrt(n) 6e-8; the longest here have 1e5
 * terms. Taken of the largest element, and twice that for deep nets. */
#define TOLERANCE 4e-5

static Device *open_one(void)
{
    DeviceSpec spec;
    Device    *device;
    Error      err = {""};

    if (device_spec_parse(&spec, "cpu:1", &err) != 0 || device_open(&device, &spec, 0, &err) != 0) fail_msg("%s", err.text);
    return device;
}

/* Normal numbers; no two equal in a window, so that a maximum is one. */
static float *draw(uint64_t seed, int64_t count)
{
    float *x = malloc((size_t)count * sizeof *x);

    for (int64_t i = 0; i < count; i++) x[i] = (float)rng_normal(seed, 0, 0, (uint64_t)i);
    return x;
}

/* Weights by PyTorch's rule; norms and statistics away from 1 and 0. */
static void set_weights(Net *net, uint64_t seed)
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

static void compare(const char *what, const float *found, const double *truth, int64_t count, double tolerance)
{
    double most = 1.0;       /* what cancels in a gradient is of that size */

    for (int64_t i = 0; i < count; i++) most = fmax(most, fabs(truth[i]));
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(found[i] - truth[i]) <= tolerance * most))
            fail_msg("%s: element %lld of %lld is %.9g, expected %.9g (largest %.3g)", what, (long long)i, (long long)count,
                     found[i], truth[i], most);
}

static Tensor doubles(Slow *s, const float *x, int64_t rows, Shape shape)
{
    Tensor t = slow_tensor(s, rows, shape);

    for (int64_t i = 0; i < slow_count(t); i++) t.v[i] = x[i];
    return t;
}

/* After net_backward(): with rate and momentum 0 the optimizer's state becomes the gradient.
 * What no path reached must stay as it was. */
static void compare_gradients(Net *net, Slow *slow, const char *what)
{
    for (int i = 0; i < net_parameter_count(net); i++) {
        const NetParameter *p = net_parameter(net, i);
        float              *g = malloc((size_t)p->count * sizeof *g);

        for (int64_t k = 0; k < p->count; k++) g[k] = 7.0f;
        if (p->trained) net_write_state(net, i, g);
        free(g);
    }
    net_update(net, &(SgdStep){0});
    for (int i = 0; i < net_parameter_count(net); i++) {
        const NetParameter *p = net_parameter(net, i);
        float              *g = malloc((size_t)p->count * sizeof *g);
        char               *name = format_text("%s: gradient of %s", what, p->name);

        if (p->trained) net_read_state(net, i, g);
        if (p->trained && slow->gradient[i]) compare(name, g, slow->gradient[i], p->count, TOLERANCE);
        else if (p->trained)
            for (int64_t k = 0; k < p->count; k++) assert_float_equal(g[k], 7.0f, 0.0f);
        free(name);
        free(g);
    }
}

static void compare_statistics(Net *net, Slow *slow, const char *what)
{
    for (int i = 0; i < net_parameter_count(net); i++) {
        const NetParameter *p = net_parameter(net, i);
        float              *v = malloc((size_t)p->count * sizeof *v);

        net_read(net, i, v);
        if (!p->trained) compare(what, v, slow->value[i], p->count, TOLERANCE);
        free(v);
    }
}

/* Forward (both modes), backward, all gradients and running statistics against the truth. */
static void check_net(const char *what, const Layers *layers, Shape in, int64_t rows, const int *choices)
{
    Arena   arena = {0};
    Error   err = {""};
    Device *device = open_one();
    Shape   out = layers->layer[layers->count - 1].out;

    for (int frozen = 0; frozen < 2; frozen++) {
        Net        *net;
        Slow        slow;
        SlowRecord *records;
        int64_t     nx = rows * shape_count(in), ny = rows * shape_count(out);
        float      *x = draw(3, nx), *dy = draw(4, ny), *y = malloc((size_t)ny * sizeof *y);
        Tensor      truth;

        if (net_new(&net, device, layers, in, frozen ? NET_FROZEN : NET_TRAINED, &err) != 0 ||
            net_prepare(net, rows, &err) != 0)
            fail_msg("%s: %s", what, err.text);
        set_weights(net, 5);
        slow = slow_of(&arena, net, frozen);
        slow.choices = choices;
        truth = slow_forward(&slow, layers, doubles(&slow, x, rows, in), &records);
        if (net_forward(net, x, y, rows, choices, &err) != 0) fail_msg("%s: %s", what, err.text);
        compare(what, y, truth.v, ny, TOLERANCE);
        compare_statistics(net, &slow, what);
        if (!frozen) {
            slow_backward(&slow, layers, records, doubles(&slow, dy, rows, out));
            if (net_backward(net, dy, rows, &err) != 0) fail_msg("%s: %s", what, err.text);
            compare_gradients(net, &slow, what);
        }
        net_free(net);
        free(x), free(dy), free(y);
    }
    device_close(device);
    arena_free(&arena);
}

/* ---- operators, each behind a pointwise convolution whose gradient shows its dx ---- */

typedef struct { int channels, side_y, side_x, out, kernel, stride, padding, groups; bool bias; int64_t rows; } ConvCase;

static void convolutions(void **state)
{
    static const ConvCase cases[] = {
        {1, 8, 8, 16, 3, 1, 1, 1, true, 5},       {3, 9, 7, 24, 3, 2, 1, 1, false, 3},     {16, 8, 8, 32, 3, 1, 1, 1, true, 4},
        {5, 6, 6, 7, 1, 1, 0, 1, true, 1},        {24, 5, 5, 40, 1, 2, 0, 1, false, 7},    {12, 9, 9, 12, 3, 1, 1, 12, false, 3},
        {20, 11, 8, 20, 5, 2, 2, 20, true, 2},    {32, 7, 7, 32, 7, 1, 3, 32, false, 3},   {8, 6, 6, 12, 3, 1, 1, 4, true, 3},
        {32, 10, 10, 64, 5, 1, 2, 2, false, 2},   {17, 13, 5, 33, 3, 2, 0, 1, true, 9},    {64, 4, 4, 64, 3, 1, 1, 64, false, 1},
        {6, 7, 7, 6, 3, 2, 1, 6, false, 16},      {3, 12, 12, 8, 7, 2, 3, 1, false, 2},    {48, 3, 3, 16, 3, 1, 1, 1, false, 31},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int front = 0; front < 2; front++)
            for (int activation = 0; activation < 3; activation++) {
                const ConvCase *c = &cases[i];
                Arena           arena = {0};
                Shape           in = {front ? 4 : c->channels, c->side_y, c->side_x};
                Hand            h = hand(&arena, "", in);
                char           *what = format_text("conv %zu front %d activation %d", i, front, activation);

                if (front) hand_conv(&h, c->channels, 1, 1, 0, 1, true);
                hand_conv(&h, c->out, c->kernel, c->stride, c->padding, c->groups, c->bias);
                if (activation) hand_same(&h, activation == 1 ? LAYER_RELU : LAYER_RELU6);
                check_net(what, &h.layers, in, c->rows, NULL);
                free(what);
                arena_free(&arena);
            }
}

static void norms_and_activations(void **state)
{
    static const Shape   shapes[] = {{16, 4, 4}, {3, 5, 7}, {33, 9, 9}, {40, 1, 1}};
    static const int64_t rows[] = {6, 1, 3, 8};

    (void)state;
    for (int i = 0; i < 4; i++)
        for (int activation = 0; activation < 3; activation++) {
            Arena arena = {0};
            Shape in = {4, shapes[i].height, shapes[i].width};
            Hand  h = hand(&arena, "", in);
            char *what = format_text("norm %d activation %d", i, activation);

            hand_conv(&h, shapes[i].channels, 1, 1, 0, 1, true);
            hand_same(&h, LAYER_BATCHNORM);
            if (activation) hand_same(&h, activation == 1 ? LAYER_RELU : LAYER_RELU6);
            check_net(what, &h.layers, in, rows[i], NULL);
            hand_conv(&h, 5, 1, 1, 0, 1, false);
            hand_same(&h, LAYER_BATCHNORM);
            check_net(what, &h.layers, in, rows[i], NULL);
            free(what);
            arena_free(&arena);
        }
}

typedef struct { LayerKind kind; int channels, height, width, kernel, stride, padding; int64_t rows; } PoolCase;

static void pools(void **state)
{
    static const PoolCase cases[] = {
        {LAYER_MAXPOOL, 16, 8, 8, 2, 2, 0, 3}, {LAYER_MAXPOOL, 5, 7, 9, 3, 2, 1, 2}, {LAYER_MAXPOOL, 33, 5, 5, 2, 2, 0, 1},
        {LAYER_AVGPOOL, 16, 8, 8, 2, 2, 0, 3}, {LAYER_AVGPOOL, 7, 6, 5, 3, 2, 1, 5}, {LAYER_AVGPOOL, 40, 4, 3, 0, 1, 0, 3},
        {LAYER_AVGPOOL, 3, 2, 2, 0, 0, 0, 1},  {LAYER_MAXPOOL, 2, 20, 20, 17, 1, 0, 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const PoolCase *c = &cases[i];
        Arena           arena = {0};
        Shape           in = {4, c->height, c->width};
        Hand            h = hand(&arena, "", in);
        char           *what = format_text("pool %zu", i);

        hand_conv(&h, c->channels, 1, 1, 0, 1, true);
        hand_pool(&h, c->kind, c->kernel, c->stride, c->padding);
        hand_same(&h, LAYER_RELU);
        check_net(what, &h.layers, in, c->rows, NULL);
        free(what);
        arena_free(&arena);
    }
}

static void linears_and_flatten(void **state)
{
    (void)state;
    for (int64_t rows = 1; rows < 8; rows += 2) {
        Arena arena = {0};
        Shape in = {3, 4, 5};
        Hand  h = hand(&arena, "", in);

        hand_conv(&h, 6, 3, 1, 1, 1, true);
        hand_flatten(&h);
        hand_linear(&h, 33, true);
        hand_same(&h, LAYER_RELU);
        hand_linear(&h, 10, false);
        check_net("linear", &h.layers, in, rows, NULL);
        arena_free(&arena);
    }
}

/* ---- whole nets ---- */

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

/* conv, norm, relu6, residual of a residual, relu behind it, pool, flatten, linear */
static Hand residual_net(Arena *arena, Shape in)
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
static Hand choice_net(Arena *arena, Shape in)
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

static void whole_nets(void **state)
{
    Arena arena = {0};
    Shape in = {3, 8, 8};
    Hand  residual = residual_net(&arena, in), choice = choice_net(&arena, in);

    (void)state;
    check_net("residual net", &residual.layers, in, 5, NULL);
    for (int i = 0; i < 12; i++) {
        int   choices[3] = {i % 3, i / 3 % 2, i / 6};
        char *what = format_text("choices %d %d %d", choices[0], choices[1], choices[2]);

        check_net(what, &choice.layers, in, 3, choices);
        free(what);
    }
    arena_free(&arena);
}

/* The truth itself: the derivative of sum(y dy) along a random direction of all weights. */
static double slow_value_along(Slow *s, const Layers *layers, Tensor x, Tensor dy, double **direction, double step)
{
    SlowRecord *records;
    Tensor      y;
    double      sum = 0.0;

    for (int i = 0; i < net_parameter_count(s->net); i++)
        for (int64_t k = 0; direction[i] && k < net_parameter(s->net, i)->count; k++) s->value[i][k] += step * direction[i][k];
    s->choice = 0;
    y = slow_forward(s, layers, x, &records);
    for (int64_t i = 0; i < slow_count(y); i++) sum += y.v[i] * dy.v[i];
    return sum;
}

static void truth_agrees_with_differences(const Layers *layers, Shape in, const int *choices)
{
    Arena       arena = {0};
    Error       err = {""};
    Device     *device = open_one();
    Shape       out = layers->layer[layers->count - 1].out;
    float      *x = draw(8, 3 * shape_count(in)), *dy = draw(9, 3 * shape_count(out));
    Net        *net;
    Slow        slow;
    SlowRecord *records;
    double    **direction, along = 0.0, step = 1e-6, up, down;
    Tensor      tx, tdy;

    if (net_new(&net, device, layers, in, NET_TRAINED, &err) != 0) fail_msg("%s", err.text);
    set_weights(net, 6);
    slow = slow_of(&arena, net, false);
    slow.choices = choices;
    tx = doubles(&slow, x, 3, in);
    tdy = doubles(&slow, dy, 3, out);
    slow_forward(&slow, layers, tx, &records);
    slow_backward(&slow, layers, records, tdy);
    direction = arena_alloc(&arena, (size_t)net_parameter_count(net), sizeof *direction);
    for (int i = 0; i < net_parameter_count(net); i++) {
        if (!slow.gradient[i]) continue;
        direction[i] = arena_alloc(&arena, (size_t)net_parameter(net, i)->count, sizeof(double));
        for (int64_t k = 0; k < net_parameter(net, i)->count; k++) {
            direction[i][k] = rng_normal(10, 0, (uint64_t)i, (uint64_t)k);
            along += direction[i][k] * slow.gradient[i][k];
        }
    }
    up = slow_value_along(&slow, layers, tx, tdy, direction, step);
    down = slow_value_along(&slow, layers, tx, tdy, direction, -2.0 * step);
    /* Error of the difference: step^2 times a third derivative, and 1e-16 / step. */
    if (fabs((up - down) / (2.0 * step) - along) > 1e-5 * fmax(1.0, fabs(along)))
        fail_msg("difference %.12g, derivative %.12g", (up - down) / (2.0 * step), along);
    net_free(net);
    device_close(device);
    free(x), free(dy);
    arena_free(&arena);
}

static void truth_is_true(void **state)
{
    Arena arena = {0};
    Shape in = {3, 6, 6};
    Hand  residual = residual_net(&arena, in), choice = choice_net(&arena, in);

    (void)state;
    truth_agrees_with_differences(&residual.layers, in, NULL);
    truth_agrees_with_differences(&choice.layers, in, (int[]){1, 1, 1});
    truth_agrees_with_differences(&choice.layers, in, (int[]){2, 0, 0});
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions),
        cmocka_unit_test(norms_and_activations),
        cmocka_unit_test(pools),
        cmocka_unit_test(linears_and_flatten),
        cmocka_unit_test(whole_nets),
        cmocka_unit_test(truth_is_true),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
