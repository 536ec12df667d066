/* Nets on a GPU against loops in double (tests/slow_net.h): operators forward and backward, whole
 * nets, updates, losses, in each precision. With the fake CUDA it runs without a GPU. */
#include <unistd.h>

#include "kernels/stream.h"
#include "tests/cuda/gpu.h"
#include "tests/cuda/tap.h"
#include "tests/hand_nets.h"

static char again[4096];     /* the command for another process: this program, for choose_once() */

static void compare_statistics(Net *net, const Slow *slow, const char *what, double within)
{
    for (int i = 0; i < net_parameter_count(net); i++) {
        const NetParameter *p = net_parameter(net, i);
        float              *v = malloc((size_t)p->count * sizeof *v);

        net_read(net, i, v);
        if (!p->trained) tap_close(what, v, slow->value[i], p->count, within);
        free(v);
    }
}

/* A sum over a group of one. */
static int alone(void *context, double *values, int count, Error *err)
{
    (void)context, (void)values, (void)count, (void)err;
    return 0;
}

/* Where activations cut, a rounding of the forward pass moves a gradient by its whole size: with
 * less than fp32, gradients are compared where nothing cuts. */
static bool cuts(const Layers *layers)
{
    for (int i = 0; i < layers->count; i++) {
        if (layers->layer[i].kind == LAYER_RELU || layers->layer[i].kind == LAYER_RELU6
            || layers->layer[i].kind == LAYER_MAXPOOL)
            return true;
        for (int p = 0; p < layers->layer[i].path_count; p++)
            if (cuts(&layers->layer[i].path[p])) return true;
    }
    return false;
}

typedef struct {
    const Layers *layers;
    Shape         in;
    int64_t       rows;
    const int    *choices;
    bool          group;
} Case;

static void check_mode(const TestGpu *gpu, const char *what, const Case *c, NetMode mode)
{
    Arena       arena = {0};
    Error       err = {""};
    Shape       out = c->layers->layer[c->layers->count - 1].out;
    int64_t     nx = c->rows * shape_count(c->in), ny = c->rows * shape_count(out);
    float      *x = draw(3, nx), *dy = draw(4, ny), *found, *on_x = placed(gpu, x, nx),
          *on_y = placed(gpu, NULL, ny), *on_dy = placed(gpu, dy, ny);
    double      within = tolerance[gpu->spec.precision];
    Net        *net = NULL;
    Slow        slow;
    SlowRecord *records;
    Tensor      truth;

    if (net_new(&net, gpu->device, c->layers, c->in, mode, &err) != 0
        || net_prepare(net, c->rows, &err) != 0) {
        tap_fail("%s: %s", what, err.text);
        goto done;
    }
    set_weights(net, 5);
    if (c->group) net_synchronise(net, alone, NULL);
    slow = slow_of(&arena, net, mode == NET_FROZEN);
    slow.choices = c->choices;
    truth = slow_forward(&slow, c->layers, slow_from(&slow, x, c->rows, c->in), &records);
    if (net_forward(net, on_x, on_y, c->rows, c->choices, &err) != 0)
        tap_fail("%s: %s", what, err.text);
    found = fetched(gpu, on_y, ny);
    tap_close(what, found, truth.v, ny, within);
    free(found);
    compare_statistics(net, &slow, what, within);
    if (mode == NET_TRAINED && (gpu->spec.precision == PRECISION_FP32 || !cuts(c->layers))) {
        slow_backward(&slow, c->layers, records, slow_from(&slow, dy, c->rows, out));
        if (net_backward(net, on_dy, c->rows, &err) != 0) tap_fail("%s: %s", what, err.text);
        compare_gradients(net, &slow, what, within);
    }
done:
    net_free(net);
    device_release(gpu->device, on_x), device_release(gpu->device, on_y),
        device_release(gpu->device, on_dy);
    free(x), free(dy);
    arena_free(&arena);
}

static void check_in(Precision precision, const char *what, Case c)
{
    TestGpu gpu = gpu_open(precision);

    for (int mode = 0; mode < 2; mode++)
        check_mode(&gpu, what, &c, mode ? NET_TRAINED : NET_FROZEN);
    gpu_close(&gpu);
}

/* ---- operators, each behind a pointwise convolution whose gradient shows its dx ---- */

static void convolutions_in(Precision precision)
{
    for (size_t i = 0; i < sizeof conv_cases / sizeof *conv_cases; i++)
        for (int front = 0; front < 2; front++)
            for (int activation = 0; activation < 3; activation++) {
                const ConvCase *c = &conv_cases[i];
                Arena           arena = {0};
                Shape           in = {front ? 4 : c->channels, c->side_y, c->side_x};
                Hand            h = hand(&arena, "", in);
                char            what[64];

                if (precision != PRECISION_FP32 && activation == 2) {
                    arena_free(&arena);
                    continue;
                }
                snprintf(what, sizeof what, "conv %zu front %d activation %d", i, front,
                         activation);
                if (front) hand_conv(&h, c->channels, 1, 1, 0, 1, true);
                hand_conv(&h, c->out, c->kernel, c->stride, c->padding, c->groups, c->bias);
                if (activation) hand_same(&h, activation == 1 ? LAYER_RELU : LAYER_RELU6);
                check_in(precision, what, (Case){.layers = &h.layers, .in = in, .rows = c->rows});
                arena_free(&arena);
            }
}

static void convolutions(void) { convolutions_in(PRECISION_FP32); }
static void convolutions_in_tf32(void) { convolutions_in(PRECISION_TF32); }
static void convolutions_in_bf16(void) { convolutions_in(PRECISION_BF16); }

/* Biases before a norm have gradients of 0, but for roundings: with fp32 only. */
static void norms_in(Precision precision)
{
    static const Shape   shapes[] = {{16, 4, 4}, {3, 5, 7}, {33, 9, 9}, {40, 1, 1}};
    static const int64_t rows[] = {6, 2, 3, 8};

    for (int i = 0; i < 4; i++)
        for (int activation = 0; activation < 3; activation++)
            for (int group = 0; group < 2; group++) {
                Arena arena = {0};
                Shape in = {4, shapes[i].height, shapes[i].width};
                Hand  h = hand(&arena, "", in);
                char  what[64];

                snprintf(what, sizeof what, "norm %d activation %d group %d", i, activation, group);
                hand_conv(&h, shapes[i].channels, 1, 1, 0, 1, precision == PRECISION_FP32);
                hand_same(&h, LAYER_BATCHNORM);
                if (activation) hand_same(&h, activation == 1 ? LAYER_RELU : LAYER_RELU6);
                hand_conv(&h, 5, 1, 1, 0, 1, false);
                if (precision == PRECISION_FP32) hand_same(&h, LAYER_BATCHNORM);
                check_in(precision, what,
                         (Case){.layers = &h.layers, .in = in, .rows = rows[i], .group = group});
                arena_free(&arena);
            }
}

static void norms(void) { norms_in(PRECISION_FP32); }
static void norms_in_bf16(void) { norms_in(PRECISION_BF16); }

/* Behind an average nothing cuts, so that its gradient is compared in bf16 too. */
static void pools_in(Precision precision)
{
    for (size_t i = 0; i < sizeof pool_cases / sizeof *pool_cases; i++) {
        const PoolCase *c = &pool_cases[i];
        Arena           arena = {0};
        Shape           in = {4, c->height, c->width};
        Hand            h = hand(&arena, "", in);
        char            what[64];

        snprintf(what, sizeof what, "pool %zu", i);
        hand_conv(&h, c->channels, 1, 1, 0, 1, true);
        hand_pool(&h, c->kind, c->kernel, c->stride, c->padding);
        if (precision == PRECISION_FP32 || c->kind == LAYER_MAXPOOL) hand_same(&h, LAYER_RELU);
        check_in(precision, what, (Case){.layers = &h.layers, .in = in, .rows = c->rows});
        arena_free(&arena);
    }
}

static void pools(void) { pools_in(PRECISION_FP32); }
static void pools_in_bf16(void) { pools_in(PRECISION_BF16); }

static void linears_and_flatten(void)
{
    for (int precision = 0; precision < PRECISION_COUNT; precision++)
        for (int64_t rows = 1; rows < 8; rows += 2) {
            Arena arena = {0};
            Shape in = {3, 4, 5};
            Hand  h = hand(&arena, "", in);

            hand_conv(&h, 6, 3, 1, 1, 1, true);
            hand_flatten(&h);
            hand_linear(&h, 33, true);
            hand_same(&h, LAYER_RELU);
            hand_linear(&h, 10, false);
            check_in((Precision)precision, "linear",
                     (Case){.layers = &h.layers, .in = in, .rows = rows});
            arena_free(&arena);
        }
}

/* Residuals and choices, one path of which is nothing, at both ends of the net, of an odd number of
 * channels; nothing cuts. */
static Hand smooth_net(Arena *arena, Shape in)
{
    Hand h = hand(arena, "", in), body = hand_path(&h, -1), inner[2];

    hand_conv(&body, in.channels, 3, 1, 1, 1, true);
    hand_paths(&h, LAYER_RESIDUAL, &body, 1);
    hand_conv(&h, 9, 3, 2, 1, 1, false);
    hand_same(&h, LAYER_BATCHNORM);
    body = hand_path(&h, -1);
    for (int p = 0; p < 2; p++) inner[p] = hand_path(&body, p);
    hand_conv(&inner[1], 9, 3, 1, 1, 9, false);
    hand_same(&inner[1], LAYER_BATCHNORM);
    hand_paths(&body, LAYER_CHOICE, inner, 2);
    hand_paths(&h, LAYER_RESIDUAL, &body, 1);
    body = hand_path(&h, -1);
    inner[0] = hand_path(&body, -1);
    hand_conv(&inner[0], 9, 1, 1, 0, 1, true);
    hand_paths(&body, LAYER_RESIDUAL, &inner[0], 1);
    hand_paths(&h, LAYER_RESIDUAL, &body, 1);
    return h;
}

static void smooth_nets(void)
{
    Arena arena = {0};
    Shape in = {3, 7, 7};
    Hand  h = smooth_net(&arena, in);

    for (int precision = 0; precision < PRECISION_COUNT; precision++)
        for (int choice = 0; choice < 2; choice++)
            check_in((Precision)precision, choice ? "smooth net" : "smooth net, nothing chosen",
                     (Case){.layers = &h.layers, .in = in, .rows = 5, .choices = &choice});
    arena_free(&arena);
}

static void whole_nets_in(Precision precision)
{
    Arena arena = {0};
    Shape in = {3, 8, 8};
    Hand  residual = residual_net(&arena, in), choice = choice_net(&arena, in),
         shortcut = shortcut_net(&arena, in);

    check_in(precision, "residual net", (Case){.layers = &residual.layers, .in = in, .rows = 5});
    check_in(precision, "net with shortcuts",
             (Case){.layers = &shortcut.layers, .in = in, .rows = 5});
    for (int i = 0; i < 12; i++) {
        int  choices[3] = {i % 3, i / 3 % 2, i / 6};
        char what[64];

        snprintf(what, sizeof what, "choices %d %d %d", choices[0], choices[1], choices[2]);
        check_in(precision, what,
                 (Case){.layers = &choice.layers, .in = in, .rows = 3, .choices = choices});
    }
    arena_free(&arena);
}

/* What lives from forward to backward, and within; but for a max pool's places, and gaps. */
static void half_the_memory_in_bf16(void)
{
    Arena    arena = {0};
    Shape    in = {3, 8, 8};
    Hand     h = residual_net(&arena, in);
    NetBytes bytes[2];

    for (int half = 0; half < 2; half++) {
        TestGpu gpu = gpu_open(half ? PRECISION_BF16 : PRECISION_FP32);
        Error   err = {""};
        Net    *net;

        require(net_new(&net, gpu.device, &h.layers, in, NET_TRAINED, &err), &err);
        require(net_prepare(net, 64, &err), &err);
        bytes[half] = net_bytes(net, 64);
        net_free(net);
        gpu_close(&gpu);
    }
    if ((double)bytes[1].activation > 0.56 * (double)bytes[0].activation
        || bytes[1].work >= bytes[0].work)
        tap_fail("%lld bytes live and %lld are worked in, in fp32 %lld and %lld",
                 (long long)bytes[1].activation, (long long)bytes[1].work,
                 (long long)bytes[0].activation, (long long)bytes[0].work);
    arena_free(&arena);
}

static void whole_nets(void) { whole_nets_in(PRECISION_FP32); }
static void whole_nets_in_bf16(void) { whole_nets_in(PRECISION_BF16); }

/* ---- steps ---- */

/* Some steps of training: the loss of each; then all weights and momenta, [*count], yours. */
static float *train(const TestGpu *gpu, const Layers *layers, Shape in, int64_t rows, int steps,
                    double *losses, int64_t *count)
{
    Shape   out = layers->layer[layers->count - 1].out;
    int64_t nx = rows * shape_count(in), per_row = shape_count(out), ny = rows * per_row, done = 0;
    float  *x = draw(7, nx), *t = draw(8, ny), *on_x = placed(gpu, x, nx),
          *on_t = placed(gpu, t, ny), *on_y = placed(gpu, NULL, ny), *on_dy = placed(gpu, NULL, ny);
    float  *all;
    Error   err = {""};
    Net    *net;

    require(net_new(&net, gpu->device, layers, in, NET_TRAINED, &err), &err);
    require(net_prepare(net, rows, &err), &err);
    net_initialise(net, 3, 4);
    for (int s = 0; s < steps; s++) {
        require(net_forward(net, on_x, on_y, rows, NULL, &err), &err);
        loss_backward(gpu->device, &(LossCall){.kind = LOSS_MSE, .student = on_y, .teacher = on_t,
                                               .dy = on_dy, .rows = rows, .channels = per_row,
                                               .global_rows = rows, .loss = gpu->loss});
        require(net_backward(net, on_dy, rows, &err), &err);
        net_update(net, &(UpdateStep){.learning_rate = 0.002f, .momentum = 0.9f,
                                      .weight_decay = 1e-4f, .nesterov = true});
        if (device_is_async(gpu->device)) require(device_finish(gpu->device, &err), &err);
        losses[s] = *gpu->loss;
    }
    *count = 0;
    for (int i = 0; i < net_parameter_count(net); i++) *count += net_parameter(net, i)->count;
    all = calloc((size_t)*count, sizeof *all);
    for (int i = 0; i < net_parameter_count(net); i++) {
        net_read(net, i, all + done);
        done += net_parameter(net, i)->count;
    }
    net_free(net);
    device_release(gpu->device, on_x), device_release(gpu->device, on_t),
        device_release(gpu->device, on_y), device_release(gpu->device, on_dy);
    free(x), free(t);
    return all;
}

/* In every precision: the loss falls, and the same steps on the device opened again give the same
 * bits. */
static void steps_learn_and_repeat(void)
{
    enum { STEPS = 6 };
    Arena arena = {0};
    Shape in = {3, 8, 8};
    Hand  h = residual_net(&arena, in);

    for (int precision = 0; precision < PRECISION_COUNT; precision++) {
        float  *first = NULL;
        double  losses[2][STEPS];
        int64_t count;

        for (int i = 0; i < 2; i++) {
            TestGpu gpu = gpu_open((Precision)precision);
            float  *all = train(&gpu, &h.layers, in, 8, STEPS, losses[i], &count);

            if (i == 0) first = all;
            else {
                if (memcmp(first, all, (size_t)count * sizeof *all) != 0
                    || memcmp(losses[0], losses[1], sizeof losses[0]) != 0)
                    tap_fail("%s: other bits the second time",
                             precision_name((Precision)precision));
                free(first), free(all);
            }
            gpu_close(&gpu);
        }
        if (!(losses[0][STEPS - 1] < 0.9 * losses[0][0]))
            tap_fail("%s: the loss goes from %g to %g", precision_name((Precision)precision),
                     losses[0][0], losses[0][STEPS - 1]);
    }
    arena_free(&arena);
}

/* Rows of a batch in a call of their own: outputs of a frozen net are those of the whole batch, to
 * rounding: algorithms may differ. */
static void rows_are_independent(void)
{
    Arena   arena = {0};
    Shape   in = {3, 8, 8};
    Hand    h = residual_net(&arena, in);
    TestGpu gpu = gpu_open(PRECISION_FP32);
    int64_t each = shape_count(in);
    float  *x = draw(9, 6 * each), *on_x = placed(&gpu, x, 6 * each),
          *on_y = placed(&gpu, NULL, 120), *whole, *part;
    double  truth[20];
    Error   err = {""};
    Net    *net;

    require(net_new(&net, gpu.device, &h.layers, in, NET_FROZEN, &err), &err);
    require(net_prepare(net, 6, &err), &err);
    require(net_prepare(net, 2, &err), &err);
    set_weights(net, 5);
    require(net_forward(net, on_x, on_y, 6, NULL, &err), &err);
    require(net_forward(net, on_x + 3 * each, on_y + 60, 2, NULL, &err), &err);
    whole = fetched(&gpu, on_y, 60), part = fetched(&gpu, on_y + 60, 20);
    for (int i = 0; i < 20; i++) truth[i] = whole[30 + i];
    tap_close("rows 3 and 4", part, truth, 20, tolerance[PRECISION_FP32]);
    net_free(net);
    device_release(gpu.device, on_x), device_release(gpu.device, on_y);
    free(x), free(whole), free(part);
    gpu_close(&gpu);
    arena_free(&arena);
}

static void losses(void)
{
    TestGpu gpu = gpu_open(PRECISION_FP32);
    int64_t rows = 9, per_row = 35, n = rows * per_row;
    float  *s = draw(5, n), *t = draw(6, n), *on_s = placed(&gpu, s, n), *on_t = placed(&gpu, t, n),
          *on_dy = placed(&gpu, NULL, n), *dy;
    double *truth = calloc((size_t)n, sizeof *truth), sum = 0.0;
    Error   err = {""};

    loss_backward(gpu.device, &(LossCall){.kind = LOSS_MSE, .student = on_s, .teacher = on_t,
                                          .dy = on_dy, .rows = rows, .channels = per_row,
                                          .global_rows = 2 * rows, .loss = gpu.loss});
    if (device_is_async(gpu.device)) require(device_finish(gpu.device, &err), &err);
    for (int64_t i = 0; i < n; i++) {
        double d = (double)s[i] - t[i];

        sum += d * d / (double)(2 * n);
        truth[i] = 2.0 * d / (double)(2 * n);
    }
    dy = fetched(&gpu, on_dy, n);
    tap_close("mse's gradient", dy, truth, n, 1e-6);
    if (!(fabs(*gpu.loss - sum) < 1e-6 * sum))
        tap_fail("mse is %.9g, expected %.9g", *gpu.loss, sum);
    free(dy);
    for (int64_t i = 0; i < n; i++) truth[i] = 0.0;
    sum = 0.0;
    for (int64_t r = 0; r < rows; r++) {
        double a = 0.0, b = 0.0;

        for (int64_t k = r * per_row; k < (r + 1) * per_row; k++) a += exp(s[k]), b += exp(t[k]);
        for (int64_t k = r * per_row; k < (r + 1) * per_row; k++) {
            sum -= exp(t[k]) / b * (s[k] - log(a)) / (double)(2 * rows);
            truth[k] = (exp(s[k]) / a - exp(t[k]) / b) / (double)(2 * rows);
        }
    }
    loss_backward(gpu.device, &(LossCall){.kind = LOSS_SOFT_CROSS_ENTROPY, .student = on_s,
                                          .teacher = on_t, .dy = on_dy, .rows = rows,
                                          .channels = per_row, .global_rows = 2 * rows,
                                          .loss = gpu.loss});
    if (device_is_async(gpu.device)) require(device_finish(gpu.device, &err), &err);
    dy = fetched(&gpu, on_dy, n);
    tap_close("cross-entropy's gradient", dy, truth, n, 1e-6);
    if (!(fabs(*gpu.loss - sum) < 1e-5 * sum))
        tap_fail("cross-entropy is %.9g, expected %.9g", *gpu.loss, sum);
    free(dy), free(truth), free(s), free(t);
    device_release(gpu.device, on_s), device_release(gpu.device, on_t),
        device_release(gpu.device, on_dy);
    gpu_close(&gpu);
}

/* What was chosen can be read; what is asked again is not measured again. */
static void choices_are_kept(void)
{
    Arena arena = {0};
    Shape in = {3, 8, 8};
    Hand  h = residual_net(&arena, in);
    TestGpu gpu = gpu_open(PRECISION_FP32);
    Text    text[2] = {{0}, {0}};
    Error   err = {""};

    for (int i = 0; i < 2; i++) {
        Net *net;

        require(net_new(&net, gpu.device, &h.layers, in, NET_TRAINED, &err), &err);
        require(net_prepare(net, 11, &err), &err);
        require(device_choices(gpu.device, &text[i], &err), &err);
        net_free(net);
    }
    if (!strstr(text_string(&text[0]),
                "convolution 11x3x8x8 to 8, 3x3 stride 1 padding 1 groups 1, forward, fp32"))
        tap_fail("no choice for the first convolution in: %s", text_string(&text[0]));
    if (!strstr(text_string(&text[0]), "product 10x11x"))
        tap_fail("no choice for the linear layer in: %s", text_string(&text[0]));
    if (strcmp(text_string(&text[0]), text_string(&text[1])) != 0)
        tap_fail("a second net chose anew: %s", text_string(&text[1]));
    text_free(&text[0]), text_free(&text[1]);
    gpu_close(&gpu);
    arena_free(&arena);
}

static int64_t lines_of(const char *path)
{
    FILE   *f = fopen(path, "r");
    int64_t count = 0;

    for (int c; f && (c = fgetc(f)) != EOF;) count += c == '\n';
    if (f) fclose(f);
    return count;
}

/* A net of sizes that no other test has. */
static void choose_once(void)
{
    Arena arena = {0};
    Hand  h = residual_net(&arena, (Shape){5, 8, 8});
    TestGpu gpu = gpu_open(PRECISION_FP32);
    Error   err = {""};
    Net    *net;

    require(net_new(&net, gpu.device, &h.layers, (Shape){5, 8, 8}, NET_TRAINED, &err), &err);
    require(net_prepare(net, 13, &err), &err);
    net_free(net);
    gpu_close(&gpu);
    arena_free(&arena);
}

/* Another process finds in the file what this one chose, and chooses nothing itself. */
static void choices_are_shared_by_a_file(void)
{
    int64_t before = lines_of(gpu_choices), after;

    choose_once();
    after = lines_of(gpu_choices);
    if (after <= before)
        tap_fail("%lld lines, %lld after new choices", (long long)before, (long long)after);
    if (system(again) != 0) tap_fail("%s failed", again);
    if (lines_of(gpu_choices) != after) tap_fail("another process chose anew");
}

/* More than any GPU has is an error, and nothing is left behind. */
static void memory_runs_out(void)
{
    TestGpu gpu = gpu_open(PRECISION_FP32);
    float  *most = device_alloc(gpu.device, (size_t)1 << 40), *some;

    if (most) tap_fail("4 TiB were given");
    some = device_alloc(gpu.device, 1000);
    if (!some) tap_fail("4000 bytes were not, afterwards");
    device_release(gpu.device, some);
    gpu_close(&gpu);
}

static void gpus_that_are_not_there(void)
{
    DeviceSpec spec;
    Error      err = {""};

    if (device_spec_parse(&spec, "cuda:99", &err) == 0 || !strstr(err.text, "cuda:99"))
        tap_fail("cuda:99: %s", err.text);
}

static const TapTest tests[] = {TAP_TEST(convolutions),
                                TAP_TEST(convolutions_in_tf32),
                                TAP_TEST(convolutions_in_bf16),
                                TAP_TEST(norms),
                                TAP_TEST(norms_in_bf16),
                                TAP_TEST(pools),
                                TAP_TEST(pools_in_bf16),
                                TAP_TEST(smooth_nets),
                                TAP_TEST(half_the_memory_in_bf16),
                                TAP_TEST(whole_nets_in_bf16),
                                TAP_TEST(linears_and_flatten),
                                TAP_TEST(whole_nets),
                                TAP_TEST(steps_learn_and_repeat),
                                TAP_TEST(rows_are_independent),
                                TAP_TEST(losses),
                                TAP_TEST(choices_are_kept),
                                TAP_TEST(choices_are_shared_by_a_file),
                                TAP_TEST(memory_runs_out),
                                TAP_TEST(gpus_that_are_not_there)};

int main(int argc, char **argv)
{
    char path[] = "/tmp/pipebd-algorithms-XXXXXX";
    int  file, rc;

    setenv("PIPEBD_FAKE_GUARD", "1", 0);               /* the fake's: the host may not touch the
                                                        * GPU's memory */
    if (argc > 1) {
        gpu_choices = argv[1];
        choose_once();
        return 0;
    }
    file = mkstemp(path);
    if (file < 0) { printf("Bail out! no temporary file\n"); return 1; }
    close(file);
    gpu_choices = path;
    snprintf(again, sizeof again, "'%s' '%s'", argv[0], path);
    rc = tap_run(tests, (int)(sizeof tests / sizeof *tests));
    remove(path);
    return rc;
}
