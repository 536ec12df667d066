/* The gradient of a depthwise convolution's weights, where oneDNN has no kernel of its own for it:
 * windows above 3x3, and windows wider than the map. What it has for all convolutions takes 4 to 18
 * times as long, 2.6 and 3.7 alike (bench/results/onednn.md); its forward and its gradient of data
 * are its own for all windows.
 *
 *     dw[c][ky][kx] = sum over rows, oy, ox of x[oy s - p + ky][ox s - p + kx][c] dy[oy][ox][c]
 *
 * Sums are of an image first, then of images. Threads share slices of channels, so a team of any
 * width gives the same bits. */
#include "kernels/cpu/depthwise.h"

#include <string.h>

#include "base/minmax.h"
#include "kernels/cpu/depthwise_loops.h"

static int64_t slices_of(const OperatorSpec *s)
{
    return (s->in.channels + SLICE_LANES - 1) / SLICE_LANES;
}

static int places_of(const OperatorSpec *s) { return s->kernel_height * s->kernel_width; }

bool depthwise_fits(const OperatorSpec *s)
{
    int kernel = s->kernel_width;

    return s->groups == s->in.channels && s->groups == s->out.channels
           && kernel == s->kernel_height && (kernel == 3 || kernel == 5 || kernel == 7)
           && (s->stride == 1 || s->stride == 2) && s->padding < kernel;
}

/* ---- tiles ---- */

static int tile_rows(const OperatorSpec *s)
{
    return (s->out.height - 1) * s->stride + s->kernel_height;
}

static int tile_pitch(const OperatorSpec *s)
{
    return (s->out.width - 1) * s->stride + s->kernel_width;
}

/* Of each thread: the input's tile and, behind it, dy's. */
static int64_t thread_floats(const OperatorSpec *s)
{
    return SLICE_LANES * ((int64_t)tile_rows(s) * tile_pitch(s) + s->out.height * s->out.width);
}

static int64_t sum_floats(const OperatorSpec *s)
{
    return slices_of(s) * places_of(s) * SLICE_LANES;
}

int64_t depthwise_scratch(const Operator *op)
{
    return op->device->threads * thread_floats(&op->spec) + sum_floats(&op->spec);
}

static MapSlice slice_of(const float *x, int64_t row, int64_t slice, Shape shape)
{
    int64_t c = slice * SLICE_LANES, left = shape.channels - c;

    return (MapSlice){x + row * shape_count(shape) + c, shape.channels, shape.height, shape.width,
                      (int)smaller(left, SLICE_LANES)};
}

typedef struct {
    const Operator     *op;
    const OperatorCall *call;
    float              *scratch;
    bool                first, last;     /* of the parts */
} Gradient;

static SliceLanes *tile_of(const Gradient *g, int thread)
{
    return (SliceLanes *)(void *)(g->scratch + thread * thread_floats(&g->op->spec));
}

/* Behind the tiles of all threads. */
static SliceLanes *sum_of(const Gradient *g, int64_t slice)
{
    return tile_of(g, g->op->device->threads) + slice * places_of(&g->op->spec);
}

/* In PyTorch's order. */
static void write_gradient(const Gradient *g, int64_t slice)
{
    const OperatorSpec *s = &g->op->spec;
    int                 places = places_of(s);
    const SliceLanes   *sum = sum_of(g, slice);
    int64_t             c = slice * SLICE_LANES;

    for (int lane = 0; lane < SLICE_LANES && c + lane < s->in.channels; lane++)
        for (int k = 0; k < places; k++)
            g->op->p.weight_gradient[(c + lane) * places + k] = sum[k][lane];
}

/* Slices begin to end, image after image. */
static void gradient_part(void *context, int64_t begin, int64_t end, int thread)
{
    const Gradient     *g = context;
    const OperatorSpec *s = &g->op->spec;
    SliceWindow         window = {s->kernel_width, s->stride, tile_pitch(s)};
    size_t              lanes = (size_t)(tile_rows(s) * window.pitch);
    SliceLanes         *tile = tile_of(g, thread), *gradient = tile + lanes;

    memset(tile, 0, lanes * sizeof *tile);
    if (g->first)
        memset(sum_of(g, begin), 0, (size_t)((end - begin) * places_of(s)) * sizeof *tile);
    for (int64_t row = 0; row < g->call->rows; row++)
        for (int64_t slice = begin; slice < end; slice++) {
            MapSlice x = slice_of(g->call->x, row, slice, s->in),
                  dy = slice_of(g->call->dy, row, slice, s->out);

            slice_load(tile, tile_rows(s), window.pitch, s->padding, s->padding, &x);
            slice_load(gradient, s->out.height, s->out.width, 0, 0, &dy);
            slice_weights(sum_of(g, slice), tile, &window, gradient, s->out.height, s->out.width,
                          s->out.width);
        }
    for (int64_t slice = begin; g->last && slice < end; slice++) write_gradient(g, slice);
}

static void bias_gradient(const Operator *op, const OperatorCall *call)
{
    int64_t channels = op->spec.out.channels, count = call->rows * shape_count(op->spec.out);
    float  *out = op->p.bias_gradient;

    memset(out, 0, (size_t)channels * sizeof *out);
    cpu_sum_channels(call->dy, count / channels, channels, out);
}

void depthwise_weights(Operator *op, const OperatorCall *call, float *scratch, bool first,
                       bool last)
{
    Gradient g = {op, call, scratch, first, last};

    cpu_parallel(op->device, slices_of(&op->spec), 1, gradient_part, &g);
    if (op->p.bias_gradient) bias_gradient(op, call);
}
