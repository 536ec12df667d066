/* Heads by pieces of tokens on a GPU (kernels/head.h) against body and head at once on the same
 * GPU: the loss and all gradients, in fp32 and bf16, of each loss that a head may have. With the
 * fake CUDA it runs without a GPU. */
#include "kernels/backend.h"
#include "kernels/head.h"
#include "tests/cuda/gpu.h"
#include "tests/cuda/tap.h"
#include "tests/head_workload.h"

enum { ROWS = 3, TOKENS = 10, WIDTH = 8 };

/* of ROWS sequences */
static const int lengths[ROWS] = {10, 1, 6};

/* Body and head in one, and apart: students and teachers. */
typedef struct {
    const TestGpu   *gpu;
    const WorkBlock *block;
    Net             *student, *teacher, *headless, *body;
    float           *x;
    LossCall         call;
} HeadTrial;

static Net *net_of(const HeadTrial *t, const Layers *layers, NetMode mode)
{
    Net  *net;
    Error err = {""};

    require(net_new(&net, t->gpu->device, layers, t->block->in, mode, &err), &err);
    require(net_prepare(net, ROWS, &err), &err);
    net_initialise(net, mode == NET_TRAINED || mode == NET_HEADLESS ? 5 : 6, 1);
    return net;
}

/* Weights of the last layer of the teacher's. */
static void copy_head(const HeadTrial *t, Net *to)
{
    int count = net_parameter_count(to), first = net_parameter_count(t->teacher) - count;

    for (int i = 0; i < count; i++) {
        float *values = malloc((size_t)net_parameter(to, i)->count * sizeof *values);

        net_read(t->teacher, first + i, values);
        net_write(to, i, values);
        free(values);
    }
}

/* The loss of all scores at once. */
static double at_once(const HeadTrial *t)
{
    int64_t  count = ROWS * shape_count(t->block->out);
    float   *y = placed(t->gpu, NULL, count), *of_teacher = placed(t->gpu, NULL, count),
          *dy = placed(t->gpu, NULL, count);
    LossCall call = t->call;
    Error    err = {""};

    require(net_forward(t->teacher, t->x, of_teacher, ROWS, NULL, &err), &err);
    require(net_forward(t->student, t->x, y, ROWS, NULL, &err), &err);
    call.student = y, call.teacher = of_teacher, call.dy = dy;
    call.channels = t->block->out.channels;
    loss_backward(t->gpu->device, &call);
    require(net_backward(t->student, dy, ROWS, &err), &err);
    require(device_finish(t->gpu->device, &err), &err);
    device_release(t->gpu->device, y), device_release(t->gpu->device, of_teacher),
        device_release(t->gpu->device, dy);
    return *t->gpu->loss;
}

static double by_pieces(const HeadTrial *t)
{
    int64_t    count = ROWS * TOKENS * WIDTH;
    float     *h = placed(t->gpu, NULL, count), *of_teacher = placed(t->gpu, NULL, count),
          *dy = placed(t->gpu, NULL, count);
    LossCall   call = t->call;
    ScoreHead *head;
    Error      err = {""};

    require(head_new(&head, t->gpu->device, t->block, t->headless, &err), &err);
    if (head_teacher(head)) copy_head(t, head_teacher(head));
    require(head_prepare(head, ROWS, &err), &err);
    require(net_forward(t->body, t->x, of_teacher, ROWS, NULL, &err), &err);
    require(net_forward(t->headless, t->x, h, ROWS, NULL, &err), &err);
    call.student = h, call.teacher = of_teacher, call.dy = dy;
    require(head_backward(head, &call, &err), &err);
    require(net_backward(t->headless, dy, ROWS, &err), &err);
    require(device_finish(t->gpu->device, &err), &err);
    head_free(head);
    device_release(t->gpu->device, h), device_release(t->gpu->device, of_teacher),
        device_release(t->gpu->device, dy);
    return *t->gpu->loss;
}

/* Differences of gradients, of the largest of each tensor. */
static void compare_nets(const HeadTrial *t, const char *what, double within)
{
    net_update(t->headless, &(UpdateStep){0});
    net_update(t->student, &(UpdateStep){0});
    for (int i = 0; i < net_parameter_count(t->student); i++) {
        int64_t n = net_parameter(t->student, i)->count;
        float  *a = malloc((size_t)n * sizeof *a), *b = malloc((size_t)n * sizeof *b), most = 0;

        net_read_state(t->headless, i, a);
        net_read_state(t->student, i, b);
        for (int64_t k = 0; k < n; k++) most = fmaxf(most, fabsf(b[k]));
        if (!(most > 0))
            tap_fail("%s: no gradient of %s", what, net_parameter(t->student, i)->name);
        for (int64_t k = 0; k < n; k++)
            if (!(fabs((double)a[k] - (double)b[k]) <= within * (double)most))
                tap_fail("%s: %s, element %lld is %.9g, expected %.9g", what,
                         net_parameter(t->student, i)->name, (long long)k, (double)a[k],
                         (double)b[k]);
        free(a), free(b);
    }
}

/* Scores of one piece, or of several, are within rounding of those at once. */
static void check_head(Precision precision, const char *loss, int vocabulary, bool masked,
                       double within)
{
    TestGpu   gpu = gpu_open(precision);
    Workload *w;
    Error     err = {""};
    require(head_workload(&w, loss, TOKENS, vocabulary, WIDTH, "{\"layer\": \"rmsnorm\"}, ", &err),
            &err);
    HeadTrial t = {.gpu = &gpu, .block = &w->block[1]};
    Layers    body = layers_body(&t.block->teacher, true);
    float    *x = draw(3, ROWS * TOKENS * WIDTH);
    int       labels[ROWS * TOKENS];
    double    expected, found;

    for (int i = 0; i < ROWS * TOKENS; i++) labels[i] = i % 5 == 4 ? -1 : i * 6007 % vocabulary;
    t.call = (LossCall){.kind = t.block->loss, .temperature = t.block->temperature, .rows = ROWS,
                        .places = TOKENS, .global_rows = 9, .lengths = masked ? lengths : NULL,
                        .global_places = 40, .loss = gpu.loss,
                        .labels = loss_is_of_labels(t.block->loss) ? labels : NULL};
    t.x = placed(&gpu, x, ROWS * TOKENS * WIDTH);
    t.student = net_of(&t, &t.block->student, NET_TRAINED);
    t.headless = net_of(&t, &t.block->student, NET_HEADLESS);
    t.teacher = net_of(&t, &t.block->teacher, NET_FROZEN);
    t.body = net_of(&t, &body, NET_FROZEN);
    expected = at_once(&t);
    found = by_pieces(&t);
    if (!(fabs(found - expected) <= within * fabs(expected)))
        tap_fail("%s is %.9g, expected %.9g", loss, found, expected);
    compare_nets(&t, loss, within);
    net_free(t.student), net_free(t.headless), net_free(t.teacher), net_free(t.body);
    device_release(gpu.device, t.x);
    free(x);
    workload_free(w);
    gpu_close(&gpu);
}

static void one_piece(void)
{
    static const double within[PRECISION_COUNT] = {1e-5, 1e-2, 1e-2};

    for (int p = 0; p < PRECISION_COUNT; p++) {
        check_head((Precision)p, "kl", 50, false, within[p]);
        check_head((Precision)p, "soft_cross_entropy", 50, true, within[p]);
        check_head((Precision)p, "hard_cross_entropy", 51, true, within[p]);
        check_head((Precision)p, "label_cross_entropy", 50, true, within[p]);
    }
}

/* 300,000 scores make pieces of 27 tokens: the second begins within a sequence. Sums over scores
 * have as many terms, in an order of the product's. */
static void several_pieces(void)
{
    if (!tap_thorough()) return;                         /* on the fake, most of a minute */
    check_head(PRECISION_FP32, "label_cross_entropy", 300000, true, 1e-4);
    check_head(PRECISION_FP32, "kl", 300000, true, 1e-4);
    check_head(PRECISION_BF16, "kl", 300000, false, 1e-2);
}

/* What a second piece does to the gradients of the first: of the same rows they are twice as
 * large. */
static void gradients_add_up(void)
{
    enum { OUT = 5, COUNT = ROWS * TOKENS };
    TestGpu      gpu = gpu_open(PRECISION_FP32);
    Arena        arena = {0};
    Hand         h = hand(&arena, "", (Shape){WIDTH, TOKENS, 1});
    float       *x = draw(1, COUNT * WIDTH), *dy = draw(2, COUNT * OUT), found[2][64];
    bool         wants_dx;
    Error        err = {""};
    Net         *net;
    OperatorCall call = {.rows = COUNT, .x = placed(&gpu, x, COUNT * WIDTH),
                         .y = placed(&gpu, NULL, COUNT * OUT),
                         .dy = placed(&gpu, dy, COUNT * OUT)};

    hand_linear(&h, OUT, true);
    h.layers.layer[0].out = (Shape){OUT, TOKENS, 1};
    require(net_new(&net, gpu.device, &h.layers, (Shape){WIDTH, TOKENS, 1}, NET_HEADLESS, &err),
            &err);
    set_weights(net, 5);
    Operator *op = net_head(net, &wants_dx);

    require(gpu.device->backend->prepare(op, COUNT, &err), &err);
    for (int twice = 0; twice < 2; twice++) {
        call.add = twice;
        require(gpu.device->backend->forward(op, &call, &err), &err);
        require(gpu.device->backend->backward(op, &call, &err), &err);
        net_update(net, &(UpdateStep){0});
        net_read_state(net, 0, found[twice]);
        net_read_state(net, 1, found[twice] + OUT * WIDTH);
    }
    for (int k = 0; k < OUT * WIDTH + OUT; k++)
        if (found[0][k] == 0.0f || fabsf(found[1][k] - 2.0f * found[0][k]) > 1e-6f)
            tap_fail("element %d is %.9g, and %.9g once", k, (double)found[1][k],
                     (double)found[0][k]);
    net_free(net);
    device_release(gpu.device, (float *)(uintptr_t)call.x), device_release(gpu.device, call.y),
        device_release(gpu.device, call.dy);
    free(x), free(dy);
    arena_free(&arena);
    gpu_close(&gpu);
}

int main(void)
{
    static const TapTest tests[] = {TAP_TEST(one_piece), TAP_TEST(several_pieces),
                                    TAP_TEST(gradients_add_up)};

    setenv("PIPEBD_FAKE_GUARD", "1", 0);               /* the host may not touch the GPU's memory */
    return tap_run(tests, (int)(sizeof tests / sizeof *tests));
}
