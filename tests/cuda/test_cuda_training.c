/* Losses, AdamW and clipping on a GPU against formulas in double (tests/loss_truth.h). With the
 * fake CUDA it runs without a GPU. */
#include "kernels/cuda/sequence/training.h"
#include "tests/cuda/gpu.h"
#include "tests/cuda/tap.h"
#include "tests/loss_truth.h"

/* ---- losses ---- */

static void check_loss(const TestGpu *gpu, LossKind kind, double temperature, bool masked,
                       float size)
{
    float   *s = draw(14, LOSS_NUMBERS), *t = draw(15, LOSS_NUMBERS), *on_s, *on_t,
          *on_dy = placed(gpu, NULL, LOSS_NUMBERS), *dy;
    double   slow_s[LOSS_NUMBERS], slow_t[LOSS_NUMBERS], slopes[LOSS_NUMBERS], largest = 0.0, truth;
    LossCall call = loss_call(kind, temperature, masked);
    Error    err = {""};
    char     what[96];

    snprintf(what, sizeof what, "%s%s, numbers of %g", loss_name(kind), masked ? ", masked" : "",
             (double)size);
    for (int i = 0; i < LOSS_NUMBERS; i++)
        s[i] *= size, t[i] *= size, slow_s[i] = (double)s[i], slow_t[i] = (double)t[i];
    on_s = placed(gpu, s, LOSS_NUMBERS), on_t = placed(gpu, t, LOSS_NUMBERS);
    call.student = on_s, call.teacher = on_t, call.dy = on_dy, call.loss = gpu->loss;
    truth = loss_truth(kind, temperature, masked, slow_s, slow_t, slopes);
    for (int i = 0; i < LOSS_NUMBERS; i++) largest = fmax(largest, fabs(slopes[i]));
    for (int i = 0; i < LOSS_NUMBERS; i++) slopes[i] /= largest;
    for (int twice = 0; twice < 2; twice++) {            /* the second time onto the first */
        call.add = twice;
        loss_backward(gpu->device, &call);
        require(device_finish(gpu->device, &err), &err);
        if (!(fabs(*gpu->loss - (twice + 1) * truth) <= 4e-6 * fabs(truth)))
            tap_fail("%s is %.9g, expected %.9g", what, *gpu->loss, (twice + 1) * truth);
        dy = fetched(gpu, on_dy, LOSS_NUMBERS);
        for (int i = 0; i < LOSS_NUMBERS; i++) dy[i] = (float)((double)dy[i] / largest);
        tap_close(what, dy, slopes, LOSS_NUMBERS, 4e-6);
        free(dy);
    }
    device_release(gpu->device, on_s), device_release(gpu->device, on_t),
        device_release(gpu->device, on_dy);
    free(s), free(t);
}

static void losses_are_their_formulas(void)
{
    TestGpu gpu = gpu_open(PRECISION_FP32);

    for (int kind = 0; kind < LOSS_COUNT; kind++)
        for (int masked = 0; masked < 2; masked++) {
            check_loss(&gpu, (LossKind)kind, 1.0, masked, 1.0f);
            check_loss(&gpu, (LossKind)kind, 1.0, masked, 40.0f);    /* some exponentials would
                                                                      * overflow */
            if (kind == LOSS_KL) check_loss(&gpu, (LossKind)kind, 2.5, masked, 3.0f);
        }
    gpu_close(&gpu);
}

/* ---- updates ---- */

enum { NUMBERS = 3000 };

/* Two spans with a gap, of sizes that are multiples of 4 or not. */
static KernelSpans spans_of(bool wide)
{
    KernelSpans s = {.count = 2};

    s.first[0] = wide ? 8 : 3;
    s.end[0] = wide ? 1000 : 997;
    s.first[1] = wide ? 1200 : 1301;
    s.end[1] = s.end[0] + (wide ? 1600 : 1423);
    return s;
}

static bool in_spans(const KernelSpans *s, int64_t i)
{
    for (int k = 0; k < s->count; k++)
        if (i >= s->first[k] && i < s->first[k] + s->end[k] - (k ? s->end[k - 1] : 0)) return true;
    return false;
}

static void check_queued(int status, const TestGpu *gpu)
{
    Error err = {""};

    if (status != 0) tap_fail("a kernel is not queued: %d", status);
    require(device_finish(gpu->device, &err), &err);
}

/* Four steps of Algorithm 2 of Loshchilov and Hutter, as PyTorch has it. */
static void check_adamw(const TestGpu *gpu, bool wide)
{
    KernelSpans spans = spans_of(wide);
    float      *start[4], *on[4];                        /* weights, gradients, means, squares */
    double     *slow[4];
    const double beta1 = 0.8, beta2 = 0.95, eps = 1e-6, rate = 0.05, decay = 0.1;

    for (int a = 0; a < 4; a++) {
        start[a] = a < 2 ? draw(20 + (uint64_t)a, NUMBERS) : calloc(NUMBERS, sizeof(float));
        on[a] = placed(gpu, start[a], NUMBERS);
        slow[a] = calloc(NUMBERS, sizeof(double));
        for (int i = 0; i < NUMBERS; i++) slow[a][i] = (double)start[a][i];
    }
    for (int n = 1; n <= 4; n++) {
        double      first = 1.0 - pow(beta1, n), second = 1.0 - pow(beta2, n);
        KernelAdamW step = {(float)(1.0 - rate * decay), (float)(rate / first),
                            (float)(1.0 / sqrt(second)), (float)beta1, (float)beta2, (float)eps};

        check_queued(kernel_adamw(on[0], on[1], on[2], on[3], &spans, &step, NULL), gpu);
        cudaDeviceSynchronize();
        for (int i = 0; i < NUMBERS; i++) {
            double g = slow[1][i];

            if (!in_spans(&spans, i)) continue;
            slow[2][i] = beta1 * slow[2][i] + (1.0 - beta1) * g;
            slow[3][i] = beta2 * slow[3][i] + (1.0 - beta2) * g * g;
            slow[0][i] -= rate * decay * slow[0][i];
            slow[0][i] -= rate * (slow[2][i] / first) / (sqrt(slow[3][i] / second) + eps);
        }
    }
    for (int a = 0; a < 4; a++) {
        static const char *const names[] = {"weights", "gradients", "means", "squares"};
        float                   *found = fetched(gpu, on[a], NUMBERS);

        tap_close(names[a], found, slow[a], NUMBERS, 2e-6);
        free(found), free(start[a]), free(slow[a]);
        device_release(gpu->device, on[a]);
    }
}

static void adamw_is_its_formula(void)
{
    TestGpu gpu = gpu_open(PRECISION_FP32);

    check_adamw(&gpu, true);
    check_adamw(&gpu, false);
    gpu_close(&gpu);
}

/* A net of more layers than a launch takes spans: the optimizer's state, with rate and momentum 0,
 * is the clipped gradient. */
static void clipping_bounds_the_norm(void)
{
    enum { LAYERS = KERNEL_SPANS + 6, ROWS = 2 };
    TestGpu gpu = gpu_open(PRECISION_FP32);
    Arena   arena = {0};
    Error   err = {""};
    Hand    h = hand(&arena, "", (Shape){3, 1, 1});
    float  *x = draw(1, 3 * ROWS), *dy = draw(2, 3 * ROWS), *on_x = placed(&gpu, x, 3 * ROWS),
          *on_y = placed(&gpu, NULL, 3 * ROWS), *on_dy = placed(&gpu, dy, 3 * ROWS);
    double  norm[3] = {0};
    Net    *net;

    for (int i = 0; i < LAYERS; i++) hand_linear(&h, 3, i % 2);
    require(net_new(&net, gpu.device, &h.layers, (Shape){3, 1, 1}, NET_TRAINED, &err), &err);
    require(net_prepare(net, ROWS, &err), &err);
    set_weights(net, 5);
    require(net_forward(net, on_x, on_y, ROWS, NULL, &err), &err);
    require(net_backward(net, on_dy, ROWS, &err), &err);
    for (int trial = 0; trial < 3; trial++) {            /* as they are, within, shorter */
        static const float clip[] = {0.0f, 1e30f, 0.25f};

        net_update(net, &(UpdateStep){.clip = clip[trial]});
        for (int i = 0; i < net_parameter_count(net); i++) {
            float found[16];

            net_read_state(net, i, found);
            for (int64_t k = 0; k < net_parameter(net, i)->count; k++)
                norm[trial] += (double)found[k] * (double)found[k];
        }
    }
    if (!(norm[0] > 0.25 * 0.25) || norm[1] != norm[0])
        tap_fail("squares of gradients are %g, %g where they are within", norm[0], norm[1]);
    if (!(fabs(sqrt(norm[2]) - 0.25) < 1e-5)) tap_fail("a clipped norm is %g", sqrt(norm[2]));
    net_free(net);
    device_release(gpu.device, on_x), device_release(gpu.device, on_y),
        device_release(gpu.device, on_dy);
    free(x), free(dy);
    arena_free(&arena);
    gpu_close(&gpu);
}

int main(void)
{
    static const TapTest tests[] = {TAP_TEST(losses_are_their_formulas),
                                    TAP_TEST(adamw_is_its_formula),
                                    TAP_TEST(clipping_bounds_the_norm)};

    setenv("PIPEBD_FAKE_GUARD", "1", 0);               /* the host may not touch the GPU's memory */
    return tap_run(tests, (int)(sizeof tests / sizeof *tests));
}
