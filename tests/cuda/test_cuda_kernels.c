/* Our CUDA kernels, each against loops in double, over shapes that fill blocks and that do not,
 * channels of all kinds, windows and strides. Each runs twice: the bits must be the same. Runs on a
 * GPU and, with the emulator, without one. */
#include "kernels/cuda/kernel.h"

#include <string.h>

#include "base/rng.h"
#include "tests/cuda/tap.h"

/* Sums of n products of floats near 1 err by about sqrt(n) 6e-8, of the largest. */
#define TOLERANCE 4e-5

static void check(int status, const char *what)
{
    cudaError_t done = cudaDeviceSynchronize();

    if (status != 0) tap_fail("%s: %s", what, cudaGetErrorString((cudaError_t)status));
    if (done != cudaSuccess) tap_fail("%s: %s", what, cudaGetErrorString(done));
}

/* What tensors are of, in the test that runs. */
static KernelType type;

/* An array: floats here, on the GPU of its type. */
typedef struct {
    int64_t    count;
    float     *host;
    void      *device;
    KernelType type;
} Array;

static uint64_t drawn;       /* arrays so far: each has other numbers */

static size_t bytes_of(Array a)
{
    return (size_t)a.count * (a.type == KERNEL_BF16 ? 2 : sizeof(float));
}

static Array array_of(KernelType of, int64_t count)
{
    Array a = {count, calloc((size_t)count, sizeof(float)), NULL, of};

    if (!a.host || cudaMalloc(&a.device, bytes_of(a)) != cudaSuccess) {
        printf("Bail out! no memory\n");
        exit(1);
    }
    cudaMemset(a.device, 0xff, bytes_of(a));             /* NaN: what is not written shows */
    return a;
}

static Array array(int64_t count) { return array_of(KERNEL_FLOAT, count); }
static Array tensor(int64_t count) { return array_of(type, count); }

/* Rounds what is here to what the GPU has. */
static void put(Array a)
{
    uint16_t *halves = a.type == KERNEL_BF16 ? malloc(bytes_of(a)) : NULL;

    for (int64_t i = 0; halves && i < a.count; i++) {
        uint32_t bits;

        memcpy(&bits, &a.host[i], sizeof bits);
        bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
        memcpy(&a.host[i], &bits, sizeof bits);
        halves[i] = (uint16_t)(bits >> 16);
    }
    cudaMemcpy(a.device, halves ? (void *)halves : a.host, bytes_of(a), cudaMemcpyHostToDevice);
    free(halves);
}

static void get(Array a)
{
    uint16_t *halves = a.type == KERNEL_BF16 ? malloc(bytes_of(a)) : NULL;

    cudaMemcpy(halves ? (void *)halves : a.host, a.device, bytes_of(a), cudaMemcpyDeviceToHost);
    for (int64_t i = 0; halves && i < a.count; i++) {
        uint32_t bits = (uint32_t)halves[i] << 16;

        memcpy(&a.host[i], &bits, sizeof bits);
    }
    free(halves);
}

/* Normal numbers around mean. */
static Array drawn_of(KernelType of, int64_t count, double mean)
{
    Array a = array_of(of, count);

    drawn++;
    for (int64_t i = 0; i < count; i++)
        a.host[i] = (float)(mean + rng_normal(1, drawn, 0, (uint64_t)i));
    put(a);
    return a;
}

static Array draw_at(int64_t count, double mean) { return drawn_of(KERNEL_FLOAT, count, mean); }
static Array draw(int64_t count) { return draw_at(count, 0.0); }
static Array draw_tensor(int64_t count) { return drawn_of(type, count, 0.0); }

static void drop(Array a)
{
    free(a.host);
    cudaFree(a.device);
}

static double *doubles(int64_t count) { return calloc((size_t)count, sizeof(double)); }

/* found on the GPU against truth, which is freed. A result in bfloat16 is rounded, to 8 bits;
 * tolerance 0: it is not. */
static void compare(const char *what, Array found, double *truth, double tolerance)
{
    get(found);
    tap_close(what, found.host, truth, found.count,
              tolerance + (tolerance > 0.0 && found.type == KERNEL_BF16 ? 1.0 / 256.0 : 0.0));
    free(truth);
}

/* The same bits as copy, which is freed. */
static float *copy_of(Array a)
{
    float *copy = malloc((size_t)a.count * sizeof(float));

    get(a);
    memcpy(copy, a.host, (size_t)a.count * sizeof(float));
    return copy;
}

static void same_bits(const char *what, Array a, float *copy)
{
    get(a);
    if (memcmp(copy, a.host, (size_t)a.count * sizeof(float)) != 0)
        tap_fail("%s: other bits the second time", what);
    free(copy);
}

static double cut(double v, double floor, double limit)
{
    return v < floor ? floor : v > limit ? limit : v;
}

static const int64_t counts[] = {1, 3, 4, 255, 1024, 4097, 70000};

#define EACH(type, name, list) \
    for (const type *name = (list); name < (list) + sizeof(list) / sizeof *(list); name++)

/* ---- elementwise ---- */

static void sums(void)
{
    EACH(int64_t, n, counts) {
        Array   a = draw_tensor(*n), b = draw_tensor(*n);
        double *truth = doubles(*n);

        for (int64_t i = 0; i < *n; i++) truth[i] = (double)a.host[i] + b.host[i];
        check(kernel_add(type, a.device, b.device, *n, NULL), "add");
        compare("add", a, truth, 1e-7);
        drop(a), drop(b);
    }
}

static void activations(void)
{
    const float limits[] = {6.0f, INFINITY};

    EACH(int64_t, n, counts) EACH(float, limit, limits) {
        Array   x = drawn_of(type, *n, 3.0), y = tensor(*n), dy = draw_tensor(*n);
        double *truth = doubles(*n);

        for (int64_t i = 0; i < *n; i++) truth[i] = cut(x.host[i], 0.0, *limit);
        check(kernel_activation(type, x.device, y.device, *n, *limit, NULL), "activation");
        compare("activation", y, truth, 0.0);
        truth = doubles(*n);
        for (int64_t i = 0; i < *n; i++)
            truth[i] = y.host[i] > 0.0f && y.host[i] < *limit ? dy.host[i] : 0.0;
        check(kernel_activation_gradient(type, y.device, dy.device, dy.device, *n, *limit, NULL),
              "activation's gradient");
        compare("activation's gradient", dy, truth, 0.0);
        drop(x), drop(y), drop(dy);
    }
}

static const int channel_counts[] = {1, 3, 4, 16, 20, 37, 128, 132, 260};

static void biases(void)
{
    EACH(int, c, channel_counts) for (int with = 0; with < 2; with++) {
        int64_t pixels = 61;
        Array   y = draw_tensor(pixels * *c), b = draw(*c);
        double *truth = doubles(pixels * *c);

        for (int64_t i = 0; i < pixels * *c; i++)
            truth[i] = cut(y.host[i] + (with ? (double)b.host[i % *c] : 0.0), 0.0, 6.0);
        check(kernel_bias(type, y.device, with ? b.device : NULL, pixels, *c, 0.0f, 6.0f, NULL),
              "bias");
        compare("bias", y, truth, 1e-7);
        drop(y), drop(b);
    }
}

/* 8 bits, to nearest: an error of at most 2^-8 of the number. */
static void bfloat16(void)
{
    EACH(int64_t, n, counts) {
        Array a = draw(*n), half = array((*n + 1) / 2), back = array(*n);

        check(kernel_to_bf16(half.device, a.device, *n, NULL), "to bfloat16");
        check(kernel_from_bf16(back.device, half.device, *n, NULL), "from bfloat16");
        get(back);
        for (int64_t i = 0; i < *n; i++)
            if (!(fabs((double)back.host[i] - a.host[i]) <= fabs((double)a.host[i]) / 256.0))
                tap_fail("bfloat16 of %g is %g", (double)a.host[i], (double)back.host[i]);
        drop(a), drop(half), drop(back);
    }
}

/* Three spans, with gaps that must stay as they are; of multiples of 4, and not. */
static void updates(void)
{
    for (int odd = 0; odd < 2; odd++) for (int nesterov = 0; nesterov < 2; nesterov++) {
        int64_t     first[] = {0, 48 + odd, 5000}, count[] = {16, 400 + odd, 3000}, n = 8192;
        Array       w = draw(n), g = draw(n), m = draw(n);
        double     *tw = doubles(n), *tm = doubles(n);
        KernelSpans spans = {.count = 3};
        KernelSgd   step = {0.1f, 0.9f, 0.01f, nesterov ? 1.0f : 0.0f, nesterov ? 0.9f : 1.0f};

        for (int64_t i = 0; i < n; i++) tw[i] = w.host[i], tm[i] = m.host[i];
        for (int s = 0; s < 3; s++) {
            spans.first[s] = first[s];
            spans.end[s] = count[s] + (s ? spans.end[s - 1] : 0);
            for (int64_t i = first[s]; i < first[s] + count[s]; i++) {
                double d = g.host[i] + (double)0.01f * tw[i];

                tm[i] = (double)0.9f * tm[i] + d;
                tw[i] -= (double)0.1f * (nesterov ? d + (double)0.9f * tm[i] : tm[i]);
            }
        }
        check(kernel_sgd(w.device, g.device, m.device, &spans, &step, NULL), "update");
        compare("updated weights", w, tw, 1e-6);
        compare("updated momentum", m, tm, 1e-6);
        drop(w), drop(g), drop(m);
    }
}

/* One number that is none, anywhere, makes the flag NaN; else it stays. */
static void numbers_that_are_none(void)
{
    EACH(int64_t, n, counts) {
        const float bad[] = {INFINITY, -INFINITY, NAN};

        for (int b = -1; b < 3; b++) {
            Array   a = draw(*n);
            double *flag;

            if (cudaMallocHost((void **)&flag, sizeof *flag) != cudaSuccess) tap_fail("no memory");
            *flag = 7;
            if (b >= 0) a.host[(drawn * 7919) % (uint64_t)*n] = bad[b];
            put(a);
            check(kernel_check_finite(a.device, *n, flag, NULL), "numbers that are none");
            cudaDeviceSynchronize();
            if (b < 0 ? *flag != 7 : !isnan(*flag))
                tap_fail("the flag is %g with %g", *flag, b < 0 ? 0.0 : (double)bad[b]);
            cudaFreeHost(flag);
            drop(a);
        }
    }
}

/* ---- channels ---- */

static const int64_t pixel_counts[] = {1, 7, 300, 9000};

static void channel_sums(void)
{
    EACH(int, c, channel_counts) EACH(int64_t, p, pixel_counts) {
        Array   x = draw_tensor(*p * *c), partial = array(kernel_channel_partials(*p, *c)),
                out = array(*c);
        double *truth = doubles(*c);
        float  *before;

        for (int64_t i = 0; i < *p * *c; i++) truth[i % *c] += x.host[i];
        check(kernel_channel_sums(type, x.device, *p, *c, partial.device, out.device, NULL),
              "channel sums");
        before = copy_of(out);
        compare("channel sums", out, truth, TOLERANCE);
        check(kernel_channel_sums(type, x.device, *p, *c, partial.device, out.device, NULL),
              "channel sums");
        same_bits("channel sums", out, before);
        drop(x), drop(partial), drop(out);
    }
}

enum { OWN = NORM_ROWS };

typedef struct {
    KernelNorm n;
    Array      x, y, dy, dx, own, weight, bias, mean, variance, dw, db, partial;
    double    *sums;
} Norm;

static Norm norm_make(int64_t pixels, int channels, float limit)
{
    int   stride = (channels + 15) / 16 * 16;
    void *sums = NULL;
    Norm  m = {.x = drawn_of(type, pixels * channels, 30.0), .y = tensor(pixels * channels),
               .dy = draw_tensor(pixels * channels), .dx = tensor(pixels * channels),
               .own = array((int64_t)OWN * stride), .weight = draw_at(channels, 2.0),
               .bias = draw(channels), .mean = draw(channels), .variance = draw_at(channels, 9.0),
               .dw = array(channels), .db = array(channels),
               .partial = array(kernel_channel_partials(pixels, channels))};

    cudaMalloc(&sums, (size_t)(2 * channels + 1) * sizeof(double));
    m.sums = sums;
    m.n = (KernelNorm){pixels,
                       channels,
                       stride,
                       limit > 0.0f ? 0.0f : -INFINITY,
                       limit > 0.0f ? limit : INFINITY,
                       m.own.device,
                       m.weight.device,
                       m.bias.device,
                       m.mean.device,
                       m.variance.device,
                       m.dw.device,
                       m.db.device,
                       m.partial.device,
                       sums,
                       type,
                       channels % 2 ? 1e-5 : 4e-3,
                       channels % 2 ? 0.1 : 0.3};
    return m;
}

static void norm_drop(Norm m)
{
    drop(m.x), drop(m.y), drop(m.dy), drop(m.dx), drop(m.own), drop(m.weight), drop(m.bias),
        drop(m.mean), drop(m.variance);
    drop(m.dw), drop(m.db), drop(m.partial);
    cudaFree(m.sums);
}

/* Numbers near a cut may fall on either side: such pixels are left out of the comparison of
 * gradients by making their dy 0. */
static void norm_truth(Norm *m, double *y, double *dx, double *dw, double *db, double *mean,
                       double *variance)
{
    int64_t p = m->n.pixels;
    int     c = m->n.channels;

    for (int k = 0; k < c; k++) {
        double sum = 0.0, square = 0.0, d_sum = 0.0, d_dot = 0.0, inverse, centre;

        for (int64_t i = 0; i < p; i++) sum += m->x.host[i * c + k];
        centre = sum / (double)p;
        for (int64_t i = 0; i < p; i++) square += pow(m->x.host[i * c + k] - centre, 2.0);
        inverse = 1.0 / sqrt(square / (double)p + m->n.eps);
        mean[k] = (1.0 - m->n.momentum) * m->mean.host[k] + m->n.momentum * centre;
        variance[k] = (1.0 - m->n.momentum) * m->variance.host[k]
                      + m->n.momentum * square / (double)(p > 1 ? p - 1 : 1);
        for (int64_t i = 0; i < p; i++) {
            double xh = (m->x.host[i * c + k] - centre) * inverse,
                   v = m->weight.host[k] * xh + m->bias.host[k];

            y[i * c + k] = cut(v, m->n.floor, m->n.limit);
            if (fabs(v - m->n.floor) < 1e-3 || fabs(v - m->n.limit) < 1e-3)
                m->dy.host[i * c + k] = 0.0f;
            if (v <= m->n.floor || v >= m->n.limit) continue;
            d_sum += m->dy.host[i * c + k];
            d_dot += m->dy.host[i * c + k] * xh;
        }
        dw[k] = d_dot, db[k] = d_sum;
        for (int64_t i = 0; i < p; i++) {
            double xh = (m->x.host[i * c + k] - centre) * inverse,
                   v = m->weight.host[k] * xh + m->bias.host[k];
            double d = v <= m->n.floor || v >= m->n.limit ? 0.0 : m->dy.host[i * c + k];

            dx[i * c + k] =
                m->weight.host[k] * inverse * (d - d_sum / (double)p - xh * d_dot / (double)p);
        }
    }
    put(m->dy);
}

static void norm_step(Norm *m, int group)
{
    check(kernel_norm_statistics(&m->n, m->x.device, group, NULL), "statistics");
    if (group) check(kernel_norm_set(&m->n, NULL), "statistics of a group");
    check(kernel_norm_apply(&m->n, m->x.device, m->y.device, NULL), "batch norm");
    check(kernel_norm_gradients(&m->n, m->x.device, m->dy.device, group, NULL), "gradients");
    if (group) check(kernel_norm_gradient_set(&m->n, NULL), "gradients of a group");
    check(kernel_norm_gradient_apply(&m->n, m->x.device, m->dy.device, m->dx.device, NULL),
          "batch norm's gradient");
}

/* Alone, and as a group of one. Around 30 with a deviation of 1, where squares lose digits: a
 * group's sums are around zero, in double. */
static void norms(void)
{
    const float limits[] = {0.0f, 6.0f, INFINITY};

    EACH(int, c, channel_counts)
    EACH(int64_t, p, pixel_counts)
        EACH(float, limit, limits) for (int group = 0; group < 2; group++)
    {
        int64_t n = *p * *c;
        Norm    m;
        double *y = doubles(n), *dx = doubles(n), *dw = doubles(*c), *db = doubles(*c),
               *mean = doubles(*c), *variance = doubles(*c);
        float  *before;

        if (*p == 1 || (*p == 9000 && (*c > 40 || group))) {
            free(y), free(dx), free(dw), free(db), free(mean), free(variance);
            continue;
        }
        m = norm_make(*p, *c, *limit);
        norm_truth(&m, y, dx, dw, db, mean, variance);
        norm_step(&m, group);
        before = copy_of(m.dx);
        compare("batch norm", m.y, y, TOLERANCE);
        compare("batch norm's gradient", m.dx, dx, TOLERANCE);
        compare("gradient of weights", m.dw, dw, TOLERANCE);
        compare("gradient of biases", m.db, db, TOLERANCE);
        compare("running mean", m.mean, mean, TOLERANCE);
        compare("running variance", m.variance, variance, TOLERANCE);
        norm_step(&m, group);
        same_bits("batch norm's gradient", m.dx, before);
        norm_drop(m);
    }
}

static void frozen_norms(void)
{
    EACH(int, c, channel_counts) {
        Norm    m = norm_make(50, *c, 6.0f);
        double *y = doubles(50 * *c);

        for (int64_t i = 0; i < 50 * *c; i++) {
            int64_t k = i % *c;

            y[i] = cut((m.x.host[i] - (double)m.mean.host[k]) / sqrt(m.variance.host[k] + m.n.eps)
                               * m.weight.host[k]
                           + m.bias.host[k],
                       0.0, 6.0);
        }
        check(kernel_norm_frozen(&m.n, NULL), "frozen batch norm");
        check(kernel_norm_apply(&m.n, m.x.device, m.y.device, NULL), "frozen batch norm");
        compare("frozen batch norm", m.y, y, TOLERANCE);
        norm_drop(m);
    }
}

static void folding(void)
{
    EACH(int, c, channel_counts) {
        int64_t each = 27;
        Norm    m = norm_make(1, *c, 0.0f);
        Array   w = draw(each * *c), b = draw(*c), fw = array(each * *c), fb = array(*c);
        double *tw = doubles(each * *c), *tb = doubles(*c);

        for (int k = 0; k < *c; k++) {
            double scale = m.weight.host[k] / sqrt(m.variance.host[k] + m.n.eps);

            tb[k] = m.bias.host[k] + ((double)b.host[k] - m.mean.host[k]) * scale;
            for (int64_t i = 0; i < each; i++) tw[k * each + i] = w.host[k * each + i] * scale;
        }
        check(kernel_fold(&m.n, w.device, b.device, each, fw.device, fb.device, NULL), "folding");
        compare("folded weights", fw, tw, 1e-6);
        compare("folded bias", fb, tb, 1e-6);
        drop(w), drop(b), drop(fw), drop(fb);
        norm_drop(m);
    }
}

/* ---- depthwise ---- */

static int64_t at(int64_t row, int y, int x, int c, int height, int width, int channels)
{
    return ((row * height + y) * width + x) * channels + c;
}

/* y, or dx and dw from dy. */
static void depthwise_truth(const KernelDepthwise *d, const float *x, const float *w,
                            const float *dy, double *y, double *dx, double *dw)
{
    for (int64_t r = 0; r < d->rows; r++)
        for (int oy = 0; oy < d->out_height; oy++)
            for (int ox = 0; ox < d->out_width; ox++)
                for (int ky = 0; ky < d->kernel; ky++)
                    for (int kx = 0; kx < d->kernel; kx++) {
                        int iy = oy * d->stride - d->padding + ky,
                            ix = ox * d->stride - d->padding + kx;

                        if (iy < 0 || ix < 0 || iy >= d->in_height || ix >= d->in_width) continue;
                        for (int c = 0; c < d->channels; c++) {
                            int64_t i = at(r, iy, ix, c, d->in_height, d->in_width, d->channels);
                            int64_t o = at(r, oy, ox, c, d->out_height, d->out_width, d->channels);
                            int64_t k = ((int64_t)c * d->kernel + ky) * d->kernel + kx;

                            y[o] += (double)x[i] * w[k];
                            dx[i] += (double)dy[o] * w[k];
                            dw[k] += (double)dy[o] * x[i];
                        }
                    }
}

static void depthwise_one(KernelDepthwise d)
{
    int64_t nx = d.rows * d.in_height * d.in_width * d.channels,
            ny = d.rows * d.out_height * d.out_width * d.channels;
    int64_t nw = (int64_t)d.channels * d.kernel * d.kernel;
    Array x = draw_tensor(nx), y = tensor(ny), dy = draw_tensor(ny), dx = tensor(nx), w = draw(nw),
          dw = array(nw), b = draw(d.channels);
    Array   partial = array(kernel_depthwise_partials(&d));
    double *ty = doubles(ny), *tdx = doubles(nx), *tdw = doubles(nw);
    float  *before;

    d.type = type;
    depthwise_truth(&d, x.host, w.host, dy.host, ty, tdx, tdw);
    for (int64_t i = 0; i < ny; i++) ty[i] = cut(ty[i] + b.host[i % d.channels], 0.0, 6.0);
    check(kernel_depthwise(&d, x.device, w.device, b.device, y.device, 0.0f, 6.0f, NULL),
          "depthwise");
    compare("depthwise", y, ty, TOLERANCE);
    check(kernel_depthwise_data(&d, dy.device, w.device, dx.device, NULL),
          "depthwise's data gradient");
    compare("depthwise's data gradient", dx, tdx, TOLERANCE);
    check(kernel_depthwise_weights(&d, x.device, dy.device, partial.device, dw.device, NULL),
          "depthwise's weight gradient");
    before = copy_of(dw);
    compare("depthwise's weight gradient", dw, tdw, TOLERANCE);
    check(kernel_depthwise_weights(&d, x.device, dy.device, partial.device, dw.device, NULL),
          "depthwise's weight gradient");
    same_bits("depthwise's weight gradient", dw, before);
    if (tap_failed)
        printf("# %lld rows of %dx%dx%d, window %d, stride %d, padding %d\n", (long long)d.rows,
               d.channels, d.in_height, d.in_width, d.kernel, d.stride, d.padding);
    drop(x), drop(y), drop(dy), drop(dx), drop(w), drop(dw), drop(b), drop(partial);
}

/* Windows with kernels of their own and without; maps smaller than the window, and not square.
 * Emulated, every third case is enough for any three values of different kinds to come together. */
static void depthwise(void)
{
    const int kernels[] = {2, 3, 5, 7, 9}, channels[] = {3, 4, 20, 36, 132}, sides[] = {1, 4, 9},
              paddings[] = {0, -1, -2};

    EACH(int, k, kernels)
    EACH(int, c, channels) EACH(int, side, sides)
        EACH(int, padding, paddings) for (int stride = 1; stride < 4; stride++)
    {
        KernelDepthwise d = {.rows = *side > 4 && *c > 20 ? 2 : 3, .channels = *c,
                             .in_height = *side, .in_width = *side + 2, .kernel = *k,
                             .stride = stride,
                             .padding = *padding == -1   ? *k / 2
                                        : *padding == -2 ? *k - 1
                                                         : 0};

        if (!tap_thorough()
            && ((k - kernels) + (c - channels) + (side - sides) + (padding - paddings) + stride) % 3
                   != 0)
            continue;
        if (tap_failed || d.in_height + 2 * d.padding < *k || d.in_width + 2 * d.padding < *k)
            continue;
        d.out_height = (d.in_height + 2 * d.padding - *k) / stride + 1;
        d.out_width = (d.in_width + 2 * d.padding - *k) / stride + 1;
        depthwise_one(d);
    }
}

/* More rows than a block takes, and more blocks than parts are. */
static void depthwise_of_many_rows(void)
{
    depthwise_one((KernelDepthwise){.rows = 700, .channels = 8, .in_height = 8, .in_width = 8,
                                    .out_height = 8, .out_width = 8, .kernel = 3, .stride = 1,
                                    .padding = 1});
    depthwise_one((KernelDepthwise){.rows = 700, .channels = 5, .in_height = 8, .in_width = 8,
                                    .out_height = 4, .out_width = 4, .kernel = 5, .stride = 2,
                                    .padding = 2});
}

/* ---- losses ---- */

static double *device_doubles(int64_t count)
{
    void *memory = NULL;

    cudaMalloc(&memory, (size_t)count * sizeof(double));
    return memory;
}

static double fetched(const double *device)
{
    double value = NAN;

    cudaMemcpy(&value, device, sizeof value, cudaMemcpyDeviceToHost);
    return value;
}

static void mean_squares(void)
{
    const int64_t more[] = {1, 3, 4, 1023, 4097, 1200000};

    EACH(int64_t, n, more) {
        Array   s = draw(*n), t = draw(*n), dy = array(*n);
        double *truth = doubles(*n), *memory = device_doubles(KERNEL_LOSS_PARTIALS + 1), sum = 0.0,
               scale = 1.0 / (double)*n, first;

        for (int64_t i = 0; i < *n; i++) {
            double d = (double)s.host[i] - t.host[i];

            sum += d * d * scale;
            truth[i] = 2.0 * d * scale;
        }
        check(kernel_mse(s.device, t.device, dy.device, *n, scale, memory + 1, memory, NULL),
              "mse");
        compare("mse's gradient", dy, truth, 1e-6);
        first = fetched(memory);
        if (!(fabs(first - sum) <= 1e-6 * sum))
            tap_fail("mse of %lld is %.12g, expected %.12g", (long long)*n, first, sum);
        check(kernel_mse(s.device, t.device, dy.device, *n, scale, memory + 1, memory, NULL),
              "mse");
        if (fetched(memory) != first) tap_fail("mse: other bits the second time");
        drop(s), drop(t), drop(dy);
        cudaFree(memory);
    }
}

static void cross_entropies(void)
{
    const int64_t rows[] = {1, 5, 1500}, classes[] = {2, 10, 100, 1000};

    EACH(int64_t, r, rows) EACH(int64_t, n, classes) {
        if (*r * *n > 200000) continue;
        Array   s = draw(*r * *n), t = draw_at(*r * *n, 50.0), dy = array(*r * *n);
        double *truth = doubles(*r * *n), *memory = device_doubles(*r + 1), sum = 0.0, found;

        for (int64_t i = 0; i < *r; i++) {
            float *a = s.host + i * *n, *b = t.host + i * *n;
            double ls = 0.0, lt = 0.0;

            for (int64_t k = 0; k < *n; k++) ls += exp(a[k]), lt += exp(b[k] - 50.0);
            ls = log(ls), lt = 50.0 + log(lt);
            for (int64_t k = 0; k < *n; k++) {
                sum -= exp(b[k] - lt) * (a[k] - ls) * 0.25;
                truth[i * *n + k] = 0.25 * (exp(a[k] - ls) - exp(b[k] - lt));
            }
        }
        check(kernel_cross_entropy(s.device, t.device, dy.device, *r, *n, 0.25, memory + 1, memory,
                                   NULL),
              "cross-entropy");
        compare("cross-entropy's gradient", dy, truth, 1e-5);
        found = fetched(memory);
        if (!(fabs(found - sum) <= 1e-5 * sum))
            tap_fail("cross-entropy is %.12g, expected %.12g", found, sum);
        drop(s), drop(t), drop(dy);
        cudaFree(memory);
    }
}

/* ---- layout, pools ---- */

static void transposes(void)
{
    const int64_t sides[] = {1, 5, 32, 33, 70};

    EACH(int64_t, a, sides) EACH(int64_t, b, sides) {
        int64_t rows = 3, n = rows * *a * *b;
        Array   x = draw_tensor(n), y = tensor(n);
        double *truth = doubles(n);

        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < *a; i++)
                for (int64_t j = 0; j < *b; j++)
                    truth[(r * *b + j) * *a + i] = x.host[(r * *a + i) * *b + j];
        check(kernel_transpose(type, x.device, y.device, rows, *a, *b, NULL), "transpose");
        compare("transpose", y, truth, 0.0);
        drop(x), drop(y);
    }
}

static void pool_one(KernelPool p, bool most)
{
    int64_t nx = p.rows * p.in_height * p.in_width * p.channels,
            ny = p.rows * p.out_height * p.out_width * p.channels;
    Array   x = draw_tensor(nx), y = tensor(ny), place = array(ny), dy = draw_tensor(ny),
            dx = tensor(nx);
    double *ty = doubles(ny), *tdx = doubles(nx);

    for (int64_t o = 0; o < ny; o++) {
        int     c = (int)(o % p.channels), ox = (int)(o / p.channels % p.out_width),
                oy = (int)(o / p.channels / p.out_width % p.out_height);
        int64_t r = o / p.channels / p.out_width / p.out_height, best = -1;

        for (int ky = 0; ky < p.kernel_height; ky++)
            for (int kx = 0; kx < p.kernel_width; kx++) {
                int iy = oy * p.stride - p.padding + ky, ix = ox * p.stride - p.padding + kx;

                if (iy < 0 || ix < 0 || iy >= p.in_height || ix >= p.in_width) continue;
                int64_t i = at(r, iy, ix, c, p.in_height, p.in_width, p.channels);

                if (best < 0 || x.host[i] > x.host[best]) best = i;
                if (most) continue;
                ty[o] += (double)x.host[i] / (p.kernel_height * p.kernel_width);
                tdx[i] += (double)dy.host[o] / (p.kernel_height * p.kernel_width);
            }
        if (most) ty[o] = x.host[best], tdx[best] += dy.host[o];
    }
    if (most) {
        check(kernel_maxpool(&p, x.device, y.device, place.device, NULL), "maxpool");
        check(kernel_maxpool_gradient(&p, place.device, dy.device, dx.device, NULL),
              "maxpool's gradient");
    } else {
        check(kernel_avgpool(&p, x.device, y.device, NULL), "avgpool");
        check(kernel_avgpool_gradient(&p, dy.device, dx.device, NULL), "avgpool's gradient");
    }
    compare(most ? "maxpool" : "avgpool", y, ty, 1e-6);
    compare(most ? "maxpool's gradient" : "avgpool's gradient", dx, tdx, 1e-6);
    drop(x), drop(y), drop(place), drop(dy), drop(dx);
}

static void pools(void)
{
    const int kernels[] = {1, 2, 3}, channels[] = {1, 5, 32};

    for (int most = 0; most < 2; most++)
        EACH(int, k, kernels)
        EACH(int, c, channels) for (int stride = 1; stride < 4;
                                    stride++) for (int padding = 0; padding <= *k / 2; padding++)
            pool_one((KernelPool){3, *c, 9, 7, (9 + 2 * padding - *k) / stride + 1,
                                  (7 + 2 * padding - *k) / stride + 1, *k, *k, stride, padding,
                                  type},
                     most);
    pool_one((KernelPool){3, 12, 4, 6, 1, 1, 4, 6, 1, 0, type}, false);        /* of all */
}

/* The same with tensors of bfloat16. */
#define IN_BF16(test) \
    static void test##_in_bf16(void) { type = KERNEL_BF16, test(), type = KERNEL_FLOAT; }

IN_BF16(sums)
IN_BF16(activations)
IN_BF16(biases)
IN_BF16(channel_sums)
IN_BF16(norms)
IN_BF16(frozen_norms)
IN_BF16(depthwise)
IN_BF16(depthwise_of_many_rows)
IN_BF16(transposes)
IN_BF16(pools)

TAP_MAIN(TAP_TEST(sums), TAP_TEST(activations), TAP_TEST(biases), TAP_TEST(bfloat16),
         TAP_TEST(updates), TAP_TEST(numbers_that_are_none), TAP_TEST(channel_sums),
         TAP_TEST(norms), TAP_TEST(frozen_norms), TAP_TEST(folding), TAP_TEST(depthwise),
         TAP_TEST(depthwise_of_many_rows), TAP_TEST(mean_squares), TAP_TEST(cross_entropies),
         TAP_TEST(transposes), TAP_TEST(pools), TAP_TEST(sums_in_bf16),
         TAP_TEST(activations_in_bf16), TAP_TEST(biases_in_bf16), TAP_TEST(channel_sums_in_bf16),
         TAP_TEST(norms_in_bf16), TAP_TEST(frozen_norms_in_bf16), TAP_TEST(depthwise_in_bf16),
         TAP_TEST(depthwise_of_many_rows_in_bf16), TAP_TEST(transposes_in_bf16),
         TAP_TEST(pools_in_bf16))
