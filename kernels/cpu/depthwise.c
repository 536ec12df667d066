/* The gradient of a depthwise convolution's weights, where oneDNN has no kernel of its own for it:
 * windows above 3x3, and windows wider than the map. What it has for all convolutions takes 2 to 10
 * times as long, 2.6 and 3.7 alike (bench/results/onednn.md). This one is plain loops over 16
 * channels at a time, with a sum a place of the window in registers.
 *
 *     dw[c][ky][kx] = sum over rows, oy, ox of x[iy][ix][c] dy[oy][ox][c]
 *
 * Sums are of an image first, then of images. Threads share channels, so a team of any width
 * gives the same bits. */
#include "kernels/cpu/cpu.h"

#include <string.h>

enum { LANES = 16, WINDOW = 7 };         /* channels together; the widest window in registers */

typedef float Lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

/* A row of outputs against a row of inputs: sum[kx] += x[ox * stride - padding + kx] dy[ox]. width
 * of the window is constant where inlined, so that sums stay in registers. */
static inline __attribute__((always_inline)) void row_inlined(const OperatorSpec *s, const float *x,
                                                              const float *dy, Lanes *restrict sum,
                                                              int          width)
{
    int64_t channels = s->in.channels;
    Lanes   local[WINDOW];
    int     first = (s->padding + s->stride - 1) / s->stride;
    /* of the outputs whose window is all inside */
    int     last = (s->in.width - width + s->padding) / s->stride;

    for (int k = 0; k < width; k++) local[k] = sum[k];
    for (int ox = 0; ox < s->out.width; ox++) {
        Lanes d = *(const Lanes *)(dy + ox * channels);
        int   ix = ox * s->stride - s->padding;

        if (ox >= first && ox <= last)
            for (int k = 0; k < width; k++)
                local[k] += d * *(const Lanes *)(x + (ix + k) * channels);
        else
            for (int k = 0; k < width; k++)
                if (ix + k >= 0 && ix + k < s->in.width)
                    local[k] += d * *(const Lanes *)(x + (ix + k) * channels);
    }
    for (int k = 0; k < width; k++) sum[k] = local[k];
}

/* All of an image into sum [kernel][kernel]. */
VECTORISED static void image(const OperatorSpec *s, const float *x, const float *dy, Lanes *sum)
{
    int64_t channels = s->in.channels;

    for (int oy = 0; oy < s->out.height; oy++)
        for (int ky = 0; ky < s->kernel_height; ky++) {
            int          iy = oy * s->stride - s->padding + ky;
            const float *row = x + (int64_t)iy * s->in.width * channels,
                        *out = dy + (int64_t)oy * s->out.width * channels;

            if (iy < 0 || iy >= s->in.height) continue;
            if (s->kernel_width == 3) row_inlined(s, row, out, sum + ky * 3, 3);
            else if (s->kernel_width == 5) row_inlined(s, row, out, sum + ky * 5, 5);
            else row_inlined(s, row, out, sum + ky * 7, 7);
        }
}

typedef struct {
    Operator           *op;
    const OperatorCall *call;
} Gradient;

/* Sixteen channels from c on, of which those before from are another's to write. */
static void lanes_gradient(const Gradient *g, int64_t c, int64_t from)
{
    const OperatorSpec *s = &g->op->spec;
    int64_t nx = shape_count(s->in), ny = shape_count(s->out);
    int     places = s->kernel_height * s->kernel_width;
    Lanes   total[WINDOW * WINDOW], sum[WINDOW * WINDOW];

    memset(total, 0, sizeof total);
    for (int64_t r = 0; r < g->call->rows; r++) {
        memset(sum, 0, sizeof sum);
        image(s, g->call->x + r * nx + c, g->call->dy + r * ny + c, sum);
        for (int k = 0; k < places; k++) total[k] += sum[k];
    }
    for (int k = 0; k < places; k++)
        for (int64_t lane = from - c; lane < LANES; lane++)
            g->op->p.weight_gradient[(c + lane) * places + k] = total[k][lane];
}

static void gradient_part(void *context, int64_t begin, int64_t end, int thread)
{
    const Gradient *g = context;

    (void)thread;
    for (int64_t c = begin; c < end; c += LANES) {
        int64_t last = g->op->spec.in.channels - LANES;

        lanes_gradient(g, c < last ? c : last, c);
    }
}

bool depthwise_fits(const OperatorSpec *s)
{
    return s->groups == s->in.channels && s->groups == s->out.channels && s->groups >= LANES
           && s->kernel_width == s->kernel_height
           && (s->kernel_width == 3 || s->kernel_width == 5 || s->kernel_width == 7);
}

static void bias_gradient(const Gradient *g)
{
    int64_t channels = g->op->spec.out.channels,
            count = g->call->rows * shape_count(g->op->spec.out);
    float  *out = g->op->p.bias_gradient;

    memset(out, 0, (size_t)channels * sizeof *out);
    cpu_sum_channels(g->call->dy, count / channels, channels, out);
}

void depthwise_weights(Operator *op, const OperatorCall *call)
{
    Gradient g = {op, call};

    cpu_parallel(op->device, op->spec.in.channels, LANES, gradient_part, &g);
    if (op->p.bias_gradient) bias_gradient(&g);
}
