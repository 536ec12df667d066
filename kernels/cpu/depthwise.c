/* Depthwise convolutions by our own loops: the gradient of weights where oneDNN has no kernel of
 * its own for it, which is windows above 3x3, and windows wider than the map. What it has for all
 * convolutions takes 4 to 18 times as long, 2.6 and 3.7 alike (bench/results/onednn.md). Forward
 * and dx where ours take less time than oneDNN's (kernels/cpu/conv.c).
 *
 *     y[oy][ox][c]  = sum over ky, kx of x[oy s - p + ky][ox s - p + kx][c] w[c][ky][kx]
 *     dx[iy][ix][c] = sum over ky, kx of dy[(iy + p - ky) / s][(ix + p - kx) / s][c] w[c][ky][kx],
 *                     of those that s divides
 *     dw[c][ky][kx] = sum over rows, oy, ox of x[oy s - p + ky][ox s - p + kx][c] dy[oy][ox][c]
 *
 * Sums of dw are of an image first, then of images. Threads share slices of channels, and in y and
 * dx of images, so a team of any width gives the same bits. */
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

/* Of dx: dy with zeros around it. */
static int around(const OperatorSpec *s) { return (s->kernel_width - 1) / s->stride; }

static int data_side(const OperatorSpec *s, int in, int out)
{
    return around(s) + (int)larger(out, (in - 1 + s->padding) / s->stride + 1);
}

/* Of each thread: the input's tile and, behind it, dy's; or dy's with zeros around it. */
static int64_t thread_floats(const OperatorSpec *s)
{
    int64_t weights = (int64_t)tile_rows(s) * tile_pitch(s) + s->out.height * s->out.width,
            data = (int64_t)data_side(s, s->in.height, s->out.height)
                   * data_side(s, s->in.width, s->out.width);

    return SLICE_LANES * larger(weights, data);
}

/* A window of each channel, in lanes. */
static int64_t window_floats(const OperatorSpec *s)
{
    return slices_of(s) * places_of(s) * SLICE_LANES;
}

int64_t depthwise_scratch(const Operator *op)
{
    return op->device->threads * thread_floats(&op->spec) + window_floats(&op->spec);
}

static MapSlice slice_of(const float *x, int64_t row, int64_t slice, Shape shape)
{
    int64_t c = slice * SLICE_LANES, left = shape.channels - c;

    return (MapSlice){x + row * shape_count(shape) + c, shape.channels, shape.height, shape.width,
                      (int)smaller(left, SLICE_LANES)};
}

/* ---- forward and dx ---- */

/* Windows of one output have these weights in common: in forward all, in dx those rows and columns
 * that a pixel of even or odd place meets. */
typedef struct {
    int rows, columns;       /* of weights */
    int first_y, first_x;    /* pixels of dx */
    int top, left;           /* of the tile, where the first window begins */
    int at;                  /* its weights, from the slice's first on */
} WindowPhase;

/* WindowPhase number of stride squared. dx[i] = sum of w[k] dy[(i + padding - k) / stride] over k
 * of the same remainder as i + padding. */
static WindowPhase phase_of(const OperatorSpec *s, int number)
{
    int         kernel = s->kernel_width, stride = s->stride, row = number / stride,
                column = number % stride;
    WindowPhase p = {.rows = (kernel - row + stride - 1) / stride,
                     .columns = (kernel - column + stride - 1) / stride,
                     .first_y = (row + stride * kernel - s->padding) % stride,
                     .first_x = (column + stride * kernel - s->padding) % stride};

    p.top = around(s) + (p.first_y + s->padding - row) / stride - (p.rows - 1);
    p.left = around(s) + (p.first_x + s->padding - column) / stride - (p.columns - 1);
    for (int i = 0; i < number; i++) {
        WindowPhase before = phase_of(s, i);
        p.at += before.rows * before.columns;
    }
    return p;
}

/* Where the weights of a slice are, in lanes: forward's, or dx's. */
static SliceLanes *packed_of(const Operator *op, bool data, int64_t slice)
{
    return (SliceLanes *)(void *)(op->own + (data ? window_floats(&op->spec) : 0))
           + slice * places_of(&op->spec);
}

static void pack_channel(const Operator *op, int64_t c)
{
    const OperatorSpec *s = &op->spec;
    int                 kernel = s->kernel_width, lane = (int)(c % SLICE_LANES);
    const float        *from = op->p.weight + c * places_of(s);
    SliceLanes         *to = packed_of(op, false, c / SLICE_LANES),
               *data = packed_of(op, true, c / SLICE_LANES);

    for (int k = 0; k < places_of(s); k++) to[k][lane] = from[k];
    for (int number = 0; number < s->stride * s->stride; number++) {
        WindowPhase p = phase_of(s, number);

        /* dy's place falls as the window's rises */
        for (int y = p.rows - 1; y >= 0; y--)
            for (int x = p.columns - 1; x >= 0; x--)
                (*data++)[lane] = from[(number / s->stride + y * s->stride) * kernel
                                       + number % s->stride + x * s->stride];
    }
}

int depthwise_make(Operator *op, Error *err)
{
    op->own_count = 2 * window_floats(&op->spec);
    op->own = cpu_alloc((size_t)op->own_count);
    return op->own ? 0 : error_no_memory(err);
}

/* Anew where the parameters changed. */
static void pack(Operator *op)
{
    for (int64_t c = 0; op->stale && c < op->spec.in.channels; c++) pack_channel(op, c);
    op->stale = false;
}

typedef struct {
    const Operator     *op;
    const OperatorCall *call;
} WindowPass;

static SliceLanes *windows_tile(const WindowPass *w, int thread, int64_t lanes)
{
    float *tile = w->op->device->scratch + thread * thread_floats(&w->op->spec);

    memset(tile, 0, (size_t)lanes * sizeof(SliceLanes));
    return (SliceLanes *)(void *)tile;
}

/* Slices of images begin to end. */
static void forward_part(void *context, int64_t begin, int64_t end, int thread)
{
    const WindowPass   *w = context;
    const OperatorSpec *s = &w->op->spec;
    int64_t             channels = s->out.channels;
    int                 rows = tile_rows(s), pitch = tile_pitch(s);
    SliceLanes         *tile = windows_tile(w, thread, rows * pitch);

    for (int64_t i = begin; i < end; i++) {
        int64_t     row = i / slices_of(s), slice = i % slices_of(s);
        MapSlice    x = slice_of(w->call->x, row, slice, s->in);
        SlicePlaces y = {w->call->y + row * shape_count(s->out) + slice * SLICE_LANES,
                         s->out.width * channels, channels, s->out.height, s->out.width, x.lanes};

        slice_load(tile, rows, pitch, s->padding, s->padding, &x);
        slice_windows(&y, tile, pitch, s->stride, packed_of(w->op, false, slice), s->kernel_height,
                      s->kernel_width);
    }
}

static void data_slice(const WindowPass *w, int64_t row, int64_t slice, const SliceLanes *tile,
                       int pitch, int lanes)
{
    const OperatorSpec *s = &w->op->spec;
    int64_t             channels = s->in.channels, line = s->in.width * channels;
    float *dx = w->call->dx + row * shape_count(s->in) + slice * SLICE_LANES;

    for (int number = 0; number < s->stride * s->stride; number++) {
        WindowPhase p = phase_of(s, number);
        SlicePlaces to = {dx + p.first_y * line + p.first_x * channels, s->stride * line,
                          s->stride * channels,
                          (s->in.height - p.first_y + s->stride - 1) / s->stride,
                          (s->in.width - p.first_x + s->stride - 1) / s->stride, lanes};

        slice_windows(&to, tile + p.top * pitch + p.left, pitch, 1,
                      packed_of(w->op, true, slice) + p.at, p.rows, p.columns);
    }
}

static void data_part(void *context, int64_t begin, int64_t end, int thread)
{
    const WindowPass   *w = context;
    const OperatorSpec *s = &w->op->spec;
    int         rows = data_side(s, s->in.height, s->out.height),
                pitch = data_side(s, s->in.width, s->out.width);
    SliceLanes *tile = windows_tile(w, thread, rows * pitch);

    for (int64_t i = begin; i < end; i++) {
        int64_t  row = i / slices_of(s), slice = i % slices_of(s);
        MapSlice dy = slice_of(w->call->dy, row, slice, s->out);

        slice_load(tile, rows, pitch, around(s), around(s), &dy);
        data_slice(w, row, slice, tile, pitch, dy.lanes);
    }
}

void depthwise_forward(Operator *op, const OperatorCall *call)
{
    pack(op);
    cpu_parallel(op->device, call->rows * slices_of(&op->spec), 1, forward_part,
                 &(WindowPass){op, call});
}

void depthwise_data(Operator *op, const OperatorCall *call)
{
    pack(op);
    cpu_parallel(op->device, call->rows * slices_of(&op->spec), 1, data_part,
                 &(WindowPass){op, call});
}

/* ---- the weights' gradient ---- */

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
