/* Where the CPU backend may not take what oneDNN offers first, beside what it offers, in turns in
 * one run: the gradient of depthwise weights (kernels/cpu/depthwise.c), and convolutions of small
 * maps (kernels/cpu/conv.c). Which of the two is taken depends on these tables: run it with each
 * new oneDNN. */
#include <string.h>

#include "base/rng.h"
#include "bench/bench.h"
#include "kernels/cpu/depthwise.h"

enum { REPEATS = 15, WARM = 2 };

typedef struct { int64_t rows; int in, out, map, kernel, stride; } Case;

static const Case depthwise_cases[] = {
    {64, 64, 64, 32, 3, 1},  {64, 128, 128, 16, 3, 1}, {64, 256, 256, 8, 3, 1},
    {64, 512, 512, 4, 3, 1}, {64, 512, 512, 2, 3, 1},  {64, 48, 48, 32, 3, 1},
    {64, 48, 48, 32, 5, 1},  {64, 96, 96, 32, 5, 2},   {64, 144, 144, 16, 5, 1},
    {64, 288, 288, 8, 5, 1}, {64, 144, 144, 16, 7, 1}, {64, 288, 288, 8, 7, 1},
    {16, 96, 96, 112, 3, 2}, {16, 144, 144, 56, 5, 2}, {16, 240, 240, 28, 7, 1},
    {16, 672, 672, 14, 5, 1}, {64, 144, 144, 32, 5, 1}, {64, 72, 72, 32, 7, 1},
    {64, 576, 576, 8, 7, 2}, {64, 960, 960, 4, 5, 1},  {64, 960, 960, 4, 7, 1}};
static const Case small_cases[] = {
    {64, 128, 128, 4, 3, 1}, {64, 256, 256, 4, 3, 1}, {64, 256, 512, 4, 3, 1},
    {64, 512, 256, 4, 3, 1}, {64, 512, 512, 4, 3, 1}, {16, 512, 512, 4, 3, 1},
    {64, 128, 128, 2, 3, 1}, {64, 128, 256, 2, 3, 1}, {64, 256, 256, 2, 3, 1},
    {64, 512, 512, 2, 3, 1}, {64, 64, 64, 4, 3, 1},   {64, 256, 256, 7, 3, 1},
    {64, 512, 512, 7, 3, 1}, {64, 128, 128, 8, 3, 2}, {64, 256, 256, 8, 3, 2},
    {64, 512, 512, 8, 3, 2}};

static OperatorSpec spec_of(const Case *c, bool depthwise)
{
    Shape in = {c->in, c->map, c->map},
          out = {c->out, (c->map - 1) / c->stride + 1, (c->map - 1) / c->stride + 1};

    return (OperatorSpec){.kind = LAYER_CONV, .name = "0", .in = in, .out = out,
                          .kernel_height = c->kernel, .kernel_width = c->kernel,
                          .stride = c->stride, .padding = c->kernel / 2,
                          .groups = depthwise ? c->in : 1, .activation = ACTIVATION_NONE};
}

static float *random_floats(int64_t count, uint64_t stream)
{
    float *x = cpu_alloc((size_t)count);

    if (!x) { fprintf(stderr, "bench: out of memory\n"); exit(1); }
    for (int64_t i = 0; i < count; i++) x[i] = (float)rng_normal(1, stream, 0, (uint64_t)i);
    return x;
}

static void check(dnnl_status_t status)
{
    Error err = {""};

    bench_require(dnnl_failed(status, "bench", &err), &err);
}

static const char *name_of(const Primitive *p)
{
    const char *name = "?";

    dnnl_primitive_desc_query(p->desc, dnnl_query_impl_info_str, 0, &name);
    return name;
}

/* A convolution in oneDNN's own orders, as kernels/cpu/conv.c would plan it. */
typedef struct {
    Primitive forward, weights, unpack;
    Md       *x, *y, *any, *plain;
    float    *packed;        /* weights or their gradient */
} Theirs;

static void theirs_shapes(Theirs *t, const OperatorSpec *s, int64_t rows)
{
    dnnl_dim_t grouped[] = {s->groups, s->out.channels / s->groups, s->in.channels / s->groups,
                            s->kernel_height, s->kernel_width};
    bool       groups = s->groups > 1;

    t->x = md_rows(rows, s->in);
    t->y = md_rows(rows, s->out);
    t->any = md_new(groups ? 5 : 4, groups ? grouped : grouped + 1, dnnl_format_tag_any);
    t->plain =
        md_new(groups ? 5 : 4, groups ? grouped : grouped + 1, groups ? dnnl_goihw : dnnl_oihw);
}

static void theirs_forward(Theirs *t, CpuDevice *device, const OperatorSpec *s,
                           dnnl_primitive_attr_t attr, bool second)
{
    dnnl_dims_t stride = {s->stride, s->stride}, padding = {s->padding, s->padding};
    Error       err = {""};

    check(dnnl_convolution_forward_primitive_desc_create(
        &t->forward.desc, device->engine, dnnl_forward_training, dnnl_convolution_direct, t->x,
        t->any, NULL, t->y, stride, NULL, padding, padding, attr));
    if (second) check(onednn_next(&t->forward.desc));
    bench_require(primitive_make(&t->forward, device, dnnl_success, "bench", &err), &err);
}

/* Of the weights' gradient, and from its order to PyTorch's. */
static void theirs_weights(Theirs *t, CpuDevice *device, const OperatorSpec *s,
                           dnnl_primitive_attr_t attr)
{
    dnnl_dims_t stride = {s->stride, s->stride}, padding = {s->padding, s->padding};
    Primitive  *p = &t->weights;
    const Md   *gradient;
    Error       err = {""};

    bench_require(
        primitive_make(p, device,
                       dnnl_convolution_backward_weights_primitive_desc_create(
                           &p->desc, device->engine, dnnl_convolution_direct, t->x, t->any, NULL,
                           t->y, stride, NULL, padding, padding, t->forward.desc, attr),
                       "bench", &err),
        &err);
    gradient = primitive_md(p, dnnl_query_diff_weights_md);
    t->packed = cpu_alloc((size_t)md_count(gradient));
    bench_require(primitive_argument(p, device, DNNL_ARG_SRC, t->x, &err), &err);
    bench_require(primitive_argument(p, device, DNNL_ARG_DIFF_DST, t->y, &err), &err);
    bench_require(primitive_argument(p, device, DNNL_ARG_DIFF_WEIGHTS, gradient, &err), &err);
    bench_require(primitive_make_reorder(&t->unpack, device, gradient, t->plain, &err), &err);
    bench_require(
        cpu_reserve_scratch(device, p->scratch > t->unpack.scratch ? p->scratch : t->unpack.scratch,
                            &err),
        &err);
}

static void theirs_free(Theirs *t)
{
    primitive_free(&t->forward);
    primitive_free(&t->weights);
    primitive_free(&t->unpack);
    md_free(t->x), md_free(t->y), md_free(t->any), md_free(t->plain);
    cpu_release(t->packed);
}

static void row(const Case *c, const char *name, BenchSamples *a, BenchSamples *b)
{
    double first = bench_quantile(a, 0.5), second = bench_quantile(b, 0.5);

    printf("| %dx%d /%d | %d > %d | %dx%d | %lld | %.0f | %.0f | %.2f | %s |\n", c->kernel,
           c->kernel, c->stride, c->in, c->out, c->map, c->map, (long long)c->rows, 1e6 * first,
           1e6 * second, second / first, name);
}

static void depthwise(CpuDevice *device, dnnl_primitive_attr_t attr, const Case *c)
{
    OperatorSpec s = spec_of(c, true);
    float  *x = random_floats(c->rows * shape_count(s.in), 1),
        *dy = random_floats(c->rows * shape_count(s.out), 2),
        *gradient = random_floats((int64_t)c->in * c->kernel * c->kernel, 3);
    Operator     op = {.device = device, .spec = s, .p = {.weight_gradient = gradient}};
    OperatorCall call = {.rows = c->rows, .x = x, .dy = dy};
    BenchSamples ours = {{0}, 0}, theirs = {{0}, 0};
    Theirs       t = {0};
    Error        err = {""};

    theirs_shapes(&t, &s, c->rows);
    theirs_forward(&t, device, &s, attr, false);
    theirs_weights(&t, device, &s, attr);
    bench_require(cpu_reserve_scratch(device, depthwise_scratch(&op), &err), &err);
    primitive_set(&t.weights, DNNL_ARG_SRC, x);
    primitive_set(&t.weights, DNNL_ARG_DIFF_DST, dy);
    primitive_set(&t.weights, DNNL_ARG_DIFF_WEIGHTS, t.packed);
    primitive_set(&t.unpack, DNNL_ARG_FROM, t.packed);
    primitive_set(&t.unpack, DNNL_ARG_TO, gradient);
    for (int i = 0; i < WARM + REPEATS; i++) {
        double start = bench_now(), middle;

        depthwise_weights(&op, &call, device->scratch, true, true);
        middle = bench_now();
        bench_require(primitive_run(&t.weights, device, "bench", &err), &err);
        bench_require(primitive_run(&t.unpack, device, "bench", &err), &err);
        if (i < WARM) continue;
        bench_add(&ours, middle - start);
        bench_add(&theirs, bench_now() - middle);
    }
    row(c, name_of(&t.weights), &ours, &theirs);
    theirs_free(&t);
    cpu_release(x), cpu_release(dy), cpu_release(gradient);
}

static void small_map(CpuDevice *device, dnnl_primitive_attr_t attr, const Case *c)
{
    OperatorSpec s = spec_of(c, false);
    float       *x = random_floats(c->rows * shape_count(s.in), 1),
          *y = random_floats(c->rows * shape_count(s.out), 2);
    BenchSamples samples[2] = {{{0}, 0}, {{0}, 0}};
    Theirs       t[2] = {{.x = NULL}};
    char         names[128];
    Error        err = {""};

    for (int i = 0; i < 2; i++) {
        Primitive *p = &t[i].forward;
        const Md  *weights;

        theirs_shapes(&t[i], &s, c->rows);
        theirs_forward(&t[i], device, &s, attr, i == 0);
        weights = primitive_md(p, dnnl_query_weights_md);
        t[i].packed = random_floats(md_count(weights), 3);
        bench_require(primitive_argument(p, device, DNNL_ARG_SRC, t[i].x, &err), &err);
        bench_require(primitive_argument(p, device, DNNL_ARG_DST, t[i].y, &err), &err);
        bench_require(primitive_argument(p, device, DNNL_ARG_WEIGHTS, weights, &err), &err);
        bench_require(cpu_reserve_scratch(device, p->scratch, &err), &err);
        primitive_set(p, DNNL_ARG_SRC, x);
        primitive_set(p, DNNL_ARG_DST, y);
        primitive_set(p, DNNL_ARG_WEIGHTS, t[i].packed);
    }
    for (int i = 0; i < 2 * (WARM + REPEATS); i++) {
        double start = bench_now();

        bench_require(primitive_run(&t[i % 2].forward, device, "bench", &err), &err);
        if (i >= 2 * WARM) bench_add(&samples[i % 2], bench_now() - start);
    }
    snprintf(names, sizeof names, "%s, %s", name_of(&t[0].forward), name_of(&t[1].forward));
    row(c, names, &samples[0], &samples[1]);
    theirs_free(&t[0]);
    theirs_free(&t[1]);
    cpu_release(x), cpu_release(y);
}

static void head(const char *title, const char *first, const char *second, const char *name)
{
    printf("\n## %s\n\n| window / stride | channels | map | rows | %s, us | %s, us | ratio | %s "
           "|\n|---|---|---|--:|--:|--:|--:|---|\n",
           title, first, second, name);
}

int main(void)
{
    const dnnl_version_t *version = dnnl_version();
    DeviceSpec            spec;
    Device               *device;
    dnnl_primitive_attr_t attr;
    Error                 err = {""};

    bench_require(device_spec_parse(&spec, "cpu:1", &err), &err);
    spec.count = spec.cores;             /* so that a device has one core */
    bench_require(device_open(&device, &spec, 0, &err), &err);
    if (!(attr = attr_new(ACTIVATION_NONE, &err))) bench_require(-1, &err);
    printf("oneDNN %d.%d.%d. Medians of %d turns. Ratio: the second time over the first.\n",
           version->major, version->minor, version->patch, REPEATS);
    head("Gradient of depthwise weights", "ours", "oneDNN", "oneDNN's");
    for (size_t i = 0; i < sizeof depthwise_cases / sizeof *depthwise_cases; i++)
        depthwise(cpu_device(device), attr, &depthwise_cases[i]);
    head("Forward on small maps: oneDNN's second choice for its first", "second", "first",
         "second, first");
    for (size_t i = 0; i < sizeof small_cases / sizeof *small_cases; i++)
        small_map(cpu_device(device), attr, &small_cases[i]);
    dnnl_primitive_attr_destroy(attr);
    device_close(device);
    return 0;
}
