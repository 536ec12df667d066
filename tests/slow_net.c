#include "tests/slow_net.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/slow_sequence.h"

enum { LAYERS_MOST = 128 };

Hand hand(Arena *arena, const char *prefix, Shape in)
{
    return (Hand){arena, prefix, {arena_alloc(arena, LAYERS_MOST, sizeof(Layer)), 0}, in};
}

static Layer *hand_add(Hand *h, LayerKind kind, Shape out)
{
    Layer *layer = &h->layers.layer[h->layers.count];
    char   name[64];

    if (h->layers.count == LAYERS_MOST) {
        fprintf(stderr, "a net by hand has at most %d layers\n", LAYERS_MOST);
        abort();
    }
    snprintf(name, sizeof name, "%s%d", h->prefix, h->layers.count++);
    *layer = (Layer){
        .kind = kind, .name = arena_strdup(h->arena, name), .in = h->at, .out = out, .groups = 1};
    h->at = out;
    return layer;
}

static int hand_side(int in, int kernel, int stride, int padding)
{
    return (in + 2 * padding - kernel) / stride + 1;
}

void hand_conv(Hand *h, int out, int kernel, int stride, int padding, int groups, bool bias)
{
    Layer *layer = hand_add(h, LAYER_CONV,
                            (Shape){out, hand_side(h->at.height, kernel, stride, padding),
                                    hand_side(h->at.width, kernel, stride, padding)});

    layer->kernel = kernel, layer->stride = stride, layer->padding = padding,
    layer->groups = groups, layer->bias = bias;
}

void hand_same(Hand *h, LayerKind kind)
{
    Layer *layer = hand_add(h, kind, h->at);

    if (kind != LAYER_BATCHNORM) return;
    layer->eps = h->layers.count % 2 ? 1e-3 : BATCHNORM_EPS;
    layer->momentum = h->layers.count % 2 ? 0.35 : BATCHNORM_MOMENTUM;
}

void hand_pool(Hand *h, LayerKind kind, int kernel, int stride, int padding)
{
    Shape  out = {h->at.channels, kernel ? hand_side(h->at.height, kernel, stride, padding) : 1,
                  kernel ? hand_side(h->at.width, kernel, stride, padding) : 1};
    Layer *layer = hand_add(h, kind, out);

    layer->kernel = kernel, layer->stride = stride, layer->padding = padding;
}

void hand_flatten(Hand *h)
{
    hand_add(h, LAYER_FLATTEN, (Shape){h->at.channels * h->at.height * h->at.width, 1, 1});
}

void hand_linear(Hand *h, int out, bool bias)
{
    hand_add(h, LAYER_LINEAR, (Shape){out, 1, 1})->bias = bias;
}

Hand hand_path(Hand *h, int path)
{
    char prefix[64];

    if (path < 0)
        snprintf(prefix, sizeof prefix, "%s%d.%s", h->prefix, h->layers.count,
                 path == -1 ? "" : "shortcut.");
    else snprintf(prefix, sizeof prefix, "%s%d.%d.", h->prefix, h->layers.count, path);
    return hand(h->arena, arena_strdup(h->arena, prefix), h->at);
}

void hand_paths(Hand *h, LayerKind kind, const Hand *paths, int count)
{
    Layer *layer = hand_add(h, kind, paths[0].at);

    layer->path = arena_alloc(h->arena, (size_t)count, sizeof *layer->path);
    layer->path_count = count;
    for (int p = 0; p < count; p++) layer->path[p] = paths[p].layers;
}

int64_t slow_count(Tensor t) { return t.rows * t.shape.channels * t.shape.height * t.shape.width; }

Tensor slow_tensor(Slow *s, int64_t rows, Shape shape)
{
    Tensor t = {rows, shape, NULL};

    t.v = arena_alloc(s->arena, (size_t)slow_count(t), sizeof *t.v);
    return t;
}

Tensor slow_from(Slow *s, const float *x, int64_t rows, Shape shape)
{
    Tensor t = slow_tensor(s, rows, shape);

    for (int64_t i = 0; i < slow_count(t); i++) t.v[i] = x[i];
    return t;
}

static double *slow_at(Tensor t, int64_t row, int y, int x, int c)
{
    return &t.v[((row * t.shape.height + y) * t.shape.width + x) * t.shape.channels + c];
}

/* Number of parameter "name.what"; -1 where there is none. */
static int slow_find(const Slow *s, const char *name, const char *what)
{
    char full[128];

    snprintf(full, sizeof full, "%s.%s", name, what);
    for (int i = 0; i < net_parameter_count(s->net); i++)
        if (strcmp(net_parameter(s->net, i)->name, full) == 0) return i;
    return -1;
}

double *slow_value(Slow *s, const char *name, const char *what)
{
    int i = slow_find(s, name, what);

    return i < 0 ? NULL : s->value[i];
}

double *slow_gradient(Slow *s, const char *name, const char *what)
{
    int i = slow_find(s, name, what);

    if (i < 0) return NULL;
    if (!s->gradient[i])
        s->gradient[i] =
            arena_alloc(s->arena, (size_t)net_parameter(s->net, i)->count, sizeof(double));
    return s->gradient[i];
}

Slow slow_of(Arena *arena, const Net *net, bool frozen)
{
    int  count = net_parameter_count(net);
    Slow s = {.arena = arena, .net = net, .frozen = frozen};

    s.value = arena_alloc(arena, (size_t)count, sizeof *s.value);
    s.gradient = arena_alloc(arena, (size_t)count, sizeof *s.gradient);
    for (int i = 0; i < count; i++) {
        int64_t n = net_parameter(net, i)->count;
        float  *f = malloc((size_t)n * sizeof *f);

        net_read(net, i, f);
        s.value[i] = arena_alloc(arena, (size_t)n, sizeof(double));
        for (int64_t k = 0; k < n; k++) s.value[i][k] = f[k];
        free(f);
    }
    return s;
}

/* Calls one(...) for each product of a convolution: y[yi] of x[xi] times w[wi]. */
typedef void SlowProduct(double *x, double *y, double *w);

static void slow_products(const Layer *l, Tensor x, Tensor y, double *w, SlowProduct *one)
{
    int in_each = l->in.channels / l->groups, out_each = l->out.channels / l->groups, k = l->kernel;

    for (int64_t r = 0; r < x.rows; r++)
        for (int oy = 0; oy < l->out.height; oy++)
            for (int ox = 0; ox < l->out.width; ox++)
                for (int o = 0; o < l->out.channels; o++)
                    for (int ky = 0; ky < k; ky++)
                        for (int kx = 0; kx < k; kx++) {
                            int iy = oy * l->stride - l->padding + ky,
                                ix = ox * l->stride - l->padding + kx;

                            if (iy < 0 || ix < 0 || iy >= l->in.height || ix >= l->in.width)
                                continue;
                            for (int i = 0; i < in_each; i++)
                                one(slow_at(x, r, iy, ix, o / out_each * in_each + i),
                                    slow_at(y, r, oy, ox, o),
                                    &w[((int64_t)(o * in_each + i) * k + ky) * k + kx]);
                        }
}

static void slow_product(double *x, double *y, double *w) { *y += *x * *w; }

static void slow_product_dx(double *dx, double *dy, double *w) { *dx += *dy * *w; }

static void slow_product_dw(double *x, double *dy, double *dw) { *dw += *x * *dy; }

static void slow_bias(Slow *s, const Layer *l, Tensor y)
{
    double *bias = slow_value(s, l->name, "bias");

    for (int64_t i = 0; bias && i < slow_count(y); i++) y.v[i] += bias[i % y.shape.channels];
}

static void slow_bias_gradient(Slow *s, const Layer *l, Tensor dy)
{
    double *bias = slow_gradient(s, l->name, "bias");

    for (int64_t i = 0; bias && i < slow_count(dy); i++) bias[i % dy.shape.channels] += dy.v[i];
}

static void slow_norm(Slow *s, const Layer *l, SlowRecord *r)
{
    int     channels = l->out.channels;
    int64_t count = slow_count(r->x), n = count / channels;
    double *g = slow_value(s, l->name, "weight"), *b = slow_value(s, l->name, "bias"),
           *running = slow_value(s, l->name, "running_mean"),
           *variance = slow_value(s, l->name, "running_var");

    r->mean = arena_alloc(s->arena, (size_t)channels, sizeof(double));
    r->inverse = arena_alloc(s->arena, (size_t)channels, sizeof(double));
    for (int c = 0; c < channels; c++) {
        double mean = 0.0, square = 0.0;

        for (int64_t i = c; i < count; i += channels) mean += r->x.v[i] / (double)n;
        for (int64_t i = c; i < count; i += channels)
            square += (r->x.v[i] - mean) * (r->x.v[i] - mean) / (double)n;
        if (s->frozen) mean = running[c], square = variance[c];
        else {
            running[c] = (1.0 - l->momentum) * running[c] + l->momentum * mean;
            variance[c] = (1.0 - l->momentum) * variance[c]
                          + l->momentum * square * (n > 1 ? (double)n / (double)(n - 1) : 1.0);
        }
        r->mean[c] = mean;
        r->inverse[c] = 1.0 / sqrt(square + l->eps);
        for (int64_t i = c; i < count; i += channels)
            r->y.v[i] = g[c] * (r->x.v[i] - mean) * r->inverse[c] + b[c];
    }
}

static void slow_norm_back(Slow *s, const Layer *l, SlowRecord *r, Tensor dy, Tensor dx)
{
    int     channels = l->out.channels;
    int64_t count = slow_count(dy), n = count / channels;
    double *g = slow_value(s, l->name, "weight"), *dg = slow_gradient(s, l->name, "weight"),
           *db = slow_gradient(s, l->name, "bias");

    for (int c = 0; c < channels; c++) {
        double sum = 0.0, dot = 0.0;

        for (int64_t i = c; i < count; i += channels) {
            sum += dy.v[i];
            dot += dy.v[i] * (r->x.v[i] - r->mean[c]) * r->inverse[c];
        }
        dg[c] += dot;
        db[c] += sum;
        for (int64_t i = c; i < count; i += channels)
            dx.v[i] = g[c] * r->inverse[c]
                      * (dy.v[i] - sum / (double)n
                         - (r->x.v[i] - r->mean[c]) * r->inverse[c] * dot / (double)n);
    }
}

/* Pools a window: the largest (first of equals), or the mean with padding as zeros. */
static void slow_pool(Slow *s, const Layer *l, SlowRecord *r, Tensor *dy, Tensor *dx)
{
    int kh = l->kernel ? l->kernel : l->in.height, kw = l->kernel ? l->kernel : l->in.width,
        stride = l->stride ? l->stride : 1;
    Tensor x = r->x, y = r->y;

    (void)s;
    for (int64_t row = 0; row < x.rows; row++)
        for (int oy = 0; oy < l->out.height; oy++)
            for (int ox = 0; ox < l->out.width; ox++)
                for (int c = 0; c < l->in.channels; c++) {
                    double  sum = 0.0, most = -INFINITY;
                    int     at_y = 0, at_x = 0;

                    for (int ky = 0; ky < kh; ky++)
                        for (int kx = 0; kx < kw; kx++) {
                            int iy = oy * stride - l->padding + ky,
                                ix = ox * stride - l->padding + kx;

                            if (iy < 0 || ix < 0 || iy >= l->in.height || ix >= l->in.width)
                                continue;
                            sum += *slow_at(x, row, iy, ix, c);
                            if (*slow_at(x, row, iy, ix, c) > most)
                                most = *slow_at(x, row, iy, ix, c), at_y = iy, at_x = ix;
                            if (dx && l->kind == LAYER_AVGPOOL)
                                *slow_at(*dx, row, iy, ix, c) +=
                                    *slow_at(*dy, row, oy, ox, c) / (kh * kw);
                        }
                    if (dx && l->kind == LAYER_MAXPOOL)
                        *slow_at(*dx, row, at_y, at_x, c) += *slow_at(*dy, row, oy, ox, c);
                    if (!dx)
                        *slow_at(y, row, oy, ox, c) =
                            l->kind == LAYER_MAXPOOL ? most : sum / (kh * kw);
                }
}

/* Channels first, as PyTorch's: element k of the row of y is this one of x. */
static int64_t slow_flat(Shape in, int64_t k)
{
    int64_t area = (int64_t)in.height * in.width;

    return k % area * in.channels + k / area;
}

static void slow_layer(Slow *s, const Layer *l, SlowRecord *r)
{
    double *w = slow_value(s, l->name, "weight");
    int64_t count = slow_count(r->y), out = count / r->x.rows;

    switch (l->kind) {
    case LAYER_CONV: slow_products(l, r->x, r->y, w, slow_product); slow_bias(s, l, r->y); break;
    case LAYER_LINEAR:
        for (int64_t i = 0; i < count; i++)
            for (int64_t k = 0; k < l->in.channels; k++)
                r->y.v[i] += r->x.v[i / l->out.channels * l->in.channels + k]
                             * w[i % l->out.channels * l->in.channels + k];
        slow_bias(s, l, r->y);
        break;
    case LAYER_BATCHNORM: slow_norm(s, l, r); break;
    case LAYER_RELU: case LAYER_RELU6:
        for (int64_t i = 0; i < count; i++)
            r->y.v[i] = fmin(fmax(r->x.v[i], 0.0), l->kind == LAYER_RELU ? INFINITY : 6.0);
        break;
    case LAYER_MAXPOOL: case LAYER_AVGPOOL: slow_pool(s, l, r, NULL, NULL); break;
    case LAYER_FLATTEN:
        for (int64_t i = 0; i < count; i++)
            r->y.v[i] = r->x.v[i / out * out + slow_flat(l->in, i % out)];
        break;
    case LAYER_RESIDUAL:
        r->y = slow_forward(s, &l->path[0], r->x, &r->inner);
        { Tensor sum = slow_tensor(s, r->x.rows, l->out), other = r->x;
          if (l->path_count > 1) other = slow_forward(s, &l->path[1], r->x, &r->shortcut);
          for (int64_t i = 0; i < count; i++) sum.v[i] = r->y.v[i] + other.v[i];
          r->y = sum; }
        break;
    case LAYER_CHOICE: r->y = slow_forward(s, &l->path[r->taken], r->x, &r->inner); break;
    default: slow_sequence(s, l, r, NULL, NULL);
    }
}

static int slow_choices(const Layers *layers)
{
    int count = 0;

    for (int i = 0; i < layers->count; i++) {
        count += layers->layer[i].kind == LAYER_CHOICE;
        for (int p = 0; p < layers->layer[i].path_count; p++)
            count += slow_choices(&layers->layer[i].path[p]);
    }
    return count;
}

Tensor slow_forward(Slow *s, const Layers *layers, Tensor x, SlowRecord **records)
{
    *records = arena_alloc(s->arena, (size_t)layers->count, sizeof **records);
    for (int i = 0; i < layers->count; i++) {
        const Layer *l = &layers->layer[i];
        SlowRecord  *r = &(*records)[i];
        int          mine = s->choice, inner = 0;

        *r = (SlowRecord){.x = x, .y = slow_tensor(s, x.rows, l->out)};
        if (l->kind == LAYER_CHOICE) {
            r->taken = s->choices[mine];
            s->choice = mine + 1;
            for (int p = 0; p < r->taken; p++) s->choice += slow_choices(&l->path[p]);
            for (int p = 0; p < l->path_count; p++) inner += slow_choices(&l->path[p]);
        }
        slow_layer(s, l, r);
        if (l->kind == LAYER_CHOICE) s->choice = mine + 1 + inner;
        x = r->y;
    }
    return x;
}

static Tensor slow_layer_back(Slow *s, const Layer *l, SlowRecord *r, Tensor dy)
{
    double *w = slow_value(s, l->name, "weight"), *dw;
    Tensor  dx = slow_tensor(s, r->x.rows, l->in);
    int64_t count = slow_count(dy), out = count / dx.rows;

    switch (l->kind) {
    case LAYER_CONV:
        slow_products(l, dx, dy, w, slow_product_dx);
        slow_products(l, r->x, dy, slow_gradient(s, l->name, "weight"), slow_product_dw);
        slow_bias_gradient(s, l, dy);
        break;
    case LAYER_LINEAR:
        dw = slow_gradient(s, l->name, "weight");
        for (int64_t i = 0; i < count; i++)
            for (int64_t k = 0; k < l->in.channels; k++) {
                int64_t of_x = i / l->out.channels * l->in.channels + k,
                        of_w = i % l->out.channels * l->in.channels + k;

                dx.v[of_x] += dy.v[i] * w[of_w];
                dw[of_w] += dy.v[i] * r->x.v[of_x];
            }
        slow_bias_gradient(s, l, dy);
        break;
    case LAYER_BATCHNORM: slow_norm_back(s, l, r, dy, dx); break;
    case LAYER_RELU: case LAYER_RELU6:
        for (int64_t i = 0; i < count; i++)
            dx.v[i] = r->x.v[i] > 0.0 && (l->kind == LAYER_RELU || r->x.v[i] < 6.0) ? dy.v[i] : 0.0;
        break;
    case LAYER_MAXPOOL: case LAYER_AVGPOOL: slow_pool(s, l, r, &dy, &dx); break;
    case LAYER_FLATTEN:
        for (int64_t i = 0; i < count; i++)
            dx.v[i / out * out + slow_flat(l->in, i % out)] = dy.v[i];
        break;
    case LAYER_RESIDUAL:
        dx = slow_backward(s, &l->path[0], r->inner, dy);
        { Tensor sum = slow_tensor(s, dx.rows, l->in), other = dy;
          if (l->path_count > 1) other = slow_backward(s, &l->path[1], r->shortcut, dy);
          for (int64_t i = 0; i < slow_count(dx); i++) sum.v[i] = dx.v[i] + other.v[i];
          dx = sum; }
        break;
    case LAYER_CHOICE: return slow_backward(s, &l->path[r->taken], r->inner, dy);
    default: slow_sequence(s, l, r, &dy, &dx);
    }
    return dx;
}

Tensor slow_backward(Slow *s, const Layers *layers, SlowRecord *records, Tensor dy)
{
    for (int i = layers->count - 1; i >= 0; i--)
        dy = slow_layer_back(s, &layers->layer[i], &records[i], dy);
    return dy;
}
