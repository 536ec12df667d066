/* Convolutions and linear layers in bfloat16 on the CPU (kernels/cpu/bf16.h) beside loops in
 * double.
 *
 * Rounding to bfloat16, of 8 bits, errs by at most 2^-8 of a number, so a product of two by 2^-7 of
 * itself (and 2^-16), and a sum of products by 2^-7 of the sum of their absolute values, which the
 * loops add up, too. float32 sums add less than 2^-12 of that here. Numbers that bfloat16 has give
 * exact results. */
#include "tests/support.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/conv.h"
#include "kernels/cpu/passes.h"

static const double rounding = 0x1p-7 + 0x1p-12;

typedef struct {
    LayerKind  kind;
    int        in, height, width, out, kernel, stride, padding, groups;
    bool       bias;
    Activation activation;
    int64_t    rows;
} Bf16Case;

static const Bf16Case cases[] = {
    {LAYER_CONV, 1, 8, 8, 16, 3, 1, 1, 1, true, ACTIVATION_NONE, 5},
    {LAYER_CONV, 3, 9, 7, 24, 3, 2, 1, 1, false, ACTIVATION_RELU, 3},
    {LAYER_CONV, 16, 8, 8, 32, 3, 1, 1, 1, true, ACTIVATION_RELU6, 4},
    {LAYER_CONV, 8, 6, 6, 12, 3, 1, 1, 4, true, ACTIVATION_NONE, 3},
    {LAYER_CONV, 24, 5, 5, 40, 1, 2, 0, 1, false, ACTIVATION_NONE, 7},
    {LAYER_CONV, 5, 6, 6, 7, 1, 1, 0, 1, true, ACTIVATION_RELU, 1},
    {LAYER_CONV, 33, 3, 3, 20, 1, 1, 0, 1, true, ACTIVATION_RELU6, 3},
    {LAYER_CONV, 9, 1, 1, 5, 1, 1, 0, 1, false, ACTIVATION_NONE, 2},
    /* unfolded where they are frozen */
    {LAYER_CONV, 24, 2, 2, 40, 3, 1, 1, 1, true, ACTIVATION_RELU, 5},
    {LAYER_CONV, 7, 3, 2, 18, 3, 2, 1, 1, false, ACTIVATION_NONE, 70},
    {LAYER_CONV, 5, 1, 3, 9, 3, 1, 1, 1, true, ACTIVATION_RELU6, 2},
    {LAYER_CONV, 6, 4, 4, 10, 4, 1, 0, 1, true, ACTIVATION_NONE, 3},
    /* of several parts */
    {LAYER_CONV, 64, 32, 32, 2, 3, 1, 1, 1, true, ACTIVATION_RELU, 6},
    {LAYER_CONV, 64, 32, 32, 9, 1, 1, 0, 1, true, ACTIVATION_RELU, 6},
    {LAYER_CONV, 64, 32, 32, 5, 1, 1, 0, 1, true, ACTIVATION_NONE, 7},
    {LAYER_LINEAR, 33, 1, 1, 10, 0, 1, 0, 1, true, ACTIVATION_NONE, 6},
    {LAYER_LINEAR, 16, 7, 1, 48, 0, 1, 0, 1, false, ACTIVATION_RELU, 4},
    {LAYER_LINEAR, 4000, 1, 1, 3, 0, 1, 0, 1, true, ACTIVATION_NONE, 1},
};

/* An operator's numbers, and the loops': sums and sums of absolute values. */
typedef struct {
    OperatorSpec spec;
    int64_t      rows, nx, ny, nw;
    float       *x, *y, *dy, *dx, *w, *b, *dw, *db;
    double      *truth[4], *most[4];     /* y, dw, dx, db */
} Bf16Data;

static OperatorSpec spec_of(const Bf16Case *c, bool frozen)
{
    int side_y = c->kind == LAYER_LINEAR
                     ? c->height
                     : (c->height + 2 * c->padding - c->kernel) / c->stride + 1,
        side_x = c->kind == LAYER_LINEAR ? c->width
                                         : (c->width + 2 * c->padding - c->kernel) / c->stride + 1;

    return (OperatorSpec){.kind = c->kind, .name = "0", .in = {c->in, c->height, c->width},
                          .out = {c->out, side_y, side_x}, .kernel_height = c->kernel,
                          .kernel_width = c->kernel, .stride = c->stride, .padding = c->padding,
                          .groups = c->groups, .activation = c->activation, .frozen = frozen,
                          .data_gradient = !frozen};
}

/* Normal numbers, or exact ones: multiples of 1/4 up to 1. */
static float *draw(uint64_t stream, int64_t count, bool exact)
{
    float *v = cpu_alloc((size_t)count);

    assert_non_null(v);
    for (int64_t i = 0; i < count; i++)
        v[i] = exact ? (float)(rng_u64(7, stream, (uint64_t)i, 0) % 9) * 0.25f - 1.0f
                     : (float)rng_normal(7, stream, 0, (uint64_t)i);
    return v;
}

static Bf16Data data_of(const Bf16Case *c, bool frozen, bool exact)
{
    OperatorSpec s = spec_of(c, frozen);
    int64_t      window = c->kind == LAYER_LINEAR ? 1 : c->kernel * c->kernel;
    Bf16Data     d = {.spec = s, .rows = c->rows, .nx = c->rows * shape_count(s.in),
                      .ny = c->rows * shape_count(s.out),
                      .nw = (int64_t)c->out * (c->in / c->groups) * window};
    int64_t      counts[] = {d.ny, d.nw, d.nx, c->out};

    d.x = draw(1, d.nx, exact), d.w = draw(2, d.nw, exact), d.dy = draw(3, d.ny, exact);
    d.b = c->bias ? draw(4, c->out, exact) : NULL;
    d.y = draw(5, d.ny, false), d.dx = draw(6, d.nx, false), d.dw = draw(8, d.nw, false);
    d.db = draw(9, c->out, false);
    for (int i = 0; i < 4; i++) {
        d.truth[i] = calloc((size_t)counts[i], sizeof(double));
        d.most[i] = calloc((size_t)counts[i], sizeof(double));
        assert_true(d.truth[i] && d.most[i]);
    }
    return d;
}

static void data_free(Bf16Data *d)
{
    cpu_release(d->x), cpu_release(d->y), cpu_release(d->dy), cpu_release(d->dx);
    cpu_release(d->w), cpu_release(d->b), cpu_release(d->dw), cpu_release(d->db);
    for (int i = 0; i < 4; i++) free(d->truth[i]), free(d->most[i]);
}

static void add(Bf16Data *d, int what, int64_t at, double product)
{
    d->truth[what][at] += product;
    d->most[what][at] += fabs(product);
}

/* What one output takes part in; passed: of dy, what its activation lets pass. */
static void one_output(Bf16Data *d, int64_t row, int oy, int ox, int c, bool backward)
{
    const OperatorSpec *s = &d->spec;
    int kernel = s->kind == LAYER_LINEAR ? 1 : s->kernel_width, each = s->in.channels / s->groups;
    int64_t o = ((row * s->out.height + oy) * s->out.width + ox) * s->out.channels + c;
    int     first = c / (s->out.channels / s->groups) * each;
    bool    cut = s->activation != ACTIVATION_NONE
               && (d->y[o] <= 0.0f || (s->activation == ACTIVATION_RELU6 && d->y[o] >= 6.0f));
    double  passed = cut ? 0.0 : (double)d->dy[o];

    if (backward) add(d, 3, c, passed);
    else if (d->b) add(d, 0, o, (double)d->b[c]);
    for (int i = 0; i < each; i++)
        for (int ky = 0; ky < kernel; ky++)
            for (int kx = 0; kx < kernel; kx++) {
                int iy = oy * s->stride - s->padding + ky, ix = ox * s->stride - s->padding + kx;
                int64_t x = ((row * s->in.height + iy) * s->in.width + ix) * s->in.channels + first
                            + i,
                        w = (((int64_t)c * each + i) * kernel + ky) * kernel + kx;

                if (iy < 0 || iy >= s->in.height || ix < 0 || ix >= s->in.width) continue;
                if (!backward) { add(d, 0, o, (double)d->x[x] * (double)d->w[w]); continue; }
                add(d, 1, w, passed * (double)d->x[x]);
                add(d, 2, x, passed * (double)d->w[w]);
            }
}

static void loops(Bf16Data *d, bool backward)
{
    const OperatorSpec *s = &d->spec;

    for (int64_t row = 0; row < d->rows; row++)
        for (int oy = 0; oy < s->out.height; oy++)
            for (int ox = 0; ox < s->out.width; ox++)
                for (int c = 0; c < s->out.channels; c++)
                    one_output(d, row, oy, ox, c, backward);
}

static double activated(Activation activation, double v)
{
    if (activation == ACTIVATION_NONE || v > 0.0)
        return activation == ACTIVATION_RELU6 && v > 6.0 ? 6.0 : v;
    return 0.0;
}

/* times: how often the gradients were added up. */
static void compare(const Bf16Data *d, const char *what, int number, const float *found,
                    int64_t count, bool exact, int times)
{
    static const char *const names[] = {"y", "dw", "dx", "db"};

    for (int64_t i = 0; i < count; i++) {
        double truth = d->truth[number][i], room = rounding * d->most[number][i] + 1e-30;

        if (number == 0) truth = activated(d->spec.activation, truth);
        if (fabs((double)found[i] - times * truth) > (exact ? 0.0 : times * room))
            fail_msg("%s: %s: number %lld is %.9g, expected %.9g, at most %.3g off", what,
                     names[number], (long long)i, (double)found[i], times * truth,
                     exact ? 0.0 : times * room);
    }
}

static Operator *make_with(Device *device, const Bf16Data *d, const OperatorParameters *p)
{
    Operator *op;
    Error     err = {""};

    ok(operator_make(&op, device, &d->spec, p, &err), &err);
    op->bf16 = BF16_ALWAYS;
    ok(operator_prepare(op, d->rows, &err), &err);
    for (int pass = 0; pass < PASS_COUNT; pass++)
        assert_int_equal(op->plan[0].bf16[pass], pass == PASS_FORWARD || !d->spec.frozen);
    return op;
}

static Operator *make(Device *device, const Bf16Data *d)
{
    OperatorParameters p = {.weight = d->w, .bias = d->b, .weight_gradient = d->dw,
                            .bias_gradient = d->b ? d->db : NULL};

    return make_with(device, d, &p);
}

static void check_case(Device *device, int number, bool exact)
{
    const Bf16Case *c = &cases[number];
    char           *what = format_text("case %d%s", number, exact ? ", exact" : "");
    Bf16Data        d = data_of(c, false, exact);
    Operator       *op = make(device, &d);
    OperatorCall call = {.rows = d.rows, .x = d.x, .y = d.y, .dy = d.dy, .dx = d.dx};
    Error        err = {""};

    ok(operator_forward(op, &call, &err), &err);
    loops(&d, false);
    compare(&d, what, 0, d.y, d.ny, exact, 1);
    loops(&d, true);
    ok(operator_backward(op, &call, &err), &err);
    compare(&d, what, 1, d.dw, d.nw, exact, 1);
    compare(&d, what, 2, d.dx, d.nx, exact, 1);
    if (c->bias) compare(&d, what, 3, d.db, c->out, exact, 1);
    if (c->kind == LAYER_LINEAR) {
        call.add = true;
        ok(operator_backward(op, &call, &err), &err);
        compare(&d, what, 1, d.dw, d.nw, exact, 2);
        if (c->bias) compare(&d, what, 3, d.db, c->out, exact, 2);
    }
    operator_free(op);
    data_free(&d);
    free(what);
}

/* Backward of half the rows and of the rest, the gradient of data alone and that of weights alone,
 * as chains go (kernels/cpu/chain.c). */
static void check_parts(Device *device, int number, bool exact)
{
    char     *what = format_text("case %d in parts%s", number, exact ? ", exact" : "");
    Bf16Data  d = data_of(&cases[number], false, exact);
    Operator *op = make(device, &d);
    int64_t   half = (d.rows + 1) / 2, each_x = d.nx / d.rows, each_y = d.ny / d.rows;
    Error     err = {""};

    ok(operator_prepare(op, half, &err), &err);
    ok(operator_prepare(op, d.rows - half, &err), &err);
    ok(conv_keep_sum(op, half, d.rows - half, &err), &err);
    ok(operator_forward(op, &(OperatorCall){.rows = d.rows, .x = d.x, .y = d.y}, &err), &err);
    loops(&d, false);
    loops(&d, true);
    for (int64_t from = 0; from < d.rows; from += half) {
        ConvPart     part = {from == 0, from > 0};
        OperatorCall data = {.rows = from == 0 ? half : d.rows - half, .y = d.y + from * each_y,
                             .dy = d.dy + from * each_y, .dx = d.dx + from * each_x},
                     weights = data;

        weights.x = d.x + from * each_x;
        weights.dx = NULL;
        ok(conv_backward_part(op, &data, &part, &err), &err);
        ok(conv_backward_part(op, &weights, &part, &err), &err);
    }
    compare(&d, what, 1, d.dw, d.nw, exact, 1);
    compare(&d, what, 2, d.dx, d.nx, exact, 1);
    operator_free(op);
    data_free(&d);
    free(what);
}

static void check_frozen(Device *device, int number, bool exact)
{
    char        *what = format_text("frozen case %d", number);
    Bf16Data     d = data_of(&cases[number], true, exact);
    Operator    *op = make(device, &d);
    OperatorCall call = {.rows = d.rows, .x = d.x, .y = d.y};
    Error        err = {""};

    ok(operator_forward(op, &call, &err), &err);
    loops(&d, false);
    compare(&d, what, 0, d.y, d.ny, exact, 1);
    operator_free(op);
    data_free(&d);
    free(what);
}

/* Behind it a norm that is folded in: the loops get what comes of it. */
static void check_folded(Device *device, int number)
{
    const Bf16Case *c = &cases[number];
    char           *what = format_text("folded case %d", number);
    Bf16Data        d = data_of(c, true, false);
    float *norm[] = {draw(11, c->out, false), draw(12, c->out, false), draw(13, c->out, false),
                     draw(14, c->out, true)},
          *plain = draw(2, d.nw, false), *bias = c->bias ? draw(4, c->out, false) : NULL;
    OperatorParameters p = {.weight = plain, .bias = bias, .norm_weight = norm[0],
                            .norm_bias = norm[1], .norm_mean = norm[2], .norm_variance = norm[3]};
    Error err = {""};

    d.spec.norm_eps = 1e-3;
    if (!d.b) d.b = draw(4, c->out, false);
    for (int o = 0; o < c->out; o++) {
        float scale;

        norm[3][o] += 1.5f;
        scale = norm[0][o] / sqrtf(norm[3][o] + 1e-3f);
        d.b[o] = norm[1][o] + ((bias ? bias[o] : 0.0f) - norm[2][o]) * scale;
        for (int64_t i = 0; i < d.nw / c->out; i++) d.w[o * (d.nw / c->out) + i] *= scale;
    }
    Operator    *op = make_with(device, &d, &p);
    OperatorCall call = {.rows = d.rows, .x = d.x, .y = d.y};

    ok(operator_forward(op, &call, &err), &err);
    loops(&d, false);
    compare(&d, what, 0, d.y, d.ny, false, 1);
    operator_free(op);
    data_free(&d);
    for (int i = 0; i < 4; i++) cpu_release(norm[i]);
    cpu_release(plain), cpu_release(bias);
    free(what);
}

/* Opens a device; NULL where the machine has no instructions for bfloat16. */
static Device *open_device(const char *devices)
{
    DeviceSpec spec;
    Device    *device;
    Error      err = {""};

    ok(device_spec_parse(&spec, devices, &err), &err);
    if (!bf16_is_there()) { print_message("# no bfloat16 on this machine\n"); return NULL; }
    ok(device_open(&device, &spec, 0, &err), &err);
    return device;
}

static void check_all(const char *devices, bool exact)
{
    Device *device = open_device(devices);

    if (!device) skip();
    for (int i = 0; i < (int)(sizeof cases / sizeof *cases); i++) {
        check_case(device, i, exact);
        check_frozen(device, i, exact);
        if (cases[i].kind == LAYER_CONV && !cases[i].bias) check_parts(device, i, exact);
        if (!exact && cases[i].kind == LAYER_CONV) check_folded(device, i);
    }
    device_close(device);
}

static void exact_numbers_give_exact_results(void **state)
{
    (void)state;
    check_all("cpu:1", true);
}

static void others_err_by_their_rounding(void **state)
{
    (void)state;
    check_all("cpu:2", false);
}

/* ---- two devices of a process ---- */

/* The second device's thread: describes a convolution in float32 again and again. */
typedef struct {
    DeviceSpec   devices;
    OperatorSpec spec;
    atomic_int   described;
    atomic_bool  stop;
    int          rc;
    Error        err;
} Neighbour;

static int describe_once(const Operator *op, const PassShapes *s, Error *err)
{
    dnnl_primitive_attr_t attr = attr_new(ACTIVATION_NONE, err);
    dnnl_primitive_desc_t desc = NULL;
    int                   rc;

    if (!attr) return -1;
    rc = dnnl_failed(pass_forward(&desc, op, s, attr), op->what, err);
    dnnl_primitive_attr_destroy(attr);
    if (desc) dnnl_primitive_desc_destroy(desc);
    return rc;
}

static int describe_until_stopped(Device *device, Neighbour *n)
{
    const OperatorSpec *spec = &n->spec;
    dnnl_dim_t          weights[] = {spec->out.channels, spec->in.channels, 3, 3};
    PassShapes          s = {.x = md_rows(32, spec->in), .y = md_rows(32, spec->out),
                             .weights = md_new(4, weights, dnnl_format_tag_any),
                             .plain = md_new(4, weights, dnnl_oihw), .stride = {1, 1},
                             .padding = {1, 1}};
    Operator *op = NULL;
    int       rc = pass_shapes_check(&s, false, &n->err);

    if (rc == 0) rc = operator_make(&op, device, spec, &(OperatorParameters){0}, &n->err);
    for (; rc == 0 && !n->stop; n->described++) rc = describe_once(op, &s, &n->err);
    operator_free(op);
    pass_shapes_free(&s);
    return rc;
}

static void *neighbour(void *context)
{
    Neighbour *n = context;
    Device    *device;

    n->rc = device_open(&device, &n->devices, 1, &n->err);
    if (n->rc == 0) {
        n->rc = describe_until_stopped(device, n);
        device_close(device);
    }
    n->described++;                      /* after an error, too: who waits goes on */
    return NULL;
}

/* Prepares op for 1 to d->rows rows; how many of them give another result than the loops. */
static int wrong_results(Operator *op, Bf16Data *d)
{
    int   wrong = 0;
    Error err = {""};

    for (int64_t rows = 1; rows <= d->rows; rows++) {
        OperatorCall call = {.rows = rows, .x = d->x, .y = d->y};
        int64_t      i = 0, count = rows * shape_count(d->spec.out);

        ok(operator_prepare(op, rows, &err), &err);
        ok(operator_forward(op, &call, &err), &err);
        while (i < count && (double)d->y[i] == d->truth[0][i]) i++;
        wrong += i < count;
    }
    return wrong;
}

/* Of an odd number of channels, which bfloat16 has in pairs. The neighbour's thread starts first,
 * with all cores. */
static void a_neighbour_describes_at_the_same_time(void **state)
{
    Bf16Case  odd = {LAYER_CONV, 1, 8, 8, 8, 3, 1, 1, 1, true, ACTIVATION_NONE, 100},
             even = {LAYER_CONV, 8, 8, 8, 8, 3, 1, 1, 1, false, ACTIVATION_NONE, 32};
    Neighbour n = {.spec = spec_of(&even, true)};
    pthread_t thread;
    int       wrong;

    (void)state;
    if (!bf16_is_there()) skip();
    ok(device_spec_parse(&n.devices, "cpu:2", &n.err), &n.err);
    assert_int_equal(pthread_create(&thread, NULL, neighbour, &n), 0);
    while (n.described == 0) sched_yield();
    Device   *device = open_device("cpu:2");
    Bf16Data  d = data_of(&odd, true, true);
    Operator *op = make(device, &d);
    loops(&d, false);
    wrong = wrong_results(op, &d);
    n.stop = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
    ok(n.rc, &n.err);
    assert_int_equal(wrong, 0);
    operator_free(op);
    data_free(&d);
    device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_numbers_give_exact_results),
        cmocka_unit_test(others_err_by_their_rounding),
        cmocka_unit_test(a_neighbour_describes_at_the_same_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
