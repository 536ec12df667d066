/* A GPU for tests of nets, with numbers there and back, and a net's gradients beside the slow
 * model's. */
#ifndef TESTS_CUDA_CARD_H
#define TESTS_CUDA_CARD_H

#include "kernels/stream.h"
#include "tests/cuda/tap.h"
#include "tests/hand_nets.h"

/* Of the largest element. fp32: sums of n products of floats near 1 err by about sqrt(n) 6e-8. tf32
 * reads 10 bits of factors and bf16 7, 5e-4 and 4e-3 of each product, which random signs average;
 * nets of several layers, and gradients that cancel, add up a few times that. */
static const double tolerance[PRECISION_COUNT] = {4e-5, 1e-2, 6e-2};

static const char *card_choices;         /* the file of choices; NULL: none is kept */

typedef struct {
    DeviceSpec spec;
    Device    *device;
    double    *loss;         /* host_alloc()'s */
} Card;

static inline void require(int rc, const Error *err)
{
    if (rc == 0) return;
    printf("Bail out! %s\n", err->text);
    exit(1);
}

static inline Card card_open(Precision precision)
{
    Card  c = {.device = NULL};
    Error err = {""};

    require(device_spec_parse(&c.spec, "cuda:0", &err), &err);
    c.spec.precision = precision;
    if (card_choices) require(device_keep_choices(&c.spec, card_choices, &err), &err);
    require(device_open(&c.device, &c.spec, 0, &err), &err);
    c.loss = host_alloc(&c.spec, sizeof *c.loss);
    return c;
}

static inline void card_close(Card *c)
{
    host_release(&c->spec, c->loss);
    device_close(c->device);
}

/* ---- tensors on the GPU, from numbers drawn here ---- */

static inline float *placed(const Card *c, const float *host, int64_t count)
{
    float *x = device_alloc(c->device, (size_t)count);

    if (!x) { printf("Bail out! no memory\n"); exit(1); }
    if (host) device_put(c->device, x, host, count);
    return x;
}

static inline float *fetched(const Card *c, const float *x, int64_t count)
{
    float *host = malloc((size_t)count * sizeof *host);

    device_fetch(c->device, host, x, count);
    return host;
}

static inline Tensor doubles_of(Slow *s, const float *x, int64_t rows, Shape shape)
{
    Tensor t = slow_tensor(s, rows, shape);

    for (int64_t i = 0; i < slow_count(t); i++) t.v[i] = x[i];
    return t;
}

/* ---- a net against the truth ---- */

/* With rate and momentum 0 the optimizer's state becomes the gradient; what no path reached
 * stays. */
static inline void compare_gradients(Net *net, const Slow *slow, const char *what, double within)
{
    for (int i = 0; i < net_parameter_count(net); i++) {
        const NetParameter *p = net_parameter(net, i);
        float              *g = malloc((size_t)p->count * sizeof *g);

        for (int64_t k = 0; k < p->count; k++) g[k] = 7.0f;
        if (p->trained) net_write_state(net, i, g);
        free(g);
    }
    net_update(net, &(UpdateStep){0});
    for (int i = 0; i < net_parameter_count(net); i++) {
        const NetParameter *p = net_parameter(net, i);
        float              *g = malloc((size_t)p->count * sizeof *g);
        char                name[256];

        snprintf(name, sizeof name, "%s: gradient of %s", what, p->name);
        if (p->trained) net_read_state(net, i, g);
        if (p->trained && slow->gradient[i])
            tap_close(name, g, slow->gradient[i], p->count, within);
        for (int64_t k = 0; p->trained && !slow->gradient[i] && k < p->count; k++)
            if (g[k] != 7.0f) tap_fail("%s of a path not taken", name);
        free(g);
    }
}

#endif
