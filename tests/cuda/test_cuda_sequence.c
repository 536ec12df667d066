/* Layers of transformers on a GPU against loops in double (tests/slow_sequence.h): the cases of the
 * CPU's (tests/sequence_cases.h), forward and backward, frozen and trained, whole sequences and
 * ones with lengths, in each precision. With the fake CUDA it runs without a GPU. */
#include "tests/cuda/gpu.h"
#include "tests/cuda/tap.h"
#include "tests/sequence_cases.h"

typedef struct {
    const SequenceCase *of;
    const Workload     *workload;
    const int          *lengths;         /* NULL: whole sequences */
    char                what[128];
} Trial;

/* Where something is cut, a rounding moves a gradient by its whole size. */
static bool is_cut(const Layers *layers)
{
    for (int i = 0; i < layers->count; i++) {
        const Layer *l = &layers->layer[i];

        if (l->kind == LAYER_RELU || (l->kind == LAYER_GATED && l->function == FUNCTION_RELU))
            return true;
        for (int p = 0; p < l->path_count; p++)
            if (is_cut(&l->path[p])) return true;
    }
    return false;
}

/* y and, trained, all gradients. */
static void check_mode(const TestGpu *gpu, const Trial *t, NetMode mode)
{
    Arena            arena = {0};
    Error            err = {""};
    const WorkBlock *b = &t->workload->block[0];
    int64_t          rows = t->of->rows, ny = rows * shape_count(b->out);
    float           *x = sequence_input(t->workload, rows), *dy = draw(4, ny), *found,
          *on_x = placed(gpu, x, rows * shape_count(b->in)), *on_y = placed(gpu, NULL, ny),
          *on_dy = placed(gpu, dy, ny);
    double           within = tolerance[gpu->spec.precision];
    Net             *net = NULL;
    Slow             slow;
    SlowRecord      *records;
    Tensor           truth;

    if (net_new(&net, gpu->device, &b->student, b->in, mode, &err) != 0
        || net_prepare(net, rows, &err) != 0) {
        tap_fail("%s: %s", t->what, err.text);
        goto done;
    }
    set_weights(net, 5);
    net_set_lengths(net, t->lengths);
    slow = slow_of(&arena, net, mode == NET_FROZEN);
    slow.lengths = t->lengths;
    truth = slow_forward(&slow, &b->student, slow_from(&slow, x, rows, b->in), &records);
    if (net_forward(net, on_x, on_y, rows, NULL, &err) != 0) tap_fail("%s: %s", t->what, err.text);
    found = fetched(gpu, on_y, ny);
    tap_close(t->what, found, truth.v, ny, within);
    free(found);
    if (mode == NET_TRAINED && (gpu->spec.precision == PRECISION_FP32 || !is_cut(&b->student))) {
        slow_backward(&slow, &b->student, records, slow_from(&slow, dy, rows, b->out));
        if (net_backward(net, on_dy, rows, &err) != 0) tap_fail("%s: %s", t->what, err.text);
        compare_gradients(net, &slow, t->what, within);
    }
done:
    net_free(net);
    device_release(gpu->device, on_x), device_release(gpu->device, on_y),
        device_release(gpu->device, on_dy);
    free(x), free(dy);
    arena_free(&arena);
}

/* Patches are all of a picture: they have no lengths. */
static void check_case(const TestGpu *gpu, const SequenceCase *c)
{
    Workload *workload;
    Error     err = {""};
    int       lengths[SEQUENCE_ROWS];

    require(sequence_workload(&workload, c, &err), &err);
    require(sequence_lengths(c, lengths, &err), &err);
    for (int masked = 0; masked < (strstr(c->name, "patches") ? 1 : 2); masked++)
        for (int mode = 0; mode < 2; mode++) {
            Trial t = {c, workload, masked ? lengths : NULL, ""};

            snprintf(t.what, sizeof t.what, "%s in %s%s%s", c->name,
                     precision_name(gpu->spec.precision), mode ? "" : ", frozen",
                     masked ? ", with lengths" : "");
            check_mode(gpu, &t, mode ? NET_TRAINED : NET_FROZEN);
        }
    workload_free(workload);
}

static void cases_in(Precision precision)
{
    TestGpu gpu = gpu_open(precision);

    for (int i = 0; i < SEQUENCE_CASES; i++) check_case(&gpu, &sequence_cases[i]);
    gpu_close(&gpu);
}

static void layers(void) { cases_in(PRECISION_FP32); }
static void layers_in_tf32(void) { cases_in(PRECISION_TF32); }
static void layers_in_bf16(void) { cases_in(PRECISION_BF16); }

/* Gradients of all parameters, by way of the optimizer's state: [*count], yours. */
static float *gradients_of(Net *net, int64_t *count)
{
    float  *all;
    int64_t at = 0;

    *count = 0;
    for (int i = 0; i < net_parameter_count(net); i++) *count += net_parameter(net, i)->count;
    all = calloc((size_t)*count + 1, sizeof *all);
    net_update(net, &(UpdateStep){0});
    for (int i = 0; i < net_parameter_count(net); i++) {
        if (net_parameter(net, i)->trained) net_read_state(net, i, all + at);
        at += net_parameter(net, i)->count;
    }
    return all;
}

/* Steps of one net, whole sequences and ones with lengths by turns, so that each is seen, recorded
 * and replayed: the same bits each time. */
static void check_repeats(const TestGpu *gpu, const SequenceCase *c)
{
    enum { STEPS = 6 };
    Error            err = {""};
    Workload        *w;
    int              lengths[SEQUENCE_ROWS];
    float           *first[2] = {NULL, NULL};
    Net             *net;

    require(sequence_workload(&w, c, &err), &err);
    require(sequence_lengths(c, lengths, &err), &err);
    const WorkBlock *b = &w->block[0];
    int64_t          ny = c->rows * shape_count(b->out), count;
    float           *x = sequence_input(w, c->rows), *dy = draw(4, ny),
          *on_x = placed(gpu, x, c->rows * shape_count(b->in)), *on_y = placed(gpu, NULL, ny),
          *on_dy = placed(gpu, NULL, ny);

    require(net_new(&net, gpu->device, &b->student, b->in, NET_TRAINED, &err), &err);
    require(net_prepare(net, c->rows, &err), &err);
    set_weights(net, 5);
    for (int step = 0; step < STEPS; step++) {
        float *found;

        device_put(gpu->device, on_dy, dy, ny);          /* it may have been written over */
        net_set_lengths(net, step % 2 ? lengths : NULL);
        require(net_forward(net, on_x, on_y, c->rows, NULL, &err), &err);
        require(net_backward(net, on_dy, c->rows, &err), &err);
        found = gradients_of(net, &count);
        if (!first[step % 2]) first[step % 2] = found;
        else {
            if (memcmp(first[step % 2], found, (size_t)count * sizeof *found) != 0)
                tap_fail("%s: other bits at step %d", c->name, step);
            free(found);
        }
    }
    net_free(net);
    device_release(gpu->device, on_x), device_release(gpu->device, on_y),
        device_release(gpu->device, on_dy);
    free(x), free(dy), free(first[0]), free(first[1]);
    workload_free(w);
}

static void steps_repeat(void)
{
    for (int half = 0; half < 2; half++) {
        TestGpu gpu = gpu_open(half ? PRECISION_BF16 : PRECISION_FP32);

        for (int i = 0; i < SEQUENCE_CASES; i++)
            if (!strstr(sequence_cases[i].name, "patches")
                && (tap_thorough() || !strstr(sequence_cases[i].input, "150")))
                check_repeats(&gpu, &sequence_cases[i]);
        gpu_close(&gpu);
    }
}

int main(void)
{
    static const TapTest tests[] = {TAP_TEST(layers), TAP_TEST(layers_in_tf32),
                                    TAP_TEST(layers_in_bf16), TAP_TEST(steps_repeat)};

    setenv("PIPEBD_FAKE_GUARD", "1", 0);               /* the host may not touch the GPU's memory */
    return tap_run(tests, (int)(sizeof tests / sizeof *tests));
}
