/* kernels/ against plain loops in double (tests/slow_net.h), which are themselves held against
 * finite differences. */
#include "tests/net_checks.h"

#include <float.h>
#include <omp.h>
#include <pthread.h>

/* Forward (both modes), backward, all gradients and running statistics against the truth. */
static void check_net(const char *what, const Layers *layers, Shape in, int64_t rows,
                      const int *choices)
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
        truth = slow_forward(&slow, layers, slow_from(&slow, x, rows, in), &records);
        if (net_forward(net, x, y, rows, choices, &err) != 0) fail_msg("%s: %s", what, err.text);
        compare_values(what, y, truth.v, ny, TOLERANCE);
        compare_statistics(net, &slow, what);
        if (!frozen) {
            slow_backward(&slow, layers, records, slow_from(&slow, dy, rows, out));
            for (int again = 0; again < 2; again++) {    /* the gradients that were there go */
                float *used = memcpy(malloc((size_t)ny * sizeof *used), dy,
                                     (size_t)ny * sizeof *used);
                if (net_backward(net, used, rows, &err) != 0) fail_msg("%s: %s", what, err.text);
                free(used);
            }
            compare_gradients(net, &slow, what);
        }
        net_free(net);
        free(x), free(dy), free(y);
    }
    device_close(device);
    arena_free(&arena);
}

/* ---- operators, each behind a pointwise convolution whose gradient shows its dx ---- */

static void convolutions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof conv_cases / sizeof *conv_cases; i++)
        for (int front = 0; front < 2; front++)
            for (int activation = 0; activation < 3; activation++) {
                const ConvCase *c = &conv_cases[i];
                Arena           arena = {0};
                Shape           in = {front ? 4 : c->channels, c->side_y, c->side_x};
                Hand            h = hand(&arena, "", in);
                char *what = format_text("conv %zu front %d activation %d", i, front, activation);

                if (front) hand_conv(&h, c->channels, 1, 1, 0, 1, true);
                hand_conv(&h, c->out, c->kernel, c->stride, c->padding, c->groups, c->bias);
                if (activation) hand_same(&h, activation == 1 ? LAYER_RELU : LAYER_RELU6);
                check_net(what, &h.layers, in, c->rows, NULL);
                free(what);
                arena_free(&arena);
            }
}

/* Passes by our own loops: strides, paddings and sides of all remainders, channels that fill no
 * slice (kernels/cpu/depthwise.c). */
static const ConvCase window_cases[] = {
    {21, 15, 19, 21, 5, 2, 1, 21, false, 2}, {16, 11, 23, 16, 7, 2, 0, 16, false, 3},
    {33, 5, 13, 33, 7, 1, 1, 33, false, 2},  {17, 9, 12, 17, 5, 1, 0, 17, false, 3},
    {16, 6, 9, 16, 5, 1, 4, 16, false, 1},   {16, 8, 17, 16, 5, 2, 4, 16, false, 2},
    {40, 16, 20, 40, 7, 2, 3, 40, false, 2}, {5, 14, 16, 5, 7, 1, 6, 5, false, 2},
};

static void row_alone_is_row_of_several(const Layers *layers, Shape in, int64_t rows)
{
    Shape   out = layers->layer[layers->count - 1].out;
    int64_t nx = shape_count(in), ny = shape_count(out);
    float  *x = draw(3, rows * nx), *y = calloc((size_t)(rows * ny), sizeof *y),
          *alone = calloc((size_t)ny, sizeof *alone);
    Device *device = open_one();
    Net    *net;
    Error   err = {""};

    if (net_new(&net, device, layers, in, NET_TRAINED, &err) != 0
        || net_prepare(net, rows, &err) != 0 || net_prepare(net, 1, &err) != 0)
        fail_msg("%s", err.text);
    set_weights(net, 5);
    assert_int_equal(net_forward(net, x, y, rows, NULL, &err), 0);
    for (int64_t i = 0; i < rows; i++) {
        assert_int_equal(net_forward(net, x + i * nx, alone, 1, NULL, &err), 0);
        assert_memory_equal(alone, y + i * ny, (size_t)ny * sizeof *y);
    }
    net_free(net);
    device_close(device);
    free(x), free(y), free(alone);
}

static void depthwise_windows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof window_cases / sizeof *window_cases; i++) {
        const ConvCase *c = &window_cases[i];
        Arena           arena = {0};
        Shape           in = {4, c->side_y, c->side_x};
        Hand            h = hand(&arena, "", in), one;
        char           *what = format_text("window %zu", i);

        hand_conv(&h, c->channels, 1, 1, 0, 1, true);
        hand_conv(&h, c->out, c->kernel, c->stride, c->padding, c->groups, c->bias);
        check_net(what, &h.layers, in, c->rows, NULL);
        in.channels = c->channels;
        one = hand(&arena, "", in);
        hand_conv(&one, c->out, c->kernel, c->stride, c->padding, c->groups, c->bias);
        row_alone_is_row_of_several(&one.layers, in, c->rows);
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

static void pools(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pool_cases / sizeof *pool_cases; i++) {
        const PoolCase *c = &pool_cases[i];
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

static void whole_nets(void **state)
{
    Arena arena = {0};
    Shape in = {3, 8, 8};
    Hand  residual = residual_net(&arena, in), choice = choice_net(&arena, in),
         shortcut = shortcut_net(&arena, in);

    (void)state;
    check_net("residual net", &residual.layers, in, 5, NULL);
    check_net("net with shortcuts", &shortcut.layers, in, 5, NULL);
    for (int i = 0; i < 12; i++) {
        int   choices[3] = {i % 3, i / 3 % 2, i / 6};
        char *what = format_text("choices %d %d %d", choices[0], choices[1], choices[2]);

        check_net(what, &choice.layers, in, 3, choices);
        free(what);
    }
    arena_free(&arena);
}

/* Convolutions and norms that go through memory in parts: of one row, of two and a rest, with
 * channels that fill no vector; behind others, and first. */
static void chains_in_parts(void **state)
{
    static const struct { int channels, kernel, stride; } cases[] = {
        {72, 5, 2}, {72, 7, 1}, {24, 3, 1}, {30, 5, 1}, {64, 7, 2}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Arena arena = {0};
        Shape in = {4, 32, 32};
        Hand  h = hand(&arena, "", in);
        int   channels = cases[i].channels, kernel = cases[i].kernel;
        char *what = format_text("chain %zu", i);

        hand_conv(&h, channels, 1, 1, 0, 1, false);
        hand_same(&h, LAYER_BATCHNORM);
        hand_same(&h, LAYER_RELU6);
        hand_conv(&h, channels, kernel, cases[i].stride, kernel / 2, channels, false);
        hand_same(&h, LAYER_BATCHNORM);
        hand_same(&h, LAYER_RELU);
        hand_conv(&h, 8, 1, 1, 0, 1, false);
        hand_same(&h, LAYER_BATCHNORM);
        check_net(what, &h.layers, in, 3, NULL);
        free(what);
        arena_free(&arena);
    }
}

/* Pointwise convolutions of so many weights that their gradients are products of matrices
 * (kernels/cpu/conv.c): in parts, and of all rows at once. */
static void chains_of_products(void **state)
{
    Arena arena = {0};
    Shape in = {4, 12, 12};
    Hand  h = hand(&arena, "", in);

    (void)state;
    hand_conv(&h, 128, 1, 1, 0, 1, false);
    hand_same(&h, LAYER_BATCHNORM);
    hand_same(&h, LAYER_RELU6);
    hand_conv(&h, 136, 1, 1, 0, 1, false);
    hand_same(&h, LAYER_BATCHNORM);
    hand_same(&h, LAYER_RELU);
    hand_conv(&h, 124, 1, 1, 0, 1, false);
    hand_same(&h, LAYER_BATCHNORM);
    hand_conv(&h, 133, 1, 1, 0, 1, false);
    check_net("products", &h.layers, in, 3, NULL);
    arena_free(&arena);
}

static void random_nets(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < (uint64_t)test_cases(60); seed++) {
        Arena arena = {0};
        Shape in = {3, 6, 5};
        Hand  h = random_net(&arena, in, test_seed("random nets", 1000 + seed));
        Rng   rng = {.seed = seed};
        int   choices[256], count = layers_choices(&h.layers);
        char *what = format_text("random net %d", (int)seed);

        assert_true(count <= 256);
        for (int i = 0; i < count; i++) choices[i] = (int)rng_range(&rng, 0, 1);
        check_net(what, &h.layers, in, 4, choices);
        free(what);
        arena_free(&arena);
    }
}

/* The truth itself: the derivative of sum(y dy) along a random direction of all weights. */
static double slow_value_along(Slow *s, const Layers *layers, Tensor x, Tensor dy,
                               double **direction, double step)
{
    SlowRecord *records;
    Tensor      y;
    double      sum = 0.0;

    for (int i = 0; i < net_parameter_count(s->net); i++)
        for (int64_t k = 0; direction[i] && k < net_parameter(s->net, i)->count; k++)
            s->value[i][k] += step * direction[i][k];
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
    tx = slow_from(&slow, x, 3, in);
    tdy = slow_from(&slow, dy, 3, out);
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
    Hand  residual = residual_net(&arena, in), choice = choice_net(&arena, in),
         shortcut = shortcut_net(&arena, in);

    (void)state;
    truth_agrees_with_differences(&residual.layers, in, NULL);
    truth_agrees_with_differences(&shortcut.layers, in, NULL);
    truth_agrees_with_differences(&choice.layers, in, (int[]){1, 1, 1});
    truth_agrees_with_differences(&choice.layers, in, (int[]){2, 0, 0});
    arena_free(&arena);
}

/* ---- groups, losses, update ---- */

/* Two threads that sum: each waits for the other, then adds in the order 0, 1. */
typedef struct {
    pthread_barrier_t barrier;
    double           *part[2];
    double            sum[256];
} Pair;

typedef struct {
    Pair         *pair;
    int           index;
    const Layers *layers;
    Shape         in;
    const float  *x;         /* of its rows */
    float        *y, *dy;
    int64_t       rows;
    float        *state;     /* of all trained parameters, one after the other: gradients */
    float        *statistic;
} Replica;

static int pair_sum(void *context, double *values, int count, Error *err)
{
    Replica *r = context;
    Pair    *pair = r->pair;

    (void)err;
    if (count > 256) return -1;
    pair->part[r->index] = values;
    pthread_barrier_wait(&pair->barrier);
    if (r->index == 0)
        for (int i = 0; i < count; i++) pair->sum[i] = pair->part[0][i] + pair->part[1][i];
    pthread_barrier_wait(&pair->barrier);
    memcpy(values, pair->sum, (size_t)count * sizeof *values);
    pthread_barrier_wait(&pair->barrier);
    return 0;
}

/* Gradients by way of the state, and running statistics, of all parameters in order. */
static void collect(Net *net, float *state, float *statistic)
{
    net_update(net, &(UpdateStep){0});
    for (int i = 0; i < net_parameter_count(net); i++) {
        int64_t count = net_parameter(net, i)->count;

        if (net_parameter(net, i)->trained) net_read_state(net, i, state), state += count;
        else net_read(net, i, statistic), statistic += count;
    }
}

static void *replica_run(void *context)
{
    Replica *r = context;
    Device  *device = open_one();
    Error    err = {""};
    Net     *net;

    if (net_new(&net, device, r->layers, r->in, NET_TRAINED, &err) != 0
        || net_prepare(net, r->rows, &err) != 0)
        fail_msg("%s", err.text);
    set_weights(net, 11);
    if (r->pair) net_synchronise(net, pair_sum, r);
    if (net_forward(net, r->x, r->y, r->rows, NULL, &err) != 0
        || net_backward(net, r->dy, r->rows, &err) != 0)
        fail_msg("%s", err.text);
    collect(net, r->state, r->statistic);
    net_free(net);
    device_close(device);
    return NULL;
}

/* Rows 0..3 and 4..6 on two devices with statistics summed are all seven on one: y, sum of the
 * gradients, running statistics. Tolerance: floats added in another order. */
static void halves_are_the_whole(void **state)
{
    Arena     arena = {0};
    Shape     in = {3, 8, 8};
    Hand      h = residual_net(&arena, in);
    int64_t   nx = shape_count(in), ny = 10;
    float    *x = draw(12, 7 * nx), *dy = draw(13, 7 * ny), *copy = draw(13, 7 * ny);
    float     y[70], halves[70];
    static float gradient[3][8192], statistic[3][1024];
    double    sum[8192], truth[1024];
    Pair      pair;
    Replica   whole = {NULL, 0, &h.layers, in, x, y, dy, 7, gradient[2], statistic[2]};
    Replica   half[2] = {{&pair, 0, &h.layers, in, x, halves, copy, 4, gradient[0], statistic[0]},
                         {&pair, 1, &h.layers, in, x + 4 * nx, halves + 4 * ny, copy + 4 * ny, 3,
                          gradient[1], statistic[1]}};
    pthread_t thread;

    (void)state;
    pthread_barrier_init(&pair.barrier, NULL, 2);
    replica_run(&whole);
    pthread_create(&thread, NULL, replica_run, &half[1]);
    replica_run(&half[0]);
    pthread_join(thread, NULL);
    for (int i = 0; i < 70; i++) truth[i] = y[i];
    compare_values("halves: y", halves, truth, 70, TOLERANCE);
    for (int i = 0; i < 8192; i++) sum[i] = (double)gradient[0][i] + gradient[1][i];
    compare_values("halves: gradients", gradient[2], sum, 8192, TOLERANCE);
    for (int i = 0; i < 1024; i++) truth[i] = statistic[0][i];
    compare_values("halves: statistics agree", statistic[1], truth, 1024, 0.0);
    compare_values("halves: statistics", statistic[2], truth, 1024, TOLERANCE);
    pthread_barrier_destroy(&pair.barrier);
    free(x), free(dy), free(copy);
    arena_free(&arena);
}

static void losses(void **state)
{
    enum { ROWS = 5, EACH = 37, GLOBAL = 12 };
    Device *device = open_one();
    float  *s = draw(14, ROWS * EACH), *t = draw(15, ROWS * EACH), dy[ROWS * EACH];
    double  loss, squares = 0.0, entropy = 0.0, truth[ROWS * EACH];

    (void)state;
    for (int i = 0; i < ROWS * EACH; i++) {
        squares += ((double)s[i] - t[i]) * ((double)s[i] - t[i]) / (GLOBAL * EACH);
        truth[i] = 2.0 * ((double)s[i] - t[i]) / (GLOBAL * EACH);
    }
    loss_backward(device, &(LossCall){.kind = LOSS_MSE, .student = s, .teacher = t, .dy = dy,
                  .rows = ROWS, .channels = EACH, .global_rows = GLOBAL, .loss = &loss});
    assert_float_equal(loss, squares, 1e-6 * squares);
    for (int i = 0; i < ROWS * EACH; i++) assert_float_equal(dy[i], truth[i], 1e-9);

    for (int i = 0; i < ROWS * EACH; i++) t[i] *= 40.0f; /* some of exp() would overflow */
    for (int r = 0; r < ROWS; r++) {
        const float *a = s + r * EACH, *b = t + r * EACH;
        double       sum_a = 0.0, sum_b = 0.0, most = b[0];

        for (int i = 0; i < EACH; i++) most = fmax(most, b[i]);
        for (int i = 0; i < EACH; i++) sum_a += exp(a[i]), sum_b += exp(b[i] - most);
        for (int i = 0; i < EACH; i++) {
            entropy -= exp(b[i] - most) / sum_b * (a[i] - log(sum_a)) / GLOBAL;
            truth[r * EACH + i] = (exp(a[i]) / sum_a - exp(b[i] - most) / sum_b) / GLOBAL;
        }
    }
    loss_backward(device, &(LossCall){.kind = LOSS_SOFT_CROSS_ENTROPY, .student = s, .teacher = t,
                                      .dy = dy, .rows = ROWS, .channels = EACH,
                                      .global_rows = GLOBAL, .loss = &loss});
    assert_float_equal(loss, entropy, 1e-9 * entropy);
    for (int i = 0; i < ROWS * EACH; i++) assert_float_equal(dy[i], truth[i], 1e-7);
    free(s), free(t);
    device_close(device);
}

/* Three steps of PyTorch's formula, with and without Nesterov, by hand. */
static void updates(void **state)
{
    Arena   arena = {0};
    Shape   in = {6, 1, 1};
    Hand    h = hand(&arena, "", in);
    Device *device = open_one();
    Error   err = {""};

    (void)state;
    hand_linear(&h, 4, false);
    for (int nesterov = 0; nesterov < 2; nesterov++) {
        UpdateStep step = {
            .learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = nesterov};
        double  w[24], m[24] = {0};
        float   x[6] = {1, -2, 3, -4, 5, -6}, y[4], got[24];
        Net    *net;

        assert_int_equal(net_new(&net, device, &h.layers, in, NET_TRAINED, &err), 0);
        assert_int_equal(net_prepare(net, 1, &err), 0);
        set_weights(net, 16);
        net_read(net, 0, got);
        for (int i = 0; i < 24; i++) w[i] = got[i];
        for (int t = 0; t < 3; t++) {
            float dy[4] = {0.1f, -0.2f, 0.3f, 0.4f + (float)t};

            for (int i = 0; i < 24; i++) {
                double g = (double)dy[i / 6] * x[i % 6] + 0.01 * w[i];

                m[i] = 0.9 * m[i] + g;
                w[i] -= 0.1 * (nesterov ? g + 0.9 * m[i] : m[i]);
            }
            assert_int_equal(net_forward(net, x, y, 1, NULL, &err), 0);
            assert_int_equal(net_backward(net, dy, 1, &err), 0);
            net_update(net, &step);
        }
        net_read(net, 0, got);
        compare_values("update: weights", got, w, 24, 1e-6);
        net_read_state(net, 0, got);
        compare_values("update: momentum", got, m, 24, 1e-6);
        net_free(net);
    }
    device_close(device);
    arena_free(&arena);
}

/* The same rows give the same bits: after other rows and paths, in another net, on a device that
 * runs beside another. */
static void *alone(void *context)
{
    Replica *r = context;

    replica_run(r);
    return NULL;
}

static void same_rows_same_bits(void **state)
{
    Arena        arena = {0};
    Shape        in = {3, 8, 8};
    Hand         h = residual_net(&arena, in);
    float       *x = draw(17, 6 * shape_count(in));
    static float y[2][60], dy[2][60], gradient[2][8192], statistic[2][1024];
    Replica      replica[2];
    pthread_t    thread;

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2; i++) {
            float *d = draw(18, 60);

            memcpy(dy[i], d, sizeof dy[i]);
            free(d);
            replica[i] =
                (Replica){NULL, 0, &h.layers, in, x, y[i], dy[i], 6, gradient[i], statistic[i]};
        }
        pthread_create(&thread, NULL, alone, &replica[1]);
        alone(&replica[0]);
        pthread_join(thread, NULL);
        assert_memory_equal(y[0], y[1], sizeof y[0]);
        assert_memory_equal(gradient[0], gradient[1], sizeof gradient[0]);
        assert_memory_equal(statistic[0], statistic[1], sizeof statistic[0]);
    }
    free(x);
    arena_free(&arena);
}

static void order_of_calls_does_not_matter(void **state)
{
    Arena   arena = {0};
    Shape   in = {3, 8, 8};
    Hand    h = choice_net(&arena, in);
    Device *device = open_one();
    Error   err = {""};
    int64_t n = shape_count(h.at);
    float  *x = draw(19, 5 * shape_count(in)), *y = malloc(5 * (size_t)n * sizeof *y),
          *first = malloc(5 * (size_t)n * sizeof *y);
    Net    *net;

    (void)state;
    assert_int_equal(net_new(&net, device, &h.layers, in, NET_FROZEN, &err), 0);
    assert_int_equal(net_prepare(net, 2, &err), 0);
    assert_int_equal(net_prepare(net, 5, &err), 0);
    set_weights(net, 20);
    for (int i = 0; i < 12; i++) {
        int64_t rows = i % 2 ? 2 : 5;

        assert_int_equal(net_forward(net, x, y, rows, (int[]){i % 3, i % 2, 1}, &err), 0);
        assert_int_equal(net_forward(net, x, y, 5, (int[]){1, 1, 0}, &err), 0);
        if (i == 0) memcpy(first, y, 5 * (size_t)n * sizeof *y);
        assert_memory_equal(first, y, 5 * (size_t)n * sizeof *y);
    }
    net_free(net);
    free(x), free(y), free(first);
    device_close(device);
    arena_free(&arena);
}

/* ---- parameters, gradients as runs, bytes ---- */

static void parameters_have_pytorchs_names(void **state)
{
    Arena   arena = {0};
    Hand    h = choice_net(&arena, (Shape){3, 8, 8});
    Device *device = open_one();
    Error   err = {""};
    Net    *net, *again;
    float   a[24], b[24];

    (void)state;
    assert_int_equal(net_new(&net, device, &h.layers, (Shape){3, 8, 8}, NET_TRAINED, &err), 0);
    assert_int_equal(net_new(&again, device, &h.layers, (Shape){3, 8, 8}, NET_TRAINED, &err), 0);
    assert_string_equal(net_parameter(net, 0)->name, "0.weight");
    assert_int_equal(net_parameter(net, 0)->rank, 4);
    assert_int_equal(net_parameter(net, 0)->dim[1], 3);
    assert_string_equal(net_parameter(net, 1)->name, "1.0.0.weight");
    assert_string_equal(net_parameter(net, 4)->name, "1.0.1.running_mean");
    assert_false(net_parameter(net, 4)->trained);
    assert_string_equal(net_parameter(net, net_parameter_count(net) - 1)->name, "4.1.0.bias");
    net_initialise(net, 1, 2);
    net_initialise(again, 1, 2);
    net_read(net, 0, a), net_read(again, 0, b);
    assert_memory_equal(a, b, sizeof a);
    for (int i = 0; i < 24; i++) assert_true(fabsf(a[i]) <= 1.0f / sqrtf(3.0f) && a[i] != 0.0f);
    net_initialise(again, 1, 3);
    net_read(again, 0, b);
    assert_memory_not_equal(a, b, sizeof a);
    net_free(net), net_free(again);
    device_close(device);
    arena_free(&arena);
}

static int64_t run_floats(const GradientRun *runs, int count)
{
    int64_t sum = 0;

    for (int i = 0; i < count; i++) sum += runs[i].count;
    return sum;
}

/* Runs of two replicas are the same spans, whatever their rows; a path less is floats less. */
static void gradients_are_runs(void **state)
{
    Arena       arena = {0};
    Shape       in = {3, 8, 8};
    Hand        h = choice_net(&arena, in);
    Device     *device = open_one();
    Error       err = {""};
    float      *x = draw(21, 5 * shape_count(in)), *y = malloc(5 * 512 * sizeof *y);
    Net        *net[2];
    GradientRun run[2][16];
    int         most, least;

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(net_new(&net[i], device, &h.layers, in, NET_TRAINED, &err), 0);
        assert_int_equal(net_prepare(net[i], 4 + i, &err), 0);
        assert_int_equal(net_forward(net[i], x, y, 4 + i, (int[]){1, 1, 1}, &err), 0);
    }
    most = net_gradients(net[0], run[0], 16);
    assert_int_equal(net_gradients(net[1], run[1], 16), most);
    assert_int_equal(most, 2);               /* the first path is passed over */
    for (int i = 0; i < most; i++) {
        assert_int_equal(run[0][i].count, run[1][i].count);
        assert_int_equal(run[0][i].values - run[0][0].values, run[1][i].values - run[1][0].values);
    }
    assert_int_equal(net_forward(net[0], x, y, 4, (int[]){2, 0, 0}, &err), 0);
    least = net_gradients(net[0], run[0], 16);
    assert_int_equal(least, 1);
    assert_true(run_floats(run[0], least) < run_floats(run[1], most));
    assert_int_equal(net_gradients(net[1], run[1], 0), most);
    net_free(net[0]), net_free(net[1]);
    free(x), free(y);
    device_close(device);
    arena_free(&arena);
}

/* conv 3 -> 16 with bias on 8x8, norm and relu, pool to 4x4, linear: by hand. */
static void bytes_are_counted(void **state)
{
    Arena    arena = {0};
    Shape    in = {3, 8, 8};
    Hand     h = hand(&arena, "", in);
    Device  *device = open_one();
    Error    err = {""};
    Net     *net;
    NetBytes b;
    int64_t  floats = 432 + 16 + 16 + 16 + 2560 + 16;    /* 10 biases take a cache line of 16 */

    (void)state;
    hand_conv(&h, 16, 3, 1, 1, 1, true);
    hand_same(&h, LAYER_BATCHNORM);
    hand_same(&h, LAYER_RELU);
    hand_pool(&h, LAYER_MAXPOOL, 2, 2, 0);
    hand_flatten(&h);
    hand_linear(&h, 10, true);
    assert_int_equal(net_new(&net, device, &h.layers, in, NET_TRAINED, &err), 0);
    assert_int_equal(net_prepare(net, 3, &err), 0);
    b = net_bytes(net, 3);
    assert_int_equal(b.gradient, 4 * floats);
    assert_int_equal(b.state, 4 * floats);
    assert_true(b.weight >= 4 * (floats + 32));          /* and copies in other orders */
    /* conv, norm, pool and its places (bytes), flatten; the last goes to the caller */
    assert_int_equal(b.activation, 3 * 4 * (1024 + 1024 + 256 + 64 + 256));
    assert_true(b.work >= 3 * 4 * 2 * 1024);
    net_free(net);
    assert_int_equal(net_new(&net, device, &h.layers, in, NET_FROZEN, &err), 0);
    assert_int_equal(net_prepare(net, 3, &err), 0);
    b = net_bytes(net, 3);
    assert_int_equal(b.gradient + b.state + b.activation, 0);
    assert_true(b.work >= 3 * 4 * 2 * 1024);
    net_free(net);
    device_close(device);
    arena_free(&arena);
}

/* ---- refusals ---- */

static void refused(const char *found, const char *expected)
{
    if (!strstr(found, expected)) fail_msg("\"%s\" does not say \"%s\"", found, expected);
}

static void specs_are_parsed(void **state)
{
    static const char *const bad[] = {"",           "cpu",
                                      "cpu:",       "cpu:0",
                                      "cpu:-1",     "cpu:2x",
                                      "cpu:1025",   "cpu: 1",
                                      "gpu:1",      "cpu:99999999999999999999",
                                      "cuda",       "cuda:",
                                      "cuda:x",     "cuda:-1",
                                      "cuda:0,",    "cuda:,0",
                                      "cuda:0,,1",  "cuda:0/",
                                      "cuda:0/0",   "cuda:0/1",
                                      "cuda:0/17",  "cuda:0/4x",
                                      "cuda:0 1",   "cuda:0/4/2",
                                      "cuda:0-3",   "cuda:99999999999999999999",
                                      "cuda:0/2,1", "cuda:0/2,1/4"};
    DeviceSpec spec;
    Error      err;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err.text[0] = '\0';
        assert_int_equal(device_spec_read(&spec, bad[i], &err), -1);
        refused(err.text, "expected");
    }
    assert_int_equal(device_spec_parse(&spec, "cpu:2", &err), 0);
    assert_int_equal(spec.count, 2);
    assert_true(spec.cores >= 1 && spec.memory_bytes > 0);
    refused(spec.kind, "core");
    assert_int_equal(device_spec_shares(&spec), spec.cores < 2);
    assert_int_equal(device_spec_parse(&spec, "cpu:1024", &err), 0);
    assert_int_equal(device_spec_shares(&spec), spec.cores < 1024);
}

/* Without a GPU: a text says which GPUs, and into how many slices each is cut. */
static void gpus_and_slices_are_read(void **state)
{
    static const struct {
        const char *text;
        int         count, slices, gpu_of_last, slice_of_last;
    } good[] = {
        {"cuda:0", 1, 1, 0, 0},       {"cuda:7", 1, 1, 7, 0},   {"cuda:0,1,2,3", 4, 1, 3, 0},
        {"cuda:3,1", 2, 1, 1, 0},     {"cuda:0/4", 4, 4, 0, 3}, {"cuda:2/3", 3, 3, 2, 2},
        {"cuda:0/2,1/2", 4, 2, 1, 1},
    };
    DeviceSpec spec;
    Error      err = {""};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (device_spec_read(&spec, good[i].text, &err) != 0) fail_msg("%s", err.text);
        assert_int_equal(spec.type, DEVICE_CUDA);
        assert_int_equal(spec.count, good[i].count);
        assert_int_equal(spec.slices, good[i].slices);
        assert_int_equal(device_spec_gpu(&spec, spec.count - 1), good[i].gpu_of_last);
        assert_int_equal(device_spec_slice(&spec, spec.count - 1), good[i].slice_of_last);
        assert_false(device_spec_shares(&spec));
    }
    assert_int_equal(device_spec_read(&spec, "cuda:1,0,1", &err), -1);
    refused(err.text, "GPU 1 stands twice");
    assert_int_equal(device_spec_read(&spec, "cuda:0,cpu:2", &err), -1);
    refused(err.text, "do not go together");
    assert_int_equal(device_spec_read(&spec, "cpu:2,cuda:0", &err), -1);
    refused(err.text, "expected cpu:N");
}

static void precisions_are_those_of_the_devices(void **state)
{
    DeviceSpec spec;
    Error      err = {""};

    (void)state;
    assert_int_equal(device_spec_read(&spec, "cuda:0", &err), 0);
    assert_int_equal(spec.precision, PRECISION_FP32);
    assert_int_equal(device_spec_set_precision(&spec, "bf16", &err), 0);
    assert_int_equal(spec.precision, PRECISION_BF16);
    assert_string_equal(precision_name(spec.precision), "bf16");
    assert_int_equal(device_spec_set_precision(&spec, "fp16", &err), -1);
    refused(err.text, "expected fp32, tf32 or bf16");
    assert_int_equal(device_spec_read(&spec, "cpu:1", &err), 0);
    assert_int_equal(device_spec_set_precision(&spec, "fp32", &err), 0);
    assert_int_equal(device_spec_set_precision(&spec, "tf32", &err), -1);
    refused(err.text, "cpu devices compute in fp32 or bf16");
    assert_int_equal(device_spec_set_precision(&spec, "bf16", &err), 0);
    assert_int_equal(spec.precision, PRECISION_BF16);
}

#ifndef HAVE_CUDA
static void a_build_without_cuda_says_so(void **state)
{
    DeviceSpec spec;
    Error      err = {""};

    (void)state;
    assert_int_equal(device_spec_parse(&spec, "cuda:0", &err), -1);
    refused(err.text, "this build has no CUDA");
}
#endif

static void wrong_calls_are_errors(void **state)
{
    Arena   arena = {0};
    Shape   in = {3, 8, 8};
    Hand    h = choice_net(&arena, in), odd = hand(&arena, "", in), flat = hand(&arena, "", in);
    Device *device = open_one();
    Error   err = {""};
    float  *x = draw(22, 2 * shape_count(in)), *y = malloc(2 * 512 * sizeof *y);
    Net    *net;

    (void)state;
    assert_int_equal(net_new(&net, device, &h.layers, in, NET_FROZEN, &err), 0);
    assert_int_equal(net_forward(net, x, y, 2, (int[]){0, 0, 0}, &err), -1);
    refused(err.text, "not prepared for 2 rows");
    assert_int_equal(net_prepare(net, 0, &err), -1);
    refused(err.text, "expected at least 1");
    assert_int_equal(net_prepare(net, 2, &err), 0);
    assert_int_equal(net_forward(net, x, y, 2, NULL, &err), -1);
    refused(err.text, "no path is chosen");
    assert_int_equal(net_forward(net, x, y, 2, (int[]){0, 2, 0}, &err), -1);
    refused(err.text, "choice 3.0: path 2, expected 0 to 1");
    assert_int_equal(net_backward(net, y, 2, &err), -1);
    refused(err.text, "frozen");
    net_free(net);

    hand_conv(&odd, 8, 3, 1, 1, 1, false);
    odd.layers.layer[0].out.height = 5;                  /* not what the kernel gives */
    assert_int_equal(net_new(&net, device, &odd.layers, in, NET_TRAINED, &err), 0);
    assert_int_equal(net_prepare(net, 2, &err), -1);
    refused(err.text, "conv 0: oneDNN refuses its shapes");
    net_free(net);
    hand_linear(&flat, 8, false);
    assert_int_equal(net_new(&net, device, &flat.layers, in, NET_TRAINED, &err), -1);
    refused(err.text, "linear 0: its input is neither a vector nor a sequence (3x8x8)");
    free(x), free(y);
    device_close(device);
    arena_free(&arena);
}

static int whole_step(const Layers *layers, Shape in, NetMode mode, const float *x, float *y,
                      Error *err)
{
    DeviceSpec spec = {.count = 1, .cores = 1};
    Device    *device = NULL;
    Net       *net = NULL;
    int        rc = -1;

    if (device_open(&device, &spec, 0, err) != 0) goto done;
    if (net_new(&net, device, layers, in, mode, err) != 0) goto done;
    if (net_prepare(net, 1, err) != 0 || net_prepare(net, 2, err) != 0) goto done;
    net_initialise(net, 1, 1);
    if (net_forward(net, x, y, 2, NULL, err) != 0) goto done;
    if (mode == NET_TRAINED && net_backward(net, y, 2, err) != 0) goto done;
    rc = 0;
done:
    net_free(net);
    device_close(device);
    return rc;
}

/* Each allocation of ours in turn fails: an error, and nothing left behind. */
static void memory_runs_out(void **state)
{
    Arena  arena = {0};
    Shape  in = {3, 8, 8};
    Hand   h = residual_net(&arena, in);
    float *x = draw(23, 2 * shape_count(in)), y[20];

    (void)state;
    for (int mode = 0; mode < 2; mode++)
        for (long n = 1;; n++) {
            Error err = {""};
            int   rc, reached;

            alloc_fail_after(n);
            rc = whole_step(&h.layers, in, mode ? NET_TRAINED : NET_FROZEN, x, y, &err);
            reached = alloc_fail_reached();
            alloc_fail_after(0);
            if (!reached) { assert_int_equal(rc, 0); break; }
            assert_int_equal(rc, -1);
            assert_true(error_is_no_memory(&err));
            assert_true(n < 1000);
        }
    free(x);
    arena_free(&arena);
}

/* A device of two threads gives what one of one gives, to rounding, and always the same bits. */
static void teams_agree(void **state)
{
    Arena      arena = {0};
    Shape      in = {3, 8, 8};
    Hand       h = residual_net(&arena, in);
    DeviceSpec spec;
    Error      err = {""};
    float     *x = draw(24, 64 * shape_count(in)), y[3][640];
    double     truth[640];

    (void)state;
    assert_int_equal(device_spec_parse(&spec, "cpu:1", &err), 0);
    for (int i = 0; i < 3; i++) {
        Device *device = i == 0 ? NULL : open_one();     /* first a core, then all of them */
        Net    *net;

        if (!device
            && device_open(
                   &device,
                   &(DeviceSpec){.backend = spec.backend, .count = spec.cores, .cores = spec.cores},
                   0, &err)
                   != 0)
            fail_msg("%s", err.text);
        assert_int_equal(net_new(&net, device, &h.layers, in, NET_TRAINED, &err), 0);
        assert_int_equal(net_prepare(net, 64, &err), 0);
        set_weights(net, 25);
        assert_int_equal(net_forward(net, x, y[i], 64, NULL, &err), 0);
        net_free(net);
        device_close(device);
    }
    for (int i = 0; i < 640; i++) truth[i] = y[0][i];
    compare_values("team", y[1], truth, 640, TOLERANCE);
    assert_memory_equal(y[1], y[2], sizeof y[1]);
    free(x);
    arena_free(&arena);
}

/* A number that is none is found wherever it is, and nothing else is taken for one. */
static void what_is_not_finite_is_found(void **state)
{
    Arena   arena = {0};
    Shape   in = {3, 8, 8};
    Hand    h = residual_net(&arena, in);
    Error   err = {""};
    Device *device = open_one();
    double  flag = 7;
    Net    *net;

    (void)state;
    assert_int_equal(net_new(&net, device, &h.layers, in, NET_TRAINED, &err), 0);
    set_weights(net, 25);
    net_check_finite(net, &flag);
    assert_true(flag == 7);
    for (int i = 0; i < net_parameter_count(net); i++)
        for (int of_state = 0; of_state <= net_parameter(net, i)->trained; of_state++) {
            int64_t count = net_parameter(net, i)->count;
            float  *good = malloc((size_t)count * sizeof *good),
                  *bad = malloc((size_t)count * sizeof *bad);

            (of_state ? net_read_state : net_read)(net, i, good);
            memcpy(bad, good, (size_t)count * sizeof *bad);
            bad[count / 2] = i % 3 == 0 ? INFINITY : i % 3 == 1 ? -INFINITY : NAN;
            flag = 7;
            (of_state ? net_write_state : net_write)(net, i, bad);
            net_check_finite(net, &flag);
            assert_true(isnan(flag));
            good[0] = FLT_MAX;
            flag = 7;
            (of_state ? net_write_state : net_write)(net, i, good);
            net_check_finite(net, &flag);
            assert_true(flag == 7);
            free(good);
            free(bad);
        }
    net_free(net);
    device_close(device);
    arena_free(&arena);
}

/* What the environment says of teams is taken back when a device is opened. */
static void a_device_has_its_whole_team(void **state)
{
    (void)state;
    omp_set_dynamic(1);
    omp_set_max_active_levels(0);
    omp_set_num_threads(1);
    Device *device = open_one();
    assert_int_equal(omp_get_dynamic(), 0);
    assert_true(omp_get_max_active_levels() >= 1);
    DeviceSpec spec;
    Error      err = {""};
    assert_int_equal(device_spec_parse(&spec, "cpu:1", &err), 0);
    assert_int_equal(omp_get_max_threads(), spec.cores);
    device_close(device);
}

/* Parts are the device's, not the team's: a team of one computes all of them, to the same bits. */
static void a_smaller_team_gives_the_same_bits(void **state)
{
    Arena   arena = {0};
    Shape   in = {3, 8, 8};
    Hand    h = hand(&arena, "", in);
    Error   err = {""};
    Device *device = open_one();
    float  *x = draw(25, 64 * shape_count(in)), *y[2];
    Net    *net;

    (void)state;
    hand_same(&h, LAYER_BATCHNORM);
    hand_same(&h, LAYER_RELU);
    for (int i = 0; i < 2; i++) {
        y[i] = draw(27, 64 * shape_count(in) + 12);
        omp_set_max_active_levels(i == 0 ? 1 : 0);       /* 0: every team is one thread */
        assert_int_equal(net_new(&net, device, &h.layers, in, NET_TRAINED, &err), 0);
        assert_int_equal(net_prepare(net, 64, &err), 0);
        set_weights(net, 25);
        assert_int_equal(net_forward(net, x, y[i], 64, NULL, &err), 0);
        float *dy = draw(26, 64 * shape_count(in));      /* backward overwrites it */
        assert_int_equal(net_backward(net, dy, 64, &err), 0);
        free(dy);
        net_update(net, &(UpdateStep){.learning_rate = 0.1f});
        for (int p = 0; p < net_parameter_count(net); p++)
            net_read(net, p, y[i] + 64 * shape_count(in) + 3 * p);
        net_free(net);
    }
    assert_memory_equal(y[0], y[1], (size_t)(64 * shape_count(in) + 12) * sizeof **y);
    omp_set_max_active_levels(1);
    device_close(device);
    for (int i = 0; i < 2; i++) free(y[i]);
    free(x);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions),
        cmocka_unit_test(depthwise_windows),
        cmocka_unit_test(norms_and_activations),
        cmocka_unit_test(pools),
        cmocka_unit_test(linears_and_flatten),
        cmocka_unit_test(whole_nets),
        cmocka_unit_test(chains_in_parts),
        cmocka_unit_test(chains_of_products),
        cmocka_unit_test(random_nets),
        cmocka_unit_test(truth_is_true),
        cmocka_unit_test(halves_are_the_whole),
        cmocka_unit_test(losses),
        cmocka_unit_test(updates),
        cmocka_unit_test(same_rows_same_bits),
        cmocka_unit_test(order_of_calls_does_not_matter),
        cmocka_unit_test(parameters_have_pytorchs_names),
        cmocka_unit_test(gradients_are_runs),
        cmocka_unit_test(bytes_are_counted),
        cmocka_unit_test(specs_are_parsed),
        cmocka_unit_test(gpus_and_slices_are_read),
        cmocka_unit_test(precisions_are_those_of_the_devices),
#ifndef HAVE_CUDA
        cmocka_unit_test(a_build_without_cuda_says_so),
#endif
        cmocka_unit_test(wrong_calls_are_errors),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(teams_agree),
        cmocka_unit_test(what_is_not_finite_is_found),
        cmocka_unit_test(a_device_has_its_whole_team),
        cmocka_unit_test(a_smaller_team_gives_the_same_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
