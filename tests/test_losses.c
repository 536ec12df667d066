/* Losses, optimizers, clipping and the learning rate against formulas in double, one number at a
 * time. */
#include "tests/loss_truth.h"
#include "tests/net_checks.h"

#include "executor/train/rate.h"

static void check_loss(Device *device, LossKind kind, double temperature, bool masked, float size)
{
    float   *s = draw(14, LOSS_NUMBERS), *t = draw(15, LOSS_NUMBERS), dy[LOSS_NUMBERS];
    double   slow_s[LOSS_NUMBERS], slow_t[LOSS_NUMBERS], loss = NAN, truth, largest = 0.0,
        slopes[LOSS_NUMBERS];
    LossCall call = loss_call(kind, temperature, masked);
    char    *what =
        format_text("%s%s, numbers of %g", loss_name(kind), masked ? ", masked" : "", (double)size);

    for (int i = 0; i < LOSS_NUMBERS; i++)
        s[i] *= size, t[i] *= size, slow_s[i] = (double)s[i], slow_t[i] = (double)t[i], dy[i] = NAN;
    call.student = s, call.teacher = t, call.dy = dy, call.loss = &loss;
    loss_backward(device, &call);
    truth = loss_truth(kind, temperature, masked, slow_s, slow_t, slopes);
    for (int i = 0; i < LOSS_NUMBERS; i++) largest = fmax(largest, fabs(slopes[i]));
    if (!(fabs(loss - truth) <= 2e-6 * fabs(truth)))
        fail_msg("%s is %.9g, expected %.9g", what, loss, truth);
    for (int i = 0; i < LOSS_NUMBERS; i++)
        if (!(fabs((double)dy[i] - slopes[i]) <= 2e-6 * largest))
            fail_msg("%s: slope %d is %.9g, expected %.9g", what, i, (double)dy[i], slopes[i]);
    free(s), free(t), free(what);
}

static void losses_are_their_formulas(void **state)
{
    Device *device = open_one();

    (void)state;
    for (LossKind kind = 0; kind < LOSS_COUNT; kind++)
        for (int masked = 0; masked < 2; masked++) {
            check_loss(device, kind, 1.0, masked, 1.0f);
            check_loss(device, kind, 1.0, masked, 40.0f);            /* some exponentials would
                                                                      * overflow */
            if (kind == LOSS_KL) check_loss(device, kind, 2.5, masked, 3.0f);
        }
    device_close(device);
}

/* Rows split in two give the same gradient, and losses that add up. */
static void halves_add_up(void **state)
{
    Device *device = open_one();
    float  *s = draw(1, LOSS_NUMBERS), *t = draw(2, LOSS_NUMBERS), whole[LOSS_NUMBERS],
          halves[LOSS_NUMBERS];

    (void)state;
    for (LossKind kind = 0; kind < LOSS_COUNT; kind++) {
        double   sum, first, second, both;
        int      at = 2 * LOSS_PLACES * LOSS_CHANNELS;
        LossCall call = {.kind = kind, .student = s, .teacher = t, .dy = whole, .rows = LOSS_ROWS,
                         .places = LOSS_PLACES, .channels = LOSS_CHANNELS, .global_rows = LOSS_ROWS,
                         .lengths = loss_lengths, .global_places = 11,
                         .labels = loss_is_of_labels(kind) ? loss_labels : NULL, .loss = &sum};

        loss_backward(device, &call);
        call.dy = halves, call.rows = 2, call.loss = &first;
        loss_backward(device, &call);
        call.student += at, call.teacher += at, call.dy += at, call.lengths += 2,
            call.rows = 3, call.labels += call.labels ? 2 * LOSS_PLACES : 0, call.loss = &second;
        loss_backward(device, &call);
        both = first, call.loss = &both, call.add = true;
        loss_backward(device, &call);
        assert_true(both == first + second);
        assert_memory_equal(whole, halves, sizeof whole);
        assert_float_equal(sum, first + second, 1e-12);
    }
    free(s), free(t);
    device_close(device);
}

/* ---- steps ---- */

static Net *linear_net(Arena *arena, Device *device, Hand *h, int64_t rows)
{
    Net  *net;
    Error err = {""};

    *h = hand(arena, "", (Shape){6, 1, 1});
    hand_linear(h, 4, true);
    if (net_new(&net, device, &h->layers, (Shape){6, 1, 1}, NET_TRAINED, &err) != 0
        || net_prepare(net, rows, &err) != 0 || net_keep_squares(net, &err) != 0)
        fail_msg("%s", err.text);
    net_initialise(net, 3, 1);
    return net;
}

/* Gradients of one row: of weight[o][i] dy[o] x[i], of bias[o] dy[o]. */
static void gradients(Net *net, int step, double out[28])
{
    float x[6], y[4], dy[4];
    Error err = {""};

    for (int i = 0; i < 6; i++) x[i] = (float)(i + 1) * (step % 2 ? -0.5f : 0.25f);
    for (int o = 0; o < 4; o++) dy[o] = (float)(o - 1) * 0.5f + (float)step * 0.1f;
    for (int o = 0; o < 4; o++) out[24 + o] = (double)dy[o];
    for (int k = 0; k < 24; k++) out[k] = (double)dy[k / 6] * (double)x[k % 6];
    assert_int_equal(net_forward(net, x, y, 1, NULL, &err), 0);
    assert_int_equal(net_backward(net, dy, 1, &err), 0);
}

static void read_all(Net *net, void (*read)(const Net *, int, float *), float out[28])
{
    read(net, 0, out);
    read(net, 1, out + 24);
}

/* Four steps of Algorithm 2 of Loshchilov and Hutter, as PyTorch has it, with and without
 * clipping. */
static void adamw_is_its_formula(void **state)
{
    Device *device = open_one();

    (void)state;
    for (int clipped = 0; clipped < 2; clipped++) {
        Arena      arena = {0};
        Hand       h;
        Net       *net = linear_net(&arena, device, &h, 1);
        UpdateStep step = {.optimizer = OPTIMIZER_ADAMW, .learning_rate = 0.05f,
                           .weight_decay = 0.1f, .beta1 = 0.8f, .beta2 = 0.95f, .eps = 1e-6f,
                           .clip = clipped ? 1.5f : 0.0f};
        double     w[28], m[28] = {0}, v[28] = {0}, g[28];
        float      got[28];

        read_all(net, net_read, got);
        for (int k = 0; k < 28; k++) w[k] = (double)got[k];
        for (int n = 1; n <= 4; n++) {
            double norm = 0.0, scale = 1.0;

            gradients(net, n, g);
            step.number = n;
            net_update(net, &step);
            for (int k = 0; k < 28; k++) norm += g[k] * g[k];
            if (clipped && sqrt(norm) > 1.5) scale = 1.5 / sqrt(norm);
            if (clipped) assert_true(scale < 1.0);
            for (int k = 0; k < 28; k++) {
                g[k] *= scale;
                m[k] = 0.8 * m[k] + 0.2 * g[k];
                v[k] = 0.95 * v[k] + 0.05 * g[k] * g[k];
                w[k] -= 0.05 * 0.1 * w[k];
                w[k] -= 0.05 * (m[k] / (1.0 - pow(0.8, n)))
                        / (sqrt(v[k] / (1.0 - pow(0.95, n))) + 1e-6);
            }
        }
        read_all(net, net_read, got);
        compare_values("weights", got, w, 28, 2e-6);
        read_all(net, net_read_state, got);
        compare_values("means", got, m, 28, 2e-6);
        read_all(net, net_read_squares, got);
        compare_values("squares", got, v, 28, 2e-6);
        net_free(net);
        arena_free(&arena);
    }
    device_close(device);
}

/* With rate and momentum 0 the state of SGD is the gradient: clipped, its norm is the bound; within
 * it, nothing changes. */
static void clipping_bounds_the_norm(void **state)
{
    Device *device = open_one();
    Arena   arena = {0};
    Hand    h;
    Net    *net = linear_net(&arena, device, &h, 1);
    double  g[28], norm = 0.0, found = 0.0;
    float   got[28];

    (void)state;
    gradients(net, 1, g);
    for (int k = 0; k < 28; k++) norm += g[k] * g[k];
    net_update(net, &(UpdateStep){.clip = 0.25f});
    read_all(net, net_read_state, got);
    for (int k = 0; k < 28; k++) {
        found += (double)got[k] * (double)got[k];
        assert_float_equal(got[k], g[k] * 0.25 / sqrt(norm), 1e-6);
    }
    assert_float_equal(sqrt(found), 0.25, 1e-5);
    net_update(net, &(UpdateStep){.clip = 1000.0f});
    read_all(net, net_read_state, got);
    compare_values("not clipped", got, g, 28, 1e-7);
    net_free(net);
    arena_free(&arena);
    device_close(device);
}

/* 4 steps up, then a cosine over the other 6. */
static void the_rate_rises_and_falls(void **state)
{
    Workload w = {.training.learning_rate = 2, .warm_up = 4};

    (void)state;
    for (int s = 0; s < 4; s++)
        assert_float_equal(rate_at(w.training.learning_rate, w.warm_up, s, 10), 2.0 * (s + 1) / 4,
                           1e-6);
    for (int s = 4; s < 10; s++)
        assert_float_equal(rate_at(w.training.learning_rate, w.warm_up, s, 10),
                           1 + cos(M_PI * (s - 4) / 6), 1e-6);
    w.warm_up = 100;                     /* longer than the run */
    assert_float_equal(rate_at(w.training.learning_rate, w.warm_up, 9, 10), 2, 1e-6);
    w.warm_up = 0;
    assert_float_equal(rate_at(w.training.learning_rate, w.warm_up, 0, 10), 2, 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_their_formulas), cmocka_unit_test(halves_add_up),
        cmocka_unit_test(adamw_is_its_formula),      cmocka_unit_test(clipping_bounds_the_norm),
        cmocka_unit_test(the_rate_rises_and_falls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
